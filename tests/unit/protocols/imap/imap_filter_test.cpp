// SPDX-License-Identifier: Apache-2.0
#include "protocols/imap/imap_filter.h"

#include "protocols/imap/imap_protocol.h"
#include "tests/support/filtered.h"

namespace mailgate {
namespace {

using namespace test;

const std::string kRefused = " BAD Command not understood and not passed on.\r\n";

Turns greetedThen(const Turns& rest) {
    return after({server("* OK [CAPABILITY IMAP4rev1 SASL-IR LOGINDISABLED] Dovecot ready.\r\n")}, rest);
}

class ImapFilterLogin : public ::testing::TestWithParam<LoginCase> {};

TEST_P(ImapFilterLogin, ShowsTheUserAndNeverTheSecret) {
    Turns turns = greetedThen(GetParam().turns);
    turns.push_back(server("* CAPABILITY IMAP4rev1\r\na1 OK Logged in\r\n* 1 EXISTS\r\n"));
    turns.push_back(client("a2 LOGIN mallory wonderland\r\n"));
    const Observed seen = observe(imap::kImap, turns);
    expectLogin(seen, GetParam());
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
        LoginCase{"CramMd5",
                  {client("a1 AUTHENTICATE cram-md5\r\n"), server("+ PDE+\r\n"),
                   client("YWxpY2UgMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\r\n")}},
        LoginCase{"Scram",
                  {client("a1 AUTHENTICATE SCRAM-SHA-256\r\n"), server("+ \r\n"),
                   client("biwsbj1hbGljZSxyPWZ5a28rZDJsYmJGZ09OUnY5cWt4ZGF3TA==\r\n"), server("+ cj0x\r\n"),
                   client("d29uZGVybGFuZA==\r\n")}},
        LoginCase{"ScramForAnother",
                  {client("a1 AUTHENTICATE SCRAM-SHA-1-PLUS eSxhPWJvYixuPWFsPTJDaWNlLHI9Znlrbw==\r\n"),
                   server("+ cj0x\r\n"), client("d29uZGVybGFuZA==\r\n")},
                  "al,ice"},
        LoginCase{"UnknownMechanism",
                  {client("a1 AUTHENTICATE GSSAPI\r\n"), server("+ \r\n"), client("biwsbj1hbGljZQ==\r\n"),
                   server("+ cj0x\r\n"), client("d29uZGVybGFuZA==\r\n")},
                  ""},
        LoginCase{"AfterAFailure",
                  {client("a0 LOGIN mallory wonderland\r\n"), server("a0 NO [AUTHENTICATIONFAILED] No\r\n"),
                   client("a1 LOGIN alice wonderland\r\n")}},
        LoginCase{"BeforeAPipelinedOne",
                  {client("a1 LOGIN alice wonderland\r\na3 LOGIN mallory wonderland\r\n")}}),
    [](const auto& info) { return info.param.name; });

TEST(ImapFilter, GoesOnAfterARefusedLogin) {
    const Observed seen = observe(
        imap::kImap,
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
    const Observed seen =
        observe(imap::kImap, greetedThen({client("a1 LOGIN {500}\r\n"),
                                          server("a1 BAD Literal too large\r\n"), client("a2 LOGOUT\r\n")}));
    EXPECT_TRUE(seen.facts.quit);
    EXPECT_FALSE(seen.opaque);
    EXPECT_FALSE(seen.interruptible);
    EXPECT_EQ(seen.facts.failed_logins, 0U);
}

TEST(ImapFilter, RefusesALiteralThatIsTooLongToWaitFor) {
    const Observed seen = observe(imap::kImap, greetedThen({client("a1 LOGIN {5000000}\r\na2 LOGOUT\r\n")}));
    EXPECT_EQ(seen.sent[kServer], "a2 LOGOUT\r\n");
    EXPECT_NE(seen.sent[kClient].find("a1 BAD "), std::string::npos);
    EXPECT_EQ(observe(imap::kImap, greetedThen({client("a1 LOGIN {5000000+}\r\na2 LOGOUT\r\n")})).violation,
              Violation::TooLong);
}

// The literal that came ahead was not sent yet: its bytes are commands for the server, and for the log.
TEST(ImapFilter, TakesForCommandsWhatFollowsARefusedLiteral) {
    const Observed seen =
        observe(imap::kImap, greetedThen({client("a1 LOGIN {26}\r\na2 LOGIN mallory wrong\r\n"),
                                          server("a1 BAD No literals\r\n"), server("a2 NO Wrong\r\n")}));
    EXPECT_EQ(seen.facts.user, "mallory");
    EXPECT_EQ(seen.facts.failed_logins, 1U);
}

TEST(ImapFilter, TakesNoNameFromAnUnclosedString) {
    const Observed seen = observe(imap::kImap, greetedThen({client("a1 LOGIN \"alice wonderland\r\n")}));
    EXPECT_EQ(seen.facts.user, "");
}

TEST(ImapFilter, SkipsLiteralsInBothDirections) {
    const Observed seen =
        observe(imap::kImap, greetedThen({client("a1 ID (\"name\" {24+}\r\na9 LOGOUT\r\na8 LOGOUT\r\n)\r\n"),
                                          server("* ID (\"name\" {20}\r\na1 OK x\r\n* BYE yyy\r\n "
                                                 "{3}\r\nabc)\r\n* OK text {5}\r\na1 OK Done\r\n"),
                                          client("a2 STARTTLS\r\n"), server("a2 OK Begin\r\n")}));
    EXPECT_FALSE(seen.facts.quit);
    EXPECT_FALSE(seen.facts.goodbye);
    EXPECT_EQ(seen.facts.tls, TlsBegin::StartTls);
    EXPECT_TRUE(seen.opaque);
}

TEST(ImapFilter, StaysWhenTlsIsRefused) {
    const Observed seen =
        observe(imap::kImap, greetedThen({client("a2 STARTTLS\r\n"), server("a2 BAD Not here\r\n")}));
    EXPECT_EQ(seen.facts.tls, TlsBegin::None);
    EXPECT_FALSE(seen.opaque);
    EXPECT_TRUE(seen.interruptible);
}

TEST(ImapFilter, DetachesFromASessionThatBeginsLoggedIn) {
    const Observed seen = observe(imap::kImap, {server("* PREAUTH [CAPABILITY IMAP4rev1] Welcome\r\n")});
    EXPECT_TRUE(seen.facts.greeted);
    EXPECT_TRUE(seen.opaque);
}

TEST(ImapFilter, SeesARefusingGreeting) {
    const Observed seen = observe(imap::kImap, {server("* BYE [UNAVAILABLE] Later\r\n")});
    EXPECT_FALSE(seen.facts.greeted);
    EXPECT_TRUE(seen.facts.goodbye);
}

TEST(ImapFilter, FindsALiteralAtTheEndOfAnOverlongLine) {
    const Observed seen = observe(
        imap::kImap,
        greetedThen({client("a1 ID (\"" + std::string(3000, 'x') + "\" {11+}\r\na9 LOGOUT\r\n)\r\n"),
                     server("* ID (\"" + std::string(3000, 'x') + "\" {7}\r\na2 OK\r\n)\r\na1 OK\r\n")}));
    EXPECT_FALSE(seen.facts.quit);
    EXPECT_TRUE(seen.at_boundary);
    EXPECT_TRUE(seen.interruptible);
}

TEST(ImapFilter, EndsWhatItCannotHold) {
    const auto violation = [](std::string bytes) {
        return observe(imap::kImap, greetedThen({client(std::move(bytes))})).violation;
    };
    EXPECT_EQ(violation("a1 ID {99999999999999999999+}\r\n"), Violation::TooLong);
    EXPECT_EQ(violation("a1 ID (\"a\" {9000+}\r\n"), Violation::TooLong);
    EXPECT_EQ(violation(std::string("a1 NOOP\0\r\n", 10)), Violation::BadCommand);
    EXPECT_EQ(violation(std::string("a1 LOGIN {2+}\r\na\0 x\r\n", 21)), Violation::BadCommand);
}

TEST(ImapFilter, BoundsLines) {
    const auto passed = [](const std::string& line) {
        test::Player player(imap::kImap);
        player.play(Side::Server, "* OK\r\n");
        player.play(Side::Client, line);
        return player.filter().violation() == Violation::TooLong ? "too long" : player.passed();
    };
    const auto login = [](std::size_t size) { return "a LOGIN " + std::string(size - 8, 'x'); };
    EXPECT_EQ(passed(login(8192) + "\r\n"), login(8192) + "\r\n");
    EXPECT_EQ(passed(login(8193) + "\r\n"), "too long");
    EXPECT_EQ(passed(login(8194)), "too long");
    const std::string token = "a AUTHENTICATE XOAUTH2 " + std::string(12000, 'A') + "\r\n";
    EXPECT_EQ(passed(token), token);
    std::string pieces;
    for (int piece = 0; piece < 200; ++piece)
        pieces += " {100+}\r\n" + std::string(100, 'x');
    EXPECT_EQ(passed("a ID (" + pieces + ")\r\n"), "too long");
}

TEST(ImapFilter, ServersMayNotBeEndless) {
    test::Player player(imap::kImap);
    player.play(Side::Server, "* OK " + std::string(17000, 'x') + "\r\n");
    EXPECT_EQ(player.filter().violation(), Violation::UnexpectedReply);
    EXPECT_EQ(player.sent(Side::Client), "");
}

struct RefusedCase {
    const char* name;
    std::string line;
    std::string tag = "a";
};

class ImapFilterRefuses : public ::testing::TestWithParam<RefusedCase> {};

TEST_P(ImapFilterRefuses, WhatNoGrammarAllows) {
    const Observed seen =
        observe(imap::kImap, greetedThen({client(GetParam().line + "\r\nb LOGIN alice wonderland\r\n"),
                                          server("b NO [AUTHENTICATIONFAILED] No\r\n")}));
    EXPECT_EQ(seen.sent[kServer], "b LOGIN alice wonderland\r\n");
    EXPECT_NE(seen.sent[kClient].find("\r\n" + GetParam().tag + kRefused), std::string::npos)
        << seen.sent[kClient];
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_EQ(seen.facts.failed_users, std::vector<std::string>{"alice"});
    expectAbsent(seen, "secret");
}

INSTANTIATE_TEST_SUITE_P(Forms, ImapFilterRefuses,
                         ::testing::Values(RefusedCase{"OpenString", "a LOGIN victim \"secret"},
                                           RefusedCase{"LiteralInAnOpenString", "a LOGIN victim \"pw{27+}"},
                                           RefusedCase{"EscapedEnd", "a LOGIN victim \"pw\\\""},
                                           RefusedCase{"LiteralInAWord", "a LOGIN victim pw{27+}"},
                                           RefusedCase{"StringInAWord", "a LOGIN victim\"secret\""},
                                           RefusedCase{"WordBehindAString", "a LOGIN \"victim\"secret"},
                                           RefusedCase{"ListInAWord", "a LOGIN victim x(\"secret\""},
                                           RefusedCase{"NoNumber", "a LOGIN {}"},
                                           RefusedCase{"Minus", "a LOGIN {5-}"},
                                           RefusedCase{"Tab", "a LOGIN victim\tsecret"},
                                           RefusedCase{"TabForSpace", "a\tLOGIN x y", "*"},
                                           RefusedCase{"TwoSpaces", "a  LOGIN victim secret"},
                                           RefusedCase{"SpaceFirst", " a LOGIN victim secret", "*"},
                                           RefusedCase{"ReturnInALine", "a NOOP\ra LOGIN victim secret"},
                                           RefusedCase{"ReturnInAString", "a LOGIN victim \"se\rcret\""},
                                           RefusedCase{"Nothing", "", "*"}, RefusedCase{"TagAlone", "a"},
                                           RefusedCase{"Star", "* LOGIN victim secret", "*"},
                                           RefusedCase{"Plus", "+ OK", "*"},
                                           RefusedCase{"LongTag", std::string(129, 't') + " NOOP", "*"},
                                           RefusedCase{"MechanismInALiteral", "a AUTHENTICATE {5}"}),
                         [](const auto& info) { return info.param.name; });

TEST(ImapFilter, SendsNoLiteralUnaskedThatAServerMightReadAsCommands) {
    // Dovecot gives up a line in which it finds fault, and goes on with what follows.
    const std::string literal = "{21+}\r\nb LOGIN alice guess\r\n\r\n";
    for (const std::string line :
         {"NOOP ", "NOOP ) ", "FOO ", "LOGIN x) ", "LOGIN (", "LOGIN \xc3\xa9 ", "LOGIN x%y ", "LOGIN x  ",
          "ID ", "ID x ", "ID (\"a\") ", "ID (x ", "ID (\"a\" (", "CAPABILITY ", "LOGOUT ", "STARTTLS "}) {
        const Observed seen = observe(
            imap::kImap, greetedThen({client("a " + line + literal + "b NOOP\r\n"), server("b OK\r\n")}));
        EXPECT_EQ(seen.sent[kServer], "b NOOP\r\n") << line;
        EXPECT_NE(seen.sent[kClient].find("\r\na" + kRefused), std::string::npos) << line;
        EXPECT_EQ(seen.facts.user, "") << line;
    }
    for (const std::string rest : {"x) ", " x) ", " (", " \xe9 "}) {
        const Observed seen = observe(imap::kImap, greetedThen({client("a LOGIN {1}\r\n"), server("+ OK\r\n"),
                                                                client("x" + rest + literal)}));
        EXPECT_EQ(seen.violation, Violation::BadCommand) << rest;
        EXPECT_EQ(seen.sent[kServer], "a LOGIN {1}\r\n") << rest;
    }
}

TEST(ImapFilter, SendsLiteralsUnaskedThatNoServerMistakes) {
    for (const std::string command :
         {"a LOGIN \"j\xc3\xbcrgen\" {5+}\r\nx y z\r\n", "a LOGIN al]ice {0+}\r\n\r\n",
          "a LOGIN {5+}\r\nalice \"x\\\"y\"\r\n", "a ID (\"name\" {3+}\r\nfoo)\r\n",
          "a ID ({4+}\r\nname {3+}\r\nfoo)\r\n"}) {
        EXPECT_EQ(observe(imap::kImap, greetedThen({client(command)})).sent[kServer], command);
    }
}

TEST(ImapFilter, RefusesAMechanismInQuotes) {
    const Observed seen =
        observe(imap::kImap, greetedThen({client("a AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHg=\"\r\n")}));
    EXPECT_EQ(seen.sent[kServer], "");
    EXPECT_EQ(seen.facts.user, "");
}

TEST(ImapFilter, RefusesWhenItIsItsTurn) {
    const Observed seen = observe(imap::kImap, greetedThen({client("a NOOP\r\nb LOGIN \"x\r\nc NOOP\r\n"),
                                                            server("a OK\r\n"), server("c OK\r\n")}));
    EXPECT_TRUE(seen.sent[kClient].ends_with("\r\na OK\r\nb" + kRefused + "c OK\r\n"));
    EXPECT_EQ(seen.sent[kServer], "a NOOP\r\nc NOOP\r\n");
}

TEST(ImapFilter, DoesNotTalkForEver) {
    std::string lines;
    for (int line = 0; line < 11; ++line)
        lines += "\r\n";
    EXPECT_EQ(observe(imap::kImap, greetedThen({client(lines)})).violation, Violation::BadCommand);
}

TEST(ImapFilter, EndsWhenWhatTheServerWaitsForIsBroken) {
    for (const char* rest : {"alice \"secret\r\n", "alicesecret\r\n", "alice {3\r\n"}) {
        EXPECT_EQ(
            observe(imap::kImap, greetedThen({client("a LOGIN {5}\r\n"), server("+ OK\r\n"), client(rest)}))
                .violation,
            Violation::BadCommand)
            << rest;
    }
}

TEST(ImapFilter, EndsLinesForEveryServerAlike) {
    const Observed seen =
        observe(imap::kImap,
                greetedThen({client("a NOOP\nb LOGIN {5}\n"), server("+ OK\r\n"), client("alice secret\n")}));
    EXPECT_EQ(seen.sent[kServer], "a NOOP\r\nb LOGIN {5}\r\nalice secret\r\n");
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_EQ(observe(imap::kImap, greetedThen({client("b LOGIN {5+}\nalice secret\r\n")})).violation,
              Violation::BadCommand);
}

TEST(ImapFilter, MatchesRepliesToCommandsOfAnyKind) {
    const Observed seen = observe(
        imap::kImap, greetedThen({client("a NOOP\r\na LOGIN ceo x\r\n"), server("a OK NOOP completed\r\n"),
                                  server("a NO [AUTHENTICATIONFAILED] No\r\n"),
                                  client("c LOGIN victim w3\r\n"), server("c NO No\r\n")}));
    EXPECT_EQ(seen.facts.authenticated, false);
    EXPECT_FALSE(seen.opaque);
    EXPECT_EQ(seen.facts.failed_logins, 2U);
    EXPECT_EQ(seen.facts.failed_users, (std::vector<std::string>{"ceo", "victim"}));
}

TEST(ImapFilter, EndsOnAReplyThatNothingExplains) {
    for (const Turns& turns :
         {Turns{server("a OK Logged in\r\n")}, Turns{client("a NOOP\r\n"), server("A OK\r\n")},
          Turns{client("a NOOP\r\n"), server("a FINE\r\n")},
          Turns{client("a NOOP\r\n"), server("+ go on\r\n")}, Turns{server("+ go on\r\n")},
          Turns{client("a LOGIN {5}\r\n"), server("a OK Logged in\r\n")},
          Turns{client("a LOGIN {5}\r\n"), server("+ OK\r\n"), server("a NO\r\n")},
          Turns{client("a LOGIN {5}\r\n"), server("+ OK\r\n"), server("+ again\r\n")},
          Turns{client("a AUTHENTICATE PLAIN\r\n"), server("+ \r\n"), server("+ again\r\n")}}) {
        const Observed seen = observe(imap::kImap, greetedThen(turns));
        EXPECT_EQ(seen.violation, Violation::UnexpectedReply) << turns.back().bytes;
        EXPECT_FALSE(seen.sent[kClient].ends_with(turns.back().bytes));
        EXPECT_FALSE(seen.facts.authenticated);
    }
    EXPECT_EQ(observe(imap::kImap, {server("220 SMTP\r\n")}).violation, Violation::UnexpectedReply);
}

TEST(ImapFilter, TakesForAResponseOnlyWhatTheServerAskedFor) {
    const Observed seen =
        observe(imap::kImap,
                greetedThen({client("a AUTHENTICATE NOSUCH\r\nb LOGIN alice wonderland\r\n"),
                             server("a NO Unsupported authentication mechanism.\r\n"), server("b OK\r\n")}));
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_EQ(seen.facts.authenticated, true);
    EXPECT_EQ(seen.facts.failed_logins, 0U);
}

TEST(ImapFilter, SendsNothingPastALoginBeforeItsAnswer) {
    test::Player player(imap::kImap);
    player.play(Side::Server, "* OK\r\n");
    for (const char* command :
         {"a LOGIN alice x\r\n", "b AUTHENTICATE PLAIN\r\n", "c STARTTLS\r\n", "d LOGIN {1}\r\n"}) {
        player.play(Side::Client, std::string(command) + "x NOOP\r\n");
        EXPECT_TRUE(player.passed().ends_with(command));
        EXPECT_FALSE(player.filter().interruptible());
        player.play(Side::Server, std::string(1, command[0]) + " NO\r\n");
        EXPECT_TRUE(player.passed().ends_with("x NOOP\r\n"));
        player.play(Side::Server, "x OK\r\n");
        EXPECT_TRUE(player.filter().interruptible());
    }
}

TEST(ImapFilter, BoundsWhatIsInFlight) {
    test::Player player(imap::kImap);
    player.play(Side::Server, "* OK\r\n");
    for (int number = 0; number < 100; ++number)
        player.play(Side::Client, "t" + std::to_string(number) + " NOOP\r\n");
    EXPECT_TRUE(player.passed().ends_with("t31 NOOP\r\n"));
    player.play(Side::Server, "t5 OK\r\n");
    EXPECT_TRUE(player.passed().ends_with("t32 NOOP\r\n"));
}

TEST(ImapFilter, CountsNoFailedLoginWhereThePasswordWasNotJudged) {
    const auto after = [](const Turns& turns) {
        Turns all{client("z LOGIN bob wrong\r\n"), server("z NO [AUTHENTICATIONFAILED] No\r\n")};
        all.insert(all.end(), turns.begin(), turns.end());
        return observe(imap::kImap, greetedThen(all)).facts;
    };
    for (const char* code : {"UNAVAILABLE", "PRIVACYREQUIRED", "INUSE", "LIMIT", "CONTACTADMIN", "SERVERBUG",
                             "REFERRAL imap://alice@mx2.example.net/"}) {
        const SessionFacts facts =
            after({client("a LOGIN alice right\r\n"), server("a NO [" + std::string(code) + "] Later\r\n")});
        EXPECT_EQ(facts.authenticated, std::nullopt) << code;
        EXPECT_EQ(facts.failed_logins, 1U) << code;
        EXPECT_EQ(facts.user, "alice");
    }
    EXPECT_EQ(after({client("a LOGIN alice\r\n"), server("a BAD Arguments\r\n")}).failed_logins, 1U);
    EXPECT_EQ(
        after({client("a AUTHENTICATE LOGIN\r\n"), server("+ \r\n"), client("*\r\n"), server("a NO\r\n")})
            .failed_logins,
        1U);
    EXPECT_EQ(after({client("a LOGIN alice wrong\r\n"), server("a NO [EXPIRED] No\r\n")}).failed_logins, 2U);
    const SessionFacts good = after({client("a LOGIN alice right\r\n"), server("a OK\r\n")});
    EXPECT_EQ(good.failed_users, std::vector<std::string>{"bob"});
    EXPECT_EQ(good.user, "alice");
    EXPECT_EQ(good.authenticated, true);
}

TEST(ImapFilter, KeepsTheFirstNamesThatFailed) {
    Turns turns;
    for (const char* name : {"u1", "u2", "u1", "u3", "u4", "u5", "u6"}) {
        turns.push_back(client(std::string("a LOGIN ") + name + " x\r\n"));
        turns.push_back(server("a NO No\r\n"));
    }
    const SessionFacts facts = observe(imap::kImap, greetedThen(turns)).facts;
    EXPECT_EQ(facts.failed_users, (std::vector<std::string>{"u1", "u2", "u3", "u4", "u5"}));
    EXPECT_EQ(facts.failed_logins, 7U);
}

TEST(ImapFilter, TakesNoPasswordInTheNamesPlace) {
    // alice NUL secret NUL
    const Observed seen = observe(
        imap::kImap,
        greetedThen({client("a AUTHENTICATE PLAIN YWxpY2UAc2VjcmV0AA==\r\n"), server("a NO No\r\n")}));
    EXPECT_EQ(seen.facts.user, "");
    EXPECT_EQ(seen.facts.failed_logins, 1U);
}

class ImapFilterId : public ::testing::TestWithParam<const char*> {};

TEST_P(ImapFilterId, NamesNoClientWhereTheServerMayBelieveIt) {
    const Turns turns =
        greetedThen({client(GetParam()), server("+ OK\r\n"), client("x-originating-ip NIL)\r\n")});
    const Observed seen = observe(imap::kImap, turns, ScreenConfig{.no_header = true});
    EXPECT_EQ(seen.violation, Violation::ForbiddenCommand);
    EXPECT_EQ(seen.sent[kServer].find("riginating"), std::string::npos);
    EXPECT_NE(observe(imap::kImap, turns).violation, Violation::ForbiddenCommand);
}

INSTANTIATE_TEST_SUITE_P(Forms, ImapFilterId,
                         ::testing::Values("a ID (\"x-originating-ip\" \"203.0.113.99\")\r\n",
                                           "a id (\"name\" \"x\" \"X-Originating-Port\" \"1\")\r\n",
                                           "a ID (\"x-connected-ip\" \"::1\")\r\n",
                                           "a ID (\"x-proxy-ttl\" \"1\")\r\n",
                                           "a ID (\"x-session-id\" \"1\")\r\n",
                                           "a ID (\"x-forward-a\" \"1\")\r\n",
                                           "a ID (\"x-orig\\inating-ip\" \"1\")\r\n",
                                           "a ID (\"name\" NIL {16+}\r\nx-originating-ip \"1\")\r\n",
                                           "a ID (\"name\" NIL {16}\r\n", "a ID ((x-originating-ip 1))\r\n"));

TEST(ImapFilter, TakesNoProxyHeaderForACommand) {
    for (const std::string& header : kHeaders)
        expectEndsAtHeader(observe(imap::kImap, greetedThen({client(header + "a NOOP\r\n")})));
    // As a tag, that word is as good as any other one, but where the server may wait for a header.
    const Turns tagged = greetedThen({client("PROXY NOOP\r\n")});
    EXPECT_FALSE(observe(imap::kImap, tagged).violation);
    EXPECT_EQ(observe(imap::kImap, tagged, ScreenConfig{.no_header = true}).violation,
              Violation::ProxyHeader);
}

TEST(ImapFilter, BelievesNoTlsBeforeTheServerSpeaksIt) {
    const std::string hello("\x16\x03\x01\x00\x04\x01\x00\x00\x00more", 13);
    const Observed tls = observe(imap::kImap, {client(hello), server("\x16\x03\x03")});
    EXPECT_EQ(tls.facts.tls, TlsBegin::Implicit);
    EXPECT_TRUE(tls.opaque);
    EXPECT_EQ(tls.sent[kServer], hello);

    const Observed clear = observe(imap::kImap, {client(hello), server("* OK ready\r\n")});
    EXPECT_EQ(clear.violation, Violation::BadCommand);
    EXPECT_EQ(clear.sent[kServer], hello.substr(0, 9));

    const Observed byte = observe(
        imap::kImap, {client("\x16\r\na LOGIN victim guess\r\n"), server("* OK\r\n"), server("a NO No\r\n")});
    EXPECT_EQ(byte.facts.tls, TlsBegin::None);
    EXPECT_EQ(byte.facts.failed_users, std::vector<std::string>{"victim"});
    EXPECT_EQ(byte.sent[kServer], "a LOGIN victim guess\r\n");
}

TEST(ImapFilter, CutsALongName) {
    for (const char* form : {"a1 LOGIN %s wonderland\r\n", "a1 LOGIN \"%s\" wonderland\r\n",
                             "a1 LOGIN {600+}\r\n%s wonderland\r\n"}) {
        std::string command(form);
        command.replace(command.find("%s"), 2, std::string(600, 'u'));
        const Observed seen = observe(imap::kImap, greetedThen({client(command)}));
        EXPECT_EQ(seen.facts.user, std::string(kMaxNameBytes, 'u')) << form;
    }
}

TEST(ImapFilter, KnowsWhereALineMayBePutIn) {
    test::Player player(imap::kImap);
    const auto hear = [&player](std::string_view bytes) {
        player.play(Side::Server, bytes);
        return player.filter().serverAtBoundary();
    };
    EXPECT_TRUE(player.filter().serverAtBoundary());
    // What is not whole has not gone on yet.
    EXPECT_TRUE(hear("* OK"));
    EXPECT_EQ(player.sent(Side::Client), "");
    EXPECT_TRUE(hear(" ready\r\n"));
    player.play(Side::Client, "a1 ID NIL\r\n");
    EXPECT_FALSE(player.filter().interruptible());
    EXPECT_TRUE(hear("* ID (\"name\" {4}\r\n"));
    EXPECT_TRUE(hear("ab\r\n"));
    EXPECT_TRUE(hear(")\r"));
    EXPECT_EQ(player.sent(Side::Client), "* OK ready\r\n");
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
