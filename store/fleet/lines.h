// SPDX-License-Identifier: Apache-2.0
/// \file  A fleet's rules and defaults of sets in one line each, for trails and people. Internal to store/, but for lineOf().
#pragma once

#include "store/rules/replica.h"
#include "store/rules/rule.h"

#include <optional>
#include <string>

namespace mailgate::store {

/// None: the row cannot be read.
std::optional<AccessRule> readableRule(const SharedRule& row);

/// As the export has it; a row that cannot be read is shown as it is.
std::string lineOf(const SharedRule& rule);
/// As the trail has it; the note always in quotes.
std::string lineOf(const SharedSet& set);

}  // namespace mailgate::store
