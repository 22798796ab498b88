// SPDX-License-Identifier: Apache-2.0
/// \file  The keys of session tickets that the gateways of a fleet share: made ahead by whichever of them is the first to
/// miss one, kept sealed in the fleet's database, and used by all from the same moment on.
#pragma once

#include "gateway/admin/control.h"
#include "gateway/config/config.h"
#include "gateway/tls/ticket_keys.h"
#include "gateway/tls/ticket_seal.h"
#include "store/fleet/fleet.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace mailgate {

/// With what the gateways of the fleet seal them; none: they share none. Throws ConfigError.
std::optional<TicketSeal> ticketSealOf(const Config& config);

class FleetTickets {
  public:
    struct Events {
        std::function<void()> shared{};                        ///< at first, and after failed()
        std::function<void(const std::string& why)> failed{};  ///< once, until they are shared again
    };

    FleetTickets(const TicketSeal& seal, std::shared_ptr<TicketKeys> keys, Events events)
        : seal_(seal), keys_(std::move(keys)), events_(std::move(events)) {}

    /// Once a minute by the database's clock, and else nothing; always on the same thread. While the database cannot be reached the
    /// last keys go on, up to the end of their time.
    void look(store::FleetStore& fleet, const store::FleetState& state);

    admin::TicketKeysStatus status() const;  ///< any thread

  private:
    std::string exchange(store::FleetStore& fleet, const store::FleetState& state);
    void report(const std::string& why);

    const TicketSeal seal_;
    const std::shared_ptr<TicketKeys> keys_;
    const Events events_;
    std::int64_t looked_at_ = 0;  ///< by the database's clock
    std::int64_t pause_ = 0;      ///< seconds until the next time
    bool shared_ = false;
    mutable std::mutex mutex_;
    std::string failure_;
};

}  // namespace mailgate
