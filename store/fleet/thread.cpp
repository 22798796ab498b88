// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/thread.h"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

namespace mailgate::store {

namespace {

using std::chrono::milliseconds;

std::int64_t nowMs() {
    return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

}  // namespace

void FleetThread::start() {
    thread_ = std::thread([this] { run(); });
}

void FleetThread::stop() noexcept {
    if (!thread_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
    }
    work_.interrupt();
    waiting_.notify_all();
    thread_.join();
}

FleetReach FleetThread::reach() const {
    const std::lock_guard lock(mutex_);
    return reach_;
}

bool FleetThread::stops() const {
    const std::lock_guard lock(mutex_);
    return stopped_;
}

void FleetThread::wait(milliseconds time) {
    std::unique_lock lock(mutex_);
    waiting_.wait_for(lock, time, [this] { return stopped_; });
}

bool FleetThread::reached() {
    {
        const std::lock_guard lock(mutex_);
        if (!reach_.connected) reach_ = {true, "", nowMs()};
    }
    next_pause_ = kFirstPause;
    return std::exchange(is_lost_, false);
}

milliseconds FleetThread::between(milliseconds least, milliseconds most) {
    return milliseconds(std::uniform_int_distribution<std::int64_t>(least.count(), most.count())(random_));
}

void FleetThread::fail(const StoreError* error, const std::string& why) {
    if (!work_.abandon(error)) return;
    {
        const std::lock_guard lock(mutex_);
        if (stopped_) return;
        if (reach_.connected || reach_.since_ms == 0) reach_.since_ms = nowMs();
        reach_.connected = false;
        reach_.failure = why;
    }
    // How a connection breaks and how the next one does not come about are one outage.
    if (!std::exchange(is_lost_, true) && work_.lost) work_.lost(why);
}

void FleetThread::pause() {
    const milliseconds longest = std::exchange(next_pause_, std::min(next_pause_ * 2, kLongestPause));
    wait(between(longest / 2, longest));
}

void FleetThread::run() {
    while (!stops()) {
        try {
            work_.turn();
            continue;
        } catch (const StoreError& error) {
            fail(&error, error.what());
        } catch (const std::bad_alloc&) {
            fail(nullptr, "out of memory");
        } catch (const std::exception& error) {  // no more threads, for one: sessions go on
            fail(nullptr, error.what());
        }
        pause();
    }
}

}  // namespace mailgate::store
