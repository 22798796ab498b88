// SPDX-License-Identifier: Apache-2.0
/// \file  What is known of a session so far: for its log line, the journal and the live view.
#pragma once

#include "gateway/session/generation.h"
#include "gateway/session/session_id.h"
#include "gateway/tls/tls_transport.h"
#include "protocols/proxy/header.h"
#include "protocols/stream/session_facts.h"
#include "protocols/stream/stream_filter.h"
#include "store/rules/table.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace mailgate {

/// The verdict of the access rules on a client.
struct Admission {
    bool allowed = false;
    bool temporary = false;  ///< by the rule a denial is not to be permanent
    std::optional<std::uint8_t>
        rule_prefix;  ///< of the rule that matched, whose network is around the client; none: the listener's default
};

/// Where a session comes from; filled in by the acceptor.
struct AcceptedConnection {
    std::shared_ptr<const Generation> generation;
    store::ListenerIndex listener_index = 0;  ///< in the generation
    Endpoint peer;                            ///< who TCP says it is
    bool header_expected = false;             ///< by the listener's `proxy` and the peer

    const ListenerConfig& listener() const noexcept { return generation->config.listeners[listener_index]; }
};

/// The limit that a client has reached.
struct LimitReached {
    enum class Which : std::uint8_t { None, Sessions, Rate };
    Which which = Which::None;
    std::uint32_t value = 0;

    /// In log and journal, and the key that sets it; empty: none.
    constexpr std::string_view name() const noexcept {
        switch (which) {
            case Which::None:
                break;
            case Which::Sessions:
                return "client_sessions";
            case Which::Rate:
                return "client_rate";
        }
        return {};
    }
    explicit constexpr operator bool() const noexcept { return which != Which::None; }
};

/// Of TLS with the server, for log and journal.
struct ServerTlsFacts {
    std::string_view version, cipher;  ///< OpenSSL's own texts
    bool resumed = false;
    bool verified = false;
    TlsFailure failure;  ///< why there is none, though the server had consented to it
};

/// Reasons to refuse.
class RefusalSet {
  public:
    bool has(Refusal refusal) const noexcept { return (bits_ & bit(refusal)) != 0; }
    void add(Refusal refusal) noexcept { bits_ |= bit(refusal); }
    bool empty() const noexcept { return bits_ == 0; }
    std::size_t size() const noexcept { return static_cast<std::size_t>(std::popcount(bits_)); }

  private:
    static constexpr std::uint32_t bit(Refusal refusal) noexcept {
        return std::uint32_t{1} << static_cast<unsigned>(refusal);
    }
    static_assert(kRefusals <= 32);
    std::uint32_t bits_ = 0;
};

/// A moment early in a session's life: milliseconds since its start, in 32 bits. One that is farther away than that counts as
/// 49 days.
class Moment {
  public:
    Moment() noexcept = default;  ///< has not come
    explicit Moment(Millis since_start) noexcept
        : one_more_(static_cast<std::uint32_t>(std::clamp<Millis>(since_start, 0, kLast)) + 1) {}

    bool hasCome() const noexcept { return one_more_ != 0; }
    Millis sinceStart() const noexcept { return hasCome() ? Millis{one_more_} - 1 : 0; }
    friend Millis operator-(Moment later, Moment earlier) noexcept {
        return later.sinceStart() - earlier.sinceStart();
    }

  private:
    static constexpr Millis kLast = 0xFFFFFFFE;
    std::uint32_t one_more_ = 0;
};

struct SessionRecord {
    /// `local`: where it connected to.
    SessionRecord(const AcceptedConnection& from, const Endpoint& local, const SessionId& session,
                  std::int64_t wall_clock, Millis now)
        : arrival(from), id(session), destination(local), wall_start(wall_clock), start(now) {}

    // There are as many of these as sessions. Ordered by size, from the shortest: it leaves no holes.
    [[no_unique_address]] AcceptedConnection arrival;
    SessionId id;
    CloseReason end = CloseReason::None;  ///< see close()
    Endpoint client;
    Endpoint destination;  ///< the client's, by the header; before one has come, the peer's
    std::uint16_t header_bytes = 0;
    std::optional<Violation> violation;  ///< what ended it, if one did
    Admission admission;
    Moment header_done;
    Moment connecting;  ///< the way to a server began
    Moment connected;
    Moment greeted;
    RefusalSet would_refuse;            ///< what monitor mode has let pass
    LimitReached would_limit;           ///< ... where that was a limit
    std::int64_t rule_id = 0;           ///< of the rule that matched: a moment later the table may be another
    std::unique_ptr<proxy::Tlvs> tlvs;  ///< null when the header had none
    std::unique_ptr<TlsFacts> tls;      ///< null: TLS does not end here, or not yet
    std::unique_ptr<ServerTlsFacts> server_tls;  ///< null: none was spoken with the server
    std::shared_ptr<ServerEndpoint> endpoint;    ///< tried or used last
    SessionFacts facts;
    std::int64_t wall_start;  ///< Unix time, milliseconds
    // On the monotonic clock.
    Millis start;
    Millis last_activity = 0;  ///< 0: has not been relayed

    Moment at(Millis now) const noexcept { return Moment(now - start); }

    /// The first reason stands: its consequences are not reasons of their own.
    void close(CloseReason reason) noexcept {
        if (end == CloseReason::None) end = reason;
    }
    /// Its client is known: any header has been read.
    bool identified() const noexcept { return header_done.hasCome(); }

    /// The client uses TLS, and the balancer ends it.
    bool balancerEndsTls() const noexcept {
        if (listener().tls == ListenerTls::Passthrough || !arrival.header_expected) return false;
        return (tlvs && tlvs->ssl && tlvs->ssl->tls) || listener().endedBy(arrival.peer.address);
    }

    const Config& config() const noexcept { return arrival.generation->config; }
    const ListenerConfig& listener() const noexcept { return arrival.listener(); }
    ListenerCounters& listenerCounters() const {
        return *arrival.generation->listeners[arrival.listener_index];
    }
    UpstreamCounters& upstreamCounters() const {
        return *arrival.generation->upstream_counters[listener().upstream_index];
    }
    UpstreamPool& pool() const { return *arrival.generation->upstreams[listener().upstream_index]; }
};

}  // namespace mailgate
