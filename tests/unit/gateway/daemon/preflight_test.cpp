// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/preflight.h"

#include "gateway/daemon/service_unit.h"
#include "store/backends/journal.h"
#include "store/backends/rules.h"
#include "tests/support/journal_sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace mailgate {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;
namespace fs = std::filesystem;

class PreflightTest : public testing::Test {
  protected:
    PreflightTest() {
        std::string name = fs::temp_directory_path() / "mailgate-preflight-XXXXXX";
        folder_ = ::mkdtemp(name.data());
        config_.name = "gw.example.org";
        config_.max_sessions = 1;
        config_.log.target = "file:" + (folder_ / "events.log").string();
        config_.store_url = "sqlite:" + (folder_ / "rules.db").string();
        config_.journal.enabled = false;
        config_.admin.socket = folder_ / "admin.sock";
        ListenerConfig listener;
        listener.name = "smtp";
        listener.addresses = {{*IpAddress::parse("127.0.0.1"), 2525}};
        listener.access = AccessDefault::Open;
        config_.listeners = {listener};
    }
    ~PreflightTest() override { fs::remove_all(folder_); }

    fs::path folder_;
    Config config_;
};

TEST_F(PreflightTest, FindsNothingAndMakesNothingWhereAllIsInOrder) {
    const Preflight found = examineSite(config_);
    EXPECT_THAT(found.errors, IsEmpty());
    EXPECT_THAT(found.warnings, IsEmpty());
    EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(PreflightTest, TheSecretOfSessionTicketsIsForNobodyElse) {
    config_.fleet.ticket_secret = folder_ / "ticket-secret";
    EXPECT_THAT(examineSite(config_).errors, IsEmpty()) << "there is no fleet to share keys with";
    config_.fleet.url = "postgresql://mailgate@localhost/mailgate";
    EXPECT_THAT(examineSite(config_).errors, ElementsAre(HasSubstr("fleet.ticket_secret: ")));
    std::ofstream(config_.fleet.ticket_secret) << std::string(40, 's') << '\n';
    fs::permissions(config_.fleet.ticket_secret, fs::perms::owner_all | fs::perms::others_read);
    EXPECT_THAT(examineSite(config_).errors, ElementsAre(HasSubstr("chmod 640")));
    fs::permissions(config_.fleet.ticket_secret, fs::perms::owner_read);
    EXPECT_THAT(examineSite(config_).errors, IsEmpty());
}

TEST_F(PreflightTest, WarnsOfAPasswordFileThatCannotBeRead) {
    const std::string file = folder_ / "pgpass";
    config_.fleet.url = "postgresql://mailgate@localhost/mailgate?passfile=" + file;
    EXPECT_THAT(examineSite(config_).warnings, ElementsAre(HasSubstr("passfile " + file + ": No such")));
    std::ofstream(file).close();
    fs::permissions(file, fs::perms::owner_read | fs::perms::group_read);
    EXPECT_THAT(examineSite(config_).warnings,
                ElementsAre(HasSubstr("passfile " + file + ": not its owner")));
    fs::permissions(file, fs::perms::owner_read);
    EXPECT_THAT(examineSite(config_).warnings, IsEmpty());
}

TEST_F(PreflightTest, NamesAUserThatIsNotHere) {
    config_.user = "no-such-user-of-mailgate";
    EXPECT_THAT(examineSite(config_).errors, ElementsAre(HasSubstr("no-such-user-of-mailgate")));
}

TEST_F(PreflightTest, NamesFoldersThatAreMissing) {
    config_.log.target = "file:" + (folder_ / "gone" / "events.log").string();
    config_.admin.socket = folder_ / "away" / "admin.sock";
    const Preflight found = examineSite(config_);
    EXPECT_THAT(found.errors, Contains(HasSubstr("log.target: the folder")));
    EXPECT_THAT(found.errors, Contains(HasSubstr("admin.socket: the folder")));
}

TEST_F(PreflightTest, NamesAFileInTheSocketsPlace) {
    std::ofstream(config_.admin.socket) << "not a socket";
    EXPECT_THAT(examineSite(config_).errors, ElementsAre(HasSubstr("not a socket")));
}

TEST_F(PreflightTest, WarnsOfAnAddressThatThisMachineDoesNotHave) {
    config_.listeners[0].addresses = {{*IpAddress::parse("192.0.2.1"), 2525}};
    EXPECT_THAT(examineSite(config_).warnings, ElementsAre(HasSubstr("192.0.2.1:2525")));
}

TEST_F(PreflightTest, NamesADatabaseThatIsNone) {
    std::ofstream(folder_ / "rules.db")
        << "this is a text, and longer than the name that SQLite's files begin with";
    EXPECT_THAT(examineSite(config_).errors, Contains(HasSubstr("rules.db")));
}

TEST_F(PreflightTest, WarnsOfAJournalThatIsDamagedAndNamesOneThatIsNone) {
    const fs::path journal = folder_ / "journal.db";
    config_.journal.enabled = true;
    config_.journal.url = "sqlite:" + journal.string();
    store::JournalOptions options;
    options.url = config_.journal.url;
    store::journal::openSink(options);
    EXPECT_THAT(examineSite(config_).warnings, IsEmpty());
    std::fstream(journal, std::ios::in | std::ios::out).seekp(8192)
        << std::string(fs::file_size(journal) - 8192, 'x');
    Preflight found = examineSite(config_);
    EXPECT_THAT(found.errors, IsEmpty());
    EXPECT_THAT(found.warnings,
                ElementsAre(AllOf(HasSubstr("the journal cannot be written: "), HasSubstr("damaged"))));
    fs::remove(journal);
    store::openRules(config_.journal.url);
    EXPECT_THAT(examineSite(config_).errors, ElementsAre(HasSubstr("is not a journal")));
}

TEST_F(PreflightTest, WarnsOfDamageInTheJournalThatNobodyHasComeBy) {
    const fs::path journal = folder_ / "journal.db";
    config_.journal.enabled = true;
    config_.journal.url = "sqlite:" + journal.string();
    store::JournalOptions options;
    options.url = config_.journal.url;
    std::vector<store::JournalSession> sessions;
    for (std::uint64_t number = 0; number < 500; ++number)
        sessions.push_back(test::sampleSession(number, 1'795'000'000'000));
    store::journal::openSink(options)->append(sessions);
    Preflight found = examineSite(config_);
    EXPECT_THAT(found.warnings, IsEmpty());
    EXPECT_THAT(found.remarks, IsEmpty());
    // Within what the sessions' table has.
    constexpr std::streamoff kPage = 8'192;
    const auto middle = static_cast<std::streamoff>(fs::file_size(journal)) / kPage / 2 * kPage;
    std::fstream(journal, std::ios::in | std::ios::out).seekp(middle) << std::string(kPage, '\xFF');
    found = examineSite(config_);
    EXPECT_THAT(found.errors, IsEmpty());
    EXPECT_THAT(
        found.warnings,
        ElementsAre(AllOf(StartsWith("journal.url: " + journal.string() + ": the database is damaged ("),
                          HasSubstr("): move it away"))));
}

TEST_F(PreflightTest, WarnsOfAListenerThatNobodyMayEnter) {
    config_.listeners[0].access = AccessDefault::Allowlist;
    EXPECT_THAT(examineSite(config_).warnings, ElementsAre(HasSubstr("nobody may enter listener \"smtp\"")))
        << "without a database there are no rules";
    const auto put = [&](store::Verdict verdict, const char* listener,
                         std::optional<UnixSeconds> expires_at) {
        store::AccessRule rule;
        rule.network = networkAround(IpAddress::parse("192.0.2.1")->bytes, 120);
        rule.verdict = verdict;
        rule.listener = listener;
        rule.expires_at = expires_at;
        store::openRules(config_.store_url)->put(std::span(&rule, 1), "test");
    };
    put(store::Verdict::Deny, "", {});
    put(store::Verdict::Allow, "smtp", 1);
    put(store::Verdict::Allow, "imap", {});
    EXPECT_THAT(examineSite(config_).warnings, Contains(HasSubstr("nobody may enter listener \"smtp\"")))
        << "neither a denial nor what has expired nor another listener's rule lets anybody in";
    config_.listeners[0].mode = ListenerMode::Monitor;
    EXPECT_THAT(examineSite(config_).warnings, Not(Contains(HasSubstr("nobody may enter"))))
        << "it refuses nobody";
    config_.listeners[0].mode = ListenerMode::Soft;
    EXPECT_THAT(examineSite(config_).warnings, Contains(HasSubstr("nobody may enter")));
    store::AccessRule name;
    name.verdict = store::Verdict::Allow;
    name.name = "host:home.example.org";
    store::openRules(config_.store_url)->put(std::span(&name, 1), "test");
    EXPECT_THAT(examineSite(config_).warnings, Contains(HasSubstr("nobody may enter")))
        << "nor does a name that stands for nothing";
    put(store::Verdict::Allow, "", {});
    EXPECT_THAT(examineSite(config_).warnings, Contains(HasSubstr("nobody may enter")))
        << "the denial of the same network decides";
    store::AccessRule wider;
    wider.network = networkAround(IpAddress::parse("192.0.2.1")->bytes, 119);
    wider.verdict = store::Verdict::Allow;
    store::openRules(config_.store_url)->put(std::span(&wider, 1), "test");
    EXPECT_THAT(examineSite(config_).warnings, Not(Contains(HasSubstr("nobody may enter"))));
}

TEST_F(PreflightTest, NamesEachListenerWhoseFilesCannotBeReadAtItsPlace) {
    const std::string key = folder_ / "mail.key";
    config_.listeners.push_back(config_.listeners[0]);
    config_.listeners[1].name = "imap";
    for (ListenerConfig& listener : config_.listeners) {
        listener.tls = ListenerTls::Implicit;
        listener.certificates = {{key, "", ""}};
        listener.places.add(key, "conf.d/" + listener.name + ".toml:7:55");
    }
    EXPECT_THAT(examineSite(config_).errors,
                ElementsAre(StartsWith("conf.d/smtp.toml:7:55: listener smtp: " + key),
                            StartsWith("conf.d/imap.toml:7:55: listener imap: " + key)));
    if (::geteuid() != 0) GTEST_SKIP() << "takes root, to become another user";
    const auto as_another = [&] {  // who may not look into the folder
        config_.listeners.push_back(config_.listeners[0]);
        config_.listeners[2].certificates = {{"/nonexistent.key", "", ""}};
        const bool is_nobody = ::setuid(::getpwnam("nobody")->pw_uid) == 0;
        const std::vector<std::string> errors = examineSite(config_).errors;
        const bool both =
            errors.size() > 1 &&
            errors[0] == "conf.d/smtp.toml:7:55: listener smtp: " + key + ": Permission denied" &&
            errors[1] == "conf.d/imap.toml:7:55: listener imap: " + key + ": Permission denied";
        const bool and_missing =
            std::ranges::count_if(
                errors, [](const auto& one) { return one.starts_with("listener smtp: /non"); }) == 1 &&
            std::ranges::count_if(errors,
                                  [&](const auto& one) { return one.find(key) != std::string::npos; }) == 2;
        ::_exit(is_nobody && both && and_missing ? 0 : 1);
    };
    EXPECT_EXIT(as_another(), testing::ExitedWithCode(0), "");
}

TEST_F(PreflightTest, WarnsOfMoreSessionsThanOpenFilesAllow) {
    config_.workers = 2;
    EXPECT_EQ(sessionsWith(20'000, config_), 9'374u);
    EXPECT_EQ(sessionsWith(1, config_), 1u);
    // Eight listeners take more at rest, and less than half of what there is may be left.
    config_.listeners.resize(8, config_.listeners[0]);
    EXPECT_EQ(sessionsWith(90, config_), 10u);
    config_.workers = 64;
    EXPECT_EQ(sessionsWith(1'024, config_), 87u);
    config_.listeners.resize(1);
    EXPECT_THAT(sessionWarnings(100, 100), IsEmpty());
    config_.max_sessions = sessionsWith(descriptorLimit(), config_) + 1;
    EXPECT_THAT(examineSite(config_).warnings,
                ElementsAre(HasSubstr("but the limit on open files allows only")));
}

TEST_F(PreflightTest, WarnsOfRulesForListenersThatAreNotThere) {
    EXPECT_THAT(unknownListenerWarnings(config_, {{"smtp", 2}}), IsEmpty());
    EXPECT_THAT(unknownListenerWarnings(config_, {{"mx", 1}, {"smtp", 2}}),
                ElementsAre(HasSubstr("no listener is named \"mx\": 1 access rule that names it")));
}

TEST_F(PreflightTest, SaysTheSameOfTheRulesInForce) {
    config_.listeners[0].access = AccessDefault::Allowlist;
    const std::vector<std::string> listeners{config_.listeners[0].name};
    const auto warningsWith = [&](store::Verdict verdict, const char* listener,
                                  std::optional<UnixSeconds> expires_at) {
        store::AccessTable::Builder rules(listeners);
        rules.add(1, networkAround(IpAddress::parse("192.0.2.1")->bytes, 120), verdict, listener, expires_at);
        return ruleWarnings(config_, *rules.build(1));
    };
    EXPECT_THAT(warningsWith(store::Verdict::Deny, "", {}),
                ElementsAre(HasSubstr("nobody may enter listener \"smtp\"")));
    EXPECT_THAT(warningsWith(store::Verdict::Allow, "smtp", 1),
                ElementsAre(HasSubstr("nobody may enter listener \"smtp\"")));
    EXPECT_THAT(warningsWith(store::Verdict::Allow, "mx", {}),
                ElementsAre(HasSubstr("no listener is named \"mx\": 1 access rule that names it"),
                            HasSubstr("nobody may enter listener \"smtp\"")));
    EXPECT_THAT(warningsWith(store::Verdict::Allow, "mx", 1),
                ElementsAre(HasSubstr("nobody may enter listener \"smtp\"")))
        << "it is as removed";
    EXPECT_THAT(warningsWith(store::Verdict::Allow, "smtp", {}), IsEmpty());
    EXPECT_THAT(warningsWith(store::Verdict::Allow, "", {}), IsEmpty());
}

}  // namespace
}  // namespace mailgate
