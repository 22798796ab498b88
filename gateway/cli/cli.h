// SPDX-License-Identifier: Apache-2.0
/// \file  The command line: one executable, one subcommand each (`mailgate --help`).
#pragma once

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace mailgate::cli {

/// As in sysexits(3) where that has a code.
enum ExitCode : int {
    kDone = 0,
    kRefusedOrNotFound = 1,
    kUsage = 2,
    kOutcomeUnknown = 75,  ///< of a change
    kBadConfiguration = 78,
    kReaderGone = 128 + 13  ///< of what is printed: as if SIGPIPE had ended the command
};

/// What all subcommands share. A subcommand's callback sets `exit_code`; errors are thrown (ConfigError, StoreError)
/// and printed to standard error by run().
struct Context {
    std::string config_file;  ///< --config; empty: the default places
    int exit_code = kDone;
};

void addServeCommand(CLI::App& root, Context& context);
void addCheckCommand(CLI::App& root, Context& context);
void addAccessCommand(CLI::App& root, Context& context);
void addSessionsCommand(CLI::App& root, Context& context);
void addWhoCommand(CLI::App& root, Context& context);
void addTopCommand(CLI::App& root, Context& context);
void addReportCommand(CLI::App& root, Context& context);
void addStatusCommand(CLI::App& root, Context& context);
void addTlsCommand(CLI::App& root, Context& context);
void addServerCommand(CLI::App& root, Context& context);
void addFleetCommand(CLI::App& root, Context& context);
void addConsoleCommand(CLI::App& root, Context& context);
void addReloadCommand(CLI::App& root, Context& context);
void addProbeCommand(CLI::App& root, Context& context);
void addSnippetCommand(CLI::App& root, Context& context);
void addBackupCommand(CLI::App& root, Context& context);
void addRestoreCommand(CLI::App& root, Context& context);

/// All commands. `context` must outlive `app`.
void addCommands(CLI::App& app, Context& context);

/// Parses and runs. Never throws.
int run(int argc, char** argv);

}  // namespace mailgate::cli
