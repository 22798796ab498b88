// SPDX-License-Identifier: Apache-2.0
/// \file  What IPv4 addresses are kept behind (RFC 4291 2.5.5.2): ::ffff:0:0/96.
#pragma once

#include <array>
#include <cstdint>

namespace mailgate {

inline constexpr std::array<std::uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace mailgate
