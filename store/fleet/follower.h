// SPDX-License-Identifier: Apache-2.0
/// \file  Keeps a gateway's rules those of its fleet: asks for the version, applies what has been changed since, and announces
/// the gateway.
///
/// One thread of its own; whatever the database does, nobody else waits. While it cannot be reached the rules stay as they
/// are.
#pragma once

#include "store/fleet/fleet.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mailgate::store {

/// How a gateway stands to its fleet.
struct FleetStatus {
    bool configured = false;
    bool connected = false;     ///< the last look at the database went well
    bool notified = false;      ///< it notifies of changes; else they are looked for every `poll`
    std::string failure{};      ///< of the last look; empty: it went well
    std::int64_t since_ms = 0;  ///< Unix time since when it is connected or not; 0: it has not looked yet
    std::int64_t version = 0;   ///< of the fleet's rules that the gateway has
    double lag_seconds = 0;     ///< since the gateway was last known to have the fleet's rules
    std::int64_t clock_ahead_seconds =
        0;  ///< of the database's, at the last look that went well; below 0: behind
    /// Unix time; another process was started then, and was heard of lately by this gateway's name; 0: there is none.
    std::int64_t same_name_started = 0;
};

class FleetFollower {
  public:
    struct Options {
        std::string name;                            ///< the member's
        std::string release;                         ///< mailgate's version
        bool ships = true;                           ///< the gateway's journal goes to the fleet's database
        std::function<std::int64_t()> keeps_days{};  ///< Member::keeps_days
        std::chrono::milliseconds poll{500};
        std::chrono::milliseconds announce{5'000};
        std::chrono::milliseconds upkeep{3'600'000};
        /// For how long somebody else may have the gateway's file before that is told.
        std::chrono::milliseconds patience{60'000};
    };
    /// On the follower's thread.
    struct Events {
        std::function<void(const std::string& why)> lost{};  ///< once, until it is found again
        std::function<void()> found{};                       ///< after lost()
        /// These of the fleet's rules cannot be read, and are not in force here.
        std::function<void(const std::vector<std::string>& rules)> unreadable{};
        /// This was made of rules here alone, and is gone, as the fleet has changed the same.
        std::function<void(const std::vector<Applied::Lost>& lost)> overruled{};
        /// What is old in the log of changes cannot be removed: once, until it can.
        std::function<void(const std::string& why)> unforgotten{};
        /// After each look that went well: what else gateways share. It may ask the database; what fails in that is its own affair.
        std::function<void(FleetStore& fleet, const FleetState& state)> shared{};
        /// Every `upkeep`, for what one gateway does for all: it is `now` by the database's clock. What it throws is StoreError.
        std::function<void(std::int64_t now)> upkeep{};
    };
    using OpenReplica = std::function<std::unique_ptr<Replica>()>;

    FleetFollower(std::unique_ptr<FleetStore> fleet, OpenReplica replica, Options options, Events events);
    ~FleetFollower();  ///< stop()

    void start();
    void stop() noexcept;
    FleetStatus status() const;  ///< any thread

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mailgate::store
