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
constexpr std::array<Refusal, 9> kRefusals{Refusal::Rule,     Refusal::TooMany,    Refusal::GatewayFull,
                                           Refusal::NoServer, Refusal::ServerLost, Refusal::ShuttingDown,
                                           Refusal::Killed,   Refusal::Idle,       Refusal::Internal};

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

constexpr std::array<Refusal, 12> kEveryRefusal{
    Refusal::Rule,       Refusal::TooMany,          Refusal::GatewayFull, Refusal::NoServer,
    Refusal::ServerLost, Refusal::ShuttingDown,     Refusal::Idle,        Refusal::Internal,
    Refusal::BareLf,     Refusal::ForbiddenCommand, Refusal::BadCommand,  Refusal::ServerViolation};

RefusalText softText() {
    RefusalText text = kText;
    text.soft = true;
    return text;
}

TEST(SoftRefusals, AreTemporaryInTheWordsOfEachProtocol) {
    EXPECT_EQ(refusalLine(Protocol::Smtp, Refusal::Rule, softText()),
              "450 4.7.1 gw.example.org 203.0.113.9 is not allowed to use this service [id gw1-7f3a]\r\n");
    EXPECT_EQ(refusalLine(Protocol::Smtp, Refusal::BareLf, softText()),
              "421 4.5.2 gw.example.org Error: bare <LF> received [id gw1-7f3a]\r\n");
    EXPECT_EQ(refusalLine(Protocol::Imap, Refusal::Rule, softText()),
              "* BYE [UNAVAILABLE] 203.0.113.9 is not allowed to use this service (gw1-7f3a)\r\n");
    EXPECT_EQ(refusalLine(Protocol::Pop3, Refusal::Rule, softText()),
              "-ERR [SYS/TEMP] 203.0.113.9 is not allowed to use this service (gw1-7f3a)\r\n");
    EXPECT_EQ(refusalLine(Protocol::Sieve, Refusal::Rule, softText()),
              "BYE (TRYLATER) \"203.0.113.9 is not allowed to use this service (gw1-7f3a)\"\r\n");
    EXPECT_EQ(refusalLine(Protocol::Tcp, Refusal::Rule, softText()), "");
}

TEST(SoftRefusals, AreNeverPermanent) {
    for (const Refusal refusal : kEveryRefusal) {
        for (const Protocol protocol : {Protocol::Smtp, Protocol::Lmtp}) {
            const std::string line = refusalLine(protocol, refusal, softText());
            EXPECT_THAT(line, StartsWith("4")) << line;
            EXPECT_EQ(line.substr(3, 3), " 4.") << line;
        }
        const std::string imap = refusalLine(Protocol::Imap, refusal, softText());
        EXPECT_THAT(imap, ::testing::Not(HasSubstr("CONTACTADMIN")));
        EXPECT_THAT(refusalLine(Protocol::Pop3, refusal, softText()), ::testing::Not(HasSubstr("PERM")));
        const bool other = refusal == Refusal::Idle || refusal == Refusal::ShuttingDown;
        if (!imap.empty() && !other) {
            EXPECT_THAT(imap, HasSubstr(refusal == Refusal::TooMany ? "[LIMIT]" : "[UNAVAILABLE]"));
            EXPECT_THAT(refusalLine(Protocol::Sieve, refusal, softText()), HasSubstr("(TRYLATER)"));
        }
    }
}

TEST(SoftRefusals, LetNoClientThatGoesOnTakeTheAnswerForAPermanentOne) {
    const auto dialogue = makeRefusalDialogue(Protocol::Smtp, Refusal::Rule, softText());
    EXPECT_THAT(dialogue->open().reply, StartsWith("450 4.7.1 "));
    const Dialogue::Step step = dialogue->onBytes("EHLO a\r\nMAIL FROM:<a@b>\r\nQUIT\r\n");
    EXPECT_EQ(step.reply,
              "450 4.7.1 Error: access denied for 203.0.113.9\r\n450 4.7.1 Error: access denied for "
              "203.0.113.9\r\n221 2.0.0 Bye\r\n");
    EXPECT_TRUE(step.done);
}

std::string ruleLine(Protocol protocol, std::string_view footer) {
    RefusalText text = kText;
    text.footer = footer;
    return refusalLine(protocol, Refusal::Rule, text);
}

