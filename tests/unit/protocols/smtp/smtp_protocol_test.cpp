// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/smtp_protocol.h"

#include "tests/support/protocol_words.h"

namespace mailgate::smtp {
namespace {

using namespace test;

TEST(SmtpProtocol, SaysWhyASessionEndsForWantOfTls) {
    EXPECT_EQ(lineOf(kSmtp, Refusal::PlaintextAfterStartTls),
              "521 5.5.1 gw.example.org Error: data after STARTTLS, closing connection [id gw1-7f3a]\r\n");
    EXPECT_EQ(lineOf(kSmtp, Refusal::TlsRequired),
              "421 4.7.0 gw.example.org Error: too many commands without TLS [id gw1-7f3a]\r\n");
}

TEST(SmtpProtocol, JudgesGreetings) {
    for (const ProtocolTraits* protocol : {&kSmtp, &kLmtp}) {
        expectGreetings(*protocol, Greeting::Welcome, {"220 mx ESMTP", "220-mx teaser", "220"});
        expectGreetings(*protocol, Greeting::Unavailable,
                        {"421 4.3.2 busy", "421-4.3.2 All server ports are busy", "450 4.3.0 x"});
        expectGreetings(*protocol, Greeting::Refused,
                        {"450 odd", "554 5.3.2 System not accepting network messages",
                         "421 4.7.0 mx Error: too many connections from 192.0.2.1",
                         "450 4.7.25 Client host rejected", "421 Too many concurrent SMTP connections",
                         "421 4.33.2 odd", "421", "421 ", "554 5.7.1 no", "521 no"});
        expectGreetings(*protocol, Greeting::Foreign,
                        {"354 go on", "250 mx", "2200 mx", "22", "", "* OK IMAP"});
    }
}

TEST(SmtpProtocol, RefusesWithItsNameAndAnEnhancedStatus) {
    EXPECT_EQ(lineOf(kSmtp, Refusal::Rule),
              "554 5.7.1 gw.example.org 203.0.113.9 is not allowed to use this service [id gw1-7f3a]\r\n");
    EXPECT_EQ(lineOf(kSmtp, Refusal::TooMany),
              "421 4.7.0 gw.example.org Too many connections from 203.0.113.9 [id gw1-7f3a]\r\n");
    EXPECT_EQ(lineOf(kSmtp, Refusal::GatewayFull),
              "421 4.3.2 gw.example.org Service busy, try again later [id gw1-7f3a]\r\n");
    EXPECT_EQ(lineOf(kSmtp, Refusal::NoServer),
              "421 4.4.1 gw.example.org Mail service temporarily unavailable [id gw1-7f3a]\r\n");
    EXPECT_EQ(lineOf(kSmtp, Refusal::ServerLost),
              "421 4.4.2 gw.example.org Lost connection to mail server [id gw1-7f3a]\r\n");
    EXPECT_EQ(lineOf(kSmtp, Refusal::ShuttingDown),
              "421 4.3.2 gw.example.org Service shutting down [id gw1-7f3a]\r\n");
    EXPECT_EQ(lineOf(kSmtp, Refusal::Killed),
              "421 4.7.0 gw.example.org Session closed by the administrator [id gw1-7f3a]\r\n");
    EXPECT_EQ(lineOf(kSmtp, Refusal::Idle),
              "421 4.4.2 gw.example.org Error: timeout exceeded [id gw1-7f3a]\r\n");
    EXPECT_EQ(lineOf(kSmtp, Refusal::BareLf),
              "521 5.5.2 gw.example.org Error: bare <LF> received [id gw1-7f3a]\r\n");
}

TEST(SmtpProtocol, BouncesNothingOfTheSitesOwnServersForARule) {
    EXPECT_EQ(lineOf(kLmtp, Refusal::Rule),
              "421 4.7.1 gw.example.org 203.0.113.9 is not allowed to use this service [id gw1-7f3a]\r\n");
    EXPECT_EQ(lineOf(kLmtp, Refusal::NoServer), lineOf(kSmtp, Refusal::NoServer));
}

TEST(SmtpProtocol, AnswersAPermanentRefusalUntilQuit) {
    const RefusalNames names(kNamed);
    const auto dialogue = kSmtp.make_refusal_dialogue("554 5.7.1 no\r\n", names);
    const Dialogue::Step opening = dialogue->open();
    EXPECT_EQ(opening.reply, "554 5.7.1 no\r\n");
    EXPECT_FALSE(opening.done);
    const Dialogue::Step step = dialogue->onBytes("EHLO a\r\nMAIL FROM:<a@b>\r\nquit\r\nNOOP\r\n");
    EXPECT_EQ(step.reply,
              "503 5.5.1 Error: access denied for 203.0.113.9\r\n503 5.5.1 Error: access denied for "
              "203.0.113.9\r\n221 2.0.0 Bye\r\n");
    EXPECT_TRUE(step.done);
    EXPECT_TRUE(kSmtp.make_refusal_dialogue("421 4.7.0 later\r\n", names)->open().done);
}

TEST(SmtpProtocol, SaysWhyItAnswersNoMore) {
    const auto dialogue = kSmtp.make_refusal_dialogue("554 5.7.1 no\r\n", RefusalNames(kNamed));
    std::string replies;
    for (int number = 0; number < 10; ++number)
        replies = dialogue->onBytes("NOOP\r\n").reply;
    EXPECT_TRUE(replies.ends_with("\r\n421 4.7.0 gw.example.org Too many errors [id gw1-7f3a]\r\n"))
        << replies;
}

TEST(SmtpProtocol, AnswersABalancersProbe) {
    expectProbe(
        kSmtp, "220 gw.example.org ESMTP\r\n",
        "EHLO localhost\r\nhelo x\r\nNOOP\r\nRSET\r\nVRFY postmaster\r\nHELP\r\nETRN x\r\nLHLO x\r\nQUIT\r\n",
        "250 gw.example.org\r\n250 gw.example.org\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n252 2.0.0 "
        "Cannot verify, will not try\r\n214 2.0.0 A load balancer's probe: NOOP RSET VRFY HELP QUIT\r\n"
        "502 5.5.2 Error: command not recognized\r\n502 5.5.2 Error: command not recognized\r\n"
        "221 2.0.0 Bye\r\n");
    expectProbe(kLmtp, "220 gw.example.org LMTP\r\n", "LHLO x\r\nEHLO x\r\nQUIT\r\n",
                "250 gw.example.org\r\n502 5.5.2 Error: command not recognized\r\n221 2.0.0 Bye\r\n");
    expectBalancerIsContent(kSmtp);
    expectBalancerIsContent(kLmtp);
}

TEST(SmtpProtocol, TakesNoMailInAProbe) {
    expectProbe(kSmtp, "220 gw.example.org ESMTP\r\n",
                "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nRSET\r\nQUIT\r\n",
                "550 5.7.1 Error: no mail in a load balancer's probe\r\n503 5.5.1 Error: need MAIL "
                "command\r\n503 5.5.1 Error: need MAIL command\r\n250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n");
}

TEST(SmtpProtocol, ARepliesLastLineHasNoHyphen) {
    for (const auto ends : {kSmtp.health.ends_greeting, kSmtp.health.ends_reply}) {
        EXPECT_FALSE(ends("250-SIZE"));
        EXPECT_TRUE(ends("250 SIZE"));
        EXPECT_TRUE(ends("250"));
    }
}

}  // namespace
}  // namespace mailgate::smtp
