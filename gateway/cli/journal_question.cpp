// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/journal_question.h"

#include "gateway/cli/site.h"
#include "protocols/values/text.h"
#include "store/backends/journal.h"
#include "store/store_error.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mailgate::cli {

namespace {

[[noreturn]] void failUnknown(std::string_view what, const std::string& name, const std::string& file,
                              const std::vector<std::string>& names) {
    throw CLI::ValidationError(
        fmt::format("no {} is named \"{}\": {} has {}", what, printable(name), file, fmt::join(names, ", ")));
}

bool contains(const std::vector<std::string>& names, std::string_view wanted) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
        const bool whole = wanted.find('/') != std::string_view::npos;
        return sameText(whole ? name : name.substr(name.find('/') + 1), wanted);
    });
}

}  // namespace

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
    const auto isKnown = [&](const store::JournalFilter& one) {
        return journal != nullptr && !journal->newest(one, 1).empty();
    };
    store::JournalFilter one;
    if (one.listener = filter.listener; one.listener) {
        const auto names = listenerNames(config);
        if (!contains(names, *one.listener) && !isKnown(one))
            failUnknown("listener", *one.listener, config.file, names);
    }
    one = {};
    if (one.server = filter.server; one.server) {
        const auto names = serverNames(config);
        if (!contains(names, *one.server) && !isKnown(one))
            failUnknown("server", *one.server, config.file, names);
    }
}

}  // namespace mailgate::cli
