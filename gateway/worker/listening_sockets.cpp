// SPDX-License-Identifier: Apache-2.0
#include "gateway/worker/listening_sockets.h"

#include "gateway/config/addresses.h"
#include "gateway/config/values.h"
#include "gateway/io/socket_address.h"
#include "gateway/worker/port_listeners.h"

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
#include <optional>

namespace mailgate {
namespace {

std::string causeOf(int error) {
    std::string cause = std::strerror(error);
    if (error == EACCES) return cause + "; ports below 1024 need root or CAP_NET_BIND_SERVICE";
    if (error == EADDRNOTAVAIL) return cause + "; this machine has no such address";
    return cause;
}

std::string cannotListen(const ListenerConfig& listener, const Endpoint& at, const std::string& cause) {
    return fmt::format("listener \"{}\": cannot listen on {}: {}", listener.name, at.toString(), cause);
}

std::vector<Endpoint> addressesOf(const Config& config) {
    std::vector<Endpoint> all;
    for (const ListenerConfig& listener : config.listeners)
        all.insert(all.end(), listener.addresses.begin(), listener.addresses.end());
    return all;
}

bool contains(const std::vector<Endpoint>& addresses, const Endpoint& at) {
    return std::find(addresses.begin(), addresses.end(), at) != addresses.end();
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

/// Opens what one configuration needs beside another that is in force, or beside none.
class Opening {
  public:
    Opening(const Config& config, const InheritedSockets& inherited, const Config* before)
        : config_(config), inherited_(inherited), before_(before) {
        if (before) in_force_ = addressesOf(*before);
    }

    bool isOpen(const Endpoint& at) const {
        return contains(in_force_, at) && staysBound(*before_, config_, at);
    }
    Descriptor bind(const ListenerConfig& listener, const Endpoint& at, bool first) const {
        const SocketAddress address(at);
        Descriptor socket(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        const int fd = socket.get();
        if (fd < 0) fail(listener, at, errno);
        enable(fd, SOL_SOCKET, SO_REUSEADDR);
        // Otherwise the kernel would let another gateway of the same user listen beside this one, too.
        if (!first || (inTheWay(at) && strangersOn(at) == std::optional(false)))
            enable(fd, SOL_SOCKET, SO_REUSEPORT);
        if (address.family() == AF_INET6)
            enable(fd, IPPROTO_IPV6, IPV6_V6ONLY, config::isV6Only(config_, at) ? 1 : 0);
        enable(fd, IPPROTO_TCP, TCP_NODELAY);  // which no client may be accepted without
        if (::bind(fd, address.get(), address.size()) < 0) fail(listener, at, errno);
        return socket;
    }
    void listen(const ListeningSocket& socket) const {
        const ListenerConfig& listener = config_.listeners[socket.listener];
        const int fd = socket.descriptor.get();
        if (!socket.shared && ::listen(fd, kListenBacklog) < 0) fail(listener, socket.local, errno);
        setInheritable(fd, listener);
        if (!socket.shared) enable(fd, SOL_SOCKET, SO_REUSEPORT);
    }
    /// Fails where another gateway has come to listen since `socket`, which listens now, was bound with SO_REUSEPORT.
    void requireAlone(const ListeningSocket& socket) const {
        if (!socket.shared && inTheWay(socket.local) &&
            strangersOn(socket.local, true) != std::optional(false))
            fail(config_.listeners[socket.listener], socket.local, EADDRINUSE);
    }

    [[noreturn]] void fail(const ListenerConfig& listener, const Endpoint& at, int error) const {
        std::string cause = causeOf(error);
        if (error == EADDRINUSE) cause += holderOf(listener, at);
        throw ListenError(cannotListen(listener, at, cause));
    }

  private:
    /// The address in force, soon to be closed, that keeps `at` from being bound; null: none.
    const Endpoint* inTheWay(const Endpoint& at) const {
        const auto found = std::find_if(in_force_.begin(), in_force_.end(), [&](const Endpoint& own) {
            return !staysBound(*before_, config_, own) && config::collide(config_, at, *before_, own);
        });
        return found == in_force_.end() ? nullptr : &*found;
    }
    /// None: it cannot be known. `listening`: this process has a socket on `at`.
    std::optional<bool> strangersOn(const Endpoint& at, bool listening = false) const {
        const auto others = addressesListening(at.port);
        if (!others) return std::nullopt;
        return std::any_of(others->begin(), others->end(), [&](const IpAddress& address) {
            return !contains(in_force_, {address, at.port}) && !(listening && address == at.address) &&
                   config::covers(config_, at, address);
        });
    }
    std::string holderOf(const ListenerConfig& listener, const Endpoint& at) const {
        if (const std::string passed = inherited_.holding(at); !passed.empty())
            return fmt::format(
                "; the port is held by {}, a socket that systemd passed: for this listener the socket unit "
                "needs ListenStream={} and FileDescriptorName={}, or change `address`",
                passed, at.toString(), listener.name);
        const Endpoint* const own = inTheWay(at);
        if (own && !strangersOn(at).value_or(false))
            return fmt::format("; the gateway itself is listening on {} until then: restart it",
                               own->toString());
        return "; another mailgate or mail server is already listening there";
    }

    const Config& config_;
    const InheritedSockets& inherited_;
    const Config* before_;
    std::vector<Endpoint> in_force_;
};

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
                sentences.push_back(cannotListen(listener, at, causeOf(error)));
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
               (socket.local.address == at.address || config::isWildcard(socket.local.address) ||
                config::isWildcard(at.address));
    });
    return found == sockets_.end() ? std::string() : found->text();
}

std::string InheritedSockets::Inherited::text() const {
    return fmt::format("{} ({})", name, local.toString());
}

bool staysBound(const Config& before, const Config& next, const Endpoint& at) {
    return contains(addressesOf(next), at) && config::isV6Only(before, at) == config::isV6Only(next, at);
}

ListeningSockets bindListeners(const Config& config, unsigned workers, const InheritedSockets& inherited,
                               const Config* before) {
    const Opening opening(config, inherited, before);
    ListeningSockets sockets(workers);
    for (std::size_t index = 0; index < config.listeners.size(); ++index) {
        const ListenerConfig& listener = config.listeners[index];
        for (const Endpoint& at : listener.addresses) {
            if (opening.isOpen(at)) continue;
            const int shared = inherited.find(listener.name, at);
            for (unsigned worker = 0; worker < workers; ++worker) {
                Descriptor socket = shared >= 0 ? Descriptor(::fcntl(shared, F_DUPFD_CLOEXEC, 0))
                                                : opening.bind(listener, at, worker == 0);
                if (socket.get() < 0) opening.fail(listener, at, errno);
                sockets[worker].push_back(
                    {std::move(socket), index, at, config::isWildcard(at.address), shared >= 0});
            }
        }
    }
    return sockets;
}

void startListening(const ListeningSockets& sockets, const Config& config, const InheritedSockets& inherited,
                    const Config* before) {
    const Opening opening(config, inherited, before);
    for (const auto& worker : sockets)
        for (const ListeningSocket& socket : worker)
            opening.listen(socket);
    if (sockets.empty()) return;
    for (const ListeningSocket& socket : sockets.front())
        opening.requireAlone(socket);
}

ListeningSockets openListeners(const Config& config, unsigned workers, const InheritedSockets& inherited) {
    ListeningSockets sockets = bindListeners(config, workers, inherited);
    startListening(sockets, config, inherited);
    return sockets;
}

void giveListeners(const ListeningSockets& sockets, uid_t user) noexcept {
    for (const auto& worker : sockets)
        for (const ListeningSocket& socket : worker)
            // Where that is not allowed, a reload that would need it says so.
            if (!socket.shared)
                static_cast<void>(::fchown(socket.descriptor.get(), user, static_cast<gid_t>(-1)) == 0);
}

}  // namespace mailgate
