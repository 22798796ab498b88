// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/site.h"

#include <utility>

namespace mailgate {

rules::Site siteOf(const Config& config) {
    rules::Site site;
    for (const ListenerConfig& listener : config.listeners)
        site.listeners.push_back({listener.name, listener.access == AccessDefault::Allowlist,
                                  listener.trusted, listener.mode == ListenerMode::Monitor});
    for (const UpstreamConfig& upstream : config.upstreams)
        for (const ServerConfig& server : upstream.servers) {
            rules::Site::Server own{upstream.name + "/" + server.name, server.address, {}};
            for (const Endpoint& endpoint : server.endpoints)
                own.endpoints.push_back(endpoint.address.bytes);
            site.servers.push_back(std::move(own));
        }
    return site;
}

}  // namespace mailgate
