// SPDX-License-Identifier: Apache-2.0
/// \file  The daemon: binds, starts the workers, and obeys signals and orders until it is told to stop.
#pragma once

#include "gateway/admin/control.h"
#include "gateway/admin/server.h"
#include "gateway/config/config.h"
#include "gateway/daemon/event_bindings.h"
#include "gateway/daemon/reload_thread.h"
#include "gateway/log/event_log.h"
#include "gateway/session/generation.h"
#include "gateway/upstream/health_checker.h"
#include "gateway/upstream/name_watcher.h"
#include "gateway/worker/listening_sockets.h"
#include "gateway/worker/worker.h"

#include <chrono>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

namespace mailgate {

/// SIGTERM or SIGINT: sessions are ended at points where that breaks nothing, at the latest after
/// drain_timeout; a second signal ends them at once. SIGHUP: the log is reopened and the configuration read
/// again: all of it, or none of it and why.
///
/// A reload is a transaction. prepare() makes everything that can fail, next to what is in force; commit()
/// cannot fail. It takes as long as files and names take, so never the main thread's time.
class Gateway final : public admin::Control {
  public:
    /// Binds, drops privileges, opens the log, the rules and the journal, starts everything. Throws
    /// ListenError, ConfigError and store::StoreError.
    explicit Gateway(Config config);
    ~Gateway() override;

    /// Until a stop signal; then drains.
    void run();

    // admin::Control; any thread
    admin::Status status() override;
    std::vector<LiveSession> sessions() override;
    bool kill(std::string_view id) override;
    std::size_t cut(const Network& network, const std::vector<std::string>& listeners) override;
    admin::Outcome setServer(std::string_view upstream, std::string_view server, Wish wish) override;
    admin::Outcome reload() override;
    bool ready() override { return ready_.load(std::memory_order_relaxed); }

  private:
    struct Successor;

    Successor prepare(Config config, ListeningSockets added, const Generation* before);
    void commit(Successor successor) noexcept;
    std::shared_ptr<Generation> makeGeneration(Config config, const Generation* before);
    std::shared_ptr<store::AccessWatcher> watchAccess(const Config& config, const Generation* before);
    void startJournal(const JournalConfig& config);
    std::unique_ptr<NameWatcher> watchNames(const Generation& generation);
    std::shared_ptr<const Generation> current() const;
    void logStart(const InheritedSockets& inherited);
    void logReloaded(const std::vector<std::string>& changes);
    void logStop();
    bool awaitStop(std::chrono::milliseconds limit);
    void beat();
    void drain();

    std::string file_;
    unsigned worker_count_;
    std::size_t possible_sessions_;  ///< what the descriptor limit allows
    std::int64_t started_ms_;
    std::atomic<bool> ready_{false};
    std::atomic<bool> draining_{false};
    std::unique_ptr<EventLog> log_;
    std::unique_ptr<DefectLog> defects_;
    std::unique_ptr<store::Journal> journal_;
    RulesState rules_;
    std::unique_ptr<GatewayState> state_;

    std::mutex reload_mutex_;  ///< one reload at a time
    std::stop_source stop_;    ///< requested: nobody waits for name servers any more
    mutable std::mutex generation_mutex_;
    std::shared_ptr<const Generation> generation_;  ///< in force; guarded by generation_mutex_
    std::unique_ptr<HealthChecker> checker_;
    std::unique_ptr<NameWatcher> names_;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::unique_ptr<admin::AdminServer> admin_;
    std::unique_ptr<ReloadThread> reloader_;

    std::chrono::microseconds watchdog_{0};  ///< how often systemd wants to hear of us; 0: never
    std::vector<std::future<void>> beats_;   ///< what the workers still owe
    std::chrono::steady_clock::time_point next_beat_{};
};

}  // namespace mailgate
