// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session_id.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace mailgate {
namespace {

std::string textOf(const SessionId& id) {
    return std::string(id.text());
}

TEST(SessionIdTest, IsAUlidOfItsTime) {
    SessionIds ids;
    const std::string id = textOf(ids.next(1'469'918'176'385));
    EXPECT_EQ(id.substr(0, 10), "01ARYZ6S41") << "the example of the ULID specification";
    EXPECT_EQ(id.size(), 26u);
    EXPECT_EQ(id.find_first_not_of("0123456789ABCDEFGHJKMNPQRSTVWXYZ"), std::string::npos);
    EXPECT_EQ(textOf(SessionId()), std::string(26, '0'));
}

TEST(SessionIdTest, SortsByTimeAcrossGateways) {
    SessionIds one, other;
    EXPECT_LT(textOf(one.next(1'800'000'000'000)), textOf(other.next(1'800'000'000'001)));
    EXPECT_LT(textOf(other.next(1'800'000'000'031)), textOf(one.next(1'800'000'000'032)));
}

TEST(SessionIdTest, IsUniqueThoughTheTimeIsTheSame) {
    std::set<std::string> seen;
    SessionIds workers[4];
    for (int i = 0; i < 10'000; ++i)
        EXPECT_TRUE(seen.insert(textOf(workers[i % 4].next(1'800'000'000'000))).second);
}

}  // namespace
}  // namespace mailgate
