// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/admin_states.h"

#include "gateway/base/descriptor.h"
#include "gateway/log/escape.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string_view>

namespace mailgate {
namespace {

constexpr std::string_view kHead = "# mailgate: drained servers, one a line; written by the running gateway";
constexpr std::string_view kDrain = "drain ";

[[noreturn]] void failed(const std::string& file, std::string_view what) {
    throw std::runtime_error(fmt::format("{}: {}: {}", file, what, std::strerror(errno)));
}

void syncFolderOf(const std::string& file) {
    const auto folder = std::filesystem::path(file).parent_path();
    const Descriptor opened(
        ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (opened.get() < 0 || ::fsync(opened.get()) != 0)
        failed(file, "its folder cannot be brought to the disk");
}

DrainedServers serversOf(const Config& config) {
    DrainedServers servers;
    for (const UpstreamConfig& upstream : config.upstreams)
        for (const ServerConfig& server : upstream.servers)
            servers.emplace(upstream.name, server.name);
    return servers;
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
    for (std::string line; std::getline(stream, line);) {
        const std::size_t slash = line.find('/');
        if (line.empty() || line.starts_with('#')) continue;
        if (!line.starts_with(kDrain) || slash == std::string::npos)
            throw std::runtime_error(
                fmt::format("{}: expected \"drain UPSTREAM/SERVER\", found {}", file, inQuotes(line)));
        drained.emplace(line.substr(kDrain.size(), slash - kDrain.size()), line.substr(slash + 1));
    }
    return drained;
}

void writeDrained(const std::string& file, const DrainedServers& drained) {
    std::string text = fmt::format("{}\n", kHead);
    for (const auto& [upstream, server] : drained)
        text += fmt::format("{}{}/{}\n", kDrain, upstream, server);
    const std::string next = file + ".new";
    {
        const Descriptor opened(
            ::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640));
        if (opened.get() < 0) failed(next, "cannot be written");
        const ssize_t written = ::write(opened.get(), text.data(), text.size());
        if (written >= 0 && static_cast<std::size_t>(written) < text.size()) errno = ENOSPC;
        if (written != static_cast<ssize_t>(text.size()) || ::fsync(opened.get()) != 0) {
            const int error = errno;
            ::unlink(next.c_str());
            errno = error;
            failed(next, "cannot be written");
        }
    }
    if (::rename(next.c_str(), file.c_str()) != 0) failed(file, "cannot be replaced");
    syncFolderOf(file);
}

void forgetUnknown(DrainedServers& drained, const Config& config) {
    std::erase_if(drained, [known = serversOf(config)](const auto& one) { return !known.contains(one); });
}

void forgetKnown(DrainedServers& drained, const Config& config) {
    std::erase_if(drained, [known = serversOf(config)](const auto& one) { return known.contains(one); });
}

DrainedServers drainedOf(const Generation& generation) {
    DrainedServers drained;
    for (const auto& pool : generation.upstreams)
        for (const ServerStatus& server : pool->status())
            if (server.draining) drained.emplace(server.upstream, server.server);
    return drained;
}

void drainAgain(const Generation& generation, const DrainedServers& drained) {
    for (const auto& pool : generation.upstreams)
        for (const auto& [upstream, server] : drained)
            if (upstream == pool->config().name) pool->setAdminState(server, AdminState::Drain);
}

}  // namespace mailgate
