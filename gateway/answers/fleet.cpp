// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/fleet.h"

#include "gateway/answers/time_text.h"
#include "gateway/log/escape.h"
#include "store/backends/fleet.h"
#include "store/backends/rules.h"
#include "store/fleet/sharing.h"
#include "store/store_error.h"

#include <Poco/Dynamic/Var.h>
#include <Poco/JSON/Array.h>

#include <algorithm>

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
    object->set("started", timeText(member.started * 1'000, Zone::Utc));
    object->set("seen", timeText(member.seen * 1'000, Zone::Utc));
    object->set("silent_seconds", member.silent_secs);
    object->set("rules_version", member.position);
    object->set("behind", changesBehind(view, member.position));
    object->set("ahead", changesAhead(view, member.position));
    object->set("missing", missingAsJson(member.missed));
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
    return object;
}

}  // namespace mailgate::answers
