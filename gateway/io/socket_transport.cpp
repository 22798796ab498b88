// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/socket_transport.h"

#include "gateway/io/keep_alive.h"
#include "gateway/io/socket_address.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <new>

namespace mailgate {
namespace {

// One call moves at most this much, so that one bulk transfer cannot keep the worker from its other sessions.
constexpr std::size_t kSpliceBytes = std::size_t{256} << 10;

IoResult failed() noexcept {
    const int error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK || error == EINPROGRESS) return {IoStatus::WouldBlock};
    return {IoStatus::Error, 0, error};
}

/// Of a call that reads.
IoResult result(ssize_t got) noexcept {
    if (got > 0) return {IoStatus::Ok, static_cast<std::size_t>(got)};
    return got == 0 ? IoResult{IoStatus::Eof} : failed();
}

void quickAcknowledgements(int fd, bool quick) noexcept {
    const int value = quick ? 1 : 0;
    ::setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &value, sizeof value);
}

template <typename Call>
ssize_t uninterrupted(Call call) noexcept {
    ssize_t result;
    do {
        result = call();
    } while (result < 0 && errno == EINTR);
    return result;
}

}  // namespace

std::unique_ptr<SocketTransport> SocketTransport::adopt(SessionSet& set, int fd, EventHandler& handler,
                                                        unsigned slot, bool no_delay) noexcept {
    std::unique_ptr<SocketTransport> transport(new (std::nothrow)
                                                   SocketTransport(&set, fd, &handler, slot, no_delay));
    if (!transport) {
        ::close(fd);
        return nullptr;
    }
    if (!transport->watch(false)) return nullptr;
    return transport;
}

std::unique_ptr<SocketTransport> SocketTransport::adopt(int fd) noexcept {
    std::unique_ptr<SocketTransport> transport(new (std::nothrow)
                                                   SocketTransport(nullptr, fd, nullptr, 0, false));
    if (!transport) ::close(fd);
    return transport;
}

std::unique_ptr<SocketTransport> SocketTransport::connect(SessionSet& set, const Endpoint& to,
                                                          EventHandler& handler, unsigned slot,
                                                          bool speaks_first, int& error) noexcept {
    return connect(&set, to, &handler, slot, speaks_first, error);
}

std::unique_ptr<SocketTransport> SocketTransport::connect(const Endpoint& to, int& error) noexcept {
    return connect(nullptr, to, nullptr, 0, false, error);
}

std::unique_ptr<SocketTransport> SocketTransport::connect(SessionSet* set, const Endpoint& to,
                                                          EventHandler* handler, unsigned slot,
                                                          bool speaks_first, int& error) noexcept {
    const SocketAddress address(to);
    const int fd = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        error = errno;
        return nullptr;
    }
    std::unique_ptr<SocketTransport> transport(new (std::nothrow)
                                                   SocketTransport(set, fd, handler, slot, false));
    if (!transport) {
        ::close(fd);
        error = ENOMEM;
        return nullptr;
    }
    // Only before it: with a server on this machine the handshake is over when it returns.
    if (speaks_first) quickAcknowledgements(fd, false);
    if (uninterrupted([&] { return ::connect(fd, address.get(), address.size()); }) < 0 &&
        errno != EINPROGRESS) {
        error = errno;
        return nullptr;
    }
    return transport;
}

SocketTransport::~SocketTransport() {
    ::close(fd_);
}

bool SocketTransport::watch(bool writable) noexcept {
    writable_events_ = writable;
    return !handler_ || handler_->set()->add(fd_, *handler_, slot_, writable);
}

Endpoint SocketTransport::localEnd() const noexcept {
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &size);
    return SocketAddress::toEndpoint(own);
}

IoResult SocketTransport::read(std::span<char> into) noexcept {
    const ssize_t got = uninterrupted([&] { return ::recv(fd_, into.data(), into.size(), 0); });
    return readiness_.conclude(result(got), got < static_cast<ssize_t>(into.size()));
}

IoResult SocketTransport::writeLast(std::string_view bytes) noexcept {
    return send(bytes, MSG_MORE);
}

IoResult SocketTransport::send(std::string_view bytes, int flags) noexcept {
    const ssize_t put =
        uninterrupted([&] { return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | flags); });
    if (put >= 0) return {IoStatus::Ok, static_cast<std::size_t>(put), 0};
    return failed();
}

IoResult SocketTransport::spliceTo(Pipe& pipe) noexcept {
    const ssize_t got = uninterrupted([&] {
        return ::splice(fd_, nullptr, pipe.write_end, nullptr, kSpliceBytes,
                        SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    });
    if (got > 0) pipe.bytes += static_cast<std::size_t>(got);
    // The pipe may be what was full: a short splice concludes nothing.
    return readiness_.conclude(result(got), false);
}

IoResult SocketTransport::spliceFrom(Pipe& pipe) noexcept {
    const ssize_t put = uninterrupted([&] {
        return ::splice(pipe.read_end, nullptr, fd_, nullptr, pipe.bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    });
    if (put > 0) {
        pipe.bytes -= static_cast<std::size_t>(put);
        return {IoStatus::Ok, static_cast<std::size_t>(put), 0};
    }
    if (put == 0) return {IoStatus::WouldBlock, 0, 0};
    return failed();
}

int SocketTransport::peek() noexcept {
    unsigned char first = 0;
    const ssize_t got = uninterrupted([&] { return ::recv(fd_, &first, 1, MSG_PEEK); });
    return got == 1 ? first : -1;
}

void SocketTransport::shutdownWrite() noexcept {
    ::shutdown(fd_, SHUT_WR);
}

void SocketTransport::resetOnClose() noexcept {
    // What was written last may still wait for an end (writeLast()) that does not come: this sends it.
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const ::linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void SocketTransport::notifyWritable() noexcept {
    if (!handler_ || writable_events_) return;
    writable_events_ = true;
    handler_->set()->modify(fd_, *handler_, slot_, true);
}

std::size_t SocketTransport::unacknowledged() const noexcept {
    int bytes = 0;
    return ::ioctl(fd_, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

void SocketTransport::acknowledge() noexcept {
    quickAcknowledgements(fd_, true);
}

void SocketTransport::noDelay() noexcept {
    if (no_delay_) return;
    no_delay_ = true;
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void SocketTransport::keepAlive() noexcept {
    mailgate::keepAlive(fd_);
}

}  // namespace mailgate
