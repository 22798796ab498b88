// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker/listening_sockets.h"

#include "gateway/config/values.h"
#include "gateway/io/socket_address.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace mailgate {
namespace {

constexpr int kBacklog = 4096;  // the kernel caps it at net.core.somaxconn

std::string causeOf(int error) {
    std::string cause = std::strerror(error);
    if (error == EACCES) return cause + "; ports below 1024 need root or CAP_NET_BIND_SERVICE";
    if (error == EADDRNOTAVAIL) return cause + "; this machine has no such address";
    return cause;
}

std::string cannotListen(const ListenerConfig& listener, const Endpoint& at, int error,
                         const InheritedSockets& inherited = {}) {
    std::string cause = causeOf(error);
    const std::string ours = error == EADDRINUSE ? inherited.holding(at) : std::string();
    if (!ours.empty())
        cause += fmt::format(
            "; the port is held by {}, a socket that systemd passed: for this listener the socket unit needs "
            "ListenStream={} and FileDescriptorName={}, or change `address`",
            ours, at.toString(), listener.name);
    else if (error == EADDRINUSE)
        cause += "; another mailgate or mail server is already listening there";
    return fmt::format("listener \"{}\": cannot listen on {}: {}", listener.name, at.toString(), cause);
}

[[noreturn]] void fail(const ListenerConfig& listener, const Endpoint& at, int error,
                       const InheritedSockets& inherited = {}) {
    throw ListenError(cannotListen(listener, at, error, inherited));
}

bool isWildcard(const Endpoint& endpoint) {
    return endpoint.address == IpAddress{} || endpoint.address == IpAddress::fromV4({0, 0, 0, 0});
}

// [::] serves IPv4 too, unless the file binds that family's wildcard itself.
bool v6Only(const Config& config, const Endpoint& endpoint) {
    const Endpoint v4{IpAddress::fromV4({0, 0, 0, 0}), endpoint.port};
    return endpoint.address != IpAddress{} ||
           std::any_of(config.listeners.begin(), config.listeners.end(), [&](const ListenerConfig& listener) {
               return std::find(listener.addresses.begin(), listener.addresses.end(), v4) !=
                      listener.addresses.end();
           });
}

void enable(int fd, int level, int option, int value = 1) noexcept {
    ::setsockopt(fd, level, option, &value, sizeof value);
}

/// The gateway or its server. Elsewhere a client's next words may wait until its first ones are acknowledged (Nagle's
/// algorithm).
bool speaksFirst(const ListenerConfig& listener) {
    return listener.protocol != Protocol::Tcp &&
           (listener.tls == ListenerTls::Off || listener.tls == ListenerTls::StartTls);
}

/// Why nobody here can listen there, whoever else does; 0: somebody can.
int wantOfAddress(const Endpoint& at) {
    const SocketAddress address(at);
    const Descriptor socket(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (socket.get() >= 0 && ::bind(socket.get(), address.get(), address.size()) == 0) return 0;
    // EINVAL: a link-local address, which is an interface's.
    return errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT || errno == EINVAL ? errno : 0;
}

Descriptor openOne(const Config& config, const ListenerConfig& listener, const Endpoint& at, bool first,
                   const InheritedSockets& inherited) {
    const SocketAddress address(at);
    Descriptor socket(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int fd = socket.get();
    if (fd < 0) fail(listener, at, errno);
    enable(fd, SOL_SOCKET, SO_REUSEADDR);
    if (!first) enable(fd, SOL_SOCKET, SO_REUSEPORT);
    if (address.family() == AF_INET6) enable(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6Only(config, at) ? 1 : 0);
    enable(fd, IPPROTO_TCP, TCP_NODELAY);  // which no client may be accepted without
    if (::bind(fd, address.get(), address.size()) < 0 || ::listen(fd, kBacklog) < 0)
        fail(listener, at, errno, inherited);
    setInheritable(fd, listener);
    if (first) enable(fd, SOL_SOCKET, SO_REUSEPORT);
    return socket;
}

}  // namespace

void setInheritable(int fd, const ListenerConfig& listener) noexcept {
    enable(fd, IPPROTO_TCP, TCP_NODELAY);
    enable(fd, IPPROTO_TCP, TCP_QUICKACK, speaksFirst(listener) ? 0 : 1);  // listen() forgets it
}

std::vector<std::string> addressesNotHere(const Config& config) {
    std::vector<std::string> sentences;
    for (const ListenerConfig& listener : config.listeners)
        for (const Endpoint& at : listener.addresses)
            if (const int error = wantOfAddress(at); error != 0)
                sentences.push_back(cannotListen(listener, at, error));
    const auto http = parseHostPort(config.admin.http);
    const auto address = http ? IpAddress::parse(http->host) : std::nullopt;
    if (!address) return sentences;
    if (const int error = wantOfAddress({*address, http->port}); error != 0)
        sentences.push_back(
            fmt::format("admin.http: cannot listen on {}: {}", config.admin.http, causeOf(error)));
    return sentences;
}

InheritedSockets InheritedSockets::take() {
    InheritedSockets inherited;
    char** names = nullptr;
    const int count = ::sd_listen_fds_with_names(1, &names);
    for (int i = 0; i < count; ++i) {
        inherited.add(names[i], Descriptor(SD_LISTEN_FDS_START + i));
        std::free(names[i]);
    }
    std::free(names);
    return inherited;
}

void InheritedSockets::add(std::string name, Descriptor descriptor) {
    const int fd = descriptor.get();
    sockaddr_storage local{};
    socklen_t size = sizeof local;
    Inherited socket{std::move(name), {}, std::move(descriptor)};
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) == 0)
        socket.local = SocketAddress::toEndpoint(local);
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
    sockets_.push_back(std::move(socket));
}

