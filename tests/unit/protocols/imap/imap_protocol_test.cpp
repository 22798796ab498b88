// SPDX-License-Identifier: Apache-2.0
#include "protocols/imap/imap_protocol.h"

#include "tests/support/protocol_words.h"

namespace mailgate::imap {
namespace {

using namespace test;

TEST(ImapProtocol, SaysWhyASessionEndsForWantOfTls) {
    EXPECT_EQ(lineOf(kImap, Refusal::PlaintextAfterStartTls),
              "* BYE Data after STARTTLS, closing connection (gw1-7f3a)\r\n");
    EXPECT_EQ(lineOf(kImap, Refusal::TlsRequired), "* BYE Too many commands without TLS (gw1-7f3a)\r\n");
}

TEST(ImapProtocol, JudgesGreetings) {
    expectGreetings(kImap, Greeting::Welcome, {"* OK ready", "* ok ready", "* PREAUTH hi", "* OK"});
    expectGreetings(kImap, Greeting::Unavailable, {"* BYE [UNAVAILABLE] no", "* bye [unavailable] no"});
    expectGreetings(kImap, Greeting::Refused, {"* BYE Too many connections", "* BYE", "* BYE [LIMIT] no"});
    expectGreetings(kImap, Greeting::Foreign, {"* OKAY", "+OK POP3", "a OK done", "* NO", "*", ""});
}

TEST(ImapProtocol, RefusesWithBye) {
    EXPECT_EQ(lineOf(kImap, Refusal::Rule),
              "* BYE [CONTACTADMIN] 203.0.113.9 is not allowed to use this service (gw1-7f3a)\r\n");
    EXPECT_EQ(lineOf(kImap, Refusal::TooMany),
              "* BYE [LIMIT] Too many connections from 203.0.113.9 (gw1-7f3a)\r\n");
    EXPECT_EQ(lineOf(kImap, Refusal::NoServer),
              "* BYE [UNAVAILABLE] Mail store temporarily unavailable (gw1-7f3a)\r\n");
    EXPECT_EQ(lineOf(kImap, Refusal::ShuttingDown), "* BYE Server shutting down. (gw1-7f3a)\r\n");
    EXPECT_EQ(lineOf(kImap, Refusal::Killed), "* BYE Session closed by the administrator. (gw1-7f3a)\r\n");
    EXPECT_EQ(lineOf(kImap, Refusal::BareLf), "") << "SMTP's";
}

TEST(ImapProtocol, AnswersABalancersProbe) {
    expectProbe(kImap, "* OK [CAPABILITY IMAP4rev1] gw.example.org ready\r\n",
                "a CAPABILITY\r\nb noop\r\nc LOGIN x y\r\n\r\nd LOGOUT\r\n",
                "* CAPABILITY IMAP4rev1\r\na OK CAPABILITY completed\r\nb OK NOOP completed\r\nc BAD "
                "Unknown command\r\n* BAD Unknown command\r\n"
                "* BYE Logging out\r\nd OK LOGOUT completed\r\n");
    expectBalancerIsContent(kImap);
}

TEST(ImapProtocol, EchoesOnlyACleanBoundedTag) {
    const auto dialogue = kImap.make_probe_dialogue(RefusalNames(kNamed));
    EXPECT_EQ(dialogue->onBytes("\x01\xff NOOP\r\n").reply, "?? OK NOOP completed\r\n");
    EXPECT_EQ(dialogue->onBytes(std::string(500, 't') + " NOOP\r\n").reply,
              std::string(64, 't') + " OK NOOP completed\r\n");
}

TEST(ImapProtocol, AHealthCheckEndsWithTheTaggedReply) {
    EXPECT_FALSE(kImap.health.ends_reply("* BYE Logging out"));
    EXPECT_TRUE(kImap.health.ends_reply("a OK done"));
}

}  // namespace
}  // namespace mailgate::imap
