// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/fleet_drains.h"

#include "tests/support/fake_fleet.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mailgate {
namespace {

using Server = std::pair<std::string, std::string>;

const Server kMx1{"mx", "mx1"}, kMx2{"mx", "mx2"};

class FleetDrainsTest : public testing::Test {
  protected:
    FleetDrainsTest() { start(); }
    void start() {
        drains_ = std::make_unique<FleetDrains>(
            folder_.file("fleet-servers"),
            FleetDrains::Gateway{[this] { return servers_; },
                                 [this](const Server& server, const std::optional<DrainOrder>& order) {
                                     ++orders_;
                                     // As the gateway does it: who was the first to drain it is kept.
                                     if (!order || !servers_[server]) servers_[server] = order;
                                 },
                                 [this](const std::string& why) { failures_.push_back(why); }});
    }
    void look() {
        now_ += 20;
        store::FleetState state = fleet_.state();
        state.now = now_;
        drains_->look(fleet_, state);
    }
    void drain(const Server& server, std::string by, std::int64_t since = 7) {
        fleet_.setDrain({server.first, server.second, since, std::move(by)}, true);
    }
    void ready(const Server& server) { fleet_.setDrain({server.first, server.second, 0, ""}, false); }

    const TemporaryFolder folder_;
    std::map<Server, std::optional<DrainOrder>> servers_{{kMx1, std::nullopt}, {kMx2, std::nullopt}};
    int orders_ = 0;
    std::int64_t now_ = 1'000;
    std::vector<std::string> failures_;
    store::FakeFleet fleet_{std::make_shared<store::FleetDatabase>()};
    std::unique_ptr<FleetDrains> drains_;
};

TEST_F(FleetDrainsTest, CarriesOutEachWishOnce) {
    look();
    drain(kMx1, "alice@a");
    drain({"mx", "of another gateway"}, "alice@a");
    look();
    look();
    EXPECT_EQ(servers_[kMx1], (DrainOrder{7, "alice@a"}));
    EXPECT_EQ(servers_[kMx2], std::nullopt);
    EXPECT_EQ(servers_.size(), 2u);
    EXPECT_EQ(orders_, 1);
    ready(kMx1);
    look();
    EXPECT_EQ(servers_[kMx1], std::nullopt);
    EXPECT_EQ(orders_, 2);
}

TEST_F(FleetDrainsTest, WhatWasTakenBackMeanwhileIsTakenBackAfterARestart) {
    drain(kMx1, "alice@a");
    look();
    start();
    look();
    EXPECT_EQ(orders_, 1);
    ready(kMx1);
    drain(kMx2, "bob@b");
    start();
    look();
    EXPECT_EQ(servers_[kMx1], std::nullopt);
    EXPECT_EQ(servers_[kMx2], (DrainOrder{7, "bob@b"}));
}

TEST_F(FleetDrainsTest, TheGatewaysOwnDrainStays) {
    servers_[kMx1] = DrainOrder{5, "carol"};
    drain(kMx1, "alice@a");
    look();
    EXPECT_EQ(servers_[kMx1], (DrainOrder{5, "carol"}));
    ready(kMx1);
    look();
    EXPECT_EQ(servers_[kMx1], (DrainOrder{5, "carol"}));
}

TEST_F(FleetDrainsTest, WhoPutsItBackHereIsObeyedUntilTheFleetSaysSoAgain) {
    drain(kMx1, "alice@a");
    look();
    servers_[kMx1] = std::nullopt;
    drain(kMx2, "bob@b");
    look();
    EXPECT_EQ(servers_[kMx1], std::nullopt);
    drain(kMx1, "alice@a", 9);
    look();
    EXPECT_EQ(servers_[kMx1], (DrainOrder{9, "alice@a"}));
    const auto orders = orders_;
    drain(kMx1, "dave@a", 11);
    look();
    EXPECT_EQ(servers_[kMx1], (DrainOrder{9, "alice@a"})) << "it goes on";
    EXPECT_EQ(orders_, orders) << "not even for a moment does it get sessions";
    ready(kMx1);
    look();
    EXPECT_EQ(servers_[kMx1], std::nullopt);
}

TEST_F(FleetDrainsTest, AServerThatComesWithAReloadIsDrained) {
    const Server later{"mx", "mx3"};
    drain(later, "alice@a");
    look();
    EXPECT_EQ(orders_, 0);
    servers_[later] = std::nullopt;
    look();
    EXPECT_EQ(servers_[later], (DrainOrder{7, "alice@a"}));
}

TEST_F(FleetDrainsTest, AFailureIsToldOnceAndTriedAgain) {
    const std::string in_the_way = folder_.file("fleet-servers");
    std::filesystem::create_directory(in_the_way);
    drain(kMx1, "alice@a");
    look();
    look();
    EXPECT_EQ(failures_.size(), 1u);
    EXPECT_TRUE(servers_[kMx1]) << "it is drained all the same";
    EXPECT_EQ(orders_, 1);
    std::filesystem::remove(in_the_way);
    look();
    EXPECT_EQ(readDrained(in_the_way).size(), 1u);
}

}  // namespace
}  // namespace mailgate
