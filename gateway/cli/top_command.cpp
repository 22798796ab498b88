// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/clock.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/journal_question.h"
#include "gateway/cli/journal_text.h"
#include "gateway/cli/progress.h"
#include "protocols/values/text.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace mailgate::cli {

namespace {

using store::SumsBy;
using store::SumsOf;

struct TopArguments : JournalQuestion {
    std::optional<std::string> by;
    std::string sort;
};

const std::map<std::string, SumsBy> kOrders{{"sessions", SumsBy::Sessions},
                                            {"bytes", SumsBy::Bytes},
                                            {"refused", SumsBy::Refused},
                                            {"failed-logins", SumsBy::FailedLogins}};
const std::map<std::string, SumsOf> kGroups{{"client", SumsOf::Clients}, {"network", SumsOf::Networks},
                                            {"sender", SumsOf::Senders}, {"recipient", SumsOf::Recipients},
                                            {"user", SumsOf::Users},     {"helo", SumsOf::Helos},
                                            {"end", SumsOf::Ends}};

/// --by has an order too, as it had before there was --sort.
std::string byError(const std::string& word) {
    if (kGroups.contains(word) || kOrders.contains(word)) return {};
    return fmt::format(
        "expected client, network, sender, recipient, user, helo or end, or an order as --sort has it, found "
        "\"{}\"",
        printable(word));
}

store::JournalTopQuery queryOf(const TopArguments& arguments, const store::JournalFilter& filter) {
    store::JournalTopQuery query;
    query.client = filter.client;
    query.listener = filter.listener;
    query.since_ms = *filter.since_ms;
    query.until_ms = filter.until_ms.value_or(unixMillis());
    query.limit = arguments.limit;
    const auto group = kGroups.find(arguments.by.value_or(""));
    if (group != kGroups.end()) query.of = {group->second};
    if (arguments.by && group == kGroups.end()) query.by = kOrders.at(*arguments.by);
    if (!arguments.sort.empty()) query.by = kOrders.at(arguments.sort);
    if (query.by == SumsBy::FailedLogins &&
        (query.of == std::vector{SumsOf::Senders} || query.of == std::vector{SumsOf::Recipients}))
        throw CLI::ValidationError(fmt::format(
            "--sort: a {} has no failed logins: expected sessions, bytes or refused", *arguments.by));
    return query;
}

void top(Context& context, const TopArguments& arguments) {
    const store::JournalFilter filter = arguments.filter();
    const store::JournalTopQuery query = queryOf(arguments, filter);
    const NeededConfig needed = neededConfig(context);
    const Config& config = needed.config;
    const AskedJournal source = openJournal(config, arguments.whose, {filter.since_ms, filter.until_ms});
    const store::JournalTop sums = withProgress("reading the journal", [&] { return source->top(query); });
    if (sums.sessions == 0 && !needed.broken) requireKnownNames(config, filter, &*source);
    const std::string none = emptyTop(sums, query);
    if (!none.empty()) {
        fmt::print(stderr, "mailgate: {}\n", none);
        context.exit_code = kRefusedOrNotFound;
    }
    if (arguments.json)
        std::fputs(topAsJson(sums, query, askedAsJson(source)).c_str(), stdout);
    else if (none.empty())
        print(topAsTable(sums, query, !arguments.until, arguments.view.style(), arguments.view.zone()),
              arguments.view);
}

}  // namespace

void addTopCommand(CLI::App& root, Context& context) {
    const auto arguments = std::make_shared<TopArguments>();
    arguments->since = "1h";
    arguments->limit = 10;
    CLI::App* command = root.add_subcommand("top", "Print the busiest clients, senders and users");
    command->add_option("--by", arguments->by, "Print the busiest of these instead")
        ->check(CLI::Validator(byError, "client|network|sender|recipient|user|helo|end"));
    command->add_option("--sort", arguments->sort, "Sort by this, the most first (default: sessions)")
        ->check(oneOf({"sessions", "bytes", "refused", "failed-logins"}));
    addJournalOptions(*command, *arguments, "of each", Prints::Tables);
    command->callback([&context, arguments] { top(context, *arguments); });
}

}  // namespace mailgate::cli
