// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/acting_user.h"
#include "gateway/answers/fleet.h"
#include "gateway/base/clock.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/fleet_text.h"
#include "gateway/cli/interrupts.h"
#include "gateway/cli/progress.h"
#include "gateway/cli/running_gateway.h"
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
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::cli {

namespace {

using answers::FleetView;
using answers::isSilent;
using Poco::JSON::Object;
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

/// What `work` does with the rules here, as a part of a fleet; that may be very many.
template <typename Work>
auto withReplica(std::string what, const Config& config, const Work& work) {
    Progress progress("opening the rules");
    const auto rules = store::openReplica(
        config.store_url, {.upgrade = {.begins = [&] { progress.begin("upgrading the rules", 0); },
                                       .commits = Interrupts::hold,
                                       .done = [] { Interrupts::release(kInterruptedUpgraded); }}});
    progress.begin(std::move(what), 0);
    return work(*rules);
}

// ---- migrate

void migrateFleet(const Context& context, const std::string& url, const std::string& grant) {
    const std::string chosen = url.empty() ? fleetConfig(context).fleet.url : url;
    const auto done =
        withProgress("upgrading the tables", [&] { return store::openFleet(chosen)->migrate(grant); });
    const std::string shown = store::describeFleetUrl(chosen).shown;
    if (done.from == done.to)
        fmt::print("{} has schema {} already\n", shown, done.to);
    else if (done.from == 0)
        fmt::print("{}: made schema {}\n", shown, done.to);
    else
        fmt::print("{}: schema {} is now {}\n", shown, done.from, done.to);
    if (!grant.empty()) fmt::print("{} may do what gateways need\n", printable(grant));
}

// ---- copy

void copyTheFleet(const Context& context, const std::string& to) {
    const Config config = fleetConfig(context);
    const Interrupts interrupts(kInterrupted);
    const auto copied = withProgress(
        "copying the rules", [&] { return store::copyFleet(config.fleet.url, to, Interrupts::hold); });
    Interrupts::release("interrupted when the rules had been copied");
    fmt::print(
        "{} has version {} of the rules now: {}, {}; the gateways go on with {} until their fleet.url is "
        "changed\n",
        store::describeFleetUrl(to).shown, copied.version, counted(copied.rules, "rule"),
        counted(copied.changes, "new line") + " of the log of changes",
        store::describeFleetUrl(config.fleet.url).shown);
    if (copied.keeps_drains)
        fmt::print(
            stderr,
            "warning: which servers are drained at all gateways was changed there since the copy before, and "
            "stays as it is there\n");
}

// ---- status

void printFleetStatus(Context& context, bool json, const ViewOptions& options) {
    const Config config = fleetConfig(context);
    FleetView view = answers::fleetViewHere(config);
    answers::askFleet(view, config);
    const std::int64_t ahead = unixMillis() / 1'000 - view.fleet.now;
    if (json)
        printDocument(answers::fleetAsJson(view));
    else
        print(fleetText(view, options), options);
    if (!answers::isWell(view)) context.exit_code = kRefusedOrNotFound;
    const Object::Ptr gateway = runningGateway(config).status;
    for (const auto& trouble :
         {clockTrouble(ahead), nameTrouble(gateway ? gateway->getObject("fleet") : nullptr, options.times())})
        if (trouble) fmt::print(stderr, "warning: {}\n", *trouble);
}

// ---- join, leave

template <typename Items, typename Line>
void printLines(std::string_view what, const Items& items, const Line& line) {
    for (std::size_t at = 0; at < std::min(items.size(), kMostLines); ++at)
        fmt::print("{}: {}\n", what, printable(line(items[at]), std::string::npos));
    if (items.size() > kMostLines) fmt::print("{}: and {} more\n", what, grouped(items.size() - kMostLines));
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

/// `settled`: what is preferred was put in force.
std::string conflictsText(std::size_t conflicts, bool settled, store::Prefer prefer) {
    std::string count = counted(conflicts, "conflict");
    if (conflicts == 0 || !settled) return count;
    return fmt::format("{} settled by {} word", count,
                       prefer == store::Prefer::Here ? "this gateway's" : "the fleet's");
}

std::string summaryOf(const JoinPlan& plan, bool settled, store::Prefer prefer) {
    return fmt::format("{} to the fleet, {} from it, {} on both sides, {}",
                       counted(plan.uploads.size() + plan.renewed.size(), "rule"),
                       plan.downloads.size() + plan.outlived.size(), plan.same.size(),
                       conflictsText(plan.conflicts.size() + plan.set_conflicts.size(), settled, prefer));
}

store::JoinRequest requestOf(const Config& config, const std::string& prefer, bool preview) {
    store::JoinRequest request{
        .gateway = config.name, .who = admin::actingUser(), .now = unixMillis() / 1'000};
    request.preview = preview;
    request.commits = Interrupts::hold;
    if (prefer == "here") request.prefer = store::Prefer::Here;
    if (prefer == "fleet") request.prefer = store::Prefer::Fleet;
    return request;
}

void printJoin(const store::JoinOutcome& outcome, const store::JoinRequest& request) {
    if (outcome.joined) {
        fmt::print("{} has joined the fleet: {}\n", request.gateway,
                   summaryOf(outcome.plan, true, request.prefer));
        return;
    }
    printPlan(outcome.plan);
    fmt::print("{}{}\n", request.preview ? "would be: " : "", summaryOf(outcome.plan, false, request.prefer));
}

void joinTheFleet(Context& context, const std::string& prefer, bool preview, bool json) {
    const Config config = fleetConfig(context);
    const auto fleet = store::openFleet(config.fleet.url);
    const store::JoinRequest request = requestOf(config, prefer, preview);
    const Interrupts interrupts(kInterrupted);
    const auto outcome = withReplica("joining the fleet", config, [&](store::Replica& rules) {
        store::requireOnlyGateway(config.store_url, config.fleet.url, config.name);
        return store::joinFleet(rules, *fleet, request);
    });
    if (outcome.joined) {
        fleet->release(config.name);
        Interrupts::release("interrupted when the gateway had joined the fleet");
    }
    if (json)
        printDocument(answers::joinAsJson(outcome, request));
    else
        printJoin(outcome, request);
    if (preview || outcome.joined) return;
    context.exit_code = kRefusedOrNotFound;
    fmt::print(
        stderr,
        "mailgate: nothing was changed: --prefer fleet takes the fleet's rules where there is a conflict, "
        "--prefer here this gateway's\n");
}

void printPush(const store::PushOutcome& outcome, const store::JoinRequest& request) {
    const store::PushPlan& plan = outcome.plan;
    const auto rule = [](const store::SharedRule& one) { return lineOf(one); };
    printLines("the fleet was first", outcome.overruled, [](const store::PushOutcome::Overruled& one) {
        const auto text = [](const std::optional<store::SharedRule>& side) {
            return side ? fmt::format("\"{}\"", lineOf(*side)) : "nothing";
        };
        return fmt::format("here was {}, in the fleet is {} now", text(one.here), text(one.fleet));
    });
    printLines("to the fleet", plan.uploads, rule);
    printLines("to the fleet, whose own has expired", plan.renewed,
               [](const store::PushPlan::Conflict& pair) { return lineOf(*pair.here); });
    printLines("in the fleet already", plan.same, rule);
    printLines("conflict", plan.conflicts, [](const store::PushPlan::Conflict& conflict) {
        return fmt::format("{}, in the fleet \"{}\"",
                           conflict.here ? fmt::format("here \"{}\"", lineOf(*conflict.here)) : "not here",
                           lineOf(conflict.fleet));
    });
    fmt::print("{}{} to the fleet, {}\n", request.preview ? "would be: " : "",
               counted(plan.uploads.size() + plan.renewed.size(), "rule"),
               conflictsText(plan.conflicts.size(), outcome.pushed, request.prefer));
}

void pushRules(Context& context, const std::string& prefer, bool preview, bool json) {
    const Config config = fleetConfig(context);
    const auto fleet = store::openFleet(config.fleet.url);
    const store::JoinRequest request = requestOf(config, prefer, preview);
    const Interrupts interrupts(kInterrupted);
    const auto outcome = withReplica("giving the fleet rules", config, [&](store::Replica& rules) {
        return store::pushToFleet(rules, *fleet, request);
    });
    if (outcome.pushed) Interrupts::release("interrupted when the fleet had the rules");
    if (json)
        printDocument(answers::pushAsJson(outcome, request));
    else
        printPush(outcome, request);
    if (preview || outcome.pushed) return;
    context.exit_code = kRefusedOrNotFound;
    fmt::print(
        stderr,
        "mailgate: nothing was changed: --prefer here gives the fleet this gateway's rules where there is a "
        "conflict, --prefer fleet takes the fleet's\n");
}

// ---- verify

template <typename Difference, typename Text>
std::string differenceText(const Difference& difference, const Text& text) {
    if (!difference.fleet) return fmt::format("here alone: {}", text(*difference.here));
    if (!difference.here) return fmt::format("in the fleet alone: {}", text(*difference.fleet));
    return fmt::format("here \"{}\", in the fleet \"{}\"", text(*difference.here), text(*difference.fleet));
}

void printComparison(const store::Comparison& comparison, const std::string& gateway) {
    printLines("difference", comparison.rules, [](const auto& one) {
        return differenceText(one, [](const store::SharedRule& rule) {
            return fmt::format("rule {}: {}", rule.id, lineOf(rule));
        });
    });
    printLines("difference: set", comparison.sets,
               [](const auto& one) { return differenceText(one, setText); });
    fmt::print("{}, with version {} of the rules: {} as the fleet has {}, {}, {} of its own\n", gateway,
               comparison.version, counted(comparison.same, "rule"), comparison.same == 1 ? "it" : "them",
               counted(comparison.rules.size() + comparison.sets.size(), "difference"), comparison.own);
}

void verifyFleet(Context& context, bool json) {
    const Config config = fleetConfig(context);
    const auto fleet = store::openFleet(config.fleet.url);
    const auto comparison = withReplica("comparing the rules", config, [&](store::Replica& rules) {
        return store::verifyRules(rules, *fleet, unixMillis() / 1'000);
    });
    if (json)
        printDocument(answers::verifiedAsJson(comparison, config.name));
    else
        printComparison(comparison, config.name);
    if (comparison.agrees()) return;
    context.exit_code = kRefusedOrNotFound;
    fmt::print(stderr,
               "mailgate: {} does not have the fleet's rules: mailgate fleet join --prefer fleet takes them, "
               "--prefer here gives the fleet this gateway's (--dry-run shows both)\n",
               config.name);
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
    const bool has_left = withReplica("leaving the fleet", config, [](store::Replica& rules) {
        if (!rules.membership()) return false;
        rules.leave();
        return true;
    });
    if (!has_left) {
        fmt::print(stderr, "mailgate: {} has not joined a fleet\n", config.name);
        context.exit_code = kRefusedOrNotFound;
        return;
    }
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
                              "one is silent or its journal does not come, this one has not joined or "
                              "has other rules, or the database is silent");
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
    const auto join_json = std::make_shared<bool>(false);
    join->add_flag("--json", *join_json, "Print JSON");
    join->callback(
        [&context, preview, prefer, join_json] { joinTheFleet(context, *prefer, *preview, *join_json); });

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
    const auto push_json = std::make_shared<bool>(false);
    push->add_flag("--json", *push_json, "Print JSON");
    push->callback([&context, push_preview, push_prefer, push_json] {
        pushRules(context, *push_prefer, *push_preview, *push_json);
    });

    CLI::App* verify = fleet->add_subcommand(
        "verify",
        "Compare this gateway's rules with the database's, one by one; exit status 0: they agree, 1: they "
        "do not");
    const auto verify_json = std::make_shared<bool>(false);
    verify->add_flag("--json", *verify_json, "Print JSON");
    verify->callback([&context, verify_json] { verifyFleet(context, *verify_json); });

    CLI::App* forget =
        fleet->add_subcommand("forget", "Take a gateway that is gone for good off the fleet's list");
    const auto gone = std::make_shared<std::string>();
    forget->add_option("GATEWAY", *gone, "The gateway's name")->required();
    forget->callback([&context, gone] { forgetGateway(context, *gone); });

    CLI::App* copy = fleet->add_subcommand(
        "copy", "Copy the fleet's rules and their log of changes to another database, to move there");
    const auto copy_to = std::make_shared<std::string>();
    copy->add_option("URL", *copy_to,
                     "The other database, which has the tables, and no rules yet or an earlier copy")
        ->required();
    copy->callback([&context, copy_to] { copyTheFleet(context, *copy_to); });

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
