// SPDX-License-Identifier: Apache-2.0
/// \file  A network in CIDR form, IPv4 or IPv6, as access rules and trusted lists name it.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace mailgate {

/// An address in network order; IPv4 as ::ffff:a.b.c.d, so that both families compare in one space.
using AddressBytes = std::array<std::uint8_t, 16>;

struct Network {
    AddressBytes address{};            ///< host bits are zero
    std::uint8_t prefix_length = 128;  ///< in the 128-bit space: an IPv4 /24 is 120

    bool isV4() const noexcept;
    /// An IPv6 network holds no IPv4 address: ::/0 is "all of IPv6", though mapped addresses lie in its space.
    bool contains(const AddressBytes& candidate) const noexcept;
    bool contains(const Network& inner) const noexcept;
    /// "192.0.2.0/24", "2001:db8::/32"; a single address without its /32 or /128.
    std::string toString() const;

    friend auto operator<=>(const Network&, const Network&) = default;
};

/// The network of `prefix_length` bits (in the 128-bit space) that holds the address.
Network networkAround(const AddressBytes& address, unsigned prefix_length) noexcept;

/// A sentence that says what is wrong and, for host bits, which networks may be meant
/// ("192.0.2.5/24 has host bits set: did you mean 192.0.2.0/24 or 192.0.2.5/32?").
struct NetworkError {
    std::string message;
};

/// A bare address is /32 or /128. IPv4-mapped IPv6 (prefix >= 96) becomes IPv4. No zones, no names, no
/// short IPv4 forms.
std::variant<Network, NetworkError> parseNetwork(std::string_view text);

}  // namespace mailgate
