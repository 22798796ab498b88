// SPDX-License-Identifier: Apache-2.0
#include "protocols/refusal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace mailgate {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr RefusalText kText{"gw.example.org", "203.0.113.9", "gw1-7f3a"};
constexpr std::array<Protocol, 5> kMailProtocols{Protocol::Smtp, Protocol::Imap, Protocol::Pop3,
                                                 Protocol::Lmtp, Protocol::Sieve};
constexpr std::array<Refusal, 8> kRefusals{Refusal::Rule,     Refusal::TooMany,    Refusal::GatewayFull,
                                           Refusal::NoServer, Refusal::ServerLost, Refusal::ShuttingDown,
                                           Refusal::Idle,     Refusal::Internal};

struct LineCase {
    Protocol protocol;
    Refusal refusal;
    const char* want;
};

class RefusalLine : public ::testing::TestWithParam<LineCase> {};

TEST_P(RefusalLine, SaysIt) {
    EXPECT_EQ(refusalLine(GetParam().protocol, GetParam().refusal, kText), GetParam().want);
}

INSTANTIATE_TEST_SUITE_P(
    Texts, RefusalLine,
    ::testing::Values(
        LineCase{Protocol::Smtp, Refusal::Rule,
                 "554 5.7.1 gw.example.org 203.0.113.9 is not allowed to use this service [id gw1-7f3a]\r\n"},
        LineCase{Protocol::Smtp, Refusal::TooMany,
                 "421 4.7.0 gw.example.org Too many connections from 203.0.113.9 [id gw1-7f3a]\r\n"},
        LineCase{Protocol::Smtp, Refusal::GatewayFull,
                 "421 4.3.2 gw.example.org Service busy, try again later [id gw1-7f3a]\r\n"},
        LineCase{Protocol::Smtp, Refusal::NoServer,
                 "421 4.4.1 gw.example.org Mail service temporarily unavailable [id gw1-7f3a]\r\n"},
        LineCase{Protocol::Smtp, Refusal::ServerLost,
                 "421 4.4.2 gw.example.org Lost connection to mail server [id gw1-7f3a]\r\n"},
        LineCase{Protocol::Smtp, Refusal::ShuttingDown,
                 "421 4.3.2 gw.example.org Service shutting down [id gw1-7f3a]\r\n"},
        LineCase{Protocol::Smtp, Refusal::Idle,
                 "421 4.4.2 gw.example.org Error: timeout exceeded [id gw1-7f3a]\r\n"},
        LineCase{Protocol::Lmtp, Refusal::Rule,
                 "421 4.7.1 gw.example.org 203.0.113.9 is not allowed to use this service [id gw1-7f3a]\r\n"},
        LineCase{Protocol::Imap, Refusal::Rule,
                 "* BYE [CONTACTADMIN] 203.0.113.9 is not allowed to use this service (gw1-7f3a)\r\n"},
        LineCase{Protocol::Imap, Refusal::TooMany,
                 "* BYE [LIMIT] Too many connections from 203.0.113.9 (gw1-7f3a)\r\n"},
        LineCase{Protocol::Imap, Refusal::NoServer,
                 "* BYE [UNAVAILABLE] Mail store temporarily unavailable (gw1-7f3a)\r\n"},
        LineCase{Protocol::Imap, Refusal::ShuttingDown, "* BYE Server shutting down. (gw1-7f3a)\r\n"},
        LineCase{Protocol::Pop3, Refusal::Rule,
                 "-ERR [SYS/PERM] 203.0.113.9 is not allowed to use this service (gw1-7f3a)\r\n"},
        LineCase{Protocol::Pop3, Refusal::TooMany,
                 "-ERR [IN-USE] Too many connections from 203.0.113.9 (gw1-7f3a)\r\n"},
        LineCase{Protocol::Pop3, Refusal::NoServer,
                 "-ERR [SYS/TEMP] Mail store temporarily unavailable (gw1-7f3a)\r\n"},
        LineCase{Protocol::Pop3, Refusal::Idle, ""},
        LineCase{Protocol::Sieve, Refusal::Rule,
                 "BYE \"203.0.113.9 is not allowed to use this service (gw1-7f3a)\"\r\n"},
        LineCase{Protocol::Sieve, Refusal::NoServer,
                 "BYE (TRYLATER) \"Temporarily unavailable, try again later (gw1-7f3a)\"\r\n"},
        LineCase{Protocol::Sieve, Refusal::ShuttingDown, "BYE \"Server shutting down. (gw1-7f3a)\"\r\n"},
        LineCase{Protocol::Smtp, Refusal::PlaintextAfterStartTls,
                 "521 5.5.1 gw.example.org Error: data after STARTTLS, closing connection [id gw1-7f3a]\r\n"},
        LineCase{Protocol::Smtp, Refusal::TlsRequired,
                 "421 4.7.0 gw.example.org Error: too many commands without TLS [id gw1-7f3a]\r\n"},
        LineCase{Protocol::Imap, Refusal::PlaintextAfterStartTls,
                 "* BYE Data after STARTTLS, closing connection (gw1-7f3a)\r\n"},
        LineCase{Protocol::Imap, Refusal::TlsRequired, "* BYE Too many commands without TLS (gw1-7f3a)\r\n"},
        LineCase{Protocol::Pop3, Refusal::PlaintextAfterStartTls,
                 "-ERR Data after STLS, closing connection (gw1-7f3a)\r\n"},
        LineCase{Protocol::Pop3, Refusal::TlsRequired, "-ERR Too many commands without TLS (gw1-7f3a)\r\n"},
        LineCase{Protocol::Sieve, Refusal::PlaintextAfterStartTls,
                 "BYE \"Data after STARTTLS, closing connection (gw1-7f3a)\"\r\n"},
        LineCase{Protocol::Sieve, Refusal::TlsRequired,
                 "BYE \"Too many commands without TLS (gw1-7f3a)\"\r\n"},
        LineCase{Protocol::Tcp, Refusal::Rule, ""}));

