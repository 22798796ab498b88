// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/cli.h"

#include "gateway/cli/chosen_config.h"
#include "gateway/cli/progress.h"
#include "gateway/cli/running_gateway.h"
#include "gateway/cli/screen.h"
#include "gateway/cli/table.h"
#include "gateway/config/load.h"
#include "gateway/daemon/preflight.h"
#include "gateway/daemon/privileges.h"
#include "gateway/daemon/service_unit.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace mailgate::cli {

namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

/// What there is to say of a configuration and the machine.
struct Examination {
    std::string file;
    std::optional<Config> config;  ///< none: the file has errors
    std::vector<std::string> warnings, errors, remarks{};
};

/// Some error may be one for this user alone.
bool isForbidden(const std::vector<std::string>& errors) {
    return std::any_of(errors.begin(), errors.end(), [](const std::string& error) {
        return error.find(std::strerror(EACCES)) != std::string::npos ||
               error.find("read-only for this user") != std::string::npos;
    });
}

/// It has the name of one of the files already.
bool namesPlace(const Config& config, const std::string& error) {
    return std::any_of(config.files.begin(), config.files.end(),
                       [&](const std::string& file) { return error.starts_with(file + ":"); });
}

std::string examinedAs(const ServiceUser& service) {
    return fmt::format(
        "warning: examined as {}, whom mailgate.service runs the gateway as: what only root may read is "
        "closed to it",
        service.user);
}

Examination examine(const std::filesystem::path& file) {
    Examination found{.file = file.string(), .config = {}, .warnings = {}, .errors = {}};
    const auto service = ::geteuid() == 0 ? serviceUser(file) : std::nullopt;
    std::string not_become;  // why not
    try {
        // All that follows: root may read what the gateway may not.
        if (service) dropPrivileges(*service);
    } catch (const ConfigError& error) {
        not_become = error.what();
    }
    try {
        found.config = withProgress("resolving names", [&] { return loadConfig(file); });
    } catch (const ConfigError& error) {
        std::istringstream lines(error.what());
        for (std::string line; std::getline(lines, line);)
            found.errors.push_back(std::move(line));
        if (service && not_become.empty() && isForbidden(found.errors))
            found.warnings.push_back(examinedAs(*service));
    }
    if (found.config) found.warnings = found.config->warnings;
    if (!not_become.empty()) found.errors.push_back(std::move(not_become));
    if (!found.errors.empty()) return found;
    // Only root becomes gateway.user.
    if (service) found.config->user.clear();
    // Asked before examineSite(), which may become gateway.user.
    const auto lost = lostStore(*found.config);
    if (lost) found.warnings.push_back("warning: " + *lost);
    Preflight site =
        withProgress("looking at the machine", [&] { return examineSite(*found.config, lost.has_value()); });
    found.remarks = std::move(site.remarks);
    for (const std::string& warning : site.warnings)
        found.warnings.push_back("warning: " + warning);
    for (const std::string& error : site.errors)
        found.errors.push_back(namesPlace(*found.config, error) ? error
                                                                : fmt::format("{}: {}", found.file, error));
    if (service && isForbidden(found.errors)) found.warnings.push_back(examinedAs(*service));
    return found;
}

void printText(const Examination& found) {
    for (const auto& texts : {found.warnings, found.remarks})
        for (const std::string& text : texts)
            fmt::print("{}\n", text);
    for (const std::string& error : found.errors)
        fmt::print(stderr, "{}\n", error);
    if (!found.errors.empty()) return;
    const Config& config = *found.config;
    const std::size_t included = config.files.size() - 1;
    fmt::print("{}: ok, {}, {}{}\n", found.file, counted(config.listeners.size(), "listener"),
               counted(config.upstreams.size(), "upstream"),
               included == 0 ? "" : fmt::format(", with {}", counted(included, "included file")));
}

template <typename Items>
Array::Ptr namesIn(const Items& items) {
    Array::Ptr names(new Array);
    for (const auto& item : items)
        names->add(item.name);
    return names;
}

void printJson(const Examination& found) {
    const Config config = found.config.value_or(Config{});
    Object all(Poco::JSON_PRESERVE_KEY_ORDER);
    all.set("file", found.file);
    all.set("ok", found.errors.empty());
    all.set("files", jsonTexts(config.files));
    all.set("listeners", namesIn(config.listeners));
    all.set("upstreams", namesIn(config.upstreams));
    all.set("warnings", jsonTexts(found.warnings));
    all.set("remarks", jsonTexts(found.remarks));
    all.set("errors", jsonTexts(found.errors));
    printDocument(all);
}

void check(Context& context, bool json) {
    const Examination found = examine(chosenFile(context));
    json ? printJson(found) : printText(found);
    if (!found.errors.empty()) context.exit_code = kBadConfiguration;
}

}  // namespace

void addCheckCommand(CLI::App& root, Context& context) {
    CLI::App* command = root.add_subcommand(
        "check", "Check the configuration, and whether serve could start with it on this machine");
    const auto json = std::make_shared<bool>(false);
    command->add_flag("--json", *json, "Print JSON");
    command->callback([&context, json] { check(context, *json); });
}

}  // namespace mailgate::cli
