// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/resolve.h"

#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <thread>

namespace mailgate {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

const Resolution kAnswer{{*IpAddress::parse("192.0.2.1")}, ""};

TEST(ResolveHost, KeepsEveryAddressOnceAndExplainsFailure) {
    const Resolution literal = resolveHost("192.0.2.1");
    EXPECT_THAT(literal.addresses, ElementsAre(*IpAddress::parse("192.0.2.1")));
    const Resolution nothing = resolveHost("not a name");
    EXPECT_THAT(nothing.addresses, IsEmpty());
    EXPECT_THAT(nothing.error, Not(IsEmpty()));
}

TEST(ResolveAll, LooksNamesUpSideBySide) {
    // Each look-up waits for the other: one after the other they would never end.
    struct Meeting {
        std::mutex mutex;
        std::condition_variable met;
        int here = 0;
    };
    const auto meeting = std::make_shared<Meeting>();
    const Resolver meets = [meeting](const std::string&) {
        std::unique_lock lock(meeting->mutex);
        ++meeting->here;
        meeting->met.notify_all();
        meeting->met.wait(lock, [&] { return meeting->here == 2; });
        return kAnswer;
    };
    for (const Resolution& each : resolveAll({"a.example", "b.example"}, meets, 30s))
        EXPECT_EQ(each.addresses, kAnswer.addresses);
}

TEST(ResolveAll, DoesNotWaitForMuteNameServers) {
    std::promise<void> over;
    const std::shared_future<void> end = over.get_future().share();
    // Its threads may outlive the test, and what is static.
    const Resolver mute = [end, answer = kAnswer](const std::string& host) {
        if (host != "known.example") end.wait();
        return answer;
    };
    const auto some = resolveAll({"mute.example", "known.example"}, mute, 200ms);
    EXPECT_EQ(some[0].error, "no answer in time");
    EXPECT_EQ(some[1].addresses, kAnswer.addresses);
    std::stop_source stop;
    stop.request_stop();
    EXPECT_TRUE(resolveAll({"mute.example"}, mute, 24h, stop.get_token())[0].addresses.empty());
    over.set_value();
}

TEST(ResolveAll, AnswersInTheOrderAskedAlsoForMoreNamesThanThreads) {
    std::vector<std::string> hosts;
    for (int i = 0; i < 100; ++i)
        hosts.push_back(std::to_string(i));
    const auto answers = resolveAll(
        hosts,
        [](const std::string& host) {
            return Resolution{{}, host};
        },
        30s);
    for (std::size_t i = 0; i < hosts.size(); ++i)
        EXPECT_EQ(answers[i].error, hosts[i]);
    EXPECT_TRUE(resolveAll({}, [](const std::string&) { return Resolution{}; }).empty());
}

TEST(ResolveAll, LookUpsThatNobodyWaitsForAnyMoreAreBounded) {
    std::promise<void> over;
    const std::shared_future<void> end = over.get_future().share();
    const auto under_way = std::make_shared<std::atomic<int>>(0);
    const Resolver mute = [end, under_way](const std::string&) {
        ++*under_way;
        end.wait();
        --*under_way;
        return Resolution{};
    };
    const std::vector<std::string> hosts(10, "mute.example");
    for (int reload = 0; reload < 10; ++reload)
        EXPECT_EQ(resolveAll(hosts, mute, 1ms)[0].error, "no answer in time");
    EXPECT_LE(*under_way, 16);
    over.set_value();
    while (*under_way > 0)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace
}  // namespace mailgate
