#include "gateway/cli/access_text.h"
#include "gateway/cli/cli.h"

#include "gateway/config/load.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

namespace mailgate::cli {

namespace {

void check(const Context& context) {
    const Config config = loadConfig(findConfig(context.config_file));
    for (const std::string& warning : config.warnings)
        fmt::print("{}\n", warning);
    fmt::print("{}: ok, {}, {}\n", config.file, counted(config.listeners.size(), "listener"),
               counted(config.upstreams.size(), "upstream"));
}

}  // namespace

void addCheckCommand(CLI::App& root, Context& context) {
    root.add_subcommand("check", "Read the configuration, say what is wrong and where")->callback([&context] {
        check(context);
    });
}

}  // namespace mailgate::cli
