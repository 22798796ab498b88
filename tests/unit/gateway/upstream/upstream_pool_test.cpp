// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/upstream_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <set>
#include <string>
#include <thread>

namespace mailgate {
namespace {

UpstreamConfig threeServers(Balance balance) {
    UpstreamConfig config;
    config.name = "mx";
    config.balance = balance;
    for (const char* name : {"a", "b", "c"}) {
        ServerConfig server;
        server.name = name;
        server.endpoints = {{*IpAddress::parse("192.0.2.1"), static_cast<std::uint16_t>(name[0])}};
        config.servers.push_back(server);
    }
    return config;
}

class CountingAlarm final : public CheckAlarm {
  public:
    void ring() noexcept override { ++rung; }
    std::atomic<int> rung{0};
};

const IpAddress kClient = *IpAddress::parse("198.51.100.7");

std::string pickName(UpstreamPool& pool, const IpAddress& client = kClient, Millis now = 1000) {
    UpstreamPool::Tried tried = 0;
    return pool.pick(client, now, tried)->server->name;
}

TEST(UpstreamPool, RoundRobinTakesTurns) {
    const UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {});
    std::string order;
    for (int i = 0; i < 6; ++i)
        order += pickName(pool);
    EXPECT_EQ(order, "abcabc");
}

TEST(UpstreamPool, LeastConnTakesTheLeastLoaded) {
    const UpstreamConfig config = threeServers(Balance::LeastConn);
    UpstreamPool pool(config, {});
    UpstreamPool::Tried tried = 0;
    pool.pick(kClient, 0, tried)->sessions = 5;
    EXPECT_EQ(pickName(pool), "b");
}

TEST(UpstreamPool, SourceSendsAClientAndItsIpv6NetworkToOneServer) {
    const UpstreamConfig config = threeServers(Balance::Source);
    UpstreamPool pool(config, {});
    EXPECT_EQ(pickName(pool), pickName(pool));
    EXPECT_EQ(pickName(pool, *IpAddress::parse("2001:db8::1")),
              pickName(pool, *IpAddress::parse("2001:db8::ffff:2")));
    std::set<std::string> used;
    for (int i = 0; i < 64; ++i)
        used.insert(pickName(pool, IpAddress::fromV4({198, 51, 100, static_cast<std::uint8_t>(i)})));
    EXPECT_EQ(used.size(), 3U);
}

TEST(UpstreamPool, OffersEachServerOncePerRound) {
    const UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {});
    UpstreamPool::Tried tried = 0;
    std::set<std::string> offered;
    while (const auto endpoint = pool.pick(kClient, 0, tried)) {
        EXPECT_TRUE(offered.insert(endpoint->server->name).second);
    }
    EXPECT_EQ(offered.size(), 3U);
}

TEST(UpstreamPool, PassesOverAServerThatFailedUntilItMayHaveRecovered) {
    const UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {});
    UpstreamPool::Tried tried = 0;
    const auto failing = pool.pick(kClient, 1000, tried);
    pool.reportFailure(*failing, 1000, ServerFailure::ConnectRefused);
    for (int i = 0; i < 6; ++i)
        EXPECT_NE(pickName(pool), failing->server->name);
    std::set<std::string> later;
    for (int i = 0; i < 6; ++i)
        later.insert(pickName(pool, kClient, 1000 + UpstreamPool::kRetryAfter));
    EXPECT_EQ(later.size(), 3U);
}

