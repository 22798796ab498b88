// SPDX-License-Identifier: Apache-2.0
/// \file  Whether a gateway has the fleet's rules: both sides' compared, one by one. The log of changes alone is followed
/// otherwise, and what was changed on either side without it stays unseen.
#pragma once

#include "store/fleet/fleet.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace mailgate::store {

struct Comparison {
    /// One side alone has it, or they say something else under the same number or name.
    template <typename Item>
    struct Difference {
        std::optional<Item> here, fleet;
    };
    std::int64_t version = 0;                     ///< of the fleet's rules, on both sides
    std::size_t same = 0;                         ///< rules
    std::size_t own = 0;                          ///< rules of kHereSet
    std::vector<Difference<SharedRule>> rules{};  ///< by number
    std::vector<Difference<SharedSet>> sets{};    ///< by name

    bool agrees() const noexcept { return rules.empty() && sets.empty(); }
};

/// What one side alone has, and has expired, is no difference.
Comparison compareRules(const SharedChanges& here, const SharedChanges& fleet, UnixSeconds now);

/// Brings the file to the last version first, as who follows does. Throws StoreError; Locked: the rules are being changed all
/// the time.
Comparison verifyRules(Replica& replica, FleetStore& fleet, UnixSeconds now);

}  // namespace mailgate::store
