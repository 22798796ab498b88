// SPDX-License-Identifier: Apache-2.0
/// \file  How what a gateway of a fleet has for itself alone comes to the fleet: rules of kHereSet, and what was changed with the
/// sqlite3 shell.
///
/// A rule of kHereSet becomes one of the set kManualSet. What the fleet has in its place and says something else, or is not here
/// any more, is a conflict.
#pragma once

#include "store/fleet/join.h"

#include <optional>
#include <vector>

namespace mailgate::store {

struct PushPlan {
    struct Conflict {
        std::optional<SharedRule> here;  ///< none: it is not here
        SharedRule fleet;
    };
    std::vector<SharedRule> uploads;  ///< as the fleet gets them, but for their numbers
    std::vector<Conflict> renewed;    ///< what the fleet has in their place has expired, and makes room
    std::vector<SharedRule> same;     ///< the fleet has them already, with these numbers
    std::vector<Conflict> conflicts;
    std::vector<std::int64_t> settled;    ///< numbers of rules of kHereSet, which go from it with all that
    std::vector<std::int64_t> forgotten;  ///< of the fleet's that neither side has any more
};

PushPlan planPush(const OwnRules& own, const std::vector<SharedRule>& fleet, UnixSeconds now);

struct PushOutcome {
    PushPlan plan;
    bool pushed =
        false;  ///< false: it was a preview, or there are conflicts and nobody is preferred; nothing was changed
    struct Overruled {
        std::optional<SharedRule> here, fleet;  ///< none: it was not here, is not in the fleet any more
    };
    /// What this gateway had for itself when it was asked, and the fleet has changed before it came to that.
    std::vector<Overruled> overruled{};
};
/// Throws StoreError; then nothing was changed.
PushOutcome pushToFleet(Replica& replica, FleetStore& fleet, const JoinRequest& request);

}  // namespace mailgate::store