TEST(RefusalLines, AreOneBoundedLineThatQuotesTheSession) {
    const std::string longest(1000, 'x');
    for (const Protocol protocol : kMailProtocols) {
        for (const Refusal refusal : kRefusals) {
            if (protocol == Protocol::Pop3 && refusal == Refusal::Idle) continue;
            EXPECT_THAT(refusalLine(protocol, refusal, kText), HasSubstr("gw1-7f3a"));
            const std::string line = refusalLine(protocol, refusal, {longest, longest, longest});
            EXPECT_LE(line.size(), 512U);
            EXPECT_EQ(line.find("\r\n"), line.size() - 2);
        }
    }
}

TEST(RefusalLines, ArePermanentForRulesAlone) {
    for (const Refusal refusal : kRefusals) {
        EXPECT_THAT(refusalLine(Protocol::Lmtp, refusal, kText), StartsWith("421 4."));
        if (refusal == Refusal::Rule) continue;
        EXPECT_THAT(refusalLine(Protocol::Smtp, refusal, kText), StartsWith("421 4."));
        EXPECT_THAT(refusalLine(Protocol::Imap, refusal, kText), ::testing::Not(HasSubstr("CONTACTADMIN")));
        EXPECT_THAT(refusalLine(Protocol::Pop3, refusal, kText), ::testing::Not(HasSubstr("PERM")));
    }
}

TEST(RefusalLines, CannotBeBrokenByTheirNames) {
    const RefusalText hostile{"g\r\nw", "1\"2\\3", "i\nd\xff"};
    EXPECT_EQ(refusalLine(Protocol::Smtp, Refusal::ServerLost, hostile),
              "421 4.4.2 g??w Lost connection to mail server [id i?d?]\r\n");
    EXPECT_EQ(refusalLine(Protocol::Sieve, Refusal::TooMany, hostile),
              "BYE (TRYLATER) \"Too many connections from 1?2?3 (i?d?)\"\r\n");
}

/// What the dialogue says to all of `said`, which it hears byte by byte; ends early when it is done.
std::string converse(Dialogue& dialogue, std::string_view said, bool& done) {
    std::string heard;
    for (const char byte : said) {
        if (done) break;
        const Dialogue::Step step = dialogue.onBytes(std::string_view(&byte, 1));
        heard += step.reply;
        done = step.done;
    }
    return heard;
}

