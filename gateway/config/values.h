// SPDX-License-Identifier: Apache-2.0
/// \file  The spellings of values in the configuration file and on the command line.
///
/// Pure functions from text to values; nullopt for anything that is not exactly of the form described.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

/// A whole number and its unit: "250ms", "30s", "5m", "1h", "7d". At most ten years, so that sums do not overflow.
std::optional<std::chrono::milliseconds> parseDuration(std::string_view text);

/// The same in the largest unit that divides it: 90 s is "90s", 120 s is "2m".
std::string formatDuration(std::chrono::milliseconds duration);

/// Bytes: "536", "536B", "64KiB", "1MiB", "2GiB".
std::optional<std::uint64_t> parseSize(std::string_view text);

/// The same in the largest unit that divides it, "B" never written: 536 is "536", 65,536 is "64KiB".
std::string formatSize(std::uint64_t bytes);

/// "192.0.2.1:25", "[2001:db8::1]:25", "mx1.example.org:25": the host without its brackets, and a port of 1 to 65535.
/// The host must not be empty, and is not checked beyond that; an IPv6 address must have its brackets.
struct HostPort {
    std::string host;
    bool bracketed = false;
    std::uint16_t port = 0;
};
std::optional<HostPort> parseHostPort(std::string_view text);

}  // namespace mailgate
