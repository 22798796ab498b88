// SPDX-License-Identifier: Apache-2.0
/// \file  What the gateway counts. Relaxed atomics: any thread adds, any thread reads.
#pragma once

#include "gateway/admission/address_vote.h"
#include "gateway/tls/handshake_counters.h"
#include "protocols/refusal.h"
#include "protocols/values/address.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate {

/// Why a connection got no session. The names are part of the log's and the metrics' contract.
enum class Rejection : std::uint8_t {
    UntrustedPeer,  ///< the peer is not in the listener's `trusted`
    NoHeader,       ///< a trusted peer sent nothing until the time limit
    HeaderTimeout,  ///< ... or only part of a header
    Incomplete,     ///< the peer closed in mid-header
    Unexpected,     ///< a client sent one where none is expected, in the place of a command
    NotProxy,       ///< from here on: the decoder's reasons, proxy::Reason in its order
    BadV1,
    V1TooLong,
    BadVersion,
    BadCommand,
    BadFamily,
    UnsupportedFamily,
    BadLength,
    TooLong,
    BadTlv,
    BadChecksum,
};
inline constexpr std::size_t kRejections = static_cast<std::size_t>(Rejection::BadChecksum) + 1;

std::string_view toString(Rejection rejection) noexcept;

/// How a session ended, for the log. The names are part of the log's and the metrics' contract.
enum class CloseReason : std::uint8_t {
    None,
    ClientQuit,    ///< QUIT or LOGOUT, and the server let it go
    ClientClosed,  ///< the client closed first
    ClientReset,   ///< the client's connection broke
    ServerClosed,  ///< the server closed first
    ServerLost,    ///< the server's connection broke
    IdleTimeout,
    HalfCloseTimeout,        ///< one side had closed, the other never did
    Refused,                 ///< the refusal has been sent
    Check,                   ///< a balancer probe
    Shutdown,                ///< the gateway stopped
    Drained,                 ///< its server is being drained
    Killed,                  ///< closed by an administrator's order
    GatewayError,            ///< out of memory or descriptors
    BareLf,                  ///< a message had a line that ends in LF alone
    ForbiddenCommand,        ///< the client claimed to be another one
    ProtocolViolation,       ///< what the client sent was not understood
    PlaintextAfterStartTls,  ///< the client sent something in the clear behind STARTTLS
    TlsRequired,             ///< the client would not begin TLS
    ServerViolation,         ///< the server's replies did not match the client's commands
    TlsHandshakeFailed,
    TlsError,  ///< the client's TLS broke in the session
};
inline constexpr std::size_t kCloseReasons = static_cast<std::size_t>(CloseReason::TlsError) + 1;
std::string_view toString(CloseReason end) noexcept;
/// Of a session that was admitted: one that has a `session.end`, and is counted in `ends`.
constexpr bool endsAdmitted(CloseReason end) noexcept {
    return end != CloseReason::None && end != CloseReason::Refused && end != CloseReason::Check;
}

inline constexpr std::size_t kRefusals = static_cast<std::size_t>(Refusal::ServerViolation) + 1;
/// The `reason` of a refused session.
std::string_view reasonFor(Refusal refusal) noexcept;

using Counter = std::atomic<std::uint64_t>;
inline void count(Counter& counter, std::uint64_t by = 1) noexcept {
    counter.fetch_add(by, std::memory_order_relaxed);
}
inline std::uint64_t value(const Counter& counter) noexcept {
    return counter.load(std::memory_order_relaxed);
}

/// How often something took how long. The bounds suit a server on the same machine as well as a name
/// look-up gone wrong.
struct TimeHistogram {
    static constexpr std::array<std::int64_t, 10> kBoundsMs{1, 2, 5, 10, 50, 100, 500, 1'000, 5'000, 10'000};
    std::array<Counter, kBoundsMs.size() + 1> buckets{};
    Counter sum_ms{0};

    void add(std::int64_t milliseconds) noexcept;
};

/// The place of a counter among what is reported beside them (rejections, refusals by reason).
enum class CounterGroup : std::uint8_t {
    Sessions,  ///< how connections went
    Content,   ///< what went on in them
};

/// All that is known of a counter. The snapshot, the admin API's JSON, the metrics, the `gateway.stop` line and
/// `mailgate status` go through the rows: a new counter is a member, its row, and the place that counts.
template <typename Counters>
struct CounterRow {
    std::string_view name;  ///< in JSON and in the log; empty: told as a metric alone
    Counter Counters::*counter;
    CounterGroup group;
    std::string_view help;
    std::string_view metric = {};  ///< its family, which rows in a row may share; empty: told in JSON alone
    std::string_view label = {};   ///< of the family, with this counter's value
    std::string_view label_value = {};
    std::string_view former_metric = {};  ///< the family's name before, told beside it for one more release
};

struct ListenerTotals {
    Counter accepted{0};
    // By the verdict of the rules, whatever became of the session.
    Counter admitted{0};
    Counter denied{0};
    Counter failed_logins{0};
    Counter logins{0};
    Counter mails{0};
    Counter recipients{0};
    Counter tls_required_refusals{0};
};
inline constexpr CounterRow<ListenerTotals> kListenerCounters[] = {
    {"accepted", &ListenerTotals::accepted, CounterGroup::Sessions,
     "Connections accepted, whatever became of them.", "mailgate_connections_total"},
    {"admitted", &ListenerTotals::admitted, CounterGroup::Sessions,
     "Sessions by the verdict of the access rules.", "mailgate_sessions_total", "verdict", "allow"},
    {"", &ListenerTotals::denied, CounterGroup::Sessions, "Sessions by the verdict of the access rules.",
     "mailgate_sessions_total", "verdict", "deny"},
    {"failed_logins", &ListenerTotals::failed_logins, CounterGroup::Content,
     "Logins that a server refused, in sessions that have ended.", "mailgate_failed_logins_total"},
    {"logins", &ListenerTotals::logins, CounterGroup::Content,
     "Sessions in which a server accepted a login, of those that have ended.", "mailgate_logins_total"},
    {"mails", &ListenerTotals::mails, CounterGroup::Content,
     "Messages that a server accepted, as far as the session could be read.", "mailgate_mails_total"},
    {"recipients", &ListenerTotals::recipients, CounterGroup::Content, "Recipients of these messages.",
     "mailgate_recipients_total"},
    {"tls_required_refusals", &ListenerTotals::tls_required_refusals, CounterGroup::Content,
     "Commands that had to wait for TLS and were refused by mailgate, in sessions that have ended.",
     "mailgate_tls_required_refusals_total"},
};

struct ListenerCounters : ListenerTotals {
    HandshakeCounters handshakes;
    std::array<Counter, kRefusals> refusals{};      ///< all of them, by reason
    std::array<Counter, kRefusals> would_refuse{};  ///< sessions that monitor mode let pass; of isPolicy()
    std::atomic<std::int64_t> live{0};
    std::atomic<int> paused{0};  ///< workers that accept nothing for want of descriptors
    AddressVote address_vote;
    std::atomic<bool> address_alarm{false};  ///< most sessions come from one private address
};

/// Of the servers of an upstream, over all that its sessions did.
struct UpstreamCounters {
    TimeHistogram connect, greeting;
};

/// Connections closed for their PROXY header, by reason and balancer. Bounded: the first kMaxBalancers trusted
/// peers have their address, all else is "other"; a peer that nobody trusts always is, so that a port scan creates
/// no time series.
class RejectionTally {
  public:
    static constexpr std::size_t kMaxBalancers = 64;
    struct Row {
        std::string_view reason;
        std::string balancer;
        std::uint64_t count;
    };
    void add(Rejection rejection, const IpAddress& peer);
    std::vector<Row> rows() const;

