// SPDX-License-Identifier: Apache-2.0
#include "gateway/log/log_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace mailgate {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// 2026-11-20T21:00:00.123Z
const std::chrono::system_clock::time_point kNow{1'795'208'400'123ms};

LogLine line(LogFormat format, LogLevel level = LogLevel::Information) {
    return {format, level, "test", kNow};
}

TEST(LogLine, JsonHasTheTimeTheEventAndTheFieldsInTheirOrder) {
    LogLine json = line(LogFormat::Json);
    json.text("client", "198.51.100.7")
        .number("port", -5)
        .boolean("live", true)
        .null("tls")
        .textOrNull("user", "");
    EXPECT_EQ(
        json.finish(),
        "{\"time\":\"2026-11-20T21:00:00.123Z\",\"event\":\"test\",\"client\":\"198.51.100.7\",\"port\":-5,"
        "\"live\":true,\"tls\":null,\"user\":null}\n");
}

TEST(LogLine, LogfmtQuotesWhatNeedsItAndLeavesNullOut) {
    LogLine logfmt = line(LogFormat::Logfmt);
    logfmt.text("a", "plain").text("b", "two words").text("c", "x=y").text("d", "").text("e", "say \"no\"\n");
    logfmt.null("f").textOrNull("g", "").number("h", 7).boolean("i", false);
    EXPECT_EQ(logfmt.finish(),
              "time=2026-11-20T21:00:00.123Z event=test a=plain b=\"two words\" c=\"x=y\" d=\"\" "
              "e=\"say \\\"no\\\"\\u000a\" h=7 i=false\n");
}

TEST(LogLine, TheLevelIsToldUnlessItIsInformation) {
    EXPECT_THAT(std::string(line(LogFormat::Json, LogLevel::Error).finish()),
                EndsWith("\"event\":\"test\",\"level\":\"error\"}\n"));
    EXPECT_THAT(std::string(line(LogFormat::Logfmt, LogLevel::Debug).finish()),
                EndsWith("event=test level=debug\n"));
}

TEST(LogLine, TheTimeFollowsTheClockOverSecondsAndBack) {
    const std::pair<std::chrono::milliseconds, std::string_view> cases[] = {
        {0ms, "1970-01-01T00:00:00.000Z"},
        {1'709'251'199'999ms, "2024-02-29T23:59:59.999Z"},
        {1'709'251'200'000ms, "2024-03-01T00:00:00.000Z"},
        {1'709'251'199'007ms, "2024-02-29T23:59:59.007Z"},
        {-1ms, "1969-12-31T23:59:59.999Z"},
    };
    for (const auto& [since_epoch, want] : cases) {
        LogLine json(LogFormat::Json, LogLevel::Information, "test",
                     std::chrono::system_clock::time_point{since_epoch});
        EXPECT_THAT(std::string(json.finish()), StartsWith("{\"time\":\"" + std::string(want) + "\""));
    }
}

void addMail(LogLine& line) {
    line.beginArray("mail");
    for (const std::string_view from : {"a@x", "b@x"}) {
        line.beginObject().text("from", from).beginArray("recipients").item("c@x").item("d@x").endArray();
        line.number("size", 3).endObject();
    }
    line.endArray().text("end", "done");
}

TEST(LogLine, ArraysOfObjectsNest) {
    LogLine json = line(LogFormat::Json);
    addMail(json);
    EXPECT_THAT(
        std::string(json.finish()),
        EndsWith("\"mail\":[{\"from\":\"a@x\",\"recipients\":[\"c@x\",\"d@x\"],\"size\":3},"
                 "{\"from\":\"b@x\",\"recipients\":[\"c@x\",\"d@x\"],\"size\":3}],\"end\":\"done\"}\n"));
    LogLine logfmt = line(LogFormat::Logfmt);
    addMail(logfmt);
    EXPECT_THAT(
        std::string(logfmt.finish()),
        EndsWith("event=test mail.0.from=a@x mail.0.recipients.0=c@x mail.0.recipients.1=d@x mail.0.size=3 "
                 "mail.1.from=b@x mail.1.recipients.0=c@x mail.1.recipients.1=d@x mail.1.size=3 end=done\n"));
}

TEST(LogLine, EmptyArraysAreShownInJsonOnly) {
    EXPECT_THAT(std::string(line(LogFormat::Json).beginArray("mail").endArray().finish()),
                EndsWith("\"mail\":[]}\n"));
    EXPECT_THAT(std::string(line(LogFormat::Logfmt).beginArray("mail").endArray().finish()),
                EndsWith("event=test\n"));
}

TEST(LogLine, WhatIsLeftOpenOrBegunTooDeepIsClosed) {
    LogLine json = line(LogFormat::Json);
    json.beginArray("a")
        .beginObject()
        .beginArray("b")
        .beginObject()
        .beginArray("too")
        .item("deep")
        .endArray();
    json.text("kept", "yes");
    EXPECT_THAT(std::string(json.finish()), EndsWith("\"a\":[{\"b\":[{\"kept\":\"yes\"}]}]}\n"));
    json.text("late", "x").endArray();
    EXPECT_THAT(std::string(json.finish()), Not(HasSubstr("late")));
}

/// Brackets outside of strings balance; the texts of these tests hold none inside.
bool isBalanced(std::string_view text) {
    return std::count(text.begin(), text.end(), '{') == std::count(text.begin(), text.end(), '}') &&
           std::count(text.begin(), text.end(), '[') == std::count(text.begin(), text.end(), ']');
}

TEST(LogLine, AnEndlessArrayLosesItsLastItemsAndTheFieldsAfterItStay) {
    for (const LogFormat format : {LogFormat::Json, LogFormat::Logfmt}) {
        LogLine full = line(format);
        full.beginArray("mail");
        for (int i = 0; i < 1'000; ++i) {
            full.beginObject()
                .text("from", std::string(200, '\x01'))
                .beginArray("recipients")
                .item("r")
                .endArray();
            full.endObject();
        }
        full.endArray().text("end", "done");
        const std::string text(full.finish());
        EXPECT_LE(text.size(), kMaxLogLineBytes);
        EXPECT_GT(text.size(), kMaxLogLineBytes / 2);
        EXPECT_TRUE(isBalanced(text));
        EXPECT_THAT(text, EndsWith(format == LogFormat::Json ? "],\"end\":\"done\",\"truncated\":true}\n"
                                                             : " end=done truncated=true\n"));
        EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
    }
}

TEST(LogLine, AFieldThatDoesNotFitIsLeftOutWhole) {
    LogLine json = line(LogFormat::Json);
    json.text("big", std::string(kMaxLogLineBytes, 'x'))
        .text("growing", std::string(kMaxLogLineBytes / 5, '\x02'));
    json.text("small", "s");
    EXPECT_THAT(std::string(json.finish()),
                EndsWith("\"event\":\"test\",\"small\":\"s\",\"truncated\":true}\n"));
}

TEST(LogLine, NoLengthOfATextBreaksTheBoundOrTheForm) {
    for (std::size_t length = kMaxLogLineBytes - 200; length <= kMaxLogLineBytes + 10; ++length) {
        LogLine json = line(LogFormat::Json);
        json.text("t", std::string(length, 'x')).beginArray("a").beginObject().beginArray("b").beginObject();
        const std::string_view text = json.finish();
        ASSERT_LE(text.size(), kMaxLogLineBytes) << length;
        ASSERT_TRUE(isBalanced(text)) << length;
    }
}

}  // namespace
}  // namespace mailgate
