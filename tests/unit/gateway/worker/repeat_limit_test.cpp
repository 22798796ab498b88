// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker/repeat_limit.h"

#include <gtest/gtest.h>

#include <map>

namespace mailgate {
namespace {

using Limit = RepeatLimit<int>;

IpAddress address(const char* text) {
    return *IpAddress::parse(text);
}

/// Passed and held back, by network, of what was added and of what is over.
struct Told {
    int passed = 0;
    std::map<std::string, std::uint32_t> held_back;
    void operator()(Limit::Slot& slot) {
        if (slot.held_back > 0) held_back[slot.network.toString()] += slot.held_back;
    }
};

TEST(RepeatLimit, TellsAFewOfEachAndCountsTheRest) {
    Limit limit({.each = 3, .window_ms = 60'000}, 64, 1);
    Told told;
    for (int i = 0; i < 10; ++i) {
        told.passed += limit.add(address("192.0.2.1"), 0, i, std::ref(told)).second;
        told.passed += limit.add(address("192.0.2.2"), 0, i, std::ref(told)).second;
        told.passed += limit.add(address("192.0.2.2"), 1, i, std::ref(told)).second;
    }
    EXPECT_EQ(told.passed, 9) << "by address and kind";
    limit.sweep(59'999, std::ref(told));
    EXPECT_TRUE(told.held_back.empty());
    limit.sweep(60'010, std::ref(told));
    EXPECT_EQ(told.held_back["192.0.2.1"], 7u);
    EXPECT_EQ(told.held_back["192.0.2.2"], 14u);
    EXPECT_TRUE(limit.add(address("192.0.2.1"), 0, 60'011, std::ref(told)).second) << "a new window";
}

TEST(RepeatLimit, ANewWindowTellsOfTheOldOne) {
    Limit limit({.each = 1, .window_ms = 1'000}, 64, 1);
    Told told;
    for (int i = 0; i < 5; ++i)
        limit.add(address("192.0.2.1"), 0, i, std::ref(told));
    EXPECT_TRUE(limit.add(address("192.0.2.1"), 0, 1'500, std::ref(told)).second);
    EXPECT_EQ(told.held_back["192.0.2.1"], 4u);
}

TEST(RepeatLimit, AnIpv6NetworkIsOneClient) {
    Limit limit({.each = 3, .window_ms = 60'000}, 64, 1);
    Told told;
    for (int i = 0; i < 1'000; ++i)
        told.passed +=
            limit.add(address(("2001:db8:0:1::" + std::to_string(i)).c_str()), 0, i, std::ref(told)).second;
    EXPECT_EQ(told.passed, 3);
    limit.sweep(100'000, std::ref(told));
    EXPECT_EQ(told.held_back["2001:db8:0:1::"], 997u);
}

TEST(RepeatLimit, NothingIsForgottenWhereSlotsDoNotSuffice) {
    Limit limit({.each = 1, .window_ms = 60'000}, 8, 1);
    Told told;
    int added = 0;
    for (int round = 0; round < 3; ++round)
        for (int i = 0; i < 100; ++i, ++added)
            told.passed +=
                limit.add(address(("198.51.100." + std::to_string(i)).c_str()), 0, added, std::ref(told))
                    .second;
    limit.sweep(1'000'000, std::ref(told));
    std::uint32_t held_back = 0;
    for (const auto& [network, number] : told.held_back)
        held_back += number;
    EXPECT_EQ(told.passed + static_cast<int>(held_back), added);
}

TEST(RepeatLimit, BoundsAllOfThemInASecond) {
    Limit limit({.each = 10, .window_ms = 60'000, .a_second = 20}, 1'024, 1);
    Told told;
    const auto knock = [&](std::int64_t now_ms) {
        for (int i = 0; i < 200; ++i)
            told.passed +=
                limit.add(address(("198.51.100." + std::to_string(i)).c_str()), 0, now_ms, std::ref(told))
                    .second;
    };
    knock(5'000);
    EXPECT_EQ(told.passed, 20);
    knock(6'000);
    EXPECT_EQ(told.passed, 40);
    limit.sweep(100'000, std::ref(told));
    std::uint32_t held_back = 0;
    for (const auto& [network, number] : told.held_back)
        held_back += number;
    EXPECT_EQ(held_back, 360u);
}

}  // namespace
}  // namespace mailgate
