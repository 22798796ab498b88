// SPDX-License-Identifier: Apache-2.0
// parseConfig throws nothing but ConfigError, each line of which names the file; what it accepts is in bounds.
#include "gateway/config/load.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace mailgate;

constexpr std::string_view kFile = "/etc/mailgate/mailgate.toml";

void require(bool holds) {
    if (!holds) std::abort();
}

void requireReadable(std::string_view errors) {
    require(!errors.empty());
    while (!errors.empty()) {
        const std::string_view line = errors.substr(0, errors.find('\n'));
        require(line.starts_with(kFile) && line.size() > kFile.size());
        // What is quoted of the file must not reach a terminal as it stands.
        require(std::ranges::none_of(line, [](char c) { return static_cast<unsigned char>(c) < 0x20; }));
        errors.remove_prefix(std::min(line.size() + 1, errors.size()));
    }
}

void requireSound(const Config& config) {
    require(!config.listeners.empty() && config.max_sessions > 0);
    for (const ListenerConfig& listener : config.listeners) {
        require(!listener.name.empty() && listener.upstream_index < config.upstreams.size());
        require(config.upstreams[listener.upstream_index].name == listener.upstream);
        require(std::ranges::count(config.listeners, listener.name, &ListenerConfig::name) == 1);
    }
    for (const UpstreamConfig& upstream : config.upstreams) {
        require(!upstream.servers.empty());
        require(upstream.send_proxy != SendProxy::Off || upstream.lost_client_address_accepted);
        for (const ServerConfig& server : upstream.servers)
            require(server.weight >= 1 && server.weight <= 100 && server.port != 0);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Resolver resolve = [](const std::string& host) {
        if (host.size() % 2 == 0) return Resolution{{}, "no such name"};
        return Resolution{{IpAddress::fromV4({127, 0, 0, 1})}, ""};
    };
    try {
        requireSound(parseConfig({reinterpret_cast<const char*>(data), size}, kFile, resolve));
    } catch (const ConfigError& error) {
        requireReadable(error.what());
    }
    return 0;
}
