// SPDX-License-Identifier: Apache-2.0
/// \file  How a gateway with rules of its own comes to a fleet that may have rules, too.
///
/// Rules for the same network, listener and verdict in the same set are one rule, and a conflict where they say something
/// else, unless one of the two has expired. What one side alone has, both have afterwards; the set kHereSet apart. The gateway's rules get the fleet's numbers.
#pragma once

#include "store/fleet/fleet.h"
#include "store/fleet/lines.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

namespace mailgate::store {

/// Whose word counts where there is a conflict.
enum class Prefer : std::uint8_t { Nobody, Here, Fleet };

struct JoinPlan {
    struct Conflict {
        SharedRule here, fleet;
    };
    struct SetConflict {
        SharedSet here, fleet;
    };
    std::vector<SharedRule> uploads, downloads;  ///< with the numbers that they have where they are
    std::vector<Conflict> conflicts;
    std::vector<Conflict> renewed;   ///< what the fleet has in their place has expired, and makes room
    std::vector<Conflict> outlived;  ///< these have expired here, and make room for the fleet's
    std::vector<SetConflict> set_conflicts;
    std::vector<SharedSet> set_uploads, set_downloads;
    std::vector<Conflict> same;   ///< but for their numbers, authors and times
    std::vector<SharedRule> own;  ///< of kHereSet

    bool conflicting() const noexcept { return !conflicts.empty() || !set_conflicts.empty(); }
};

JoinPlan planJoin(const SharedChanges& here, const SharedChanges& fleet, UnixSeconds now);

struct JoinRequest {
    std::string gateway{};  ///< the member's name
    std::string who{};
    UnixSeconds now = 0;
    Prefer prefer = Prefer::Nobody;
    bool preview = false;  ///< nothing is changed
    std::function<void()> commits = [] {};  ///< is called from when on it cannot be called off any more
};
struct JoinOutcome {
    JoinPlan plan;
    bool joined =
        false;  ///< false: it was a preview, or there are conflicts and nobody is preferred; nothing was changed
};
/// Throws StoreError; then nothing was changed here.
JoinOutcome joinFleet(Replica& replica, FleetStore& fleet, const JoinRequest& request);

// What joining and pushing (push.h) have in common.

/// Two rules with the same are one rule.
using RuleKey = std::tuple<std::string, std::string, std::string, std::string>;
RuleKey keyOf(const SharedRule& rule);
/// But for their numbers, authors and times.
bool saySame(SharedRule here, const SharedRule& fleet);
/// How rules come to the fleet, which is what to advise where it cannot have one.
struct Giving {
    bool joining = false;    ///< the gateway may not be one of the fleet's yet, and then changes no rules
    bool preferred = false;  ///< in the place of the fleet's
};
/// Throws StoreError(BadRow) for one of them that cannot be read.
void requireReadable(const std::vector<SharedRule>& rules, const Giving& giving);
bool isOver(const SharedRule& rule, UnixSeconds now) noexcept;

/// With the fleet's lock and in a transaction of the file, which what `work` throws takes back on both sides; it has committed or
/// rolled back at the fleet when it returns. Throws StoreError.
void changeBoth(Replica& replica, FleetStore& fleet,
                const std::function<void(const FleetState& state)>& work);

}  // namespace mailgate::store
