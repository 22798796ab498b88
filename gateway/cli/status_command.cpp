// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"
#include "gateway/answers/fleet.h"
#include "gateway/answers/rules_text.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/fleet_text.h"
#include "gateway/cli/json_fields.h"
#include "gateway/cli/running_gateway.h"
#include "gateway/cli/screen.h"
#include "gateway/cli/status_check.h"
#include "gateway/cli/table.h"
#include "gateway/config/values.h"
#include "gateway/daemon/preflight.h"
#include "gateway/log/escape.h"
#include "gateway/session/counters.h"
#include "protocols/values/text.h"

#include <Poco/JSON/Array.h>
#include <Poco/String.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace mailgate::cli {

namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

/// A value as a cell.
std::string cell(const Object& object, const std::string& key) {
    return orDash(textOf(object, key));
}

/// Of a number; what an earlier version does not tell is a dash.
std::string countCell(const Object& object, const std::string& key) {
    return cell(object, key) == "-" ? "-" : grouped(numberOf(object, key));
}

/// ... and outside of a table.
std::string word(const Object& object, const std::string& key) {
    return orDash(lineOf(object, key));
}

Cell stateOf(const Object& server) {
    const bool up = isSet(server, "healthy"), draining = isSet(server, "draining");
    std::string state = up ? "up" : "DOWN";
    if (draining) state += ", draining";
    if (isSet(server, "backup")) state += ", backup";
    return {std::move(state), !up ? Colour::Bad : draining ? Colour::Warning : Colour::Good};
}

/// Why it is down, and who has drained it; "-": neither.
std::string remarksOn(const Object& server, const Times& times) {
    std::string remarks = textOf(server, "reason");
    const std::string since = textOf(server, "drained_since"), by = textOf(server, "drained_by");
    if (since.empty() && by.empty()) return orDash(remarks);
    remarks += remarks.empty() ? "drained" : "; drained";
    if (!since.empty()) remarks += " since " + times.text(since);
    return by.empty() ? remarks : remarks + " by " + by;
}

/// The listeners' counters that have a column, by the names of the JSON.
std::vector<std::string> columnCounters() {
    std::vector<std::string> names;
    for (const auto& row : kListenerCounters) {
        if (row.group == CounterGroup::Sessions && !row.name.empty()) names.emplace_back(row.name);
    }
    names.emplace_back("refused");
    return names;
}

/// What counts leaves first, as --json has it all.
std::string listenerTable(const Object& status, const TableStyle& style) {
    const std::vector<std::string> counters = columnCounters();
    std::vector<Column> columns{{.name = "listener", .title = "LISTENER", .least = 12},
                                {.name = "protocol", .title = "PROTOCOL", .leaves = 1},
                                {.name = "live", .title = "LIVE"}};
    for (const std::string& counter : counters)
        columns.push_back(
            {.name = counter, .title = Poco::toUpper(counter), .leaves = counter == "refused" ? 4u : 2u});
    columns.push_back({.name = "state", .title = "STATE"});
    columns.push_back({.name = "addresses", .title = "ADDRESSES", .least = 14, .leaves = 3});
    Table table(std::move(columns), style);
    forEachOf(status, "listeners", [&](const Object& listener) {
        Table::Row row{cell(listener, "name"), cell(listener, "protocol"), countCell(listener, "live")};
        for (const std::string& counter : counters)
            row.emplace_back(countCell(listener, counter));
        const bool paused = isSet(listener, "paused");
        const std::string mode = cell(listener, "mode");
        const bool available = listener.optValue("available", true);
        std::string state = paused ? "PAUSED" : "listening";
        if (!available) state += ", NO SERVER";
        if (mode != "enforce" && mode != "-") state += ", " + mode;
        row.emplace_back(std::move(state), paused || !available ? Colour::Bad : Colour::Good);
        row.emplace_back(joinedTexts(listener, "addresses"));
        table.add(std::move(row));
    });
    return table.text();
}

