// SPDX-License-Identifier: Apache-2.0
/// \file  The journals of a fleet's gateways, as its database has them: a Source (store/journal/backend.h) whose sessions say
/// which gateway had them. A gateway's newest are in there as soon as it has shipped them.
///
/// Errors are StoreError, and none takes longer than the database's deadlines. One thread at a time.
#pragma once

#include "store/fleet/missed.h"
#include "store/journal/backend.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::store {

/// How far the database has what a gateway has seen.
struct ShippedJournal {
    std::string gateway;
    /// Since it had all of it, by its own clock; none: it has not had all of it yet.
    std::optional<std::int64_t> age_secs{};
    std::vector<MissedRecords> missed{};  ///< what the gateway has seen and the database will not have
};

class FleetJournal : public journal::Source {
  public:
    struct Options {
        std::string gateway{};                     ///< the only one that is asked; empty: all
        std::chrono::milliseconds connect{800};    ///< until the database answers the first query
        std::chrono::milliseconds answer{60'000};  ///< for each further answer
        /// When all of them have to be there.
        std::chrono::steady_clock::time_point until = std::chrono::steady_clock::time_point::max();
        /// What can be done without them, behind what an error says; empty: nothing.
        std::string instead{};
    };

    /// Those that are asked, by name.
    virtual std::vector<ShippedJournal> gateways() = 0;
};

}  // namespace mailgate::store
