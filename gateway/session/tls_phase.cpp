// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/tls_phase.h"

#include "gateway/session/session_report.h"
#include "gateway/tls/tls_listener.h"
#include "protocols/mail_protocol.h"

#include <new>
#include <utility>

namespace mailgate {

TlsPhase::~TlsPhase() {
    context_.endHandshake();
}

Next TlsPhase::begin() {
    if (!context_.beginHandshake()) return next::Refuse{Refusal::GatewayFull};
    context_.armIn(context_.config().timeouts.tls_handshake.count());
    if (!after_starttls_) return secure();
    if (!transfersMail(context_.record.listener().protocol) && !context_.mirrorsStartTls())
        context_.leaveServer();
    return sendReply();
}

// As long as it is not out as a whole the client has nothing to answer.
Next TlsPhase::sendReply() {
    const IoResult put = context_.client()->write(*reply_);
    if (put.status == IoStatus::Error) return next::Close{CloseReason::ClientReset};
    reply_->erase(0, put.bytes);
    if (reply_->empty()) {
        reply_.reset();
        return secure();
    }
    context_.client()->notifyWritable();
    return next::Stay{};
}

Next TlsPhase::secure() {
    // It had to answer us first.
    if (relay().sourceEnded(Side::Client)) return failed({TlsFailure::Reason::PeerClosed});
    const SessionRecord& record = context_.record;
    const TlsListener& listener = *record.arrival.generation->tls[record.arrival.listener_index];
    auto tls = TlsTransport::accept(context_.client(), listener.context(), relay().takeHeld(Side::Client));
    if (!tls) throw std::bad_alloc();
    tls_ = tls.get();
    context_.client() = std::move(tls);
    return step();
}

Next TlsPhase::onClient(std::uint32_t events) {
    if (reply_) {
        if (events & kFailed) return next::Close{CloseReason::ClientReset};
        return (events & kWritable) ? sendReply() : next::Stay{};
    }
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
    record.facts.tls = after_starttls_ ? TlsBegin::StartTls : TlsBegin::Implicit;
    record.listenerCounters().handshakes.done(record.tls->version);
    if (!context_.uses_server) return next::Connect{};
    const ProtocolTraits& protocol = traitsOf(record.listener().protocol);
    return next::Relay{.greeted = !protocol.starttls.greets_again};
}

// What is said of it, its alert, has to arrive: the client's connection is read to its end.
Next TlsPhase::failed(TlsFailure failure) {
    const bool silent = !tls_ || !tls_->heard();
    if (after_starttls_ && failure.reason == TlsFailure::Reason::NotTls) {
        context_.record.listenerCounters().handshakes.failed(failure);
        context_.record.violation = Violation::PlaintextAfterStartTls;
        giveUp();
        return next::Linger{CloseReason::PlaintextAfterStartTls};
    }
    report::tlsFailed(context_.host, context_.record, failure, silent);
    if (!after_starttls_) {
        // It has no other line.
        count(context_.host.counters().ends[static_cast<std::size_t>(CloseReason::TlsHandshakeFailed)]);
        context_.admitted = false;
        context_.ticket = {};
    }
    giveUp();
    return next::Linger{CloseReason::TlsHandshakeFailed};
}

Next TlsPhase::onDrain(const Drain& drain) {
    if (drain.end != CloseReason::Shutdown) {
        if (context_.uses_server) context_.drainAs(drain);
        return next::Stay{};
    }
    giveUp();
    if (after_starttls_) return next::Linger{drain.end};
    return next::Refuse{Refusal::ShuttingDown};
}

/// Nothing can be said to the client: what comes next has the connection below.
void TlsPhase::giveUp() noexcept {
    if (!tls_) return;
    context_.client() = std::exchange(tls_, nullptr)->release();
}

}  // namespace mailgate
