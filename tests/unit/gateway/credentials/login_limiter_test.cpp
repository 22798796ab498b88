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
        EXPECT_EQ(limiter.delay("a", now).count(), 0);
        limiter.onFailure("a", now);
        now += seconds(1);
    }
    EXPECT_EQ(limiter.delay("a", now).count(), 59);
    EXPECT_EQ(limiter.delay("b", now).count(), 0);
    EXPECT_EQ(limiter.delay("a", now + seconds(59)).count(), 0);
}

TEST(LoginLimiter, ForgetsFailuresAfterASuccessOrAPause) {
    LoginLimiter limiter(2);
    LoginLimiter::Clock::time_point now{};
    limiter.onFailure("a", now);
    limiter.onSuccess("a");
    limiter.onFailure("a", now);
    EXPECT_EQ(limiter.delay("a", now).count(), 0);
    now += LoginLimiter::kPause;
    limiter.onFailure("a", now);
    EXPECT_EQ(limiter.delay("a", now).count(), 0) << "the first was long ago";
    limiter.onFailure("a", now);
    EXPECT_EQ(limiter.delay("a", now), LoginLimiter::kPause);
}

TEST(LoginLimiter, KeepsTheLatestOfTooMany) {
    LoginLimiter limiter(1);
    const LoginLimiter::Clock::time_point now{};
    for (std::size_t i = 0; i <= LoginLimiter::kMaxKeys; ++i)
        limiter.onFailure(std::to_string(i), now);
    EXPECT_EQ(limiter.delay("0", now).count(), 0);
    EXPECT_GT(limiter.delay("1", now).count(), 0);
    EXPECT_GT(limiter.delay(std::to_string(LoginLimiter::kMaxKeys), now).count(), 0);
}

}  // namespace
}  // namespace mailgate::credentials
