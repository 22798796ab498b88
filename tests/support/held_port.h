// SPDX-License-Identifier: Apache-2.0
/// \file  A port of 127.0.0.1 that a test holds: nobody else gets it meanwhile.
#pragma once

#include "gateway/base/descriptor.h"
#include "gateway/io/socket_address.h"

#include <sys/socket.h>

#include <cstdint>

namespace mailgate::test {

class HeldPort {
  public:
    enum class Kind : std::uint8_t { Listens, Refuses };

    /// 0: any that is free. It is not bound where another listens already.
    explicit HeldPort(std::uint16_t port = 0, Kind kind = Kind::Listens) {
        const SocketAddress at({*IpAddress::parse("127.0.0.1"), port});
        bound_ = ::bind(socket_.get(), at.get(), at.size()) == 0 &&
                 (kind == Kind::Refuses || ::listen(socket_.get(), 1) == 0);
        sockaddr_storage local{};
        socklen_t size = sizeof local;
        ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&local), &size);
        endpoint_ = SocketAddress::toEndpoint(local);
    }
    const Endpoint& endpoint() const { return endpoint_; }
    std::uint16_t number() const { return endpoint_.port; }
    bool bound() const { return bound_; }
    int descriptor() const { return socket_.get(); }
    void release() { socket_ = Descriptor(); }

  private:
    Descriptor socket_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    Endpoint endpoint_;
    bool bound_ = false;
};

}  // namespace mailgate::test