TEST(RefusalFooter, EndsTheReplyInEachProtocol) {
    const std::string_view footer = "https://example.org/mail?ip=$client&id=$id costs $$0";
    EXPECT_EQ(ruleLine(Protocol::Smtp, footer),
              "554 5.7.1 gw.example.org 203.0.113.9 is not allowed to use this service [id gw1-7f3a]; "
              "https://example.org/mail?ip=203.0.113.9&id=gw1-7f3a costs $0\r\n");
    EXPECT_THAT(ruleLine(Protocol::Imap, "call us"), HasSubstr("(gw1-7f3a); call us\r\n"));
    EXPECT_THAT(ruleLine(Protocol::Pop3, "call us"), HasSubstr("(gw1-7f3a); call us\r\n"));
    EXPECT_THAT(ruleLine(Protocol::Sieve, "call us"), HasSubstr("(gw1-7f3a); call us\"\r\n"));
    EXPECT_EQ(ruleLine(Protocol::Tcp, "call us"), "");
}

TEST(RefusalFooter, IsForWhatThePolicyOfTheSiteRefuses) {
    RefusalText text = kText;
    text.footer = "call us";
    for (const Refusal refusal : kEveryRefusal)
        EXPECT_EQ(refusalLine(Protocol::Smtp, refusal, text).find("call us") != std::string::npos,
                  isPolicy(refusal));
}

TEST(RefusalFooter, CannotBreakTheLineNorMakeItTooLong) {
    RefusalText hostile{"g\r\nw", "1\"2\\3\r\n", "i\nd\xff", "a\r\nb $client $id \"q\" \\"};
    EXPECT_EQ(
        refusalLine(Protocol::Smtp, Refusal::Rule, hostile),
        "554 5.7.1 g??w 1?2?3?? is not allowed to use this service [id i?d?]; a??b 1?2?3?? i?d? ?q? ?\r\n");
    const std::string longest(1000, 'x');
    for (const Protocol protocol : kMailProtocols) {
        for (const std::string& footer : {longest, std::string("$client $id ").append(longest)}) {
            const std::string line =
                refusalLine(protocol, Refusal::Rule, {longest, longest, longest, footer});
            EXPECT_EQ(line.size(), kMaxReplyLineBytes);
            EXPECT_EQ(line.find("\r\n"), line.size() - 2);
        }
        EXPECT_FALSE(footerFits(protocol, "gw.example.org", longest));
        EXPECT_TRUE(footerFits(protocol, "gw.example.org", std::string(250, 'x')));
        EXPECT_FALSE(footerFits(protocol, "gw.example.org", std::string(400, 'x')));
    }
    EXPECT_TRUE(footerFits(Protocol::Tcp, "gw.example.org", longest)) << "nothing is said there";
}

TEST(RefusalFooter, CutsTheNoteOfARuleBeforeItself) {
    RefusalText text = kText;
    text.footer = "why: $rule_note; call us";
    text.rule_note = "ticket 4711";
    EXPECT_THAT(refusalLine(Protocol::Smtp, Refusal::Rule, text),
                HasSubstr("; why: ticket 4711; call us\r\n"));
    EXPECT_THAT(refusalLine(Protocol::Smtp, Refusal::TooMany, text), HasSubstr("; why: ; call us\r\n"));
    text.footer = "call us $rule_note";
    EXPECT_THAT(refusalLine(Protocol::Smtp, Refusal::TooMany, text), HasSubstr("; call us\r\n"));
    text.footer = "why: $rule_note; call us";
    const std::string hostile = "a\r\n\"b\"\\" + std::string(1'000, 'x');
    text.rule_note = hostile;
    for (const Protocol protocol : kMailProtocols) {
        const std::string line = refusalLine(protocol, Refusal::Rule, text);
        EXPECT_LE(line.size(), kMaxReplyLineBytes);
        EXPECT_EQ(line.find("\r\n"), line.size() - 2);
        EXPECT_THAT(line, HasSubstr("why: a???b??xxx"));
        EXPECT_THAT(line, HasSubstr("x; call us")) << "it is the note that is cut";
    }
    EXPECT_TRUE(showsRuleNote("a $rule_note."));
    for (const char* without : {"", "rule_note", "$$rule_note", "$id"})
        EXPECT_FALSE(showsRuleNote(without)) << without;
}

TEST(RefusalFooter, ReportsWhatIsWrongWithIt) {
    for (const char* fine :
         {"", "call +1 555", "$client $id", "$$", "$$client", "$client,$id.", "$rule_note"})
        EXPECT_EQ(footerError(fine), "") << fine;
    for (const char* unknown : {"$", "$ ", "a $nobody", "$client_address", "$ID", "$$$", "${client}"})
        EXPECT_THAT(footerError(unknown), HasSubstr("$client")) << unknown;
    for (const char* broken : {"a\r\nb", "a\"b", "a\\b", "\xc3\xa9", "\x7f"})
        EXPECT_THAT(footerError(broken), HasSubstr("printable")) << broken;
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
