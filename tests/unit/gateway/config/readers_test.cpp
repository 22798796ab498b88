// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/readers.h"

#include "gateway/config/addresses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mailgate::config {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// What one reader makes of the lines of its table, "t" of a file "f" in /etc/mailgate.
template <typename Struct>
class Read {
  public:
    using Reader = void (*)(Reading&, TableReader&, std::string_view, Struct&);

    Read(Reader reader, std::string_view key, std::string_view lines, Struct before = {},
         const Config& config = {})
        : value(std::move(before)) {
        const toml::table root = toml::parse(lines);
        Problems problems("f");
        Reading reading{problems, config, "/etc/mailgate", nullptr, {}};
        TableReader table(&root, "t", {1, 1}, problems);
        reader(reading, table, key, value);
        errors = problems.errorText();
        warnings = problems.warnings();
        bound = std::move(reading.bound);
    }

    Struct value;
    std::string errors;
    std::vector<std::string> warnings;
    std::vector<Reading::Bound> bound;
};

TEST(Readers, ANameIsLettersDigitsAndThreeMarksAndHasALimit) {
    EXPECT_TRUE(isName("Mx-1_a.b", 8));
    EXPECT_FALSE(isName("Mx-1_a.b", 7));
    for (const std::string_view wrong : {"", "a b", "a/b", "a:b", "\xC3\xBC", "a\n"})
        EXPECT_FALSE(isName(wrong, 64)) << wrong;
    EXPECT_FALSE(isName(std::string_view("a\0", 2), 64));
}

TEST(Readers, AWildcardIsOneInBothFamilies) {
    EXPECT_TRUE(isWildcard(*IpAddress::parse("0.0.0.0")));
    EXPECT_TRUE(isWildcard(*IpAddress::parse("::")));
    EXPECT_FALSE(isWildcard(*IpAddress::parse("::1")));
    EXPECT_FALSE(isWildcard(*IpAddress::parse("0.0.0.1")));
}

TEST(Readers, EachNameMayBeGivenOnce) {
    const toml::table root = toml::parse("a = \"mx\"\nb = \"MX\"\nc = \"mx\"\nd = \"m x\"\ne = \"m x\"\n");
    Problems problems("f");
    TableReader table(&root, "t", {1, 1}, problems);
    Names names;
    std::string name;
    for (const char* key : {"a", "b", "c", "d", "e", "absent"})
        names.read(table, key, name);
    EXPECT_EQ(problems.errorText(),
              "f:3:5: t.c: \"mx\" is already used on line 1\n"
              "f:4:5: t.d: expected 1 to 64 letters, digits, '.', '-' or '_', found \"m x\"\n"
              "f:5:5: t.e: expected 1 to 64 letters, digits, '.', '-' or '_', found \"m x\"");
}

TEST(Readers, TheGatewaysNameIsOneForAHost) {
    EXPECT_EQ(Read<Config>(readHostName, "name", "name = \"gw.example.org\"").value.name, "gw.example.org");
    EXPECT_EQ(Read<Config>(readHostName, "name", "name = \"a b\"").errors,
              "f:1:8: t.name: expected a host name, found \"a b\"");
    EXPECT_THAT(Read<Config>(readHostName, "name", "name = \"" + std::string(254, 'a') + "\"").errors,
                HasSubstr("expected a host name"));
}

TEST(Readers, ADatabaseIsAFileNextToTheConfigurationButForTheSystems) {
    const auto url = [](const std::string& text) {
        return Read<Config>(readStoreUrl, "url", "url = \"" + text + "\"");
    };
    EXPECT_EQ(Read<Config>(readStoreUrl, "url", "").value.store_url, "sqlite:/var/lib/mailgate/mailgate.db");
    EXPECT_EQ(url("sqlite:../lib/r.db").value.store_url, "sqlite:/etc/lib/r.db");
    EXPECT_EQ(url("sqlite:/var/r.db").value.store_url, "sqlite:/var/r.db");
    EXPECT_THAT(url("postgresql://db/x").errors, HasSubstr("not supported by this version"));
    EXPECT_THAT(url("postgres:x").errors, HasSubstr("not supported by this version"));
    for (const std::string wrong : {"", "rules.db", "sqlite:", "SQLITE:r.db", "sqlite::memory:"})
        EXPECT_EQ(url(wrong).errors, "f:1:7: t.url: expected \"sqlite:PATH\", found \"" + wrong + "\"");
}

