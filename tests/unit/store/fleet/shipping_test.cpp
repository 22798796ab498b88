// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/shipping.h"

#include "store/backends/journal.h"
#include "store/store_error.h"
#include "tests/support/fake_shared_journal.h"
#include "tests/support/journal_sample.h"
#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

#include <filesystem>

namespace mailgate::store {
namespace {

using testing::HasSubstr;

constexpr JournalKind kKindsHere[] = {JournalKind::Session, JournalKind::Refused, JournalKind::Mail};
constexpr std::int64_t kNow = 1'800'000'000'000;

class TakeUpTest : public testing::Test {
  protected:
    JournalSession record(JournalKind kind) {
        JournalSession session;
        session.kind = kind;
        session.started_ms = kNow + next_ * 1'000;
        session.id = test::sampleId(session.started_ms, static_cast<std::uint64_t>(next_++));
        if (kind == JournalKind::Mail) {
            session.mail.emplace_back().number = 21;
            session.mail_count = 21;
        }
        return session;
    }
    void append(const std::string& name, int sessions) {
        std::vector<JournalSession> records;
        for (int left = sessions; left > 0; --left)
            for (const JournalKind kind : kKindsHere) {
                records.push_back(record(kind));
                ids_[name].push_back(records.back().id);
            }
        JournalOptions options;
        options.url = url(name);
        journal::openSink(options)->append(records);
    }
    std::string url(const std::string& name) const { return "sqlite:" + folder_.file(name + ".db"); }

    /// Brings what is new in that journal. Returns why its place had to be looked for.
    std::string bring(const std::string& name, std::size_t most = 1'000) {
        const auto spool = journal::openSpool(url(name), false);
        const TakenUp taken = takeUp(fleet_, *spool);
        journal::SpoolPosition position = journal::spoolPosition(taken.journal.position);
        for (const JournalKind kind : kKindsHere) {
            std::size_t left = most;
            spool->read(kind, position.of(kind), [&](std::int64_t key, JournalSession& one) {
                fleet_.add(taken.journal.id, key, one);
                return --left > 0;
            });
        }
        spool->settle(position);
        EXPECT_TRUE(fleet_.commit({taken.journal.id, taken.journal.position, journal::spoolText(position)}));
        return taken.doubt;
    }
    std::vector<std::string> written(const std::string& name) {
        std::vector<std::string> ids = ids_[name];
        std::sort(ids.begin(), ids.end());
        return ids;
    }
    std::string& placeThere() { return database_->rows.back().journal.position; }

    const TemporaryFolder folder_;
    const std::shared_ptr<SharedJournals> database_ = std::make_shared<SharedJournals>();
    FakeSharedJournal fleet_{database_, {.gateway = "a", .process = "p"}};
    std::map<std::string, std::vector<std::string>> ids_;
    std::int64_t next_ = 1;

