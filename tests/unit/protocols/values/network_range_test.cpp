// SPDX-License-Identifier: Apache-2.0
#include "protocols/values/network_range.h"

#include "tests/support/networks.h"

#include <gmock/gmock.h>

namespace mailgate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> networksOf(std::string_view text) {
    const auto parsed = parseNetworks(text);
    if (const auto* error = std::get_if<NetworkError>(&parsed)) return {error->message};
    std::vector<std::string> networks;
    for (const Network& network : std::get<std::vector<Network>>(parsed))
        networks.push_back(network.toString());
    return networks;
}

TEST(NetworkRange, ANetworkIsItself) {
    EXPECT_THAT(networksOf("192.0.2.0/24"), ElementsAre("192.0.2.0/24"));
    EXPECT_THAT(networksOf("2001:db8::1"), ElementsAre("2001:db8::1"));
}

TEST(NetworkRange, AMaskIsAPrefix) {
    EXPECT_THAT(networksOf("10.0.0.0/255.0.0.0"), ElementsAre("10.0.0.0/8"));
    EXPECT_THAT(networksOf("192.0.2.7/255.255.255.255"), ElementsAre("192.0.2.7"));
    EXPECT_THAT(networksOf("0.0.0.0/0.0.0.0"), ElementsAre("0.0.0.0/0"));
}

TEST(NetworkRange, ARangeIsTheFewestNetworksThatHoldIt) {
    EXPECT_THAT(networksOf("192.0.2.10-192.0.2.20"),
                ElementsAre("192.0.2.10/31", "192.0.2.12/30", "192.0.2.16/30", "192.0.2.20"));
    EXPECT_THAT(networksOf("192.0.2.0-192.0.2.255"), ElementsAre("192.0.2.0/24"));
    EXPECT_THAT(networksOf("192.0.2.1-192.0.2.1"), ElementsAre("192.0.2.1"));
    EXPECT_THAT(networksOf("0.0.0.0-255.255.255.255"), ElementsAre("0.0.0.0/0"));
    EXPECT_THAT(networksOf("255.255.255.254-255.255.255.255"), ElementsAre("255.255.255.254/31"));
    EXPECT_THAT(networksOf("2001:db8::-2001:db8::1:ffff"), ElementsAre("2001:db8::/111"));
    EXPECT_THAT(networksOf("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ElementsAre("::/0"));
    EXPECT_EQ(networksOf("0.0.0.1-255.255.255.254").size(), 62u);
    EXPECT_EQ(networksOf("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe").size(), 254u);
}

TEST(NetworkRange, NoRangeOfIPv6HoldsIPv4) {
    const auto parsed = parseNetworks("::fffe:8000:0-::1:0:0:0");
    for (const Network& each : std::get<std::vector<Network>>(parsed))
        EXPECT_FALSE(each.contains(network("192.0.2.1"))) << each.toString();
}

TEST(NetworkRange, SaysWhatIsWrong) {
    const struct {
        const char* text;
        const char* message;
    } cases[] = {
        {"192.0.2.20-192.0.2.10", "the range ends before it begins"},
        {"192.0.2.1-2001:db8::1", "begins in one address family and ends in another"},
        {"192.0.2.0/24-192.0.3.0/24", "the ends of a range are addresses"},
        {"192.0.2.1-20", "\"20\" is not an IP address"},
        {"-192.0.2.1", "\"-192.0.2.1\" is no range: both of its ends and the dash are one word"},
        {"192.0.2.1-", "is no range"},
        {"-", "is no range"},
        {"mail-1.example.org", "is not an IP address"},
        {"10.0.0.0/255.0.255.0", "is not a netmask such as 255.255.255.0"},
        {"10.0.0.0/0.0.0.255", "is not a netmask such as 255.255.255.0"},
        {"10.0.0.5/255.0.0.0", "did you mean 10.0.0.0/8 or 10.0.0.5/32?"},
        {"2001:db8::/255.0.0.0", "is not a netmask such as 255.255.255.0"},
        {"192.0.2.0/33", "must be a number from 0 to 32"},
    };
    for (const auto& one : cases)
        EXPECT_THAT(networksOf(one.text), ElementsAre(HasSubstr(one.message))) << one.text;
}

}  // namespace
}  // namespace mailgate
