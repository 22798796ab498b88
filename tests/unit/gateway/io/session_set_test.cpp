// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/session_set.h"

#include "gateway/io/socket_transport.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

namespace mailgate {
namespace {

struct SeenEvent {
    unsigned slot;
    std::uint32_t events;
};

class Recorder : public EventHandler {
  public:
    void onEvents(unsigned slot, std::uint32_t events) override { seen.push_back({slot, events}); }
    std::vector<SeenEvent> seen;
};

struct LeavingAlarm final : Timer {
    explicit LeavingAlarm(SessionSet& of) : set(of) {}
    void onTimer() override {
        fired = true;
        set.leave();
    }
    SessionSet& set;
    bool fired = false;
};

class SessionSetTest : public ::testing::Test {
  protected:
    SessionSetTest() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends_), 0); }
    ~SessionSetTest() override {
        for (const int fd : ends_)
            ::close(fd);
    }
    /// What has happened, without waiting.
    void turn() {
        set_.leave();
        set_.serve();
    }
    void send(std::string_view bytes) { ASSERT_GT(::write(ends_[1], bytes.data(), bytes.size()), 0); }

    SessionSet set_;
    int ends_[2];
};

TEST_F(SessionSetTest, IsReadableWhenOneOfItsSocketsIs) {
    Recorder recorder;
    ASSERT_TRUE(set_.add(ends_[0], recorder, 2, false));
    send("x");
    turn();
    ASSERT_EQ(recorder.seen.size(), 1U);
    EXPECT_EQ(recorder.seen[0].slot, 2U);
    EXPECT_TRUE(recorder.seen[0].events & kReadable);
}

TEST_F(SessionSetTest, TellsAnEventOnceUntilThereIsMore) {
    Recorder recorder;
    ASSERT_TRUE(set_.add(ends_[0], recorder, 0, false));
    send("x");
    turn();
    turn();
    EXPECT_EQ(recorder.seen.size(), 1U) << "edge-triggered";
    send("y");
    turn();
    EXPECT_EQ(recorder.seen.size(), 2U);
}

TEST_F(SessionSetTest, TellsTheEndOfThePeer) {
    Recorder recorder;
    ASSERT_TRUE(set_.add(ends_[0], recorder, 0, false));
    ::shutdown(ends_[1], SHUT_WR);
    turn();
    ASSERT_EQ(recorder.seen.size(), 1U);
    EXPECT_TRUE(recorder.seen[0].events & kHangup);
}

TEST_F(SessionSetTest, RunsTasksOfOtherThreads) {
    bool ran = false;
    std::thread([&] { set_.post([&] { ran = true; }); }).join();
    turn();
    EXPECT_TRUE(ran);
}

TEST_F(SessionSetTest, KeepsARetiredHandlerUntilTheBatchIsOver) {
    struct Mortal final : Recorder {
        explicit Mortal(bool& gone) : gone_(gone) {}
        ~Mortal() override { gone_ = true; }
        bool& gone_;
    };
    bool gone = false, gone_during_batch = true;
    auto mortal = std::make_unique<Mortal>(gone);
    set_.defer(*mortal, 0);
    set_.post([&] {
        set_.retire(std::move(mortal));
        gone_during_batch = gone;
    });
    turn();
    EXPECT_FALSE(gone_during_batch);
    EXPECT_TRUE(gone);
}

TEST_F(SessionSetTest, ComesBackToWhoAsksForAnotherTurn) {
    Recorder recorder;
    set_.post([&] { set_.defer(recorder, 3); });
    turn();
    ASSERT_EQ(recorder.seen.size(), 1U);
    EXPECT_EQ(recorder.seen[0].slot, 3U);
    EXPECT_EQ(recorder.seen[0].events, 0U);
}

TEST_F(SessionSetTest, WaitsForMoreUntilToldToLeave) {
    struct Conversation final : EventHandler {
        explicit Conversation(SessionSet& set, int peer) : set_(set), peer_(peer) {}
        void onEvents(unsigned, std::uint32_t) override {
            // Another thread, so that the second event comes while the set waits.
            if (++seen == 1) answer = std::thread([this] { EXPECT_EQ(::write(peer_, "y", 1), 1); });
            if (seen == 2) set_.leave();
        }
        SessionSet& set_;
        int peer_;
        int seen = 0;
        std::thread answer;
    } conversation(set_, ends_[1]);
    ASSERT_TRUE(set_.add(ends_[0], conversation, 0, false));
    const unsigned before = set_.turn();
    send("x");
    set_.serve();
    conversation.answer.join();
    EXPECT_EQ(conversation.seen, 2);
    EXPECT_GE(set_.turn() - before, 2U);
}

TEST_F(SessionSetTest, LeavesToTheReactorWhatIsTheReactors) {
    Recorder recorder;
    int pipe[2];
    ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    ASSERT_TRUE(set_.add(ends_[0], recorder, 0, false));
    ASSERT_TRUE(set_.wakeFor(pipe[0]));
    EXPECT_FALSE(set_.wakeFor(-1)) << "there is nothing to poll";
    ASSERT_EQ(::write(pipe[1], "x", 1), 1);
    set_.serve();
    EXPECT_TRUE(recorder.seen.empty());
    set_.serve();  // until the reactor has dealt with it
    set_.forget(pipe[0]);
    LeavingAlarm alarm(set_);
    set_.arm(alarm, set_.now() + 10);
    set_.serve();
    EXPECT_TRUE(alarm.fired) << "it is the reactor's no longer";
    ::close(pipe[0]);
    ::close(pipe[1]);
}

TEST_F(SessionSetTest, FiresTimers) {
    LeavingAlarm alarm(set_);
    set_.arm(alarm, set_.now() + 10);
    set_.serve();
    EXPECT_TRUE(alarm.fired);
}

TEST_F(SessionSetTest, WakesSeldomWhereNothingIsDueSoonAndInTimeAllTheSame) {
    LeavingAlarm far(set_), first(set_), second(set_), third(set_);
    set_.arm(far, set_.now() + 600'000);
    set_.arm(first, set_.now() + 100);
    set_.serve();
    ASSERT_TRUE(first.fired);
    const Millis due = set_.now() + 100;
    set_.arm(second, due);
    set_.serve();
    ASSERT_TRUE(second.fired);
    EXPECT_LT(set_.now() - due, 3 * TimerWheel::kTick + set_.lag());
    const unsigned before = set_.turn();
    set_.arm(third, set_.now() + 1'300);
    set_.serve();
    ASSERT_TRUE(third.fired);
    EXPECT_LT(set_.turn() - before, 9U);
}

TEST_F(SessionSetTest, ATransportAsksForWritabilityOnlyWhenItNeedsIt) {
    Recorder recorder;
    auto transport = SocketTransport::adopt(set_, ::dup(ends_[0]), recorder, 0, true);
    ASSERT_TRUE(transport);
    turn();
    EXPECT_TRUE(recorder.seen.empty()) << "a writable socket is no news";
    const std::string block(1 << 16, 'x');
    IoResult put;
    while ((put = transport->write(block)).status == IoStatus::Ok) {
    }
    EXPECT_EQ(put.status, IoStatus::WouldBlock);
    transport->notifyWritable();
    turn();
    EXPECT_TRUE(recorder.seen.empty());
    std::string sink(1 << 20, '\0');
    while (::read(ends_[1], sink.data(), sink.size()) > 0) {
    }
    turn();
    ASSERT_FALSE(recorder.seen.empty());
    EXPECT_TRUE(recorder.seen.back().events & kWritable);
}

}  // namespace
}  // namespace mailgate
