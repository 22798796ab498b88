// SPDX-License-Identifier: Apache-2.0
/// \file  The sockets of all sessions of one worker, behind one descriptor.
///
/// Poco's SocketReactor costs a mutex, a map look-up and an allocation per event, and visits every registered
/// socket when an iteration saw no readable one: it must hold few sockets. So it holds the listening ones and no more, and
/// this set, an epoll descriptor, is what the worker waits by: it handles its own events, in batches, and waits for more.
/// What the reactor has to handle itself the set is shown (wakeFor()), and leaves the reactor its turn.
///
/// Sockets are registered once, edge-triggered. A handler that dies during a batch is handed to retire(): it stays
/// allocated until the batch is over, so that an event already fetched finds it closed rather than gone.
#pragma once

#include "gateway/io/timer_wheel.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

struct epoll_event;

namespace mailgate {

/// What happened on a descriptor, as a set of bits.
enum Event : std::uint32_t {
    kReadable = 1,  ///< bytes or the end have come
    kWritable = 2,
    kHangup = 4,   ///< the peer's FIN is here: after what is queued comes the end
    kFailed = 8,   ///< reset, or a connect that failed: reading or writing tells the errno
    kUrgent = 16,  ///< urgent data: a short read does not mean "drained"
};

class SessionSet;

/// What events of sockets go to, and its deadline.
class EventHandler : public Timer {
  public:
    /// `slot`: 0 to 3, as registered. `events`: Event bits.
    virtual void onEvents(unsigned slot, std::uint32_t events) = 0;

    /// Where its connections are watched (SocketTransport), which need not know it each.
    SessionSet* set() const noexcept { return set_; }
    void join(SessionSet& set) noexcept { set_ = &set; }

  protected:
    /// What is never armed has none.
    void onTimer() override {}

  private:
    friend class SessionSet;
    union {
        SessionSet* set_ = nullptr;
        EventHandler* next_retired_;  ///< once it is retired: its connections are closed
    };
};

class SessionSet {
  public:
    /// Throws std::system_error when the kernel has no descriptors for it.
    SessionSet();
    ~SessionSet();
    SessionSet(const SessionSet&) = delete;
    SessionSet& operator=(const SessionSet&) = delete;

    /// False when the kernel refuses (no memory, fs.epoll.max_user_watches). Closing the descriptor removes it.
    bool add(int fd, EventHandler& handler, unsigned slot, bool writable) noexcept;
    void modify(int fd, EventHandler& handler, unsigned slot, bool writable) noexcept;

    /// Waits for what happens and handles it, batch by batch; returns when the reactor has something to do: after leave(),
    /// or when a descriptor of wakeFor() is readable. On the worker's thread.
    void serve();
    /// serve() returns after the batch under way; before it is called: after what has happened already.
    void leave() noexcept { leaving_ = true; }

    /// A descriptor that the reactor polls, until forget() or until it is closed. False when the kernel refuses.
    bool wakeFor(int fd) noexcept;
    void forget(int fd) noexcept;

    /// Counts the batches: who rations something by turn asks for it. Wraps.
    unsigned turn() const noexcept { return turn_; }

    /// Calls handler.onEvents(slot, 0) in a later turn: for a handler that has more to do than would be fair to
    /// the others now.
    void defer(EventHandler& handler, unsigned slot) { again_.push_back({&handler, slot}); }

    /// Destroys the handler when the current batch is over.
    void retire(std::unique_ptr<EventHandler> handler) noexcept;

    /// Runs `task` on the worker's thread. Any thread.
    void post(std::function<void()> task);

    /// Arms `timer` for `deadline` (on this set's clock).
    void arm(Timer& timer, Millis deadline) noexcept;

    /// How late the last tick was handled, in milliseconds. Any thread.
    Millis lag() const noexcept { return lag_.load(std::memory_order_relaxed); }

    /// The monotonic clock, read once a batch of events; code that acts outside of one (accepting) reads
    /// it anew first.
    Millis now() const noexcept { return now_; }
    void readClock() noexcept;

  private:
    struct Again {
        EventHandler* handler;
        unsigned slot;
    };

    void handleBatch(int count, const ::epoll_event* events);
    void handleTick() noexcept;
    void tickEvery(Millis period) noexcept;
    void runPosted();
    void destroyRetired();
    void wake() noexcept;

    int epoll_ = -1;
    int timer_fd_ = -1;
    int wake_fd_ = -1;
    bool leaving_ = false;  ///< the reactor has something to do
    unsigned turn_ = 0;
    std::atomic<Millis> lag_{0};
    Millis now_;
    Millis period_ = 0;  ///< of the timer; 0: it is off
    Millis next_tick_ = 0;
    TimerWheel wheel_;
    std::vector<Again> again_;
    std::vector<Again> again_now_;
    EventHandler* retired_ = nullptr;  ///< intrusive list: to end a session takes no memory
    std::mutex posted_mutex_;
    // The two vectors are swapped and keep their capacity, so that posting a finished task allocates nothing.
    static constexpr std::size_t kPostedWithoutMemory = 64;
    std::vector<std::function<void()>> posted_, running_;
};

}  // namespace mailgate
