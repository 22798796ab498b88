// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/smtp_filter.h"

#include "protocols/smtp/smtp_protocol.h"
#include "tests/support/filtered.h"

#include <gmock/gmock.h>

namespace mailgate {
namespace {

using namespace test;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const Turns kGreeted{server("220 mx.example.net ESMTP Postfix\r\n"), client("EHLO mail.partner.example\r\n"),
                     server("250-mx.example.net\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 10240000\r\n")};

Turns greetedThen(const Turns& rest) {
    return after(kGreeted, rest);
}

const Turns kEnvelope =
    greetedThen({client("MAIL FROM:<alice@partner.example> SIZE=2031\r\n"), server("250 2.1.0 Ok\r\n"),
                 client("RCPT TO:<bob@example.net>\r\n"), server("250 2.1.5 Ok\r\n")});

TEST(SmtpFilter, KeepsAllThatHeloSays) {
    test::Player player(smtp::kSmtp, {}, nullptr);
    for (const test::Turn& turn : greetedThen({client("HELO  my own computer \r\n")}))
        player.play(turn.from, turn.bytes);
    EXPECT_EQ(player.finish().facts.helo, "my own computer");
}

TEST(SmtpFilter, WritesDownOneMessage) {
    const Observed seen = observe(
        smtp::kSmtp, after(kEnvelope, {client("DATA\r\n"), server("354 End data with <CR><LF>.<CR><LF>\r\n"),
                                       client("Subject: hello\r\n\r\n..dot\r\n.\r\n"),
                                       server("250 2.0.0 Ok: queued as 6E955A72018\r\n"), client("QUIT\r\n"),
                                       server("221 2.0.0 Bye\r\n")}));

    EXPECT_EQ(seen.facts.helo, "mail.partner.example");
    EXPECT_TRUE(seen.facts.greeted);
    EXPECT_TRUE(seen.facts.quit);
    EXPECT_TRUE(seen.facts.goodbye);
    EXPECT_NE(seen.facts.authenticated, true);
    EXPECT_FALSE(seen.opaque);
    EXPECT_TRUE(seen.interruptible);
    EXPECT_EQ(seen.facts.transaction_count, 1U);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    const MailTransaction& mail = seen.facts.transactions[0];
    EXPECT_EQ(mail.from, "alice@partner.example");
    EXPECT_THAT(mail.recipients, ElementsAre("bob@example.net"));
    EXPECT_EQ(mail.recipient_count, 1U);
    EXPECT_EQ(mail.refused_count, 0U);
    EXPECT_EQ(mail.size, std::string_view("Subject: hello\r\n\r\n..dot\r\n").size());
    EXPECT_EQ(mail.reply, "250 2.0.0 Ok: queued as 6E955A72018");
    EXPECT_THAT(mail.replies, ::testing::IsEmpty()) << "one reply for all is no reply to each";
    EXPECT_TRUE(mail.accepted);
}

struct PathCase {
    const char* command;
    const char* want_from;
};

class SmtpFilterPath : public ::testing::TestWithParam<PathCase> {};

TEST_P(SmtpFilterPath, IsTakenFromTheCommand) {
    const Observed seen = observe(
        smtp::kSmtp, greetedThen({client(std::string(GetParam().command) + "\r\n"), server("250 Ok\r\n")}));
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].from, GetParam().want_from);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, SmtpFilterPath,
    ::testing::Values(PathCase{"MAIL FROM:<>", ""}, PathCase{"MAIL FROM:<> BODY=8BITMIME", ""},
                      PathCase{"mail from: <a@b.example>", "a@b.example"},
                      PathCase{"MAIL FROM:a@b.example SIZE=1", "a@b.example"},
                      PathCase{R"(MAIL FROM:<"a> b"@c.example> SIZE=1)", "a> b@c.example"},
                      PathCase{R"(MAIL FROM:<"a\"> b"@c.example>)", R"(a"> b@c.example)"},
                      PathCase{"MAIL FROM:\t<a@b.example>", "a@b.example"},
                      PathCase{" \tMAIL\vFROM:\f< a@b.example >\tSIZE=1", "a@b.example"},
                      PathCase{R"(MAIL FROM:<e\vil@b.example>)", "evil@b.example"},
                      PathCase{R"(MAIL FROM:<"evil"@b.example>)", "evil@b.example"},
                      PathCase{R"(MAIL FROM:<ev"i"l@b.example>)", "evil@b.example"},
                      PathCase{"SOML FROM:<a@b.example>", "a@b.example"},
                      PathCase{"MAIL FROM:<a@b.example.>", "a@b.example"},
                      PathCase{"MAIL FROM:a@b.example.", "a@b.example"}, PathCase{"MAIL FROM:<a.>", "a."},
                      PathCase{"MAIL FROM:<@hop1,@hop2:a@b.example>", "a@b.example"}));

TEST(SmtpFilter, AnswersAnAddressThatServersReadInDifferentWays) {
    for (const char* line :
         {"MAIL FROM:<@hop1>", "MAIL FROM:<unclosed@b.example", "MAIL TO:<a@b.example>", "MAIL", "MAIL FROM:",
          "MAIL FROM:<a@b.example>SIZE=1", "MAIL FROM:<<a@b.example>>", "MAIL FROM:<a(b)@c.example>",
          "MAIL FROM:<a b@c.example>", "MAIL FROM:a<b@c.example>", "RCPT TO:<\"a@b.example>", "RCPT TO:<a\\",
          "RCPT FROM:<a@b.example>", "RCPT TO:@hop:a@b.example", "RCPT TO:<a\x01@b.example>",
          "MAIL FROM:<a@b.example;>", "MAIL FROM:<group:a@b.example;>", "MAIL FROM:group:a@b.example;"}) {
        const Observed seen = observe(
            smtp::kSmtp, greetedThen({client(std::string(line) + "\r\nNOOP\r\n"), server("250 Ok\r\n")}));
        EXPECT_TRUE(seen.sent[0].find("501 5.5.4 Error: bad address syntax\r\n250 Ok\r\n") !=
                    std::string::npos)
            << line << seen.sent[0];
        EXPECT_TRUE(seen.sent[1].ends_with("partner.example\r\nNOOP\r\n")) << seen.sent[1];
        EXPECT_FALSE(seen.violation);
    }
}

TEST(SmtpFilter, KeepsTheAddressesThatItRefused) {
    using namespace std::string_view_literals;
    const std::string escape("MAIL FROM:<\"a\x1b[2J b\"@x.example> SIZE=1\r\n");
    const Observed sender = observe(smtp::kSmtp, greetedThen({client(escape)}));
    ASSERT_THAT(sender.facts.transactions, SizeIs(1));
    EXPECT_EQ(sender.facts.transactions[0].from, "<\"a\\x1B[2J b\"@x.example> SIZE=1");
    EXPECT_EQ(sender.facts.transactions[0].reply, "501 5.5.4 Error: bad address syntax");
    const Observed nul =
        observe(smtp::kSmtp, greetedThen({client(std::string("MAIL FROM:<a\0b@c.example>\r\n"sv))}));
    ASSERT_THAT(nul.facts.transactions, SizeIs(1));
    EXPECT_EQ(nul.facts.transactions[0].from, "a\\x00b@c.example");
    EXPECT_EQ(nul.facts.transactions[0].reply, "500 5.5.2 Error: NUL or bare CR in a command");

    const Observed recipient = observe(
        smtp::kSmtp,
        after(kEnvelope, {client("RCPT TO:<a b@c.example>\r\nDATA now\r\nRSET\r\n"), server("250 Ok\r\n")}));
    ASSERT_THAT(recipient.facts.transactions, SizeIs(1));
    const MailTransaction& mail = recipient.facts.transactions[0];
    EXPECT_THAT(mail.recipients, ElementsAre("bob@example.net"));
    ASSERT_THAT(mail.refused, SizeIs(1));
    EXPECT_EQ(mail.refused[0].to, "a b@c.example");
    EXPECT_EQ(mail.refused[0].reply, "501 5.5.4 Error: bad address syntax");
    EXPECT_EQ(mail.reply, "501 5.5.4 Error: no arguments here") << "of the mail, not of a recipient";
}

/// A line of 4 KB of bytes that take four each to show.
TEST(SmtpFilter, BoundsTheAddressesThatItRefused) {
    const std::string line = "MAIL FROM:<" + std::string(4000, '\x01') + ">\r\n";
    const Observed seen = test::playWhole(smtp::kSmtp, greetedThen({client(line)}));
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].from.size(), kMaxMailboxBytes);
}

TEST(SmtpFilter, FollowsPipelinedCommands) {
    const Observed seen = observe(
        smtp::kSmtp,
        greetedThen(
            {client("MAIL FROM:<a@b.example>\r\nRCPT TO:<x@c.example>\r\nRCPT TO:<y@c.example>\r\nDATA\r\n"),
             server("250 Ok\r\n250 Ok\r\n550 5.1.1 No such user\r\n354 Go on\r\n"),
             client("body\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<z@c.example>\r\n"),
             server("250 Queued\r\n250 Ok\r\n250 Ok\r\n")}));

    EXPECT_EQ(seen.facts.transaction_count, 2U);
    ASSERT_THAT(seen.facts.transactions, SizeIs(2));
    EXPECT_THAT(seen.facts.transactions[0].recipients, ElementsAre("x@c.example"));
    EXPECT_EQ(seen.facts.transactions[0].recipient_count, 1U);
    EXPECT_EQ(seen.facts.transactions[0].refused_count, 1U);
    ASSERT_THAT(seen.facts.transactions[0].refused, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].refused[0].to, "y@c.example");
    EXPECT_EQ(seen.facts.transactions[0].refused[0].reply, "550 5.1.1 No such user");
    EXPECT_EQ(seen.facts.transactions[0].reply, "250 Queued");
    EXPECT_EQ(seen.facts.transactions[1].from, "");
    EXPECT_EQ(seen.facts.transactions[1].reply, "");
    EXPECT_FALSE(seen.facts.transactions[1].accepted);
    EXPECT_FALSE(seen.interruptible);
}

