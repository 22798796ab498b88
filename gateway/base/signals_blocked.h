// SPDX-License-Identifier: Apache-2.0
/// \file  Threads that take no signals.
#pragma once

#include <signal.h>

namespace mailgate {

/// Threads that are started while an object of this class exists inherit a mask that blocks all signals. Signals are
/// for the thread that waits for them; in any other they would end the whole process.
class SignalsBlocked {
  public:
    SignalsBlocked() noexcept {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_{};
};

}  // namespace mailgate
