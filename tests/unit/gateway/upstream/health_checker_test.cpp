// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/health_checker.h"

#include "gateway/io/socket_address.h"
#include "gateway/worker/listening_sockets.h"
#include "protocols/proxy/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

namespace mailgate {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto kPatience = std::chrono::seconds(30);

/// A server on loopback: one connection after the other, each handled by the script.
class LocalServer {
  public:
    using Script = std::function<void(int fd)>;

    explicit LocalServer(Script script) : script_(std::move(script)) {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const SocketAddress any({*IpAddress::parse("127.0.0.1"), 0});
        if (::bind(listener_, any.get(), any.size()) != 0 || ::listen(listener_, 64) != 0)
            throw std::runtime_error("listen");
        sockaddr_storage bound{};
        socklen_t size = sizeof bound;
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&bound), &size);
        endpoint = SocketAddress::toEndpoint(bound);
        thread_ = std::thread([this] { serve(); });
    }
    ~LocalServer() {
        ::shutdown(listener_, SHUT_RDWR);
        thread_.join();
        ::close(listener_);
    }

    Endpoint endpoint;

  private:
    void serve() {
        while (true) {
            const int fd = ::accept(listener_, nullptr, nullptr);
            if (fd < 0) return;
            script_(fd);
            ::close(fd);
        }
    }

    Script script_;
    int listener_;
    std::thread thread_;
};

std::string readSome(int fd) {
    char buffer[1024];
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    return {buffer, static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
}

void say(int fd, std::string_view text) {
    ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
}

/// What the pools told, awaited.
class Changes {
  public:
    UpstreamPool::Events events() {
        return {[this](const auto&, const ServerEndpoint& endpoint) { add("up " + endpoint.server->name); },
                [this](const auto&, const ServerEndpoint& endpoint, std::string_view why) {
                    add("down " + endpoint.server->name + ": " + std::string(why));
                }};
    }
    void add(std::string change) {
        const std::lock_guard lock(mutex_);
        told_.push_back(std::move(change));
        changed_.notify_all();
    }
    std::string await(std::size_t number) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, kPatience, [&] { return told_.size() > number; });
        return told_.size() > number ? told_[number] : "nothing";
    }
    std::size_t count() {
        const std::lock_guard lock(mutex_);
        return told_.size();
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> told_;
};

UpstreamConfig upstreamOf(const Endpoint& server, Protocol protocol) {
    UpstreamConfig config;
    config.name = "mx";
    config.check_protocol = protocol;
    config.interval = config.check_timeout = std::chrono::milliseconds(200);
    config.servers.resize(1);
    config.servers[0].name = "a";
    config.servers[0].endpoints = {server};
    return config;
}

/// The pools are the test's own.
HealthChecker::Plan planFor(const std::vector<UpstreamPool*>& pools, const std::string& name = "gw.example") {
    HealthChecker::Plan plan;
    for (UpstreamPool* pool : pools)
        plan.pools.emplace_back(std::shared_ptr<void>(), pool);
    plan.name = name;
    return plan;
}