TEST(SmtpFilter, KeepsTheRefusalOfATransactionWithoutMessage) {
    const Observed seen = observe(
        smtp::kSmtp,
        greetedThen(
            {client("MAIL FROM:<a@b.example>\r\nRCPT TO:<x@c.example>\r\nDATA\r\n"),
             server("250 Ok\r\n554-5.7.1 Relay\r\n554 5.7.1 denied\r\n554 5.5.1 No valid recipients\r\n"),
             client("RSET\r\n"), server("250 Ok\r\n"), client("QUIT\r\n")}));

    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].reply, "554 5.7.1 Relay");
    EXPECT_EQ(seen.facts.transactions[0].size, 0U);
    EXPECT_FALSE(seen.facts.transactions[0].accepted);
    EXPECT_TRUE(seen.facts.quit);
    EXPECT_FALSE(seen.opaque);
}

TEST(SmtpFilter, KeepsASenderThatTheServerRefused) {
    const Observed seen = observe(
        smtp::kSmtp, greetedThen({client("MAIL FROM:<a@b.example>\r\nRCPT TO:<x@c.example>\r\n"),
                                  server("530 5.7.0 Must issue STARTTLS first\r\n503 5.5.1 Need MAIL\r\n")}));
    EXPECT_EQ(seen.facts.transaction_count, 1U);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].from, "a@b.example");
    EXPECT_EQ(seen.facts.transactions[0].reply, "530 5.7.0 Must issue STARTTLS first");
    EXPECT_FALSE(seen.facts.transactions[0].accepted);
    EXPECT_TRUE(seen.interruptible);
}

TEST(SmtpFilter, WritesDownAMessageThatWasCutOff) {
    const Observed seen =
        observe(smtp::kSmtp, after(kEnvelope, {client("RCPT TO:<late@example.net>\r\nDATA\r\n"),
                                               server("250 Ok\r\n354 Go on\r\n"), client("12345678")}));
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].size, 8U);
    EXPECT_EQ(seen.facts.transactions[0].reply, "");
    EXPECT_FALSE(seen.facts.transactions[0].accepted);
}

TEST(SmtpFilter, NamesWhomTheServerNeverAnsweredAmongThoseThatItDidNotAccept) {
    const Observed seen = observe(
        smtp::kSmtp, after(kEnvelope, {client("RCPT TO:<late@example.net>\r\nMAIL FROM:<n@b.example>\r\n")}));
    ASSERT_THAT(seen.facts.transactions, SizeIs(2));
    EXPECT_THAT(seen.facts.transactions[0].recipients, ElementsAre("bob@example.net"));
    ASSERT_THAT(seen.facts.transactions[0].refused, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].refused[0].to, "late@example.net");
    EXPECT_EQ(seen.facts.transactions[0].reply, "") << "the client gave it up";
    EXPECT_EQ(seen.facts.transactions[1].from, "n@b.example");
}

TEST(SmtpFilter, KnowsWhatTheClientWasToldInTheServersPlace) {
    const auto mailOf = [](const std::vector<test::Turn>& turns) {
        test::Player player(smtp::kSmtp);
        for (const test::Turn& turn : turns)
            player.play(turn.from, turn.bytes);
        const SessionFacts facts = player.finish("421 4.4.2 gw Lost [id 7]\r\n").facts;
        EXPECT_THAT(facts.transactions, SizeIs(1));
        EXPECT_EQ(facts.transactions.at(0).reply, "421 4.4.2 gw Lost [id 7]");
        return facts.transactions.at(0);
    };
    EXPECT_EQ(mailOf(greetedThen({client("MAIL FROM:<a@b.example>\r\n")})).from, "a@b.example");
    const MailTransaction at_rcpt = mailOf(greetedThen(
        {client("MAIL FROM:<a@b.example>\r\n"), server("250 Ok\r\n"), client("RCPT TO:<c@d.example>\r\n")}));
    ASSERT_THAT(at_rcpt.refused, SizeIs(1));
    EXPECT_EQ(at_rcpt.refused[0].to, "c@d.example");
    EXPECT_EQ(at_rcpt.refused[0].reply, "421 4.4.2 gw Lost [id 7]");
    EXPECT_EQ(
        mailOf(after(kEnvelope, {client("DATA\r\n"), server("354 Go on\r\n"), client("hi\r\n.\r\n")})).size,
        4U);
}

struct BodyCase {
    const char* body;
    std::size_t want_size;
};

class SmtpFilterBody : public ::testing::TestWithParam<BodyCase> {};

TEST_P(SmtpFilterBody, EndsAtTheDotLineAndNowhereElse) {
    const Observed seen = observe(
        smtp::kSmtp, after(kEnvelope, {client("DATA\r\n"), server("354 Go on\r\n"), client(GetParam().body),
                                       server("250 Queued\r\n"), client("NOOP\r\n"), server("250 Ok\r\n")}));
    EXPECT_FALSE(seen.opaque);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].size, GetParam().want_size);
    EXPECT_TRUE(seen.facts.transactions[0].accepted);
}

INSTANTIATE_TEST_SUITE_P(Bodies, SmtpFilterBody,
                         ::testing::Values(BodyCase{".\r\n", 0}, BodyCase{"\r\n.\r\n", 2},
                                           BodyCase{"a\r\n.\r\n", 3}, BodyCase{"a\r\r\n.\r\n", 4},
                                           BodyCase{"\r\n.\r\r\n.\r\n", 6},
                                           BodyCase{"a\n.\nMAIL FROM:<b>\n\r\n.\r\n", 20},
                                           BodyCase{"\r\n..\r\n.x\r\n.\r\n", 10},
                                           BodyCase{"\r.\r\r\n.\r\n", 5}));

// Some servers end a message at a bare LF. Where that passes, their replies say what they took for commands.
TEST(SmtpFilter, NamesWhatTheServerTookWhereItEndedAMessageElsewhere) {
    const std::string smuggled =
        "MAIL FROM:<smuggled@b.example>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\ninner\r\n.\r\n";
    for (const std::string end : {"\n.\n", "\n.\r\n", "\r\n.\n", "\r\n.\r\r\n"}) {
        for (const std::string behind : {"", "QUIT\r\n"}) {
            const Observed seen = observe(
                smtp::kSmtp,
                after(kEnvelope,
                      {client("DATA\r\n"), server("354 Go on\r\n"), client("outer" + end + smuggled + behind),
                       server("250 2.0.0 Ok: queued as OUTER\r\n250 Ok\r\n250 Ok\r\n354 Go on\r\n250 "
                              "2.0.0 Ok: queued as INNER\r\n"),
                       server(behind.empty() ? "" : "221 Bye\r\n")}));
            ASSERT_FALSE(behind.empty() && seen.violation) << end;
            ASSERT_THAT(seen.facts.transactions, SizeIs(behind.empty() ? 2 : 1)) << test::knownIn(seen);
            EXPECT_EQ(seen.facts.transactions[0].queue_id, "OUTER");
            if (!behind.empty()) continue;
            EXPECT_EQ(seen.facts.transactions[1].from, "smuggled@b.example");
            EXPECT_THAT(seen.facts.transactions[1].recipients, ElementsAre("bob@example.net"));
            EXPECT_EQ(seen.facts.transactions[1].queue_id, "INNER");
        }
    }
}

TEST(SmtpFilter, EndsTheSessionWhenAMessageIsTakenInItsMiddle) {
    const Observed seen = observe(
        smtp::kSmtp, after(kEnvelope, {client("DATA\r\n"), server("354 Go on\r\n"), client("body\r\n"),
                                       server("250 2.0.0 Ok: queued as EARLY\r\n")}));
    EXPECT_EQ(seen.violation, Violation::UnexpectedReply);
    EXPECT_FALSE(seen.sent[0].find("EARLY") != std::string::npos);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].queue_id, "EARLY");
}

TEST(SmtpFilter, TakesAMessageThatDidNotWaitFor354) {
    const Observed seen =
        observe(smtp::kSmtp, after(kEnvelope, {client("DATA\r\nbody\r\n.\r\nQUIT\r\n"),
                                               server("354 Go on\r\n250 Queued\r\n221 Bye\r\n")}));
    EXPECT_FALSE(seen.opaque);
    EXPECT_TRUE(seen.facts.quit);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].size, 6U);
    EXPECT_TRUE(seen.facts.transactions[0].accepted);
}

TEST(SmtpFilter, TakesSuchAMessageForCommandsWhenDataWasRefused) {
    const Observed seen = observe(
        smtp::kSmtp,
        after(kEnvelope, {client("DATA\r\nbody\r\n.\r\nQUIT\r\n"),
                          server("451 4.3.0 Try later\r\n500 What\r\n500 What\r\n"), server("221 Bye\r\n")}));
    EXPECT_TRUE(seen.facts.quit);
    EXPECT_TRUE(seen.facts.goodbye);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].reply, "451 4.3.0 Try later");
}

TEST(SmtpFilter, HasNoBodyAfterARefusedData) {
    const Observed seen =
        observe(smtp::kSmtp, after(kEnvelope, {client("DATA\r\n"), server("451 4.3.0 Try later\r\n"),
                                               client("QUIT\r\n"), server("221 Bye\r\n")}));
    EXPECT_TRUE(seen.facts.quit);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].reply, "451 4.3.0 Try later");
    EXPECT_EQ(seen.facts.transactions[0].size, 0U);
}

