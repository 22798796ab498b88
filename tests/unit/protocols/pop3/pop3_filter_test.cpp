// SPDX-License-Identifier: Apache-2.0
#include "protocols/pop3/pop3_filter.h"

#include "protocols/pop3/pop3_protocol.h"
#include "tests/support/filtered.h"

namespace mailgate {
namespace {

using namespace test;

Turns greetedThen(const Turns& rest) {
    return after({server("+OK Dovecot ready. <1896.697170952@dbc.mtview.ca.us>\r\n")}, rest);
}

class Pop3FilterLogin : public ::testing::TestWithParam<LoginCase> {};

TEST_P(Pop3FilterLogin, ShowsTheUserAndNeverTheSecret) {
    Turns turns = greetedThen(GetParam().turns);
    turns.push_back(server("+OK Logged in.\r\n"));
    turns.push_back(client("USER wonderland\r\n"));
    const Observed seen = observe(pop3::kPop3, turns);
    expectLogin(seen, GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Forms, Pop3FilterLogin,
    ::testing::Values(
        LoginCase{"User", {client("USER alice\r\n"), server("+OK\r\n"), client("PASS wonderland\r\n")}},
        LoginCase{"Pipelined",
                  {client("CAPA\r\nuser alice\r\npass wonderland\r\n"),
                   server("+OK\r\nUSER\r\n+OK odd\r\n..\r\n.\r\n+OK\r\n")}},
        LoginCase{"BeforeAPipelinedOne",
                  {client("USER alice\r\nPASS wonderland\r\nUSER mallory\r\nPASS wonderland\r\n"),
                   server("+OK\r\n")}},
        LoginCase{"AfterAFailure",
                  {client("USER mallory\r\nPASS wonderland\r\n"), server("+OK\r\n-ERR [AUTH] No\r\n"),
                   client("USER alice\r\nPASS wonderland\r\n"), server("+OK\r\n")}},
        LoginCase{"Apop", {client("APOP alice c4c9334bac560ecc979e58001b3e22fb\r\n")}},
        LoginCase{"PlainInitial", {client("AUTH PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=\r\n")}},
        LoginCase{"Plain",
                  {client("AUTH PLAIN\r\n"), server("+ \r\n"), client("AGFsaWNlAHdvbmRlcmxhbmQ=\r\n")}},
        LoginCase{"Login",
                  {client("AUTH LOGIN\r\n"), server("+ VXNlcm5hbWU6\r\n"), client("YWxpY2U=\r\n"),
                   server("+ UGFzc3dvcmQ6\r\n"), client("d29uZGVybGFuZA==\r\n")}},
        LoginCase{"Xoauth2", {client("AUTH XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB3b25kZXJsYW5kAQE=\r\n")}},
        LoginCase{"AfterTheMechanisms",
                  {client("AUTH\r\n"), server("+OK\r\nPLAIN\r\n.\r\n"),
                   client("AUTH PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=\r\n")}},
        LoginCase{"CramMd5",
                  {client("AUTH CRAM-MD5\r\n"), server("+ PDE+\r\n"),
                   client("YWxpY2UgMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\r\n")}},
        LoginCase{"UnknownMechanism",
                  {client("AUTH GSSAPI\r\n"), server("+ PDE+\r\n"), client("d29uZGVybGFuZA==\r\n")},
                  ""}),
    [](const auto& info) { return info.param.name; });

TEST(Pop3Filter, GoesOnAfterARefusedLogin) {
    const Observed seen = observe(pop3::kPop3, greetedThen({client("USER alice\r\nPASS wonderland\r\n"),
                                                            server("+OK\r\n-ERR [AUTH] No\r\n"),
                                                            client("QUIT\r\n"), server("+OK Bye\r\n")}));
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_NE(seen.facts.authenticated, true);
    EXPECT_TRUE(seen.facts.quit);
    EXPECT_TRUE(seen.facts.goodbye);
    EXPECT_FALSE(seen.opaque);
    EXPECT_TRUE(seen.interruptible);
}

TEST(Pop3Filter, GoesOnAfterACancelledExchange) {
    const Observed seen =
        observe(pop3::kPop3, greetedThen({client("AUTH LOGIN\r\n"), server("+ VXNlcm5hbWU6\r\n"),
                                          client("*\r\n"), server("-ERR Aborted\r\n"), client("QUIT\r\n")}));
    EXPECT_EQ(seen.facts.user, "");
    EXPECT_TRUE(seen.facts.quit);
    EXPECT_FALSE(seen.opaque);
}

TEST(Pop3Filter, DetachesWhenTlsStarts) {
    const Observed seen =
        observe(pop3::kPop3, greetedThen({client("STLS\r\n"), server("+OK Begin TLS\r\n")}));
    EXPECT_EQ(seen.facts.tls, TlsBegin::StartTls);
    EXPECT_TRUE(seen.opaque);
}

TEST(Pop3Filter, StaysWhenTlsIsRefused) {
    const Observed seen = observe(pop3::kPop3, greetedThen({client("STLS\r\n"), server("-ERR No TLS\r\n")}));
    EXPECT_EQ(seen.facts.tls, TlsBegin::None);
    EXPECT_FALSE(seen.opaque);
}

TEST(Pop3Filter, SeesARefusingGreeting) {
    EXPECT_FALSE(observe(pop3::kPop3, {server("-ERR [SYS/TEMP] Later\r\n")}).facts.greeted);
}

TEST(Pop3Filter, EndsOnAReplyThatNothingExplains) {
    for (const Turns& turns :
         {Turns{server("+OK Nobody asked\r\n")}, Turns{server("+ Nobody asked\r\n")},
          Turns{server("* OK\r\n")}, Turns{client("USER alice\r\n"), server("+ go on\r\n")},
          Turns{client("AUTH PLAIN\r\n"), server("+ \r\n"), server("+ again\r\n")}}) {
        const Observed seen = observe(pop3::kPop3, greetedThen(turns));
        EXPECT_EQ(seen.violation, Violation::UnexpectedReply) << turns.back().bytes;
        EXPECT_FALSE(seen.sent[kClient].ends_with(turns.back().bytes));
    }
    EXPECT_EQ(observe(pop3::kPop3, {server("220 SMTP\r\n")}).violation, Violation::UnexpectedReply);
}

TEST(Pop3Filter, TakesForAResponseOnlyWhatTheServerAskedFor) {
    const Observed seen =
        observe(pop3::kPop3, greetedThen({client("AUTH NOSUCH\r\nUSER alice\r\nPASS wonderland\r\n"),
                                          server("-ERR Unsupported authentication mechanism.\r\n"),
                                          server("+OK\r\n"), server("+OK Logged in.\r\n")}));
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_EQ(seen.facts.authenticated, true);
    EXPECT_EQ(seen.facts.failed_logins, 0U);
}

TEST(Pop3Filter, SendsNothingPastALoginBeforeItsAnswer) {
    test::Player player(pop3::kPop3);
    player.play(Side::Server, "+OK\r\n");
    for (const char* command :
         {"PASS x\r\n", "APOP alice 00\r\n", "AUTH PLAIN\r\n", "STLS\r\n", "QUIT\r\n"}) {
        player.play(Side::Client, std::string(command) + "CAPA\r\n");
        EXPECT_TRUE(player.passed().ends_with(command));
        player.play(Side::Server, "-ERR\r\n");
        EXPECT_TRUE(player.passed().ends_with("CAPA\r\n"));
        player.play(Side::Server, "-ERR\r\n");
    }
}

TEST(Pop3Filter, MatchesRepliesByOrder) {
    const Observed seen =
        observe(pop3::kPop3,
                greetedThen({client("NOOP\r\nUSER ceo\r\nPASS x\r\n"), server("+OK\r\n"), server("+OK\r\n"),
                             server("-ERR [AUTH] No\r\n"), client("USER victim\r\nPASS y\r\n"),
                             server("+OK\r\n"), server("-ERR [AUTH] No\r\n")}));
    EXPECT_EQ(seen.facts.authenticated, false);
    EXPECT_EQ(seen.facts.failed_users, (std::vector<std::string>{"ceo", "victim"}));
    EXPECT_FALSE(seen.opaque);
}

TEST(Pop3Filter, RefusesWhatNoGrammarAllows) {
    for (const char* line : {"", " USER alice", "USER\talice", "USER alice\rPASS secret", "PASS a\rb", "\x16",
                             "US\x01R", "AUTH  PLAIN AGNlbwB4", "auth   "}) {
        const Observed seen = observe(
            pop3::kPop3, greetedThen({client(std::string(line) + "\r\nUSER alice\r\n"), server("+OK\r\n")}));
        EXPECT_EQ(seen.sent[kServer], "USER alice\r\n") << line;
        EXPECT_NE(seen.sent[kClient].find("-ERR Command not understood"), std::string::npos);
    }
    EXPECT_EQ(observe(pop3::kPop3, greetedThen({client(std::string("USER a\0\r\n", 9))})).violation,
              Violation::BadCommand);
    EXPECT_EQ(observe(pop3::kPop3, greetedThen({client("PASS \tx\n")})).sent[kServer], "PASS \tx\r\n");
}

TEST(Pop3Filter, BoundsLines) {
    const auto violation = [](const std::string& line) {
        test::Player player(pop3::kPop3);
        player.play(Side::Server, "+OK\r\n");
        player.play(Side::Client, line);
        return player.filter().violation();
    };
    EXPECT_EQ(violation("USER " + std::string(8187, 'x') + "\r\n"), std::nullopt);
    EXPECT_EQ(violation("USER " + std::string(8188, 'x') + "\r\n"), Violation::TooLong);
    EXPECT_EQ(violation(std::string(9000, 'x')), Violation::TooLong);
    EXPECT_EQ(violation("AUTH XOAUTH2 " + std::string(12000, 'x') + "\r\n"), std::nullopt);
}

TEST(Pop3Filter, KeepsNothingBehindTheName) {
    const Observed seen = observe(pop3::kPop3, greetedThen({client("USER alice wonderland\r\nPASS x\r\n"),
                                                            server("+OK\r\n-ERR [AUTH] No\r\n")}));
    EXPECT_EQ(seen.facts.user, "alice");
    expectAbsent(seen, "wonderland");
}

TEST(Pop3Filter, CountsNoFailedLoginWhereThePasswordWasNotJudged) {
    for (const char* reply :
         {"-ERR [SYS/TEMP] Later\r\n", "-ERR [SYS/PERM] Broken\r\n", "-ERR [IN-USE] Locked\r\n",
          "-ERR [LOGIN-DELAY] Wait\r\n",
          "-ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.\r\n"}) {
        const Observed seen = observe(
            pop3::kPop3, greetedThen({client("USER alice\r\nPASS x\r\n"), server("+OK\r\n"), server(reply)}));
        EXPECT_EQ(seen.facts.authenticated, std::nullopt) << reply;
        EXPECT_EQ(seen.facts.failed_logins, 0U) << reply;
    }
    EXPECT_EQ(observe(pop3::kPop3, greetedThen({client("PASS x\r\n"), server("-ERR No username given.\r\n")}))
                  .facts.failed_logins,
              0U);
    const Observed again = observe(
        pop3::kPop3, greetedThen({client("USER alice\r\nPASS x\r\nPASS y\r\n"), server("+OK\r\n"),
                                  server("-ERR [AUTH] Failed.\r\n"), server("-ERR No username given.\r\n")}));
    EXPECT_EQ(again.facts.failed_logins, 1U);
    EXPECT_EQ(again.facts.authenticated, false);
}

TEST(Pop3Filter, TellsNoServerWhoTheClientIs) {
    const ScreenConfig screen{.no_header = true};
    for (const char* line : {"XCLIENT ADDR=203.0.113.99\r\n", "xClient\r\n"}) {
        const Observed seen = observe(pop3::kPop3, greetedThen({client(line)}), screen);
        EXPECT_EQ(seen.violation, Violation::ForbiddenCommand);
        EXPECT_EQ(seen.sent[kServer], "");
        EXPECT_EQ(observe(pop3::kPop3, greetedThen({client(line)})).sent[kServer], line);
    }
    EXPECT_EQ(observe(pop3::kPop3, {server("+OK [XCLIENT] Dovecot ready.\r\n")}, screen).sent[kClient],
              "+OK Dovecot ready.\r\n");
    const Turns capa =
        greetedThen({client("CAPA\r\n"), server("+OK\r\nUSER\r\nXCLIENT ADDR PORT\r\nSASL PLAIN\r\n.\r\n")});
    EXPECT_TRUE(
        observe(pop3::kPop3, capa, screen).sent[kClient].ends_with("+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n"));
    EXPECT_TRUE(observe(pop3::kPop3, capa)
                    .sent[kClient]
                    .ends_with("USER\r\nXCLIENT ADDR PORT\r\nSASL PLAIN\r\n.\r\n"));
}

TEST(Pop3Filter, TakesNoProxyHeaderForACommand) {
    for (const std::string& header : kHeaders)
        expectEndsAtHeader(observe(pop3::kPop3, greetedThen({client(header + "NOOP\r\n")})));
}

TEST(Pop3Filter, KnowsWhereALineMayBePutIn) {
    test::Player player(pop3::kPop3);
    const auto hear = [&player](std::string_view bytes) {
        player.play(Side::Server, bytes);
        return player.filter().serverAtBoundary();
    };
    EXPECT_TRUE(hear("+OK"));  // and has not gone on
    EXPECT_TRUE(hear("\r\n"));
    player.play(Side::Client, "CAPA\r\n");
    EXPECT_FALSE(player.filter().interruptible());
    EXPECT_FALSE(hear("+OK\r\n"));
    EXPECT_FALSE(hear("USER\r\n"));
    EXPECT_TRUE(hear(".\r\n"));
    EXPECT_TRUE(player.filter().interruptible());
}

TEST(Pop3Filter, IsSmall) {
    EXPECT_LE(sizeof(Pop3Filter), 512U);
}

}  // namespace
}  // namespace mailgate
