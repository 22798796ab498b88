// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/follower.h"

#include "store/fleet/sharing.h"

#include <algorithm>
#include <condition_variable>
#include <ctime>
#include <exception>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <thread>
#include <utility>

namespace mailgate::store {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Between tries while there is no database: a thousand gateways do not come back at once.
constexpr milliseconds kFirstPause{250}, kLongestPause{4'000};

std::int64_t nowMs() {
    return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

}  // namespace

struct FleetFollower::Impl {
    Impl(std::unique_ptr<FleetStore> fleet_, OpenReplica open_, Options options_, Events events_)
        : fleet(std::move(fleet_)),
          open(std::move(open_)),
          options(std::move(options_)),
          events(std::move(events_)),
          started(std::time(nullptr)),
          next_upkeep(steady_clock::now() + part(options.upkeep)) {
        state.configured = true;
    }

    void run();
    void turn();
    void announce(std::int64_t position);
    void lookAfter(std::int64_t now);
    milliseconds part(milliseconds of);
    bool isWellSofar() const;
    void reportFailure(const std::string& why);
    void reportSuccess(std::int64_t version);
    void pause();
    bool stops();

    const std::unique_ptr<FleetStore> fleet;
    const OpenReplica open;
    const Options options;
    const Events events;
    const std::int64_t started;

    // The thread's own.
    std::unique_ptr<Replica> replica;  ///< none after a failure
    std::string reported;              ///< the failure reported last; empty while all is well
    std::int64_t announced = -1;       ///< with which version
    steady_clock::time_point next_announcement;
    milliseconds next_pause = kFirstPause;
    std::minstd_rand random{std::random_device{}()};
    steady_clock::time_point next_upkeep;

    mutable std::mutex mutex;  ///< of what follows
    std::condition_variable waiting;
    bool stopped = false;
    FleetStatus state;
    steady_clock::time_point current_at = steady_clock::now();

    std::thread thread;
};

bool FleetFollower::Impl::stops() {
    const std::lock_guard lock(mutex);
    return stopped;
}

void FleetFollower::Impl::announce(std::int64_t position) {
    if (position == announced && steady_clock::now() < next_announcement) return;
    fleet->announce({.name = options.name,
                     .release = options.release,
                     .started = started,
                     .position = position,
                     .ships = options.ships,
                     .keeps_days = options.keeps_days ? std::optional(options.keeps_days()) : std::nullopt});
    announced = position;
    next_announcement = steady_clock::now() + options.announce;
}

/// Gateways that were started together do not do it together.
milliseconds FleetFollower::Impl::part(milliseconds of) {
    return milliseconds(std::uniform_int_distribution<std::int64_t>(0, of.count())(random));
}

void FleetFollower::Impl::lookAfter(std::int64_t now) {
    if (steady_clock::now() < next_upkeep) return;
    next_upkeep = steady_clock::now() + options.upkeep;
    try {
        if (events.upkeep) events.upkeep(now);
        fleet->forgetChanges();
    } catch (const StoreError&) {
        // Another gateway is changing the rules, or the next look at the database says what is wrong; it is due again.
    }
}

void FleetFollower::Impl::turn() {
    if (!replica) replica = open();
    // In this order: what a command changes meanwhile must not look like a version that the database has lost.
    const auto membership = replica->membership();
    const FleetState fresh = fleet->state();
    requireMember(membership, fresh, *fleet);
    const BroughtUp now = bringUp(*replica, *membership, fresh, *fleet);
    if (!now.unreadable.empty() && events.unreadable) events.unreadable(now.unreadable);
    announce(now.version);
    reportSuccess(now.version);
    if (events.shared) events.shared(*fleet, fresh);
    lookAfter(fresh.now);
    fleet->wait(options.poll);
}

void FleetFollower::Impl::reportSuccess(std::int64_t version) {
    {
        const std::lock_guard lock(mutex);
        if (!state.connected) state.since_ms = nowMs();
        state.connected = true;
        state.notified = fleet->listens();
        state.failure.clear();
        state.version = version;
        current_at = steady_clock::now();
    }
    next_pause = kFirstPause;
    if (!std::exchange(reported, {}).empty() && events.found) events.found();
}

/// A command that changes the gateway's file, and has a long way to the fleet's last version, keeps it locked meanwhile.
bool FleetFollower::Impl::isWellSofar() const {
    const std::lock_guard lock(mutex);
    return state.failure.empty() && steady_clock::now() - current_at < options.patience;
}

void FleetFollower::Impl::reportFailure(const std::string& why) {
    replica.reset();
    announced = -1;
    {
        const std::lock_guard lock(mutex);
        if (stopped) return;
        if (state.connected || state.since_ms == 0) state.since_ms = nowMs();
        state.connected = false;
        state.failure = why;
    }
    if (reported == why) return;
    // How a connection breaks and how the next one does not come about are one outage: one line tells of it.
    const bool first = reported.empty();
    reported = why;
    if (first && events.lost) events.lost(why);
}

void FleetFollower::Impl::pause() {
    const milliseconds longest = std::exchange(next_pause, std::min(next_pause * 2, kLongestPause));
    std::uniform_int_distribution<std::int64_t> some(longest.count() / 2, longest.count());
    const milliseconds time(some(random));
    std::unique_lock lock(mutex);
    waiting.wait_for(lock, time, [this] { return stopped; });
}

void FleetFollower::Impl::run() {
    while (!stops()) {
        try {
            turn();
            continue;
        } catch (const StoreError& error) {
            if (error.kind() == StoreError::Kind::Locked && isWellSofar())
                replica.reset();
            else
                reportFailure(error.what());
        } catch (const std::bad_alloc&) {
            reportFailure("out of memory");
        } catch (const std::exception& error) {  // no more threads, for one: sessions go on
            reportFailure(error.what());
        }
        pause();
    }
}

FleetFollower::FleetFollower(std::unique_ptr<FleetStore> fleet, OpenReplica replica, Options options,
                             Events events)
    : impl_(std::make_unique<Impl>(std::move(fleet), std::move(replica), std::move(options),
                                   std::move(events))) {}

FleetFollower::~FleetFollower() {
    stop();
}

void FleetFollower::start() {
    impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

void FleetFollower::stop() noexcept {
    if (!impl_->thread.joinable()) return;
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->stopped = true;
    }
    impl_->fleet->interrupt();
    impl_->waiting.notify_all();
    impl_->thread.join();
}

FleetStatus FleetFollower::status() const {
    const std::lock_guard lock(impl_->mutex);
    FleetStatus status = impl_->state;
    status.lag_seconds = std::chrono::duration<double>(steady_clock::now() - impl_->current_at).count();
    return status;
}

}  // namespace mailgate::store
