// SPDX-License-Identifier: Apache-2.0
/// \file  The two clocks, in milliseconds.
#pragma once

#include <chrono>
#include <cstdint>

namespace mailgate {

/// For deadlines and durations: it is never set.
inline std::int64_t monotonicMillis() noexcept {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

/// Since the epoch, UTC: for what people read.
inline std::int64_t unixMillis() noexcept {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

}  // namespace mailgate
