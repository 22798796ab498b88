// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/fair_places.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <string>

namespace mailgate::http {
namespace {

IpAddress address(const std::string& text) {
    return IpAddress::parse(text).value();
}

std::vector<IpAddress> addresses(std::initializer_list<const char*> texts) {
    std::vector<IpAddress> all;
    for (const char* text : texts)
        all.push_back(address(text));
    return all;
}

/// So many, each of an address of its own.
std::vector<IpAddress> manyOf(const std::string& before, const std::string& behind, int count) {
    std::vector<IpAddress> all;
    for (int number = 1; number <= count; ++number)
        all.push_back(address(before + std::to_string(number) + behind));
    return all;
}

TEST(FairPlaces, OfOneNetworkKeepNobodyElseOut) {
    EXPECT_EQ(whoGivesWay(manyOf("192.0.2.", "", 16), {}, address("198.51.100.7")), 15U) << "the last one";
    EXPECT_EQ(whoGivesWay(manyOf("192.0.", ".1", 16), {}, address("198.51.100.7")), 15U) << "a /16";
    EXPECT_EQ(whoGivesWay(manyOf("2001:db8:", "::1", 16), {}, address("2001:db9::7")), 15U) << "a /32";
    EXPECT_EQ(whoGivesWay(manyOf("2001:db8:", "::1", 16), {}, address("192.0.2.1")), 15U);
    EXPECT_EQ(whoGivesWay(manyOf("2001:db", "::1", 8), {}, address("192.0.2.1")), std::nullopt)
        << "each of another network";
}

TEST(FairPlaces, AreSharedWithinANetworkToo) {
    EXPECT_EQ(whoGivesWay(manyOf("192.0.2.", "", 16), {}, address("192.0.3.7")), 15U) << "another /24";
    EXPECT_EQ(whoGivesWay(addresses({"192.0.2.1", "192.0.2.1", "192.0.2.2"}), {}, address("192.0.2.7")), 1U);
    EXPECT_EQ(whoGivesWay(manyOf("192.0.2.", "", 16), {}, address("192.0.2.77")), std::nullopt)
        << "each of another client";
    EXPECT_EQ(whoGivesWay(manyOf("2001:db8:1:", "::1", 4), {}, address("2001:db8:2::1")), 3U);
    EXPECT_EQ(whoGivesWay(addresses({"2001:db8:1:1::1", "2001:db8:1:1::2"}), {}, address("2001:db8:1:2::1")),
              1U)
        << "a /64 is one client";
}

TEST(FairPlaces, AreNotTakenFromWhoHasAsFew) {
    const auto both = addresses({"192.0.2.1", "192.0.2.2", "198.51.100.1"});
    EXPECT_EQ(whoGivesWay(both, {}, address("198.51.100.2")), std::nullopt);
    EXPECT_EQ(whoGivesWay(both, {}, address("203.0.113.1")), 1U);
    EXPECT_EQ(whoGivesWay(both, {}, address("192.0.2.3")), std::nullopt) << "that has most";
}

TEST(FairPlaces, ThatAreInUseCountAndStay) {
    const auto served = addresses({"192.0.2.1", "192.0.2.2", "192.0.2.3"});
    EXPECT_EQ(whoGivesWay({}, served, address("198.51.100.2")), std::nullopt);
    EXPECT_EQ(whoGivesWay(addresses({"203.0.113.1", "192.0.2.4"}), served, address("198.51.100.2")), 1U);
    EXPECT_EQ(whoGivesWay(addresses({"203.0.113.1", "203.0.113.2"}), served, address("198.51.100.2")), 1U)
        << "nobody who waits has more";
}

/// "address", or "address name" behind a proxy.
std::size_t loserOf(std::initializer_list<std::string> texts) {
    std::vector<Holder> holders;
    for (const std::string& text : texts) {
        const std::size_t end = std::min(text.find(' '), text.size());
        holders.push_back({address(text.substr(0, end)), text.substr(std::min(end + 1, text.size()))});
    }
    return whoHasMost(holders);
}

TEST(FairPlaces, AreLostByWhoHasMost) {
    EXPECT_EQ(loserOf({"127.0.0.1", "192.0.2.1", "192.0.77.2", "192.0.2.2"}), 1U)
        << "one each, and two of a site";
    EXPECT_EQ(loserOf({"198.51.100.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"}), 2U);
    EXPECT_EQ(loserOf({"198.51.100.1", "192.0.2.1"}), 0U) << "all have one: the oldest";
}

TEST(FairPlaces, AreLostBehindAProxyByWhoHasMostThere) {
    EXPECT_EQ(loserOf({"127.0.0.1 alice", "127.0.0.1 bob", "127.0.0.1 bob"}), 1U);
    EXPECT_EQ(loserOf({"127.0.0.1 alice", "127.0.0.1 bob", "192.0.2.1", "192.0.2.2"}), 2U)
        << "two of a site, and two who have nothing to do with each other";
    EXPECT_EQ(loserOf({"192.0.2.1", "127.0.0.1 bob", "127.0.0.2 bob"}), 1U) << "one, whatever the proxy";
}

TEST(FairPlaces, GoRoundTheNetworks) {
    const auto waiting = addresses({"192.0.2.1", "192.0.2.2", "198.51.100.7"});
    EXPECT_EQ(whoIsNext(waiting, {}), 0U);
    EXPECT_EQ(whoIsNext(waiting, addresses({"192.0.77.9"})), 2U) << "of another provider";
    EXPECT_EQ(whoIsNext(waiting, addresses({"198.51.100.9"})), 0U);
    EXPECT_EQ(whoIsNext(waiting, addresses({"192.0.2.9", "198.51.100.9"})), 0U);
    EXPECT_EQ(whoIsNext(waiting, addresses({"192.0.2.1", "198.51.100.7"})), 1U) << "another client";
}

}  // namespace
}  // namespace mailgate::http
