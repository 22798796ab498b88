// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/snippets.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/cli.h"

#include "gateway/cli/chosen_config.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <string>

namespace mailgate::cli {

void addSnippetCommand(CLI::App& root, Context& context) {
    CLI::App* command = root.add_subcommand(
        "snippet",
        "Print configuration for the mail servers and balancers around mailgate, to match this one");
    command->require_subcommand(1);
    const auto version = std::make_shared<std::string>("2.3");
    for (const answers::Snippet& snippet : answers::snippets()) {
        if (snippet.name == "dovecot-2.4") continue;  // an option of the other one
        CLI::App* one = command->add_subcommand(std::string(snippet.name), std::string(snippet.about));
        one->callback([&context, &snippet, version] {
            const answers::Snippet& wanted = snippet.name == "dovecot" && *version == "2.4"
                                                 ? *answers::snippetNamed("dovecot-2.4")
                                                 : snippet;
            Config config = chosenConfig(context);
            if (wanted.needs_addresses) lookUpServers(config);
            fmt::print("{}", wanted.text(config));
        });
        if (snippet.name == "dovecot")
            one->add_option("--version", *version, "Version of Dovecot: 2.3 (default) or 2.4")
                ->check(oneOf({"2.3", "2.4"}));
        else  // of mailgate itself, it would be
            one->add_option_function<std::string>("--version",
                                                  [name = snippet.name](const std::string&) {
                                                      throw CLI::ValidationError(fmt::format(
                                                          "snippet {} has no option \"--version\"", name));
                                                  })
                ->expected(0, 1)
                ->group("");
    }
}

}  // namespace mailgate::cli
