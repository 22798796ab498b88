// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/site.h"

#include <utility>

namespace mailgate::cli {

rules::Site siteOf(const Config& config) {
    rules::Site site;
    for (const ListenerConfig& listener : config.listeners)
        site.listeners.push_back(
            {listener.name, listener.access == AccessDefault::Allowlist, listener.trusted});
    for (const UpstreamConfig& upstream : config.upstreams)
        for (const ServerConfig& server : upstream.servers) {
            rules::Site::Server own{upstream.name + "/" + server.name, server.address, {}};
            for (const Endpoint& endpoint : server.endpoints)
                own.endpoints.push_back(endpoint.address.bytes);
            site.servers.push_back(std::move(own));
        }
    return site;
}

std::vector<std::string> listenerNames(const Config& config) {
    std::vector<std::string> names;
    for (const ListenerConfig& listener : config.listeners)
        names.push_back(listener.name);
    return names;
}

std::vector<std::string> serverNames(const Config& config) {
    std::vector<std::string> names;
    for (const UpstreamConfig& upstream : config.upstreams)
        for (const ServerConfig& server : upstream.servers)
            names.push_back(upstream.name + "/" + server.name);
    return names;
}

}  // namespace mailgate::cli
