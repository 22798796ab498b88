// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/expiry.h"

#include <gtest/gtest.h>

namespace mailgate {
namespace {

constexpr UnixSeconds kNow = 1'800'000'000;
constexpr UnixSeconds kOneDay = UnixSeconds{24} * 3600;

TEST(Expiry, IsToldInWholeDays) {
    EXPECT_EQ(daysLeft(kNow + 2 * kOneDay - 1, kNow), 1);
    EXPECT_EQ(daysLeft(kNow, kNow), 0);
    EXPECT_EQ(daysLeft(kNow - 3 * kOneDay, kNow), -3);
}

TEST(ExpiryWarnings, BeginFourteenDaysBefore) {
    ExpiryWarnings warnings;
    EXPECT_FALSE(warnings.due("a", kNow + 14 * kOneDay, kNow));
    EXPECT_TRUE(warnings.due("a", kNow + 14 * kOneDay - 1, kNow));
    EXPECT_TRUE(warnings.due("b", kNow - 1, kNow)) << "each by itself, also when it is over";
}

TEST(ExpiryWarnings, ComeOnceADay) {
    ExpiryWarnings warnings;
    const UnixSeconds end = kNow + kOneDay;
    EXPECT_TRUE(warnings.due("a", end, kNow));
    EXPECT_FALSE(warnings.due("a", end, kNow + kOneDay - 1));
    EXPECT_TRUE(warnings.due("a", end, kNow + kOneDay));
    EXPECT_FALSE(warnings.due("a", end, kNow + kOneDay + 1));
}

TEST(ExpiryWarnings, BeginAnewForARenewedCertificate) {
    ExpiryWarnings warnings;
    EXPECT_TRUE(warnings.due("a", kNow + kOneDay, kNow));
    EXPECT_FALSE(warnings.due("a", kNow + 90 * kOneDay, kNow + 1));
    EXPECT_TRUE(warnings.due("a", kNow + kOneDay, kNow + 2));
}

}  // namespace
}  // namespace mailgate