template <typename Condition>
bool eventually(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

class HeaderSent : public testing::TestWithParam<SendProxy> {};

TEST_P(HeaderSent, IsTheDialectThatTheServerExpectsAndTheEndIsPolite) {
    std::mutex mutex;
    std::string header, rest;
    LocalServer server([&](int fd) {
        std::string first = GetParam() == SendProxy::Off ? "" : readSome(fd);
        say(fd, "220 mx\r\n");
        std::string more = readSome(fd);
        say(fd, "250 mx\r\n");
        more += readSome(fd);
        say(fd, "221 Bye\r\n");
        char byte = 0;
        more += ::recv(fd, &byte, 1, 0) == 0 ? "<end>" : "<reset or more>";
        const std::lock_guard lock(mutex);
        if (!rest.empty()) return;
        header = first;
        rest = more;
    });
    UpstreamConfig config = upstreamOf(server.endpoint, Protocol::Smtp);
    config.send_proxy = GetParam();
    UpstreamPool pool(config, {});
    HealthChecker checker;
    checker.follow(planFor({&pool}, "gw.example"));
    ASSERT_TRUE(eventually([&] {
        const std::lock_guard lock(mutex);
        return !rest.empty() && pool.endpoints()[0]->health.state() == Health::Up;
    }));
    checker.stop();
    const std::lock_guard lock(mutex);
    EXPECT_EQ(rest, "EHLO gw.example\r\nQUIT\r\n<end>");
    if (GetParam() == SendProxy::Off) return;
    const auto decoded = proxy::decode({reinterpret_cast<const std::uint8_t*>(header.data()), header.size()});
    const auto* parsed = std::get_if<proxy::Header>(&decoded);
    ASSERT_NE(parsed, nullptr);
    EXPECT_EQ(parsed->size, header.size());
    if (GetParam() == SendProxy::V2) {
        EXPECT_EQ(parsed->command, proxy::Command::Local);
        return;
    }
    EXPECT_EQ(parsed->source.address.toString(), "127.0.0.1");
    EXPECT_NE(parsed->source.port, 0);
    EXPECT_EQ(parsed->destination, server.endpoint);
}

INSTANTIATE_TEST_SUITE_P(Dialects, HeaderSent, testing::Values(SendProxy::Off, SendProxy::V1, SendProxy::V2));

struct Failing {
    std::string name;
    LocalServer::Script script;
    std::string want_reason;
};

TEST(HealthChecker, SaysInWordsWhyAServerIsDown) {
    const Failing failing[] = {
        {"mute",
         [](int fd) {
             while (!readSome(fd).empty()) {
             }
         },
         "took the connection but sent no greeting"},
        {"full",
         [](int fd) {
             readSome(fd);
             say(fd, "421 4.3.2 full\r\n");
         },
         "greets with: 421 4.3.2 full"},
        {"closes", [](int fd) { readSome(fd); }, "closed the connection without a greeting"},
        {"hangs",
         [](int fd) {
             say(fd, "220 mx\r\n");
             while (!readSome(fd).empty()) {
             }
         },
         "stopped answering"},
        {"resets",
         [](int fd) {
             const linger now{1, 0};
             readSome(fd);
             ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
         },
         "reset the connection without a greeting"},
    };
    for (const Failing& each : failing) {
        LocalServer server(each.script);
        const UpstreamConfig config = upstreamOf(server.endpoint, Protocol::Smtp);
        Changes changes;
        UpstreamPool pool(config, changes.events());
        HealthChecker checker;
        checker.follow(planFor({&pool}, "gw"));
        EXPECT_THAT(changes.await(0), HasSubstr(each.want_reason)) << each.name;
        checker.stop();
        EXPECT_EQ(changes.count(), 1U) << "one line a change";
    }
}

TEST(HealthChecker, SeesAServerComeBack) {
    std::atomic<bool> well{false};
    LocalServer server([&](int fd) {
        readSome(fd);
        if (well) say(fd, "+OK\r\n");
        readSome(fd);
        if (well) say(fd, "+OK bye\r\n");
    });
    const UpstreamConfig config = upstreamOf(server.endpoint, Protocol::Pop3);
    Changes changes;
    UpstreamPool pool(config, changes.events());
    HealthChecker checker;
    checker.follow(planFor({&pool}, "gw"));
    EXPECT_THAT(changes.await(0), HasSubstr("down a"));
    well = true;
    EXPECT_EQ(changes.await(1), "up a");
    EXPECT_TRUE(pool.available(0));
}

TEST(HealthChecker, NobodyListeningIsRefusedAndAFailedSessionIsLookedInto) {
    Endpoint nobody;
    {
        nobody = LocalServer([](int) {}).endpoint;
    }
    const UpstreamConfig config = upstreamOf(nobody, Protocol::Tcp);
    Changes changes;
    UpstreamPool pool(config, changes.events());
    HealthChecker checker;
    checker.follow(planFor({&pool}, "gw"));
    EXPECT_EQ(changes.await(0), "down a: connection refused");
}

TEST(HealthChecker, ChecksAreMadeByWhoHasThemOnAndEndWithTheChecker) {
    std::atomic<int> asked{0};
    LocalServer server([&](int) { ++asked; });
    UpstreamConfig without = upstreamOf(server.endpoint, Protocol::Tcp);
    without.check = false;
    const UpstreamConfig with = upstreamOf(server.endpoint, Protocol::Tcp);
    UpstreamPool unchecked(without, {}), checked(with, {});
    {
        HealthChecker checker;
        checker.follow(planFor({&unchecked, &checked}, "gw"));
        ASSERT_TRUE(eventually([&] { return asked > 2; }));
    }
    EXPECT_EQ(unchecked.endpoints()[0]->health.state(), Health::Unknown);
    EXPECT_EQ(checked.endpoints()[0]->health.state(), Health::Up);
    // Nobody measures any more: a failure is forgotten after a while.
    for (int i = 0; i < 2; ++i)
        checked.reportFailure(*checked.endpoints()[0], 1000, ServerFailure::ConnectRefused);
    EXPECT_FALSE(checked.available(1000));
    EXPECT_TRUE(checked.available(1000 + UpstreamPool::kRetryAfter));
}

TEST(HealthChecker, WaitsAsLongAsAClientWould) {
    std::atomic<bool> greets{false};
    std::atomic<int> asked{0};
    LocalServer server([&](int fd) {
        ++asked;
        readSome(fd);
        eventually([&] { return greets.load(); });
        say(fd, "220 mx\r\n");
        readSome(fd);
        say(fd, "250 mx\r\n");
        readSome(fd);
        say(fd, "221 Bye\r\n");
    });
    UpstreamConfig config = upstreamOf(server.endpoint, Protocol::Smtp);
    config.check_timeout = std::chrono::milliseconds(1);
    Changes changes;
    UpstreamPool pool(config, changes.events());
    HealthChecker checker;
    HealthChecker::Plan plan = planFor({&pool});
    plan.greeting = kPatience;
    checker.follow(std::move(plan));
    ASSERT_TRUE(eventually([&] { return asked == 1; }));
    // Long past check_timeout, and past several intervals.
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    greets = true;
    ASSERT_TRUE(eventually([&] { return pool.endpoints()[0]->health.state() == Health::Up; }));
    checker.stop();
    EXPECT_EQ(changes.count(), 0U);
}

TEST(HealthChecker, ASilenceOfSeveralTimeoutsCountsForSeveralFailures) {
    std::atomic<bool> greets{true};
    LocalServer server([&](int fd) {
        readSome(fd);
        if (greets) say(fd, "+OK\r\n");
        readSome(fd);
    });
    UpstreamConfig config = upstreamOf(server.endpoint, Protocol::Pop3);
    config.check_timeout = std::chrono::milliseconds(20);
    config.fall = 4;
    UpstreamPool pool(config, {});
    HealthChecker checker;
    HealthChecker::Plan plan = planFor({&pool});
    plan.greeting = std::chrono::milliseconds(200);
    checker.follow(std::move(plan));
    ASSERT_TRUE(eventually([&] { return pool.endpoints()[0]->health.state() == Health::Up; }));
    greets = false;
    ASSERT_TRUE(eventually([&] { return pool.endpoints()[0]->health.state() == Health::Down; }));
    checker.stop();
    EXPECT_EQ(pool.endpoints()[0]->health.failedChecks(), 4U) << "one check";
}

TEST(HealthChecker, AConnectionAttemptInVainCountsByItsOwnLimit) {
    // A queue that is full takes no connection and refuses none.
    const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const SocketAddress any({*IpAddress::parse("127.0.0.1"), 0});
    ASSERT_EQ(::bind(listener.get(), any.get(), any.size()), 0);
    ASSERT_EQ(::listen(listener.get(), 0), 0);
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    std::vector<Descriptor> waiting;
    for (int i = 0; i < 4; ++i) {
        waiting.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        ::connect(waiting.back().get(), reinterpret_cast<const sockaddr*>(&bound), size);
    }
    UpstreamConfig config = upstreamOf(SocketAddress::toEndpoint(bound), Protocol::Smtp);
    config.interval = std::chrono::hours(1);
    config.fall = 10;
    Changes changes;
    UpstreamPool pool(config, changes.events());
    HealthChecker checker;
    HealthChecker::Plan plan = planFor({&pool});
    plan.greeting = kPatience;
    checker.follow(std::move(plan));
    EXPECT_EQ(changes.await(0), "down a: no answer to the connection attempt");
    EXPECT_EQ(pool.endpoints()[0]->health.failedChecks(), 1U);
}

TEST(HealthChecker, FailedSessionsBringOneExtraCheckBetweenTwoRegularOnes) {
    std::atomic<int> asked{0};
    LocalServer server([&](int) { ++asked; });
    UpstreamConfig config = upstreamOf(server.endpoint, Protocol::Tcp);
    config.interval = std::chrono::hours(1);
    UpstreamPool pool(config, {});
    HealthChecker checker;
    checker.follow(planFor({&pool}));
    const auto endpoint = pool.endpoints()[0];
    ASSERT_TRUE(eventually([&] { return endpoint->health.state() == Health::Up && asked == 1; }));
    // While the first check has yet to hear the server's end of file it is the answer.
    ASSERT_TRUE(eventually([&] {
        pool.reportFailure(*endpoint, 0, ServerFailure::ResetWithoutGreeting);
        return asked == 2;
    }));
    for (int i = 0; i < 20; ++i) {
        pool.reportFailure(*endpoint, 0, ServerFailure::ResetWithoutGreeting);
        // The checker has heard of it.
        ASSERT_TRUE(eventually([&] { return !endpoint->health.takeCheckRequest(); }));
    }
    checker.stop();
    EXPECT_EQ(asked, 2);
    EXPECT_EQ(endpoint->health.state(), Health::Up);
}

TEST(HealthChecker, AReloadKeepsAChecksTurnUnlessItChangesTheCheck) {
    std::atomic<int> asked{0};
    LocalServer server([&](int) { ++asked; }), newcomer([](int) {});
    UpstreamConfig config = upstreamOf(server.endpoint, Protocol::Tcp);
    config.interval = std::chrono::hours(1);
    UpstreamConfig changed = config;
    changed.interval = std::chrono::hours(2);
    UpstreamPool old(config, {}), same(config, {}), other(changed, {});
    const UpstreamConfig more = upstreamOf(newcomer.endpoint, Protocol::Tcp);
    UpstreamPool added(more, {});
    const auto isUp = [](const UpstreamPool& pool) {
        return pool.endpoints()[0]->health.state() == Health::Up;
    };
    HealthChecker checker;
    checker.follow(planFor({&old}));
    ASSERT_TRUE(eventually([&] { return isUp(old); }));
    same.carryOver(old);
    checker.follow(planFor({&same, &added}));
    ASSERT_TRUE(eventually([&] { return isUp(added); })) << "the new plan is followed";
    ASSERT_TRUE(eventually([&] { return asked > 0; }));
    EXPECT_EQ(asked, 1);
    other.carryOver(same);
    checker.follow(planFor({&other}));
    EXPECT_TRUE(eventually([&] { return asked == 2; }));
}

TEST(HealthChecker, ManyMuteServersDoNotDelayTheOthers) {
    LocalServer mute([](int fd) {
        while (!readSome(fd).empty()) {
        }
    });
    LocalServer well([](int fd) {
        readSome(fd);
        say(fd, "* OK\r\n");
        readSome(fd);
        say(fd, "* BYE\r\na OK\r\n");
    });
    UpstreamConfig config = upstreamOf(mute.endpoint, Protocol::Imap);
    config.check_timeout = kPatience;
    config.servers[0].endpoints.assign(50, mute.endpoint);
    config.servers.emplace_back();
    config.servers[1].name = "b";
    config.servers[1].endpoints = {well.endpoint};
    UpstreamPool pool(config, {});
    HealthChecker checker;
    checker.follow(planFor({&pool}, "gw"));
    EXPECT_TRUE(eventually([&] { return pool.endpoints().back()->health.state() == Health::Up; }));
    EXPECT_EQ(pool.endpoints().front()->health.state(), Health::Unknown);
}

}  // namespace
}  // namespace mailgate
