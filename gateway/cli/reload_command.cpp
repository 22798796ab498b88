// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/progress.h"
#include "gateway/config/load.h"
#include "gateway/daemon/preflight.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

namespace mailgate::cli {

namespace {

// The file is checked here first: its errors are then told where they are read, with the exit code for them.
void reload(const Context& context) {
    const Config config = loadConfig(chosenFile(context));
    const auto answer =
        withProgress("reloading", [&] { return admin::Client(config.admin.socket).post("/v1/reload"); });
    fmt::print("{}: reloaded: {}\n", config.file, answer->optValue<std::string>("detail", "done"));
    for (const std::string& warning : ruleWarnings(config))
        fmt::print(stderr, "warning: {}\n", warning);
}

}  // namespace

void addReloadCommand(CLI::App& root, Context& context) {
    root.add_subcommand(
            "reload", "Reload the configuration of the running gateway; if it has an error, nothing changes")
        ->callback([&context] { reload(context); });
}

}  // namespace mailgate::cli
