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

/// What servers are told of TLS that ended here. A name that nobody vouches for stays here.
proxy::SslInfo clientTls(const TlsFacts& facts) {
    proxy::SslInfo told;
    told.tls = true;
    told.version = facts.version;
    told.cipher = facts.cipher;
    told.certificate_verified = facts.peer && facts.peer->verified;
    if (told.certificate_verified) told.common_name = facts.peer->common_name;
    return told;
}

}  // namespace

Next ConnectPhase::begin() {
    context_.record.connecting = context_.host.now();
    hold_until_ = context_.record.connecting + context_.config().timeouts.hold.count();
    return tryNext();
}

// Goes from one server to the next as they fail, through each at most once.
Next ConnectPhase::tryNext() {
    SessionHost& host = context_.host;
    const SessionRecord& record = context_.record;
    std::shared_ptr<ServerEndpoint> server = record.pool().pick(record.client.address, host.now(), tried_);
    if (!server) return hold();
    const Endpoint& to = server->endpoint;
    stage_ = Stage::Connecting;
    context_.armIn(context_.config().timeouts.connect.count());
    context_.useServer(std::move(server));
    int error = 0;
    auto transport = host.connect(to, context_.events, context_.server_slot, error);
    return proceed(connector_.begin(std::move(transport), error, proxyHeader(), to.address.isLoopback()));
}

Next ConnectPhase::proceed(const Connector::Progress& progress) {
    return std::visit(
        Overloaded{[](const Connector::Waiting&) -> Next { return next::Stay{}; },
                   [&](const Connector::Connected&) { return awaitGreeting(); },
                   [&](const Connector::Greeted& greeting) { return greeted(greeting); },
                   [&](const Connector::Failed& failure) { return failed(failure.failure); },
                   [](const Connector::NoResources&) -> Next { return next::Refuse{Refusal::Internal}; }},
        progress);
}

Next ConnectPhase::awaitGreeting() {
    SessionRecord& record = context_.record;
    record.connected = context_.host.now();
    context_.host.counters().connect.add(record.connected - record.connecting);
    if (context_.opaqueFromStart()) {
        connector_.transport()->noDelay();
        record.pool().reportSuccess(*record.endpoint);
        if (record.listener().tls == ListenerTls::Passthrough) record.facts.tls = "implicit";
        return relayWith({}, false);
    }
    stage_ = Stage::AwaitingGreeting;
    context_.armIn(context_.config().timeouts.greeting.count());
    if (Next step = watchTls(); !stays(step)) return step;
    // A server that waits for no header may have spoken already, and no further event will tell.
    return connector_.transport()->readable() ? onServer(0) : next::Stay{};
}

Next ConnectPhase::onClient(std::uint32_t events) {
    if (events & kFailed) return next::Close{CloseReason::ClientReset};
    return stage_ == Stage::AwaitingGreeting ? watchTls() : next::Stay{};
}

// A client that opens with a TLS handshake gets no greeting in the clear and must not wait for one. Anybody can send
// that byte: the server's first byte tells the filter whether it is TLS.
Next ConnectPhase::watchTls() {
    const std::string_view early = relay().held(Side::Client);
    int first = early.empty() ? -1 : static_cast<unsigned char>(early.front());
    if (early.empty() && relay().mayHaveInput(Side::Client)) first = context_.client->peek();
    if (first != kTlsHandshake) return next::Stay{};
    connector_.transport()->noDelay();
    return relayWith(connector_.heard(), false);
}

Next ConnectPhase::onServer(std::uint32_t events) {
    if (stage_ == Stage::Holding) return next::Stay{};
    return proceed(connector_.onEvents(events, context_.host.resources().scratch));
}

Next ConnectPhase::greeted(const Connector::Greeted& greeting) {
    SessionRecord& record = context_.record;
    // Its words stand; ours would only follow them.
    if (greeting.verdict == Greeting::Refused) record.facts.goodbye = true;
    record.pool().reportSuccess(*record.endpoint);
    return relayWith(greeting.bytes, greeting.ended);
}

Next ConnectPhase::relayWith(std::string_view greeting, bool ended) {
    context_.server = connector_.take();
    relay().attach(Side::Server, context_.server.get());
    if (!relay().receive(Side::Server, greeting, ended)) return next::Close{CloseReason::GatewayError};
    return next::Relay{drain_};
}

Next ConnectPhase::onDeadline() {
    switch (stage_) {
        case Stage::Connecting:
            return failed(ServerFailure::ConnectTimeout);
        case Stage::AwaitingGreeting:
            return failed(ServerFailure::NoGreeting);
        case Stage::Holding:
            break;
    }
    tried_ = 0;
    return tryNext();
}

// A server that has answered is not waited for, as one is that may be back soon: it is asked once more, and the client
// hears within two seconds.
Next ConnectPhase::failed(ServerFailure failure) {
    const SessionRecord& record = context_.record;
    if (answered(failure)) hold_until_ = std::min(hold_until_, context_.host.now() + kRetryEvery);
    record.pool().reportFailure(*record.endpoint, context_.host.now(), failure);
    onUndrain();  // the next server need not be drained
    (void)connector_.take();
    context_.leaveServer();
    return tryNext();
}

Next ConnectPhase::hold() {
    const bool stopping = context_.host.stopping();
    const Millis next_try = context_.host.now() + kRetryEvery;
    if (stopping || next_try > hold_until_) {
        context_.record.endpoint = nullptr;
        return next::Refuse{stopping ? Refusal::ShuttingDown : Refusal::NoServer};
    }
    stage_ = Stage::Holding;
    context_.armAt(next_try);
    return next::Stay{};
}

Next ConnectPhase::onDrain(const Drain& drain) {
    if (drain.end == CloseReason::Shutdown) return next::Refuse{Refusal::ShuttingDown};
    if (stage_ != Stage::Holding) drain_ = drain;
    return next::Stay{};
}

void ConnectPhase::onUndrain() noexcept {
    drain_ = {};
}

std::string_view ConnectPhase::name() const noexcept {
    switch (stage_) {
        case Stage::Connecting:
            return "connecting";
        case Stage::AwaitingGreeting:
            return "awaiting_greeting";
        case Stage::Holding:
            break;
    }
    return "holding";
}

std::string ConnectPhase::proxyHeader() const {
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
    if (record.tls) tlvs.push_back(proxy::encodeSsl(clientTls(*record.tls)));
    tlvs.push_back({static_cast<std::uint8_t>(TlvType::UniqueId), std::string(record.id.text())});
    if (record.tlvs && upstream.pass_tlvs) {
        for (const TlvType type :
             {TlvType::Ssl, TlvType::Authority, TlvType::Aws, TlvType::Azure, TlvType::Gcp}) {
            if (type == TlvType::Ssl && record.tls) continue;  // the balancer's TLS is not the client's
            for (const proxy::Tlv& tlv : record.tlvs->all) {
                if (tlv.type == static_cast<std::uint8_t>(type)) tlvs.push_back(tlv);
            }
        }
    }
    return proxy::encodeV2(connection, tlvs, false, upstream.max_header_bytes);
}

}  // namespace mailgate