std::string serverTable(const Object& status, const TableStyle& style, const Times& times) {
    Table table({{.name = "server", .title = "SERVER", .least = 16},
                 {.name = "address", .title = "ADDRESS", .least = 15, .leaves = 3},
                 {.name = "state", .title = "STATE"},
                 {.name = "sessions", .title = "SESSIONS"},
                 {.name = "total", .title = "TOTAL", .leaves = 2},
                 {.name = "failed", .title = "FAILED", .leaves = 1},
                 {.name = "since", .title = times.title("SINCE"), .leaves = 4},
                 {.name = "reason", .title = "REASON", .least = 12}},
                style);
    forEachOf(status, "servers", [&](const Object& server) {
        table.add({fmt::format("{}/{}", cell(server, "upstream"), cell(server, "server")),
                   cell(server, "address"), stateOf(server), countCell(server, "sessions"),
                   countCell(server, "sessions_total"), countCell(server, "failures_total"),
                   times.text(cell(server, "changed")), remarksOn(server, times)});
    });
    return table.text();
}

std::uint64_t sumOf(const Object::Ptr& counts) {
    std::uint64_t sum = 0;
    for (const auto& name : counts ? counts->getNames() : Object::NameList())
        sum += counts->getValue<std::uint64_t>(name);
    return sum;
}

/// Listeners that refuse nobody, so that nobody takes them for others.
std::string monitoringOf(const Object& status) {
    std::string text;
    forEachOf(status, "listeners", [&](const Object& listener) {
        if (textOf(listener, "mode") == "monitor")
            text += fmt::format("Listener {} only monitors: {} set aside (mailgate report would-refuse).\n",
                                word(listener, "name"),
                                counted(sumOf(listener.getObject("would_refuse")), "refusal"));
    });
    return text;
}

/// Rules that the gateway has logged a warning of.
std::string expiringOf(const Object& status) {
    const Object::Ptr rules = status.getObject("rules");
    const std::uint64_t expiring = rules ? numberOf(*rules, "expiring") : 0;
    if (expiring == 0) return {};
    return fmt::format("{} {} soon (mailgate access list --expiring soon).\n",
                       counted(expiring, "access rule"), expiring == 1 ? "expires" : "expire");
}

/// A restart would not go on with those read before.
std::string refusedCertificates(const Object& status) {
    std::string text;
    forEachOf(status, "tls_files", [&](const Object& files) {
        if (const std::string failure = lineOf(files, "failure"); !failure.empty())
            text += fmt::format("Warning: the changed TLS files of {} are not in use: {}.\n",
                                escaped(userOfTls(files)), failure);
    });
    return text;
}

/// Somebody has edited it, and has not said so to the gateway.
std::string changedConfig(const Object& status, const Times& times) {
    const Object::Ptr change = status.getObject("config_change");
    if (!change) return "";
    const std::string file = word(*change, "file"), failure = textOf(*change, "failure");
    const std::string what =
        failure.empty()
            ? fmt::format("{} was changed at {} and is not loaded", file, times.text(textOf(*change, "at")))
            : fmt::format("{} {}, and that is not loaded", file, escaped(failure));
    if (const std::string refused = firstError(*change); !refused.empty())
        return fmt::format("{}: a reload would fail, and perhaps a restart: {} (mailgate check).\n", what,
                           answers::plainLine(refused));
    if (const std::string keys = joinedTexts(*change, "restart"); !keys.empty())
        return fmt::format("{}: {} can only change with a restart.\n", what, escaped(keys));
    return fmt::format("{}: {}.\n", what,
                       !failure.empty()
                           ? "what is in force was read before, and a reload goes by what is there now"
                       : isSet(status, "last_reload_failed") ? "mailgate reload says whether it can be"
                                                             : "mailgate reload");
}

std::string fleetWarning(const Object& status) {
    const Object::Ptr fleet = status.getObject("fleet");
    if (!fleet || isSet(*fleet, "connected") || cell(*fleet, "failure") == "-") return "";
    return fmt::format(
        "The fleet's rules may be others by now, {} s old: {}. They go on as they are; access --here "
        "changes this gateway's own.\n",
        static_cast<std::int64_t>(fleet->optValue<double>("lag_seconds", 0)), word(*fleet, "failure"));
}

/// Where several gateways have one name clients return to another one.
std::string fleetTicketsWarning(const Object& status) {
    const Object::Ptr fleet = status.getObject("fleet");
    const Array::Ptr certificates = status.getArray("certificates");
    if (!fleet || !certificates || certificates->size() == 0) return "";
    const Object::Ptr tickets = fleet->getObject("tickets");
    if (!tickets)
        return "TLS sessions are resumed at this gateway alone, and not at others of the fleet: "
               "fleet.ticket_secret is not set.\n";
    const bool is_shared = isSet(*tickets, "shared"), has_failed = cell(*tickets, "failure") != "-";
    if (is_shared && !has_failed) return "";
    const std::string why = has_failed ? fmt::format(": {}", word(*tickets, "failure")) : "";
    return is_shared ? fmt::format("TLS sessions are resumed at all gateways of the fleet until {} only{}.\n",
                                   word(*tickets, "until"), why)
                     : fmt::format("TLS sessions are resumed at this gateway alone{}.\n", why);
}

