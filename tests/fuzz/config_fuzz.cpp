// SPDX-License-Identifier: Apache-2.0
// parseConfig throws nothing but ConfigError, each line of which names one of the files; what it accepts is in bounds. A
// line "--- NAME" begins a file that may be included.
#include "gateway/config/load.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace mailgate;

namespace fs = std::filesystem;

constexpr std::string_view kFolder = "/etc/mailgate/";
constexpr std::string_view kFile = "/etc/mailgate/mailgate.toml";

/// By name; the main one's is empty.
std::map<std::string, std::string> filesOf(std::string_view input) {
    constexpr std::string_view kMark = "\n--- ";
    std::map<std::string, std::string> files;
    std::string name;
    while (true) {
        const std::size_t end = std::min(input.find(kMark), input.size());
        files[name] = input.substr(0, end);
        if (end == input.size()) return files;
        input.remove_prefix(end + kMark.size());
        name = input.substr(0, input.find('\n'));
        input.remove_prefix(std::min(name.size() + 1, input.size()));
    }
}

config::FileSource sourceOf(const std::map<std::string, std::string>& files) {
    return {[&files](const fs::path& folder) -> std::optional<std::vector<std::string>> {
                std::vector<std::string> names;
                for (const auto& [name, text] : files)
                    if (!name.empty() && (fs::path(kFolder) / name).parent_path() == folder)
                        names.push_back(fs::path(name).filename().string());
                return names.empty() ? std::nullopt : std::optional(names);
            },
            [&files](const fs::path& file) -> std::string {
                const auto found =
                    files.find(file.string().substr(std::min(kFolder.size(), file.string().size())));
                if (found == files.end() || found->first.empty()) throw ConfigError("there is no such file");
                return found->second;
            }};
}

void require(bool holds) {
    if (!holds) std::abort();
}

void requireReadable(std::string_view errors) {
    require(!errors.empty());
    while (!errors.empty()) {
        const std::string_view line = errors.substr(0, errors.find('\n'));
        require(line.starts_with('/') && line.find(": ") != std::string_view::npos);
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
    const auto files = filesOf({reinterpret_cast<const char*>(data), size});
    try {
        const Config config = parseConfig(files.at(""), kFile, resolve, sourceOf(files));
        require(!config.files.empty() && config.files.size() <= files.size());
        requireSound(config);
    } catch (const ConfigError& error) {
        requireReadable(error.what());
    }
    return 0;
}
