// SPDX-License-Identifier: Apache-2.0
#include "protocols/values/network_range.h"

#include "protocols/values/address.h"
#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace mailgate {

namespace {

/// A single address.
std::variant<AddressBytes, NetworkError> parseEnd(std::string_view text) {
    auto parsed = parseNetwork(text);
    if (auto* error = std::get_if<NetworkError>(&parsed)) return std::move(*error);
    const auto& network = std::get<Network>(parsed);
    if (network.prefix_length != 128 || text.find('/') != std::string_view::npos)
        return NetworkError{
            fmt::format("\"{}\" is a network: the ends of a range are addresses, such as "
                        "192.0.2.10-192.0.2.20",
                        printable(text))};
    return network.address;
}

AddressBytes lastOf(const Network& network) noexcept {
    AddressBytes last = network.address;
    for (unsigned bit = network.prefix_length; bit < 128; ++bit)
        last[bit / 8] = static_cast<std::uint8_t>(last[bit / 8] | 0x80U >> bit % 8);
    return last;
}

/// The address after it; all zero after the last one.
AddressBytes next(AddressBytes address) noexcept {
    for (auto byte = address.rbegin(); byte != address.rend() && ++*byte == 0;)
        ++byte;
    return address;
}

/// The widest network that begins at `first` and does not go beyond `last`.
Network widest(const AddressBytes& first, const AddressBytes& last, unsigned shortest) noexcept {
    Network network{first, 128};
    while (network.prefix_length > shortest) {
        const Network wider = networkAround(first, static_cast<unsigned>(network.prefix_length) - 1);
        if (wider.address != first || lastOf(wider) > last) break;
        network = wider;
    }
    return network;
}

std::variant<std::vector<Network>, NetworkError> parseRange(std::string_view text, std::size_t dash) {
    if (trimmed(text.substr(0, dash)).empty() || trimmed(text.substr(dash + 1)).empty())
        return NetworkError{
            fmt::format("\"{}\" is no range: both of its ends and the dash are one word, such as "
                        "192.0.2.10-192.0.2.20",
                        printable(text))};
    auto begin = parseEnd(trimmed(text.substr(0, dash)));
    if (auto* error = std::get_if<NetworkError>(&begin)) return std::move(*error);
    auto end = parseEnd(trimmed(text.substr(dash + 1)));
    if (auto* error = std::get_if<NetworkError>(&end)) return std::move(*error);
    AddressBytes first = std::get<AddressBytes>(begin);
    const AddressBytes last = std::get<AddressBytes>(end);
    const bool v4 = Network{first, 128}.isV4();
    if (v4 != Network{last, 128}.isV4())
        return NetworkError{fmt::format("\"{}\": the range begins in one address family and ends in another",
                                        printable(text))};
    if (last < first)
        return NetworkError{fmt::format("\"{}\": the range ends before it begins", printable(text))};
    std::vector<Network> networks;
    while (true) {
        const Network network = widest(first, last, v4 ? 96 : 0);
        // The addresses of IPv4 are mapped into the space of IPv6, whose ranges hold none of them.
        if (network.isV4() == v4) networks.push_back(network);
        const AddressBytes end_of_this = lastOf(network);
        if (end_of_this == last) return networks;
        first = next(end_of_this);
    }
}

/// How many ones the mask begins with; none: it has others, too.
std::optional<unsigned> prefixOf(const AddressBytes& mask) noexcept {
    std::uint32_t bits = 0;
    for (std::size_t at = 12; at < 16; ++at)
        bits = bits << 8 | mask[at];
    const int ones = std::countl_one(bits);
    if (std::popcount(bits) != ones) return std::nullopt;
    return static_cast<unsigned>(ones);
}

std::variant<std::vector<Network>, NetworkError> parseMasked(std::string_view text, std::size_t slash) {
    const auto parsed = parseNetwork(text.substr(slash + 1));
    const auto* mask = std::get_if<Network>(&parsed);
    const bool v6 = text.find(':') < slash;
    const auto prefix = v6 || mask == nullptr || !mask->isV4() || mask->prefix_length != 128
                            ? std::nullopt
                            : prefixOf(mask->address);
    if (!prefix)
        return NetworkError{
            fmt::format("\"{}\": \"{}\" is not a netmask such as 255.255.255.0, whose ones come first",
                        printable(text), printable(text.substr(slash + 1)))};
    auto network = parseNetwork(fmt::format("{}/{}", text.substr(0, slash), *prefix));
    if (auto* error = std::get_if<NetworkError>(&network)) return std::move(*error);
    return std::vector<Network>{std::get<Network>(network)};
}

}  // namespace

std::variant<std::vector<Network>, NetworkError> parseNetworks(std::string_view text) {
    if (const std::size_t dash = text.find('-'); dash != std::string_view::npos)
        return parseRange(text, dash);
    const std::size_t slash = text.find('/');
    if (slash != std::string_view::npos && text.find('.', slash) != std::string_view::npos)
        return parseMasked(text, slash);
    auto network = parseNetwork(text);
    if (auto* error = std::get_if<NetworkError>(&network)) return std::move(*error);
    return std::vector<Network>{std::get<Network>(network)};
}

std::string rangeMeant(std::string_view text) {
    const std::size_t dash = text.find('-'), dot = text.rfind('.', dash);
    if (dash == std::string_view::npos || dot == std::string_view::npos) return {};
    const std::string first(text.substr(0, dash));
    const std::string last = fmt::format("{}{}", text.substr(0, dot + 1), text.substr(dash + 1));
    return IpAddress::parseV4(first) && IpAddress::parseV4(last) ? first + "-" + last : std::string();
}

}  // namespace mailgate
