// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/follower.h"

#include "store/backends/fleet.h"
#include "store/backends/rules.h"
#include "store/fleet/join.h"
#include "store/fleet/sharing.h"
#include "tests/support/fake_fleet.h"
#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

#include <atomic>
#include <ctime>
#include <system_error>
#include <thread>

namespace mailgate::store {
namespace {

class FleetFollowerTest : public testing::Test {
  protected:
    FleetFollowerTest() : url_("sqlite:" + folder_.file("rules.db")) {}

    void join() {
        FakeFleet fleet(database_);
        joinFleet(*openReplica(url_, {}), fleet, {.gateway = "a", .who = "alice"});
    }
    void start() {
        FleetFollower::Events events;
        events.lost = [this](const std::string& why) {
            why_ = why;
            ++lost_;
        };
        events.found = [this] { ++found_; };
        events.unforgotten = [this](const std::string& why) {
            EXPECT_EQ(why, "permission denied");
            ++unforgotten_;
        };
        events.overruled = [this](const std::vector<Applied::Lost>& lost) {
            for (const Applied::Lost& one : lost)
                overruled_ = one.by + ": " + one.here + " | " + one.fleet;
        };
        events.upkeep = [this](std::int64_t) {
            ++upkeep_;
            throw StoreError(StoreError::Kind::Locked, "another gateway is changing the rules");
        };
        follower_ = std::make_unique<FleetFollower>(
            std::make_unique<FakeFleet>(database_),
            [this] {
                if (exhausted_.exchange(false))
                    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
                if (locked_ > 0 && locked_-- > 0)
                    throw StoreError(StoreError::Kind::Locked, "a command has the file");
                return openReplica(url_, {});
            },
            FleetFollower::Options{.name = "a",
                                   .release = "1.2.3",
                                   .poll = std::chrono::milliseconds(20),
                                   .upkeep = std::chrono::milliseconds(20),
                                   .patience = patience_},
            events);
        follower_->start();
    }
    template <typename Condition>
    static void await(const Condition& condition) {
        const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (!condition() && std::chrono::steady_clock::now() < limit)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        EXPECT_TRUE(condition());
    }
    /// Another gateway adds a rule.
    void change(std::int64_t id) {
        FakeFleet other(database_);
        SharedRule rule;
        rule.id = id;
        rule.network = "192.0.2." + std::to_string(id) + "/32";
        rule.verdict = "deny";
        rule.set = "manual";
        const std::int64_t version = other.lock().version + 1;
        SharedChanges changes{.version = version, .next_id = id + 1, .token = newToken()};
        changes.entries.push_back({.version = version,
                                   .at = 5,
                                   .who = "bob@b",
                                   .action = "add",
                                   .rule_id = id,
                                   .after = "deny " + rule.network});
        changes.rules.push_back(rule);
        other.commit(changes, "b");
    }
    std::size_t rules() {
        std::size_t count = 0;
        openRules(url_)->forEachRule([&](const AccessRule&) { ++count; });
        return count;
    }

