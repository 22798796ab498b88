// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load/event_loop.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <stdexcept>
#include <system_error>

namespace mailgate::load {

namespace {

constexpr int kBacklog = 4096;

void enable(const Descriptor& socket, int level, int option) {
    const int on = 1;
    check(setsockopt(socket.number(), level, option, &on, sizeof on), "setsockopt");
}

Descriptor streamSocket() {
    return Descriptor(check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket"));
}

const sockaddr* generic(const Endpoint& endpoint) {
    return reinterpret_cast<const sockaddr*>(&endpoint.address);
}

}  // namespace

int check(int result, const char* call) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), call);
    return result;
}

void Descriptor::close() noexcept {
    if (isOpen()) ::close(std::exchange(number_, -1));
}

EventLoop::EventLoop() : epoll_(check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")) {}

void EventLoop::watch(const Descriptor& descriptor, Handler& handler, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = &handler;
    check(epoll_ctl(epoll_.number(), EPOLL_CTL_ADD, descriptor.number(), &event), "epoll_ctl");
}

bool EventLoop::runOnce(std::chrono::milliseconds wait) {
    std::array<epoll_event, 256> batch;
    const int count = epoll_wait(epoll_.number(), batch.data(), batch.size(), static_cast<int>(wait.count()));
    if (count < 0 && errno == EINTR) return true;
    check(count, "epoll_wait");
    for (int index = 0; index < count; ++index)
        static_cast<Handler*>(batch[index].data.ptr)->onReady(batch[index].events);
    return count > 0;
}

Endpoint Endpoint::parse(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    Endpoint endpoint;
    endpoint.address.sin_family = AF_INET;
    std::uint16_t port = 0;
    const bool has_port =
        colon != text.npos &&
        std::from_chars(text.data() + colon + 1, text.data() + text.size(), port).ec == std::errc{};
    const std::string host(text.substr(0, colon));
    if (!has_port || inet_pton(AF_INET, host.c_str(), &endpoint.address.sin_addr) != 1)
        throw std::invalid_argument("not an IPv4 address and port: " + std::string(text));
    endpoint.address.sin_port = htons(port);
    return endpoint;
}

Endpoint Endpoint::ofSocket(const Descriptor& socket) {
    Endpoint endpoint;
    socklen_t size = sizeof endpoint.address;
    check(getsockname(socket.number(), reinterpret_cast<sockaddr*>(&endpoint.address), &size), "getsockname");
    return endpoint;
}

std::string Endpoint::toString() const {
    std::array<char, INET_ADDRSTRLEN> text{};
    inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size());
    return std::string(text.data()) + ":" + std::to_string(ntohs(address.sin_port));
}

Descriptor listenOn(const Endpoint& endpoint) {
    Descriptor socket = streamSocket();
    enable(socket, SOL_SOCKET, SO_REUSEADDR);
    enable(socket, IPPROTO_TCP, TCP_NODELAY);
    check(bind(socket.number(), generic(endpoint), sizeof endpoint.address), "bind");
    check(listen(socket.number(), kBacklog), "listen");
    return socket;
}

Descriptor connectTo(const Endpoint& endpoint, const Endpoint& source) {
    Descriptor socket = streamSocket();
    enable(socket, IPPROTO_TCP, TCP_NODELAY);
    // The port is then chosen by connect(), per destination: a bound port would be taken for all of them.
    enable(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    check(bind(socket.number(), generic(source), sizeof source.address), "bind");
    if (connect(socket.number(), generic(endpoint), sizeof endpoint.address) < 0 && errno != EINPROGRESS)
        check(-1, "connect");
    return socket;
}

}  // namespace mailgate::load
