// SPDX-License-Identifier: Apache-2.0
/// \file  A rule as a line of the audit trail, to the letter as the triggers write it: for very many rules at once, for which
/// theirs takes too long. Internal to store/.
#pragma once

#include "protocols/values/time.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate::store::rows {

/// What the columns hold, whatever that is.
struct TrailRule {
    std::string_view verdict, network, set, listener;
    std::optional<UnixSeconds> expires_at;
    std::optional<std::int64_t> client_sessions, client_rate;
    std::string_view reply, owner, ticket, note;
};

void appendTrailLine(std::string& line, const TrailRule& rule);

}  // namespace mailgate::store::rows
