// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/counters.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace mailgate {
namespace {

TEST(Counters, EachHasARowOfItsOwn) {
    Counters counters;
    ListenerCounters listener;
    std::uint64_t number = 0;
    for (const auto& row : kGatewayCounters)
        count(counters.*row.counter, ++number);
    for (const auto& row : kListenerCounters)
        count(listener.*row.counter, ++number);
    number = 0;
    for (const std::uint64_t value : valuesOf(counters))
        EXPECT_EQ(value, ++number);
    for (const std::uint64_t value : valuesOf(listener))
        EXPECT_EQ(value, ++number);
}

TEST(Counters, RowsThatShareAMetricStandTogetherAndDifferInTheirLabel) {
    std::set<std::string_view> families;
    std::set<std::string> series;
    std::string_view last;
    const auto check = [&](const auto& row) {
        if (row.metric.empty()) return;
        if (row.metric != last) {
            EXPECT_TRUE(families.insert(row.metric).second) << row.metric;
        }
        last = row.metric;
        EXPECT_TRUE(series.insert(std::string(row.metric) + std::string(row.label_value)).second)
            << row.metric;
        EXPECT_TRUE(row.metric.ends_with("_total")) << row.metric;
    };
    for (const auto& row : kGatewayCounters)
        check(row);
    for (const auto& row : kListenerCounters)
        check(row);
}

}  // namespace
}  // namespace mailgate
