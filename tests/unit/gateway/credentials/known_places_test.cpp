// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/known_places.h"

#include <gtest/gtest.h>

namespace mailgate::credentials {
namespace {

TEST(KnownPlaces, AreOfOneNameForAWhile) {
    KnownPlaces places;
    KnownPlaces::Clock::time_point now{};
    places.add("alice", "home", now);
    EXPECT_TRUE(places.has("alice", "home", now + KnownPlaces::kKept - std::chrono::seconds(1)));
    EXPECT_FALSE(places.has("alice", "office", now));
    EXPECT_FALSE(places.has("bob", "home", now));
    EXPECT_FALSE(places.has("alice", "home", now + KnownPlaces::kKept));
    now += KnownPlaces::kKept / 2;
    places.add("alice", "home", now);
    EXPECT_TRUE(places.has("alice", "home", now + KnownPlaces::kKept - std::chrono::seconds(1)))
        << "used once more";
}

TEST(KnownPlaces, AreTheLatestOfTooMany) {
    KnownPlaces places;
    KnownPlaces::Clock::time_point now{};
    for (std::size_t number = 0; number <= KnownPlaces::kMostOfName; ++number)
        places.add("alice", std::to_string(number), now += std::chrono::seconds(1));
    EXPECT_FALSE(places.has("alice", "0", now));
    EXPECT_TRUE(places.has("alice", "1", now));
    for (std::size_t number = 1; number < KnownPlaces::kMostNames; ++number)
        places.add(std::to_string(number), "home", now += std::chrono::seconds(1));
    EXPECT_TRUE(places.has("alice", "1", now));
    places.add("another", "home", now += std::chrono::seconds(1));
    EXPECT_FALSE(places.has("alice", "1", now)) << "of all names its was the longest ago";
    EXPECT_TRUE(places.has("1", "home", now));
}

}  // namespace
}  // namespace mailgate::credentials
