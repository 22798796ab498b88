// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session.h"

#include "gateway/session/admission.h"
#include "gateway/session/overloaded.h"
#include "gateway/session/session_report.h"

#include <algorithm>
#include <new>
#include <utility>

namespace mailgate {

Session::Session(SessionHost& host, const AcceptedConnection& arrival, const Endpoint& local)
    : context_(host, *this, arrival, local), phase_(std::in_place_type<HeaderPhase>, context_) {
    context_.record.listenerCounters().live.fetch_add(1, std::memory_order_relaxed);
}

Session::~Session() {
    context_.record.listenerCounters().live.fetch_sub(1, std::memory_order_relaxed);
}

// ---- events

void Session::start(std::unique_ptr<Transport> client) {
    context_.client() = std::move(client);
    on([](auto& phase) { return phase.begin(); });
}

void Session::onEvents(unsigned slot, std::uint32_t events) {
    const bool from_client = slot == kClientSlot;
    // A server that was given up may still have an event in the batch under way.
    if (!from_client && slot != context_.server_slot) return;
    if (const auto& end = from_client ? context_.client() : context_.server()) {
        end->note(events);
        // In TLS a read may have waited for a write.
        if ((events & kWritable) && end->readable()) events |= kReadable;
    }
    on([&](auto& phase) { return from_client ? phase.onClient(events) : phase.onServer(events); });
}

void Session::onTimer() {
    on([](auto& phase) { return phase.onDeadline(); });
}

void Session::drain(const Drain& drain) {
    on([&](auto& phase) { return phase.onDrain(drain); });
}

void Session::undrain() {
    context_.undrain();
}

bool Session::kill() {
    return on([](auto& phase) { return phase.onKill(); });
}

void Session::abort(CloseReason reason) {
    on([&](auto& phase) { return phase.onAbort(reason); });
}

/// Where memory runs out a session ends, whatever it is at; the others go on.
template <typename Event>
bool Session::on(Event event) {
    try {
        Next step = std::visit([&](auto& phase) -> Next { return event(phase); }, phase_);
        if (stays(step)) return false;
        advance(std::move(step));
        return true;
    } catch (const std::bad_alloc&) {
    }
    try {
        close(CloseReason::GatewayError);
    } catch (const std::bad_alloc&) {
        context_.admitted = false;  // no memory for its line either
        close(CloseReason::GatewayError);
    }
    return true;
}

// ---- the diagram

/// What a phase begins with may end it at once: then it goes on from there.
template <typename NewPhase, typename... Arguments>
Next Session::enter(Arguments&&... arguments) {
    return phase_.emplace<NewPhase>(context_, std::forward<Arguments>(arguments)...).begin();
}

void Session::advance(Next step) {
    while (!stays(step)) {
        step = std::visit(
            Overloaded{
                [](next::Stay stay) -> Next { return stay; },
                [&](const next::Admit& arrived) { return admit(context_, arrived); },
                [&](next::Answer) { return enter<DialoguePhase>(answerProbe(context_), CloseReason::Check); },
                [&](const next::Refuse& refused) -> Next {
                    auto dialogue = refuse(context_, refused);
                    if (!dialogue) return next::Close{CloseReason::Refused};
                    return enter<DialoguePhase>(std::move(dialogue), CloseReason::Refused);
                },
                [&](next::ShakeHands& asked) { return enter<TlsPhase>(std::move(asked)); },
                [&](next::Connect) { return enter<ConnectPhase>(); },
                [&](const next::Relay& relayed) { return enter<RelayPhase>(relayed); },
                [&](next::Linger last) {
                    context_.record.close(last.reason);
                    return enter<LingerPhase>();
                },
                [&](next::Close last) -> Next {
                    close(last.reason);
                    return next::Stay{};
                },
            },
            step);
    }
}

/// Where TLS ends here, the connection of a client may have been there when its TLS was not.
void Session::closeTls(CloseReason& reason) noexcept {
    SessionRecord& record = context_.record;
    if (!record.tls) return;
    const auto& tls = static_cast<const TlsTransport&>(*context_.client());
    if (reason == CloseReason::ClientReset && tls.broken()) reason = CloseReason::TlsError;
    // Whoever has said goodbye has nothing that could be missing.
    if (!record.facts.quit) record.tls->fault = tls.fault();
}

void Session::close(CloseReason reason) {
    SessionRecord& record = context_.record;
    closeTls(reason);
    record.close(reason);
    cancel();
    phase_.emplace<ClosedPhase>(context_);
    if (context_.admitted)
        report::ended(context_.host, record, context_.relay.bytesFrom(Side::Client) - record.header_bytes,
                      context_.relay.bytesFrom(Side::Server), context_.refusalSetAside());
    else if (record.end == CloseReason::GatewayError)
        report::failed(context_.host, record);
    context_.ticket = {};
    context_.endHandshake();
    if (context_.kept_refused) context_.host.refusedGone();
    context_.leaveServer();
    // Else the client could not tell the end from a connection that somebody cut.
    if (record.tls && !context_.relay.endPassed(Side::Server)) context_.client()->shutdownWrite();
    context_.client().reset();
    context_.host.release(*this);
}

// ---- what the administrator sees

bool Session::usesServer(std::string_view upstream, std::string_view server) const noexcept {
    return context_.uses_server && listener().upstream == upstream &&
           context_.record.endpoint->server->name == server;
}

bool Session::ending() const noexcept {
    return std::holds_alternative<LingerPhase>(phase_) || std::holds_alternative<ClosedPhase>(phase_);
}

LiveSession Session::live() const {
    const SessionRecord& record = context_.record;
    const SessionFacts& facts = record.facts;
    LiveSession live;
    live.id = record.id.text();
    live.listener = record.listener().name;
    live.protocol = toString(record.listener().protocol);
    live.state = std::visit([](const auto& phase) { return phase.name(); }, phase_);
    if (record.identified()) live.client = record.client;
    if (record.arrival.header_expected) live.balancer = record.arrival.peer.address;
    if (context_.uses_server) {
        live.upstream = record.pool().config().name;
        live.server = record.endpoint->server->name;
    }
    live.helo = facts.helo.view();
    live.user = facts.user;
    live.tls = facts.tls == TlsBegin::None && record.balancerEndsTls() ? "balancer" : toString(facts.tls);
    if (!facts.transactions.empty()) live.from = facts.transactions.back().from;
    const auto* relaying = std::get_if<RelayPhase>(&phase_);
    if (relaying && !relaying->sender().empty()) live.from = relaying->sender();
    live.mail_count = facts.transaction_count;
    live.bytes_in = context_.relay.bytesFrom(Side::Client) - record.header_bytes;
    live.bytes_out = context_.relay.bytesFrom(Side::Server);
    live.started_ms = record.wall_start;
    live.idle_ms = context_.host.now() - std::max(record.last_activity, record.start);
    return live;
}

}  // namespace mailgate
