// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/follower.h"

#include "store/fleet/sharing.h"
#include "store/fleet/thread.h"

#include <ctime>
#include <mutex>
#include <optional>
#include <utility>

namespace mailgate::store {

using std::chrono::steady_clock;

struct FleetFollower::Impl {
    Impl(std::unique_ptr<FleetStore> fleet_, OpenReplica open_, Options options_, Events events_)
        : fleet(std::move(fleet_)),
          open(std::move(open_)),
          options(std::move(options_)),
          events(std::move(events_)),
          started(std::time(nullptr)),
          thread({[this] { turn(); }, [this](const StoreError* error) { return abandon(error); },
                  [this] { fleet->interrupt(); }, events.lost}),
          next_upkeep(steady_clock::now() + thread.between({}, options.upkeep)) {}

    void turn();
    bool abandon(const StoreError* error);
    void announce(std::int64_t position);
    void lookAfter(std::int64_t now);
    void reportSuccess(std::int64_t reached, std::int64_t ahead);

    const std::unique_ptr<FleetStore> fleet;
    const OpenReplica open;
    const Options options;
    const Events events;
    const std::int64_t started;

    // The thread's own.
    std::unique_ptr<Replica> replica;  ///< none after a failure
    std::int64_t announced = -1;       ///< with which version
    bool is_listed = false;            ///< it has announced itself
    steady_clock::time_point next_announcement;
    bool forgets = true;  ///< as far as is known

    mutable std::mutex mutex;  ///< of what follows
    bool notified = false;
    std::int64_t version = 0;
    steady_clock::time_point current_at = steady_clock::now();
    std::int64_t clock_ahead = 0;
    std::int64_t same_name_started = 0;
    steady_clock::time_point same_name_at;  ///< when it was heard of

    FleetThread thread;
    steady_clock::time_point next_upkeep;  ///< the thread's own
};

void FleetFollower::Impl::announce(std::int64_t position) {
    if (position == announced && steady_clock::now() < next_announcement) return;
    const auto other = fleet->announce(
        {.name = options.name,
         .release = options.release,
         .started = started,
         .position = position,
         .ships = options.ships,
         .keeps_days = options.keeps_days ? std::optional(options.keeps_days()) : std::nullopt});
    // Before this one had said a word it was the one that this one follows.
    if (std::exchange(is_listed, true) && other) {
        const std::lock_guard lock(mutex);
        same_name_started = *other;
        same_name_at = steady_clock::now();
    }
    announced = position;
    next_announcement = steady_clock::now() + options.announce;
}

void FleetFollower::Impl::lookAfter(std::int64_t now) {
    if (steady_clock::now() < next_upkeep) return;
    next_upkeep = steady_clock::now() + options.upkeep;
    try {
        if (events.upkeep) events.upkeep(now);
    } catch (const StoreError&) {
        // Another gateway is changing the rules, or the next look at the database says what is wrong; it is due again.
    }
    try {
        fleet->forgetChanges();
        forgets = true;
    } catch (const StoreError& error) {
        // Likewise; and which rights its role lacks nobody else asks.
        const bool is_told =
            error.kind() == StoreError::Kind::Locked || error.kind() == StoreError::Kind::Open;
        if (!is_told && std::exchange(forgets, false) && events.unforgotten) events.unforgotten(error.what());
    }
}

void FleetFollower::Impl::turn() {
    if (!replica) replica = open();
    // In this order: what a command changes meanwhile must not look like a version that the database has lost.
    const auto membership = replica->membership();
    const FleetState fresh = fleet->state();
    const std::int64_t ahead = std::time(nullptr) - fresh.now;
    requireMember(membership, fresh, *fleet);
    const BroughtUp now = bringUp(*replica, *membership, fresh, *fleet);
    if (!now.applied.unreadable.empty() && events.unreadable) events.unreadable(now.applied.unreadable);
    if (!now.applied.lost.empty() && events.overruled) events.overruled(now.applied.lost);
    announce(now.version);
    reportSuccess(now.version, ahead);
    if (events.shared) events.shared(*fleet, fresh);
    lookAfter(fresh.now);
    fleet->wait(options.poll);
}

void FleetFollower::Impl::reportSuccess(std::int64_t reached, std::int64_t ahead) {
    {
        const std::lock_guard lock(mutex);
        notified = fleet->listens();
        version = reached;
        clock_ahead = ahead;
        current_at = steady_clock::now();
    }
    if (thread.reached() && events.found) events.found();
}

bool FleetFollower::Impl::abandon(const StoreError* error) {
    replica.reset();
    // A command that changes the gateway's file, and has a long way to the fleet's last version, keeps it locked meanwhile.
    if (error != nullptr && error->kind() == StoreError::Kind::Locked && thread.reach().failure.empty()) {
        const std::lock_guard lock(mutex);
        if (steady_clock::now() - current_at < options.patience) return false;
    }
    announced = -1;
    return true;
}

FleetFollower::FleetFollower(std::unique_ptr<FleetStore> fleet, OpenReplica replica, Options options,
                             Events events)
    : impl_(std::make_unique<Impl>(std::move(fleet), std::move(replica), std::move(options),
                                   std::move(events))) {}

FleetFollower::~FleetFollower() {
    stop();
}

void FleetFollower::start() {
    impl_->thread.start();
}

void FleetFollower::stop() noexcept {
    impl_->thread.stop();
}

FleetStatus FleetFollower::status() const {
    // First: what else is known of a look that went well is written before.
    FleetReach reach = impl_->thread.reach();
    FleetStatus status;
    status.configured = true;
    status.connected = reach.connected;
    status.failure = std::move(reach.failure);
    status.since_ms = reach.since_ms;
    const std::lock_guard lock(impl_->mutex);
    status.notified = impl_->notified;
    status.version = impl_->version;
    status.clock_ahead_seconds = impl_->clock_ahead;
    // Both announce themselves every few seconds, and now and then one of them twice before the other.
    if (steady_clock::now() - impl_->same_name_at < 4 * impl_->options.announce)
        status.same_name_started = impl_->same_name_started;
    status.lag_seconds = std::chrono::duration<double>(steady_clock::now() - impl_->current_at).count();
    return status;
}

}  // namespace mailgate::store
