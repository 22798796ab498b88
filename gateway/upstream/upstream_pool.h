// SPDX-License-Identifier: Apache-2.0
/// \file  The servers of one upstream, as all workers see them.
///
/// A pool holds an immutable list of endpoints (one address of one server each) that is swapped as names
/// change their addresses; a session keeps the endpoint it uses alive. Two things decide whether an endpoint
/// gets sessions, and they are kept apart: its health (EndpointHealth), and the admin state of its
/// server. The workers' path (pick, worked) takes no lock and allocates nothing unless a health changes.
///
/// Order of choice: servers that are up, then backup servers that are up, then whatever is ready: a pool
/// whose checks all fail must not be worse than one without checks. A drained server is never offered.
///
/// Endpoints, with their health, are shared by the pools before and after a reload; the pool whose watch() was called
/// last decides how they are judged. Until then nobody checks.
#pragma once

#include "gateway/config/config.h"
#include "gateway/tls/handshake_counters.h"
#include "gateway/tls/tls_upstream.h"
#include "gateway/upstream/connector.h"
#include "gateway/upstream/endpoint_health.h"
#include "gateway/upstream/server_status.h"
#include "protocols/values/address.h"
#include "protocols/values/snapshot.h"
#include "protocols/values/time.h"

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
    std::atomic<bool> draining{false};  ///< the admin state
    Snapshot<DrainOrder> drained;       ///< null before the first one
};

/// One address of one server: what a session connects to. Shared by the pools before and after a reload.
struct ServerEndpoint {
    std::shared_ptr<UpstreamServer> server;
    Endpoint endpoint;
    EndpointHealth health;
    std::atomic<std::uint64_t> turn{0};      ///< when its next turn is due, see UpstreamPool::turnOf()
    std::atomic<std::uint32_t> sessions{0};  ///< connected or connecting now
    std::atomic<std::uint64_t> sessions_total{0}, failures_total{0};  ///< of sessions, not of checks
    HandshakeCounters handshakes;                                     ///< of sessions and checks
    std::atomic<UnixSeconds> certificate_expires{0};  ///< of the certificate shown last; 0: none was

    void shookHands(const TlsTransport& tls) noexcept;
};

/// Wakes the health checker, from any thread and for as long as anybody holds it.
class CheckAlarm {
  public:
    virtual ~CheckAlarm() = default;
    virtual void ring() noexcept = 0;
};

class UpstreamPool {
  public:
    static constexpr Millis kRetryAfter = EndpointHealth::kRetryAfter;

    /// Called once per change of an endpoint, by the thread that saw it, one at a time.
    struct Events {
        std::function<void(const UpstreamConfig&, const ServerEndpoint&)> up;
        std::function<void(const UpstreamConfig&, const ServerEndpoint&, std::string_view why)> down;
    };

    /// `config` must outlive the pool. `tls`: null where the servers speak in the clear.
    UpstreamPool(const UpstreamConfig& config, Events events, std::shared_ptr<TlsUpstream> tls = nullptr);

    const UpstreamConfig& config() const noexcept { return config_; }
    TlsUpstream* tls() const noexcept { return tls_.get(); }

    enum class Handshake : std::uint8_t {
        Full,    ///< so that the certificate is looked at
        Resumed  ///< where the server has not forgotten an earlier one
    };
    /// Who speaks with a server before TLS, and how.
    struct Speaker {
        Protocol protocol;      ///< Tcp: nothing can be said
        std::string_view name;  ///< of the gateway, for EHLO
        IpAddress own;          ///< where the name does not do
    };
    /// What a new connection to `endpoint` needs to speak TLS; null where it does not. With UpstreamTls::Mirror: as for
    /// a client that has TLS.
    std::unique_ptr<ServerTls> tlsTo(const ServerEndpoint& endpoint, Handshake handshake,
                                     const Speaker& speaker) const;
    /// The same for a server that has consented to STARTTLS: hands are shaken at once. Only where its servers speak TLS.
    std::unique_ptr<ServerTls> tlsAtOnce(const ServerEndpoint& endpoint, Handshake handshake) const;

