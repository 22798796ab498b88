// SPDX-License-Identifier: Apache-2.0
#include "protocols/dialogue/refusal_wording.h"

#include <algorithm>
#include <optional>

namespace mailgate {

namespace {

constexpr std::size_t kMaxGatewayBytes = 255;
constexpr std::size_t kMaxClientBytes = 64;
constexpr std::size_t kMaxSessionBytes = 64;

/// The variable behind a `$`, which `rest` loses; "$" stands for itself. None: that is no variable.
std::optional<std::string_view> takeVariable(std::string_view& rest) noexcept {
    const auto take = [&](std::string_view name) {
        rest.remove_prefix(name.size());
        return std::optional(name);
    };
    if (rest.starts_with('$')) return take("$");
    const std::string_view word =
        rest.substr(0, std::min(rest.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), rest.size()));
    for (const std::string_view name : {"client", "id"})
        if (word == name) return take(name);
    return std::nullopt;
}

/// As far as it is a footer without footerError().
std::string withValues(std::string_view footer, const RefusalNames& names) {
    std::string text;
    while (true) {
        const std::size_t dollar = std::min(footer.find('$'), footer.size());
        text += footer.substr(0, dollar);
        if (dollar == footer.size()) return text;
        footer.remove_prefix(dollar + 1);
        const auto variable = takeVariable(footer);
        if (!variable) return text;
        text += *variable == "client" ? names.client
                : *variable == "id"   ? names.session
                                      : std::string(1, '$');
    }
}

}  // namespace

std::string footerError(std::string_view footer) {
    const std::string clean = cleaned(footer, footer.size());
    if (clean != footer) return "must be printable ASCII on one line, without double quotes and backslashes";
    while (true) {
        const std::size_t dollar = footer.find('$');
        if (dollar == std::string_view::npos) return {};
        footer.remove_prefix(dollar + 1);
        if (!takeVariable(footer)) return "knows the variables $client and $id; a dollar sign is $$";
    }
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
    footer = cleaned(withValues(text.footer, *this), kMaxReplyLineBytes);
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
