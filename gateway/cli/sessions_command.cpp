// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"
#include "gateway/answers/rules_text.h"
#include "gateway/base/clock.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/journal_question.h"
#include "gateway/cli/journal_text.h"
#include "gateway/cli/json_fields.h"
#include "gateway/cli/progress.h"
#include "gateway/cli/running_gateway.h"
#include "gateway/cli/screen.h"
#include "gateway/cli/table.h"
#include "gateway/daemon/site.h"
#include "gateway/log/escape.h"
#include "gateway/session/counters.h"
#include "protocols/values/text.h"
#include "store/backends/rules.h"
#include "store/journal/filter.h"
#include "store/rules/service.h"
#include "store/store_error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace mailgate::cli {

namespace {

using namespace std::chrono_literals;
using store::JournalFilter;
using store::JournalSession;
namespace journal = store::journal;

struct SessionsArguments {
    std::string client, balancer, from, to, user, queue_id, message_id, listener, server, verdict, id;
    std::string protocol, helo, end, rule, tls, reply, refused_recipient;
    std::optional<std::string> since, until;
    bool refused = false;
    bool would_refuse = false;
    bool failed_logins = false;
    bool json = false;
    bool follow = false;
    bool live = false;
    bool all = false;
    std::optional<std::size_t> limit;
    WhoseJournals whose;
    ViewOptions view;
};

/// As a record has it: the network, or nothing for the listener's default.
std::string ruleArgument(const std::string& text) {
    if (!text.empty() && text.find_first_not_of("0123456789") == std::string::npos)
        throw CLI::ValidationError(fmt::format(
            "--rule: {0} is a rule's number, and sessions are kept with its network: mailgate access history "
            "has that of rule {0}",
            printable(text)));
    return text == "default" ? "" : networkArgument(text).toString();
}

/// As Postfix's log has an id.
std::string withoutColon(const std::string& id) {
    return id.size() > 1 && id.back() == ':' ? id.substr(0, id.size() - 1) : id;
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
    text("--queue-id", withoutColon(arguments.queue_id), filter.queue_id);
    text("--message-id", messageId(arguments.message_id), filter.message_id);
    text("--listener", arguments.listener, filter.listener);
    text("--server", arguments.server, filter.server);
    text("--refused-recipient", envelopeAddress(arguments.refused_recipient), filter.refused_to);
    text("--reply", arguments.reply, filter.reply);
    text("--protocol", arguments.protocol, filter.protocol);
    text("--helo", arguments.helo, filter.helo);
    text("--end", std::string(answers::reasonIn(arguments.end)), filter.end);
    text("--tls", arguments.tls, filter.tls);
    if (filter.tls == "none") filter.tls = "";
    if (command.count("--rule") > 0) filter.rule = ruleArgument(arguments.rule);
    if (command.count("--verdict") > 0) filter.allowed = arguments.verdict == "allow";
    filter.refused_only = arguments.refused || arguments.end.starts_with(answers::kRefusedPrefix);
    filter.would_refuse = arguments.would_refuse;
    filter.failed_login = arguments.failed_logins;
    const Period period = periodArgument(arguments.since, arguments.until, arguments.view.zone());
    filter.since_ms = period.since_ms;
    filter.until_ms = period.until_ms;
    return filter;
}

/// What the command line and the configuration say, and how to print.
struct Asked {
    Asked(const Context& context, const SessionsArguments& given, const CLI::App& command)
        : arguments(given), filter(filterOf(given, command)), needed(neededConfig(context)) {}

