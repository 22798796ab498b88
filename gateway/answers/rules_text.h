// SPDX-License-Identifier: Apache-2.0
/// \file  Access rules, their history and what a change of them means as JSON and sentences, for all who ask. Pure functions.
#pragma once

#include "gateway/answers/time_text.h"
#include "store/rules/rule.h"
#include "store/rules/service.h"
#include "store/rules/store.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::answers {

/// As a value, with its quotes.
std::string jsonText(std::string_view text);
/// "180d", "90s"
std::string durationText(std::int64_t seconds);
/// "192.0.2.1, 192.0.2.2 and 3 more"
std::string networksText(const std::vector<Network>& networks, std::size_t most);

/// `rule 12: allow 198.51.100.0/24 on all listeners, "partner", expires 2026-12-01T00:00:00+01:00`
std::string sentenceOf(const store::AccessRule& rule, Zone zone = Zone::Local);

/// "denying 192.0.2.0/24 would shut out the balancers ..."
std::string dangerOf(const rules::Hazardous& refused);
/// "allowing these networks would let in 75% of IPv4 on listener mx"
std::string dangerOf(const rules::TooMuchTogether& refused);
/// "34 of the 37 rules would be removed, and the list has no end mark ...: it may be incomplete"
std::string dangerOf(const rules::MostRemoved& refused);
/// "rule 2 wins, being more specific, over rule 1: ..."; `planned`: the rule, where it is only going to be, under a number that
/// nobody knows yet.
std::string sentenceOf(const rules::Overlap& overlap, const store::AccessRule* planned = nullptr);
/// "it lies inside: rule 1: ..."
std::string sentenceOf(const rules::NearMiss& near);

// `names`: what the names of rules stand for.

std::string rulesAsJson(std::span<const store::AccessRule> rules,
                        const rules::NameStates& names = {});  ///< an object with an array "rules"
std::string ruleAsJson(const store::AccessRule& rule, const rules::NameStates& names = {});
/// "host:home.example.org is 203.0.113.9, 2001:db8::9; asked again in 5m"; of a name without an answer, or with one that
/// is no longer good, why.
std::string sentenceOf(const store::AccessRule& rule, const store::NameState& state, UnixSeconds now);
/// Likewise, "changes". `found`: how many there are, where these are not all; then "cut" says so.
std::string historyAsJson(std::span<const store::RuleStore::AuditEntry> entries,
                          std::optional<std::size_t> found = {});

/// What a command has changed, or would change.
struct ChangeReport {
    bool dry_run = false;  ///< ids, times and numbers of the entries mean nothing then
    std::size_t added = 0, changed = 0, removed = 0;
    std::span<const store::RuleStore::AuditEntry> entries{};
    std::string sessions{};              ///< JSON; empty: it is not asked for
    std::optional<std::size_t> ended{};  ///< sessions, likewise
};
/// An object with an array "changes".
std::string changesAsJson(const ChangeReport& report);
/// Likewise, "decisions".
std::string decisionsAsJson(std::span<const rules::Decision> decisions, UnixSeconds now,
                            const rules::NameStates& names = {});
/// Likewise, "rules", and "listeners" with what each does with others.
std::string reportAsJson(std::span<const store::AccessRule> rules, const rules::Site& site,
                         const rules::NameStates& names = {});

std::string setsAsJson(std::span<const rules::SetSummary> sets);  ///< likewise, "sets"
/// Likewise, with one set and its rules.
std::string setAsJson(const rules::SetSummary& set, std::span<const store::AccessRule> rules,
                      const rules::NameStates& names = {});
/// Escaped (gateway/log/escape.h), but for quotes and backslashes, which mean nothing to a terminal: what is quoted already
/// would be so twice.
std::string plainLine(std::string_view line);
/// A line of the audit trail for people: what a set gives its rules is a time in days there, and not in seconds.
std::string trailLine(std::string_view line);
/// "+ deny 192.0.2.1", "- deny 192.0.2.1", "~ deny 192.0.2.1  ->  deny 192.0.2.1 spam"
std::string changeLine(const store::RuleStore::AuditEntry& entry);

}  // namespace mailgate::answers
