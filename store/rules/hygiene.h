// SPDX-License-Identifier: Apache-2.0
/// \file  Which rules could go: those that decide nothing, those that lie in or around others. Pure functions.
#pragma once

#include "store/rules/rule.h"

#include <cstdint>
#include <set>
#include <span>
#include <string>

namespace mailgate::rules {

/// Of rules in force, the ids of those that decide about no address on any of the listeners: another rule for the
/// same network comes first, narrower ones cover it all, or it names another listener. Others count only if they stay:
/// none that expires, and none for a name.
std::set<std::int64_t> shadowed(std::span<const store::AccessRule> rules,
                                std::span<const std::string> listeners);

/// The ids of those whose network is that of another, or lies in or around it, on a listener that both cover. Here and above
/// a rule for a name is there once for each network that it stands for.
std::set<std::int64_t> overlapping(std::span<const store::AccessRule> rules);

}  // namespace mailgate::rules
