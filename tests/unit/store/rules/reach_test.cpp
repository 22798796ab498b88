// SPDX-License-Identifier: Apache-2.0
#include "store/rules/reach.h"

#include "tests/support/networks.h"

#include <gtest/gtest.h>

#include <string_view>

namespace mailgate::rules {
namespace {

double share(std::initializer_list<std::string_view> texts, bool v4) {
    std::vector<Network> networks;
    for (const std::string_view text : texts)
        networks.push_back(network(text));
    return shareOf(networks, v4);
}

TEST(Reach, AddsUpWhatNetworksHold) {
    EXPECT_EQ(share({}, true), 0);
    EXPECT_EQ(share({"0.0.0.0/0"}, true), 1);
    EXPECT_EQ(share({"0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2"}, true), 1);
    EXPECT_EQ(share({"10.0.0.0/8"}, true), 1.0 / 256);
    EXPECT_EQ(share({"10.0.0.0/8"}, false), 0);
}

TEST(Reach, WhatIsInSeveralNetworksCountsOnce) {
    EXPECT_EQ(share({"10.1.2.0/24", "10.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16"}, true), 1.0 / 256);
    EXPECT_EQ(share({"0.0.0.0/1", "0.0.0.0/2", "128.0.0.0/2"}, true), 0.75);
}

TEST(Reach, OfIpv6CountsWhatIsGlobal) {
    EXPECT_EQ(share({"::/0"}, false), 1);
    EXPECT_EQ(share({"::/1"}, false), 1);
    EXPECT_EQ(share({"::/1", "2000::/3"}, false), 1);
    EXPECT_EQ(share({"2000::/5"}, false), 0.5) << "2001::, 2003::, 2400:: and 2600::";
    EXPECT_EQ(share({"2000::/5", "2800::/6", "2a00::/12"}, false), 0.875);
    EXPECT_EQ(share({"2a00::/13"}, false), 1.0 / 16);
    EXPECT_EQ(share({"3000::/4"}, false), 0) << "which nobody has";
    EXPECT_EQ(share({"fc00::/7", "8000::/1"}, false), 0);
    EXPECT_EQ(share({"::/0", "2000::/5"}, true), 0) << "which holds no IPv4 address";
}

}  // namespace
}  // namespace mailgate::rules
