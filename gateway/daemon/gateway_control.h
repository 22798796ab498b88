// SPDX-License-Identifier: Apache-2.0
/// \file  What administrators and monitoring ask of the gateway, and order.
#pragma once

#include "gateway/admin/control.h"
#include "gateway/daemon/event_bindings.h"
#include "gateway/daemon/fleet_tickets.h"
#include "gateway/daemon/reloader.h"
#include "gateway/log/event_log.h"
#include "gateway/tls/tls_listener.h"
#include "gateway/worker/worker.h"
#include "store/journal/journal.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate {

class GatewayControl final : public admin::Control {
  public:
    /// What is asked. Outlives this.
    struct Parts {
        const EventLog& log;
        const RulesState& rules;
        const store::Journal* journal = nullptr;  ///< null: off
        GatewayState& state;
        Reloader& reloader;
        const Reloader::Workers& workers;
        const store::FleetFollower* fleet = nullptr;     ///< null: there is none
        const store::JournalShipper* shipper = nullptr;  ///< null: the journal stays here
        const FleetTickets* tickets = nullptr;           ///< null: their keys are this gateway's alone
        std::shared_ptr<const TlsListener> console{};    ///< null: TLS does not end there
    };

    explicit GatewayControl(Parts parts);

    void serving() noexcept { ready_ = true; }
    void draining() noexcept {
        ready_ = false;
        draining_ = true;
    }

    // Any thread.
    admin::Status status() override;
    bool rulesFailed() override { return parts_.rules.failed; }
    std::optional<admin::ConfigChange> configChange() override;
    std::vector<LiveSession> sessions() override;
    LiveSessions newestSessions(std::size_t most) override;
    bool kill(std::string_view id) override;
    std::optional<std::size_t> cut(const admin::Cut& cut) override;
    admin::Outcome setServer(std::string_view upstream, std::string_view server, AdminState state,
                             std::string_view by) override;
    admin::Outcome setServerEverywhere(std::string_view upstream, std::string_view server, AdminState state,
                                       std::string_view by) override;
    /// As an order of the fleet. None: it is to be ready.
    admin::Outcome setServer(std::string_view upstream, std::string_view server,
                             const std::optional<DrainOrder>& wanted);
    admin::Outcome reload() override;
    admin::Readiness ready(std::string_view listener) override;
    store::FleetStatus fleet() override {
        return parts_.fleet ? parts_.fleet->status() : store::FleetStatus{};
    }
    store::ShipperStatus fleetJournal() override {
        return parts_.shipper ? parts_.shipper->status() : store::ShipperStatus{};
    }

  private:
    std::vector<admin::TlsFilesStatus> tlsFiles(const Generation& generation) const;
    /// Keeps it for the next start; what is to be said of that, if anything. `order`: none, it is ready.
    std::string kept(const Generation& generation, std::string_view upstream, std::string_view server,
                     const std::optional<DrainOrder>& order) const;

    const Parts parts_;
    const std::int64_t started_ms_;
    std::mutex orders_;  ///< one after the other, since all that is drained is kept as a whole
    std::atomic<bool> ready_{false};
    std::atomic<bool> draining_{false};
};

}  // namespace mailgate
