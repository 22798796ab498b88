// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/reading_turns.h"

#include <gtest/gtest.h>

#include <future>

namespace mailgate::api {
namespace {

using namespace std::chrono_literals;
using Reader = ReadingTurns::Reader;

const Reader kAlice{"alice", true}, kBob{"bob", true};

Reader viewer(const char* name) {
    return {name, false};
}

TEST(ReadingTurns, AreKeptForWhoMayChangeRules) {
    ReadingTurns turns(0ms);
    auto first = turns.enter(viewer("v"));
    const auto second = turns.enter(viewer("w"));
    ASSERT_TRUE(first && second);
    EXPECT_EQ(turns.enter(viewer("x")), nullptr) << "there is one, but not for viewers";
    const auto mine = turns.enter(kAlice);
    EXPECT_NE(mine, nullptr);
    EXPECT_EQ(turns.enter(kBob), nullptr) << "there are three";
    first.reset();
    EXPECT_EQ(turns.enter(kAlice), nullptr) << "one at a time";
    EXPECT_NE(turns.enter(viewer("x")), nullptr);
}

TEST(ReadingTurns, AreWaitedForByWhoHasOneOnlyWhereNobodyElseDoes) {
    ReadingTurns turns(1h);
    auto first = turns.enter(viewer("v"));
    const auto second = turns.enter(viewer("w"));
    auto other = std::async(std::launch::async, [&] { return turns.enter(viewer("x")); });
    EXPECT_EQ(turns.enter(viewer("v")), nullptr) << "because of x, whichever has come first";
    first.reset();
    EXPECT_NE(other.get(), nullptr);
}

TEST(ReadingTurns, AreNotWaitedForForLong) {
    ReadingTurns turns(20ms);
    const auto mine = turns.enter(kAlice);
    EXPECT_EQ(turns.enter(kAlice), nullptr);
}

}  // namespace
}  // namespace mailgate::api
