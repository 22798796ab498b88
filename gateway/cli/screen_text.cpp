// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/screen_text.h"

#include "gateway/answers/rules_text.h"
#include "gateway/log/escape.h"

#include <fmt/format.h>

#include <locale.h>
#include <wchar.h>

#include <algorithm>
#include <iterator>

namespace mailgate::cli {

namespace {

/// The C library's view of UTF-8 for the calling thread, for as long as it lives. C.UTF-8 is a part of glibc.
class InUtf8 {
  public:
    InUtf8() : before_(::uselocale(utf8())) {}
    ~InUtf8() { ::uselocale(before_); }
    InUtf8(const InUtf8&) = delete;
    InUtf8& operator=(const InUtf8&) = delete;

  private:
    static locale_t utf8() {
        static const locale_t locale = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
        return locale;  // null: uselocale() leaves all as it is, and beyond ASCII everything is escaped
    }

    locale_t before_;
};

struct Letter {
    wchar_t code_point = 0;
    std::size_t length = 1;  ///< bytes
    int width = -1;          ///< columns; -1: not to be shown
};

/// The first one of a text that is not empty.
Letter firstLetter(std::string_view text) {
    Letter letter;
    mbstate_t state{};
    const std::size_t length = ::mbrtowc(&letter.code_point, text.data(), text.size(), &state);
    if (length == 0 || length > text.size()) {  // a NUL, or no character in this locale
        letter.code_point = static_cast<unsigned char>(text.front());
        return letter;
    }
    letter.length = length;
    letter.width = ::wcwidth(letter.code_point);
    return letter;
}

/// As JSON has it: in units of UTF-16.
std::string escapeOf(char32_t code_point) {
    const std::uint32_t value = code_point;
    if (value < 0x10000) return fmt::format("\\u{:04x}", value);
    return fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((value - 0x10000) >> 10),
                       0xDC00 + ((value - 0x10000) & 0x3FF));
}

}  // namespace

std::string shown(std::string_view text, Letters letters) {
    constexpr int kMarks = 2;
    std::string safe = answers::plainLine(text);
    if (isPlain(text)) return safe;
    const InUtf8 utf8;
    std::string out;
    int room = 0;  // for marks on the letter before
    for (std::string_view rest = safe; !rest.empty();) {
        const Letter letter = firstLetter(rest);
        const bool ascii = letter.length == 1 && letter.width == 1;
        const bool fits = letter.width > 0 || (letter.width == 0 && room > 0);
        if (ascii || (fits && letters == Letters::Utf8))
            out.append(rest, 0, letter.length);
        else
            out += escapeOf(static_cast<char32_t>(letter.code_point));
        if (letter.width == 0)
            --room;
        else
            room = letter.code_point == L' ' || letter.width < 0 ? 0 : kMarks;
        rest.remove_prefix(letter.length);
    }
    return out;
}

std::size_t screenWidth(std::string_view text) {
    const InUtf8 utf8;
    std::size_t width = 0;
    while (!text.empty()) {
        const Letter letter = firstLetter(text);
        width += static_cast<std::size_t>(std::max(letter.width, 0));
        text.remove_prefix(letter.length);
    }
    return width;
}

std::string clipped(std::string_view text, std::size_t width, Letters letters) {
    if (screenWidth(text) <= width) return std::string(text);
    if (width == 0) return {};
    const InUtf8 utf8;
    std::size_t bytes = 0, columns = 0;
    while (bytes < text.size()) {
        const Letter letter = firstLetter(text.substr(bytes));
        columns += static_cast<std::size_t>(std::max(letter.width, 0));
        if (columns > width - 1) break;
        bytes += letter.length;
    }
    return std::string(text.substr(0, bytes)) + (letters == Letters::Utf8 ? "…" : "~");
}

std::string wrapped(std::string_view text, std::size_t width) {
    if (width == 0) return std::string(text);
    std::string result;
    std::size_t used = 0;
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find_first_of(" \n"));
        const std::size_t columns = screenWidth(word);
        const bool fits = used + 1 + columns <= width;
        if (used > 0) result += fits ? ' ' : '\n';
        used = used > 0 && fits ? used + 1 + columns : columns;
        result += word;
        text.remove_prefix(word.size());
        if (text.starts_with('\n')) {
            result += '\n';
            used = 0;
        }
        if (!text.empty()) text.remove_prefix(1);
    }
    return result;
}

}  // namespace mailgate::cli
