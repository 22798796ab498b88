// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker/worker.h"

#include "gateway/io/socket_address.h"
#include "store/backends/rules.h"
#include "tests/support/networks.h"
#include "tests/support/temporary_folder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace mailgate {
namespace {

using store::AccessRule;
using store::Verdict;
using testing::StartsWith;

constexpr int kPatienceMs = 30'000;
const Endpoint kAnyPort{*IpAddress::parse("127.0.0.1"), 0};

/// What comes, up to and with `word`; what there was when it ends without.
std::string receive(const Descriptor& socket, std::string_view word) {
    std::string received;
    pollfd ready{socket.get(), POLLIN, 0};
    char byte = 0;
    while (!received.ends_with(word) && ::poll(&ready, 1, kPatienceMs) == 1 &&
           ::recv(socket.get(), &byte, 1, 0) == 1)
        received += byte;
    return received;
}

void send(const Descriptor& socket, std::string_view text) {
    EXPECT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
}

/// A server that the test plays.
class PlayedServer {
  public:
    PlayedServer() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const SocketAddress any(kAnyPort);
        EXPECT_EQ(::bind(socket_.get(), any.get(), any.size()), 0);
        EXPECT_EQ(::listen(socket_.get(), 16), 0);
        sockaddr_storage bound{};
        socklen_t size = sizeof bound;
        ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&bound), &size);
        endpoint = SocketAddress::toEndpoint(bound);
    }
    Descriptor accept() const {
        pollfd ready{socket_.get(), POLLIN, 0};
        EXPECT_EQ(::poll(&ready, 1, kPatienceMs), 1) << "nobody connects";
        return Descriptor(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }

    Endpoint endpoint;

  private:
    Descriptor socket_;
};

/// A worker on its thread, two listeners ("mx" and "submission") in front of one server, and the rules of a file.
class WorkerTest : public testing::Test {
  protected:
    WorkerTest()
        : log_({.target = "file:" + folder_.file("events.log")}),
          state_(log_, nullptr, 100),
          generation_(makeGeneration()) {
        state_.max_sessions = 100;
        auto listening = openListeners(generation_->config, 1);
        std::vector<ListeningSocket>& sockets = listening.front();
        for (ListeningSocket& socket : sockets) {
            sockaddr_storage bound{};
            socklen_t size = sizeof bound;
            ::getsockname(socket.descriptor.get(), reinterpret_cast<sockaddr*>(&bound), &size);
            endpoints_.push_back(SocketAddress::toEndpoint(bound));
        }
        worker_ = std::make_unique<Worker>(state_, generation_, std::move(sockets));
        worker_->start("test");
    }
    ~WorkerTest() override {
        worker_->stop();
        worker_.reset();
        generation_->access->stop();
    }

    std::shared_ptr<Generation> makeGeneration() {
        auto generation = std::make_shared<Generation>();
        Config& config = generation->config;
        config.name = "gw.example.org";
        UpstreamConfig upstream;
        upstream.name = "postfix";
        upstream.send_proxy = SendProxy::Off;
        ServerConfig server;
        server.name = "mx1";
        server.endpoints = {server_.endpoint};
        upstream.servers = {server};
        config.upstreams = {upstream};
        std::vector<std::string> names;
        for (const char* name : {"mx", "submission"}) {
            ListenerConfig listener;
            listener.name = name;
            listener.protocol = Protocol::Smtp;
            listener.addresses = {kAnyPort};
            listener.proxy = ProxyMode::Require;
            listener.trusted = {network("127.0.0.0/8")};
            listener.access = AccessDefault::Open;
            listener.upstream = "postfix";
            config.listeners.push_back(listener);
            generation->listeners.push_back(std::make_shared<ListenerCounters>());
            names.emplace_back(name);
        }
        generation->upstream_counters.push_back(std::make_shared<UpstreamCounters>());
        generation->upstreams.push_back(
            std::make_unique<UpstreamPool>(config.upstreams.front(), UpstreamPool::Events{}));
        generation->access = std::make_shared<store::AccessWatcher>(
            store::openRules(url(), {.use = store::RuleStore::Use::Serve,
                                     .lock_timeout = {},
                                     .poll = std::chrono::milliseconds(5)}),
            names, store::AccessWatcher::Events{});
        generation->access->start();
        return generation;
    }
    std::string url() const { return "sqlite:" + folder_.file("rules.db"); }

