// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/sharing.h"

#include "store/fleet/lines.h"
#include "store/rules/import_export.h"
#include "store/rules/store.h"

#include <fmt/format.h>

#include <map>
#include <random>
#include <set>
#include <utility>

namespace mailgate::store {

std::string actorAt(std::string_view who, std::string_view gateway) {
    return fmt::format("{}@{}", who, gateway);
}

std::string newToken() {
    std::random_device random;
    return fmt::format("{:08x}{:08x}", random(), random());
}

void requireMember(const std::optional<Membership>& membership, const FleetState& state, FleetStore& fleet) {
    if (!membership)
        throw StoreError(StoreError::Kind::Other,
                         "this gateway has not joined the fleet yet: mailgate fleet join");
    if (membership->fleet != state.fleet)
        throw StoreError(
            StoreError::Kind::Other,
            "this gateway has joined another fleet than the one that fleet.url names: mailgate fleet "
            "join joins this one");
    if (membership->version > state.version)
        throw StoreError(
            StoreError::Kind::Other,
            fmt::format(
                "the fleet's database has version {} of the rules, and this gateway {}: was the database "
                "restored from a backup? mailgate fleet join brings them together",
                state.version, membership->version));
    // Of what the log of changes has no more nobody knows the token.
    if (membership->version < state.log_from) return;
    // A file that followed before there were tokens learns the next one.
    if (membership->token.empty() && membership->version > 0) return;
    const auto token =
        membership->version == state.version ? state.token : fleet.tokenOf(membership->version);
    if (token != membership->token)
        throw StoreError(
            StoreError::Kind::Other,
            fmt::format(
                "version {} of the rules is another one in the fleet's database than on this gateway: was "
                "the "
                "database, or this gateway, restored from a backup? mailgate fleet join brings them together",
                membership->version));
}

SharedChanges wholeChange(const SharedChanges& here, const OwnRules& own, SharedChanges fleet,
                          std::int64_t now) {
    std::set<std::int64_t> added, changed;
    for (const SharedRule& rule : own.added)
        added.insert(rule.id);
    for (const auto& [id, rule] : own.changed)
        changed.insert(id);
    std::map<std::int64_t, const SharedRule*> ours;
    for (const SharedRule& rule : here.rules)
        if (!added.contains(rule.id)) ours.emplace(rule.id, &rule);
    const auto tell = [&](std::int64_t id, std::string before, std::string after) {
        SharedEntry entry{.version = fleet.version,
                          .at = now,
                          .who = programName("mailgate"),
                          .action = before.empty()  ? "add"
                                    : after.empty() ? "remove"
                                                    : "change",
                          .rule_id = id};
        entry.before = std::move(before);
        entry.after = std::move(after);
        fleet.entries.push_back(std::move(entry));
    };
    for (const SharedRule& rule : fleet.rules) {
        const auto found = ours.find(rule.id);
        const SharedRule* const before = found == ours.end() ? nullptr : found->second;
        if (before) ours.erase(found);
        // What the shell did to a rule holds until the fleet changes it, and whether it did nobody can say any more.
        if (before && *before == rule) {
            if (changed.contains(rule.id)) tell(rule.id, lineOf(*before), lineOf(rule));
            continue;
        }
        tell(rule.id, before ? lineOf(*before) : "", lineOf(rule));
    }
    for (const auto& [id, rule] : ours)
        tell(id, lineOf(*rule), "");
    std::map<std::string, SharedSet> sets;
    for (const SharedSet& set : here.sets.value())
        sets.emplace(set.name, set);
    for (const SharedSet& set : fleet.sets.value()) {
        const auto found = sets.find(set.name);
        if (found == sets.end() || !(found->second == set))
            tell(0, found == sets.end() ? "" : lineOf(found->second), lineOf(set));
        if (found != sets.end()) sets.erase(found);
    }
    for (const auto& [name, set] : sets)
        tell(0, lineOf(set), "");
    fleet.sums_up = true;
    return fleet;
}

BroughtUp bringUp(Replica& replica, const Membership& before, const FleetState& state, FleetStore& fleet) {
    if (before.version >= state.version) return {before.version};
    if (before.version >= state.log_from) {
        const SharedChanges changes = fleet.changesSince(before.version);
        return {changes.version, replica.apply(changes)};
    }
    // The fleet's first, and then the file's as it is when it is changed: a rule that a command brings meanwhile, and that the
    // fleet has removed by then, would stay.
    SharedChanges all = fleet.everything();
    BroughtUp now{all.version};
    replica.inTransaction([&] {
        const SharedChanges here = replica.everythingHere();
        now.applied = replica.apply(wholeChange(here, replica.ownRules(), std::move(all), state.now));
    });
    return now;
}

BroughtUp bringUp(Replica& replica, const FleetState& state, FleetStore& fleet) {
    const auto membership = replica.membership();
    requireMember(membership, state, fleet);
    return bringUp(replica, *membership, state, fleet);
}

SharedChanges readTogether(Replica& replica, FleetStore& fleet, const std::function<void()>& read_here) {
    constexpr int kTries = 5;
    for (int tries = 0; tries < kTries; ++tries) {
        bringUp(replica, fleet.state(), fleet);
        SharedChanges there = fleet.everything();
        std::optional<Membership> membership;
        replica.inTransaction([&] {
            membership = replica.membership();
            read_here();
        });
        if (membership && membership->version == there.version) return there;
    }
    throw StoreError(StoreError::Kind::Locked, "the rules are being changed all the time: try again");
}

/// The fleet's, with those in which something was changed here as they are here: what else is here the sqlite3 shell has made.
static std::vector<SharedSet> mergedSets(const std::vector<SharedSet>& fleet, const SharedChanges& changes) {
    std::map<std::string, SharedSet> merged;
    for (const SharedSet& set : fleet)
        merged.emplace(set.name, set);
    for (const SharedEntry& entry : changes.entries) {
        if (entry.rule_id != 0) continue;
        const auto set = parseTrailSet(entry.after.empty() ? entry.before : entry.after);
        if (!set) continue;
        merged.erase(set->first);
        for (const SharedSet& here : *changes.sets)
            if (here.name == set->first) merged.insert_or_assign(here.name, here);
    }
    std::vector<SharedSet> sets;
    sets.reserve(merged.size());
    for (auto& [name, set] : merged)
        sets.push_back(std::move(set));
    return sets;
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
    lost_ = bringUp(replica, state_, *fleet_).applied.lost;
    replica.beginShared(state_.next_id);
}

void FleetSharing::leave(Replica& replica) {
    share(replica);
    if (!lost_.empty() && overruled_) overruled_(lost_);
}

void FleetSharing::share(Replica& replica) {
    SharedChanges changes = replica.collectShared();
    if (changes.entries.empty()) {
        fleet_->rollback();
        return;
    }
    changes.version = state_.version + 1;
    changes.token = newToken();
    if (changes.sets) changes.sets = mergedSets(fleet_->sets(), changes);
    const auto made_room = fleet_->commit(changes, gateway_);
    replica.tellRemoved(made_room);
    replica.reach(changes.version, changes.token);
}

}  // namespace mailgate::store
