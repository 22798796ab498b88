// SPDX-License-Identifier: Apache-2.0
/// \file  How a gateway's fleet is, as its database says and the gateway's own file.
#pragma once

#include "gateway/config/config.h"
#include "gateway/log/event_sink.h"
#include "store/fleet/fleet.h"
#include "store/fleet/join.h"
#include "store/fleet/push.h"
#include "store/fleet/verify.h"

#include <Poco/JSON/Object.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::answers {

/// What the database says, and what this gateway's file does.
struct FleetView {
    std::string shown, self;
    bool answered = false;  ///< the database: else `fleet`, `members` and `failure` are not known
    store::FleetState fleet;
    std::vector<store::Member> members;  ///< no more than FleetStore::kMostMembers
    bool more_members = false;           ///< there are more
    std::vector<store::FleetDrain> drains;
    std::optional<store::OldestChange> oldest;  ///< that the log of changes has
    std::optional<store::Membership> here;
    std::string failure;                            ///< why this gateway has no part in it; empty: it has
    std::optional<store::Differences> differences;  ///< none: somebody else writes to the file for too long
};

/// What the gateway's file says; `lock_timeout` is how long it waits for others who write to it; none: as long as commands do, and
/// then it throws. Throws StoreError.
FleetView fleetViewHere(const Config& config, std::optional<std::chrono::milliseconds> lock_timeout = {});
/// What the database says that fleet.url names; five answers at the most. Throws StoreError.
void askFleet(FleetView& view, const Config& config, const store::FleetStore::Patience& patience = {});

/// Changes of the fleet's rules that somebody with that version has not applied.
std::int64_t changesBehind(const FleetView& view, std::int64_t version);
/// Changes that somebody with that version has and the database does not, as after it was restored from a backup.
std::int64_t changesAhead(const FleetView& view, std::int64_t version);
/// Seconds. Members announce themselves every five.
inline constexpr std::int64_t kSilentFrom = 20;
bool isSilent(const store::Member& member);
/// Seconds. The database hears every fifteen that it has all of a journal.
inline constexpr std::int64_t kJournalLateFrom = 300;
bool isJournalLate(const store::Member& member);
/// "up", "behind", "silent", "ahead" of the database or "damaged"; the last that is true of these.
std::string_view stateOf(const FleetView& view, const store::Member& member);
/// The database has answered, all gateways are heard of, have no rules that it does not know and bring their journals, and this one
/// has joined and has the fleet's rules.
bool isWell(const FleetView& view);

/// As `fleet status --json` has it (docs/json.md); what is not known is null.
Poco::JSON::Object fleetAsJson(const FleetView& view);

/// As `fleet join --json` and `fleet push --json` have it.
Poco::JSON::Object joinAsJson(const store::JoinOutcome& outcome, const store::JoinRequest& request);
Poco::JSON::Object pushAsJson(const store::PushOutcome& outcome, const store::JoinRequest& request);
/// What was made of rules here alone and is gone, as the fleet has changed the same.
void logOverruled(EventSink& log, const std::vector<store::Applied::Lost>& lost);

/// As `fleet verify --json` has it.
Poco::JSON::Object verifiedAsJson(const store::Comparison& comparison, const std::string& gateway);

}  // namespace mailgate::answers
