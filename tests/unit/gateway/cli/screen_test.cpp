// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/screen.h"

#include <Poco/JSON/Object.h>
#include <gmock/gmock.h>

#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <string>

namespace mailgate::cli {
namespace {

/// Standard output is a terminal of that size, with this environment, until it goes out of scope.
class OnTerminal {
  public:
    OnTerminal(unsigned short columns, unsigned short rows, std::map<std::string, std::string> environment) {
        winsize size{};
        size.ws_col = columns;
        size.ws_row = rows;
        EXPECT_EQ(::openpty(&master_, &slave_, nullptr, nullptr, &size), 0);
        std::fflush(stdout);
        before_ = ::dup(STDOUT_FILENO);
        ::dup2(slave_, STDOUT_FILENO);
        for (const char* name : {"NO_COLOR", "TERM", "LC_ALL", "PAGER", "COLUMNS", "LINES"}) {
            const char* value = std::getenv(name);
            variables_[name] = value == nullptr ? std::nullopt : std::optional<std::string>(value);
            const auto wanted = environment.find(name);
            set(name, wanted == environment.end() ? std::nullopt : std::optional(wanted->second));
        }
    }
    ~OnTerminal() {
        std::fflush(stdout);
        ::dup2(before_, STDOUT_FILENO);
        for (const int descriptor : {before_, slave_, master_})
            ::close(descriptor);
        for (const auto& [name, value] : variables_)
            set(name, value);
    }
    OnTerminal(const OnTerminal&) = delete;
    OnTerminal& operator=(const OnTerminal&) = delete;

    /// What has been printed, which is little.
    std::string screen() const {
        std::fflush(stdout);
        char block[4096];
        const ssize_t length = ::read(master_, block, sizeof block);
        return {block, static_cast<std::size_t>(std::max<ssize_t>(length, 0))};
    }

  private:
    static void set(const std::string& name, const std::optional<std::string>& value) {
        if (value)
            ::setenv(name.c_str(), value->c_str(), 1);
        else
            ::unsetenv(name.c_str());
    }

    int master_ = -1, slave_ = -1, before_ = -1;
    std::map<std::string, std::optional<std::string>> variables_;
};

TEST(ScreenTest, APipeIsNoTerminal) {
    testing::internal::CaptureStdout();
    const Screen screen = standardOutput();
    const TableStyle style = ViewOptions{}.style();
    print("one\ntwo\n", {});
    EXPECT_EQ(testing::internal::GetCapturedStdout(), "one\ntwo\n");
    EXPECT_FALSE(screen.terminal || screen.colours);
    EXPECT_EQ(style.width, 0u);
    EXPECT_EQ(style.letters, Letters::Utf8) << "whatever the locale is, as files have it";
}

TEST(ScreenTest, ADocumentCannotControlATerminal) {
    Poco::JSON::Object document;
    document.set("subject", "CN=\xE2\x80\xAEx\x1B");
    testing::internal::CaptureStdout();
    printDocument(document);
    EXPECT_THAT(testing::internal::GetCapturedStdout(), testing::HasSubstr("\"CN=\\u202ex\\u001B\"\n}\n"));
}

TEST(ScreenTest, TheTerminalTellsItsSize) {
    {
        const OnTerminal terminal(93, 41, {{"TERM", "xterm"}, {"LC_ALL", "C.UTF-8"}});
        const Screen screen = standardOutput();
        EXPECT_TRUE(screen.terminal && screen.colours && screen.letters == Letters::Utf8);
        EXPECT_EQ(screen.columns, 93u);
        EXPECT_EQ(screen.rows, 41u);
        ViewOptions options;
        EXPECT_EQ(options.style().width, 93u);
        options.wide = true;
        EXPECT_EQ(options.style().width, 0u);
    }
    {
        const OnTerminal silent(0, 0, {{"COLUMNS", "132"}, {"LINES", "x"}});
        EXPECT_EQ(standardOutput().columns, 132u);
        EXPECT_EQ(standardOutput().rows, 24u);
    }
    const OnTerminal silent(0, 0, {});
    EXPECT_EQ(standardOutput().columns, 80u);
}

TEST(ScreenTest, ColoursAreNotForAllTerminals) {
    const auto colours = [](std::map<std::string, std::string> environment) {
        const OnTerminal terminal(80, 24, std::move(environment));
        return standardOutput().colours;
    };
    EXPECT_TRUE(colours({{"TERM", "xterm"}}));
    EXPECT_TRUE(colours({{"TERM", "xterm"}, {"NO_COLOR", ""}})) << "empty is as not set";
    EXPECT_FALSE(colours({{"TERM", "xterm"}, {"NO_COLOR", "1"}}));
    EXPECT_FALSE(colours({{"TERM", "dumb"}}));
    EXPECT_FALSE(colours({}));
}

TEST(ScreenTest, AnotherLocaleIsAscii) {
    const OnTerminal terminal(80, 24, {{"LC_ALL", "C"}});
    EXPECT_EQ(standardOutput().letters, Letters::Ascii);
}

TEST(ScreenTest, WhatTheScreenHasNoRoomForGoesThroughThePager) {
    const OnTerminal terminal(80, 3, {{"PAGER", "sed s/^/paged:/"}});
    print("1\n2\n3\n", {});
    EXPECT_EQ(terminal.screen(), "paged:1\r\npaged:2\r\npaged:3\r\n");
    print("1\n2\n", {});
    EXPECT_EQ(terminal.screen(), "1\r\n2\r\n");
    ViewOptions options;
    options.no_pager = true;
    print("1\n2\n3\n", options);
    EXPECT_EQ(terminal.screen(), "1\r\n2\r\n3\r\n");
}

TEST(ScreenTest, WithoutAPagerItIsPrinted) {
    for (const char* pager : {"", "cat", "/nonexistent/pager 2>&-"}) {
        const OnTerminal terminal(80, 3, {{"PAGER", pager}});
        print("1\n2\n3\n", {});
        EXPECT_EQ(terminal.screen(), "1\r\n2\r\n3\r\n") << pager;
    }
    // less would warn first.
    for (const std::map<std::string, std::string>& dumb :
         {std::map<std::string, std::string>{}, {{"TERM", "dumb"}}}) {
        const OnTerminal terminal(80, 3, dumb);
        print("1\n2\n3\n", {});
        EXPECT_EQ(terminal.screen(), "1\r\n2\r\n3\r\n");
    }
}

TEST(ScreenTest, APagerThatIsLeftEarlyIsNoError) {
    const OnTerminal terminal(80, 3, {{"PAGER", "head -n 1"}});
    std::string text = "first\n";
    for (int line = 0; line < 100'000; ++line)
        text += "another\n";
    print(text, {});
    EXPECT_EQ(terminal.screen(), "first\r\n");
}

TEST(ScreenTest, ARemarkIsNotAmongWhatProgramsRead) {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    printWithNote("1\n", "a remark", {});
    printWithNote("2\n", "", {});
    EXPECT_EQ(testing::internal::GetCapturedStdout(), "1\n2\n");
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "mailgate: a remark\n");
    const OnTerminal terminal(80, 24, {});
    printWithNote("1\n", "a remark", {});
    EXPECT_EQ(terminal.screen(), "1\r\na remark\r\n");
}

}  // namespace
}  // namespace mailgate::cli
