// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/time_text.h"

#include <gtest/gtest.h>

#include <time.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace mailgate::cli {
namespace {

/// Of the process, until it goes out of scope. The zones that the tests name have rules of their own in POSIX's form,
/// so that no tzdata is needed.
class LocalZone {
  public:
    explicit LocalZone(const char* zone) {
        if (const char* before = std::getenv("TZ")) before_ = before;
        set(zone);
    }
    ~LocalZone() { set(before_ ? before_->c_str() : nullptr); }
    LocalZone(const LocalZone&) = delete;
    LocalZone& operator=(const LocalZone&) = delete;

  private:
    static void set(const char* zone) {
        if (zone == nullptr)
            ::unsetenv("TZ");
        else
            ::setenv("TZ", zone, 1);
        ::tzset();
    }

    std::optional<std::string> before_;
};

constexpr const char* kBerlin = "CET-1CEST,M3.5.0,M10.5.0/3";
constexpr const char* kCairo = "EET-2EEST,M4.5.5/0,M10.5.4/24";  // put forward at midnight
constexpr const char* kLordHowe = "LHST-10:30LHDT-11,M10.1.0,M4.1.0";
constexpr const char* kNewfoundland = "NST3:30NDT,M3.2.0,M11.1.0";

constexpr std::int64_t kSecond = 1'000, kMinute = 60 * kSecond, kHour = 60 * kMinute, kDay = 24 * kHour;
/// 2026-11-26T08:25:05Z, a Thursday.
constexpr std::int64_t kTimeTextNow = 1'795'681'505'000;

std::string read(std::string_view text, TimeMeans means = TimeMeans::Beginning, Zone zone = Zone::Local) {
    const auto time = parseTime(text, kTimeTextNow, means, zone);
    if (const auto* error = std::get_if<TimeError>(&time)) return error->why;
    return exactTimeText(std::get<std::int64_t>(time), zone);
}

std::int64_t instant(std::string_view text, TimeMeans means = TimeMeans::Beginning) {
    const auto time = parseTime(text, kTimeTextNow, means, Zone::Local);
    EXPECT_TRUE(std::holds_alternative<std::int64_t>(time)) << text;
    return std::get<std::int64_t>(time);
}

TEST(TimeText, ACalendarTimeIsADateWithOrWithoutAClockTime) {
    const LocalZone zone(kBerlin);
    EXPECT_EQ(answers::calendarTime("2026-12-31", Zone::Local), 1'798'671'600);
    EXPECT_EQ(answers::calendarTime(" 2026-12-31 18:00", Zone::Local), 1'798'736'400);
    EXPECT_EQ(answers::calendarTime("2026-12-31", Zone::Utc), 1'798'675'200);
    for (const char* other :
         {"", "7d", "tomorrow", "18:00", "31.12.2026", "2026-02-30", "2026-12-31 25:00", "2026-12-31x"})
        EXPECT_EQ(answers::calendarTime(other, Zone::Local), std::nullopt) << other;
}

TEST(TimeText, DaysAndClockTimesAreOfTheLocalZone) {
    const LocalZone berlin(kBerlin);
    EXPECT_EQ(timeText(kTimeTextNow, Zone::Local), "2026-11-26T09:25:05+01:00");
    EXPECT_EQ(read("now"), "2026-11-26T09:25:05.000+01:00");
    EXPECT_EQ(read("today"), "2026-11-26T00:00:00.000+01:00");
    EXPECT_EQ(read("Yesterday"), "2026-11-25T00:00:00.000+01:00");
    EXPECT_EQ(read("tomorrow"), "2026-11-27T00:00:00.000+01:00");
    EXPECT_EQ(read("yesterday 10:00"), "2026-11-25T10:00:00.000+01:00");
    EXPECT_EQ(read("10:00"), "2026-11-26T10:00:00.000+01:00");
    EXPECT_EQ(read("9:05"), "2026-11-26T09:05:00.000+01:00");
    EXPECT_EQ(read("23:59:59"), "2026-11-26T23:59:59.000+01:00");
    EXPECT_EQ(read("2026-11-25"), "2026-11-25T00:00:00.000+01:00");
    EXPECT_EQ(read("2026-11-25 10:00"), "2026-11-25T10:00:00.000+01:00");
    EXPECT_EQ(read("2026-07-25T10:00:07"), "2026-07-25T10:00:07.000+02:00");
    EXPECT_EQ(read(" 2024-02-29 "), "2024-02-29T00:00:00.000+01:00");
}

TEST(TimeText, OrOfUtc) {
    const LocalZone berlin(kBerlin);
    EXPECT_EQ(timeText(kTimeTextNow, Zone::Utc), "2026-11-26T08:25:05Z");
    EXPECT_EQ(read("yesterday 10:00", TimeMeans::Beginning, Zone::Utc), "2026-11-25T10:00:00.000Z");
    EXPECT_EQ(read("2026-07-25 10:00", TimeMeans::End, Zone::Utc), "2026-07-25T10:00:00.000Z");
}

TEST(TimeText, ATimeWithAnOffsetIsThatInstantInAnyZone) {
    const LocalZone berlin(kBerlin);
    for (const Zone zone : {Zone::Local, Zone::Utc}) {
        const auto time = parseTime("2026-11-25T10:00:00.25-03:30", kTimeTextNow, TimeMeans::End, zone);
        EXPECT_EQ(std::get<std::int64_t>(time), 1'795'613'400'250);
    }
    EXPECT_EQ(instant("1970-01-01T00:00:01.9999Z"), 1'999);
    EXPECT_EQ(instant(exactTimeText(kTimeTextNow + 7, Zone::Local)), kTimeTextNow + 7)
        << "what is printed can be asked for";
}

TEST(TimeText, DurationsCountFromNow) {
    EXPECT_EQ(instant("30m"), kTimeTextNow - 30 * kMinute);
    EXPECT_EQ(instant("1h30m"), kTimeTextNow - 90 * kMinute);
    EXPECT_EQ(instant("1w"), kTimeTextNow - 7 * kDay);
    EXPECT_EQ(instant("1w2d3h4m5s6ms", TimeMeans::End),
              kTimeTextNow - 9 * kDay - 3 * kHour - 4 * kMinute - 5'006);
    EXPECT_EQ(instant("2w", TimeMeans::Expiry), kTimeTextNow + 14 * kDay);
    EXPECT_EQ(instant("0s"), kTimeTextNow);
}

TEST(TimeText, AnHourThatComesTwiceIsTheFirstForABeginning) {
    const LocalZone berlin(kBerlin);
    EXPECT_EQ(read("2026-10-25 02:30", TimeMeans::Beginning), "2026-10-25T02:30:00.000+02:00");
    EXPECT_EQ(read("2026-10-25 02:30", TimeMeans::End), "2026-10-25T02:30:00.000+01:00");
    EXPECT_EQ(read("2026-10-25 02:30", TimeMeans::Expiry), "2026-10-25T02:30:00.000+01:00");
    EXPECT_EQ(read("2026-10-25 01:59:59"), "2026-10-25T01:59:59.000+02:00");
    EXPECT_EQ(read("2026-10-25 03:00"), "2026-10-25T03:00:00.000+01:00");
    EXPECT_EQ(instant("2026-10-26") - instant("2026-10-25"), 25 * kHour);
}

TEST(TimeText, ATimeThatIsSkippedIsTheInstantOfTheChange) {
    const LocalZone berlin(kBerlin);
    for (const TimeMeans means : {TimeMeans::Beginning, TimeMeans::End, TimeMeans::Expiry}) {
        EXPECT_EQ(read("2026-03-29 02:00", means), "2026-03-29T03:00:00.000+02:00");
        EXPECT_EQ(read("2026-03-29 02:59:59", means), "2026-03-29T03:00:00.000+02:00");
    }
    EXPECT_EQ(read("2026-03-29 01:59:59"), "2026-03-29T01:59:59.000+01:00");
    EXPECT_EQ(instant("2026-03-30") - instant("2026-03-29"), 23 * kHour);
}

TEST(TimeText, OtherZonesChangeOtherwise) {
    {
        const LocalZone cairo(kCairo);
        EXPECT_EQ(read("2026-04-24"), "2026-04-24T01:00:00.000+03:00") << "the day has no midnight";
    }
    {
        const LocalZone lord_howe(kLordHowe);  // by half an hour
        EXPECT_EQ(read("2026-10-04 02:15"), "2026-10-04T02:30:00.000+11:00");
        EXPECT_EQ(read("2026-04-05 01:45", TimeMeans::Beginning), "2026-04-05T01:45:00.000+11:00");
        EXPECT_EQ(read("2026-04-05 01:45", TimeMeans::End), "2026-04-05T01:45:00.000+10:30");
    }
    const LocalZone newfoundland(kNewfoundland);
    EXPECT_EQ(read("2026-11-25"), "2026-11-25T00:00:00.000-03:30");
    EXPECT_EQ(timeText(0, Zone::Local), "1969-12-31T20:30:00-03:30");
}

TEST(TimeText, WhatIsNoTimeIsAnsweredWithWhatWouldBe) {
    const std::string expected = "is not a time: expected yesterday, today, 10:00, 2026-11-25, ";
    for (const char* text : {"", "noon", "10", "yesterday10:00", "2026-11-25x10:00", "2026-11-25 10", "10:0",
                             "10:00:", "10:00pm", "2026/11/25", "25.11.2026", "-1h", "1h ago",
                             "today yesterday", "never", "2026-11-25 ", "1.5h", "+1h"}) {
        const std::string answer = read(text);
        const bool is_wrong = answer.rfind(expected, 0) == 0;
        EXPECT_EQ(is_wrong, std::string(text) != "10" && std::string(text) != "2026-11-25 ")
            << text << ' ' << answer;
    }
    EXPECT_EQ(read("x", TimeMeans::Expiry).rfind("is not a time: expected never, tomorrow, ", 0), 0u);
    EXPECT_EQ(read("10"), "has a number without a unit: w, d, h, m, s or ms");
    EXPECT_EQ(read("1h30"), "has a number without a unit: w, d, h, m, s or ms");
    EXPECT_EQ(read("1y"), "has the unknown unit \"y\": expected w, d, h, m, s or ms");
    EXPECT_EQ(read("30m1h"), "has its units in the wrong order: expected 1w2d, 1h30m");
    EXPECT_EQ(read("1h1h"), "has its units in the wrong order: expected 1w2d, 1h30m");
    EXPECT_EQ(read("600w"), "is more than ten years");
    EXPECT_EQ(read("99999999999999999999999d"), "is more than ten years");
    EXPECT_EQ(read("24:00"), "has a clock time that is not between 00:00 and 23:59:59");
    EXPECT_EQ(read("2026-11-25 10:60"), "has a clock time that is not between 00:00 and 23:59:59");
    EXPECT_EQ(read("2026-02-29"), "has a date that is not in the calendar");
    EXPECT_EQ(read("2026-13-01 10:00"), "has a date that is not in the calendar");
}

TEST(TimeText, OnATerminalTheHeadingHasTheOffset) {
    const LocalZone berlin(kBerlin);
    const Times whole(Zone::Local), brief(Zone::Local, kTimeTextNow), utc(Zone::Utc, kTimeTextNow);
    EXPECT_EQ(whole.title("TIME"), "TIME");
    EXPECT_EQ(whole.text(kTimeTextNow), "2026-11-26T09:25:05+01:00");
    EXPECT_EQ(whole.width(), 25u);
    EXPECT_EQ(brief.title("TIME"), "TIME (+01:00)");
    EXPECT_EQ(brief.text(kTimeTextNow), "2026-11-26 09:25:05");
    EXPECT_EQ(brief.width(), 19u);
    EXPECT_EQ(utc.title("SINCE"), "SINCE (UTC)");
    EXPECT_EQ(utc.text(kTimeTextNow), "2026-11-26 08:25:05");
    const std::int64_t summer = instant("2026-07-25 10:00");
    EXPECT_EQ(brief.text(summer), "2026-07-25 10:00:00+02:00");
    EXPECT_EQ(instant(brief.text(summer)), summer);
    EXPECT_EQ(instant(brief.text(kTimeTextNow)), kTimeTextNow / 1'000 * 1'000);
    EXPECT_EQ(brief.text(std::string("2026-11-26T08:25:05Z")), "2026-11-26 09:25:05");
    EXPECT_EQ(brief.text(std::string("-")), "-");
}

}  // namespace
}  // namespace mailgate::cli
