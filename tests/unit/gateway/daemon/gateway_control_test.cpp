// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/gateway_control.h"

#include "gateway/base/clock.h"
#include "gateway/config/load.h"
#include "gateway/daemon/gateway.h"
#include "gateway/io/socket_address.h"
#include "protocols/values/text.h"
#include "store/backends/rules.h"
#include "tests/support/networks.h"
#include "tests/support/temporary_folder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>

namespace mailgate {
namespace {

using testing::Contains;
using testing::Key;
using testing::Not;
using testing::StartsWith;

std::uint16_t freePort() {
    const SocketAddress any({*IpAddress::parse("127.0.0.1"), 0});
    const Descriptor socket(::socket(any.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(socket.get(), any.get(), any.size()), 0);
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    return SocketAddress::toEndpoint(bound).port;
}

/// A gateway whose servers nobody asks for anything.
class GatewayControlTest : public testing::Test {
  protected:
    GatewayControlTest() {
        std::ofstream(folder_.file("mailgate.toml"))
            << "[gateway]\nname = \"gw.example.org\"\nworkers = 2\ndrain_timeout = \"7s\"\n"
               "[log]\ntarget = \"file:events.log\"\n"
               "[[listener]]\nname = \"smtp\"\nprotocol = \"smtp\"\naddress = \"127.0.0.1:"
            << freePort()
            << "\"\n"
               "access = \"open\"\nupstream = \"mx\"\n"
               "[[upstream]]\nname = \"mx\"\ncheck = false\n"
               "[[upstream.server]]\nname = \"mx1\"\naddress = \"127.0.0.1:9\"\n"
               "[[upstream]]\nname = \"away\"\n[[upstream.server]]\nname = \"a\"\naddress = "
               "\"mx.invalid:9\"\n";
        // Named as from its folder; whoever asks for it may be elsewhere.
        gateway_ = std::make_unique<Gateway>(
            loadConfig(std::filesystem::relative(folder_.file("mailgate.toml")).string()));
    }
    admin::Control& control() { return gateway_->control(); }

    const TemporaryFolder folder_;
    std::unique_ptr<Gateway> gateway_;
};

TEST_F(GatewayControlTest, StatusNamesWhatThereIs) {
    const admin::Status status = control().status();
    EXPECT_EQ(status.name, "gw.example.org");
    EXPECT_EQ(status.config_file, folder_.file("mailgate.toml"));
    EXPECT_THAT(status.store, StartsWith("sqlite:/"));
    EXPECT_FALSE(status.draining);
    ASSERT_EQ(status.listeners.size(), 1U);
    EXPECT_EQ(status.listeners.front().name, "smtp");
    ASSERT_EQ(status.servers.size(), 2U);
    EXPECT_EQ(status.servers.front().server, "mx1");
    EXPECT_EQ(status.worker_lag_seconds.size(), 2U);
    ASSERT_EQ(status.upstreams.size(), 2u);
    const admin::Histogram& connect = status.upstreams[0].connect_seconds;
    EXPECT_EQ(connect.counts.size(), connect.upper_bounds.size() + 1);
    EXPECT_TRUE(control().sessions().empty());
    EXPECT_FALSE(control().kill("01"));
}

TEST_F(GatewayControlTest, StatusKnowsWhetherWhatIsInForceIsWhatTheFileSays) {
    EXPECT_FALSE(control().configChange());
    std::ofstream(folder_.file("mailgate.toml"), std::ios::app) << "[timeouts]\nhold = \"7s\"\n";
    const std::optional<config::SourceChange> change = control().configChange();
    ASSERT_TRUE(change);
    EXPECT_EQ(change->file, folder_.file("mailgate.toml"));
    ASSERT_TRUE(control().reload().ok);
    EXPECT_FALSE(control().configChange());
}

TEST_F(GatewayControlTest, SessionsEndForTheReasonsOfSessionEnd) {
    const auto ends = control().status().ends;
    EXPECT_THAT(ends, Contains(Key("client_quit")));
    EXPECT_THAT(ends, Contains(Key("server_violation")));
    // These have events and counters of their own.
    for (const char* other : {"none", "refused", "check"})
        EXPECT_THAT(ends, Not(Contains(Key(other))));
}

TEST_F(GatewayControlTest, AServerIsDrainedAndPutBack) {
    const admin::Outcome drained = control().setServer("mx", "mx1", AdminState::Drain, "alice");
    EXPECT_TRUE(drained.ok);
    EXPECT_EQ(drained.message,
              "mx/mx1 gets no new sessions; its current sessions end within 7 s; no other server of mx takes "
              "sessions: its "
              "clients are told to try again later");
    const auto first = [this] { return control().status().servers.front(); };
    EXPECT_TRUE(first().draining);
    EXPECT_EQ(first().drained.by, "alice");
    const std::int64_t since = first().drained.since;
    EXPECT_NEAR(static_cast<double>(since), static_cast<double>(unixMillis() / 1'000), 60);
    EXPECT_THAT(control().setServer("mx", "mx1", AdminState::Drain, "carol").message,
                StartsWith(fmt::format("mx/mx1 has been drained since {} by alice already; no other",
                                       formatUtc(since))));
    EXPECT_EQ(first().drained.by, "alice") << "since whose drain it is";
    EXPECT_EQ(control().setServer("mx", "mx1", AdminState::Ready, "bob").message,
              "mx/mx1 gets new sessions again");
    EXPECT_FALSE(first().draining);
    EXPECT_EQ(first().drained, DrainOrder());
    ASSERT_TRUE(control().setServer("mx", "mx1", AdminState::Drain, "carol").ok);
    EXPECT_EQ(first().drained.by, "carol") << "a drain of its own";
    EXPECT_EQ(
        control().setServer("away", "a", AdminState::Ready, "bob").message,
        "away/a was not drained: it gets new sessions once it is up: its name has not been resolved yet");
    EXPECT_EQ(control().setServer("mx", "mx9", AdminState::Drain, "alice").message,
              "upstream \"mx\" has no server \"mx9\"");
    EXPECT_EQ(control().setServer("my", "mx1", AdminState::Drain, "alice").message,
              "there is no upstream \"my\"");
    EXPECT_EQ(control().setServer("mx", "\x1B[2J", AdminState::Drain, "alice").message,
              "upstream \"mx\" has no server \"\\u001b[2J\"");
}

TEST_F(GatewayControlTest, WhatIsDrainedIsDrainedAfterARestart) {
    ASSERT_TRUE(control().setServer("mx", "mx1", AdminState::Drain, "alice").ok);
    const auto restart = [this] {
        gateway_.reset();
        gateway_ = std::make_unique<Gateway>(loadConfig(folder_.file("mailgate.toml")));
    };
    const DrainOrder order = control().status().servers.front().drained;
    restart();
    EXPECT_TRUE(control().status().servers.front().draining);
    EXPECT_EQ(control().status().servers.front().drained, order);
    EXPECT_EQ(control().ready("smtp"), admin::Readiness::NoServer);
    ASSERT_TRUE(control().setServer("mx", "mx1", AdminState::Ready, "bob").ok);
    restart();
    EXPECT_FALSE(control().status().servers.front().draining);
    EXPECT_EQ(control().ready("smtp"), admin::Readiness::Ready);
    EXPECT_EQ(control().ready("imap"), admin::Readiness::UnknownListener);
}

TEST_F(GatewayControlTest, ACutByTheRulesWaitsUntilTheyAreInForce) {
    store::AccessRule rule;
    rule.network = network("198.51.100.0/24");
    const auto rules = store::openRules(loadConfig(folder_.file("mailgate.toml")).store_url);
    rules->put(std::span(&rule, 1), "test");
    EXPECT_EQ(control().cut({rule.network, {}, rules->version()}), std::optional<std::size_t>(0));
    EXPECT_EQ(control().status().rules, 1U);
    EXPECT_EQ(control().cut({rule.network, {}, std::nullopt}), std::optional<std::size_t>(0));
}

}  // namespace
}  // namespace mailgate