    /// The endpoints that one session has tried, as bits. Endpoints beyond kMaxEndpoints are not used.
    using Tried = std::uint64_t;
    static constexpr std::size_t kMaxEndpoints = 64;

    /// The next endpoint for a session of `client`, marked in `tried`; null when there is none left.
    std::shared_ptr<ServerEndpoint> pick(const IpAddress& client, Millis now, Tried& tried) noexcept;
    /// `endpoint` once more, for a session that it serves already; null when it would not get a new one, or has been
    /// tried.
    std::shared_ptr<ServerEndpoint> pickAgain(const ServerEndpoint& endpoint, Millis now,
                                              Tried& tried) noexcept;

    /// The outcome of a session's attempt.
    void reportFailure(ServerEndpoint& endpoint, Millis now, ServerFailure failure);
    void reportSuccess(ServerEndpoint& endpoint);

    /// Whether some server may be given sessions and is not known to fail: what a balancer probe is answered.
    bool available(Millis now) const noexcept;

    /// From now on the endpoints are judged as this pool's configuration says, by the health checker that `alarm`
    /// wakes; null: there are no checks. Any thread.
    void watch(std::shared_ptr<CheckAlarm> alarm) noexcept;

    // From the checker's thread.

    void checkPassed(ServerEndpoint& endpoint, Millis now);
    /// `weight`: for how many failures in a row it counts.
    void checkFailed(ServerEndpoint& endpoint, std::string_view why, std::uint32_t weight = 1);

    // Administration. Any thread.

    std::vector<std::shared_ptr<ServerEndpoint>> endpoints() const;
    /// Sets the addresses of server `index` of the configuration; none: they stay as they are. Returns whether
    /// that changed anything.
    bool setAddresses(std::size_t index, const std::vector<Endpoint>& addresses);
    /// False: there is no such server. `order`: of a drain; one that is drained keeps the first.
    bool setAdminState(std::string_view server, AdminState state, const DrainOrder& order = {});
    /// Health, admin states and counts of what has the same name (and address) in `old`. Before the first session.
    void carryOver(const UpstreamPool& old);
    std::vector<ServerStatus> status() const;

  private:
    static constexpr std::uint8_t kNoSlot = 0xff;
    struct Entry {
        std::shared_ptr<ServerEndpoint> endpoint;
        std::uint32_t weight = 1;
        bool backup = false;
        std::uint8_t slot = kNoSlot;  ///< its bit in Tried, for as long as it is in the list
        std::uint64_t identity = 0;   ///< of its address, the same on every gateway
    };
    using Entries = std::vector<Entry>;
    using Reading = Snapshot<Entries>::Reading;
    enum class Tier : std::uint8_t { Up, Backup, LastResort };

    bool serves(const Entry& entry, Tier tier, Millis now) const noexcept;
    bool better(const Entry& one, const Entry& other, std::uint64_t client, Millis now) const noexcept;
    std::uint64_t turnOf(const Entry& entry) const noexcept;
    void takeTurn(const Entry& entry, Millis now) noexcept;
    std::uint32_t weightNow(const Entry& entry, Millis now) const noexcept;
    EndpointHealth::Report reportOn(const ServerEndpoint& endpoint) const;
    EndpointHealth::Policy policy() const noexcept;
    bool rebuild(const Entries& known);
    Entry makeEntry(const Entries& known, std::size_t server, const Endpoint& address) const;

    const UpstreamConfig& config_;
    Events events_;
    std::shared_ptr<TlsUpstream> tls_;
    std::atomic<std::uint64_t> turn_now_{0};  ///< the turn of the endpoint chosen last
    Snapshot<Entries> entries_;

    mutable std::mutex changes_;  ///< everything below
    std::shared_ptr<CheckAlarm> alarm_;
    std::vector<std::shared_ptr<UpstreamServer>> servers_;  ///< as in the configuration
    std::vector<std::vector<Endpoint>> addresses_;          ///< by server
};

}  // namespace mailgate