std::string fleetJournalWarning(const Object& status) {
    const Object::Ptr fleet = status.getObject("fleet");
    const Object::Ptr journal = fleet ? fleet->getObject("journal") : nullptr;
    if (!journal) return "";
    std::string text;
    if (const Object::Ptr missing = journal->getObject("missing"))
        text = fmt::format(
            "{}{}, up to {}, are missing in the fleet's database: this gateway's journal had removed them "
            "before "
            "they got there.\n",
            isSet(*missing, "exact") ? "" : "Up to ", counted(numberOf(*missing, "records"), "record"),
            word(*missing, "to"));
    if (isSet(*journal, "connected") || cell(*journal, "failure") == "-") return text;
    return text + fmt::format("{} of this gateway's journal are not in the fleet's database yet: {}.\n",
                              counted(numberOf(*journal, "behind"), "record"), word(*journal, "failure"));
}

/// What an operator should not have to look for.
std::string warningsOf(const Object& status, const Config& config, const Times& times) {
    std::string text = monitoringOf(status);
    if (const auto lost = lostStore(status, config)) text += fmt::format("Warning: {}.\n", *lost);
    for (const std::string& warning : warningsOfRules(status, config))
        text += fmt::format("Warning: {}.\n", warning);
    for (const std::string& warning :
         sessionWarnings(numberOf(status, "configured_sessions"), numberOf(status, "max_sessions")))
        text += fmt::format("Warning: {}.\n", warning);
    text += expiringOf(status);
    if (isSet(status, "draining")) text += "The gateway is stopping.\n";
    if (isSet(status, "last_reload_failed"))
        text += "The last reload failed, and nothing changed: the log's config.failed says why.\n";
    text += changedConfig(status, times);
    text += refusedCertificates(status);
    if (failsToReadRules(status))
        text += "The access rules cannot be read: the ones read last stay in force.\n";
    text += fleetWarning(status);
    for (const std::string& trouble : standingTroubles(status.getObject("fleet"), times))
        text += fmt::format("Warning: {}.\n", trouble);
    text += fleetTicketsWarning(status);
    text += fleetJournalWarning(status);
    const Array::Ptr alarms = status.getArray("address_alarms");
    for (std::size_t i = 0; alarms && i < alarms->size(); ++i)
        text += fmt::format(
            "Most sessions of listener {} come from one private address: is it a balancer that sends no "
            "PROXY header, or one that the listener's trusted does not name?\n",
            escaped(alarms->getElement<std::string>(static_cast<unsigned>(i))));
    if (const auto trouble = journalTrouble(status, times))
        text += fmt::format("Warning: {}, and would be lost in a stop.\n", *trouble);
    const Object::Ptr journal = status.getObject("journal");
    if (journal && cell(*journal, "lost") != "0")
        text += fmt::format("The journal lost {}.\n", counted(numberOf(*journal, "lost"), "record"));
    if (const std::string failure = lineOf(status, "log_failure"); !failure.empty())
        text += fmt::format("Warning: since {} the log {}.\n", times.text(textOf(status, "log_failed_since")),
                            failure);
    if (cell(status, "log_lines_lost") != "0")
        text += fmt::format("The log lost {}.\n", counted(numberOf(status, "log_lines_lost"), "line"));
    return text.empty() ? text : "\n" + text;
}

/// "12 access rules, version 41"
std::string rulesOf(const Object& status) {
    const Object::Ptr rules = status.getObject("rules");
    if (!rules) return counted(0, "access rule");
    const Object::Ptr fleet = status.getObject("fleet");
    return fmt::format("{}, version {}{}", counted(numberOf(*rules, "count"), "access rule"),
                       word(*rules, "version"),
                       fleet ? fmt::format(" (of the fleet {})", word(*fleet, "rules_version")) : "");
}

/// "1.5 MiB"
std::string sizeText(std::uint64_t bytes) {
    constexpr std::string_view kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit)
        value /= 1024;
    return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

