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

/// What this gateway would have in the fleet, with the key that it has there.
struct Wish {
    SharedRule rule;
    std::int64_t number = 0;  ///< of the fleet's rule that it was here; 0: of none
};

/// One wish for each key: the one that lasts longer. In the place of a rule of the fleet's, if one of them is.
class Wishes {
  public:
    void add(Wish wish) {
        if (wish.rule.set == kHereSet) wish.rule.set = kManualSet;
        const auto [at, fresh] = wishes_.try_emplace(keyOf(wish.rule), wish);
        if (fresh) return;
        Wish& other = at->second;
        if (other.rule.expires_at &&
            (!wish.rule.expires_at || *wish.rule.expires_at > *other.rule.expires_at))
            std::swap(other, wish);
        if (other.number == 0) other.number = wish.number;
    }
    std::vector<Wish> take() {
        std::vector<Wish> all;
        for (auto& [key, wish] : wishes_)
            all.push_back(std::move(wish));
        std::sort(all.begin(), all.end(), [](const Wish& a, const Wish& b) { return a.rule.id < b.rule.id; });
        return all;
    }

  private:
    std::map<RuleKey, Wish> wishes_;
};

/// What the fleet has.
class RulesThere {
  public:
    explicit RulesThere(const std::vector<SharedRule>& rules) {
        for (const SharedRule& rule : rules) {
            by_key_.emplace(keyOf(rule), &rule);
            by_number_.emplace(rule.id, &rule);
        }
    }
    /// Null: none of them.
    const SharedRule* withKeyOf(const SharedRule& rule) const { return found(by_key_, keyOf(rule)); }
    const SharedRule* numbered(std::int64_t number) const { return found(by_number_, number); }

  private:
    template <typename Rules, typename Key>
    static const SharedRule* found(const Rules& rules, const Key& key) {
        const auto at = rules.find(key);
        return at == rules.end() ? nullptr : at->second;
    }

    std::map<RuleKey, const SharedRule*> by_key_;
    std::map<std::int64_t, const SharedRule*> by_number_;
};

/// Of what the fleet would get.
void requireAllReadable(const PushPlan& plan, Prefer prefer) {
    const auto require = [](const std::vector<PushPlan::Conflict>& pairs, bool preferred) {
        std::vector<SharedRule> rules;
        for (const PushPlan::Conflict& pair : pairs)
            if (pair.here) rules.push_back(*pair.here);
        requireReadable(rules, {.preferred = preferred});
    };
    requireReadable(plan.uploads, {});
    require(plan.renewed, false);
    if (prefer == Prefer::Here) require(plan.conflicts, true);
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
    request.commits();
    if (upload.changes().entries.empty()) {
        replica.forget(plan.forgotten);
        return fleet.rollback();
    }
    replica.apply(upload.changes());
    replica.forget(plan.forgotten);
    fleet.commit(upload.changes(), request.gateway);
}

}  // namespace

/// A rule of the fleet's is replaced by the one that is for the same here, whichever number that had; else by what was made of
/// it here, and that goes to the fleet as a new one where its place is taken.
PushPlan planPush(const OwnRules& own, const std::vector<SharedRule>& fleet, UnixSeconds now) {
    PushPlan plan;
    const RulesThere there(fleet);
    std::set<std::int64_t> replaced;
    const auto replace = [&](SharedRule here, const SharedRule& theirs) {
        replaced.insert(theirs.id);
        if (saySame(here, theirs))
            plan.same.push_back(theirs);
        else if (isOver(theirs, now))
            plan.renewed.push_back({std::move(here), theirs});
        else
            plan.conflicts.push_back({std::move(here), theirs});
    };
    Wishes wishes;
    std::vector<std::int64_t> changed;  // of what the fleet has
    for (const auto& [id, here] : own.changed) {
        const bool is_there = there.numbered(id) != nullptr;
        const bool over = here && isOver(*here, now);
        if (is_there)
            changed.push_back(id);
        else if (!over)
            plan.forgotten.push_back(id);
        if (here && !(over && (here->set == kHereSet || !is_there))) wishes.add({*here, id});
    }
    for (const SharedRule& rule : own.added) {
        if (isOver(rule, now)) continue;
        if (rule.set == kHereSet) plan.settled.push_back(rule.id);
        wishes.add({rule});
    }
    std::vector<Wish> others;
    for (Wish& wish : wishes.take()) {
        if (const SharedRule* const theirs = there.withKeyOf(wish.rule))
            replace(std::move(wish.rule), *theirs);
        else
            others.push_back(std::move(wish));
    }
    for (Wish& wish : others) {
        const SharedRule* const theirs = there.numbered(wish.number);
        if (theirs != nullptr && !replaced.contains(wish.number))
            replace(std::move(wish.rule), *theirs);
        else
            plan.uploads.push_back(std::move(wish.rule));
    }
    for (const std::int64_t id : changed) {
        if (replaced.contains(id)) continue;
        const SharedRule& theirs = *there.numbered(id);
        if (isOver(theirs, now))
            plan.same.push_back(theirs);  // it goes for all at once
        else
            plan.conflicts.push_back({std::nullopt, theirs});
    }
    return plan;
}

