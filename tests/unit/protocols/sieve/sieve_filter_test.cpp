// SPDX-License-Identifier: Apache-2.0
#include "protocols/sieve/sieve_filter.h"

#include "protocols/sieve/sieve_protocol.h"
#include "tests/support/filtered.h"

namespace mailgate {
namespace {

using namespace test;

Turns greetedThen(const Turns& rest) {
    return after(
        {server(
            "\"IMPLEMENTATION\" \"Dovecot Pigeonhole\"\r\n\"SIEVE\" {8}\r\nfileinto\r\n\"STARTTLS\"\r\nOK "
            "\"ready.\"\r\n")},
        rest);
}

class SieveFilterLogin : public ::testing::TestWithParam<LoginCase> {};

TEST_P(SieveFilterLogin, ShowsTheUserAndNeverTheSecret) {
    Turns turns = greetedThen(GetParam().turns);
    turns.push_back(server("OK (SASL \"\") {9}\r\nLogged in\r\n"));
    turns.push_back(client("LOGOUT\r\n"));
    const Observed seen = observe(sieve::kSieve, turns);
    expectLogin(seen, GetParam());
    EXPECT_FALSE(seen.facts.quit);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, SieveFilterLogin,
    ::testing::Values(
        LoginCase{"PlainQuoted", {client("AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHdvbmRlcmxhbmQ=\"\r\n")}},
        LoginCase{"PlainLiteral", {client("Authenticate \"PLAIN\" {24+}\r\nAGFsaWNlAHdvbmRlcmxhbmQ=\r\n")}},
        LoginCase{"MechanismLiteral",
                  {client("AUTHENTICATE {5+}\r\nPLAIN {24+}\r\nAGFsaWNlAHdvbmRlcmxhbmQ=\r\n")}},
        LoginCase{"Prompted",
                  {client("AUTHENTICATE \"PLAIN\"\r\n"), server("\"\"\r\n"),
                   client("\"AGFsaWNlAHdvbmRlcmxhbmQ=\"\r\n")}},
        LoginCase{"Login",
                  {client("AUTHENTICATE \"LOGIN\"\r\n"), server("{12}\r\nVXNlcm5hbWU6\r\n"),
                   client("{8+}\r\nYWxpY2U=\r\n"), server("\"UGFzc3dvcmQ6\"\r\n"),
                   client("\"d29uZGVybGFuZA==\"\r\n")}},
        LoginCase{
            "OauthBearer",
            {client(
                "AUTHENTICATE \"OAUTHBEARER\" \"bixhPWFsaWNlLAFhdXRoPUJlYXJlciB3b25kZXJsYW5kAQE=\"\r\n")}},
        LoginCase{"UnknownMechanism",
                  {client("AUTHENTICATE \"GSSAPI\" \"biwsbj1hbGljZQ==\"\r\n"), server("\"cj0x\"\r\n"),
                   client("\"d29uZGVybGFuZA==\"\r\n")},
                  ""},
        LoginCase{"AfterAFailure",
                  {client("AUTHENTICATE \"PLAIN\" \"AG1hbGxvcnkAd29uZGVybGFuZA==\"\r\n"),
                   server("NO \"Authentication failed.\"\r\n"),
                   client("AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHdvbmRlcmxhbmQ=\"\r\n")}}),
    [](const auto& info) { return info.param.name; });

TEST(SieveFilter, GoesOnAfterARefusedLogin) {
    const Observed seen =
        observe(sieve::kSieve,
                greetedThen({client("AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHdvbmRlcmxhbmQ=\"\r\n"),
                             server("NO \"Authentication failed.\"\r\n"), client("CAPABILITY\r\nLOGOUT\r\n"),
                             server("\"SIEVE\" \"x\"\r\nOK\r\nOK \"Bye\"\r\n")}));
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_NE(seen.facts.authenticated, true);
    EXPECT_TRUE(seen.facts.quit);
    EXPECT_TRUE(seen.facts.goodbye);
    EXPECT_FALSE(seen.opaque);
    EXPECT_TRUE(seen.interruptible);
}

TEST(SieveFilter, DetachesWhenTlsStarts) {
    const Observed seen =
        observe(sieve::kSieve, greetedThen({client("STARTTLS\r\n"), server("OK {5}\r\nBegin\r\n")}));
    EXPECT_EQ(seen.facts.tls, TlsBegin::StartTls);
    EXPECT_TRUE(seen.opaque);
}

TEST(SieveFilter, SkipsLiteralsOfTheClient) {
    const Observed seen =
        observe(sieve::kSieve, greetedThen({client("NOOP {8+}\r\nLOGOUT\r\n\r\nNOOP {6+}\r\nLOGOUT\r\n"),
                                            server("NO\r\nOK (TAG {6}\r\nLOGOUT) \"Done\"\r\n")}));
    EXPECT_FALSE(seen.facts.quit);
    EXPECT_TRUE(seen.interruptible);
}

TEST(SieveFilter, SeesTheServersFarewell) {
    const Observed seen = observe(sieve::kSieve, greetedThen({server("BYE (TRYLATER) \"Later\"\r\n")}));
    EXPECT_TRUE(seen.facts.greeted);
    EXPECT_TRUE(seen.facts.goodbye);
    EXPECT_FALSE(observe(sieve::kSieve, {server("BYE \"No\"\r\n")}).facts.greeted);
}

TEST(SieveFilter, EndsOnAReplyThatNothingExplains) {
    for (const Turns& turns :
         {Turns{server("OK \"Nobody asked\"\r\n")}, Turns{server("NO\r\n")}, Turns{server("\"SIEVE\"\r\n")},
          Turns{server("+OK\r\n")}, Turns{client("NOOP\r\n"), server("FINE\r\n")},
          Turns{client("AUTHENTICATE \"PLAIN\"\r\n"), server("\"\"\r\n"), server("\"x\"\r\n")}}) {
        const Observed seen = observe(sieve::kSieve, greetedThen(turns));
        EXPECT_EQ(seen.violation, Violation::UnexpectedReply) << turns.back().bytes;
        EXPECT_FALSE(seen.sent[kClient].ends_with(turns.back().bytes));
    }
}

TEST(SieveFilter, EndsWhatItCannotHold) {
    const auto violation = [](std::string bytes) {
        return observe(sieve::kSieve, greetedThen({client(std::move(bytes))})).violation;
    };
    EXPECT_EQ(violation("NOOP {99999999999999999999+}\r\n"), Violation::TooLong);
    EXPECT_EQ(violation("NOOP {9000+}\r\n"), Violation::TooLong);
    EXPECT_EQ(violation(std::string("NOOP \"\0\"\r\n", 10)), Violation::BadCommand);
}

TEST(SieveFilter, RefusesWhatNoGrammarAllows) {
    for (const char* line : {"", " NOOP", "NOOP \"secret", "NOOP \"x{3+}", "NOOP x{3+}", "NOOP ({3+}",
                             "NOOP {5}", "NOOP\t", "\x16", "NO\rLOGOUT", "\"NOOP\""}) {
        const Observed seen = observe(
            sieve::kSieve, greetedThen({client(std::string(line) + "\r\nCAPABILITY\r\n"), server("OK\r\n")}));
        EXPECT_EQ(seen.sent[kServer], "CAPABILITY\r\n") << line;
        EXPECT_NE(seen.sent[kClient].find("NO \"Command not understood"), std::string::npos);
    }
    EXPECT_EQ(observe(sieve::kSieve, greetedThen({client("AUTHENTICATE \"PLAIN\"\r\n"), server("\"\"\r\n"),
                                                  client("\"secret\r\n")}))
                  .violation,
              Violation::BadCommand);
}

TEST(SieveFilter, SendsNoLiteralThatAServerMightReadAsCommands) {
    // Dovecot reads no arguments of commands that are not for now, and gives up those in which it finds fault.
    const std::string guess = "AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHg=\"\r\n";
    const std::string literal = "{" + std::to_string(guess.size()) + "+}\r\n" + guess + "\r\n";
    for (const std::string command :
         {"PUTSCRIPT \"x\" ", "CHECKSCRIPT ", "CAPABILITY ", "NOOP ( ", "NOOP ) ", "NOOP x ",
          "NOOP \"\xff\" ", "NOOP \"\\x\" ", "NOOP \"x\" ", "NOOP  ", "AUTHENTICATE PLAIN ",
          "AUTHENTICATE \"PLAIN\" x ", "AUTHENTICATE \"PLAIN\" \"=\" "}) {
        const Observed seen =
            observe(sieve::kSieve, greetedThen({client(command + literal + "NOOP\r\n"), server("OK\r\n")}));
        EXPECT_EQ(seen.sent[kServer], "NOOP\r\n") << command;
        EXPECT_EQ(seen.facts.user, "") << command;
    }
    for (const std::string response : {"x ", "( ", "\"x\" "}) {
        const Observed seen =
            observe(sieve::kSieve, greetedThen({client("AUTHENTICATE \"PLAIN\"\r\n"), server("\"\"\r\n"),
                                                client(response + literal)}));
        EXPECT_EQ(seen.violation, Violation::BadCommand) << response;
    }
}

TEST(SieveFilter, TakesForAResponseOnlyWhatTheServerAskedFor) {
    const Observed seen = observe(
        sieve::kSieve,
        greetedThen(
            {client("AUTHENTICATE \"NOSUCH\"\r\nAUTHENTICATE \"PLAIN\" \"AGFsaWNlAHdvbmRlcmxhbmQ=\"\r\n"),
             server("NO \"Unsupported\"\r\n"), server("OK\r\n")}));
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_EQ(seen.facts.authenticated, true);
    EXPECT_EQ(seen.facts.failed_logins, 0U);
}

TEST(SieveFilter, MatchesRepliesByOrder) {
    const Observed seen = observe(
        sieve::kSieve,
        greetedThen({client("NOOP\r\nAUTHENTICATE \"PLAIN\" \"AGFsaWNlAHdvbmRlcmxhbmQ=\"\r\nNOOP\r\n"),
                     server("OK\r\n"), server("NO \"Authentication failed.\"\r\n"), server("OK\r\n")}));
    EXPECT_EQ(seen.facts.authenticated, false);
    EXPECT_EQ(seen.facts.failed_users, std::vector<std::string>{"alice"});
    EXPECT_FALSE(seen.opaque);
}

TEST(SieveFilter, CountsNoFailedLoginWhereThePasswordWasNotJudged) {
    for (const char* code :
         {"TRYLATER", "ENCRYPT-NEEDED", "QUOTA/MAXSIZE", "AUTH-TOO-WEAK", "TRANSITION-NEEDED"}) {
        const Observed seen = observe(
            sieve::kSieve, greetedThen({client("AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHdvbmRlcmxhbmQ=\"\r\n"),
                                        server("NO (" + std::string(code) + ") {5}\r\nLater\r\n")}));
        EXPECT_EQ(seen.facts.authenticated, std::nullopt) << code;
        EXPECT_EQ(seen.facts.failed_logins, 0U) << code;
    }
    EXPECT_EQ(observe(sieve::kSieve, greetedThen({client("AUTHENTICATE \"PLAIN\"\r\n"), server("\"\"\r\n"),
                                                  client("\"*\"\r\n"), server("NO \"Aborted\"\r\n")}))
                  .facts.failed_logins,
              0U);
}

TEST(SieveFilter, TellsNoServerWhoTheClientIs) {
    const ScreenConfig screen{.no_header = true};
    for (const char* line : {"XCLIENT \"ADDR=203.0.113.99\"\r\n", "xclient ADDR=x\r\n"}) {
        const Observed seen = observe(sieve::kSieve, greetedThen({client(line)}), screen);
        EXPECT_EQ(seen.violation, Violation::ForbiddenCommand);
        EXPECT_EQ(seen.sent[kServer], "");
        EXPECT_EQ(observe(sieve::kSieve, greetedThen({client(line)})).sent[kServer], line);
    }
    for (const char* offer : {"\"XCLIENT\" \"ADDR PORT\"\r\n", "{7}\r\nxclient {4}\r\nADDR\r\n"}) {
        const Observed seen =
            observe(sieve::kSieve, {server("\"SIEVE\" \"x\"\r\n" + std::string(offer) + "OK\r\n")}, screen);
        EXPECT_EQ(seen.sent[kClient], "\"SIEVE\" \"x\"\r\nOK\r\n");
    }
}

TEST(SieveFilter, TakesNoProxyHeaderForACommand) {
    for (const std::string& header : kHeaders)
        expectEndsAtHeader(observe(sieve::kSieve, greetedThen({client(header + "NOOP\r\n")})));
}

TEST(SieveFilter, KnowsWhereALineMayBePutIn) {
    test::Player player(sieve::kSieve);
    const auto hear = [&player](std::string_view bytes) {
        player.play(Side::Server, bytes);
        return player.filter().serverAtBoundary();
    };
    EXPECT_FALSE(hear("\"SIEVE\" \"x\"\r\n"));
    EXPECT_FALSE(hear("OK {3}\r\n"));
    EXPECT_FALSE(hear("abc"));
    EXPECT_TRUE(hear("\r\n"));
    player.play(Side::Client, "NOOP\r\n");
    EXPECT_TRUE(player.filter().serverAtBoundary());
    EXPECT_FALSE(player.filter().interruptible());
    EXPECT_TRUE(hear("OK\r\n"));
    EXPECT_TRUE(player.filter().interruptible());
}

TEST(SieveFilter, IsSmall) {
    EXPECT_LE(sizeof(SieveFilter), 512U);
}

}  // namespace
}  // namespace mailgate
