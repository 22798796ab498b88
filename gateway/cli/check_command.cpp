// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/cli.h"

#include "gateway/cli/progress.h"
#include "gateway/cli/table.h"
#include "gateway/config/load.h"
#include "gateway/daemon/preflight.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

namespace mailgate::cli {

namespace {

void check(Context& context) {
    const Config config =
        withProgress("resolving names", [&] { return loadConfig(findConfig(context.config_file)); });
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
    fmt::print("{}: ok, {}, {}\n", config.file, counted(config.listeners.size(), "listener"),
               counted(config.upstreams.size(), "upstream"));
}

}  // namespace

void addCheckCommand(CLI::App& root, Context& context) {
    root.add_subcommand("check",
                        "Check the configuration, and whether serve could start with it on this machine")
        ->callback([&context] { check(context); });
}

}  // namespace mailgate::cli
