// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/fleet_tickets.h"

#include "tests/support/fake_fleet.h"

#include <gmock/gmock.h>

#include <memory>
#include <string>
#include <vector>

namespace mailgate {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr UnixSeconds kTime = TicketKeys::kLifetime;

class FleetTicketsTest : public testing::Test {
  protected:
    struct Gateway {
        Gateway(FleetTicketsTest& test, std::string_view secret)
            : keys(std::make_shared<TicketKeys>([&test] { return test.time_; })),
              tickets(TicketSeal(secret), keys,
                      {[this] { told.emplace_back("shared"); },
                       [this](const std::string& why) { told.push_back(why); }}),
              fleet(test.database_) {}
        void look(UnixSeconds now) {
            store::FleetState state = fleet.state();
            state.now = now;
            tickets.look(fleet, state);
        }
        std::shared_ptr<TicketKeys> keys;
        std::vector<std::string> told;
        FleetTickets tickets;
        store::FakeFleet fleet;
    };
    /// One takes the other's tickets.
    static bool takes(Gateway& one, Gateway& other) {
        const auto found = one.keys->find(other.keys->current()->name);
        return found && found->key.cipher == other.keys->current()->cipher;
    }
    std::vector<std::int64_t> periods() {
        std::vector<std::int64_t> all;
        for (const auto& [of, sealed] : database_->ticket_keys)
            all.push_back(of.second);
        return all;
    }

    const std::shared_ptr<store::FleetDatabase> database_ = std::make_shared<store::FleetDatabase>();
    UnixSeconds time_ = 40'000 * kTime + 100;
    const std::string secret_ = std::string(32, 's'), another_ = std::string(32, 'a');
    Gateway one_{*this, secret_}, two_{*this, secret_};
};

TEST_F(FleetTicketsTest, EachTakesTheTicketsOfTheOthers) {
    EXPECT_FALSE(takes(one_, two_));
    one_.look(time_);
    two_.look(time_);
    EXPECT_TRUE(takes(one_, two_));
    EXPECT_TRUE(takes(two_, one_));
    EXPECT_THAT(one_.told, testing::ElementsAre("shared"));
    EXPECT_EQ(one_.tickets.status().until, (time_ / kTime + 2) * kTime);
    EXPECT_THAT(periods(), testing::ElementsAre(time_ / kTime, time_ / kTime + 1)) << "made ahead";
    const TicketKey key = *one_.keys->current();
    for (const auto& [of, sealed] : database_->ticket_keys)
        EXPECT_THAT(sealed, testing::MatchesRegex("[0-9a-f]{216}"));
}

TEST_F(FleetTicketsTest, TheNextKeyIsKnownToAllBeforeItSeals) {
    one_.look(time_);
    two_.look(time_);
    time_ += kTime;  // one has not looked since
    EXPECT_TRUE(takes(one_, two_));
    two_.look(time_);
    EXPECT_THAT(periods(), SizeIs(3));
    EXPECT_TRUE(takes(two_, one_));
}

TEST_F(FleetTicketsTest, OldKeysGoAndTheTwoBeforeStay) {
    for (int at = 0; at < 6; ++at, time_ += kTime)
        one_.look(time_);
    time_ -= kTime;
    EXPECT_THAT(periods(),
                testing::ElementsAre(time_ / kTime - 2, time_ / kTime - 1, time_ / kTime, time_ / kTime + 1));
}

TEST_F(FleetTicketsTest, AnotherSecretIsAnotherFleetsAffair) {
    Gateway stranger(*this, another_);
    one_.look(time_);
    stranger.look(time_);
    EXPECT_FALSE(takes(one_, stranger));
    EXPECT_THAT(stranger.told, testing::ElementsAre("shared")) << "as while the secret is being changed";
    EXPECT_THAT(periods(), SizeIs(4));
}

TEST_F(FleetTicketsTest, WithoutTheDatabaseTheLastKeysGoOnToTheirEnd) {
    one_.look(time_);
    two_.look(time_);
    time_ += kTime;
    EXPECT_TRUE(takes(one_, two_));
    EXPECT_NE(one_.tickets.status().until, 0);
    time_ += kTime;
    EXPECT_FALSE(takes(one_, two_)) << "each has its own again";
    EXPECT_EQ(one_.tickets.status().until, 0);
    ASSERT_TRUE(one_.keys->current());
}

TEST_F(FleetTicketsTest, AsksOnceAMinuteAndTellsAFailureOnce) {
    one_.look(time_);
    database_->ticket_keys.clear();
    one_.look(time_ + 59);
    EXPECT_THAT(periods(), IsEmpty());
    one_.look(time_ + 60);
    EXPECT_THAT(periods(), SizeIs(2));
    store::FleetState state = one_.fleet.state();
    one_.fleet.interrupt();
    for (const UnixSeconds later : {120, 125, 130, 140}) {
        state.now = time_ + later;
        one_.tickets.look(one_.fleet, state);
    }
    EXPECT_THAT(one_.told, testing::ElementsAre("shared", "the database is gone"));
    EXPECT_EQ(one_.tickets.status().failure, "the database is gone");
    EXPECT_NE(one_.tickets.status().until, 0) << "its keys go on";
}

TEST_F(FleetTicketsTest, WhatWasAlteredThereIsNoKey) {
    one_.look(time_);
    auto& sealed = database_->ticket_keys;
    std::swap(sealed.begin()->second, std::next(sealed.begin())->second);
    two_.look(time_);
    EXPECT_FALSE(takes(one_, two_));
    EXPECT_THAT(two_.tickets.status().failure, HasSubstr("was altered"));
    EXPECT_EQ(two_.tickets.status().until, 0);
}

TEST_F(FleetTicketsTest, AClockThatIsFarOffIsTold) {
    one_.look(time_ + 10 * kTime);
    EXPECT_THAT(one_.tickets.status().failure, HasSubstr("hours apart"));
    EXPECT_EQ(one_.tickets.status().until, 0);
}

}  // namespace
}  // namespace mailgate
