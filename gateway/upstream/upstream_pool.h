/// \file  The servers of one upstream, as all workers see them.
///
/// A pool holds an immutable list of endpoints (one address of one server each) that is swapped as names
/// change their addresses; a session keeps the endpoint it uses alive. Two things decide whether an endpoint
/// gets sessions, and they are kept apart: its measured health, and the operator's wish for its server. The
/// workers' path (pick, failed, worked) takes no lock and allocates nothing unless a health changes.
///
/// Order of choice: servers that are up, then backup servers that are up, then whatever is ready: a pool
/// whose checks all fail must not be worse than one without checks. A drained server is never offered.
///
/// Until watch() is called nobody measures, and a failed endpoint is passed over for kRetryAfter.
#pragma once

#include "gateway/admin/control.h"
#include "gateway/config/config.h"
#include "gateway/net/timer_wheel.h"
#include "protocols/address.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate {

/// One [[upstream.server]], whatever its addresses.
struct UpstreamServer {
    std::string name;
    std::atomic<bool> draining{false};  ///< the operator's wish
};

enum class Health : std::uint8_t {
    Unknown,  ///< nothing measured yet: served, and the first measurement decides
    Up,
    Down,
};

/// One address of one server: what a session connects to. Shared by the pools before and after a reload.
struct ServerEndpoint {
    std::shared_ptr<UpstreamServer> server;
    Endpoint endpoint;
    std::atomic<Health> health{Health::Unknown};
    std::atomic<Millis> failed_until{0};      ///< monotonic; only while nobody measures
    std::atomic<std::uint32_t> failures{0};   ///< in a row, of checks and sessions
    std::atomic<std::uint32_t> successes{0};  ///< checks in a row
    std::atomic<Millis> up_since{0};          ///< monotonic; 0: no slow start is owed
    std::atomic<std::uint64_t> turn{0};       ///< when its next turn is due, see UpstreamPool::turnOf()
    std::atomic<std::uint32_t> sessions{0};   ///< connected or connecting now
    std::atomic<std::uint64_t> sessions_total{0}, failures_total{0};  ///< of sessions, not of checks
    std::atomic<std::int64_t> changed_ms{0};  ///< Unix time of the last change of health
    std::string reason;                       ///< why it is down; guarded by the pools' changes
};

class UpstreamPool {
  public:
    static constexpr Millis kRetryAfter = 1'000;

    /// Told once per change, by the thread that saw it, one at a time.
    struct Events {
        std::function<void(const UpstreamConfig&, const ServerEndpoint&)> up;
        std::function<void(const UpstreamConfig&, const ServerEndpoint&, std::string_view why)> down;
    };

    /// `config` must outlive the pool.
    UpstreamPool(const UpstreamConfig& config, Events events);

    const UpstreamConfig& config() const noexcept { return config_; }

    /// The endpoints that one session has tried, as bits. Endpoints beyond kMaxEndpoints are not used.
    using Tried = std::uint64_t;
    static constexpr std::size_t kMaxEndpoints = 64;

    /// The next endpoint for a session of `client`, marked in `tried`; null when there is none left.
    std::shared_ptr<ServerEndpoint> pick(const IpAddress& client, Millis now, Tried& tried) noexcept;

    /// What a session's attempt showed. `why`: a sentence for the log.
    void failed(ServerEndpoint& endpoint, Millis now, std::string_view why);
    void worked(ServerEndpoint& endpoint);

    /// Some server may be given sessions and is not known to fail: what a balancer's check is told.
    bool available(Millis now) const noexcept;

    // Measuring. From the checker's thread.

    /// From now on checks decide about health. `alarm` is called, from any thread, when a session's failure
    /// took an endpoint down; null ends the measuring.
    void watch(std::function<void()> alarm);
    void checkPassed(ServerEndpoint& endpoint, Millis now);
    void checkFailed(ServerEndpoint& endpoint, std::string_view why);

    // Administration. Any thread.

    std::vector<std::shared_ptr<ServerEndpoint>> endpoints() const;
    /// The addresses of server `index` of the configuration are now these; none: they stay as they are.
    /// Returns whether that changed anything.
    bool setAddresses(std::size_t index, const std::vector<Endpoint>& addresses);
    /// False: there is no such server.
    bool setWish(std::string_view server, admin::Wish wish);
    /// Health, wishes and counts of what has the same name (and address) in `old`. Before the first session.
    void carryOver(const UpstreamPool& old);
    std::vector<admin::ServerStatus> status() const;

  private:
    static constexpr std::uint8_t kNoSlot = 0xff;
    struct Entry {
        std::shared_ptr<ServerEndpoint> endpoint;
        std::uint32_t weight = 1;
        bool backup = false;
        std::uint8_t slot = kNoSlot;  ///< its bit in Tried, for as long as it is in the list
        std::uint64_t identity = 0;   ///< of its address, the same on every gateway
    };
    using Snapshot = std::vector<Entry>;
    enum class Tier : std::uint8_t { Up, Backup, LastResort };

    /// Keeps the current snapshot from being freed. One atomic each way, no lock.
    class Reading {
      public:
        explicit Reading(const UpstreamPool& pool) noexcept;
        ~Reading();
        Reading(const Reading&) = delete;
        Reading& operator=(const Reading&) = delete;
        const Snapshot* operator->() const noexcept { return snapshot_; }
        const Snapshot& operator*() const noexcept { return *snapshot_; }

      private:
        const UpstreamPool& pool_;
        const Snapshot* snapshot_;
    };

    bool serves(const Entry& entry, Tier tier, Millis now) const noexcept;
    bool better(const Entry& one, const Entry& other, std::uint64_t client, Millis now) const noexcept;
    std::uint64_t turnOf(const Entry& entry) const noexcept;
    void takeTurn(const Entry& entry, Millis now) noexcept;
    std::uint32_t weightNow(const Entry& entry, Millis now) const noexcept;
    bool usable(const ServerEndpoint& endpoint, Millis now) const noexcept;
    void goDown(ServerEndpoint& endpoint, std::string_view why);
    void goUp(ServerEndpoint& endpoint, Millis now);
    bool rebuild(const Snapshot& known);
    Entry makeEntry(const Snapshot& known, std::size_t server, const Endpoint& address) const;

    const UpstreamConfig& config_;
    Events events_;
    std::atomic<bool> watched_{false};
    std::atomic<std::uint64_t> turn_now_{0};  ///< the turn of the endpoint chosen last
    std::atomic<const Snapshot*> snapshot_{nullptr};
    mutable std::atomic<std::uint32_t> readers_{0};

    mutable std::mutex changes_;  ///< everything below, and changes of health
    std::function<void()> alarm_;
    std::unique_ptr<const Snapshot> current_;
    std::vector<std::shared_ptr<UpstreamServer>> servers_;  ///< as in the configuration
    std::vector<std::vector<Endpoint>> addresses_;          ///< by server
};

}  // namespace mailgate