TEST(UpstreamPool, OffersTheSameServerOnceMoreUnlessItWouldGetNoNewSession) {
    const UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {});
    UpstreamPool::Tried tried = 0;
    const auto endpoint = pool.pick(kClient, 1000, tried);
    tried = 0;
    EXPECT_EQ(pool.pickAgain(*endpoint, 1000, tried), endpoint);
    EXPECT_EQ(pool.pickAgain(*endpoint, 1000, tried), nullptr) << "it has been tried";
    EXPECT_NE(pool.pick(kClient, 1000, tried), endpoint);
    tried = 0;
    pool.reportFailure(*endpoint, 1000, ServerFailure::ConnectRefused);
    EXPECT_EQ(pool.pickAgain(*endpoint, 1000, tried), nullptr);
    pool.reportSuccess(*endpoint);
    EXPECT_EQ(pool.pickAgain(*endpoint, 1000, tried), endpoint);
    tried = 0;
    pool.setAdminState(endpoint->server->name, AdminState::Drain);
    EXPECT_EQ(pool.pickAgain(*endpoint, 1000, tried), nullptr);
}

TEST(UpstreamPool, OffersFailingServersWhenThereIsNoOther) {
    const UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {});
    UpstreamPool::Tried tried = 0;
    while (const auto endpoint = pool.pick(kClient, 1000, tried))
        pool.reportFailure(*endpoint, 1000, ServerFailure::ConnectRefused);
    EXPECT_FALSE(pool.available(1000));
    tried = 0;
    EXPECT_NE(pool.pick(kClient, 1000, tried), nullptr);
}

TEST(UpstreamPool, TellsEachChangeOnce) {
    int downs = 0, ups = 0;
    const UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {[&](const auto&, const auto&) { ++ups; },
                               [&](const auto&, const auto&, std::string_view) { ++downs; }});
    UpstreamPool::Tried tried = 0;
    const auto endpoint = pool.pick(kClient, 0, tried);
    pool.reportFailure(*endpoint, 0, ServerFailure::ConnectRefused);
    pool.reportFailure(*endpoint, 0, ServerFailure::ConnectRefused);
    pool.reportSuccess(*endpoint);
    pool.reportSuccess(*endpoint);
    EXPECT_EQ(downs, 1);
    EXPECT_EQ(ups, 1);
}

// ---- weights and backups

std::map<std::string, int> shares(UpstreamPool& pool, int picks, Millis now = 1000) {
    std::map<std::string, int> count;
    for (int i = 0; i < picks; ++i)
        ++count[pickName(
            pool, IpAddress::fromV4({10, 1, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)}),
            now)];
    return count;
}

std::shared_ptr<ServerEndpoint> endpointOf(const UpstreamPool& pool, std::string_view name) {
    for (const auto& endpoint : pool.endpoints()) {
        if (endpoint->server->name == name) return endpoint;
    }
    return nullptr;
}

TEST(UpstreamPool, RoundRobinGivesEachServerItsWeightOfTurns) {
    UpstreamConfig config = threeServers(Balance::RoundRobin);
    config.servers[0].weight = 3;
    UpstreamPool pool(config, {});
    auto count = shares(pool, 500);
    EXPECT_EQ(count["a"], 300);
    EXPECT_EQ(count["b"], 100);
    EXPECT_EQ(count["c"], 100);
}

TEST(UpstreamPool, LeastConnCountsSessionsPerWeight) {
    UpstreamConfig config = threeServers(Balance::LeastConn);
    config.servers[0].weight = 10;
    UpstreamPool pool(config, {});
    endpointOf(pool, "a")->sessions = 5;
    endpointOf(pool, "b")->sessions = 1;
    endpointOf(pool, "c")->sessions = 1;
    EXPECT_EQ(pickName(pool), "a");
}

TEST(UpstreamPool, SourceGivesSharesByWeight) {
    UpstreamConfig config = threeServers(Balance::Source);
    config.servers[0].weight = 2;
    UpstreamPool pool(config, {});
    const auto count = shares(pool, 8000);
    EXPECT_NEAR(count.at("a"), 4000, 300);
    EXPECT_NEAR(count.at("b"), 2000, 250);
}

