// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/toml_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace mailgate::config {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A document's root, read as table "t" of a file "f".
class Document {
  public:
    explicit Document(std::string_view text) : root_(toml::parse(text)) {}
    TableReader reader() { return {&root_, "t", {1, 1}, problems_}; }
    std::string errors() const { return problems_.errorText(); }

  private:
    toml::table root_;
    Problems problems_{"f"};
};

std::string times(std::string_view text, std::size_t count) {
    std::string all;
    for (; count > 0; --count)
        all += text;
    return all;
}

TEST(TooDeep, SeesWhereADocumentNestsDeeperThanAnyConfiguration) {
    constexpr std::size_t kDeep = 200'000;
    for (const std::string& text :
         {times("a.", kDeep) + "a = 1", times("a . ", kDeep) + "a = 1", "\n[" + times("a.", kDeep) + "a]",
          "[[" + times("a.", kDeep) + "a]]", times("\"a\".", kDeep) + "a = 1", times("'a'.", kDeep) + "a = 1",
          "a = " + times("[", kDeep) + times("]", kDeep), "a = " + times("[\n", kDeep),
          "a = " + times("{a=", kDeep), "a = " + times("{a.a.a=", kDeep),
          "a = {" + times("a.", kDeep) + "a = 1}", "a = \"\"\"\"\"\"\n" + times("b.", kDeep) + "b = 1"})
        EXPECT_TRUE(tooDeep(text)) << text.substr(0, 30);
    const auto where = tooDeep("\n\na = [" + times("[", 32));
    ASSERT_TRUE(where);
    EXPECT_EQ(where->line, 3u);
    EXPECT_EQ(where->column, 37u);
    EXPECT_FALSE(tooDeep("\n\na = " + times("[", 32)));
}

