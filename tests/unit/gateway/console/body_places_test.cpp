// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/body_places.h"

#include <gtest/gtest.h>

#include <vector>

namespace mailgate::console {
namespace {

TEST(BodyPlaces, AreFewForOneAndGivenBack) {
    BodyPlaces places;
    std::vector<BodyPlaces::Place> taken;
    while (auto place = places.take("alice"))
        taken.push_back(std::move(*place));
    EXPECT_EQ(taken.size(), BodyPlaces::kMostOfOne);
    EXPECT_TRUE(places.take("bob").has_value()) << "others are not concerned";
    taken.pop_back();
    EXPECT_TRUE(places.take("alice").has_value()) << "and given back at once";
    const auto again = places.take("alice");
    EXPECT_TRUE(again.has_value());
    EXPECT_FALSE(places.take("alice").has_value());
}

}  // namespace
}  // namespace mailgate::console
