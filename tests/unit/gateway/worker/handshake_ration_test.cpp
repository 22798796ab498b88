// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker/handshake_ration.h"

#include <gtest/gtest.h>

namespace mailgate {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

class HandshakeRationTest : public testing::Test {
  protected:
    /// How many steps of that length fit into a turn.
    unsigned steps(HandshakeRation::Time::duration each) {
        ration_.beginTurn();
        unsigned taken = 0;
        for (; ration_.take(now_); ++taken)
            now_ += each;
        return taken;
    }

    HandshakeRation ration_;
    HandshakeRation::Time now_{std::chrono::hours(1)};
};

TEST_F(HandshakeRationTest, ShortStepsAreCounted) {
    EXPECT_EQ(steps(microseconds(30)), HandshakeRation::kSteps);
    EXPECT_EQ(steps(microseconds(0)), HandshakeRation::kSteps);
}

TEST_F(HandshakeRationTest, LongOnesEndATurnByTheirTime) {
    EXPECT_EQ(steps(milliseconds(1)), 2U);
    EXPECT_EQ(steps(microseconds(900)), 3U);
}

TEST_F(HandshakeRationTest, OneAlwaysFits) {
    EXPECT_EQ(steps(milliseconds(50)), 1U);
    EXPECT_EQ(steps(milliseconds(50)), 1U);
}

TEST_F(HandshakeRationTest, NothingFitsBeforeTheFirstTurn) {
    EXPECT_FALSE(ration_.take(now_));
}

TEST_F(HandshakeRationTest, WhatIsOverStaysOver) {
    steps(milliseconds(1));
    EXPECT_FALSE(ration_.take(now_ + std::chrono::hours(1)));
}

}  // namespace
}  // namespace mailgate
