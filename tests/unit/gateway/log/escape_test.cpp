// SPDX-License-Identifier: Apache-2.0
#include "gateway/log/escape.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace mailgate {
namespace {

struct EscapeCase {
    std::string_view text;
    std::string_view want;
};

TEST(Escape, OnlyValidPrintableUtf8ComesOut) {
    using namespace std::string_view_literals;
    const EscapeCase cases[] = {
        {"", ""},
        {"plain ~", "plain ~"},
        {"\"\\", "\\\"\\\\"},
        {"a\r\n\t\0\x1b[2Jb"sv, "a\\u000d\\u000a\\u0009\\u0000\\u001b[2Jb"},
        {"\x7f", "\\u007f"},
        {"\xC2\x85\xC2\x9B", "\\u0085\\u009b"},          // C1: next line, control sequence introducer
        {"\xE2\x80\xA8\xE2\x80\xA9", "\\u2028\\u2029"},  // line and paragraph separator
        {"\xC2\xA0\xC3\xBC\xE2\x82\xAC\xF0\x9F\x93\xA7", "\xC2\xA0\xC3\xBC\xE2\x82\xAC\xF0\x9F\x93\xA7"},
        {"\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF"},  // U+10FFFF
        {"\x80", "\xEF\xBF\xBD"},                  // continuation alone
        {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},  // overlong
        {"\xE0\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},                  // surrogate
        {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},  // beyond U+10FFFF
        {"\xF5\xFF", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xE2\x82", "\xEF\xBF\xBD"},  // cut short: one maximal subpart
        {"\xE2\x82x", "\xEF\xBF\xBDx"},
        {"a\u034F\u3164\uFFA0\uFE0F\U000E0101b", "a\\u034f\\u3164\\uffa0\\ufe0f\\udb40\\udd01b"},
        {"gnp.\u202Eexe", "gnp.\\u202eexe"},  // right to left from here
        {"a\u200B\u2066\uFEFF\u061C\u00AD\u2060", "a\\u200b\\u2066\\ufeff\\u061c\\u00ad\\u2060"},
        {"a\U000E0041", "a\\udb40\\udc41"},  // a tag: two units of UTF-16
        {"\xF0\x9F\x93\n", "\xEF\xBF\xBD\\u000a"},
        {"\xC3\xC3\xBC", "\xEF\xBF\xBD\xC3\xBC"},
    };
    for (const EscapeCase& each : cases)
        EXPECT_EQ(escaped(each.text), each.want) << testing::PrintToString(each.text);
}

std::size_t replacements(std::string_view text) {
    std::size_t count = 0;
    for (std::size_t at = text.find("\xEF\xBF\xBD"); at != text.npos; at = text.find("\xEF\xBF\xBD", at + 1))
        ++count;
    return count;
}

TEST(Escape, EveryPairOfBytesStaysOneLineAndIsNotShorter) {
    for (unsigned first = 0; first < 256; ++first) {
        for (unsigned second = 0; second < 256; ++second) {
            const std::string text{char(first), char(second)};
            const std::string out = escaped(text);
            ASSERT_GE(out.size(), text.size());
            ASSERT_TRUE(std::none_of(out.begin(), out.end(),
                                     [](unsigned char byte) { return byte < 0x20 || byte == 0x7F; }));
            ASSERT_EQ(replacements(escaped(out)), replacements(out));  // what came out is well-formed
        }
    }
}

TEST(Escape, OfAJsonDocumentOnlyWhatCannotBeSeen) {
    EXPECT_EQ(visibleJson("{\"a\":\"\\u0001 \xC2\x9B\u202E\x7F \xC3\xBC\"}\n"),
              "{\"a\":\"\\u0001 \\u009b\\u202e\\u007f \xC3\xBC\"}\n");
}

TEST(Escape, QuotesCutAtACharacter) {
    EXPECT_EQ(inQuotes("short"), "\"short\"");
    EXPECT_EQ(inQuotes("abcdef", 3), "\"abc...\"");
    EXPECT_EQ(inQuotes("ab\xC3\xBC"
                       "def",
                       3),
              "\"ab...\"");
    EXPECT_EQ(inQuotes("\x80\x80\x80", 2), "\"...\"");
}

TEST(Escape, WhatIsPlainIsWhatStaysAsItIs) {
    for (unsigned byte = 0; byte < 256; ++byte) {
        const std::string text = {'a', char(byte), 'z'};
        EXPECT_EQ(isPlain(text), byte < 0x80 && escaped(text) == text) << byte;
        // Long texts are looked at in words.
        for (std::size_t at = 0; at < 18; ++at) {
            std::string long_text(18, at % 2 == 0 ? ' ' : '~');
            long_text[at] = char(byte);
            EXPECT_EQ(isPlain(long_text), isPlain(text)) << byte << " at " << at;
        }
    }
    EXPECT_TRUE(isPlain(""));
}

}  // namespace
}  // namespace mailgate
