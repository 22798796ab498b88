// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>

namespace mailgate::cli {

namespace {

std::string whyNoServerName(const std::string& text) {
    const std::size_t slash = text.find('/');
    const bool named = slash != std::string::npos && slash > 0 && slash + 1 < text.size() &&
                       text.find('/', slash + 1) == std::string::npos;
    return named ? "" : "name a server as mailgate status lists it, such as postfix/mx1";
}

void setAdminState(const Context& context, const std::string& state, const std::string& name) {
    const Config config = chosenConfig(context);
    const std::size_t slash = name.find('/');
    Poco::JSON::Object order;
    order.set("admin_state", state);
    order.set("wish", state);  // for a gateway that was started before its program was replaced
    const auto answer =
        admin::Client(config.admin.socket)
            .post(fmt::format("/v1/servers/{}/{}", admin::percentEncoded(name.substr(0, slash)),
                              admin::percentEncoded(name.substr(slash + 1))),
                  order);
    fmt::print("{}\n", answer->optValue<std::string>("detail", name + ": done"));
}

void addState(CLI::App& server, Context& context, const std::string& name, const std::string& help) {
    CLI::App* command = server.add_subcommand(name, help);
    const auto target = std::make_shared<std::string>();
    command->add_option("UPSTREAM/SERVER", *target, "The server, as mailgate status lists it")
        ->required()
        ->check(CLI::Validator(whyNoServerName, "UPSTREAM/SERVER"));
    command->callback([&context, name, target] { setAdminState(context, name, *target); });
}

}  // namespace

void addServerCommand(CLI::App& root, Context& context) {
    CLI::App* server = root.add_subcommand("server", "Take a server out of service, or put it back");
    server->require_subcommand(1);
    addState(*server, context, "drain",
             "Give the server no new sessions; end its current ones at a safe point, at the latest after "
             "drain_timeout");
    addState(*server, context, "ready", "Give the server new sessions again");
}

}  // namespace mailgate::cli
