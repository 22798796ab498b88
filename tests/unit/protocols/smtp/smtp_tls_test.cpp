// SPDX-License-Identifier: Apache-2.0
// SMTP and LMTP where TLS ends at the gateway; each dialogue is split at every byte.
#include "protocols/smtp/smtp_filter.h"
#include "protocols/smtp/smtp_protocol.h"
#include "tests/support/filtered.h"
#include "tests/support/tls_policies.h"

namespace mailgate {
namespace {

using namespace test;

const std::string kHello = "220 mx.example.net ESMTP Postfix\r\n";

/// As Postfix 3.7 lists them.
std::string listed(const std::string& tls, const std::string& auth) {
    return "250-mx.example.net\r\n" + tls + "250-PIPELINING\r\n250-SIZE 10240000\r\n" + auth +
           "250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n";
}
const std::string kStartTls = "250-STARTTLS\r\n";
const std::string kAuth = "250-AUTH PLAIN LOGIN SCRAM-SHA-256-PLUS\r\n250-AUTH=X-PLUS PLAIN LOGIN\r\n";
const std::string kUnbound = "250-AUTH PLAIN LOGIN\r\n250-AUTH=PLAIN LOGIN\r\n";

std::string offered(const std::string& list, const ScreenConfig& screen,
                    const ProtocolTraits& protocol = smtp::kSmtp) {
    const std::string hello = protocol.protocol == Protocol::Lmtp ? "LHLO a\r\n" : "EHLO a\r\n";
    const Observed seen = observe(protocol, {server(kHello), client(hello), server(list)}, screen);
    EXPECT_EQ(seen.violation, std::nullopt);
    return seen.sent[kClient].substr(kHello.size());
}

TEST(SmtpTls, EditsTheReplyToEhlo) {
    const std::string list = listed("", kAuth);
    EXPECT_EQ(offered(list, {}), list);
    EXPECT_EQ(offered(list, kOffered), listed(kStartTls, kUnbound));
    EXPECT_EQ(offered(list, kRequired), listed(kStartTls, ""));
    EXPECT_EQ(offered(list, kWithin), listed("", kUnbound));
    EXPECT_EQ(offered(list, kMirror), listed("", kUnbound));
    const std::string with_tls = listed(kStartTls, kAuth);
    EXPECT_EQ(offered(with_tls, {}), with_tls);
    EXPECT_EQ(offered(with_tls, kOffered), listed(kStartTls, kUnbound));
    EXPECT_EQ(offered(with_tls, kWithin), listed("", kUnbound));
    EXPECT_EQ(offered(with_tls, kToServer), listed("", kUnbound));
    EXPECT_EQ(offered(with_tls, kMirror), listed(kStartTls, kUnbound));
}

TEST(SmtpTls, KeepsTheMarkOfTheLastLine) {
    EXPECT_EQ(offered("250 a\r\n", kOffered), "250-a\r\n250 STARTTLS\r\n");
    EXPECT_EQ(offered("250\r\n", kOffered), "250-\r\n250 STARTTLS\r\n");
    EXPECT_EQ(offered("250-a\r\n250 AUTH PLAIN\r\n", kRequired), "250-a\r\n250 STARTTLS\r\n");
    EXPECT_EQ(offered("250-a\r\n250-SIZE\r\n250 STARTTLS\r\n", kWithin), "250-a\r\n250 SIZE\r\n");
    EXPECT_EQ(offered("250-a\n250-AUTH X-PLUS\n250 AUTH Y-PLUS\n", kWithin), "250 a\n");
    EXPECT_EQ(offered("250-a\r\n250 auth y-plus PLAIN\r\n", kWithin), "250-a\r\n250 auth PLAIN\r\n");
    EXPECT_EQ(offered("250-a\r\n250-AUTH PLAIN X-PLUS\r\n250 XCLIENT NAME\r\n", kWithin),
              "250-a\r\n250 AUTH PLAIN\r\n");
    EXPECT_EQ(offered("250-STARTTLS\r\n250 AUTH\r\n", kWithin), "250-STARTTLS\r\n250 AUTH\r\n");
    EXPECT_EQ(offered("550 no\r\n", kRequired), "550 no\r\n");
}

TEST(SmtpTls, EditsLhlosReplyToo) {
    EXPECT_EQ(offered("250-a\r\n250 SIZE\r\n", kOffered, smtp::kLmtp),
              "250-a\r\n250-STARTTLS\r\n250 SIZE\r\n");
    EXPECT_EQ(offered("250-a\r\n250 STARTTLS\r\n", kWithin, smtp::kLmtp), "250 a\r\n");
}

/// An EHLO reply of four bytes grows to eighteen: the relay has room for all that may come in one read.
TEST(SmtpTls, BoundsWhatItAddsInOneCall) {
    SessionFacts facts;
    SmtpFilter filter(Protocol::Smtp, facts, kOffered);
    struct Counting final : Output {
        void pass(std::size_t bytes) override { taken += bytes, on += bytes; }
        void drop(std::size_t bytes) override { taken += bytes; }
        void write(std::string_view text) override { on += text.size(); }
        bool canReply() const override { return true; }
        void reply(std::string_view /*text*/) override {}
        std::size_t taken = 0;
        std::size_t on = 0;
    };
    Counting greeting;
    EXPECT_EQ(filter.onBytes(Side::Server, "220 hi\r\n", greeting), Rest::More);
    std::string hellos;
    for (int at = 0; at < 900; ++at)
        hellos += "EHLO a\r\n";
    Counting asked;
    EXPECT_EQ(filter.onBytes(Side::Client, hellos, asked), Rest::Hold);
    std::string replies;
    for (std::size_t at = 0; at < asked.on / 8; ++at)
        replies += "250\n";
    Counting answered;
    EXPECT_EQ(filter.onBytes(Side::Server, replies, answered), Rest::More);
    EXPECT_EQ(answered.taken, replies.size());
    EXPECT_LE(answered.on, 2 * replies.size() + kMaxEditBytes);
    EXPECT_EQ(filter.violation(), std::nullopt);
}

TEST(SmtpTls, BeginsOnceAllBeforeItIsAnswered) {
    Turns turns = {server(kHello), client("EHLO a\r\nNOOP\r\nSTARTTLS\r\n"), server("250 a\r\n")};
    EXPECT_FALSE(observe(smtp::kSmtp, turns, kRequired).starts_tls);
    turns.push_back(server("250 ok\r\n"));
    const Observed seen = observe(smtp::kSmtp, turns, kRequired);
    EXPECT_TRUE(seen.starts_tls);
    EXPECT_EQ(seen.sent[kServer], "EHLO a\r\nNOOP\r\n");
    EXPECT_TRUE(seen.interruptible);
}

TEST(SmtpTls, AnswersInItsOwnWordsAndForgets) {
    Player player(smtp::kSmtp, kOffered);
    player.play(Side::Server, kHello);
    player.play(Side::Client, "EHLO liar.example\r\n");
    player.play(Side::Server, "250 a\r\n");
    player.play(Side::Client, "starttls \n");
    ASSERT_TRUE(player.filter().startsTls());
    EXPECT_EQ(player.facts().helo, "liar.example");
    EXPECT_EQ(player.answerStartTls(false), "454 4.7.0 TLS not available due to temporary reason\r\n");
    player.play(Side::Client, "STARTTLS x\r\nSTARTTLS\r\n");
    EXPECT_EQ(player.answerStartTls(true), "220 2.0.0 Ready to start TLS\r\n");
    EXPECT_EQ(player.facts().helo, "");
    EXPECT_EQ(player.passed(), "EHLO liar.example\r\n");
}

TEST(SmtpTls, TakesNothingBehindTheCommand) {
    for (const ScreenConfig* screen : {&kOffered, &kRequired}) {
        for (const std::string bytes : {"RSET\r\n", "M", "\r\n", "\x16\x03"}) {
            const Observed seen = observe(
                smtp::kSmtp, {server(kHello), client("NOOP\r\nSTARTTLS\r\n" + bytes), server("250 ok\r\n")},
                *screen);
            EXPECT_EQ(seen.violation, Violation::PlaintextAfterStartTls);
            EXPECT_FALSE(seen.starts_tls);
            EXPECT_EQ(seen.sent[kClient], kHello + "250 ok\r\n");
            EXPECT_EQ(seen.sent[kServer], "NOOP\r\n");
        }
    }
}

TEST(SmtpTls, DoesNotBeginInATransaction) {
    const Observed seen =
        observe(smtp::kSmtp,
                {server(kHello), client("MAIL FROM:<a@b.c>\r\nSTARTTLS\r\n"), server("250 ok\r\n"),
                 client("RSET\r\nSTARTTLS\r\n"), server("250 ok\r\n")},
                kOffered);
    EXPECT_EQ(seen.sent[kClient],
              kHello + "250 ok\r\n503 5.5.1 Error: MAIL transaction in progress\r\n250 ok\r\n");
    EXPECT_TRUE(seen.starts_tls);
}

/// The server's connection is kept: what it sends on in the name of that user would be nobody's here.
TEST(SmtpTls, DoesNotBeginBehindALogin) {
    for (const ScreenConfig& screen : {kOffered, kMirror}) {
        const Observed seen =
            observe(smtp::kSmtp,
                    {server(kHello), client("EHLO a\r\n"), server("250-mx\r\n250 AUTH PLAIN\r\n"),
                     client("AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n"), server("235 2.7.0 ok\r\n"),
                     client("AUTH PLAIN AGV2ZQBndWVzcw==\r\n"), server("454 4.7.0 later\r\n"),
                     client("STARTTLS\r\n"), client("NOOP\r\n"), server("250 ok\r\n")},
                    screen);
        EXPECT_TRUE(seen.sent[kClient].ends_with(
            "454 4.7.0 later\r\n503 5.5.1 Error: already authenticated\r\n250 ok\r\n"))
            << seen.sent[kClient];
        EXPECT_EQ(seen.sent[kServer].find("STARTTLS"), std::string::npos);
        EXPECT_EQ(seen.violation, std::nullopt);
    }
}

TEST(SmtpTls, IsActiveOnlyOnce) {
    const Observed seen =
        observe(smtp::kSmtp, {server(kHello), client("STARTTLS\r\nNOOP\r\n"), server("250 ok\r\n")}, kWithin);
    EXPECT_EQ(seen.sent[kClient], kHello + "554 5.5.1 Error: TLS already active\r\n250 ok\r\n");
    EXPECT_EQ(seen.sent[kServer], "NOOP\r\n");
}

const std::string kMustTls = "530 5.7.0 Must issue a STARTTLS command first\r\n";

TEST(SmtpTls, KeepsWhatHasToWaitFromTheServer) {
    for (const std::string line :
         {"MAIL FROM:<a@b.c>\r\n", "RCPT TO:<a@b.c>\r\n", "DATA\r\n", "AUTH PLAIN AGEAYg==\r\n",
          "auth login\r\n", "VRFY a\r\n", "HELP\r\n", "X\r\n", "BDAT 6 LAST\r\nNOOP\r\n", "BDAT 0 LAST\r\n",
          "BURL imap://x LAST\r\n", "\r\n"}) {
        const Observed seen = observe(smtp::kSmtp,
                                      {server(kHello), client("EHLO a\r\n"), server("250 CHUNKING\r\n"),
                                       client(line + "NOOP x\r\n"), server("250 ok\r\n")},
                                      kRequired);
        EXPECT_EQ(seen.sent[kServer], "EHLO a\r\nNOOP x\r\n") << line;
        EXPECT_EQ(seen.sent[kClient], kHello + "250-CHUNKING\r\n250 STARTTLS\r\n" + kMustTls + "250 ok\r\n");
        EXPECT_EQ(seen.facts.tls_refusals, 1U) << line;
        EXPECT_EQ(seen.violation, std::nullopt);
    }
}

TEST(SmtpTls, KeepsTheSenderThatHasToWait) {
    const Observed seen = observe(
        smtp::kSmtp,
        {server(kHello), client("MAIL FROM:<a@b.c> SIZE=9\r\nRCPT TO:<x@y.z>\r\nDATA\r\nMAIL FROM:<>\r\n")},
        kRequired);
    EXPECT_EQ(seen.facts.tls_refusals, 4U);
    EXPECT_EQ(seen.facts.transaction_count, 2U);
    ASSERT_EQ(seen.facts.transactions.size(), 2U);
    for (const MailTransaction& mail : seen.facts.transactions) {
        EXPECT_EQ(mail.reply + "\r\n", kMustTls);
        EXPECT_EQ(mail.recipient_count + mail.refused_count, 0U);
        EXPECT_FALSE(mail.accepted);
    }
    EXPECT_EQ(seen.facts.transactions.begin()->from, "a@b.c");
    EXPECT_TRUE(seen.interruptible);
}

TEST(SmtpTls, KeepsTheUserWhoHasToWait) {
    const std::string login = "AUTH PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=\r\n";
    const Observed seen = observe(smtp::kSmtp, {server(kHello), client(login)}, kRequired);
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_EQ(seen.facts.authenticated, std::nullopt);
    EXPECT_EQ(seen.facts.failed_logins, 0U);
    EXPECT_EQ(observe(smtp::kSmtp, {server(kHello), client("AUTH LOGIN\r\n")}, kRequired).facts.user, "");
}

TEST(SmtpTls, LetsPassWhatDoesNotHaveToWait) {
    const std::string all = "EHLO a\r\nHELO a\r\nLHLO a\r\nNOOP\r\nRSET\r\nQUIT\r\n";
    EXPECT_EQ(observe(smtp::kSmtp, {server(kHello), client(all)}, kRequired).sent[kServer], all);
}

TEST(SmtpTls, EndsAChunkWithoutSize) {
    const Observed seen =
        observe(smtp::kSmtp, {server(kHello), client("BDAT x\r\nMAIL FROM:<a@b.c>\r\n")}, kRequired);
    EXPECT_EQ(seen.violation, Violation::BadCommand);
    EXPECT_EQ(seen.sent[kServer], "");
}

TEST(SmtpTls, EndsWhoGoesOnWithoutIt) {
    std::string lines;
    for (int at = 0; at < 30; ++at)
        lines += "RCPT TO:<a@b.c>\r\n";
    const Observed seen = observe(smtp::kSmtp, {server(kHello), client(lines)}, kRequired);
    EXPECT_EQ(seen.violation, Violation::TlsRequired);
    EXPECT_EQ(seen.sent[kServer], "");
}

TEST(SmtpTls, DoesNotBeginWithAHello) {
    for (const ScreenConfig* screen : {&kOffered, &kWithin}) {
        const Observed seen = observe(
            smtp::kSmtp, {server(kHello), client(std::string("\x16\x03\x01\x00\x05\x01\n", 7))}, *screen);
        EXPECT_EQ(seen.violation, Violation::BadCommand);
        EXPECT_EQ(seen.sent[kServer], "");
    }
}

const std::string kHelloFirst = "503 5.5.1 Error: send HELO/EHLO first\r\n";

TEST(SmtpTls, WantsEhloAgain) {
    const Observed seen =
        observe(smtp::kSmtp,
                {client("MAIL FROM:<a@b.c>\r\nBDAT 6 LAST\r\nNOOP\r\nRSET\r\n"), server("250 ok\r\n"),
                 client("EHLO a\r\nMAIL FROM:<a@b.c>\r\n"), server("501 no\r\n"),
                 client("EHLO b\r\nMAIL FROM:<a@b.c>\r\n"), server("250-b\r\n250 STARTTLS\r\n")},
                kWithinAgain);
    EXPECT_EQ(seen.sent[kServer], "RSET\r\nEHLO a\r\nEHLO b\r\nMAIL FROM:<a@b.c>\r\n");
    EXPECT_EQ(seen.sent[kClient],
              kHelloFirst + kHelloFirst + "250 ok\r\n501 no\r\n" + kHelloFirst + "250 b\r\n");
    EXPECT_EQ(seen.violation, std::nullopt);
    EXPECT_EQ(seen.facts.transaction_count, 3U) << "the last went on";
    EXPECT_EQ(seen.facts.transactions.begin()->reply + "\r\n", kHelloFirst);
    EXPECT_EQ(seen.facts.tls_refusals, 0U);
}

TEST(SmtpTls, MirrorsTheServersConsent) {
    const Turns asked = {server(kHello), client("STARTTLS\r\n")};
    const Observed consent = observe(smtp::kSmtp, after(asked, {server("220 2.0.0 go\r\n")}), kMirror);
    EXPECT_TRUE(consent.starts_tls);
    EXPECT_FALSE(consent.opaque);
    EXPECT_EQ(consent.facts.tls, TlsBegin::None);
    EXPECT_EQ(consent.sent[kServer], "STARTTLS\r\n");
    EXPECT_EQ(consent.sent[kClient], kHello);
    const Observed lines =
        observe(smtp::kSmtp, after(asked, {server("220-2.0.0 please\r\n220 2.0.0 go\r\n")}), kMirror);
    EXPECT_TRUE(lines.starts_tls);
    EXPECT_EQ(lines.sent[kClient], kHello);
    const Observed refusal =
        observe(smtp::kSmtp, after(asked, {server("454 4.7.0 no\r\n"), client("NOOP\r\n")}), kMirror);
    EXPECT_FALSE(refusal.starts_tls);
    EXPECT_EQ(refusal.sent[kClient], kHello + "454 4.7.0 no\r\n");
    EXPECT_EQ(refusal.sent[kServer], "STARTTLS\r\nNOOP\r\n");
    const Observed injected =
        observe(smtp::kSmtp, after(asked, {server("220 go\r\n250-evil\r\n250 AUTH EVIL\r\n")}), kMirror);
    EXPECT_EQ(injected.violation, Violation::UnexpectedReply);
    EXPECT_EQ(injected.sent[kClient], kHello);
}

/// A server that takes a part of a message for STARTTLS begins TLS with nobody.
TEST(SmtpTls, IsNotBegunByAServerAlone) {
    ScreenConfig screen = kWithin;
    screen.bare_lf = BareLfPolicy::Pass;
    const Observed seen = observe(smtp::kSmtp,
                                  {server(kHello), client("MAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c>\r\nDATA\r\n"),
                                   server("250 ok\r\n250 ok\r\n354 go\r\n"),
                                   client("x\n.\nSTARTTLS\r\n.\r\n"), server("250 ok\r\n220 go\r\n")},
                                  screen);
    EXPECT_EQ(seen.violation, Violation::UnexpectedReply);
    EXPECT_FALSE(seen.opaque);
    EXPECT_EQ(seen.sent[kClient].find("220 go"), std::string::npos);
}

}  // namespace
}  // namespace mailgate