TEST(RefusalDialogue, AnswersSmtpUntilQuit) {
    const auto dialogue = makeRefusalDialogue(Protocol::Smtp, Refusal::Rule, kText);
    const Dialogue::Step opening = dialogue->open();
    EXPECT_THAT(opening.reply, StartsWith("554 5.7.1 "));
    EXPECT_FALSE(opening.done);
    const Dialogue::Step step = dialogue->onBytes("EHLO a\r\nMAIL FROM:<a@b>\r\nquit\r\nNOOP\r\n");
    EXPECT_EQ(step.reply,
              "503 5.5.1 Error: access denied for 203.0.113.9\r\n503 5.5.1 Error: access denied for "
              "203.0.113.9\r\n221 2.0.0 Bye\r\n");
    EXPECT_TRUE(step.done);
}

TEST(RefusalDialogue, EndsAfterTenCommands) {
    const auto dialogue = makeRefusalDialogue(Protocol::Smtp, Refusal::Rule, kText);
    dialogue->open();
    for (int number = 1; number < 10; ++number)
        EXPECT_FALSE(dialogue->onBytes("NOOP\r\n").done);
    const Dialogue::Step last = dialogue->onBytes("NOOP\r\n");
    EXPECT_TRUE(last.done);
    EXPECT_THAT(last.reply, HasSubstr("\r\n421 4.7.0 gw.example.org Too many errors [id gw1-7f3a]\r\n"));
    EXPECT_EQ(dialogue->onBytes("NOOP\r\n").reply, "");
    EXPECT_TRUE(dialogue->onBytes("NOOP\r\n").done);
}

