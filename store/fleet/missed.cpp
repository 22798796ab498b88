// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/missed.h"

#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace mailgate::store {

void MissedRecords::add(const MissedRecords& more) noexcept {
    if (more.records == 0) return;
    from_ms = records == 0 ? more.from_ms : std::min(from_ms, more.from_ms);
    to_ms = std::max(to_ms, more.to_ms);
    exact = exact && more.exact;
    records += more.records;
}

std::string missedText(const MissedRecords& missed, std::string_view gateway) {
    const auto time = [](std::int64_t unix_ms) { return formatUtc(unix_ms / 1'000); };
    return fmt::format("{}{} {} of {}{} to {}", missed.exact ? "" : "up to ", missed.records,
                       missed.records == 1 ? "record" : "records", gateway,
                       missed.from_ms == 0 ? "" : " from " + time(missed.from_ms), time(missed.to_ms));
}

}  // namespace mailgate::store
