// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/authenticator.h"

#include "gateway/credentials/password.h"
#include "gateway/credentials/secret.h"

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

/// Of one account, whose password is kPassword.
class OneAccount final : public store::AccountStore {
  public:
    explicit OneAccount(const std::string& hash) {
        account_.name = "alice";
        account_.password = hash;
    }
    std::vector<store::Account> accounts() override { return {account_}; }
    std::optional<store::Account> account(std::string_view name) override {
        return name == account_.name ? std::optional(account_) : std::nullopt;
    }
    bool add(const store::Account&) override { return false; }
    bool setPassword(std::string_view, std::string_view, UnixSeconds) override { return false; }
    bool removeAccount(std::string_view) override { return false; }
    std::vector<store::Token> tokens() override { return {}; }
    std::optional<store::Token> tokenOf(std::string_view digest) override {
        for (const char* owner : {"alice", "carol"})
            if (digest == credentials::digestOf(std::string("token-of-") + owner)) {
                store::Token token;
                token.account = owner;
                return token;
            }
        return std::nullopt;
    }
    Added add(const store::Token&, std::string_view) override { return Added::NoAccount; }
    bool removeToken(std::string_view) override { return false; }

  private:
    store::Account account_;
};

TEST(KnownAtOnce, IsWhoHasASessionATokenThatWasHereOrAProxysWord) {
    const std::string password = "correct horse battery", hash = credentials::hashPassword(password);
    Authenticator authenticator([&] { return std::make_unique<OneAccount>(hash); }, nullptr);
    Credentials from;
    from.client = address("192.0.2.1");
    EXPECT_EQ(authenticator.knownAtOnce(from), "");
    from.cookie = std::get<Authenticator::LoggedIn>(authenticator.logIn(from, "alice", password)).secret;
    EXPECT_EQ(authenticator.knownAtOnce(from), "alice");
    from.cookie += "x";
    EXPECT_EQ(authenticator.knownAtOnce(from), "") << "whoever may send such";
    from.proxy_user = "bob";
    EXPECT_EQ(authenticator.knownAtOnce(from), "bob");
    from.authorization = "Bearer token-of-carol";
    EXPECT_EQ(authenticator.knownAtOnce(from), "") << "it was not here yet";
    authenticator.identify(from);
    EXPECT_EQ(authenticator.knownAtOnce(from), "carol");
    from.authorization = "Bearer another";
    authenticator.identify(from);
    EXPECT_EQ(authenticator.knownAtOnce(from), "");
}

TEST(Client, IsAnAccountHoweverItComes) {
    const std::string password = "correct horse battery", hash = credentials::hashPassword(password);
    Authenticator authenticator([&] { return std::make_unique<OneAccount>(hash); }, nullptr);
    Credentials session, token, proxy;
    for (Credentials* each : {&session, &token, &proxy})
        each->client = address("192.0.2.1");
    session.cookie =
        std::get<Authenticator::LoggedIn>(authenticator.logIn(session, "alice", password)).secret;
    token.authorization = "Bearer token-of-alice";
    proxy.proxy_user = "alice";
    for (const Credentials* each : {&session, &token, &proxy})
        EXPECT_EQ(std::get<Known>(authenticator.identify(*each)).who.client(), "alice");
    EXPECT_EQ(std::get<Known>(authenticator.identify(token)).who.name, "token  (console)");
    EXPECT_EQ((api::Principal{"root", store::Role::Admin}.client()), "root");
}

TEST(LogIn, IsNotKeptFromOthersByWhoHasOneNetwork) {
    const std::string password = "correct horse battery", hash = credentials::hashPassword(password);
    Authenticator authenticator([&] { return std::make_unique<OneAccount>(hash); }, nullptr);
    Credentials from;
    int looked_at = 0;
    for (int number = 1; number < 60; ++number) {
        from.client = address(("192.0.2." + std::to_string(number)).c_str());
        const auto result = authenticator.logIn(from, "alice", "wrong");
        looked_at += std::get<api::Response>(result).status == 401 ? 1 : 0;
    }
    EXPECT_EQ(looked_at, 15);
    EXPECT_TRUE(authenticator.isPaused(address("192.0.99.1"), "alice")) << "the provider's others";
    EXPECT_FALSE(authenticator.isPaused(address("192.0.2.77"), "bob"));
    from.client = address("198.51.100.7");
    EXPECT_TRUE(
        std::holds_alternative<Authenticator::LoggedIn>(authenticator.logIn(from, "alice", password)));
}

TEST(LogIn, IsNotKeptFromWhoHasLoggedInThereByWhoGuessesElsewhere) {
    const std::string password = "correct horse battery", hash = credentials::hashPassword(password);
    Authenticator authenticator([&] { return std::make_unique<OneAccount>(hash); }, nullptr);
    Credentials home, from;
    home.client = address("198.51.100.7");
    ASSERT_TRUE(
        std::holds_alternative<Authenticator::LoggedIn>(authenticator.logIn(home, "alice", password)));
    int looked_at = 0;
    for (int number = 0; number < 90; ++number) {  // of three networks, one of them her own
        const char* const networks[] = {"192.0.2.", "203.0.113.", "198.51.100."};
        from.client = address((networks[number % 3] + std::to_string(100 + number)).c_str());
        const auto result = authenticator.logIn(from, "alice", "wrong");
        looked_at += std::get<api::Response>(result).status == 401 ? 1 : 0;
    }
    EXPECT_EQ(looked_at, 30) << "guesses are bounded all the same";
    EXPECT_TRUE(authenticator.isPaused(address("198.51.100.8"), "alice"));
    ASSERT_FALSE(authenticator.isPaused(home.client, "alice"));
    EXPECT_TRUE(
        std::holds_alternative<Authenticator::LoggedIn>(authenticator.logIn(home, "alice", password)));
    EXPECT_TRUE(authenticator.isPaused(address("198.51.100.8"), "alice")) << "that forgives nobody else";
    for (int number = 0; number < 5; ++number)
        authenticator.logIn(home, "alice", "wrong");
    EXPECT_TRUE(authenticator.isPaused(home.client, "alice")) << "there it may be guessed no more often";
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
