// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/literals.h"

#include "protocols/stream/login_filter.h"
#include "protocols/values/text.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

namespace mailgate {

namespace {

struct LineEnd {
    bool malformed = false;
    std::optional<LiteralSize> literal;
};

/// Where the quoted string ends that `text` begins with: behind its ". npos: nowhere.
std::size_t endOfQuoted(std::string_view text) noexcept {
    for (std::size_t at = 1; at < text.size(); ++at) {
        if (text[at] == '"') return at + 1;
        if (text[at] == '\r') break;
        if (text[at] == '\\') ++at;
    }
    return std::string_view::npos;
}

/// Whether what follows a string or a literal ends it.
bool endsString(std::string_view rest, Lists lists) noexcept {
    return rest.empty() || rest.front() == ' ' || (rest.front() == ')' && lists == Lists::Allowed);
}

/// Strings and literals stand alone between spaces and a list's parentheses; { and " have no other use.
LineEnd scanLine(std::string_view line, Lists lists) noexcept {
    bool between = true;
    while (!line.empty()) {
        const char c = line.front();
        std::size_t taken = 1;
        if (c == '{') {
            const auto literal = literalAtEnd(line);
            if (!between || !literal || literal->at != 0 || line.ends_with("-}"))
                return {.malformed = true, .literal = {}};
            return {.malformed = false, .literal = literal};
        }
        if (c == '"') {
            taken = endOfQuoted(line);
            if (!between || taken == std::string_view::npos || !endsString(line.substr(taken), lists))
                return {.malformed = true, .literal = {}};
        } else if (hasControls(line.substr(0, 1))) {
            return {.malformed = true, .literal = {}};
        }
        between = c == ' ' || (c == '(' && between && lists == Lists::Allowed);
        line.remove_prefix(taken);
    }
    return {};
}

/// RFC 9051 9: ASTRING-CHAR.
bool isAtomChar(char c) noexcept {
    return c > ' ' && c < 0x7f && std::string_view("(){%*\"\\").find(c) == std::string_view::npos;
}

enum class Arguments : std::uint8_t { Plain, Strings };

bool isPlainQuoted(std::string_view quoted, Arguments kind) noexcept {
    return !hasControls(quoted) &&
           (kind == Arguments::Plain || std::all_of(quoted.begin(), quoted.end(), [](char c) {
                return static_cast<unsigned char>(c) < 0x80 && c != '\\';
            }));
}

/// How long the argument is that `text` begins with. 0: there is none.
std::size_t sizeOfArgument(std::string_view text, Arguments kind) noexcept {
    if (text.starts_with('"')) {
        const std::size_t size = endOfQuoted(text);
        return size != std::string_view::npos && isPlainQuoted(text.substr(0, size), kind) ? size : 0;
    }
    const std::size_t line_end = text.find('\n');
    if (text.starts_with('{') && line_end != std::string_view::npos) {
        const auto literal = literalAtEnd(withoutLineEnd(text.substr(0, line_end + 1)));
        if (!literal) return 0;
        // The last one may have yet to be given leave.
        return std::min(line_end + 1 + static_cast<std::size_t>(literal->bytes), text.size());
    }
    if (kind == Arguments::Strings) return 0;
    return static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), isAtomChar) - text.begin());
}

bool isArguments(std::string_view text, Arguments kind, std::size_t most) noexcept {
    for (; most > 0; --most) {
        const std::size_t size = sizeOfArgument(text, kind);
        if (size == 0) return false;
        text.remove_prefix(size);
        if (withoutLineEnd(text).empty()) return true;
        if (!text.starts_with(' ')) return false;
        text.remove_prefix(1);
    }
    return false;
}

/// Takes a quoted string ("…", with \ before " and \) off the front of `text`. Nothing, and `text` as it was,
/// when there is none or its end is missing. Throws std::bad_alloc.
std::optional<std::string> takeQuoted(std::string_view& text) {
    if (!text.starts_with('"')) return std::nullopt;
    std::string value;
    for (std::size_t at = 1; at < text.size(); ++at) {
        if (text[at] == '"') {
            text.remove_prefix(at + 1);
            return value;
        }
        if (text[at] == '\\' && at + 1 < text.size()) ++at;
        value.push_back(text[at]);
    }
    return std::nullopt;
}

}  // namespace

