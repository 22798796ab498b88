// SPDX-License-Identifier: Apache-2.0
/// \file  The busiest clients, senders and so on of a fleet's journals: the database adds up. Internal to store/.
#pragma once

#include "store/fleet/postgres/connection.h"
#include "store/journal/backend.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::store::postgres {

using Ask = std::function<Rows(const std::string& sql, const std::vector<std::string>& parameters)>;

/// `journals`: only these; none: all.
JournalTop sumUp(const JournalTopQuery& query, const std::optional<std::vector<int>>& journals,
                 const Ask& ask);

}  // namespace mailgate::store::postgres
