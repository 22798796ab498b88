// SPDX-License-Identifier: Apache-2.0
#include "protocols/dialogue/dialogue.h"

#include <gtest/gtest.h>

#include <string>

namespace mailgate {
namespace {

/// Answers each command with itself, and ends at "bye".
class Echo final : public Conversation {
  public:
    Echo() : Conversation("hello\r\n", "enough\r\n") {}

  private:
    Step answer(std::string_view line) const override {
        return {.reply = "<" + std::string(line) + ">", .done = line == "bye"};
    }
};

TEST(Conversation, AnswersCommandsWhateverThePieces) {
    const std::string said = "a\r\nb\n\r\nbye\r\nc\r\n";
    for (std::size_t piece = 1; piece <= said.size(); ++piece) {
        Echo echo;
        const Dialogue::Step opening = echo.open();
        EXPECT_EQ(opening.reply, "hello\r\n");
        EXPECT_FALSE(opening.done);
        std::string replies;
        bool done = false;
        for (std::size_t at = 0; at < said.size(); at += piece) {
            const Dialogue::Step step = echo.onBytes(std::string_view(said).substr(at, piece));
            replies += step.reply;
            EXPECT_TRUE(step.done || !done) << "over is over";
            done = step.done;
        }
        EXPECT_EQ(replies, "<a><b><><bye>") << "in pieces of " << piece;
        EXPECT_TRUE(done);
    }
}

TEST(Conversation, EndsAfterTenCommands) {
    Echo echo;
    for (int number = 1; number < 10; ++number)
        EXPECT_FALSE(echo.onBytes("a\r\n").done);
    const Dialogue::Step last = echo.onBytes("a\r\n");
    EXPECT_TRUE(last.done);
    EXPECT_EQ(last.reply, "<a>enough\r\n");
    const Dialogue::Step after = echo.onBytes("a\r\n");
    EXPECT_TRUE(after.done);
    EXPECT_EQ(after.reply, "");
}

TEST(Conversation, SaysOneGoodbye) {
    Echo echo;
    std::string said;
    for (int number = 1; number < 10; ++number)
        said += "a\r\n";
    const Dialogue::Step step = echo.onBytes(said + "bye\r\na\r\n");
    EXPECT_TRUE(step.done);
    EXPECT_TRUE(step.reply.ends_with("<a><bye>")) << step.reply;
}

TEST(Conversation, EndsALineWithoutEnd) {
    for (const std::size_t piece : {1u, 1000u, 100'000u}) {
        Echo echo;
        std::string replies;
        for (std::size_t sent = 0; sent < 100'000; sent += piece)
            replies += echo.onBytes(std::string(piece, 'x')).reply;
        EXPECT_EQ(replies, "enough\r\n");
        EXPECT_TRUE(echo.onBytes("a\r\n").done);
    }
}

TEST(Conversation, TakesAnOverlongLineForABadCommand) {
    Echo echo;
    const std::string longest(1000, 'x');
    EXPECT_EQ(echo.onBytes(longest + "\r\n").reply, "<" + longest + ">");
    EXPECT_EQ(echo.onBytes(longest + "x\r\n").reply, "<>");
    EXPECT_EQ(echo.onBytes(std::string(5000, 'x')).reply, "");
    EXPECT_EQ(echo.onBytes("\r\na\r\n").reply, "<><a>");
}

TEST(Farewell, IsOneLine) {
    Farewell farewell("421 gone\r\n");
    const Dialogue::Step step = farewell.open();
    EXPECT_EQ(step.reply, "421 gone\r\n");
    EXPECT_TRUE(step.done);
    EXPECT_EQ(farewell.onBytes("QUIT\r\n").reply, "");
    EXPECT_TRUE(farewell.onBytes("QUIT\r\n").done);
}

TEST(Silence, LastsWhateverComes) {
    Silence silence;
    EXPECT_EQ(silence.open().reply, "");
    EXPECT_FALSE(silence.open().done);
    EXPECT_EQ(silence.onBytes(std::string(100'000, 'x')).reply, "");
    EXPECT_FALSE(silence.onBytes("QUIT\r\n").done);
}

}  // namespace
}  // namespace mailgate
