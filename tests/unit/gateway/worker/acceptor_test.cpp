// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker/acceptor.h"

#include "gateway/io/socket_address.h"

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace mailgate {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);

ListeningSocket listenOnLoopback() {
    const SocketAddress any({*IpAddress::parse("127.0.0.1"), 0});
    ListeningSocket listening;
    listening.descriptor = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    listening.listener = 3;
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    EXPECT_EQ(::bind(listening.descriptor.get(), any.get(), any.size()), 0);
    EXPECT_EQ(::listen(listening.descriptor.get(), 256), 0);
    ::getsockname(listening.descriptor.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    listening.local = SocketAddress::toEndpoint(bound);
    return listening;
}

/// No more descriptors for this process, from where it is created.
class DescriptorsGone {
  public:
    DescriptorsGone() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        const Descriptor next(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        rlimit none = before_;
        none.rlim_cur = static_cast<rlim_t>(next.get());
        ::setrlimit(RLIMIT_NOFILE, &none);
    }
    ~DescriptorsGone() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    DescriptorsGone(const DescriptorsGone&) = delete;
    DescriptorsGone& operator=(const DescriptorsGone&) = delete;

  private:
    rlimit before_{};
};

/// A worker without sessions: the reactor's thread, and what the acceptor told it.
class AcceptorTest : public testing::Test, public Acceptor::Owner {
  protected:
    AcceptorTest() {
        ListeningSocket listening = listenOnLoopback();
        endpoint_ = listening.local;
        acceptor_.emplace(reactor_, set_, *this, std::move(listening));
    }

    // Not before the fixture is whole: the thread calls its virtual functions.
    void SetUp() override {
        thread_ = std::thread([this] { reactor_.run(); });
    }
    void TearDown() override {
        set_.post([this] {
            acceptor_.reset();
            reactor_.end();
        });
        thread_.join();
    }

    Descriptor connect() const {
        Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const SocketAddress to(endpoint_);
        EXPECT_EQ(::connect(client.get(), to.get(), to.size()), 0);
        return client;
    }
    template <typename Condition>
    bool eventually(Condition condition) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, kPatience, condition);
    }
    template <typename Change>
    void note(Change change) {
        const std::lock_guard lock(mutex_);
        change();
        changed_.notify_all();
    }
    /// On the acceptor's thread.
    void run(std::function<void()> task) {
        bool ran = false;
        set_.post([&] {
            task();
            note([&] { ran = true; });
        });
        EXPECT_TRUE(eventually([&] { return ran; }));
    }

    void onAccepted(const ListeningSocket& listening, Descriptor client, const Endpoint& peer) override {
        bool no_memory = false;
        note([&] {
            if ((no_memory = std::exchange(out_of_memory_, false))) return;
            listeners_.push_back(listening.listener);
            peers_.push_back(peer);
            clients_.push_back(std::move(client));
        });
        if (no_memory) throw std::bad_alloc();
    }
    void onPaused(const ListeningSocket&, int error) override {
        note([&] { told_.push_back("paused " + std::to_string(error)); });
        if (pausing_fails_) throw std::bad_alloc();
    }
    void onResumed(const ListeningSocket&, bool closed) override {
        note([&] { told_.push_back(closed ? "closed" : "resumed"); });
    }

    SessionSet set_;
    Reactor reactor_{set_};
    std::optional<Acceptor> acceptor_;
    Endpoint endpoint_;
    std::thread thread_;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Endpoint> peers_;
    std::vector<std::size_t> listeners_;
    std::vector<Descriptor> clients_;
    std::vector<std::string> told_;
    bool out_of_memory_ = false;
    bool pausing_fails_ = false;
};

TEST_F(AcceptorTest, HandsOverEachConnectionWithItsPeer) {
    const Descriptor client = connect();
    ASSERT_TRUE(eventually([&] { return clients_.size() == 1; }));
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    ::getsockname(client.get(), reinterpret_cast<sockaddr*>(&own), &size);
    EXPECT_EQ(peers_[0], SocketAddress::toEndpoint(own));
    EXPECT_EQ(listeners_[0], 3U);
    EXPECT_TRUE(told_.empty());
}

TEST_F(AcceptorTest, AcceptsMoreThanOneTurnTakes) {
    std::vector<Descriptor> clients;
    constexpr std::size_t kMany = 2 * Acceptor::kAcceptsPerTurn + 1;
    run([&] {  // so that they wait together
        for (std::size_t i = 0; i < kMany; ++i)
            clients.push_back(connect());
    });
    EXPECT_TRUE(eventually([&] { return clients_.size() == kMany; }));
}

TEST_F(AcceptorTest, IsAnotherListenersAfterAReload) {
    ListenerConfig listener;
    listener.protocol = Protocol::Smtp;
    run([&] { acceptor_->moveTo(7, listener); });
    const Descriptor client = connect();
    ASSERT_TRUE(eventually([&] { return listeners_.size() == 1; }));
    EXPECT_EQ(listeners_[0], 7U);
    int at_once = -1;
    socklen_t size = sizeof at_once;
    ::getsockopt(clients_[0].get(), IPPROTO_TCP, TCP_QUICKACK, &at_once, &size);
    EXPECT_EQ(at_once, 0) << "what it accepts now inherits what that listener's should";
}

TEST_F(AcceptorTest, RestsWithoutDescriptorsAndTakesWhoWaitedLater) {
    Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const SocketAddress to(endpoint_);
    {
        const DescriptorsGone gone;
        EXPECT_EQ(::connect(client.get(), to.get(), to.size()), 0);
        ASSERT_TRUE(eventually([&] { return !told_.empty(); }));
    }
    ASSERT_TRUE(eventually([&] { return clients_.size() == 1 && told_.size() == 2; }));
    EXPECT_EQ(told_, (std::vector<std::string>{"paused " + std::to_string(EMFILE), "resumed"}));
}

TEST_F(AcceptorTest, RestsWhereTheOwnerHasNoMemoryForAConnection) {
    note([&] { out_of_memory_ = true; });
    const Descriptor first = connect();
    ASSERT_TRUE(eventually([&] { return !told_.empty(); }));
    EXPECT_EQ(told_[0], "paused " + std::to_string(ENOMEM));
    const Descriptor second = connect();
    EXPECT_TRUE(eventually([&] { return clients_.size() == 1 && told_.size() == 2; }));
}

TEST_F(AcceptorTest, WithoutMemoryEvenForAPauseItStillComesToItsEnd) {
    run([&] {
        const Descriptor client = connect();
        out_of_memory_ = pausing_fails_ = true;
        acceptor_->acceptWaiting();
        acceptor_.reset();
    });
    EXPECT_EQ(told_, (std::vector{"paused " + std::to_string(ENOMEM), std::string("closed")}));
}

TEST_F(AcceptorTest, SaysThatItIsClosedWhileItRests) {
    note([&] { out_of_memory_ = true; });
    const Descriptor client = connect();
    ASSERT_TRUE(eventually([&] { return !told_.empty(); }));
    run([&] { acceptor_.reset(); });
    // A timer may have been faster than we.
    EXPECT_EQ(told_.size(), 2U);
    EXPECT_NE(told_[1], told_[0]);
}

}  // namespace
}  // namespace mailgate