/// "journal: 12.3 MiB of 10.0 GiB, since 2026-11-01 ...", with its line's end; nothing without a journal.
std::string journalLine(const Object& status, const Times& times) {
    const Object::Ptr journal = status.getObject("journal");
    if (!journal || numberOf(*journal, "max_bytes") == 0) return "";
    const std::string oldest = textOf(*journal, "oldest");
    return fmt::format("journal: {} of {}{}{}\n", sizeText(numberOf(*journal, "bytes")),
                       sizeText(numberOf(*journal, "max_bytes")), oldest.empty() ? "" : ", since ",
                       oldest.empty() ? "" : times.text(oldest));
}

bool lacksServers(const Object& status) {
    bool lacks = false;
    forEachOf(status, "listeners",
              [&](const Object& listener) { lacks = lacks || !listener.optValue("available", true); });
    return lacks;
}

std::string asText(const Object& status, const Config& config, const ViewOptions& view) {
    const TableStyle style = view.style();
    const std::string head = fmt::format("mailgate {} {}, pid {}\nup since {}\n{} of {} sessions, {}\n{}",
                                         word(status, "version"), word(status, "name"), word(status, "pid"),
                                         Times(view.zone()).text(word(status, "started")),
                                         countCell(status, "live"), countCell(status, "max_sessions"),
                                         rulesOf(status), journalLine(status, Times(view.zone())));
    return fmt::format("{}\n{}\n{}{}", wrapped(head, style.width), listenerTable(status, style),
                       serverTable(status, style, view.times()),
                       wrapped(warningsOf(status, config, Times(view.zone())), style.width));
}

/// NRPE waits for ten seconds.
constexpr std::chrono::seconds kCheckPatience{8};

Config neededFleet(const Context& context) {
    Config config = neededConfig(context).config;
    if (config.fleet.url.empty())
        throw std::runtime_error(
            fmt::format("--fleet is for gateways of a fleet, and {} has no url in [fleet]", config.file));
    return config;
}