    /// In force when this returns.
    void put(Verdict verdict, std::string_view networks, const std::string& listener = {}) {
        AccessRule rule;
        rule.verdict = verdict;
        rule.network = network(networks);
        rule.listener = listener;
        const auto rules = store::openRules(url());
        rules->put(std::span(&rule, 1), "test");
        const std::int64_t version = rules->version();
        const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
        while (generation_->access->current()->version() < version &&
               std::chrono::steady_clock::now() < until)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        ASSERT_GE(generation_->access->current()->version(), version);
    }

    struct Talk {
        Descriptor client, server;
    };
    /// A session that the server has greeted.
    Talk talk(std::string_view client, std::size_t listener = 0) {
        Talk talk;
        talk.client = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const SocketAddress to(endpoints_[listener]);
        EXPECT_EQ(::connect(talk.client.get(), to.get(), to.size()), 0);
        send(talk.client, fmt::format("PROXY TCP4 {} 203.0.113.10 55555 25\r\n", client));
        talk.server = server_.accept();
        send(talk.server, "220 mx1\r\n");
        EXPECT_EQ(receive(talk.client, "\r\n"), "220 mx1\r\n");
        return talk;
    }
    static bool goesOn(const Talk& talk) {
        send(talk.client, "NOOP\r\n");
        const bool passed = receive(talk.server, "\r\n") == "NOOP\r\n";
        send(talk.server, "250 ok\r\n");
        return receive(talk.client, "\r\n") == "250 ok\r\n" && passed;
    }
    template <typename Task>
    auto ask(Task task) {
        return worker_->call(std::move(task)).get();
    }
    std::size_t cut(std::string_view from, const std::vector<std::string>& listeners, bool by_rules) {
        return ask([&](Worker& worker) {
            return worker.cut(network(from), listeners, by_rules ? generation_.get() : nullptr);
        });
    }

    const TemporaryFolder folder_;
    PlayedServer server_;
    EventLog log_;
    GatewayState state_;
    std::shared_ptr<Generation> generation_;
    std::vector<Endpoint> endpoints_;
    std::unique_ptr<Worker> worker_;
};

TEST_F(WorkerTest, CutsANetworkOnTheListenersNamed) {
    const Talk there = talk("198.51.100.7"), here = talk("198.51.100.7", 1), other = talk("192.0.2.1", 1);
    EXPECT_EQ(cut("198.51.100.0/24", {"submission"}, false), 1U);
    EXPECT_THAT(receive(here.client, "\r\n"), StartsWith("421 "));
    EXPECT_TRUE(goesOn(there));
    EXPECT_EQ(cut("198.51.100.0/24", {}, false), 1U) << "what is ending is not counted again";
    EXPECT_TRUE(goesOn(other));
}

TEST_F(WorkerTest, CutsByTheRulesWhomTheyDeny) {
    const Talk denied = talk("198.51.100.7"), specific = talk("198.51.100.8"),
               named = talk("198.51.100.9", 1), not_there = talk("198.51.100.9");
    EXPECT_EQ(cut("198.51.100.0/24", {}, true), 0U) << "no rule denies them";
    put(Verdict::Allow, "198.51.100.8");
    put(Verdict::Allow, "198.51.100.9", "submission");
    put(Verdict::Deny, "198.51.100.0/24");
    EXPECT_EQ(cut("198.51.100.0/24", {}, true), 2U);
    EXPECT_THAT(receive(denied.client, "\r\n"), StartsWith("421 "));
    EXPECT_THAT(receive(not_there.client, "\r\n"), StartsWith("421 "));
    EXPECT_TRUE(goesOn(specific));
    EXPECT_TRUE(goesOn(named));
}

