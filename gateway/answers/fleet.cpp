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

FleetView fleetView(const Config& config) {
    FleetView view;
    view.shown = store::describeFleetUrl(config.fleet.url).shown;
    view.self = config.name;
    const auto fleet = store::openFleet(config.fleet.url);
    if (store::examineDatabase(config.store_url)) {
        const auto rules = store::openReplica(config.store_url, {});
        view.here = rules->membership();
        view.differences = rules->differences();
    }
    view.fleet = fleet->state();
    view.members = fleet->members();
    try {
        store::requireMember(view.here, view.fleet, *fleet);
    } catch (const store::StoreError& error) {
        if (error.kind() != store::StoreError::Kind::Other) throw;
        view.failure = error.what();
    }
    return view;
}

std::int64_t changesBehind(const FleetView& view, std::int64_t version) {
    return std::max<std::int64_t>(view.fleet.version - version, 0);
}

bool isSilent(const Member& member) {
    constexpr std::int64_t kSilentFrom = 20;
    return member.silent_secs >= kSilentFrom;
}

namespace {

Object memberAsJson(const FleetView& view, const Member& member) {
    Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("gateway", escaped(member.name));
    object.set("version", escaped(member.release));
    object.set("started", timeText(member.started * 1'000, Zone::Utc));
    object.set("seen", timeText(member.seen * 1'000, Zone::Utc));
    object.set("silent_seconds", member.silent_secs);
    object.set("rules_version", member.position);
    object.set("behind", changesBehind(view, member.position));
    return object;
}

}  // namespace

Object fleetAsJson(const FleetView& view) {
    Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("fleet", view.fleet.fleet);
    object.set("url", view.shown);
    object.set("rules_version", view.fleet.version);
    Object here(Poco::JSON_PRESERVE_KEY_ORDER);
    here.set("gateway", view.self);
    here.set("joined", view.here && view.here->fleet == view.fleet.fleet);
    here.set("rules_version", view.here ? Var(view.here->version) : Var());
    here.set("failure", view.failure.empty() ? Var() : Var(escaped(view.failure)));
    here.set("rules_added_here", view.differences.added);
    here.set("rules_changed_here", view.differences.changed);
    object.set("here", here);
    Array members;
    for (const Member& member : view.members)
        members.add(memberAsJson(view, member));
    object.set("members", members);
    return object;
}

}  // namespace mailgate::answers
