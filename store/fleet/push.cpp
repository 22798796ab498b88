// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/push.h"

#include "store/fleet/sharing.h"
#include "store/rules/rule.h"

#include <map>
#include <set>
#include <string>
#include <utility>

namespace mailgate::store {

namespace {

bool isOver(const SharedRule& rule, UnixSeconds now) {
    return rule.expires_at && *rule.expires_at <= now;
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
    for (const PushPlan::Conflict& conflict : plan.conflicts) {
        if (request.prefer == Prefer::Here)
            upload.replace(conflict);
        else
            restored.push_back(conflict.fleet);
    }
    replica.drop(plan.settled, actorAt(request.who, request.gateway));
    replica.restore(restored);
    if (upload.changes().entries.empty()) return fleet.rollback();
    replica.apply(upload.changes());
    fleet.commit(upload.changes(), request.gateway);
}

}  // namespace

PushPlan planPush(const OwnRules& own, const std::vector<SharedRule>& fleet, UnixSeconds now) {
    PushPlan plan;
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
        const auto found = there.find(keyOf(rule));
        if (found == there.end())
            plan.uploads.push_back(std::move(rule));
        else if (saySame(rule, *found->second))
            plan.same.push_back(*found->second);
        else
            plan.conflicts.push_back({std::move(rule), *found->second});
    }
    std::set<std::int64_t> made_again;
    for (const SharedRule& rule : plan.same)
        made_again.insert(rule.id);
    for (const PushPlan::Conflict& conflict : plan.conflicts)
        made_again.insert(conflict.fleet.id);
    for (const auto& [id, here] : own.changed) {
        const auto found = by_number.find(id);
        if (found == by_number.end() || made_again.contains(id) || (here && saySame(*here, *found->second)))
            continue;
        plan.conflicts.push_back({here, *found->second});
    }
    return plan;
}

PushOutcome pushToFleet(Replica& replica, FleetStore& fleet, const JoinRequest& request) {
    PushOutcome outcome;
    try {
        const FleetState state = fleet.lock();
        replica.inTransaction([&] {
            bringUp(replica, state, fleet);
            outcome.plan = planPush(replica.ownRules(), fleet.everything().rules, request.now);
            requireReadable(outcome.plan.uploads);
            const bool undecided = !outcome.plan.conflicts.empty() && request.prefer == Prefer::Nobody;
            if (request.preview || undecided) return fleet.rollback();
            carryOutPush(outcome.plan, replica, fleet, request, state);
            outcome.pushed = true;
        });
    } catch (...) {
        fleet.rollback();
        throw;
    }
    return outcome;
}

}  // namespace mailgate::store
