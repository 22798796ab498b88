// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/tls_phase.h"

#include "gateway/session/session_report.h"
#include "gateway/tls/tls_listener.h"

#include <new>
#include <utility>

namespace mailgate {

TlsPhase::~TlsPhase() {
    if (counted_) context_.host.handshakeOver();
}

Next TlsPhase::begin() {
    if (!(counted_ = context_.host.handshakeBegins())) return next::Refuse{Refusal::GatewayFull};
    // It had to answer us first.
    if (relay().sourceEnded(Side::Client)) return failed({TlsFailure::Reason::PeerClosed});
    const SessionRecord& record = context_.record;
    const TlsListener& listener = *record.arrival.generation->tls[record.arrival.listener_index];
    auto tls = TlsTransport::accept(context_.client, listener.context(), relay().takeHeld(Side::Client));
    if (!tls) throw std::bad_alloc();
    tls_ = tls.get();
    context_.client = std::move(tls);
    relay().attach(Side::Client, tls_);
    context_.armIn(context_.config().timeouts.tls_handshake.count());
    return step();
}

Next TlsPhase::onClient(std::uint32_t events) {
    if (events == 0)
        queued_ = false;
    else if (queued_)
        return next::Stay{};  // its turn comes
    return step();
}

Next TlsPhase::step() {
    if (!context_.host.mayShakeHands()) return later();
    const TlsTransport::Handshake handshake = tls_->advance(context_.host.now());
    switch (handshake.state) {
        case TlsTransport::Handshake::State::Done:
            return done();
        case TlsTransport::Handshake::State::Wants:
            return handshake.again ? later() : next::Stay{};
        case TlsTransport::Handshake::State::Failed:
            break;
    }
    return failed(handshake.failure);
}

Next TlsPhase::later() {
    queued_ = true;
    context_.defer(Side::Client);
    return next::Stay{};
}

Next TlsPhase::done() {
    SessionRecord& record = context_.record;
    record.tls = std::make_unique<TlsFacts>(tls_->facts());
    record.facts.tls = "implicit";
    record.listenerCounters().handshakes.done(record.tls->version);
    return next::Connect{};
}

// What is said of it, its alert, has to arrive: the client's connection is read to its end.
Next TlsPhase::failed(TlsFailure failure) {
    const bool silent = !tls_ || !tls_->heard();
    report::tlsFailed(context_.host, context_.record, failure, silent);
    context_.admitted = false;
    context_.ticket = {};
    giveUp();
    return next::Linger{CloseReason::TlsHandshakeFailed};
}

Next TlsPhase::onDrain(const Drain& drain) {
    if (drain.end != CloseReason::Shutdown) return next::Stay{};
    giveUp();
    return next::Refuse{Refusal::ShuttingDown};
}

/// Nothing can be said to the client: what comes next has the connection below.
void TlsPhase::giveUp() noexcept {
    if (!tls_) return;
    context_.client = std::exchange(tls_, nullptr)->release();
    relay().attach(Side::Client, context_.client.get());
}

}  // namespace mailgate