TEST(UpstreamPool, SourceMovesOnlyTheShareOfAServerThatIsAdded) {
    const UpstreamConfig three = threeServers(Balance::Source);
    UpstreamConfig four = three;
    ServerConfig added;
    added.name = "d";
    added.endpoints = {{*IpAddress::parse("192.0.2.4"), 25}};
    four.servers.insert(four.servers.begin(), added);  // and their order does not matter
    UpstreamPool before(three, {}), after(four, {});
    int moved = 0;
    constexpr int kClients = 8000;
    for (int i = 0; i < kClients; ++i) {
        const IpAddress client =
            IpAddress::fromV4({198, 51, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)});
        const std::string now_at = pickName(after, client);
        if (now_at == pickName(before, client)) continue;
        EXPECT_EQ(now_at, "d") << "a client moved between the servers that were there";
        ++moved;
    }
    EXPECT_NEAR(moved, kClients / 4, kClients / 40);
}

TEST(UpstreamPool, UsesBackupsOnlyWhileNoOtherServerIsUp) {
    UpstreamConfig config = threeServers(Balance::RoundRobin);
    config.servers[2].backup = true;
    UpstreamPool pool(config, {});
    EXPECT_EQ(shares(pool, 10).count("c"), 0U);
    pool.reportFailure(*endpointOf(pool, "a"), 1000, ServerFailure::ConnectRefused);
    EXPECT_EQ(shares(pool, 10).count("c"), 0U);
    pool.reportFailure(*endpointOf(pool, "b"), 1000, ServerFailure::ConnectRefused);
    EXPECT_EQ(shares(pool, 10)["c"], 10);
    EXPECT_TRUE(pool.available(1000));
}

TEST(UpstreamPool, AServerThatWasAwayGetsItsShareAndNotWhatItMissed) {
    const UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {});
    pool.reportFailure(*endpointOf(pool, "a"), 1000, ServerFailure::ConnectRefused);
    shares(pool, 1000);
    EXPECT_NEAR(shares(pool, 300, 3000)["a"], 100, 1);
}

// ---- health

TEST(UpstreamPool, TheFirstCheckDecidesAndThenItTakesFallAndRise) {
    int downs = 0, ups = 0;
    const UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {[&](const auto&, const auto&) { ++ups; },
                               [&](const auto&, const auto&, std::string_view) { ++downs; }});
    pool.watch(std::make_shared<CountingAlarm>());
    const auto first = endpointOf(pool, "a");
    const auto second = endpointOf(pool, "b");
    pool.checkFailed(*first, "no greeting");
    EXPECT_EQ(first->health.state(), Health::Down);
    pool.checkPassed(*second, 1000);
    EXPECT_EQ(second->health.state(), Health::Up);
    EXPECT_EQ(ups, 0) << "nothing came back up";
    pool.checkFailed(*second, "no greeting");
    EXPECT_EQ(second->health.state(), Health::Up);
    pool.checkFailed(*second, "no greeting");
    EXPECT_EQ(second->health.state(), Health::Down);
    pool.checkPassed(*second, 1000);
    EXPECT_EQ(second->health.state(), Health::Down);
    pool.checkPassed(*second, 1000);
    EXPECT_EQ(second->health.state(), Health::Up);
    EXPECT_EQ(downs, 2);
    EXPECT_EQ(ups, 1);
    EXPECT_EQ(second->failures_total, 0U) << "checks are no sessions";
}

