#include "protocols/smtp/smtp_filter.h"

#include "tests/support/filtered.h"

#include <gmock/gmock.h>

namespace mailgate {
namespace {

using test::client;
using test::expectAbsent;
using test::observe;
using test::Observed;
using test::server;
using test::Turns;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const Turns kGreeted{server("220 mx.example.net ESMTP Postfix\r\n"), client("EHLO mail.partner.example\r\n"),
                     server("250-mx.example.net\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 10240000\r\n")};

Turns after(Turns before, const Turns& rest) {
    before.insert(before.end(), rest.begin(), rest.end());
    return before;
}

Turns greetedThen(const Turns& rest) {
    return after(kGreeted, rest);
}

const Turns kEnvelope =
    greetedThen({client("MAIL FROM:<alice@partner.example> SIZE=2031\r\n"), server("250 2.1.0 Ok\r\n"),
                 client("RCPT TO:<bob@example.net>\r\n"), server("250 2.1.5 Ok\r\n")});

TEST(SmtpFilter, WritesDownOneMessage) {
    const Observed seen =
        observe(Protocol::Smtp,
                after(kEnvelope, {client("DATA\r\n"), server("354 End data with <CR><LF>.<CR><LF>\r\n"),
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
    const Observed seen =
        observe(Protocol::Smtp,
                greetedThen({client(std::string(GetParam().command) + "\r\n"), server("250 Ok\r\n")}));
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].from, GetParam().want_from);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, SmtpFilterPath,
    ::testing::Values(PathCase{"MAIL FROM:<>", ""}, PathCase{"MAIL FROM:<> BODY=8BITMIME", ""},
                      PathCase{"mail from: <a@b.example>", "a@b.example"},
                      PathCase{"MAIL FROM:a@b.example SIZE=1", "a@b.example"},
                      PathCase{R"(MAIL FROM:<"a> b"@c.example> SIZE=1)", R"("a> b"@c.example)"},
                      PathCase{R"(MAIL FROM:<"a\"> b"@c.example>)", R"("a\"> b"@c.example)"},
                      PathCase{"MAIL FROM:<@hop1,@hop2:a@b.example>", "a@b.example"},
                      PathCase{"MAIL FROM:<@hop1>", ""},
                      PathCase{"MAIL FROM:<unclosed@b.example", "unclosed@b.example"},
                      PathCase{"MAIL TO:<a@b.example>", ""}, PathCase{"MAIL", ""}));

TEST(SmtpFilter, FollowsPipelinedCommands) {
    const Observed seen = observe(
        Protocol::Smtp,
        greetedThen(
            {client("MAIL FROM:<a@b.example>\r\nRCPT TO:<x@c.example>\r\nRCPT TO:<y@c.example>\r\nDATA\r\n"),
             server("250 Ok\r\n250 Ok\r\n550 5.1.1 No such user\r\n354 Go on\r\n"),
             client("body\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<z@c.example>\r\n"),
             server("250 Queued\r\n250 Ok\r\n250 Ok\r\n")}));

    EXPECT_EQ(seen.facts.transaction_count, 2U);
    ASSERT_THAT(seen.facts.transactions, SizeIs(2));
    EXPECT_THAT(seen.facts.transactions[0].recipients, ElementsAre("x@c.example", "y@c.example"));
    EXPECT_EQ(seen.facts.transactions[0].refused_count, 1U);
    EXPECT_EQ(seen.facts.transactions[0].reply, "250 Queued");
    EXPECT_EQ(seen.facts.transactions[1].from, "");
    EXPECT_EQ(seen.facts.transactions[1].reply, "");
    EXPECT_FALSE(seen.facts.transactions[1].accepted);
    EXPECT_FALSE(seen.interruptible);
}

TEST(SmtpFilter, KeepsTheRefusalOfATransactionWithoutMessage) {
    const Observed seen = observe(
        Protocol::Smtp,
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

TEST(SmtpFilter, CountsNoTransactionThatTheServerRefused) {
    const Observed seen =
        observe(Protocol::Smtp,
                greetedThen({client("MAIL FROM:<a@b.example>\r\nRCPT TO:<x@c.example>\r\n"),
                             server("530 5.7.0 Must issue STARTTLS first\r\n503 5.5.1 Need MAIL\r\n")}));
    EXPECT_EQ(seen.facts.transaction_count, 0U);
    EXPECT_THAT(seen.facts.transactions, IsEmpty());
    EXPECT_TRUE(seen.interruptible);
}

TEST(SmtpFilter, WritesDownAMessageThatWasCutOff) {
    const Observed seen =
        observe(Protocol::Smtp, after(kEnvelope, {client("RCPT TO:<late@example.net>\r\nDATA\r\n"),
                                                  server("250 Ok\r\n354 Go on\r\n"), client("12345678")}));
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].size, 8U);
    EXPECT_EQ(seen.facts.transactions[0].reply, "");
    EXPECT_FALSE(seen.facts.transactions[0].accepted);
}

TEST(SmtpFilter, CountsRecipientsThatWereNeverAnswered) {
    const Observed seen =
        observe(Protocol::Smtp,
                after(kEnvelope, {client("RCPT TO:<late@example.net>\r\nMAIL FROM:<n@b.example>\r\n")}));
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_THAT(seen.facts.transactions[0].recipients, ElementsAre("bob@example.net", "late@example.net"));
    EXPECT_EQ(seen.facts.transactions[0].refused_count, 0U);
}

struct BodyCase {
    const char* body;
    std::size_t want_size;
};

class SmtpFilterBody : public ::testing::TestWithParam<BodyCase> {};

TEST_P(SmtpFilterBody, EndsAtTheDotLineAndNowhereElse) {
    const Observed seen =
        observe(Protocol::Smtp,
                after(kEnvelope, {client("DATA\r\n"), server("354 Go on\r\n"), client(GetParam().body),
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

// Some servers end a message at a bare LF. Their reply then comes in the middle of what is a message here.
TEST(SmtpFilter, StopsGuessingWhenTheServerEndsAMessageElsewhere) {
    const Observed seen =
        observe(Protocol::Smtp, after(kEnvelope, {client("DATA\r\n"), server("354 Go on\r\n"),
                                                  client("body\n.\r\nMAIL FROM:<smuggled@b.example>\r\n"),
                                                  server("250 2.0.0 Queued\r\n250 Ok\r\n")}));
    EXPECT_FALSE(seen.at_boundary);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].reply, "250 2.0.0 Queued");
}

TEST(SmtpFilter, TakesAMessageThatDidNotWaitFor354) {
    const Observed seen =
        observe(Protocol::Smtp, after(kEnvelope, {client("DATA\r\nbody\r\n.\r\nQUIT\r\n"),
                                                  server("354 Go on\r\n250 Queued\r\n221 Bye\r\n")}));
    EXPECT_FALSE(seen.opaque);
    EXPECT_TRUE(seen.facts.quit);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].size, 6U);
    EXPECT_TRUE(seen.facts.transactions[0].accepted);
}

TEST(SmtpFilter, TakesSuchAMessageForCommandsWhenDataWasRefused) {
    const Observed seen = observe(
        Protocol::Smtp,
        after(kEnvelope, {client("DATA\r\nbody\r\n.\r\nQUIT\r\n"),
                          server("451 4.3.0 Try later\r\n500 What\r\n500 What\r\n"), server("221 Bye\r\n")}));
    EXPECT_TRUE(seen.facts.quit);
    EXPECT_TRUE(seen.facts.goodbye);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].reply, "451 4.3.0 Try later");
}

TEST(SmtpFilter, HasNoBodyAfterARefusedData) {
    const Observed seen =
        observe(Protocol::Smtp, after(kEnvelope, {client("DATA\r\n"), server("451 4.3.0 Try later\r\n"),
                                                  client("QUIT\r\n"), server("221 Bye\r\n")}));
    EXPECT_TRUE(seen.facts.quit);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].reply, "451 4.3.0 Try later");
    EXPECT_EQ(seen.facts.transactions[0].size, 0U);
}

