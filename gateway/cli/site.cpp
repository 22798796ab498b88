// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/site.h"

namespace mailgate::cli {

std::vector<std::string> serverNames(const Config& config) {
    std::vector<std::string> names;
    for (const UpstreamConfig& upstream : config.upstreams)
        for (const ServerConfig& server : upstream.servers)
            names.push_back(upstream.name + "/" + server.name);
    return names;
}

}  // namespace mailgate::cli
