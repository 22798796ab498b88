// SPDX-License-Identifier: Apache-2.0
/// \file  What the running gateway reports and which orders it takes: its interface for the admin socket
/// and the metrics.
///
/// Implemented by the gateway; its methods may be called from any thread. Snapshots are values: one costs each worker
/// a short task, and nobody a lock.
#pragma once

#include "gateway/config/sources.h"
#include "gateway/session/counters.h"
#include "gateway/session/live_session.h"
#include "gateway/upstream/server_status.h"
#include "protocols/values/network.h"
#include "store/fleet/follower.h"
#include "store/fleet/shipper.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::admin {

/// One that a listener presents.
struct CertificateStatus {
    std::string listener, file;
    std::vector<std::string> names;
    std::string subject, key_type, sha256;
    std::int64_t not_before = 0, not_after = 0;  ///< Unix time
};

/// The files with which somebody speaks TLS.
struct TlsFilesStatus {
    std::string used_by, name;  ///< "listener" or "upstream" and its name, or "console" and the same
    std::string
        failure{};  ///< why what they say now is not in use, and what a restart would do; empty: it is
};

struct ListenerStatus {
    std::string name, protocol;
    std::vector<std::string> addresses;
    CounterValues<ListenerTotals> totals{};  ///< by row of kListenerCounters
    std::uint64_t refused = 0;               ///< for whatever reason
    std::uint64_t live = 0;
    bool paused = false;                                            ///< out of descriptors
    std::vector<std::pair<std::string, std::uint64_t>> refusals{};  ///< by reason
    std::vector<HandshakeCount> handshakes{};                       ///< none: TLS does not end here
    std::string mode = "enforce";
    std::vector<std::pair<std::string, std::uint64_t>>
        would_refuse{};  ///< sessions let pass in monitor mode, by reason
    std::string upstream{};
    bool available = true;  ///< some server of the upstream takes sessions
    std::string access = "allowlist";
    bool closed =
        false;  ///< it refuses every client: an allowlist whose rules let in nobody, and that does not only monitor
    std::vector<std::string> trusted{};  ///< balancers' networks
};

/// Cumulative, in seconds; bounds as `upper_bounds`, the last bucket is +Inf.
struct Histogram {
    std::vector<double> upper_bounds;
    std::vector<std::uint64_t> counts;  ///< not cumulative, one more than bounds
    double sum = 0;
};

struct UpstreamStatus {
    std::string name;
    Histogram connect_seconds, greeting_seconds;
};

/// How the keys of session tickets stand to those of the gateway's fleet.
struct TicketKeysStatus {
    bool configured = false;  ///< they are to be shared
    UnixSeconds until = 0;    ///< so long one of the fleet seals; 0: this gateway's own does
    std::string failure{};    ///< of the last look at the fleet's; empty: it went well
};

/// What the configuration's files say by now, and what is in force does not go by.
struct ConfigChange : config::SourceChange {
    std::vector<std::string> restart{};  ///< keys that have changed, and can only change with a restart
    /// Why a reload would not take them, and perhaps no restart; a line for each error. Empty: they have none; a reload may be refused all
    /// the same, for `restart`, TLS files or addresses.
    std::string refused{};
};