TEST(SmtpFilter, AddsUpChunks) {
    const Observed seen = observe(
        Protocol::Smtp,
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

TEST(SmtpFilter, CountsOfAChunkCutOffWhatCame) {
    const Observed seen = observe(Protocol::Smtp, after(kEnvelope, {client("BDAT 1000 LAST\r\nabc")}));
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].size, 3U);
}

TEST(SmtpFilter, GivesUpOnAChunkSizeThatIsNoNumber) {
    for (const char* bdat : {"BDAT\r\n", "BDAT x LAST\r\n", "BDAT -1\r\n", "BDAT 99999999999999999999\r\n"}) {
        EXPECT_FALSE(observe(Protocol::Smtp, after(kEnvelope, {client(bdat)})).at_boundary) << bdat;
    }
}

TEST(SmtpFilter, TakesOneFinalReplyForEachRecipientOfLmtp) {
    const Observed seen =
        observe(Protocol::Lmtp, {server("220 LMTP\r\n"),
                                 client("LHLO mx.example.net\r\nMAIL FROM:<a@b.example>\r\nRCPT "
                                        "TO:<x>\r\nRCPT TO:<y>\r\nRCPT TO:<z>\r\nDATA\r\n"),
                                 server("250 Ok\r\n250 Ok\r\n250 Ok\r\n550 No y\r\n250 Ok\r\n354 Go on\r\n"),
                                 client("body\r\n.\r\nMAIL FROM:<second@b.example>\r\n"),
                                 server("250 2.0.0 <x> Saved\r\n452 4.2.2 <z> Over quota\r\n250 Ok\r\n")});
    EXPECT_EQ(seen.facts.helo, "mx.example.net");
    ASSERT_THAT(seen.facts.transactions, SizeIs(2));
    EXPECT_EQ(seen.facts.transactions[0].reply, "452 4.2.2 <z> Over quota");
    EXPECT_THAT(seen.facts.transactions[0].recipients, ElementsAre("x", "y", "z"));
    EXPECT_THAT(seen.facts.transactions[0].replies,
                ElementsAre("250 2.0.0 <x> Saved", "550 No y", "452 4.2.2 <z> Over quota"));
    EXPECT_THAT(seen.facts.transactions[1].replies, ::testing::IsEmpty());
    EXPECT_TRUE(seen.facts.transactions[0].accepted);
    EXPECT_EQ(seen.facts.transactions[1].from, "second@b.example");
}

