// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/values.h"

#include <fmt/format.h>

#include <charconv>
#include <iterator>
#include <limits>
#include <span>

namespace mailgate {

namespace {

struct Unit {
    std::string_view word;
    std::uint64_t factor;
};

// Largest first: formatDuration takes the first that divides.
constexpr Unit kTimeUnits[] = {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}};
constexpr Unit kSizeUnits[] = {{"", 1}, {"B", 1}, {"KiB", 1u << 10}, {"MiB", 1u << 20}, {"GiB", 1u << 30}};

constexpr std::uint64_t kTenYears = std::uint64_t{3'653} * 86'400'000;

std::optional<std::uint64_t> parseNumberWithUnit(std::string_view text, std::span<const Unit> units,
                                                 std::uint64_t maximum) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{}) return std::nullopt;
    const std::string_view word = text.substr(static_cast<std::size_t>(end - text.data()));
    for (const Unit& unit : units) {
        if (word != unit.word) continue;
        if (number > maximum / unit.factor) return std::nullopt;
        return number * unit.factor;
    }
    return std::nullopt;
}

std::optional<std::uint16_t> parsePort(std::string_view text) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port == 0) return std::nullopt;
    return port;
}

}  // namespace

std::optional<std::chrono::milliseconds> parseDuration(std::string_view text) {
    const auto value = parseNumberWithUnit(text, kTimeUnits, kTenYears);
    if (!value) return std::nullopt;
    return std::chrono::milliseconds(static_cast<std::int64_t>(*value));
}

std::string formatDuration(std::chrono::milliseconds duration) {
    if (duration.count() == 0) return "0s";
    for (const Unit& unit : kTimeUnits) {
        const auto factor = static_cast<std::int64_t>(unit.factor);
        if (duration.count() % factor == 0) return fmt::format("{}{}", duration.count() / factor, unit.word);
    }
    return fmt::format("{}ms", duration.count());
}

std::optional<std::uint64_t> parseSize(std::string_view text) {
    return parseNumberWithUnit(text, kSizeUnits, std::numeric_limits<std::int64_t>::max());
}

std::string formatSize(std::uint64_t bytes) {
    for (auto unit = std::rbegin(kSizeUnits); bytes != 0 && unit->factor > 1; ++unit) {
        if (bytes % unit->factor == 0) return fmt::format("{}{}", bytes / unit->factor, unit->word);
    }
    return fmt::to_string(bytes);
}

std::optional<HostPort> parseHostPort(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    std::string_view host = text.substr(0, colon);
    const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    const auto port = parsePort(text.substr(colon + 1));
    if (!port || host.empty() || bracketed != (host.find(':') != std::string_view::npos)) return std::nullopt;
    return HostPort{std::string(host), bracketed, *port};
}

}  // namespace mailgate
