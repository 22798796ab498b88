// SPDX-License-Identifier: Apache-2.0
#include "gateway/credentials/password_pool.h"

#include "gateway/credentials/password.h"

#include <gtest/gtest.h>

#include <future>
#include <vector>

namespace mailgate::credentials {
namespace {

TEST(PasswordPool, ChecksPasswords) {
    PasswordPool pool;
    const std::string hash = hashPassword("correct horse battery");
    EXPECT_EQ(pool.check("correct horse battery", hash), true);
    EXPECT_EQ(pool.check("wrong horse battery", hash), false);
    EXPECT_EQ(pool.check("correct horse battery", ""), false) << "nobody's";
    EXPECT_EQ(pool.check("", ""), false);
}

TEST(PasswordPool, LooksAtNoMoreThanItCan) {
    PasswordPool pool;
    std::vector<std::future<std::optional<bool>>> answers;
    for (std::size_t i = 0; i < 4 * PasswordPool::kMaxWaiting; ++i)
        answers.push_back(std::async(std::launch::async, [&] { return pool.check("x", ""); }));
    std::size_t turned_away = 0;
    for (auto& answer : answers) {
        const auto is_right = answer.get();
        turned_away += is_right ? 0 : 1;
        EXPECT_NE(is_right, true);
    }
    EXPECT_LE(turned_away, 3 * PasswordPool::kMaxWaiting);
    EXPECT_EQ(pool.check("x", ""), false) << "and goes on";
}

}  // namespace
}  // namespace mailgate::credentials
