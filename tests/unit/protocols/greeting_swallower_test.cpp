// SPDX-License-Identifier: Apache-2.0
#include "protocols/greeting_swallower.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace mailgate {
namespace {

using Swallowing = GreetingSwallower::State;

struct Swallowed {
    Swallowing state = Swallowing::Reading;
    std::string for_client;
    std::string reason;

    bool operator==(const Swallowed&) const = default;
};

Swallowed swallowedBy(const GreetingSwallower& swallower) {
    return {swallower.state(), swallower.forClient(), swallower.reason()};
}

/// The bytes up to `cut` in one piece, the rest in another.
Swallowed swallow(Protocol protocol, std::string_view bytes, std::size_t cut) {
    GreetingSwallower swallower(protocol);
    for (const std::string_view piece : {bytes.substr(0, cut), bytes.substr(cut)}) {
        if (swallower.state() == Swallowing::Reading) swallower.onBytes(piece);
    }
    return swallowedBy(swallower);
}

/// Whatever the pieces.
Swallowed swallow(Protocol protocol, std::string_view bytes) {
    const Swallowed whole = swallow(protocol, bytes, 0);
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
        const Swallowed split = swallow(protocol, bytes, cut);
        // What follows a greeting may come too late to be seen here.
        if (whole.state != Swallowing::Failed) {
            EXPECT_EQ(split, whole) << "cut at " << cut;
        } else {
            EXPECT_NE(split.state, Swallowing::Reading) << "cut at " << cut;
        }
    }
    GreetingSwallower swallower(protocol);
    for (const char& byte : bytes) {
        if (swallower.state() == Swallowing::Reading) swallower.onBytes({&byte, 1});
    }
    if (whole.state != Swallowing::Failed) {
        EXPECT_EQ(swallowedBy(swallower), whole) << "byte by byte";
    }
    return whole;
}

void expectFailure(Protocol protocol, std::string_view bytes, std::string_view reason) {
    const Swallowed outcome = swallow(protocol, bytes);
    EXPECT_EQ(outcome.state, Swallowing::Failed) << bytes;
    EXPECT_EQ(outcome.for_client, "");
    EXPECT_EQ(outcome.reason, reason);
}

TEST(GreetingSwallower, TakesImapUpToTheAnswer) {
    EXPECT_EQ(GreetingSwallower(Protocol::Imap).opening(), "G0 CAPABILITY\r\n");
    // Dovecot 2.3.19; 2.4.1, which may greet twice.
    for (const std::string_view bytes :
         {"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] Dovecot ready.\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"
          "G0 OK Pre-login capabilities listed, post-login capabilities have more.\r\n",
          "* OK Waiting for authentication process to respond..\r\n* OK [CAPABILITY IMAP4rev1] Dovecot "
          "ready.\r\n* CAPABILITY IMAP4rev1\r\nG0 OK done\r\n"}) {
        EXPECT_EQ(swallow(Protocol::Imap, bytes), (Swallowed{Swallowing::Done, "", ""}));
    }
    EXPECT_TRUE(GreetingSwallower(Protocol::Imap).greeted());
}

TEST(GreetingSwallower, TakesALineOfPop3AndAllOfSmtps) {
    EXPECT_EQ(GreetingSwallower(Protocol::Pop3).opening(), "");
    EXPECT_EQ(swallow(Protocol::Pop3, "+OK Dovecot ready. <1.2@x>\r\n"),
              (Swallowed{Swallowing::Done, "", ""}));
    EXPECT_EQ(swallow(Protocol::Smtp, "220-mx\r\n220 mx ESMTP Postfix\r\n"),
              (Swallowed{Swallowing::Done, "", ""}));
    EXPECT_EQ(swallow(Protocol::Lmtp, "220 mx Dovecot ready.\r\n"), (Swallowed{Swallowing::Done, "", ""}));
}

