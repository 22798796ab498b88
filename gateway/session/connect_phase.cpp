// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/connect_phase.h"

#include "gateway/session/overloaded.h"
#include "protocols/proxy/encoder.h"
#include "protocols/stream/tls_record.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace mailgate {
namespace {

// How often a held client's servers are tried again.
constexpr Millis kRetryEvery = 1'000;

/// What servers are told of TLS that ended here.
proxy::SslInfo clientTls(const TlsFacts& facts) {
    proxy::SslInfo told;
    told.tls = true;
    told.version = facts.version;
    told.cipher = facts.cipher;
    told.certificate_verified = facts.peer && facts.peer->verified;
    if (told.certificate_verified) told.common_name = facts.peer->common_name;
    return told;
}

/// What they are told of TLS that ended at the balancer, if anything.
std::optional<proxy::SslInfo> balancerTls(const SessionRecord& record, bool pass_on) {
    proxy::SslInfo told;
    const bool header = pass_on && record.tlvs && record.tlvs->ssl;
    if (header) told = *record.tlvs->ssl;
    // Dovecot takes it for the user's name all the same.
    if (!told.certificate_verified) told.common_name.clear();
    const bool said = record.listener().endedBy(record.arrival.peer.address) && record.balancerEndsTls();
    told.tls |= said;
    return header || said ? std::optional(std::move(told)) : std::nullopt;
}

}  // namespace

Next ConnectPhase::begin() {
    SessionRecord& record = context_.record;
    record.connecting = record.at(context_.host.now());
    record.connected = record.greeted = {};
    way_ = std::make_unique<Way>(record.listener().protocol);
    way_->hold_until = context_.host.now() + context_.config().timeouts.hold.count();
    context_.undrain();  // that was of a server that is left
    return tryNext();
}

// Goes from one server to the next as they fail, through each at most once.
Next ConnectPhase::tryNext() {
    SessionHost& host = context_.host;
    const SessionRecord& record = context_.record;
    std::shared_ptr<ServerEndpoint> server;
    if (context_.afterStartTls() && record.endpoint)
        server = record.pool().pickAgain(*record.endpoint, host.now(), way_->tried);
    if (!server) server = record.pool().pick(record.client.address, host.now(), way_->tried);
    if (!server) return hold();
    const Endpoint& to = server->endpoint;
    stage_ = Stage::Connecting;
    context_.armIn(context_.config().timeouts.connect.count());
    context_.useServer(std::move(server));
    context_.record.server_tls.reset();
    auto tls = context_.tlsToServer();
    std::string header = proxyHeader(tls && tls->starttls);
    const bool speaks_first = !header.empty() || (tls && !tls->starttls);
    int error = 0;
    auto transport = host.connect(to, context_.events, context_.server_slot, speaks_first, error);
    return proceed(connector().begin(std::move(transport), error, std::move(header), to.address.isLoopback(),
                                     std::move(tls)));
}

Next ConnectPhase::proceed(const Connector::Progress& progress) {
    return std::visit(
        Overloaded{[&](const Connector::Waiting& waiting) { return wait(waiting); },
                   [&](const Connector::Connected&) { return awaitGreeting(); },
                   [&](const Connector::Greeted& greeting) { return greeted(greeting); },
                   [&](const Connector::Failed& failure) { return failed(failure); },
                   [](const Connector::NoResources&) -> Next { return next::Refuse{Refusal::Internal}; }},
        progress);
}

Next ConnectPhase::wait(const Connector::Waiting& waiting) {
    const Timeouts& timeouts = context_.config().timeouts;
    if (stage_ == Stage::Connecting && connector().startingTls()) {
        stage_ = Stage::StartingTls;
        context_.armIn(timeouts.greeting.count());
    } else if (stage_ == Stage::StartingTls && connector().shakingHands()) {
        stage_ = Stage::Connecting;
        context_.armIn(timeouts.connect.count());
    }
    if (waiting.again) context_.defer(Side::Server);
    return next::Stay{};
}

Next ConnectPhase::awaitGreeting() {
    SessionRecord& record = context_.record;
    record.connected = record.at(context_.host.now());
    record.upstreamCounters().connect.add(record.connected - record.connecting);
    if (const TlsTransport* tls = connector().tls()) context_.serverSecured(*tls);
    if (context_.opaqueFromStart()) {
        connector().transport()->noDelay();
        record.pool().reportSuccess(*record.endpoint);
        if (record.listener().tls == ListenerTls::Passthrough) record.facts.tls = TlsBegin::Passthrough;
        return relayWith({}, false);
    }
    stage_ = Stage::AwaitingGreeting;
    context_.armIn(context_.config().timeouts.greeting.count());
    if (context_.afterStartTls()) {
        if (Next step = askBehindHeader(); !stays(step)) return step;
    }
    if (Next step = watchTls(); !stays(step)) return step;
    // A server that waits for no header may have spoken already, and no further event will tell.
    return connector().hasMore() ? onServer(0) : next::Stay{};
}

