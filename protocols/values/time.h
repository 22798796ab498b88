// SPDX-License-Identifier: Apache-2.0
/// \file  Times as they are kept and counted.
#pragma once

#include <cstdint>

namespace mailgate {

/// Seconds since the epoch, UTC.
using UnixSeconds = std::int64_t;
/// Milliseconds of the monotonic clock.
using Millis = std::int64_t;

}  // namespace mailgate
