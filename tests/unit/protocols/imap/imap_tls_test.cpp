// SPDX-License-Identifier: Apache-2.0
// IMAP where TLS ends at the gateway; each dialogue is split at every byte.
#include "protocols/imap/imap_filter.h"
#include "protocols/imap/imap_protocol.h"
#include "tests/support/filtered.h"
#include "tests/support/tls_policies.h"

namespace mailgate {
namespace {

using namespace test;

// As Dovecot 2.3 lists them, without and with disable_plaintext_auth; and a mechanism that binds the channel.
const std::string kOpen =
    "* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN AUTH=LOGIN "
    "AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS] Dovecot ready.\r\n";
const std::string kClosed =
    "* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS LOGINDISABLED] "
    "Dovecot ready.\r\n";

std::string listed(const std::string& words) {
    return "* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+" + words +
           "] Dovecot ready.\r\n";
}
std::string clientGets(const Turns& turns, const ScreenConfig& screen) {
    return observe(imap::kImap, turns, screen).sent[kClient];
}

struct Listing {
    const char* name;
    const ScreenConfig* screen;
    std::string from_server;
    std::string to_client;
};

class ImapCapabilities : public ::testing::TestWithParam<Listing> {};

TEST_P(ImapCapabilities, AreEditedInTheGreeting) {
    EXPECT_EQ(clientGets({server(GetParam().from_server)}, *GetParam().screen), GetParam().to_client);
}

INSTANTIATE_TEST_SUITE_P(
    Greetings, ImapCapabilities,
    ::testing::Values(
        Listing{"Offered", &kOffered, kOpen, listed(" AUTH=PLAIN AUTH=LOGIN AUTH=SCRAM-SHA-256 STARTTLS")},
        Listing{"OfferedAlready", &kOffered, kClosed, kClosed},
        Listing{"Required", &kRequired, kOpen, listed(" STARTTLS LOGINDISABLED")},
        Listing{"RequiredAlready", &kRequired, kClosed, kClosed},
        Listing{"Mirror", &kMirror, kOpen, listed(" AUTH=PLAIN AUTH=LOGIN AUTH=SCRAM-SHA-256")},
        Listing{"Within", &kWithin, kClosed, listed("")},
        Listing{"WithinBinds", &kWithin, kOpen, listed(" AUTH=PLAIN AUTH=LOGIN AUTH=SCRAM-SHA-256")},
        Listing{"ToServer", &kToServer, kOpen, listed(" AUTH=PLAIN AUTH=LOGIN AUTH=SCRAM-SHA-256")},
        Listing{"ToServerClosed", &kToServer, kClosed, listed(" LOGINDISABLED")},
        Listing{"AnyCase", &kWithin,
                "* ok [capability imap4rev1 starttls auth=x-plus logindisabled idle] hi\n",
                "* ok [capability imap4rev1 idle] hi\n"},
        Listing{"NoCode", &kRequired, "* OK Waiting for authentication process to respond..\r\n",
                "* OK Waiting for authentication process to respond..\r\n"},
        Listing{"NoList", &kRequired, "* OK [CAPABILITY X] hi\r\n", "* OK [CAPABILITY X] hi\r\n"},
        Listing{"NoEnd", &kRequired, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n",
                "* OK [CAPABILITY IMAP4rev1\r\n"},
        Listing{"Bye", &kRequired, "* BYE [UNAVAILABLE] later\r\n", "* BYE [UNAVAILABLE] later\r\n"}),
    [](const auto& info) { return info.param.name; });

TEST(ImapTls, EditsUntaggedAndTaggedLists) {
    const Turns turns = {server("* OK hi\r\n"), client("a CAPABILITY\r\nb NOOP\r\n"),
                         server("* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=X-PLUS IDLE\r\na OK done\r\n"
                                "b OK [CAPABILITY IMAP4rev2 AUTH=PLAIN] done\r\n")};
    EXPECT_EQ(clientGets(turns, kRequired),
              "* OK hi\r\n* CAPABILITY IMAP4rev1 IDLE STARTTLS LOGINDISABLED\r\na OK done\r\n"
              "b OK [CAPABILITY IMAP4rev2 STARTTLS LOGINDISABLED] done\r\n");
    EXPECT_EQ(clientGets(turns, kWithin),
              "* OK hi\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN IDLE\r\na OK done\r\n"
              "b OK [CAPABILITY IMAP4rev2 AUTH=PLAIN] done\r\n");
}

TEST(ImapTls, LeavesAllAloneThatEndsElsewhere) {
    const Turns turns = {server(kOpen), client("a CAPABILITY\r\n"),
                         server("* CAPABILITY IMAP4rev1 STARTTLS AUTH=X-PLUS\r\na OK done\r\n")};
    EXPECT_EQ(clientGets(turns, {}), kOpen + "* CAPABILITY IMAP4rev1 STARTTLS AUTH=X-PLUS\r\na OK done\r\n");
}

/// The list that comes with the answer to a login is that of a state without STARTTLS.
TEST(ImapTls, AddsNothingOnceLoggedIn) {
    const Observed seen =
        observe(imap::kImap,
                {server("* OK hi\r\n"), client("a LOGIN alice wonderland\r\n"),
                 server("a OK [CAPABILITY IMAP4rev1 IDLE] in\r\n* CAPABILITY IMAP4rev1\r\n")},
                kOffered);
    EXPECT_EQ(seen.sent[kClient],
              "* OK hi\r\na OK [CAPABILITY IMAP4rev1 IDLE] in\r\n* CAPABILITY IMAP4rev1\r\n");
    EXPECT_TRUE(seen.opaque);
}

TEST(ImapTls, MayNotBeCircumventedByPreauth) {
    const Turns turns = {server("* PREAUTH [CAPABILITY IMAP4rev1] in\r\n")};
    const Observed required = observe(imap::kImap, turns, kRequired);
    EXPECT_EQ(required.violation, Violation::UnexpectedReply);
    EXPECT_EQ(required.sent[kClient], "");
    EXPECT_TRUE(observe(imap::kImap, turns, kOffered).opaque);
}

TEST(ImapTls, BelievesNoCapabilityInALiteral) {
    const Observed seen =
        observe(imap::kImap, {server("* OK hi\r\n* CAPABILITY IMAP4rev1 {10}\r\nAUTH=PLAIN\r\n")}, kRequired);
    EXPECT_EQ(seen.violation, Violation::UnexpectedReply);
    EXPECT_EQ(seen.sent[kClient], "* OK hi\r\n");
}

TEST(ImapTls, BeginsOnceAllBeforeItIsAnswered) {
    Turns turns = {server(kOpen), client("a NOOP\r\nb STARTTLS\r\n")};
    Observed seen = observe(imap::kImap, turns, kRequired);
    EXPECT_FALSE(seen.starts_tls);
    EXPECT_EQ(seen.sent[kServer], "a NOOP\r\n");
    turns.push_back(server("a OK done\r\n"));
    seen = observe(imap::kImap, turns, kRequired);
    EXPECT_TRUE(seen.starts_tls);
    EXPECT_EQ(seen.violation, std::nullopt);
    EXPECT_EQ(seen.sent[kServer], "a NOOP\r\n");
    EXPECT_TRUE(seen.interruptible);
}

TEST(ImapTls, AnswersInItsOwnWords) {
    Player player(imap::kImap, kOffered);
    player.play(Side::Server, kOpen);
    player.play(Side::Client, "x.1 starttls\n");
    ASSERT_TRUE(player.filter().startsTls());
    EXPECT_EQ(player.answerStartTls(false), "x.1 NO [UNAVAILABLE] TLS is not available for now.\r\n");
    EXPECT_FALSE(player.filter().startsTls());
    player.play(Side::Client, "x.2 STARTTLS\r\n");
    EXPECT_EQ(player.answerStartTls(true), "x.2 OK Begin TLS negotiation now.\r\n");
    EXPECT_EQ(player.passed(), "");
}

TEST(ImapTls, ForgetsWhoWasNamedInTheClear) {
    Player player(imap::kImap, kOffered);
    player.play(Side::Server, kOpen);
    player.play(Side::Client, "a LOGIN mallory x\r\n");
    player.play(Side::Server, "a NO [AUTHENTICATIONFAILED] no\r\n");
    player.play(Side::Client, "b STARTTLS\r\n");
    EXPECT_EQ(player.facts().user, "mallory");
    player.answerStartTls(true);
    EXPECT_EQ(player.facts().user, "");
    EXPECT_EQ(player.facts().authenticated, std::nullopt);
    EXPECT_EQ(player.facts().failed_logins, 1U);
}

class ImapInjection : public ::testing::TestWithParam<std::string> {};

TEST_P(ImapInjection, EndsTheSessionAndIsAnsweredByNobody) {
    for (const ScreenConfig* screen : {&kOffered, &kRequired}) {
        for (const std::string before : {"", "n NOOP\r\n"}) {
            const Observed seen =
                observe(imap::kImap, {server("* OK hi\r\n"), client(before + "a STARTTLS\r\n" + GetParam())},
                        *screen);
            EXPECT_EQ(seen.violation, Violation::PlaintextAfterStartTls);
            EXPECT_EQ(seen.sent[kClient], "* OK hi\r\n");
            EXPECT_EQ(seen.sent[kServer].find("secret"), std::string::npos);
            const Observed later = observe(imap::kImap,
                                           {server("* OK hi\r\n"), client(before + "a STARTTLS\r\n"),
                                            client(GetParam()), server("n OK done\r\n")},
                                           *screen);
            EXPECT_EQ(later.violation, Violation::PlaintextAfterStartTls);
        }
    }
}

TEST_P(ImapInjection, ReachesNoServerThatIsAsked) {
    const Turns turns = {server("* OK hi\r\n"), client("a STARTTLS\r\n" + GetParam())};
    for (const Observed& seen :
         {playWhole(imap::kImap, turns, kMirror), playSplit(imap::kImap, turns, 1, 12, kMirror),
          playInPieces(imap::kImap, turns, 1, kMirror)}) {
        EXPECT_EQ(seen.violation, Violation::PlaintextAfterStartTls);
        EXPECT_TRUE(seen.sent[kServer].empty() || seen.sent[kServer] == "a STARTTLS\r\n");
    }
}

INSTANTIATE_TEST_SUITE_P(Bytes, ImapInjection,
                         ::testing::Values("b LOGIN alice secret\r\n", "b", "\r\n",
                                           std::string("\x16\x03\x01", 3)));

TEST(ImapTls, IsNoArgumentsWord) {
    const Observed seen = observe(
        imap::kImap, {server("* OK hi\r\n"), client("a STARTTLS now\r\nb STARTTLS {1}\r\nc STARTTLS \r\n")},
        kOffered);
    EXPECT_EQ(seen.sent[kClient],
              "* OK hi\r\na BAD Command not understood and not passed on.\r\n"
              "b BAD Command not understood and not passed on.\r\n");
    EXPECT_EQ(seen.sent[kServer], "");
    EXPECT_TRUE(seen.starts_tls);
}

TEST(ImapTls, IsActiveOnlyOnce) {
    const Observed seen =
        observe(imap::kImap, {client("a STARTTLS\r\nb NOOP\r\n"), server("b OK done\r\n")}, kWithinAgain);
    EXPECT_EQ(seen.sent[kClient], "a BAD TLS is already active.\r\nb OK done\r\n");
    EXPECT_EQ(seen.sent[kServer], "b NOOP\r\n");
    EXPECT_FALSE(seen.starts_tls);
}

struct Login {
    const char* name;
    std::string bytes;
    std::string after;  ///< what goes on of it
    std::string user = {};
};

class ImapLoginInTheClear : public ::testing::TestWithParam<Login> {};

TEST_P(ImapLoginInTheClear, DoesNotReachTheServer) {
    const Observed seen = observe(imap::kImap, {server("* OK hi\r\n"), client(GetParam().bytes)}, kRequired);
    EXPECT_EQ(seen.sent[kServer], GetParam().after);
    EXPECT_EQ(seen.sent[kClient].substr(0, 33), "* OK hi\r\na NO [PRIVACYREQUIRED] P");
    EXPECT_EQ(seen.facts.user, GetParam().user);
    EXPECT_EQ(seen.facts.authenticated, std::nullopt);
    EXPECT_EQ(seen.facts.failed_logins, 0U);
    EXPECT_EQ(seen.facts.tls_refusals, 1U);
    EXPECT_EQ(seen.violation, std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, ImapLoginInTheClear,
    ::testing::Values(
        Login{"Login", "a LOGIN alice wonderland\r\nb NOOP\r\n", "b NOOP\r\n", "alice"},
        Login{"Quoted", "a LOGIN \"al ice\" \"wonder land\"\r\nb NOOP\r\n", "b NOOP\r\n", "al ice"},
        Login{"Literal", "a LOGIN {5}\r\nb NOOP\r\n", "b NOOP\r\n"},
        Login{"NoLeave", "a LOGIN {8+}\r\nx NOOP\r\n {8+}\r\ny NOOP\r\n\r\nb NOOP\r\n", "b NOOP\r\n",
              "x NOOP\r\n"},
        Login{"Initial", "a AUTHENTICATE PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=\r\n", "", "alice"},
        Login{"Exchange", "a authenticate PLAIN\r\nAGFsaWNlAHdvbmRlcmxhbmQ=\r\nb NOOP\r\n", "b NOOP\r\n"}),
    [](const auto& info) { return info.param.name; });

TEST(ImapTls, EndsWhoGoesOnWithoutIt) {
    std::string logins;
    for (int at = 0; at < 12; ++at)
        logins += "a" + std::to_string(at) + " LOGIN alice wonderland\r\n";
    const Observed seen = observe(imap::kImap, {server("* OK hi\r\n"), client(logins)}, kRequired);
    EXPECT_EQ(seen.violation, Violation::TlsRequired);
    EXPECT_EQ(seen.facts.tls_refusals, 10U);
    EXPECT_EQ(seen.facts.user, "alice");
    EXPECT_EQ(seen.sent[kServer], "");
}

TEST(ImapTls, DoesNotBeginWithAHello) {
    for (const ScreenConfig* screen : {&kOffered, &kWithin}) {
        const Observed seen =
            observe(imap::kImap, {client(std::string("\x16\x03\x01\x00\x05\x01", 6)), server("* OK hi\r\n")},
                    *screen);
        EXPECT_EQ(seen.violation, Violation::BadCommand);
        EXPECT_EQ(seen.sent[kServer], "");
        EXPECT_FALSE(seen.opaque);
    }
}

TEST(ImapTls, MirrorsTheServersConsent) {
    Turns turns = {server(kClosed), client("a STARTTLS\r\n")};
    EXPECT_FALSE(observe(imap::kImap, turns, kMirror).starts_tls);
    turns.push_back(server("a OK Begin TLS negotiation now.\r\n"));
    const Observed seen = observe(imap::kImap, turns, kMirror);
    EXPECT_TRUE(seen.starts_tls);
    EXPECT_FALSE(seen.opaque);
    EXPECT_EQ(seen.facts.tls, TlsBegin::None);
    EXPECT_EQ(seen.sent[kServer], "a STARTTLS\r\n");
    EXPECT_EQ(seen.sent[kClient], kClosed);
}

TEST(ImapTls, PassesTheServersRefusalOn) {
    const Observed seen =
        observe(imap::kImap,
                {server(kClosed), client("a STARTTLS\r\n"), server("a NO not now\r\n"), client("b NOOP\r\n")},
                kMirror);
    EXPECT_FALSE(seen.starts_tls);
    EXPECT_EQ(seen.sent[kServer], "a STARTTLS\r\nb NOOP\r\n");
    EXPECT_EQ(seen.sent[kClient], kClosed + "a NO not now\r\n");
}

TEST(ImapTls, SuffersNothingBehindTheServersConsent) {
    const Observed seen = observe(imap::kImap,
                                  {server(kClosed), client("a STARTTLS\r\n"),
                                   server("a OK go\r\n* CAPABILITY IMAP4rev1 AUTH=EVIL\r\n")},
                                  kMirror);
    EXPECT_EQ(seen.violation, Violation::UnexpectedReply);
    EXPECT_EQ(seen.sent[kClient], kClosed);
}

}  // namespace
}  // namespace mailgate
