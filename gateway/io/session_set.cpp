// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/session_set.h"

#include "gateway/base/clock.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace mailgate {
namespace {

constexpr int kBatch = 256;
// Where nothing is due before the next one: idle sessions need not have the worker wake ten times a second.
constexpr Millis kRestingTick = 1'000;
// The low bits of an aligned pointer carry the slot. Three values that no handler can have stand for descriptors of our
// own, and for those of the reactor.
constexpr std::uint64_t kSlotMask = 3;
constexpr std::uint64_t kTimerTag = 0;
constexpr std::uint64_t kWakeTag = 1;
constexpr std::uint64_t kReactorTag = 2;
static_assert(alignof(EventHandler) > kSlotMask);

int checked(int fd, const char* what) {
    if (fd < 0) throw std::system_error(errno, std::generic_category(), what);
    return fd;
}

epoll_event eventFor(EventHandler& handler, unsigned slot, bool writable) noexcept {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET | (writable ? EPOLLOUT : 0U);
    event.data.u64 = reinterpret_cast<std::uint64_t>(&handler) | slot;
    return event;
}

std::uint32_t translate(std::uint32_t events) noexcept {
    std::uint32_t out = 0;
    if (events & EPOLLIN) out |= kReadable;
    if (events & EPOLLOUT) out |= kWritable;
    if (events & (EPOLLRDHUP | EPOLLHUP)) out |= kReadable | kHangup;
    if (events & (EPOLLERR | EPOLLHUP)) out |= kReadable | kFailed;
    if (events & EPOLLPRI) out |= kUrgent;
    return out;
}

}  // namespace

SessionSet::SessionSet() : now_(monotonicMillis()), wheel_(now_) {
    posted_.reserve(kPostedWithoutMemory);
    running_.reserve(kPostedWithoutMemory);
    epoll_ = checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    timer_fd_ = checked(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), "timerfd_create");
    wake_fd_ = checked(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd");
    for (const auto& [fd, tag] : {std::pair{timer_fd_, kTimerTag}, std::pair{wake_fd_, kWakeTag}}) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = tag;
        checked(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
    }
}

SessionSet::~SessionSet() {
    destroyRetired();
    for (const int fd : {wake_fd_, timer_fd_, epoll_}) {
        if (fd >= 0) ::close(fd);
    }
}

bool SessionSet::add(int fd, EventHandler& handler, unsigned slot, bool writable) noexcept {
    epoll_event event = eventFor(handler, slot, writable);
    return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void SessionSet::modify(int fd, EventHandler& handler, unsigned slot, bool writable) noexcept {
    epoll_event event = eventFor(handler, slot, writable);
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
}

void SessionSet::readClock() noexcept {
    now_ = monotonicMillis();
}

bool SessionSet::wakeFor(int fd) noexcept {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kReactorTag;
    return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void SessionSet::forget(int fd) noexcept {
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

void SessionSet::serve() {
    epoll_event events[kBatch];
    do {
        const bool at_once = leaving_ || !again_.empty();
        const int count = ::epoll_wait(epoll_, events, kBatch, at_once ? 0 : -1);
        handleBatch(std::max(count, 0), events);  // below zero: a signal, and nothing has happened
    } while (!leaving_);
    leaving_ = false;
}

void SessionSet::handleBatch(int count, const epoll_event* events) {
    ++turn_;
    readClock();
    for (int i = 0; i < count; ++i) {
        const std::uint64_t tag = events[i].data.u64;
        if (tag == kTimerTag) {
            handleTick();
        } else if (tag == kWakeTag) {
            runPosted();
        } else if (tag == kReactorTag) {
            leave();
        } else {
            // NOLINTNEXTLINE(performance-no-int-to-ptr): the tag is one number for the kernel to keep.
            auto* handler = reinterpret_cast<EventHandler*>(tag & ~kSlotMask);
            handler->onEvents(static_cast<unsigned>(tag & kSlotMask), translate(events[i].events));
        }
    }
    std::swap(again_, again_now_);
    for (const Again& again : again_now_)
        again.handler->onEvents(again.slot, 0);
    again_now_.clear();
    destroyRetired();
}

void SessionSet::handleTick() noexcept {
    std::uint64_t expirations = 0;
    if (::read(timer_fd_, &expirations, sizeof expirations) < 0) return;
    const Millis late = std::max(now_ - next_tick_, Millis{0});
    lag_.store(late / TimerWheel::kTick * TimerWheel::kTick, std::memory_order_relaxed);
    next_tick_ += static_cast<Millis>(expirations) * period_;
    wheel_.advance(now_);
    const Millis wanted = wheel_.empty()                            ? 0
                          : wheel_.firesBefore(now_ + kRestingTick) ? TimerWheel::kTick
                                                                    : kRestingTick;
    if (wanted != period_) tickEvery(wanted);
}

void SessionSet::tickEvery(Millis period) noexcept {
    const timespec time{period / 1'000, period % 1'000 * 1'000'000};
    const itimerspec periodic{time, time};
    ::timerfd_settime(timer_fd_, 0, &periodic, nullptr);
    period_ = period;
    next_tick_ = monotonicMillis() + period;  // as the kernel counts: the batch may have begun a while ago
}

void SessionSet::arm(Timer& timer, Millis deadline) noexcept {
    wheel_.arm(timer, deadline);
    // The tick stays on until a tick finds nothing armed: sessions that come and go one by one do not pay for it.
    if (period_ == 0 || (period_ == kRestingTick && deadline < next_tick_)) tickEvery(TimerWheel::kTick);
}

void SessionSet::post(std::function<void()> task) {
    bool first;
    {
        const std::lock_guard lock(posted_mutex_);
        first = posted_.empty();
        posted_.push_back(std::move(task));
    }
    if (first) wake();
}

void SessionSet::wake() noexcept {
    const std::uint64_t one = 1;
    // The counter cannot overflow; a full one is readable already.
    [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

void SessionSet::runPosted() {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(wake_fd_, &count, sizeof count);
    running_.clear();  // where one threw, the rest is gone
    {
        const std::lock_guard lock(posted_mutex_);
        running_.swap(posted_);
    }
    for (const auto& task : running_)
        task();
    running_.clear();
}

void SessionSet::retire(std::unique_ptr<EventHandler> handler) noexcept {
    handler->next_retired_ = retired_;
    retired_ = handler.release();
}

void SessionSet::destroyRetired() {
    // Destructors may retire more.
    while (retired_) {
        const std::unique_ptr<EventHandler> dying(std::exchange(retired_, retired_->next_retired_));
        std::erase_if(again_, [&](const Again& again) { return again.handler == dying.get(); });
    }
}

}  // namespace mailgate
