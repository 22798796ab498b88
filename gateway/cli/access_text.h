// SPDX-License-Identifier: Apache-2.0
/// \file  What `mailgate access` says: rules and their history as tables, JSON and sentences. Pure functions.
#pragma once

#include "gateway/config/config.h"
#include "store/rules/rule.h"
#include "store/rules/store.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::cli {

/// "7d", "12h", "30m" from now on, or RFC 3339.
std::optional<UnixSeconds> parseExpiry(std::string_view text, UnixSeconds now);

bool isLive(const store::AccessRule& rule, UnixSeconds now) noexcept;

/// The rule covers the listener: it names it, or none.
bool covers(const store::AccessRule& rule, std::string_view listener) noexcept;

/// "listener smtp" or "all listeners".
std::string scopeOf(const store::AccessRule& rule);

/// `rule 12: allow 198.51.100.0/24 on all listeners, "partner", expires 2026-12-01T00:00:00Z`
std::string sentenceOf(const store::AccessRule& rule);

std::string rulesAsTable(std::span<const store::AccessRule> rules);
std::string rulesAsJson(std::span<const store::AccessRule> rules);  ///< an array
std::string ruleAsJson(const store::AccessRule& rule);
std::string historyAsTable(std::span<const store::RuleStore::AuditEntry> entries);
std::string historyAsJson(std::span<const store::RuleStore::AuditEntry> entries);  ///< an array

/// Of two rules with opposite verdicts that share addresses and listeners: where the `other` stands to the
/// `rule`, and which wins. Empty when they do not meet.
std::string overlapNote(const store::AccessRule& rule, const store::AccessRule& other);

/// "all of IPv4", "half of IPv4" and their like; empty for a network that is no whole internet.
std::string_view wholeInternet(const Network& network) noexcept;

/// The rule as a line of the export. Notes that a terminal would obey, or that show as something else than
/// they are, are written in ASCII.
std::string exportLine(const store::AccessRule& rule);

/// What of the site itself a denial would shut out: balancers, servers, or a whole internet. One phrase each.
std::vector<std::string> ownAddressesDenied(const Config& config, const store::AccessRule& denial);

}  // namespace mailgate::cli
