// SPDX-License-Identifier: Apache-2.0
/// \file  How a configuration is refused.
#pragma once

#include <stdexcept>

namespace mailgate {

/// Everything that is wrong with the file, one "FILE:LINE:COLUMN: key: what was expected" per line of what().
class ConfigError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

}  // namespace mailgate
