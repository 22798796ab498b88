// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/fleet_text.h"

#include <fmt/format.h>

#include <cstddef>

namespace mailgate::cli {

using answers::changesAhead;
using answers::changesBehind;
using answers::FleetView;
using answers::isSilent;
using store::Member;

namespace {

std::string stateOf(const FleetView& view, const Member& member) {
    std::string state = isSilent(member) ? fmt::format("silent for {} s", member.silent_secs) : "up";
    if (changesAhead(view, member.position) > 0) state += ", with a version that the database does not have";
    if (const auto changes = changesBehind(view, member.position); changes > 0)
        state += fmt::format(", {} behind", counted(static_cast<std::size_t>(changes), "change"));
    return state;
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

}  // namespace

std::string fleetText(const FleetView& view, const ViewOptions& options) {
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
    return fmt::format("fleet: {}, {}, rules version {}\n\n{}{}{}", view.shown,
                       counted(view.members.size(), "gateway"), view.fleet.version, table.text(),
                       hereText(view).empty() ? "" : "\n", hereText(view));
}

}  // namespace mailgate::cli
