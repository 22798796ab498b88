// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/shipper.h"

#include "store/backends/journal.h"
#include "store/fleet/lineage.h"
#include "store/store_error.h"
#include "tests/support/fake_shared_journal.h"
#include "tests/support/journal_sample.h"
#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <thread>

namespace mailgate::store {
namespace {

using std::chrono::milliseconds;
using testing::Each;
using testing::HasSubstr;
using testing::Le;

constexpr std::int64_t kFirstMs = 1'800'000'000'000;

/// A gateway's part in it.
struct ShippingGateway {
    std::unique_ptr<JournalShipper> shipper;
    std::mutex mutex;  ///< of what follows
    std::vector<std::string> lost, placed, rejected;
    MissedRecords missing;
    int found = 0;

    std::size_t told(std::vector<std::string> ShippingGateway::*what) {
        const std::lock_guard lock(mutex);
        return (this->*what).size();
    }
};

class JournalShipperTest : public testing::Test {
  protected:
    void TearDown() override { gateways_.clear(); }

    std::string file(const std::string& name) const { return folder_.file(name + ".db"); }
    void append(const std::string& name, std::size_t sessions, JournalKind kind = JournalKind::Session) {
        std::vector<JournalSession> records(sessions);
        for (JournalSession& session : records) {
            session.kind = kind;
            session.started_ms = kFirstMs + next_;
            session.id = test::sampleId(session.started_ms, next_++);
            ids_.push_back(session.id);
        }
        std::sort(ids_.begin(), ids_.end());
        JournalOptions options;
        options.url = "sqlite:" + file(name);
        journal::openSink(options)->append(records);
    }
    ShippingGateway& start(const std::string& process, const std::string& name = "own",
                           JournalShipper::Options options = {}) {
        ShippingGateway& gateway = *gateways_.emplace_back(std::make_unique<ShippingGateway>());
        JournalShipper::Events events;
        const auto into = [&gateway](std::vector<std::string> ShippingGateway::*list) {
            return [&gateway, list](const std::string& what) {
                const std::lock_guard lock(gateway.mutex);
                (gateway.*list).push_back(what);
            };
        };
        events.lost = into(&ShippingGateway::lost);
        events.placed = into(&ShippingGateway::placed);
        events.rejected = [into](const std::string& session, const std::string&) mutable {
            into (&ShippingGateway::rejected)(session);
        };
        events.found = [&gateway](std::uint64_t) {
            const std::lock_guard lock(gateway.mutex);
            ++gateway.found;
        };
        events.missed = [&gateway](std::uint64_t, const MissedRecords& records) {
            const std::lock_guard lock(gateway.mutex);
            gateway.missing.add(records);
        };
        options.poll = options.seen = options.upkeep = milliseconds(10);
        const JournalOwner owner{.gateway = "a", .process = process};
        gateway.shipper = std::make_unique<JournalShipper>(
            std::make_unique<FakeSharedJournal>(database_, owner), owner, file(name) + "-fleet",
            [url = "sqlite:" + file(name)] { return journal::openSpool(url, false); },
            [this]() -> std::optional<std::string> {
                if (left_) return std::nullopt;
                return "f1";
            },
            options, events);
        gateway.shipper->start();
        return gateway;
    }
    template <typename Condition>
    static void await(const Condition& condition) {
        const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (!condition() && std::chrono::steady_clock::now() < limit)
            std::this_thread::sleep_for(milliseconds(1));
        EXPECT_TRUE(condition());
    }
    void awaitAll() {
        await([&] { return database_->sessions() == ids_; });
    }
    template <typename Change>
    void change(const Change& change) {
        const std::lock_guard lock(database_->mutex);
        change(*database_);
    }

