// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/progress.h"

#include <gmock/gmock.h>

#include <poll.h>
#include <pty.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace mailgate::cli {
namespace {

using namespace std::chrono_literals;

/// A terminal of 80 columns, and what has been printed on it.
class ProgressTerminal {
  public:
    explicit ProgressTerminal(const char* type = "xterm") {
        winsize size{};
        size.ws_col = 80;
        size.ws_row = 24;
        EXPECT_EQ(::openpty(&master_, &slave_, nullptr, nullptr, &size), 0);
        if (const char* before = std::getenv("TERM")) type_before_ = before;
        ::setenv("TERM", type, 1);
    }
    ~ProgressTerminal() {
        ::close(slave_);
        ::close(master_);
        if (type_before_)
            ::setenv("TERM", type_before_->c_str(), 1);
        else
            ::unsetenv("TERM");
    }
    ProgressTerminal(const ProgressTerminal&) = delete;
    ProgressTerminal& operator=(const ProgressTerminal&) = delete;

    int descriptor() const { return slave_; }

    /// Waits until `text` has been printed.
    bool shows(const std::string& text) {
        while (printed_.find(text) == std::string::npos)
            if (!readMore(10'000)) return false;
        return true;
    }
    std::string all() {
        while (readMore(0)) {
        }
        return printed_;
    }

  private:
    bool readMore(int at_most_ms) {
        pollfd readable{.fd = master_, .events = POLLIN, .revents = 0};
        if (::poll(&readable, 1, at_most_ms) <= 0) return false;
        char block[1024];
        const ssize_t length = ::read(master_, block, sizeof block);
        if (length <= 0) return false;
        printed_.append(block, static_cast<std::size_t>(length));
        return true;
    }

    int master_ = -1, slave_ = -1;
    std::string printed_;
    std::optional<std::string> type_before_;
};

TEST(ProgressTest, SaysHowFarItIsAndForHowLong) {
    EXPECT_EQ(progressText("asking postfix/mx1", 0, 0, 7s), "asking postfix/mx1: 7 s");
    EXPECT_EQ(progressText("exporting rules", 120'000, 0, 7s), "exporting rules: 120,000, 7 s");
    EXPECT_EQ(progressText("importing rules", 0, 1'000'000, 3s), "importing rules: 0 of 1,000,000, 0 %, 3 s");
    EXPECT_EQ(progressText("importing rules", 129'999, 1'000'000, 0s),
              "importing rules: 129,999 of 1,000,000, 12 %, 0 s");
}

TEST(ProgressTest, OfAKnownTotalItSaysHowFastItIsAndForHowLongYet) {
    EXPECT_EQ(progressText("importing rules", 120'000, 1'000'000, 7s),
              "importing rules: 120,000 of 1,000,000, 12 %, 17,142/s, 52 s left");
    EXPECT_EQ(progressText("importing rules", 1'000, 1'001, 500ms),
              "importing rules: 1,000 of 1,001, 99 %, 2,000/s, 1 s left");
    EXPECT_EQ(progressText("importing rules", 12, 10, 5s), "importing rules: 10 of 10, 100 %, 2/s, 0 s left");
}

TEST(ProgressTest, TheLineReplacesItselfAndIsTakenAway) {
    ProgressTerminal terminal;
    {
        Progress progress("counting", 10, terminal.descriptor(), 0ms);
        EXPECT_TRUE(terminal.shows("counting: 0 of 10"));
        progress.at(4);
        progress.advance();
        EXPECT_TRUE(terminal.shows("\r\x1b[Kcounting: 5 of 10, 50 %"));
        progress.outOf(20);
        EXPECT_TRUE(terminal.shows("counting: 5 of 20, 25 %"));
        progress.begin("adding", 20);
        EXPECT_TRUE(terminal.shows("\r\x1b[Kadding: 0 of 20, 0 %"));
        progress.begin("finishing", 0);
        EXPECT_TRUE(terminal.shows("\r\x1b[Kfinishing: "));
    }
    EXPECT_THAT(terminal.all(), testing::EndsWith("s\r\x1b[K"));
}

TEST(ProgressTest, OfTwoTheInnerOneHasTheLine) {
    ProgressTerminal terminal;
    const Progress outer("changing", 0, terminal.descriptor(), 0ms);
    EXPECT_TRUE(terminal.shows("changing: "));
    {
        const Progress inner("upgrading", 0, terminal.descriptor());
        EXPECT_TRUE(terminal.shows("\r\x1b[K\r\x1b[Kupgrading: ")) << "who waits has waited already";
    }
    EXPECT_TRUE(terminal.shows(" s\r\x1b[K\r\x1b[Kchanging: "));
}

TEST(ProgressTest, TheLineMakesRoomForOthers) {
    ProgressTerminal terminal;
    const Progress progress("changing", 0, terminal.descriptor(), 0ms);
    EXPECT_TRUE(terminal.shows("changing: "));
    {
        const Progress::Pause pause;
        EXPECT_EQ(::write(terminal.descriptor(), "warning\n", 8), 8);
    }
    EXPECT_TRUE(terminal.shows(" s\r\x1b[Kwarning\r\n\r\x1b[Kchanging: "));
}

TEST(ProgressTest, AQuickCommandHasNone) {
    ProgressTerminal terminal;
    { const Progress progress("counting", 0, terminal.descriptor()); }
    EXPECT_EQ(terminal.all(), "");
}

TEST(ProgressTest, WhatIsTooLongForTheTerminalIsClipped) {
    ProgressTerminal terminal;
    {
        const Progress progress(std::string(200, 'x'), 0, terminal.descriptor(), 0ms);
        EXPECT_TRUE(terminal.shows("~"));
    }
    EXPECT_THAT(terminal.all(), testing::StartsWith("\r\x1b[K" + std::string(78, 'x') + "~\r\x1b[K"));
}

TEST(ProgressTest, PipesFilesAndDumbTerminalsHaveNone) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    ProgressTerminal terminal;
    EXPECT_TRUE(Progress("counting", 0, terminal.descriptor()).isShown());
    EXPECT_FALSE(Progress("counting", 0, ends[1]).isShown());
    for (const int end : ends)
        ::close(end);
    ProgressTerminal dumb("dumb");
    EXPECT_FALSE(Progress("counting", 0, dumb.descriptor()).isShown());
}

}  // namespace
}  // namespace mailgate::cli
