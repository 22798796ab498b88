// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/reloader.h"
#include "gateway/daemon/admin_states.h"
#include "gateway/daemon/tls_listeners.h"

#include "gateway/config/load.h"
#include "store/backends/rules.h"
#include "store/store_error.h"
#include "tests/support/held_port.h"
#include "tests/support/reference.h"
#include "tests/support/temporary_folder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

namespace mailgate {
namespace {

using test::HeldPort;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

/// A site with one worker, whose first listener is a port that nobody asks.
class ReloaderTest : public testing::Test {
  protected:
    ReloaderTest() {
        port_.release();
        configure();
    }
    ~ReloaderTest() override {
        reloader_.stop();
        for (const auto& worker : workers_)
            worker->stop();
    }

    static std::string listener(const std::string& name, std::uint16_t port) {
        return fmt::format(
            "[[listener]]\nname = \"{}\"\nprotocol = \"smtp\"\naddress = \"127.0.0.1:{}\"\naccess = "
            "\"open\"\n"
            "upstream = \"mx\"\n",
            name, port);
    }
    void configure(const std::string& gateway = "", const std::string& further = "",
                   const std::string& log = "target = \"file:events.log\"") const {
        std::ofstream(file()) << fmt::format(
            "[gateway]\nname = \"gw.example.org\"\nworkers = 1\n{}\n[log]\n{}\n{}{}"
            "[[upstream]]\nname = \"mx\"\ncheck = false\n"
            "[[upstream.server]]\nname = \"mx1\"\naddress = \"127.0.0.1:9\"\n",
            gateway, log, listener("smtp", port_.number()), further);
    }
    Reloader::Successor prepared() {
        Config config = loadConfig(file());
        TlsListeners::Row tls = tls_.make(config);
        TlsUpstreams::Row server_tls = server_tls_.make(config);
        return reloader_.prepare(std::move(config), std::move(tls), std::move(server_tls));
    }
    /// The first configuration.
    void begin() {
        Reloader::Successor first = prepared();
        workers_.push_back(
            std::make_unique<Worker>(state_, first.generation, std::vector<ListeningSocket>()));
        workers_.front()->start("worker");
        reloader_.commit(std::move(first));
    }
    std::string file() const { return folder_.file("mailgate.toml"); }
    /// Waits until what was logged is there.
    std::string logged(const std::string& event) const {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        std::string text;
        while ((text = readAll(folder_.file("events.log"))).find(event) == std::string::npos &&
               std::chrono::steady_clock::now() < deadline)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return text;
    }

