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

#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace mailgate {

/// The verdict of the access rules on a client.
struct Admission {
    bool allowed = false;
    bool temporary = false;       ///< by the rule a denial is not to be permanent
    std::optional<Network> rule;  ///< that matched; none: the listener's default
    std::int64_t rule_id = 0;     ///< its id: a moment later the table may be another
};

/// Where a session comes from; filled in by the acceptor.
struct AcceptedConnection {
    std::shared_ptr<const Generation> generation;
    const ListenerConfig* listener = nullptr;  ///< of the generation
    store::ListenerIndex listener_index = 0;
    Endpoint peer;                 ///< who TCP says it is
    Endpoint local;                ///< where it connected to; port 0: not asked for yet
    bool header_expected = false;  ///< by the listener's `proxy` and the peer
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

struct SessionRecord {
    SessionRecord(const AcceptedConnection& from, const SessionId& session, std::int64_t wall_clock,
                  Millis now)
        : arrival(from), id(session), wall_start(wall_clock), start(now) {}

    AcceptedConnection arrival;
    SessionId id;
    CloseReason end = CloseReason::None;  ///< see close()
    std::uint16_t header_bytes = 0;
    std::optional<Violation> violation;  ///< what ended it, if one did
    Endpoint client;
    Endpoint destination;
    Admission admission;
    std::bitset<kRefusals> would_refuse;         ///< by Refusal: what monitor mode has let pass
    LimitReached would_limit;                    ///< ... where that was a limit
    std::unique_ptr<proxy::Tlvs> tlvs;           ///< null when the header had none
    std::unique_ptr<TlsFacts> tls;               ///< null: TLS does not end here, or not yet
    std::unique_ptr<ServerTlsFacts> server_tls;  ///< null: none was spoken with the server
    std::shared_ptr<ServerEndpoint> endpoint;    ///< tried or used last
    SessionFacts facts;
    std::int64_t wall_start;  ///< Unix time, milliseconds
    // On the monotonic clock; 0: has not happened.
    Millis start;
    Millis header_done = 0;
    Millis connecting = 0;  ///< the way to a server began
    Millis connected = 0;
    Millis greeted = 0;
    Millis last_activity = 0;

    /// The first reason stands: its consequences are not reasons of their own.
    void close(CloseReason reason) noexcept {
        if (end == CloseReason::None) end = reason;
    }
    /// Its client is known: any header has been read.
    bool identified() const noexcept { return header_done != 0; }

    /// The client uses TLS, and the balancer ends it.
    bool balancerEndsTls() const noexcept {
        if (listener().tls == ListenerTls::Passthrough || !arrival.header_expected) return false;
        return (tlvs && tlvs->ssl && tlvs->ssl->tls) || listener().endedBy(arrival.peer.address);
    }

    const Config& config() const noexcept { return arrival.generation->config; }
    const ListenerConfig& listener() const noexcept { return *arrival.listener; }
    ListenerCounters& listenerCounters() const {
        return *arrival.generation->listeners[arrival.listener_index];
    }
    UpstreamCounters& upstreamCounters() const {
        return *arrival.generation->upstream_counters[arrival.listener->upstream_index];
    }
    UpstreamPool& pool() const { return *arrival.generation->upstreams[arrival.listener->upstream_index]; }
};

}  // namespace mailgate