int InheritedSockets::find(const std::string& listener, const Endpoint& at) const {
    const auto found = std::find_if(sockets_.begin(), sockets_.end(), [&](const Inherited& socket) {
        return socket.name == listener && socket.local == at;
    });
    return found == sockets_.end() ? -1 : found->descriptor.get();
}

std::vector<std::string> InheritedSockets::unusedWarnings(const Config& config) const {
    const auto isAListeners = [&](const Inherited& socket) {
        return std::any_of(
            config.listeners.begin(), config.listeners.end(), [&](const ListenerConfig& listener) {
                return listener.name == socket.name &&
                       std::find(listener.addresses.begin(), listener.addresses.end(), socket.local) !=
                           listener.addresses.end();
            });
    };
    std::vector<std::string> warnings;
    for (const Inherited& socket : sockets_)
        if (!isAListeners(socket))
            warnings.push_back(fmt::format(
                "systemd passed the socket {}, but no listener has that name and address", socket.text()));
    return warnings;
}

std::string InheritedSockets::holding(const Endpoint& at) const {
    const auto found = std::find_if(sockets_.begin(), sockets_.end(), [&](const Inherited& socket) {
        return socket.local.port == at.port &&
               (socket.local.address == at.address || isWildcard(socket.local) || isWildcard(at));
    });
    return found == sockets_.end() ? std::string() : found->text();
}

std::string InheritedSockets::Inherited::text() const {
    return fmt::format("{} ({})", name, local.toString());
}

ListeningSockets openListeners(const Config& config, unsigned workers, const InheritedSockets& inherited,
                               const std::vector<Endpoint>& kept) {
    ListeningSockets sockets(workers);
    for (std::size_t index = 0; index < config.listeners.size(); ++index) {
        const ListenerConfig& listener = config.listeners[index];
        for (const Endpoint& at : listener.addresses) {
            if (std::find(kept.begin(), kept.end(), at) != kept.end()) continue;
            const int shared = inherited.find(listener.name, at);
            if (shared >= 0) setInheritable(shared, listener);
            for (unsigned worker = 0; worker < workers; ++worker) {
                Descriptor socket = shared >= 0 ? Descriptor(::fcntl(shared, F_DUPFD_CLOEXEC, 0))
                                                : openOne(config, listener, at, worker == 0, inherited);
                if (socket.get() < 0) fail(listener, at, errno);
                sockets[worker].push_back({std::move(socket), index, at, isWildcard(at)});
            }
        }
    }
    return sockets;
}

}  // namespace mailgate
