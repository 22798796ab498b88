// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/table.h"

#include <gmock/gmock.h>
#include <CLI/Error.hpp>

#include <sstream>

namespace mailgate::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> linesOf(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);)
        lines.push_back(line);
    return lines;
}

std::vector<Column> people() {
    return {{.name = "id", .title = "ID", .usual = 4},
            {.name = "name", .title = "NAME", .least = 6, .usual = 8},
            {.name = "place", .title = "PLACE", .least = 6, .leaves = 2, .usual = 8},
            {.name = "note", .title = "NOTE", .least = 6, .leaves = 1, .usual = 8},
            {.name = "age", .title = "AGE", .on_request = true}};
}

std::string tableOf(const std::vector<Table::Row>& rows, TableStyle style) {
    Table table(people(), std::move(style));
    for (const Table::Row& row : rows)
        table.add(row);
    return table.text();
}

const Table::Row kAnna{"1", "Anna", "Rome", "first", "30"};
Table::Row longRow() {
    return {"22", std::string(30, 'n'), std::string(20, 'p'), std::string(10, 't'), "31"};
}

TEST(TableTest, ColumnsAreAsWideAsTheirWidestCell) {
    EXPECT_EQ(tableOf({kAnna, {"12345", "Bob", "Berlin", "x", "1"}}, {}),
              "ID     NAME  PLACE   NOTE\n"
              "1      Anna  Rome    first\n"
              "12345  Bob   Berlin  x\n");
}

TEST(TableTest, ColumnsAreNamedAsInTheirHeadingAndAsInJsonToo) {
    Table table({{.name = "last-hit", .title = "LAST HIT", .also = {"last_hit_at"}},
                 {.name = "by", .title = "BY", .also = {"created_by"}}},
                {.columns = {"created_by", "LAST HIT", "last_hit", "last-hit-at"}});
    table.add({"1", "2"});
    EXPECT_EQ(table.text(), "BY  LAST HIT  LAST HIT  LAST HIT\n2   1         1         1\n");
}

TEST(TableTest, NoLineEndsWithBlanks) {
    EXPECT_EQ(tableOf({{"1", "", "", "", ""}, {"", "", "", "", ""}}, {}), "ID  NAME  PLACE  NOTE\n1\n\n");
}

TEST(TableTest, WithoutRowsThereIsNothing) {
    EXPECT_EQ(tableOf({}, {}), "");
}

TEST(TableTest, WithoutALimitAMonstrousCellMovesItsOwnRowOnly) {
    const std::string monster(61, 'x');
    EXPECT_EQ(tableOf({{"1", monster, "Rome", "", ""}, kAnna}, {}),
              "ID  NAME  PLACE  NOTE\n"
              "1   " +
                  monster + "  Rome\n1   Anna  Rome   first\n");
}

TEST(TableTest, WithALimitTheWidestAreClippedFirst) {
    // 2 + 30 + 20 + 10 and three gaps are 68.
    EXPECT_THAT(
        linesOf(tableOf({longRow()}, {.width = 68})),
        ElementsAre(testing::_, "22  " + std::string(30, 'n') + "  pppppppppppppppppppp  tttttttttt"));
    EXPECT_THAT(
        linesOf(tableOf({longRow()}, {.width = 60})),
        ElementsAre(testing::_, "22  " + std::string(21, 'n') + "\u2026  pppppppppppppppppppp  tttttttttt"));
}

TEST(TableTest, WhatIsToStayWholeIsNotClippedWhereOthersOfItsColumnAre) {
    Table table({{.name = "id", .title = "ID", .least = 4}, {.name = "text", .title = "TEXT", .least = 4}},
                {.width = 60});
    Cell id("0123456789abcdef");
    id.whole = true;
    table.add({id, std::string(80, 'x')});
    table.add({std::string(70, 'y'), "-"});
    const std::string text = table.text();
    EXPECT_THAT(text, HasSubstr("0123456789abcdef "));
    EXPECT_THAT(text, HasSubstr("yyy…"));
}

TEST(TableTest, WhatIsToStayWholeMovesTowardsItsTitleWhereAFieldHasALine) {
    Table table({{.name = "network", .title = "NETWORK"}, {.name = "last-hit", .title = "LAST HIT (+01:00)"}},
                {.width = 59});
    const std::string network = "2001:db8:ffff:ffff:ffff:ffff:ffff:fff0/124";
    table.add({network, "-"});
    table.add({"192.0.2.0/24", ""});
    EXPECT_THAT(linesOf(table.text()), ElementsAre("NETWORK          " + network, "LAST HIT (+01:00)  -", "",
                                                   "NETWORK            192.0.2.0/24", "LAST HIT (+01:00)"));
}

