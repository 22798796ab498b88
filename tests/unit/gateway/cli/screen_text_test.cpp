// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/screen_text.h"

#include <gtest/gtest.h>

namespace mailgate::cli {
namespace {

TEST(ScreenText, LettersOfAllKindsAreShown) {
    for (const char* text : {"", "mail.example.org", "B\u00FCro", "\u4E2D\u6587@example.org", "\U0001F600",
                             "e\u0301le\u0300ve", "\u0E17\u0E35\u0E48"})
        EXPECT_EQ(shown(text), text);
}

TEST(ScreenText, NothingIsShownThatATerminalObeysOrThatTurnsTheLine) {
    EXPECT_EQ(shown("a\x1B[31mb\r\n\t"), "a\\u001b[31mb\\u000d\\u000a\\u0009");
    EXPECT_EQ(shown("a\u202Eb\u2066c\u200Fd"), "a\\u202eb\\u2066c\\u200fd");
    EXPECT_EQ(shown("a\u200Bb\uFEFFc\u00ADd"), "a\\u200bb\\ufeffc\\u00add");
    EXPECT_EQ(shown("say \"x\\y\" \a"), "say \"x\\y\" \\u0007") << "quotes mean nothing to it";
    EXPECT_EQ(shown("\xFF\xC0\x80"), "\uFFFD\uFFFD\uFFFD");
    EXPECT_EQ(shown(std::string_view("a\0b", 3)), "a\\u0000b");
}

TEST(ScreenText, AMarkStandsOnALetterAndTwoAreEnough) {
    EXPECT_EQ(shown("\u0301a"), "\\u0301a") << "it would go to the cell before";
    EXPECT_EQ(shown("a \u0301"), "a \\u0301");
    EXPECT_EQ(shown("a\u0301\u0301\u0301\u0301"), "a\u0301\u0301\\u0301\\u0301");
    EXPECT_EQ(shown("a\u1161"), "a\u1161");
}

TEST(ScreenText, WhatTheLibraryDoesNotKnowHasNoWidthAndIsNotShown) {
    EXPECT_EQ(shown("a\u0378"), "a\\u0378");
    EXPECT_EQ(shown("\U000E0041\U0010FFFF"), "\\udb40\\udc41\\udbff\\udfff");
}

TEST(ScreenText, WidthIsCountedInColumns) {
    EXPECT_EQ(screenWidth(""), 0u);
    EXPECT_EQ(screenWidth("abc"), 3u);
    EXPECT_EQ(screenWidth("B\u00FCro"), 4u);
    EXPECT_EQ(screenWidth("\u4E2D\u6587"), 4u);
    EXPECT_EQ(screenWidth("e\u0301"), 1u);
    EXPECT_EQ(screenWidth("\U0001F600\u2026"), 3u);
}

TEST(ScreenText, ClippedTextIsAsWideAsItMayBe) {
    EXPECT_EQ(clipped("abcdef", 6), "abcdef");
    EXPECT_EQ(clipped("abcdef", 5), "abcd\u2026");
    EXPECT_EQ(clipped("abcdef", 1), "\u2026");
    EXPECT_EQ(clipped("abcdef", 0), "");
    EXPECT_EQ(clipped("\u4E2D\u6587\u5B57", 5), "\u4E2D\u6587\u2026");
    EXPECT_EQ(clipped("\u4E2D\u6587\u5B57", 4), "\u4E2D\u2026") << "no half of a wide one";
    EXPECT_EQ(clipped("ae\u0301ae\u0301", 3), "ae\u0301\u2026") << "no mark is left without its letter";
}

TEST(ScreenText, ATerminalThatKnowsOnlyAsciiGetsNothingElse) {
    EXPECT_EQ(shown("B\u00FCro \U0001F600 e\u0301", Letters::Ascii), "B\\u00fcro \\ud83d\\ude00 e\\u0301");
    EXPECT_EQ(clipped("abcdef", 5, Letters::Ascii), "abcd~");
}

TEST(ScreenText, LinesAreBrokenBetweenWords) {
    EXPECT_EQ(wrapped("one two three\nfour\n", 7), "one two\nthree\nfour\n");
    EXPECT_EQ(wrapped("one two three\nfour\n", 13), "one two three\nfour\n");
    EXPECT_EQ(wrapped("one two three\nfour\n", 0), "one two three\nfour\n");
    EXPECT_EQ(wrapped("\na longerword b\n", 6), "\na\nlongerword\nb\n") << "a word stays whole";
    EXPECT_EQ(wrapped("\u4E2D\u6587 \u5B57", 6), "\u4E2D\u6587\n\u5B57");
}

}  // namespace
}  // namespace mailgate::cli