    const SessionsArguments& arguments;
    const JournalFilter filter;
    const NeededConfig needed;
    const Config& config = needed.config;
};

void fail(Context& context, const std::string& sentence) {
    fmt::print(stderr, "mailgate: {}\n", sentence);
    context.exit_code = kRefusedOrNotFound;
}

/// Which command lists a session under way of whom alone was asked for; nothing: there is none.
std::optional<std::string> liveOneOf(const Asked& asked) {
    const JournalFilter& filter = asked.filter;
    std::vector<std::string> wanted;
    if (filter.client) wanted.push_back(filter.client->toString());
    for (const auto& one : {filter.from, filter.user, filter.helo})
        if (one) wanted.push_back(*one);
    return wanted.size() == 1 ? underWay(asked.config, wanted.front()) : std::nullopt;
}

/// Because a name is wrong, a user never came, or nothing matches.
void failNone(Context& context, const Asked& asked, journal::Source& source) {
    JournalFilter user;
    user.user = asked.filter.user;
    if (user.user && source.newest(user, 1).empty())
        return fail(context,
                    fmt::format("no session in the journal has the user \"{}\"", asTyped(*user.user)));
    for (const auto& [option, address] :
         {std::pair("--from", asked.filter.from), std::pair("--to", asked.filter.to),
          std::pair("--refused-recipient", asked.filter.refused_to)}) {
        if (!address || address->empty() || address->find('@') != std::string::npos) continue;
        const bool domain = address->find('.') != std::string::npos;
        return fail(
            context,
            fmt::format("no session in the journal matches: {} {} is no whole address: expected one such "
                        "as {}@{}, or a domain such as @{}",
                        option, asTyped(*address), domain ? "bob" : asTyped(*address),
                        domain ? asTyped(*address) : "example.net",
                        domain ? asTyped(*address) : "example.net"));
    }
    const auto live = liveOneOf(asked);
    fail(context, fmt::format("no session in the journal matches{}",
                              live ? "; one that is under way has it: " + *live : ""));
}

/// What --limit has cut; empty: nothing.
std::string cutNote(std::size_t printed, std::size_t found, bool more) {
    if (printed >= found) return {};
    return fmt::format("the newest {} of {}{} sessions; --limit N or --all prints more", grouped(printed),
                       more ? "more than " : "", grouped(found));
}

/// The same as a line of its own of the JSON.
std::string cutAsJson(std::size_t printed, std::size_t found, bool more) {
    if (printed >= found) return {};
    return fmt::format(R"({{"event":"sessions.cut","printed":{},"found":{},"more":{}}})"
                       "\n",
                       printed, found, more);
}

void printJson(const std::vector<JournalSession>& sessions) {
    for (const JournalSession& session : sessions)
        std::fputs(sessionAsJson(session).c_str(), stdout);
    std::fflush(stdout);
}

/// Until the reader of standard output is gone or the user has seen enough. A fleet's database that goes away is waited for,
/// as the gateways do.
template <typename Print>
void follow(const AskedJournal& source, const JournalFilter& filter, journal::Position position,
            Print print) {
    constexpr std::size_t kAtOnce = 10'000;
    constexpr auto kUsual = 500ms, kLongest = 4'000ms;
    auto pause = kUsual;
    bool is_lost = false;
    while (std::ferror(stdout) == 0) {
        try {
            print(source->after(filter, position, kAtOnce));
            if (std::exchange(is_lost, false)) fmt::print(stderr, "mailgate: it answers again\n");
            pause = kUsual;
        } catch (const store::StoreError& error) {
            if (!source.isOfFleet() || error.kind() == store::StoreError::Kind::NewerSchema) throw;
            if (!std::exchange(is_lost, true))
                fmt::print(stderr, "mailgate: {}: waiting for it\n", error.what());
            pause = std::min(pause * 2, kLongest);
        }
        std::this_thread::sleep_for(pause);
    }
}

std::size_t limitOf(const SessionsArguments& arguments) {
    constexpr std::size_t kUsual = 100, kBeforeFollowing = 10;
    if (arguments.all) return std::numeric_limits<std::size_t>::max();
    return arguments.limit.value_or(arguments.follow ? kBeforeFollowing : kUsual);
}

void followTable(const Asked& asked, const AskedJournal& source, const std::vector<JournalSession>& sessions,
                 const journal::Position& end) {
    const ViewOptions& view = asked.arguments.view;
    TableStyle style = view.style();
    style.follows = true;
    style.asked = columnsAsked(asked.filter);
    const Times times = view.times();
    Table table = sessionTable(std::move(style), times, source.isOfFleet());
    const auto add = [&](const std::vector<JournalSession>& more) {
        addSessions(table, more, asked.filter, times);
        std::fputs(table.text().c_str(), stdout);
        std::fflush(stdout);
    };
    add(sessions);
    follow(source, asked.filter, end, add);
}

constexpr const char* kSearching = "searching the journal";

void list(Context& context, const SessionsArguments& arguments, const CLI::App& command) {
    if (arguments.follow && arguments.until)
        throw CLI::ValidationError("--until cannot be combined with --follow");
    const Asked asked(context, arguments, command);
    const AskedJournal source =
        openJournal(asked.config, arguments.whose, {asked.filter.since_ms, asked.filter.until_ms});
    const journal::Position end = arguments.follow ? source->end() : journal::Position();
    const std::size_t limit = limitOf(arguments);
    const auto sessions = withProgress(kSearching, [&] { return source->newest(asked.filter, limit); });
    if (sessions.empty() && !asked.needed.broken) requireKnownNames(asked.config, asked.filter, &*source);
    if (arguments.follow && !arguments.json) return followTable(asked, source, sessions, end);
    if (sessions.empty() && !arguments.follow) return failNone(context, asked, *source);

    constexpr std::size_t kCounted = 10'000;  // that takes a moment
    const bool cut = sessions.size() == limit && !arguments.follow;
    const std::size_t found = !cut ? 0 : withProgress(kSearching, [&] {
        return source->count(asked.filter, std::max(limit, kCounted) + 1);
    });
    const bool more = found > std::max(limit, kCounted);
    if (arguments.json) {
        printJson(sessions);
        std::fputs(cutAsJson(sessions.size(), found - (more ? 1 : 0), more).c_str(), stdout);
        if (arguments.follow) follow(source, asked.filter, end, [](const auto& newer) { printJson(newer); });
        return;
    }
    const Times times = arguments.view.times();
    TableStyle style = arguments.view.style();
    style.asked = columnsAsked(asked.filter);
    Table table = sessionTable(std::move(style), times, source.isOfFleet());
    addSessions(table, sessions, asked.filter, times);
    printWithNote(table.text(), cutNote(sessions.size(), found - (more ? 1 : 0), more), arguments.view);
}

/// An object, or null.
std::string tlsModeOf(const Poco::JSON::Object& session) {
    const auto tls = session.getObject("tls");
    return tls ? textOf(*tls, "mode") : std::string();
}

Table liveTable(TableStyle style, const Times& times) {
    return Table({{.name = "since", .title = times.title("SINCE"), .also = {"started"}},
                  {.name = "session", .title = "SESSION"},
                  {.name = "client", .title = "CLIENT", .moves = 15},
                  {.name = "listener", .title = "LISTENER", .least = 8, .leaves = 4},
                  {.name = "state", .title = "STATE"},
                  {.name = "server", .title = "SERVER", .least = 8, .leaves = 5},
                  {.name = "helo", .title = "HELO/USER", .least = 9, .leaves = 6, .also = {"user"}},
                  {.name = "from", .title = "FROM", .least = 9, .leaves = 3},
                  {.name = "in", .title = "IN", .leaves = 2, .also = {"bytes_in"}},
                  {.name = "out", .title = "OUT", .leaves = 1, .also = {"bytes_out"}},
                  {.name = "balancer", .title = "BALANCER", .on_request = true},
                  {.name = "protocol", .title = "PROTOCOL", .on_request = true},
                  {.name = "tls", .title = "TLS", .on_request = true},
                  {.name = "mails", .title = "MAILS", .on_request = true, .also = {"mail_count"}}},
                 std::move(style));
}

Table::Row liveRow(const Poco::JSON::Object& session, const Times& times) {
    const auto cell = [&](const char* key) { return orDash(textOf(session, key)); };
    return {times.text(textOf(session, "started")),
            textOf(session, "session").substr(0, kShownOfId),
            cell("client"),
            cell("listener"),
            cell("state"),
            cell("server"),
            cell(textOf(session, "user").empty() ? "helo" : "user"),
            cell("from"),
            cell("bytes_in"),
            cell("bytes_out"),
            cell("balancer"),
            cell("protocol"),
            orDash(tlsModeOf(session)),
            cell("mail_count")};
}

std::optional<AddressBytes> addressOf(const std::string& text) {
    const auto parsed = parseNetwork(text);
    const auto* network = std::get_if<Network>(&parsed);
    return network == nullptr ? std::nullopt : std::optional(network->address);
}

/// As its record would have it if it ended now, as far as filters are concerned. One whose header has not been read
/// has no client: ::.
JournalSession recordOf(const Poco::JSON::Object& session, std::int64_t now_ms) {
    JournalSession record;
    record.started_ms = now_ms;
    if (const auto started = parseUtc(textOf(session, "started"))) record.started_ms = *started * 1'000;
    record.duration_ms = now_ms - record.started_ms;
    record.client = addressOf(textOf(session, "client")).value_or(AddressBytes{});
    record.balancer = addressOf(textOf(session, "balancer"));
    record.listener = textOf(session, "listener");
    record.protocol = textOf(session, "protocol");
    record.upstream = textOf(session, "upstream");
    record.server = textOf(session, "server");
    record.helo = textOf(session, "helo");
    record.user = textOf(session, "user");
    record.tls = tlsModeOf(session);
    record.mail.emplace_back().from = textOf(session, "from");
    return record;
}

bool passes(const Poco::JSON::Object& session, const JournalFilter& filter, std::int64_t now_ms) {
    const JournalSession record = recordOf(session, now_ms);
    return journal::passes(record, filter) && journal::hasWantedMail(record, filter);
}

std::vector<Poco::JSON::Object::Ptr> liveSessions(const Asked& asked) {
    std::string target = "/v1/sessions";
    if (asked.filter.client) target += "?client=" + admin::percentEncoded(asked.filter.client->toString());
    const auto array = admin::Client(asked.config.admin.socket).get(target)->getArray("sessions");
    const std::int64_t now = unixMillis();
    std::vector<Poco::JSON::Object::Ptr> sessions;
    for (std::size_t at = 0; array && at < array->size(); ++at)
        if (auto session = array->getObject(static_cast<unsigned>(at)); passes(*session, asked.filter, now))
            sessions.push_back(std::move(session));
    return sessions;
}

/// The sessions under way, as the running gateway tells them.
void listLive(Context& context, const SessionsArguments& arguments, const CLI::App& command) {
    for (const char* option :
         {"--to", "--queue-id", "--message-id", "--verdict", "--refused", "--would-refuse", "--failed-logins",
          "--follow", "--refused-recipient", "--reply", "--end", "--rule", "--gateway"}) {
        if (command.count(option) > 0)
            throw CLI::ValidationError(fmt::format("{} cannot be combined with --live", option));
    }
    const Asked asked(context, arguments, command);
    // Nor is there a sender before the first mail.
    if (asked.filter.from && asked.filter.from->empty())
        throw CLI::ValidationError("--from <> cannot be combined with --live");
    auto sessions = liveSessions(asked);
    if (sessions.empty()) {
        if (!asked.needed.broken) requireKnownNames(asked.config, asked.filter, nullptr);
        return fail(context, "no current session matches");
    }
    // The oldest come first, so that the newest are the last as in the other list.
    const std::size_t found = sessions.size();
    if (const std::size_t limit = limitOf(arguments); limit < found)
        sessions.erase(sessions.begin(), sessions.end() - static_cast<std::ptrdiff_t>(limit));
    if (arguments.json) {
        for (const auto& session : sessions) {
            std::ostringstream text;
            session->stringify(text);
            std::fputs((visibleJson(text.str()) + "\n").c_str(), stdout);
        }
        std::fputs(cutAsJson(sessions.size(), found, false).c_str(), stdout);
        return;
    }
    const Times times = arguments.view.times();
    Table table = liveTable(arguments.view.style(), times);
    for (const auto& session : sessions)
        table.add(liveRow(*session, times));
    printWithNote(table.text(), cutNote(sessions.size(), found, false), arguments.view);
}

/// The ids of the current sessions that begin like that.
std::vector<std::string> liveIds(const admin::Client& gateway, std::string_view prefix) {
    std::vector<std::string> ids;
    forEachOf(*gateway.get("/v1/sessions"), "sessions", [&](const Poco::JSON::Object& session) {
        if (std::string id = textOf(session, "session"); startsWithIgnoreCase(id, prefix))
            ids.push_back(std::move(id));
    });
    return ids;
}

/// Every id begins with nothing: a script's variable that is not set names no session.
void requireId(const SessionsArguments& arguments) {
    if (arguments.id.empty()) throw CLI::ValidationError("ID: the value is empty");
}

void kill(Context& context, const SessionsArguments& arguments) {
    requireId(arguments);
    const Config config = neededConfig(context).config;
    const admin::Client gateway(config.admin.socket);
    const auto ids = liveIds(gateway, arguments.id);
    if (ids.empty())
        return fail(context, fmt::format("no current session has the id {}", printable(arguments.id)));
    if (ids.size() > 1)
        return fail(context, fmt::format("{} is not unique: several ids begin with it, such as {} and {}",
                                         printable(arguments.id), ids[0], ids[1]));
    gateway.del("/v1/sessions/" + admin::percentEncoded(ids.front()));
    fmt::print("session {} ended\n", ids.front());
}

/// The journal has the numbers of rules that refuse; of one that admits it would name a client whose address is forgotten.
/// While it is known the rule is the one that decides now, if that is for the same network and was there already.
std::optional<store::AccessRule> decidingRule(store::RuleStore& rules, const Config& config,
                                              const JournalSession& session) {
    if (session.client_masked) return std::nullopt;
    const rules::Site site = siteOf(config);
    rules::Service service([&]() -> store::RuleStore& { return rules; }, site, "", unixMillis() / 1'000,
                           [](const store::RuleStore::BadRow&) {});
    for (rules::Decision& decision : service.test(std::vector{session.client}, std::vector{session.listener}))
        if (decision.by && decision.allowed == session.allowed &&
            decision.by->network.toString() == session.rule &&
            decision.by->created_at * 1'000 <= session.started_ms)
            return std::move(decision.by);
    return std::nullopt;
}

/// What the rule that has decided is now, which then has its number; empty: none has, or that is not known.
std::string ruleNow(const Config& config, JournalSession& session, Zone zone) {
    if (session.rule.empty()) return {};
    try {
        const auto rules = store::openRules(config.store_url, {.use = store::RuleStore::Use::Read});
        const auto rule =
            session.rule_id == 0 ? decidingRule(*rules, config, session) : rules->rule(session.rule_id);
        if (!rule && session.rule_id == 0) return {};
        if (rule) session.rule_id = rule->id;
        if (!rule) return "is no longer there (mailgate access history " + session.rule + ")";
        const std::string sentence = answers::sentenceOf(*rule, zone);
        return sentence.substr(sentence.find(": ") + 2);
    } catch (const store::StoreError&) {
        return {};  // what the journal has is told all the same
    }
}

/// One that was found is not among what is missing.
constexpr Period kNoTime{1, 0};

void show(Context& context, const SessionsArguments& arguments) {
    requireId(arguments);
    const Config config = neededConfig(context).config;
    auto found = openJournal(config, arguments.whose, kNoTime)->withId(arguments.id, 2);
    const std::string id = printable(arguments.id);
    if (found.empty()) {
        const auto live = underWay(config, arguments.id);
        return fail(context, fmt::format("no session in the journal has the id {}{}", id,
                                         live ? "; one that is under way has: " + *live : ""));
    }
    if (found.size() > 1)
        return fail(context, fmt::format("{} is not unique: several ids begin with it, such as {} and {}", id,
                                         found[0].id, found[1].id));
    if (arguments.json) {
        std::fputs(sessionAsJson(found.front()).c_str(), stdout);
        return;
    }
    const std::string rule = withProgress(
        "reading the rules", [&] { return ruleNow(config, found.front(), arguments.view.zone()); });
    print(sessionAsStory(found.front(), arguments.view.zone(), standardOutput().letters, rule),
          arguments.view);
}

/// What is wrong with the value of --end; empty: nothing.
std::string endError(const std::string& text) {
    const std::vector<std::string> names = answers::endNames();
    const std::string_view reason = answers::reasonIn(text);
    if (std::find(names.begin(), names.end(), reason) != names.end()) return {};
    const std::string near = didYouMean(names, reason);
    return fmt::format("no session ends with \"{}\"{}", printable(text),
                       near.empty() ? fmt::format(": expected {}", fmt::join(names, ", ")) : near);
}

void addFilters(CLI::App& sessions, SessionsArguments& arguments) {
    sessions.add_option("--client", arguments.client, "Client address or network");
    sessions.add_option("--from", arguments.from, "Envelope sender: an address, @domain, or <>");
    sessions.add_option("--to", arguments.to, "Envelope recipient: an address or @domain");
    sessions.add_option("--user", arguments.user, "User name of a login, successful or not");
    sessions.add_option("--queue-id", arguments.queue_id, "Queue ID of the mail on the server");
    sessions.add_option("--message-id", arguments.message_id,
                        "Message-ID of the mail, with or without < and >");
    sessions.add_option("--listener", arguments.listener, "Name of the listener");
    sessions.add_option("--balancer", arguments.balancer, "Balancer address or network");
    sessions.add_option("--server", arguments.server, "Server, as SERVER or UPSTREAM/SERVER");
    sessions.add_option("--refused-recipient", arguments.refused_recipient,
                        "Recipient that the server refused: an address or @domain");
    sessions.add_option(
        "--reply", arguments.reply,
        "Part of the server's reply to a mail, or of mailgate's own to a client that it refused");
    sessions.add_option("--protocol", arguments.protocol, "Protocol of the listener")
        ->check(oneOf({"smtp", "lmtp", "imap", "pop3", "sieve", "tcp"}));
    sessions.add_option("--helo", arguments.helo, "Name in HELO or EHLO, or .domain for all names in it");
    sessions.add_option("--tls", arguments.tls, "How TLS was spoken, as the log has it; none: it was not")
        ->check(oneOf({"starttls", "implicit", "passthrough", "balancer", "none"}));
    sessions.add_option("--end", arguments.end, "Close reason, or reason of the refusal, as in column END")
        ->check(CLI::Validator(endError, ""));
    sessions.add_option("--rule", arguments.rule, "Network of the rule that matched; default: no rule did");
    sessions.add_option("--verdict", arguments.verdict, "Verdict of the access rules")
        ->check(oneOf({"allow", "deny"}));
    sessions.add_flag("--refused", arguments.refused, "Only clients that were refused a session");
    sessions.add_flag("--would-refuse", arguments.would_refuse,
                      "Only sessions that a listener in monitor mode would have refused");
    sessions.add_flag("--failed-logins", arguments.failed_logins,
                      "Only sessions with a failed login, even if a later login succeeded");
    sessions.add_option("--since", arguments.since, kSinceHelp);
    sessions.add_option("--until", arguments.until, kUntilHelp);
    sessions
        .add_option("--limit", arguments.limit,
                    "Print at most this many sessions, the newest ones (default: 100; with --follow 10)")
        ->check(limitError);
    sessions.add_flag("--all", arguments.all, "Print all sessions that match")->excludes("--limit");
}

}  // namespace

void addSessionsCommand(CLI::App& root, Context& context) {
    const auto arguments = std::make_shared<SessionsArguments>();
    CLI::App* sessions = root.add_subcommand(
        "sessions", "Print the sessions that have ended, newest last, or the current ones (--live)");
    sessions->require_subcommand(0, 1);
    addFilters(*sessions, *arguments);
    addGatewayOptions(*sessions, arguments->whose);
    sessions->add_flag("--json", arguments->json, "Print JSON, one object per line");
    sessions->add_flag(
        "--live", arguments->live,
        "Print the current sessions instead; cannot be combined with what is known only of those "
        "that have ended, such as --to and --end");
    sessions->add_flag("--follow", arguments->follow, "Keep running, and print further sessions as they end");
    addViewOptions(*sessions, arguments->view, Prints::OneTable);
    CLI::App* shown =
        sessions->add_subcommand("show", "Print all that is known about a session, with its timings");
    shown->add_option("ID", arguments->id, "Session id, or enough of its beginning to be unique")->required();
    addGatewayOptions(*shown, arguments->whose);
    shown->add_flag("--json", arguments->json, "Print JSON");
    shown->callback([&context, arguments] { show(context, *arguments); });
    CLI::App* killed = sessions->add_subcommand(
        "kill", "End a current session, with a 421 or BYE to the client where the protocol allows one");
    killed->add_option("ID", arguments->id, "Session id, or enough of its beginning to be unique")
        ->required();
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
