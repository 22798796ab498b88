// SPDX-License-Identifier: Apache-2.0
/// \file  Whose journals a question to a fleet's database was put to, and what of them it does not have: for the command line and the
/// API. Pure functions.
#pragma once

#include "store/fleet/journal.h"

#include <Poco/Dynamic/Var.h>
#include <Poco/JSON/Array.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::answers {

/// Leaves of what they miss that of this time; Unix milliseconds.
void keepMissedOf(std::vector<store::ShippedJournal>& gateways, std::optional<std::int64_t> since_ms,
                  std::optional<std::int64_t> until_ms);

/// "mx-1, mx-2", of many their number.
std::string namesOf(const std::vector<store::ShippedJournal>& gateways);

/// "asked the fleet's database: mx-1, mx-2; mx-3's newest is 12 minutes old; 7 records of mx-1 from … to … are missing".
std::string askedText(const std::vector<store::ShippedJournal>& gateways);

/// A document's "gateways".
std::string askedAsJson(const std::vector<store::ShippedJournal>& gateways);

}  // namespace mailgate::answers
