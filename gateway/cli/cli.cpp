// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/cli.h"

#include "gateway/config/load.h"

#include <CLI/CLI.hpp>

#include <signal.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>

namespace mailgate::cli {

namespace {

int parseAndRun(CLI::App& app, const Context& context, int argc, char** argv) {
    try {
        app.parse(argc, argv);
        return context.exit_code;
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? kDone : kUsage;
    } catch (const ConfigError& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return kBadConfiguration;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "mailgate: %s\n", error.what());
        return kRefusedOrNotFound;
    }
}

/// What was printed has to have arrived: a backup on a full disk is none. Subcommands need not look.
int afterWriting(int exit_code) {
    const bool failed_before = std::cout.flush().fail() || std::ferror(stdout) != 0;
    if (std::fflush(stdout) == 0 && !failed_before) return exit_code;
    std::fprintf(stderr, "mailgate: cannot write to standard output: %s\n",
                 failed_before ? "the output is incomplete" : std::strerror(errno));
    return exit_code == kDone ? kRefusedOrNotFound : exit_code;
}

}  // namespace

int run(int argc, char** argv) {
    // A file that may not grow is an error of the call that writes, which can be told, and no reason to die.
    ::signal(SIGXFSZ, SIG_IGN);
    Context context;
    CLI::App app(
        "mailgate: a gateway for SMTP, LMTP, IMAP, POP3 and ManageSieve in front of Postfix and Dovecot");
    app.name("mailgate");
    app.require_subcommand(1);
    app.fallthrough();
    app.set_version_flag("--version", "mailgate " MAILGATE_VERSION);
    app.add_option("--config", context.config_file,
                   "Configuration file (default: ./mailgate.toml, else /etc/mailgate/mailgate.toml)");
    app.footer("Exit status: 0 success, 1 refused or not found, 2 usage error, 78 configuration error.");
    addServeCommand(app, context);
    addCheckCommand(app, context);
    addAccessCommand(app, context);
    addSessionsCommand(app, context);
    addTopCommand(app, context);
    addStatusCommand(app, context);
    addServerCommand(app, context);
    addReloadCommand(app, context);
    addProbeCommand(app, context);
    addSnippetCommand(app, context);
    app.add_subcommand("version", "Print the version")->callback([] {
        std::puts("mailgate " MAILGATE_VERSION);
    });
    return afterWriting(parseAndRun(app, context, argc, argv));
}

}  // namespace mailgate::cli
