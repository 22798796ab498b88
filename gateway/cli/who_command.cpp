// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/logged_line.h"
#include "gateway/answers/meanings.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/journal_question.h"
#include "gateway/cli/journal_text.h"
#include "gateway/cli/progress.h"
#include "gateway/cli/running_gateway.h"
#include "gateway/cli/screen.h"
#include "gateway/log/escape.h"
#include "protocols/values/text.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::cli {

namespace {

namespace journal = store::journal;
using answers::Meaning;
using answers::meaningsOf;

struct WhoArguments {
    std::string text;
    std::optional<std::string> since, until;
    std::size_t limit = 5;
    bool json = false;
    WhoseJournals whose;
    ViewOptions view;
};

/// What the journal has of one meaning.
struct Found {
    Meaning meaning;
    std::vector<store::JournalSession> sessions;  ///< the newest
    std::size_t count = 0;                        ///< of all of them
    bool more = false;                            ///< than were counted
};

Found find(journal::Source& source, Meaning meaning, std::size_t limit) {
    constexpr std::size_t kCounted = 10'000;  // that takes a moment
    Found found{.meaning = std::move(meaning), .sessions = {}};
    if (!found.meaning.session_id.empty()) {
        found.sessions = source.withId(found.meaning.session_id, limit);
        found.count = found.sessions.size();
        found.more = found.count == limit && limit > 1;
        return found;
    }
    found.sessions = source.newest(found.meaning.filter, limit);
    found.count = found.sessions.size();
    if (found.count < limit) return found;
    const std::size_t counted = std::max(limit, kCounted);
    found.count = source.count(found.meaning.filter, counted + 1);
    found.more = found.count > counted;
    found.count = std::min(found.count, counted);
    return found;
}

/// All that there is something of.
std::vector<Found> findAll(const AskedJournal& source, const WhoArguments& arguments, const Period& period) {
    std::vector<Found> all;
    for (Meaning& meaning : meaningsOf(arguments.text)) {
        if (meaning.isSlowFor(source.isOfFleet()) && !all.empty()) continue;
        meaning.filter.since_ms = period.since_ms;
        meaning.filter.until_ms = period.until_ms;
        meaning.command += arguments.whose.options();
        meaning.ascii_command += arguments.whose.options();
        if (Found found = find(*source, std::move(meaning), arguments.limit); found.count > 0)
            all.push_back(std::move(found));
    }
    return all;
}

/// What does the same where it is pasted, whatever the screen shows.
std::string shownCommand(const Meaning& meaning) {
    const std::string as_it_is = shown(meaning.command, standardOutput().letters);
    return as_it_is == meaning.command ? as_it_is : meaning.ascii_command;
}

std::string headingOf(const Found& found) {
    const std::string count = fmt::format("{}{} session{}", found.more ? "more than " : "",
                                          grouped(found.count), found.count == 1 ? "" : "s");
    const bool cut = found.more || found.count > found.sessions.size();
    return fmt::format("{}: {}{}: {}\n", found.meaning.words, count,
                       cut ? fmt::format(", the newest {}", grouped(found.sessions.size())) : "",
                       shownCommand(found.meaning));
}

void printText(const std::vector<Found>& all, const WhoArguments& arguments, bool of_fleet) {
    const Times times = arguments.view.times();
    std::string text;
    for (const Found& found : all) {
        TableStyle style = arguments.view.style();
        style.asked = columnsAsked(found.meaning.filter);
        Table table = sessionTable(std::move(style), times, of_fleet);
        addSessions(table, found.sessions, found.meaning.filter, times);
        text += (text.empty() ? "" : "\n") + headingOf(found) + table.text();
    }
    print(text, arguments.view);
}

/// The lines of a session as items of an array.
std::string itemsOf(const std::vector<store::JournalSession>& sessions) {
    std::string items;
    for (const store::JournalSession& session : sessions) {
        const std::string lines = sessionAsJson(session);
        for (std::size_t from = 0, end; (end = lines.find('\n', from)) != std::string::npos; from = end + 1)
            items += (items.empty() ? "" : ",\n") + lines.substr(from, end - from);
    }
    return items;
}

void printJson(const std::vector<Found>& all, const WhoArguments& arguments, const std::string& further) {
    std::string meanings;
    for (const Found& found : all)
        meanings += fmt::format(
            "{}\n{{\"meaning\":\"{}\",\"command\":\"{}\",\"found\":{},\"more\":{},\"sessions\":[\n{}\n]}}",
            meanings.empty() ? "" : ",", found.meaning.name, escaped(found.meaning.command), found.count,
            found.more, itemsOf(found.sessions));
    fmt::print("{{\"asked\":\"{}\",\"meanings\":[{}]{}}}\n", escaped(arguments.text), meanings, further);
}

constexpr unsigned kIpv6Site = 64;  // its clients are one client where records are limited

/// Where else to look, and how that is to be said.
struct Elsewhere {
    std::string text, said;
};

/// At the addresses in the text: of a client that is refused again and again not every session is kept, but its refusal has the
/// address, too; the record may then have another one of the same site.
std::vector<Elsewhere> elsewhereThan(std::string_view text) {
    std::vector<Elsewhere> places;
    const std::vector<std::string> addresses = answers::addressesIn(text);
    places.reserve(addresses.size() * 2);
    for (const std::string& address : addresses)
        places.push_back({address, address + ", which stands in the text"});
    for (const std::string& address : addresses) {
        const Network client = networkArgument(address);
        if (client.isV4()) continue;
        const std::string site = networkAround(client.address, kIpv6Site).toString();
        places.push_back(
            {site, fmt::format("{}, the network of {}, which stands in the text", site, address)});
    }
    return places;
}

/// What to look for instead of a single address of IPv6 that has no session; empty: nothing.
std::string siteHint(journal::Source& source, const std::vector<Meaning>& meanings,
                     const WhoArguments& arguments, const Period& period) {
    const std::optional<Network>& client = meanings.front().filter.client;
    if (!client || client->isV4() || client->prefix_length <= kIpv6Site) return {};
    store::JournalFilter filter;
    filter.client = networkAround(client->address, kIpv6Site);
    filter.since_ms = period.since_ms;
    filter.until_ms = period.until_ms;
    if (source.newest(filter, 1).empty()) return {};
    return "; its network has some: mailgate sessions --client " + filter.client->toString() +
           arguments.whose.options();
}

/// "a sender, a recipient or a user"; what is slow to look for comes last, and was looked for too.
std::string alternatives(const std::vector<Meaning>& meanings) {
    std::vector<std::string_view> words;
    for (const Meaning& meaning : meanings)
        if (std::find(words.begin(), words.end(), meaning.words) == words.end())
            words.push_back(meaning.words);
    const std::string_view last = words.back();
    words.pop_back();
    return words.empty() ? std::string(last) : fmt::format("{} or {}", fmt::join(words, ", "), last);
}

void who(Context& context, const WhoArguments& arguments) {
    const Period period = periodArgument(arguments.since, arguments.until, arguments.view.zone());
    const std::vector<Meaning> meanings = meaningsOf(arguments.text);
    if (meanings.empty()) throw CLI::ValidationError("the text is empty");
    const Config config = neededConfig(context).config;
    const AskedJournal source = openJournal(config, arguments.whose, period);
    auto all = withProgress("searching the journal", [&] { return findAll(source, arguments, period); });
    const auto noteThatOf = [&](std::string_view said) {
        fmt::print(stderr, "note: no session in the journal has {}; these are of {}\n",
                   meanings.front().session_id.empty() ? "the text" : "that id", said);
    };
    // Of a line that names a mail.
    if (!all.empty() && all.front().meaning.name == "client" && meanings.front().name != "client")
        noteThatOf(all.front().meaning.filter.client->toString() + ", which stands in the text");
    for (const Elsewhere& place : all.empty() ? elsewhereThan(arguments.text) : std::vector<Elsewhere>()) {
        WhoArguments client = arguments;
        client.text = place.text;
        all = findAll(source, client, period);
        if (all.empty()) continue;
        noteThatOf(place.said);
        break;
    }
    const auto live = underWay(config, arguments.text);
    if (!all.empty() && live)
        fmt::print(stderr, "note: one that is under way has \"{}\", too: {}\n", asTyped(arguments.text),
                   *live);
    if (all.empty()) {
        fmt::print(stderr, "mailgate: no session in the journal has \"{}\" as {}{}{}\n",
                   asTyped(arguments.text), alternatives(meanings),
                   siteHint(*source, meanings, arguments, period),
                   live ? "; one that is under way has it: " + *live : "");
        context.exit_code = kRefusedOrNotFound;
    }
    if (arguments.json)
        printJson(all, arguments, askedAsJson(source));
    else if (!all.empty())
        printText(all, arguments, source.isOfFleet());
}

}  // namespace