TEST(TableTest, ColumnsLeaveInTheirOrderWhereClippingDoesNotDo) {
    std::vector<Column> columns = people();
    for (Column& column : columns)
        if (column.name != "id") column.least = 20;
    const auto titles = [&](std::size_t width) {
        Table table(columns, {.width = width});
        table.add({"1", std::string(30, 'n'), std::string(30, 'p'), std::string(30, 't'), ""});
        return linesOf(table.text()).front();
    };
    EXPECT_THAT(titles(68), testing::ContainsRegex("^ID +NAME +PLACE +NOTE"));
    EXPECT_THAT(titles(67), testing::ContainsRegex("^ID +NAME +PLACE$"));
    EXPECT_THAT(titles(60), testing::ContainsRegex("^ID +NAME +PLACE$"));
}

TEST(TableTest, AWideCellMovesWhatFollowsInItsOwnRowWhereNothingElseCanLeave) {
    const auto tableFor = [](std::size_t width, const Cell& state) {
        Table table({{.name = "client", .title = "CLIENT", .moves = 9},
                     {.name = "from", .title = "FROM", .least = 6, .leaves = 1},
                     {.name = "end", .title = "END", .least = 20}},
                    {.width = width});
        table.add({std::string(50, 'c'), "alice", state});
        table.add({"192.0.2.1", "bob", std::string(20, 'e')});
        return table.text();
    };
    EXPECT_EQ(linesOf(tableFor(80, "quit")).front(), "CLIENT" + std::string(46, ' ') + "FROM   END");
    EXPECT_EQ(tableFor(60, "client_quit"), "CLIENT" + std::string(34, ' ') + "END\n" + std::string(50, 'c') +
                                               "  client_…\n192.0.2.1" + std::string(31, ' ') +
                                               std::string(20, 'e') + "\n");
    Cell verdict("client_quit (would refuse)");
    verdict.brief = "would refuse";
    EXPECT_THAT(tableFor(60, verdict), HasSubstr("CLIENT  " + std::string(50, 'c') + "\n"))
        << "what is not to be clipped is not";
    Table following({{.name = "client", .title = "CLIENT", .moves = 9, .usual = 9},
                     {.name = "end", .title = "END", .least = 20, .usual = 49}},
                    {.width = 60, .follows = true});
    following.text();
    following.add({std::string(40, 'c'), std::string(30, 'e')});
    EXPECT_EQ(following.text(), std::string(40, 'c') + "  " + std::string(17, 'e') + "…\n");
    verdict.brief = std::string(30, 'w');
    following.add({std::string(40, 'c'), verdict});
    EXPECT_THAT(following.text(), HasSubstr("  client_quit (would refuse)\n")) << "not even there";
}

TEST(TableTest, WhatIsNeverClippedOrLeftOutMakesFactsOfTheRows) {
    Table table({{.name = "id", .title = "ID"}, {.name = "time", .title = "TIME"}}, {.width = 60});
    table.add({std::string(30, 'i'), std::string(30, 't')});
    table.add({"2", "x"});
    EXPECT_EQ(
        table.text(),
        "ID    iiiiiiiiiiiiiiiiiiiiiiiiiiiiii\nTIME  tttttttttttttttttttttttttttttt\n\nID    2\nTIME  x\n");
}

TEST(TableTest, ANarrowTerminalGetsAFactALine) {
    EXPECT_EQ(
        tableOf({kAnna, longRow()}, {.width = 25}),
        "ID     1\nNAME   Anna\nPLACE  Rome\nNOTE   first\n\n"
        "ID     22\nNAME   nnnnnnnnnnnnnnnnn\u2026\nPLACE  ppppppppppppppppp\u2026\nNOTE   tttttttttt\n");
}

