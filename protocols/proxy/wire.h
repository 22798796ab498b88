// SPDX-License-Identifier: Apache-2.0
/// \file  The fixed parts of both headers (specification 2.1, 2.2), as reader and writer share them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mailgate::proxy::wire {

inline constexpr std::string_view kV1Signature = "PROXY ";
inline constexpr std::string_view kV2Signature{"\r\n\r\n\0\r\nQUIT\n", 12};

// After the signature: version and command, family and transport (a nibble each), and the length of what follows.
inline constexpr std::size_t kV2FixedBytes = 16;
inline constexpr std::size_t kInetBlockBytes = 2 * (std::size_t{4} + 2);
inline constexpr std::size_t kInet6BlockBytes = 2 * (std::size_t{16} + 2);
inline constexpr std::size_t kUnixBlockBytes = std::size_t{2} * 108;

inline constexpr std::size_t kTlvHeadBytes = 3;  ///< type, and two bytes of length
inline constexpr std::size_t kCrc32cBytes = 4;

}  // namespace mailgate::proxy::wire
