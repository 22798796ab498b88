// SPDX-License-Identifier: Apache-2.0
#include "store/rules/rule.h"

#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace mailgate::store {

namespace {

constexpr std::string_view kHost = "host:", kSpf = "spf:";

std::string lineError(std::string_view what, std::string_view text, std::size_t longest) {
    if (text.size() > longest) return fmt::format("the {} is longer than {} bytes", what, longest);
    if (std::any_of(text.begin(), text.end(), isControl))
        return fmt::format("the {} contains a control character", what);
    return {};
}

}  // namespace

std::string noteError(std::string_view note) {
    return lineError("note", note, kMaxNoteLength);
}

std::string tagError(std::string_view tag) {
    return lineError("text", tag, kMaxTagLength);
}

std::string_view toString(const RuleReply& reply) noexcept {
    if (reply.temporary) return reply.shows_note ? "temporary,note" : "temporary";
    return reply.shows_note ? "note" : "";
}

std::optional<RuleReply> ruleReplyOf(std::string_view words) noexcept {
    if (words == "default") return RuleReply{};
    RuleReply reply;
    for (bool more = true; more;) {
        const std::size_t comma = words.find(',');
        const std::string_view word = words.substr(0, comma);
        if (word != "temporary" && word != "note") return std::nullopt;
        (word == "note" ? reply.shows_note : reply.temporary) = true;
        more = comma != std::string_view::npos;
        if (more) words.remove_prefix(comma + 1);
    }
    return reply;
}

bool isRuleName(std::string_view text) noexcept {
    return startsWithIgnoreCase(text, kHost) || startsWithIgnoreCase(text, kSpf);
}

std::variant<std::string, NetworkError> parseRuleName(std::string_view text) {
    constexpr std::size_t kLongestName = 253, kLongestLabel = 63;  // RFC 1035 section 2.3.4
    constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789-_";
    std::string name = lowerCase(text);
    if (name.ends_with('.') && !name.ends_with(":.")) name.pop_back();  // the root, which other tools write
    std::string_view rest = std::string_view(name).substr(name.find(':') + 1);
    bool ok = rest.size() <= kLongestName;
    while (ok) {
        const std::string_view label = rest.substr(0, rest.find('.'));
        // Of host names (RFC 1123 section 2.1), and with underscores as in _spf.
        ok = !label.empty() && label.size() <= kLongestLabel &&
             label.find_first_not_of(kLetters) == std::string_view::npos && label.front() != '-' &&
             label.back() != '-' && label.find_first_not_of("-_") != std::string_view::npos;
        if (label.size() == rest.size()) break;
        rest.remove_prefix(label.size() + 1);
    }
    const bool address = std::holds_alternative<Network>(parseNetwork(rest)) ||
                         rest.find_first_not_of("0123456789") == std::string_view::npos;
    if (ok && !address) return name;
    return NetworkError{
        fmt::format("\"{}\" is not a name such as host:home.example.org or spf:example.org (an "
                    "international one as A-labels, xn--...)",
                    printable(text))};
}

std::string subjectOf(const AccessRule& rule) {
    return rule.name.empty() ? rule.network.toString() : rule.name;
}

bool isSetName(std::string_view name) noexcept {
    constexpr std::size_t kLongest = 64;
    constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return !name.empty() && name.size() <= kLongest &&
           name.find_first_not_of(kAllowed) == std::string_view::npos;
}

}  // namespace mailgate::store
