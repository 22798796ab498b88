// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/login_limiter.h"

#include <gtest/gtest.h>

namespace mailgate::credentials {
namespace {

using std::chrono::seconds;

TEST(LoginLimiter, MakesWhoHasFailedOftenWait) {
    LoginLimiter limiter(3);
    LoginLimiter::Clock::time_point now{};
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(limiter.begin("a", "x", now).count(), 0);
        now += seconds(1);
    }
    EXPECT_EQ(limiter.delay("a", now).count(), 59);
    EXPECT_EQ(limiter.begin("a", "x", now + seconds(8)).count(), 51) << "and that counts for nothing";
    EXPECT_EQ(limiter.delay("b", now).count(), 0);
    EXPECT_EQ(limiter.delay("a", now + seconds(59)).count(), 0);
}

TEST(LoginLimiter, CountsAttemptsBeforeItIsKnownHowTheyEnd) {
    LoginLimiter limiter(3);
    const LoginLimiter::Clock::time_point now{};
    int begun = 0;
    for (int i = 0; i < 60; ++i)
        begun += limiter.begin("a", "x", now).count() == 0 ? 1 : 0;
    EXPECT_EQ(begun, 3);
}

TEST(LoginLimiter, ForgetsFailuresAfterASuccessOrAPause) {
    LoginLimiter limiter(2);
    LoginLimiter::Clock::time_point now{};
    limiter.begin("a", "x", now);
    limiter.begin("a", "x", now);
    limiter.onSuccess("a", "x");
    limiter.begin("a", "x", now);
    EXPECT_EQ(limiter.delay("a", now).count(), 0);
    now += LoginLimiter::kPause;
    limiter.begin("a", "x", now);
    EXPECT_EQ(limiter.delay("a", now).count(), 0) << "the first was long ago";
    limiter.begin("a", "x", now);
    EXPECT_EQ(limiter.delay("a", now), LoginLimiter::kPause);
}

TEST(LoginLimiter, ForgetsNothingOfOthersAfterASuccess) {
    LoginLimiter limiter(3);
    const LoginLimiter::Clock::time_point now{};
    for (const char* name : {"alice", "alice", "own"}) {
        EXPECT_EQ(limiter.begin("a", name, now).count(), 0);
        limiter.onSuccess("a", "own");
    }
    EXPECT_EQ(limiter.begin("a", "alice", now).count(), 0);
    EXPECT_GT(limiter.delay("a", now).count(), 0) << "alice's third";
}

TEST(LoginLimiter, KeepsTheLatestOfTooMany) {
    LoginLimiter limiter(1);
    const LoginLimiter::Clock::time_point now{};
    for (std::size_t i = 0; i <= LoginLimiter::kMaxKeys; ++i)
        limiter.begin(std::to_string(i), "x", now);
    EXPECT_EQ(limiter.delay("0", now).count(), 0);
    EXPECT_GT(limiter.delay("1", now).count(), 0);
    EXPECT_GT(limiter.delay(std::to_string(LoginLimiter::kMaxKeys), now).count(), 0);
}

}  // namespace
}  // namespace mailgate::credentials