TEST(SmtpFilter, AddsUpChunks) {
    const Observed seen = observe(
        smtp::kSmtp,
        after(
            kEnvelope,
            {client("BDAT 5\r\nab\r\n.BDAT 7 LAST\r\n\r\n.\r\nXYMAIL FROM:<n@b.example>\r\nBDAT 0 last\r\n"),
             server("250 5 octets\r\n250 2.0.0 Queued\r\n250 Ok\r\n250 Empty\r\n")}));
    EXPECT_FALSE(seen.opaque);
    ASSERT_THAT(seen.facts.transactions, SizeIs(2));
    EXPECT_EQ(seen.facts.transactions[0].size, 12U);
    EXPECT_EQ(seen.facts.transactions[0].reply, "250 2.0.0 Queued");
    EXPECT_EQ(seen.facts.transactions[1].from, "n@b.example");
    EXPECT_EQ(seen.facts.transactions[1].size, 0U);
    EXPECT_TRUE(seen.facts.transactions[1].accepted);
}

const ScreenConfig kReadsMessageId{.reads_message_id = true};

std::string messageIdOf(const Observed& seen) {
    return seen.facts.transactions.empty() ? "no transaction" : seen.facts.transactions.back().message_id;
}

TEST(SmtpFilter, ReadsTheMessageIdOfEachMessage) {
    const Turns message{
        client("DATA\r\n"), server("354 Go on\r\n"),
        client("Received: x\r\nMessage-ID: <1@partner.example>\r\n\r\nMessage-ID: <2@x>\r\n.\r\n"),
        server("250 2.0.0 Ok: queued as 6E955A72018\r\n")};
    const Turns next{client("MAIL FROM:<a@b.example>\r\nDATA\r\n"), server("250 Ok\r\n354 Go on\r\n"),
                     client("Subject: none\r\n\r\n.\r\n"), server("250 Ok\r\n")};
    EXPECT_EQ(messageIdOf(observe(smtp::kSmtp, after(kEnvelope, message), kReadsMessageId)),
              "1@partner.example");
    EXPECT_EQ(messageIdOf(observe(smtp::kSmtp, after(kEnvelope, message))), "") << "unless it is not wanted";
    const Observed both = observe(smtp::kSmtp, after(after(kEnvelope, message), next), kReadsMessageId);
    EXPECT_EQ(both.facts.transactions.size(), 2U);
    EXPECT_EQ(messageIdOf(both), "") << "the next message's own";
}

TEST(SmtpFilter, ReadsTheMessageIdOfAMessageThatWasRefusedOrCutOff) {
    const Turns begun = after(kEnvelope, {client("DATA\r\n"), server("354 Go on\r\n"),
                                          client("Message-ID: <1@partner.example>\r\n\r\nbody\r\n")});
    EXPECT_EQ(messageIdOf(observe(smtp::kSmtp, begun, kReadsMessageId)), "1@partner.example");
    EXPECT_EQ(messageIdOf(observe(smtp::kSmtp, after(begun, {client(".\r\n"), server("554 5.7.1 Spam\r\n")}),
                                  kReadsMessageId)),
              "1@partner.example");
    EXPECT_EQ(messageIdOf(observe(smtp::kSmtp, after(begun, {client(".\r\n")}), kReadsMessageId)),
              "1@partner.example");
}

TEST(SmtpFilter, ReadsTheMessageIdInChunks) {
    const Turns chunks =
        after(kEnvelope, {client("BDAT 9\r\n.: x\r\nMesBDAT 20 LAST\r\nsage-ID:\r\n <1@x>\r\n\r\n"),
                          server("250 9 octets\r\n250 Ok: queued as 6E955A72018\r\n")});
    EXPECT_EQ(messageIdOf(observe(smtp::kSmtp, chunks, kReadsMessageId)), "1@x");
    const Turns given_up =
        after(kEnvelope, {client("BDAT 21\r\nMessage-ID: <1@x>\r\n\r\nRSET\r\nMAIL FROM:<a@b.example>\r\n"
                                 "RCPT TO:<b@b.example>\r\nBDAT 21 LAST\r\nMessage-ID: <2@x>\r\n\r\n"),
                          server("250 Ok\r\n250 Ok\r\n250 Ok\r\n250 Ok\r\n250 Ok\r\n")});
    const Observed seen = observe(smtp::kSmtp, given_up, kReadsMessageId);
    ASSERT_THAT(seen.facts.transactions, SizeIs(2));
    EXPECT_EQ(seen.facts.transactions[0].message_id, "");
    EXPECT_EQ(seen.facts.transactions[1].message_id, "2@x");
}

TEST(SmtpFilter, CountsOfAChunkCutOffWhatCame) {
    const Observed seen = observe(smtp::kSmtp, after(kEnvelope, {client("BDAT 1000 LAST\r\nabc")}));
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].size, 3U);
}

TEST(SmtpFilter, EndsTheSessionAtAChunkThatServersReadInDifferentWays) {
    for (const std::string_view bdat :
         {std::string_view("BDAT"), std::string_view("BDAT x LAST"), std::string_view("BDAT -1"),
          std::string_view("BDAT +5"), std::string_view("BDAT 5 LASTX"), std::string_view("BDAT 5 LAST x"),
          std::string_view("BDAT 2147483648"), std::string_view("BDAT 4294967296 LAST"),
          std::string_view("BDAT 99999999999999999999"), std::string_view("BDAT 5\0LAST", 11),
          std::string_view("BDAT 5\rLAST"), std::string_view("BDAT\0 5", 7)}) {
        const Observed seen =
            observe(smtp::kSmtp, after(kEnvelope, {client(std::string(bdat) + "\r\nabcdeRSET\r\n")}));
        EXPECT_EQ(seen.violation, Violation::BadCommand) << bdat;
        EXPECT_EQ(seen.sent[1].find("BDAT"), std::string::npos) << bdat;
        EXPECT_EQ(seen.sent[1].find("RSET"), std::string::npos) << bdat;
    }
}

TEST(SmtpFilter, ReadsAChunkWithOtherSpaceAsTheServerWill) {
    const Observed seen =
        observe(smtp::kSmtp, after(kEnvelope, {client("BDAT\t3 \vlast\r\nabc"),
                                               server("250 2.0.0 Ok: 3 bytes queued as X1\r\n")}));
    EXPECT_TRUE(seen.sent[1].ends_with("BDAT 3 LAST\r\nabc"));
    EXPECT_EQ(seen.facts.transactions.at(0).queue_id, "X1");
}

TEST(SmtpFilter, TakesChunksOnlyOnceTheServerHasOfferedThem) {
    const std::string chunk = "BDAT 5\r\nabcdeXCLIENT ADDR=1\r\n";
    for (const Turns& turns :
         {Turns{server("220 mx\r\n"), client(chunk)},
          Turns{server("220 mx\r\n"), client("HELO a\r\n"), server("250 mx\r\n"), client(chunk)},
          Turns{server("220 mx\r\n"), client("EHLO a\r\n" + chunk), server("250-mx\r\n250 SIZE\r\n")},
          greetedThen({client("HELO a\r\n"), server("250 mx\r\n"), client(chunk)}),
          greetedThen({client("HELO a\r\n" + chunk), server("250 mx\r\n")})}) {
        const Observed seen = observe(smtp::kSmtp, turns);
        EXPECT_EQ(seen.violation, Violation::BadCommand);
        EXPECT_EQ(seen.sent[1].find("BDAT"), std::string::npos);
    }
    const Observed offered =
        observe(smtp::kSmtp, {server("220 mx\r\n"),
                              client("EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 5 LAST\r\nabcde"),
                              server("250-mx\r\n250 CHUNKING\r\n250 Ok\r\n250 Ok\r\n250 Taken\r\n")});
    EXPECT_FALSE(offered.violation);
    EXPECT_TRUE(offered.facts.transactions.at(0).accepted);
}

TEST(SmtpFilter, SaysBdatInOneForm) {
    for (const std::string& head :
         {std::string("BDAT 5 LAST"), std::string("bdat  005 last "), std::string("\tBDAT\t5\vLAST"),
          "BDAT " + std::string(2000, ' ') + "5 LAST", "BDAT 5" + std::string(2000, ' ') + "LAST"}) {
        const Observed seen =
            observe(smtp::kSmtp, after(kEnvelope, {client(head + "\r\nabcde"), server("250 Taken\r\n")}));
        EXPECT_TRUE(seen.sent[1].ends_with("bob@example.net>\r\nBDAT 5 LAST\r\nabcde")) << head;
        EXPECT_TRUE(seen.facts.transactions.at(0).accepted);
    }
}

// Otherwise the server has taken octets for commands, and what it took next would be in no log.
TEST(SmtpFilter, EndsTheSessionWhenARefusedChunkIsReadAsCommands) {
    for (const char* replies : {"503 No\r\n250 Ok\r\n", "503 No\r\n500 What\r\n", "503 No\r\n354 Go\r\n"}) {
        const Observed seen = observe(smtp::kSmtp, after(kEnvelope, {client("BDAT 6 LAST\r\nNOOP\r\n"),
                                                                     server(replies), client("QUIT\r\n")}));
        EXPECT_EQ(seen.violation, Violation::UnexpectedReply) << replies;
        EXPECT_EQ(seen.sent[1].find("QUIT"), std::string::npos);
    }
    const Observed early = observe(
        smtp::kSmtp,
        after(kEnvelope, {client("BDAT 10 LAST\r\nabc"), server("250 Taken\r\n"), client("defghij")}));
    EXPECT_EQ(early.violation, Violation::UnexpectedReply) << "it cannot have all of it";
}

