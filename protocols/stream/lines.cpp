// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/lines.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace mailgate {

std::optional<std::string_view> LineReader::next(std::string_view& bytes) {
    if (handed_out_) {
        // Swapped and not cleared: an idle session keeps no buffer, least of all one that held a password.
        std::string().swap(fragment_);
        handed_out_ = false;
    }
    const std::size_t end = bytes.find('\n');
    if (end == std::string_view::npos) {
        keep(bytes);
        bytes = {};
        return std::nullopt;
    }
    std::string_view line = bytes.substr(0, end);
    bytes.remove_prefix(end + 1);
    if (!fragment_.empty() || line.size() > kMaxLineBytes) {
        keep(line);
        line = fragment_;
        handed_out_ = true;
    }
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

void LineReader::keep(std::string_view piece) {
    const std::size_t room = kMaxLineBytes - fragment_.size();
    fragment_.append(piece.substr(0, room));
    if (piece.size() <= room) return;
    piece.remove_prefix(room);
    const std::size_t shifted = std::min(piece.size(), kLineTailBytes);
    fragment_.erase(kMaxLineBytes - kLineTailBytes, shifted);
    fragment_.append(piece.substr(piece.size() - shifted));
}

std::string_view withoutLineEnd(std::string_view line) noexcept {
    if (line.ends_with('\n')) line.remove_suffix(1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

std::optional<std::size_t> endOfLine(std::string_view bytes, std::size_t limit) noexcept {
    const std::size_t end = bytes.find('\n');
    if (end == std::string_view::npos) {
        // A CR may be the line end's.
        return bytes.size() > limit + 1 ? std::optional(std::string_view::npos) : std::nullopt;
    }
    return withoutLineEnd(bytes.substr(0, end + 1)).size() > limit ? std::string_view::npos : end + 1;
}

void skipSpaces(std::string_view& text) noexcept {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
}

std::string_view takeWord(std::string_view& text) noexcept {
    skipSpaces(text);
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(word.size());
    skipSpaces(text);
    return word;
}

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

}  // namespace mailgate