std::optional<LiteralSize> literalAtEnd(std::string_view line) noexcept {
    if (!line.ends_with('}')) return std::nullopt;
    LiteralSize literal;
    literal.at = line.rfind('{');
    if (literal.at == std::string_view::npos) return std::nullopt;

    std::string_view number = line.substr(literal.at + 1, line.size() - literal.at - 2);
    if (number.ends_with('+') || number.ends_with('-')) {
        literal.synchronizing = false;
        number.remove_suffix(1);
    }
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), literal.bytes);
    if (error == std::errc::invalid_argument || end != number.data() + number.size()) return std::nullopt;
    if (error == std::errc::result_out_of_range) literal.bytes = std::numeric_limits<std::uint64_t>::max();
    return literal;
}

Extent measureCommand(std::string_view bytes, std::optional<std::size_t> literal, std::size_t limit,
                      Lists lists) {
    using State = Extent::State;
    std::size_t at = 0;
    bool unasked = false;
    while (true) {
        at += literal.value_or(0);
        if (at > kMaxUnfinishedBytes) return {.state = State::TooLong, .bytes = 0, .literal = {}};
        if (at > bytes.size()) return {};
        const std::string_view rest = bytes.substr(at);
        const std::optional<std::size_t> end = endOfLine(rest, limit);
        if (end == std::string_view::npos || at + end.value_or(rest.size()) > kMaxUnfinishedBytes)
            return {.state = State::TooLong, .bytes = 0, .literal = {}};
        if (!end) return {};

        const std::string_view line = withoutLineEnd(rest.substr(0, *end));
        at += *end;
        const LineEnd last = scanLine(line, lists);
        if (last.malformed || (literal && !endsString(line, lists)))
            return {.state = State::Malformed, .bytes = at, .literal = {}};
        if (!last.literal) return {.state = State::Whole, .bytes = at, .literal = {}, .unasked = unasked};
        if (last.literal->bytes > kMaxLoginLineBytes) {
            // Without leave it will not be sent, and a refusal takes its place.
            const bool saved = last.literal->synchronizing;
            return {.state = saved ? State::Malformed : State::TooLong, .bytes = at, .literal = {}};
        }
        literal = static_cast<std::size_t>(last.literal->bytes);
        if (last.literal->synchronizing)
            return {.state = State::Whole, .bytes = at, .literal = literal, .unasked = unasked};
        unasked = true;
        // Only the end of a command is put right where it is a bare LF.
        const bool bare_lf = !rest.substr(0, *end).ends_with("\r\n");
        if (bare_lf) return {.state = State::Lost, .bytes = 0, .literal = {}};
    }
}

bool isPlain(std::string_view text, std::optional<std::size_t> literal) noexcept {
    if (literal) text.remove_prefix(std::min(*literal + 1, text.size()));
    return isArguments(text, Arguments::Plain, kMaxLoginLineBytes);
}

bool isStrings(std::string_view text, std::size_t most) noexcept {
    return isArguments(text, Arguments::Strings, most);
}

std::optional<std::string> WordReader::next() {
    if (literal_) return take(*std::exchange(literal_, std::nullopt));
    const std::string_view between = lists_ == Lists::Allowed ? " ()" : " ";
    text_.remove_prefix(std::min(text_.find_first_not_of(between), text_.size()));
    if (text_.starts_with('"')) return takeQuoted(text_);
    const std::size_t line_end = text_.find('\n');
    if (text_.starts_with('{') && line_end != std::string_view::npos) {
        const auto literal = literalAtEnd(withoutLineEnd(text_.substr(0, line_end + 1)));
        text_.remove_prefix(line_end + 1);
        if (!literal || literal->bytes > text_.size()) return std::nullopt;
        return take(static_cast<std::size_t>(literal->bytes));
    }
    const std::size_t size = std::min(text_.find_first_of(" \r\n"), text_.size());
    if (size == 0) return std::nullopt;
    return take(size);
}

std::string WordReader::take(std::size_t bytes) {
    std::string word(text_.substr(0, bytes));
    text_.remove_prefix(word.size());
    return word;
}

}  // namespace mailgate