    const TemporaryFolder folder_;
    HeldPort port_;
    EventLog log_{{LogFormat::Json, "file:" + folder_.file("events.log"), LogLevel::Information}};
    RulesState rules_;
    GatewayState state_{log_, nullptr, 100};
    HealthChecker checker_;
    Reloader::Workers workers_;
    TlsListeners tls_;
    TlsUpstreams server_tls_;
    InheritedSockets inherited_;
    Reloader reloader_{
        Reloader::Site{file(), 288, log_, rules_, state_, checker_, tls_, server_tls_, workers_, inherited_}};
};

TEST_F(ReloaderTest, NothingIsInForceBeforeAConfigurationIsCommitted) {
    Config config = loadConfig(file());
    config.store_url = "sqlite:" + folder_.path().string();
    EXPECT_THROW(reloader_.prepare(config, tls_.make(config), server_tls_.make(config)), store::StoreError);
    Reloader::Successor first = prepared();
    EXPECT_EQ(reloader_.current(), nullptr);
    EXPECT_EQ(state_.max_sessions, 0u);
    reloader_.commit(std::move(first));
    EXPECT_EQ(reloader_.current()->config.name, "gw.example.org");
    EXPECT_EQ(state_.max_sessions, 100u) << "what the descriptors allow";
}

TEST_F(ReloaderTest, AReloadSaysWhatHasChangedAndKeepsWhatHasNot) {
    begin();
    reloader_.start();
    const auto before = reloader_.current();
    before->upstreams[0]->setAdminState("mx1", AdminState::Drain);
    configure("max_sessions = 7");
    const admin::Outcome outcome = reloader_.reload();
    EXPECT_TRUE(outcome.ok);
    EXPECT_THAT(outcome.message, HasSubstr("gateway.max_sessions"));
    const auto after = reloader_.current();
    EXPECT_NE(after, before);
    EXPECT_EQ(state_.max_sessions, 7u);
    EXPECT_TRUE(after->upstreams[0]->status()[0].draining) << "what an administrator has set";
    EXPECT_EQ(after->listeners[0], before->listeners[0]) << "its counters";
    EXPECT_EQ(after->access, before->access) << "the names of the listeners are the same";
    EXPECT_THAT(logged("config.reloaded"), HasSubstr("gateway.max_sessions"));
    EXPECT_EQ(reloader_.reload().message, "nothing has changed");
}

TEST_F(ReloaderTest, ADrainIsOfAServersNameWhicheverWayItIsLost) {
    begin();
    reloader_.start();
    const std::string original = readAll(file());
    const auto rename = [&](const std::string& to) {
        std::string text = original;
        text.replace(text.find("mx1"), 3, to);
        std::ofstream(file()) << text;
    };
    reloader_.current()->upstreams[0]->setAdminState("mx1", AdminState::Drain, {60, "alice"});
    writeDrained(adminStateFile(reloader_.current()->config.store_url), drainedOf(*reloader_.current()));
    rename("mx9");
    EXPECT_THAT(reloader_.reload().message, HasSubstr("server mx/mx1 was drained since 1970-01-01T00:01:00Z "
                                                      "by alice: a server of another name is not"));
    EXPECT_FALSE(reloader_.current()->upstreams[0]->status()[0].draining);
    rename("mx1");
    EXPECT_THAT(reloader_.reload().message,
                HasSubstr("server mx/mx1 is still drained since 1970-01-01T00:01:00Z by alice"));
    EXPECT_TRUE(reloader_.current()->upstreams[0]->status()[0].draining) << "as after a restart";
    rename("mx9");
    writeDrained(adminStateFile(reloader_.current()->config.store_url), {});
    reloader_.reload();
    rename("mx1");
    EXPECT_THAT(reloader_.reload().message, Not(HasSubstr("drained")));
    EXPECT_FALSE(reloader_.current()->upstreams[0]->status()[0].draining);
}

TEST_F(ReloaderTest, InheritedSocketsAreLetGoOfOnceThereAreNoMoreReloads) {
    HeldPort port;
    const Endpoint at = port.endpoint();
    inherited_.add("smtp", Descriptor(::fcntl(port.descriptor(), F_DUPFD_CLOEXEC, 0)));
    port.release();
    begin();
    reloader_.start();
    EXPECT_TRUE(reloader_.reload().ok);
    EXPECT_GE(inherited_.find("smtp", at), 0);
    reloader_.stop();
    EXPECT_EQ(inherited_.find("smtp", at), -1);
    EXPECT_TRUE(HeldPort(at.port).bound()) << "nobody connects to what nobody answers";
}

TEST_F(ReloaderTest, ListenersComeAndGoAndKeepTheirCountersByName) {
    begin();
    reloader_.start();
    const auto before = reloader_.current();
    HeldPort other;
    other.release();
    configure("", listener("submission", other.number()));
    EXPECT_TRUE(reloader_.reload().ok);
    EXPECT_FALSE(HeldPort(other.number()).bound()) << "the worker listens there";
    const auto both = reloader_.current();
    EXPECT_EQ(both->listeners[0], before->listeners[0]);
    EXPECT_NE(both->access, before->access) << "rules are by listener";
    configure();
    EXPECT_TRUE(reloader_.reload().ok);
    EXPECT_TRUE(HeldPort(other.number()).bound());
    EXPECT_EQ(reloader_.current()->listeners.size(), 1u);
}

TEST_F(ReloaderTest, ADatabaseThatWasLostIsNeitherMadeNorGoneBy) {
    store::AccessRule rule;
    rule.network = std::get<Network>(parseNetwork("192.0.2.0/24"));
    rule.verdict = store::Verdict::Deny;
    const std::string url = loadConfig(file()).store_url;
    const std::string path = url.substr(url.find(':') + 1);
    store::openRules(url)->put(std::span(&rule, 1), "alice");
    begin();
    reloader_.start();
    const auto before = reloader_.current();
    ASSERT_EQ(before->access->current()->size(), 1u);
    for (const char* suffix : {"", "-wal", "-shm"})
        fs::remove(path + suffix);
    HeldPort other;
    other.release();
    configure("", listener("submission", other.number()));
    EXPECT_FALSE(reloader_.reload().ok);
    EXPECT_FALSE(fs::exists(path));
    store::openRules(url);
    EXPECT_THAT(logged("began without rules"), HasSubstr("access.failed"));
    const admin::Outcome outcome = reloader_.reload();
    EXPECT_FALSE(outcome.ok);
    EXPECT_THAT(outcome.message,
                HasSubstr("has no rules, and is not the database from which those in force"));
    EXPECT_EQ(reloader_.current(), before);
    EXPECT_TRUE(rules_.failed);
}

TEST_F(ReloaderTest, AReloadThatFailsAtAnyStepChangesNothing) {
    begin();
    reloader_.start();
    const auto before = reloader_.current();
    const HeldPort taken;
    HeldPort free;
    free.release();
    const std::string max = "max_sessions = 7";
    rules_.failed = true;  // as the watcher in force has told, once
    rules_.loaded_ms = 1;
    struct Step {
        const char* error;
        std::function<void()> configure;
    };
    const Step steps[] = {
        {"cannot be read", [&] { fs::remove(file()); }},
        {"unknown key", [&] { configure("max_sesions = 7"); }},
        {"store.url can only change with a restart",
         [&] { configure(max + "\n[store]\nurl = \"sqlite:other.db\""); }},
        // Every address that the file names is tried, the free one too; for the new listeners the rules would be read anew.
        {"cannot listen on 127.0.0.1:",
         [&] { configure(max, listener("free", free.number()) + listener("taken", taken.number())); }},
        {"log.target: cannot open ",
         [&] { configure(max, listener("free", free.number()), "target = \"file:none/events.log\""); }},
    };
    for (const Step& step : steps) {
        step.configure();
        const admin::Outcome outcome = reloader_.reload();
        EXPECT_FALSE(outcome.ok) << step.error;
        EXPECT_THAT(outcome.message, HasSubstr(step.error));
        EXPECT_EQ(reloader_.current(), before) << step.error;
        EXPECT_EQ(state_.max_sessions, 100u) << step.error;
        EXPECT_TRUE(HeldPort(free.number()).bound()) << step.error << ": a socket was left";
        EXPECT_TRUE(rules_.failed && rules_.loaded_ms == 1)
            << step.error << ": the alarm of the rules is gone";
        EXPECT_THAT(logged(step.error), AllOf(HasSubstr("config.failed"), Not(HasSubstr("config.reloaded"))));
    }
    configure(max);
    EXPECT_TRUE(reloader_.reload().ok) << "none of them is in the way of the next";
    EXPECT_EQ(state_.max_sessions, 7u);
}

TEST_F(ReloaderTest, RulesThatCannotBeReadRefuseAReloadThatNeedsThem) {
    begin();
    reloader_.start();
    const auto before = reloader_.current();
    for (const char* name : {"mailgate.db", "mailgate.db-wal", "mailgate.db-shm"})
        fs::remove(folder_.file(name));
    fs::create_directory(folder_.file("mailgate.db"));
    HeldPort other;
    other.release();
    configure("", listener("submission", other.number()));
    EXPECT_FALSE(reloader_.reload().ok);
    EXPECT_EQ(reloader_.current(), before);
    EXPECT_TRUE(HeldPort(other.number()).bound());
}

TEST_F(ReloaderTest, TheLogIsReopenedWhateverComesOfTheReload) {
    begin();
    reloader_.start();
    for (const bool good : {true, false}) {
        fs::rename(folder_.file("events.log"), folder_.file("events.log.1"));
        if (!good) configure("max_sesions = 7");
        EXPECT_EQ(reloader_.reload().ok, good);
        EXPECT_THAT(logged("config."), HasSubstr(good ? "config.reloaded" : "config.failed"));
    }
}

TEST_F(ReloaderTest, RequestsThatComeBeforeOneHasBegunAreJoined) {
    begin();
    for (int i = 0; i < 5; ++i)
        reloader_.ask();
    auto sixth = std::async(std::launch::async, [this] { return reloader_.reload(); });
    reloader_.start();
    EXPECT_TRUE(sixth.get().ok);
    EXPECT_TRUE(reloader_.reload().ok);
    reloader_.stop();
    log_.reopen();
    std::size_t reloads = 0;
    const std::string text = logged("config.reloaded");
    for (std::size_t at = 0; (at = text.find("config.reloaded", at)) != std::string::npos; ++at)
        ++reloads;
    EXPECT_LE(reloads, 3u) << "the five, perhaps the sixth, and one more";
}

TEST_F(ReloaderTest, AGatewayThatStopsReloadsNothingAnyMore) {
    begin();
    auto waiting = std::async(std::launch::async, [this] { return reloader_.reload(); });
    reloader_.refuse();  // its thread has not even started
    EXPECT_EQ(waiting.get().message, "the gateway is stopping");
    reloader_.start();
    configure("max_sessions = 7");
    const admin::Outcome late = reloader_.reload();
    EXPECT_FALSE(late.ok);
    EXPECT_EQ(late.message, "the gateway is stopping");
    reloader_.stop();
    EXPECT_EQ(state_.max_sessions, 100u);
}

}  // namespace
}  // namespace mailgate
