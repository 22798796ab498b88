// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/backup.h"
#include "tests/support/command_line.h"

#include <Poco/SHA2Engine.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

namespace mailgate::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

std::string contentOf(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

std::string sumOf(const std::string& bytes) {
    Poco::SHA2Engine engine(Poco::SHA2Engine::SHA_256);
    engine.update(bytes.data(), bytes.size());
    return Poco::DigestEngine::digestToHex(engine.digest());
}

class BackupCommandTest : public test::CommandTest {
  protected:
    void allow(const std::string& network) const {
        ASSERT_EQ(run({"access", "allow", network}).exit_code, kDone);
    }
    std::string rules() const { return run({"access", "export"}).output; }
    /// Names in the test's folder that a backup or a restore must not leave behind.
    std::string leftovers() const {
        std::string names;
        for (const auto& entry : fs::directory_iterator(folder_.path())) {
            const std::string name = entry.path().filename();
            if (name.find("partial") != std::string::npos || name.ends_with(".restoring"))
                names += name + " ";
        }
        return names;
    }

    const std::string backup_ = folder_.file("backup");
};

TEST_F(BackupCommandTest, WhatWasBackedUpComesBack) {
    allow("192.0.2.0/24");
    const test::Ran made = run({"backup", backup_});
    ASSERT_EQ(made.exit_code, kDone) << made.errors;
    EXPECT_THAT(made.output, HasSubstr("configuration "));
    EXPECT_THAT(made.output, HasSubstr("backup made and verified\n"));
    EXPECT_EQ(leftovers(), "");
    EXPECT_EQ(contentOf(fs::path(backup_) / "configuration/00-mailgate.toml"), kSite);
    const std::string before = rules();
    allow("198.51.100.0/24");
    const std::string after = rules();
    ASSERT_NE(before, after);
    const test::Ran restored = run({"restore", backup_});
    ASSERT_EQ(restored.exit_code, kDone) << restored.errors;
    EXPECT_EQ(rules(), before);
    EXPECT_EQ(leftovers(), "");
    // The way back from the way back.
    fs::rename(folder_.file("mailgate.db.before-restore"), folder_.file("mailgate.db"));
    EXPECT_EQ(rules(), after);
}

TEST_F(BackupCommandTest, AFolderThatIsThereIsNotTouched) {
    fs::create_directory(backup_);
    EXPECT_EQ(run({"backup", backup_}).exit_code, kDone) << "an empty one is made for it";
    const test::Ran again = run({"backup", backup_});
    EXPECT_EQ(again.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(again.errors, HasSubstr("exists already"));
    EXPECT_THAT(run({"backup", folder_.file("none/backup")}).errors,
                HasSubstr("none/backup: the folder " + folder_.file("none") + " does not exist"));
    fs::create_directory(folder_.file("elsewhere"));
    fs::create_symlink(folder_.file("elsewhere"), folder_.file("link"));
    EXPECT_THAT(run({"backup", folder_.file("link")}).errors, HasSubstr("exists already"));
    EXPECT_EQ(run({"backup", ""}).exit_code, kUsage);
    EXPECT_EQ(run({"restore", ""}).exit_code, kUsage);
    EXPECT_EQ(leftovers(), "");
}

TEST_F(BackupCommandTest, ADamagedBackupIsRefusedAndNothingChanges) {
    allow("192.0.2.0/24");
    ASSERT_EQ(run({"backup", backup_}).exit_code, kDone);
    allow("198.51.100.0/24");
    const std::string before = rules();
    const fs::path copy = fs::path(backup_) / "rules.db", list = fs::path(backup_) / "mailgate-backup.json";
    const std::string good = contentOf(copy), good_list = contentOf(list);
    const auto refused = [&](const std::string& why) {
        const test::Ran done = run({"restore", backup_});
        EXPECT_EQ(done.exit_code, kRefusedOrNotFound);
        EXPECT_THAT(done.errors, HasSubstr(why));
        EXPECT_EQ(rules(), before);
        EXPECT_EQ(leftovers(), "");
        EXPECT_FALSE(fs::exists(folder_.file("mailgate.db.before-restore")));
    };
    std::string bad = good;
    bad[bad.size() / 2] ^= 1;
    std::ofstream(copy, std::ios::binary) << bad;
    refused("is not as it was written");
    std::ofstream(copy, std::ios::binary) << good.substr(0, good.size() / 2);
    refused("is not as it was written");
    fs::remove(copy);
    refused("cannot be opened");
    std::ofstream(copy, std::ios::binary) << good;
    std::ofstream(list) << good_list.substr(0, good_list.size() / 2);
    refused("is damaged");
    std::string astray = good_list;
    astray.replace(astray.find("rules.db"), 8, "../up.db");
    std::ofstream(list) << astray;
    refused("is no name of a file in a backup");
    std::ofstream(list) << "{\"format\": 2}";
    refused("made by a newer mailgate");
    fs::remove(list);
    refused("is no backup");
}

TEST_F(BackupCommandTest, WhatIsWholeInADamagedBackupComesBack) {
    allow("192.0.2.0/24");
    ASSERT_EQ(run({"backup", backup_}).exit_code, kDone);
    const fs::path copy = fs::path(backup_) / "rules.db";
    std::string bad = contentOf(copy);
    bad[bad.size() / 2] ^= 1;
    std::ofstream(copy, std::ios::binary) << bad;
    EXPECT_EQ(run({"restore", backup_}).exit_code, kRefusedOrNotFound);
    EXPECT_EQ(run({"restore", backup_, "--parts", "configuration"}).exit_code, kDone);
}

TEST_F(BackupCommandTest, OthersMayNotLookIntoItAndWhatIsMissingIsSaid) {
    const mode_t before = ::umask(0);
    const test::Ran made = run({"backup", backup_});
    ::umask(before);
    ASSERT_EQ(made.exit_code, kDone) << made.errors;
    for (const char* part : {"", "configuration", "configuration/00-mailgate.toml"})
        EXPECT_EQ(fs::status(fs::path(backup_) / part).permissions() & fs::perms::others_all, fs::perms::none)
            << part;
    EXPECT_THAT(made.output, testing::ContainsRegex("rules +none  .*mailgate.db does not exist yet\n"));
    EXPECT_THAT(made.output, testing::ContainsRegex("journal +none  "));
}

TEST_F(BackupCommandTest, WhatABackupHasNotIsSaidWhenItIsRestored) {
    allow("192.0.2.0/24");
    ASSERT_EQ(run({"backup", backup_}).exit_code, kDone);
    const test::Ran done = run({"restore", backup_});
    ASSERT_EQ(done.exit_code, kDone) << done.errors;
    EXPECT_THAT(done.output, testing::ContainsRegex("journal +none in this backup: what is there stays\n"));
}

TEST_F(BackupCommandTest, OfADamagedDatabaseTheDatabaseIsNamed) {
    allow("192.0.2.0/24");
    const std::string database = folder_.file("mailgate.db");
    ASSERT_EQ(run({"access", "list"}).exit_code, kDone);
    std::fstream(database, std::ios::in | std::ios::out | std::ios::binary).seekp(8192)
        << std::string(200, '\xff');
    const test::Ran done = run({"backup", backup_});
    EXPECT_EQ(done.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(done.errors, HasSubstr(database + " cannot be used: the database is damaged ("));
    EXPECT_EQ(std::count(done.errors.begin(), done.errors.end(), '\n'), 1) << done.errors;
    EXPECT_FALSE(fs::exists(backup_));
    EXPECT_EQ(leftovers(), "");
}

TEST_F(BackupCommandTest, WhatANewerVersionWroteIsNotPutInPlace) {
    allow("192.0.2.0/24");
    const std::string before = rules();
    ASSERT_EQ(run({"backup", backup_}).exit_code, kDone);
    const fs::path copy = fs::path(backup_) / "rules.db", list = fs::path(backup_) / "mailgate-backup.json";
    const auto refused = [&](std::size_t at, const std::string& why) {
        const std::string good = contentOf(copy), good_list = contentOf(list);
        std::string changed = good, changed_list = good_list;
        changed[at] = 99;
        std::ofstream(copy, std::ios::binary) << changed;
        changed_list.replace(changed_list.find(sumOf(good)), 64, sumOf(changed));
        std::ofstream(list) << changed_list;
        const test::Ran done = run({"restore", backup_});
        EXPECT_EQ(done.exit_code, kRefusedOrNotFound);
        EXPECT_THAT(done.errors, HasSubstr(copy.string() + why));
        EXPECT_EQ(rules(), before);
        EXPECT_EQ(leftovers(), "");
        std::ofstream(copy, std::ios::binary) << good;
        std::ofstream(list) << good_list;
    };
    constexpr std::size_t kUserVersion = 63, kApplicationId = 71;  // their last bytes in an SQLite file
    refused(kUserVersion, ": was written by a newer mailgate");
    refused(kApplicationId, ": does not hold the rules of a mailgate");
    EXPECT_EQ(run({"restore", backup_}).exit_code, kDone);
}

TEST_F(BackupCommandTest, ALinkToTheDatabaseStaysOne) {
    allow("192.0.2.0/24");
    const std::string before = rules(), link = folder_.file("mailgate.db");
    fs::create_directory(folder_.file("disk"));
    fs::rename(link, folder_.file("disk/rules.db"));
    fs::create_symlink(folder_.file("disk/rules.db"), link);
    ASSERT_EQ(run({"backup", backup_}).exit_code, kDone);
    allow("198.51.100.0/24");
    ASSERT_EQ(run({"restore", backup_}).exit_code, kDone);
    EXPECT_TRUE(fs::is_symlink(link));
    EXPECT_EQ(rules(), before);
    EXPECT_TRUE(fs::exists(folder_.file("disk/rules.db.before-restore")));
}

TEST_F(BackupCommandTest, WhileAGatewayRunsNothingIsRestored) {
    allow("192.0.2.0/24");
    ASSERT_EQ(run({"backup", backup_}).exit_code, kDone);
    startGateway();
    const test::Ran done = run({"restore", backup_});
    EXPECT_EQ(done.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(done.errors, HasSubstr("stop the gateway first"));
}

TEST_F(BackupCommandTest, TheConfigurationComesBackWithTheRest) {
    allow("192.0.2.0/24");
    const std::string before = rules();
    ASSERT_EQ(run({"backup", backup_}).exit_code, kDone);
    // As on another machine.
    fs::create_directory(folder_.file("new"));
    const std::string moved = folder_.file("new/mailgate.toml");
    const auto restore = [&] {
        return test::ran({"--config", moved, "restore", backup_, "--parts", "rules,journal,configuration"});
    };
    const test::Ran done = restore();
    ASSERT_EQ(done.exit_code, kDone) << done.errors;
    EXPECT_EQ(contentOf(moved), kSite);
    EXPECT_EQ(test::ran({"--config", moved, "access", "export"}).output, before);
    EXPECT_THAT(done.output, Not(HasSubstr("before-restore"))) << "nothing was there";
    EXPECT_THAT(restore().output, HasSubstr("; what was there is beside it as *.before-restore\n"));
    EXPECT_EQ(run({"restore", backup_, "--parts", "everything"}).exit_code, kUsage);
}

TEST_F(BackupCommandTest, TheDatabasesGoWhereTheRestoredConfigurationHasThem) {
    const fs::path old_place = folder_.file("old"), new_place = folder_.file("new");
    fs::create_directories(old_place / "etc/conf.d");
    fs::create_directory(old_place / "state");
    fs::permissions(folder_.path(), fs::perms(0755));
    // A group that is another than the folder's, and the gateway's user, where they can be given.
    const passwd* nobody = ::geteuid() == 0 ? ::getpwnam("nobody") : nullptr;
    const gid_t group = nobody != nullptr ? nobody->pw_gid : ::getegid();
    const uid_t user = nobody != nullptr ? nobody->pw_uid : ::geteuid();
    std::string site = kSite;
    if (nobody != nullptr) site.replace(0, site.find('\n'), "[gateway]\nuser = \"nobody\"");
    std::ofstream(old_place / "etc/mailgate.toml") << "include = \"conf.d/*.toml\"\n" << site;
    std::ofstream(old_place / "etc/conf.d/10-store.toml") << "[store]\nurl = \"sqlite:../state/rules.db\"\n";
    const auto call = [](const fs::path& place, std::vector<std::string> words) {
        words.insert(words.begin(), {"--config", place / "etc/mailgate.toml"});
        const test::Ran done = test::ran(words);
        EXPECT_EQ(done.exit_code, kDone) << done.errors;
        return done.output;
    };
    ASSERT_EQ(::chown((old_place / "etc/conf.d/10-store.toml").c_str(), ::geteuid(), group), 0);
    ASSERT_EQ(::chmod((old_place / "etc/conf.d/10-store.toml").c_str(), 0604), 0);
    call(old_place, {"access", "allow", "192.0.2.0/24"});
    call(old_place, {"backup", backup_});
    call(old_place, {"access", "allow", "198.51.100.0/24"});
    const std::string later = call(old_place, {"access", "export"});
    const mode_t before = ::umask(077);
    call(new_place, {"restore", backup_, "--parts", "rules,journal,configuration"});
    ::umask(before);
    EXPECT_EQ(call(old_place, {"access", "export"}), later) << "not touched";
    EXPECT_TRUE(fs::exists(new_place / "state/rules.db"));
    EXPECT_THAT(call(new_place, {"access", "export"}), HasSubstr("192.0.2.0/24"));
    struct stat status {};
    ASSERT_EQ(::stat((new_place / "etc/conf.d/10-store.toml").c_str(), &status), 0);
    EXPECT_EQ(status.st_gid, group);
    EXPECT_EQ(status.st_mode & 0777, 0604U);
    ASSERT_EQ(::stat((new_place / "etc/conf.d").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0755U) << "as the folder above, whatever the umask";
    EXPECT_EQ(status.st_uid, ::geteuid());
    for (const char* services : {"state", "state/rules.db"}) {
        ASSERT_EQ(::stat((new_place / services).c_str(), &status), 0);
        EXPECT_EQ(status.st_uid, user) << services;
    }
}

TEST_F(BackupCommandTest, ADatabaseThatStaysIsNotReplacedByOneThatIsTriedElsewhere) {
    configure(fmt::format("[store]\nurl = \"sqlite:{}\"\n{}", folder_.file("rules.db"), kSite));
    allow("192.0.2.0/24");
    ASSERT_EQ(run({"backup", backup_}).exit_code, kDone);
    allow("198.51.100.0/24");
    const std::string later = rules(), elsewhere = folder_.file("new/mailgate.toml");
    const test::Ran tried =
        test::ran({"--config", elsewhere, "restore", backup_, "--parts", "rules,configuration"});
    EXPECT_EQ(tried.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(tried.errors, HasSubstr("restore the configuration alone (--parts configuration)"));
    EXPECT_EQ(rules(), later);
    EXPECT_FALSE(fs::exists(elsewhere));
}

TEST_F(BackupCommandTest, TheDatabasesGoWhereAnIncludedFileThatStaysHasThemByNow) {
    const TemporaryFolder other;
    const std::string included = other.file("store.toml");
    const auto putRulesIn = [&](const char* name) {
        std::ofstream(included) << fmt::format("store.url = \"sqlite:{}\"\n", other.file(name));
    };
    putRulesIn("then.db");
    configure(fmt::format("include = \"{}\"\n{}", included, kSite));
    allow("192.0.2.0/24");
    ASSERT_EQ(run({"backup", backup_}).exit_code, kDone);
    fs::remove(other.file("then.db"));
    putRulesIn("now.db");
    const test::Ran tried = test::ran({"--config", folder_.file("new/mailgate.toml"), "restore", backup_,
                                       "--parts", "rules,configuration"});
    EXPECT_EQ(tried.exit_code, kDone) << tried.errors;
    EXPECT_FALSE(fs::exists(other.file("then.db")));
    EXPECT_TRUE(fs::exists(other.file("now.db")));
}

TEST_F(BackupCommandTest, WhatBelongsToTheOldPlaceIsToldWhereABackupIsTried) {
    const TemporaryFolder other;
    fs::create_directory(folder_.file("conf.d"));
    std::ofstream(folder_.file("conf.d/10.toml")) << "# nothing\n";
    std::ofstream(other.file("20.toml")) << "# as it was\n";
    configure(
        fmt::format("include = [\"{}\", \"{}\"]\n{}[fleet]\nurl = \"postgresql://db.example.net/mailgate\"\n",
                    folder_.file("conf.d/10.toml"), other.file("20.toml"), kSite));
    ASSERT_EQ(run({"backup", backup_}).exit_code, kDone);
    std::ofstream(other.file("20.toml")) << "# as it is\n";
    const std::string elsewhere = folder_.file("new/mailgate.toml");
    const test::Ran tried =
        test::ran({"--config", elsewhere, "restore", backup_, "--parts", "configuration"});
    EXPECT_EQ(tried.exit_code, kDone) << tried.errors;
    EXPECT_THAT(tried.output, HasSubstr(other.file("20.toml") + " stays as it is\n"));
    EXPECT_THAT(tried.output, HasSubstr("note: " + folder_.file("new/conf.d/10.toml") + " is not read: "));
    EXPECT_THAT(tried.output, HasSubstr("is gw.example.org in the fleet's database"));
    EXPECT_EQ(contentOf(other.file("20.toml")), "# as it is\n");
    EXPECT_EQ(run({"restore", backup_, "--parts", "configuration"}).exit_code, kDone);
    EXPECT_EQ(contentOf(other.file("20.toml")), "# as it was\n") << "in its own place";
}

TEST_F(BackupCommandTest, WhatAGroupMightReadThatIsNotHereNoOtherGroupMay) {
    allow("192.0.2.0/24");
    ASSERT_EQ(run({"backup", backup_}).exit_code, kDone);
    const fs::path target = folder_.file("new/mailgate.toml");
    for (const auto& [group, mode] : {std::pair{"no-such-group", 0600U}, std::pair{"root", 0640U}}) {
        Backup backup = readBackup(backup_);
        std::erase_if(backup.files,
                      [](const BackupFile& file) { return file.kind != BackupFile::Kind::Configuration; });
        backup.files[0].group = group;
        backup.files[0].mode = 0640;
        fs::remove(target);
        if (::geteuid() != 0 && mode == 0640U) continue;  // who may not give it to root
        putInPlace({{&backup.files[0], target}}, backup_, [](auto&&...) {});
        struct stat status {};
        ASSERT_EQ(::stat(target.c_str(), &status), 0);
        EXPECT_EQ(status.st_mode & 0777, mode) << group;
    }
}

TEST_F(BackupCommandTest, AConfigurationThatCannotBeReadElsewhereComesBackByItself) {
    const std::string included = folder_.file("more.toml");
    configure(fmt::format("include = \"{}\"\n{}", included, kSite));
    std::ofstream(included) << "[journal]\nkeep = \"7d\"\n";
    allow("192.0.2.0/24");
    ASSERT_EQ(run({"backup", backup_}).exit_code, kDone);
    fs::remove(included);
    const std::string moved = folder_.file("new/mailgate.toml");
    const test::Ran done =
        test::ran({"--config", moved, "restore", backup_, "--parts", "rules,configuration"});
    EXPECT_EQ(done.exit_code, kRefusedOrNotFound);
    EXPECT_THAT(done.errors, HasSubstr("restore it alone (--parts configuration)"));
    EXPECT_FALSE(fs::exists(moved));
    EXPECT_EQ(test::ran({"--config", moved, "restore", backup_, "--parts", "configuration"}).exit_code,
              kDone);
}

TEST(BackupPlaces, FilesStayInTheirPlaceRelativeToTheMainOne) {
    const BackupFile main{BackupFile::Kind::Configuration, "", "/etc/mailgate/mailgate.toml", 0, ""};
    const auto place = [&](const char* origin) {
        const BackupFile file{BackupFile::Kind::Configuration, "", origin, 0, ""};
        return placeOf(file, main, "/srv/gw/mg.toml").string();
    };
    EXPECT_EQ(placeOf(main, main, "/srv/gw/mg.toml"), "/srv/gw/mg.toml");
    EXPECT_EQ(place("/etc/mailgate/conf.d/10.toml"), "/srv/gw/conf.d/10.toml");
    EXPECT_EQ(place("/var/lib/mailgate/mailgate.db"), "/var/lib/mailgate/mailgate.db");
}

}  // namespace
}  // namespace mailgate::cli
