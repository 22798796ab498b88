// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/interrupts.h"

#include <gtest/gtest.h>

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
