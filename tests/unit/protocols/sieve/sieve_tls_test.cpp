// SPDX-License-Identifier: Apache-2.0
// ManageSieve where TLS ends at the gateway; each dialogue is split at every byte.
#include "protocols/sieve/sieve_filter.h"
#include "protocols/sieve/sieve_protocol.h"
#include "tests/support/filtered.h"
#include "tests/support/tls_policies.h"

namespace mailgate {
namespace {

using namespace test;

// Pigeonhole 0.5.19.
const std::string kBegin = "\"IMPLEMENTATION\" \"Dovecot Pigeonhole\"\r\n\"SIEVE\" \"fileinto reject\"\r\n";
const std::string kEnd = "\"NOTIFY\" \"mailto\"\r\n\"VERSION\" \"1.0\"\r\n";
const std::string kReady = "OK \"Dovecot ready.\"\r\n";

std::string listed(const std::string& sasl, const std::string& tls = {}) {
    return kBegin + sasl + kEnd + tls + kReady;
}
std::string clientGets(const std::string& list, const ScreenConfig& screen) {
    const Observed seen = observe(sieve::kSieve, {server(list)}, screen);
    EXPECT_EQ(seen.violation, std::nullopt);
    return seen.sent[kClient];
}

const std::string kSasl = "\"SASL\" \"PLAIN LOGIN SCRAM-SHA-1-PLUS\"\r\n";
const std::string kUnbound = "\"SASL\" \"PLAIN LOGIN\"\r\n";
const std::string kNoSasl = "\"SASL\" \"\"\r\n";
const std::string kStartTls = "\"STARTTLS\"\r\n";

TEST(SieveTls, EditsTheGreetingsCapabilities) {
    EXPECT_EQ(clientGets(listed(kSasl, kStartTls), {}), listed(kSasl, kStartTls));
    EXPECT_EQ(clientGets(listed(kSasl), kOffered), listed(kUnbound, kStartTls));
    EXPECT_EQ(clientGets(listed(kSasl, kStartTls), kOffered), listed(kUnbound, kStartTls));
    EXPECT_EQ(clientGets(listed(kSasl), kRequired), listed(kNoSasl, kStartTls));
    EXPECT_EQ(clientGets(listed(kNoSasl, kStartTls), kRequired), listed(kNoSasl, kStartTls));
    EXPECT_EQ(clientGets(listed(kSasl), kMirror), listed(kUnbound));
    EXPECT_EQ(clientGets(listed(kSasl, kStartTls), kWithin), listed(kUnbound));
    EXPECT_EQ(clientGets(listed(kSasl, kStartTls), kToServer), listed(kUnbound));
    EXPECT_EQ(clientGets(listed("\"SASL\" \"X-PLUS\"\r\n"), kWithin), listed(kNoSasl));
    EXPECT_EQ(clientGets(listed("{4}\r\nSASL {12}\r\nPLAIN X-PLUS\r\n"), kWithin),
              listed("\"SASL\" \"PLAIN\"\r\n"));
}

TEST(SieveTls, EditsListsThatWereAskedFor) {
    const Turns turns = {server("OK \"hi\"\r\n"), client("CAPABILITY\r\nNOOP\r\n"),
                         server(listed(kSasl) + "OK \"done\"\r\n")};
    EXPECT_EQ(observe(sieve::kSieve, turns, kRequired).sent[kClient],
              "OK \"hi\"\r\n" + listed(kNoSasl, kStartTls) + "OK \"done\"\r\n");
    EXPECT_EQ(observe(sieve::kSieve, turns, kWithin).sent[kClient],
              "OK \"hi\"\r\n" + listed(kUnbound) + "OK \"done\"\r\n");
}

TEST(SieveTls, PassesNoListThatItDoesNotUnderstand) {
    for (const std::string odd :
         {"\"SASL\"\r\n", "\"SASL\" \"PLAIN\"\r X\r\n", "\"STARTTLS\r\n", "\"SASL\" \"A-PLUS\r\n",
          "\"SASL\" \"PLAIN\" \"X-PLUS\"\r\n", "\"SASL\" \"a\\\\b X-PLUS\"\r\n"}) {
        const Observed seen = observe(sieve::kSieve, {server(odd)}, kWithin);
        EXPECT_EQ(seen.violation, Violation::UnexpectedReply) << odd;
        EXPECT_EQ(seen.sent[kClient], "");
    }
}

TEST(SieveTls, BeginsOnceAllBeforeItIsAnswered) {
    Turns turns = {server(listed(kNoSasl)), client("NOOP\r\nSTARTTLS\r\n")};
    EXPECT_FALSE(observe(sieve::kSieve, turns, kRequired).starts_tls);
    turns.push_back(server("OK \"done\"\r\n"));
    const Observed seen = observe(sieve::kSieve, turns, kRequired);
    EXPECT_TRUE(seen.starts_tls);
    EXPECT_EQ(seen.sent[kServer], "NOOP\r\n");
}

TEST(SieveTls, AnswersInItsOwnWords) {
    Player player(sieve::kSieve, kOffered);
    player.play(Side::Server, "OK\r\n");
    player.play(Side::Client, "starttls\r\n");
    ASSERT_TRUE(player.filter().startsTls());
    EXPECT_EQ(player.answerStartTls(false), "NO (TRYLATER) \"TLS is not available for now.\"\r\n");
    player.play(Side::Client, "STARTTLS \"x\"\r\nSTARTTLS\r\n");
    EXPECT_EQ(player.answerStartTls(true), "OK \"Begin TLS negotiation now.\"\r\n");
    EXPECT_EQ(player.sent(Side::Client), "OK\r\nNO \"Command not understood and not passed on.\"\r\n");
    EXPECT_EQ(player.passed(), "");
}

TEST(SieveTls, TakesNothingBehindTheCommand) {
    for (const ScreenConfig* screen : {&kOffered, &kRequired}) {
        const Observed seen = observe(
            sieve::kSieve, {server("OK\r\n"), client("STARTTLS\r\nAUTHENTICATE \"PLAIN\" \"AHgAeA==\"\r\n")},
            *screen);
        EXPECT_EQ(seen.violation, Violation::PlaintextAfterStartTls);
        EXPECT_EQ(seen.sent[kClient], "OK\r\n");
        EXPECT_EQ(seen.sent[kServer], "");
    }
}

/// RFC 5804 2.2: the capabilities come again, unasked.
TEST(SieveTls, GreetsAgainWithinTls) {
    const Observed seen =
        observe(sieve::kSieve,
                {server(listed(kSasl, kStartTls)), client("STARTTLS\r\nNOOP\r\n"), server("OK \"done\"\r\n")},
                kWithin);
    EXPECT_EQ(seen.sent[kClient], listed(kUnbound) + "NO \"TLS is already active.\"\r\nOK \"done\"\r\n");
    EXPECT_EQ(seen.sent[kServer], "NOOP\r\n");
}

TEST(SieveTls, KeepsLoginsInTheClearFromTheServer) {
    const std::pair<std::string, const char*> logins[] = {
        {"AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHdvbmRlcmxhbmQ=\"\r\n", "alice"},
        {"authenticate \"PLAIN\"\r\n", ""},
        {"AUTHENTICATE \"PLAIN\" {6+}\r\nNOOP\r\n\r\n", ""},
        {"AUTHENTICATE {5+}\r\nPLAIN\r\n", ""}};
    for (const auto& [login, user] : logins) {
        const Observed seen =
            observe(sieve::kSieve, {server("OK\r\n"), client(login + "NOOP\r\n")}, kRequired);
        EXPECT_EQ(seen.sent[kClient],
                  "OK\r\nNO (ENCRYPT-NEEDED) \"Plaintext authentication disallowed on non-secure (SSL/TLS) "
                  "connections.\"\r\n");
        EXPECT_EQ(seen.sent[kServer], "NOOP\r\n");
        EXPECT_EQ(seen.facts.user, user) << login;
        EXPECT_EQ(seen.facts.authenticated, std::nullopt);
        EXPECT_EQ(seen.facts.tls_refusals, 1U);
    }
}

TEST(SieveTls, MirrorsTheServersConsent) {
    const Turns asked = {server("OK\r\n"), client("STARTTLS\r\n")};
    const Observed consent = observe(sieve::kSieve, after(asked, {server("OK \"go\"\r\n")}), kMirror);
    EXPECT_TRUE(consent.starts_tls);
    EXPECT_EQ(consent.sent[kClient], "OK\r\n");
    EXPECT_EQ(consent.sent[kServer], "STARTTLS\r\n");
    const Observed refusal = observe(sieve::kSieve, after(asked, {server("NO \"no\"\r\n")}), kMirror);
    EXPECT_FALSE(refusal.starts_tls);
    EXPECT_EQ(refusal.sent[kClient], "OK\r\nNO \"no\"\r\n");
    const Observed injected =
        observe(sieve::kSieve, after(asked, {server("OK \"go\"\r\n\"SASL\" \"EVIL\"\r\n")}), kMirror);
    EXPECT_EQ(injected.violation, Violation::UnexpectedReply);
    EXPECT_EQ(injected.sent[kClient], "OK\r\n");
}

}  // namespace
}  // namespace mailgate
