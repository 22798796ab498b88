// SPDX-License-Identifier: Apache-2.0
#include "store/rules/store.h"

#include <gtest/gtest.h>

namespace mailgate::store {
namespace {

TEST(ProgramName, IsNoNameOfAUser) {
    EXPECT_EQ(programName("fail2ban"), "program fail2ban");
    EXPECT_TRUE(isProgram(programName("fail2ban")));
    // useradd(8) takes no blank, so nobody is called that.
    for (const char* user :
         {"", "alice", "program", "programmer", "Program fail2ban", "a program x", "sqlite3"})
        EXPECT_FALSE(isProgram(user)) << user;
}

}  // namespace
}  // namespace mailgate::store
