// SPDX-License-Identifier: Apache-2.0
/// \file  Threads that take no signals.
#pragma once

#include <signal.h>

namespace mailgate {

/// Signals are for the thread that expects them, and one that did not would die of them with the whole
/// process: threads started while this lives inherit a mask that blocks all.
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
