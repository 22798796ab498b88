// SPDX-License-Identifier: Apache-2.0
#include "protocols/starttls_dialogue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate {
namespace {

using Stage = StartTlsDialogue::State;
using Answers = std::vector<std::string>;

struct Talked {
    Stage state = Stage::Greeting;
    std::string said;
    std::string greeting;
    std::string reason;

    bool operator==(const Talked&) const = default;
};

/// What a server says, each once it was asked for the one before; in pieces of `piece` bytes.
Talked talk(Protocol protocol, const Answers& answers, std::size_t piece) {
    StartTlsDialogue dialogue(protocol, "gw.example");
    Talked outcome;
    for (std::string_view bytes : answers) {
        while (!bytes.empty()) {
            outcome.said += dialogue.onBytes(bytes.substr(0, piece));
            bytes.remove_prefix(std::min(piece, bytes.size()));
        }
    }
    outcome.state = dialogue.state();
    outcome.greeting = dialogue.greeting();
    outcome.reason = dialogue.reason();
    return outcome;
}

Talked talk(Protocol protocol, const Answers& answers) {
    const Talked whole = talk(protocol, answers, std::string::npos);
    for (std::size_t piece = 1; piece < 100; ++piece)
        EXPECT_EQ(talk(protocol, answers, piece), whole) << "in pieces of " << piece;
    return whole;
}

TEST(StartTlsDialogue, IsHeldWithSmtp) {
    EXPECT_EQ(talk(Protocol::Smtp, {"220-wait\r\n220 mx ESMTP Postfix\r\n",
                                    "250-mx\r\n250-STARTTLS\r\n250 CHUNKING\r\n", "220 2.0.0 Ready\r\n"}),
              (Talked{Stage::Ready, "EHLO gw.example\r\nSTARTTLS\r\n", "220-wait\r\n220 mx ESMTP Postfix\r\n",
                      ""}));
    EXPECT_EQ(talk(Protocol::Lmtp, {"220 mx\r\n", "250 mx\r\n", "220 go\r\n"}),
              (Talked{Stage::Ready, "LHLO gw.example\r\nSTARTTLS\r\n", "220 mx\r\n", ""}));
}

TEST(StartTlsDialogue, IsHeldWithImap) {
    EXPECT_EQ(talk(Protocol::Imap, {"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] Dovecot ready.\r\n",
                                    "* OK [CAPABILITY IMAP4rev1 STARTTLS] again\r\n", "g0 ok Begin\r\n"}),
              (Talked{Stage::Ready, "G0 STARTTLS\r\n", "* OK Dovecot ready.\r\n", ""}));
    EXPECT_EQ(talk(Protocol::Imap, {"* OK ready [x]\r\n", "G0 OK\r\n"}).greeting, "* OK ready [x]\r\n");
}

TEST(StartTlsDialogue, IsHeldWithPop3AndManageSieve) {
    EXPECT_EQ(talk(Protocol::Pop3, {"+OK <1.2@x>\r\n", "+OK Begin TLS\r\n"}),
              (Talked{Stage::Ready, "STLS\r\n", "+OK <1.2@x>\r\n", ""}));
    EXPECT_EQ(
        talk(Protocol::Sieve, {"\"SASL\" \"\"\r\n\"STARTTLS\"\r\nOK \"ready\"\r\n", "OK \"Begin\"\r\n"}),
        (Talked{Stage::Ready, "STARTTLS\r\n", "", ""}));
}

TEST(StartTlsDialogue, FailsWithBytesBehindTheConsent) {
    const std::string reason = "sends something in the clear behind its consent to TLS";
    struct Case {
        Protocol protocol;
        Answers before;
        std::string consent;
    };
    for (const Case& server :
         {Case{Protocol::Smtp, {"220 mx\r\n", "250 mx\r\n"}, "220 go\r\n"},
          Case{Protocol::Imap, {"* OK hi\r\n"}, "G0 OK go\r\n"},
          Case{Protocol::Pop3, {"+OK\r\n"}, "+OK go\r\n"}, Case{Protocol::Sieve, {"OK\r\n"}, "OK go\r\n"}}) {
        for (const std::string behind : {"\r\n", "250 evil\r\n", "\x16\x03"}) {
            Answers answers = server.before;
            answers.push_back(server.consent + behind);
            EXPECT_EQ(talk(server.protocol, answers).reason, reason);
            answers.back() = server.consent;
            EXPECT_EQ(talk(server.protocol, answers).state, Stage::Ready);
            answers.push_back(behind);
            EXPECT_EQ(talk(server.protocol, answers).state, Stage::Failed);
        }
    }
}

TEST(StartTlsDialogue, FailsWithAnswersToWhatWasNotAsked) {
    StartTlsDialogue smtp(Protocol::Smtp, "gw.example");
    smtp.onBytes("220 mx\r\n");
    smtp.onBytes("250 mx\r\n220 go\r\n");
    EXPECT_EQ(smtp.reason(), "answers before it was asked: 220 go");
    StartTlsDialogue pop3(Protocol::Pop3, "");
    pop3.onBytes("+OK\r\n+OK\r\n");
    EXPECT_EQ(pop3.state(), Stage::Failed);
}

/// A server that greets so has no STARTTLS: whoever is in the way would have clients believe that they are logged in.
TEST(StartTlsDialogue, FailsWithAGreetingOfOneWhoIsLoggedIn) {
    for (const std::string greeting : {"* PREAUTH hi\r\n", "* preauth [CAPABILITY IMAP4rev1] hi\r\n"}) {
        const Talked outcome = talk(Protocol::Imap, {greeting, "G0 OK go\r\n"});
        EXPECT_EQ(outcome.state, Stage::Failed);
        EXPECT_TRUE(outcome.reason.starts_with("greets with: * ")) << outcome.reason;
    }
}

TEST(StartTlsDialogue, SaysWhatTheServerRefusedWith) {
    EXPECT_EQ(talk(Protocol::Smtp, {"220 mx\r\n", "502-no\r\n502 no EHLO\r\n"}).reason,
              "answered EHLO with: 502 no EHLO");
    EXPECT_EQ(talk(Protocol::Smtp, {"220 mx\r\n", "250 mx\r\n", "454 4.7.0 no \x01\r\n"}).reason,
              "answered STARTTLS with: 454 4.7.0 no \\x01");
    EXPECT_EQ(talk(Protocol::Imap, {"* OK\r\n", "G0 BAD what\r\n"}).reason,
              "answered STARTTLS with: G0 BAD what");
    EXPECT_EQ(talk(Protocol::Imap, {"* OK\r\n", "G0 OKAY\r\n"}).state, Stage::Failed);
    EXPECT_EQ(talk(Protocol::Pop3, {"+OK\r\n", "-ERR no\r\n"}).reason, "answered STARTTLS with: -ERR no");
    EXPECT_EQ(talk(Protocol::Sieve, {"OK\r\n", "NO \"no\"\r\n"}).reason, "answered STARTTLS with: NO \"no\"");
}

TEST(StartTlsDialogue, LeavesOtherGreetingsToTheirJudge) {
    StartTlsDialogue dialogue(Protocol::Smtp, "gw.example");
    EXPECT_EQ(dialogue.onBytes("554-5.7.1 no\r\n554 se"), "");
    EXPECT_EQ(dialogue.state(), Stage::NotWelcome);
    EXPECT_EQ(dialogue.verdict(), Greeting::Refused);
    EXPECT_EQ(dialogue.greeting(), "554-5.7.1 no\r\n554 se");
    StartTlsDialogue foreign(Protocol::Imap, "");
    foreign.onBytes("220 mx\r\n");
    EXPECT_EQ(foreign.verdict(), Greeting::Foreign);
}

TEST(StartTlsDialogue, FailsWhenTheServerCloses) {
    StartTlsDialogue silent(Protocol::Smtp, "gw.example");
    silent.onEnd();
    EXPECT_EQ(silent.reason(), "closed the connection without a greeting");
    StartTlsDialogue asked(Protocol::Pop3, "");
    asked.onBytes("+OK\r\n");
    asked.onEnd();
    EXPECT_EQ(asked.reason(), "closed the connection before TLS");
}

TEST(StartTlsDialogue, IsBounded) {
    for (const std::string line : {"220-x\r\n", "y"}) {
        StartTlsDialogue dialogue(Protocol::Smtp, "gw.example");
        std::size_t taken = 0;
        while (dialogue.state() == Stage::Greeting) {
            dialogue.onBytes(line);
            taken += line.size();
        }
        EXPECT_EQ(dialogue.reason(), "sends too much data before TLS");
        EXPECT_LE(taken, kMaxUnfinishedBytes + line.size());
    }
}

}  // namespace
}  // namespace mailgate
