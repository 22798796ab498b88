// SPDX-License-Identifier: Apache-2.0
/// \file  Client and server addresses as plain values.
///
/// One canonical form for both families: IPv4 is kept as the IPv4-mapped IPv6 address ::ffff:a.b.c.d (RFC 4291
/// 2.5.5.2), so `::ffff:192.0.2.1` and `192.0.2.1` are the same value wherever addresses are compared.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

struct IpAddress {
    std::array<std::uint8_t, 16> bytes{};  ///< network order; IPv4 as ::ffff:a.b.c.d

    static IpAddress fromV4(const std::array<std::uint8_t, 4>& octets) noexcept;
    /// Accepts what inet_pton(3) accepts in either family; mapped IPv6 becomes IPv4 by construction.
    static std::optional<IpAddress> parse(std::string_view text) noexcept;
    /// Four decimals 0..255 without heading zeroes. Allocates nothing.
    static std::optional<IpAddress> parseV4(std::string_view text) noexcept;
    /// Hex groups with at most one `::`, a dotted IPv4 tail (RFC 4291 2.2); no zone, brackets or prefix length.
    static std::optional<IpAddress> parseV6(std::string_view text) noexcept;

    bool isV4() const noexcept;        ///< true for ::ffff:0:0/96
    bool isLoopback() const noexcept;  ///< 127.0.0.0/8 or ::1
    /// Dotted IPv4, or IPv6 as RFC 5952 writes it. Never a mapped form.
    std::string toString() const;

    friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

struct Endpoint {
    IpAddress address;
    std::uint16_t port = 0;  ///< host order

    std::string toString() const;  ///< 192.0.2.1:25, [2001:db8::1]:25

    friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

}  // namespace mailgate
