// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session_context.h"

#include <utility>

namespace mailgate {

void SessionContext::useServer(std::shared_ptr<ServerEndpoint> endpoint) noexcept {
    server_slot = static_cast<std::uint8_t>(server_slot % 3 + 1);
    record.endpoint = std::move(endpoint);
    record.endpoint->sessions.fetch_add(1, std::memory_order_relaxed);
    uses_server = true;
}

void SessionContext::leaveServer() noexcept {
    if (!std::exchange(uses_server, false)) return;
    // Else the server could not tell the end from a connection that somebody cut.
    if (server_tls && !relay.endPassed(Side::Client)) server()->shutdownWrite();
    server_tls = false;
    server().reset();
    record.endpoint->sessions.fetch_sub(1, std::memory_order_relaxed);
}

std::unique_ptr<ServerTls> SessionContext::tlsToServer() const {
    const UpstreamPool& pool = record.pool();
    if (pool.config().tls == UpstreamTls::Mirror && !behindTls()) return nullptr;
    return pool.tlsTo(*record.endpoint, UpstreamPool::Handshake::Resumed,
                      {record.listener().protocol, config().name, ownAddress()});
}

IpAddress SessionContext::ownAddress() const noexcept {
    // A header's destination is the balancer's.
    const ListenerConfig& listener = record.listener();
    if (!record.arrival.header_expected || listener.addresses.empty()) return record.destination.address;
    return listener.addresses.front().address;
}

void SessionContext::serverSecured(const TlsTransport& tls) {
    record.endpoint->shookHands(tls);
    record.server_tls = std::make_unique<ServerTlsFacts>(
        ServerTlsFacts{tls.version(), tls.cipher(), tls.resumed(), tls.peerVerified(), {}});
}

TlsPolicy SessionContext::tlsPolicy() const noexcept {
    const ListenerConfig& listener = record.listener();
    if (behindTls()) return {.stage = TlsPolicy::Stage::Within};
    if (listener.tls == ListenerTls::StartTls)
        return {.stage = TlsPolicy::Stage::Before,
                .required = listener.tls_required,
                .mirror = mirrorsStartTls()};
    return {.stage = server_tls ? TlsPolicy::Stage::ToServer : TlsPolicy::Stage::None};
}

bool SessionContext::opaqueFromStart() const noexcept {
    return record.listener().tls == ListenerTls::Passthrough || record.listener().protocol == Protocol::Tcp;
}

Protocol SessionContext::replyProtocol() const noexcept {
    const bool before_tls = record.listener().tls == ListenerTls::Implicit && !record.tls;
    return opaqueFromStart() || before_tls ? Protocol::Tcp : record.listener().protocol;
}

bool SessionContext::mustRefuse(Refusal refusal, const LimitReached& limit) noexcept {
    if (enforces(refusal)) return true;
    if (record.would_refuse.has(refusal)) return false;
    record.would_refuse.add(refusal);
    if (limit) record.would_limit = limit;
    count(record.listenerCounters().would_refuse[static_cast<std::size_t>(refusal)]);
    return false;
}

std::string SessionContext::refusalSetAside() const {
    for (std::size_t reason = 0; reason < kRefusals; ++reason)
        if (record.would_refuse.has(static_cast<Refusal>(reason)))
            return refusalFor(static_cast<Refusal>(reason));
    return {};
}

std::string SessionContext::refusalFor(Refusal refusal) const {
    const std::string client = record.client.address.toString();
    const std::string note = ruleNote();
    RefusalText text = refusalText(client);
    text.rule_note = note;
    text.soft |= ruleIsTemporary(refusal);
    return refusalLine(replyProtocol(), refusal, text);
}

std::unique_ptr<Dialogue> SessionContext::refusalDialogue(Refusal refusal) const {
    const std::string client = record.client.address.toString();
    const std::string note = ruleNote();
    RefusalText text = refusalText(client);
    text.rule_note = note;
    text.soft |= ruleIsTemporary(refusal);
    return makeRefusalDialogue(replyProtocol(), refusal, text);
}

bool SessionContext::ruleIsTemporary(Refusal refusal) const noexcept {
    return refusal == Refusal::Rule && record.admission.temporary;
}

std::string SessionContext::ruleNote() const {
    const Generation& generation = *record.arrival.generation;
    if (!generation.rule_notes || !record.admission.rule_prefix) return {};
    const auto notes = generation.rule_notes->share();
    return notes ? notes->of(record.rule_id) : std::string();
}

}  // namespace mailgate
