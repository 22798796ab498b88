// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/admin_states.h"

#include "gateway/log/escape.h"
#include "protocols/values/text.h"
#include "store/replace_file.h"

#include <fmt/format.h>

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <set>
#include <stdexcept>
#include <string_view>

namespace mailgate {
namespace {

constexpr std::string_view kHead = "# mailgate: drained servers, one a line; written by the running gateway";
constexpr std::string_view kDrain = "drain ";
// The line before a server's: a comment to versions that know nothing of it.
constexpr std::string_view kSince = "# since ";
constexpr std::string_view kBy = " by ";

[[noreturn]] void failed(const std::string& file, std::string_view what) {
    throw std::runtime_error(fmt::format("{}: {}: {}", file, what, std::strerror(errno)));
}

std::set<std::pair<std::string, std::string>> serversOf(const Config& config) {
    std::set<std::pair<std::string, std::string>> servers;
    for (const UpstreamConfig& upstream : config.upstreams)
        for (const ServerConfig& server : upstream.servers)
            servers.emplace(upstream.name, server.name);
    return servers;
}

UnixSeconds writtenAt(const std::string& file) {
    struct stat status {};
    return ::stat(file.c_str(), &status) == 0 ? status.st_mtim.tv_sec : 0;
}

/// Of a comment; what is none of ours says nothing.
std::optional<DrainOrder> parseOrder(std::string_view line) {
    if (!line.starts_with(kSince)) return std::nullopt;
    line.remove_prefix(kSince.size());
    const std::size_t by = std::min(line.find(kBy), line.size());
    const auto since = parseUtc(line.substr(0, by));
    if (!since) return std::nullopt;
    line.remove_prefix(by);
    return DrainOrder{*since, std::string(line.empty() ? line : line.substr(kBy.size()))};
}

std::string asLine(std::string_view upstream, std::string_view server, DrainOrder order) {
    std::replace_if(
        order.by.begin(), order.by.end(), [](unsigned char each) { return std::iscntrl(each) != 0; }, '?');
    const std::string since = order.since == 0 ? ""
                                               : fmt::format("{}{}{}{}\n", kSince, formatUtc(order.since),
                                                             order.by.empty() ? "" : kBy, order.by);
    return fmt::format("{}{}{}/{}\n", since, kDrain, upstream, server);
}

}  // namespace

std::string adminStateFile(const std::string& store_url) {
    return store_url.substr(store_url.find(':') + 1) + "-servers";
}

DrainedServers readDrained(const std::string& file) {
    errno = 0;
    std::ifstream stream(file);
    if (!stream) {
        if (errno == ENOENT) return {};
        failed(file, "cannot be read");
    }
    DrainedServers drained;
    std::optional<DrainOrder> order;
    for (std::string line; std::getline(stream, line);) {
        const std::size_t slash = line.find('/');
        if (line.empty() || line.starts_with('#')) {
            order = parseOrder(line);
            continue;
        }
        if (!line.starts_with(kDrain) || slash == std::string::npos)
            throw std::runtime_error(
                fmt::format("{}: expected \"drain UPSTREAM/SERVER\", found {}", file, inQuotes(line)));
        drained.insert_or_assign({line.substr(kDrain.size(), slash - kDrain.size()), line.substr(slash + 1)},
                                 order ? *order : DrainOrder{writtenAt(file), ""});
        order.reset();
    }
    return drained;
}

void writeDrained(const std::string& file, const DrainedServers& drained) {
    std::string text = fmt::format("{}\n", kHead);
    for (const auto& [name, order] : drained)
        text += asLine(name.first, name.second, order);
    store::replaceFile(file, text);
}

std::string inWords(const DrainOrder& order) {
    return fmt::format("{}{}{}{}", order.since == 0 ? "" : " since ",
                       order.since == 0 ? "" : formatUtc(order.since), order.by.empty() ? "" : kBy, order.by);
}

void forgetUnknown(DrainedServers& drained, const Config& config) {
    std::erase_if(drained,
                  [known = serversOf(config)](const auto& one) { return !known.contains(one.first); });
}

void forgetKnown(DrainedServers& drained, const Config& config) {
    std::erase_if(drained,
                  [known = serversOf(config)](const auto& one) { return known.contains(one.first); });
}

DrainedServers drainedOf(const Generation& generation) {
    DrainedServers drained;
    for (const auto& pool : generation.upstreams)
        for (const ServerStatus& server : pool->status())
            if (server.draining) drained[{server.upstream, server.server}] = server.drained;
    return drained;
}

void drainAgain(const Generation& generation, const DrainedServers& drained) {
    for (const auto& pool : generation.upstreams)
        for (const auto& [name, order] : drained)
            if (name.first == pool->config().name) pool->setAdminState(name.second, AdminState::Drain, order);
}

}  // namespace mailgate
