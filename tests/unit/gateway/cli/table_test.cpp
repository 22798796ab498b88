// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/table.h"

#include <gtest/gtest.h>

namespace mailgate::cli {
namespace {

TEST(TableTest, ColumnsAreAsWideAsTheirWidestCell) {
    Table table({"NAME", "N", "NOTE"});
    table.add({"mx", "1", "the first"});
    table.add({"submission", "12345", "x"});
    EXPECT_EQ(table.text(),
              "NAME        N      NOTE\n"
              "mx          1      the first\n"
              "submission  12345  x\n");
}

TEST(TableTest, NoLineEndsWithBlanks) {
    Table table({"A", "B"});
    table.add({"long cell", ""});
    table.add({"", ""});
    EXPECT_EQ(table.text(), "A          B\nlong cell\n\n");
}

TEST(TableTest, RowsMayBeShorterOrLongerThanTheHeading) {
    Table table({"A"});
    table.add({"1", "2"});
    table.add({});
    EXPECT_EQ(table.text(), "A\n1  2\n\n");
}

TEST(TableTest, WithoutRowsThereIsNothing) {
    EXPECT_EQ(Table().text(), "");
}

TEST(TableTest, ACellObeysNobodysTerminal) {
    Table table;
    table.add({"a\nb", "\x1B[2J", "\xFF", "say \"x\\y\"", "\xE2\x80\xAE"});
    EXPECT_EQ(table.text(), "a\\u000ab  \\u001b[2J  \xEF\xBF\xBD    say \\\"x\\\\y\\\"  \\u202e\n");
}

TEST(TableTest, OtherLettersThanAsciiDoNotMoveTheColumns) {
    Table table;
    table.add({"B\xC3\xBCro", "1"});
    table.add({"office", "2"});
    const std::string text = table.text();
    EXPECT_EQ(text, "B\xC3\xBCro    1\noffice  2\n");
}

TEST(TableTest, WordsOfATable) {
    EXPECT_EQ(orDash(""), "-");
    EXPECT_EQ(orDash("x"), "x");
    EXPECT_EQ(counted(0, "rule"), "0 rules");
    EXPECT_EQ(counted(1, "rule"), "1 rule");
    EXPECT_EQ(counted(2, "rule"), "2 rules");
}

}  // namespace
}  // namespace mailgate::cli
