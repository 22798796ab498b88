// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/arguments.h"

#include "gateway/base/clock.h"
#include "protocols/values/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <span>
#include <system_error>
#include <utility>
#include <variant>

namespace mailgate::cli {

namespace {

/// How many characters have to be replaced, added or left out to make the one word the other.
std::size_t distance(std::string_view from, std::string_view to) {
    std::vector<std::size_t> row(to.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < from.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i + 1);
        for (std::size_t j = 0; j < to.size(); ++j)
            diagonal = std::exchange(row[j + 1],
                                     std::min({diagonal + (from[i] != to[j]), row[j] + 1, row[j + 1] + 1}));
    }
    return row.back();
}

}  // namespace

std::int64_t timeArgument(const std::string& option, const std::string& text, TimeMeans means, Zone zone) {
    const auto time = parseTime(text, unixMillis(), means, zone);
    if (const auto* milliseconds = std::get_if<std::int64_t>(&time)) return *milliseconds;
    throw CLI::ValidationError(
        fmt::format("{}: \"{}\" {}", option, printable(text), std::get<TimeError>(time).why));
}

std::int64_t spanArgument(const std::string& option, const std::string& text) {
    const auto span = parseSpan(text);
    if (const auto* milliseconds = std::get_if<std::int64_t>(&span)) return (*milliseconds + 999) / 1'000;
    throw CLI::ValidationError(
        fmt::format("{}: \"{}\" {}", option, printable(text), std::get<TimeError>(span).why));
}

Period periodArgument(const std::optional<std::string>& since, const std::optional<std::string>& until,
                      Zone zone) {
    Period period;
    if (since) period.since_ms = timeArgument("--since", *since, TimeMeans::Beginning, zone);
    if (until) period.until_ms = timeArgument("--until", *until, TimeMeans::End, zone);
    if (since && *period.since_ms > unixMillis())
        throw CLI::ValidationError(
            fmt::format("--since: {} is in the future (a time of the day before: \"yesterday 10:00\")",
                        timeText(*period.since_ms, zone)));
    if (since && until && *period.since_ms > *period.until_ms)
        throw CLI::ValidationError(fmt::format("--since: {} is after --until {}",
                                               timeText(*period.since_ms, zone),
                                               timeText(*period.until_ms, zone)));
    return period;
}

const std::string kSinceHelp =
    "Beginning of the period: yesterday, 10:00, 2026-11-25, \"2026-11-25 10:00\", a time ago (30m, 1h30m, "
    "7d, 1w), "
    "or an RFC 3339 time";
const std::string kUntilHelp = "End of the period, in the same form";

std::string didYouMean(const std::vector<std::string>& names, std::string_view word) {
    std::string question;
    std::size_t least = 3;
    for (const std::string& name : names)
        if (const std::size_t far = distance(word, name); far < least) {
            least = far;
            question = fmt::format(": did you mean \"{}\"?", name);
        }
    return question;
}

CLI::Validator oneOf(std::vector<std::string> words) {
    const std::string described = fmt::format("{{{}}}", fmt::join(words, ","));
    return {[words = std::move(words)](const std::string& text) -> std::string {
                if (std::find(words.begin(), words.end(), text) != words.end()) return {};
                const std::span<const std::string> before(words.data(), words.size() - 1);
                return fmt::format("expected {} or {}, found \"{}\"", fmt::join(before, ", "), words.back(),
                                   printable(text));
            },
            described};
}

std::string limitError(const std::string& text) {
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool valid = error == std::errc() && end == text.data() + text.size() && number > 0;
    return valid ? "" : fmt::format("expected a number of 1 or more, found \"{}\"", printable(text));
}

}  // namespace mailgate::cli
