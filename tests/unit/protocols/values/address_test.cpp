// SPDX-License-Identifier: Apache-2.0
#include "protocols/values/address.h"

#include <gtest/gtest.h>

namespace mailgate {
namespace {

using namespace std::string_view_literals;

TEST(IpAddress, ParsesWhatItWrites) {
    for (const std::string_view text : {"192.0.2.1", "0.0.0.0", "255.255.255.255", "::", "::1",
                                        "2001:db8::25", "2001:db8:0:1:1:1:1:1", "fe80::1:0:0:1"}) {
        const auto address = IpAddress::parse(text);
        ASSERT_TRUE(address) << text;
        EXPECT_EQ(address->toString(), text);
    }
}

TEST(IpAddress, WritesOneCanonicalForm) {
    const struct {
        std::string_view text, want;
    } cases[] = {
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},   {"2001:0db8::0001", "2001:db8::1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},         {"::FFFF:c000:201", "192.0.2.1"},
        {"0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"},
    };
    for (const auto& c : cases) {
        const auto address = IpAddress::parse(c.text);
        ASSERT_TRUE(address) << c.text;
        EXPECT_EQ(address->toString(), c.want) << c.text;
    }
}

TEST(IpAddress, RefusesEverythingElse) {
    for (const std::string_view text : {""sv,
                                        "192.0.2"sv,
                                        "192.0.2.1.1"sv,
                                        "192.0.2.256"sv,
                                        "192.0.2.010"sv,
                                        "192.0.2.1 "sv,
                                        " 192.0.2.1"sv,
                                        "0xc0.0.2.1"sv,
                                        "3221225985"sv,
                                        "192.0.2.1\0"sv,
                                        "::1\0junk"sv,
                                        ":::"sv,
                                        "1::2::3"sv,
                                        "1:2:3:4:5:6:7"sv,
                                        "1:2:3:4:5:6:7:8:9"sv,
                                        "12345::"sv,
                                        "2001:dbg::1"sv,
                                        "[::1]"sv,
                                        "fe80::1%eth0"sv,
                                        "2001:db8::/32"sv,
                                        "::ffff:192.0.2.010"sv,
                                        "localhost"sv,
                                        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001"sv}) {
        EXPECT_FALSE(IpAddress::parse(text)) << text;
    }
}

TEST(IpAddress, ParsesOneFamilyWhenAskedTo) {
    EXPECT_TRUE(IpAddress::parseV4("192.0.2.1"));
    EXPECT_FALSE(IpAddress::parseV4("::ffff:192.0.2.1"));
    EXPECT_TRUE(IpAddress::parseV6("::ffff:192.0.2.1"));
    EXPECT_FALSE(IpAddress::parseV6("192.0.2.1"));
}

TEST(IpAddress, MappedAddressIsTheIpv4Address) {
    const auto mapped = IpAddress::parse("::ffff:192.0.2.1");
    EXPECT_EQ(mapped, IpAddress::parse("192.0.2.1"));
    EXPECT_EQ(mapped, IpAddress::fromV4({192, 0, 2, 1}));
    EXPECT_TRUE(mapped->isV4());
    EXPECT_FALSE(IpAddress::parse("::192.0.2.1")->isV4());
    EXPECT_FALSE(IpAddress::parse("2001:db8::1")->isV4());
}

TEST(IpAddress, KnowsLoopback) {
    for (const char* text : {"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"}) {
        EXPECT_TRUE(IpAddress::parse(text)->isLoopback()) << text;
    }
    for (const char* text : {"128.0.0.1", "126.255.255.255", "::", "::2", "1::1", "0.0.0.1"}) {
        EXPECT_FALSE(IpAddress::parse(text)->isLoopback()) << text;
    }
}

TEST(IpAddress, OrdersByNetworkBytes) {
    EXPECT_LT(IpAddress::parse("9.0.0.0"), IpAddress::parse("10.0.0.0"));
    EXPECT_LT(IpAddress::parse("255.255.255.255"), IpAddress::parse("2001:db8::1"));
}

TEST(Endpoint, BracketsIpv6Alone) {
    EXPECT_EQ((Endpoint{IpAddress::fromV4({192, 0, 2, 1}), 25}.toString()), "192.0.2.1:25");
    EXPECT_EQ((Endpoint{*IpAddress::parse("2001:db8::1"), 65535}.toString()), "[2001:db8::1]:65535");
    EXPECT_EQ((Endpoint{*IpAddress::parse("::ffff:192.0.2.1"), 0}.toString()), "192.0.2.1:0");
}

TEST(Endpoint, DiffersByPort) {
    const IpAddress address = IpAddress::fromV4({192, 0, 2, 1});
    EXPECT_NE((Endpoint{address, 25}), (Endpoint{address, 26}));
    EXPECT_EQ((Endpoint{address, 25}), (Endpoint{address, 25}));
}

}  // namespace
}  // namespace mailgate
