// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/running_gateway.h"

#include "gateway/admin/client.h"
#include "gateway/cli/json_fields.h"
#include "gateway/cli/table.h"
#include "gateway/config/values.h"
#include "gateway/daemon/preflight.h"
#include "protocols/values/address.h"
#include "protocols/values/network.h"
#include "protocols/values/text.h"

#include <Poco/JSON/Array.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>
#include <variant>

namespace mailgate::cli {

namespace {

namespace fs = std::filesystem;
using Poco::JSON::Object;

bool isSameFile(const std::string& a, const std::string& b) {
    std::error_code error;  // not to be seen by this user, perhaps
    return fs::equivalent(a, b, error) ||
           fs::absolute(a).lexically_normal() == fs::absolute(b).lexically_normal();
}

/// What a session under way is known by, beside its id and its client.
constexpr std::array<const char*, 3> kNamesOfLive{"user", "from", "helo"};

std::string pathIn(const std::string& url) {
    return url.substr(url.find(':') + 1);
}

/// How it differs; empty: in nothing that decides about clients.
std::string differenceOf(const Object& running, const ListenerConfig& listener) {
    const std::string access = listener.access == AccessDefault::Allowlist ? "allowlist" : "open";
    const std::string mode(toString(listener.mode));
    const std::string its_access = running.optValue("access", access);
    const std::string its_mode = running.optValue("mode", mode);
    std::string difference;
    if (its_access != access) difference = fmt::format("access = \"{}\"", its_access);
    if (its_mode != mode)
        difference += fmt::format("{}mode = \"{}\"", difference.empty() ? "" : " and ", its_mode);
    return difference;
}

}  // namespace

RunningGateway runningGateway(const Config& config) {
    try {
        return {admin::Client(config.admin.socket, kGatewayPatience).get("/v1/status")};
    } catch (const admin::ClientError& error) {
        using Kind = admin::ClientError::Kind;
        const bool silent = error.kind() == Kind::Silent;
        return {{}, silent, silent || error.kind() == Kind::NotPermitted ? error.what() : ""};
    }
}

std::optional<std::string> otherFile(const Object& status, const Config& config) {
    std::string file = textOf(status, "config_file");
    if (file.empty() || isSameFile(file, config.file)) return std::nullopt;
    return file;
}

std::optional<std::string> otherStore(const Object& status, const Config& config) {
    const std::string store = textOf(status, "store");
    if (store.empty() || isSameFile(pathIn(store), pathIn(config.store_url))) return std::nullopt;
    return fmt::format("the running gateway reads the rules in {}, not those in {}",
                       printable(pathIn(store), std::string::npos),
                       printable(pathIn(config.store_url), std::string::npos));
}

namespace {

/// "/var/lib/mailgate/mailgate.db: there is no such file"; nothing: it is one, or that is not to be seen.
std::optional<std::string> missingStore(const Config& config) {
    const std::string path = pathIn(config.store_url);
    std::error_code error;
    const auto size = fs::file_size(path, error);
    if (error ? error != std::errc::no_such_file_or_directory : size > 0) return std::nullopt;
    return fmt::format("{}: {}", printable(path, std::string::npos),
                       error ? "there is no such file" : "the file is empty");
}

}  // namespace

std::optional<std::string> lostStore(const Object& status, const Config& config) {
    const auto missing = missingStore(config);
    const Object::Ptr rules = status.getObject("rules");
    const std::uint64_t count = rules ? numberOf(*rules, "count") : 0;
    if (!missing || count == 0 || otherStore(status, config)) return std::nullopt;
    return fmt::format(
        "{}, but the running gateway has {} in force that it has read there. It keeps them; a new "
        "database would have none of them. Put the file back (see docs/backup.md), or restart the gateway to "
        "begin without rules",
        *missing, counted(count, "rule"));
}

bool failsToReadRules(const Object& status) {
    const Object::Ptr rules = status.getObject("rules");
    return rules && isSet(*rules, "store_failed");
}

std::vector<std::string> warningsOfRules(const Object& status, const Config& config) {
    std::vector<std::string> warnings;
    const Object::Ptr rules = status.getObject("rules");
    const Object::Ptr idle = rules ? rules->getObject("without_listener") : nullptr;
    if (idle && !config.listeners.empty()) {
        std::map<std::string, std::size_t> listeners;
        for (const std::string& name : idle->getNames())
            listeners.emplace(name, numberOf(*idle, name));
        warnings = unknownListenerWarnings(config, listeners);
    }
    forEachOf(status, "listeners", [&](const Object& listener) {
        if (isSet(listener, "closed")) warnings.push_back(nobodyMayEnter(textOf(listener, "name")));
    });
    return warnings;
}

std::optional<std::string> journalTrouble(const Object& status, const Times& times) {
    const Object::Ptr journal = status.getObject("journal");
    const std::string failure = journal ? textOf(*journal, "failure") : "";
    if (failure.empty()) return std::nullopt;
    const std::uint64_t queued = numberOf(*journal, "queued");
    return fmt::format("the journal cannot be written since {} ({}): {} in memory",
                       times.text(textOf(*journal, "failed_since")), printable(failure, std::string::npos),
                       queued == 1 ? "1 record waits" : grouped(queued) + " records wait");
}

std::optional<std::string> underWay(const Config& config, const std::string& text) {
    constexpr std::size_t kLeastOfId = 4;
    const auto address = IpAddress::parse(text);
    const auto isMeant = [&](const Object& session) {
        const std::string client = textOf(session, "client");
        if (address && IpAddress::parse(client) == address) return true;
        if (text.size() >= kLeastOfId && startsWithIgnoreCase(textOf(session, "session"), text)) return true;
        return std::any_of(kNamesOfLive.begin(), kNamesOfLive.end(), [&](const char* name) {
            return !text.empty() && equalsIgnoreCase(textOf(session, name), text);
        });
    };
    std::optional<std::string> command;
    try {
        const auto answer = admin::Client(config.admin.socket, kGatewayPatience).get("/v1/sessions");
        forEachOf(*answer, "sessions", [&](const Object& session) {
            if (command || !isMeant(session)) return;
            const std::string client = textOf(session, "client");
            command = "mailgate sessions --live" + (client.empty() ? "" : " --client " + client);
        });
    } catch (const admin::ClientError&) {
        return std::nullopt;
    }
    return command;
}

std::optional<std::string> lostStore(const Config& config) {
    const auto missing = missingStore(config);
    if (!missing) return std::nullopt;
    const RunningGateway running = runningGateway(config);
    if (running.status) return lostStore(*running.status, config);
    if (running.unknown.empty()) return std::nullopt;
    return fmt::format("{}, and whether a running gateway has rules from there cannot be asked: {}", *missing,
                       running.unknown);
}

std::vector<std::string> otherListeners(const Object& status, const Config& config,
                                        const std::vector<std::string>& names) {
    std::vector<std::string> sentences;
    for (const ListenerConfig& listener : config.listeners) {
        if (!names.empty() && std::find(names.begin(), names.end(), listener.name) == names.end()) continue;
        std::optional<std::string> difference;
        forEachOf(status, "listeners", [&](const Object& running) {
            if (textOf(running, "name") == listener.name) difference = differenceOf(running, listener);
        });
        if (!difference)
            sentences.push_back(
                fmt::format("the running gateway has no listener {} yet (mailgate reload)", listener.name));
        else if (!difference->empty())
            sentences.push_back(
                fmt::format("listener {} of the running gateway has {} still (mailgate reload)",
                            listener.name, *difference));
    }
    return sentences;
}

namespace {

std::optional<ListenerConfig> listenerOf(const Object& running) {
    const Poco::JSON::Array::Ptr trusted = running.getArray("trusted");
    if (!trusted) return std::nullopt;  // an earlier version
    ListenerConfig listener;
    listener.name = textOf(running, "name");
    listener.access = textOf(running, "access") == "open" ? AccessDefault::Open : AccessDefault::Allowlist;
    for (const ListenerMode mode : {ListenerMode::Enforce, ListenerMode::Soft, ListenerMode::Monitor})
        if (textOf(running, "mode") == toString(mode)) listener.mode = mode;
    for (unsigned at = 0; at < trusted->size(); ++at) {
        const auto network = parseNetwork(trusted->getElement<std::string>(at));
        if (!std::holds_alternative<Network>(network)) return std::nullopt;
        listener.trusted.push_back(std::get<Network>(network));
    }
    return listener;
}

UpstreamConfig upstreamOf(const Object& running) {
    UpstreamConfig upstream;
    upstream.name = textOf(running, "upstream");
    ServerConfig& server = upstream.servers.emplace_back();
    server.name = textOf(running, "server");
    server.address = textOf(running, "address");
    const auto parts = parseHostPort(server.address);
    if (const auto address = parts ? IpAddress::parse(parts->host) : std::nullopt)
        server.endpoints.push_back({*address, parts->port});
    return upstream;
}

}  // namespace

bool takeSite(Config& config, const Object& status) {
    std::vector<ListenerConfig> listeners;
    bool told = true;
    forEachOf(status, "listeners", [&](const Object& running) {
        auto listener = listenerOf(running);
        if (listener) listeners.push_back(std::move(*listener));
        told = told && listener.has_value();
    });
    if (!told || listeners.empty()) return false;
    config.listeners = std::move(listeners);
    config.upstreams.clear();
    forEachOf(status, "servers",
              [&](const Object& running) { config.upstreams.push_back(upstreamOf(running)); });
    return true;
}

}  // namespace mailgate::cli
