// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/journal_question.h"

#include "gateway/answers/asked_gateways.h"
#include "gateway/answers/journal.h"
#include "gateway/answers/meanings.h"
#include "gateway/cli/running_gateway.h"
#include "protocols/values/text.h"
#include "store/backends/fleet.h"
#include "store/backends/journal.h"
#include "store/store_error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <utility>
#include <variant>
#include <vector>

namespace mailgate::cli {

store::JournalFilter JournalQuestion::filter() const {
    store::JournalFilter filter;
    const Period period = periodArgument(since, until, view.zone());
    filter.since_ms = period.since_ms;
    filter.until_ms = period.until_ms;
    if (!client.empty()) filter.client = networkArgument(client);
    if (!listener.empty()) filter.listener = listener;
    return filter;
}

void addJournalOptions(CLI::App& command, JournalQuestion& question, const std::string& limited,
                       Prints prints) {
    command.add_option("--since", question.since,
                       fmt::format("{} (default: {})", kSinceHelp, question.since));
    command.add_option("--until", question.until, kUntilHelp);
    command.add_option("--client", question.client, "Only sessions of this client address or network");
    command.add_option("--listener", question.listener, "Only sessions of this listener");
    command
        .add_option("--limit", question.limit,
                    fmt::format("Print at most this many {} (default: {})", limited, question.limit))
        ->check(limitError);
    addGatewayOptions(command, question.whose);
    command.add_flag("--json", question.json, "Print JSON");
    addViewOptions(command, question.view, prints);
}

std::string WhoseJournals::options() const {
    if (here) return " --here";
    return gateway.empty() ? "" : " --gateway " + answers::asciiShellWord(gateway);
}

void addGatewayOptions(CLI::App& command, WhoseJournals& whose) {
    command.add_flag("--here", whose.here,
                     "In a fleet: only what this gateway has seen, from its own journal");
    command.add_option("--gateway", whose.gateway, "In a fleet: only what this gateway has seen")
        ->excludes("--here");
}

namespace {

AskedJournal openOwn(const Config& config) {
    if (!config.journal.enabled)
        throw store::StoreError(
            store::StoreError::Kind::Open,
            fmt::format("no journal is kept of sessions: {} has journal.enabled = false", config.file));
    return {store::journal::openSource(config.journal.url)};
}

constexpr const char* kInstead = "--here asks for what this gateway has seen";

[[noreturn]] void failUnknown(const Config& config, const std::string& gateway) {
    const auto all = store::openFleetJournal(config.fleet.url, {.instead = kInstead})->gateways();
    throw CLI::ValidationError(fmt::format("--gateway: the fleet's database has no journal of \"{}\"{}{}",
                                           printable(gateway), all.empty() ? "" : ": it has ",
                                           all.empty() ? "" : answers::namesOf(all)));
}

AskedJournal openFleets(const Config& config, const std::string& gateway, const Period& period) {
    auto journal = store::openFleetJournal(config.fleet.url, {.gateway = gateway, .instead = kInstead});
    auto gateways = journal->gateways();
    if (gateways.empty() && !gateway.empty()) failUnknown(config, gateway);
    if (gateways.empty())
        throw store::StoreError(
            store::StoreError::Kind::Open,
            fmt::format("no gateway has brought its journal to the fleet's database yet ({})", kInstead));
    answers::keepMissedOf(gateways, period.since_ms, period.until_ms);
    fmt::print(stderr, "mailgate: {}\n", answers::askedText(gateways));
    return {std::move(journal), std::move(gateways)};
}

}  // namespace

AskedJournal openJournal(const Config& config, const WhoseJournals& whose, const Period& period) {
    const bool of_fleet = !config.fleet.url.empty();
    const auto opened = [&](AskedJournal journal) {
        const RunningGateway running = runningGateway(config);
        const auto trouble =
            running.status ? journalTrouble(*running.status, Times(Zone::Local)) : std::nullopt;
        if (trouble) fmt::print(stderr, "mailgate: warning: {}, and are not in the answer\n", *trouble);
        return journal;
    };
    if (!of_fleet && !whose.gateway.empty() && whose.gateway != config.name)
        throw CLI::ValidationError(
            fmt::format("--gateway {}: {} names no fleet ([fleet] url), and this gateway is \"{}\"",
                        printable(whose.gateway), config.file, printable(config.name)));
    return opened(of_fleet && !whose.here ? openFleets(config, whose.gateway, period) : openOwn(config));
}

std::string askedAsJson(const AskedJournal& asked) {
    if (!asked.isOfFleet()) return {};
    return ",\"gateways\":" + answers::askedAsJson(*asked.gateways);
}

Network networkArgument(const std::string& text) {
    auto parsed = parseNetwork(text);
    if (auto* error = std::get_if<NetworkError>(&parsed))
        throw CLI::ValidationError(std::move(error->message));
    return std::get<Network>(parsed);
}

void requireKnownNames(const Config& config, const store::JournalFilter& filter,
                       store::journal::Source* journal) {
    if (const auto unknown = answers::unknownName(config, filter, journal))
        throw CLI::ValidationError(fmt::format("no {} is named \"{}\": {} has {}", unknown->what,
                                               printable(unknown->name), config.file,
                                               fmt::join(unknown->names, ", ")));
}

}  // namespace mailgate::cli
