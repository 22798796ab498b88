// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/tls_socket.h"

#include "gateway/base/clock.h"
#include "gateway/io/session_set.h"
#include "gateway/io/socket_transport.h"

#include <Poco/Exception.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/StreamSocketImpl.h>

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <utility>

namespace mailgate::http {

namespace {

namespace net = Poco::Net;

class TlsSocket final : public net::StreamSocketImpl {
  public:
    TlsSocket(std::unique_ptr<TlsConnection> connection, int limit_ms)
        : net::StreamSocketImpl(connection->descriptor()),
          connection_(std::move(connection)),
          limit_ms_(limit_ms) {}

    ~TlsSocket() override { reset(); }  // the descriptor is the connection's

    using net::StreamSocketImpl::receiveBytes;
    using net::StreamSocketImpl::sendBytes;

    int receiveBytes(void* buffer, int length, int /*flags*/) override {
        return connection_->receive(static_cast<char*>(buffer), length, receive_limit_ms_);
    }
    int sendBytes(const void* buffer, int length, int /*flags*/) override {
        return connection_->send(static_cast<const char*>(buffer), length, limit_ms_);
    }
    /// What has been read ahead is there at once.
    bool poll(const Poco::Timespan& timeout, int mode) override {
        return ((mode & SELECT_READ) != 0 && !connection_->received().empty()) ||
               net::StreamSocketImpl::poll(timeout, mode);
    }
    void setReceiveTimeout(const Poco::Timespan& timeout) override {
        receive_limit_ms_ = static_cast<int>(timeout.totalMilliseconds());
    }
    bool secure() const override { return true; }
    void shutdownSend() override { connection_->finish(); }
    /// The connection is closed with this object, and by its owner alone.
    void close() override { connection_->finish(); }

  private:
    std::unique_ptr<TlsConnection> connection_;
    const int limit_ms_;
    int receive_limit_ms_ = limit_ms_;
};

}  // namespace

std::unique_ptr<TlsConnection> TlsConnection::accept(int fd,
                                                     const std::shared_ptr<const TlsServerContext>& context) {
    std::unique_ptr<Transport> below = SocketTransport::adopt(fd);
    if (!below) return nullptr;
    auto transport = TlsTransport::accept(below, context);
    if (!transport) return nullptr;
    return std::unique_ptr<TlsConnection>(new TlsConnection(fd, std::move(transport)));
}

bool TlsConnection::advance(std::size_t most) {
    transport_->note(kReadable);
    while (!transport_->established()) {
        const TlsTransport::Handshake handshake = transport_->advance(monotonicMillis());
        if (handshake.state == TlsTransport::Handshake::State::Failed) return false;
        if (handshake.state == TlsTransport::Handshake::State::Wants && !handshake.again) return true;
    }
    std::array<char, 4096> block;
    while (received_.size() < most) {
        const IoResult got =
            transport_->read(std::span(block).first(std::min(block.size(), most - received_.size())));
        if (got.status == IoStatus::WouldBlock) return true;
        has_ended_ = got.status != IoStatus::Ok || got.last;
        if (got.status != IoStatus::Ok) return false;
        received_.append(block.data(), got.bytes);
        if (got.last) return true;  // what was asked for is answered
        if (!got.more) return true;
    }
    return true;
}

void TlsConnection::await(short events, int limit_ms) {
    pollfd one{fd_, events, 0};
    const int ready = ::poll(&one, 1, limit_ms);
    if (ready == 0) throw Poco::TimeoutException();
    transport_->note(kReadable);
}

int TlsConnection::receive(char* into, int size, int limit_ms) {
    if (!received_.empty()) {
        const std::size_t taken = std::min(received_.size(), static_cast<std::size_t>(size));
        received_.copy(into, taken);
        received_.erase(0, taken);
        return static_cast<int>(taken);
    }
    // Bytes of a record that is not whole give none.
    const std::int64_t until = monotonicMillis() + limit_ms;
    while (true) {
        const IoResult got = transport_->read({into, static_cast<std::size_t>(size)});
        switch (got.status) {
            case IoStatus::Ok:
                if (got.bytes > 0) return static_cast<int>(got.bytes);
                break;
            case IoStatus::Eof:
                return 0;
            case IoStatus::Error:
                throw net::ConnectionResetException();
            case IoStatus::WouldBlock:
                await(POLLIN, static_cast<int>(std::max<std::int64_t>(until - monotonicMillis(), 0)));
        }
    }
}

int TlsConnection::send(const char* bytes, int size, int limit_ms) {
    // What a write did not take comes first in the next one: so all of it is sent here.
    std::string_view left(bytes, static_cast<std::size_t>(size));
    while (!left.empty()) {
        const IoResult sent = transport_->write(left);
        if (sent.status == IoStatus::Error || sent.status == IoStatus::Eof)
            throw net::ConnectionResetException();
        left.remove_prefix(sent.bytes);
        if (sent.status == IoStatus::WouldBlock || sent.bytes == 0) await(POLLOUT, limit_ms);
    }
    return size;
}

net::StreamSocket socketOver(std::unique_ptr<TlsConnection> connection, int limit_ms) {
    return net::StreamSocket(new TlsSocket(std::move(connection), limit_ms));
}

}  // namespace mailgate::http