/// RFC 5804 2.2.
TEST(GreetingSwallower, HandsTheListOfManageSieveOn) {
    const std::string list =
        "\"IMPLEMENTATION\" \"Dovecot Pigeonhole\"\r\n\"SASL\" \"PLAIN\"\r\n\"VERSION\" \"1.0\"\r\nOK "
        "\"ready.\"\r\n";
    EXPECT_EQ(swallow(Protocol::Sieve, list), (Swallowed{Swallowing::Done, list, ""}));
    EXPECT_FALSE(GreetingSwallower(Protocol::Sieve).greeted());
}

TEST(GreetingSwallower, WaitsForTheEnd) {
    EXPECT_EQ(swallow(Protocol::Imap, "* OK hi\r\n* CAPABILITY IMAP4rev1\r\nG0 OK").state,
              Swallowing::Reading);
    EXPECT_EQ(swallow(Protocol::Sieve, "\"SASL\" \"\"\r\n").state, Swallowing::Reading);
    GreetingSwallower swallower(Protocol::Pop3);
    swallower.onBytes("+OK");
    EXPECT_EQ(swallower.onEnd(), Swallowing::Failed);
    EXPECT_EQ(swallower.reason(), "closed the connection in its greeting");
}

TEST(GreetingSwallower, RefusesWhatItDoesNotUnderstand) {
    expectFailure(Protocol::Imap, "* BYE [UNAVAILABLE] later\r\n", "greets with: * BYE [UNAVAILABLE] later");
    expectFailure(Protocol::Imap, "* PREAUTH in\r\n", "greets with: * PREAUTH in");
    expectFailure(Protocol::Imap, "* OK hi\r\n* BYE no\r\n", "greets with: * BYE no");
    expectFailure(Protocol::Imap, "G0 OK hi\r\n", "greets with: G0 OK hi");
    expectFailure(Protocol::Imap, "* OK hi\r\nG0 BAD what\r\n", "greets with: G0 BAD what");
    expectFailure(Protocol::Imap, "* OK hi\r\n* CAPABILITY {3}\r\nG0x\r\n", "greets with: G0x");
    expectFailure(Protocol::Pop3, "-ERR [SYS/TEMP] no\r\n", "greets with: -ERR [SYS/TEMP] no");
    expectFailure(Protocol::Smtp, "220-a\r\n554 no\r\n", "greets with: 554 no");
    expectFailure(Protocol::Sieve, "\"SASL\" \"\"\r\nBYE \"no\"\r\n", "greets with: BYE \"no\"");
    expectFailure(Protocol::Sieve, "\"SIEVE\" {1}\r\nx\r\n", "greets with: x");
}

TEST(GreetingSwallower, RefusesWhatWasNotAskedFor) {
    expectFailure(Protocol::Pop3, "+OK hi\r\n+OK logged in\r\n", "goes on behind its greeting");
    expectFailure(Protocol::Imap, "* OK hi\r\nG0 OK done\r\na", "goes on behind its greeting");
    expectFailure(Protocol::Sieve, "OK\r\nOK\r\n", "goes on behind its greeting");
}

TEST(GreetingSwallower, IsBounded) {
    for (const Protocol protocol : {Protocol::Imap, Protocol::Pop3, Protocol::Smtp, Protocol::Sieve}) {
        GreetingSwallower swallower(protocol);
        const std::string endless(1000, 'x');
        std::size_t taken = 0;
        while (swallower.onBytes(endless) == Swallowing::Reading)
            taken += endless.size();
        EXPECT_LE(taken, kMaxUnfinishedBytes);
        EXPECT_EQ(swallower.reason(), "sends too much data instead of a greeting");
    }
    GreetingSwallower lines(Protocol::Imap);
    std::size_t taken = 0;
    while (lines.onBytes("* OK again\r\n") == Swallowing::Reading)
        taken += 12;
    EXPECT_LE(taken, kMaxUnfinishedBytes);
}

}  // namespace
}  // namespace mailgate
