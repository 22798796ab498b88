// SPDX-License-Identifier: Apache-2.0
/// \file  The part that an SQLite file of rules has in a fleet (store/rules/replica.h). Internal to store/. All of it is in the
/// caller's transaction, and throws StoreError.
///
/// What has been changed in the file for itself alone is found in its trail: what is there beyond `trail_seen`, and was not
/// written by apply() or for the fleet.
#pragma once

#include "store/rules/replica.h"
#include "store/sqlite/database.h"

namespace mailgate::store::replica {

/// More of a WHERE clause on access_rule: rules that are the file's own.
inline constexpr std::string_view kAndOwn =
    " AND (rule_set = 'here' OR id IN (SELECT rule_id FROM fleet_local WHERE what = 'added'))";

std::optional<Membership> membership(sqlite::Database& database);
Differences differences(sqlite::Database& database);
OwnRules ownRules(sqlite::Database& database);
SharedChanges everything(sqlite::Database& database);
Applied apply(sqlite::Database& database, const SharedChanges& changes);
void beginShared(sqlite::Database& database, std::int64_t next_id);
SharedChanges collectShared(sqlite::Database& database);
void reach(sqlite::Database& database, std::int64_t version, std::string_view token);
void tellRemoved(sqlite::Database& database, const std::vector<SharedEntry>& removals);
void forget(sqlite::Database& database, const std::vector<std::int64_t>& ids);
void renumber(sqlite::Database& database, const std::map<std::int64_t, std::int64_t>& numbers);
void enrol(sqlite::Database& database, const Membership& membership, const std::vector<std::int64_t>& own);
void leave(sqlite::Database& database);
void restore(sqlite::Database& database, const std::vector<SharedRule>& rules);
void sealTrail(sqlite::Database& database);

}  // namespace mailgate::store::replica
