// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/reply.h"

#include "protocols/stream/lines.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <array>

namespace mailgate {

namespace {

constexpr bool isDigit(char c) noexcept {
    return c >= '0' && c <= '9';
}

/// RFC 5321 4.1.1.1, and what some say for the space or `=` behind a keyword ends it as well. A table: each session looks
/// at every character of its server's keywords.
constexpr std::array<bool, 256> kKeywordChars = [] {
    std::array<bool, 256> chars{};
    for (const char c : std::string_view("0123456789-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        chars[static_cast<unsigned char>(c)] = true;
    return chars;
}();

constexpr bool isKeywordChar(char c) noexcept {
    return kKeywordChars[static_cast<unsigned char>(c)];
}

/// Takes `prefix` off the front of `text`, if it is there.
bool takePrefix(std::string_view& text, std::string_view prefix) noexcept {
    if (!startsWithIgnoreCase(text, prefix)) return false;
    text.remove_prefix(prefix.size());
    return true;
}

/// The enhanced code (RFC 2034), if there is one: x.y.z and a space.
void skipEnhancedCode(std::string_view& text) noexcept {
    std::string_view rest = text;
    const std::string_view word = takeWord(rest);
    const auto part = [](char c) { return isDigit(c) || c == '.'; };
    if (std::count(word.begin(), word.end(), '.') == 2 && std::all_of(word.begin(), word.end(), part))
        text = rest;
}

constexpr bool endsToken(char c) noexcept {
    return c <= ' ' || c == ')' || c == ';' || c == ',' || c == '"';
}

std::string_view tokenIn(std::string_view text) noexcept {
    const auto end = std::find_if(text.begin(), text.end(), [](char c) { return endsToken(c); });
    return text.substr(0, static_cast<std::size_t>(end - text.begin()));
}

}  // namespace

std::optional<int> smtpReplyCode(std::string_view line) noexcept {
    if (line.size() < 3 || (line.size() > 3 && line[3] != ' ' && line[3] != '-')) return std::nullopt;
    int code = 0;
    for (const char c : line.substr(0, 3)) {
        if (!isDigit(c)) return std::nullopt;
        code = code * 10 + (c - '0');
    }
    return code >= 200 && code <= 599 ? std::optional(code) : std::nullopt;
}

namespace smtp {

std::string_view keywordOf(std::string_view line) noexcept {
    std::string_view text = line.substr(std::min<std::size_t>(line.size(), 4));
    text.remove_prefix(std::min(text.find_first_not_of(" \t\v\f\r"), text.size()));
    return text.substr(0, static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(),
                                                                    [](char c) { return isKeywordChar(c); }) -
                                                   text.begin()));
}

std::string_view queueIdOf(std::string_view reply) noexcept {
    std::string_view text = reply.substr(std::min<std::size_t>(reply.size(), 4));
    skipEnhancedCode(text);
    // A content filter before the queue repeats what Postfix told it: "from MTA(...): 250 2.0.0 Ok: queued as ...".
    if (takePrefix(text, "from MTA(")) {
        const std::size_t repeated = text.find("): 250 ");
        return repeated == std::string_view::npos ? std::string_view() : queueIdOf(text.substr(repeated + 3));
    }
    if (takePrefix(text, "Ok id=")) return tokenIn(text);  // Exim
    if (takePrefix(text, "Ok: ")) {                        // Postfix
        std::string_view rest = text;
        const std::string_view size = takeWord(rest);  // after BDAT: "Ok: 123 bytes queued as ..."
        if (std::all_of(size.begin(), size.end(), [](char c) { return isDigit(c); }) &&
            takePrefix(rest, "bytes "))
            text = rest;
        return takePrefix(text, "queued as ") ? tokenIn(text) : std::string_view();
    }
    const std::string_view id = takeWord(text);  // Sendmail, OpenSMTPD
    return equalsIgnoreCase(text, "Message accepted for delivery") ? id : std::string_view();
}

}  // namespace smtp
}  // namespace mailgate
