// SPDX-License-Identifier: Apache-2.0
/// \file  How long certificates are still good, and when to warn of that: within 14 days of the end, once a day.
#pragma once

#include "protocols/values/time.h"

#include <cstdint>
#include <map>
#include <string>

namespace mailgate {

/// Whole days; negative: it has expired.
std::int64_t daysLeft(UnixSeconds not_after, UnixSeconds now) noexcept;

/// Always of the same thread.
class ExpiryWarnings {
  public:
    /// Whether to warn now of the certificate that `key` stands for. Throws std::bad_alloc.
    bool due(const std::string& key, UnixSeconds not_after, UnixSeconds now);

  private:
    std::map<std::string, UnixSeconds> warned_;  ///< when
};

}  // namespace mailgate
