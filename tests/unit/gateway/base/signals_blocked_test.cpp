// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/signals_blocked.h"

#include <gtest/gtest.h>

#include <thread>

namespace mailgate {
namespace {

bool blocks(int signal) {
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return ::sigismember(&mask, signal) == 1;
}

TEST(SignalsBlockedTest, AThreadThatIsStartedMeanwhileBlocksThemForGood) {
    bool inside = false;
    std::thread thread;
    {
        const SignalsBlocked blocked;
        thread = std::thread([&inside] { inside = blocks(SIGTERM) && blocks(SIGHUP) && blocks(SIGUSR1); });
    }
    thread.join();
    EXPECT_TRUE(inside);
}

TEST(SignalsBlockedTest, WhoStartsItGetsItsOwnMaskBack) {
    sigset_t some, before;
    ::sigemptyset(&some);
    ::sigaddset(&some, SIGUSR2);
    ::pthread_sigmask(SIG_BLOCK, &some, &before);
    {
        const SignalsBlocked blocked;
        EXPECT_TRUE(blocks(SIGTERM));
    }
    EXPECT_FALSE(blocks(SIGTERM));
    EXPECT_TRUE(blocks(SIGUSR2)) << "which it had before";
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
}  // namespace mailgate
