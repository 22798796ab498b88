// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/addresses.h"

#include <algorithm>

namespace mailgate::config {

bool isWildcard(const IpAddress& address) {
    return address == IpAddress{} || address == IpAddress::fromV4({0, 0, 0, 0});
}

bool reaches(const Endpoint& server, const Endpoint& listener) {
    if (server == listener) return true;
    const bool family = server.address.isV4() == listener.address.isV4() || !listener.address.isV4();
    return server.port == listener.port && isWildcard(listener.address) && family &&
           server.address.isLoopback();
}

bool isV6Only(const Config& config, const Endpoint& at) {
    const Endpoint v4{IpAddress::fromV4({0, 0, 0, 0}), at.port};
    return at.address != IpAddress{} ||
           std::any_of(config.listeners.begin(), config.listeners.end(), [&](const ListenerConfig& listener) {
               return std::find(listener.addresses.begin(), listener.addresses.end(), v4) !=
                      listener.addresses.end();
           });
}

bool covers(const Config& config, const Endpoint& at, const IpAddress& address) {
    if (!isWildcard(at.address)) return at.address == address;
    return at.address.isV4() == address.isV4() || (address.isV4() && !isV6Only(config, at));
}

bool collide(const Config& one, const Endpoint& at, const Config& other, const Endpoint& there) {
    return at.port == there.port && (covers(one, at, there.address) || covers(other, there, at.address));
}

}  // namespace mailgate::config
