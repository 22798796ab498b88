// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/fleet.h"

#include "gateway/answers/time_text.h"
#include "gateway/log/escape.h"
#include "protocols/values/network.h"
#include "store/backends/fleet.h"
#include "store/backends/rules.h"
#include "store/fleet/sharing.h"
#include "store/rules/rule.h"
#include "store/store_error.h"

#include <Poco/Dynamic/Var.h>
#include <Poco/JSON/Array.h>

#include <algorithm>
#include <variant>

namespace mailgate::answers {

using Poco::Dynamic::Var;
using Poco::JSON::Array;
using Poco::JSON::Object;
using store::Member;

FleetView fleetViewHere(const Config& config, std::optional<std::chrono::milliseconds> lock_timeout) {
    FleetView view;
    view.shown = store::describeFleetUrl(config.fleet.url).shown;
    view.self = config.name;
    view.differences.emplace();
    if (!store::examineDatabase(config.store_url)) return view;
    const auto rules = store::openReplica(config.store_url, {.lock_timeout = lock_timeout});
    view.here = rules->membership();
    try {
        view.differences = rules->differences();
    } catch (const store::StoreError& error) {
        if (!lock_timeout || error.kind() != store::StoreError::Kind::Locked) throw;
        view.differences.reset();
    }
    return view;
}

void askFleet(FleetView& view, const Config& config, const store::FleetStore::Patience& patience) {
    const auto fleet = store::openFleet(config.fleet.url, patience);
    view.fleet = fleet->state();
    view.members = fleet->members();
    view.more_members = view.members.size() > store::FleetStore::kMostMembers;
    if (view.more_members) view.members.resize(store::FleetStore::kMostMembers);
    view.drains = fleet->drains();
    view.oldest = fleet->oldestChange();
    try {
        store::requireMember(view.here, view.fleet, *fleet);
    } catch (const store::StoreError& error) {
        if (error.kind() != store::StoreError::Kind::Other) throw;
        view.failure = error.what();
    }
    view.answered = true;
}

std::int64_t changesBehind(const FleetView& view, std::int64_t version) {
    return std::max<std::int64_t>(view.fleet.version - version, 0);
}

std::int64_t changesAhead(const FleetView& view, std::int64_t version) {
    return std::max<std::int64_t>(version - view.fleet.version, 0);
}

bool isSilent(const Member& member) {
    return member.silent_secs >= kSilentFrom;
}

bool isJournalLate(const Member& member) {
    return member.journal_secs.value_or(0) >= kJournalLateFrom;
}

std::string_view stateOf(const FleetView& view, const Member& member) {
    if (member.damaged) return "damaged";
    if (changesAhead(view, member.position) > 0) return "ahead";
    if (isSilent(member)) return "silent";
    return changesBehind(view, member.position) > 0 ? "behind" : "up";
}

bool isWell(const FleetView& view) {
    if (!view.answered || !view.failure.empty()) return false;
    if (view.differences && view.differences->changed > 0) return false;
    return std::none_of(view.members.begin(), view.members.end(), [&](const Member& member) {
        return member.damaged || isSilent(member) || changesAhead(view, member.position) > 0 ||
               isJournalLate(member);
    });
}

void logOverruled(EventSink& log, const std::vector<store::Applied::Lost>& lost) {
    for (const store::Applied::Lost& one : lost) {
        LogLine line = log.line(LogLevel::Warning, "fleet.overruled");
        line.number("rule", one.rule_id).text("by", one.by).text("here", one.here).text("fleet", one.fleet);
        log.write(line);
    }
}

namespace {

Object::Ptr inOrder() {
    return Object::Ptr(new Object(Poco::JSON_PRESERVE_KEY_ORDER));
}

/// Null: none is.
Var missingAsJson(const store::MissedRecords& missed) {
    if (missed.records == 0) return {};
    Object::Ptr object = inOrder();
    object->set("records", missed.records);
    object->set("exact", missed.exact);
    object->set("from", missed.from_ms == 0 ? Var() : Var(timeText(missed.from_ms, Zone::Utc)));
    object->set("to", timeText(missed.to_ms, Zone::Utc));
    return object;
}

Object::Ptr memberAsJson(const FleetView& view, const Member& member) {
    Object::Ptr object = inOrder();
    object->set("gateway", escaped(member.name));
    object->set("version", escaped(member.release));
    const auto time = [](std::int64_t secs) {
        return secs == 0 ? Var() : Var(timeText(secs * 1'000, Zone::Utc));
    };
    object->set("started", time(member.started));
    object->set("seen", time(member.seen));
    object->set("silent_seconds", member.silent_secs);
    object->set("rules_version", member.position);
    object->set("behind", changesBehind(view, member.position));
    object->set("behind_seconds", member.behind_secs);
    object->set("ahead", changesAhead(view, member.position));
    object->set("damaged", member.damaged);
    object->set("missing", missingAsJson(member.missed));
    object->set("journal_seconds", member.journal_secs ? Var(*member.journal_secs) : Var());
    object->set("state", std::string(stateOf(view, member)));
    return object;
}

Object::Ptr drainAsJson(const store::FleetDrain& drain) {
    Object::Ptr object = inOrder();
    object->set("upstream", escaped(drain.upstream));
    object->set("server", escaped(drain.server));
    object->set("since", timeText(drain.since * 1'000, Zone::Utc));
    object->set("by", escaped(drain.by));
    return object;
}

}  // namespace

Object fleetAsJson(const FleetView& view) {
    const auto known = [](bool is_known, const auto& value) { return is_known ? Var(value) : Var(); };
    Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("fleet", known(view.answered, view.fleet.fleet));
    object.set("url", view.shown);
    object.set("rules_version", known(view.answered, view.fleet.version));
    Object::Ptr here = inOrder();
    here->set("gateway", view.self);
    here->set("joined", known(view.answered, view.here && view.here->fleet == view.fleet.fleet));
    here->set("rules_version", view.here ? Var(view.here->version) : Var());
    here->set("failure", known(!view.failure.empty(), escaped(view.failure)));
    here->set("rules_added_here", view.differences ? Var(view.differences->added) : Var());
    here->set("rules_changed_here", view.differences ? Var(view.differences->changed) : Var());
    object.set("here", here);
    Array::Ptr members(new Array);
    for (const Member& member : view.members)
        members->add(memberAsJson(view, member));
    object.set("members", known(view.answered, members));
    object.set("more_members", view.more_members);
    Array::Ptr drains(new Array);
    for (const store::FleetDrain& drain : view.drains)
        drains->add(drainAsJson(drain));
    object.set("drains", known(view.answered, drains));
    object.set("changes_since", view.oldest ? Var(timeText(view.oldest->at * 1'000, Zone::Utc)) : Var());
    return object;
}

namespace {

using store::SharedRule;
using store::SharedSet;

Var textOrNull(const std::string& text) {
    return text.empty() ? Var() : Var(escaped(text));
}

Var timeOrNull(const std::optional<UnixSeconds>& time) {
    return time ? Var(timeText(*time * 1'000, Zone::Utc)) : Var();
}

template <typename Number>
Var numberOrNull(const std::optional<Number>& number) {
    return number ? Var(*number) : Var();
}

/// With its prefix length, always.
std::string networkText(const std::string& row) {
    const auto network = parseNetwork(row);
    const auto* readable = std::get_if<Network>(&network);
    if (!readable) return escaped(row);
    const std::string text = readable->toString();
    return text.find('/') != std::string::npos ? text : text + (readable->isV4() ? "/32" : "/128");
}

/// As `access list --json` has it, without what each gateway counts for itself.
Object::Ptr sharedRuleAsJson(const SharedRule& rule) {
    const bool is_name = store::isRuleName(rule.network);
    Object::Ptr object = inOrder();
    object->set("id", rule.id);
    object->set("set", escaped(rule.set));
    object->set("network", is_name ? Var() : Var(networkText(rule.network)));
    if (is_name) object->set("name", escaped(rule.network));
    object->set("verdict", escaped(rule.verdict));
    object->set("listener", textOrNull(rule.listener));
    object->set("note", escaped(rule.note));
    object->set("owner", textOrNull(rule.owner));
    object->set("ticket", textOrNull(rule.ticket));
    object->set("created_at", timeText(rule.created_at * 1'000, Zone::Utc));
    object->set("created_by", escaped(rule.created_by));
    object->set("expires_at", timeOrNull(rule.expires_at));
    object->set("client_sessions", numberOrNull(rule.client_sessions));
    object->set("client_rate", numberOrNull(rule.client_rate));
    object->set("reply", textOrNull(rule.reply));
    return object;
}

Object::Ptr sharedSetAsJson(const SharedSet& set) {
    Object::Ptr object = inOrder();
    object->set("name", escaped(set.name));
    object->set("note", textOrNull(set.note));
    object->set("expires_after_seconds", numberOrNull(set.expires_after));
    return object;
}

template <typename Item, typename Make>
void addEach(Array& array, const std::vector<Item>& items, const Make& make) {
    for (const Item& item : items)
        array.add(make(item));
}

template <typename Item, typename Make>
Array::Ptr arrayOf(const std::vector<Item>& items, const Make& make) {
    Array::Ptr array(new Array);
    addEach(*array, items, make);
    return array;
}

/// `of` makes one side of it.
template <typename Of>
auto pairWith(const Of& of) {
    return [of](const auto& pair) {
        Object::Ptr object = inOrder();
        object->set("here", of(pair.here));
        object->set("fleet", of(pair.fleet));
        return object;
    };
}

/// Each side of which may have none.
template <typename Differences, typename Make>
Array::Ptr differencesOf(const Differences& differences, const Make& make) {
    return arrayOf(differences, [&](const auto& difference) {
        Object::Ptr pair = inOrder();
        pair->set("here", difference.here ? Var(make(*difference.here)) : Var());
        pair->set("fleet", difference.fleet ? Var(make(*difference.fleet)) : Var());
        return pair;
    });
}

Var preferOf(const store::JoinRequest& request) {
    if (request.prefer == store::Prefer::Nobody) return {};
    return request.prefer == store::Prefer::Here ? "here" : "fleet";
}

}  // namespace

Object joinAsJson(const store::JoinOutcome& outcome, const store::JoinRequest& request) {
    const store::JoinPlan& plan = outcome.plan;
    Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("gateway", request.gateway);
    object.set("joined", outcome.joined);
    object.set("dry_run", request.preview);
    object.set("prefer", preferOf(request));
    Array::Ptr given = arrayOf(plan.uploads, sharedRuleAsJson),
               taken = arrayOf(plan.downloads, sharedRuleAsJson);
    addEach(*given, plan.renewed, [](const auto& pair) { return sharedRuleAsJson(pair.here); });
    addEach(*taken, plan.outlived, [](const auto& pair) { return sharedRuleAsJson(pair.fleet); });
    object.set("to_fleet", given);
    object.set("from_fleet", taken);
    object.set("on_both_sides", plan.same.size());
    object.set("conflicts", arrayOf(plan.conflicts, pairWith(sharedRuleAsJson)));
    object.set("sets_to_fleet", arrayOf(plan.set_uploads, sharedSetAsJson));
    object.set("sets_from_fleet", arrayOf(plan.set_downloads, sharedSetAsJson));
    object.set("set_conflicts", arrayOf(plan.set_conflicts, pairWith(sharedSetAsJson)));
    return object;
}

Object pushAsJson(const store::PushOutcome& outcome, const store::JoinRequest& request) {
    const store::PushPlan& plan = outcome.plan;
    Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("gateway", request.gateway);
    object.set("pushed", outcome.pushed);
    object.set("dry_run", request.preview);
    object.set("prefer", preferOf(request));
    const auto here = [](const store::PushPlan::Conflict& pair) {
        return pair.here ? Var(sharedRuleAsJson(*pair.here)) : Var();
    };
    Array::Ptr given = arrayOf(plan.uploads, sharedRuleAsJson);
    addEach(*given, plan.renewed, here);
    object.set("to_fleet", given);
    object.set("on_both_sides", plan.same.size());
    object.set("conflicts", arrayOf(plan.conflicts, [&](const store::PushPlan::Conflict& pair) {
                   Object::Ptr conflict = inOrder();
                   conflict->set("here", here(pair));
                   conflict->set("fleet", sharedRuleAsJson(pair.fleet));
                   return conflict;
               }));
    object.set("overruled", differencesOf(outcome.overruled, sharedRuleAsJson));
    return object;
}

Object verifiedAsJson(const store::Comparison& comparison, const std::string& gateway) {
    Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("gateway", gateway);
    object.set("rules_version", comparison.version);
    object.set("same", comparison.same);
    object.set("own", comparison.own);
    object.set("differences", differencesOf(comparison.rules, sharedRuleAsJson));
    object.set("set_differences", differencesOf(comparison.sets, sharedSetAsJson));
    return object;
}

}  // namespace mailgate::answers
