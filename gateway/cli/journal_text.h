// SPDX-License-Identifier: Apache-2.0
/// \file  What `mailgate sessions` and `mailgate top` print: the journal's sessions as tables, JSON and one fact a
/// line. Pure functions.
#pragma once

#include "gateway/answers/journal.h"
#include "gateway/cli/table.h"
#include "gateway/cli/time_text.h"
#include "store/journal/backend.h"
#include "store/journal/filter.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::cli {

using answers::envelopeAddress;
using answers::messageId;
using answers::sessionAsJson;

/// So much of an id tables show: the time and enough of the rest. `sessions show` and `kill` take it.
inline constexpr std::size_t kShownOfId = 16;

/// The columns of that table with what `filter` asks for, but for those that then have the same in each row.
std::vector<std::string> columnsAsked(const store::JournalFilter& filter);
/// The table of sessions, without rows. Its times are those of the ends, as are `time` in JSON and in the log, and so is its
/// order. `of_fleet`: with the column of the gateway unless others are asked for.
Table sessionTable(TableStyle style, const Times& times, bool of_fleet = false);
/// One row for each mail that `filter` asks for, one for a session without any; the number of its other mails is in END.
void addSessions(Table& table, std::span<const store::JournalSession> sessions,
                 const store::JournalFilter& filter, const Times& times);
/// All that is known, one fact a line, the timings in their order. `rule`: what there is to say of the rule that has
/// decided; empty: nothing.
std::string sessionAsStory(const store::JournalSession& session, Zone zone, Letters letters = Letters::Utf8,
                           const std::string& rule = {});

/// Why there is nothing to print; empty: there is something.
std::string emptyTop(const store::JournalTop& top, const store::JournalTopQuery& query);
/// With the period; `to_the_present`: nobody has asked for another end.
std::string topAsTable(const store::JournalTop& top, const store::JournalTopQuery& query, bool to_the_present,
                       const TableStyle& style, Zone zone);
/// `further`: members behind these, with a comma in front.
std::string topAsJson(const store::JournalTop& top, const store::JournalTopQuery& query,
                      std::string_view further = {});

}  // namespace mailgate::cli
