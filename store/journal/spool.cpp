// SPDX-License-Identifier: Apache-2.0
#include "store/journal/backend.h"

#include <fmt/format.h>

#include <charconv>

namespace mailgate::store::journal {

namespace {

/// Off the front of `text`, with the blank after it.
std::string_view takeWord(std::string_view& text) noexcept {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    return word;
}

std::int64_t takeNumber(std::string_view& text) noexcept {
    const std::string_view word = takeWord(text);
    std::int64_t number = 0;
    std::from_chars(word.data(), word.data() + word.size(), number);
    return number;
}

}  // namespace

std::string spoolText(const SpoolPosition& position) {
    std::string text = fmt::to_string(position.segment);
    for (const SpoolPlace& place : position.places)
        text += fmt::format(" {} {} {}", place.key, place.id.empty() ? "-" : place.id, place.closed ? 1 : 0);
    return text;
}

SpoolPosition spoolPosition(std::string_view text) {
    SpoolPosition position;
    position.segment = takeNumber(text);
    for (SpoolPlace& place : position.places) {
        place.key = takeNumber(text);
        const std::string_view id = takeWord(text);
        if (id != "-") place.id = id;
        place.closed = takeNumber(text) != 0;
    }
    return position;
}

}  // namespace mailgate::store::journal
