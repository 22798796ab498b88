// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/name_watcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace mailgate {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// What the name stands for, changed by the test, and how often it was asked for.
class ScriptedNames {
  public:
    Resolver resolver() {
        return [this](const std::string&) {
            std::unique_lock lock(mutex_);
            ++asked_;
            changed_.notify_all();
            changed_.wait(lock, [this] { return !stuck_; });
            return answer_;
        };
    }
    /// From now on; returns when an answer was given and its successor asked for.
    void answers(Resolution answer) {
        std::unique_lock lock(mutex_);
        answer_ = std::move(answer);
        awaitAsked(lock, 2);
    }
    void awaitAsked(int times) {
        std::unique_lock lock(mutex_);
        awaitAsked(lock, times);
    }
    void awaitFirst() {
        std::unique_lock lock(mutex_);
        ASSERT_TRUE(changed_.wait_for(lock, 30s, [&] { return asked_ > 0; }));
    }
    void stick(bool stuck) {
        const std::lock_guard lock(mutex_);
        stuck_ = stuck;
        changed_.notify_all();
    }

  private:
    void awaitAsked(std::unique_lock<std::mutex>& lock, int times) {
        const int target = asked_ + times;
        ASSERT_TRUE(changed_.wait_for(lock, 30s, [&] { return asked_ >= target; }));
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    Resolution answer_;
    int asked_ = 0;
    bool stuck_ = false;
};

UpstreamConfig namedUpstream() {
    UpstreamConfig config;
    config.name = "mx";
    config.resolve_interval = 1ms;
    config.servers.resize(1);
    config.servers[0].name = "a";
    config.servers[0].address = "mx.example.org:25";
    config.servers[0].host = "mx.example.org";
    config.servers[0].port = 25;
    return config;
}

std::string addressesOf(const UpstreamPool& pool) {
    std::string text;
    for (const auto& endpoint : pool.endpoints())
        text += endpoint->endpoint.toString() + " ";
    return text;
}

Resolution addresses(std::initializer_list<const char*> texts) {
    Resolution resolution;
    for (const char* text : texts)
        resolution.addresses.push_back(*IpAddress::parse(text));
    return resolution;
}

TEST(NameWatcher, AllAddressesOfANameBecomeServersAndAFailureKeepsTheLast) {
    const UpstreamConfig config = namedUpstream();
    UpstreamPool pool(config, {});
    EXPECT_THAT(pool.status().at(0).reason, HasSubstr("not been resolved"));
    ScriptedNames names;
    std::atomic<int> changed{0}, failed{0};
    NameWatcher watcher({&pool},
                        {[&](const auto&, const auto&, const auto&) { ++changed; },
                         [&](const auto&, const auto&, const std::string& why) {
                             EXPECT_EQ(why, "no such name");
                             ++failed;
                         }},
                        names.resolver());
    watcher.start();
    names.answers(addresses({"192.0.2.2", "192.0.2.1"}));
    EXPECT_EQ(addressesOf(pool), "192.0.2.1:25 192.0.2.2:25 ");
    names.answers({{}, "no such name"});
    names.awaitAsked(3);
    EXPECT_EQ(addressesOf(pool), "192.0.2.1:25 192.0.2.2:25 ");
    EXPECT_EQ(failed, 1) << "once, not each time";
    names.answers(addresses({"2001:db8::1"}));
    EXPECT_EQ(addressesOf(pool), "[2001:db8::1]:25 ");
    EXPECT_EQ(changed, 2);
}

TEST(NameWatcher, StopsInTheMiddleOfALookUpThatDoesNotEnd) {
    // Shared with the look-up, which ends after everything else.
    const auto names = std::make_shared<ScriptedNames>();
    names->stick(true);
    const UpstreamConfig config = namedUpstream();
    {
        UpstreamPool pool(config, {});
        NameWatcher watcher({&pool}, {},
                            [names](const std::string& host) { return names->resolver()(host); });
        watcher.start();
        names->awaitFirst();
    }
    names->stick(false);
}

TEST(NameWatcher, ANameWhoseServersAreMuteKeepsNoOtherWaiting) {
    UpstreamConfig config = namedUpstream();
    config.servers.resize(2);
    config.servers[1] = config.servers[0];
    config.servers[1].name = "b";
    config.servers[1].host = "other.example.org";
    config.resolve_interval = 1h;
    UpstreamPool pool(config, {});
    std::mutex mutex;
    std::condition_variable asked;
    bool other_asked = false, in_time = false;
    NameWatcher watcher({&pool}, {}, [&](const std::string& host) {
        std::unique_lock lock(mutex);
        if (host == "other.example.org") {
            other_asked = true;
            asked.notify_all();
            return addresses({"192.0.2.2"});
        }
        // Mute until the other has been asked for.
        in_time = asked.wait_for(lock, 30s, [&] { return other_asked; });
        return addresses({"192.0.2.1"});
    });
    watcher.start();
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (pool.endpoints().size() < 2 && std::chrono::steady_clock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    watcher.stop();
    EXPECT_EQ(addressesOf(pool), "192.0.2.1:25 192.0.2.2:25 ");
    EXPECT_TRUE(in_time);
}

TEST(NameWatcher, LeavesLiteralAddressesAlone) {
    UpstreamConfig config = namedUpstream();
    config.servers[0].host.clear();
    config.servers[0].endpoints = {{*IpAddress::parse("192.0.2.1"), 25}};
    UpstreamPool pool(config, {});
    NameWatcher watcher({&pool}, {}, [](const std::string&) -> Resolution {
        ADD_FAILURE() << "asked";
        return {};
    });
    watcher.start();
    watcher.stop();
    EXPECT_EQ(addressesOf(pool), "192.0.2.1:25 ");
}

}  // namespace
}  // namespace mailgate
