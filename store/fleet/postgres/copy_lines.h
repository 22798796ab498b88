// SPDX-License-Identifier: Apache-2.0
/// \file  Records of the journal as lines of COPY's text format, by the one list of fields. Internal to store/.
#pragma once

#include "store/journal/record.h"

#include <cstdint>
#include <string>

namespace mailgate::store::postgres {

/// The days whose records have tables, as at_ms: from `first` on, and before `end`.
struct KeptTime {
    std::int64_t first_ms = 0, end_ms = 0;
};

/// When the record ended, or the nearest time that is kept.
std::int64_t keptAt(const JournalSession& record, const KeptTime& kept) noexcept;

/// What appendLines() writes, in its order.
std::string sessionColumns();
std::string mailColumns();

/// Appends the record's line to `rows`, and those of its mails to `mails`.
void appendLines(std::string& rows, std::string& mails, std::int64_t journal, std::int64_t key,
                 std::int64_t at_ms, const JournalSession& record);

}  // namespace mailgate::store::postgres
