// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/interrupts.h"

#include "tests/support/command_line.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mailgate::cli {
namespace {

using testing::KilledBySignal;

TEST(InterruptsDeathTest, EndAtOnceAndSayWhatThatMeans) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        EXPECT_EXIT(
            {
                const Interrupts interrupts("nothing changed");
                ::raise(signal);
            },
            KilledBySignal(signal), "^mailgate: nothing changed\n$");
}

TEST(InterruptsDeathTest, WaitWhereNothingCanBeCalledOff) {
    EXPECT_EXIT(
        {
            const Interrupts interrupts("nothing changed");
            Interrupts::hold();
            ::raise(SIGTERM);
            Interrupts::release("it was made");
        },
        KilledBySignal(SIGTERM), "^mailgate: it was made\n$");
    EXPECT_EXIT(
        {
            const Interrupts interrupts("nothing changed");
            Interrupts::hold();
            Interrupts::release("it was made");
            ::raise(SIGINT);
        },
        KilledBySignal(SIGINT), "^mailgate: it was made\n$");
}

TEST(Interrupts, AreNotedWhereNothingIsToBeSaid) {
    const Interrupts interrupts;
    EXPECT_EQ(Interrupts::noted(), 0);
    ::raise(SIGHUP);
    EXPECT_EQ(Interrupts::noted(), SIGHUP);
    const Interrupts others;  // of no command that fails later
}

class InterruptedCommandDeathTest : public test::CommandTest {
  protected:
    /// Whose signal came when nothing could be called off.
    void fail(std::vector<std::string> words) const {
        words.insert(words.begin(), {"mailgate", "--config", file_});
        std::vector<char*> argv;
        for (std::string& word : words)
            argv.push_back(word.data());
        {
            const Interrupts interrupts("nothing changed");
            Interrupts::hold();
            ::raise(SIGINT);
        }
        cli::run(static_cast<int>(argv.size()), argv.data());
    }
};

TEST_F(InterruptedCommandDeathTest, EndsByTheSignalThoughItFails) {
    EXPECT_EXIT(fail({"fleet", "verify"}), KilledBySignal(SIGINT), "^mailgate: .* names no fleet: ");
    configure(std::string("[store]\nurl = \"sqlite:") + file_ + "\"\n" + kSite);
    EXPECT_EXIT(fail({"access", "list"}), KilledBySignal(SIGINT),
                "^mailgate: .* is not an SQLite database: ");
}

TEST(Interrupts, LeaveAloneWhatIsIgnored) {
    const auto before = ::signal(SIGHUP, SIG_IGN);
    {
        const Interrupts interrupts("nothing changed");
        ::raise(SIGHUP);
    }
    EXPECT_EQ(::signal(SIGHUP, before), SIG_IGN);
}

}  // namespace
}  // namespace mailgate::cli