TEST(SmtpFilter, KeepsTheTransactionThatARefusedChunkLeavesOpen) {
    const Observed seen =
        observe(smtp::kSmtp, greetedThen({client("MAIL FROM:<a@b.example>\r\nBDAT 2 LAST\r\nab"),
                                          server("250 Ok\r\n554 No recipients\r\n"),
                                          client("RCPT TO:<c@d.example>\r\nBDAT 2 LAST\r\ncd"),
                                          server("250 Ok\r\n250 Taken\r\n")}));
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_TRUE(seen.facts.transactions[0].accepted);
    EXPECT_THAT(seen.facts.transactions[0].recipients, ElementsAre("c@d.example"));
}

TEST(SmtpFilter, TakesOneFinalReplyForEachRecipientOfLmtp) {
    const Observed seen =
        observe(smtp::kLmtp, {server("220 LMTP\r\n"),
                              client("LHLO mx.example.net\r\nMAIL FROM:<a@b.example>\r\nRCPT "
                                     "TO:<x>\r\nRCPT TO:<y>\r\nRCPT TO:<z>\r\nDATA\r\n"),
                              server("250 Ok\r\n250 Ok\r\n250 Ok\r\n550 No y\r\n250 Ok\r\n354 Go on\r\n"),
                              client("body\r\n.\r\nMAIL FROM:<second@b.example>\r\n"),
                              server("250 2.0.0 <x> Saved\r\n452 4.2.2 <z> Over quota\r\n250 Ok\r\n")});
    EXPECT_EQ(seen.facts.helo, "mx.example.net");
    ASSERT_THAT(seen.facts.transactions, SizeIs(2));
    EXPECT_EQ(seen.facts.transactions[0].reply, "452 4.2.2 <z> Over quota");
    EXPECT_THAT(seen.facts.transactions[0].recipients, ElementsAre("x", "z"));
    EXPECT_THAT(seen.facts.transactions[0].replies,
                ElementsAre("250 2.0.0 <x> Saved", "452 4.2.2 <z> Over quota"));
    ASSERT_THAT(seen.facts.transactions[0].refused, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].refused[0].reply, "550 No y");
    EXPECT_THAT(seen.facts.transactions[1].replies, ::testing::IsEmpty());
    EXPECT_TRUE(seen.facts.transactions[0].accepted);
    EXPECT_EQ(seen.facts.transactions[1].from, "second@b.example");
}

TEST(SmtpFilter, AwaitsOneReplyToACommandThatLmtpDoesNotTakeForTheEnd) {
    const Observed seen = observe(
        smtp::kLmtp,
        {server("220 LMTP\r\n"),
         client("LHLO a\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<x>\r\nRCPT TO:<y>\r\nBURL imap://z LAST\r\n"),
         server("250-mx\r\n250 CHUNKING\r\n250 Ok\r\n250 Ok\r\n250 Ok\r\n502 5.5.1 What\r\n"),
         client("RCPT TO:<z>\r\nBDAT 2 LAST\r\nab"), server("250 Ok\r\n250 x\r\n452 y\r\n250 z\r\n")});
    EXPECT_FALSE(seen.violation);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_THAT(seen.facts.transactions[0].recipients, ElementsAre("x", "y", "z"));
    EXPECT_TRUE(seen.facts.transactions[0].accepted);
}

TEST(SmtpFilter, SeesARefusingGreeting) {
    const Observed seen = observe(smtp::kSmtp, {server("554-mx.example.net\r\n554 No SMTP service here\r\n"),
                                                client("QUIT\r\n"), server("221 Bye\r\n")});
    EXPECT_FALSE(seen.facts.greeted);
    EXPECT_TRUE(seen.facts.quit);
}

TEST(SmtpFilter, DetachesWhenTlsStarts) {
    const Observed seen =
        observe(smtp::kSmtp, greetedThen({client("STARTTLS\r\n"), server("220 2.0.0 Ready to start TLS\r\n"),
                                          client("\x16\x03\x01")}));
    EXPECT_TRUE(seen.opaque);
    EXPECT_EQ(seen.facts.tls, TlsBegin::StartTls);
}

TEST(SmtpFilter, StaysWhenTlsIsRefused) {
    const Observed seen = observe(
        smtp::kSmtp, greetedThen({client("STARTTLS\r\n"), server("454 4.7.0 TLS not available\r\n")}));
    EXPECT_FALSE(seen.opaque);
    EXPECT_EQ(seen.facts.tls, TlsBegin::None);
}

// alice / wonderland in all mechanisms.
constexpr const char* kPlain = "AGFsaWNlAHdvbmRlcmxhbmQ=";
constexpr const char* kLoginUser = "YWxpY2U=";
constexpr const char* kLoginPassword = "d29uZGVybGFuZA==";
constexpr const char* kXoauth2 = "dXNlcj1hbGljZQFhdXRoPUJlYXJlciB3b25kZXJsYW5kAQE=";
constexpr const char* kOauthBearer = "bixhPWFsaWNlLAFhdXRoPUJlYXJlciB3b25kZXJsYW5kAQE=";

struct AuthCase {
    const char* name;
    Turns turns;
};

class SmtpFilterAuth : public ::testing::TestWithParam<AuthCase> {};

TEST_P(SmtpFilterAuth, ShowsTheUserAndNeverTheSecret) {
    const Observed seen = observe(
        smtp::kSmtp, greetedThen(after(GetParam().turns, {server("235 2.7.0 Ok\r\n"), client("NOOP\r\n"),
                                                          server("250 Ok\r\n")})));
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_EQ(seen.facts.authenticated, true);
    EXPECT_FALSE(seen.opaque);
    EXPECT_TRUE(seen.interruptible);
    expectAbsent(seen, "wonderland");
    expectAbsent(seen, kLoginPassword);
    expectAbsent(seen, kPlain);
}

INSTANTIATE_TEST_SUITE_P(
    Mechanisms, SmtpFilterAuth,
    ::testing::Values(
        AuthCase{"PlainInitial", {client(std::string("AUTH PLAIN ") + kPlain + "\r\n")}},
        AuthCase{"PlainPrompted",
                 {client("auth plain\r\n"), server("334 \r\n"), client(std::string(kPlain) + "\r\n")}},
        AuthCase{"PlainUnprompted",
                 {client(std::string("AUTH PLAIN\r\n") + kPlain + "\r\n"), server("334 \r\n")}},
        AuthCase{"Login",
                 {client("AUTH LOGIN\r\n"), server("334 VXNlcm5hbWU6\r\n"),
                  client(std::string(kLoginUser) + "\r\n"), server("334 UGFzc3dvcmQ6\r\n"),
                  client(std::string(kLoginPassword) + "\r\n")}},
        AuthCase{"LoginUnprompted",
                 {client(std::string("AUTH LOGIN\r\n") + kLoginUser + "\r\n" + kLoginPassword + "\r\n"),
                  server("334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n")}},
        AuthCase{"LoginInitial",
                 {client(std::string("AUTH LOGIN ") + kLoginUser + "\r\n"), server("334 UGFzc3dvcmQ6\r\n"),
                  client(std::string(kLoginPassword) + "\r\n")}},
        AuthCase{"Xoauth2", {client(std::string("AUTH XOAUTH2 ") + kXoauth2 + "\r\n")}},
        AuthCase{"OauthBearer", {client(std::string("AUTH OAUTHBEARER ") + kOauthBearer + "\r\n")}}),
    [](const auto& info) { return info.param.name; });

TEST(SmtpFilter, NamesTheUserOfAFailedLogin) {
    const Observed seen =
        observe(smtp::kSmtp, greetedThen({client(std::string("AUTH XOAUTH2 ") + kXoauth2 + "\r\n"),
                                          server("334 eyJzdGF0dXMiOiI0MDEifQ==\r\n"), client("\r\n"),
                                          server("535 5.7.8 Failed\r\n"),
                                          client("MAIL FROM:<a@b.example>\r\n"), server("250 Ok\r\n")}));
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_NE(seen.facts.authenticated, true);
    EXPECT_EQ(seen.facts.transaction_count, 1U);
}

TEST(SmtpFilter, ClaimsNoNameThatAnUnknownMechanismHides) {
    const Observed seen =
        observe(smtp::kSmtp,
                greetedThen({client(std::string("AUTH PLAIN ") + kPlain + "\r\n"),
                             server("535 5.7.8 Failed\r\n"), client("AUTH GSSAPI\r\n"), server("334 \r\n"),
                             client(std::string(kLoginPassword) + "\r\n"), server("235 Ok\r\n")}));
    EXPECT_EQ(seen.facts.authenticated, true);
    EXPECT_EQ(seen.facts.user, "");
    expectAbsent(seen, "wonderland");
}

TEST(SmtpFilter, TakesNoNameFromAResponseWithoutItsSeparators) {
    for (const char* response : {kLoginPassword, "!!!!", "", "=", "AHdvbmRlcmxhbmQ="}) {
        const Observed seen =
            observe(smtp::kSmtp, greetedThen({client(std::string("AUTH PLAIN ") + response + "\r\n")}));
        EXPECT_EQ(seen.facts.user, "") << response;
    }
}

TEST(SmtpFilter, FindsTheNameInALongResponse) {
    const std::string token(6000, 'A');
    const Observed seen =
        observe(smtp::kSmtp, greetedThen({client(std::string("AUTH XOAUTH2 ") +
                                                 std::string(kXoauth2).substr(0, 20) + token + "\r\n"),
                                          server("235 Ok\r\n"), client("QUIT\r\n"), server("221 Bye\r\n")}));
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_TRUE(seen.facts.quit);
}

