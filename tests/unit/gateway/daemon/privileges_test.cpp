// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/privileges.h"

#include "gateway/base/config_error.h"

#include <gtest/gtest.h>

#include <grp.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>

namespace mailgate {
namespace {

const std::string kNoSuchUser = "no-such-user-of-mailgate";

std::string ownName() {
    const passwd* const entry = ::getpwuid(::geteuid());
    return entry ? entry->pw_name : "";
}

TEST(Privileges, AnEmptyNameIsAnybodys) {
    EXPECT_NO_THROW(requireUser(""));
    EXPECT_TRUE(actsAs(""));
    const uid_t before = ::geteuid();
    dropPrivileges("");
    EXPECT_EQ(::geteuid(), before);
}

TEST(Privileges, AUserThatIsNotHereIsAnError) {
    EXPECT_THROW(requireUser(kNoSuchUser), ConfigError);
    EXPECT_THROW(actsAs(kNoSuchUser), ConfigError);
}

TEST(Privileges, KnowsItsOwnName) {
    if (ownName().empty()) GTEST_SKIP() << "this user has no name";
    EXPECT_NO_THROW(requireUser(ownName()));
    EXPECT_TRUE(actsAs(ownName()));
}

TEST(Privileges, RootBecomesTheUserForGood) {
    if (::geteuid() != 0) GTEST_SKIP() << "takes root, to become another user";
    const pid_t child = ::fork();
    if (child == 0) {
        dropPrivileges("nobody");
        const bool gone = actsAs("nobody") && ::getegid() != 0 && ::setuid(0) != 0;
        ::_exit(gone ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(Privileges, RootBecomesTheUserOfAServiceWithTheGroupsThatItNames) {
    if (::geteuid() != 0) GTEST_SKIP() << "takes root, to become another user";
    EXPECT_THROW(dropPrivileges({kNoSuchUser, "", {}}), ConfigError);
    EXPECT_THROW(dropPrivileges({"nobody", kNoSuchUser, {}}), ConfigError);
    const pid_t child = ::fork();
    if (child == 0) {
        dropPrivileges({"nobody", "mail", {"adm"}});
        gid_t groups[64];
        const int count = ::getgroups(64, groups);
        const gid_t adm = ::getgrnam("adm")->gr_gid;
        const bool gone = actsAs("nobody") && ::getegid() == ::getgrnam("mail")->gr_gid &&
                          std::find(groups, groups + count, adm) != groups + count && ::setuid(0) != 0;
        ::_exit(gone ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace mailgate
