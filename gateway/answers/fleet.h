// SPDX-License-Identifier: Apache-2.0
/// \file  How a gateway's fleet is, as its database says and the gateway's own file.
#pragma once

#include "gateway/config/config.h"
#include "store/fleet/fleet.h"

#include <Poco/JSON/Object.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::answers {

/// What the database says, and what this gateway's file does.
struct FleetView {
    std::string shown, self;
    store::FleetState fleet;
    std::vector<store::Member> members;
    std::optional<store::Membership> here;
    std::string failure;  ///< why this gateway has no part in it; empty: it has
    store::Differences differences;
};

/// Asks the database that fleet.url names. Throws StoreError.
FleetView fleetView(const Config& config);

/// Changes of the fleet's rules that somebody with that version has not applied.
std::int64_t changesBehind(const FleetView& view, std::int64_t version);
/// Members announce themselves every five seconds.
bool isSilent(const store::Member& member);

/// As `fleet status --json` has it (docs/json.md).
Poco::JSON::Object fleetAsJson(const FleetView& view);

}  // namespace mailgate::answers