TEST(TooDeep, DotsAndBracketsInTextsAndCommentsAndManyInARowAreNoneOfIt) {
    for (const std::string& text :
         {std::string(), "# " + times("[a.", 100), "a = \"" + times("a.[", 100) + "\" # it's\nb = 1",
          "a = 'file:" + times("/.", 100) + "'", "a = \"\\\"" + times("[", 100) + "\"",
          "a = '''\n" + times("[\n", 100) + "'''", "a = [" + times("1.5, ", 1'000) + "]",
          "b = [" + times("[1], ", 1'000) + "]", std::string("a = \"never closed\\"), std::string("'")})
        EXPECT_FALSE(tooDeep(text)) << text.substr(0, 30);
}

TEST(Problems, AreToldInTheFilesOrderWhateverTheOrderTheyWereFoundIn) {
    Problems problems("gw.toml");
    EXPECT_FALSE(problems.hasErrors());
    problems.warning({9, 2}, "b", "doubtful");
    EXPECT_FALSE(problems.hasErrors()) << "a warning is none";
    problems.error({3, 7}, "c", "later");
    problems.error({3, 1}, "a", "first at its place");
    problems.error({3, 1}, "a", "second at its place");
    problems.error({0, 0}, "", "of a document without a line");
    problems.warning({2, 1}, "a", "before");
    EXPECT_TRUE(problems.hasErrors());
    EXPECT_EQ(problems.errorText(),
              "gw.toml:1:1: of a document without a line\n"
              "gw.toml:3:1: a: first at its place\n"
              "gw.toml:3:1: a: second at its place\n"
              "gw.toml:3:7: c: later");
    EXPECT_THAT(problems.warnings(),
                ElementsAre("gw.toml:2:1: warning: a: before", "gw.toml:9:2: warning: b: doubtful"));
}

TEST(Nearest, IsAWordThatWasProbablyMeant) {
    const std::vector<std::string> words{"listener", "level", "log", "timeouts"};
    EXPECT_EQ(nearest("listner", words), "listener");
    EXPECT_EQ(nearest("levle", words), "level") << "two swapped letters";
    EXPECT_EQ(nearest("lag", words), "log");
    EXPECT_EQ(nearest("lgo", words), "") << "of three letters that is another word";
    EXPECT_EQ(nearest("zzz", words), "");
    EXPECT_EQ(nearest("", words), "");
    EXPECT_EQ(nearest("log", {}), "");
    EXPECT_EQ(nearest(std::string(65, 'l'), std::vector{std::string(65, 'l')}), "") << "too dear to compare";
    EXPECT_EQ(didYouMean("timeout", words), " (did you mean \"timeouts\"?)");
    EXPECT_EQ(didYouMean("zzz", words), "");
}

TEST(TableReaderTest, ReadsEachKindOfValue) {
    Document document(
        "text = \"a\"\nflag = true\nnumber = -5\nsize = \"1KiB\"\nbytes = 536\ntime = \"90s\"\nword = "
        "\"off\"\n");
    TableReader table = document.reader();
    std::string text;
    bool flag = false;
    std::int64_t number = 0;
    std::size_t size = 0, bytes = 0;
    std::chrono::milliseconds time{};
    int word = 0;
    static constexpr Word<int> kWords[] = {{"on", 1}, {"off", 2}};
    EXPECT_TRUE(table.text("text", text));
    EXPECT_TRUE(table.boolean("flag", flag));
    EXPECT_TRUE(table.integer("number", number, -5, 5));
    EXPECT_TRUE(table.size("size", size, 0, 1024));
    EXPECT_TRUE(table.size("bytes", bytes, 536, 536));
    EXPECT_TRUE(table.duration("time", time, 90s, 90s));
    EXPECT_TRUE(table.choice<int>("word", word, kWords));
    EXPECT_EQ(text, "a");
    EXPECT_TRUE(flag);
    EXPECT_EQ(number, -5);
    EXPECT_EQ(size, 1024u);
    EXPECT_EQ(bytes, 536u);
    EXPECT_EQ(time, 90s);
    EXPECT_EQ(word, 2);
    table.rejectUnknown();
    EXPECT_EQ(document.errors(), "");
}

/// What reading `key = VALUE` as a kind says is wrong; the value before has to stay.
std::string wrong(const std::string& kind, const std::string& value) {
    static constexpr Word<int> kWords[] = {{"one", 1}, {"two", 2}, {"three", 3}};
    Document document("key = " + value);
    TableReader table = document.reader();
    std::string text = "kept";
    bool flag = true;
    std::int64_t number = 7;
    std::size_t size = 7;
    std::chrono::milliseconds time{7};
    int word = 7;
    const bool read = kind == "text"       ? table.text("key", text)
                      : kind == "boolean"  ? table.boolean("key", flag)
                      : kind == "integer"  ? table.integer("key", number, 1, 9)
                      : kind == "size"     ? table.size("key", size, 10, 2048)
                      : kind == "duration" ? table.duration("key", time, 1s, 1h)
                                           : table.choice<int>("key", word, kWords);
    EXPECT_FALSE(read) << kind << ' ' << value;
    EXPECT_TRUE(table.isWrong("key")) << kind << ' ' << value;
    EXPECT_TRUE(text == "kept" && flag && number == 7 && size == 7 && time == 7ms && word == 7) << value;
    EXPECT_THAT(document.errors(), testing::StartsWith("f:1:7: t.key: expected "));
    return document.errors().substr(std::string("f:1:7: t.key: expected ").size());
}

TEST(TableReaderTest, SaysWhatWasExpectedAndFoundAndKeepsTheValueBefore) {
    struct Case {
        const char *kind, *value, *error;
    };
    const Case cases[] = {
        {"text", "true", "a text in quotes, found true"},
        {"text", "3", "a text in quotes, found 3"},
        {"text", "0.5", "a text in quotes, found a fraction"},
        {"text", "[1]", "a text in quotes, found an array"},
        {"text", "{}", "a text in quotes, found a table"},
        {"text", "[{}]", "a text in quotes, found an array of tables"},
        {"text", "2026-11-20", "a text in quotes, found a date or time"},
        {"text", "\"a\\u0000b\"", "a text without control characters, found \"a\\u0000b\""},
        {"text", "\"\"\"a\nb\"\"\"", "a text without control characters, found \"a\\u000ab\""},
        {"boolean", "\"true\"", "true or false, found \"true\""},
        {"boolean", "1", "true or false, found 1"},
        {"integer", "0", "a whole number from 1 to 9, found 0"},
        {"integer", "10", "a whole number from 1 to 9, found 10"},
        {"integer", "5.0", "a whole number from 1 to 9, found a fraction"},
        {"integer", "\"5\"", "a whole number from 1 to 9, found \"5\""},
        {"size", "9", "a size from \"10\" to \"2KiB\", found 9"},
        {"size", "-1", "a size from \"10\" to \"2KiB\", found -1"},
        {"size", "\"3KiB\"", "a size from \"10\" to \"2KiB\", found \"3KiB\""},
        {"size", "\"1kb\"",
         "a size from \"10\" to \"2KiB\", found \"1kb\": the units are KiB, MiB and GiB (did you mean "
         "\"1KiB\"?)"},
        {"duration", "\"1h1m\"",
         "a duration such as \"250ms\", \"30s\", \"5m\", \"1h\" or \"7d\", found \"1h1m\""},
        {"duration", "30", "a duration such as \"250ms\", \"30s\", \"5m\", \"1h\" or \"7d\", found 30"},
        {"duration", "\"999ms\"", "a duration from 1s to 1h, found \"999ms\""},
        {"duration", "\"61m\"", "a duration from 1s to 1h, found \"61m\""},
        {"choice", "\"One\"", "\"one\", \"two\" or \"three\", found \"One\""},
        {"choice", "\"\\u001b[2J\"", "a text without control characters, found \"\\u001b[2J\""},
    };
    for (const Case& each : cases)
        EXPECT_EQ(wrong(each.kind, each.value), each.error) << each.kind;
}

TEST(TableReaderTest, WhatIsAbsentIsNotWrong) {
    Problems problems("f");
    TableReader table(nullptr, "t", {4, 2}, problems);
    std::string text = "default";
    EXPECT_FALSE(table.text("key", text));
    EXPECT_EQ(text, "default");
    EXPECT_THAT(table.texts("key"), IsEmpty());
    EXPECT_THAT(table.tables("key"), IsEmpty());
    EXPECT_FALSE(table.table("key").has("inner"));
    EXPECT_FALSE(table.has("key") || table.isWrong("key") || table.isEmptyText("key"));
    EXPECT_TRUE(table.isEmpty("key"));
    table.rejectUnknown();
    EXPECT_FALSE(problems.hasErrors());
    table.error("key", "missing");
    EXPECT_EQ(problems.errorText(), "f:4:2: t.key: missing") << "where the table stands";
}

TEST(TableReaderTest, TextsAreOneOrAnArrayEachWithItsPlace) {
    Document document("one = \"a\"\nmore = [\"b\",\n 3, \"c\", \"\\u0007\"]\nnone = []\n");
    TableReader table = document.reader();
    EXPECT_EQ(table.texts("one").at(0).text, "a");
    const auto more = table.texts("more");
    ASSERT_EQ(more.size(), 2u) << "the others are told of";
    EXPECT_EQ(more[1].text, "c");
    EXPECT_EQ(more[1].where.line, 3u);
    EXPECT_TRUE(table.isWrong("more"));
    EXPECT_FALSE(table.isEmpty("more"));
    EXPECT_TRUE(table.isEmpty("none"));
    EXPECT_EQ(document.errors(),
              "f:3:2: t.more: expected a text in quotes, or an array of them, found 3\n"
              "f:3:10: t.more: expected a text in quotes, or an array of them, found \"\\u0007\"");
}

TEST(TableReaderTest, TablesInsideHaveTheirPathAndPlace) {
    Document document("[a]\nx = 1\n[[b]]\nx = 2\n[[b]]\ny = 3\n[c]\n");
    TableReader table = document.reader();
    std::int64_t x = 0;
    EXPECT_TRUE(table.table("a").integer("x", x, 0, 9));
    EXPECT_EQ(x, 1);
    auto inner = table.tables("b");
    ASSERT_EQ(inner.size(), 2u);
    EXPECT_EQ(inner[1].pathOf("y"), "t.b.y");
    EXPECT_EQ(inner[1].where().line, 5u);
    inner[1].rejectUnknown();
    table.tables("c");
    table.table("b");
    EXPECT_EQ(document.errors(),
              "f:3:1: t.b: expected a table, [t.b], found an array of tables\n"
              "f:6:1: t.b.y: unknown key\n"
              "f:7:1: t.c: expected an array of tables, c = [{ ... }], found a table");
}

TEST(TableReaderTest, AKeyThatNobodyAskedForIsUnknown) {
    Document document("level = 1\nlevle = 2\n\"a\\u0007\" = 3\n" + std::string(100, 'k') + " = 4\n");
    TableReader table = document.reader();
    std::int64_t level = 0;
    table.integer("level", level, 0, 9);
    table.rejectUnknown();
    EXPECT_EQ(document.errors(),
              "f:2:1: t.levle: unknown key (did you mean \"level\"?)\n"
              "f:3:1: t.\"a\\u0007\": unknown key\n"
              "f:4:1: t.\"" +
                  std::string(80, 'k') + "...\": unknown key");
}

TEST(TableReaderTest, AnEmptyTextIsAValue) {
    Document document("off = \"\"\non = \"x\"\nnumber = 0\n");
    TableReader table = document.reader();
    EXPECT_TRUE(table.isEmptyText("off"));
    EXPECT_FALSE(table.isEmptyText("on") || table.isEmptyText("number"));
    table.rejectUnknown();
    EXPECT_EQ(document.errors(), "") << "they have been asked for";
}

}  // namespace
}  // namespace mailgate::config