TEST_F(WorkerTest, ListsTheSessionsThatKillFinds) {
    const Talk first = talk("198.51.100.7"), second = talk("198.51.100.8");
    const auto live = ask([](Worker& worker) { return worker.liveSessions(); });
    ASSERT_EQ(live.size(), 2U);
    const std::string id = live.front().id, other = live.back().id;
    EXPECT_TRUE(ask([&](Worker& worker) { return worker.kill(id); }));
    // Its last line is out, and it waits for the client's end.
    EXPECT_FALSE(ask([&](Worker& worker) { return worker.kill(id); }));
    const auto left = ask([](Worker& worker) { return worker.liveSessions(); });
    ASSERT_EQ(left.size(), 1U);
    EXPECT_EQ(left.front().id, other);
    EXPECT_FALSE(ask([](Worker& worker) { return worker.kill("01"); }));
}

TEST_F(WorkerTest, DrainsAServerAndPutsItBack) {
    const Talk begun = talk("198.51.100.7");
    EXPECT_TRUE(goesOn(begun));
    send(begun.client, "MAIL FROM:<a@example.org>\r\n");
    EXPECT_EQ(receive(begun.server, "\r\n"), "MAIL FROM:<a@example.org>\r\n");
    send(begun.server, "250 ok\r\n");
    EXPECT_EQ(receive(begun.client, "\r\n"), "250 ok\r\n");
    const Talk idle = talk("198.51.100.8");
    ask([](Worker& worker) { worker.drainServer("postfix", "mx9", 60'000); });
    EXPECT_TRUE(goesOn(idle)) << "another server";
    ask([](Worker& worker) { worker.drainServer("postfix", "mx1", 60'000); });
    EXPECT_THAT(receive(idle.client, "\r\n"), StartsWith("421 "));
    ask([](Worker& worker) { worker.undrainServer("postfix", "mx1"); });
    send(begun.client, "RSET\r\n");
    EXPECT_EQ(receive(begun.server, "\r\n"), "RSET\r\n");
    send(begun.server, "250 ok\r\n");
    EXPECT_EQ(receive(begun.client, "\r\n"), "250 ok\r\n");
    EXPECT_TRUE(goesOn(begun)) << "the drain was called off";
}

TEST_F(WorkerTest, WhoWaitsAtASocketThatIsClosedIsLetInBefore) {
    const Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const SocketAddress to(endpoints_[0]);
    auto without = makeGeneration();
    for (ListenerConfig& listener : without->config.listeners)
        listener.addresses.clear();
    ask([&](Worker& worker) {
        // On its own thread, so that it accepts nobody in between.
        EXPECT_EQ(::connect(client.get(), to.get(), to.size()), 0);
        worker.apply(without, {});
    });
    EXPECT_NE(
        ::connect(Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)).get(), to.get(), to.size()),
        0);
    send(client, "PROXY TCP4 198.51.100.7 203.0.113.10 55555 25\r\n");
    const Descriptor server = server_.accept();
    send(server, "220 mx1\r\n");
    EXPECT_EQ(receive(client, "\r\n"), "220 mx1\r\n");
    without->access->stop();
}

TEST_F(WorkerTest, AbortEndsAllOfThem) {
    const Talk first = talk("198.51.100.7"), second = talk("198.51.100.8");
    ask([](Worker& worker) { worker.abort(); });
    for (const Talk* talk : {&first, &second}) {
        EXPECT_THAT(receive(talk->client, "\r\n"), StartsWith("421 "));
        EXPECT_EQ(receive(talk->client, "\r\n"), "") << "the end";
    }
    EXPECT_EQ(state_.sessions, 0U);
}

std::atomic<int> ended_threads{0};

struct TellsTheEnd {
    ~TellsTheEnd() { ++ended_threads; }
};

TEST(Worker, ThatIsDestroyedWhileItRunsHasEndedItsThread) {
    LogConfig quiet;
    quiet.target = "stderr";
    EventLog log(quiet);
    GatewayState state(log, nullptr, 1);
    {
        Worker worker(state, std::make_shared<const Generation>(), {});
        worker.start("worker-0");
        worker.call([](Worker&) { thread_local const TellsTheEnd at_its_end; }).get();
        EXPECT_EQ(ended_threads, 0);
    }
    EXPECT_EQ(ended_threads, 1);
}

}  // namespace
}  // namespace mailgate
