// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_formats.h"

#include <gtest/gtest.h>

namespace mailgate::store::import {
namespace {

std::variant<ImportFormat, ImportError> recognized(std::initializer_list<std::string_view> texts) {
    std::vector<Line> lines;
    for (const std::string_view text : texts)
        lines.push_back({lines.size() + 1, text});
    return recognize(lines);
}

TEST(ImportFormatsTest, AFormatIsRecognizedByTheFirstLineThatTells) {
    const struct {
        std::initializer_list<std::string_view> lines;
        ImportFormat want;
    } cases[] = {
        {{}, ImportFormat::Plain},
        {{"192.0.2.0/24", "2001:db8::1"}, ImportFormat::Plain},
        {{"192.0.2.0/24", "deny 192.0.2.1"}, ImportFormat::Mailgate},
        {{"192.0.2.0/24 listener=mx"}, ImportFormat::Mailgate},
        {{"192.0.2.0/24", "192.0.2.1 REJECT"}, ImportFormat::Cidr},
        {{"192.0.2.1 554 5.7.1 no"}, ImportFormat::Cidr},
        {{"192.0.2.1 450"}, ImportFormat::Cidr},
        {{"192.0.2.1 relay"}, ImportFormat::Cidr},
        {{"192.0.2.0/24 deny"}, ImportFormat::Haproxy},
        {{"192.0.2.0/24 # office", "spf:_spf.example.org"}, ImportFormat::Mailgate},
        {{"1.10.16.0/20 ; SBL256894"}, ImportFormat::Drop},
        {{"{\"cidr\":\"1.10.16.0/20\"}"}, ImportFormat::Drop},
    };
    for (const auto& each : cases) {
        const auto found = recognized(each.lines);
        const auto* format = std::get_if<ImportFormat>(&found);
        ASSERT_NE(format, nullptr) << (each.lines.size() == 0 ? "" : *each.lines.begin());
        EXPECT_EQ(toString(*format), toString(each.want));
    }
}

TEST(ImportFormatsTest, ALineThatMayMeanAnythingIsAnError) {
    const auto found = recognized({"192.0.2.1", "203.0.113.7 partner one"});
    const auto* error = std::get_if<ImportError>(&found);
    ASSERT_NE(error, nullptr);
    EXPECT_EQ(error->line, 2u);
}

TEST(ImportFormatsTest, TimesOfBansAreNoNotes) {
    for (const char* line : {"203.0.113.31 \t2026-11-27 18:00:00 + 600 = 2026-11-27 18:10:00",
                             "2001:db8::7 \t2026-11-27 18:00:00 + -1 = 9999-12-31 00:00:00"}) {
        const auto found = recognized({line});
        const auto* error = std::get_if<ImportError>(&found);
        ASSERT_NE(error, nullptr) << line;
        EXPECT_NE(error->message.find("leave out fail2ban-client's --with-time"), std::string::npos) << line;
    }
}

TEST(ImportFormatsTest, VerdictsHaveManyWords) {
    for (const char* word : {"allow", "Permit", "ACCEPT", "ok", "pass"})
        EXPECT_EQ(verdictOf(word), Verdict::Allow) << word;
    for (const char* word : {"deny", "Reject", "DROP", "block"})
        EXPECT_EQ(verdictOf(word), Verdict::Deny) << word;
    for (const char* word : {"", "allowed", "dunno", "550", "ban"})
        EXPECT_EQ(verdictOf(word), std::nullopt) << word;
}

TEST(ImportFormatsTest, WordsThatBeginNoNote) {
    for (const char* word : {"deny", "DUNNO", "550", "499", "warn", "ban", "DEFER_IF_PERMIT"})
        EXPECT_TRUE(isListWord(word)) << word;
    for (const char* word : {"", "partner", "250", "5500", "denying", "relay"})
        EXPECT_FALSE(isListWord(word)) << word;
}

TEST(ImportFormatsTest, OptionsKnownOrMisspelt) {
    for (const char* word : {"listener=mx", "Listner=", "a_b-9=x=y"})
        EXPECT_TRUE(looksLikeOption(word)) << word;
    for (const char* word : {"", "=", "=x", "listener", "a.b=c", "a b=c"})
        EXPECT_FALSE(looksLikeOption(word)) << word;
}

}  // namespace
}  // namespace mailgate::store::import
