// SPDX-License-Identifier: Apache-2.0
#include "protocols/values/text.h"

#include <gtest/gtest.h>

#include <limits>

namespace mailgate {
namespace {

TEST(Text, TimesAreRfc3339) {
    const struct {
        const char* text;
        UnixSeconds time;
        const char* written;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"},
        {"2026-11-20T21:00:00Z", 1'795'208'400, "2026-11-20T21:00:00Z"},
        {"2026-11-20T22:00:00+01:00", 1'795'208'400, "2026-11-20T21:00:00Z"},
        {"2026-11-20t15:30:00.999-05:30", 1'795'208'400, "2026-11-20T21:00:00Z"},
        {"2028-02-29 00:00:00z", 1'835'395'200, "2028-02-29T00:00:00Z"},
        {"1969-12-31T23:59:59Z", -1, "1969-12-31T23:59:59Z"},
        {"9999-12-31T23:59:59Z", 253'402'300'799, "9999-12-31T23:59:59Z"},
        {"0000-01-01T00:00:00Z", -62'167'219'200, "0000-01-01T00:00:00Z"},
    };
    for (const auto& one : cases) {
        SCOPED_TRACE(one.text);
        EXPECT_EQ(parseUtc(one.text), one.time);
        EXPECT_EQ(formatUtc(one.time), one.written);
    }
}

TEST(Text, OtherTimesAreRefused) {
    for (const char* text :
         {"", "2026-11-20", "2026-11-20T21:00:00", "2026-11-20T21:00Z", "2026-02-29T00:00:00Z",
          "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-32T00:00:00Z", "2026-11-20T24:00:00Z",
          "2026-11-20T21:60:00Z", "2026-11-20T21:00:61Z", "2026-11-20T21:00:00.Z", "2026-11-20T21:00:00+1:00",
          "2026-11-20T21:00:00Z ", "26-11-20T21:00:00Z", "-026-11-20T21:00:00Z", "2026-11-20T21:00:00+24:00",
          "0000-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"})
        EXPECT_EQ(parseUtc(text), std::nullopt) << text;
}

TEST(Text, TimesBeyondTheCalendarAreNumbers) {
    EXPECT_EQ(formatUtc(253'402'300'800), "253402300800");
    EXPECT_EQ(formatUtc(std::numeric_limits<UnixSeconds>::min()), "-9223372036854775808");
}

TEST(Text, AddressesAreComparedAsTheyAreMeant) {
    EXPECT_EQ(comparable("Alice@Example.org"), "Alice@Example.org") << "the comparison's matter";
    EXPECT_EQ(comparable("alice@bücher.example"), "alice@xn--bcher-kva.example");
    EXPECT_EQ(comparable("alice@BÜCHER.example"), "alice@xn--bcher-kva.example");
    EXPECT_EQ(comparable("bu\u0308cher.example"), comparable("bücher.example")) << "composed or not";
    EXPECT_EQ(comparable("JÖRG@example.org"), comparable("jörg@example.org"));
    EXPECT_NE(comparable("jörg@example.org"), comparable("jorg@example.org"));
    EXPECT_EQ(comparable("straße.example"), "xn--strae-oqa.example");
    const std::string hostile("\xFF@\xC3\0x", 5);
    EXPECT_EQ(comparable(hostile), hostile);
}

TEST(Text, PrintableKeepsOneLineAndIsCut) {
    EXPECT_EQ(printable("plain text"), "plain text");
    EXPECT_EQ(printable(std::string_view("a\0\n\x7f\xc3", 5)), "a\\x00\\x0A\\x7F\\xC3");
    EXPECT_EQ(printable("abcdef", 3), "abc...");
}

}  // namespace
}  // namespace mailgate
