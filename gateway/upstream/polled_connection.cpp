// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/polled_connection.h"

#include "gateway/io/session_set.h"

#include <utility>

namespace mailgate {
namespace {

std::uint32_t translate(short events) noexcept {
    std::uint32_t out = 0;
    if (events & POLLIN) out |= kReadable;
    if (events & POLLOUT) out |= kWritable;
    if (events & (POLLERR | POLLHUP)) out |= kReadable | kFailed;
    return out;
}

}  // namespace

Connector::Progress PolledConnection::begin(const Endpoint& server, const HeaderFor& header,
                                            const TlsFor& tls) {
    server_ = server;
    int error = 0;
    auto socket = SocketTransport::connect(server, error);
    socket_ = socket.get();
    std::string bytes = socket_ ? header(ends()) : std::string();
    auto with = socket_ && tls ? tls(ends()) : nullptr;
    return proceed(connector_.begin(std::move(socket), error, std::move(bytes), server.address.isLoopback(),
                                    std::move(with)));
}

Connector::Progress PolledConnection::onReady(short events) {
    return proceed(connector_.onEvents(translate(events), {}));
}

void PolledConnection::note(short events) noexcept {
    transport().note(translate(events));
}

pollfd PolledConnection::interest() const noexcept {
    const bool for_writing = connecting_ && !connector_.startingTls() && !connector_.shakingHands();
    return {socket_->descriptor(), static_cast<short>(for_writing ? POLLOUT : POLLIN), 0};
}

Connector::Progress PolledConnection::proceed(Connector::Progress progress) noexcept {
    connecting_ = std::holds_alternative<Connector::Waiting>(progress);
    return progress;
}

}  // namespace mailgate