TEST(UpstreamPool, UnreachableToSessionsACheckedServerGoesDownAndOnlyChecksBringItBack) {
    const UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {});
    pool.watch(std::make_shared<CountingAlarm>());
    const auto server = endpointOf(pool, "a");
    pool.reportFailure(*server, 0, ServerFailure::ConnectRefused);
    pool.reportSuccess(*server);
    pool.reportFailure(*server, 0, ServerFailure::ConnectTimeout);
    EXPECT_EQ(server->health.state(), Health::Unknown) << "one in a row";
    pool.reportFailure(*server, 0, ServerFailure::ConnectRefused);
    EXPECT_EQ(server->health.state(), Health::Down);
    EXPECT_EQ(shares(pool, 10, 100'000).count("a"), 0U) << "time alone heals nothing";
    pool.reportSuccess(*server);
    EXPECT_EQ(server->health.state(), Health::Down) << "a last resort that worked is no check";
    pool.checkPassed(*server, 0);
    pool.checkPassed(*server, 0);
    EXPECT_NEAR(shares(pool, 90)["a"], 30, 1);
    EXPECT_EQ(server->failures_total, 3U);
}

TEST(UpstreamPool, WhatACheckedServerSaysToClientsAsksForOneCheckAndDecidesNothing) {
    const UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {});
    const auto alarm = std::make_shared<CountingAlarm>();
    pool.watch(alarm);
    const auto server = endpointOf(pool, "a");
    pool.checkPassed(*server, 0);
    for (int i = 0; i < 100; ++i) {
        for (const ServerFailure failure :
             {ServerFailure::NoGreeting, ServerFailure::ClosedWithoutGreeting,
              ServerFailure::ResetWithoutGreeting, ServerFailure::ClosedInGreeting, ServerFailure::Foreign,
              ServerFailure::SystemNotAccepting, ServerFailure::HeaderNotTaken})
            pool.reportFailure(*server, 0, failure);
    }
    EXPECT_EQ(server->health.state(), Health::Up);
    EXPECT_EQ(alarm->rung, 1) << "until the checker has heard of it";
    EXPECT_TRUE(server->health.takeCheckRequest());
    EXPECT_FALSE(server->health.takeCheckRequest());
    pool.reportFailure(*server, 0, ServerFailure::NoLocalPort);
    EXPECT_FALSE(server->health.takeCheckRequest()) << "about the gateway";
}

TEST(UpstreamPool, AWantOfTheGatewayNeverTakesAnUncheckedServerAway) {
    const UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {});
    const auto server = endpointOf(pool, "a");
    for (int i = 0; i < 100; ++i)
        pool.reportFailure(*server, 1000, ServerFailure::NoLocalPort);
    EXPECT_EQ(server->health.state(), Health::Unknown);
    EXPECT_NEAR(shares(pool, 90)["a"], 30, 1);
    pool.reportFailure(*server, 1000, ServerFailure::SystemNotAccepting);
    EXPECT_EQ(shares(pool, 10).count("a"), 0U);
}

TEST(UpstreamPool, SessionsOfAnOlderConfigurationCountByTheOneInForce) {
    std::atomic<int> downs{0}, ups{0};
    const UpstreamPool::Events events{[&](const auto&, const auto&) { ++ups; },
                                      [&](const auto&, const auto&, std::string_view) { ++downs; }};
    UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool old(config, events);
    old.watch(std::make_shared<CountingAlarm>());
    UpstreamConfig changed = config;
    changed.fall = 100;
    UpstreamPool fresh(changed, events);
    fresh.carryOver(old);
    fresh.watch(std::make_shared<CountingAlarm>());
    const auto server = endpointOf(old, "a");
    fresh.checkPassed(*server, 0);
    for (int i = 0; i < 99; ++i)
        old.reportFailure(*server, 0, ServerFailure::ConnectRefused);
    EXPECT_EQ(server->health.state(), Health::Up) << "the new `fall` counts";
    old.reportFailure(*server, 0, ServerFailure::ConnectRefused);
    EXPECT_EQ(server->health.state(), Health::Down);
    old.reportSuccess(*server);
    EXPECT_EQ(server->health.state(), Health::Down) << "checks decide, whatever the session is of";
    EXPECT_EQ(fresh.status()[0].reason, "connection refused");
    EXPECT_EQ(downs, 1);
    EXPECT_EQ(ups, 0);
}

