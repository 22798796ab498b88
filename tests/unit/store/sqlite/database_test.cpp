// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite/database.h"

#include "store/sqlite/copy.h"

#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

namespace mailgate::store::sqlite {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Kind = StoreError::Kind;

constexpr std::chrono::milliseconds kNoWait{0};

class DatabaseTest : public testing::Test {
  protected:
    template <typename Work>
    static std::string failureOf(Kind kind, Work work) {
        try {
            work();
        } catch (const StoreError& error) {
            EXPECT_EQ(error.kind(), kind) << error.what();
            return error.what();
        }
        ADD_FAILURE() << "nothing was wrong";
        return "";
    }
    static std::string failureToOpen(Kind kind, const std::string& path, const OpenOptions& options = {}) {
        const std::string words = failureOf(kind, [&] { const Database database(path, options); });
        EXPECT_THAT(words, StartsWith(path + ": "));
        return words;
    }
    /// With a table and rows of some pages.
    void fill() {
        Database database(file_, {});
        database.run(
            "CREATE TABLE t(a); INSERT INTO t WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1"
            " FROM n WHERE x < 2000) SELECT printf('%040d', x) FROM n");
    }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("some.db");
};

TEST_F(DatabaseTest, AUrlNamesAPath) {
    EXPECT_EQ(pathOf("sqlite:rules.db"), "rules.db");
    EXPECT_EQ(pathOf("sqlite:/var/lib/a:b"), "/var/lib/a:b");
    for (const char* url : {"", "sqlite:", "sqlite", "SQLITE:x", "postgresql://db/x", "/var/lib/rules.db"})
        EXPECT_THAT(failureOf(Kind::BadInput, [&] { pathOf(url); }), HasSubstr("sqlite:PATH")) << url;
    EXPECT_EQ(failureOf(Kind::BadInput, [] { pathOf("a\nb"); }).find('\n'), std::string::npos);
}

TEST_F(DatabaseTest, PlacesThatCannotHoldOne) {
    EXPECT_THAT(failureToOpen(Kind::Open, folder_.file("missing/some.db")), HasSubstr("does not exist"));
    const std::string link = folder_.file("link.db");
    std::filesystem::create_symlink("missing/some.db", link);
    EXPECT_THAT(failureToOpen(Kind::Open, link),
                HasSubstr("is a link to " + folder_.file("missing/some.db") + ": the folder"));
    EXPECT_THAT(failureToOpen(Kind::Open, folder_.path().string()), HasSubstr("is not a file"));
    const std::string pipe = folder_.file("pipe");
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    EXPECT_THAT(failureToOpen(Kind::Open, pipe), HasSubstr("is not a file"));
}

TEST_F(DatabaseTest, IsMadeOnlyWhereItMayBe) {
    const OpenOptions resume{.create = false, .when_damaged = "call for help"};
    EXPECT_THAT(failureToOpen(Kind::Open, file_, resume), HasSubstr("the file is gone"));
    EXPECT_FALSE(std::filesystem::exists(file_));
    EXPECT_FALSE(examine(file_, {}));
    std::ofstream(file_).close();
    EXPECT_EQ(failureToOpen(Kind::Damaged, file_, resume), file_ + ": the file is empty: call for help");
    EXPECT_FALSE(examine(file_, {}));
    Database(file_, {}).run("CREATE TABLE t(a)");
    EXPECT_TRUE(examine(file_, {}));
    EXPECT_EQ(Database(file_, resume).number("SELECT count(*) FROM t"), 0);
}

TEST_F(DatabaseTest, ATemporaryOneMakesNoFileThatIsAttached) {
    const auto database = Database::temporary("nothing");
    const std::string gone = folder_.file("gone.db");
    EXPECT_THROW(database->run("ATTACH '" + gone + "' AS gone; CREATE TABLE gone.t(x)"), StoreError);
    EXPECT_FALSE(std::filesystem::exists(gone));
    database->run(
        "PRAGMA cache_size = 10; CREATE TABLE t(x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
        "FROM n "
        "WHERE i < 2000) INSERT INTO t SELECT randomblob(1000) FROM n");
    EXPECT_EQ(database->number("SELECT sum(length(x)) FROM t"), 2'000'000) << "more than is in memory";
}

TEST_F(DatabaseTest, ANameIsAFilesWhateverItReadsLike) {
    const auto before = std::filesystem::current_path();
    std::filesystem::current_path(folder_.path());
    for (const char* name : {":memory:", "file:x.db?mode=memory", "x.db"}) {
        Database(name, {}).run("CREATE TABLE t(a)");
        EXPECT_GT(std::filesystem::file_size(folder_.file(name)), 0u) << name;
    }
    std::filesystem::current_path(before);
}

TEST_F(DatabaseTest, AnotherKindOfFile) {
    for (const char* content : {"xy", "allow 192.0.2.0/24\ndeny 203.0.113.0/24\n"}) {
        std::ofstream(file_) << content;
        EXPECT_THAT(failureToOpen(Kind::Damaged, file_, {.when_damaged = "move it away"}),
                    HasSubstr("the file is not an SQLite database: move it away"));
    }
}

TEST_F(DatabaseTest, DamageIsToldWithTheRemedy) {
    fill();
    std::fstream bytes(file_, std::ios::in | std::ios::out | std::ios::binary);
    for (std::streamoff page = 4'096; page < static_cast<std::streamoff>(std::filesystem::file_size(file_));
         page += 4'096) {
        bytes.seekp(page);
        bytes << std::string(200, '\xEE');
    }
    bytes.close();
    Database database(file_, {.when_damaged = "move it away"});
    const auto words = failureOf(Kind::Damaged, [&] { database.number("SELECT count(a) FROM t"); });
    EXPECT_THAT(words, StartsWith(file_ + ": the database is damaged ("));
    EXPECT_THAT(words, HasSubstr("): move it away"));
}

TEST_F(DatabaseTest, AnothersLockIsToldAndPasses) {
    fill();
    Shell shell(file_);
    shell.run("BEGIN IMMEDIATE");
    Database database(file_, {.busy_timeout = kNoWait});
    bool begun = false;
    EXPECT_THAT(failureOf(Kind::Locked, [&] { database.transaction([&] { begun = true; }); }),
                HasSubstr("another process keeps the database locked"));
    EXPECT_FALSE(begun) << "who may not write must not begin to";
    shell.run("COMMIT");
    database.transaction([&] { begun = true; });
    EXPECT_TRUE(begun);
}

TEST_F(DatabaseTest, AFileThatSomebodyIsCreatingIsLocked) {
    Shell shell(file_);
    shell.run("BEGIN EXCLUSIVE; CREATE TABLE t(a)");
    EXPECT_THAT(failureToOpen(Kind::Locked, file_, {.busy_timeout = kNoWait}), HasSubstr("another process"));
}

TEST_F(DatabaseTest, ATransactionIsDoneWholeOrNotAtAll) {
    Database database(file_, {});
    database.run("CREATE TABLE t(a UNIQUE)");
    const auto rows = [&] { return database.number("SELECT count(*) FROM t"); };
    database.transaction([&] { database.run("INSERT INTO t VALUES (1), (2)"); });
    EXPECT_EQ(rows(), 2);
    EXPECT_THROW(database.transaction([&] {
        database.run("INSERT INTO t VALUES (3)");
        throw std::runtime_error("whatever it is");
    }),
                 std::runtime_error);
    EXPECT_EQ(rows(), 2);
    failureOf(Kind::Other,
              [&] { database.transaction([&] { database.run("INSERT INTO t VALUES (4), (1)"); }); });
    EXPECT_EQ(rows(), 2);
    failureOf(Kind::Other, [&] {
        database.transaction(
            [&] { database.run("INSERT INTO t VALUES (5); INSERT OR ROLLBACK INTO t VALUES (1)"); });
    });
    EXPECT_EQ(rows(), 2) << "SQLite had rolled back by itself";
    database.transaction([&] { database.run("INSERT INTO t VALUES (3)"); });
    EXPECT_EQ(rows(), 3);
}

TEST_F(DatabaseTest, ASnapshotIsOneState) {
    fill();
    Database database(file_, {});
    database.run("PRAGMA journal_mode = WAL");
    const auto rows = [&] { return database.number("SELECT count(*) FROM t"); };
    database.snapshot([&] {
        EXPECT_EQ(rows(), 2'000);
        Shell(file_).run("DELETE FROM t");
        EXPECT_EQ(rows(), 2'000);
    });
    EXPECT_EQ(rows(), 0);
}

TEST_F(DatabaseTest, AFullDiskIsTold) {
    Database database(file_, {});
    database.run("CREATE TABLE t(a); PRAGMA max_page_count = 3");
    EXPECT_THAT(failureOf(Kind::DiskFull, [&] { database.run("INSERT INTO t VALUES (zeroblob(100000))"); }),
                HasSubstr("the disk is full"));
}

TEST_F(DatabaseTest, RoomIsAskedForWithoutATrace) {
    requireRoom(file_, 4'096);
    EXPECT_THAT(failureOf(Kind::DiskFull, [&] { requireRoom(file_, std::uint64_t{1} << 60); }),
                HasSubstr(file_ + ": the disk is full"));
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(DatabaseTest, ACommitIsAsDurableAsItIsToBe) {
    EXPECT_EQ(Database(file_, {}).number("PRAGMA synchronous"), 2) << "FULL";
    EXPECT_EQ(Database(file_, {.durability = Durability::Process}).number("PRAGMA synchronous"), 1)
        << "NORMAL";
}

TEST_F(DatabaseTest, AnotherFileInItsPlaceIsAnother) {
    EXPECT_EQ(identityOf(file_), FileIdentity{});
    EXPECT_EQ(lastWritten(file_), 0);
    fill();
    const FileIdentity first = identityOf(file_);
    EXPECT_NE(first, FileIdentity{});
    EXPECT_GT(lastWritten(file_), 1'700'000'000'000'000'000);
    std::filesystem::rename(file_, folder_.file("old.db"));
    fill();
    EXPECT_NE(identityOf(file_), first);
    EXPECT_EQ(identityOf(folder_.file("old.db")), first);
}

TEST_F(DatabaseTest, AStatementKeepsEveryByte) {
    using namespace std::string_view_literals;
    Database database(file_, {});
    database.run("CREATE TABLE t(a INTEGER, b TEXT, c BLOB, d TEXT)");
    RawStatement insert(database, "INSERT INTO t VALUES (?1, ?2, ?3, ?4)");
    const auto put = [&](std::int64_t number, std::string_view text, std::string_view blob) {
        insert.reset();
        insert.bind(1, number);
        insert.bind(2, text);
        insert.bindBlob(3, blob);
        insert.bindNull(4);
        EXPECT_FALSE(insert.step());
    };
    put(INT64_MIN, "'a'\0\xff"sv, "\0\1"sv);
    put(INT64_MAX, std::string_view(), std::string_view());
    RawStatement select(database, "SELECT a, b, c, d, typeof(b), typeof(c) FROM t");
    ASSERT_TRUE(select.step());
    EXPECT_EQ(select.number(0), INT64_MIN);
    EXPECT_EQ(select.text(1), "'a'\0\xff"sv);
    EXPECT_EQ(select.text(2), "\0\1"sv);
    EXPECT_TRUE(select.isNull(3));
    EXPECT_EQ(select.text(3), "");
    ASSERT_TRUE(select.step());
    EXPECT_EQ(select.number(0), INT64_MAX);
    EXPECT_EQ(select.text(4), "text") << "an empty text is no NULL";
    EXPECT_EQ(select.text(5), "blob");
    EXPECT_FALSE(select.step());
    select.reset();
    EXPECT_TRUE(select.step());
}

TEST_F(DatabaseTest, AParameterIsWhatWasBoundLast) {
    Database database(file_, {});
    RawStatement echo(database, "SELECT typeof(?1) || '=' || ifnull(?1, '')");
    const auto said = [&] {
        EXPECT_TRUE(echo.step());
        std::string text(echo.text(0));
        echo.reset();
        return text;
    };
    for (int round = 0; round < 2; ++round) {
        echo.bind(1, "text");
        EXPECT_EQ(said(), "text=text");
        for (int again = 0; again < 2; ++again) {
            echo.bind(1, "");
            EXPECT_EQ(said(), "text=");
        }
        for (const std::int64_t number : {7, 7, 8, 7}) {
            echo.bind(1, number);
            EXPECT_EQ(said(), "integer=" + std::to_string(number));
        }
        echo.bind(1, "");
        EXPECT_EQ(said(), "text=");
        echo.bind(1, std::int64_t{7});
        EXPECT_EQ(said(), "integer=7") << "a text was there meanwhile";
        echo.bindNull(1);
        EXPECT_EQ(said(), "null=");
        echo.bind(1, "");
        EXPECT_EQ(said(), "text=");
        echo.bindBlob(1, "b");
        EXPECT_EQ(said(), "blob=b");
        echo.bind(1, "");
    }
}

TEST_F(DatabaseTest, WhatSqliteRefusesIsAnError) {
    Database database(file_, {});
    EXPECT_THAT(failureOf(Kind::Other, [&] { RawStatement(database, "SELEKT 1"); }), HasSubstr("SELEKT"));
    failureOf(Kind::Other, [&] { database.run("SELEKT 1"); });
    RawStatement select(database, "SELECT ?1");
    failureOf(Kind::Other, [&] { select.bind(2, 1); });
    EXPECT_EQ(database.number("SELECT 1 WHERE 0"), 0);
    EXPECT_EQ(database.text("SELECT 1 WHERE 0"), "");
}

/// Whatever the caller's umask.
class Umask {
  public:
    explicit Umask(mode_t mask) : before_(::umask(mask)) {}
    ~Umask() { ::umask(before_); }

  private:
    mode_t before_;
};

TEST_F(DatabaseTest, FilesAreForOwnerAndGroup) {
    for (const mode_t mask : {0000, 0022, 0077}) {
        const Umask umask(mask);
        const std::string file = folder_.file("umask" + std::to_string(mask) + ".db");
        Database database(file, {});
        database.run("PRAGMA journal_mode = WAL; CREATE TABLE t(a)");
        for (const char* suffix : {"", "-wal", "-shm"}) {
            struct stat status {};
            ASSERT_EQ(::stat((file + suffix).c_str(), &status), 0) << suffix;
            EXPECT_EQ(status.st_mode & 0777u, 0640u) << suffix << " with umask " << mask;
        }
    }
}

TEST_F(DatabaseTest, AModeThatSomebodyHasSetStays) {
    std::ofstream(file_).close();
    ::chmod(file_.c_str(), 0600);
    fill();
    struct stat status {};
    ASSERT_EQ(::stat(file_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777u, 0600u);
}

/// Tests often run as root, whom file modes do not bind.
class AsNobody {
  public:
    AsNobody() {
        if (::geteuid() == 0) changed_ = ::seteuid(65'534) == 0;
    }
    ~AsNobody() {
        if (changed_ && ::seteuid(0) != 0) std::abort();
    }

  private:
    bool changed_ = false;
};

TEST_F(DatabaseTest, AReadOnlyFile) {
    fill();
    ::chmod(folder_.path().c_str(), 0777);
    ::chmod(file_.c_str(), 0444);
    const AsNobody nobody;
    EXPECT_THAT(failureToOpen(Kind::ReadOnly, file_), HasSubstr("the database is read-only"));
}

TEST_F(DatabaseTest, AReadOnlyFolder) {
    fill();
    ::chmod(file_.c_str(), 0666);
    ::chmod(folder_.path().c_str(), 0555);
    {
        const AsNobody nobody;
        // SQLite finds out when it has a journal to write.
        EXPECT_THAT(failureToOpen(Kind::ReadOnly, folder_.file("new.db")), HasSubstr("read-only"));
        Database database(file_, {});
        EXPECT_THAT(failureOf(Kind::ReadOnly, [&] { database.run("DELETE FROM t"); }),
                    HasSubstr("the folder " + folder_.path().string() + " is read-only"));
    }
    ::chmod(folder_.path().c_str(), 0755);
}

// Who may read the file, and not write beside it, reads all that is in it; what is in a log it may not leave out.
TEST_F(DatabaseTest, WhatMayNotBeWrittenIsReadAsACopy) {
    fill();
    Database(file_, {}).run("PRAGMA journal_mode = WAL");
    ::chmod(file_.c_str(), 0444);
    ::chmod(folder_.path().c_str(), 0555);
    {
        const AsNobody nobody;
        EXPECT_EQ(openToRead(file_, {})->number("SELECT count(*) FROM t"), 2000);
    }
    ::chmod(folder_.path().c_str(), 0755);
    std::ofstream(file_ + "-wal") << "a log";
    ::chmod(folder_.path().c_str(), 0555);
    {
        const AsNobody nobody;
        EXPECT_THAT(failureOf(Kind::ReadOnly, [&] { openToRead(file_, {}); }), HasSubstr("read-only"));
    }
    ::chmod(folder_.path().c_str(), 0755);
    EXPECT_EQ(openToRead(folder_.file("none.db"), {})->number("SELECT count(*) FROM sqlite_schema"), 0);
    EXPECT_FALSE(std::filesystem::exists(folder_.file("none.db")));
    EXPECT_THAT(failureOf(Kind::Open, [&] { openToRead(folder_.file("none/none.db"), {}); }),
                HasSubstr("does not exist"));
}

TEST_F(DatabaseTest, WhatTakesTooLongToVerifyIsNotCalledDamaged) {
    Database(file_, {}).run(
        "CREATE TABLE t(a); INSERT INTO t WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1"
        " FROM n WHERE x < 100000) SELECT x FROM n");
    EXPECT_TRUE(verifyWithin(file_, {.create = false}, std::chrono::hours(1)));
    bool is_whole = true;  // where whoever watches the time gets no processor meanwhile
    for (int attempt = 0; attempt < 100 && is_whole; ++attempt)
        is_whole = verifyWithin(file_, {.create = false}, kNoWait);
    EXPECT_FALSE(is_whole);
    std::fstream(file_, std::ios::in | std::ios::out).seekp(5 * 8'192) << std::string(8'192, 'x');
    EXPECT_THAT(failureOf(Kind::Damaged,
                          [&] {
                              verifyWithin(file_, {.create = false, .when_damaged = "mend it"},
                                           std::chrono::hours(1));
                          }),
                HasSubstr("mend it"));
}

TEST_F(DatabaseTest, AnUnreadableFile) {
    fill();
    ::chmod(folder_.path().c_str(), 0755);
    ::chmod(file_.c_str(), 0000);
    const AsNobody nobody;
    EXPECT_THAT(failureToOpen(Kind::Open, file_), HasSubstr("Permission denied"));
}

}  // namespace
}  // namespace mailgate::store::sqlite
