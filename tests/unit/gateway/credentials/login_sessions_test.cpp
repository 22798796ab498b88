// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/login_sessions.h"

#include <gtest/gtest.h>

#include <string>

namespace mailgate::credentials {
namespace {

class LoginSessionsTest : public testing::Test {
  protected:
    LoginSessions sessions_;
    LoginSessions::Clock::time_point now_{};
};

TEST_F(LoginSessionsTest, AreFoundByTheirSecretAlone) {
    const std::string secret = sessions_.begin("alice", "$y$1", now_);
    const auto found = sessions_.find(secret, now_);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->account, "alice");
    EXPECT_EQ(found->password, "$y$1");
    EXPECT_FALSE(found->csrf_token.empty());
    EXPECT_NE(found->csrf_token, secret);
    EXPECT_FALSE(sessions_.find("", now_));
    EXPECT_FALSE(sessions_.find(secret + "x", now_));
    EXPECT_NE(sessions_.begin("alice", "$y$1", now_), secret);
}

TEST_F(LoginSessionsTest, EndWhenNobodyUsesThem) {
    const std::string secret = sessions_.begin("alice", "", now_);
    now_ += LoginSessions::kIdle - std::chrono::seconds(1);
    EXPECT_TRUE(sessions_.find(secret, now_));
    now_ += LoginSessions::kIdle - std::chrono::seconds(1);
    EXPECT_TRUE(sessions_.find(secret, now_));
    now_ += LoginSessions::kIdle;
    EXPECT_FALSE(sessions_.find(secret, now_));
}

TEST_F(LoginSessionsTest, EndThoughAPageRefreshesItself) {
    constexpr bool kCountsAsUse = false;
    const std::string secret = sessions_.begin("alice", "", now_);
    for (const auto end = now_ + LoginSessions::kIdle; now_ < end; now_ += std::chrono::minutes(1))
        EXPECT_TRUE(sessions_.find(secret, now_, kCountsAsUse));
    EXPECT_FALSE(sessions_.find(secret, now_, kCountsAsUse));
}

TEST_F(LoginSessionsTest, EndAfterSomeHoursHoweverMuchTheyAreUsed) {
    const std::string secret = sessions_.begin("alice", "", now_);
    const auto end = now_ + LoginSessions::kAbsolute;
    for (; now_ < end; now_ += std::chrono::minutes(20))
        EXPECT_TRUE(sessions_.find(secret, now_));
    EXPECT_FALSE(sessions_.find(secret, end));
}

TEST_F(LoginSessionsTest, AreEndedOneByOneOrAllOfAnAccount) {
    const std::string one = sessions_.begin("alice", "", now_), other = sessions_.begin("alice", "", now_),
                      third = sessions_.begin("alice", "", now_), bobs = sessions_.begin("bob", "", now_);
    sessions_.end(one);
    EXPECT_FALSE(sessions_.find(one, now_));
    EXPECT_EQ(sessions_.endAllOf("alice"), 2u);
    EXPECT_FALSE(sessions_.find(other, now_));
    EXPECT_FALSE(sessions_.find(third, now_));
    EXPECT_TRUE(sessions_.find(bobs, now_));
}

TEST_F(LoginSessionsTest, OfTooManyTheLongestUnusedEnds) {
    const std::string first = sessions_.begin("alice", "", now_);
    std::string second, last;
    for (std::size_t i = 1; i < LoginSessions::kMost; ++i) {
        now_ += std::chrono::milliseconds(1);
        last = sessions_.begin("user" + std::to_string(i), "", now_);
        if (i == 1) second = last;
    }
    EXPECT_TRUE(sessions_.find(first, now_ + std::chrono::milliseconds(1)));
    now_ += std::chrono::milliseconds(2);
    sessions_.begin("carol", "", now_);
    EXPECT_TRUE(sessions_.find(first, now_));
    EXPECT_FALSE(sessions_.find(second, now_));
    EXPECT_TRUE(sessions_.find(last, now_));
}

TEST_F(LoginSessionsTest, OfTooManyOfOneAccountItsOwnLongestUnusedEnds) {
    const std::string bobs = sessions_.begin("bob", "", now_);
    const std::string first = sessions_.begin("alice", "", now_ + std::chrono::seconds(2)),
                      second = sessions_.begin("alice", "", now_ + std::chrono::seconds(1));
    now_ += std::chrono::seconds(3);
    for (std::size_t i = 2; i <= LoginSessions::kMostOfOne; ++i)
        sessions_.begin("alice", "", now_);
    EXPECT_TRUE(sessions_.find(first, now_));
    EXPECT_FALSE(sessions_.find(second, now_));
    EXPECT_TRUE(sessions_.find(bobs, now_));
    EXPECT_EQ(sessions_.endAllOf("alice"), LoginSessions::kMostOfOne);
}

}  // namespace
}  // namespace mailgate::credentials
