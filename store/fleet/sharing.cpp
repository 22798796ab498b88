// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/sharing.h"

#include <fmt/format.h>

#include <utility>

namespace mailgate::store {

std::string actorAt(std::string_view who, std::string_view gateway) {
    return fmt::format("{}@{}", who, gateway);
}

void requireMember(const std::optional<Membership>& membership, const FleetState& fleet) {
    if (!membership)
        throw StoreError(StoreError::Kind::Other,
                         "this gateway has not joined the fleet yet: mailgate fleet join");
    if (membership->fleet != fleet.fleet)
        throw StoreError(
            StoreError::Kind::Other,
            "this gateway has joined another fleet than the one that fleet.url names: mailgate fleet "
            "join joins this one");
    if (membership->version > fleet.version)
        throw StoreError(
            StoreError::Kind::Other,
            fmt::format(
                "the fleet's database has version {} of the rules, and this gateway {}: was the database "
                "restored from a backup? mailgate fleet join brings them together",
                fleet.version, membership->version));
}

std::string FleetSharing::actor(std::string_view who) const {
    return actorAt(who, gateway_);
}

void FleetSharing::begin() {
    try {
        state_ = fleet_->lock();
    } catch (const StoreError& error) {
        if (error.kind() != StoreError::Kind::Open) throw;
        throw StoreError(error.kind(),
                         fmt::format("nothing was changed: {}; access allow and deny --here make rules of "
                                     "this gateway alone",
                                     error.what()));
    }
}

void FleetSharing::enter(Replica& replica) {
    const auto membership = replica.membership();
    requireMember(membership, state_);
    if (membership->version < state_.version) replica.apply(fleet_->changesSince(membership->version));
    replica.beginShared(state_.next_id);
}

void FleetSharing::leave(Replica& replica) {
    SharedChanges changes = replica.collectShared();
    if (changes.entries.empty()) {
        fleet_->rollback();
        return;
    }
    changes.version = state_.version + 1;
    fleet_->commit(changes, gateway_);
    replica.reach(changes.version);
}

}  // namespace mailgate::store