struct Status {
    std::string name, version;
    std::string config_file, store;             ///< what it was started with; the file's absolute path
    std::optional<ConfigChange> config_change;  ///< for whoever asks configChange() too
    std::int64_t pid = 0, started_ms = 0;
    bool draining = false;
    std::uint64_t live = 0, max_sessions = 0;
    std::uint64_t configured_sessions =
        0;  ///< max_sessions of the file; more: the limit on open files is in its way
    std::vector<ListenerStatus> listeners;
    std::vector<ServerStatus> servers;  ///< one for each address: (upstream, server, address) is unique
    std::vector<CertificateStatus> certificates;
    std::vector<TlsFilesStatus> tls_files{};
    CounterValues<GatewayTotals> totals{};  ///< by row of kGatewayCounters
    std::vector<RejectionTally::Row> rejections;
    std::vector<std::pair<std::string, std::uint64_t>> ends;      ///< sessions by how they ended
    std::vector<std::pair<std::string, std::uint64_t>> refusals;  ///< refused sessions by reason
    std::uint64_t rules = 0, rules_bytes = 0;
    std::uint64_t rules_expiring = 0;                     ///< within rules.warn_expiry
    std::int64_t rules_version = 0, rules_loaded_ms = 0;  ///< Unix time the table in force was built
    std::vector<std::pair<std::string, std::uint64_t>>
        rules_without_listener;  ///< rules that decide nothing, by the listener that they name and nobody has
    bool last_reload_failed = false;
    bool rules_failed = false;  ///< the store cannot be read; the last table is in force
    store::FleetStatus fleet;
    store::ShipperStatus fleet_journal;
    TicketKeysStatus fleet_tickets;
    std::uint64_t log_lines_lost = 0;
    std::string log_failure{};  ///< as EventLog::Trouble has it; empty: all is well
    std::int64_t log_failed_since_ms = 0;
    std::uint64_t journal_queued = 0, journal_written = 0, journal_lost = 0, journal_bytes = 0;
    std::string journal_failure{};  ///< why it cannot be written; empty: it can
    std::int64_t journal_failed_since_ms = 0;
    std::uint64_t journal_max_bytes = 0;  ///< as configured; 0: there is no journal
    std::int64_t journal_oldest_ms = 0;   ///< Unix time of the oldest session in it; 0: it is empty
    std::vector<UpstreamStatus> upstreams;
    std::vector<double> worker_lag_seconds;  ///< per worker: how late its last timer tick was
    std::vector<std::string>
        address_alarms;  ///< listeners whose sessions come mostly from one private address
};

/// Whether clients are served.
enum class Readiness : std::uint8_t {
    Ready,
    NotReady,         ///< not yet, or no more: the gateway is stopping
    NoServer,         ///< it takes connections, but has no server to give them to
    UnknownListener,  ///< there is none of that name
};

/// The outcome of an order: `ok`, or what was wrong in one sentence.
struct Outcome {
    bool ok = true;
    std::string message;
};

/// Which sessions are to end.
struct Cut {
    Network network;                     ///< of their clients
    std::vector<std::string> listeners;  ///< empty: all
    /// Only those whom the access rules of this version, or a later one, deny; none: whatever the rules say.
    std::optional<std::int64_t> rules_version;
};

class Control {
  public:
    virtual ~Control() = default;
    virtual Status status() = 0;
    /// They cannot be read: those read before stay in force. Waits for nothing.
    virtual bool rulesFailed() = 0;
    /// Reads the files, for as long as their disk takes: not for what balancers and monitors ask all the time. Nothing: they
    /// say what is in force.
    virtual std::optional<ConfigChange> configChange() = 0;
    virtual std::vector<LiveSession> sessions() = 0;
    /// The newest of each worker, `most` of them, in any order; how many there are counts all.
    virtual LiveSessions newestSessions(std::size_t most) = 0;
    /// Ends one session, with the protocol's goodbye where one can be sent safely. False: no such session.
    virtual bool kill(std::string_view id) = 0;
    /// Ends sessions, and returns how many. None: the access rules of `cut.rules_version` did not come into force in
    /// time, and no session was ended.
    virtual std::optional<std::size_t> cut(const Cut& cut) = 0;
    /// `by`: whose order it is.
    virtual Outcome setServer(std::string_view upstream, std::string_view server, AdminState state,
                              std::string_view by) = 0;
    /// The same at all gateways of the fleet: it is in the fleet's database when this returns. Throws store::StoreError.
    virtual Outcome setServerEverywhere(std::string_view, std::string_view, AdminState, std::string_view) {
        return {false, "this gateway has no part in a fleet: url in [fleet] names its database"};
    }
    /// Reloads the configuration as SIGHUP does: as a whole, or not at all, and then the outcome says why.
    virtual Outcome reload() = 0;
    /// Ready once workers accept and the rules are loaded, until a stop begins, while `listener` has a server; with no name,
    /// while any has. Waits for nothing.
    virtual Readiness ready(std::string_view listener) = 0;
    /// How the gateway, and its journal, stand to its fleet. Waits for nothing.
    virtual store::FleetStatus fleet() { return {}; }
    virtual store::ShipperStatus fleetJournal() { return {}; }
};

}  // namespace mailgate::admin
