// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/command.h"

#include "protocols/stream/lines.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace mailgate::smtp {

namespace {

constexpr std::string_view kSpace = " \t\v\f\r";
constexpr std::string_view kSpaceOrNul{" \t\v\f\r\0", 6};
/// Any sane message is smaller, and servers that count in 32 bits agree on it.
constexpr std::uint32_t kMaxChunkBytes = 0x7fff'ffff;

void skipSpace(std::string_view& text) noexcept {
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
}

std::string_view trimmed(std::string_view text) noexcept {
    skipSpace(text);
    return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

/// What stands for itself outside of quotes, in the opinion of all servers: neither space nor syntax.
constexpr bool isPlain(char c) noexcept {
    return !isControl(c) && std::string_view(" <>()\"\\;").find(c) == std::string_view::npos;
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
        const char c = text[at];
        if (c == '>' && !quoted) {
            text.remove_prefix(at + 1);
            return withoutRoute(std::move(path));
        }
        if (kSpace.find(c) != std::string_view::npos && !quoted) {
            ended = true;
            continue;
        }
        if (ended) return std::nullopt;
        if (c == '"') {
            quoted = !quoted;
        } else if (c == '\\') {
            if (++at == text.size() || isControl(text[at])) return std::nullopt;
            path.push_back(text[at]);
        } else if (quoted ? !isControl(c) || c == '\t' : isPlain(c)) {
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
    const bool plain = std::all_of(word.begin(), word.end(), isPlain);
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
        if (equalsIgnoreCase(word, entry.word)) return entry.verb;
    }
    return Verb::Other;
}

CommandLine parseCommand(std::string_view line) noexcept {
    skipSpace(line);
    const std::size_t end = std::min(line.find_first_of(kSpaceOrNul), line.size());
    return {verbOf(line.substr(0, end)), trimmed(line.substr(end))};
}

std::string_view takeArgument(std::string_view& text) noexcept {
    skipSpace(text);
    const std::string_view word = text.substr(0, text.find_first_of(kSpace));
    text.remove_prefix(word.size());
    skipSpace(text);
    return word;
}

std::optional<std::string> respaced(std::string_view line) {
    const std::string_view from_verb = line.substr(std::min(line.find_first_not_of(kSpace), line.size()));
    if (line.find_first_of(kSpace.substr(1)) == std::string_view::npos && from_verb.size() == line.size())
        return std::nullopt;
    std::string text(from_verb);
    bool quoted = false;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '\\') {
            ++at;
        } else if (text[at] == '"') {
            quoted = !quoted;
        } else if (!quoted && kSpace.find(text[at]) != std::string_view::npos) {
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
    const bool over = !bracketed || text.empty() || kSpace.find(text.front()) != std::string_view::npos;
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
