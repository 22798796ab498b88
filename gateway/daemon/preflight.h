// SPDX-License-Identifier: Apache-2.0
/// \file  What `mailgate check` examines besides the file: the machine that is to serve with it.
#pragma once

#include "gateway/config/config.h"
#include "store/rules/table.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace mailgate {

struct Preflight {
    std::vector<std::string> errors;     ///< `serve` would not start
    std::vector<std::string> warnings;   ///< it might not, or not do what is meant
    std::vector<std::string> remarks{};  ///< what was not looked at, and is no reason to worry
};

/// Looks for what would keep `serve` from starting with a valid configuration: the user, the addresses, the log, the
/// databases, the admin socket's folder. Nothing is created. As in `serve`, a process of root becomes gateway.user on
/// the way, and stays that user. `rules_are_lost`: their database is gone, while a gateway that runs goes by them; that nobody may
/// enter is no news then, nor true.
Preflight examineSite(const Config& config, bool rules_are_lost = false);

/// "no listener is named mx: 3 access rules that name it have no effect; ..." for each such name in `listeners`,
/// which says how many rules name it.
std::vector<std::string> unknownListenerWarnings(const Config& config,
                                                 const std::map<std::string, std::size_t>& listeners);

/// That systemd would kill the gateway before drain_timeout is over; `limit`: stopLimit().
std::vector<std::string> drainWarnings(const Config& config, std::optional<std::chrono::milliseconds> limit);

/// How many threads carry sessions.
unsigned workersOf(const Config& config);
/// How many sessions there can be with so many descriptors, beside what the gateway has at rest.
std::size_t sessionsWith(std::uint64_t descriptors, const Config& config);
/// That the limit on open files allows fewer sessions than max_sessions.
std::vector<std::string> sessionWarnings(std::uint64_t max_sessions, std::uint64_t possible);

std::vector<std::string> listenerNames(const Config& config);
/// The listeners that refuse whom no rule allows.
std::vector<std::string> allowlists(const Config& config);

/// "nobody may enter listener mx: ..."
std::string nobodyMayEnter(const std::string& listener);

/// nobodyMayEnter() for each listener that refuses all. `allowing`: which listeners live allow rules
/// name; "": a rule for all.
std::vector<std::string> closedListenerWarnings(const Config& config, const std::set<std::string>& allowing);

/// Both, about the rules in force, whose table was built for the listeners of `config`.
std::vector<std::string> ruleWarnings(const Config& config, const store::AccessTable& table);

}  // namespace mailgate
