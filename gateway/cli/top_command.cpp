// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/clock.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/journal_text.h"
#include "gateway/cli/screen.h"
#include "store/backends/journal.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

namespace mailgate::cli {

namespace {

using store::SumsBy;

struct TopArguments {
    std::string since = "1h";
    std::optional<std::string> until;
    std::string by = "sessions";
    std::size_t limit = 10;
    bool json = false;
    ViewOptions view;
};

SumsBy orderOf(const std::string& word) {
    if (word == "bytes") return SumsBy::Bytes;
    if (word == "refused") return SumsBy::Refused;
    return word == "failed-logins" ? SumsBy::FailedLogins : SumsBy::Sessions;
}

void top(Context& context, const TopArguments& arguments) {
    const Period period = periodArgument(arguments.since, arguments.until, arguments.view.zone());
    const auto source = store::journal::openSource(chosenConfig(context).journal.url);
    const store::JournalTop sums = source->top(*period.since_ms, period.until_ms.value_or(unixMillis()),
                                               orderOf(arguments.by), arguments.limit);
    if (sums.sessions == 0) {
        std::fputs("mailgate: no session in the journal is of this period\n", stderr);
        context.exit_code = kRefusedOrNotFound;
    }
    if (arguments.json)
        std::fputs(topAsJson(sums).c_str(), stdout);
    else if (sums.sessions > 0)
        print(topAsTable(sums, arguments.view.style()), arguments.view);
}

}  // namespace

void addTopCommand(CLI::App& root, Context& context) {
    const auto arguments = std::make_shared<TopArguments>();
    CLI::App* command = root.add_subcommand("top", "Print the busiest clients, senders and users");
    command->add_option("--since", arguments->since, kSinceHelp + " (default: 1h)");
    command->add_option("--until", arguments->until, kUntilHelp);
    command
        ->add_option("--by", arguments->by,
                     "Sort by sessions, bytes, refused or failed-logins (default: sessions)")
        ->check(CLI::IsMember({"sessions", "bytes", "refused", "failed-logins"}));
    command
        ->add_option("--limit", arguments->limit,
                     "Print at most this many clients, senders and users (default: 10)")
        ->check(limitError);
    command->add_flag("--json", arguments->json, "Print JSON");
    addViewOptions(*command, arguments->view, Prints::Tables);
    command->callback([&context, arguments] { top(context, *arguments); });
}

}  // namespace mailgate::cli
