// SPDX-License-Identifier: Apache-2.0
/// \file  Servers that are drained at all gateways of a fleet: what its database says of that, carried out at this one.
///
/// Each wish is an order, carried out once: who gives another one here afterwards is obeyed, until the fleet's changes again. What was
/// carried out is kept in a file, so that a drain that was taken back while the gateway was away is taken back here too.
#pragma once

#include "gateway/daemon/admin_states.h"
#include "store/fleet/fleet.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace mailgate {

/// Its path: "sqlite:/p/mailgate.db" has /p/mailgate.db-fleet-servers.
std::string fleetDrainFile(const std::string& store_url);

class FleetDrains {
  public:
    /// The gateway. On the thread that looks.
    struct Gateway {
        /// All servers that it has, with what they are drained by; none: they are ready.
        std::function<std::map<std::pair<std::string, std::string>, std::optional<DrainOrder>>()> servers;
        /// `order`: none, it is to be ready.
        std::function<void(const std::pair<std::string, std::string>& server,
                           const std::optional<DrainOrder>& order)>
            set;
        std::function<void(const std::string& why)> failed;  ///< once, until it goes well again
    };

    /// `file`: fleetDrainFile().
    FleetDrains(std::string file, Gateway gateway);

    /// Always on the same thread.
    void look(store::FleetStore& fleet, const store::FleetState& state);

  private:
    void carryOut();
    void report(const std::string& why);

    const std::string file_;
    const Gateway gateway_;
    DrainedServers done_;        ///< those of the fleet's that were carried out
    bool is_kept_ = true;        ///< in the file, too
    DrainedServers wishes_;      ///< the fleet's, as last read
    std::int64_t version_ = -1;  ///< of these
    std::int64_t read_at_ = 0;   ///< by the database's clock
    std::int64_t retry_at_ = 0;  ///< by the database's clock, after a failure
    bool failed_ = false;
};

}  // namespace mailgate