TEST(Readers, TheJournalsDatabaseIsNotThatOfTheRules) {
    Config config;
    config.store_url = "sqlite:/etc/mailgate/one.db";
    const Read<JournalConfig> same(readJournalUrl, "url", "url = \"sqlite:./one.db\"", {}, config);
    EXPECT_THAT(same.errors, HasSubstr("the journal needs a file of its own"));
    EXPECT_EQ(Read<JournalConfig>(readJournalUrl, "url", "", {}, config).errors, "");
}

TEST(Readers, NothingIsMaskedUnlessATimeSaysWhen) {
    const auto mask = [](const char* lines) {
        return Read<JournalConfig>(readMaskAfter, "mask_after", lines);
    };
    EXPECT_EQ(mask("").value.mask_after, std::nullopt);
    EXPECT_EQ(mask("mask_after = \"\"").value.mask_after, std::nullopt);
    EXPECT_EQ(mask("mask_after = \"\"").errors, "");
    EXPECT_EQ(mask("mask_after = \"1h\"").value.mask_after, 1h);
    EXPECT_THAT(mask("mask_after = \"59m\"").errors, HasSubstr("expected a duration from 1h to 3650d"));
}

TEST(Readers, TheLogGoesToOneOfFourKindsOfTarget) {
    const auto target = [](const std::string& text) {
        return Read<LogConfig>(readLogTarget, "target", "target = \"" + text + "\"");
    };
    EXPECT_EQ(Read<LogConfig>(readLogTarget, "target", "").value.target, "stderr");
    for (const std::string plain : {"stderr", "syslog"})
        EXPECT_EQ(target(plain).value.target, plain);
    EXPECT_EQ(target("file:log/gw.log").value.target, "file:/etc/mailgate/log/gw.log");
    EXPECT_EQ(target("syslog:/run/log").value.target, "syslog:/run/log");
    for (const std::string wrong : {"", "file", "file:", "syslog:", "stderr:x", "stdout", "FILE:x"})
        EXPECT_THAT(target(wrong).errors, HasSubstr("expected \"stderr\", \"syslog\"")) << wrong;
    EXPECT_THAT(target("syslog:/" + std::string(107, 's')).errors,
                HasSubstr("a path of less than 108 bytes"));
    EXPECT_EQ(target("syslog:/" + std::string(106, 's')).errors, "");
    EXPECT_EQ(target("file:/" + std::string(200, 's')).errors, "") << "no socket";
}

TEST(Readers, AnAdminSocketThatCannotBeBoundIsAnErrorOrWhenNobodyChoseItAWarning) {
    const Read<AdminConfig> usual(readSocket, "socket", "");
    EXPECT_EQ(usual.value.socket, "/run/mailgate/mailgate.sock");
    EXPECT_THAT(usual.warnings, IsEmpty());
    EXPECT_EQ(Read<AdminConfig>(readSocket, "socket", "socket = \"\"").value.socket, "");
    const std::string longest(100, 's');
    EXPECT_THAT(Read<AdminConfig>(readSocket, "socket", "socket = \"" + longest + "\"").errors,
                HasSubstr("found 114 bytes"));
    AdminConfig far;
    far.socket = longest;
    const Read<AdminConfig> disabled(readSocket, "socket", "", far);
    EXPECT_EQ(disabled.value.socket, "");
    EXPECT_EQ(disabled.errors, "");
    EXPECT_THAT(disabled.warnings, ElementsAre(HasSubstr("t.socket: disabled, because its path")));
}

TEST(Readers, WhatTheHttpListenerBindsIsNotALoop) {
    const auto http = [](const std::string& text) {
        return Read<AdminConfig>(readHttpAddress, "http", "http = \"" + text + "\"");
    };
    ASSERT_EQ(http("127.0.0.1:8025").bound.size(), 1u);
    EXPECT_EQ(http("127.0.0.1:8025").bound[0].endpoint.toString(), "127.0.0.1:8025");
    EXPECT_EQ(http("localhost:8025").errors, "");
    EXPECT_THAT(http("").bound, IsEmpty());
    for (const std::string wrong : {"8025", "127.0.0.1", "::1:8025", "127.0.0.1:0"})
        EXPECT_THAT(http(wrong).errors, HasSubstr("expected an address such as")) << wrong;
}