    const TemporaryFolder folder_;
    const std::shared_ptr<SharedJournals> database_ = std::make_shared<SharedJournals>();
    std::vector<std::string> ids_;
    std::uint64_t next_ = 0;
    std::atomic<bool> left_{false};
    std::vector<std::unique_ptr<ShippingGateway>> gateways_;
};

TEST_F(JournalShipperTest, BringsEachRecordOnce) {
    append("own", 20);
    append("own", 5, JournalKind::Refused);
    ShippingGateway& gateway = start("p");
    awaitAll();
    append("own", 3);
    awaitAll();
    await([&] { return gateway.shipper->status().shipped == 28 && gateway.shipper->status().behind == 0; });
    EXPECT_EQ(gateway.told(&ShippingGateway::lost), 0u);
    EXPECT_EQ(gateway.told(&ShippingGateway::placed), 0u);
}

TEST_F(JournalShipperTest, WhoHasLeftTheFleetTellsItNothing) {
    append("own", 2);
    ShippingGateway& gateway = start("p");
    awaitAll();
    const auto before = ids_;
    left_ = true;
    await([&] { return !gateway.shipper->status().failure.empty(); });  // not connected it is at first, too
    EXPECT_THAT(gateway.shipper->status().failure, HasSubstr("has not joined the fleet"));
    append("own", 2);
    await([&] { return gateway.shipper->status().behind == 2; });
    EXPECT_EQ(database_->sessions(), before);
    left_ = false;
    awaitAll();
}

TEST_F(JournalShipperTest, AnOutageIsToldOnce) {
    append("own", 2);
    ShippingGateway& gateway = start("p");
    awaitAll();
    change([](SharedJournals& there) { there.gone = true; });
    await([&] { return gateway.told(&ShippingGateway::lost) == 1; });
    append("own", 4);
    await([&] { return gateway.shipper->status().behind == 4; });
    EXPECT_FALSE(gateway.shipper->status().connected);
    change([](SharedJournals& there) { there.gone = false; });
    awaitAll();
    await([&] {
        const std::lock_guard lock(gateway.mutex);
        return gateway.found == 1;
    });
    EXPECT_EQ(gateway.told(&ShippingGateway::lost), 1u);
}

TEST_F(JournalShipperTest, WhatHasComeJustBeforeAnOutageIsNotBehind) {
    change([](SharedJournals& there) { there.goes_at_upkeep = true; });
    append("own", 3);
    ShippingGateway& gateway = start("p");
    awaitAll();
    await([&] { return gateway.told(&ShippingGateway::lost) == 1; });
    append("own", 4);
    await([&] { return gateway.shipper->status().behind == 4; });
}

TEST_F(JournalShipperTest, ADatabaseThatIsTooSlowForManyGetsFewer) {
    append("own", 60);
    change([](SharedJournals& there) { there.most = 7; });
    JournalShipper::Options options;
    options.most_records = 30;  // ten of each kind
    start("p", "own", options);
    awaitAll();
    const std::lock_guard lock(database_->mutex);
    EXPECT_THAT(database_->sizes, Each(Le(7u)));
}

TEST_F(JournalShipperTest, WhatTheDatabaseCannotHaveHoldsUpNothing) {
    append("own", 40);
    const std::string bad = ids_[17];
    change([&](SharedJournals& there) { there.bad = {bad}; });
    ids_.erase(ids_.begin() + 17);
    ShippingGateway& gateway = start("p");
    awaitAll();
    await([&] { return gateway.told(&ShippingGateway::rejected) == 1; });
    EXPECT_EQ(gateway.rejected, std::vector{bad});
    EXPECT_EQ(gateway.shipper->status().rejected, 1u);
}

TEST_F(JournalShipperTest, OldDaysThatSomebodyReadsHoldUpNothing) {
    change([](SharedJournals& there) { there.locked = true; });
    append("own", 2);
    ShippingGateway& gateway = start("p");
    awaitAll();
    append("own", 2);
    awaitAll();
    EXPECT_EQ(gateway.told(&ShippingGateway::lost), 0u);
}

TEST_F(JournalShipperTest, ACopyOfTheGatewayIsToldApart) {
    append("own", 3);
    start("first");
    awaitAll();
    std::filesystem::copy_file(file("own"), file("copy"));
    std::filesystem::copy_file(file("own") + "-fleet", file("copy") + "-fleet");
    ShippingGateway& copy = start("second", "copy");
    await([&] { return copy.told(&ShippingGateway::lost) == 1; });
    EXPECT_THAT(copy.shipper->status().failure,
                HasSubstr("another gateway called a writes its journal there"));
    const auto of_both = ids_;
    append("copy", 2);
    ids_ = of_both;
    append("own", 2);
    awaitAll();
    await([&] { return copy.shipper->status().behind > 0; });
    EXPECT_FALSE(copy.shipper->status().connected);
    EXPECT_EQ(database_->sessions(), ids_);
}

TEST_F(JournalShipperTest, ACopyThatIsStartedTwiceDoesNotKeepTheOriginalOut) {
    append("own", 3);
    ShippingGateway& original = start("original");
    awaitAll();
    std::filesystem::copy_file(file("own"), file("copy"));
    std::filesystem::copy_file(file("own") + "-fleet", file("copy") + "-fleet");
    // As if its second process had come before the original has looked again.
    std::vector<std::string> lineage = Lineage(file("copy") + "-fleet").processes();
    for (const char* const process : {"copy1", "copy2"}) {
        Lineage(file("copy") + "-fleet").add(process);
        lineage.emplace_back(process);
    }
    change([&](SharedJournals& there) { there.writers["a"] = {"copy2", "copy1", 0, lineage}; });
    append("own", 2);
    awaitAll();
    EXPECT_EQ(original.told(&ShippingGateway::lost), 0u);
    ShippingGateway& copy = start("copy3", "copy");
    await([&] { return copy.told(&ShippingGateway::lost) == 1; });
    EXPECT_TRUE(original.shipper->status().connected);
}

TEST_F(JournalShipperTest, TheNextProcessGoesOnAtOnce) {
    append("own", 3);
    start("first");
    awaitAll();
    gateways_.clear();
    append("own", 3);
    ShippingGateway& next = start("second");
    awaitAll();
    EXPECT_EQ(next.told(&ShippingGateway::lost), 0u);
    EXPECT_EQ(next.told(&ShippingGateway::placed), 0u);
}

TEST_F(JournalShipperTest, AnAlteredPlaceIsToldAndNothingIsTwiceThere) {
    append("own", 3);
    ShippingGateway& gateway = start("p");
    awaitAll();
    change([](SharedJournals& there) { there.rows.back().journal.position = "0 0 - 0 0 - 0 0 - 0"; });
    await([&] { return gateway.told(&ShippingGateway::placed) == 1; });
    change([](SharedJournals& there) { there.rows.clear(); });
    await([&] { return gateway.told(&ShippingGateway::placed) == 2; });
    append("own", 3);
    awaitAll();
    EXPECT_EQ(gateway.told(&ShippingGateway::lost), 0u);
}

TEST_F(JournalShipperTest, TheRestOfAFileThatWasRemovedGoesFirst) {
    append("own", 3);
    ShippingGateway& gateway = start("p");
    awaitAll();
    change([](SharedJournals& there) { there.gone = true; });
    await([&] { return gateway.told(&ShippingGateway::lost) == 1; });
    change([](SharedJournals& there) { there.gone = false; });
    await([&] { return gateway.shipper->status().connected; });
    // Its writer has it open, and writes until it has found out.
    JournalOptions options;
    options.url = "sqlite:" + file("own");
    const auto sink = journal::openSink(options);
    for (const char* const end : {"", "-wal", "-shm"})
        std::filesystem::remove(file("own") + end);
    std::vector<JournalSession> late(1);
    late[0].started_ms = kFirstMs + static_cast<std::int64_t>(next_);
    late[0].id = test::sampleId(late[0].started_ms, next_++);
    sink->append(late);
    ids_.push_back(late[0].id);
    awaitAll();
    append("own", 2);  // a new file
    awaitAll();
    await([&] { return gateway.told(&ShippingGateway::placed) == 1; });
}

TEST_F(JournalShipperTest, SoDoesThatOfOneRemovedWhileTheDatabaseWasAway) {
    append("own", 3);
    ShippingGateway& gateway = start("p");
    awaitAll();
    change([](SharedJournals& there) { there.gone = true; });
    append("own", 4);
    await([&] { return gateway.shipper->status().behind == 4; });
    for (const char* const end : {"", "-wal", "-shm"})
        std::filesystem::remove(file("own") + end);
    append("own", 2);  // a new file
    change([](SharedJournals& there) { there.gone = false; });
    awaitAll();
}

TEST_F(JournalShipperTest, WhatWasRemovedBeforeItCameIsMissed) {
    append("own", 3);
    ShippingGateway& gateway = start("p");
    awaitAll();
    change([](SharedJournals& there) { there.gone = true; });
    await([&] { return gateway.told(&ShippingGateway::lost) == 1; });
    append("own", 4, JournalKind::Refused);
    const std::int64_t from = kFirstMs + 3, to = kFirstMs + 6;
    await([&] { return gateway.shipper->status().behind == 4; });
    Shell(file("own"))
        .run("DELETE FROM refused; DELETE FROM segment WHERE kind = 1");  // as retention does it
    await([&] { return gateway.shipper->status().behind == 0; });
    change([](SharedJournals& there) { there.gone = false; });
    await([&] { return gateway.shipper->status().missed == 1; });
    const ShipperStatus status = gateway.shipper->status();
    EXPECT_EQ(missedText(status.missing, "a"), missedText({4, true, from, to}, "a"));
    const std::lock_guard lock(database_->mutex);
    ASSERT_EQ(database_->missed.size(), 1u);
    EXPECT_EQ(database_->missed[0].records.records, 4u);
    EXPECT_TRUE(database_->missed[0].records.exact);
}

TEST_F(JournalShipperTest, SoIsTheRestOfAPieceBehindWhichThereAreNewOnes) {
    append("own", 3);
    ShippingGateway& gateway = start("p");
    awaitAll();
    change([](SharedJournals& there) { there.gone = true; });
    await([&] { return gateway.told(&ShippingGateway::lost) == 1; });
    append("own", 4);
    ids_.resize(3);
    await([&] { return gateway.shipper->status().behind == 4; });
    Shell(file("own")).run("DELETE FROM session; DELETE FROM segment WHERE kind = 0");
    append("own", 1);
    // And the one that comes next is one that the database cannot have.
    const std::string bad = ids_.back();
    ids_.pop_back();
    change([&](SharedJournals& there) {
        there.bad = {bad};
        there.gone = false;
    });
    await([&] { return gateway.told(&ShippingGateway::rejected) == 1; });
    append("own", 2);
    awaitAll();
    await([&] { return gateway.shipper->status().missed == 1; });
    EXPECT_EQ(missedText(gateway.shipper->status().missing, "a"),
              missedText({4, true, kFirstMs, kFirstMs + 6}, "a"));
    const std::lock_guard lock(database_->mutex);
    ASSERT_EQ(database_->missed.size(), 1u);
    EXPECT_EQ(database_->missed[0].records.records, 4u);
}

TEST_F(JournalShipperTest, OfWhatWasRemovedWhileItWasStoppedTheMostIsTold) {
    append("own", 3);
    start("p");
    awaitAll();
    gateways_.clear();
    append("own", 4, JournalKind::Refused);
    append("own", 1, JournalKind::Mail);
    Shell(file("own")).run("DELETE FROM refused; DELETE FROM segment WHERE kind = 1");
    ids_.erase(ids_.begin() + 3, ids_.begin() + 7);
    ShippingGateway& gateway = start("q");
    await([&] { return gateway.shipper->status().missed == 1; });
    const MissedRecords missing = gateway.shipper->status().missing;
    EXPECT_EQ(missing.records, 16'384u);
    EXPECT_FALSE(missing.exact);
    EXPECT_EQ(missing.from_ms, kFirstMs + 2);
    EXPECT_THAT(missedText(missing, "a"),
                HasSubstr("up to 16384 records of a from 2027-01-15T08:00:00Z to "));
    awaitAll();
}

}  // namespace
}  // namespace mailgate::store
