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

TEST(Proxy, ThatNamesNoAddressIsReported) {
    const auto unknownIn = [](const char* peer, const std::string& forwarded) {
        ConsoleConfig config;
        config.trusted_proxies = {networkOf("10.0.0.0/24")};
        Credentials credentials;
        const ProxyFields fields{.forwarded_for = forwarded, .forwarded_proto = "", .user = ""};
        return std::string(applyProxy(credentials, config, address(peer), fields));
    };
    EXPECT_EQ(unknownIn("10.0.0.1", "unknown"), "unknown");
    EXPECT_EQ(unknownIn("10.0.0.1", "1.2.3.4, _hidden , 10.0.0.2"), "_hidden");
    EXPECT_EQ(unknownIn("10.0.0.1", "192.0.2.7, "), "192.0.2.7, ");
    EXPECT_EQ(unknownIn("10.0.0.1", "what clients write, 192.0.2.7"), "");
    EXPECT_EQ(unknownIn("10.0.0.1", ""), "") << "as through ssh -L";
    EXPECT_EQ(unknownIn("192.0.2.1", "unknown"), "") << "it is no proxy";
}

TEST(Cookie, IsThoseOfThatName) {
    using Cookies = std::vector<std::string>;
    EXPECT_EQ(cookiesNamed("mailgate=abc", "mailgate"), Cookies{"abc"});
    EXPECT_EQ(cookiesNamed("a=b; mailgate=abc; c=d", "mailgate"), Cookies{"abc"});
    EXPECT_EQ(cookiesNamed("mailgate=a=b", "mailgate"), Cookies{"a=b"});
    EXPECT_EQ(cookiesNamed("mailgate=others; mailgate=ours", "mailgate"), (Cookies{"others", "ours"}));
    std::string many;
    for (int number = 0; number < 100; ++number)
        many += "mailgate=x;";
    EXPECT_EQ(cookiesNamed(many, "mailgate").size(), 8U) << "no more than that are looked at";
    for (const char* header :
         {"", ";", "=", "mailgate", "xmailgate=abc", "mailgatex=abc", "MAILGATE=abc", "a=mailgate=b"})
        EXPECT_EQ(cookiesNamed(header, "mailgate"), Cookies()) << header;
}

}  // namespace
}  // namespace mailgate::console
