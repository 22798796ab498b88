// SPDX-License-Identifier: Apache-2.0
#include "protocols/refusal.h"

#include "tests/support/protocol_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace mailgate {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr RefusalText kText = test::kNamed;
constexpr std::array<Protocol, 5> kMailProtocols{Protocol::Smtp, Protocol::Imap, Protocol::Pop3,
                                                 Protocol::Lmtp, Protocol::Sieve};
constexpr std::array<Refusal, 8> kRefusals{Refusal::Rule,     Refusal::TooMany,    Refusal::GatewayFull,
                                           Refusal::NoServer, Refusal::ServerLost, Refusal::ShuttingDown,
                                           Refusal::Idle,     Refusal::Internal};

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

TEST(RefusalLines, AreSilentWhereTheProtocolIs) {
    EXPECT_EQ(refusalLine(Protocol::Pop3, Refusal::Idle, kText), "");
    EXPECT_EQ(refusalLine(Protocol::Imap, Refusal::BareLf, kText), "");
    for (const Refusal refusal : kRefusals)
        EXPECT_EQ(refusalLine(Protocol::Tcp, refusal, kText), "");
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

TEST(RefusalDialogue, IsOneLineButForSmtpsRules) {
    for (const Protocol protocol :
         {Protocol::Imap, Protocol::Pop3, Protocol::Lmtp, Protocol::Sieve, Protocol::Tcp}) {
        const Dialogue::Step opening = makeRefusalDialogue(protocol, Refusal::Rule, kText)->open();
        EXPECT_EQ(opening.reply, refusalLine(protocol, Refusal::Rule, kText));
        EXPECT_TRUE(opening.done);
    }
    EXPECT_TRUE(makeRefusalDialogue(Protocol::Smtp, Refusal::TooMany, kText)->open().done);
    EXPECT_FALSE(makeRefusalDialogue(Protocol::Smtp, Refusal::Rule, kText)->open().done);
}

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
        const std::string heard = test::converse(*dialogue, said, done);
        EXPECT_TRUE(done);
        EXPECT_EQ(std::count(heard.begin(), heard.end(), '\n'), 11);
    }
}

}  // namespace
}  // namespace mailgate
