// SPDX-License-Identifier: Apache-2.0
/// \file  How certificates and TLS settings are refused.
#pragma once

#include <stdexcept>

namespace mailgate {

/// One sentence that names the file or the setting, and the cause. Never a part of a key.
class TlsError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

}  // namespace mailgate
