// SPDX-License-Identifier: Apache-2.0
/// \file  What `mailgate access` prints: rules and their history as tables and lines, beside what answers/rules_text.h has. Pure functions.
#pragma once

#include "gateway/answers/rules_text.h"
#include "gateway/cli/arguments.h"
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

using answers::changeLine;
using answers::ChangeReport;
using answers::changesAsJson;
using answers::dangerOf;
using answers::decisionsAsJson;
using answers::historyAsJson;
using answers::plainLine;
using answers::reportAsJson;
using answers::ruleAsJson;
using answers::rulesAsJson;
using answers::sentenceOf;
using answers::setAsJson;
using answers::setsAsJson;

/// The end of a sentence that begins with a danger.
inline constexpr std::string_view kNothingDone = ": nothing was changed; use --force to do it anyway";

/// "rule 9 was rule 7 of program fail2ban, which leaves it alone from now on; ..."
std::string takeOverNote(const store::RuleStore::EditResult& result);

/// `names`: what the names of rules stand for.
std::string rulesAsTable(std::span<const store::AccessRule> rules, const TableStyle& style,
                         const Times& times, const rules::NameStates& names = {});
/// With a heading, as RFC 4180 has it; the listeners' defaults come first. Cells that a spreadsheet would take for a
/// formula begin with an apostrophe.
std::string rulesAsCsv(std::span<const store::AccessRule> rules, const rules::Site& site,
                       const rules::NameStates& names = {});
/// Of a change only what it has changed, in front of the rule that it has changed it of.
std::string historyAsTable(std::span<const store::RuleStore::AuditEntry> entries, const TableStyle& style,
                           const Times& times);

/// Which entries of the audit trail are wanted; what is not set is not asked.
struct HistoryFilter {
    Period period{};                   ///< inclusive
    std::optional<std::string> by{};   ///< an author, as BY has it, or without how and where they acted
    std::optional<std::string> set{};  ///< of a rule before or after, or whose defaults they are
};
bool passes(const store::RuleStore::AuditEntry& entry, const HistoryFilter& filter);

std::string setsAsTable(std::span<const rules::SetSummary> sets, const TableStyle& style, const Times& times);
/// "set git: 3 rules, new rules get the note \"from git\" and expire after 180d"
std::string sentenceOf(const std::string& set, std::size_t rules, const store::SetDefaults& defaults);

/// The rule as a line of the export. Texts with characters that a terminal would act on, or that look like something
/// else, are written in ASCII. `defaults`: those of its set.
std::string exportLine(const store::AccessRule& rule, const store::SetDefaults& defaults = {});

}  // namespace mailgate::cli