/// Asks it. Empty: it has answered.
std::string whyUnanswered(answers::FleetView& view, const Config& config) {
    // With all of its answers, less than kCheckPatience.
    constexpr store::FleetStore::Patience kDatabase{.connect = std::chrono::milliseconds(2'000),
                                                    .answer = std::chrono::milliseconds(1'000)};
    try {
        answers::askFleet(view, config, kDatabase);
        return "";
    } catch (const store::StoreError& error) {
        return error.what();
    }
}

constexpr std::chrono::milliseconds kFilePatience{1'000};

CheckResult checkTheFleet(const Context& context, const FleetLimits& limits) {
    const Config config = neededFleet(context);
    answers::FleetView view = answers::fleetViewHere(config, kFilePatience);
    const std::string unanswered = whyUnanswered(view, config);
    return checkFleet(view, unanswered, limits);
}

void printFleet(Context& context, bool json, const ViewOptions& options) {
    const Config config = neededFleet(context);
    answers::FleetView view = answers::fleetViewHere(config, kFilePatience);
    const FleetStanding standing{whyUnanswered(view, config), runningGateway(config).status};
    if (!answers::isWell(view)) context.exit_code = kRefusedOrNotFound;
    if (json)
        printDocument(fleetAsJson(view, standing));
    else
        print(fleetText(view, standing, options), options);
}

/// One line whatever happens, and the exit code that goes with it.
void printCheck(Context& context, const std::function<CheckResult()>& check) {
    CheckResult result;
    try {
        result = check();
    } catch (const admin::ClientError& error) {
        // That this user may not ask tells nothing of the gateway.
        const bool permitted = error.kind() != admin::ClientError::Kind::NotPermitted;
        result = checkFailed(permitted ? CheckState::Critical : CheckState::Unknown, error.what());
    } catch (const std::exception& error) {
        result = checkFailed(CheckState::Unknown, error.what());
    }
    fmt::print("{}\n", result.line);
    context.exit_code = static_cast<int>(result.state);
}

CheckResult checkGateway(const Context& context, const CheckLimits& limits) {
    return checkStatus(*askedGateway(context).status(kCheckPatience), limits);
}

/// Where the configuration is why nothing more is known, the exit code is that of it.
Object::Ptr statusOf(AskedGateway& gateway) {
    try {
        return gateway.status();
    } catch (const admin::ClientError& error) {
        if (gateway.errors.empty()) throw;
        throw ConfigError(fmt::format("mailgate: {}", error.what()));
    }
}

void printStatus(Context& context, bool json, const ViewOptions& view) {
    AskedGateway gateway = askedGateway(context);
    const Object::Ptr status = statusOf(gateway);
    if (!gateway.errors.empty()) fmt::print(stderr, "{}\n", gateway.errors);
    if (lacksServers(*status)) context.exit_code = kRefusedOrNotFound;
    if (!json) {
        print(asText(*status, gateway.config, view), view);
        return;
    }
    printDocument(*status);
}

std::string limitText(const std::optional<unsigned>& limit) {
    return limit ? fmt::to_string(*limit) : "";
}

constexpr bool kFalls = true;

/// Which must last. `falls`: what is measured gets worse the lower it is.
CLI::Option* addThreshold(CLI::App& command, CLI::Option& check, const std::string& name,
                          Threshold& threshold, const std::string& what, bool falls = false) {
    const auto read = [name, &threshold, falls](const std::string& text) {
        const auto parsed = parseThreshold(text);
        if (!parsed)
            throw CLI::ValidationError(
                fmt::format("{}: expected WARNING or WARNING,CRITICAL, found \"{}\"", name, printable(text)));
        const bool both = parsed->warning && parsed->critical;
        if (both && (falls ? *parsed->critical > *parsed->warning : *parsed->critical < *parsed->warning))
            throw CLI::ValidationError(
                fmt::format("{}: {} would be CRITICAL before it is a WARNING", name, printable(text)));
        threshold = *parsed;
    };
    return command
        .add_option_function<std::string>(
            name, read,
            fmt::format("With --check: {} (default: {}{}{})", what, limitText(threshold.warning),
                        threshold.critical ? "," : "", limitText(threshold.critical)))
        ->type_name("WARN,CRIT")
        ->needs(&check);
}

}  // namespace

void addStatusCommand(CLI::App& root, Context& context) {
    CLI::App* command =
        root.add_subcommand("status", "Print the state of the running gateway: listeners, servers, sessions");
    const auto json = std::make_shared<bool>(false);
    command->add_flag("--json", *json, "Print JSON");
    const auto view = std::make_shared<ViewOptions>();
    addViewOptions(*command, *view, Prints::Tables);
    const auto fleet = std::make_shared<bool>(false);
    CLI::Option* of_fleet = command->add_flag(
        "--fleet", *fleet, "Of all gateways of the fleet, as its database and this gateway know them");
    const auto check = std::make_shared<bool>(false);
    const auto limits = std::make_shared<CheckLimits>();
    CLI::Option* checks = command
                              ->add_flag("--check", *check,
                                         "Print one line for a monitoring system (Nagios): exit status 0 "
                                         "OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN")
                              ->excludes("--json");
    for (CLI::Option* option :
         {addThreshold(*command, *checks, "--sessions", limits->sessions, "percent of max_sessions"),
          addThreshold(*command, *checks, "--journal", limits->journal, "percent of journal.max_size"),
          addThreshold(*command, *checks, "--certificates", limits->certificates,
                       "days that certificates have left", kFalls)})
        option->excludes(of_fleet);
    command
        ->add_option_function<std::string>(
            "--drained",
            [limits](const std::string& text) {
                limits->drained =
                    text == "never" ? std::nullopt : std::optional(spanArgument("--drained", text));
            },
            fmt::format(
                "With --check: how long a server may be drained, or never for no warning (default: {})",
                formatDuration(std::chrono::seconds(*limits->drained))))
        ->needs(checks)
        ->excludes(of_fleet);
    addThreshold(*command, *checks, "--journal-lag", limits->journal_lag,
                 "seconds since all of a journal was in the fleet's database");
    const auto fleet_limits = std::make_shared<FleetLimits>();
    for (CLI::Option* option :
         {addThreshold(*command, *checks, "--silent", fleet_limits->silent,
                       "seconds since a gateway was heard of"),
          addThreshold(*command, *checks, "--lag", fleet_limits->lag,
                       "seconds for which a gateway has not applied a change of the rules")})
        option->needs(of_fleet);
    command->callback([&context, json, view, fleet, check, limits, fleet_limits] {
        fleet_limits->journal_lag = limits->journal_lag;
        if (*check && *fleet)
            printCheck(context, [&] { return checkTheFleet(context, *fleet_limits); });
        else if (*check)
            printCheck(context, [&] { return checkGateway(context, *limits); });
        else if (*fleet)
            printFleet(context, *json, *view);
        else
            printStatus(context, *json, *view);
    });
}

}  // namespace mailgate::cli
