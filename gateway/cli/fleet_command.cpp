// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/fleet.h"
#include "gateway/base/clock.h"
#include "gateway/cli/acting_user.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/screen.h"
#include "gateway/cli/table.h"
#include "gateway/log/escape.h"
#include "protocols/values/text.h"
#include "store/backends/fleet.h"
#include "store/fleet/join.h"
#include "store/fleet/push.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::cli {

namespace {

using answers::changesAhead;
using answers::changesBehind;
using answers::FleetView;
using answers::isSilent;
using store::JoinPlan;
using store::Member;

constexpr std::size_t kMostLines = 100;  ///< of rules that are shown before a gateway joins

Config fleetConfig(const Context& context) {
    Config config = chosenConfig(context);
    if (config.fleet.url.empty())
        throw std::runtime_error(
            fmt::format("{} names no fleet: set url in [fleet], such as "
                        "\"postgresql://mailgate@db.example.net/mailgate\"",
                        config.file));
    return config;
}

std::unique_ptr<store::Replica> replicaOf(const Config& config) {
    return store::openReplica(config.store_url, {});
}

// ---- migrate

void migrateFleet(const Context& context, const std::string& url, const std::string& grant) {
    const std::string chosen = url.empty() ? fleetConfig(context).fleet.url : url;
    const auto done = store::openFleet(chosen)->migrate(grant);
    const std::string shown = store::describeFleetUrl(chosen).shown;
    if (done.from == done.to)
        fmt::print("{} has schema {} already\n", shown, done.to);
    else if (done.from == 0)
        fmt::print("{}: made schema {}\n", shown, done.to);
    else
        fmt::print("{}: schema {} is now {}\n", shown, done.from, done.to);
    if (!grant.empty()) fmt::print("{} may do what gateways need\n", printable(grant));
}

// ---- status

std::string stateOf(const FleetView& view, const Member& member) {
    std::string state = isSilent(member) ? fmt::format("silent for {} s", member.silent_secs) : "up";
    if (changesAhead(view, member.position) > 0) state += ", with a version that the database does not have";
    if (const auto changes = changesBehind(view, member.position); changes > 0)
        state += fmt::format(", {} behind", counted(static_cast<std::size_t>(changes), "change"));
    return state;
}

std::string missedText(const FleetView& view) {
    std::string text;
    for (const Member& member : view.members)
        if (member.missed.records > 0)
            text += fmt::format(
                "{} {} missing among the fleet's: its own journal had removed them before they got there\n",
                store::missedText(member.missed, printable(member.name)),
                member.missed.records == 1 ? "is" : "are");
    return text;
}

std::string hereText(const FleetView& view) {
    if (!view.failure.empty()) return fmt::format("{}: {}\n", view.self, view.failure);
    std::string text;
    if (view.differences->added > 0)
        text += fmt::format("{} of {} {} its own, which no other gateway has: mailgate fleet push\n",
                            counted(view.differences->added, "rule"), view.self,
                            view.differences->added == 1 ? "is" : "are");
    if (view.differences->changed > 0)
        text += fmt::format(
            "{} of the fleet's {} changed on {} alone, with the sqlite3 shell or before, or cannot be read "
            "there: "
            "mailgate fleet push\n",
            counted(view.differences->changed, "rule"), view.differences->changed == 1 ? "was" : "were",
            view.self);
    return text;
}

void printAsText(const FleetView& view, const ViewOptions& options) {
    const Times times = options.times();
    Table table({{.name = "gateway", .title = "GATEWAY", .least = 16},
                 {.name = "version", .title = "VERSION", .leaves = 2},
                 {.name = "started", .title = times.title("STARTED"), .leaves = 3},
                 {.name = "seen", .title = times.title("LAST SEEN"), .leaves = 1},
                 {.name = "rules-version", .title = "RULES VERSION"},
                 {.name = "state", .title = "STATE"}},
                options.style());
    for (const Member& member : view.members) {
        const bool bad = isSilent(member) || changesAhead(view, member.position) > 0,
                   late = changesBehind(view, member.position) > 0;
        table.add({member.name, member.release, times.text(member.started * 1'000),
                   times.text(member.seen * 1'000), fmt::to_string(member.position),
                   Cell(stateOf(view, member), bad    ? Colour::Bad
                                               : late ? Colour::Warning
                                                      : Colour::Good)});
    }
    const std::string further = hereText(view) + missedText(view);
    print(fmt::format("fleet: {}, {}, rules version {}\n\n{}{}{}", view.shown,
                      counted(view.members.size(), "gateway"), view.fleet.version, table.text(),
                      further.empty() ? "" : "\n", further),
          options);
}

void printFleetStatus(Context& context, bool json, const ViewOptions& options) {
    const Config config = fleetConfig(context);
    FleetView view = answers::fleetViewHere(config);
    answers::askFleet(view, config);
    if (json)
        printDocument(answers::fleetAsJson(view));
    else
        printAsText(view, options);
    if ((view.here && !view.failure.empty()) || (view.differences && view.differences->changed > 0) ||
        std::any_of(view.members.begin(), view.members.end(), [&](const Member& member) {
            return isSilent(member) || changesAhead(view, member.position) > 0;
        }))
        context.exit_code = kRefusedOrNotFound;
}

// ---- join, leave

template <typename Items, typename Line>
void printLines(std::string_view what, const Items& items, const Line& line) {
    for (std::size_t at = 0; at < std::min(items.size(), kMostLines); ++at)
        fmt::print("{}: {}\n", what, printable(line(items[at]), std::string::npos));
    if (items.size() > kMostLines) fmt::print("{}: and {} more\n", what, items.size() - kMostLines);
}

std::string conflictText(const JoinPlan::Conflict& conflict) {
    return fmt::format("here \"{}\", in the fleet \"{}\"", lineOf(conflict.here), lineOf(conflict.fleet));
}

std::string setText(const store::SharedSet& set) {
    return fmt::format("{} with note \"{}\"{}", set.name, set.note,
                       set.expires_after ? fmt::format(" and expiry after {} s", *set.expires_after) : "");
}

void printPlan(const JoinPlan& plan) {
    const auto rule = [](const store::SharedRule& one) { return lineOf(one); };
    printLines("to the fleet", plan.uploads, rule);
    printLines("to the fleet: set", plan.set_uploads, setText);
    printLines("to the fleet, whose own has expired", plan.renewed,
               [](const JoinPlan::Conflict& pair) { return lineOf(pair.here); });
    printLines("from the fleet", plan.downloads, rule);
    printLines("from the fleet, as the one here has expired", plan.outlived,
               [](const JoinPlan::Conflict& pair) { return lineOf(pair.fleet); });
    printLines("from the fleet: set", plan.set_downloads, setText);
    printLines("conflict", plan.conflicts, conflictText);
    printLines("conflict: set", plan.set_conflicts, [](const JoinPlan::SetConflict& conflict) {
        return fmt::format("here {}, in the fleet {}", setText(conflict.here), setText(conflict.fleet));
    });
}

std::string summaryOf(const JoinPlan& plan) {
    return fmt::format("{} to the fleet, {} from it, {} on both sides, {}",
                       counted(plan.uploads.size() + plan.renewed.size(), "rule"),
                       plan.downloads.size() + plan.outlived.size(), plan.same.size(),
                       counted(plan.conflicts.size() + plan.set_conflicts.size(), "conflict"));
}

store::JoinRequest requestOf(const Config& config, const std::string& prefer, bool preview) {
    store::JoinRequest request{.gateway = config.name, .who = actingUser(), .now = unixMillis() / 1'000};
    request.preview = preview;
    if (prefer == "here") request.prefer = store::Prefer::Here;
    if (prefer == "fleet") request.prefer = store::Prefer::Fleet;
    return request;
}

void joinTheFleet(Context& context, const std::string& prefer, bool preview) {
    const Config config = fleetConfig(context);
    const auto fleet = store::openFleet(config.fleet.url);
    const auto rules = replicaOf(config);
    const auto outcome = store::joinFleet(*rules, *fleet, requestOf(config, prefer, preview));
    if (preview || !outcome.joined) printPlan(outcome.plan);
    if (outcome.joined) {
        fleet->release(config.name);
        fmt::print("{} has joined the fleet: {}\n", config.name, summaryOf(outcome.plan));
        return;
    }
    fmt::print("{}{}\n", preview ? "would be: " : "", summaryOf(outcome.plan));
    if (preview) return;
    context.exit_code = kRefusedOrNotFound;
    fmt::print(
        stderr,
        "mailgate: nothing was changed: --prefer fleet takes the fleet's rules where there is a conflict, "
        "--prefer here this gateway's\n");
}

void pushRules(Context& context, const std::string& prefer, bool preview) {
    const Config config = fleetConfig(context);
    const auto fleet = store::openFleet(config.fleet.url);
    const auto rules = replicaOf(config);
    const auto outcome = store::pushToFleet(*rules, *fleet, requestOf(config, prefer, preview));
    const store::PushPlan& plan = outcome.plan;
    const auto rule = [](const store::SharedRule& one) { return lineOf(one); };
    printLines("to the fleet", plan.uploads, rule);
    printLines("to the fleet, whose own has expired", plan.renewed,
               [](const store::PushPlan::Conflict& pair) { return lineOf(*pair.here); });
    printLines("in the fleet already", plan.same, rule);
    printLines("conflict", plan.conflicts, [](const store::PushPlan::Conflict& conflict) {
        return fmt::format(
            "{}, in the fleet \"{}\"",
            conflict.here ? fmt::format("here \"{}\"", lineOf(*conflict.here)) : "removed here",
            lineOf(conflict.fleet));
    });
    fmt::print("{}{} to the fleet, {}\n", preview ? "would be: " : "",
               counted(plan.uploads.size() + plan.renewed.size(), "rule"),
               counted(plan.conflicts.size(), "conflict"));
    if (preview || outcome.pushed) return;
    context.exit_code = kRefusedOrNotFound;
    fmt::print(
        stderr,
        "mailgate: nothing was changed: --prefer here gives the fleet this gateway's rules where there is a "
        "conflict, --prefer fleet takes the fleet's\n");
}

void forgetGateway(Context& context, const std::string& name) {
    const Config config = fleetConfig(context);
    const auto fleet = store::openFleet(config.fleet.url);
    const auto members = fleet->members();
    const auto found = std::find_if(members.begin(), members.end(),
                                    [&](const Member& member) { return member.name == name; });
    if (found == members.end()) {
        fmt::print(stderr, "mailgate: the fleet has no gateway {}\n", printable(name));
        context.exit_code = kRefusedOrNotFound;
        return;
    }
    if (!isSilent(*found)) {
        fmt::print(
            stderr,
            "mailgate: {} was heard of {} s ago: mailgate fleet leave there takes it out of the fleet\n",
            printable(name), found->silent_secs);
        context.exit_code = kRefusedOrNotFound;
        return;
    }
    fleet->forget(name);
    fmt::print("the fleet has no gateway {} any more\n", printable(name));
}

void leaveTheFleet(Context& context) {
    const Config config = fleetConfig(context);
    const auto rules = replicaOf(config);
    if (!rules->membership()) {
        fmt::print(stderr, "mailgate: {} has not joined a fleet\n", config.name);
        context.exit_code = kRefusedOrNotFound;
        return;
    }
    rules->leave();
    fmt::print("{} has left the fleet, with the rules that it had: now remove url from [fleet]\n",
               config.name);
    try {
        store::openFleet(config.fleet.url)->forget(config.name);
    } catch (const store::StoreError& error) {
        fmt::print(stderr, "warning: the fleet still lists it: {}\n", error.what());
    }
}

}  // namespace

void addFleetCommand(CLI::App& root, Context& context) {
    CLI::App* fleet =
        root.add_subcommand("fleet", "Manage the fleet: gateways that share their rules in PostgreSQL");
    fleet->require_subcommand(1);

    CLI::App* status =
        fleet->add_subcommand("status",
                              "Print the fleet's gateways; exit status 0: all are well, 1: "
                              "one is silent, this one has other rules, or the database is silent");
    const auto json = std::make_shared<bool>(false);
    status->add_flag("--json", *json, "Print JSON");
    const auto view = std::make_shared<ViewOptions>();
    addViewOptions(*status, *view, Prints::OneTable);
    status->callback([&context, json, view] { printFleetStatus(context, *json, *view); });

    CLI::App* join = fleet->add_subcommand("join", "Bring this gateway's rules and the fleet's together");
    const auto preview = std::make_shared<bool>(false);
    const auto prefer = std::make_shared<std::string>();
    join->add_flag("--dry-run", *preview, "Change nothing: print which rules would go where, and conflicts");
    join->add_option("--prefer", *prefer, "Whose rules count where there is a conflict: fleet or here")
        ->check(oneOf({"fleet", "here"}));
    join->callback([&context, preview, prefer] { joinTheFleet(context, *prefer, *preview); });

    CLI::App* leave =
        fleet->add_subcommand("leave", "Have this gateway keep its rules for itself from now on");
    leave->callback([&context] { leaveTheFleet(context); });

    CLI::App* push = fleet->add_subcommand(
        "push",
        "Give the fleet the rules that this gateway alone has: made with --here, or the sqlite3 shell");
    const auto push_preview = std::make_shared<bool>(false);
    const auto push_prefer = std::make_shared<std::string>();
    push->add_flag("--dry-run", *push_preview,
                   "Change nothing: print what would go to the fleet, and conflicts");
    push->add_option("--prefer", *push_prefer, "Whose rules count where there is a conflict: fleet or here")
        ->check(oneOf({"fleet", "here"}));
    push->callback(
        [&context, push_preview, push_prefer] { pushRules(context, *push_prefer, *push_preview); });

    CLI::App* forget =
        fleet->add_subcommand("forget", "Take a gateway that is gone for good off the fleet's list");
    const auto gone = std::make_shared<std::string>();
    forget->add_option("GATEWAY", *gone, "The gateway's name")->required();
    forget->callback([&context, gone] { forgetGateway(context, *gone); });

    CLI::App* migrate =
        fleet->add_subcommand("migrate", "Make the tables in the fleet's database, or upgrade them");
    const auto url = std::make_shared<std::string>();
    const auto grant = std::make_shared<std::string>();
    migrate->add_option("--url", *url,
                        "The database, with the role that owns the tables (default: fleet.url)");
    migrate->add_option("--grant", *grant, "Give this role what gateways need");
    migrate->callback([&context, url, grant] { migrateFleet(context, *url, *grant); });
}

}  // namespace mailgate::cli
