// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/arguments.h"

#include "gateway/base/clock.h"

#include <gmock/gmock.h>
#include <CLI/CLI.hpp>

namespace mailgate::cli {
namespace {

using testing::HasSubstr;

std::string errorOf(const std::optional<std::string>& since, const std::optional<std::string>& until) {
    try {
        periodArgument(since, until, Zone::Utc);
        return {};
    } catch (const CLI::ValidationError& error) {
        return error.what();
    }
}

TEST(Arguments, APeriodHasABeginningAndAnEndOrNot) {
    const Period open = periodArgument({}, {}, Zone::Utc);
    EXPECT_FALSE(open.since_ms || open.until_ms);
    const std::int64_t now = unixMillis();
    const Period hour = periodArgument("1h", "now", Zone::Utc);
    EXPECT_GE(*hour.since_ms, now - 3'600'000);
    EXPECT_GE(*hour.until_ms, now);
    EXPECT_EQ(periodArgument({}, "1970-01-01T00:00:01Z", Zone::Utc).until_ms, 1'000);
}

TEST(Arguments, APeriodThatNothingCanBeInIsAnError) {
    EXPECT_EQ(errorOf("2026-01-02", "2026-01-01"),
              "--since: 2026-01-02T00:00:00Z is after --until 2026-01-01T00:00:00Z");
    EXPECT_THAT(errorOf("tomorrow", {}), HasSubstr("is in the future"));
    EXPECT_THAT(errorOf("no\n", {}), HasSubstr("--since: \"no\\x0A\" is not a time: expected yesterday"));
    EXPECT_THAT(errorOf({}, "1y"), HasSubstr("--until: \"1y\" has the unknown unit"));
    EXPECT_EQ(errorOf({}, "tomorrow"), "");
}

TEST(Arguments, ASpanIsInSecondsRoundedUp) {
    EXPECT_EQ(spanArgument("--unused", "1h30m"), 5'400);
    EXPECT_EQ(spanArgument("--unused", "1w"), 7 * 86'400);
    EXPECT_EQ(spanArgument("--unused", "1500ms"), 2);
    for (const char* bad : {"", "yesterday", "2026-11-25", "90", "-1d", "30m1h", "1y", "11000d"})
        EXPECT_THROW(spanArgument("--unused", bad), CLI::ValidationError) << bad;
}

TEST(Arguments, ALimitIsANumberFromOneOn) {
    EXPECT_EQ(limitError("1"), "");
    for (const char* bad : {"0", "-1", "x", "", "99999999999"})
        EXPECT_NE(limitError(bad), "") << bad;
}

}  // namespace
}  // namespace mailgate::cli
