// SPDX-License-Identifier: Apache-2.0
/// \file  The tables of the store and how an older file becomes a current one. Internal to store/.
///
///     access_rule   the rules; made for the sqlite3 shell too:
///                       INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.0/24', 'deny');
///     access_set    what a rule of a set gets that is not said of it; a set without such defaults needs no row
///     access_audit  what was changed when by whom; triggers write it, and refuse to change it. `change`: the id of the
///                   first row of one transaction of mailgate's; null in others, whose rows are a change each. `made_by`,
///                   `made_at`: of a rule that was removed, who had made it when; `hits`, `last_hit_at`: its counters
///     access_name   of a rule whose network is a name, such as 'host:home.example.org': the networks that it stands for,
///                   with a blank between, since when, until when, and why there is no newer answer; `name`: of which
///                   name that is. Other networks are an entry in the trail, and raise the version
///     access_meta   one row: rules_version, which every change of a rule raises (counting hits does not),
///                   acting and change, who changes rules in the present transaction ('' outside of one) and the
///                   first id of its rows; undo_after, the last row of the trail that cannot be read back; and
///                   trimmed_to, the last one that may be deleted, and is, as the trail is kept for a time only
///     console_account, console_token   who may use the console (store/accounts): passwords as crypt(3) hashes them, tokens
///                   as their SHA-256
///     fleet_state, fleet_local   the part that the file has in a fleet (store/rules/replica.h)
#pragma once

#include "store/sqlite/database.h"
#include "store/store_error.h"
#include "store/upgrade.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace mailgate::store::schema {

/// "mgat" in ASCII, as `PRAGMA application_id`: tells our file from another program's.
constexpr std::int64_t kApplicationId = 0x6D676174;

/// Of the entries in the trail that say what a name stands for: their action, and what follows the name in them.
constexpr std::string_view kResolve = "resolve", kNameIs = " is ";

/// The newest version known here (`PRAGMA user_version`).
std::int64_t currentVersion() noexcept;

/// Brings the file to the current version, in one transaction, and to WAL. Throws StoreError: Open for
/// another program's database, NewerSchema, Damaged for an empty one unless `create`.
void migrate(sqlite::Database& database, bool create, const Upgrade& upgrade = {});

/// Throws StoreError as migrate() does, for an empty file too; changes nothing.
void requireKnown(sqlite::Database& database);
/// False: it is of an older schema, or nothing yet. Throws StoreError as migrate() does; changes nothing.
bool isCurrent(sqlite::Database& database);

/// Throws StoreError as migrate() does, and Other for a file of an older schema; changes nothing.
void requireCurrent(sqlite::Database& database);

/// A statement that writes for many rows what the trigger writes into the audit trail for each: a row of `from` is what the
/// trigger calls NEW or OLD, and `line` gives its line.
std::string trailOf(const std::string& trigger, std::string_view from, std::string_view line);
/// A function of that name makes lines of eleven values of a row, which this gives it.
constexpr std::string_view kTrailLine = "mailgate_trail_line";
constexpr int kTrailLineValues = 11;
std::string trailLineOf(std::string_view row);

/// Kind::Damaged, of a file that SQLite reads and writes as ever.
struct TriggersAltered : StoreError {
    explicit TriggersAltered(const std::string& message) : StoreError(Kind::Damaged, message) {}
};
/// Throws TriggersAltered unless the triggers are those of the current version, to the letter.
void checkTriggers(sqlite::Database& database);

/// Reads the whole file. Throws StoreError(Damaged) with SQLite's first finding.
void quickCheck(sqlite::Database& database);

}  // namespace mailgate::store::schema
