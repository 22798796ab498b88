// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/command.h"

#include <gtest/gtest.h>

namespace mailgate::smtp {
namespace {

using std::string_view_literals::operator""sv;

TEST(ParseCommand, KnowsOneNotionOfSpace) {
    for (const std::string_view line :
         {"MAIL FROM:<a@b>"sv, " \tmail\tFROM:<a@b> "sv, "Mail\v\f\rFROM:<a@b>\r"sv}) {
        const CommandLine command = parseCommand(line);
        EXPECT_EQ(command.verb, Verb::Mail) << line;
        EXPECT_EQ(command.arguments, "FROM:<a@b>") << line;
    }
    EXPECT_EQ(parseCommand("").verb, Verb::Other);
    EXPECT_EQ(parseCommand("MAILFROM:<a@b>").verb, Verb::Other);
}

TEST(ParseCommand, EndsAVerbAtANul) {
    const CommandLine command = parseCommand("XCLIENT\0ADDR=192.0.2.1"sv);
    EXPECT_EQ(command.verb, Verb::Foreign);
    EXPECT_EQ(command.arguments, "\0ADDR=192.0.2.1"sv);
}

TEST(VerbOf, KnowsTheSynonyms) {
    EXPECT_EQ(verbOf("lhlo"), Verb::Ehlo);
    EXPECT_EQ(verbOf("SAML"), Verb::Mail);
    EXPECT_EQ(verbOf("X-EXPS"), Verb::Auth);
    EXPECT_EQ(verbOf("xforward"), Verb::Foreign);
    EXPECT_EQ(verbOf("PROXY"), Verb::Proxy);
    EXPECT_EQ(verbOf("NOOP"), Verb::Other);
    EXPECT_EQ(verbOf("DAT"), Verb::Other);
}

TEST(TakeArgument, TakesTheSpaceAroundIt) {
    std::string_view text = "\t100 \v LAST\r";
    EXPECT_EQ(takeArgument(text), "100");
    EXPECT_EQ(takeArgument(text), "LAST");
    EXPECT_EQ(text, "");
    EXPECT_EQ(takeArgument(text), "");
}

TEST(Respaced, PutsBlanksForOtherSpaceOutsideOfQuotes) {
    EXPECT_EQ(respaced("NOOP"), std::nullopt);
    EXPECT_EQ(respaced("NOOP a b"), std::nullopt);
    EXPECT_EQ(respaced("  NOOP"), "NOOP");
    EXPECT_EQ(respaced("NOOP\ta\vb"), "NOOP a b");
    EXPECT_EQ(respaced("RCPT TO:<\"a\tb\"@c>\tX"), "RCPT TO:<\"a\tb\"@c> X");
    EXPECT_EQ(respaced("RCPT TO:<\"a\\\"\tb\"@c>\tX"), "RCPT TO:<\"a\\\"\tb\"@c> X");
}

struct AddressCase {
    const char* arguments;
    std::optional<std::string> want;
};

class AddressIn : public ::testing::TestWithParam<AddressCase> {};

TEST_P(AddressIn, IsWhatTheServerHas) {
    EXPECT_EQ(addressIn(GetParam().arguments, "TO:"), GetParam().want) << GetParam().arguments;
}

INSTANTIATE_TEST_SUITE_P(
    Paths, AddressIn,
    ::testing::Values(
        AddressCase{"TO:<a@b.example>", "a@b.example"}, AddressCase{"to: <a@b.example> X=1", "a@b.example"},
        AddressCase{"TO:a@b.example NOTIFY=NEVER", "a@b.example"}, AddressCase{"TO:<>", ""},
        AddressCase{"TO:<@relay,@other:a@b.example>", "a@b.example"},
        AddressCase{"TO:<\"a b\"@c.example>", "a b@c.example"},
        AddressCase{"TO:<a\\@x@b.example>", "a@x@b.example"}, AddressCase{"TO:<a@b.example.>", "a@b.example"},
        AddressCase{"TO:< a@b.example >", "a@b.example"}, AddressCase{"FROM:<a@b>", std::nullopt},
        AddressCase{"TO:", std::nullopt}, AddressCase{"TO:<a@b", std::nullopt},
        AddressCase{"TO:<a b@c>", std::nullopt}, AddressCase{"TO:<a@b>x", std::nullopt},
        AddressCase{"TO:<@relay>", std::nullopt}, AddressCase{"TO:<a<b@c>", std::nullopt},
        AddressCase{"TO:<a\\", std::nullopt}, AddressCase{"TO:<\"a@b>", std::nullopt},
        AddressCase{"TO:<a\x01@b>", std::nullopt}, AddressCase{"TO:@relay:a@b", std::nullopt}));

TEST(ChunkIn, TakesASizeThatNoServerReadsOtherwise) {
    const auto head = chunkIn("1000");
    ASSERT_TRUE(head);
    EXPECT_EQ(head->bytes, 1000U);
    EXPECT_FALSE(head->last);
    EXPECT_TRUE(chunkIn("0 last")->last);
    EXPECT_EQ(chunkIn("2147483647")->bytes, 2147483647U);
    for (const char* odd :
         {"", "LAST", "+1", "-1", "0x10", "1 LASTS", "1 LAST x", "1LAST", "2147483648", "99999999999"})
        EXPECT_FALSE(chunkIn(odd)) << odd;
}

}  // namespace
}  // namespace mailgate::smtp
