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

Connector::Progress PolledConnection::begin(const Endpoint& server, const HeaderFor& header) {
    server_ = server;
    int error = 0;
    auto socket = SocketTransport::connect(server, error);
    socket_ = socket.get();
    std::string bytes = socket_ ? header(ends()) : std::string();
    return proceed(connector_.begin(std::move(socket), error, std::move(bytes), server.address.isLoopback()));
}

Connector::Progress PolledConnection::onReady(short events) {
    return proceed(connector_.onEvents(translate(events), {}));
}

void PolledConnection::note(short events) noexcept {
    socket_->note(translate(events));
}

pollfd PolledConnection::interest() const noexcept {
    return {socket_->descriptor(), static_cast<short>(connecting_ ? POLLOUT : POLLIN), 0};
}

Connector::Progress PolledConnection::proceed(Connector::Progress progress) noexcept {
    connecting_ = std::holds_alternative<Connector::Waiting>(progress);
    return progress;
}

}  // namespace mailgate