TEST(RefusalDialogue, EndsALineWithoutEnd) {
    for (const std::size_t piece : {1u, 1000u, 100'000u}) {
        const auto dialogue = makeRefusalDialogue(Protocol::Smtp, Refusal::Rule, kText);
        dialogue->open();
        std::string said;
        for (std::size_t sent = 0; sent < 100'000; sent += piece)
            said += dialogue->onBytes(std::string(piece, 'x')).reply;
        EXPECT_EQ(said, "421 4.7.0 gw.example.org Too many errors [id gw1-7f3a]\r\n");
        EXPECT_TRUE(dialogue->onBytes("QUIT\r\n").done);
    }
}

TEST(RefusalDialogue, IsOneLineElsewhere) {
    for (const Protocol protocol :
         {Protocol::Imap, Protocol::Pop3, Protocol::Lmtp, Protocol::Sieve, Protocol::Tcp}) {
        const Dialogue::Step opening = makeRefusalDialogue(protocol, Refusal::Rule, kText)->open();
        EXPECT_EQ(opening.reply, refusalLine(protocol, Refusal::Rule, kText));
        EXPECT_TRUE(opening.done);
    }
    EXPECT_TRUE(makeRefusalDialogue(Protocol::Smtp, Refusal::TooMany, kText)->open().done);
}

struct CheckCase {
    Protocol protocol;
    const char* greeting;
    const char* said;
    const char* want;
};

class CheckDialogue : public ::testing::TestWithParam<CheckCase> {};

TEST_P(CheckDialogue, AnswersAHealthCheck) {
    const auto dialogue = makeCheckDialogue(GetParam().protocol, true, kText);
    const Dialogue::Step opening = dialogue->open();
    EXPECT_EQ(opening.reply, GetParam().greeting);
    EXPECT_FALSE(opening.done);
    bool done = false;
    EXPECT_EQ(converse(*dialogue, GetParam().said, done), GetParam().want);
    EXPECT_TRUE(done);
}

INSTANTIATE_TEST_SUITE_P(
    Protocols, CheckDialogue,
    ::testing::Values(
        CheckCase{Protocol::Smtp, "220 gw.example.org ESMTP\r\n",
                  "EHLO localhost\r\nhelo x\r\nNOOP\r\nRSET\r\nVRFY postmaster\r\nHELP\r\nETRN x\r\nQUIT\r\n",
                  "250 gw.example.org\r\n250 gw.example.org\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n252 2.0.0 "
                  "Cannot verify, will not "
                  "try\r\n214 2.0.0 A load balancer's probe: NOOP RSET VRFY HELP QUIT\r\n502 5.5.2 Error: "
                  "command not "
                  "recognized\r\n221 2.0.0 Bye\r\n"},
        CheckCase{Protocol::Smtp, "220 gw.example.org ESMTP\r\n",
                  "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nRSET\r\nQUIT\r\n",
                  "550 5.7.1 Error: no mail in a load balancer's probe\r\n503 5.5.1 Error: need MAIL "
                  "command\r\n503 5.5.1 Error: "
                  "need MAIL command\r\n250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n"},
        CheckCase{Protocol::Lmtp, "220 gw.example.org LMTP\r\n", "LHLO x\r\nEHLO x\r\nQUIT\r\n",
                  "250 gw.example.org\r\n502 5.5.2 Error: command not recognized\r\n221 2.0.0 Bye\r\n"},
        CheckCase{Protocol::Imap, "* OK [CAPABILITY IMAP4rev1] gw.example.org ready\r\n",
                  "a CAPABILITY\r\nb noop\r\nc LOGIN x y\r\n\r\nd LOGOUT\r\n",
                  "* CAPABILITY IMAP4rev1\r\na OK CAPABILITY completed\r\nb OK NOOP completed\r\nc BAD "
                  "Unknown command\r\n* BAD Unknown command\r\n"
                  "* BYE Logging out\r\nd OK LOGOUT completed\r\n"},
        CheckCase{Protocol::Pop3, "+OK gw.example.org ready\r\n", "CAPA\r\nNOOP\r\nUSER x\r\nQUIT\r\n",
                  "+OK\r\nIMPLEMENTATION mailgate\r\n.\r\n+OK\r\n-ERR Unknown command\r\n+OK Bye\r\n"},
        CheckCase{Protocol::Sieve,
                  "\"IMPLEMENTATION\" \"mailgate\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"\"\r\n\"VERSION\" "
                  "\"1.0\"\r\nOK \"gw.example.org ready\"\r\n",
                  "NOOP\r\nSTARTTLS\r\nLOGOUT\r\n",
                  "OK \"NOOP completed\"\r\nNO \"Unknown command\"\r\nOK \"Bye\"\r\n"}));

TEST(CheckDialogues, RefuseWhenNoServerIsUp) {
    for (const Protocol protocol : kMailProtocols) {
        const Dialogue::Step opening = makeCheckDialogue(protocol, false, kText)->open();
        EXPECT_EQ(opening.reply, refusalLine(protocol, Refusal::NoServer, kText));
        EXPECT_TRUE(opening.done);
    }
}

TEST(CheckDialogues, SayNothingOverTcp) {
    const auto up = makeCheckDialogue(Protocol::Tcp, true, kText);
    EXPECT_EQ(up->open().reply, "");
    EXPECT_FALSE(up->open().done);
    EXPECT_FALSE(up->onBytes("anything\r\n").done);
    EXPECT_EQ(makeCheckDialogue(Protocol::Tcp, false, kText)->open().reply, "");
    EXPECT_TRUE(makeCheckDialogue(Protocol::Tcp, false, kText)->open().done);
}

TEST(CheckDialogues, EndAfterTenCommandsInEveryProtocol) {
    for (const Protocol protocol : kMailProtocols) {
        const auto dialogue = makeCheckDialogue(protocol, true, kText);
        dialogue->open();
        bool done = false;
        std::string said;
        for (int number = 0; number < 20; ++number)
            said += "a b c\r\n";
        const std::string heard = converse(*dialogue, said, done);
        EXPECT_TRUE(done);
        EXPECT_EQ(std::count(heard.begin(), heard.end(), '\n'), 11);
    }
}

TEST(CheckDialogues, TakeAnOverlongLineForABadCommand) {
    const auto dialogue = makeCheckDialogue(Protocol::Smtp, true, kText);
    dialogue->open();
    EXPECT_EQ(dialogue->onBytes("NOOP " + std::string(5000, 'x')).reply, "");
    EXPECT_EQ(dialogue->onBytes(std::string(5000, 'x') + "\r\n").reply,
              "502 5.5.2 Error: command not recognized\r\n");
    EXPECT_EQ(dialogue->onBytes("NOOP\r\n").reply, "250 2.0.0 Ok\r\n");
}

TEST(CheckDialogues, EchoOnlyACleanBoundedTag) {
    const auto dialogue = makeCheckDialogue(Protocol::Imap, true, kText);
    dialogue->open();
    EXPECT_EQ(dialogue->onBytes("\x01\xff NOOP\r\n").reply, "?? OK NOOP completed\r\n");
    EXPECT_EQ(dialogue->onBytes(std::string(500, 't') + " NOOP\r\n").reply,
              std::string(64, 't') + " OK NOOP completed\r\n");
}

}  // namespace
}  // namespace mailgate