TEST(UpstreamPool, OldAndNewConfigurationsMayJudgeAnEndpointAtTheSameTime) {
    UpstreamConfig config = threeServers(Balance::RoundRobin);
    config.fall = config.rise = 1;
    std::atomic<int> balance{0};
    const UpstreamPool::Events events{[&](const auto&, const auto&) { ++balance; },
                                      [&](const auto&, const auto&, std::string_view) { --balance; }};
    UpstreamPool old(config, events), fresh(config, events);
    old.watch(std::make_shared<CountingAlarm>());
    fresh.carryOver(old);
    fresh.watch(std::make_shared<CountingAlarm>());
    const auto server = endpointOf(old, "a");
    fresh.checkPassed(*server, 0);
    std::vector<std::thread> threads;
    threads.emplace_back([&] {
        for (int i = 0; i < 2000; ++i)
            old.reportFailure(*server, 0, ServerFailure::ConnectRefused);
    });
    threads.emplace_back([&] {
        for (int i = 0; i < 2000; ++i)
            i % 2 ? fresh.checkPassed(*server, 0)
                  : fresh.checkFailed(*server, "a reason too long to be kept in place");
    });
    threads.emplace_back([&] {
        for (int i = 0; i < 2000; ++i)
            fresh.status();
    });
    for (std::thread& thread : threads)
        thread.join();
    fresh.checkPassed(*server, 0);
    EXPECT_EQ(balance, 0) << "each change was reported once, and in order";
    EXPECT_EQ(fresh.status()[0].reason, "");
}

