// SPDX-License-Identifier: Apache-2.0
/// \file  What `mailgate access` prints: rules and their history as tables, JSON and sentences. Pure functions.
#pragma once

#include "gateway/cli/table.h"
#include "gateway/cli/time_text.h"
#include "store/rules/rule.h"
#include "store/rules/service.h"
#include "store/rules/store.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::cli {

/// `rule 12: allow 198.51.100.0/24 on all listeners, "partner", expires 2026-12-01T00:00:00Z`
std::string sentenceOf(const store::AccessRule& rule);

/// "denying 192.0.2.0/24 would shut out the balancers ..."
std::string dangerOf(const rules::Hazardous& refused);
/// "allowing these networks would let in 75% of IPv4 on listener mx"
std::string dangerOf(const rules::TooMuchTogether& refused);
/// The end of a sentence that begins with a danger.
inline constexpr std::string_view kNothingDone = ": nothing was changed; use --force to do it anyway";
/// "rule 2 wins, being more specific, over rule 1: ..."
std::string sentenceOf(const rules::Overlap& overlap);
/// "it lies inside: rule 1: ..."
std::string sentenceOf(const rules::NearMiss& near);

/// "rule 9 was rule 7 of program fail2ban, which leaves it alone from now on; ..."
std::string takeOverNote(const store::RuleStore::EditResult& result);

/// `names`: what the names of rules stand for.
std::string rulesAsTable(std::span<const store::AccessRule> rules, const TableStyle& style,
                         const Times& times, const rules::NameStates& names = {});
std::string rulesAsJson(std::span<const store::AccessRule> rules,
                        const rules::NameStates& names = {});  ///< an object with an array "rules"
std::string ruleAsJson(const store::AccessRule& rule, const rules::NameStates& names = {});
/// "host:home.example.org is 203.0.113.9, 2001:db8::9; asked again in 5m"; of a name without an answer, or with one that
/// is no longer good, why.
std::string sentenceOf(const store::AccessRule& rule, const store::NameState& state, UnixSeconds now);
/// With a heading, as RFC 4180 has it; the listeners' defaults come first. Cells that a spreadsheet would take for a
/// formula begin with an apostrophe.
std::string rulesAsCsv(std::span<const store::AccessRule> rules, const rules::Site& site,
                       const rules::NameStates& names = {});
std::string historyAsTable(std::span<const store::RuleStore::AuditEntry> entries, const TableStyle& style,
                           const Times& times);
std::string historyAsJson(std::span<const store::RuleStore::AuditEntry> entries);  ///< likewise, "changes"

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

/// "+ deny 192.0.2.1", "- deny 192.0.2.1", "~ deny 192.0.2.1  ->  deny 192.0.2.1 spam"
std::string changeLine(const store::RuleStore::AuditEntry& entry);

std::string setsAsTable(std::span<const rules::SetSummary> sets, const TableStyle& style, const Times& times);
std::string setsAsJson(std::span<const rules::SetSummary> sets);  ///< likewise, "sets"
/// Likewise, with one set and its rules.
std::string setAsJson(const rules::SetSummary& set, std::span<const store::AccessRule> rules,
                      const rules::NameStates& names = {});
/// "set git: 3 rules, new rules get the note \"from git\" and expire after 180d"
std::string sentenceOf(const std::string& set, std::size_t rules, const store::SetDefaults& defaults);

/// The rule as a line of the export. Texts with characters that a terminal would act on, or that look like something
/// else, are written in ASCII. `defaults`: those of its set.
std::string exportLine(const store::AccessRule& rule, const store::SetDefaults& defaults = {});

}  // namespace mailgate::cli
