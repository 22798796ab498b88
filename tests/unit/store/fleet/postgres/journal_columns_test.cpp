// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/journal_columns.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mailgate::store::postgres {
namespace {

using namespace std::string_literals;

TEST(JournalColumns, KeepWhatIsUtf8) {
    for (const std::string text : {"", "alice@example.org", "jörg@bücher.example", "\xF0\x9F\x93\xA7 \\ \n",
                                   "\xED\x9F\xBF\xEE\x80\x80", "\xF4\x8F\xBF\xBF"})
        EXPECT_EQ(storable(text), text);
}

TEST(JournalColumns, WriteOutWhatTheDatabaseCannotHave) {
    EXPECT_EQ(storable("a\0b"s), "a\\x00b");
    EXPECT_EQ(storable("j\xF6rg"), "j\\xF6rg");
    EXPECT_EQ(storable("\xC3"), "\\xC3") << "cut off";
    EXPECT_EQ(storable("\xC0\x80"), "\\xC0\\x80") << "longer than it need be";
    EXPECT_EQ(storable("\xE0\x80\x80"), "\\xE0\\x80\\x80");
    EXPECT_EQ(storable("\xED\xA0\x80"), "\\xED\\xA0\\x80") << "half of a pair of UTF-16";
    EXPECT_EQ(storable("\xF4\x90\x80\x80"), "\\xF4\\x90\\x80\\x80") << "beyond Unicode";
    EXPECT_EQ(storable("\xE2\x82 \xE2\x82\xAC"), "\\xE2\\x82 \xE2\x82\xAC");
}

TEST(JournalColumns, FoldWhatIsSearchedFor) {
    EXPECT_EQ(searchKey("Alice@Example.ORG"), "alice@example.org");
    EXPECT_EQ(searchKey("JÖRG@BÜCHER.example"), searchKey("jörg@xn--bcher-kva.example"));
    EXPECT_EQ(senderKey("Alice@Example.ORG"), "example.org@alice");
    EXPECT_EQ(senderKey("\"a@b\"@example.org"), "example.org@\"a@b\"");
    EXPECT_EQ(senderKey("postmaster"), "@postmaster");
    EXPECT_EQ(senderKey(""), "");
    EXPECT_EQ(recipientKeys("Bob@Example.net"),
              (std::vector<std::string>{"bob@example.net", "@example.net"}));
    EXPECT_EQ(recipientKeys("Postmaster"), (std::vector<std::string>{"postmaster"}));
}

}  // namespace
}  // namespace mailgate::store::postgres