/// `asked`, of which the gateway has for itself only `now` any more.
static std::vector<PushOutcome::Overruled> overruledOf(const OwnRules& asked, const OwnRules& now,
                                                       const std::vector<SharedRule>& fleet) {
    std::set<std::int64_t> numbers;
    for (const auto& [id, here] : now.changed)
        numbers.insert(id);
    std::set<RuleKey> keys;
    for (const SharedRule& rule : now.added)
        keys.insert(keyOf(rule));
    const RulesThere there(fleet);
    std::vector<PushOutcome::Overruled> overruled;
    const auto add = [&](const std::optional<SharedRule>& here, const SharedRule* theirs) {
        const SharedRule* const same = here ? there.withKeyOf(*here) : nullptr;
        if ((here || theirs != nullptr) && !(same != nullptr && saySame(*here, *same)))
            overruled.push_back({here, theirs == nullptr ? std::nullopt : std::optional(*theirs)});
    };
    for (const auto& [id, here] : asked.changed)
        if (!numbers.contains(id)) add(here, there.numbered(id));
    for (const SharedRule& rule : asked.added) {
        const SharedRule* const theirs = there.withKeyOf(rule);
        if (theirs != nullptr && !keys.contains(keyOf(rule))) add(rule, theirs);
    }
    return overruled;
}

/// The shell's REPLACE, or a number that it has given to another rule, leaves no mark of what was there: the fleet's rules that are not
/// here are changed, too.
static void addDisplaced(OwnRules& own, const std::vector<SharedRule>& here,
                         const std::vector<SharedRule>& fleet) {
    std::set<std::int64_t> known;
    for (const SharedRule& rule : here)
        known.insert(rule.id);
    for (const SharedRule& rule : own.added)
        known.erase(rule.id);
    for (const auto& [id, changed] : own.changed)
        known.insert(id);
    for (const SharedRule& rule : fleet)
        if (!known.contains(rule.id)) own.changed.emplace_back(rule.id, std::nullopt);
}

PushOutcome pushToFleet(Replica& replica, FleetStore& fleet, const JoinRequest& request) {
    PushOutcome outcome;
    // While another gateway has the fleet's lock, this one may already follow what that changes.
    const OwnRules asked = replica.membership() ? replica.ownRules() : OwnRules{};
    const auto plan = [&](OwnRules own, const std::vector<SharedRule>& here,
                          const std::vector<SharedRule>& there) {
        addDisplaced(own, here, there);
        outcome.overruled = overruledOf(asked, own, there);
        outcome.plan = planPush(own, there, request.now);
        requireAllReadable(outcome.plan, request.prefer);
    };
    if (request.preview) {
        OwnRules own;
        std::vector<SharedRule> here;
        const SharedChanges there = readTogether(replica, fleet, [&] {
            own = replica.ownRules();
            here = replica.everythingHere().rules;
        });
        plan(std::move(own), here, there.rules);
        return outcome;
    }
    changeBoth(replica, fleet, [&](const FleetState& state) {
        bringUp(replica, state, fleet);
        plan(replica.ownRules(), replica.everythingHere().rules, fleet.everything().rules);
        if (!outcome.plan.conflicts.empty() && request.prefer == Prefer::Nobody) return fleet.rollback();
        carryOutPush(outcome.plan, replica, fleet, request, state);
        outcome.pushed = true;
    });
    return outcome;
}

}  // namespace mailgate::store
