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

/// "denying 192.0.2.0/24 would shut out the balancers ...: nothing was changed; ..."
std::string sentenceOf(const rules::Hazardous& refused);
/// "rule 2 wins, being more specific, over rule 1: ..."
std::string sentenceOf(const rules::Overlap& overlap);
/// "it lies inside: rule 1: ..."
std::string sentenceOf(const rules::NearMiss& near);

std::string rulesAsTable(std::span<const store::AccessRule> rules, const TableStyle& style,
                         const Times& times);
std::string rulesAsJson(std::span<const store::AccessRule> rules);  ///< an array
std::string ruleAsJson(const store::AccessRule& rule);
std::string historyAsTable(std::span<const store::RuleStore::AuditEntry> entries, const TableStyle& style,
                           const Times& times);
std::string historyAsJson(std::span<const store::RuleStore::AuditEntry> entries);  ///< an array

/// The rule as a line of the export. Notes with characters that a terminal would act on, or that look like something
/// else, are written in ASCII.
std::string exportLine(const store::AccessRule& rule);

}  // namespace mailgate::cli
