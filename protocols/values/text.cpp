// SPDX-License-Identifier: Apache-2.0
#include "protocols/values/text.h"

#include "protocols/values/byte_words.h"

#include <fmt/format.h>
#include <idn2.h>

#include <algorithm>
#include <chrono>

namespace mailgate {

namespace {

using std::chrono::sys_days;

/// As UTS 46 maps labels, which knows of case and composition; what is no label stays as it is.
std::string asLabels(std::string_view text) {
    std::string terminated(text);
    char* labels = nullptr;
    if (isAscii(text) || text.find('\0') != std::string_view::npos ||
        idn2_to_ascii_8z(terminated.c_str(), &labels, IDN2_NONTRANSITIONAL) != IDN2_OK)
        return terminated;
    std::string result(labels);
    idn2_free(labels);
    return result;
}

constexpr UnixSeconds kSecondsPerDay = 86'400;
constexpr std::string_view kBlanks = " \t";

constexpr bool hasFourDigitYear(UnixSeconds time) noexcept {
    constexpr UnixSeconds kYear0 = -62'167'219'200;
    constexpr UnixSeconds kYear10000 = 253'402'300'800;
    return time >= kYear0 && time < kYear10000;
}

/// Exactly `digits` decimal digits off the front of `text`.
std::optional<int> takeNumber(std::string_view& text, std::size_t digits) noexcept {
    if (text.size() < digits) return std::nullopt;
    int value = 0;
    for (const char digit : text.substr(0, digits)) {
        if (digit < '0' || digit > '9') return std::nullopt;
        value = value * 10 + (digit - '0');
    }
    text.remove_prefix(digits);
    return value;
}

bool take(std::string_view& text, std::string_view any_of) noexcept {
    if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
    text.remove_prefix(1);
    return true;
}

std::optional<UnixSeconds> takeDate(std::string_view& text) noexcept {
    const auto year = takeNumber(text, 4);
    if (!year || !take(text, "-")) return std::nullopt;
    const auto month = takeNumber(text, 2);
    if (!month || !take(text, "-")) return std::nullopt;
    const auto day = takeNumber(text, 2);
    if (!day) return std::nullopt;
    const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(unsigned(*month)),
                                           std::chrono::day(unsigned(*day))};
    if (!date.ok()) return std::nullopt;
    return sys_days(date).time_since_epoch().count() * kSecondsPerDay;
}

/// "HH:MM" as seconds.
std::optional<int> takeHoursMinutes(std::string_view& text) noexcept {
    const auto hour = takeNumber(text, 2);
    if (!hour || *hour > 23 || !take(text, ":")) return std::nullopt;
    const auto minute = takeNumber(text, 2);
    if (!minute || *minute > 59) return std::nullopt;
    return *hour * 3600 + *minute * 60;
}

std::optional<int> takeTime(std::string_view& text) noexcept {
    const auto minutes = takeHoursMinutes(text);
    if (!minutes || !take(text, ":")) return std::nullopt;
    const auto second = takeNumber(text, 2);
    if (!second || *second > 60) return std::nullopt;  // 60: a leap second
    if (take(text, ".")) {
        if (!take(text, "0123456789")) return std::nullopt;
        while (take(text, "0123456789")) {
        }
    }
    return *minutes + *second;
}

/// Seconds to subtract to get to UTC.
std::optional<int> takeOffset(std::string_view& text) noexcept {
    if (take(text, "Zz")) return 0;
    const int sign = !text.empty() && text.front() == '-' ? -1 : 1;
    if (!take(text, "+-")) return std::nullopt;
    const auto offset = takeHoursMinutes(text);
    if (!offset) return std::nullopt;
    return sign * *offset;
}

}  // namespace

std::string printable(std::string_view text, std::size_t limit) {
    std::string out;
    for (const char character : text.substr(0, limit)) {
        const auto byte = static_cast<unsigned char>(character);
        if (byte < 0x20 || byte > 0x7E)
            out += fmt::format("\\x{:02X}", byte);
        else
            out += character;
    }
    if (text.size() > limit) out += "...";
    return out;
}

bool hasControls(std::string_view text) noexcept {
    while (text.size() >= sizeof(std::uint64_t)) {
        using namespace byte_words;
        const std::uint64_t word = load(text, 0);
        if (any(below(word, 0x20) | equal(word, 0x7F))) return true;
        text.remove_prefix(sizeof word);
    }
    return std::any_of(text.begin(), text.end(), [](char c) { return isControl(c); });
}

std::string_view trimmed(std::string_view text) noexcept {
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::string_view takeField(std::string_view& rest) noexcept {
    rest = trimmed(rest);
    const std::string_view word = rest.substr(0, rest.find_first_of(kBlanks));
    rest = trimmed(rest.substr(word.size()));
    return word;
}

std::string lowerCase(std::string_view text) {
    std::string lowered(text);
    std::transform(lowered.begin(), lowered.end(), lowered.begin(), lower);
    return lowered;
}

bool equalsIgnoreCase(std::string_view one, std::string_view other) noexcept {
    // Mostly they are in the same case.
    return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                      [](char a, char b) { return a == b || lower(a) == lower(b); });
}

bool startsWithIgnoreCase(std::string_view text, std::string_view prefix) noexcept {
    return equalsIgnoreCase(text.substr(0, prefix.size()), prefix);
}

bool isAscii(std::string_view text) noexcept {
    return std::all_of(text.begin(), text.end(),
                       [](char character) { return static_cast<unsigned char>(character) < 0x80; });
}

std::string comparable(std::string_view text) {
    if (isAscii(text)) return std::string(text);
    const std::size_t at = text.rfind('@');
    if (at == std::string_view::npos) return asLabels(text);
    return asLabels(text.substr(0, at)) + '@' + asLabels(text.substr(at + 1));
}

bool sameText(std::string_view one, std::string_view other) {
    if (isAscii(one) && isAscii(other)) return equalsIgnoreCase(one, other);
    return equalsIgnoreCase(comparable(one), comparable(other));
}

std::string_view domainOf(std::string_view address) noexcept {
    const std::size_t at = address.rfind('@');
    return at == std::string_view::npos ? std::string_view() : address.substr(at + 1);
}

bool isAddressed(std::string_view address, std::string_view wanted) {
    if (wanted.starts_with('@')) return sameText(domainOf(address), wanted.substr(1));
    return sameText(address, wanted);
}

std::string formatUtc(UnixSeconds time) {
    if (!hasFourDigitYear(time)) return std::to_string(time);
    const std::chrono::sys_seconds point{std::chrono::seconds(time)};
    const auto midnight = std::chrono::floor<std::chrono::days>(point);
    const std::chrono::year_month_day date(midnight);
    const std::chrono::hh_mm_ss clock(point - midnight);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", int(date.year()), unsigned(date.month()),
                       unsigned(date.day()), clock.hours().count(), clock.minutes().count(),
                       clock.seconds().count());
}

std::optional<UnixSeconds> parseUtc(std::string_view text) noexcept {
    const auto date = takeDate(text);
    if (!date || !take(text, "Tt ")) return std::nullopt;
    const auto time = takeTime(text);
    if (!time) return std::nullopt;
    const auto offset = takeOffset(text);
    if (!offset || !text.empty()) return std::nullopt;
    const UnixSeconds utc = *date + *time - *offset;
    if (!hasFourDigitYear(utc)) return std::nullopt;  // an offset may lead out of the calendar
    return utc;
}

}  // namespace mailgate
