// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/relay_phase.h"

#include "gateway/session/session_report.h"
#include "protocols/mail_protocol.h"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

namespace mailgate {
namespace {

// How long a server may take to answer what a client sent before the bytes that end the session.
constexpr Millis kViolationLimit = 10'000;
// The reply to a whole message may take ten minutes (RFC 5321 4.5.3.2.6). A gateway that ends the session before that
// makes the client send the message again, though the server has it.
constexpr Millis kFinalReplyLimit = 630'000;
// Before that most sessions are over: they are spared the system calls, and the kernel its timers.
constexpr Millis kKeepAliveAfter = 60'000;
// A socket that has no more than this under way takes another line whole.
constexpr std::size_t kFarewellRoom = 8'192;

/// How a session ends that cannot go on: what the client is told, and what the log says.
struct Outcome {
    Refusal refusal;
    CloseReason reason;
};

Outcome outcomeOf(Violation violation) noexcept {
    switch (violation) {
        case Violation::BareLf:
            return {Refusal::BareLf, CloseReason::BareLf};
        case Violation::ForbiddenCommand:
        case Violation::ProxyHeader:
            return {Refusal::ForbiddenCommand, CloseReason::ForbiddenCommand};
        case Violation::BadCommand:
        case Violation::TooLong:
            break;
        case Violation::PlaintextAfterStartTls:
            return {Refusal::PlaintextAfterStartTls, CloseReason::PlaintextAfterStartTls};
        case Violation::TlsRequired:
            return {Refusal::TlsRequired, CloseReason::TlsRequired};
        case Violation::UnexpectedReply:
            return {Refusal::ServerViolation, CloseReason::ServerViolation};
        case Violation::NoMemory:
            return {Refusal::Internal, CloseReason::GatewayError};
    }
    return {Refusal::BadCommand, CloseReason::ProtocolViolation};
}

}  // namespace

RelayPhase::~RelayPhase() {
    relay().setTap(nullptr);
    if (watches_bare_lf_ && context_.record.facts.bare_lf) (void)context_.mustRefuse(Refusal::BareLf);
    if (!filter_) return;
    if (violated_) context_.record.violation = filter_->violation();
    filter_->finish({});
}

Next RelayPhase::begin() {
    SessionRecord& record = context_.record;
    record.last_activity = context_.host.now();
    if (!record.greeted.hasCome()) {
        record.greeted = record.at(record.last_activity);
        record.upstreamCounters().greeting.add(record.greeted - record.connected);
    }
    arm();
    watch();
    if (Next step = pump(Side::Server); !stays(step)) return step;
    return pump(Side::Client);
}

void RelayPhase::watch() {
    SessionRecord& record = context_.record;
    const ListenerConfig& listener = record.listener();
    // Behind TLS from the first byte on there is nothing to see. What is to be screened there comes before it.
    const bool before_tls = listener.tls == ListenerTls::Passthrough;
    BareLfPolicy bare_lf = listener.bareLfFor(record.client.address);
    // What is only watched must not reach the server as something that it reads differently.
    watches_bare_lf_ = bare_lf == BareLfPolicy::Reject && !context_.enforces(Refusal::BareLf);
    if (watches_bare_lf_) bare_lf = BareLfPolicy::Normalize;
    filter_ = makeFilter(before_tls ? Protocol::Tcp : listener.protocol, record.facts,
                         {.bare_lf = bare_lf,
                          .no_header = record.pool().config().send_proxy == SendProxy::Off,
                          .gateway = context_.config().name,
                          .tls = context_.tlsPolicy(),
                          .greeted = greeted_,
                          .reads_message_id = listener.log_message_id},
                         this);
    if (!filter_) return;
    relay().setTap(this);
    relay().showHeld(Side::Server);
    relay().showHeld(Side::Client);
}

void RelayPhase::onMail(const MailTransaction& mail, std::uint32_t number) noexcept {
    report::mail(context_.host, context_.record, mail, number);
}

Rest RelayPhase::onBytes(Side from, std::string_view bytes, Output& out) noexcept {
    if (from == Side::Client && filter_->violation()) return Rest::Hold;
    const Rest rest = filter_->onBytes(from, bytes, out);
    if (filter_->opaque()) {
        relay().setTap(nullptr);
        filter_->finish({});
        filter_.reset();
    }
    return rest;
}

Next RelayPhase::onEvents(Side side, std::uint32_t events) {
    context_.record.last_activity = context_.host.now();
    if (securing_) return onSecuring(side, events);
    // What is held back hides that its sender is gone: nothing more is read.
    if ((events & kFailed) && relay().stalled(side)) return onLost(side);
    const bool other_too = (events & kWritable) || events == 0;
    if (!other_too) return pump(side);
    if (events != kWritable) {
        if (Next step = pump(side); !stays(step)) return step;
    }
    return pump(other(side));
}

Next RelayPhase::pump(Side source) {
    // What was held back must not go on because nobody watches any more.
    if (violated_ && !filter_ && source == Side::Client) return next::Stay{};
    // It has begun in this very turn.
    if (securing_) return next::Stay{};
    switch (relay().pump(source)) {
        case Relay::Status::Open:
            break;
        case Relay::Status::Unfinished:
            context_.defer(source);
            break;
        case Relay::Status::Ended:
            if (Next step = onSourceEnded(source); !stays(step)) return step;
            break;
        case Relay::Status::SourceLost:
            if (Next step = onLost(source); !stays(step)) return step;
            break;
        case Relay::Status::SinkLost:
            if (Next step = onLost(other(source)); !stays(step)) return step;
            break;
        case Relay::Status::NoMemory:
            return next::Close{CloseReason::GatewayError};
    }
    return afterPump(source);
}

Next RelayPhase::afterPump(Side source) {
    if (filter_ && filter_->violation()) return onViolation();
    if (filter_ && filter_->startsTls()) return startTls();
    // What the server has said may decide about bytes that the client sent ahead of it.
    if (source == Side::Server && relay().stalled(Side::Client)) return pump(Side::Client);
    return maybeDrain();
}

// With a server that mirrors it the client's STARTTLS is answered once the server's handshake is over, and by that.
Next RelayPhase::startTls() {
    if (auto step = spokeBehindStartTls(Side::Client)) return std::move(*step);
    return context_.mirrorsStartTls() ? secureServer() : answerStartTls();
}

// What either has sent behind STARTTLS, or behind its consent to it, would be taken for what it says within TLS (CVE-2011-0411,
// response injection). It may be in its socket still: the filter is shown that it came.
std::optional<Next> RelayPhase::spokeBehindStartTls(Side side) {
    (side == Side::Client ? context_.client() : context_.server())->note(kReadable);
    const Relay::Status status = relay().pump(side);
    if (filter_->violation()) return onViolation();
    switch (status) {
        case Relay::Status::Open:
            return std::nullopt;
        case Relay::Status::Ended:
            if (side == Side::Client) return next::Close{CloseReason::ClientClosed};
            return serverNotSecured({TlsFailure::Reason::PeerClosed});
        case Relay::Status::SourceLost:
            if (side == Side::Client) return onLost(side);
            return serverNotSecured({TlsFailure::Reason::ConnectionLost});
        default:
            return next::Close{CloseReason::GatewayError};
    }
}

Next RelayPhase::answerStartTls() {
    const bool ready = context_.beginHandshake();
    std::string reply = filter_->answerStartTls(ready);
    if (ready) return next::ShakeHands{std::make_unique<std::string>(std::move(reply))};
    (void)relay().reply(Side::Client, reply);
    return maybeDrain();
}

/// It has consented, and the client does not know that yet.
Next RelayPhase::secureServer() {
    if (auto step = spokeBehindStartTls(Side::Server)) return std::move(*step);
    if (!context_.beginHandshake()) return serverNotSecured({});
    const auto tls =
        context_.record.pool().tlsAtOnce(*context_.record.endpoint, UpstreamPool::Handshake::Resumed);
    // The handshake would wait for STARTTLS to be acknowledged (Nagle's algorithm).
    context_.server()->noDelay();
    auto secured = TlsTransport::connect(context_.server(), tls->context, tls->name, tls->peer);
    if (!secured) throw std::bad_alloc();
    context_.server() = std::move(secured);
    securing_ = true;
    context_.armIn(context_.config().timeouts.connect.count());
    return shakeHands();
}

/// The server's transport, from there on.
TlsTransport& RelayPhase::secured() noexcept {
    return static_cast<TlsTransport&>(*context_.server());
}

/// What the client says meanwhile is looked at when the server is done.
Next RelayPhase::onSecuring(Side side, std::uint32_t events) {
    if (side == Side::Server) return shakeHands();
    return (events & kFailed) ? onLost(side) : next::Stay{};
}

Next RelayPhase::shakeHands() {
    TlsTransport::Handshake step{TlsTransport::Handshake::State::Wants, {}, true};
    if (context_.host.mayShakeHands()) step = secured().advance(context_.host.now());
    switch (step.state) {
        case TlsTransport::Handshake::State::Wants:
            if (step.again) context_.defer(Side::Server);
            return next::Stay{};
        case TlsTransport::Handshake::State::Failed:
            return serverNotSecured(step.failure);
        case TlsTransport::Handshake::State::Done:
            break;
    }
    securing_ = false;
    context_.serverSecured(secured());
    context_.server_tls = true;
    if (auto spoke = spokeBehindStartTls(Side::Client)) return std::move(*spoke);
    return answerStartTls();
}

/// Its connection is of no more use, not in the clear either: the client hears both. No `failure`: the gateway has no room.
Next RelayPhase::serverNotSecured(TlsFailure failure) {
    SessionRecord& record = context_.record;
    if (failure) {
        record.server_tls = std::make_unique<ServerTlsFacts>();
        record.server_tls->failure = failure;
        record.endpoint->handshakes.failed(failure);
        record.pool().reportFailure(*record.endpoint, context_.host.now(), handshakeFailure(failure));
    }
    (void)relay().reply(Side::Client, filter_->answerStartTls(false));
    reply(failure ? Refusal::ServerLost : Refusal::GatewayFull);
    context_.endHandshake();
    return next::Linger{failure ? CloseReason::ServerLost : CloseReason::GatewayError};
}

// The bytes stay here. The client hears why once the server has answered all that it sent before them; a server that is
// not understood itself is not waited for.
Next RelayPhase::onViolation() {
    if (!std::exchange(violated_, true)) context_.armIn(kViolationLimit);
    const Violation violation = *filter_->violation();
    if (violation == Violation::UnexpectedReply || violation == Violation::NoMemory ||
        filter_->noReplyPending())
        return endViolated();
    return next::Stay{};
}

Next RelayPhase::endViolated() {
    const Outcome outcome = outcomeOf(*filter_->violation());
    // A balancer that is not trusted, more likely than an attack: whoever runs it has to hear of it.
    if (filter_->violation() == Violation::ProxyHeader)
        report::rejected(context_.host, context_.record.arrival, Rejection::Unexpected, {}, 0);
    // What the filter has not let go on would stand before it.
    relay().dropUnseen(Side::Server);
    reply(outcome.refusal);
    return next::Linger{outcome.reason};
}

Next RelayPhase::onSourceEnded(Side source) {
    // Only the end could say that all has arrived: it is no clean one for the other side either.
    if (context_.mayLackBytesOf(source)) {
        (source == Side::Client ? context_.server() : context_.client())->resetOnClose();
        return next::Close{source == Side::Client ? CloseReason::ClientClosed : CloseReason::ServerLost};
    }
    return source == Side::Server ? onServerEnded() : passEnd(source);
}

Next RelayPhase::onServerEnded() {
    // A server that lets a client go after QUIT is done with it: nothing is left to wait for.
    if (context_.record.facts.quit) return next::Close{CloseReason::ClientQuit};
    if (context_.serverCutOff() && !context_.record.facts.goodbye) server_lost_ = true;
    // A client that has said all it had to say is not told that nobody listens any more.
    if (!relay().sourceEnded(Side::Client)) reply(Refusal::ServerLost);
    if (server_lost_) return next::Linger{CloseReason::ServerLost};
    // In the clear a mail server that has closed reads no more: what the client still sends, and what is held of it,
    // has nowhere to go.
    if (filter_)
        return next::Linger{half_closed_ == CloseReason::None ? CloseReason::ServerClosed : half_closed_};
    return passEnd(Side::Server);
}

Next RelayPhase::passEnd(Side source) {
    relay().passEnd(source);
    if (half_closed_ == CloseReason::None) {
        const CloseReason by_client =
            context_.record.facts.quit ? CloseReason::ClientQuit : CloseReason::ClientClosed;
        half_closed_ = source == Side::Server ? CloseReason::ServerClosed : by_client;
    }
    if (relay().ended()) return next::Close{half_closed_};
    arm();
    return next::Stay{};
}

Next RelayPhase::onLost(Side side) {
    if (side == Side::Server) return onServerLost();
    return next::Close{context_.record.facts.quit ? CloseReason::ClientQuit : CloseReason::ClientReset};
}

// The server's connection broke: the client still gets what the server had said, and hears why there is no more.
Next RelayPhase::onServerLost() {
    if (std::exchange(server_lost_, true)) return next::Stay{};
    SessionRecord& record = context_.record;
    const CloseReason reason = half_closed_ == CloseReason::None ? CloseReason::ServerLost : half_closed_;
    record.close(record.facts.quit ? CloseReason::ClientQuit : reason);
    context_.server()->note(kReadable);
    if (relay().pump(Side::Server) == Relay::Status::SinkLost) return next::Close{record.end};
    relay().endSource(Side::Server);
    return pump(Side::Server);
}

// Text of ours is legal in the server's stream only in the clear, at a boundary, while that stream is open, and when
// the server has not said its own goodbye. Where the client does not read, half of it might be all that ever arrives.
bool RelayPhase::mayReply() const noexcept {
    const SessionFacts& facts = context_.record.facts;
    return filter_ && filter_->serverAtBoundary() && relay().drained(Side::Server) &&
           context_.client()->unacknowledged() <= kFarewellRoom && !relay().endPassed(Side::Server) &&
           !facts.quit && !facts.goodbye;
}

void RelayPhase::reply(Refusal refusal) {
    if (!mayReply()) return;
    const std::string words = context_.refusalFor(refusal);
    // A client that says nothing more has given its mail up, which nobody refused.
    const bool gave_up = refusal == Refusal::Idle && filter_->noReplyPending();
    filter_->finish(gave_up ? std::string_view() : words);
    // A client that is gone, or no memory for what it leaves of the line: it ends all the same.
    (void)relay().reply(Side::Client, words);
}

Millis RelayPhase::idleLimit() const noexcept {
    const Timeouts& timeouts = context_.config().timeouts;
    const Millis limit = half_closed_ == CloseReason::None
                             ? timeouts.idleFor(context_.record.listener().protocol).count()
                             : timeouts.half_close.count();
    return filter_ && filter_->awaitsFinalReply() ? std::max(limit, kFinalReplyLimit) : limit;
}

// The next time that something is due: the limit of inactivity, a step of a drain, or keep-alive.
void RelayPhase::arm() noexcept {
    if (violated_ || securing_) return;
    Millis due = context_.record.last_activity + idleLimit();
    if (const Drain* drain = context_.drain.get())
        due = std::min(due, context_.host.now() < drain->from ? drain->from : drain->until);
    if (!kept_alive_) due = std::min(due, keepAliveAt());
    context_.armAt(due);
}

Millis RelayPhase::keepAliveAt() const noexcept {
    return context_.record.start + context_.record.greeted.sinceStart() + kKeepAliveAfter;
}

void RelayPhase::keepAlive() noexcept {
    kept_alive_ = true;
    context_.client()->keepAlive();
    context_.server()->keepAlive();
}

Next RelayPhase::onDeadline() {
    if (violated_) return endViolated();
    if (securing_) return serverNotSecured({TlsFailure::Reason::Timeout});
    const Millis now = context_.host.now();
    if (!kept_alive_ && now >= keepAliveAt()) keepAlive();
    if (context_.drain && now >= context_.drain->until) {
        reply(Refusal::ShuttingDown);
        return next::Linger{context_.drain->end};
    }
    if (Next step = maybeDrain(); !stays(step)) return step;
    if (now >= context_.record.last_activity + idleLimit()) return onIdle();
    arm();
    return next::Stay{};
}

Next RelayPhase::onIdle() {
    if (half_closed_ != CloseReason::None) return next::Close{CloseReason::HalfCloseTimeout};
    reply(Refusal::Idle);
    return next::Linger{CloseReason::IdleTimeout};
}

Next RelayPhase::onDrain(const Drain& drain) {
    context_.drainAs(drain);
    if (Next step = maybeDrain(); !stays(step)) return step;
    arm();
    return next::Stay{};
}

Next RelayPhase::maybeDrain() {
    const Drain* const drain = context_.drain.get();
    if (!drain || context_.host.now() < drain->from || !mayReply() || !filter_->interruptible())
        return next::Stay{};
    reply(Refusal::ShuttingDown);
    return next::Linger{drain->end};
}

Next RelayPhase::onKill() {
    reply(Refusal::Killed);
    return next::Linger{CloseReason::Killed};
}

Next RelayPhase::onAbort(CloseReason reason) {
    reply(Refusal::ShuttingDown);
    return next::Close{reason};
}

}  // namespace mailgate
