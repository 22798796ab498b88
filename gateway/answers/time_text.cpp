// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/time_text.h"

#include "gateway/config/values.h"
#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>
#include <optional>
#include <utility>

namespace mailgate::answers {

namespace {

using std::chrono::day;
using std::chrono::days;
using std::chrono::month;
using std::chrono::sys_days;
using std::chrono::year;
using std::chrono::year_month_day;

using Answer = std::variant<std::int64_t, TimeError>;

constexpr std::int64_t kDaySeconds = 86'400;

// In RFC 3339.
constexpr std::size_t kDayEnd = std::string_view("2026-11-25").size();
constexpr std::size_t kSecondsEnd = std::string_view("2026-11-25T10:00:00").size();

/// Seconds east of Greenwich at an instant.
std::int64_t offsetAt(UnixSeconds instant, Zone zone) {
    const std::time_t time = instant;
    std::tm local{};
    ::tzset();
    return zone == Zone::Utc || ::localtime_r(&time, &local) == nullptr ? 0 : local.tm_gmtoff;
}

/// The first instant after `before` at which the clocks show the offset of `after`; there is one change between.
UnixSeconds changeBetween(UnixSeconds before, UnixSeconds after, Zone zone) {
    const std::int64_t offset = offsetAt(after, zone);
    while (after - before > 1) {
        const UnixSeconds middle = before + (after - before) / 2;
        (offsetAt(middle, zone) == offset ? after : before) = middle;
    }
    return after;
}

/// The instant at which clocks show `shown`, which is counted as if they were in UTC.
UnixSeconds instantOf(std::int64_t shown, TimeMeans means, Zone zone) {
    const std::int64_t before = offsetAt(shown - kDaySeconds, zone);
    const std::int64_t after = offsetAt(shown + kDaySeconds, zone);
    const UnixSeconds first = shown - before, second = shown - after;
    const bool first_is = offsetAt(first, zone) == before, second_is = offsetAt(second, zone) == after;
    if (first_is && second_is) return means == TimeMeans::Beginning ? first : second;
    if (first_is) return first;
    return second_is ? second : changeBetween(second, first, zone);
}

bool takeWord(std::string_view& text, std::string_view word) {
    if (!startsWithIgnoreCase(text, word)) return false;
    text.remove_prefix(word.size());
    return true;
}

/// Exactly so many digits.
std::optional<unsigned> takeDigits(std::string_view& text, std::size_t count) {
    unsigned number = 0;
    if (text.size() < count) return std::nullopt;
    const auto [end, error] = std::from_chars(text.data(), text.data() + count, number);
    if (error != std::errc() || end != text.data() + count) return std::nullopt;
    text.remove_prefix(count);
    return number;
}

/// "2026-11-25"; what has that form may still be no date.
std::optional<year_month_day> takeDay(std::string_view& text) {
    std::string_view rest = text;
    const auto years = takeDigits(rest, 4);
    if (!years || !takeWord(rest, "-")) return std::nullopt;
    const auto months = takeDigits(rest, 2);
    if (!months || !takeWord(rest, "-")) return std::nullopt;
    const auto of_month = takeDigits(rest, 2);
    if (!of_month) return std::nullopt;
    text = rest;
    return year(static_cast<int>(*years)) / month(*months) / day(*of_month);
}

/// "10:00", "10:00:30", in seconds; what has that form may still be beyond 23:59:59, which is kNoClock.
constexpr std::int64_t kNoClock = -1;
std::optional<std::int64_t> clockOf(std::string_view text) {
    auto hours = takeDigits(text, 2);
    if (!hours) hours = takeDigits(text, 1);
    if (!hours || !takeWord(text, ":")) return std::nullopt;
    const auto minutes = takeDigits(text, 2);
    std::optional<unsigned> seconds = 0;
    if (minutes && takeWord(text, ":")) seconds = takeDigits(text, 2);
    if (!minutes || !seconds || !text.empty()) return std::nullopt;
    if (*hours > 23 || *minutes > 59 || *seconds > 59) return kNoClock;
    return *hours * 3'600 + *minutes * 60 + *seconds;
}

/// The day that the clocks show.
sys_days today(std::int64_t now_ms, Zone zone) {
    const UnixSeconds now = now_ms / 1'000;
    return std::chrono::floor<days>(
        std::chrono::sys_seconds(std::chrono::seconds(now + offsetAt(now, zone))));
}

/// "today" and the like, or a date; takes it and what separates it from a clock time.
std::optional<sys_days> takeNamedDay(std::string_view& text, std::int64_t now_ms, Zone zone) {
    constexpr std::pair<std::string_view, int> kNames[]{{"today", 0}, {"yesterday", -1}, {"tomorrow", 1}};
    for (const auto& [name, distance] : kNames)
        if (takeWord(text, name)) return today(now_ms, zone) + days(distance);
    return std::nullopt;
}

/// The largest unit first, each once, as in "1w2d" or "1h30m"; milliseconds.
std::variant<std::int64_t, TimeError> spanOf(std::string_view text) {
    constexpr std::int64_t kTenYears = std::int64_t{3'653} * kDaySeconds * 1'000;
    constexpr std::string_view kNumbers = "0123456789";
    std::int64_t sum = 0, last_unit = kTenYears;
    while (!text.empty()) {
        const std::size_t digits = std::min(text.find_first_not_of(kNumbers), text.size());
        const std::size_t length = std::min(text.find_first_of(kNumbers, digits), text.size());
        std::string part(text.substr(0, length));
        const std::string unit = part.substr(digits);
        text.remove_prefix(length);
        if (digits == 0 || unit.empty()) return TimeError{"has a number without a unit: w, d, h, m, s or ms"};
        const bool weeks = unit == "w";
        if (weeks) part.back() = 'd';
        const auto one = parseDuration("1" + (weeks ? "d" : unit));
        if (!one)
            return TimeError{
                fmt::format("has the unknown unit \"{}\": expected w, d, h, m, s or ms", printable(unit))};
        const std::int64_t unit_ms = one->count() * (weeks ? 7 : 1);
        if (unit_ms >= last_unit) return TimeError{"has its units in the wrong order: expected 1w2d, 1h30m"};
        last_unit = unit_ms;
        const auto duration = parseDuration(part);
        if (!duration || (sum += duration->count() * (weeks ? 7 : 1)) > kTenYears)
            return TimeError{"is more than ten years"};
    }
    return sum;
}

bool looksLikeSpan(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyz") == text.npos &&
           text.front() <= '9';
}

/// The milliseconds of RFC 3339's fraction, which parseUtc() cuts off.
std::int64_t fractionOf(std::string_view text) {
    const std::size_t point = text.find('.');
    if (point == std::string_view::npos) return 0;
    std::string_view fraction = text.substr(point + 1);
    std::string digits(fraction.substr(0, fraction.find_first_not_of("0123456789")));
    digits.resize(3, '0');
    std::int64_t milliseconds = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), milliseconds);
    return milliseconds;
}

Answer wrong(TimeMeans means) {
    const bool expiry = means == TimeMeans::Expiry;
    return TimeError{fmt::format(
        "is not a time: expected {}, 10:00, 2026-11-25, \"2026-11-25 10:00\", {} such as 30m, 1h30m, 7d or "
        "1w, "
        "or an RFC 3339 time such as 2026-11-25T10:00:00+01:00",
        expiry ? "never, tomorrow" : "yesterday, today", expiry ? "a time from now on" : "a time ago")};
}

}  // namespace