void addWhoCommand(CLI::App& root, Context& context) {
    const auto arguments = std::make_shared<WhoArguments>();
    CLI::App* command = root.add_subcommand("who",
                                            "Find the sessions that a text may mean: a client, sender, "
                                            "recipient, user, domain, Message-ID, queue id or session id");
    // POP3's refusals begin with -ERR, which is an option -E with a value to whoever takes options apart.
    CLI::Option* const refusal = command->add_option("-E", "The same, where it begins with -E")->group("");
    CLI::Option* const text = command
                                  ->add_option("TEXT", arguments->text,
                                               "An address, name or id, as in a log, a header or a complaint")
                                  ->required();
    refusal->each([text](const std::string& rest) { text->add_result("-E" + rest); });
    command->add_option("--since", arguments->since, kSinceHelp);
    command->add_option("--until", arguments->until, kUntilHelp);
    command
        ->add_option("--limit", arguments->limit,
                     "Print at most this many sessions of each, the newest (default: 5)")
        ->check(limitError);
    addGatewayOptions(*command, arguments->whose);
    command->add_flag("--json", arguments->json, "Print JSON");
    addViewOptions(*command, arguments->view, Prints::OneTable);
    command->callback([&context, arguments] { who(context, *arguments); });
}

}  // namespace mailgate::cli
