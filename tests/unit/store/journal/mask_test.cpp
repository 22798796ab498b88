// SPDX-License-Identifier: Apache-2.0
#include "store/journal/mask.h"

#include "tests/support/networks.h"

#include <gtest/gtest.h>

namespace mailgate::store::journal {
namespace {

TEST(JournalMask, LeavesTheNetworkOfAnAddress) {
    EXPECT_EQ(masked(network("192.0.2.1")).toString(), "192.0.2.0/24");
    EXPECT_EQ(masked(network("2001:db8:5:6::1")).toString(), "2001:db8:5::/48");
    EXPECT_EQ(masked(network("10.0.0.0/8")).toString(), "10.0.0.0/8") << "it is less than the mask";
    EXPECT_EQ(masked(network("2001:db8::/32")).toString(), "2001:db8::/32");
    EXPECT_TRUE(isMasked(network("192.0.2.0/24")));
    EXPECT_FALSE(isMasked(network("192.0.2.0/25")));
    EXPECT_TRUE(isMasked(network("2001:db8:5::/48")));
    EXPECT_FALSE(isMasked(network("2001:db8:5::/49")));
}

TEST(JournalMask, OfARuleTheNetworkIsMasked) {
    EXPECT_EQ(maskedRule("192.0.2.1"), "192.0.2.0/24");
    EXPECT_EQ(maskedRule("10.0.0.0/8"), "10.0.0.0/8");
    EXPECT_EQ(maskedRule(""), "") << "the listener's default";
}

TEST(JournalMask, IsToldFromItsTextThatARuleNeedsNone) {
    for (const char* wide : {"10.0.0.0/8", "192.0.2.0/24", "0.0.0.0/0", "2001:db8:5::/48", "::/0", ""}) {
        EXPECT_TRUE(isMaskedRule(wide)) << wide;
        EXPECT_EQ(maskedRule(wide), wide);
    }
    for (const char* narrow : {"192.0.2.1", "192.0.2.128/25", "2001:db8:5::/49", "2001:db8::1", "192.0.2.0/",
                               "192.0.2.0/2x", "somewhere"})
        EXPECT_FALSE(isMaskedRule(narrow)) << narrow;
}

TEST(JournalMask, AnotherHandsColumnIsNoAddress) {
    EXPECT_EQ(networkOf("somewhere").toString(), "::");
    EXPECT_EQ(networkOf("198.51.100.0/24").toString(), "198.51.100.0/24");
}

TEST(JournalMask, ReplacesWholeAddressesOnly) {
    const auto mask = [](std::string_view text, std::string_view client) {
        return withReplaced(text, client, masked(network(client)).toString());
    };
    EXPECT_EQ(mask("192.0.2.1", "192.0.2.1"), "192.0.2.0/24");
    EXPECT_EQ(mask("[192.0.2.1]: 192.0.2.1.", "192.0.2.1"), "[192.0.2.0/24]: 192.0.2.0/24.");
    EXPECT_EQ(mask("192.0.2.11 1192.0.2.1", "192.0.2.1"), "192.0.2.11 1192.0.2.1");
    EXPECT_EQ(mask("2001:db8::1: no, 2001:db8::12", "2001:db8::1"), "2001:db8::/48: no, 2001:db8::12");
    EXPECT_EQ(mask("", "192.0.2.1"), "");
}

TEST(JournalMask, LeavesOfAnAddressLiteralTheNetwork) {
    const auto mask = [](std::string_view helo) { return maskedHelo(helo, "192.0.2.1", "192.0.2.0/24"); };
    EXPECT_EQ(mask("[192.0.2.1]"), "[192.0.2.0/24]");
    EXPECT_EQ(mask("[10.1.2.3]"), "[10.1.2.0/24]") << "behind NAT";
    EXPECT_EQ(mask("[10.1.2.3] of 192.0.2.1"), "[10.1.2.0/24] of 192.0.2.0/24");
    EXPECT_EQ(mask("[IPv6:2001:DB8:0:0::1]"), "[IPv6:2001:db8::/48]");
    EXPECT_EQ(mask("192.0.2.1.dynamic.example"), "192.0.2.0/24.dynamic.example");
    for (const char* other : {"mail.example.org", "[]", "[", "", "[mail.example.org]"})
        EXPECT_EQ(mask(other), other);
}

TEST(JournalMask, LeavesOfAnAddressLiteralInAMailAddressTheNetwork) {
    EXPECT_EQ(maskedMailAddress("x@[192.0.2.1]"), "x@[192.0.2.0/24]");
    EXPECT_EQ(maskedMailAddress("\"a@[b\"@[IPv6:2001:db8::1]"), "\"a@[b\"@[IPv6:2001:db8::/48]");
    for (const char* other :
         {"", "x", "x@example.org", "x@[tag:1]", "x@[192.0.2.1", "[192.0.2.1]", "x@192.0.2.1"})
        EXPECT_EQ(maskedMailAddress(other), other);
}

}  // namespace
}  // namespace mailgate::store::journal
