// SPDX-License-Identifier: Apache-2.0
#include "protocols/values/network.h"

#include "tests/support/networks.h"

#include <gmock/gmock.h>

namespace mailgate {
namespace {

using testing::HasSubstr;

TEST(Network, ReadsAndWritesTheUsualForms) {
    const struct {
        const char* text;
        const char* written;
        unsigned prefix_length;
        bool v4;
    } cases[] = {
        {"192.0.2.0/24", "192.0.2.0/24", 120, true},
        {"192.0.2.5", "192.0.2.5", 128, true},
        {"192.0.2.5/32", "192.0.2.5", 128, true},
        {"0.0.0.0/0", "0.0.0.0/0", 96, true},
        {"128.0.0.0/1", "128.0.0.0/1", 97, true},
        {"255.255.255.255", "255.255.255.255", 128, true},
        {"::/0", "::/0", 0, false},
        {"2001:DB8:0::/48", "2001:db8::/48", 48, false},
        {"2001:db8::1", "2001:db8::1", 128, false},
        {"8000::/1", "8000::/1", 1, false},
        {"::ffff:192.0.2.0/120", "192.0.2.0/24", 120, true},
        {"::ffff:c000:205", "192.0.2.5", 128, true},
        {"::ffff:0:0/96", "0.0.0.0/0", 96, true},
        {"64:ff9b::/96", "64:ff9b::/96", 96, false},
    };
    for (const auto& one : cases) {
        SCOPED_TRACE(one.text);
        const Network parsed = network(one.text);
        EXPECT_EQ(parsed.toString(), one.written);
        EXPECT_EQ(parsed.prefix_length, one.prefix_length);
        EXPECT_EQ(parsed.isV4(), one.v4);
        EXPECT_EQ(network(parsed.toString()), parsed);
    }
}

TEST(Network, RefusesWhatIsNoNetwork) {
    const std::string_view cases[] = {"",
                                      "/",
                                      "/24",
                                      "192.0.2",
                                      "192.0.2.256",
                                      "192.0.2.01",
                                      "192.0.2.1.",
                                      "192.0.2.0001",
                                      ".192.0.2.1",
                                      "192..2.1",
                                      "192.0.2.05",
                                      "0x7f.0.0.1",
                                      "2130706433",
                                      "192.0.2.1/",
                                      "192.0.2.1/33",
                                      "192.0.2.0/-1",
                                      "192.0.2.0/+24",
                                      "192.0.2.0/024",
                                      "192.0.2.0/24 ",
                                      " 192.0.2.0/24",
                                      "192.0.2.0/24/24",
                                      "192.0.2.0/255.255.255.0",
                                      "192.0.2.0/4294967320",
                                      "2001:db8::/129",
                                      "2001:db8:::1",
                                      "fe80::1%eth0",
                                      "[::1]",
                                      "mail.example.org",
                                      std::string_view("192.0.2.1\0", 10),
                                      "1111:2222:3333:4444:5555:6666:7777:8888:9999:1111:2222:3333:4444"};
    for (const auto text : cases) {
        SCOPED_TRACE(text);
        const auto parsed = parseNetwork(text);
        ASSERT_TRUE(std::holds_alternative<NetworkError>(parsed));
        EXPECT_FALSE(std::get<NetworkError>(parsed).message.empty());
    }
}

TEST(Network, HostBitsAreAnErrorThatNamesWhatMayBeMeant) {
    const auto v4 = parseNetwork("192.0.2.5/24");
    ASSERT_TRUE(std::holds_alternative<NetworkError>(v4));
    EXPECT_EQ(std::get<NetworkError>(v4).message,
              "192.0.2.5/24 has host bits set: did you mean 192.0.2.0/24 or 192.0.2.5/32?");
    const auto v6 = parseNetwork("2001:db8::1/33");
    ASSERT_TRUE(std::holds_alternative<NetworkError>(v6));
    EXPECT_EQ(std::get<NetworkError>(v6).message,
              "2001:db8::1/33 has host bits set: did you mean 2001:db8::/33 or 2001:db8::1/128?");
}

TEST(Network, ContainsAddresses) {
    EXPECT_TRUE(network("192.0.2.0/24").contains(address("192.0.2.255")));
    EXPECT_FALSE(network("192.0.2.0/25").contains(address("192.0.2.128")));
    EXPECT_TRUE(network("2001:db8::/33").contains(address("2001:db8:7fff::")));
    EXPECT_FALSE(network("2001:db8::/33").contains(address("2001:db8:8000::")));
    EXPECT_FALSE(network("::/0").contains(address("192.0.2.1")));
}

TEST(Network, HostileBytesComeOutPrintable) {
    const auto parsed = parseNetwork("\x1b[31m\xff\n");
    EXPECT_THAT(std::get<NetworkError>(parsed).message, HasSubstr("\"\\x1B[31m\\xFF\\x0A\""));
    EXPECT_LT(std::get<NetworkError>(parseNetwork(std::string(100'000, 'x'))).message.size(), 300u);
}

TEST(Network, ContainsItsAddressesAndNoOthers) {
    const struct {
        const char* outer;
        const char* inner;
        bool contains;
    } cases[] = {
        {"192.0.2.0/24", "192.0.2.255", true},
        {"192.0.2.0/24", "192.0.3.0", false},
        {"192.0.2.0/25", "192.0.2.128", false},
        {"0.0.0.0/0", "203.0.113.1", true},
        {"192.0.2.0/24", "192.0.2.64/26", true},
        {"192.0.2.64/26", "192.0.2.0/24", false},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"::/0", "2001:db8::/32", true},
        {"::/0", "192.0.2.1", false},
        {"::/0", "0.0.0.0/0", false},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
    };
    for (const auto& one : cases) {
        SCOPED_TRACE(testing::Message() << one.outer << " and " << one.inner);
        EXPECT_EQ(network(one.outer).contains(network(one.inner)), one.contains);
    }
}

}  // namespace
}  // namespace mailgate