TEST(Readers, AListenersAddressesAreLiteral) {
    const auto addresses = [](const std::string& value) {
        return Read<ListenerConfig>(readAddresses, "address", "address = " + value);
    };
    EXPECT_EQ(addresses("[\"[::]:25\", \"0.0.0.0:25\", \"192.0.2.1:26\"]").value.addresses.size(), 3u);
    for (const char* wrong : {"\"0.0.0.0:0\"", "\"0.0.0.0:65536\"", "\"::1:25\"", "\"localhost:25\"",
                              "\":25\"", "\"25\"", "\"[0.0.0.0\"", "\"\""})
        EXPECT_THAT(addresses(wrong).errors, HasSubstr("port from 1 to 65535, such as")) << wrong;
    EXPECT_THAT(addresses("[]").errors, HasSubstr("missing: expected at least one"));
    EXPECT_THAT(Read<ListenerConfig>(readAddresses, "address", "").errors, HasSubstr("missing: expected"));
}

ListenerConfig listenerWith(ProxyMode proxy) {
    ListenerConfig listener;
    listener.proxy = proxy;
    return listener;
}

TEST(Readers, BalancersAreNamedExactlyWhereHeadersAreRead) {
    const auto trusted = [](ProxyMode proxy, const char* lines) {
        return Read<ListenerConfig>(readTrusted, "trusted", lines, listenerWith(proxy));
    };
    const char* const kNetworks = "trusted = [\"10.0.0.0/8\", \"fc00::/7\", \"192.0.2.1\"]";
    EXPECT_EQ(trusted(ProxyMode::Mixed, kNetworks).value.trusted.size(), 3u);
    EXPECT_EQ(trusted(ProxyMode::Require, kNetworks).errors, "");
    EXPECT_THAT(trusted(ProxyMode::Require, kNetworks).warnings, IsEmpty());
    EXPECT_THAT(trusted(ProxyMode::Off, kNetworks).errors, HasSubstr("would be ignored"));
    EXPECT_EQ(trusted(ProxyMode::Off, "").errors, "");
    for (const char* none : {"", "trusted = []"}) {
        EXPECT_THAT(trusted(ProxyMode::Require, none).errors, HasSubstr("nobody could ever connect"));
        EXPECT_THAT(trusted(ProxyMode::Mixed, none).errors, HasSubstr("no header would ever be read"));
    }
    EXPECT_EQ(
        trusted(ProxyMode::Require, "trusted = \"192.0.2.5/24\"").errors,
        "f:1:11: t.trusted: 192.0.2.5/24 has host bits set: did you mean 192.0.2.0/24 or 192.0.2.5/32?");
    for (const char* wide : {"0.0.0.0/0", "8.0.0.0/7", "::/0", "fc00::/6"})
        EXPECT_THAT(
            trusted(ProxyMode::Mixed, ("trusted = \"" + std::string(wide) + "\"").c_str()).warnings,
            ElementsAre(HasSubstr(std::string(wide) + " is far larger than a site's balancers need")));
}

