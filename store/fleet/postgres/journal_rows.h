// SPDX-License-Identifier: Apache-2.0
/// \file  Rows of the fleet's journals as records, by the list of fields (store/fleet/postgres/journal_columns.h). Internal to
/// store/.
#pragma once

#include "store/fleet/missed.h"
#include "store/fleet/postgres/connection.h"
#include "store/journal/record.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::store::postgres {

/// What a query selects of `alias` for these to read.
std::string sessionSelection(std::string_view alias);
std::string mailSelection(std::string_view alias);

/// From `column` on. Without its mail; text that is no address, because some other program wrote it, reads as ::.
JournalSession sessionOf(const Rows& rows, std::size_t row, int column, JournalKind kind);
JournalMail mailOf(const Rows& rows, std::size_t row, int column);

/// Of an array in PostgreSQL's text form, '{a,"b c",NULL}': an item each, empty for NULL.
std::vector<std::string> arrayItems(std::string_view array);

/// Of the columns records, exact, from_ms, to_ms, from `column` on.
MissedRecords missedOf(const Rows& rows, std::size_t row, int column);

}  // namespace mailgate::store::postgres
