// SPDX-License-Identifier: Apache-2.0
#include "protocols/health_dialogue.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mailgate {
namespace {

/// A server's lines, one piece each, and what came of them.
struct Conversation {
    std::string said;
    bool good = false;
    bool done = false;
    std::string reason;
};

Conversation converse(Protocol protocol, const std::vector<std::string>& pieces, bool closes = false) {
    HealthDialogue dialogue(protocol, "gw.example");
    Conversation result;
    HealthDialogue::Step step = dialogue.open();
    for (const std::string& piece : pieces) {
        if (step.done) break;
        step = dialogue.onBytes(piece);
        result.said += step.send;
    }
    if (closes && !step.done) step = dialogue.onEnd();
    result.good = step.decided && dialogue.good();
    result.done = step.done;
    result.reason = dialogue.reason();
    return result;
}

struct Healthy {
    Protocol protocol;
    std::string server;
    std::string want_said;
};

class HealthyServer : public testing::TestWithParam<Healthy> {};

TEST_P(HealthyServer, IsGoodAndLeftPolitely) {
    const Healthy& server = GetParam();
    const Conversation whole = converse(server.protocol, {server.server});
    EXPECT_TRUE(whole.good) << whole.reason;
    EXPECT_TRUE(whole.done);
    EXPECT_EQ(whole.said, server.want_said);
}

TEST_P(HealthyServer, MayComeInAnyPieces) {
    std::vector<std::string> bytes;
    for (const char byte : GetParam().server)
        bytes.emplace_back(1, byte);
    const Conversation split = converse(GetParam().protocol, bytes);
    EXPECT_TRUE(split.good && split.done) << split.reason;
    EXPECT_EQ(split.said, GetParam().want_said);
}

INSTANTIATE_TEST_SUITE_P(
    Protocols, HealthyServer,
    testing::Values(
        Healthy{Protocol::Smtp, "220 mx ESMTP\r\n250-mx\r\n250 SIZE\r\n221 2.0.0 Bye\r\n",
                "EHLO gw.example\r\nQUIT\r\n"},
        Healthy{Protocol::Smtp, "220-mx wait\r\n220 mx ESMTP\r\n250 mx\r\n221 Bye\r\n",
                "EHLO gw.example\r\nQUIT\r\n"},
        Healthy{Protocol::Lmtp, "220 mx LMTP\r\n250-mx\r\n250 PIPELINING\r\n221 Bye\r\n",
                "LHLO gw.example\r\nQUIT\r\n"},
        Healthy{Protocol::Imap, "* OK [CAPABILITY IMAP4rev1] ready\r\n* BYE Logging out\r\na OK done\r\n",
                "a LOGOUT\r\n"},
        Healthy{Protocol::Pop3, "+OK ready\r\n+OK bye\r\n", "QUIT\r\n"},
        Healthy{Protocol::Sieve,
                "\"IMPLEMENTATION\" \"x\"\r\n\"SASL\" \"PLAIN\"\r\nOK \"ready\"\r\nOK \"bye\"\r\n",
                "LOGOUT\r\n"}));

TEST(HealthDialogue, DoesNotSpeakBeforeTheGreetingIsWhole) {
    HealthDialogue dialogue(Protocol::Smtp, "gw");
    EXPECT_EQ(dialogue.onBytes("220-be patient\r\n").send, "");
    EXPECT_TRUE(dialogue.teasing());
    EXPECT_EQ(dialogue.onBytes("220 mx\r\n").send, "EHLO gw\r\n");
    EXPECT_FALSE(dialogue.teasing());
}

TEST(HealthDialogue, AConnectionIsEnoughForTcp) {
    HealthDialogue dialogue(Protocol::Tcp, "gw");
    const HealthDialogue::Step step = dialogue.open();
    EXPECT_TRUE(step.decided && step.done && dialogue.good());
}

struct Sick {
    Protocol protocol;
    std::string server;
    std::string want_reason;
    std::string want_said;
};

class SickServer : public testing::TestWithParam<Sick> {};

TEST_P(SickServer, IsBadWithAReasonInWords) {
    const Sick& server = GetParam();
    const Conversation heard = converse(server.protocol, {server.server}, true);
    EXPECT_FALSE(heard.good);
    EXPECT_TRUE(heard.done);
    EXPECT_EQ(heard.reason, server.want_reason);
    EXPECT_EQ(heard.said, server.want_said);
}

INSTANTIATE_TEST_SUITE_P(
    Reasons, SickServer,
    testing::Values(
        Sick{Protocol::Smtp, "", "closed the connection without a greeting", ""},
        Sick{Protocol::Smtp, "220 mx\r\n", "closed the connection after its greeting", "EHLO gw.example\r\n"},
        Sick{Protocol::Smtp, "421 4.3.0 no\r\n", "greets with: 421 4.3.0 no", ""},
        Sick{Protocol::Smtp, "554 5.7.1 no\r\n221 Bye\r\n", "greets with: 554 5.7.1 no", "QUIT\r\n"},
        Sick{Protocol::Smtp, "220 mx\r\n502 what\r\n221 Bye\r\n", "answered EHLO with: 502 what",
             "EHLO gw.example\r\nQUIT\r\n"},
        Sick{Protocol::Smtp, "* OK imap\r\n", "does not speak smtp, but says: * OK imap", ""},
        Sick{Protocol::Smtp, "\x01\x7f\x80\r\n", "does not speak smtp, but says: ???", ""},
        Sick{Protocol::Imap, "* BYE full\r\n", "greets with: * BYE full", ""},
        Sick{Protocol::Pop3, "-ERR no\r\n", "greets with: -ERR no", ""},
        Sick{Protocol::Sieve, "BYE \"no\"\r\n", "greets with: BYE \"no\"", ""}));

TEST(HealthDialogue, AServerThatTalksWithoutEndIsBad) {
    HealthDialogue dialogue(Protocol::Sieve, "gw");
    const std::string capability = "\"X\" \"" + std::string(500, 'x') + "\"\r\n";
    HealthDialogue::Step step;
    for (std::size_t sent = 0; sent <= kMaxHealthBytes && !step.done; sent += capability.size())
        step = dialogue.onBytes(capability);
    EXPECT_TRUE(step.done && step.decided);
    EXPECT_FALSE(dialogue.good());
    EXPECT_EQ(dialogue.reason(), "sends too much data");
}

TEST(HealthDialogue, AVerdictStandsWhateverTheGoodbye) {
    HealthDialogue dialogue(Protocol::Pop3, "gw");
    EXPECT_TRUE(dialogue.onBytes("+OK\r\n").decided);
    EXPECT_TRUE(dialogue.onEnd().done);
    EXPECT_TRUE(dialogue.good());
}

TEST(HeloName, IsTheNameOrTheAddressWhereStrictServersTakeNoSuchName) {
    const IpAddress v4 = *IpAddress::parse("192.0.2.1"), v6 = *IpAddress::parse("2001:db8::1");
    EXPECT_EQ(heloName("gw.example", v4), "gw.example");
    EXPECT_EQ(heloName("gw-1.mx.EXAMPLE.org", v6), "gw-1.mx.EXAMPLE.org");
    for (const char* name : {"gw1", "localhost", "", ".", "gw.", ".gw", "a..b", "gw_1.example", "-a.example",
                             "a-.example", "10.0.0.1", "gw.1"}) {
        EXPECT_EQ(heloName(name, v4), "[192.0.2.1]") << name;
        EXPECT_EQ(heloName(name, v6), "[IPv6:2001:db8::1]") << name;
    }
    EXPECT_FALSE(isQualifiedName(std::string(64, 'a') + ".example"));
    EXPECT_TRUE(isQualifiedName(std::string(63, 'a') + ".example"));
}

}  // namespace
}  // namespace mailgate
