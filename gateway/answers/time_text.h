// SPDX-License-Identifier: Apache-2.0
/// \file  Times as people write and read them: what --since, --until and --expires take, and what tables show.
/// Pure functions of their arguments and the local time zone (TZ, /etc/localtime).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace mailgate::answers {

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

/// Unix seconds of a date, or of a date and a time, without an offset; none: it is none of these.
std::optional<std::int64_t> calendarTime(std::string_view text, Zone zone);

/// Milliseconds of 90s, 30m, 1h30m, 7d, 1w; at most ten years.
std::variant<std::int64_t, TimeError> parseSpan(std::string_view text);

/// RFC 3339 in whole seconds: "2026-11-25T10:00:00+01:00", in UTC "2026-11-25T09:00:00Z".
std::string timeText(std::int64_t unix_ms, Zone zone);
/// ... and with milliseconds.
std::string exactTimeText(std::int64_t unix_ms, Zone zone);

/// The times of a table. In files and pipes they are whole; on a terminal, where there is little room, the heading has
/// the present offset, "TIME (+01:00)", and times their own only where it is another: "2026-11-25 10:00:00".
class Times {
  public:
    explicit Times(Zone zone) : zone_(zone) {}
    /// For a terminal.
    Times(Zone zone, std::int64_t now_ms) : zone_(zone), now_ms_(now_ms) {}

    std::string title(std::string_view word) const;
    std::string text(std::int64_t unix_ms) const;
    /// Of what the gateway's API says; what is no time in RFC 3339 stays as it is.
    std::string text(const std::string& rfc3339) const;
    std::size_t width() const;  ///< of a text, mostly

  private:
    Zone zone_;
    std::optional<std::int64_t> now_ms_;
};

}  // namespace mailgate::answers
