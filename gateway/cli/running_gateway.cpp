// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/running_gateway.h"

#include "gateway/admin/client.h"
#include "gateway/cli/json_fields.h"
#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <system_error>

namespace mailgate::cli {

namespace {

namespace fs = std::filesystem;
using Poco::JSON::Object;

bool isSameFile(const std::string& a, const std::string& b) {
    std::error_code error;  // not to be seen by this user, perhaps
    return fs::equivalent(a, b, error) ||
           fs::absolute(a).lexically_normal() == fs::absolute(b).lexically_normal();
}

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

Object::Ptr runningStatus(const Config& config) {
    try {
        return admin::Client(config.admin.socket).get("/v1/status");
    } catch (const admin::ClientError&) {
        return {};
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

std::optional<std::string> lostStore(const Config& config) {
    const std::string path = pathIn(config.store_url);
    std::error_code error;
    const auto size = fs::file_size(path, error);
    if (error ? error != std::errc::no_such_file_or_directory : size > 0) return std::nullopt;
    const Object::Ptr status = runningStatus(config);
    const Object::Ptr rules = status ? status->getObject("rules") : Object::Ptr();
    const std::uint64_t count = rules ? numberOf(*rules, "count") : 0;
    if (count == 0 || otherStore(*status, config)) return std::nullopt;
    return fmt::format(
        "{}: {}, but the running gateway has {} rule{} in force that it has read there. It keeps them; a new "
        "database would have none of them. Put the file back (see docs/backup.md), or restart the gateway to "
        "begin without rules",
        printable(path, std::string::npos), error ? "there is no such file" : "the file is empty", count,
        count == 1 ? "" : "s");
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

}  // namespace mailgate::cli
