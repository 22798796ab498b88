// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/clock.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/journal_text.h"
#include "gateway/cli/screen.h"
#include "gateway/cli/would_refuse.h"
#include "protocols/values/text.h"
#include "store/backends/journal.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

namespace mailgate::cli {

namespace {

namespace journal = store::journal;

struct ReportArguments {
    std::string since = "7d";
    std::string listener;
    std::size_t limit = 50;
    bool json = false;
    ViewOptions view;
};

/// From the oldest on, a batch at a time: the journal may hold millions.
WouldRefuse readJournal(journal::Source& source, const store::JournalFilter& filter) {
    constexpr std::size_t kAtOnce = 10'000;
    WouldRefuse report;
    journal::Position position;
    std::string before;
    do {
        before = position.text;
        for (const store::JournalSession& session : source.after(filter, position, kAtOnce))
            report.add(session);
    } while (position.text != before);
    return report;
}

bool isMonitored(const ListenerConfig& listener) {
    return listener.mode == ListenerMode::Monitor;
}

void wouldRefuse(Context& context, const ReportArguments& arguments) {
    const std::int64_t now = unixMillis();
    const std::int64_t since = *periodArgument(arguments.since, std::nullopt, arguments.view.zone()).since_ms;
    const Config config = chosenConfig(context);
    store::JournalFilter filter;
    filter.would_refuse = true;
    filter.since_ms = since;
    if (!arguments.listener.empty()) filter.listener = arguments.listener;
    const WouldRefuse report = readJournal(*journal::openSource(config.journal.url), filter);
    if (arguments.json) {
        std::fputs(report.asJson(arguments.limit, since, now).c_str(), stdout);
        return;
    }
    const Times times = arguments.view.times();
    const std::string since_text = times.text(since);
    if (report.sessions() == 0) {
        fmt::print("since {} no session would have been refused\n", since_text);
        if (std::none_of(config.listeners.begin(), config.listeners.end(), isMonitored))
            fmt::print(
                "no listener has mode = \"monitor\": whom they refuse is in mailgate sessions --refused\n");
        return;
    }
    print(fmt::format("since {} {} from {} would have been refused\n\n{}", since_text,
                      counted(report.sessions(), "session"), counted(report.networks(), "network"),
                      report.asText(arguments.limit, arguments.view.style(), times)),
          arguments.view);
}

}  // namespace

void addReportCommand(CLI::App& root, Context& context) {
    CLI::App* report = root.add_subcommand("report", "Print what the journal says about a question");
    report->require_subcommand(1);
    const auto arguments = std::make_shared<ReportArguments>();
    CLI::App* command = report->add_subcommand("would-refuse",
                                               "Print whom listeners in monitor mode would have refused, by "
                                               "network and sender, and the commands that let "
                                               "them in");
    command->add_option("--since", arguments->since, kSinceHelp + " (default: 7d)");
    command->add_option("--listener", arguments->listener, "Only sessions of this listener");
    command
        ->add_option("--limit", arguments->limit,
                     "Print at most this many networks, the heaviest (default: 50)")
        ->check(limitError);
    command->add_flag("--json", arguments->json, "Print JSON");
    addViewOptions(*command, arguments->view, Prints::OneTable);
    command->callback([&context, arguments] { wouldRefuse(context, *arguments); });
}

}  // namespace mailgate::cli
