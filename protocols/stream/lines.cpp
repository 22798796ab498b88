// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/lines.h"

#include "protocols/values/text.h"

#include <algorithm>

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

bool beginsWithWords(std::string_view line, std::string_view words) noexcept {
    return startsWithIgnoreCase(line, words) && (line.size() == words.size() || line[words.size()] == ' ');
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

}  // namespace mailgate
