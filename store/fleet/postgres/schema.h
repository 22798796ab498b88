// SPDX-License-Identifier: Apache-2.0
/// \file  The tables of a fleet's database, in its schema mailgate. Internal to store/. Everything throws StoreError.
///
///     meta        one row: schema, the version of these tables; needs, the oldest that a gateway must know to work with
///                 them; fleet, which fleet this is; version, that of the rules, whose lock serialises who changes them;
///                 next_id, the number of the next rule; token, FleetState::token; drains, FleetState::drains;
///                 log_from, FleetState::log_from; drains_copied, what drains was when they were copied from another database
///     rule        the rules; times are Unix time
///     rule_set    what a set gives its rules that is not said of them
///     change_log  what was changed when by whom at which gateway, in lines as the export has them; token, that of the version
///     member      the gateways, as they announce themselves; keeps_changes, Member::keeps_days
///     keep_at_least  one row, which gateways neither read nor write: change_days, for how many days the owner of the tables wants
///                 changes, whatever keeps_changes says
///     drain       servers that are drained at all gateways, and who wants that
///     ticket_key  keys for session tickets, sealed (gateway/tls/ticket_seal.h); period, SealedTicketKey::period; secret, which
///                 secret of the gateways they are sealed with, which is not here
///
/// and those of the journals (store/fleet/postgres/journal_columns.h).
#pragma once

#include "store/fleet/fleet.h"
#include "store/fleet/postgres/connection.h"

#include <cstdint>
#include <functional>
#include <string>

namespace mailgate::store::postgres {

/// The server is PostgreSQL itself, and not another one that speaks its protocol.
bool isPostgres(Connection& connection, Deadline deadline);

/// The journals' tables are cut into days.
bool isByDay(Connection& connection, Deadline deadline);

/// In a transaction of its own, with the advisory lock of all who migrate.
FleetStore::Migration migrate(Connection& connection, const std::string& shown, const std::string& grant,
                              const std::function<Deadline()>& deadline);

/// Throws StoreError(NewerSchema) where these tables want a newer mailgate.
void requireUsable(std::int64_t schema, std::int64_t needs, const std::string& shown);

/// Throws StoreError: Open where there are no tables, NewerSchema. Returns isPostgres(), which is asked for along with it.
bool requireKnown(Connection& connection, const std::string& shown, Deadline deadline);

}  // namespace mailgate::store::postgres
