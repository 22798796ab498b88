// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/journal_text.h"
#include "gateway/cli/table.h"
#include "gateway/config/load.h"
#include "gateway/log/escape.h"
#include "protocols/values/text.h"
#include "store/backends/journal.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <sstream>
#include <thread>

namespace mailgate::cli {

namespace {

using namespace std::chrono_literals;
using store::JournalFilter;
using store::JournalSession;
namespace journal = store::journal;

struct SessionsArguments {
    std::string client, balancer, from, to, user, queue_id, listener, server, verdict, id;
    std::optional<std::string> since, until;
    bool refused = false;
    bool failed_logins = false;
    bool json = false;
    bool follow = false;
    bool live = false;
    std::size_t limit = 100;
};

Network networkArgument(const std::string& text) {
    auto parsed = parseNetwork(text);
    if (auto* error = std::get_if<NetworkError>(&parsed))
        throw CLI::ValidationError(std::move(error->message));
    return std::get<Network>(parsed);
}

/// Only what was given on the command line; `command` knows what that is.
JournalFilter filterOf(const SessionsArguments& arguments, const CLI::App& command) {
    JournalFilter filter;
    const auto text = [&](const char* option, const std::string& value, std::optional<std::string>& to) {
        if (command.count(option) == 0) return;
        if (command[option]->as<std::string>().empty())
            throw CLI::ValidationError(fmt::format("{}: the value is empty", option));
        to = value;
    };
    if (command.count("--client") > 0) filter.client = networkArgument(arguments.client);
    if (command.count("--balancer") > 0) filter.balancer = networkArgument(arguments.balancer);
    text("--from", envelopeAddress(arguments.from), filter.from);
    text("--to", envelopeAddress(arguments.to), filter.to);
    text("--user", arguments.user, filter.user);
    text("--queue-id", arguments.queue_id, filter.queue_id);
    text("--listener", arguments.listener, filter.listener);
    text("--server", arguments.server, filter.server);
    if (command.count("--verdict") > 0) filter.allowed = arguments.verdict == "allow";
    filter.refused_only = arguments.refused;
    filter.failed_login = arguments.failed_logins;
    const Period period = periodArgument(arguments.since, arguments.until, Zone::Local);
    filter.since_ms = period.since_ms;
    filter.until_ms = period.until_ms;
    return filter;
}

void print(const std::vector<JournalSession>& sessions, bool json, bool heading) {
    if (json) {
        for (const JournalSession& session : sessions)
            std::fputs(sessionAsJson(session).c_str(), stdout);
    } else if (heading || !sessions.empty()) {
        std::fputs(sessionsAsTable(sessions, heading).c_str(), stdout);
    }
    std::fflush(stdout);
}

std::unique_ptr<journal::Source> openJournal(const Context& context) {
    return journal::openSource(loadConfig(findConfig(context.config_file)).journal.url);
}

/// Until the reader of standard output is gone or the user has seen enough.
void follow(journal::Source& source, const JournalFilter& filter, journal::Position position, bool json) {
    constexpr std::size_t kAtOnce = 10'000;
    while (std::ferror(stdout) == 0) {
        print(source.after(filter, position, kAtOnce), json, false);
        std::this_thread::sleep_for(500ms);
    }
}

void list(Context& context, const SessionsArguments& arguments, const CLI::App& command) {
    const JournalFilter filter = filterOf(arguments, command);
    const auto source = openJournal(context);
    const journal::Position end = source->end();
    const auto sessions = source->newest(filter, arguments.limit);
    print(sessions, arguments.json, true);
    if (arguments.follow) follow(*source, filter, end, arguments.json);
    if (sessions.empty()) context.exit_code = kRefusedOrNotFound;
}

/// The sessions under way, as the running gateway tells them.
void listLive(Context& context, const SessionsArguments& arguments, const CLI::App& command) {
    for (const char* option : {"--to", "--queue-id", "--verdict", "--refused", "--failed-logins", "--since",
                               "--until", "--server", "--balancer", "--follow"}) {
        if (command.count(option) > 0)
            throw CLI::ValidationError(fmt::format("{} cannot be combined with --live", option));
    }
    const JournalFilter filter = filterOf(arguments, command);
    // Nor is there a sender before the first mail.
    if (filter.from && filter.from->empty())
        throw CLI::ValidationError("--from <> cannot be combined with --live");
    std::string target = "/v1/sessions";
    if (filter.client) target += "?client=" + admin::percentEncoded(filter.client->toString());
    const Config config = loadConfig(findConfig(context.config_file));
    const auto answer = admin::Client(config.admin.socket).get(target);
    const auto sessions = answer->getArray("sessions");
    Table table(
        {"SINCE", "SESSION", "CLIENT", "LISTENER", "STATE", "SERVER", "HELO/USER", "FROM", "IN", "OUT"});
    const auto text = [](const Poco::JSON::Object& session, const char* key) {
        return session.isNull(key) ? std::string() : session.getValue<std::string>(key);
    };
    std::size_t shown = 0;
    for (std::size_t i = 0; i < sessions->size() && shown < arguments.limit; ++i) {
        const auto session = sessions->getObject(static_cast<unsigned>(i));
        const std::string user = text(*session, "user");
        const auto is = [&](const char* key, const std::optional<std::string>& wanted, auto same) {
            return !wanted || same(session->isNull(key) ? "" : session->getValue<std::string>(key), *wanted);
        };
        if (!is("listener", filter.listener, sameText) || !is("user", filter.user, sameText) ||
            !is("from", filter.from, isAddressed))
            continue;
        ++shown;
        if (arguments.json) {
            std::ostringstream text;
            session->stringify(text);
            std::fputs((visibleJson(text.str()) + "\n").c_str(), stdout);
            continue;
        }
        table.add({text(*session, "started"), text(*session, "session"), text(*session, "client"),
                   text(*session, "listener"), text(*session, "state"), text(*session, "server"),
                   user.empty() ? text(*session, "helo") : user, text(*session, "from"),
                   text(*session, "bytes_in"), text(*session, "bytes_out")});
    }
    if (!arguments.json) std::fputs(table.text().c_str(), stdout);
}

void kill(Context& context, const SessionsArguments& arguments) {
    const Config config = loadConfig(findConfig(context.config_file));
    admin::Client(config.admin.socket).del("/v1/sessions/" + admin::percentEncoded(arguments.id));
    fmt::print("session {} ended\n", printable(arguments.id));
}

void show(Context& context, const SessionsArguments& arguments) {
    const auto found = openJournal(context)->withId(arguments.id, 2);
    if (found.size() == 1) {
        std::fputs((arguments.json ? sessionAsJson(found.front()) : sessionAsStory(found.front())).c_str(),
                   stdout);
        return;
    }
    context.exit_code = kRefusedOrNotFound;
    const std::string id = printable(arguments.id);
    if (found.empty())
        fmt::print(stderr, "mailgate: no session in the journal has the id {}\n", id);
    else
        fmt::print(stderr, "mailgate: {} is not unique: several ids begin with it, such as {} and {}\n", id,
                   found[0].id, found[1].id);
}

void addFilters(CLI::App& sessions, SessionsArguments& arguments) {
    sessions.add_option("--client", arguments.client, "Client address or network");
    sessions.add_option("--from", arguments.from, "Envelope sender: an address, @domain, or <>");
    sessions.add_option("--to", arguments.to, "Envelope recipient: an address or @domain");
    sessions.add_option("--user", arguments.user, "User name of a login, successful or not");
    sessions.add_option("--queue-id", arguments.queue_id, "Queue ID that the server gave the mail");
    sessions.add_option("--listener", arguments.listener, "Name of the listener");
    sessions.add_option("--balancer", arguments.balancer, "Balancer address or network");
    sessions.add_option("--server", arguments.server, "Server, as SERVER or UPSTREAM/SERVER");
    sessions.add_option("--verdict", arguments.verdict, "Verdict of the access rules")
        ->check(CLI::IsMember({"allow", "deny"}));
    sessions.add_flag("--refused", arguments.refused, "Only clients that were refused a session");
    sessions.add_flag("--failed-logins", arguments.failed_logins,
                      "Only sessions with a failed login, even if a later login succeeded");
    sessions.add_option("--since", arguments.since, kSinceHelp);
    sessions.add_option("--until", arguments.until, kUntilHelp);
    sessions
        .add_option("--limit", arguments.limit,
                    "Print at most this many sessions, the newest ones (default: 100)")
        ->check(limitError);
}

}  // namespace

void addSessionsCommand(CLI::App& root, Context& context) {
    const auto arguments = std::make_shared<SessionsArguments>();
    CLI::App* sessions = root.add_subcommand(
        "sessions", "Print the sessions that have ended, newest last, or the current ones (--live)");
    sessions->require_subcommand(0, 1);
    addFilters(*sessions, *arguments);
    sessions->add_flag("--json", arguments->json, "Print JSON, one object per line");
    sessions->add_flag("--live", arguments->live,
                       "Print the current sessions instead; can be combined with --client, --from, --user, "
                       "--listener, --limit and --json");
    sessions->add_flag("--follow", arguments->follow, "Keep running, and print further sessions as they end");
    CLI::App* shown =
        sessions->add_subcommand("show", "Print all that is known about a session, with its timings");
    shown->add_option("ID", arguments->id, "Session id, or enough of its beginning to be unique")->required();
    shown->add_flag("--json", arguments->json, "Print JSON");
    shown->callback([&context, arguments] { show(context, *arguments); });
    CLI::App* killed = sessions->add_subcommand(
        "kill", "End a current session, with a 421 or BYE to the client where the protocol allows one");
    killed->add_option("ID", arguments->id, "Session id, as sessions --live shows it")->required();
    killed->callback([&context, arguments] { kill(context, *arguments); });
    sessions->callback([&context, arguments, sessions] {
        if (!sessions->get_subcommands().empty()) return;
        if (arguments->live)
            listLive(context, *arguments, *sessions);
        else
            list(context, *arguments, *sessions);
    });
}

}  // namespace mailgate::cli
