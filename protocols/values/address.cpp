// SPDX-License-Identifier: Apache-2.0
#include "protocols/values/address.h"

#include "protocols/values/mapped_prefix.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace mailgate {
namespace {

/// In decimal.
struct Octet {
    std::array<char, 3> digits{};
    std::uint8_t length = 0;
};
constexpr std::array<Octet, 256> kOctets = [] {
    std::array<Octet, 256> octets{};
    for (unsigned number = 0; number < octets.size(); ++number) {
        Octet& octet = octets[number];
        for (unsigned unit = 100; unit > 0; unit /= 10)
            if (number >= unit || unit == 1)
                octet.digits[octet.length++] = static_cast<char>('0' + number / unit % 10);
    }
    return octets;
}();

/// inet_pton(3) for text that is not terminated. A NUL inside would end the address early, so it is refused.
bool presentationToNetwork(int family, std::string_view text, std::uint8_t* network) noexcept {
    std::array<char, INET6_ADDRSTRLEN> terminated{};
    if (text.size() >= terminated.size() || text.find('\0') != std::string_view::npos) return false;
    std::copy(text.begin(), text.end(), terminated.begin());
    return ::inet_pton(family, terminated.data(), network) == 1;
}

}  // namespace

IpAddress IpAddress::fromV4(const std::array<std::uint8_t, 4>& octets) noexcept {
    IpAddress address;
    std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), address.bytes.begin());
    std::copy(octets.begin(), octets.end(), address.bytes.begin() + kMappedPrefix.size());
    return address;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) noexcept {
    const std::optional<IpAddress> v4 = parseV4(text);
    return v4 ? v4 : parseV6(text);
}

std::optional<IpAddress> IpAddress::parseV4(std::string_view text) noexcept {
    std::array<std::uint8_t, 4> octets{};
    if (!presentationToNetwork(AF_INET, text, octets.data())) return std::nullopt;
    return fromV4(octets);
}

std::optional<IpAddress> IpAddress::parseV6(std::string_view text) noexcept {
    IpAddress address;
    if (!presentationToNetwork(AF_INET6, text, address.bytes.data())) return std::nullopt;
    return address;
}

bool IpAddress::isV4() const noexcept {
    return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin());
}

bool IpAddress::isLoopback() const noexcept {
    if (isV4()) return bytes[12] == 127;
    return std::all_of(bytes.begin(), bytes.end() - 1, [](std::uint8_t b) { return b == 0; }) &&
           bytes[15] == 1;
}

std::string IpAddress::toString() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (!isV4()) return ::inet_ntop(AF_INET6, bytes.data(), text.data(), text.size());
    // Every session writes several: inet_ntop(3) would go through snprintf() for each.
    char* end = text.data();
    for (std::size_t at = kMappedPrefix.size(); at < bytes.size(); ++at) {
        const Octet& octet = kOctets[bytes[at]];
        if (end != text.data()) *end++ = '.';
        std::copy(octet.digits.begin(), octet.digits.end(), end);  // one too many is overwritten
        end += octet.length;
    }
    return {text.data(), end};
}

std::string Endpoint::toString() const {
    const std::string host = address.toString();
    return address.isV4() ? host + ":" + std::to_string(port) : "[" + host + "]:" + std::to_string(port);
}

}  // namespace mailgate
