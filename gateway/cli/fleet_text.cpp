// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/fleet_text.h"

#include "gateway/cli/json_fields.h"
#include "gateway/cli/table.h"
#include "gateway/log/escape.h"
#include "protocols/values/text.h"

#include <Poco/Dynamic/Var.h>
#include <fmt/format.h>

#include <cstddef>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::cli {

using answers::changesAhead;
using answers::changesBehind;
using answers::FleetView;
using answers::isSilent;
using Poco::Dynamic::Var;
using Poco::JSON::Object;
using store::Member;

namespace {

std::string stateText(const FleetView& view, const Member& member) {
    std::string state = isSilent(member) ? fmt::format("silent for {} s", member.silent_secs) : "up";
    if (member.damaged) state += ", a row in the database that no gateway writes";
    if (changesAhead(view, member.position) > 0) state += ", with a version that the database does not have";
    if (const auto changes = changesBehind(view, member.position); changes > 0)
        state += fmt::format(", {} behind{}", counted(static_cast<std::size_t>(changes), "change"),
                             member.behind_secs > 0 ? fmt::format(" for {} s", member.behind_secs) : "");
    if (answers::isJournalLate(member))
        state += fmt::format(", its journal has not come for {} s", *member.journal_secs);
    return state;
}

std::string hereText(const FleetView& view) {
    if (!view.failure.empty()) return fmt::format("{}: {}\n", view.self, view.failure);
    std::string text;
    if (!view.differences) return text;
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

/// What of the gateways' journals the fleet's does not have.
std::string missingText(const FleetView& view) {
    std::string text;
    for (const Member& member : view.members)
        if (member.missed.records > 0)
            text += fmt::format(
                "{} {} missing among the fleet's: its own journal had removed them before they got there\n",
                store::missedText(member.missed, printable(member.name)),
                member.missed.records == 1 ? "is" : "are");
    return text;
}

std::string drainText(const FleetView& view, const Times& times) {
    std::string text;
    for (const store::FleetDrain& drain : view.drains)
        text += fmt::format(
            "{}/{} is drained at all gateways since {} by {}: mailgate server ready --everywhere\n",
            printable(drain.upstream), printable(drain.server), times.text(drain.since * 1'000),
            printable(drain.by));
    return text;
}

/// `gateway`: whose sessions are known; null: nobody's are printed.
std::string memberTable(const FleetView& view, const Object* gateway, const ViewOptions& options) {
    const Times times = options.times();
    std::vector<Column> columns{{.name = "gateway", .title = "GATEWAY", .least = 16},
                                {.name = "version", .title = "VERSION", .leaves = 2},
                                {.name = "started", .title = times.title("STARTED"), .leaves = 3},
                                {.name = "seen", .title = times.title("LAST SEEN"), .leaves = 1},
                                {.name = "rules-version", .title = "RULES VERSION"},
                                {.name = "state", .title = "STATE"}};
    if (gateway) columns.insert(columns.begin() + 4, {.name = "sessions", .title = "SESSIONS", .leaves = 4});
    Table table(std::move(columns), options.style());
    for (const Member& member : view.members) {
        const std::string_view state = answers::stateOf(view, member);
        const bool bad = state == "silent" || state == "ahead" || state == "damaged";
        const auto time = [&](std::int64_t secs) { return secs == 0 ? "-" : times.text(secs * 1'000); };
        Table::Row row{member.name,
                       member.release,
                       time(member.started),
                       time(member.seen),
                       fmt::to_string(member.position),
                       Cell(stateText(view, member), bad ? Colour::Bad
                                                     : state == "behind" || answers::isJournalLate(member)
                                                         ? Colour::Warning
                                                         : Colour::Good)};
        if (gateway)
            row.insert(row.begin() + 4, member.name == view.self ? grouped(numberOf(*gateway, "live")) : "-");
        table.add(std::move(row));
    }
    return table.text();
}

std::string headOf(const FleetView& view, const Times& times) {
    return fmt::format(
        "fleet: {}, {}{}, rules version {}{}\n", view.shown, view.more_members ? "more than " : "",
        counted(view.members.size(), "gateway"), view.fleet.version,
        view.oldest ? fmt::format(", changes since {}", times.text(view.oldest->at * 1'000)) : "");
}

/// What follows a table.
std::string behind(const std::string& text) {
    return text.empty() ? "" : "\n" + text;
}

/// "mx-1, this gateway: 12 sessions, had all changes 0.3 s ago, is notified of them"
std::string standingText(const FleetView& view, const Object::Ptr& gateway) {
    if (!gateway) return fmt::format("{}, this gateway, does not run\n", view.self);
    std::string text = fmt::format("{}, this gateway: {}", view.self,
                                   counted(static_cast<std::size_t>(numberOf(*gateway, "live")), "session"));
    const Object::Ptr follows = gateway->getObject("fleet");
    if (!follows) return text + "; it was started without the fleet\n";
    return fmt::format("{}, version {} of the rules, looked for changes {:.0f} s ago{}\n", text,
                       numberOf(*follows, "rules_version"), follows->optValue<double>("lag_seconds", 0),
                       isSet(*follows, "notified") ? ", is notified of them" : "");
}

}  // namespace

std::optional<std::string> clockTrouble(std::int64_t ahead) {
    constexpr std::int64_t kAmiss = 60;
    if (std::abs(ahead) < kAmiss) return std::nullopt;
    return fmt::format(
        "the clock here is {} s {} that of the fleet's database: a rule that expires ends by the clock of "
        "each gateway",
        std::abs(ahead), ahead < 0 ? "behind" : "ahead of");
}

std::optional<std::string> nameTrouble(const Object::Ptr& fleet, const Times& times) {
    const std::string started = fleet ? lineOf(*fleet, "same_name_started") : "";
    if (started.empty()) return std::nullopt;
    return fmt::format(
        "another gateway of this name, started at {}, is in the fleet: each needs a gateway.name of its own",
        times.text(started));
}

std::vector<std::string> standingTroubles(const Object::Ptr& fleet, const Times& times) {
    std::vector<std::string> troubles;
    for (auto&& trouble : {nameTrouble(fleet, times),
                           clockTrouble(fleet ? fleet->optValue<std::int64_t>("clock_ahead_seconds", 0) : 0)})
        if (trouble) troubles.push_back(*trouble);
    return troubles;
}

std::string fleetText(const FleetView& view, const ViewOptions& options) {
    return fmt::format("{}\n{}{}", headOf(view, options.times()), memberTable(view, nullptr, options),
                       behind(hereText(view) + missingText(view) + drainText(view, options.times())));
}

std::string fleetText(const FleetView& view, const FleetStanding& standing, const ViewOptions& options) {
    const std::string here = standingText(view, standing.gateway);
    if (!view.answered) return fmt::format("{}{}\n{}\n", here, behind(hereText(view)), standing.unanswered);
    const Object none;
    return fmt::format("{}{}\n{}{}", headOf(view, options.times()), here,
                       memberTable(view, standing.gateway ? standing.gateway.get() : &none, options),
                       behind(hereText(view) + missingText(view) + drainText(view, options.times())));
}

Object fleetAsJson(const FleetView& view, const FleetStanding& standing) {
    Object object = answers::fleetAsJson(view);
    Object::Ptr here = object.getObject("here");
    here->set("sessions", standing.gateway ? standing.gateway->get("live") : Var());
    object.set("here", here);
    object.set("failure", standing.unanswered.empty() ? Var() : Var(escaped(standing.unanswered)));
    object.set("standing", standing.gateway ? standing.gateway->get("fleet") : Var());
    return object;
}

}  // namespace mailgate::cli