Next ConnectPhase::askBehindHeader() {
    way_->swallower = std::make_unique<GreetingSwallower>(context_.record.listener().protocol);
    const std::string_view question = way_->swallower->opening();
    if (question.empty()) return next::Stay{};
    connector().transport()->noDelay();
    const IoResult put = connector().transport()->write(question);
    const bool whole = put.status == IoStatus::Ok && put.bytes == question.size();
    return whole ? next::Stay{} : failed({ServerFailure::HeaderNotTaken});
}

Next ConnectPhase::onClient(std::uint32_t events) {
    if (events & kFailed) return next::Close{CloseReason::ClientReset};
    return stage_ == Stage::AwaitingGreeting ? watchTls() : next::Stay{};
}

// A client that opens with a TLS handshake gets no greeting in the clear and must not wait for one. Anybody can send
// that byte: the server's first byte tells the filter whether it is TLS.
Next ConnectPhase::watchTls() {
    if (context_.tlsPolicy().endsHere() || connector().tls()) return next::Stay{};
    const std::string_view early = relay().held(Side::Client);
    int first = early.empty() ? -1 : static_cast<unsigned char>(early.front());
    if (early.empty() && relay().mayHaveInput(Side::Client)) first = context_.client()->peek();
    if (first != kTlsHandshake) return next::Stay{};
    connector().transport()->noDelay();
    return relayWith(connector().heard(), false);
}

Next ConnectPhase::onServer(std::uint32_t events) {
    if (stage_ == Stage::Holding) return next::Stay{};
    if (stage_ == Stage::Swallowing) return swallowOn(events);
    if (connector().shakingHands()) return shakeHands(events);
    return proceed(connector().onEvents(events, context_.host.resources().scratch));
}

/// Its steps are rationed with those of clients.
Next ConnectPhase::shakeHands(std::uint32_t events) {
    if (context_.host.mayShakeHands())
        return proceed(connector().onEvents(events, context_.host.resources().scratch));
    connector().transport()->note(events);
    context_.defer(Side::Server);
    return next::Stay{};
}

Next ConnectPhase::greeted(const Connector::Greeted& greeting) {
    SessionRecord& record = context_.record;
    if (stage_ != Stage::AwaitingGreeting) record.connected = record.at(context_.host.now());
    // Its words stand; ours would only follow them.
    if (greeting.verdict == Greeting::Refused) {
        record.facts.goodbye = true;
    } else if (way_->swallower) {
        if (Next step = swallow(greeting.bytes, greeting.ended); !stays(step)) return step;
        // TLS may have read ahead, of which no event tells.
        return stage_ == Stage::Swallowing ? swallowOn(0) : next::Stay{};
    }
    record.pool().reportSuccess(*record.endpoint);
    return relayWith(greeting.bytes, greeting.ended);
}

// The client has been greeted. What is handed on of it is what the protocol has sent anew behind STARTTLS.
Next ConnectPhase::swallow(std::string_view greeting, bool ended) {
    GreetingSwallower::State state = way_->swallower->onBytes(greeting);
    if (ended) state = way_->swallower->onEnd();
    switch (state) {
        case GreetingSwallower::State::Reading:
            stage_ = Stage::Swallowing;
            return next::Stay{};
        case GreetingSwallower::State::Failed:
            return failed({ended ? ServerFailure::ClosedInGreeting : ServerFailure::Foreign});
        case GreetingSwallower::State::Done:
            break;
    }
    context_.record.pool().reportSuccess(*context_.record.endpoint);
    return relayWith(way_->swallower->forClient(), ended, way_->swallower->greeted());
}

Next ConnectPhase::swallowOn(std::uint32_t events) {
    const std::span<char> scratch = context_.host.resources().scratch;
    connector().transport()->note(events);
    // The next server may have come as far by then.
    while (stage_ == Stage::Swallowing && connector().transport()->readable()) {
        const IoResult got = connector().transport()->read(scratch);
        if (got.status == IoStatus::WouldBlock) break;
        if (got.status == IoStatus::Error) return failed({ServerFailure::ResetWithoutGreeting});
        const bool ended = got.last || got.status == IoStatus::Eof;
        if (Next step = swallow({scratch.data(), got.bytes}, ended); !stays(step)) return step;
    }
    return next::Stay{};
}

