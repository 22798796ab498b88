// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite/migrator.h"

#include "tests/unit/store/support.h"

#include <array>

namespace mailgate::store::sqlite {
namespace {

using Kind = StoreError::Kind;

std::string firstVersion() {
    return "CREATE TABLE fruit(name TEXT)";
}
std::string secondVersion() {
    return "ALTER TABLE fruit ADD COLUMN colour TEXT DEFAULT 'green'";
}
std::string brokenVersion() {
    return "CREATE TABLE stone(name TEXT); CREATE TABLE fruit(name TEXT)";
}

constexpr std::array<Schema::Migration, 3> kScripts{firstVersion, secondVersion, brokenVersion};

/// The first `versions` of them.
constexpr Migrator migrator(std::size_t versions) {
    return Migrator({.application_id = 4'711,
                     .migrations = std::span(kScripts).first(versions),
                     .page_size = 1'024,
                     .empty_kind = Kind::Damaged,
                     .empty = "there is no fruit",
                     .foreign = "holds no fruit",
                     .elsewhere = "look elsewhere",
                     .before = "wait"});
}

class MigratorTest : public testing::Test {
  protected:
    template <typename Work>
    std::string failureOf(Kind kind, Work work) {
        Database database(file_, {});
        try {
            work(database);
        } catch (const StoreError& error) {
            EXPECT_EQ(error.kind(), kind);
            return error.what();
        }
        return "";
    }
    std::string failureToMigrate(Kind kind, std::size_t versions, bool create = true) {
        return failureOf(kind, [&](Database& database) { migrator(versions).migrate(database, create); });
    }
    void migrate(std::size_t versions) {
        Database database(file_, {});
        migrator(versions).migrate(database, true);
    }
    std::string value(const std::string& sql) { return Shell(file_).value(sql); }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("fruit.db");
};

TEST_F(MigratorTest, ANewFileIsMadeOfTheCurrentVersion) {
    migrate(2);
    EXPECT_EQ(value("PRAGMA application_id"), "4711");
    EXPECT_EQ(value("PRAGMA user_version"), "2");
    EXPECT_EQ(value("PRAGMA page_size"), "1024");
    EXPECT_EQ(value("PRAGMA journal_mode"), "wal");
    EXPECT_EQ(value("SELECT count(colour) FROM fruit"), "0");
}

TEST_F(MigratorTest, AnOlderFileIsBroughtUpToDateAndKeepsItsRows) {
    migrate(1);
    Shell(file_).run("INSERT INTO fruit VALUES ('apple')");
    migrate(2);
    migrate(2);
    EXPECT_EQ(value("SELECT name || ' ' || colour FROM fruit"), "apple green");
}

TEST_F(MigratorTest, AScriptThatFailsLeavesTheVersionBefore) {
    migrate(1);
    EXPECT_NE(failureToMigrate(Kind::Other, 3), "");
    EXPECT_EQ(value("PRAGMA user_version"), "1");
    EXPECT_EQ(value("SELECT count(*) FROM sqlite_schema"), "1");
}

TEST_F(MigratorTest, AnUpgradeIsTold) {
    std::string told;
    const Upgrade upgrade{.begins = [&] { told += "begins "; },
                          .commits = [&] { told += "commits at " + value("PRAGMA user_version") + " "; },
                          .done = [&] { told += "done at " + value("PRAGMA user_version"); }};
    Database database(file_, {});
    migrator(1).migrate(database, true, upgrade);
    EXPECT_EQ(told, "") << "a new file is none";
    migrator(2).migrate(database, true, upgrade);
    EXPECT_EQ(told, "begins commits at 1 done at 2");
    migrator(2).migrate(database, true, upgrade);
    EXPECT_EQ(told, "begins commits at 1 done at 2");
    told.clear();
    EXPECT_THROW(migrator(3).migrate(database, true, upgrade), StoreError);
    EXPECT_EQ(told, "begins ");
}

TEST_F(MigratorTest, AnEmptyFileIsRefusedUnlessItMayBeMade) {
    EXPECT_EQ(failureToMigrate(Kind::Damaged, 1, false), file_ + ": there is no fruit");
}

TEST_F(MigratorTest, AnotherProgramsDatabaseIsLeftAlone) {
    Shell(file_).run("CREATE TABLE mail(id INTEGER)");
    EXPECT_EQ(failureToMigrate(Kind::Open, 1),
              file_ + ": this SQLite database holds no fruit (application_id 0): look elsewhere");
    Shell(file_).run("PRAGMA application_id = 7");
    EXPECT_EQ(failureToMigrate(Kind::Open, 1),
              file_ + ": this SQLite database holds no fruit (application_id 7): look elsewhere");
    EXPECT_EQ(value("PRAGMA journal_mode"), "delete");
}

TEST_F(MigratorTest, ANewerVersionIsLeftAlone) {
    migrate(2);
    EXPECT_EQ(
        failureToMigrate(Kind::NewerSchema, 1),
        file_ + ": written by a newer mailgate (schema 2, this one knows 1): install that version or wait");
    EXPECT_EQ(value("PRAGMA user_version"), "2");
}

TEST_F(MigratorTest, WhoMayNotUpgradeAsksForTheCurrentVersion) {
    migrate(1);
    const auto require = [](Database& database) { migrator(2).requireCurrent(database); };
    EXPECT_EQ(failureOf(Kind::Other, require),
              file_ + ": has an older schema (1): it is upgraded when mailgate serve opens it");
    EXPECT_EQ(value("PRAGMA user_version"), "1");
    migrate(2);
    EXPECT_EQ(failureOf(Kind::Other, require), "");
}

}  // namespace
}  // namespace mailgate::store::sqlite
