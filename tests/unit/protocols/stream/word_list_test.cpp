// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/word_list.h"

#include <gtest/gtest.h>

namespace mailgate {
namespace {

bool isGone(std::string_view word) {
    return word == "gone";
}

TEST(WordList, LosesWordsAndNothingElse) {
    EXPECT_EQ(withoutWords("a gone b", isGone), "a b");
    EXPECT_EQ(withoutWords("gone a", isGone), "a");
    EXPECT_EQ(withoutWords(" gone a", isGone), " a");
    EXPECT_EQ(withoutWords("gone gone  a  b gone ", isGone), "a  b ");
    EXPECT_EQ(withoutWords("gone", isGone), "");
    EXPECT_EQ(withoutWords("a\tgone\tb", isGone), "a\tb");
    EXPECT_EQ(withoutWords("a b", isGone), std::nullopt);
    EXPECT_EQ(withoutWords("", isGone), std::nullopt);
    EXPECT_EQ(withoutWords("  ", isGone), std::nullopt);
}

TEST(WordList, HasWholeWordsInAnyCase) {
    EXPECT_TRUE(hasWord("IMAP4rev1 starttls", "STARTTLS"));
    EXPECT_FALSE(hasWord("STARTTLSX XSTARTTLS", "STARTTLS"));
    EXPECT_FALSE(hasWord("", "STARTTLS"));
    EXPECT_TRUE(isBlank(" \t\r"));
    EXPECT_FALSE(isBlank(" x"));
}

TEST(WordList, KnowsMechanismsThatBindTheChannel) {
    EXPECT_TRUE(bindsChannel("SCRAM-SHA-256-PLUS"));
    EXPECT_TRUE(bindsChannel("AUTH=scram-sha-1-plus"));
    EXPECT_FALSE(bindsChannel("SCRAM-SHA-256"));
    EXPECT_FALSE(bindsChannel("PLUS"));
    EXPECT_FALSE(bindsChannel("SCRAM-PLUS-X"));
}

}  // namespace
}  // namespace mailgate
