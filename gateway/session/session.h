// SPDX-License-Identifier: Apache-2.0
/// \file  One client connection's whole life, including the server it is handed to: a sequence of phases.
///
/// Events go to the current phase; advance() follows what it returns, and is the state diagram
/// (docs/architecture.md). A session stays on the worker that accepted it; no locks. Once closed, no event, timer or
/// task has any effect.
#pragma once

#include "gateway/session/connect_phase.h"
#include "gateway/session/dialogue_phase.h"
#include "gateway/session/header_phase.h"
#include "gateway/session/linger_phase.h"
#include "gateway/session/live_session.h"
#include "gateway/session/relay_phase.h"
#include "gateway/session/tls_phase.h"

#include <cstdint>
#include <memory>
#include <string_view>
#include <variant>

namespace mailgate {

class Session final : public EventHandler {
  public:
    static constexpr unsigned kClientSlot = SessionContext::kClientSlot;

    /// `local`: the address that the peer connected to.
    Session(SessionHost& host, const AcceptedConnection& arrival, const Endpoint& local);
    ~Session() override;

    /// `client`: connected, its events go to this session's kClientSlot.
    void start(std::unique_ptr<Transport> client);

    void onEvents(unsigned slot, std::uint32_t events) override;

    void drain(const Drain& drain);
    /// The operator changed his mind about the server.
    void undrain();
    /// Ends it now, with the protocol's goodbye where one can be sent safely. False: it has ended already.
    bool kill();
    /// Ends now, whatever is under way.
    void abort(CloseReason reason);

    // What the administrator sees.
    LiveSession live() const;
    const SessionId& id() const noexcept { return context_.record.id; }
    const ListenerConfig& listener() const noexcept { return context_.record.listener(); }
    const Endpoint& client() const noexcept { return context_.record.client; }
    /// Its client is known: any header has been read.
    bool identified() const noexcept { return context_.record.identified(); }
    /// All that its client gets has been decided: kill() has nothing to end.
    bool ending() const noexcept;
    bool usesServer(std::string_view upstream, std::string_view server) const noexcept;

    // Links of the worker's list of sessions.
    Session* previous = nullptr;
    Session* next = nullptr;

  private:
    void onTimer() override;

    /// Passes an event to the phase, and follows what it returns. False: it stays.
    template <typename Event>
    bool on(Event event);
    void advance(Next step);
    template <typename NewPhase, typename... Arguments>
    Next enter(Arguments&&... arguments);
    void closeTls(CloseReason& reason) noexcept;
    void close(CloseReason reason);

    SessionContext context_;
    std::variant<HeaderPhase, TlsPhase, DialoguePhase, ConnectPhase, RelayPhase, LingerPhase, ClosedPhase>
        phase_;
};

}  // namespace mailgate
