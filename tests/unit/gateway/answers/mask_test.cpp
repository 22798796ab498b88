// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/mask.h"

#include "gateway/answers/journal.h"
#include "tests/support/networks.h"

#include <gmock/gmock.h>

#include <tuple>

namespace mailgate::answers {
namespace {

using testing::HasSubstr;
using testing::Not;

store::JournalSession sessionOf(const char* client) {
    store::JournalSession session;
    session.id = "01JD4M0000000000000000000A";
    session.listener = "smtp";
    session.protocol = "smtp";
    session.client = address(client);
    session.client_port = 4711;
    session.rule = client;
    session.helo = std::string("[") + client + "]";
    store::JournalMail& mail = session.mail.emplace_back();
    mail.from = "alice@example.net";
    mail.reply = std::string("554 client ") + client + " blocked";
    mail.message_id = std::string("1@[") + client + "]";
    mail.recipients.push_back(std::string("x@[") + client + "]");
    session.user = std::string("u@") + client;
    session.rule_id = 316;
    mail.refused.push_back({"bob@example.net", std::string("550 not from ") + client});
    session.balancer_told.emplace_back("proxy_authority", client);
    return session;
}

TEST(Mask, LeavesTheAddressNowhere) {
    for (const auto& [client, left] :
         {std::pair("198.51.100.7", "198.51.100.0/24"), std::pair("2001:db8:1:2::7", "2001:db8:1::/48")}) {
        SCOPED_TRACE(client);
        const std::string whole = sessionAsJson(sessionOf(client));
        EXPECT_THAT(whole, HasSubstr(client));
        const std::string masked = sessionAsJson(maskedSession(sessionOf(client)));
        EXPECT_THAT(masked, Not(HasSubstr(client)));
        EXPECT_THAT(masked, Not(HasSubstr("4711")));
        EXPECT_THAT(masked, Not(HasSubstr("316"))) << "it may be of a rule for the client alone";
        EXPECT_THAT(masked, HasSubstr(std::string("\"client\":\"") + left));
        EXPECT_THAT(masked, HasSubstr("alice@example.net"));
    }
}

TEST(Mask, OfWhatIsMaskedIsTheSame) {
    const auto masked = maskedSession(sessionOf("198.51.100.7"));
    EXPECT_EQ(sessionAsJson(maskedSession(masked)), sessionAsJson(masked));
    EXPECT_EQ(maskedNetwork(network("198.51.100.7")).toString(), "198.51.100.0/24");
    EXPECT_EQ(maskedNetwork(network("198.51.0.0/16")).toString(), "198.51.0.0/16");
    EXPECT_EQ(maskedText("host-198.51.100.7.example", address("198.51.100.7")),
              "host-198.51.100.0/24.example");
}

TEST(Mask, FindsAnAddressInWhateverWayItIsWritten) {
    for (const auto& [text, left] : {
             std::pair("[192.0.2.7]", "[192.0.2.0/24]"),
             {"192.0.2.007", "192.0.2.0/24"},
             {"[192.000.002.007]", "[192.0.2.0/24]"},
             {"1192.0.2.7", "1192.0.2.0/24"},
             {"mx-192.0.2.7-dsl.example", "mx-192.0.2.0/24-dsl.example"},
             {"7.2.0.192.dsl.example", "192.0.2.0/24.dsl.example"},
             {"10.1.2.3.", "10.1.2.0/24."},
             {"[10.1.2.3] 10.1.2.11", "[10.1.2.0/24] 10.1.2.0/24"},
             {"1.2.3.4.5 x", "0.0.0.0/24 x"},
             {"x@[IPv6:2001:db8:7:7::1]", "x@[IPv6:2001:db8:7::/48]"},
             {"x@[IPv6:2001:db8:7:7:0:0:0:1]", "x@[IPv6:2001:db8:7::/48]"},
             {"x@[IPv6:2001:0db8:0007:0007:0000:0000:0000:0001]", "x@[IPv6:2001:db8:7::/48]"},
             {"x@[ipv6:2001:DB8:7:7::1]", "x@[ipv6:2001:db8:7::/48]"},
             {"x@[IPV6:2001:DB8:7:7::0.0.0.1]", "x@[IPV6:2001:db8:7::/48]"},
             {"2001:db8:7:7::000.000.000.001", "2001:db8:7::/48"},
             {"2001:db8:7:7:0:0:0:1", "2001:db8:7::/48"},
             {"[IPv6:2001:db8:7:7:0:0:0:1].isp.example", "[IPv6:2001:db8:7::/48].isp.example"},
             {"2001:db8:7:7:0:0:0:1.isp.example", "2001:db8:7::/48.isp.example"},
             {"2001:db8:7:7:0:0:0:0:1", "2001:db8:7::/48"},
             {"host:2001:db8:7:7::1: no", "host:2001:db8:7::/48: no"},
             {"::ffff:192.0.2.7", "192.0.2.0/24"},
             {"[IPv6:::FFFF:c000:207]", "[IPv6:192.0.2.0/24]"},
             {"::1", "::/48"},
         }) {
        EXPECT_EQ(maskedText(text, address("192.0.2.7")), left) << text;
        EXPECT_EQ(maskedText(left, address("192.0.2.0")), left) << "once more";
        EXPECT_TRUE(tellsAddress(text)) << text;
    }
    for (const char* other :
         {"", "alice@example.net", "550 5.7.1 no", "a1.b2.c3.d4", "1.2.3.example", "1..2.3.4", "10:20:30",
          "Foo::Bar", "::", "[]", "[mail.example]", "192-0-2-7.isp.example", "ipv6:", "be:ad", "a::"})
        EXPECT_EQ(maskedText(other, address("192.0.2.7")),
                  std::string_view(other) == "a::" ? "a::/48" : other);
    EXPECT_EQ(maskedText("192.0.2.7/24", address("192.0.2.7")), "192.0.2.0/24") << "nobody's mask but ours";
}

TEST(Mask, OfWhatTheJournalHasForgottenTheRestIsMasked) {
    store::JournalSession session = sessionOf("192.0.2.0");
    session.client_masked = true;
    session.rule.clear();
    session.mail.front().from = "x@[192.0.2.007]";
    session.failed_users = {"u@10.1.2.3"};
    const auto masked = maskedSession(session);
    EXPECT_EQ(masked.mail.front().from, "x@[192.0.2.0/24]");
    EXPECT_THAT(masked.failed_users, testing::ElementsAre("u@10.1.2.0/24"));
    EXPECT_EQ(masked.rule_id, 0);
}

TEST(Mask, FindsAnAddressThatIsEncoded) {
    for (const auto& [text, left] : {
             std::pair("u%31%39%32.0.2.7@x", "u192.0.2.0/24@x"),
             {"192%2E0%2e2%2E7", "192.0.2.0/24"},
             {"192%252E0.2.7", "192.0.2.0/24"},
             {"192.0.2.%EF%BC%91%37%37", "192.0.2.0/24"},
             {"192.0.2.\xEF%BC%9177", "192.0.2.0/24"},
             {"192.0.2.%EF\xBC%917", "192.0.2.0/24"},
             {"192%e3%80%820%25EF%25BD%25A12%E2%80%A47", "192.0.2.0/24"},
             {"%5B2001%3Adb8%3A7%3A7%3A%3A1%5D", "[2001:db8:7::/48]"},
             {"192\u30020\uff612\uff0e7", "192.0.2.0/24"},
             {"192\u20240.2.7", "192.0.2.0/24"},
             {"\uff11\uff19\uff12.0.2.7", "192.0.2.0/24"},
             {"2001\uff1a\uff44\uff42\uff18:7:7::1", "2001:db8:7::/48"},
         }) {
        EXPECT_EQ(maskedText(text, address("203.0.113.9")), left) << text;
        EXPECT_EQ(maskedText(left, address("203.0.113.9")), left) << "once more";
        EXPECT_TRUE(tellsAddress(text)) << text;
    }
    for (const char* other :
         {"100%", "%", "%2", "a%2Eb", "user%example.net@relay.example", "%41%2E", "\u3002", "\uff21\uff22",
          "caf%C3%A9%EF%BC", "%EF%BC%91%E4%BD%A0", "caf\u00e9 %zz", "\xef\xbc", "\xef"})
        EXPECT_EQ(maskedText(other, address("203.0.113.9")), other) << "it stays as it was written";
}

TEST(Mask, FindsAnAddressAsNamesOfDnsHaveIt) {
    for (const auto& [text, left] : {
             std::pair("7.2.0.192.in-addr.arpa", "192.0.2.0/24.in-addr.arpa"),
             {"7.2.0.192.IN-ADDR.ARPA.", "192.0.2.0/24.IN-ADDR.ARPA."},
             {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.0.0.0.f.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
              "2001:db8:f::/48.ip6.arpa"},
             {"x@1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.0.0.0.F.0.0.0.8.B.D.0.1.0.0.2.IP6.ARPA.",
              "x@2001:db8:f::/48.IP6.ARPA."},
             {"7.0.0.0.f.0.0.0.8.b.d.0.1.0.0.2.ip6.int", "2001:db8:f::/48.ip6.int"},
             {"2.0.0.1.0.d.b.8.0.0.0.f.0.0.0.7.dsl.example", "::/48.dsl.example"},
         }) {
        EXPECT_EQ(maskedText(text, address("203.0.113.9")), left) << text;
        EXPECT_EQ(maskedText(left, address("203.0.113.9")), left) << "once more";
        EXPECT_TRUE(tellsAddress(text)) << text;
    }
    for (const char* other : {"f.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "a.b.c.d.e.f.example"})
        EXPECT_THAT(maskedText(other, address("203.0.113.9")), Not(HasSubstr("::"))) << "no host part";
}

TEST(Mask, FindsTheClientsOwnAsANumber) {
    for (const char* number :
         {"3221225991", "[3221225991]", "0xc0000207", "c0000207.dsl.example", "x@03221225991"})
        EXPECT_THAT(maskedText(number, address("192.0.2.7")), HasSubstr("192.0.2.0/24")) << number;
    EXPECT_EQ(maskedText("20010db8000700070000000000000001", address("2001:db8:7:7::1")), "2001:db8:7::/48");
    for (const char* other : {"3221225990", "32212259910", "c0000207f", "0xc0000206", "4711"})
        EXPECT_EQ(maskedText(other, address("192.0.2.7")), other);
}

TEST(Mask, KnowsWhatWouldTellAnAddress) {
    for (const char* text : {"[192.0.2.1]", "x@[IPv6:2001:db8::1]", "2001:db8::1", "u@192.0.2.1",
                             "1.2.3.4.example", "mx-1.2.3.4"})
        EXPECT_TRUE(tellsAddress(text)) << text;
    for (const char* text :
         {"", "alice@example.net", "1.2.3.example", "a1.b2.c3.d4", "2024-11-26.1@x", "1..2.3.4", "1.2.3"})
        EXPECT_FALSE(tellsAddress(text)) << text;
    for (const char* name : {".177", "177", ".2.177", ".7-dsl.example", ".2.7x", ".177.example.net",
                             "[192.0.2.1]", ".177]", "]", ".177].example"})
        EXPECT_TRUE(tellsAddressOfHelo(name)) << name;
    for (const char* name : {"", ".", ".example.net", "mx1.example.net", "..a", "192-0-2-1.isp.example"})
        EXPECT_FALSE(tellsAddressOfHelo(name)) << name;
}

TEST(Mask, ReadsALongTextOnce) {
    constexpr std::size_t kLong = 160'000;  // squared, that would take minutes
    const std::string digits(kLong, 'a');
    EXPECT_EQ(maskedText(digits, address("192.0.2.177")), digits);
    std::string encoded = "%";
    for (std::size_t at = 0; at < kLong; ++at)
        encoded += "25";
    EXPECT_EQ(maskedText(encoded + "31.2.3.4", address("192.0.2.177")), "1.2.3.0/24");
}

TEST(Mask, IsTheSameOnceMoreWhateverStandsBesideAnAddress) {
    for (const auto& [text, left] : {std::pair("200db8::7", "2db8::/48"),
                                     {":::::::01:0db8:7:7::0.0.2.0.192::", ":::::::/48::/48/24::/48"},
                                     {"a.b.c.d.e.f.a.b.c.1.2.3.44", "::/48/24"},
                                     {"200000000000000000000db8::7 and more", "::/48"}}) {
        EXPECT_EQ(maskedText(text, address("192.0.2.7")), left) << text;
        EXPECT_EQ(maskedText(left, address("192.0.2.7")), left) << "once more";
    }
}

TEST(Mask, FindsAddressesWithOtherThingsAround) {
    const char* const v6 = "2001:db8:51:aaaa:bbbb:cccc:dddd:e177";
    for (const auto& [text, client, left] :
         {std::tuple("a2001:0db8:0051:aaaa:bbbb:cccc:dddd:e177", v6, "a2001:db8:51::/48"),
          std::tuple("x92001:db8:51::e177.isp.example", v6, "x92001:db8:51::/48.isp.example"),
          std::tuple("h-42540766411381321800068981371120247159", v6, "h-2001:db8:51::/48"),
          std::tuple("a3221226161", "192.0.2.177", "a192.0.2.0/24"),
          std::tuple("177.128/25.2.0.192.in-addr.arpa", "192.0.2.177", "192.0.2.0/24.in-addr.arpa"),
          {"177-128/25.2.0.192.in-addr.arpa", "203.0.113.9", "192.0.2.0/24.in-addr.arpa"},
          {"177.a.2.0.192.in-addr.arpa", "203.0.113.9", "192.0.2.0/24.in-addr.arpa"},
          {"177.a,(b.2.0.192.in-addr.arpa", "203.0.113.9", "192.0.2.0/24.in-addr.arpa"},
          {"x@177.sub.2.0.192.IN-ADDR.ARPA.", "203.0.113.9", "x@192.0.2.0/24.IN-ADDR.ARPA."},
          {"177.128:25.2.0.192.in-addr.arpa", "203.0.113.9", "192.0.2.0/24.in-addr.arpa"},
          {"177.128~25.2.0.192.in-addr.arpa", "203.0.113.9", "192.0.2.0/24.in-addr.arpa"},
          {"177.128\\/25.2.0.192.in-addr.arpa", "203.0.113.9", "192.0.2.0/24.in-addr.arpa"},
          {"177.128%2F25.2.0.192.in-addr.arpa", "203.0.113.9", "192.0.2.0/24.in-addr.arpa"},
          {"177.0/25.0/26.0/27.0/28.0/29.0/30.0/"
           "31.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z.2.0.192.in-addr.arpa",
           "203.0.113.9", "192.0.2.0/24.in-addr.arpa"},
          {"177.128_25.2.0.192.in-addr.arpa", "203.0.113.9", "192.0.2.0/24.in-addr.arpa"},
          {"177.0/25.0/24.2.0.192.in-addr.arpa", "203.0.113.9", "192.0.2.0/24.in-addr.arpa"},
          std::tuple("177.128-255.2.0.192.in-addr.arpa", "192.0.2.177", "192.0.2.0/24.in-addr.arpa"),
          std::tuple("1.177.2.0.192", "192.0.2.177", "0.0.0.0/24")}) {
        EXPECT_EQ(maskedText(text, address(client)), left) << text;
        EXPECT_EQ(maskedText(left, address(client)), left) << "once more";
    }
}

}  // namespace
}  // namespace mailgate::answers
