// SPDX-License-Identifier: Apache-2.0
/// \file  The daemon: binds, starts the workers, obeys signals until it is told to stop, and drains.
#pragma once

#include "gateway/admin/server.h"
#include "gateway/api/api.h"
#include "gateway/config/config.h"
#include "gateway/console/console.h"
#include "gateway/daemon/event_bindings.h"
#include "gateway/daemon/fleet_drains.h"
#include "gateway/daemon/fleet_tickets.h"
#include "gateway/daemon/gateway_control.h"
#include "gateway/daemon/reloader.h"
#include "gateway/daemon/service_manager.h"
#include "gateway/daemon/tls_listeners.h"
#include "gateway/daemon/tls_upstreams.h"
#include "gateway/log/event_log.h"
#include "gateway/names/keeper.h"
#include "gateway/upstream/health_checker.h"
#include "gateway/worker/listening_sockets.h"
#include "gateway/worker/worker.h"
#include "store/journal/journal.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <vector>

namespace mailgate {

/// SIGTERM or SIGINT: sessions are ended at points where that breaks nothing, at the latest after drain_timeout; a
/// second signal ends them at once. SIGHUP: the log is reopened and the configuration is reloaded, as a whole or not
/// at all (Reloader). SIGUSR1: the log is reopened, and nothing else.
class Gateway {
  public:
    /// SIGHUP and SIGUSR1 wait from here on until a gateway runs: to be called before the configuration is read, which may take
    /// long. Anybody can see from now on that this version takes SIGUSR1, which ends one that knows nothing of it: bit 0x200 of
    /// SigCgt in /proc/PID/status.
    static void holdSignals();

    /// Binds, reads certificates, drops privileges, opens the log, the rules and the journal, starts everything. Throws
    /// ListenError, ConfigError and store::StoreError.
    explicit Gateway(Config config);
    ~Gateway();
    Gateway(const Gateway&) = delete;
    Gateway& operator=(const Gateway&) = delete;

    /// Until a stop signal; then drains.
    void run();

    /// What the admin socket can ask and order.
    admin::Control& control() noexcept { return *control_; }

  private:
    void startJournal(const JournalConfig& config);
    void makeApi();
    void makeConsole(const ConsoleConfig& config, const std::shared_ptr<TlsListener>& tls,
                     const std::string& store_url, const std::string& name);
    void makeFleet(const Config& config);
    void makeShipper(const Config& config);
    void pruneFleet(store::RuleStore& rules, std::int64_t now);
    void startNames(const std::string& store_url);
    void stopThreads();
    void logStart(const std::string& forgotten);
    void logStop();
    bool awaitStop(std::chrono::milliseconds limit);
    void beat();
    void drain();

    const ServiceManager manager_{};
    std::uint64_t descriptors_;  ///< how many it may have
    InheritedSockets inherited_;
    std::unique_ptr<EventLog> log_;
    std::unique_ptr<DefectLog> defects_;
    std::unique_ptr<store::Journal> journal_;
    TlsListeners tls_;
    TlsUpstreams server_tls_;
    RulesState rules_;
    std::unique_ptr<GatewayState> state_;
    std::unique_ptr<HealthChecker> checker_;
    Reloader::Workers workers_;
    std::unique_ptr<Reloader> reloader_;
    std::unique_ptr<GatewayControl> control_;
    std::unique_ptr<api::Api> api_;
    std::unique_ptr<admin::AdminServer> admin_;
    std::unique_ptr<console::Console> console_;       ///< null: there is none
    std::unique_ptr<names::NameKeeper> names_;        ///< of the access rules
    std::unique_ptr<FleetDrains> drains_;             ///< null: there is no fleet
    std::unique_ptr<FleetTickets> tickets_;           ///< null: none are shared
    std::unique_ptr<store::FleetFollower> fleet_;     ///< null: the rules are this gateway's alone
    std::unique_ptr<store::JournalShipper> shipper_;  ///< null: the journal stays here

    std::chrono::microseconds watchdog_{0};  ///< how often systemd wants to hear of us; 0: never
    std::vector<std::future<void>> beats_;   ///< what the workers still owe
    std::chrono::steady_clock::time_point next_beat_{};
};

}  // namespace mailgate
