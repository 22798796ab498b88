// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/word_list.h"

#include "protocols/values/text.h"

#include <algorithm>
#include <utility>

namespace mailgate {

namespace {

constexpr std::string_view kBetweenWords = " \t\v\f\r";

/// A word with the blanks before it.
struct Piece {
    std::string_view whole;
    std::string_view word;
};

/// Takes the first one off the front of `list`.
Piece takePiece(std::string_view& list) noexcept {
    const std::size_t begin = std::min(list.find_first_not_of(kBetweenWords), list.size());
    const std::size_t end = std::min(list.find_first_of(kBetweenWords, begin), list.size());
    const Piece piece{list.substr(0, end), list.substr(begin, end - begin)};
    list.remove_prefix(end);
    return piece;
}

}  // namespace

std::optional<std::string> withoutWords(std::string_view list,
                                        const std::function<bool(std::string_view word)>& drops) {
    std::string kept;
    bool dropped = false;
    bool first_dropped = false;  // and nothing has taken its place yet
    bool first = true;
    while (!list.empty()) {
        const Piece piece = takePiece(list);
        if (!piece.word.empty() && drops(piece.word)) {
            dropped = true;
            if (first) {
                first_dropped = true;
                kept += piece.whole.substr(0, piece.whole.size() - piece.word.size());
            }
        } else {
            kept += std::exchange(first_dropped, false) ? piece.word : piece.whole;
        }
        first = false;
    }
    return dropped ? std::optional(std::move(kept)) : std::nullopt;
}

bool hasWord(std::string_view list, std::string_view word) noexcept {
    while (!list.empty()) {
        if (equalsIgnoreCase(takePiece(list).word, word)) return true;
    }
    return false;
}

bool isBlank(std::string_view list) noexcept {
    return list.find_first_not_of(kBetweenWords) == std::string_view::npos;
}

bool bindsChannel(std::string_view mechanism) noexcept {
    constexpr std::string_view kPlus = "-PLUS";
    return mechanism.size() >= kPlus.size() &&
           equalsIgnoreCase(mechanism.substr(mechanism.size() - kPlus.size()), kPlus);
}

}  // namespace mailgate
