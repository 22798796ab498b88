// SPDX-License-Identifier: Apache-2.0
#include "protocols/dialogue/refusal_wording.h"

#include <algorithm>
#include <optional>

namespace mailgate {

namespace {

constexpr std::size_t kMaxGatewayBytes = 255;
constexpr std::size_t kMaxClientBytes = 64;
constexpr std::size_t kMaxSessionBytes = 64;
/// More than there is room for.
constexpr std::size_t kMaxFooterBytes = 2 * kMaxReplyLineBytes;
constexpr std::string_view kRuleNote = "rule_note";

/// The variable behind a `$`, which `rest` loses; "$" stands for itself. None: that is no variable.
std::optional<std::string_view> takeVariable(std::string_view& rest) noexcept {
    const auto take = [&](std::string_view name) {
        rest.remove_prefix(name.size());
        return std::optional(name);
    };
    if (rest.starts_with('$')) return take("$");
    const std::string_view word =
        rest.substr(0, std::min(rest.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), rest.size()));
    for (const std::string_view name : {std::string_view("client"), std::string_view("id"), kRuleNote})
        if (word == name) return take(name);
    return std::nullopt;
}

/// Calls `visit(text, variable)` for each variable and the text before it, then with the rest and "". False: it has
/// something else behind a `$`, and the visit ended there.
template <typename Visit>
bool forEachVariable(std::string_view footer, Visit visit) {
    while (true) {
        const std::size_t dollar = std::min(footer.find('$'), footer.size());
        const std::string_view text = footer.substr(0, dollar);
        if (dollar == footer.size()) {
            visit(text, "");
            return true;
        }
        footer.remove_prefix(dollar + 1);
        const auto variable = takeVariable(footer);
        visit(text, variable.value_or(""));
        if (!variable) return false;
    }
}

/// As far as it is a footer without footerError().
std::string withValues(const RefusalText& text, const RefusalNames& names) {
    std::string values;
    forEachVariable(text.footer, [&](std::string_view before, std::string_view variable) {
        values += before;
        if (variable == "client") values += names.client;
        if (variable == "id") values += names.session;
        if (variable == kRuleNote) values += text.rule_note;
        if (variable == "$") values += '$';
    });
    return values;
}

}  // namespace

std::string footerError(std::string_view footer) {
    const std::string clean = cleaned(footer, footer.size());
    if (clean != footer) return "must be printable ASCII on one line, without double quotes and backslashes";
    return forEachVariable(footer, [](std::string_view, std::string_view) {})
               ? ""
               : "knows the variables $client, $id and $rule_note; a dollar sign is $$";
}

bool showsRuleNote(std::string_view footer) {
    bool shows = false;
    forEachVariable(footer,
                    [&](std::string_view, std::string_view variable) { shows |= variable == kRuleNote; });
    return shows;
}

std::string cleaned(std::string_view text, std::size_t limit) {
    std::string clean(text.substr(0, limit));
    std::replace_if(
        clean.begin(), clean.end(), [](char c) { return c < 0x20 || c > 0x7e || c == '"' || c == '\\'; },
        '?');
    return clean;
}

RefusalNames::RefusalNames(const RefusalText& text)
    : gateway(cleaned(text.gateway, kMaxGatewayBytes)),
      client(cleaned(text.client, kMaxClientBytes)),
      session(cleaned(text.session, kMaxSessionBytes)) {
    footer = cleaned(withValues(text, *this), kMaxFooterBytes);
    footer.erase(footer.find_last_not_of(' ') + 1);  // in front of a note that is not there
}

std::string sentenceOf(const Wording& wording, const RefusalNames& names) {
    std::string sentence(wording.sentence);
    const std::size_t client = sentence.find("{}");
    if (client != std::string::npos) sentence.replace(client, 2, names.client);
    return sentence;
}

std::string endOf(const RefusalNames& names) {
    return names.footer.empty() ? std::string() : "; " + names.footer;
}

std::string unquotedReplyLine(const Wording& wording, const RefusalNames& names) {
    return std::string(wording.code) + " " + sentenceOf(wording, names) + " (" + names.session + ")" +
           endOf(names) + "\r\n";
}

}  // namespace mailgate
