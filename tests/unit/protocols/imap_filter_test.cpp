#include "protocols/imap/imap_filter.h"

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
    Turns turns{server("* OK [CAPABILITY IMAP4rev1 SASL-IR LOGINDISABLED] Dovecot ready.\r\n")};
    turns.insert(turns.end(), rest.begin(), rest.end());
    return turns;
}

struct LoginCase {
    const char* name;
    Turns turns;
    const char* want_user = "alice";
};

class ImapFilterLogin : public ::testing::TestWithParam<LoginCase> {};

TEST_P(ImapFilterLogin, ShowsTheUserAndNeverTheSecret) {
    Turns turns = greetedThen(GetParam().turns);
    turns.push_back(server("* CAPABILITY IMAP4rev1\r\na1 OK Logged in\r\n* 1 EXISTS\r\n"));
    turns.push_back(client("a2 LOGIN mallory wonderland\r\n"));
    const Observed seen = observe(Protocol::Imap, turns);
    EXPECT_EQ(seen.facts.user, GetParam().want_user);
    EXPECT_EQ(seen.facts.authenticated, true);
    EXPECT_TRUE(seen.facts.greeted);
    EXPECT_TRUE(seen.opaque);
    expectAbsent(seen, "wonderland");
    expectAbsent(seen, "d29uZGVybGFuZA==");
}

INSTANTIATE_TEST_SUITE_P(
    Forms, ImapFilterLogin,
    ::testing::Values(
        LoginCase{"Atoms", {client("a1 LOGIN alice wonderland\r\n")}},
        LoginCase{"LowerCase", {client("a1 login alice wonderland\r\n")}},
        LoginCase{"Quoted", {client("a1 LOGIN \"alice\" \"wonder\\\"land\"\r\n")}},
        LoginCase{"QuotedSpecials", {client("a1 LOGIN \"al\\\"i ce\\\\\" \"wonderland\"\r\n")}, "al\"i ce\\"},
        LoginCase{"Literals",
                  {client("a1 LOGIN {5}\r\n"), server("+ OK\r\n"), client("alice {10}\r\n"),
                   server("+ OK\r\n"), client("wonderland\r\n")}},
        LoginCase{"NonSynchronizing", {client("a1 LOGIN {5+}\r\nalice {10+}\r\nwonderland\r\n")}},
        LoginCase{"LiteralAhead", {client("a1 LOGIN {5}\r\nalice \"wonderland\"\r\n"), server("+ OK\r\n")}},
        LoginCase{"LiteralPasswordOnly", {client("a1 LOGIN alice {10+}\r\nwonderland\r\n")}},
        LoginCase{
            "LiteralWithLines", {client("a1 LOGIN {7+}\r\nal\r\nice {10+}\r\nwonderland\r\n")}, "al\r\nice"},
        LoginCase{"PlainInitial", {client("a1 AUTHENTICATE PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=\r\n")}},
        LoginCase{
            "Plain",
            {client("a1 AUTHENTICATE PLAIN\r\n"), server("+ \r\n"), client("AGFsaWNlAHdvbmRlcmxhbmQ=\r\n")}},
        LoginCase{"Login",
                  {client("a1 AUTHENTICATE LOGIN\r\n"), server("+ VXNlcm5hbWU6\r\n"), client("YWxpY2U=\r\n"),
                   server("+ UGFzc3dvcmQ6\r\n"), client("d29uZGVybGFuZA==\r\n")}},
        LoginCase{"Xoauth2",
                  {client("a1 AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB3b25kZXJsYW5kAQE=\r\n")}},
        LoginCase{"OauthBearer",
                  {client("a1 AUTHENTICATE OAUTHBEARER\r\n"), server("+ \r\n"),
                   client("bixhPWFsaWNlLAFhdXRoPUJlYXJlciB3b25kZXJsYW5kAQE=\r\n")}},
        LoginCase{"UnknownMechanism",
                  {client("a1 AUTHENTICATE SCRAM-SHA-256\r\n"), server("+ \r\n"),
                   client("biwsbj1hbGljZQ==\r\n"), server("+ cj0x\r\n"), client("d29uZGVybGFuZA==\r\n")},
                  ""},
        LoginCase{"AfterAFailure",
                  {client("a0 LOGIN mallory wonderland\r\n"), server("a0 NO [AUTHENTICATIONFAILED] No\r\n"),
                   client("a1 LOGIN alice wonderland\r\n")}},
        LoginCase{"BeforeAPipelinedOne",
                  {client("a1 LOGIN alice wonderland\r\na3 LOGIN mallory wonderland\r\n")}}),
    [](const auto& info) { return info.param.name; });

TEST(ImapFilter, GoesOnAfterARefusedLogin) {
    const Observed seen = observe(
        Protocol::Imap,
        greetedThen({client("a1 AUTHENTICATE PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=\r\n"), server("a1 NO Failed\r\n"),
                     client("a2 LOGOUT\r\n"), server("* BYE Logging out\r\na2 OK Done\r\n")}));
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_NE(seen.facts.authenticated, true);
    EXPECT_TRUE(seen.facts.quit);
    EXPECT_TRUE(seen.facts.goodbye);
    EXPECT_FALSE(seen.opaque);
    EXPECT_TRUE(seen.interruptible);
}

TEST(ImapFilter, GoesOnAfterARefusedLiteral) {
    const Observed seen = observe(
        Protocol::Imap, greetedThen({client("a1 LOGIN {5000000}\r\n"), server("a1 BAD Literal too large\r\n"),
                                     client("a2 LOGOUT\r\n")}));
    EXPECT_TRUE(seen.facts.quit);
    EXPECT_FALSE(seen.opaque);
    EXPECT_FALSE(seen.interruptible);
}

