// SPDX-License-Identifier: Apache-2.0
#include "protocols/sieve/sieve_protocol.h"

#include "tests/support/protocol_words.h"

namespace mailgate::sieve {
namespace {

using namespace test;

constexpr std::string_view kCapabilities =
    "\"IMPLEMENTATION\" \"mailgate\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"\"\r\n\"VERSION\" "
    "\"1.0\"\r\nOK \"gw.example.org ready\"\r\n";

TEST(SieveProtocol, JudgesGreetings) {
    expectGreetings(kSieve, Greeting::Welcome, {"\"IMPLEMENTATION\" \"x\"", "OK \"ready\"", "ok"});
    expectGreetings(kSieve, Greeting::Unavailable,
                    {"BYE (TRYLATER) \"x\"", "NO (TRYLATER) \"x\"", "bye (trylater/x) \"x\""});
    expectGreetings(kSieve, Greeting::Refused, {"BYE \"Too many connections\"", "NO \"x\"", "BYE"});
    expectGreetings(kSieve, Greeting::Foreign, {"* OK IMAP", "+OK", "220 mx", ""});
}

TEST(SieveProtocol, RefusesWithByeAndAQuotedSentence) {
    EXPECT_EQ(lineOf(kSieve, Refusal::Rule),
              "BYE \"203.0.113.9 is not allowed to use this service (gw1-7f3a)\"\r\n");
    EXPECT_EQ(lineOf(kSieve, Refusal::NoServer),
              "BYE (TRYLATER) \"Temporarily unavailable, try again later (gw1-7f3a)\"\r\n");
    EXPECT_EQ(lineOf(kSieve, Refusal::ShuttingDown), "BYE \"Server shutting down. (gw1-7f3a)\"\r\n");
    EXPECT_EQ(lineOf(kSieve, Refusal::BareLf), "") << "SMTP's";
    EXPECT_EQ(kSieve.reply_line(kSieve.wording(Refusal::TooMany), RefusalNames({"gw", "1\"2\\3", "i\nd"})),
              "BYE (TRYLATER) \"Too many connections from 1?2?3 (i?d)\"\r\n");
}

TEST(SieveProtocol, AnswersABalancersProbe) {
    expectProbe(kSieve, kCapabilities, "NOOP\r\nSTARTTLS\r\ncapability\r\nLOGOUT\r\n",
                "OK \"NOOP completed\"\r\nNO \"Unknown command\"\r\n" + std::string(kCapabilities) +
                    "OK \"Bye\"\r\n");
    expectBalancerIsContent(kSieve);
}

TEST(SieveProtocol, CapabilitiesEndWithAStatus) {
    for (const auto ends : {kSieve.health.ends_greeting, kSieve.health.ends_reply}) {
        EXPECT_FALSE(ends("\"IMPLEMENTATION\" \"x\""));
        EXPECT_FALSE(ends("\"OK\" \"a capability of that name\""));
        for (const char* line : {"OK \"ready\"", "no \"x\"", "BYE \"x\""})
            EXPECT_TRUE(ends(line)) << line;
    }
}

}  // namespace
}  // namespace mailgate::sieve
