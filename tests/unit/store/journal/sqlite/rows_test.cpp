// SPDX-License-Identifier: Apache-2.0
#include "store/journal/sqlite/rows.h"

#include "store/journal/sqlite/reader.h"
#include "tests/support/filled_record.h"
#include "tests/unit/store/journal/sqlite/support.h"

#include <gmock/gmock.h>

#include <set>

namespace mailgate::store::journal {
namespace {

class JournalRowsTest : public testing::Test {
  protected:
    JournalRowsTest() { options_.url = "sqlite:" + file_; }

    JournalSession writtenAndRead(const JournalSession& session) {
        Writer(options_).append(std::span(&session, 1));
        const auto found = Reader(options_.url).newest({}, 2);
        EXPECT_THAT(found, testing::SizeIs(1));
        return found.empty() ? JournalSession() : found.front();
    }
    std::set<std::string> columnsOf(const std::string& table) {
        sqlite::Database database(file_, {});
        sqlite::RawStatement select(database, "SELECT name FROM pragma_table_info('" + table + "')");
        std::set<std::string> columns;
        while (select.step())
            columns.emplace(select.text(0));
        return columns;
    }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("journal.db");
    JournalOptions options_;
};

TEST_F(JournalRowsTest, EveryFieldIsReadBack) {
    JournalSession session = test::filledSession();
    const JournalSession kept = writtenAndRead(session);
    session.gateway.clear();  // it is the file's
    EXPECT_EQ(test::differences(session, kept), "");
    ASSERT_THAT(kept.mail, testing::SizeIs(1));
    EXPECT_EQ(test::differences(session.mail.front(), kept.mail.front()), "");
}

TEST_F(JournalRowsTest, SoIsAFieldWithoutAValue) {
    JournalSession session;
    session.id = test::sampleId(0, 1);
    EXPECT_EQ(test::differences(session, writtenAndRead(session)), "");
}

TEST_F(JournalRowsTest, ATableHasTheColumnsOfTheList) {
    Writer writer(options_);
    std::set<std::string> session{"key"}, mail{"key"};
    eachField<JournalSession>([&](const auto& field) {
        if (!field.column.empty()) session.emplace(field.column);
    });
    eachField<JournalMail>([&](const auto& field) {
        if (!field.column.empty()) mail.emplace(field.column);
    });
    for (const Kind kind : kKinds)
        EXPECT_EQ(columnsOf(std::string(tableOf(kind))), session) << tableOf(kind);
    EXPECT_EQ(columnsOf("mail"), mail);
}

TEST_F(JournalRowsTest, AVersionBringsItsFieldsToEveryTable) {
    const std::string script = addedColumns(3);
    for (const Kind kind : kKinds)
        EXPECT_THAT(script, testing::HasSubstr("ALTER TABLE " + std::string(tableOf(kind)) +
                                               " ADD COLUMN failed_logins INTEGER NOT NULL DEFAULT 0;"));
    EXPECT_THAT(script, testing::HasSubstr("ALTER TABLE mail ADD COLUMN refused TEXT NOT NULL DEFAULT '';"));
    EXPECT_EQ(addedColumns(99), "");
}

}  // namespace
}  // namespace mailgate::store::journal
