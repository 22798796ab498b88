// SPDX-License-Identifier: Apache-2.0
#include "protocols/dialogue/refusal_wording.h"

#include <gtest/gtest.h>

#include <string>

namespace mailgate {
namespace {

TEST(Cleaned, HoldsNothingThatEndsALineOrAQuotedString) {
    EXPECT_EQ(cleaned("gw.example.org", 255), "gw.example.org");
    EXPECT_EQ(cleaned(std::string_view("a\r\nb\0c\td", 8), 255), "a??b?c?d");
    EXPECT_EQ(cleaned("1\"2\\3 ~", 255), "1?2?3 ~");
    EXPECT_EQ(cleaned("\x7f\xc3\xa4\xff", 255), "????");
    EXPECT_EQ(cleaned("", 255), "");
}

TEST(Cleaned, CutsAtTheLimit) {
    EXPECT_EQ(cleaned("abc\n", 3), "abc");
    EXPECT_EQ(cleaned("abc", 0), "");
}

TEST(RefusalNames, AreCleanAndBounded) {
    const std::string longest(1000, 'x');
    const RefusalNames names({longest, longest, longest});
    EXPECT_EQ(names.gateway.size(), 255U);
    EXPECT_EQ(names.client.size(), 64U);
    EXPECT_EQ(names.session.size(), 64U);
    const RefusalNames hostile({"g\r\nw", "1\"2", "i\xff"});
    EXPECT_EQ(hostile.gateway + " " + hostile.client + " " + hostile.session, "g??w 1?2 i?");
}

TEST(SentenceOf, PutsTheClientInItsPlace) {
    const RefusalNames names({"gw", "203.0.113.9", "7f3a"});
    EXPECT_EQ(sentenceOf({"x", "Too many connections from {}"}, names),
              "Too many connections from 203.0.113.9");
    EXPECT_EQ(sentenceOf({"x", "{}: no"}, names), "203.0.113.9: no");
    EXPECT_EQ(sentenceOf({"x", "Server busy"}, names), "Server busy");
    EXPECT_EQ(sentenceOf({"x", "{} has no place"}, RefusalNames({"gw", "{}{}", "7f3a"})), "{}{} has no place")
        << "what a client brings is no pattern";
}

TEST(UnquotedReplyLine, NamesTheSessionBehindTheSentence) {
    EXPECT_EQ(unquotedReplyLine({"* BYE [LIMIT]", "Too many connections from {}"},
                                RefusalNames({"gw", "203.0.113.9", "7f3a"})),
              "* BYE [LIMIT] Too many connections from 203.0.113.9 (7f3a)\r\n");
}

}  // namespace
}  // namespace mailgate