TEST(SmtpFilter, SeesARefusingGreeting) {
    const Observed seen =
        observe(Protocol::Smtp, {server("554-mx.example.net\r\n554 No SMTP service here\r\n"),
                                 client("QUIT\r\n"), server("221 Bye\r\n")});
    EXPECT_FALSE(seen.facts.greeted);
    EXPECT_TRUE(seen.facts.quit);
}

TEST(SmtpFilter, DetachesWhenTlsStarts) {
    const Observed seen = observe(
        Protocol::Smtp, greetedThen({client("STARTTLS\r\n"), server("220 2.0.0 Ready to start TLS\r\n"),
                                     client("\x16\x03\x01")}));
    EXPECT_TRUE(seen.opaque);
    EXPECT_EQ(seen.facts.tls, "starttls");
}

TEST(SmtpFilter, StaysWhenTlsIsRefused) {
    const Observed seen = observe(
        Protocol::Smtp, greetedThen({client("STARTTLS\r\n"), server("454 4.7.0 TLS not available\r\n")}));
    EXPECT_FALSE(seen.opaque);
    EXPECT_EQ(seen.facts.tls, "");
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
        Protocol::Smtp, greetedThen(after(GetParam().turns, {server("235 2.7.0 Ok\r\n"), client("NOOP\r\n"),
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
        observe(Protocol::Smtp, greetedThen({client(std::string("AUTH XOAUTH2 ") + kXoauth2 + "\r\n"),
                                             server("334 eyJzdGF0dXMiOiI0MDEifQ==\r\n"), client("\r\n"),
                                             server("535 5.7.8 Failed\r\n"),
                                             client("MAIL FROM:<a@b.example>\r\n"), server("250 Ok\r\n")}));
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_NE(seen.facts.authenticated, true);
    EXPECT_EQ(seen.facts.transaction_count, 1U);
}

TEST(SmtpFilter, ClaimsNoNameThatAnUnknownMechanismHides) {
    const Observed seen = observe(
        Protocol::Smtp,
        greetedThen({client(std::string("AUTH PLAIN ") + kPlain + "\r\n"), server("535 5.7.8 Failed\r\n"),
                     client("AUTH CRAM-MD5\r\n"), server("334 PDE+\r\n"),
                     client(std::string(kLoginPassword) + "\r\n"), server("235 Ok\r\n")}));
    EXPECT_EQ(seen.facts.authenticated, true);
    EXPECT_EQ(seen.facts.user, "");
    expectAbsent(seen, "wonderland");
}

TEST(SmtpFilter, TakesNoNameFromAResponseWithoutItsSeparators) {
    for (const char* response : {kLoginPassword, "!!!!", "", "=", "AHdvbmRlcmxhbmQ="}) {
        const Observed seen =
            observe(Protocol::Smtp, greetedThen({client(std::string("AUTH PLAIN ") + response + "\r\n")}));
        EXPECT_EQ(seen.facts.user, "") << response;
    }
}

TEST(SmtpFilter, FindsTheNameInALongResponse) {
    const std::string token(6000, 'A');
    const Observed seen = observe(
        Protocol::Smtp, greetedThen({client(std::string("AUTH XOAUTH2 ") +
                                            std::string(kXoauth2).substr(0, 20) + token + "\r\n"),
                                     server("235 Ok\r\n"), client("QUIT\r\n"), server("221 Bye\r\n")}));
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_TRUE(seen.facts.quit);
}

TEST(SmtpFilter, SkipsAnOverlongLineAndKeepsItsPlace) {
    const Observed seen =
        observe(Protocol::Smtp,
                greetedThen({client("NOOP " + std::string(5000, 'x') + "\r\nMAIL FROM:<a@b.example>\r\n"),
                             server("500 Line too long\r\n250 Ok\r\n")}));
    EXPECT_EQ(seen.facts.transaction_count, 1U);
}

TEST(SmtpFilter, BoundsWhatItKeeps) {
    Turns turns = greetedThen({client("HELO " + std::string(1000, 'h') + "\r\n"), server("250 Ok\r\n")});
    for (int number = 0; number < 30; ++number) {
        turns.push_back(client("MAIL FROM:<" + std::string(700, 'f') + "@b.example>\r\n"));
        turns.push_back(server("250 Ok\r\n"));
    }
    for (int number = 0; number < 60; ++number) {
        turns.push_back(client("RCPT TO:<r@c.example>\r\n"));
        turns.push_back(server("250 Ok\r\n"));
    }
    turns.push_back(client("RSET\r\n"));
    turns.push_back(server("250 " + std::string(600, 'k') + "\r\n"));
    const SessionFacts facts = test::playWhole(Protocol::Smtp, turns).facts;
    EXPECT_EQ(facts.helo.size(), kMaxNameBytes);
    EXPECT_EQ(facts.transaction_count, 30U);
    ASSERT_THAT(facts.transactions, SizeIs(kMaxTransactionsKept));
    EXPECT_EQ(facts.transactions[0].from.size(), kMaxMailboxBytes);
}

TEST(SmtpFilter, KeepsTheFirstRecipientsAndCountsAll) {
    Turns turns = greetedThen({client("MAIL FROM:<a@b.example>\r\n"), server("250 Ok\r\n")});
    for (int number = 0; number < 60; ++number) {
        turns.push_back(client("RCPT TO:<r@c.example>\r\n"));
        turns.push_back(server("250 Ok\r\n"));
    }
    const SessionFacts facts = test::playWhole(Protocol::Smtp, turns).facts;
    ASSERT_THAT(facts.transactions, SizeIs(1));
    EXPECT_THAT(facts.transactions[0].recipients, SizeIs(kMaxRecipientsKept));
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
    EXPECT_EQ(test::playWhole(Protocol::Smtp, deep).facts.tls, "starttls");
}

TEST(SmtpFilter, HoldsBackAFloodOfCommands) {
    std::string commands;
    for (int number = 0; number < 1100; ++number)
        commands += "NOOP\r\n";
    const Observed seen = test::playWhole(Protocol::Smtp, greetedThen({client(commands)}));
    EXPECT_EQ(seen.sent[1].size(), 6U * kMaxUnanswered + 27U) << "the rest waits for replies";
    EXPECT_TRUE(seen.at_boundary);
}

TEST(SmtpFilter, GivesUpWhenTheServerSpeaksAnotherProtocol) {
    for (const char* line : {"* OK IMAP\r\n", "2200 x\r\n", "22\r\n", "\r\n", "-20 x\r\n"}) {
        EXPECT_FALSE(observe(Protocol::Smtp, {server(line)}).at_boundary) << line;
    }
    EXPECT_FALSE(observe(Protocol::Smtp, greetedThen({server("250 Nobody asked\r\n")})).at_boundary);
}

TEST(SmtpFilter, TakesAnUnaskedFarewell) {
    const Observed seen =
        observe(Protocol::Smtp, after(kEnvelope, {server("421 4.4.2 Error: timeout exceeded\r\n")}));
    EXPECT_FALSE(seen.opaque);
    EXPECT_TRUE(seen.facts.goodbye);
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_EQ(seen.facts.transactions[0].reply, "421 4.4.2 Error: timeout exceeded");
}

TEST(SmtpFilter, KnowsWhereALineMayBePutIn) {
    test::Player player(Protocol::Smtp);
    const auto hear = [&player](std::string_view bytes) {
        player.play(Side::Server, bytes);
        return player.filter().serverAtBoundary();
    };
    EXPECT_TRUE(player.filter().serverAtBoundary());
    EXPECT_FALSE(hear("2"));
    EXPECT_FALSE(hear("20 mx\r"));
    EXPECT_TRUE(hear("\n"));
    player.play(Side::Client, "EHLO a\r\n");
    EXPECT_TRUE(player.filter().serverAtBoundary());
    EXPECT_FALSE(player.filter().interruptible());
    EXPECT_FALSE(hear("250-mx\r\n"));
    EXPECT_FALSE(hear("250-SIZE\r\n"));
    EXPECT_TRUE(hear("250 HELP\r\n"));
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
    const Observed seen = observe(Protocol::Smtp,
                                  after(kEnvelope, {client("DATA\r\n"), server("354 Go on\r\n"),
                                                    client(std::string("body") + GetParam().end + smuggled)}),
                                  kRefuseBareLf);
    EXPECT_EQ(seen.violation, Violation::BareLf);
    EXPECT_EQ(seen.sent[1].find("admin@"), std::string::npos) << seen.sent[1];
    ASSERT_THAT(seen.facts.transactions, SizeIs(1));
    EXPECT_FALSE(seen.facts.transactions[0].accepted);
}

INSTANTIATE_TEST_SUITE_P(Variants, SmtpScreenSmuggling,
                         ::testing::Values(SmuggledCase{"LfDotLf", "\n.\n"},
                                           SmuggledCase{"LfDotCrLf", "\n.\r\n"},
                                           SmuggledCase{"CrLfDotLf", "\r\n.\n"},
                                           SmuggledCase{"LfDotCrCrLf", "\n.\r\r\n"},
                                           SmuggledCase{"CrLfNulDotLf", "\r\n\t.\n"}),
                         [](const auto& info) { return info.param.name; });

TEST(SmtpScreen, LetsABareLfPassWhereTheListenerSaysSo) {
    const Observed seen =
        observe(Protocol::Smtp, after(kEnvelope, {client("DATA\r\n"), server("354 Go on\r\n"),
                                                  client("unix\nlines\n\r\n.\r\n"), server("250 Ok\r\n")}));
    EXPECT_FALSE(seen.violation);
    EXPECT_TRUE(seen.facts.transactions.at(0).accepted);
}

TEST(SmtpScreen, LetsChunksHoldAnyBytes) {
    const Observed seen = observe(
        Protocol::Smtp,
        after(kEnvelope, {client("BDAT 23 LAST\r\na\n.\nXCLIENT ADDR=1\r\n\n\n"), server("250 Ok\r\n")}),
        kRefuseBareLf);
    EXPECT_FALSE(seen.violation);
    EXPECT_TRUE(seen.facts.transactions.at(0).accepted);
}

TEST(SmtpScreen, LetsPeopleTypeCommandsThatEndInABareLf) {
    const Observed seen =
        observe(Protocol::Smtp, greetedThen({client("NOOP\n"), server("250 Ok\r\n"), client("QUIT\n")}),
                kRefuseBareLf);
    EXPECT_FALSE(seen.violation);
    EXPECT_TRUE(seen.facts.quit);
}

TEST(SmtpScreen, RefusesABareLfWhereverAMessageMayBe) {
    const Observed seen = observe(
        Protocol::Smtp, greetedThen({server("250 Nobody asked\r\n"), client("what\n")}), kRefuseBareLf);
    EXPECT_EQ(seen.violation, Violation::BareLf);
}

TEST(SmtpScreen, HasNoMessagesToGuardWhereTheServerSpeaksAnotherProtocol) {
    const Observed seen = observe(
        Protocol::Smtp, greetedThen({client("\r\n"), server("\r\n"), client("QUIT\n!")}), kRefuseBareLf);
    EXPECT_FALSE(seen.violation);
    EXPECT_FALSE(seen.at_boundary);
}

TEST(SmtpScreen, RefusesAProxyHeaderWhereTheServerMayWaitForOne) {
    const Turns header{client("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")};
    EXPECT_FALSE(observe(Protocol::Smtp, greetedThen(header)).violation);
    EXPECT_EQ(observe(Protocol::Smtp, greetedThen(header), {.no_header = true}).violation,
              Violation::ForbiddenCommand);
}

struct ForbiddenCase {
    const char* name;
    Turns turns;
};

class SmtpScreenForbidden : public ::testing::TestWithParam<ForbiddenCase> {};

TEST_P(SmtpScreenForbidden, NeverReachesTheServer) {
    const Observed seen = observe(Protocol::Smtp, after(kEnvelope, GetParam().turns));
    EXPECT_EQ(seen.violation, Violation::ForbiddenCommand);
    EXPECT_EQ(seen.sent[1].find("ADDR="), std::string::npos) << seen.sent[1];
}

INSTANTIATE_TEST_SUITE_P(
    Ways, SmtpScreenForbidden,
    ::testing::Values(
        ForbiddenCase{"Plain", {client("XCLIENT ADDR=192.0.2.1\r\n")}},
        ForbiddenCase{"LowerCase", {client("NOOP\r\nxforward ADDR=192.0.2.1\r\n")}},
        ForbiddenCase{"AfterSpace", {client(" \tXCLIENT ADDR=192.0.2.1\r\n")}},
        ForbiddenCase{"BehindALineOfSpace", {client(std::string(2040, ' ') + "XCLIENT ADDR=192.0.2.1\r\n")}},
        ForbiddenCase{"TabInside", {client("XCLIENT\tADDR=192.0.2.1\r\n")}},
        ForbiddenCase{"BareLf", {client("NOOP\nXCLIENT ADDR=192.0.2.1\n")}},
        ForbiddenCase{"AfterARefusedData",
                      {client("DATA\r\nXCLIENT ADDR=192.0.2.1\r\n"), server("503 No\r\n")}},
        ForbiddenCase{"AfterARefusedAuth",
                      {client("AUTH LOGIN\r\nXCLIENT ADDR=192.0.2.1\r\n"), server("503 No\r\n")}},
        ForbiddenCase{"AfterARefusedStartTls",
                      {client("STARTTLS\r\nXCLIENT ADDR=192.0.2.1\r\n"), server("454 No\r\n")}},
        ForbiddenCase{"InAChunkThatTheServerDoesNotKnow",
                      {client("EHLO a\r\n"), server("250 mx\r\n"), client("BDAT x\r\nXCLIENT ADDR=1\r\n")}},
        ForbiddenCase{"WhereTheServerEndedTheMessageEarly",
                      {client("DATA\r\n"), server("354 Go\r\n"), client("a\n.\nNOOP\n"),
                       server("250 Queued\r\n"), client("XCLIENT ADDR=1\r\n")}}),
    [](const auto& info) { return info.param.name; });

TEST(SmtpScreen, BelievesAClientThatOpensAsTlsWhenTheServerDoesToo) {
    const Observed seen = observe(
        Protocol::Smtp, {client("\x16\x03\x01 a\nb"), server("\x16\x03\x03"), client("\n\n")}, kRefuseBareLf);
    EXPECT_TRUE(seen.opaque);
    EXPECT_EQ(seen.facts.tls, "implicit");
    EXPECT_FALSE(seen.violation);
}

TEST(SmtpScreen, ScreensAClientThatOnlyOpensAsTls) {
    for (const Turns& turns : {Turns{client("\x16\x03\x01\r\nXCLIENT ADDR=1\r\n")},
                               Turns{client("\x16\r\n"), server("220 mx\r\n500 What\r\n"),
                                     client("EHLO a\r\nXCLIENT ADDR=1\r\n")}}) {
        const Observed seen = observe(Protocol::Smtp, turns);
        EXPECT_EQ(seen.violation, Violation::ForbiddenCommand);
        EXPECT_EQ(seen.sent[1].find("ADDR"), std::string::npos);
        EXPECT_EQ(seen.facts.tls, "");
    }
}

TEST(SmtpScreen, LeavesMessagesAndNamesAlone) {
    const Observed seen = observe(
        Protocol::Smtp,
        after(kEnvelope, {client("XCLIENTS\r\n"), server("502 What\r\n"), client("DATA\r\n"),
                          server("354 Go on\r\n"), client("XCLIENT ADDR=1\r\n.\r\n"), server("250 Ok\r\n")}));
    EXPECT_FALSE(seen.violation);
    EXPECT_TRUE(seen.facts.transactions.at(0).accepted);
}

TEST(SmtpScreen, HoldsBackWhatFollowsStartTlsUntilTheServerIsReady) {
    test::Player player(Protocol::Smtp);
    player.play(Side::Server, "220 mx\r\n");
    player.play(Side::Client, "STARTTLS\r\nMAIL FROM:<injected@b.example>\r\n");
    EXPECT_EQ(player.passed(), "STARTTLS\r\n");
    player.play(Side::Server, "220 Go\r\n");
    EXPECT_TRUE(player.filter().opaque());
}

TEST(HeaderScreen, RefusesAClientThatOpensWithAProxyHeader) {
    constexpr ScreenConfig kScreen{.no_header = true};
    for (const std::string_view header : {std::string_view("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
                                          std::string_view("\r\n\r\n\0\r\nQUIT\n!", 13)}) {
        const Observed seen = observe(Protocol::Tcp, {client(std::string(header))}, kScreen);
        EXPECT_EQ(seen.violation, Violation::ForbiddenCommand);
        EXPECT_LT(seen.sent[1].size(), 12U);
    }
    const Observed other = observe(Protocol::Tcp, {client("PROX, and so on")}, kScreen);
    EXPECT_TRUE(other.opaque);
    EXPECT_FALSE(other.violation);
}

TEST(SmtpFilter, IsSmall) {
    EXPECT_LE(sizeof(SmtpFilter), 512U);
}

}  // namespace
}  // namespace mailgate
