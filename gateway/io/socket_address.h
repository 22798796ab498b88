// SPDX-License-Identifier: Apache-2.0
/// \file  Between Endpoint values and the kernel's sockaddr.
#pragma once

#include "protocols/values/address.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

namespace mailgate {

/// An Endpoint as a sockaddr: IPv4 (mapped) addresses become AF_INET.
class SocketAddress {
  public:
    explicit SocketAddress(const Endpoint& endpoint) noexcept {
        if (endpoint.address.isV4()) {
            v4_.sin_family = AF_INET;
            v4_.sin_port = htons(endpoint.port);
            std::memcpy(&v4_.sin_addr, endpoint.address.bytes.data() + 12, 4);
        } else {
            v6_.sin6_family = AF_INET6;
            v6_.sin6_port = htons(endpoint.port);
            std::memcpy(&v6_.sin6_addr, endpoint.address.bytes.data(), 16);
        }
    }

    int family() const noexcept { return storage_.ss_family; }
    const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage_); }
    socklen_t size() const noexcept { return family() == AF_INET ? sizeof v4_ : sizeof v6_; }

    /// The canonical Endpoint of what accept(2) or getsockname(2) gave; port 0 and :: for other families.
    static Endpoint toEndpoint(const sockaddr_storage& storage) noexcept {
        Endpoint endpoint;
        if (storage.ss_family == AF_INET) {
            const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
            std::array<std::uint8_t, 4> octets;
            std::memcpy(octets.data(), &v4.sin_addr, 4);
            endpoint = {IpAddress::fromV4(octets), ntohs(v4.sin_port)};
        } else if (storage.ss_family == AF_INET6) {
            const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
            std::memcpy(endpoint.address.bytes.data(), &v6.sin6_addr, 16);
            endpoint.port = ntohs(v6.sin6_port);
        }
        return endpoint;
    }

  private:
    union {
        sockaddr_storage storage_{};
        sockaddr_in v4_;
        sockaddr_in6 v6_;
    };
};

}  // namespace mailgate
