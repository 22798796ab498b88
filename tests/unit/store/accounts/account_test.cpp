// SPDX-License-Identifier: Apache-2.0
#include "store/accounts/account.h"

#include <gtest/gtest.h>

namespace mailgate::store {
namespace {

TEST(Account, RolesHaveAnOrderAndAWordEach) {
    EXPECT_LT(Role::Viewer, Role::Operator);
    EXPECT_LT(Role::Operator, Role::Admin);
    for (const Role role : {Role::Viewer, Role::Operator, Role::Admin})
        EXPECT_EQ(roleOf(toString(role)), role);
    for (const char* word : {"", "root", "Admin", "admin "})
        EXPECT_FALSE(roleOf(word)) << word;
}

TEST(Account, NamesAreOfHarmlessCharacters) {
    for (const char* name : {"a", "alice", "Alice.B-c_1@example.net"})
        EXPECT_TRUE(isAccountName(name)) << name;
    for (const char* name : {"", "a b", "a\n", "é", "../x", "a:b"})
        EXPECT_FALSE(isAccountName(name)) << name;
    EXPECT_TRUE(isAccountName(std::string(64, 'a')));
    EXPECT_FALSE(isAccountName(std::string(65, 'a')));
}

TEST(Token, IsOfNoUseFromTheSecondOnInWhichItExpires) {
    Token token;
    EXPECT_TRUE(isLive(token, 1'000));
    token.expires_at = 1'000;
    EXPECT_TRUE(isLive(token, 999));
    EXPECT_FALSE(isLive(token, 1'000));
}

}  // namespace
}  // namespace mailgate::store
