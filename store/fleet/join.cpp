// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/join.h"

#include "protocols/values/text.h"
#include "store/fleet/sharing.h"
#include "store/rules/import_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

namespace mailgate::store {

namespace {

/// What is written on one side, and how that is told.
class Side {
  public:
    Side(const JoinRequest& request, std::int64_t version, const std::string& token, std::int64_t next_id)
        : at_(request.now), who_(actorAt(request.who, request.gateway)) {
        changes_.version = version;
        changes_.token = token;
        changes_.next_id = next_id;
    }
    void put(const SharedRule& rule, const SharedRule* before) {
        tell(rule.id, before ? lineOf(*before) : "", lineOf(rule));
        changes_.rules.push_back(rule);
    }
    void put(const SharedSet& set, const SharedSet* before) {
        tell(0, before ? lineOf(*before) : "", lineOf(set));
    }
    SharedChanges& changes() noexcept { return changes_; }

  private:
    void tell(std::int64_t id, std::string before, std::string after) {
        SharedEntry entry{.version = changes_.version,
                          .at = at_,
                          .who = who_,
                          .action = before.empty() ? "add" : "change",
                          .rule_id = id};
        entry.before = std::move(before);
        entry.after = std::move(after);
        changes_.entries.push_back(std::move(entry));
    }