TEST(UpstreamPool, AServerThatIsBackGrowsIntoItsShare) {
    UpstreamConfig config = threeServers(Balance::RoundRobin);
    config.servers.pop_back();
    config.slow_start = std::chrono::seconds(10);
    UpstreamPool pool(config, {});
    pool.watch(std::make_shared<CountingAlarm>());
    const auto server = endpointOf(pool, "a");
    pool.checkFailed(*server, "refused");
    for (int i = 0; i < 2; ++i)
        pool.checkPassed(*server, 100'000);
    EXPECT_NEAR(shares(pool, 1100, 100'000)["a"], 100, 2) << "a tenth against one";
    EXPECT_NEAR(shares(pool, 900, 105'000)["a"], 300, 2) << "a half against one";
    EXPECT_NEAR(shares(pool, 100, 110'000)["a"], 50, 1);
}

TEST(UpstreamPool, AServerMayBeBackLaterThanAWorkersClockSays) {
    for (const auto slow_start : {std::chrono::seconds(0), std::chrono::seconds(10)}) {
        UpstreamConfig config = threeServers(Balance::RoundRobin);
        config.rise = 1;
        config.slow_start = slow_start;
        UpstreamPool pool(config, {});
        pool.watch(std::make_shared<CountingAlarm>());
        for (const auto& endpoint : pool.endpoints()) {
            pool.checkFailed(*endpoint, "refused");
            pool.checkPassed(*endpoint, 1005);
        }
        EXPECT_EQ(shares(pool, 30, 1000).size(), 3U);
    }
}

TEST(UpstreamPool, ADrainedServerGetsNothingWhateverItsHealth) {
    const UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {});
    EXPECT_FALSE(pool.setAdminState("z", AdminState::Drain));
    for (const char* name : {"a", "b"})
        EXPECT_TRUE(pool.setAdminState(name, AdminState::Drain));
    EXPECT_EQ(shares(pool, 10)["c"], 10);
    pool.reportFailure(*endpointOf(pool, "c"), 1000, ServerFailure::ConnectRefused);
    EXPECT_EQ(pickName(pool), "c") << "the last resort is the one that may be used";
    EXPECT_FALSE(pool.available(1000));
    EXPECT_TRUE(pool.setAdminState("a", AdminState::Ready));
    EXPECT_EQ(shares(pool, 10)["a"], 10);
    const auto status = pool.status();
    ASSERT_EQ(status.size(), 3U);
    EXPECT_TRUE(status[1].healthy && status[1].draining);
    EXPECT_FALSE(status[2].healthy || status[2].draining);
    EXPECT_EQ(status[2].reason, "connection refused");
    EXPECT_GT(status[2].changed_ms, 0);
}

// ---- addresses that change

TEST(UpstreamPool, AddressesComeAndGoAndThoseThatStayKeepTheirState) {
    UpstreamConfig config = threeServers(Balance::RoundRobin);
    config.servers.resize(1);
    UpstreamPool pool(config, {});
    const Endpoint one{*IpAddress::parse("192.0.2.1"), 'a'}, two{*IpAddress::parse("192.0.2.2"), 25};
    const auto kept = endpointOf(pool, "a");
    EXPECT_TRUE(pool.setAddresses(0, {two, one}));
    EXPECT_FALSE(pool.setAddresses(0, {one, two})) << "the same in another order";
    EXPECT_FALSE(pool.setAddresses(0, {})) << "no answer keeps the last one";
    const auto now_there = pool.endpoints();
    ASSERT_EQ(now_there.size(), 2U);
    EXPECT_EQ(now_there[0], kept);
    UpstreamPool::Tried tried = 0;
    EXPECT_EQ(pool.pick(kClient, 0, tried)->endpoint, one);
    EXPECT_TRUE(pool.setAddresses(0, {two}));
    EXPECT_EQ(pool.pick(kClient, 0, tried)->endpoint, two) << "what was tried is not mistaken for another";
    EXPECT_EQ(pool.pick(kClient, 0, tried), nullptr);
    EXPECT_EQ(kept->endpoint, one) << "a session may still hold it";
}

TEST(UpstreamPool, MoreAddressesThanBitsAreLeftOut) {
    UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {});
    std::vector<Endpoint> many;
    for (std::uint8_t i = 0; i < 100; ++i)
        many.push_back({IpAddress::fromV4({192, 0, 2, i}), 25});
    pool.setAddresses(0, many);
    EXPECT_EQ(pool.endpoints().size(), UpstreamPool::kMaxEndpoints);
    UpstreamPool::Tried tried = 0;
    std::size_t offered = 0;
    while (pool.pick(kClient, 0, tried))
        ++offered;
    EXPECT_EQ(offered, UpstreamPool::kMaxEndpoints);
}

TEST(UpstreamPool, AReloadKeepsHealthWishesAndSessionsByName) {
    UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool old(config, {});
    old.setAdminState("b", AdminState::Drain);
    old.watch(std::make_shared<CountingAlarm>());
    const auto down = endpointOf(old, "a");
    old.checkFailed(*down, "refused");
    shares(old, 1000);
    UpstreamConfig changed = config;
    changed.servers[2].name = "new";
    changed.servers[0].endpoints.clear();  // its name had no answer this time
    UpstreamPool fresh(changed, {});
    fresh.carryOver(old);
    fresh.watch(std::make_shared<CountingAlarm>());
    EXPECT_EQ(endpointOf(fresh, "a"), down);
    EXPECT_EQ(endpointOf(fresh, "new")->health.state(), Health::Unknown);
    EXPECT_EQ(shares(fresh, 10)["new"], 10);
    fresh.setAdminState("b", AdminState::Ready);
    const auto after = shares(fresh, 100);
    EXPECT_NEAR(after.at("b"), 50, 1) << "no backlog of turns";
}

TEST(UpstreamPool, WorkersMayPickWhileAddressesChange) {
    UpstreamConfig config = threeServers(Balance::RoundRobin);
    UpstreamPool pool(config, {});
    std::atomic<bool> stop{false};
    std::vector<std::thread> workers;
    for (int i = 0; i < 3; ++i) {
        workers.emplace_back([&] {
            while (!stop) {
                UpstreamPool::Tried tried = 0;
                while (const auto endpoint = pool.pick(kClient, 0, tried))
                    endpoint->sessions.fetch_add(1, std::memory_order_relaxed);
            }
        });
    }
    for (std::uint8_t i = 0; i < 200; ++i)
        pool.setAddresses(i % 3,
                          {{IpAddress::fromV4({192, 0, 2, i}), 25}, {IpAddress::fromV4({192, 0, 3, i}), 25}});
    stop = true;
    for (std::thread& worker : workers)
        worker.join();
    EXPECT_EQ(pool.endpoints().size(), 6U);
}

}  // namespace
}  // namespace mailgate
