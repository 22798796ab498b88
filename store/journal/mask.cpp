// SPDX-License-Identifier: Apache-2.0
#include "store/journal/mask.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <system_error>

namespace mailgate::store::journal {

namespace {

/// Could an address go on with it? A colon or a dot after an address rather ends a clause: what is
/// doubtful is masked.
bool isHexDigit(char character) noexcept {
    return std::isxdigit(static_cast<unsigned char>(character)) != 0;
}

bool isWhole(std::string_view text, std::size_t at, std::size_t length) noexcept {
    const bool begins = at == 0 || !isHexDigit(text[at - 1]);
    return begins && (at + length == text.size() || !isHexDigit(text[at + length]));
}

}  // namespace

Network masked(Network network) noexcept {
    network.prefix_length = std::min(network.prefix_length, network.isV4() ? kMaskV4 : kMaskV6);
    const auto first_free = static_cast<std::ptrdiff_t>((network.prefix_length + 7) / 8);
    std::fill(network.address.begin() + first_free, network.address.end(), std::uint8_t(0));
    return network;
}

Network networkOf(std::string_view text) noexcept {
    const auto parsed = parseNetwork(text);
    const Network* network = std::get_if<Network>(&parsed);
    return network != nullptr ? *network : Network{};
}

bool isMaskedRule(std::string_view rule) noexcept {
    const std::size_t slash = rule.find('/');
    if (slash == std::string_view::npos) return rule.empty();
    unsigned prefix = 0;
    const char* const end = rule.data() + rule.size();
    const auto [stopped, error] = std::from_chars(rule.data() + slash + 1, end, prefix);
    const bool v4 = rule.find(':') == std::string_view::npos;
    return error == std::errc() && stopped == end && prefix <= (v4 ? kMaskV4 - 96U : kMaskV6);
}

std::string maskedRule(std::string_view rule) {
    return rule.empty() ? std::string() : masked(networkOf(rule)).toString();
}

namespace {

/// None: it is no address literal.
std::optional<std::string> maskedLiteral(std::string_view helo) {
    if (helo.size() > 2 && helo.front() == '[' && helo.back() == ']') {
        std::string_view literal = helo.substr(1, helo.size() - 2);
        const std::string_view tag = "IPv6:";
        const bool tagged =
            literal.size() > tag.size() &&
            std::equal(tag.begin(), tag.end(), literal.begin(), [](unsigned char one, unsigned char other) {
                return std::tolower(one) == std::tolower(other);
            });
        if (tagged) literal.remove_prefix(tag.size());
        const auto parsed = parseNetwork(literal);
        if (const Network* network = std::get_if<Network>(&parsed))
            return std::string(tagged ? "[IPv6:" : "[") + masked(*network).toString() + "]";
    }
    return std::nullopt;
}

}  // namespace

std::string maskedHelo(std::string_view helo, std::string_view client, std::string_view masked_client) {
    // What the client has put behind a blank is of its HELO too.
    const std::size_t end = std::min(helo.find(' '), helo.size());
    const std::string rest = withReplaced(helo.substr(end), client, masked_client);
    const auto literal = maskedLiteral(helo.substr(0, end));
    return (literal ? *literal : withReplaced(helo.substr(0, end), client, masked_client)) + rest;
}

std::string maskedMailAddress(std::string_view address) {
    const std::size_t domain = address.rfind("@[");
    const auto literal =
        domain == std::string_view::npos ? std::nullopt : maskedLiteral(address.substr(domain + 1));
    return literal ? std::string(address.substr(0, domain + 1)) + *literal : std::string(address);
}

std::string withReplaced(std::string_view text, std::string_view address, std::string_view by) {
    std::string result;
    std::size_t copied = 0;
    for (std::size_t at = 0; (at = text.find(address, at)) != std::string_view::npos;) {
        if (!isWhole(text, at, address.size())) {
            ++at;
            continue;
        }
        result.append(text.substr(copied, at - copied)).append(by);
        copied = at += address.size();
    }
    return result.append(text.substr(copied));
}

}  // namespace mailgate::store::journal
