// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/progress.h"
#include "gateway/cli/running_gateway.h"
#include "gateway/cli/screen.h"
#include "gateway/config/load.h"
#include "gateway/daemon/preflight.h"
#include "protocols/values/text.h"

#include <Poco/JSON/Object.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <vector>

namespace mailgate::cli {

namespace {

void printJson(const std::string& file, const std::string& detail, const std::vector<std::string>& warnings) {
    Poco::JSON::Object all(Poco::JSON_PRESERVE_KEY_ORDER);
    all.set("file", file);
    all.set("detail", detail);
    all.set("warnings", jsonTexts(warnings));
    printDocument(all);
}

Poco::JSON::Object::Ptr statusOf(const admin::Client& gateway) {
    try {
        return gateway.get("/v1/status");
    } catch (const admin::ClientError& error) {
        if (error.kind() != admin::ClientError::Kind::NotListening) throw;
        throw admin::ClientError(
            error.kind(),
            fmt::format(
                "{} (a change of admin.socket needs a restart; where there is none, SIGHUP asks for a "
                "reload)",
                error.what()));
    }
}

// The file is checked here first: its errors are then told where they are read, with the exit code for them. Name servers are
// the gateway's to ask.
void reload(Context& context, bool json) {
    const Config config = loadUnresolved(chosenFile(context));
    const admin::Client gateway(config.admin.socket);
    if (const auto other = otherFile(*statusOf(gateway), config)) {
        fmt::print(
            stderr,
            "mailgate: nothing was reloaded: the gateway that runs was started with {}, and reads that "
            "file again, not {}\n",
            printable(*other, std::string::npos), printable(config.file, std::string::npos));
        context.exit_code = kRefusedOrNotFound;
        return;
    }
    const auto answer = withProgress("reloading", [&] { return gateway.post("/v1/reload"); });
    const auto detail = answer->optValue<std::string>("detail", "done");
    std::vector<std::string> warnings;
    try {
        warnings = warningsOfRules(*gateway.get("/v1/status"), config);
    } catch (const admin::ClientError&) {
        // It was reloaded all the same.
    }
    if (json) return printJson(config.file, detail, warnings);
    fmt::print("{}: reloaded: {}\n", config.file, detail);
    for (const std::string& warning : warnings)
        fmt::print(stderr, "warning: {}\n", warning);
}

}  // namespace

void addReloadCommand(CLI::App& root, Context& context) {
    CLI::App* command = root.add_subcommand(
        "reload", "Reload the configuration of the running gateway; if it has an error, nothing changes");
    const auto json = std::make_shared<bool>(false);
    command->add_flag("--json", *json, "Print JSON");
    command->callback([&context, json] { reload(context, *json); });
}

}  // namespace mailgate::cli