    void SetUp() override { database_->writers["a"] = {"p"}; }
};

TEST_F(TakeUpTest, ItGoesOnAtItsPlace) {
    append("own", 3);
    EXPECT_EQ(bring("own", 2), "");
    EXPECT_EQ(database_->records.size(), 6u);
    append("own", 2);
    EXPECT_EQ(bring("own"), "");
    EXPECT_EQ(database_->sessions(), written("own"));
    EXPECT_EQ(database_->rows.size(), 1u);
}

TEST_F(TakeUpTest, APlaceThatWasAlteredIsFoundAgain) {
    append("own", 5);
    bring("own", 2);
    const std::string early = placeThere();
    bring("own");
    append("own", 1);
    journal::SpoolPosition far = journal::spoolPosition(placeThere());
    far.of(JournalKind::Session).key += 1'000'000;
    for (const std::string& altered :
         {std::string("nonsense"), std::string(), early, std::string("0 0 - 0 0 - 0 0 - 0"),
          journal::spoolText(far), placeThere() + " 1"}) {
        SCOPED_TRACE(altered);
        placeThere() = altered;
        EXPECT_THAT(bring("own"), HasSubstr("altered"));
        EXPECT_EQ(database_->sessions(), written("own"));
        EXPECT_EQ(database_->rows.size(), 1u);
        append("own", 1);
    }
    EXPECT_EQ(bring("own"), "");
    EXPECT_EQ(database_->sessions(), written("own"));
}

TEST_F(TakeUpTest, AJournalWhoseRowIsGoneGetsItsRecordsBack) {
    append("own", 4);
    bring("own");
    append("own", 4);
    const std::int64_t id = database_->rows.back().journal.id;
    database_->rows.clear();
    EXPECT_THAT(bring("own"), HasSubstr("was gone"));
    EXPECT_EQ(database_->sessions(), written("own"));
    ASSERT_EQ(database_->rows.size(), 1u);
    EXPECT_EQ(database_->rows.back().journal.id, id);
}

TEST_F(TakeUpTest, AJournalFromABackupGoesOnAsOneMoreWhereTheyPart) {
    append("own", 4);
    bring("own");
    std::filesystem::copy_file(folder_.file("own.db"), folder_.file("restored.db"));
    ids_["restored"] = ids_["own"];
    append("own", 3);
    bring("own");
    append("restored", 5);  // under the keys of those
    EXPECT_THAT(bring("restored"), HasSubstr("from a backup"));
    auto all = ids_["own"];
    all.insert(all.end(), ids_["restored"].begin() + 12, ids_["restored"].end());
    std::sort(all.begin(), all.end());
    EXPECT_EQ(database_->sessions(), all);
    EXPECT_EQ(database_->rows.size(), 2u);
    append("restored", 1);
    EXPECT_EQ(bring("restored"), "");
}

TEST_F(TakeUpTest, UnderAnotherNameItGoesOnBehindWhatHasCome) {
    append("own", 4);
    bring("own");
    database_->rows.back().gateway = "the name before";
    append("own", 2);
    EXPECT_THAT(bring("own"), HasSubstr("came under another name"));
    EXPECT_EQ(database_->sessions(), written("own"));
    EXPECT_EQ(database_->rows.size(), 2u);
    append("own", 1);
    EXPECT_EQ(bring("own"), "");
    EXPECT_EQ(database_->sessions(), written("own"));
}

TEST_F(TakeUpTest, WhatTheDatabaseCouldNotHaveLeavesNoDoubt) {
    append("own", 3);
    bring("own");
    // Left out, all of the last three: one of each kind.
    for (auto record = database_->records.begin(); record != database_->records.end();)
        record = std::count(ids_["own"].end() - 3, ids_["own"].end(), record->second) > 0
                     ? database_->records.erase(record)
                     : std::next(record);
    EXPECT_EQ(bring("own"), "");
    EXPECT_EQ(database_->records.size(), 6u);
}

TEST_F(TakeUpTest, WhatIsTooOldToBeKeptThereIsNotBroughtAgain) {
    append("own", 4);
    bring("own");
    database_->records.clear();
    placeThere() = "nonsense";
    database_->kept_since_ms = kNow + 60'000'000;
    EXPECT_THAT(bring("own"), HasSubstr("what is there from before 2027-01-16T00:40:00Z, which is too old"));
    EXPECT_EQ(database_->records.size(), 0u);
    // Nor is that left out in silence which a clock that is far behind has made old.
    append("fresh", 2);
    EXPECT_THAT(bring("fresh"), testing::AllOf(HasSubstr("made anew"), HasSubstr("is taken to have come")));
    append("fresh", 1);
    EXPECT_EQ(bring("fresh"), "");
    EXPECT_EQ(database_->records.size(), 3u);
    database_->records.clear();
    // By a gateway's clock that is far behind all is old, from the first on.
    database_->rows.clear();
    bring("own");
    EXPECT_EQ(database_->sessions(), written("own"));
}

TEST_F(TakeUpTest, TwoOfANameDoNotBothWrite) {
    Lineage original(folder_.file("original")), copy(folder_.file("copy"));
    database_->writers.clear();
    FakeSharedJournal first(database_, {.gateway = "a", .process = "first"}),
        second(database_, {.gateway = "a", .process = "second"});
    claimJournal(first, {.gateway = "a", .process = "first"}, original);
    std::filesystem::copy_file(folder_.file("original"), folder_.file("copy"));
    claimJournal(second, {.gateway = "a", .process = "second"},
                 copy);  // it may be the first one's next process
    claimJournal(first, {.gateway = "a", .process = "first"}, original);
    try {
        claimJournal(second, {.gateway = "a", .process = "second"}, copy);
        ADD_FAILURE() << "both write";
    } catch (const StoreError& error) {
        EXPECT_THAT(error.what(), HasSubstr("another gateway called a writes its journal there"));
    }
    EXPECT_EQ(database_->writers["a"].process, "first");
    EXPECT_NO_THROW(requireOnlyWriter(second, "a", original));
    EXPECT_THROW(requireOnlyWriter(second, "a", copy), StoreError);
    EXPECT_THROW(requireOnlyWriter(second, "a", Lineage(folder_.file("nothing"))), StoreError);
    database_->writers["a"].silent_secs = 20;
    EXPECT_NO_THROW(requireOnlyWriter(second, "a", copy));
    database_->writers.clear();  // mailgate fleet join
    claimJournal(second, {.gateway = "a", .process = "second"}, copy);
    EXPECT_EQ(database_->writers["a"].process, "second");
}

}  // namespace
}  // namespace mailgate::store
