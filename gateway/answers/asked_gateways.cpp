// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/asked_gateways.h"

#include "gateway/answers/time_text.h"
#include "gateway/log/escape.h"
#include "protocols/values/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>

namespace mailgate::answers {

using store::MissedRecords;
using store::ShippedJournal;

namespace {

MissedRecords allMissed(const ShippedJournal& gateway) {
    MissedRecords all;
    for (const MissedRecords& missed : gateway.missed)
        all.add(missed);
    return all;
}

std::string missedAsJson(const MissedRecords& missed) {
    if (missed.records == 0) return "null";
    const auto time = [](std::int64_t unix_ms) {
        return fmt::format("\"{}\"", timeText(unix_ms, Zone::Utc));
    };
    return fmt::format(R"({{"records":{},"exact":{},"from":{},"to":{}}})", missed.records, missed.exact,
                       missed.from_ms == 0 ? "null" : time(missed.from_ms), time(missed.to_ms));
}

std::string ageText(std::int64_t seconds) {
    constexpr std::int64_t kMinute = 60, kHour = 3'600, kDay = 86'400;
    const auto in = [&](std::int64_t unit, std::string_view word) {
        const std::int64_t number = seconds / unit;
        return fmt::format("{} {}{}", number, word, number == 1 ? "" : "s");
    };
    if (seconds < 2 * kHour) return in(kMinute, "minute");
    return seconds < 2 * kDay ? in(kHour, "hour") : in(kDay, "day");
}

}  // namespace

void keepMissedOf(std::vector<ShippedJournal>& gateways, std::optional<std::int64_t> since_ms,
                  std::optional<std::int64_t> until_ms) {
    for (ShippedJournal& gateway : gateways)
        std::erase_if(gateway.missed, [&](const MissedRecords& missed) {
            return (since_ms && missed.to_ms < *since_ms) || (until_ms && missed.from_ms > *until_ms);
        });
}

std::string namesOf(const std::vector<ShippedJournal>& gateways) {
    constexpr std::size_t kMostNamed = 12;  // nobody looks at a list of hundreds
    if (gateways.size() > kMostNamed) return fmt::format("{} gateways", gateways.size());
    std::vector<std::string> names;
    names.reserve(gateways.size());
    for (const ShippedJournal& gateway : gateways)
        names.push_back(printable(gateway.gateway));
    return fmt::format("{}", fmt::join(names, ", "));
}

std::string askedText(const std::vector<ShippedJournal>& gateways) {
    constexpr std::int64_t kLate = 60;
    std::string late;
    for (const ShippedJournal& gateway : gateways) {
        const std::string name = printable(gateway.gateway);
        if (const MissedRecords missed = allMissed(gateway); missed.records > 0)
            late += fmt::format("; {} {} missing", store::missedText(missed, name),
                                missed.records == 1 ? "is" : "are");
        if (gateway.age_secs && *gateway.age_secs < kLate) continue;
        late += gateway.age_secs ? fmt::format("; {}'s newest is {} old", name, ageText(*gateway.age_secs))
                                 : fmt::format("; not all of {}'s has come yet", name);
    }
    return fmt::format("asked the fleet's database: {}{}", namesOf(gateways), late);
}

std::string askedAsJson(const std::vector<ShippedJournal>& gateways) {
    std::string items;
    for (const ShippedJournal& gateway : gateways)
        items += fmt::format(R"({}{{"gateway":"{}","age_seconds":{},"missing":{}}})",
                             items.empty() ? "" : ",", escaped(gateway.gateway),
                             gateway.age_secs ? fmt::to_string(*gateway.age_secs) : "null",
                             missedAsJson(allMissed(gateway)));
    return "[" + items + "]";
}

}  // namespace mailgate::answers