Answer parseSpan(std::string_view text) {
    text = trimmed(text);
    if (!looksLikeSpan(text)) return TimeError{"is not a duration: expected 30m, 1h30m, 7d or 1w"};
    return spanOf(text);
}

std::optional<std::int64_t> calendarTime(std::string_view text, Zone zone) {
    std::string_view rest = trimmed(text);
    if (!takeDay(rest)) return std::nullopt;
    const auto time = parseTime(text, 0, TimeMeans::Expiry, zone);
    const auto* const milliseconds = std::get_if<std::int64_t>(&time);
    return milliseconds == nullptr ? std::nullopt : std::optional(*milliseconds / 1'000);
}

Answer parseTime(std::string_view text, std::int64_t now_ms, TimeMeans means, Zone zone) {
    text = trimmed(text);
    if (equalsIgnoreCase(text, "now")) return now_ms;
    if (const auto exact = parseUtc(text)) return *exact * 1'000 + fractionOf(text);
    if (looksLikeSpan(text)) {
        auto span = spanOf(text);
        const auto* milliseconds = std::get_if<std::int64_t>(&span);
        if (milliseconds == nullptr) return span;
        return means == TimeMeans::Expiry ? now_ms + *milliseconds : now_ms - *milliseconds;
    }

    std::string_view rest = text;
    std::optional<sys_days> date = takeNamedDay(rest, now_ms, zone);
    const bool named = date.has_value();
    if (const auto written = named ? std::nullopt : takeDay(rest)) {
        if (!written->ok()) return TimeError{"has a date that is not in the calendar"};
        date = sys_days(*written);
    }
    std::int64_t clock = 0;
    if (!date || !rest.empty()) {
        if (date && rest.front() != ' ' && (named || (rest.front() != 'T' && rest.front() != 't')))
            return wrong(means);
        if (date) rest = trimmed(rest.substr(1));
        const auto given = clockOf(rest);
        if (!given) return wrong(means);
        if (*given == kNoClock) return TimeError{"has a clock time that is not between 00:00 and 23:59:59"};
        clock = *given;
    }
    const sys_days day = date ? *date : today(now_ms, zone);
    return instantOf(day.time_since_epoch().count() * kDaySeconds + clock, means, zone) * 1'000;
}

std::string timeText(std::int64_t unix_ms, Zone zone) {
    const UnixSeconds seconds =
        std::chrono::floor<std::chrono::seconds>(std::chrono::milliseconds(unix_ms)).count();
    const std::int64_t offset = offsetAt(seconds, zone);
    std::string text = formatUtc(seconds + offset);
    if (offset == 0 || text.back() != 'Z') return text;
    text.pop_back();
    const std::int64_t minutes = (offset < 0 ? -offset : offset) / 60;
    return text + fmt::format("{}{:02}:{:02}", offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

std::string exactTimeText(std::int64_t unix_ms, Zone zone) {
    std::string text = timeText(unix_ms, zone);
    if (text.size() > kSecondsEnd)
        text.insert(kSecondsEnd, fmt::format(".{:03}", (unix_ms % 1'000 + 1'000) % 1'000));
    return text;
}

std::string Times::title(std::string_view word) const {
    if (!now_ms_) return std::string(word);
    const std::string offset = timeText(*now_ms_, zone_).substr(kSecondsEnd);
    return fmt::format("{} ({})", word, offset == "Z" ? "UTC" : offset);
}

std::string Times::text(std::int64_t unix_ms) const {
    std::string text = timeText(unix_ms, zone_);
    if (!now_ms_ || text.size() <= kSecondsEnd) return text;
    text[kDayEnd] = ' ';
    if (text.substr(kSecondsEnd) == timeText(*now_ms_, zone_).substr(kSecondsEnd)) text.resize(kSecondsEnd);
    return text;
}

std::string Times::text(const std::string& rfc3339) const {
    const auto time = parseUtc(rfc3339);
    return time ? text(*time * 1'000) : rfc3339;
}

std::size_t Times::width() const {
    return now_ms_ ? kSecondsEnd : timeText(0, zone_).size();
}

}  // namespace mailgate::answers
