// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/endpoint_health.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mailgate {
namespace {

constexpr Millis kNow = 1'000'000;

class EndpointHealthTest : public testing::Test {
  protected:
    void checkedWith(std::uint32_t fall, std::uint32_t rise) { health_.setPolicy({true, fall, rise}); }
    bool fails(ServerFailure failure) { return health_.sessionFailed(failure, kNow, report()); }
    EndpointHealth::Report report() {
        return [this](Health now, std::string_view why) {
            reports_.push_back(now == Health::Up ? "up" : "down: " + std::string(why));
        };
    }

    EndpointHealth health_;
    std::vector<std::string> reports_;
};

TEST_F(EndpointHealthTest, WithoutChecksAFailureIsPassedOverForAWhileAndASuccessEndsThat) {
    EXPECT_FALSE(fails(ServerFailure::Foreign)) << "nobody is there to check";
    EXPECT_FALSE(health_.usable(kNow));
    EXPECT_EQ(health_.reason(), toString(ServerFailure::Foreign));
    EXPECT_TRUE(health_.usable(kNow + EndpointHealth::kRetryAfter));
    health_.sessionServed(report());
    EXPECT_TRUE(health_.usable(kNow));
    EXPECT_EQ(reports_, (std::vector<std::string>{"down: does not speak the listener's protocol", "up"}));
}

TEST_F(EndpointHealthTest, WhereItIsCheckedOnlyFailuresToReachItCount) {
    checkedWith(2, 1);
    EXPECT_TRUE(fails(ServerFailure::NoGreeting)) << "a check is wanted";
    EXPECT_FALSE(fails(ServerFailure::NoGreeting)) << "and is wanted already";
    EXPECT_TRUE(health_.usable(kNow));
    fails(ServerFailure::ConnectRefused);
    EXPECT_TRUE(health_.usable(kNow));
    fails(ServerFailure::ConnectRefused);
    EXPECT_FALSE(health_.usable(kNow));
    health_.sessionServed(report());
    EXPECT_FALSE(health_.usable(kNow)) << "the checks decide";
    health_.checkPassed(kNow, report());
    EXPECT_TRUE(health_.usable(kNow));
    EXPECT_EQ(health_.upSince(), kNow);
}

TEST_F(EndpointHealthTest, TheGatewaysOwnWantCountsNowhere) {
    EXPECT_FALSE(fails(ServerFailure::NoLocalPort));
    EXPECT_TRUE(health_.usable(kNow));
    checkedWith(1, 1);
    EXPECT_FALSE(fails(ServerFailure::NoLocalPort));
    EXPECT_TRUE(health_.usable(kNow));
}

TEST_F(EndpointHealthTest, TheFirstCheckDecidesAndLaterOnesTakeFallAndRise) {
    checkedWith(2, 2);
    health_.checkFailed("refused", 1, report());
    EXPECT_EQ(health_.state(), Health::Down) << "nothing was known before";
    health_.checkPassed(kNow, report());
    EXPECT_EQ(health_.state(), Health::Down);
    health_.checkPassed(kNow, report());
    EXPECT_EQ(health_.state(), Health::Up);
    health_.checkFailed("silent", 1, report());
    EXPECT_EQ(health_.state(), Health::Up);
    health_.checkFailed("silent", 1, report());
    EXPECT_EQ(health_.state(), Health::Down);
    EXPECT_EQ(reports_, (std::vector<std::string>{"down: refused", "up", "down: silent"}));
}

TEST_F(EndpointHealthTest, ALongSilenceCountsForSeveralChecks) {
    checkedWith(3, 1);
    health_.checkPassed(kNow, report());
    health_.checkFailed("silent", 3, report());
    EXPECT_EQ(health_.state(), Health::Down);
}

TEST_F(EndpointHealthTest, WhatWasNeverDownOwesNoSlowStart) {
    checkedWith(2, 2);
    health_.checkPassed(kNow, report());
    EXPECT_EQ(health_.state(), Health::Up);
    EXPECT_EQ(health_.upSince(), 0);
    EXPECT_TRUE(reports_.empty());
}

}  // namespace
}  // namespace mailgate
