// SPDX-License-Identifier: Apache-2.0
#include "store/journal/journal.h"

#include "store/store_error.h"
#include "tests/support/journal_sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>

namespace mailgate::store {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::SizeIs;

constexpr auto kPatience = 30s;

/// A database in memory: what the test wants of it, and what it was asked.
struct Database {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::string> ids;
    int opened = 0, maintained = 0;
    std::optional<StoreError::Kind> refuses_to_open;
    bool refuses_records = false, is_replaced = false;

    template <typename Condition>
    bool wait(Condition condition) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, kPatience, condition);
    }
    template <typename Value>
    void set(Value& what, Value value) {
        const std::lock_guard lock(mutex);
        what = value;
    }
};

class MemorySink final : public journal::Sink {
  public:
    explicit MemorySink(Database& database) : database_(database) {}

    void append(std::span<const JournalSession> batch) override {
        const std::lock_guard lock(database_.mutex);
        if (database_.refuses_records) throw StoreError(StoreError::Kind::DiskFull, "the disk is full");
        for (const JournalSession& session : batch)
            database_.ids.push_back(session.id);
        database_.changed.notify_all();
    }
    journal::Maintenance maintain(std::int64_t) override {
        const std::lock_guard lock(database_.mutex);
        ++database_.maintained;
        database_.changed.notify_all();
        return std::exchange(database_.is_replaced, false) ? journal::Maintenance::Reopen
                                                           : journal::Maintenance::Done;
    }
    std::uint64_t bytes() const override { return 4'711; }

  private:
    Database& database_;
};

class JournalQueueTest : public testing::Test {
  protected:
    journal::OpenSink open() {
        return [this](const JournalOptions&) -> std::unique_ptr<journal::Sink> {
            const std::lock_guard lock(database_.mutex);
            if (database_.refuses_to_open) throw StoreError(*database_.refuses_to_open, "not now");
            ++database_.opened;
            database_.changed.notify_all();
            return std::make_unique<MemorySink>(database_);
        };
    }
    Journal::Events events() {
        return {[this](const std::string& what) {
                    const std::lock_guard lock(database_.mutex);
                    failures_.push_back(what);
                    database_.changed.notify_all();
                },
                [this](std::uint64_t lost) {
                    const std::lock_guard lock(database_.mutex);
                    recoveries_.push_back(lost);
                    database_.changed.notify_all();
                }};
    }
    static JournalSession session(std::uint64_t number) {
        return test::sampleSession(number, 1'795'000'000'000);
    }

    Database database_;
    std::vector<std::string> failures_;
    std::vector<std::uint64_t> recoveries_;
};

TEST_F(JournalQueueTest, HandsOverInTheOrderInWhichItWasTold) {
    Journal journal({}, open(), events());
    journal.start();
    std::vector<std::string> expected;
    for (std::uint64_t number = 0; number < 1'000; ++number) {
        expected.push_back(session(number).id);
        ASSERT_TRUE(journal.record(session(number)));
    }
    ASSERT_TRUE(journal.flush(kPatience));
    EXPECT_EQ(database_.ids, expected);
    EXPECT_EQ(journal.written(), 1'000u);
    EXPECT_EQ(journal.bytes(), 4'711u);
}

TEST_F(JournalQueueTest, TheFirstRecordAfterARestWakesTheWriter) {
    // Not woken, it would be a second after what it did last. Once is enough: the processor may be busy otherwise.
    constexpr auto kSoon = 800ms;
    Journal journal({}, open(), events());
    journal.start();
    auto took = std::chrono::steady_clock::duration::max();
    for (std::uint64_t number = 0; number < 5 && took > kSoon; ++number) {
        ASSERT_TRUE(database_.wait([&, before = database_.maintained] {
            return database_.maintained > before;
        })) << "it rests now";
        const auto begin = std::chrono::steady_clock::now();
        ASSERT_TRUE(journal.record(session(number)));
        ASSERT_TRUE(database_.wait([&] { return database_.ids.size() > number; }));
        took = std::chrono::steady_clock::now() - begin;
    }
    EXPECT_LT(took, kSoon);
}

TEST_F(JournalQueueTest, KeepsABatchThatCouldNotBeWrittenAndTriesAgainWithANewSink) {
    Journal journal({}, open(), events());
    journal.start();
    database_.set(database_.refuses_records, true);
    ASSERT_TRUE(journal.record(session(1)));
    ASSERT_TRUE(database_.wait([&] { return !failures_.empty(); }));
    EXPECT_EQ(journal.queued(), 1u);
    EXPECT_EQ(journal.trouble().what, "the disk is full");
    EXPECT_GT(journal.trouble().since_ms, 0);
    database_.set(database_.refuses_records, false);
    ASSERT_TRUE(database_.wait([&] { return !recoveries_.empty(); }));
    EXPECT_EQ(journal.trouble().what, "");
    EXPECT_THAT(failures_, ElementsAre("the disk is full"));
    EXPECT_THAT(recoveries_, ElementsAre(0u));
    EXPECT_THAT(database_.ids, ElementsAre(session(1).id));
    EXPECT_GE(database_.opened, 2);
}

TEST_F(JournalQueueTest, StartsThoughTheDatabaseIsLockedNowOrDamaged) {
    using Kind = StoreError::Kind;
    for (const Kind kind : {Kind::Locked, Kind::Damaged}) {
        database_.refuses_to_open = kind;
        Journal journal({}, open(), events());
        journal.start();
        EXPECT_EQ(journal.trouble().what, "not now");
        ASSERT_TRUE(journal.record(session(1)));
        database_.set(database_.refuses_to_open, {});
        ASSERT_TRUE(journal.flush(kPatience));
    }
    EXPECT_THAT(failures_, ElementsAre("not now", "not now"));
    EXPECT_THAT(database_.ids, SizeIs(2));
}

TEST_F(JournalQueueTest, DoesNotStartWithAFileOfSomethingElse) {
    database_.refuses_to_open = StoreError::Kind::Open;
    Journal journal({}, open(), events());
    EXPECT_THROW(journal.start(), StoreError);
    EXPECT_THAT(failures_, SizeIs(0));
}

TEST_F(JournalQueueTest, OpensAnewWhatWasReplaced) {
    Journal journal({}, open(), events());
    journal.start();
    database_.set(database_.is_replaced, true);
    ASSERT_TRUE(database_.wait([&] { return database_.opened == 2; }));
    ASSERT_TRUE(journal.record(session(1)));
    ASSERT_TRUE(journal.flush(kPatience));
    EXPECT_THAT(failures_, SizeIs(0));
}

TEST_F(JournalQueueTest, CountsWhatItCannotTakeAndWhatIsLeftAtTheEnd) {
    JournalOptions options;
    options.max_queued = 10;
    Journal journal(options, open(), events());
    journal.start();
    database_.set(database_.refuses_records, true);
    for (std::uint64_t number = 0; number < 30; ++number)
        journal.record(session(number));
    EXPECT_EQ(journal.lost(), 20u);
    journal.recordFailed();
    journal.stop();
    EXPECT_EQ(journal.lost(), 31u);
    EXPECT_EQ(journal.written(), 0u);
    EXPECT_FALSE(journal.record(session(31))) << "it has stopped";
}

}  // namespace
}  // namespace mailgate::store
