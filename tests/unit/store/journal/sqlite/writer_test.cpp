// SPDX-License-Identifier: Apache-2.0
#include "store/journal/sqlite/writer.h"

#include "tests/support/journal_sample.h"
#include "tests/unit/store/journal/sqlite/support.h"

#include <filesystem>

namespace mailgate::store::journal {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kNow = 1'795'000'000'000;

class JournalWriterTest : public testing::Test {
  protected:
    JournalWriterTest() { options_.url = "sqlite:" + file_; }

    static std::vector<JournalSession> sessions(std::uint64_t number, std::int64_t ended_ms) {
        std::vector<JournalSession> sessions;
        for (std::uint64_t at = 0; at < number; ++at)
            sessions.push_back(test::sampleSession(at, ended_ms));
        return sessions;
    }
    std::string value(const std::string& sql) { return Shell(file_).value(sql); }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("journal.db");
    JournalOptions options_;
};

TEST_F(JournalWriterTest, ASegmentIsSealedWhenItIsFullAndItsTermsAreStored) {
    Writer writer(options_);
    writer.append(sessions(kRowsPerSegment - 1, kNow));
    EXPECT_EQ(value("SELECT count(*) FROM segment WHERE sealed = 1"), "0");
    EXPECT_EQ(value("SELECT count(*) FROM term_page"), "0");
    writer.append(sessions(2, kNow));
    EXPECT_EQ(value("SELECT rows FROM segment WHERE sealed = 1"), "16384");
    EXPECT_EQ(value("SELECT rows FROM segment WHERE sealed = 0"), "1");
    EXPECT_NE(value("SELECT count(*) FROM term_page"), "0");
    EXPECT_NE(value("SELECT count(*) FROM address_page"), "0");
}

TEST_F(JournalWriterTest, AnOldSegmentIsSealedThenRemovedAPieceAtATime) {
    options_.keep_sessions = 24h * 16;
    Writer writer(options_);
    writer.append(sessions(1, kNow));
    EXPECT_EQ(writer.maintain(kNow), Maintenance::Done);
    const std::int64_t later = kNow + std::chrono::milliseconds(24h * 20).count();
    EXPECT_EQ(writer.maintain(later), Maintenance::MoreDue);
    EXPECT_EQ(value("SELECT sealed FROM segment"), "1");
    EXPECT_EQ(writer.maintain(later), Maintenance::MoreDue);
    EXPECT_EQ(value("SELECT count(*) FROM segment"), "0");
    EXPECT_EQ(value("SELECT (SELECT count(*) FROM session) + (SELECT count(*) FROM mail)"), "0");
    EXPECT_EQ(writer.maintain(later), Maintenance::Done);
}

TEST_F(JournalWriterTest, AnotherWriterGoesOnWithTheOpenSegment) {
    Writer(options_).append(sessions(3, kNow));
    Writer(options_).append(sessions(4, kNow));
    EXPECT_EQ(value("SELECT rows FROM segment"), "7");
    EXPECT_EQ(value("SELECT count(*) FROM segment"), "1");
}

TEST_F(JournalWriterTest, ABatchIsWrittenWholeOrNotAtAll) {
    Writer writer(options_);
    writer.append(sessions(1, kNow));
    Shell(file_).run(
        "CREATE TRIGGER no BEFORE INSERT ON mail WHEN (SELECT count(*) FROM mail) = 3"
        " BEGIN SELECT raise(ABORT, 'no'); END");
    EXPECT_THROW(writer.append(sessions(5, kNow)), StoreError);
    EXPECT_EQ(value("SELECT count(*) FROM session"), "1");
}

TEST_F(JournalWriterTest, AFileThatWasMovedAwayIsOpenedAnew) {
    Writer writer(options_);
    EXPECT_EQ(writer.maintain(kNow), Maintenance::Done);
    EXPECT_GT(writer.bytes(), 0u);
    std::filesystem::rename(file_, file_ + ".old");
    EXPECT_EQ(writer.maintain(kNow), Maintenance::Reopen);
}

}  // namespace
}  // namespace mailgate::store::journal
