// SPDX-License-Identifier: Apache-2.0
/// \file  Puts configurations in force, each as a whole or not at all: the first at start, later ones on
/// SIGHUP and `mailgate reload`.
///
/// A reload is a transaction, on a thread of its own: it takes as long as files and name servers take, and the thread
/// that feeds systemd's watchdog and waits for SIGTERM must not wait for that. prepare() does everything that can
/// fail, beside what is in force; commit() cannot fail. The same thread looks for certificates that were renewed, and
/// for files that were changed and are not loaded.
#pragma once

#include "gateway/admin/control.h"
#include "gateway/config/config.h"
#include "gateway/daemon/event_bindings.h"
#include "gateway/daemon/tls_listeners.h"
#include "gateway/daemon/tls_upstreams.h"
#include "gateway/log/event_log.h"
#include "gateway/session/generation.h"
#include "gateway/upstream/health_checker.h"
#include "gateway/upstream/name_watcher.h"
#include "gateway/worker/listening_sockets.h"
#include "gateway/worker/worker.h"
#include "protocols/values/snapshot.h"

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace mailgate {

class Reloader {
  public:
    using Workers = std::vector<std::unique_ptr<Worker>>;

    /// Where a configuration is put in force. Outlives the reloader.
    struct Site {
        std::string file;               ///< the configuration's
        std::uint64_t descriptors = 0;  ///< how many the gateway may have
        EventLog& log;
        RulesState& rules;
        GatewayState& state;
        HealthChecker& checker;
        TlsListeners& tls;
        TlsUpstreams& server_tls;
        const Workers& workers;       ///< none before the first configuration is prepared
        InheritedSockets& inherited;  ///< let go of once there are no more reloads
    };

    /// A configuration with all that belongs to it, beside the one in force.
    struct Successor {
        std::shared_ptr<const Generation> generation;
        HealthChecker::Plan plan;
        std::unique_ptr<NameWatcher> names;
        std::vector<std::string> changes;  ///< compared with the one in force
        // To be posted, by worker, and what tells when it was done.
        std::vector<std::function<void()>> tasks;
        std::vector<std::future<void>> done;
    };

    explicit Reloader(Site site);
    ~Reloader();  ///< stop(), and nobody watches names any more
    Reloader(const Reloader&) = delete;
    Reloader& operator=(const Reloader&) = delete;

    /// For the first configuration; `tls`, `server_tls`: its certificates, which were read when the process might still
    /// read all. Throws StoreError and std::system_error.
    Successor prepare(Config config, TlsListeners::Row tls, TlsUpstreams::Row server_tls);
    void commit(Successor next) noexcept;
    /// Starts the thread: from then on, asking for a reload needs no resource that could be missing. Throws
    /// std::system_error.
    void start();

    /// Asks for a reload; requests that come before one has begun are joined with it. Any thread.
    void ask() noexcept;
    /// The same, and waits for the result. Any thread but the reloader's.
    admin::Outcome reload();
    /// No more reloads from now on; one that waits for name servers is given up, and callers that wait for one get
    /// the reason. Any thread.
    void refuse() noexcept;
    /// refuse(), then waits for the reload under way, and stops watching names.
    void stop() noexcept;

    /// The configuration in force; null before the first is.
    std::shared_ptr<const Generation> current() const noexcept { return generation_.share(); }

  private:
    void run();
    admin::Outcome carryOut();
    Successor prepareNext();
    Successor makeSuccessor(Config config, TlsListeners::Row tls, TlsUpstreams::Row server_tls,
                            const Generation* before);
    void giveSockets(Successor& next, const std::shared_ptr<ListeningSockets>& added);
    std::shared_ptr<Generation> makeGeneration(Config config, TlsListeners::Row tls,
                                               TlsUpstreams::Row server_tls, const Generation* before);
    void pollFiles() noexcept;
    void watchAccess(Generation& generation, const Generation* before);
    std::unique_ptr<store::RuleStore> rulesToServe(const Config& config, const Generation* before);
    void logReloaded(const std::vector<std::string>& changes) noexcept;

    const Site site_;
    Snapshot<Generation> generation_;
    std::unique_ptr<NameWatcher> names_;

    std::stop_source stop_;
    std::mutex mutex_;  ///< all up to thread_
    std::condition_variable_any changed_;
    std::uint64_t asked_ = 0;  ///< reloads that were asked for
    std::uint64_t done_ = 0;   ///< how many of them are over
    admin::Outcome outcome_;   ///< the last one's
    std::thread thread_;
};

}  // namespace mailgate
