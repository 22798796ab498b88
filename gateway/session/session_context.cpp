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
    relay.attach(Side::Server, nullptr);
    server.reset();
    record.endpoint->sessions.fetch_sub(1, std::memory_order_relaxed);
}

bool SessionContext::opaqueFromStart() const noexcept {
    return record.listener().tls == ListenerTls::Passthrough || record.listener().protocol == Protocol::Tcp;
}

Protocol SessionContext::replyProtocol() const noexcept {
    const bool before_tls = record.listener().tls == ListenerTls::Implicit && !record.tls;
    return opaqueFromStart() || before_tls ? Protocol::Tcp : record.listener().protocol;
}

std::string SessionContext::refusalFor(Refusal refusal) const {
    return refusalLine(replyProtocol(), refusal, refusalText(record.client.address.toString()));
}

}  // namespace mailgate