  private:
    mutable std::mutex mutex_;
    std::map<std::pair<Rejection, std::string>, std::uint64_t> counts_;
    std::set<std::string> balancers_;
};

struct GatewayTotals {
    Counter accepted{0};
    Counter admitted{0};
    Counter refused{0};
    Counter turned_away{0};
    Counter checks{0};
    Counter empty{0};
    Counter bytes_in{0};
    Counter bytes_out{0};
    Counter reloads{0};
    Counter failed_reloads{0};
};
inline constexpr CounterRow<GatewayTotals> kGatewayCounters[] = {
    {"accepted", &GatewayTotals::accepted, CounterGroup::Sessions,
     "Connections accepted, whatever became of them."},
    {"admitted", &GatewayTotals::admitted, CounterGroup::Sessions,
     "Sessions that passed the access rules, whatever became of them."},
    {"refused", &GatewayTotals::refused, CounterGroup::Sessions, "Sessions refused by rule or default."},
    {"turned_away", &GatewayTotals::turned_away, CounterGroup::Sessions,
     "Sessions refused for a reason other than the access rules: a client's limits, gateway full, no server, "
     "stopping.",
     "mailgate_turned_away_total"},
    {"checks",
     &GatewayTotals::checks,
     CounterGroup::Sessions,
     "Balancer probes answered.",
     "mailgate_balancer_probes_total",
     {},
     {},
     "mailgate_health_checks_total"},
    {"empty", &GatewayTotals::empty, CounterGroup::Sessions,
     "Connections that ended before their first byte.", "mailgate_empty_connections_total"},
    {"bytes_in", &GatewayTotals::bytes_in, CounterGroup::Content,
     "Bytes relayed in sessions that have ended.", "mailgate_relayed_bytes_total", "direction", "in"},
    {"bytes_out", &GatewayTotals::bytes_out, CounterGroup::Content,
     "Bytes relayed in sessions that have ended.", "mailgate_relayed_bytes_total", "direction", "out"},
    {"reloads", &GatewayTotals::reloads, CounterGroup::Content,
     "Reloads of the configuration by their result.", "mailgate_reloads_total", "result", "done"},
    {"failed_reloads", &GatewayTotals::failed_reloads, CounterGroup::Content,
     "Reloads of the configuration by their result.", "mailgate_reloads_total", "result", "failed"},
};

struct Counters : GatewayTotals {
    std::array<Counter, kCloseReasons> ends{};  ///< admitted sessions, by how they ended
    std::array<Counter, kRefusals> refusals{};  ///< refused ones, by reason
    RejectionTally rejections;
    std::atomic<bool> last_reload_failed{false};
};

// A counter without a row would be reported nowhere.
static_assert(std::size(kListenerCounters) == sizeof(ListenerTotals) / sizeof(Counter));
static_assert(std::size(kGatewayCounters) == sizeof(GatewayTotals) / sizeof(Counter));

/// Values of the counters at a moment, in their rows' order.
template <typename Totals>
using CounterValues = std::array<std::uint64_t, sizeof(Totals) / sizeof(Counter)>;

inline CounterValues<ListenerTotals> valuesOf(const ListenerTotals& totals) noexcept {
    CounterValues<ListenerTotals> values{};
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = value(totals.*kListenerCounters[i].counter);
    return values;
}
inline CounterValues<GatewayTotals> valuesOf(const GatewayTotals& totals) noexcept {
    CounterValues<GatewayTotals> values{};
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = value(totals.*kGatewayCounters[i].counter);
    return values;
}

}  // namespace mailgate
