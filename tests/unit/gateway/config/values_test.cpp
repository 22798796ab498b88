// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/values.h"

#include <gtest/gtest.h>

namespace mailgate {
namespace {

using namespace std::chrono_literals;

TEST(Values, DurationsHaveANumberAndAUnit) {
    const std::pair<std::string_view, std::optional<std::chrono::milliseconds>> cases[] = {
        {"250ms", 250ms},
        {"30s", 30s},
        {"5m", 5min},
        {"1h", 1h},
        {"7d", 168h},
        {"0s", 0ms},
        {"3653d", 3653 * 24h},
        {"", {}},
        {"s", {}},
        {"5", {}},
        {"-1s", {}},
        {"+1s", {}},
        {"1.5s", {}},
        {" 1s", {}},
        {"1s ", {}},
        {"1h30m", {}},
        {"1S", {}},
        {"3654d", {}},
        {"99999999999999999999s", {}},
        {"18446744073709551615d", {}},
    };
    for (const auto& [text, want] : cases)
        EXPECT_EQ(parseDuration(text), want) << text;
}

TEST(Values, DurationsAreWrittenInTheirLargestUnit) {
    const std::pair<std::chrono::milliseconds, std::string_view> cases[] = {
        {0ms, "0s"}, {1ms, "1ms"}, {1500ms, "1500ms"}, {90s, "90s"}, {2min, "2m"}, {3h, "3h"}, {48h, "2d"}};
    for (const auto& [duration, want] : cases)
        EXPECT_EQ(formatDuration(duration), want);
}

TEST(Values, SizesAreWrittenInTheirLargestUnit) {
    const std::pair<std::uint64_t, std::string_view> cases[] = {
        {0, "0"},        {1, "1"},          {536, "536"},       {1'024, "1KiB"},
        {1'025, "1025"}, {65'536, "64KiB"}, {3u << 20, "3MiB"}, {std::uint64_t{10} << 30, "10GiB"},
        {1'536, "1536"}};
    for (const auto& [bytes, want] : cases)
        EXPECT_EQ(formatSize(bytes), want);
}

TEST(Values, SizesAreBytesOrPowersOf1024) {
    const std::pair<std::string_view, std::optional<std::uint64_t>> cases[] = {
        {"536", 536},
        {"536B", 536},
        {"64KiB", 65'536},
        {"1MiB", 1'048'576},
        {"2GiB", std::uint64_t{2} << 30},
        {"", {}},
        {"KiB", {}},
        {"1KB", {}},
        {"1kib", {}},
        {"-1", {}},
        {"99999999999GiB", {}},
    };
    for (const auto& [text, want] : cases)
        EXPECT_EQ(parseSize(text), want) << text;
}

TEST(Values, HostAndPortAreSplitAtTheLastColon) {
    const auto v6 = parseHostPort("[2001:db8::1]:65535");
    ASSERT_TRUE(v6);
    EXPECT_EQ(v6->host, "2001:db8::1");
    EXPECT_TRUE(v6->bracketed);
    EXPECT_EQ(v6->port, 65'535);
    for (const std::string_view wrong : {"", ":", "a", "a:", ":25", "a:0", "a:65536", "a:-1", "a:25 ",
                                         "::1:25", "[]:25", "[a]:25", "[::1]", "[::1:25", "::1]:25"})
        EXPECT_FALSE(parseHostPort(wrong)) << wrong;
}

}  // namespace
}  // namespace mailgate
