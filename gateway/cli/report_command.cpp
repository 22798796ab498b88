// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/clock.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/journal_question.h"
#include "gateway/cli/progress.h"
#include "gateway/cli/screen_text.h"
#include "gateway/cli/would_refuse.h"
#include "gateway/daemon/preflight.h"
#include "protocols/values/text.h"
#include "store/backends/rules.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace mailgate::cli {

namespace {

namespace journal = store::journal;

/// From the oldest on, a batch at a time: the journal may hold millions. Of a file few at once, which stay in the processor's
/// caches; each batch of a fleet's database is a question that is waited for.
WouldRefuse readJournal(const AskedJournal& source, const store::JournalFilter& filter) {
    const std::size_t at_once = source.isOfFleet() ? 1'000 : 100;
    WouldRefuse report;
    Progress progress("reading the journal");
    journal::Position position;
    std::string before;
    do {
        before = position.text;
        for (const store::JournalSession& session : source->after(filter, position, at_once))
            report.add(session);
        progress.at(report.sessions());
    } while (position.text != before);
    return report;
}

/// Whom the table lets in, at the configuration's listeners.
WouldRefuse::Admits admitsBy(std::shared_ptr<const store::AccessTable> table, const Config& config) {
    return [table = std::move(table), &config, now = unixMillis() / 1'000](
               const Network& client, const std::string& listener) -> std::optional<bool> {
        const auto found = std::find_if(config.listeners.begin(), config.listeners.end(),
                                        [&](const ListenerConfig& one) { return one.name == listener; });
        if (found == config.listeners.end()) {
            // In a fleet another gateway may have it.
            return config.fleet.url.empty() ? std::nullopt : std::optional(false);
        }
        if (client.prefix_length < 128) return false;  // the journal has not kept who it was
        const auto match = table->lookup(
            client.address, static_cast<store::ListenerIndex>(found - config.listeners.begin()), now);
        return match ? match->verdict == store::Verdict::Allow : found->access == AccessDefault::Open;
    };
}

/// A limit that is in the way is that of the rule which allows the client, or can be: which one has to be known.
void addLimiting(store::RuleStore& rules, WouldRefuse& report) {
    const auto wanted = report.limitingNetworks();
    if (wanted.empty()) return;
    const auto allows = [now = unixMillis() / 1'000](const store::AccessRule& rule) {
        return rule.verdict == store::Verdict::Allow && store::isLive(rule, now);
    };
    rules.forEachRule(
        [&](const store::AccessRule& rule) {
            if (rule.name.empty() && allows(rule) && wanted.contains(rule.network)) report.addLimiting(rule);
        },
        [](const store::RuleStore::BadRow&) {});
    for (store::NamedRule& named : rules.namedRules())
        for (const Network& network : named.state.networks) {
            named.rule.network = network;
            if (allows(named.rule) && wanted.contains(network)) report.addLimiting(named.rule);
        }
}

/// What was in somebody's way need not be so by now.
void judgeByRules(const Config& config, WouldRefuse& report) {
    if (report.sessions() == 0) return;
    try {
        const Progress progress("reading the rules");
        const auto rules = store::openRules(config.store_url, {.use = store::RuleStore::Use::Read});
        report.settle(admitsBy(rules->load(listenerNames(config)), config));
        addLimiting(*rules, report);
    } catch (const store::StoreError& error) {
        fmt::print(stderr, "warning: what the rules in force say is not known: {}\n", error.what());
    }
}

bool isMonitored(const ListenerConfig& listener) {
    return listener.mode == ListenerMode::Monitor;
}

void wouldRefuse(Context& context, const JournalQuestion& arguments) {
    store::JournalFilter filter = arguments.filter();
    filter.would_refuse = true;
    const std::int64_t since = *filter.since_ms;
    const Config config = chosenConfig(context);
    const AskedJournal source = openJournal(config, arguments.whose, {filter.since_ms, filter.until_ms});
    WouldRefuse report = readJournal(source, filter);
    judgeByRules(config, report);
    if (report.sessions() == 0) requireKnownNames(config, filter, &*source);
    if (arguments.json) {
        const std::int64_t until = filter.until_ms.value_or(unixMillis());
        std::fputs(report.asJson(arguments.limit, since, until, askedAsJson(source)).c_str(), stdout);
        return;
    }
    const std::string since_text = timeText(since, arguments.view.zone());
    if (report.sessions() == 0) {
        fmt::print("# since {} no session would have been refused\n", since_text);
        if (std::none_of(config.listeners.begin(), config.listeners.end(), isMonitored))
            fmt::print(
                "# no listener has mode = \"monitor\": whom they refuse is in mailgate sessions --refused\n");
        return;
    }
    const std::string head =
        fmt::format("since {} {} from {} would have been refused", since_text,
                    counted(report.sessions(), "session"), counted(report.networks(), "network"));
    print(report.asText(head, arguments.limit, arguments.view.style(), arguments.view.times()),
          arguments.view);
}

}  // namespace

void addReportCommand(CLI::App& root, Context& context) {
    CLI::App* report = root.add_subcommand("report", "Print reports made from the journal");
    report->require_subcommand(1);
    const auto arguments = std::make_shared<JournalQuestion>();
    arguments->since = "7d";
    arguments->limit = 50;
    CLI::App* command = report->add_subcommand("would-refuse",
                                               "Print whom listeners in monitor mode would have refused, by "
                                               "network and sender, and the commands that let "
                                               "them in");
    addJournalOptions(*command, *arguments, "networks, the heaviest", Prints::OneTable);
    command->callback([&context, arguments] { wouldRefuse(context, *arguments); });
}

}  // namespace mailgate::cli
