// SPDX-License-Identifier: Apache-2.0
#include "gateway/log/escape.h"

#include "protocols/values/byte_words.h"

#include <array>
#include <cstdint>

namespace mailgate {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

constexpr std::array<bool, 256> kPlain = [] {
    std::array<bool, 256> plain{};
    for (unsigned byte = 0x20; byte < 0x7F; ++byte)
        plain[byte] = byte != '"' && byte != '\\';
    return plain;
}();

std::uint8_t byteAt(std::string_view text, std::size_t at) noexcept {
    return static_cast<std::uint8_t>(text[at]);
}

/// Whether one of eight bytes is not plain.
bool anyToEscape(std::uint64_t word) noexcept {
    using namespace byte_words;
    return any(below(word, 0x20) | equal(word, '"') | equal(word, '\\') | equal(word, 0x7F) | word);
}

std::size_t plainRun(std::string_view text) noexcept {
    std::size_t length = 0;
    while (text.size() - length >= sizeof(std::uint64_t)) {
        if (anyToEscape(byte_words::load(text, length))) break;
        length += sizeof(std::uint64_t);
    }
    while (length < text.size() && kPlain[byteAt(text, length)])
        ++length;
    return length;
}

/// What stands at the front of a text: a code point, or bytes that are none.
struct Decoded {
    char32_t code_point = 0;
    std::size_t length = 1;
    bool valid = false;
};

/// The second byte's range depends on the first: that keeps out overlong forms, surrogates and what lies
/// beyond U+10FFFF (Unicode table 3-7).
struct LeadByte {
    std::size_t length;
    std::uint8_t second_low;
    std::uint8_t second_high;
};

LeadByte classify(std::uint8_t lead) noexcept {
    if (lead < 0x80) return {1, 0, 0};
    if (lead < 0xC2) return {0, 0, 0};
    if (lead < 0xE0) return {2, 0x80, 0xBF};
    if (lead < 0xF0)
        return {3, std::uint8_t(lead == 0xE0 ? 0xA0 : 0x80), std::uint8_t(lead == 0xED ? 0x9F : 0xBF)};
    if (lead < 0xF5)
        return {4, std::uint8_t(lead == 0xF0 ? 0x90 : 0x80), std::uint8_t(lead == 0xF4 ? 0x8F : 0xBF)};
    return {0, 0, 0};
}

Decoded decode(std::string_view text) noexcept {
    const std::uint8_t lead = byteAt(text, 0);
    const LeadByte kind = classify(lead);
    if (kind.length == 0) return {};
    if (kind.length == 1) return {lead, 1, true};
    char32_t code_point = lead & (0x7Fu >> kind.length);
    for (std::size_t at = 1; at < kind.length; ++at) {
        const std::uint8_t low = at == 1 ? kind.second_low : 0x80;
        const std::uint8_t high = at == 1 ? kind.second_high : 0xBF;
        if (at == text.size() || byteAt(text, at) < low || byteAt(text, at) > high) return {0, at, false};
        code_point = code_point << 6 | (byteAt(text, at) & 0x3Fu);
    }
    return {code_point, kind.length, true};
}

struct Span {
    char32_t first, last;
};

/// What a terminal obeys, what reorders the text around it (UAX 9), and what nobody sees
/// (Default_Ignorable_Code_Point).
constexpr std::array kUnprintable{
    Span{0x00, 0x1F},       Span{0x7F, 0x9F},       Span{0xAD, 0xAD},       Span{0x034F, 0x034F},
    Span{0x061C, 0x061C},   Span{0x115F, 0x1160},   Span{0x17B4, 0x17B5},   Span{0x180B, 0x180F},
    Span{0x200B, 0x200F},   Span{0x2028, 0x202E},   Span{0x2060, 0x206F},   Span{0x3164, 0x3164},
    Span{0xFE00, 0xFE0F},   Span{0xFEFF, 0xFEFF},   Span{0xFFA0, 0xFFA0},   Span{0xFFF0, 0xFFFB},
    Span{0x1BCA0, 0x1BCA3}, Span{0x1D173, 0x1D17A}, Span{0xE0000, 0xE0FFF},
};

constexpr bool isUnprintable(char32_t code_point) noexcept {
    for (const Span& span : kUnprintable)
        if (code_point <= span.last) return code_point >= span.first;
    return false;
}

/// Without fmt::format_to(), which may throw more than std::bad_alloc.
void appendUnit(LineBuffer& out, char32_t unit) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    const std::array escape{'\\',
                            'u',
                            kDigits[unit >> 12 & 0xF],
                            kDigits[unit >> 8 & 0xF],
                            kDigits[unit >> 4 & 0xF],
                            kDigits[unit & 0xF]};
    out.append(escape.data(), escape.data() + escape.size());
}

/// JSON has UTF-16 units: two beyond U+FFFF.
void appendUnicodeEscape(LineBuffer& out, char32_t code_point) {
    if (code_point < 0x10000) return appendUnit(out, code_point);
    appendUnit(out, 0xD800 + ((code_point - 0x10000) >> 10));
    appendUnit(out, 0xDC00 + ((code_point - 0x10000) & 0x3FF));
}

void appendOne(LineBuffer& out, std::string_view bytes, const Decoded& decoded) {
    if (!decoded.valid) {
        out.append(kReplacement);
    } else if (decoded.code_point == '"' || decoded.code_point == '\\') {
        out.push_back('\\');
        out.push_back(bytes.front());
    } else if (isUnprintable(decoded.code_point)) {
        appendUnicodeEscape(out, decoded.code_point);
    } else {
        out.append(bytes);
    }
}

}  // namespace

void appendEscaped(LineBuffer& out, std::string_view text) {
    while (!text.empty()) {
        const std::size_t run = plainRun(text);
        out.append(text.substr(0, run));
        text.remove_prefix(run);
        if (text.empty()) return;
        const Decoded decoded = decode(text);
        appendOne(out, text.substr(0, decoded.length), decoded);
        text.remove_prefix(decoded.length);
    }
}

std::string escaped(std::string_view text) {
    LineBuffer out;
    appendEscaped(out, text);
    return fmt::to_string(out);
}

std::string visibleJson(std::string_view json) {
    LineBuffer out;
    while (!json.empty()) {
        const Decoded decoded = decode(json);
        const std::string_view bytes = json.substr(0, decoded.length);
        // Quotes and backslashes are the document's own.
        if (decoded.valid && decoded.code_point < 0x7F)
            out.append(bytes);
        else
            appendOne(out, bytes, decoded);
        json.remove_prefix(decoded.length);
    }
    return fmt::to_string(out);
}

bool isPlain(std::string_view text) noexcept {
    return plainRun(text) == text.size();
}

std::string inQuotes(std::string_view text, std::size_t limit) {
    LineBuffer out;
    out.push_back('"');
    if (text.size() <= limit) {
        appendEscaped(out, text);
    } else {
        // Not in the middle of a character: continuation bytes are 10xxxxxx.
        while (limit > 0 && (byteAt(text, limit) & 0xC0) == 0x80)
            --limit;
        appendEscaped(out, text.substr(0, limit));
        out.append(std::string_view("..."));
    }
    out.push_back('"');
    return fmt::to_string(out);
}

}  // namespace mailgate
