// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/message_screen.h"

#include <gtest/gtest.h>

namespace mailgate::smtp {
namespace {

/// What goes on, as text.
class Sent final : public Output {
  public:
    explicit Sent(std::string_view input) : input_(input) {}
    void pass(std::size_t bytes) override {
        text += input_.substr(0, bytes);
        drop(bytes);
    }
    void drop(std::size_t bytes) override { input_.remove_prefix(bytes); }
    void write(std::string_view words) override { text += words; }
    bool canReply() const override { return false; }
    void reply(std::string_view /*text*/) override { FAIL() << "a message is not answered"; }

    std::string text;

  private:
    std::string_view input_;
};

struct Seen {
    std::string sent;
    std::string left;
    MessageScreen::Progress progress = MessageScreen::Progress::Going;
};

/// Shows `message` in pieces of `piece` bytes, what was left over before them.
Seen screen(MessageScreen& screen, std::string_view message, std::size_t piece) {
    Seen seen;
    screen.start();
    while (!message.empty() && seen.progress == MessageScreen::Progress::Going) {
        seen.left += message.substr(0, piece);
        message.remove_prefix(std::min(piece, message.size()));
        std::string_view bytes = seen.left;
        Sent out(bytes);
        seen.progress = screen.read(bytes, out);
        seen.sent += out.text;
        seen.left = std::string(bytes);
    }
    seen.left += message;
    return seen;
}

struct MessageCase {
    BareLfPolicy policy;
    const char* message;
    const char* want;
    MessageScreen::Progress progress;
    const char* left = "";
};

class MessageScreenTest : public ::testing::TestWithParam<MessageCase> {};

TEST_P(MessageScreenTest, LetsThisGoOnWhateverThePieces) {
    const MessageCase& message = GetParam();
    for (std::size_t piece = 1; piece <= std::string_view(message.message).size(); ++piece) {
        MessageScreen screener(message.policy);
        const Seen seen = screen(screener, message.message, piece);
        EXPECT_EQ(seen.sent, message.want) << piece;
        EXPECT_EQ(seen.progress, message.progress) << piece;
        EXPECT_EQ(seen.left, message.left) << piece;
    }
}

using Progress = MessageScreen::Progress;
constexpr BareLfPolicy kNormalize = BareLfPolicy::Normalize;
constexpr BareLfPolicy kReject = BareLfPolicy::Reject;
constexpr BareLfPolicy kPass = BareLfPolicy::Pass;

INSTANTIATE_TEST_SUITE_P(
    Messages, MessageScreenTest,
    ::testing::Values(MessageCase{kNormalize, ".\r\nQUIT\r\n", ".\r\n", Progress::Over, "QUIT\r\n"},
                      MessageCase{kNormalize, "a\r\n..b\r\n.\r\n", "a\r\n..b\r\n.\r\n", Progress::Over},
                      MessageCase{kNormalize, "a\nb\r\n.\r\n", "a\r\nb\r\n.\r\n", Progress::Over},
                      MessageCase{kNormalize, "a\n.\nMAIL\r\n.\r\n", "a\r\n..\r\nMAIL\r\n.\r\n",
                                  Progress::Over},
                      MessageCase{kNormalize, "a\n.\r\nb\r\n.\r\n", "a\r\n..\r\nb\r\n.\r\n", Progress::Over},
                      MessageCase{kReject, "a\r\nb\nc", "a\r\nb", Progress::Refused, "\nc"},
                      MessageCase{kReject, "a\r\n.\r\n", "a\r\n.\r\n", Progress::Over},
                      MessageCase{kPass, "a\n.\nMAIL\r\n.\r\n", "a\n.\nMAIL\r\n.\r\n", Progress::Over},
                      MessageCase{kPass, "a\r\n.", "a\r\n", Progress::Going, "."}));

TEST(MessageScreen, KnowsWhetherAMessageWasEdited) {
    const auto edits = [](BareLfPolicy policy, std::string_view message) {
        MessageScreen screener(policy);
        screen(screener, message, 2);
        return screener.edited();
    };
    // All that is refused where it is not to be edited.
    EXPECT_TRUE(edits(kNormalize, "a\nb\r\n.\r\n"));
    EXPECT_TRUE(edits(kNormalize, "a\r.\r\nb\r\n.\r\n"));
    EXPECT_FALSE(edits(kNormalize, "a\r\n..b\r\n.\r\n"));
    EXPECT_FALSE(edits(kPass, "a\nb\r\n.\r\n"));
    MessageScreen screener(kNormalize);
    screen(screener, "a\nb\r\n.\r\n", 1);
    screen(screener, "a\r\n.\r\n", 1);
    EXPECT_TRUE(screener.edited()) << "of one message of a session";
}

TEST(MessageScreen, CountsWhatWentOnWithoutTheFinalDotLine) {
    MessageScreen screener(kNormalize);
    screen(screener, "a\nb\r\n.\r\n", 1);
    EXPECT_EQ(screener.size(), 6U) << "a CRLF b CRLF";
    screen(screener, ".\r\n", 1);
    EXPECT_EQ(screener.size(), 0U);
}

TEST(MessageScreen, RemembersWhatFollowsAnOddEndWhereItPasses) {
    MessageScreen screener(kPass);
    screen(screener, "a\n.\nMAIL FROM:<x@y>\r\n.\r\n", 3);
    ASSERT_TRUE(screener.passedOddEnd());
    EXPECT_EQ(screener.sizeAtOddEnd(), 2U);
    EXPECT_EQ(screener.takeAfterOddEnd(), "\nMAIL FROM:<x@y>\r\n.\r\n");
    EXPECT_FALSE(screener.passedOddEnd());
}

TEST(MessageScreen, ForgetsAnOddEndThatIsTooFarBack) {
    MessageScreen screener(kPass);
    screen(screener, "a\n.\n" + std::string(20'000, 'x') + "\r\n.\r\n", 1000);
    EXPECT_FALSE(screener.passedOddEnd());
    EXPECT_EQ(screener.takeAfterOddEnd(), "");
}

}  // namespace
}  // namespace mailgate::smtp
