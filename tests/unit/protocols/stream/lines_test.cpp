// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/lines.h"

#include <gtest/gtest.h>

#include <vector>

namespace mailgate {
namespace {

/// The lines in `bytes`, which come in pieces of `size`.
std::vector<std::string> linesIn(std::string_view bytes, std::size_t size) {
    LineReader reader;
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < bytes.size(); at += size) {
        std::string_view piece = bytes.substr(at, size);
        while (const auto line = reader.next(piece))
            lines.emplace_back(*line);
        EXPECT_TRUE(piece.empty());
    }
    return lines;
}

TEST(LineReader, CutsAtLfWhateverThePieces) {
    const std::vector<std::string> want{"one", "", "two\rtwo", "three", "\r"};
    for (const std::size_t size : {1, 2, 3, 7, 100})
        EXPECT_EQ(linesIn("one\r\n\r\ntwo\rtwo\nthree\r\n\r\r\nrest", size), want) << size;
}

TEST(LineReader, KeepsTheBeginningAndTheEndOfAnOverlongLine) {
    const std::string head(kMaxLineBytes - kLineTailBytes, 'h');
    const std::string tail = std::string(kLineTailBytes - 4, 't') + "{12}";
    const std::string line = head + std::string(5000, 'm') + tail + "\n";
    for (const std::size_t size : {std::size_t{1}, std::size_t{1000}, line.size()})
        EXPECT_EQ(linesIn(line + "next\n", size), (std::vector<std::string>{head + tail, "next"})) << size;
}

TEST(WithoutLineEnd, TakesOneLineEndOff) {
    EXPECT_EQ(withoutLineEnd("a\r\n"), "a");
    EXPECT_EQ(withoutLineEnd("a\n"), "a");
    EXPECT_EQ(withoutLineEnd("a\r"), "a");
    EXPECT_EQ(withoutLineEnd("a\n\r\n"), "a\n");
    EXPECT_EQ(withoutLineEnd(""), "");
}

TEST(EndOfLine, IsBehindTheLfOrNowhereNearTheLimit) {
    EXPECT_EQ(endOfLine("abc\r\ndef", 3), 5U);
    EXPECT_EQ(endOfLine("abc\n", 3), 4U);
    EXPECT_EQ(endOfLine("abc", 3), std::nullopt);
    EXPECT_EQ(endOfLine("abc\r", 3), std::nullopt) << "the CR may be the line end's";
    EXPECT_EQ(endOfLine("abcd", 3), std::nullopt) << "the last byte may yet be a CR";
    EXPECT_EQ(endOfLine("abcd\r\n", 3), std::string_view::npos);
    EXPECT_EQ(endOfLine("abcde", 3), std::string_view::npos);
}

TEST(TakeWord, SplitsAtSpacesAlone) {
    std::string_view text = "  USER\talice   x ";
    EXPECT_EQ(takeWord(text), "USER\talice");
    EXPECT_EQ(text, "x ");
    EXPECT_EQ(takeWord(text), "x");
    EXPECT_EQ(takeWord(text), "");
    EXPECT_EQ(text, "");
}

}  // namespace
}  // namespace mailgate
