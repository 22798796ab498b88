// SPDX-License-Identifier: Apache-2.0
#include "store/rules/rule.h"

#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace mailgate::store {

namespace {

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

bool isSetName(std::string_view name) noexcept {
    constexpr std::size_t kLongest = 64;
    constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return !name.empty() && name.size() <= kLongest &&
           name.find_first_not_of(kAllowed) == std::string_view::npos;
}

}  // namespace mailgate::store