TEST(ImapFilter, StopsGuessingWhenALiteralSentAheadWasRefused) {
    EXPECT_TRUE(
        observe(Protocol::Imap, greetedThen({client("a1 LOGIN {5}\r\nal"), server("a1 BAD No literals\r\n")}))
            .opaque);
}

TEST(ImapFilter, TakesNoNameFromAnUnclosedString) {
    const Observed seen = observe(Protocol::Imap, greetedThen({client("a1 LOGIN \"alice wonderland\r\n")}));
    EXPECT_EQ(seen.facts.user, "");
}

TEST(ImapFilter, SkipsLiteralsInBothDirections) {
    const Observed seen = observe(
        Protocol::Imap, greetedThen({client("a1 ID (\"name\" {24+}\r\na9 LOGOUT\r\na8 LOGOUT\r\n)\r\n"),
                                     server("* ID (\"name\" {20}\r\na1 OK x\r\n* BYE yyy\r\n "
                                            "{3}\r\nabc)\r\n* OK text {5}\r\na1 OK Done\r\n"),
                                     client("a2 STARTTLS\r\n"), server("a2 OK Begin\r\n")}));
    EXPECT_FALSE(seen.facts.quit);
    EXPECT_FALSE(seen.facts.goodbye);
    EXPECT_EQ(seen.facts.tls, "starttls");
    EXPECT_TRUE(seen.opaque);
}

TEST(ImapFilter, StaysWhenTlsIsRefused) {
    const Observed seen =
        observe(Protocol::Imap, greetedThen({client("a2 STARTTLS\r\n"), server("a2 BAD Not here\r\n")}));
    EXPECT_EQ(seen.facts.tls, "");
    EXPECT_FALSE(seen.opaque);
    EXPECT_TRUE(seen.interruptible);
}

TEST(ImapFilter, DetachesFromASessionThatBeginsLoggedIn) {
    const Observed seen = observe(Protocol::Imap, {server("* PREAUTH [CAPABILITY IMAP4rev1] Welcome\r\n")});
    EXPECT_TRUE(seen.facts.greeted);
    EXPECT_TRUE(seen.opaque);
}

TEST(ImapFilter, SeesARefusingGreeting) {
    const Observed seen = observe(Protocol::Imap, {server("* BYE [UNAVAILABLE] Later\r\n")});
    EXPECT_FALSE(seen.facts.greeted);
    EXPECT_TRUE(seen.facts.goodbye);
}

TEST(ImapFilter, FindsALiteralAtTheEndOfAnOverlongLine) {
    const Observed seen = observe(
        Protocol::Imap,
        greetedThen({client("a1 ID (\"" + std::string(3000, 'x') + "\" {11+}\r\na9 LOGOUT\r\n)\r\n"),
                     server("* ID (\"" + std::string(3000, 'x') + "\" {7}\r\na2 OK\r\n)\r\na1 OK\r\n")}));
    EXPECT_FALSE(seen.facts.quit);
    EXPECT_TRUE(seen.at_boundary);
    EXPECT_TRUE(seen.interruptible);
}

TEST(ImapFilter, GivesUpOnWhatItCannotHold) {
    EXPECT_TRUE(observe(Protocol::Imap, greetedThen({client("a1 ID {99999999999999999999+}\r\n")})).opaque);
    EXPECT_TRUE(
        observe(Protocol::Imap, greetedThen({client(std::string(200, 't') + " LOGIN alice wonderland\r\n")}))
            .opaque);
    std::string logins;
    for (int number = 0; number < 17; ++number)
        logins += "a LOGIN alice wonderland\r\n";
    EXPECT_TRUE(observe(Protocol::Imap, greetedThen({client(logins)})).opaque);
}

TEST(ImapFilter, CutsALongName) {
    for (const char* form : {"a1 LOGIN %s wonderland\r\n", "a1 LOGIN \"%s\" wonderland\r\n",
                             "a1 LOGIN {600+}\r\n%s wonderland\r\n"}) {
        std::string command(form);
        command.replace(command.find("%s"), 2, std::string(600, 'u'));
        const Observed seen = observe(Protocol::Imap, greetedThen({client(command)}));
        EXPECT_EQ(seen.facts.user, std::string(kMaxNameBytes, 'u')) << form;
    }
}

TEST(ImapFilter, KnowsWhereALineMayBePutIn) {
    test::Player player(Protocol::Imap);
    const auto hear = [&player](std::string_view bytes) {
        player.play(Side::Server, bytes);
        return player.filter().serverAtBoundary();
    };
    EXPECT_TRUE(player.filter().serverAtBoundary());
    EXPECT_FALSE(hear("* OK"));
    EXPECT_TRUE(hear(" ready\r\n"));
    player.play(Side::Client, "a1 ID NIL\r\n");
    EXPECT_FALSE(player.filter().interruptible());
    EXPECT_FALSE(hear("* ID (\"name\" {4}\r\n"));
    EXPECT_FALSE(hear("ab\r\n"));
    EXPECT_FALSE(hear(")\r"));
    EXPECT_TRUE(hear("\n"));
    EXPECT_FALSE(player.filter().interruptible());
    EXPECT_TRUE(hear("a1 OK Done\r\n"));
    EXPECT_TRUE(player.filter().interruptible());
}

TEST(ImapFilter, IsSmall) {
    EXPECT_LE(sizeof(ImapFilter), 512U);
}

}  // namespace
}  // namespace mailgate
