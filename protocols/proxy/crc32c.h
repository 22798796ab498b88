// SPDX-License-Identifier: Apache-2.0
/// \file  CRC-32C (Castagnoli), the checksum of PROXY protocol v2 headers (specification 2.2.3; RFC 3720 B.4).
///
/// A byte at a time by table: headers are short, and few senders put a checksum in them.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace mailgate::proxy {

inline constexpr std::array<std::uint32_t, 256> kCrc32cTable = [] {
    constexpr std::uint32_t kReflectedPolynomial = 0x82f63b78;
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
        std::uint32_t remainder = byte;
        for (int bit = 0; bit < 8; ++bit) {
            remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? kReflectedPolynomial : 0);
        }
        table[byte] = remainder;
    }
    return table;
}();

/// The bytes may come in pieces: the field of the checksum itself counts as zeroes.
class Crc32c {
  public:
    constexpr void update(std::span<const std::uint8_t> bytes) noexcept {
        for (const std::uint8_t byte : bytes)
            state_ = kCrc32cTable[(state_ ^ byte) & 0xff] ^ (state_ >> 8);
    }
    constexpr std::uint32_t value() const noexcept { return ~state_; }

  private:
    std::uint32_t state_ = 0xffffffff;
};

}  // namespace mailgate::proxy
