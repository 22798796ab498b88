// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite/feed.h"

#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

#include <new>
#include <stdexcept>

namespace mailgate::store::sqlite {
namespace {

/// 1, "1"; 2, NULL; 3, "3"; and so on.
class Counting final : public Feed {
  public:
    explicit Counting(std::int64_t rows) : rows_(rows) {}
    void begin() override { at_ = 0; }
    bool next() override {
        if (at_ == fails_behind) throw std::runtime_error("no more");
        text_ = std::to_string(++at_);
        return at_ <= rows_;
    }
    Cell cell(int column) const override {
        if (column == 0) return at_;
        if (at_ % 2 == 0) return {};
        return std::string_view(text_);
    }

    std::int64_t fails_behind = -1;

  private:
    const std::int64_t rows_;
    std::int64_t at_ = 0;
    std::string text_;
};

class FeedTest : public testing::Test {
  protected:
    std::unique_ptr<Database> database_ = Database::inMemory("a file");
};

TEST_F(FeedTest, IsATableAsOftenAsItIsReadAndWhileItLives) {
    database_->run("CREATE TABLE kept(id INTEGER PRIMARY KEY, text TEXT) STRICT");
    {
        Counting rows(1'000);
        FeedTable table(*database_, "fed", "number, text", rows);
        table.run("INSERT INTO kept SELECT number, text FROM fed");
        table.run("INSERT INTO kept SELECT number + 1000, text FROM fed");
        EXPECT_EQ(database_->number("SELECT count(*) FROM fed WHERE text = '7'"), 1);
    }
    EXPECT_EQ(database_->number("SELECT sum(id) FROM kept"), 2'001'000);
    EXPECT_EQ(database_->text("SELECT text FROM kept WHERE id = 1007"), "7");
    EXPECT_EQ(database_->number("SELECT count(*) FROM kept WHERE text IS NULL"), 1'000);
    EXPECT_THROW(database_->run("SELECT * FROM fed"), StoreError);
}

TEST_F(FeedTest, NoRowsAreNone) {
    Counting rows(0);
    const FeedTable table(*database_, "fed", "number, text", rows);
    EXPECT_EQ(database_->number("SELECT count(*) FROM fed"), 0);
}

TEST_F(FeedTest, WhatItThrowsEndsTheStatementAndIsThrownOn) {
    database_->run("CREATE TABLE kept(id INTEGER)");
    Counting rows(10);
    rows.fails_behind = 5;
    FeedTable table(*database_, "fed", "number, text", rows);
    EXPECT_THROW(table.run("INSERT INTO kept SELECT number FROM fed"), std::runtime_error);
    EXPECT_EQ(database_->number("SELECT count(*) FROM kept"), 0);
    EXPECT_THROW(table.run("INSERT INTO nowhere SELECT number FROM fed"), StoreError);
}

TEST_F(FeedTest, AFunctionMakesTextsOfWhatItIsGiven) {
    std::string made;
    const TextFunction function(*database_, "told", 2, [&](const Arguments& given) {
        made = given.isNull(0) ? "nothing" : std::to_string(given.number(0) + 1);
        made += given.text(1);
        return std::string_view(made);
    });
    EXPECT_EQ(database_->text("SELECT told(1, ' of ') || told(NULL, '')"), "2 of nothing");
}

TEST_F(FeedTest, AFunctionThatFindsNoMemoryIsNoOtherError) {
    const TextFunction function(*database_, "told", 0,
                                [](const Arguments&) -> std::string_view { throw std::bad_alloc(); });
    EXPECT_THROW(database_->text("SELECT told()"), std::bad_alloc);
}

// A file's own statements are somebody else's.
TEST_F(FeedTest, AFunctionIsNotForTheFilesOwnStatements) {
    const TextFunction function(*database_, "told", 0,
                                [](const Arguments&) { return std::string_view("a"); });
    database_->run("CREATE TABLE t(a); CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT told(); END");
    EXPECT_THROW(database_->run("INSERT INTO t VALUES (1)"), StoreError);
}

}  // namespace
}  // namespace mailgate::store::sqlite
