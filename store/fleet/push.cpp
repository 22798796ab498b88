// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/push.h"

#include "store/fleet/sharing.h"
#include "store/rules/rule.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace mailgate::store {

namespace {

/// One rule of each key: the one that lasts longer.
class Given {
  public:
    void add(SharedRule rule) {
        const auto [at, fresh] = rules_.try_emplace(keyOf(rule), rule);
        const auto& other = at->second.expires_at;
        if (!fresh && other && (!rule.expires_at || *rule.expires_at > *other)) at->second = std::move(rule);
    }
    std::vector<SharedRule> take() {
        std::vector<SharedRule> rules;
        for (auto& [key, rule] : rules_)
            rules.push_back(std::move(rule));
        std::sort(rules.begin(), rules.end(),
                  [](const SharedRule& a, const SharedRule& b) { return a.id < b.id; });
        return rules;
    }

  private:
    std::map<RuleKey, SharedRule> rules_;
};

/// Of what the fleet would get.
void requireAllReadable(const PushPlan& plan, Prefer prefer) {
    std::vector<SharedRule> rules = plan.uploads;
    const auto add = [&](const std::vector<PushPlan::Conflict>& pairs) {
        for (const PushPlan::Conflict& pair : pairs)
            if (pair.here) rules.push_back(*pair.here);
    };
    add(plan.renewed);
    if (prefer == Prefer::Here) add(plan.conflicts);
    requireReadable(rules);
}

/// What is written to the fleet, and how its trail tells of it.
class Upload {
  public:
    Upload(const JoinRequest& request, const FleetState& state)
        : at_(request.now), who_(actorAt(request.who, request.gateway)) {
        changes_.version = state.version + 1;
        changes_.next_id = state.next_id;
        changes_.token = newToken();
    }
    void add(SharedRule rule) {
        rule.id = changes_.next_id++;
        tell("add", rule.id, "", lineOf(rule));
        changes_.rules.push_back(std::move(rule));
    }
    /// By what is here, if anything is.
    void replace(const PushPlan::Conflict& conflict) {
        const std::string before = lineOf(conflict.fleet);
        if (!conflict.here) return tell("remove", conflict.fleet.id, before, "");
        SharedRule rule = *conflict.here;
        rule.id = conflict.fleet.id;
        tell("change", rule.id, before, lineOf(rule));
        changes_.rules.push_back(std::move(rule));
    }
    const SharedChanges& changes() const noexcept { return changes_; }

  private:
    void tell(std::string action, std::int64_t id, std::string before, std::string after) {
        SharedEntry entry{
            .version = changes_.version, .at = at_, .who = who_, .action = std::move(action), .rule_id = id};
        entry.before = std::move(before);
        entry.after = std::move(after);
        changes_.entries.push_back(std::move(entry));
    }

    const UnixSeconds at_;
    const std::string who_;
    SharedChanges changes_;
};

/// In the file's transaction, and with the fleet's lock.
void carryOutPush(const PushPlan& plan, Replica& replica, FleetStore& fleet, const JoinRequest& request,
                  const FleetState& state) {
    Upload upload(request, state);
    std::vector<SharedRule> restored = plan.same;
    for (const SharedRule& rule : plan.uploads)
        upload.add(rule);
    for (const PushPlan::Conflict& renewal : plan.renewed)
        upload.replace(renewal);
    for (const PushPlan::Conflict& conflict : plan.conflicts) {
        if (request.prefer == Prefer::Here)
            upload.replace(conflict);
        else
            restored.push_back(conflict.fleet);
    }
    replica.drop(plan.settled, actorAt(request.who, request.gateway));
    replica.restore(restored);
    replica.forget(plan.forgotten);
    if (upload.changes().entries.empty()) return fleet.rollback();
    replica.apply(upload.changes());
    fleet.commit(upload.changes(), request.gateway);
}

}  // namespace

PushPlan planPush(const OwnRules& own, const std::vector<SharedRule>& fleet, UnixSeconds now) {
    PushPlan plan;
    Given given;
    std::map<RuleKey, const SharedRule*> there;
    std::map<std::int64_t, const SharedRule*> by_number;
    for (const SharedRule& rule : fleet) {
        there.emplace(keyOf(rule), &rule);
        by_number.emplace(rule.id, &rule);
    }
    for (SharedRule rule : own.added) {
        if (isOver(rule, now)) continue;
        if (rule.set == kHereSet) {
            plan.settled.push_back(rule.id);
            rule.set = kManualSet;
        }
        given.add(std::move(rule));
    }
    for (const auto& [id, here] : own.changed) {
        if (by_number.contains(id)) continue;
        if (!here)
            plan.forgotten.push_back(id);
        else if (!isOver(*here, now))
            given.add(*here);
    }
    for (SharedRule& rule : given.take()) {
        const auto found = there.find(keyOf(rule));
        if (found == there.end())
            plan.uploads.push_back(std::move(rule));
        else if (saySame(rule, *found->second))
            plan.same.push_back(*found->second);
        else if (isOver(*found->second, now))
            plan.renewed.push_back({std::move(rule), *found->second});
        else
            plan.conflicts.push_back({std::move(rule), *found->second});
    }
    std::set<std::int64_t> made_again;
    for (const SharedRule& rule : plan.same)
        made_again.insert(rule.id);
    for (const auto* pairs : {&plan.conflicts, &plan.renewed})
        for (const PushPlan::Conflict& pair : *pairs)
            made_again.insert(pair.fleet.id);
    for (const auto& [id, here] : own.changed) {
        const auto found = by_number.find(id);
        if (found == by_number.end() || made_again.contains(id)) continue;
        if (here && saySame(*here, *found->second)) {
            plan.same.push_back(*found->second);
            continue;
        }
        PushPlan::Conflict conflict{here, *found->second};
        if (conflict.here && conflict.here->set == kHereSet) conflict.here->set = kManualSet;
        plan.conflicts.push_back(std::move(conflict));
    }
    return plan;
}

PushOutcome pushToFleet(Replica& replica, FleetStore& fleet, const JoinRequest& request) {
    PushOutcome outcome;
    changeBoth(replica, fleet, [&](const FleetState& state) {
        bringUp(replica, state, fleet);
        outcome.plan = planPush(replica.ownRules(), fleet.everything().rules, request.now);
        requireAllReadable(outcome.plan, request.prefer);
        const bool undecided = !outcome.plan.conflicts.empty() && request.prefer == Prefer::Nobody;
        if (request.preview || undecided) return fleet.rollback();
        carryOutPush(outcome.plan, replica, fleet, request, state);
        outcome.pushed = true;
    });
    return outcome;
}

}  // namespace mailgate::store