    const UnixSeconds at_;
    const std::string who_;
    SharedChanges changes_;
};

/// The rules' numbers here, and those that they get: their own, where the fleet has never had them.
std::map<std::int64_t, std::int64_t> numbersFor(const JoinPlan& plan, std::int64_t unused_from,
                                                std::int64_t& next) {
    const std::int64_t counted_to = next;
    std::map<std::int64_t, std::int64_t> numbers;
    for (const auto* pairs : {&plan.same, &plan.conflicts, &plan.renewed, &plan.outlived})
        for (const JoinPlan::Conflict& pair : *pairs)
            numbers.emplace(pair.here.id, pair.fleet.id);
    for (const auto* rules : {&plan.uploads, &plan.own})
        for (const SharedRule& rule : *rules)
            numbers.emplace(rule.id, rule.id >= unused_from && rule.id < counted_to ? rule.id : next++);
    return numbers;
}

/// Numbers from here on no rule has, here or in the fleet, but for those that the sqlite3 shell has given far beyond.
std::int64_t firstUnused(const SharedChanges& here, std::int64_t next_id) {
    if (!isFarBeyond(here.next_id, next_id)) return std::max(here.next_id, next_id);
    std::int64_t unused = next_id;
    for (const SharedRule& rule : here.rules)
        if (rule.id >= unused && !isFarBeyond(rule.id, next_id)) unused = rule.id + 1;
    return unused;
}

void mergeSets(const JoinPlan& plan, const std::vector<SharedSet>& fleet_sets, Prefer prefer, Side& here,
               Side& fleet) {
    std::map<std::string, SharedSet> merged;
    for (const SharedSet& set : fleet_sets)
        merged.insert_or_assign(set.name, set);
    for (const SharedSet& set : plan.set_uploads) {
        merged.insert_or_assign(set.name, set);
        fleet.put(set, nullptr);
    }
    for (const SharedSet& set : plan.set_downloads)
        here.put(set, nullptr);
    for (const auto& conflict : plan.set_conflicts) {
        if (prefer == Prefer::Here) {
            merged.insert_or_assign(conflict.here.name, conflict.here);
            fleet.put(conflict.here, &conflict.fleet);
        } else {
            here.put(conflict.fleet, &conflict.here);
        }
    }
    std::vector<SharedSet> sets;
    sets.reserve(merged.size());
    for (auto& [name, set] : merged)
        sets.push_back(std::move(set));
    here.changes().sets = sets;
    fleet.changes().sets = std::move(sets);
}

/// In the file's transaction, and with the fleet's lock.
void carryOut(const JoinPlan& plan, Replica& replica, FleetStore& fleet_store, const JoinRequest& request,
              const SharedChanges& fleet_rules, const FleetState& state, std::int64_t next) {
    const auto numbers = numbersFor(plan, state.next_id, next);
    const bool changes_fleet = !plan.uploads.empty() || !plan.renewed.empty() || !plan.set_uploads.empty() ||
                               (plan.conflicting() && request.prefer == Prefer::Here);
    const std::int64_t version = state.version + (changes_fleet ? 1 : 0);
    const std::string token = changes_fleet ? newToken() : state.token;
    Side here(request, version, token, next), fleet(request, version, token, next);
    for (const SharedRule& rule : plan.downloads)
        here.put(rule, nullptr);
    for (SharedRule rule : plan.uploads) {
        rule.id = numbers.at(rule.id);
        fleet.put(rule, nullptr);
    }
    const auto settle = [&](const std::vector<JoinPlan::Conflict>& pairs, Prefer prefer) {
        for (const JoinPlan::Conflict& pair : pairs) {
            SharedRule ours = pair.here;
            ours.id = pair.fleet.id;
            if (prefer == Prefer::Here)
                fleet.put(ours, &pair.fleet);
            else
                here.put(pair.fleet, &ours);
        }
    };
    settle(plan.conflicts, request.prefer);
    settle(plan.renewed, Prefer::Here);
    settle(plan.outlived, Prefer::Fleet);
    mergeSets(plan, *fleet_rules.sets, request.prefer, here, fleet);
    std::map<std::int64_t, std::int64_t> others;
    for (const auto& [from, to] : numbers)
        if (from != to) others.emplace(from, to);
    replica.renumber(others);
    std::vector<std::int64_t> own;
    for (const SharedRule& rule : plan.own)
        own.push_back(numbers.at(rule.id));
    replica.enrol({state.fleet, -1}, own);  // until it has what follows
    replica.apply(here.changes());
    replica.sealTrail();  // what has come from the fleet is no change that could be taken back
    request.commits();
    if (changes_fleet)
        fleet_store.commit(fleet.changes(), request.gateway);
    else
        fleet_store.rollback();
}

/// Of what the fleet would get.
void requireAllReadable(const JoinPlan& plan, Prefer prefer) {
    const auto require = [](const std::vector<JoinPlan::Conflict>& pairs, bool preferred) {
        std::vector<SharedRule> rules;
        rules.reserve(pairs.size());
        for (const JoinPlan::Conflict& pair : pairs)
            rules.push_back(pair.here);
        requireReadable(rules, {.joining = true, .preferred = preferred});
    };
    requireReadable(plan.uploads, {.joining = true});
    require(plan.renewed, false);
    if (prefer == Prefer::Here) require(plan.conflicts, true);
}

/// PostgreSQL refuses other texts, without a word of where they are.
bool isStorable(const SharedRule& rule) {
    const auto texts = {&rule.network, &rule.listener, &rule.set,   &rule.note,
                        &rule.owner,   &rule.ticket,   &rule.reply, &rule.created_by};
    return std::all_of(texts.begin(), texts.end(), [](const std::string* text) {
        return import::isUtf8(*text) && text->find('\0') == std::string::npos;
    });
}

}  // namespace

RuleKey keyOf(const SharedRule& rule) {
    return {rule.network, rule.listener, rule.verdict, rule.set};
}

bool saySame(SharedRule here, const SharedRule& fleet) {
    here.id = fleet.id;
    here.created_at = fleet.created_at;
    here.created_by = fleet.created_by;
    return here == fleet;
}

bool isOver(const SharedRule& rule, UnixSeconds now) noexcept {
    return rule.expires_at && *rule.expires_at <= now;
}

void requireReadable(const std::vector<SharedRule>& rules, const Giving& giving) {
    const auto refuse = [&](const SharedRule& rule, const std::string& what, std::string_view anew) {
        throw StoreError(
            StoreError::Kind::BadRow,
            fmt::format("rule {} for \"{}\" {}: remove it first (mailgate access remove {}{}){}{}", rule.id,
                        printable(rule.network), what, rule.id,
                        giving.joining ? fmt::format("; before this gateway has joined, with the sqlite3 "
                                                     "shell: DELETE FROM access_rule WHERE id = {}",
                                                     rule.id)
                                       : "",
                        anew, giving.preferred ? ", or take the fleet's in its place (--prefer fleet)" : ""));
    };
    for (const SharedRule& rule : rules) {
        if (!isStorable(rule))
            refuse(rule,
                   "has a note or another text that is not UTF-8, or holds a NUL, which the fleet's database "
                   "cannot have",
                   " and make it anew");
        if (!readableRule(rule)) refuse(rule, "cannot be read, and the fleet is not given it", "");
    }
}

SharedEntry removalOf(const SharedRule& rule, const SharedChanges& changes) {
    SharedEntry entry = changes.entries.at(0);
    entry.action = "remove";
    entry.rule_id = rule.id;
    entry.before = lineOf(rule);
    entry.after.clear();
    entry.made_by = rule.created_by;
    entry.made_at = rule.created_at;
    return entry;
}

JoinPlan planJoin(const SharedChanges& here, const SharedChanges& fleet, UnixSeconds now) {
    JoinPlan plan;
    const auto listFor = [&](const SharedRule& ours, const SharedRule& theirs) {
        if (saySame(ours, theirs)) return &plan.same;
        if (isOver(ours, now) == isOver(theirs, now)) return &plan.conflicts;
        return isOver(theirs, now) ? &plan.renewed : &plan.outlived;
    };
    std::map<RuleKey, const SharedRule*> there;
    for (const SharedRule& rule : fleet.rules)
        there.emplace(keyOf(rule), &rule);
    for (const SharedRule& rule : here.rules) {
        if (rule.set == kHereSet) {
            plan.own.push_back(rule);
            continue;
        }
        const auto found = there.find(keyOf(rule));
        if (found == there.end()) {
            plan.uploads.push_back(rule);
            continue;
        }
        listFor(rule, *found->second)->push_back({rule, *found->second});
        there.erase(found);
    }
    for (const SharedRule& rule : fleet.rules)
        if (there.contains(keyOf(rule))) plan.downloads.push_back(rule);

    std::map<std::string, SharedSet> sets;
    for (const SharedSet& set : fleet.sets.value())
        sets.emplace(set.name, set);
    for (const SharedSet& set : here.sets.value()) {
        const auto found = sets.find(set.name);
        if (found == sets.end()) {
            plan.set_uploads.push_back(set);
            continue;
        }
        if (!(found->second == set)) plan.set_conflicts.push_back({set, found->second});
        sets.erase(found);
    }
    for (auto& [name, set] : sets)
        plan.set_downloads.push_back(std::move(set));
    return plan;
}

void changeBoth(Replica& replica, FleetStore& fleet, const std::function<void(const FleetState&)>& work) {
    try {
        const FleetState state = fleet.lock();
        replica.inTransaction([&] { work(state); });
    } catch (...) {
        fleet.rollback();
        throw;
    }
}

/// Whether the file comes to be as the fleet's rules are, whatever is changed meanwhile.
static bool follows(Replica& replica, FleetStore& fleet) {
    const auto membership = replica.membership();
    try {
        requireMember(membership, fleet.state(), fleet);
        return true;
    } catch (const StoreError& error) {
        if (error.kind() != StoreError::Kind::Other) throw;
        return false;
    }
}

JoinOutcome joinFleet(Replica& replica, FleetStore& fleet, const JoinRequest& request) {
    JoinOutcome outcome;
    const auto plan = [&](const SharedChanges& here, const SharedChanges& there) {
        outcome.plan = planJoin(here, there, request.now);
        requireAllReadable(outcome.plan, request.prefer);
    };
    if (request.preview) {
        SharedChanges here = replica.everythingHere();
        SharedChanges there;
        if (follows(replica, fleet))
            there = readTogether(replica, fleet, [&] { here = replica.everythingHere(); });
        else
            there = fleet.everything();
        plan(here, there);
        return outcome;
    }
    changeBoth(replica, fleet, [&](const FleetState& state) {
        const SharedChanges here = replica.everythingHere();
        const SharedChanges there = fleet.everything();
        plan(here, there);
        if (outcome.plan.conflicting() && request.prefer == Prefer::Nobody) return fleet.rollback();
        carryOut(outcome.plan, replica, fleet, request, there, state, firstUnused(here, state.next_id));
        outcome.joined = true;
    });
    return outcome;
}

}  // namespace mailgate::store
