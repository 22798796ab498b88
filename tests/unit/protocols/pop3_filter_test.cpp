#include "protocols/pop3/pop3_filter.h"

#include "tests/support/filtered.h"

namespace mailgate {
namespace {

using test::client;
using test::expectAbsent;
using test::observe;
using test::Observed;
using test::server;
using test::Turns;

Turns greetedThen(const Turns& rest) {
    Turns turns{server("+OK Dovecot ready. <1896.697170952@dbc.mtview.ca.us>\r\n")};
    turns.insert(turns.end(), rest.begin(), rest.end());
    return turns;
}

struct LoginCase {
    const char* name;
    Turns turns;
    const char* want_user = "alice";
};

class Pop3FilterLogin : public ::testing::TestWithParam<LoginCase> {};

TEST_P(Pop3FilterLogin, ShowsTheUserAndNeverTheSecret) {
    Turns turns = greetedThen(GetParam().turns);
    turns.push_back(server("+OK Logged in.\r\n"));
    turns.push_back(client("USER wonderland\r\n"));
    const Observed seen = observe(Protocol::Pop3, turns);
    EXPECT_EQ(seen.facts.user, GetParam().want_user);
    EXPECT_EQ(seen.facts.authenticated, true);
    EXPECT_TRUE(seen.facts.greeted);
    EXPECT_TRUE(seen.opaque);
    expectAbsent(seen, "wonderland");
    expectAbsent(seen, "d29uZGVybGFuZA==");
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
        LoginCase{"UnknownMechanism",
                  {client("AUTH CRAM-MD5\r\n"), server("+ PDE+\r\n"), client("d29uZGVybGFuZA==\r\n")},
                  ""}),
    [](const auto& info) { return info.param.name; });

TEST(Pop3Filter, GoesOnAfterARefusedLogin) {
    const Observed seen = observe(Protocol::Pop3, greetedThen({client("USER alice\r\nPASS wonderland\r\n"),
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
    const Observed seen = observe(
        Protocol::Pop3, greetedThen({client("AUTH LOGIN\r\n"), server("+ VXNlcm5hbWU6\r\n"), client("*\r\n"),
                                     server("-ERR Aborted\r\n"), client("QUIT\r\n")}));
    EXPECT_EQ(seen.facts.user, "");
    EXPECT_TRUE(seen.facts.quit);
    EXPECT_FALSE(seen.opaque);
}

TEST(Pop3Filter, DetachesWhenTlsStarts) {
    const Observed seen =
        observe(Protocol::Pop3, greetedThen({client("STLS\r\n"), server("+OK Begin TLS\r\n")}));
    EXPECT_EQ(seen.facts.tls, "starttls");
    EXPECT_TRUE(seen.opaque);
}

TEST(Pop3Filter, StaysWhenTlsIsRefused) {
    const Observed seen =
        observe(Protocol::Pop3, greetedThen({client("STLS\r\n"), server("-ERR No TLS\r\n")}));
    EXPECT_EQ(seen.facts.tls, "");
    EXPECT_FALSE(seen.opaque);
}

TEST(Pop3Filter, SeesARefusingGreeting) {
    EXPECT_FALSE(observe(Protocol::Pop3, {server("-ERR [SYS/TEMP] Later\r\n")}).facts.greeted);
}

TEST(Pop3Filter, GivesUpWhenRepliesAndCommandsDoNotMatch) {
    EXPECT_TRUE(observe(Protocol::Pop3, greetedThen({server("+OK Nobody asked\r\n")})).opaque);
    EXPECT_TRUE(observe(Protocol::Pop3, greetedThen({server("+ Nobody asked\r\n")})).opaque);
    EXPECT_TRUE(observe(Protocol::Pop3, {server("220 SMTP\r\n")}).opaque);
    EXPECT_TRUE(
        observe(Protocol::Pop3, greetedThen({client("AUTH PLAIN\r\nQUIT\r\n"), server("-ERR No AUTH\r\n")}))
            .opaque);
}

TEST(Pop3Filter, KnowsWhereALineMayBePutIn) {
    test::Player player(Protocol::Pop3);
    const auto hear = [&player](std::string_view bytes) {
        player.play(Side::Server, bytes);
        return player.filter().serverAtBoundary();
    };
    EXPECT_FALSE(hear("+OK"));
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
