// SPDX-License-Identifier: Apache-2.0
/// \file  The error for an address that cannot be listened on.
#pragma once

#include <stdexcept>

namespace mailgate {

/// An address that cannot be bound; the sentence names the listener, the address and the likely cause.
class ListenError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

}  // namespace mailgate
