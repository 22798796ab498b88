// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/login_sessions.h"

#include <gtest/gtest.h>

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

TEST_F(LoginSessionsTest, OfOneAccountPushOutNobodyElses) {
    const std::string bobs = sessions_.begin("bob", "", now_);
    now_ += std::chrono::seconds(1);
    const std::string first = sessions_.begin("alice", "", now_);
    for (std::size_t number = 0; number < LoginSessions::kMostOfAccount; ++number) {
        now_ += std::chrono::milliseconds(1);
        sessions_.begin("alice", "", now_);
    }
    EXPECT_FALSE(sessions_.find(first, now_));
    EXPECT_TRUE(sessions_.find(bobs, now_));
    EXPECT_EQ(sessions_.endAllOf("alice"), LoginSessions::kMostOfAccount);
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
    std::string second;
    for (std::size_t i = 1; i < LoginSessions::kMost; ++i) {
        now_ += std::chrono::milliseconds(1);
        second = sessions_.begin("bob" + std::to_string(i / LoginSessions::kMostOfAccount), "", now_);
    }
    EXPECT_TRUE(sessions_.find(first, now_ + std::chrono::milliseconds(1)));
    now_ += std::chrono::milliseconds(2);
    sessions_.begin("carol", "", now_);
    EXPECT_TRUE(sessions_.find(first, now_));
    EXPECT_TRUE(sessions_.find(second, now_));
    EXPECT_EQ(sessions_.endAllOf("bob0"), LoginSessions::kMostOfAccount - 2) << "it was the first of bob0's";
}

}  // namespace
}  // namespace mailgate::credentials
