// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/turns.h"

#include <gtest/gtest.h>

#include <array>
#include <future>

namespace mailgate::api {
namespace {

using namespace std::chrono_literals;

Principal viewer(const char* name) {
    return {name, store::Role::Viewer};
}
Principal whoChanges(const char* name) {
    return {name, store::Role::Operator};
}
constexpr Turns::Limits kLimits{.most = 3, .most_of_viewers = 2, .most_waiting = 1};

TEST(Turns, AreKeptForWhoMayChangeRules) {
    Turns turns(kLimits, 0ms);
    auto first = turns.enter(viewer("v"));
    const auto second = turns.enter(viewer("w"));
    ASSERT_TRUE(first && second);
    EXPECT_EQ(turns.enter(viewer("x")), nullptr) << "there is one, but not for viewers";
    const auto alice = turns.enter(whoChanges("alice"));
    EXPECT_NE(alice, nullptr);
    EXPECT_EQ(turns.enter(whoChanges("bob")), nullptr) << "there are three";
    first.reset();
    EXPECT_EQ(turns.enter(whoChanges("alice")), nullptr) << "one at a time";
    EXPECT_NE(turns.enter(viewer("x")), nullptr);
}

TEST(Turns, GoToWhoWaitsForThem) {
    Turns turns(kLimits, 1h);
    auto first = turns.enter(viewer("v"));
    const auto second = turns.enter(viewer("w"));
    auto again = std::async(std::launch::async, [&] { return turns.enter(viewer("v")); });
    EXPECT_EQ(again.wait_for(20ms), std::future_status::timeout) << "nobody else wants the place";
    auto other = std::async(std::launch::async, [&] { return turns.enter(viewer("x")); });
    EXPECT_EQ(again.get(), nullptr) << "it gives way to who has none";
    EXPECT_EQ(turns.enter(viewer("v")), nullptr);
    EXPECT_EQ(turns.enter(viewer("y")), nullptr) << "one waits, and no more";
    EXPECT_NE(turns.enter(whoChanges("alice")), nullptr) << "nor is anybody of another role kept by them";
    first.reset();
    EXPECT_NE(other.get(), nullptr);
}

TEST(Turns, GoFirstToWhoHasNone) {
    Turns turns({.most = 1, .most_of_viewers = 1, .most_waiting = 2}, 1min);
    auto first = turns.enter(viewer("v"));
    const auto ask = [&](const char* who) {
        return std::async(std::launch::async, [&turns, who] { return turns.enter(viewer(who)); });
    };
    std::array again{ask("v"), ask("v")};
    auto other = ask("x");
    const auto isReady = [](const auto& one) { return one.wait_for(1ms) == std::future_status::ready; };
    // There is room for two of the three: one of those who have a turn goes.
    while (!isReady(again[0]) && !isReady(again[1])) {
    }
    auto& last = again[isReady(again[0]) ? 1 : 0];
    first.reset();
    EXPECT_NE(other.get(), nullptr) << "though it came later";
    EXPECT_NE(last.get(), nullptr);
}

TEST(Turns, OfOneAccountComeOneAfterTheOther) {
    Turns turns(kLimits, 1h);
    auto first = turns.enter(whoChanges("alice"));
    auto next = std::async(std::launch::async, [&] { return turns.enter(whoChanges("alice")); });
    EXPECT_EQ(next.wait_for(20ms), std::future_status::timeout);
    first.reset();
    EXPECT_NE(next.get(), nullptr);
}

TEST(Turns, AreNotWaitedForByWhoHasLeft) {
    Turns turns(kLimits, 1h);
    auto first = turns.enter(whoChanges("alice"));
    Request request;
    request.who = whoChanges("alice");
    request.has_left = [] { return true; };
    EXPECT_EQ(turns.enter(request), nullptr);
    first.reset();
    EXPECT_NE(turns.enter(request), nullptr) << "whether it is carried out is not their matter";
}

TEST(Turns, AreNotWaitedForForLong) {
    Turns turns(kLimits, 20ms);
    const auto mine = turns.enter(whoChanges("alice"));
    EXPECT_EQ(turns.enter(whoChanges("alice")), nullptr);
    EXPECT_NE(turns.enter(whoChanges("bob")), nullptr) << "who has given up is in nobody's way";
}

}  // namespace
}  // namespace mailgate::api
