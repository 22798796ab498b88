// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/literals.h"

#include "protocols/stream/login_filter.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace mailgate {
namespace {

using State = Extent::State;

Extent measured(std::string_view bytes, std::optional<std::size_t> literal = {},
                Lists lists = Lists::Allowed) {
    return measureCommand(bytes, literal, kMaxLoginLineBytes, lists);
}

std::vector<std::string> wordsIn(std::string_view text, std::optional<std::size_t> literal = {},
                                 Lists lists = Lists::Allowed) {
    WordReader reader(text, literal, lists);
    std::vector<std::string> words;
    while (const auto word = reader.next())
        words.push_back(*word);
    return words;
}

TEST(LiteralAtEnd, ReadsSizeAndKind) {
    const auto waits = literalAtEnd("a1 LOGIN {5}");
    ASSERT_TRUE(waits);
    EXPECT_EQ(waits->at, 9U);
    EXPECT_EQ(waits->bytes, 5U);
    EXPECT_TRUE(waits->synchronizing);
    EXPECT_FALSE(literalAtEnd("a1 LOGIN {5+}")->synchronizing);
    EXPECT_FALSE(literalAtEnd("a1 LOGIN {5-}")->synchronizing);
    EXPECT_EQ(literalAtEnd("{99999999999999999999}")->bytes, std::numeric_limits<std::uint64_t>::max());
    for (const char* none : {"", "}", "{}", "{+}", "{5} ", "{-5}", "{5x}", "5}", "{0x5}"})
        EXPECT_FALSE(literalAtEnd(none)) << none;
}

TEST(MeasureCommand, NeedsTheWholeLine) {
    const std::string_view line = "a1 NOOP \"x \\\" y\" (a b)\r\n";
    for (std::size_t size = 0; size < line.size(); ++size)
        EXPECT_EQ(measured(line.substr(0, size)).state, State::Partial) << size;
    EXPECT_EQ(measured(line).state, State::Whole);
    EXPECT_EQ(measured(line).bytes, line.size());
    EXPECT_FALSE(measured(line).unasked);
}

TEST(MeasureCommand, StopsAtALiteralThatWaitsForLeave) {
    const Extent extent = measured("a1 LOGIN {5}\r\nalice");
    EXPECT_EQ(extent.state, State::Whole);
    EXPECT_EQ(extent.bytes, 14U);
    EXPECT_EQ(extent.literal, 5U);
    // With leave, the literal and the line behind it are what comes next.
    const Extent rest = measured("alice x\r\n", 5);
    EXPECT_EQ(rest.state, State::Whole);
    EXPECT_EQ(rest.bytes, 9U);
    EXPECT_EQ(measured("alicex\r\n", 5).state, State::Malformed);
    EXPECT_EQ(measured("ali", 5).state, State::Partial);
}

TEST(MeasureCommand, GoesOnBehindALiteralThatNeedsNone) {
    const std::string_view command = "a1 LOGIN {3+}\r\n\r\nx {2+}\r\nyy\r\nNEXT\r\n";
    const Extent extent = measured(command);
    EXPECT_EQ(extent.state, State::Whole);
    EXPECT_EQ(extent.bytes, command.size() - 6);
    EXPECT_TRUE(extent.unasked);
    EXPECT_EQ(measured("a1 LOGIN {3+}\nabc\r\n").state, State::Lost);
}

TEST(MeasureCommand, FindsWhatNoGrammarAllows) {
    for (const char* line : {"a1 \"x\"y\r\n", "a1 x\"y\"\r\n", "a1 \"x\r\n", "a1 {5} x\r\n", "a1 x{5}\r\n",
                             "a1 {5-}\r\n", "a1 \x01\r\n", "a1 x\ty\r\n"}) {
        EXPECT_EQ(measured(line).state, State::Malformed) << line;
        EXPECT_EQ(measured(line).bytes, std::string_view(line).size()) << line;
    }
    EXPECT_EQ(measured("a1 (\"x\")\r\n").state, State::Whole);
    for (const char* line : {"a1 (\"x\")\r\n", "a1 \"x\")\r\n", "a1 {1+}\r\nx)\r\n"})
        EXPECT_EQ(measured(line, {}, Lists::Unknown).state, State::Malformed) << line;
}

TEST(MeasureCommand, IsBounded) {
    EXPECT_EQ(measured(std::string(kMaxLoginLineBytes + 2, 'x')).state, State::TooLong);
    EXPECT_EQ(measured("a1 {100000}\r\n").state, State::Malformed) << "it can be refused leave";
    EXPECT_EQ(measured("a1 {100000+}\r\n").state, State::TooLong);
    std::string many = "a1";
    while (many.size() <= kMaxUnfinishedBytes)
        many += " {4000+}\r\n" + std::string(4000, 'x');
    EXPECT_EQ(measured(many).state, State::TooLong);
}

TEST(WordReader, UnquotesAndLeavesParenthesesOut) {
    EXPECT_EQ(wordsIn("LOGIN \"al\\\"ice\" {5+}\r\na b\r\n (x \"\")\r\n"),
              (std::vector<std::string>{"LOGIN", "al\"ice", "a b\r\n", "x", ""}));
    EXPECT_EQ(wordsIn("a b secret\r\n", 3), (std::vector<std::string>{"a b", "secret"}));
    EXPECT_TRUE(wordsIn("{9+}\r\nshort").empty());
    EXPECT_EQ(wordsIn("(a \"b\" )\r\n", {}, Lists::Unknown), (std::vector<std::string>{"(a", "b", ")"}));
}

TEST(IsPlain, TakesOneSpaceBetweenArguments) {
    EXPECT_TRUE(isPlain("alice \"won der\" {2+}\r\nxy\r\n", {}));
    EXPECT_TRUE(isPlain("alice x\r\n", 5));
    for (const char* odd :
         {"alice  x\r\n", " alice\r\n", "al*ce\r\n", "\"a\x01\"\r\n", "al\xc3\xa9\r\n", "alice \r\n"})
        EXPECT_FALSE(isPlain(odd, {})) << odd;
}

TEST(IsStrings, TakesSoManyStringsWithoutEscapes) {
    EXPECT_TRUE(isStrings("\"PLAIN\" {2+}\r\nxy\r\n", 2));
    EXPECT_FALSE(isStrings("\"PLAIN\" \"x\"\r\n", 1));
    EXPECT_FALSE(isStrings("PLAIN\r\n", 1));
    EXPECT_FALSE(isStrings("\"PL\\\"AIN\"\r\n", 1));
    EXPECT_FALSE(isStrings("\"pl\xc3\xa4in\"\r\n", 1));
}

}  // namespace
}  // namespace mailgate