TEST(TableTest, WantedColumnsStandInTheirOrderAndStay) {
    EXPECT_EQ(tableOf({kAnna}, {.columns = {"age", "id"}}), "AGE  ID\n30   1\n");
    EXPECT_THAT(
        linesOf(tableOf({longRow()}, {.width = 60, .columns = {"note", "place", "name", "id", "age"}}))
            .front(),
        testing::ContainsRegex("^NOTE +PLACE +NAME +ID +AGE$"));
    try {
        tableOf({}, {.columns = {"id", "sh\x1Boe"}});
        FAIL();
    } catch (const CLI::ValidationError& error) {
        EXPECT_STREQ(error.what(),
                     "--columns: there is no column \"sh\\u001boe\": expected id, name, place, note, age");
    }
}

TEST(TableTest, FurtherRowsStandInTheSameColumns) {
    Table table(people(), {.follows = true});
    EXPECT_EQ(table.text(), "ID    NAME      PLACE     NOTE\n");
    EXPECT_EQ(table.text(), "");
    table.add(kAnna);
    EXPECT_EQ(table.text(), "1     Anna      Rome      first\n");
    table.add({"2", "Maximilian", "Rome", "x", ""});
    EXPECT_EQ(table.text(), "2     Maximilian  Rome      x\n");
}

TEST(TableTest, FurtherRowsFitTheTerminalToo) {
    Table table(people(), {.width = 60, .follows = true});
    table.add(kAnna);
    EXPECT_EQ(linesOf(table.text()).size(), 2u);
    table.add(longRow());
    EXPECT_EQ(table.text(), "22    nnnnnnn\u2026  ppppppp\u2026  ttttttt\u2026\n");
    Table facts(people(), {.width = 30, .follows = true});
    EXPECT_EQ(facts.text(), "");
    facts.add(kAnna);
    EXPECT_EQ(facts.text(), "ID     1\nNAME   Anna\nPLACE  Rome\nNOTE   first\n");
    facts.add(kAnna);
    EXPECT_EQ(linesOf(facts.text()).front(), "");
}

TEST(TableTest, StatesHaveColoursBesideTheirWidth) {
    const Table::Row row{"1", {"DOWN", Colour::Bad}, "x", {"up", Colour::Good}, ""};
    EXPECT_EQ(tableOf({row}, {.colours = true}),
              "ID  NAME  PLACE  NOTE\n1   \x1B[31mDOWN\x1B[0m  x      \x1B[32mup\x1B[0m\n");
    EXPECT_EQ(tableOf({row}, {}), "ID  NAME  PLACE  NOTE\n1   DOWN  x      up\n");
    EXPECT_THAT(tableOf({{"1", {std::string(90, 'x'), Colour::Warning}, "x", "x", ""}},
                        {.width = 60, .colours = true}),
                HasSubstr("\u2026\x1B[0m  x"));
    EXPECT_THAT(tableOf({row}, {.width = 30, .colours = true}), HasSubstr("NAME   \x1B[31mDOWN\x1B[0m\n"));
}

TEST(TableTest, ACellObeysNobodysTerminal) {
    const std::string text = tableOf(
        {{"a\nb", "\x1B[31m", "\xFF", "say \"x\\y\"", ""}, {"\u202E", "\u0301x", "\u4E2D\u6587", "1", ""}},
        {.colours = true});
    EXPECT_EQ(text,
              "ID        NAME        PLACE  NOTE\n"
              "a\\u000ab  \\u001b[31m  \uFFFD      say \"x\\y\"\n"
              "\\u202e    \\u0301x     \u4E2D\u6587   1\n");
}

TEST(TableTest, FactsStandBehindLabelsOfOneWidth) {
    Facts facts;
    facts.add("from", "a\x1B[2J");
    facts.add("queue id", "B\u00FCro");
    facts.add("none", "");
    EXPECT_EQ(facts.text(), "from      a\\u001b[2J\nqueue id  B\u00FCro\nnone\n");
}

TEST(TableTest, WordsOfATable) {
    EXPECT_EQ(orDash(""), "-");
    EXPECT_EQ(orDash("x"), "x");
    EXPECT_EQ(counted(0, "rule"), "0 rules");
    EXPECT_EQ(counted(1, "rule"), "1 rule");
    EXPECT_EQ(counted(2, "rule"), "2 rules");
    EXPECT_EQ(counted(20'085, "rule"), "20,085 rules");
    EXPECT_EQ(grouped(0), "0");
    EXPECT_EQ(grouped(999), "999");
    EXPECT_EQ(grouped(1'532), "1,532");
    EXPECT_EQ(grouped(1'234'567), "1,234,567");
}

}  // namespace
}  // namespace mailgate::cli
