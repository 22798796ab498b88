// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/copy_fleet.h"

#include "store/fleet/postgres/connection.h"
#include "store/fleet/postgres/schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace mailgate::store::postgres {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Of thousands of rows at once.
constexpr milliseconds kCopyAnswer{10'000};

Deadline inTime() {
    return steady_clock::now() + kCopyAnswer;
}

struct CopiedTable {
    std::string_view name;
    std::vector<std::string_view> columns;  ///< the first of them are what the rows are ordered by
    std::vector<std::string_view> key_types;
};

CopiedTable rules() {
    return {"rule",
            {"id", "network", "verdict", "listener", "rule_set", "note", "owner", "ticket", "reply",
             "created_at", "created_by", "expires_at", "client_sessions", "client_rate"},
            {"bigint"}};
}

CopiedTable sets() {
    return {"rule_set", {"name", "note", "expires_after"}, {"text"}};
}

CopiedTable drains() {
    return {"drain", {"upstream", "server", "since", "who"}, {"text", "text"}};
}

CopiedTable changes() {
    return {"change_log",
            {"version", "seq", "at", "who", "gateway", "action", "rule_id", "before", "after", "made_by",
             "made_at", "token"},
            {"bigint", "bigint"}};
}

std::string linesOf(const Rows& rows, std::size_t columns) {
    std::string lines;
    for (std::size_t row = 0; row < rows.size(); ++row)
        for (std::size_t column = 0; column < columns; ++column) {
            const int at = static_cast<int>(column);
            lines += rows.isNull(row, at) ? "\\N" : copyField(rows.view(row, at));
            lines += column + 1 == columns ? '\n' : '\t';
        }
    return lines;
}

/// The rows behind `after`, a value for each part of the key; returns how many.
std::size_t copyTable(Connection& from, Connection& to, const CopiedTable& table,
                      std::vector<std::string> after) {
    constexpr std::size_t kRows = 10'000;
    const std::string columns = fmt::format("{}", fmt::join(table.columns, ", "));
    std::string key, values;
    for (std::size_t at = 0; at < table.key_types.size(); ++at) {
        key += fmt::format("{}{}", at == 0 ? "" : ", ", table.columns[at]);
        values += fmt::format("{}${}::{}", at == 0 ? "" : ", ", at + 1, table.key_types[at]);
    }
    const std::string sql = fmt::format("SELECT {} FROM mailgate.{} WHERE ({}) > ({}) ORDER BY {} LIMIT {}",
                                        columns, table.name, key, values, key, kRows);
    for (std::size_t copied = 0;;) {
        const Rows rows = from.query(sql, after, inTime());
        if (rows.size() > 0)
            to.copy(fmt::format("COPY mailgate.{} ({}) FROM STDIN", table.name, columns),
                    linesOf(rows, table.columns.size()), kCopyAnswer);
        copied += rows.size();
        if (rows.size() < kRows) return copied;
        for (std::size_t at = 0; at < after.size(); ++at)
            after[at] = rows.text(rows.size() - 1, static_cast<int>(at));
    }
}

/// From now on nobody else changes the rules there.
FleetState lockedState(Connection& connection) {
    connection.run("BEGIN; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL lock_timeout = '5s'",
                   inTime());
    const Rows rows = connection.query(
        "SELECT fleet, version, next_id, token, drains, log_from FROM mailgate.meta WHERE id = 1 FOR UPDATE",
        {}, inTime());
    if (rows.size() != 1)
        throw StoreError(StoreError::Kind::Damaged, "the fleet's database: table mailgate.meta is empty");
    FleetState state{rows.text(0, 0), rows.number(0, 1), rows.number(0, 2), rows.text(0, 3)};
    state.drains = rows.number(0, 4);
    state.log_from = rows.number(0, 5);
    return state;
}

/// The copy is new, or an earlier one of the same fleet that nobody has worked with since.
void requireCopy(Connection& source, Connection& target, const FleetState& from, const FleetState& to,
                 const std::string& shown) {
    if (to.version == 0 && to.token.empty()) {
        const Rows used = target.query("SELECT id FROM mailgate.rule LIMIT 1", {}, inTime());
        if (used.size() == 0) return;
    }
    if (to.fleet == from.fleet && to.version < from.log_from)
        throw StoreError(
            StoreError::Kind::Other,
            fmt::format("the copy at {} has version {} of the rules, and the log of changes here "
                        "begins with {}: copy to an empty database",
                        shown, to.version, from.log_from));
    const Rows token =
        source.query("SELECT token FROM mailgate.change_log WHERE version = $1 ORDER BY seq LIMIT 1",
                     {fmt::to_string(to.version)}, inTime());
    if (to.fleet == from.fleet && to.version <= from.version && token.size() == 1 &&
        token.text(0, 0) == to.token)
        return;
    throw StoreError(StoreError::Kind::Other,
                     fmt::format("the database {} has a fleet's rules already that are not an earlier copy "
                                 "of these: nothing was copied",
                                 shown));
}

/// Not where somebody has drained servers at the copy, or put them back, since they were copied there. False: so it is.
bool copyDrains(Connection& source, Connection& target, const FleetState& there) {
    const Rows copied = target.query("SELECT drains_copied FROM mailgate.meta WHERE id = 1", {}, inTime());
    if (copied.number(0, 0) != there.drains) return false;
    target.run("DELETE FROM mailgate.drain", inTime());
    copyTable(source, target, drains(), {"", ""});
    target.run("UPDATE mailgate.meta SET drains = drains + 1, drains_copied = drains + 1 WHERE id = 1",
               inTime());
    return true;
}

}  // namespace

FleetCopy copyFleet(const std::string& from, const std::string& to, const std::function<void()>& commits) {
    const Conninfo source_info = parseUrl(from), target_info = parseUrl(to);
    const Interrupt never;
    Connection source(source_info, inTime(), never), target(target_info, inTime(), never);
    requireKnown(source, source_info.shown, inTime());
    requireKnown(target, target_info.shown, inTime());
    const FleetState here = lockedState(source), there = lockedState(target);
    requireCopy(source, target, here, there, target_info.shown);
    FleetCopy copy{.version = here.version};
    target.run("DELETE FROM mailgate.rule; DELETE FROM mailgate.rule_set", inTime());
    copy.rules = copyTable(source, target, rules(), {"0"});
    copyTable(source, target, sets(), {""});
    copy.keeps_drains = !copyDrains(source, target, there);
    copy.changes =
        copyTable(source, target, changes(), {fmt::to_string(there.version), "9223372036854775807"});
    target.query(
        "UPDATE mailgate.meta SET fleet = $1, version = $2::bigint, next_id = $3::bigint, token = $4,"
        " log_from = CASE version WHEN 0 THEN $5::bigint ELSE log_from END WHERE id = 1",
        {here.fleet, fmt::to_string(here.version), fmt::to_string(here.next_id), here.token,
         fmt::to_string(here.log_from)},
        inTime());
    commits();
    target.run("COMMIT", inTime());
    return copy;
}

}  // namespace mailgate::store::postgres
