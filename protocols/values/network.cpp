// SPDX-License-Identifier: Apache-2.0
#include "protocols/values/network.h"

#include "protocols/values/address.h"
#include "protocols/values/mapped_prefix.h"
#include "protocols/values/text.h"

#include <fmt/format.h>

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace mailgate {

namespace {

constexpr unsigned kMappedBits = 96;

bool isMapped(const AddressBytes& address) noexcept {
    return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.begin());
}

AddressBytes maskedTo(AddressBytes address, unsigned prefix_length) noexcept {
    const std::size_t whole = prefix_length / 8;
    if (whole == address.size()) return address;
    address[whole] &= static_cast<std::uint8_t>(0xFF00u >> (prefix_length % 8));
    std::fill(address.begin() + static_cast<std::ptrdiff_t>(whole) + 1, address.end(), std::uint8_t(0));
    return address;
}

struct ParsedAddress {
    AddressBytes bytes{};
    bool dotted = false;  ///< written as IPv4, so that a prefix counts 32 bits
};

/// Four numbers with dots between, in the form that inet_pton(3) takes; lists have a million of them.
std::optional<std::array<std::uint8_t, 4>> parseDotted(std::string_view text) noexcept {
    std::array<std::uint8_t, 4> octets{};
    std::size_t at = 0;
    for (std::size_t octet = 0; octet < octets.size(); ++octet) {
        if (octet > 0 && (at == text.size() || text[at++] != '.')) return std::nullopt;
        const std::size_t begin = at;
        unsigned value = 0;
        for (; at < text.size() && at < begin + 3 && text[at] >= '0' && text[at] <= '9'; ++at)
            value = value * 10 + static_cast<unsigned>(text[at] - '0');
        const bool padded = at > begin + 1 && text[begin] == '0';
        if (at == begin || padded || value > 255) return std::nullopt;
        octets[octet] = static_cast<std::uint8_t>(value);
    }
    return at == text.size() ? std::optional(octets) : std::nullopt;
}

/// Strict, and without zones, octal or short forms.
std::optional<ParsedAddress> parseAddress(std::string_view text) noexcept {
    ParsedAddress parsed;
    if (text.find(':') == std::string_view::npos) {
        const auto octets = parseDotted(text);
        if (!octets) return std::nullopt;
        std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), parsed.bytes.begin());
        std::copy(octets->begin(), octets->end(), parsed.bytes.begin() + kMappedPrefix.size());
        parsed.dotted = true;
        return parsed;
    }
    char terminated[INET6_ADDRSTRLEN];
    if (text.size() >= sizeof terminated || text.find('\0') != std::string_view::npos) return std::nullopt;
    text.copy(terminated, text.size());
    terminated[text.size()] = '\0';
    if (inet_pton(AF_INET6, terminated, parsed.bytes.data()) != 1) return std::nullopt;
    return parsed;
}

std::optional<unsigned> parsePrefix(std::string_view text, unsigned highest) noexcept {
    if (text.empty() || text.size() > 3 || (text.size() > 1 && text.front() == '0')) return std::nullopt;
    unsigned value = 0;
    for (const char digit : text) {
        if (digit < '0' || digit > '9') return std::nullopt;
        value = value * 10 + static_cast<unsigned>(digit - '0');
    }
    return value <= highest ? std::optional(value) : std::nullopt;
}

std::string withoutPrefix(const AddressBytes& address, unsigned prefix_length) {
    if (isMapped(address) && prefix_length >= kMappedBits) return IpAddress{address}.toString();
    char text[INET6_ADDRSTRLEN];
    return inet_ntop(AF_INET6, address.data(), text, sizeof text);
}

std::string withPrefix(const AddressBytes& address, unsigned prefix_length) {
    const bool dotted = isMapped(address) && prefix_length >= kMappedBits;
    return withoutPrefix(address, prefix_length) + "/" +
           std::to_string(dotted ? prefix_length - kMappedBits : prefix_length);
}

NetworkError hostBitsError(std::string_view text, const AddressBytes& address, unsigned prefix_length) {
    return {fmt::format("{} has host bits set: did you mean {} or {}?", printable(text),
                        withPrefix(maskedTo(address, prefix_length), prefix_length),
                        withPrefix(address, 128))};
}

}  // namespace

Network networkAround(const AddressBytes& address, unsigned prefix_length) noexcept {
    return {maskedTo(address, prefix_length), static_cast<std::uint8_t>(prefix_length)};
}

bool Network::isV4() const noexcept {
    return prefix_length >= kMappedBits && isMapped(address);
}

bool Network::contains(const AddressBytes& candidate) const noexcept {
    if (isV4() != isMapped(candidate)) return false;
    const std::size_t whole = prefix_length / 8;
    if (std::memcmp(address.data(), candidate.data(), whole) != 0) return false;
    const unsigned rest = prefix_length % 8;
    return rest == 0 || (address[whole] ^ candidate[whole]) >> (8 - rest) == 0;
}

bool Network::contains(const Network& inner) const noexcept {
    return prefix_length <= inner.prefix_length && isV4() == inner.isV4() && contains(inner.address);
}

std::string Network::toString() const {
    return prefix_length == 128 ? withoutPrefix(address, 128) : withPrefix(address, prefix_length);
}

std::variant<Network, NetworkError> parseNetwork(std::string_view text) {
    const std::size_t slash = text.find('/');
    const auto parsed = parseAddress(text.substr(0, slash));
    if (!parsed)
        return NetworkError{
            fmt::format("\"{}\" is not an IP address or a network such as 192.0.2.0/24 or "
                        "2001:db8::/32",
                        printable(text))};
    unsigned prefix_length = 128;
    if (slash != std::string_view::npos) {
        const unsigned highest = parsed->dotted ? 32 : 128;
        const auto prefix = parsePrefix(text.substr(slash + 1), highest);
        if (!prefix)
            return NetworkError{fmt::format("\"{}\": the prefix length must be a number from 0 to {}",
                                            printable(text), highest)};
        prefix_length = *prefix + (parsed->dotted ? kMappedBits : 0);
    }
    const AddressBytes masked = maskedTo(parsed->bytes, prefix_length);
    if (masked != parsed->bytes) return hostBitsError(text, parsed->bytes, prefix_length);
    return Network{masked, static_cast<std::uint8_t>(prefix_length)};
}

}  // namespace mailgate
