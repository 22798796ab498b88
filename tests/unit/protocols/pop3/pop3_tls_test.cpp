// SPDX-License-Identifier: Apache-2.0
// POP3 where TLS ends at the gateway; each dialogue is split at every byte.
#include "protocols/pop3/pop3_filter.h"
#include "protocols/pop3/pop3_protocol.h"
#include "tests/support/filtered.h"
#include "tests/support/tls_policies.h"

namespace mailgate {
namespace {

using namespace test;

const std::string kHello = "+OK Dovecot ready.\r\n";
// Dovecot 2.3.19.
const std::string kCapa =
    "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\nSTLS\r\nUSER\r\n"
    "SASL PLAIN LOGIN SCRAM-SHA-256-PLUS\r\n.\r\n";
const std::string kFirst = "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\n";

std::string capabilities(const std::string& listed, const ScreenConfig& screen) {
    const Observed seen = observe(pop3::kPop3, {server(kHello), client("CAPA\r\n"), server(listed)}, screen);
    EXPECT_EQ(seen.violation, std::nullopt);
    return seen.sent[kClient].substr(kHello.size());
}

TEST(Pop3Tls, EditsCapabilities) {
    EXPECT_EQ(capabilities(kCapa, {}), kCapa);
    EXPECT_EQ(capabilities(kCapa, kOffered), kFirst + "STLS\r\nUSER\r\nSASL PLAIN LOGIN\r\n.\r\n");
    EXPECT_EQ(capabilities(kCapa, kRequired), kFirst + "STLS\r\n.\r\n");
    for (const ScreenConfig& screen : {kWithin, kToServer})
        EXPECT_EQ(capabilities(kCapa, screen), kFirst + "USER\r\nSASL PLAIN LOGIN\r\n.\r\n");
}

TEST(Pop3Tls, OffersItselfWhereTheServerDoesNot) {
    const std::string listed = "+OK\r\nUSER\r\nSASL\tX-PLUS\r\nSASL X-plus\r\n.\r\n";
    EXPECT_EQ(capabilities(listed, kOffered), "+OK\r\nUSER\r\nSTLS\r\n.\r\n");
    EXPECT_EQ(capabilities(listed, kMirror), "+OK\r\nUSER\r\n.\r\n");
    EXPECT_EQ(capabilities("-ERR no\r\n", kOffered), "-ERR no\r\n");
}

TEST(Pop3Tls, ListsNoMechanismThatBindsTheChannel) {
    const Turns turns = {server(kHello), client("AUTH\r\n"), server("+OK\r\nPLAIN\r\nX-PLUS\r\n.\r\n")};
    EXPECT_EQ(observe(pop3::kPop3, turns, kWithin).sent[kClient], kHello + "+OK\r\nPLAIN\r\n.\r\n");
    EXPECT_EQ(observe(pop3::kPop3, turns, kOffered).sent[kClient], kHello + "+OK\r\nPLAIN\r\n.\r\n");
}

TEST(Pop3Tls, BeginsOnceAllBeforeItIsAnswered) {
    Turns turns = {server(kHello), client("NOOP\r\nCAPA\r\nSTLS\r\n"), server("+OK\r\n+OK\r\nTOP\r\n")};
    EXPECT_FALSE(observe(pop3::kPop3, turns, kRequired).starts_tls);
    turns.push_back(server(".\r\n"));
    const Observed seen = observe(pop3::kPop3, turns, kRequired);
    EXPECT_TRUE(seen.starts_tls);
    EXPECT_EQ(seen.sent[kServer], "NOOP\r\nCAPA\r\n");
}

TEST(Pop3Tls, AnswersInItsOwnWords) {
    Player player(pop3::kPop3, kOffered);
    player.play(Side::Server, kHello);
    player.play(Side::Client, "stls\r\n");
    ASSERT_TRUE(player.filter().startsTls());
    EXPECT_EQ(player.answerStartTls(false), "-ERR [SYS/TEMP] TLS is not available for now.\r\n");
    player.play(Side::Client, "STLS now\r\nSTLS\r\n");
    EXPECT_EQ(player.answerStartTls(true), "+OK Begin TLS negotiation now.\r\n");
    EXPECT_EQ(player.sent(Side::Client), kHello + "-ERR Command not understood and not passed on.\r\n");
    EXPECT_EQ(player.passed(), "");
}

TEST(Pop3Tls, TakesNothingBehindTheCommand) {
    for (const ScreenConfig* screen : {&kOffered, &kRequired}) {
        for (const std::string bytes : {"USER alice\r\n", "C", "\n"}) {
            const Observed seen =
                observe(pop3::kPop3, {server(kHello), client("NOOP\r\nSTLS\r\n" + bytes)}, *screen);
            EXPECT_EQ(seen.violation, Violation::PlaintextAfterStartTls);
            EXPECT_FALSE(seen.starts_tls);
            EXPECT_EQ(seen.sent[kClient], kHello);
            EXPECT_EQ(seen.sent[kServer], "NOOP\r\n");
        }
    }
}

TEST(Pop3Tls, IsActiveOnlyOnce) {
    const Observed seen = observe(pop3::kPop3, {client("STLS\r\nNOOP\r\n")}, kWithinAgain);
    EXPECT_EQ(seen.sent[kClient], "-ERR TLS is already active.\r\n");
    EXPECT_EQ(seen.sent[kServer], "NOOP\r\n");
}

TEST(Pop3Tls, KeepsLoginsInTheClearFromTheServer) {
    const std::pair<std::string, const char*> logins[] = {
        {"USER alice\r\n", "alice"},
        {"USER alice wonderland\r\n", "alice"},
        {"PASS wonderland\r\n", ""},
        {"APOP alice 0123\r\n", "alice"},
        {"AUTH\r\n", ""},
        {"AUTH PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=\r\n", "alice"},
        {"auth plain\r\n", ""},
        {"user\r\n", ""}};
    for (const auto& [login, user] : logins) {
        const Observed seen = observe(pop3::kPop3, {server(kHello), client(login + "NOOP\r\n")}, kRequired);
        EXPECT_EQ(seen.sent[kClient], kHello +
                                          "-ERR [AUTH] Plaintext authentication disallowed on non-secure "
                                          "(SSL/TLS) connections.\r\n");
        EXPECT_EQ(seen.sent[kServer], "NOOP\r\n");
        EXPECT_EQ(seen.facts.user, user) << login;
        EXPECT_EQ(seen.facts.authenticated, std::nullopt);
        EXPECT_EQ(seen.facts.tls_refusals, 1U);
    }
}

TEST(Pop3Tls, EndsWhoGoesOnWithoutIt) {
    std::string logins;
    for (int at = 0; at < 12; ++at)
        logins += "USER alice\r\n";
    const Observed seen = observe(pop3::kPop3, {server(kHello), client(logins)}, kRequired);
    EXPECT_EQ(seen.violation, Violation::TlsRequired);
    EXPECT_EQ(seen.sent[kServer], "");
}

TEST(Pop3Tls, MirrorsTheServersConsent) {
    const Turns asked = {server(kHello), client("STLS\r\n")};
    const Observed consent = observe(pop3::kPop3, after(asked, {server("+OK Begin TLS\r\n")}), kMirror);
    EXPECT_TRUE(consent.starts_tls);
    EXPECT_FALSE(consent.opaque);
    EXPECT_EQ(consent.sent[kClient], kHello);
    EXPECT_EQ(consent.sent[kServer], "STLS\r\n");
    const Observed refusal = observe(pop3::kPop3, after(asked, {server("-ERR no\r\n")}), kMirror);
    EXPECT_FALSE(refusal.starts_tls);
    EXPECT_EQ(refusal.sent[kClient], kHello + "-ERR no\r\n");
    const Observed injected = observe(pop3::kPop3, after(asked, {server("+OK go\r\n+OK\r\n")}), kMirror);
    EXPECT_EQ(injected.violation, Violation::UnexpectedReply);
    EXPECT_EQ(injected.sent[kClient], kHello);
}

}  // namespace
}  // namespace mailgate
