// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/cli.h"

#include "gateway/cli/chosen_config.h"
#include "gateway/cli/progress.h"
#include "gateway/cli/table.h"
#include "gateway/config/load.h"
#include "gateway/daemon/preflight.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

namespace mailgate::cli {

namespace {

void check(Context& context) {
    const std::filesystem::path file = chosenFile(context);
    const Config config = withProgress("resolving names", [&] { return loadConfig(file); });
    for (const std::string& warning : config.warnings)
        fmt::print("{}\n", warning);
    const Preflight site = examineSite(config);
    for (const std::string& warning : site.warnings)
        fmt::print("warning: {}\n", warning);
    for (const std::string& error : site.errors)
        fmt::print(stderr, "{}: {}\n", config.file, error);
    if (!site.errors.empty()) {
        context.exit_code = kBadConfiguration;
        return;
    }
    const std::size_t included = config.files.size() - 1;
    fmt::print("{}: ok, {}, {}{}\n", config.file, counted(config.listeners.size(), "listener"),
               counted(config.upstreams.size(), "upstream"),
               included == 0 ? "" : fmt::format(", with {}", counted(included, "included file")));
}

}  // namespace

void addCheckCommand(CLI::App& root, Context& context) {
    root.add_subcommand("check",
                        "Check the configuration, and whether serve could start with it on this machine")
        ->callback([&context] { check(context); });
}

}  // namespace mailgate::cli
