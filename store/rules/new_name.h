// SPDX-License-Identifier: Apache-2.0
/// \file  Names that somebody asks a rule for: more is wrong with them than with those that there are rules for, which an earlier
/// version has made.
#pragma once

#include "store/rules/rule.h"

#include <string>
#include <string_view>
#include <variant>

namespace mailgate::store {

/// Behind a word that is no network, what to write if it is meant as a name; empty: it cannot be one.
std::string nameMeant(std::string_view text);

/// As parseRuleName().
std::variant<std::string, NetworkError> parseNewRuleName(std::string_view text);

}  // namespace mailgate::store
