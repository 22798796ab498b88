// SPDX-License-Identifier: Apache-2.0
#include "store/journal/sqlite/schema.h"

#include "store/journal/fields.h"
#include "tests/unit/store/support.h"

#include <algorithm>
#include <fstream>
#include <sstream>

namespace mailgate::store::journal {
namespace {

class JournalSchemaTest : public testing::Test {
  protected:
    std::string value(const std::string& sql) { return Shell(file_).value(sql); }
    void create() {
        sqlite::Database database(file_, {});
        migrate(database, true);
    }
    std::string failureOf(StoreError::Kind kind, bool create) {
        try {
            sqlite::Database database(file_, {});
            migrate(database, create);
        } catch (const StoreError& error) {
            EXPECT_EQ(error.kind(), kind) << error.what();
            return error.what();
        }
        ADD_FAILURE() << "it was taken";
        return "";
    }
    static std::string newest() {
        return std::to_string(std::max(newestVersion<JournalSession>(), newestVersion<JournalMail>()));
    }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("journal.db");
};

TEST_F(JournalSchemaTest, ANewFileIsAJournalOfTheCurrentVersion) {
    create();
    EXPECT_EQ(value("PRAGMA application_id"), std::to_string(kApplicationId));
    EXPECT_EQ(value("PRAGMA user_version"), newest());
    EXPECT_EQ(value("PRAGMA journal_mode"), "wal");
    EXPECT_EQ(value("PRAGMA page_size"), "8192");
    EXPECT_EQ(value("SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_schema WHERE type = 'table'"
                    " AND name NOT LIKE 'sqlite_%' ORDER BY name)"),
              "address_page client_address further_mail mail refused segment session term_page");
    create();
    EXPECT_EQ(value("PRAGMA user_version"), newest()) << "and nothing is done twice";
}

TEST_F(JournalSchemaTest, TheExampleOfItsHeadIsGoodSql) {
    create();
    EXPECT_EQ(
        value("SELECT s.id, coalesce(a.client, s.client), m.sender, m.recipients, m.queue_id"
              " FROM mail m JOIN session s ON s.key = m.key / 256 LEFT JOIN client_address a USING (key)"
              " ORDER BY m.key DESC LIMIT 20"),
        "(none)");
}

TEST_F(JournalSchemaTest, SegmentsAreReadOldestFirst) {
    create();
    Shell(file_).run(
        "INSERT INTO segment(number, kind, rows, first_ms, last_ms, opened_ms, sealed, addresses) VALUES"
        " (9, 2, 1, 10, 11, 12, 0, 1), (3, 1, 16384, 100, 200, 150, 1, 2), (1, 0, 5, 0, 0, 0, 1, 0)");
    sqlite::Database database(file_, {});
    const auto segments = readSegments(database);
    ASSERT_EQ(segments.size(), 3u);
    EXPECT_EQ(segments[0].number, 1);
    EXPECT_EQ(segments[0].kind, Kind::Session);
    EXPECT_EQ(segments[0].addresses, Addresses::InRows);
    EXPECT_EQ(segments[1].kind, Kind::Refused);
    EXPECT_EQ(segments[1].rows, 16'384);
    EXPECT_EQ(segments[1].first_ms, 100);
    EXPECT_EQ(segments[1].last_ms, 200);
    EXPECT_EQ(segments[1].opened_ms, 150);
    EXPECT_TRUE(segments[1].sealed);
    EXPECT_EQ(segments[1].addresses, Addresses::Forgotten);
    EXPECT_EQ(segments[2].kind, Kind::Mail);
    EXPECT_FALSE(segments[2].sealed);
    EXPECT_EQ(segments[2].addresses, Addresses::Apart);
}

TEST_F(JournalSchemaTest, AFileOfTheFirstVersionKeepsItsRows) {
    std::stringstream script;
    script << std::ifstream(JOURNAL_V1).rdbuf();
    Shell(file_).run(script.str());
    const std::string mails = value("SELECT count(*) FROM mail");
    create();
    EXPECT_EQ(value("PRAGMA user_version"), newest());
    EXPECT_EQ(value("SELECT count(*) FROM session"), "2");
    EXPECT_EQ(value("SELECT count(*) FROM mail"), mails);
    EXPECT_EQ(value("SELECT client || ' ' || failed_logins || ' ' || violation || '.' FROM session"),
              "198.51.100.7 0 .");
    EXPECT_EQ(value("SELECT max(recipients_refused) || replies || refused || truncated FROM mail"), "00");
    EXPECT_EQ(value("SELECT max(tls_version || server_tls || server_tls_verified || '.') FROM session"),
              "0.");
    sqlite::Database database(file_, {});
    const auto segments = readSegments(database);
    ASSERT_EQ(segments.size(), 2u);
    EXPECT_EQ(segments[0].kind, Kind::Session);
    EXPECT_EQ(segments[1].kind, Kind::Refused);
    for (const Segment& segment : segments)
        EXPECT_EQ(segment.addresses, Addresses::InRows) << "the writer has them to move";
}

TEST_F(JournalSchemaTest, WhoOnlyReadsMakesNoJournal) {
    EXPECT_NE(failureOf(StoreError::Kind::Open, false).find("nothing has been written to this journal yet"),
              std::string::npos);
    EXPECT_EQ(value("SELECT count(*) FROM sqlite_schema"), "0");
}

TEST_F(JournalSchemaTest, OtherFilesAreLeftAlone) {
    Shell(file_).run("CREATE TABLE mail(id INTEGER)");
    EXPECT_NE(failureOf(StoreError::Kind::Open, true).find("is not a journal"), std::string::npos);
    Shell(file_).run("PRAGMA application_id = " + std::to_string(kApplicationId) +
                     "; PRAGMA user_version = 99");
    EXPECT_NE(failureOf(StoreError::Kind::NewerSchema, true).find("schema 99"), std::string::npos);
    EXPECT_EQ(value("PRAGMA user_version"), "99");
    EXPECT_EQ(value("SELECT count(*) FROM sqlite_schema"), "1");
}

}  // namespace
}  // namespace mailgate::store::journal
