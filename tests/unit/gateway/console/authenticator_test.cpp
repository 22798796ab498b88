// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/authenticator.h"

#include <gtest/gtest.h>

namespace mailgate::console {
namespace {

IpAddress address(const char* text) {
    return IpAddress::parse(text).value();
}

Network networkOf(const char* text) {
    return std::get<Network>(parseNetwork(text));
}

/// What is known of a request that comes from `peer`, behind the proxies 10.0.0.0/24.
Credentials behind(const char* peer, const ProxyFields& fields) {
    ConsoleConfig config;
    config.trusted_proxies = {networkOf("10.0.0.0/24")};
    Credentials credentials;
    applyProxy(credentials, config, address(peer), fields);
    return credentials;
}

TEST(Proxy, IsBelievedWhereItIsTrusted) {
    const Credentials credentials =
        behind("10.0.0.1", {.forwarded_for = "192.0.2.7", .forwarded_proto = "https", .user = "alice"});
    EXPECT_EQ(credentials.client.toString(), "192.0.2.7");
    EXPECT_EQ(credentials.proxy_user, "alice");
    EXPECT_TRUE(credentials.is_secure);
}

TEST(Proxy, IsNotBelievedElsewhere) {
    const Credentials credentials =
        behind("192.0.2.1", {.forwarded_for = "192.0.2.7", .forwarded_proto = "https", .user = "alice"});
    EXPECT_EQ(credentials.client.toString(), "192.0.2.1");
    EXPECT_EQ(credentials.proxy_user, "");
    EXPECT_FALSE(credentials.is_secure);
}

// Whatever a client has put there itself stands in front of what our own proxies have added.
TEST(Proxy, SaysTheClientAtTheEnd) {
    const auto clientOf = [](const char* forwarded) {
        return behind("10.0.0.1", {.forwarded_for = forwarded, .forwarded_proto = "", .user = ""})
            .client.toString();
    };
    EXPECT_EQ(clientOf(""), "10.0.0.1");
    EXPECT_EQ(clientOf("1.2.3.4, 192.0.2.7"), "192.0.2.7");
    EXPECT_EQ(clientOf("1.2.3.4, 192.0.2.7 , 10.0.0.2"), "192.0.2.7");
    EXPECT_EQ(clientOf("10.0.0.3,10.0.0.2"), "10.0.0.3");
    EXPECT_EQ(clientOf("2001:db8::7"), "2001:db8::7");
    EXPECT_EQ(clientOf("192.0.2.7:4000"), "192.0.2.7");
    EXPECT_EQ(clientOf("[2001:db8::7]:4000"), "2001:db8::7");
    EXPECT_EQ(clientOf("[2001:db8::7]"), "2001:db8::7");
    for (const char* none :
         {"192.0.2.7:x", "192.0.2.7:40:1", "[2001:db8::7", "[2001:db8::7]4000", "[]", ":", "unknown"})
        EXPECT_EQ(clientOf(none), "10.0.0.1") << none;
    EXPECT_EQ(clientOf("1.2.3.4, nonsense"), "10.0.0.1");
    EXPECT_EQ(clientOf("192.0.2.7, "), "10.0.0.1");
    EXPECT_EQ(clientOf(","), "10.0.0.1");
}

TEST(Cookie, IsTheOneOfThatName) {
    EXPECT_EQ(cookieNamed("mailgate=abc", "mailgate"), "abc");
    EXPECT_EQ(cookieNamed("a=b; mailgate=abc; c=d", "mailgate"), "abc");
    EXPECT_EQ(cookieNamed("mailgate=a=b", "mailgate"), "a=b");
    for (const char* header :
         {"", ";", "=", "mailgate", "xmailgate=abc", "mailgatex=abc", "MAILGATE=abc", "a=mailgate=b"})
        EXPECT_EQ(cookieNamed(header, "mailgate"), "") << header;
}

}  // namespace
}  // namespace mailgate::console