TEST(SmtpFilter, AnswersAnOverlongLineAndKeepsItsPlace) {
    for (const std::size_t size : {4096U, 4097U, 5000U, 70'000U}) {
        const Turns turns =
            greetedThen({client("NOOP\r\n"),
                         client("NOOP " + std::string(size - 7, 'x') + "\r\nMAIL FROM:<a@b.example>\r\n"),
                         server("250 Ok\r\n250 Ok\r\n")});
        const Observed seen = test::playWhole(smtp::kSmtp, turns);
        EXPECT_EQ(test::toString(test::playInPieces(smtp::kSmtp, turns, 1)), test::toString(seen));
        if (size == 4096) continue;
        EXPECT_EQ(seen.facts.transaction_count, 1U);
        EXPECT_TRUE(seen.sent[0].ends_with("250 Ok\r\n500 5.5.2 Error: line too long\r\n250 Ok\r\n"));
        EXPECT_TRUE(seen.sent[1].ends_with("NOOP\r\nMAIL FROM:<a@b.example>\r\n"));
    }
}

TEST(SmtpFilter, AnswersWhatServersReadInDifferentWays) {
    using namespace std::string_view_literals;
    for (const std::string_view line :
         {"DATA\0"sv, "DATA\0 x"sv, " DATA\0"sv, "data\0\0"sv, "STARTTLS\0"sv, "RSET\0"sv, "\0DATA"sv,
          "DATA\r"sv, "DATA\r\r"sv, "NO\rOP"sv, "NOOP\0"sv}) {
        const Observed seen =
            observe(smtp::kSmtp,
                    after(kEnvelope, {client(std::string(line) + "\r\nNOOP\r\n"), server("250 Noop\r\n")}));
        EXPECT_TRUE(seen.sent[0].ends_with("500 5.5.2 Error: NUL or bare CR in a command\r\n250 Noop\r\n"))
            << seen.sent[0];
        EXPECT_TRUE(seen.sent[1].ends_with("bob@example.net>\r\nNOOP\r\n")) << line;
        EXPECT_FALSE(seen.violation);
    }
    for (const char* line : {"STARTTLS x", "DATA x"}) {
        const Observed seen = observe(smtp::kSmtp, greetedThen({client(std::string(line) + "\r\n")}));
        EXPECT_TRUE(seen.sent[0].ends_with("501 5.5.4 Error: no arguments here\r\n"));
        EXPECT_EQ(seen.sent[1].find(line), std::string::npos);
    }
}

TEST(SmtpFilter, AnswersInTurn) {
    test::Player player(smtp::kSmtp, {.gateway = "gw.example.net"});
    player.play(Side::Client, std::string_view("DATA\0\r\n", 7));
    EXPECT_EQ(player.sent(Side::Client), "") << "the server's greeting comes first";
    player.play(Side::Server, "220 mx\r\n");
    EXPECT_EQ(player.sent(Side::Client),
              "220 mx\r\n500 5.5.2 gw.example.net Error: NUL or bare CR in a command\r\n");
    player.play(Side::Client, "NOOP\r\nMAIL\r\n");
    EXPECT_FALSE(player.sent(Side::Client).ends_with("syntax\r\n"));
    player.play(Side::Server, "250-Yes\r\n");
    EXPECT_FALSE(player.sent(Side::Client).ends_with("syntax\r\n"));
    player.play(Side::Server, "250 Ok\r\n");
    EXPECT_TRUE(player.sent(Side::Client)
                    .ends_with("250 Ok\r\n501 5.5.4 gw.example.net Error: bad address syntax\r\n"));
}

TEST(SmtpFilter, EndsTheSessionOfAClientThatSaysNothingElse) {
    std::string lines;
    for (int number = 0; number < 26; ++number)
        lines += "MAIL\r\n";
    EXPECT_FALSE(test::playWhole(smtp::kSmtp, greetedThen({client(lines.substr(6))})).violation);
    EXPECT_EQ(test::playWhole(smtp::kSmtp, greetedThen({client(lines)})).violation, Violation::BadCommand);
}

TEST(SmtpFilter, SendsNoPartOfALineOn) {
    test::Player player(smtp::kSmtp);
    player.play(Side::Server, "220 mx\r\n");
    player.play(Side::Client, "EHLO mail.partner.example\r");
    EXPECT_EQ(player.passed(), "");
    player.play(Side::Client, "\n");
    EXPECT_EQ(player.passed(), "EHLO mail.partner.example\r\n");
}

TEST(SmtpFilter, SendsCommandsOnAsItUnderstoodThem) {
    const Observed seen = observe(
        smtp::kSmtp, greetedThen({client(" \tNOOP\va\fb\tc \n"), server("250 Ok\r\n"),
                                  client("MAIL FROM:\t<\"a\tb\"@c.example>\r\n"), server("250 Ok\r\n")}));
    EXPECT_TRUE(seen.sent[1].ends_with("NOOP a b c \r\nMAIL FROM: <\"a\tb\"@c.example>\r\n")) << seen.sent[1];
    EXPECT_EQ(seen.facts.transactions.at(0).from, "a\tb@c.example");
}

TEST(SmtpFilter, CancelsALoginWhoseResponseMustNotGoOn) {
    for (const std::string& response :
         {std::string("YW\0xp", 5), std::string("YW\rxp"), std::string(12'300, 'A')}) {
        const Turns turns =
            greetedThen({client("AUTH LOGIN\r\n"), server("334 VXNlcm5hbWU6\r\n"), client(response + "\r\n"),
                         server("501 5.7.0 Cancelled\r\n"), client("NOOP\r\n"), server("250 Ok\r\n")});
        const Observed seen = test::playWhole(smtp::kSmtp, turns);
        EXPECT_EQ(test::toString(test::playInPieces(smtp::kSmtp, turns, 1)), test::toString(seen));
        EXPECT_TRUE(seen.sent[1].ends_with("AUTH LOGIN\r\n*\r\nNOOP\r\n")) << seen.sent[1];
        EXPECT_FALSE(seen.violation);
        EXPECT_EQ(seen.facts.failed_logins, 0U);
        EXPECT_EQ(seen.facts.authenticated, std::nullopt);
    }
}

class Told final : public MailSink {
  public:
    void onMail(const MailTransaction& mail, std::uint32_t number) noexcept override {
        all.emplace_back(number, mail);
    }
    std::vector<std::pair<std::uint32_t, MailTransaction>> all;
};

TEST(SmtpFilter, BoundsWhatItKeeps) {
    Told told;
    test::Player player(smtp::kSmtp, {}, &told);
    for (const test::Turn& turn :
         greetedThen({client("HELO " + std::string(1000, 'h') + "\r\n"), server("250 Ok\r\n")}))
        player.play(turn.from, turn.bytes);
    const auto say = [&player](const std::string& command) {
        player.play(Side::Client, command + "\r\n");
        player.play(Side::Server, "250 Ok\r\n");
    };
    for (int number = 1; number <= 30; ++number) {
        say("MAIL FROM:<" + std::to_string(number) + std::string(700, 'f') + "@b.example>");
        say("RCPT TO:<r@c.example>");
    }
    say("RSET");
    const SessionFacts facts = player.finish().facts;
    EXPECT_EQ(facts.helo.size(), kMaxNameBytes);
    EXPECT_EQ(facts.transaction_count, 30U);
    ASSERT_THAT(facts.transactions, SizeIs(kMaxTransactionsKept));
    EXPECT_EQ(facts.transactions[0].from.size(), kMaxMailboxBytes);
    ASSERT_THAT(told.all, SizeIs(10));
    EXPECT_EQ(told.all[0].first, 21U);
    EXPECT_TRUE(told.all[0].second.from.starts_with("21f"));
}

TEST(SmtpFilter, KeepsNoMoreOfAFloodOfRecipientsThanThereIsRoomFor) {
    for (const ProtocolTraits* protocol : {&smtp::kSmtp, &smtp::kLmtp}) {
        Told told;
        test::Player player(*protocol, {}, &told);
        player.play(Side::Server, "220 mx\r\n");
        std::string replies;
        for (int number = 0; number < 3; ++number) {
            player.play(Side::Client, "MAIL FROM:<a@b.example>\r\n");
            player.play(Side::Server, "250 Ok\r\n");
            for (int to = 0; to < 900; ++to) {
                player.play(Side::Client, "RCPT TO:<" + std::string(200, 'r') + "@c.example>\r\n");
                player.play(Side::Server,
                            to % 3 == 0 ? "550 " + std::string(400, 'n') + "\r\n" : "250 Ok\r\n");
            }
        }
        const SessionFacts facts = player.finish().facts;
        ASSERT_THAT(told.all, SizeIs(3)) << "each is more than half of what one session keeps";
        for (const auto& [number, mail] : told.all) {
            EXPECT_TRUE(mail.truncated);
            EXPECT_EQ(mail.recipient_count, 600U);
            EXPECT_EQ(mail.refused_count, 300U);
            std::size_t bytes = sizeof mail + mail.from.size() + mail.reply.size();
            for (const std::string& to : mail.recipients)
                bytes += sizeof to + to.size();
            for (const RefusedRecipient& refused : mail.refused)
                bytes += sizeof refused + refused.to.size() + refused.reply.size();
            EXPECT_LE(bytes, kMaxFactBytes);
            EXPECT_GT(mail.recipients.size(), 50U);
        }
    }
}

TEST(SmtpFilter, GivesNoPlaceForGoodToATransactionThatCameToNothing) {
    Turns turns = kGreeted;
    for (int number = 0; number < 25; ++number) {
        turns.push_back(client("MAIL FROM:<>\r\nRSET\r\n"));
        turns.push_back(server("250 Ok\r\n250 Ok\r\n"));
    }
    turns.push_back(client("MAIL FROM:<real@b.example>\r\nRCPT TO:<r@c.example>\r\n"));
    turns.push_back(server("250 Ok\r\n250 Ok\r\n"));
    const SessionFacts facts = test::playWhole(smtp::kSmtp, turns).facts;
    EXPECT_EQ(facts.transaction_count, kMaxTransactionsKept);
    ASSERT_THAT(facts.transactions, SizeIs(kMaxTransactionsKept));
    EXPECT_EQ(facts.transactions.back().from, "real@b.example");
}

TEST(SmtpFilter, KeepsAllRecipientsThatThereIsRoomFor) {
    Turns turns = greetedThen({client("MAIL FROM:<a@b.example>\r\n"), server("250 Ok\r\n")});
    for (int number = 0; number < 60; ++number) {
        turns.push_back(client("RCPT TO:<r@c.example>\r\n"));
        turns.push_back(server("250 Ok\r\n"));
    }
    const SessionFacts facts = test::playWhole(smtp::kSmtp, turns).facts;
    ASSERT_THAT(facts.transactions, SizeIs(1));
    EXPECT_THAT(facts.transactions[0].recipients, SizeIs(60));
    EXPECT_EQ(facts.transactions[0].recipient_count, 60U);
}

TEST(SmtpFilter, KeepsCountOfADeepPipeline) {
    std::string commands;
    std::string replies;
    for (int number = 0; number < 900; ++number) {
        commands += "NOOP\r\n";
        replies += "250 Ok\r\n";
    }
    const Turns deep = greetedThen({client(commands + "STARTTLS\r\n"), server(replies + "220 Go\r\n")});
    EXPECT_EQ(test::playWhole(smtp::kSmtp, deep).facts.tls, TlsBegin::StartTls);
}

TEST(SmtpFilter, HoldsBackAFloodOfCommands) {
    std::string commands;
    for (int number = 0; number < 1100; ++number)
        commands += "NOOP\r\n";
    const Observed seen = test::playWhole(smtp::kSmtp, greetedThen({client(commands)}));
    EXPECT_EQ(seen.sent[1].size(), 6U * kMaxUnanswered + 27U) << "the rest waits for replies";
    EXPECT_TRUE(seen.at_boundary);
}

TEST(SmtpFilter, EndsTheSessionWhenTheServerSaysWhatNothingExplains) {
    for (const char* line :
         {"* OK IMAP\r\n", "2200 x\r\n", "22\r\n", "\r\n", "-20 x\r\n", "250 mx\r\n", "354 mx\r\n"}) {
        const Observed seen = observe(smtp::kSmtp, {server(line), client("NOOP\r\n")});
        EXPECT_EQ(seen.violation, Violation::UnexpectedReply) << line;
        EXPECT_EQ(seen.sent[0], "") << line;
        EXPECT_EQ(seen.sent[1], "") << line;
    }
    EXPECT_EQ(observe(smtp::kSmtp, greetedThen({server("250 Nobody asked\r\n")})).violation,
              Violation::UnexpectedReply);
}

struct ReplyCase {
    const char* command;
    const char* reply;
};

TEST(SmtpFilter, EndsTheSessionAtAReplyThatItsCommandDoesNotExplain) {
    for (const auto& [command, reply] :
         {ReplyCase{"NOOP", "354 Go on"}, ReplyCase{"X", "220 Ready to start TLS"}, ReplyCase{"X", "235 Ok"},
          ReplyCase{"X", "334 "}, ReplyCase{"MAIL FROM:<>", "354 Go on"},
          ReplyCase{"RCPT TO:<a@b>", "250 Ok"}, ReplyCase{"DATA", "250 Ok"}, ReplyCase{"DATA", "355 Go on"},
          ReplyCase{"AUTH PLAIN AA==", "250 Ok"}, ReplyCase{"STARTTLS", "250 Ok"},
          ReplyCase{"NOOP", "250-Ok\r\n251 Ok"}, ReplyCase{"NOOP", "250-Ok\r\nOk"}}) {
        const Observed seen = observe(smtp::kSmtp, greetedThen({client(std::string(command) + "\r\n"),
                                                                server(std::string(reply) + "\r\n")}));
        EXPECT_EQ(seen.violation, Violation::UnexpectedReply) << command << " " << reply;
        EXPECT_FALSE(seen.opaque);
    }
}

TEST(SmtpFilter, EndsTheSessionAtAReplyWithoutEnd) {
    const Turns turns = greetedThen({client("NOOP\r\n"), server("250 " + std::string(17'000, 'x'))});
    EXPECT_EQ(test::playWhole(smtp::kSmtp, turns).violation, Violation::TooLong);
    std::string offers = "250-mx\r\n";
    while (offers.size() < 17'000)
        offers += "250-SIZE\r\n";
    EXPECT_EQ(test::playWhole(smtp::kSmtp, greetedThen({client("EHLO a\r\n"), server(offers)})).violation,
              Violation::TooLong);
}

struct OfferCase {
    const char* reply;
    const char* want;
};

TEST(SmtpFilter, OffersNothingThatDoesNotPass) {
    for (const auto& [reply, want] :
         {OfferCase{"250-mx\r\n250-XCLIENT NAME ADDR\r\n250-SIZE 1\r\n250 DSN\r\n",
                    "250-mx\r\n250-SIZE 1\r\n250 DSN\r\n"},
          OfferCase{"250-mx\r\n250-DSN\r\n250-xforward NAME\r\n250 XCLIENT\r\n", "250-mx\r\n250 DSN\r\n"},
          OfferCase{"250-mx\n250 XCLIENT\r\n", "250 mx\n"},
          OfferCase{"250-mx\r\n250-DSN\r\n250-\tXCLIENT\tADDR\r\n250 XFORWARD=ADDR\r\n",
                    "250-mx\r\n250 DSN\r\n"},
          OfferCase{"250-XCLIENT\r\n250 XCLIENTS\r\n", "250-XCLIENT\r\n250 XCLIENTS\r\n"},
          OfferCase{"250 XCLIENT\r\n", "250 XCLIENT\r\n"},
          OfferCase{"550-No\r\n550 XCLIENT\r\n", "550-No\r\n550 XCLIENT\r\n"}}) {
        for (const ProtocolTraits* protocol : {&smtp::kSmtp, &smtp::kLmtp}) {
            const Observed seen =
                observe(*protocol, {server("220 mx\r\n"), client("LHLO a\r\n"), server(reply)});
            EXPECT_EQ(seen.sent[0], std::string("220 mx\r\n") + want);
            EXPECT_TRUE(seen.interruptible);
        }
    }
    const char* help = "214-HELP\r\n214 XCLIENT\r\n";
    EXPECT_TRUE(
        observe(smtp::kSmtp, greetedThen({client("HELP\r\n"), server(help)})).sent[0].ends_with(help));
}

TEST(SmtpFilter, SendsNothingOnAfterAFarewell) {
    const Observed seen = observe(
        smtp::kSmtp,
        after(kEnvelope, {client("DATA\r\n"), server("354 Go on\r\n"), client("half"),
                          server("451 4.3.0 Shutting down\r\n"), client(" a message\r\n.\r\nNOOP\r\n")}));
    EXPECT_FALSE(seen.violation);
    EXPECT_TRUE(seen.sent[1].ends_with("half"));
    EXPECT_EQ(seen.facts.transactions.at(0).reply, "451 4.3.0 Shutting down");
    EXPECT_FALSE(seen.facts.transactions.at(0).accepted);
}

TEST(SmtpFilter, KnowsWhenTheReplyToAMessageIsDue) {
    test::Player player(smtp::kSmtp);
    for (const test::Turn& turn :
         after(kEnvelope, {client("DATA\r\n"), server("354 Go on\r\n"), client("a\r\n")}))
        player.play(turn.from, turn.bytes);
    EXPECT_FALSE(player.filter().awaitsFinalReply());
    player.play(Side::Client, ".\r\nQUIT\r\n");
    EXPECT_TRUE(player.filter().awaitsFinalReply());
    player.play(Side::Server, "250 Ok\r\n");
    EXPECT_FALSE(player.filter().awaitsFinalReply());
}

TEST(SmtpFilter, TakesAQueueIdOnlyFromTheReplyThatTookTheMessage) {
    const std::string forged = "\"queued as VICTIM x\"@c.example";
    const Observed refused =
        observe(smtp::kSmtp, greetedThen({client("MAIL FROM:<a@b.example>\r\nRCPT TO:<" + forged +
                                                 ">\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"),
                                          server("250 Ok\r\n454 4.7.1 <" + forged +
                                                 ">: Relay access denied\r\n250 Ok\r\n354 Go\r\n"),
                                          client(".\r\n"), server("550 5.7.1 Ok: queued as VICTIM\r\n")}));
    EXPECT_EQ(refused.facts.transactions.at(0).queue_id, "");
    const struct {
        const char* reply;
        const char* queue_id;
    } kCases[] = {
        {"250 2.0.0 Ok: queued as 6E955A72018", "6E955A72018"},
        {"250 2.0.0 Ok: 123 bytes queued as 4XyZ1k2wbNz1Lq9", "4XyZ1k2wbNz1Lq9"},
        {"250 2.0.0 from MTA(smtp:[::1]:10025): 250 2.0.0 Ok: queued as 4XyZ1k2wbNz1Lq9)", "4XyZ1k2wbNz1Lq9"},
        {"250 OK id=1tDxYz-0000000AbCd-1a2B", "1tDxYz-0000000AbCd-1a2B"},
        {"250 2.0.0 uALBMZ8Z012345 Message accepted for delivery", "uALBMZ8Z012345"},
        {"250 2.0.0 <\"queued as VICTIM x\"@c> saved", ""},
        {"250 2.0.0 <\" id=VICTIM x\"@c> saved", ""},
        {"250 2.6.0 <x@y> [InternalId=42, Hostname=z] Queued mail for delivery", ""},
        {"250 2.0.0 Ok: queued as ", ""},
        {"250", ""},
        {"", ""},
    };
    for (const auto& [reply, queue_id] : kCases)
        EXPECT_EQ(smtp::queueIdOf(reply), queue_id) << reply;
}

TEST(SmtpFilter, TakesTheQueueIdFromWhicheverLineOfTheReplyHasIt) {
    const Observed taken =
        observe(smtp::kSmtp,
                after(kEnvelope, {client("BDAT 3 LAST\r\nabc"),
                                  server("250- 3 byte chunk, total 3\r\n250 OK id=1xWPQH-0005hq-2T\r\n")}));
    EXPECT_EQ(taken.facts.transactions.at(0).queue_id, "1xWPQH-0005hq-2T");
    EXPECT_EQ(taken.facts.transactions.at(0).reply, "250 OK id=1xWPQH-0005hq-2T");
    const Observed refused = observe(
        smtp::kSmtp,
        after(kEnvelope, {client("BDAT 3 LAST\r\nabc"), server("550-No\r\n550 OK id=1xWPQH-0005hq-2T\r\n")}));
    EXPECT_EQ(refused.facts.transactions.at(0).queue_id, "");
    EXPECT_EQ(refused.facts.transactions.at(0).reply, "550 No");
}

TEST(SmtpFilter, CountsLoginsThatTheServerRefused) {
    const std::string victim = "AUTH PLAIN\tAHZpY3RpbQBndWVzcw==\r\n";
    const Observed seen =
        observe(smtp::kSmtp,
                greetedThen({client(victim + victim), server("535 5.7.8 No\r\n"), server("535 5.7.8 No\r\n"),
                             client(std::string("AUTH PLAIN ") + kPlain + "\r\n"), server("235 Ok\r\n")}));
    EXPECT_EQ(seen.facts.failed_logins, 2U);
    EXPECT_THAT(seen.facts.failed_users, ElementsAre("victim"));
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_EQ(seen.facts.authenticated, true);
    for (const char* reply : {"454 4.7.0 Later", "504 5.5.4 Which", "503 5.5.1 Not now", "534 5.7.9 Weak",
                              "538 5.7.11 TLS", "530 5.7.0 TLS", "501 5.5.2 What", "500 5.5.1 What"}) {
        const Observed none =
            observe(smtp::kSmtp, greetedThen({client(victim), server(std::string(reply) + "\r\n")}));
        EXPECT_EQ(none.facts.failed_logins, 0U) << reply;
        EXPECT_EQ(none.facts.authenticated, std::nullopt) << reply;
    }
}

TEST(SmtpFilter, TakesAnUnaskedFarewell) {
    const Observed seen =
        observe(smtp::kSmtp, after(kEnvelope, {server("421 4.4.2 Error: timeout exceeded\r\n")}));
    EXPECT_FALSE(seen.opaque);
    EXPECT_TRUE(seen.facts.goodbye);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].reply, "421 4.4.2 Error: timeout exceeded");
}

TEST(SmtpFilter, KnowsWhereALineMayBePutIn) {
    test::Player player(smtp::kSmtp);
    const auto hear = [&player](std::string_view bytes) {
        player.play(Side::Server, bytes);
        return player.filter().serverAtBoundary();
    };
    EXPECT_TRUE(player.filter().serverAtBoundary());
    EXPECT_TRUE(hear("220 m")) << "half a line does not go on";
    EXPECT_TRUE(hear("x\r\n"));
    player.play(Side::Client, "HELP\r\n");
    EXPECT_TRUE(player.filter().serverAtBoundary());
    EXPECT_FALSE(player.filter().interruptible());
    EXPECT_FALSE(hear("214-one\r\n"));
    EXPECT_FALSE(hear("214-tw"));
    EXPECT_FALSE(hear("o\r\n"));
    EXPECT_TRUE(hear("214 three\r\n"));
    EXPECT_TRUE(player.filter().interruptible());
}

constexpr ScreenConfig kRefuseBareLf{.bare_lf = BareLfPolicy::Reject};

struct SmuggledCase {
    const char* name;
    const char* end;  ///< what some server takes for the end of the message
};

class SmtpScreenSmuggling : public ::testing::TestWithParam<SmuggledCase> {};

// CVE-2023-51764, CVE-2023-51765, CVE-2023-51766 and kin.
TEST_P(SmtpScreenSmuggling, LetsNothingOnFromABareLfOn) {
    const std::string smuggled = "MAIL FROM:<admin@example.net>\r\nRCPT TO:<bob@example.net>\r\n";
    const Observed seen = observe(smtp::kSmtp,
                                  after(kEnvelope, {client("DATA\r\n"), server("354 Go on\r\n"),
                                                    client(std::string("body") + GetParam().end + smuggled)}),
                                  kRefuseBareLf);
    EXPECT_EQ(seen.violation, Violation::BareLf);
    EXPECT_EQ(seen.sent[1].find("admin@"), std::string::npos) << seen.sent[1];
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_FALSE(seen.facts.transactions[0].accepted);
}

INSTANTIATE_TEST_SUITE_P(
    Variants, SmtpScreenSmuggling,
    ::testing::Values(SmuggledCase{"LfDotLf", "\n.\n"}, SmuggledCase{"LfDotCrLf", "\n.\r\n"},
                      SmuggledCase{"CrLfDotLf", "\r\n.\n"}, SmuggledCase{"LfDotCrCrLf", "\n.\r\r\n"},
                      SmuggledCase{"CrLfDotCrCrLf", "\r\n.\r\r\n"},
                      SmuggledCase{"CrLfDotCrCrCrLf", "\r\n.\r\r\r\n"},
                      SmuggledCase{"CrCrLfDotCrCrLf", "\r\r\n.\r\r\n"}, SmuggledCase{"CrDotCrLf", "\r.\r\n"},
                      SmuggledCase{"CrDotCr", "\r.\r"}, SmuggledCase{"CrLfDotCr", "\r\n.\r"},
                      SmuggledCase{"CrLfNulDotLf", "\r\n\t.\n"}),
    [](const auto& info) { return info.param.name; });

TEST(SmtpScreen, LetsABareLfPassWhereTheListenerSaysSo) {
    const Observed seen =
        observe(smtp::kSmtp, after(kEnvelope, {client("DATA\r\n"), server("354 Go on\r\n"),
                                               client("unix\nlines\n\r\n.\r\n"), server("250 Ok\r\n")}));
    EXPECT_FALSE(seen.violation);
    EXPECT_TRUE(seen.facts.transactions.at(0).accepted);
}

TEST(SmtpScreen, ReadsWhatPassedBehindAnEndAsTheServerDoes) {
    using namespace std::string_view_literals;
    for (const std::string_view sender :
         {"MAIL FROM:<in@b.example>\r\n"sv, "\rMAIL FROM:<in@b.example>\r\n"sv,
          "MAIL\rFROM:<in@b.example>\r\n"sv, "MAIL FROM:\r<in@b.example>\r\r\n"sv,
          "MAIL FROM:<in@b.example>\0 x\r\n"sv, "mail from:<in@b.example>\0\r\n"sv}) {
        const Observed seen = observe(
            smtp::kSmtp,
            after(kEnvelope,
                  {client("DATA\r\n"), server("354 Go on\r\n"),
                   client("a\r\n.\n" + std::string(sender) + "RCPT TO:<c@d.example>\r\nDATA\r\nb\r\n.\r\n"),
                   server("250 2.0.0 Ok: queued as A1\r\n250 Ok\r\n250 Ok\r\n354 Go\r\n"
                          "250 2.0.0 Ok: queued as A2\r\n")}));
        EXPECT_FALSE(seen.violation) << sender;
        ASSERT_THAT(seen.facts.transactions, SizeIs(2)) << sender;
        EXPECT_EQ(seen.facts.transactions[1].from, "in@b.example");
        EXPECT_EQ(seen.facts.transactions[1].queue_id, "A2");
    }
}

TEST(SmtpScreen, CountsWhatTheServerRefusedBehindAnEndThatPassed) {
    using namespace std::string_view_literals;
    for (const std::string_view line : {"\n"sv, "\0\n"sv, "XX\r\n"sv, "DATA x\r\n"sv, "AUTH LOGIN\r\n"sv}) {
        const Observed seen = observe(
            smtp::kSmtp,
            after(kEnvelope,
                  {client("DATA\r\n"), server("354 Go on\r\n"),
                   client("a\r\n.\n" + std::string(line) +
                          "MAIL FROM:<in@b.example>\r\n"
                          "RCPT TO:<c@d.example>\r\nDATA\r\nb\r\n.\r\n"),
                   server("250 2.0.0 Ok: queued as A1\r\n502 5.5.2 What\r\n250 Ok\r\n250 Ok\r\n354 Go\r\n"
                          "250 2.0.0 Ok: queued as A2\r\n")}));
        EXPECT_FALSE(seen.violation) << line;
        ASSERT_THAT(seen.facts.transactions, SizeIs(2)) << line;
        EXPECT_EQ(seen.facts.transactions[1].queue_id, "A2");
    }
}

TEST(SmtpScreen, LetsChunksHoldAnyBytes) {
    const Observed seen = observe(
        smtp::kSmtp,
        after(kEnvelope, {client("BDAT 21 LAST\r\na\n.\nXCLIENT ADDR=1\r\n\n\n"), server("250 Ok\r\n")}),
        kRefuseBareLf);
    EXPECT_FALSE(seen.violation);
    EXPECT_TRUE(seen.facts.transactions.at(0).accepted);
}

TEST(SmtpScreen, LetsPeopleTypeCommandsThatEndInABareLf) {
    const Observed seen = observe(
        smtp::kSmtp, greetedThen({client("NOOP\n"), server("250 Ok\r\n"), client("QUIT\n")}), kRefuseBareLf);
    EXPECT_FALSE(seen.violation);
    EXPECT_TRUE(seen.facts.quit);
}

struct NormalizeCase {
    const char* body;
    const char* want;
};

TEST(SmtpScreen, NormalizesLineEndsSoThatOnlyOneEndIsLeft) {
    for (const auto& [body, want] :
         {NormalizeCase{"unix\nlines\n\r\n", "unix\r\nlines\r\n\r\n"},
          NormalizeCase{"a\r\r\nb\r\n", "a\r\r\nb\r\n"}, NormalizeCase{"a\n.\nb\r\n", "a\r\n..\r\nb\r\n"},
          NormalizeCase{"a\n.\r\nb\r\n", "a\r\n..\r\nb\r\n"},
          NormalizeCase{"a\r\n.\nb\r\n", "a\r\n..\r\nb\r\n"},
          NormalizeCase{"a\r\n.\r\r\nb\r\n", "a\r\n..\r\r\nb\r\n"},
          NormalizeCase{"a\r\n.\r\r\r\nb\r\n", "a\r\n..\r\r\r\nb\r\n"},
          NormalizeCase{"a\r.\r\nb\r\n", "a\r..\r\nb\r\n"}, NormalizeCase{"a\r.\rb\r\n", "a\r..\rb\r\n"},
          NormalizeCase{"a\r\n.\rb\r\n", "a\r\n..\rb\r\n"},
          NormalizeCase{"a\r\n.x\r\n..\r\n", "a\r\n.x\r\n..\r\n"}, NormalizeCase{".\n\r\n", "..\r\n\r\n"},
          NormalizeCase{"\n\r\n", "\r\n\r\n"}, NormalizeCase{"a.\r\n", "a.\r\n"}}) {
        const Observed seen =
            observe(smtp::kSmtp,
                    after(kEnvelope,
                          {client("DATA\r\n"), server("354 Go on\r\n"), client(std::string(body) + ".\r\n"),
                           client("NOOP\r\n"), server("250 Taken\r\n250 Ok\r\n")}),
                    {.bare_lf = BareLfPolicy::Normalize});
        const std::string content = seen.sent[1].substr(seen.sent[1].find("DATA\r\n") + 6);
        EXPECT_EQ(content, std::string(want) + ".\r\nNOOP\r\n");
        EXPECT_FALSE(seen.violation);
        EXPECT_EQ(seen.facts.transactions.at(0).size, std::string_view(want).size());
    }
}

TEST(SmtpScreen, TakesADotLineForContentWhenABareLfIsBeforeIt) {
    const Observed seen = observe(smtp::kSmtp,
                                  after(kEnvelope, {client("DATA\r\n"), server("354 Go on\r\n"),
                                                    client("a\n.\r\nMAIL FROM:<smuggled@b.example>\r\n")}),
                                  {.bare_lf = BareLfPolicy::Normalize});
    EXPECT_TRUE(seen.sent[1].ends_with("a\r\n..\r\nMAIL FROM:<smuggled@b.example>\r\n"));
    EXPECT_FALSE(seen.facts.transactions.at(0).accepted);
}

TEST(SmtpScreen, TakesNoProxyHeaderForACommand) {
    for (const std::string& header : kHeaders)
        expectEndsAtHeader(observe(smtp::kSmtp, greetedThen({client(header + "NOOP\r\n")})));
}

struct ForbiddenCase {
    const char* name;
    Turns turns;
};

class SmtpScreenForbidden : public ::testing::TestWithParam<ForbiddenCase> {};

TEST_P(SmtpScreenForbidden, NeverReachesTheServer) {
    const Observed seen = observe(smtp::kSmtp, after(kEnvelope, GetParam().turns));
    EXPECT_EQ(seen.violation, Violation::ForbiddenCommand);
    EXPECT_EQ(seen.sent[1].find("ADDR="), std::string::npos) << seen.sent[1];
}

INSTANTIATE_TEST_SUITE_P(
    Ways, SmtpScreenForbidden,
    ::testing::Values(
        ForbiddenCase{"Plain", {client("XCLIENT ADDR=192.0.2.1\r\n")}},
        ForbiddenCase{"LowerCase", {client("NOOP\r\nxforward ADDR=192.0.2.1\r\n")}},
        ForbiddenCase{"AfterSpace", {client(" \tXCLIENT ADDR=192.0.2.1\r\n")}},
        ForbiddenCase{"BehindALineOfSpace",
                      {client(std::string(2009, ' ') +
                              "XCLIENT ADDR=192.0.2.1 NAME=" + std::string(170, 'a') + "\r\n")}},
        ForbiddenCase{"CutByANul", {client(std::string("XCLIENT\0ADDR=192.0.2.1\r\n", 24))}},
        ForbiddenCase{"TabInside", {client("XCLIENT\tADDR=192.0.2.1\r\n")}},
        ForbiddenCase{"BareLf", {client("NOOP\nXCLIENT ADDR=192.0.2.1\n")}},
        ForbiddenCase{"AfterARefusedData",
                      {client("DATA\r\nXCLIENT ADDR=192.0.2.1\r\n"), server("503 No\r\n")}},
        ForbiddenCase{"AfterARefusedAuth",
                      {client("AUTH LOGIN\r\nXCLIENT ADDR=192.0.2.1\r\n"), server("503 No\r\n")}},
        ForbiddenCase{"AfterARefusedStartTls",
                      {client("STARTTLS\r\nXCLIENT ADDR=192.0.2.1\r\n"), server("454 No\r\n")}},
        ForbiddenCase{"AfterAnOverlongLine",
                      {client("NOOP " + std::string(5000, 'x') + "\nXCLIENT ADDR=192.0.2.1\r\n")}},
        ForbiddenCase{"WhereTheServerEndedTheMessageEarly",
                      {client("DATA\r\n"), server("354 Go\r\n"), client("a\n.\nNOOP\n"),
                       server("250 Queued\r\n"), client("XCLIENT ADDR=1\r\n")}}),
    [](const auto& info) { return info.param.name; });

TEST(SmtpScreen, BelievesAClientThatOpensAsTlsWhenTheServerDoesToo) {
    const Observed seen = observe(
        smtp::kSmtp, {client("\x16\x03\x01 a\nb"), server("\x16\x03\x03"), client("\n\n")}, kRefuseBareLf);
    EXPECT_TRUE(seen.opaque);
    EXPECT_EQ(seen.facts.tls, TlsBegin::Implicit);
    EXPECT_FALSE(seen.violation);
}

TEST(SmtpScreen, ScreensAClientThatOnlyOpensAsTls) {
    struct Case {
        std::string line;
        Violation want;
    };
    for (const auto& [line, want] : {Case{"XCLIENT ADDR=1\r\n", Violation::ForbiddenCommand},
                                     Case{" \txforward ADDR=1\r\n", Violation::ForbiddenCommand},
                                     Case{"MAIL FROM:<ADDR>\r\n", Violation::BadCommand},
                                     Case{std::string("DATA\0ADDR\r\n", 11), Violation::BadCommand},
                                     Case{std::string(8200, 'x') + "ADDR\r\n", Violation::BadCommand}}) {
        const Turns turns{client("\x16\x03\x01\r\n" + line)};
        const Observed seen = test::playWhole(smtp::kSmtp, turns);
        EXPECT_EQ(test::toString(test::playInPieces(smtp::kSmtp, turns, 1)), test::toString(seen));
        EXPECT_EQ(seen.violation, want);
        EXPECT_EQ(seen.sent[1].find("ADDR"), std::string::npos);
        EXPECT_EQ(seen.facts.tls, TlsBegin::None);
    }
    const Observed plain = observe(smtp::kSmtp, {client("\x16\r\n"), server("220 mx\r\n500 What\r\n"),
                                                 client("EHLO a\r\nXCLIENT ADDR=1\r\n")});
    EXPECT_EQ(plain.violation, Violation::BadCommand);
    EXPECT_EQ(plain.sent[1], "\x16\r\n");
}

TEST(SmtpScreen, LeavesMessagesAndNamesAlone) {
    const Observed seen = observe(
        smtp::kSmtp,
        after(kEnvelope, {client("XCLIENTS\r\n"), server("502 What\r\n"), client("DATA\r\n"),
                          server("354 Go on\r\n"), client("XCLIENT ADDR=1\r\n.\r\n"), server("250 Ok\r\n")}));
    EXPECT_FALSE(seen.violation);
    EXPECT_TRUE(seen.facts.transactions.at(0).accepted);
}

TEST(SmtpScreen, HoldsBackWhatFollowsStartTlsUntilTheServerIsReady) {
    test::Player player(smtp::kSmtp);
    player.play(Side::Server, "220 mx\r\n");
    player.play(Side::Client, "STARTTLS\r\nMAIL FROM:<injected@b.example>\r\n");
    EXPECT_EQ(player.passed(), "STARTTLS\r\n");
    player.play(Side::Server, "220 Go\r\n");
    EXPECT_TRUE(player.filter().opaque());
}

TEST(SmtpFilter, IsSmall) {
    EXPECT_LE(sizeof(SmtpFilter), 616U);
}

}  // namespace
}  // namespace mailgate