TEST(Readers, BareLineFeedsAreForProtocolsThatCarryMail) {
    const auto bareLf = [](Protocol protocol, const char* lines) {
        ListenerConfig listener;
        listener.protocol = protocol;
        return Read<ListenerConfig>(readBareLf, "bare_lf", lines, listener);
    };
    for (const Protocol protocol : {Protocol::Smtp, Protocol::Lmtp}) {
        EXPECT_EQ(bareLf(protocol, "").value.bare_lf, BareLfPolicy::Normalize);
        EXPECT_EQ(bareLf(protocol, "bare_lf = \"pass\"").value.bare_lf, BareLfPolicy::Pass);
        EXPECT_EQ(bareLf(protocol, "bare_lf = \"reject\"").errors, "");
    }
    EXPECT_EQ(bareLf(Protocol::Imap, "").value.bare_lf, BareLfPolicy::Pass);
    EXPECT_THAT(bareLf(Protocol::Imap, "bare_lf = \"pass\"").errors,
                HasSubstr("smtp and lmtp listeners only"));
    ListenerConfig pop3;
    pop3.protocol = Protocol::Pop3;
    EXPECT_THAT(Read<ListenerConfig>(readBareLfExclude, "exclude", "exclude = \"192.0.2.0/24\"", pop3).errors,
                HasSubstr("smtp and lmtp listeners only"));
    pop3.protocol = Protocol::Smtp;
    const Read<ListenerConfig> some(readBareLfExclude, "exclude", "exclude = [\"192.0.2.0/24\", \"no\"]",
                                    pop3);
    EXPECT_EQ(some.value.bare_lf_exclude.size(), 1u);
    EXPECT_THAT(some.errors, HasSubstr("f:1:28: t.exclude: "));
}

TEST(Readers, AListenersUpstreamIsOneOfThoseThatWereRead) {
    Config config;
    config.upstreams.resize(2);
    config.upstreams[0].name = "dovecot";
    config.upstreams[1].name = "postfix";
    const Read<ListenerConfig> found(readUpstreamName, "upstream", "upstream = \"postfix\"", {}, config);
    EXPECT_EQ(found.value.upstream_index, 1u);
    EXPECT_EQ(found.errors, "");
    const Read<ListenerConfig> none(readUpstreamName, "upstream", "upstream = \"postfx\"", {}, config);
    EXPECT_THAT(none.errors, HasSubstr("no [[upstream]] named \"postfx\" (did you mean \"postfix\"?)"));
}

TEST(Readers, AServerThatIsNotToldOfTheClientHasToBeAccepted) {
    const auto lost = [](SendProxy send, const char* lines) {
        UpstreamConfig upstream;
        upstream.send_proxy = send;
        return Read<UpstreamConfig>(readLostClientAddress, "lost_client_address", lines, upstream);
    };
    const char* const kAccepted = "lost_client_address = \"accepted\"";
    EXPECT_THAT(lost(SendProxy::Off, "").errors, HasSubstr("t.send_proxy: \"off\" hides the client address"));
    EXPECT_EQ(lost(SendProxy::Off, kAccepted).errors, "");
    EXPECT_TRUE(lost(SendProxy::Off, kAccepted).value.lost_client_address_accepted);
    EXPECT_THAT(lost(SendProxy::Off, kAccepted).warnings,
                ElementsAre(HasSubstr("they are an open relay if")));
    EXPECT_THAT(lost(SendProxy::V2, kAccepted).warnings, ElementsAre(HasSubstr("has no effect unless")));
    EXPECT_THAT(lost(SendProxy::Off, "lost_client_address = \"yes\"").errors,
                HasSubstr("expected \"accepted\", found \"yes\""));
    EXPECT_FALSE(lost(SendProxy::Off, "lost_client_address = \"yes\"").value.lost_client_address_accepted);
}

TEST(Readers, AServersAddressIsALiteralOrAName) {
    const auto address = [](const std::string& text) {
        return Read<ServerConfig>(readServerAddress, "address", "address = \"" + text + "\"");
    };
    const ServerConfig literal = address("[2001:db8::1]:25").value;
    EXPECT_EQ(literal.host, "");
    ASSERT_EQ(literal.endpoints.size(), 1u);
    EXPECT_EQ(literal.endpoints[0].toString(), "[2001:db8::1]:25");
    const ServerConfig named = address("mx.example.org:10025").value;
    EXPECT_EQ(named.host, "mx.example.org");
    EXPECT_EQ(named.port, 10025);
    EXPECT_THAT(named.endpoints, IsEmpty()) << "resolved when all has been read";
    for (const std::string wrong : {"", "10025", "mx", "mx:0", "mx:65536", "127.1:25", "300.1.2.3:25",
                                    "0.0.0.0:25", "[::]:25", "[mx]:25", "2001:db8::1:25", "m x:25", "mx.:25"})
        EXPECT_THAT(address(wrong).errors, HasSubstr("expected a server's \"ADDRESS:PORT\"")) << wrong;
}

}  // namespace
}  // namespace mailgate::config
