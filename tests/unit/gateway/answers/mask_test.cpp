// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/mask.h"

#include "gateway/answers/journal.h"
#include "tests/support/networks.h"

#include <gmock/gmock.h>

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
    EXPECT_EQ(maskedHeloName("host-198.51.100.7.example", address("198.51.100.7")),
              "host-198.51.100.0/24.example");
}

TEST(Mask, KnowsWhatWouldTellAnAddress) {
    for (const char* text : {"[192.0.2.1]", "x@[IPv6:2001:db8::1]", "2001:db8::1", "u@192.0.2.1",
                             "1.2.3.4.example", "mx-1.2.3.4"})
        EXPECT_TRUE(tellsAddress(text)) << text;
    for (const char* text :
         {"", "alice@example.net", "1.2.3.example", "a1.b2.c3.d4", "2024-11-26.1@x", "1..2.3.4", "1.2.3"})
        EXPECT_FALSE(tellsAddress(text)) << text;
    for (const char* name :
         {".177", "177", ".2.177", ".177.example.net", "[192.0.2.1]", ".177]", "]", ".177].example"})
        EXPECT_TRUE(tellsAddressOfHelo(name)) << name;
    for (const char* name : {"", ".", ".example.net", "mx1.example.net", "..a", "192-0-2-1.isp.example"})
        EXPECT_FALSE(tellsAddressOfHelo(name)) << name;
}

}  // namespace
}  // namespace mailgate::answers
