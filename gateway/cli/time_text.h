// SPDX-License-Identifier: Apache-2.0
/// \file  Times as people write and read them: what --since, --until and --expires take, and what tables show.
/// Pure functions of their arguments and the local time zone (TZ, /etc/localtime).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace mailgate::cli {

/// In which times are shown, and read where they name no offset.
enum class Zone : std::uint8_t { Local, Utc };

/// What a duration counts from, and which instant is meant by an hour that comes twice, when clocks are
/// put back. A time that is skipped when they are put forward is the instant of the change in any case.
enum class TimeMeans : std::uint8_t {
    Beginning,  ///< so long ago; of two instants the first: nothing is missed
    End,        ///< so long ago; of two instants the second
    Expiry,     ///< so long from now; of two instants the second
};

/// What is wrong with a time, and what would be right: the rest of a sentence that begins with the text.
struct TimeError {
    std::string why;
};

/// Unix milliseconds of
///   now, today, yesterday, tomorrow (their beginning), also with a clock time: "yesterday 10:00"
///   10:00, 10:00:30 (today's)
///   2026-11-25, 2026-11-25 10:00, 2026-11-25T10:00:30
///   90s, 30m, 1h30m, 7d, 1w: ago, or from now on
///   2026-11-25T10:00:00+01:00, 2026-11-25T09:00:00.250Z (RFC 3339)
/// `text` may be anything.
std::variant<std::int64_t, TimeError> parseTime(std::string_view text, std::int64_t now_ms, TimeMeans means,
                                                Zone zone);

/// RFC 3339 in whole seconds: "2026-11-25T10:00:00+01:00", in UTC "2026-11-25T09:00:00Z".
std::string timeText(std::int64_t unix_ms, Zone zone);
/// ... and with milliseconds.
std::string exactTimeText(std::int64_t unix_ms, Zone zone);
/// The first form, of what the gateway's API says; what is no time in RFC 3339 stays as it is.
std::string timeText(const std::string& rfc3339, Zone zone);

}  // namespace mailgate::cli