    const TemporaryFolder folder_;
    const std::string url_;
    const std::shared_ptr<FleetDatabase> database_ = std::make_shared<FleetDatabase>();
    std::string why_, overruled_;
    std::atomic<bool> exhausted_{false};
    std::atomic<int> locked_{0};  ///< so many times
    std::chrono::milliseconds patience_{60'000};
    std::atomic<int> lost_{0}, found_{0}, upkeep_{0}, unforgotten_{0};
    std::unique_ptr<FleetFollower> follower_;
};

TEST_F(FleetFollowerTest, AppliesChangesAndAnnouncesTheGateway) {
    join();
    start();
    change(1);
    await([&] { return follower_->status().version == 1; });
    EXPECT_EQ(rules(), 1u);
    await([&] {
        const std::lock_guard guard(database_->mutex);
        return database_->members.contains("a") && database_->members["a"].position == 1;
    });
    EXPECT_EQ(database_->members["a"].release, "1.2.3");
    EXPECT_TRUE(follower_->status().connected);
    EXPECT_LT(follower_->status().lag_seconds, 10);
    follower_->stop();
    EXPECT_EQ(lost_, 0);
}

TEST_F(FleetFollowerTest, AnotherProcessOfItsNameIsKnownAndNotTheOneThatItFollows) {
    join();
    const auto announced = [this](std::int64_t position) {
        const std::lock_guard guard(database_->mutex);
        return database_->members["a"].release == "1.2.3" && database_->members["a"].position == position;
    };
    const auto announceAnother = [this] { FakeFleet(database_).announce({.name = "a", .started = 1'000}); };
    announceAnother();
    start();
    await([&] { return announced(0); });
    change(1);
    await([&] { return announced(1); });
    await([&] { return follower_->status().version == 1; });
    EXPECT_EQ(follower_->status().same_name_started, 0) << "that was before";
    announceAnother();
    change(2);
    await([&] { return follower_->status().same_name_started == 1'000; });
}

TEST_F(FleetFollowerTest, HowFarTheClocksAreApartIsKnown) {
    join();
    database_->state.now = std::time(nullptr) - 100;
    start();
    await([&] { return follower_->status().clock_ahead_seconds >= 100; });
}

TEST_F(FleetFollowerTest, AnOutageIsToldOnceAndWhatWasMissedIsApplied) {
    join();
    start();
    await([&] { return follower_->status().connected; });
    {
        const std::lock_guard guard(database_->mutex);
        database_->gone = true;
    }
    await([&] { return lost_ == 1; });
    EXPECT_EQ(why_, "the database is gone");
    EXPECT_FALSE(follower_->status().connected);
    EXPECT_EQ(follower_->status().failure, "the database is gone");
    EXPECT_EQ(found_, 0);
    {
        const std::lock_guard guard(database_->mutex);
        database_->gone = false;
    }
    change(1);
    await([&] { return found_ == 1 && follower_->status().version == 1; });
    EXPECT_EQ(lost_, 1);
    EXPECT_EQ(rules(), 1u);
}

TEST_F(FleetFollowerTest, WhatTheShellHadMadeAndIsLostIsTold) {
    join();
    Shell(folder_.file("rules.db"))
        .run("INSERT INTO access_rule(network, verdict, note) VALUES ('192.0.2.1/32', 'deny', 'shell')");
    change(1);
    start();
    await([&] { return follower_->status().version == 1; });
    follower_->stop();
    EXPECT_EQ(overruled_, "bob@b: deny 192.0.2.1/32 shell | deny 192.0.2.1/32");
}

TEST_F(FleetFollowerTest, WhoIsFurtherBehindThanTheLogGetsTheRulesAsAWhole) {
    join();
    start();
    change(1);
    change(2);
    await([&] { return follower_->status().version == 2; });
    follower_->stop();
    {
        const std::lock_guard guard(database_->mutex);
        database_->rules.erase(1);
        database_->state.log_from = 3;
    }
    change(3);
    FakeFleet(database_).forgetChanges();
    start();
    await([&] { return follower_->status().version == 3; });
    EXPECT_EQ(rules(), 2u);
    EXPECT_EQ(lost_, 0);
}

TEST_F(FleetFollowerTest, WaitsForTheGatewayToJoin) {
    openRules(url_);
    start();
    await([&] { return lost_ == 1; });
    EXPECT_THAT(why_, testing::HasSubstr("mailgate fleet join"));
    join();
    await([&] { return follower_->status().connected; });
}

TEST_F(FleetFollowerTest, UpkeepThatOthersDoIsNoFailure) {
    join();
    start();
    await([&] { return upkeep_ >= 2; });
    EXPECT_TRUE(follower_->status().connected);
    EXPECT_EQ(lost_, 0);
    EXPECT_EQ(unforgotten_, 0);
}

TEST_F(FleetFollowerTest, ThatTheLogOfChangesGrowsIsToldOnce) {
    join();
    database_->keeps_changes = true;
    start();
    const auto further = [&] {
        const int before = upkeep_;
        await([&] { return upkeep_ >= before + 2; });
    };
    further();
    further();
    EXPECT_EQ(unforgotten_, 1);
    const auto keep = [&](bool keeps) {
        const std::lock_guard guard(database_->mutex);
        database_->keeps_changes = keeps;
    };
    keep(false);
    further();
    keep(true);
    further();
    EXPECT_EQ(unforgotten_, 2);
    EXPECT_EQ(lost_, 0);
}

TEST_F(FleetFollowerTest, WhatTheSystemRefusesIsAnOutageLikeAnother) {
    join();
    exhausted_ = true;
    start();
    await([&] { return found_ == 1; });
    EXPECT_EQ(lost_, 1);
    EXPECT_TRUE(follower_->status().connected);
}

TEST_F(FleetFollowerTest, ACommandThatHasTheFileForAWhileIsNoOutage) {
    join();
    locked_ = 2;
    start();
    await([&] { return follower_->status().connected; });
    EXPECT_EQ(lost_, 0);
    follower_->stop();
    patience_ = {};
    locked_ = 1;
    start();
    await([&] { return found_ == 1; });
    EXPECT_EQ(lost_, 1);
    EXPECT_EQ(why_, "a command has the file");
}

TEST_F(FleetFollowerTest, StopsAtOnce) {
    join();
    start();
    await([&] { return follower_->status().connected; });
    const auto begin = std::chrono::steady_clock::now();
    follower_->stop();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

}  // namespace
}  // namespace mailgate::store
