// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/command.h"

#include "protocols/stream/lines.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace mailgate::smtp {

namespace {

/// What servers take for space between words. A character at a time: string_view's searches for one of several call
/// memchr() for each.
constexpr bool isSpace(char c) noexcept {
    return c == ' ' || (c >= '\t' && c <= '\r' && c != '\n');
}

/// Any sane message is smaller, and servers that count in 32 bits agree on it.
constexpr std::uint32_t kMaxChunkBytes = 0x7fff'ffff;

void skipSpace(std::string_view& text) noexcept {
    while (!text.empty() && isSpace(text.front()))
        text.remove_prefix(1);
}

/// Takes what comes before the first that `ends` a word off the front of `text`.
template <typename Ends>
std::string_view takeUpTo(std::string_view& text, Ends ends) noexcept {
    const auto* const end = std::find_if(text.begin(), text.end(), ends);
    const std::string_view word = text.substr(0, static_cast<std::size_t>(end - text.begin()));
    text.remove_prefix(word.size());
    return word;
}

std::string_view trimmed(std::string_view text) noexcept {
    skipSpace(text);
    while (!text.empty() && isSpace(text.back()))
        text.remove_suffix(1);
    return text;
}

/// What stands for itself outside of quotes, in the opinion of all servers: neither space nor syntax. A table: each session
/// looks at every character of its addresses.
constexpr std::array<bool, 256> kPlain = [] {
    std::array<bool, 256> plain{};
    for (unsigned byte = 0; byte < plain.size(); ++byte) {
        const char c = static_cast<char>(byte);
        plain[byte] = !isControl(c) && std::string_view(" <>()\"\\;").find(c) == std::string_view::npos;
    }
    return plain;
}();

constexpr bool isPlain(char c) noexcept {
    return kPlain[static_cast<unsigned char>(c)];
}

std::size_t plainRun(std::string_view text) noexcept {
    std::size_t length = 0;
    while (length < text.size() && isPlain(text[length]))
        ++length;
    return length;
}

std::optional<std::string> withoutRoute(std::string&& path) {
    if (path.empty() || path.front() != '@') return std::move(path);
    const std::size_t end = path.find(':');
    if (end == std::string::npos) return std::nullopt;
    path.erase(0, end + 1);
    return std::move(path);
}

/// A domain may end in the dot of the root, which servers leave out.
std::string withoutRootDot(std::string path) {
    if (path.ends_with('.') && path.find('@') != std::string::npos) path.pop_back();
    return path;
}

/// Takes a path up to its > off the front of `text`, which begins behind its <.
std::optional<std::string> takePath(std::string_view& text) {
    std::string path;
    bool quoted = false;
    bool ended = false;  // space came: only the > may follow
    skipSpace(text);
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (!quoted && !ended) {
            const std::size_t run = plainRun(text.substr(at));
            path.append(text, at, run);
            at += run;
            if (at == text.size()) break;
        }
        const char c = text[at];
        if (c == '>' && !quoted) {
            text.remove_prefix(at + 1);
            return withoutRoute(std::move(path));
        }
        if (isSpace(c) && !quoted) {
            ended = true;
            continue;
        }
        if (ended) return std::nullopt;
        if (c == '"') {
            quoted = !quoted;
        } else if (c == '\\') {
            if (++at == text.size() || isControl(text[at])) return std::nullopt;
            path.push_back(text[at]);
        } else if (quoted && (!isControl(c) || c == '\t')) {
            path.push_back(c);
        } else {
            return std::nullopt;
        }
    }
    return std::nullopt;
}

/// Some leave the <> out, and most servers take it.
std::optional<std::string> takeBarePath(std::string_view& text) {
    const std::string_view word = takeArgument(text);
    const bool plain = plainRun(word) == word.size();
    return plain && !word.empty() && word.front() != '@' ? std::optional(std::string(word)) : std::nullopt;
}

}  // namespace

Verb verbOf(std::string_view word) noexcept {
    struct Entry {
        std::string_view word;
        Verb verb;
    };
    static constexpr std::array<Entry, 19> kVerbs{{
        {"MAIL", Verb::Mail},   {"RCPT", Verb::Rcpt},         {"DATA", Verb::Data},
        {"BDAT", Verb::Bdat},   {"EHLO", Verb::Ehlo},         {"RSET", Verb::Rset},
        {"QUIT", Verb::Quit},   {"AUTH", Verb::Auth},         {"HELO", Verb::Helo},
        {"LHLO", Verb::Ehlo},   {"STARTTLS", Verb::StartTls}, {"BURL", Verb::Burl},
        {"SEND", Verb::Mail},   {"SOML", Verb::Mail},         {"SAML", Verb::Mail},
        {"X-EXPS", Verb::Auth}, {"XCLIENT", Verb::Foreign},   {"XFORWARD", Verb::Foreign},
        {"PROXY", Verb::Proxy},
    }};
    for (const Entry& entry : kVerbs) {
        if (word.size() == entry.word.size() && lower(word.front()) == lower(entry.word.front()) &&
            equalsIgnoreCase(word, entry.word))
            return entry.verb;
    }
    return Verb::Other;
}

CommandLine parseCommand(std::string_view line) noexcept {
    skipSpace(line);
    const Verb verb = verbOf(takeUpTo(line, [](char c) { return isSpace(c) || c == '\0'; }));
    return {verb, trimmed(line)};
}

std::string_view takeArgument(std::string_view& text) noexcept {
    skipSpace(text);
    const std::string_view word = takeUpTo(text, [](char c) { return isSpace(c); });
    skipSpace(text);
    return word;
}

std::optional<std::string> respaced(std::string_view line) {
    std::string_view from_verb = line;
    skipSpace(from_verb);
    if (from_verb.size() == line.size() && !hasControls(line)) return std::nullopt;
    std::string text(from_verb);
    bool quoted = false;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '\\') {
            ++at;
        } else if (text[at] == '"') {
            quoted = !quoted;
        } else if (!quoted && isSpace(text[at])) {
            text[at] = ' ';
        }
    }
    return text == line ? std::nullopt : std::optional(std::move(text));
}

std::optional<std::string> addressIn(std::string_view arguments, std::string_view keyword) {
    if (!startsWithIgnoreCase(arguments, keyword)) return std::nullopt;
    std::string_view text = arguments.substr(keyword.size());
    skipSpace(text);
    const bool bracketed = text.starts_with('<');
    if (bracketed) text.remove_prefix(1);
    auto path = bracketed ? takePath(text) : takeBarePath(text);
    const bool over = !bracketed || text.empty() || isSpace(text.front());
    return path && over ? std::optional(withoutRootDot(std::move(*path))) : std::nullopt;
}

std::optional<ChunkHead> chunkIn(std::string_view arguments) noexcept {
    const std::string_view number = takeArgument(arguments);
    ChunkHead head;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), head.bytes);
    if (error != std::errc() || end != number.data() + number.size() || head.bytes > kMaxChunkBytes)
        return std::nullopt;
    head.last = equalsIgnoreCase(arguments, "LAST");
    return head.last || arguments.empty() ? std::optional(head) : std::nullopt;
}

}  // namespace mailgate::smtp
