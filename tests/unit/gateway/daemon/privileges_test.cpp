// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/privileges.h"

#include "gateway/base/config_error.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <grp.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>

namespace mailgate {
namespace {

const std::string kNoSuchUser = "no-such-user-of-mailgate";

std::string ownName() {
    const passwd* const entry = ::getpwuid(::geteuid());
    return entry ? entry->pw_name : "";
}

/// What `work` says in a process of its own.
bool inAChild(const std::function<bool()>& work) {
    const pid_t child = ::fork();
    if (child == 0) {
        try {
            ::_exit(work() ? 0 : 1);
        } catch (...) {
            ::_exit(2);
        }
    }
    int status = 0;
    return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
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
    EXPECT_TRUE(inAChild([] {
        dropPrivileges("nobody");
        return actsAs("nobody") && ::getegid() != 0 && ::setuid(0) != 0;
    }));
}

TEST(Privileges, RootBecomesTheUserOfAServiceWithTheGroupsThatItNames) {
    if (::geteuid() != 0) GTEST_SKIP() << "takes root, to become another user";
    EXPECT_THROW(dropPrivileges({kNoSuchUser, "", {}}), ConfigError);
    EXPECT_THROW(dropPrivileges(ServiceUser{"4294967294", "", {}}), ConfigError);
    EXPECT_THROW(dropPrivileges({"nobody", kNoSuchUser, {}}), ConfigError);
    const auto number = [](auto id) { return std::to_string(id); };
    const gid_t mail = ::getgrnam("mail")->gr_gid, adm = ::getgrnam("adm")->gr_gid;
    for (const ServiceUser& service :
         {ServiceUser{"nobody", "mail", {"adm"}},
          ServiceUser{number(::getpwnam("nobody")->pw_uid), number(mail), {number(adm)}}}) {
        EXPECT_TRUE(inAChild([&] {
            dropPrivileges(service);
            gid_t groups[64];
            const int count = ::getgroups(64, groups);
            return actsAs("nobody") && ::getegid() == mail &&
                   std::find(groups, groups + count, adm) != groups + count && ::setuid(0) != 0;
        })) << service.user;
    }
}

TEST(Privileges, RootDoesNotServeInPlaceOfTheUnitsUser) {
    if (::geteuid() != 0) GTEST_SKIP() << "is about root";
    namespace fs = std::filesystem;
    const TemporaryFolder folder;
    const auto served = [&](const char* file) { refuseServingByHand(file, folder.path()); };
    fs::create_directories(folder.path() / "etc/systemd/system");
    std::ofstream(folder.path() / "etc/systemd/system/mailgate.service")
        << "[Service]\nExecStart=/usr/bin/mailgate serve --config "
           "/etc/mailgate/mailgate.toml\nUser=mailgate\n";
    EXPECT_NO_THROW(served("/etc/mailgate/mailgate.toml")) << "systemd does not run: a container";
    fs::create_directories(folder.path() / "run/systemd/system");
    EXPECT_THAT([&] { served("/etc/mailgate/mailgate.toml"); },
                testing::ThrowsMessage<std::runtime_error>(testing::HasSubstr("systemctl start mailgate")));
    EXPECT_NO_THROW(served("/srv/mine.toml"));
}

}  // namespace
}  // namespace mailgate
