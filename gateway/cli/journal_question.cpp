// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/journal_question.h"

#include "gateway/answers/journal.h"
#include "protocols/values/text.h"
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
    command.add_flag("--json", question.json, "Print JSON");
    addViewOptions(command, question.view, prints);
}

std::unique_ptr<store::journal::Source> openJournal(const Config& config) {
    if (!config.journal.enabled)
        throw store::StoreError(
            store::StoreError::Kind::Open,
            fmt::format("no journal is kept of sessions: {} has journal.enabled = false", config.file));
    return store::journal::openSource(config.journal.url);
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
