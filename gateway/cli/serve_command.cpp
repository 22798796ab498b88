// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/cli.h"

#include "gateway/cli/chosen_config.h"
#include "gateway/config/load.h"
#include "gateway/daemon/gateway.h"
#include "gateway/daemon/privileges.h"

#include <CLI/CLI.hpp>

#include <utility>

namespace mailgate::cli {

void addServeCommand(CLI::App& root, Context& context) {
    CLI::App* serve = root.add_subcommand("serve",
                                          "Run in the foreground (systemd Type=notify); SIGHUP reloads, "
                                          "SIGUSR1 reopens the log, SIGTERM drains and stops");
    serve->callback([&context] {
        Gateway::holdSignals();
        Config config = loadConfig(chosenFile(context));
        if (config.user.empty()) refuseServingByHand(config.file);
        Gateway(std::move(config)).run();
    });
}

}  // namespace mailgate::cli
