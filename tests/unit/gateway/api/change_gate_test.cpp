// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/change_gate.h"

#include <gtest/gtest.h>

#include <future>

namespace mailgate::api {
namespace {

using namespace std::chrono_literals;

TEST(ChangeGate, TurnsAwayWhoFindsItFullOfThoseWhoTakeLong) {
    ChangeGate gate(2, 0ms);
    auto first = gate.enter();
    const auto second = gate.enter();
    ASSERT_TRUE(first && second);
    EXPECT_EQ(gate.enter(), nullptr);
    EXPECT_EQ(gate.enter(), nullptr) << "nor does asking again help";
    first.reset();
    EXPECT_NE(gate.enter(), nullptr);
}

TEST(ChangeGate, LetsInWhoWaitsOnceSomebodyLeaves) {
    ChangeGate gate(1, 1h);
    auto inside = gate.enter();
    auto next = std::async(std::launch::async, [&] { return gate.enter(); });
    EXPECT_EQ(next.wait_for(20ms), std::future_status::timeout);
    inside.reset();
    EXPECT_NE(next.get(), nullptr);
}

TEST(ChangeGate, TurnsAwayWhoHasWaitedUntilTheFirstHasTakenLong) {
    ChangeGate gate(1, 20ms);
    const auto inside = gate.enter();
    EXPECT_EQ(gate.enter(), nullptr);
}

}  // namespace
}  // namespace mailgate::api
