// SPDX-License-Identifier: Apache-2.0
#include "store/rules/rule.h"

#include "store/rules/new_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace mailgate::store {
namespace {

TEST(NoteError, ANoteIsOneLineWithinItsBound) {
    const std::string longest(kMaxNoteLength, 'n');
    EXPECT_EQ(noteError(""), "");
    EXPECT_EQ(noteError("Bürgeramt, \"Ticket\" 4711"), "");
    EXPECT_EQ(noteError(longest), "");
    EXPECT_EQ(noteError(longest + "n"), "the note is longer than 1000 bytes");
    for (const std::string_view note : {std::string_view("two\nlines"), std::string_view("a\0b", 3),
                                        std::string_view("\x1b[2J"), std::string_view("rubout\x7f")})
        EXPECT_EQ(noteError(note), "the note contains a control character");
}

TEST(AccessRule, IsNotLiveFromTheSecondOnInWhichItExpires) {
    AccessRule rule;
    EXPECT_TRUE(isLive(rule, 4'000'000'000));
    rule.expires_at = 1'000;
    EXPECT_TRUE(isLive(rule, 999));
    EXPECT_FALSE(isLive(rule, 1'000));
    EXPECT_FALSE(isLive(rule, 1'001));
}

TEST(AccessRule, CoversTheListenerThatItNamesOrAll) {
    AccessRule rule;
    EXPECT_TRUE(covers(rule, "smtp"));
    EXPECT_TRUE(covers(rule, ""));
    rule.listener = "smtp";
    EXPECT_TRUE(covers(rule, "smtp"));
    EXPECT_FALSE(covers(rule, "smtp2"));
    EXPECT_FALSE(covers(rule, "smt"));
    EXPECT_FALSE(covers(rule, ""));
}

TEST(ClientLimits, OfZeroIsALimitThatSaysWithout) {
    EXPECT_FALSE(ClientLimits{}.any());
    EXPECT_TRUE((ClientLimits{0, {}}.any()));
    EXPECT_TRUE((ClientLimits{{}, 0}.any()));
    EXPECT_NE((ClientLimits{0, {}}), ClientLimits{});
}

TEST(Verdict, IsAWord) {
    EXPECT_EQ(toString(Verdict::Allow), "allow");
    EXPECT_EQ(toString(Verdict::Deny), "deny");
}

TEST(RuleReply, HasOneSpelling) {
    for (const char* words : {"temporary", "note", "temporary,note"})
        EXPECT_EQ(toString(ruleReplyOf(words).value()), words);
    EXPECT_EQ(ruleReplyOf("default"), RuleReply{});
    EXPECT_EQ(toString(RuleReply{}), "");
    EXPECT_EQ(ruleReplyOf("note,temporary"), (RuleReply{true, true}));
    for (const char* words : {"", "Temporary", "note,", ",note", "temporary, note", "450", "default,note"})
        EXPECT_EQ(ruleReplyOf(words), std::nullopt) << words;
}

TEST(RuleName, IsAHostOrADomainInLowerCase) {
    const auto parsed = [](std::string_view text) {
        const auto name = parseRuleName(text);
        return std::holds_alternative<std::string>(name) ? std::get<std::string>(name) : "";
    };
    EXPECT_EQ(parsed("host:home.Example.org"), "host:home.example.org");
    EXPECT_EQ(parsed("SPF:_spf.example.org"), "spf:_spf.example.org");
    EXPECT_EQ(parsed("host:" + std::string(63, 'a') + ".b"), "host:" + std::string(63, 'a') + ".b");
    for (const std::string wrong : {"host:", "spf:.", "host:a..b", "host:a..", "host:a b", "host:192.0.2.1",
                                    "host:2001:db8::1", "host:b\xC3\xBC.org", "host:42"})
        EXPECT_EQ(parsed(wrong), "") << wrong;
    EXPECT_EQ(parsed("host:home.example.org."), "host:home.example.org") << "as dig(1) prints it";
    for (const std::string wrong :
         {"host:-", "host:_", "host:a.-b", "host:a-.b", "spf:_", "spf:__.example.org"})
        EXPECT_EQ(parsed(wrong), "") << wrong;
    EXPECT_EQ(parsed("host:192.0.2.10-20"), "host:192.0.2.10-20") << "where there is such a rule";
    EXPECT_EQ(parsed("host:" + std::string(64, 'a')), "");
    EXPECT_EQ(parsed("host:" + std::string(254, 'a')), "");
    EXPECT_FALSE(isRuleName("192.0.2.1"));
    EXPECT_FALSE(isRuleName("2001:db8::1"));
}

TEST(RuleName, OneWhoseLastPartHasNoLetterGetsNoRule) {
    const auto whyNot = [](const std::string& text) -> std::string {
        const auto name = parseNewRuleName(text);
        const auto* error = std::get_if<NetworkError>(&name);
        return error == nullptr ? "" : error->message;
    };
    EXPECT_EQ(whyNot("host:home.example.org"), "");
    EXPECT_EQ(whyNot("spf:1.2.3.org"), "");
    EXPECT_EQ(whyNot("host:xn--bcher-kva.xn--p1ai"), "");
    EXPECT_EQ(whyNot("host:mail"), "");
    EXPECT_EQ(whyNot("Host:192.0.2.10-20"),
              "\"host:192.0.2.10-20\" cannot be a name: its last part has no letter (did you mean "
              "192.0.2.10-192.0.2.20?)");
    EXPECT_EQ(whyNot("spf:example.2-3"), "\"spf:example.2-3\" cannot be a name: its last part has no letter");
    EXPECT_THAT(whyNot("host:a..b"), testing::HasSubstr("is not a name such as"));
}

}  // namespace
}  // namespace mailgate::store
