// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/chosen_config.h"

#include "gateway/cli/json_fields.h"
#include "gateway/cli/progress.h"
#include "gateway/cli/running_gateway.h"
#include "protocols/values/text.h"

#include <fmt/format.h>

#include <utility>

namespace mailgate::cli {

namespace {

namespace fs = std::filesystem;

FoundConfig found(const Context& context) {
    FoundConfig found = findConfig(context.config_file);
    if (!found.passed_over.empty())
        fmt::print(stderr, "mailgate: {}\n", printable(found.passed_over, std::string::npos));
    return found;
}

bool isSystems(const fs::path& file) {
    std::error_code ignored;  // two files that are not there are not the same
    return file == kSystemConfig || fs::equivalent(file, kSystemConfig, ignored);
}

bool isToBeSaid(const FoundConfig& config) {
    return config.how == FoundConfig::How::WorkingFolder && !isSystems(config.file);
}

std::string rulesFile(const Config& config) {
    return printable(config.store_url.substr(config.store_url.find(':') + 1), std::string::npos);
}

void sayWhich(const FoundConfig& chosen, const Config& config) {
    if (isToBeSaid(chosen))
        fmt::print(stderr, "mailgate: with {}, rules in {}\n",
                   printable(fs::absolute(chosen.file).string(), std::string::npos), rulesFile(config));
}

/// One that was started with another file, or has other rules, has another site, perhaps.
bool takeRunningSite(Config& config) {
    const auto running = runningGateway(config).status;
    return running && !otherFile(*running, config) && !otherStore(*running, config) &&
           takeSite(config, *running);
}

}  // namespace

fs::path chosenFile(const Context& context) {
    return found(context).file;
}

Config chosenConfig(const Context& context) {
    const FoundConfig chosen = found(context);
    Config config = loadUnresolved(chosen.file);
    sayWhich(chosen, config);
    return config;
}

namespace {

NeededConfig neededOf(const FoundConfig& chosen) {
    ReadableConfig read = loadReadable(chosen.file);
    if (read.errors.empty()) {
        sayWhich(chosen, read.config);
        return {std::move(read.config)};
    }
    const bool has_site = takeRunningSite(read.config);
    fmt::print(stderr, "{}\nmailgate: the configuration has errors: going on with the rules in {}{}\n",
               read.errors, rulesFile(read.config),
               has_site ? ", and the listeners and servers of the running gateway" : "");
    return {std::move(read.config), true, has_site};
}

}  // namespace

NeededConfig neededConfig(const Context& context) {
    return neededOf(found(context));
}

AskedGateway askedGateway(const Context& context) {
    const FoundConfig chosen = found(context);
    try {
        return {neededOf(chosen).config};
    } catch (const ConfigError& error) {
        try {
            ReadableConfig own = loadOwnAdmin(chosen.file);
            return {std::move(own.config), error.what(), own.errors.empty()};
        } catch (const ConfigError&) {
            // What was wrong first says more.
        }
        throw;
    }
}

Poco::JSON::Object::Ptr AskedGateway::status(std::chrono::milliseconds patience) {
    Poco::JSON::Object::Ptr status;
    try {
        status = admin::Client(config.admin.socket, patience).get("/v1/status");
    } catch (const admin::ClientError& error) {
        if (errors.empty()) throw;
        if (!is_sure) throw ConfigError(errors);
        throw admin::ClientError(error.kind(), fmt::format("{}\n{}", error.what(), errors));
    }
    if (errors.empty()) return status;
    if (otherFile(*status, config)) throw ConfigError(errors);
    config.store_url = textOf(*status, "store");
    return status;
}

void lookUpServers(Config& config, const WantedServer& wanted) {
    withProgress("resolving names", [&] { resolveServers(config, wanted); });
}

void requireSite(const NeededConfig& needed) {
    if (needed.has_site) return;
    throw ConfigError(
        "mailgate: this needs to know the listeners and servers, and no gateway runs that tells them (with "
        "this "
        "file, and these rules): nothing was done");
}

}  // namespace mailgate::cli