Next ConnectPhase::relayWith(std::string_view greeting, bool ended, bool greeted) {
    context_.server_tls = connector().tls() != nullptr;
    context_.server() = connector().take();
    if (!relay().receive(Side::Server, greeting, ended)) return next::Close{CloseReason::GatewayError};
    return next::Relay{.greeted = greeted};
}

Next ConnectPhase::onDeadline() {
    switch (stage_) {
        case Stage::Connecting:
            if (connector().shakingHands())
                return failed({ServerFailure::NoHandshake, 0, {TlsFailure::Reason::Timeout}});
            return failed({ServerFailure::ConnectTimeout});
        case Stage::StartingTls:
            if (connector().awaitsStartTls()) return failed({ServerFailure::NoStartTlsInTime});
            [[fallthrough]];
        case Stage::AwaitingGreeting:
        case Stage::Swallowing:
            return failed({ServerFailure::NoGreeting});
        case Stage::Holding:
            break;
    }
    way_->tried = 0;
    return tryNext();
}

// A server that has answered is not waited for, as one is that may be back soon: it is asked once more, and the client
// hears within two seconds. One that ends each connection without a word costs clients all of `hold`.
Next ConnectPhase::failed(const Connector::Failed& failed) {
    const SessionRecord& record = context_.record;
    const ServerFailure failure = failed.failure;
    if (failed.tls) record.endpoint->handshakes.failed(failed.tls);
    if (answered(failure)) way_->hold_until = std::min(way_->hold_until, context_.host.now() + kRetryEvery);
    record.pool().reportFailure(*record.endpoint, context_.host.now(), failure);
    context_.undrain();  // the next server need not be drained
    (void)connector().take();
    context_.leaveServer();
    return tryNext();
}

Next ConnectPhase::hold() {
    const bool stopping = context_.host.stopping();
    const Millis next_try = context_.host.now() + kRetryEvery;
    if (stopping || next_try > way_->hold_until) {
        context_.record.endpoint = nullptr;
        return next::Refuse{stopping ? Refusal::ShuttingDown : Refusal::NoServer};
    }
    stage_ = Stage::Holding;
    context_.armAt(next_try);
    return next::Stay{};
}

Next ConnectPhase::onDrain(const Drain& drain) {
    if (drain.end == CloseReason::Shutdown) return next::Refuse{Refusal::ShuttingDown};
    if (stage_ != Stage::Holding) context_.drainAs(drain);
    return next::Stay{};
}

std::string_view ConnectPhase::name() const noexcept {
    switch (stage_) {
        case Stage::Connecting:
        case Stage::StartingTls:
            return "connecting";
        case Stage::AwaitingGreeting:
        case Stage::Swallowing:
            return "awaiting_greeting";
        case Stage::Holding:
            break;
    }
    return "holding";
}

/// `starttls`: TLS will be asked for behind it. A server that took the client for secure by then would not offer it
/// (Dovecot 2.4).
std::string ConnectPhase::proxyHeader(bool starttls) const {
    const SessionRecord& record = context_.record;
    const UpstreamConfig& upstream = record.pool().config();
    const proxy::Connection connection{record.client, record.destination};
    switch (upstream.send_proxy) {
        case SendProxy::Off:
            return {};
        case SendProxy::V1:
            return proxy::encodeV1(connection);
        case SendProxy::V2:
            break;
    }
    using proxy::TlvType;
    std::vector<proxy::Tlv> tlvs;
    // Whether passwords may be sent hangs on it: it comes first.
    if (!starttls) {
        if (record.tls)
            tlvs.push_back(proxy::encodeSsl(clientTls(*record.tls)));
        else if (const auto told = balancerTls(record, upstream.pass_tlvs))
            tlvs.push_back(proxy::encodeSsl(*told));
    }
    tlvs.push_back({static_cast<std::uint8_t>(TlvType::UniqueId), std::string(record.id.text())});
    if (record.tlvs && upstream.pass_tlvs) {
        for (const TlvType type : {TlvType::Authority, TlvType::Aws, TlvType::Azure, TlvType::Gcp}) {
            for (const proxy::Tlv& tlv : record.tlvs->all) {
                if (tlv.type == static_cast<std::uint8_t>(type)) tlvs.push_back(tlv);
            }
        }
    }
    return proxy::encodeV2(connection, tlvs, false, upstream.max_header_bytes);
}

}  // namespace mailgate
