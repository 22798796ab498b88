// SPDX-License-Identifier: Apache-2.0
/// \file  What the phases of a session share: both connections and the relay between them, its host, and its record.
#pragma once

#include "gateway/admission/client_table.h"
#include "gateway/io/session_set.h"
#include "gateway/io/transport.h"
#include "gateway/session/relay.h"
#include "gateway/session/session_host.h"
#include "gateway/session/session_record.h"
#include "protocols/refusal.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace mailgate {

/// To end between `from` and `until` (the host's clock), at a point where that breaks nothing, else at `until`.
struct Drain {
    CloseReason end = CloseReason::None;  ///< Shutdown, or Drained: its server is to be left alone
    Millis from = 0;
    Millis until = 0;
};

struct SessionContext {
    static constexpr unsigned kClientSlot = 0;

    SessionContext(SessionHost& session_host, EventHandler& session, const AcceptedConnection& arrival,
                   const Endpoint& local)
        : host(session_host),
          events(session),
          record(arrival, local, host.newSessionId(), host.wallClock(), host.now()),
          relay(host.resources()) {}

    SessionHost& host;
    EventHandler& events;  ///< of its sockets, and its deadline
    SessionRecord record;
    Relay relay;
    ClientTable::Ticket ticket;
    std::unique_ptr<Drain> drain;  ///< null: it is not to end
    std::uint8_t server_slot = 1;
    bool server_tls = false;     ///< server() is a TlsTransport
    bool uses_server = false;    ///< record.endpoint counts it among its sessions
    bool admitted = false;       ///< let in, and not refused since: one `session.end` line is owed
    bool kept_refused = false;   ///< the host counts it among the refused that stay
    bool shaking_hands = false;  ///< the host counts it among the handshakes

    std::unique_ptr<Transport>& client() noexcept { return relay.transport(Side::Client); }
    const std::unique_ptr<Transport>& client() const noexcept { return relay.transport(Side::Client); }
    /// While bytes move between the two; before that, its connector has it.
    std::unique_ptr<Transport>& server() noexcept { return relay.transport(Side::Server); }
    const std::unique_ptr<Transport>& server() const noexcept { return relay.transport(Side::Server); }

    /// One deadline at a time.
    void armIn(Millis after) noexcept { armAt(host.now() + after); }
    void armAt(Millis deadline) noexcept { host.arm(events, deadline); }
    /// There is more to do for `side` than would be fair to others now: an event without bits comes in a later turn.
    void defer(Side side) { host.defer(events, side == Side::Client ? kClientSlot : server_slot); }

    /// From now on counted among the sessions of `endpoint`, whose events come with a slot of their own.
    void useServer(std::shared_ptr<ServerEndpoint> endpoint) noexcept;
    void leaveServer() noexcept;

    /// It is to end. Throws std::bad_alloc.
    void drainAs(const Drain& asked) { drain = std::make_unique<Drain>(asked); }
    /// The operator changed his mind about the server.
    void undrain() noexcept {
        if (drain && drain->end == CloseReason::Drained) drain.reset();
    }

    /// A TLS handshake may begin; true when one has. endHandshake() may be called without one.
    bool beginHandshake() noexcept { return shaking_hands = shaking_hands || host.handshakeBegins(); }
    void endHandshake() noexcept {
        if (std::exchange(shaking_hands, false)) host.handshakeOver();
    }

    const Config& config() const noexcept { return record.config(); }
    /// What the protocol's filter has to know of TLS now.
    TlsPolicy tlsPolicy() const noexcept;
    /// The client uses TLS, which ends here or before it came here.
    bool behindTls() const noexcept { return record.tls || record.balancerEndsTls(); }
    /// TLS with the server begins when TLS with the client does.
    bool mirrorsStartTls() const noexcept {
        return record.listener().tls == ListenerTls::StartTls && !record.balancerEndsTls() &&
               record.pool().config().tls == UpstreamTls::Mirror;
    }
    /// What a new connection to record.endpoint needs to speak TLS; null where it does not, or not yet.
    std::unique_ptr<ServerTls> tlsToServer() const;
    /// `tls`: hands have been shaken with the server.
    void serverSecured(const TlsTransport& tls);
    /// TLS ends here, and did not begin with the first byte.
    bool afterStartTls() const noexcept {
        return record.tls && record.listener().tls == ListenerTls::StartTls;
    }
    /// The server's end was not the end of its TLS: whoever cut the connection, bytes may be missing.
    bool serverCutOff() const noexcept {
        return server_tls && static_cast<const TlsTransport&>(*server()).truncated();
    }
    /// The end of `side` was cut off, and nothing in what it has said shows whether that was all.
    bool mayLackBytesOf(Side side) const noexcept {
        if (record.listener().protocol != Protocol::Tcp) return false;
        if (side == Side::Server) return serverCutOff();
        return record.tls && static_cast<const TlsTransport&>(*client()).truncated();
    }
    /// Nothing can be said or seen in the clear, from the first byte on.
    bool opaqueFromStart() const noexcept;
    /// In which protocol the client can be sent words of ours; Tcp: in none.
    Protocol replyProtocol() const noexcept;
    // Every refusal that the listener's mode may set aside is decided through these two.

    /// Whether the listener refuses for that reason, or only records that it would.
    bool enforces(Refusal refusal) const noexcept {
        return record.listener().mode != ListenerMode::Monitor || !isPolicy(refusal);
    }
    /// There is reason to refuse: whether the session ends of it. If not that is recorded, and it goes on as if there
    /// were none.
    bool mustRefuse(Refusal refusal, const LimitReached& limit = {}) noexcept;

    /// What our own replies name: `client` is an address in text.
    RefusalText refusalText(std::string_view client) const noexcept {
        const ListenerConfig& listener = record.listener();
        return {config().name, client, record.id.text(), listener.refusal_footer,
                listener.mode == ListenerMode::Soft};
    }
    /// In the client's protocol, with its end of line; may be empty.
    std::string refusalFor(Refusal refusal) const;
    /// ... and what follows it.
    std::unique_ptr<Dialogue> refusalDialogue(Refusal refusal) const;
    /// The first refusal that was set aside, in these words; empty: none was.
    std::string refusalSetAside() const;

  private:
    /// For a server that is told an address in place of a name.
    IpAddress ownAddress() const noexcept;
    /// It is a rule that refuses, and one whose refusals are not permanent.
    bool ruleIsTemporary(Refusal refusal) const noexcept;
    /// Of the rule that denies, where it and the listener show it.
    std::string ruleNote() const;
};

}  // namespace mailgate
