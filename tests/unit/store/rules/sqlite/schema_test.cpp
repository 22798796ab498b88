// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/schema.h"

#include "store/backends/rules.h"
#include "tests/unit/store/rules/sqlite/former_schema.h"
#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

namespace mailgate::store {
namespace {

using testing::HasSubstr;
using Kind = StoreError::Kind;
using Use = RuleStore::Use;
constexpr std::chrono::milliseconds kNoWait{0};
constexpr std::streamoff kPageBytes = 8'192;

class Opening : public testing::Test {
  protected:
    /// The error that opening gives, or to serve the first reading; fails the test when there is none.
    StoreError errorOf(const std::string& path, Use use = Use::Serve) {
        try {
            const auto store = openRules("sqlite:" + path, {.use = use, .lock_timeout = kNoWait});
            if (use == Use::Serve || use == Use::Resume) store->load({});
        } catch (const StoreError& error) {
            EXPECT_THAT(error.what(), HasSubstr(path));
            return error;
        }
        ADD_FAILURE() << path << " was opened";
        return {Kind::Other, ""};
    }
    void expectError(Kind kind, const std::string& words, const std::string& path, Use use = Use::Serve) {
        const StoreError error = errorOf(path, use);
        EXPECT_EQ(error.kind(), kind) << error.what();
        EXPECT_THAT(error.what(), HasSubstr(words));
    }
    void create(const std::string& path, int rules = 0) {
        const auto store = openRules("sqlite:" + path);
        std::vector<AccessRule> list(static_cast<std::size_t>(rules));
        for (int at = 0; at < rules; ++at) {
            Network& one = list[static_cast<std::size_t>(at)].network;
            one = network("10.0.0.0");
            one.address[14] = static_cast<std::uint8_t>(at >> 8);
            one.address[15] = static_cast<std::uint8_t>(at);
        }
        store->put(list, "test");
    }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("rules.db");
};

TEST_F(Opening, AMissingFileIsCreated) {
    create(file_);
    Shell shell(file_);
    EXPECT_EQ(shell.value("PRAGMA application_id"), std::to_string(schema::kApplicationId));
    EXPECT_EQ(shell.value("PRAGMA user_version"), std::to_string(schema::currentVersion()));
    EXPECT_EQ(shell.value("PRAGMA journal_mode"), "wal");
    EXPECT_EQ(shell.value("PRAGMA page_size"), std::to_string(kPageBytes));
    EXPECT_EQ(shell.value("SELECT count(*) FROM access_rule"), "0");
}

TEST_F(Opening, AFileOfTheSecondSchemaIsBroughtUpToDate) {
    Shell(file_).run(kSecondSchema);
    const auto store = openRules("sqlite:" + file_, {.use = Use::Serve});
    std::vector<AccessRule> rules;
    store->forEachRule([&](const AccessRule& rule) { rules.push_back(rule); });
    ASSERT_EQ(rules.size(), 2u);
    EXPECT_EQ(rules[0].id, 1);
    EXPECT_EQ(rules[0].network, network("198.51.100.0/24"));
    EXPECT_EQ(rules[0].listener, "mx");
    EXPECT_EQ(rules[0].note, "ACME");
    EXPECT_EQ(rules[0].limits, (ClientLimits{20, {}}));
    EXPECT_EQ(rules[0].created_at, 1'795'000'000);
    EXPECT_EQ(rules[0].set, "manual");
    EXPECT_EQ(rules[0].owner, "");
    EXPECT_EQ(rules[1].set, "fail2ban");
    EXPECT_EQ(rules[1].created_by, "program fail2ban mailgate");
    EXPECT_EQ(store->history({}).size(), 4u) << "an upgrade changes no rule";
    EXPECT_EQ(store->history({}).back().change, 4);
    EXPECT_EQ(store->version(), 5);

    AccessRule added;
    added.network = network("203.0.113.9");
    store->put(std::span(&added, 1), "test");
    EXPECT_EQ(store->history({}).back().rule_id, 4) << "the id of the removed rule does not come back";
    EXPECT_EQ(store->history({}).back().change, 5);
    EXPECT_EQ(store->undo(4, "test").kind, RuleStore::UndoResult::Kind::Unreadable);
    EXPECT_EQ(store->undo(5, "test").kind, RuleStore::UndoResult::Kind::Done);
    Shell shell(file_);
    EXPECT_EQ(shell.value("PRAGMA user_version"), std::to_string(schema::currentVersion()));
    EXPECT_EQ(shell.value("SELECT undo_after FROM access_meta"), "4");
    EXPECT_EQ(shell.value("SELECT count(*) FROM sqlite_schema WHERE name GLOB '*_2*'"), "0");
    shell.run("INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.1', 'deny')");
    EXPECT_EQ(store->history({}).back().who, "sqlite3");
}

TEST_F(Opening, AnEmptyFileOfTheSecondSchemaKeepsItsSequence) {
    Shell(file_).run(kSecondSchema);
    Shell(file_).run("DELETE FROM access_rule");
    create(file_, 1);
    EXPECT_EQ(Shell(file_).value("SELECT id FROM access_rule"), "4");
}

// By taking away what the second schema added.
TEST_F(Opening, AFileOfTheFirstSchemaIsBroughtUpToDate) {
    {
        Shell shell(file_);
        shell.run(kSecondSchema);
        shell.run(
            "DROP TRIGGER access_rule_added; DROP TRIGGER access_rule_changed; DROP TRIGGER "
            "access_rule_removed;"
            "CREATE TRIGGER access_rule_added AFTER INSERT ON access_rule BEGIN SELECT 1; END;"
            "CREATE TRIGGER access_rule_changed AFTER UPDATE ON access_rule BEGIN SELECT 1; END;"
            "CREATE TRIGGER access_rule_removed AFTER DELETE ON access_rule BEGIN SELECT 1; END;"
            "ALTER TABLE access_rule DROP COLUMN client_sessions; ALTER TABLE access_rule DROP COLUMN "
            "client_rate;"
            "PRAGMA user_version = 1");
    }
    const auto store = openRules("sqlite:" + file_, {.use = Use::Serve});
    std::vector<AccessRule> rules;
    store->forEachRule([&](const AccessRule& rule) { rules.push_back(rule); });
    ASSERT_EQ(rules.size(), 2u);
    EXPECT_FALSE(rules[0].limits.any());
    rules[0].limits = {20, 60};
    store->put(std::span(rules).first(1), "test");
    EXPECT_EQ(store->history({}).back().after,
              "allow 198.51.100.0/24 listener=mx client_sessions=20 client_rate=60 ACME");
    Shell shell(file_);
    EXPECT_EQ(shell.value("PRAGMA user_version"), std::to_string(schema::currentVersion()));
    shell.run("UPDATE access_rule SET client_rate = 5 WHERE client_rate = 60");
    EXPECT_EQ(store->history({}).back().who, "sqlite3");
}

// By taking away what the later schemas added.
TEST_F(Opening, FilesOfTheLaterSchemasAreBroughtUpToDate) {
    const std::string no_tokens = "ALTER TABLE fleet_state DROP COLUMN token;";
    const std::string no_guards =
        no_tokens +
        "DROP TRIGGER access_rule_add_network; DROP TRIGGER access_rule_change_network;"
        "DROP INDEX access_rule_by_expiry; DROP INDEX access_rule_with_reply;";
    const std::string no_fleet = no_guards + "DROP TABLE fleet_state; DROP TABLE fleet_local;";
    const std::string no_counters =
        no_fleet +
        "DROP TRIGGER access_rule_removed;"
        "CREATE TRIGGER access_rule_removed AFTER DELETE ON access_rule BEGIN SELECT 1; END;"
        "ALTER TABLE access_audit DROP COLUMN hits; ALTER TABLE access_audit DROP COLUMN last_hit_at;";
    const std::string no_accounts = no_counters + "DROP TABLE console_account; DROP TABLE console_token;";
    const std::string no_origins =
        no_accounts +
        "DROP TRIGGER access_rule_removed; DROP TRIGGER access_name_changed; DROP TRIGGER "
        "access_name_removed;"
        "CREATE TRIGGER access_rule_removed AFTER DELETE ON access_rule BEGIN SELECT 1; END;"
        "CREATE TRIGGER access_name_changed AFTER UPDATE OF networks ON access_name BEGIN SELECT 1; END;"
        "CREATE TRIGGER access_name_removed AFTER DELETE ON access_name BEGIN SELECT 1; END;"
        "ALTER TABLE access_audit DROP COLUMN made_by; ALTER TABLE access_audit DROP COLUMN made_at;"
        "ALTER TABLE access_name DROP COLUMN name;";
    const std::string no_names = no_origins + "DROP TABLE access_name;";
    const std::string no_replies =
        no_names +
        "DROP TRIGGER access_rule_added; DROP TRIGGER access_rule_changed; DROP TRIGGER access_rule_removed;"
        "CREATE TRIGGER access_rule_added AFTER INSERT ON access_rule BEGIN SELECT 1; END;"
        "CREATE TRIGGER access_rule_changed AFTER UPDATE ON access_rule BEGIN SELECT 1; END;"
        "CREATE TRIGGER access_rule_removed AFTER DELETE ON access_rule BEGIN SELECT 1; END;"
        "ALTER TABLE access_rule DROP COLUMN reply;";
    const std::string no_trimming =
        no_replies +
        "DROP TRIGGER access_audit_trim_all; DROP TRIGGER access_audit_trimmed; DROP TRIGGER "
        "access_meta_no_insert; DROP TRIGGER access_audit_no_delete;"
        "CREATE TRIGGER access_audit_no_delete BEFORE DELETE ON access_audit BEGIN SELECT raise(ABORT, ''); "
        "END;"
        "ALTER TABLE access_meta DROP COLUMN trimmed_to;";
    for (const auto& [schema, script] : std::map<int, std::string>{{3, no_trimming},
                                                                   {4, no_replies},
                                                                   {5, no_names},
                                                                   {6, no_origins},
                                                                   {7, no_accounts},
                                                                   {8, no_counters},
                                                                   {9, no_fleet},
                                                                   {10, no_guards},
                                                                   {11, no_tokens}}) {
        SCOPED_TRACE(schema);
        const std::string file = folder_.file("schema" + std::to_string(schema) + ".db");
        create(file, 2);
        Shell(file).run(script + "PRAGMA user_version = " + std::to_string(schema));
        const auto store = openRules("sqlite:" + file, {.use = Use::Serve});
        EXPECT_EQ(Shell(file).value("PRAGMA user_version"), std::to_string(schema::currentVersion()));
        EXPECT_EQ(store->version(), 3) << "an upgrade changes no rule";
        EXPECT_EQ(store->history({}).size(), 2u);

        AccessRule named;
        named.name = "host:home.example.org";
        named.reply = {.temporary = true, .shows_note = true};
        const std::int64_t id = store->put(std::span(&named, 1), "test").front().id;
        EXPECT_TRUE(store->keepName(id, {.networks = {network("192.0.2.1")}, .error = {}}));
        EXPECT_EQ(store->history({})[2].after, "deny host:home.example.org reply=temporary,note");
        EXPECT_EQ(store->history({}).back().after, "host:home.example.org is 192.0.2.1");
        EXPECT_EQ(store->undo(3, "test").kind, RuleStore::UndoResult::Kind::Done);
    }
}

TEST_F(Opening, AnswersOfTheSixthSchemaAreThoseOfTheirRules) {
    create(file_, 1);
    Shell(file_).run(
        "UPDATE access_rule SET network = 'HOST:home.example.org';"
        "INSERT INTO access_name(rule_id, networks, name) VALUES (1, '192.0.2.1', '');"
        "DROP TRIGGER access_rule_removed; DROP TRIGGER access_name_changed; DROP TRIGGER "
        "access_name_removed;"
        "CREATE TRIGGER access_rule_removed AFTER DELETE ON access_rule BEGIN SELECT 1; END;"
        "CREATE TRIGGER access_name_changed AFTER UPDATE OF networks ON access_name BEGIN SELECT 1; END;"
        "CREATE TRIGGER access_name_removed AFTER DELETE ON access_name BEGIN SELECT 1; END;"
        "ALTER TABLE access_audit DROP COLUMN made_by; ALTER TABLE access_audit DROP COLUMN made_at;"
        "ALTER TABLE access_audit DROP COLUMN hits; ALTER TABLE access_audit DROP COLUMN last_hit_at;"
        "ALTER TABLE access_name DROP COLUMN name;"
        "DROP TRIGGER access_rule_add_network; DROP TRIGGER access_rule_change_network;"
        "DROP INDEX access_rule_by_expiry; DROP INDEX access_rule_with_reply;"
        "DROP TABLE fleet_state; DROP TABLE fleet_local;"
        "DROP TABLE console_account; DROP TABLE console_token; PRAGMA user_version = 6");
    EXPECT_THAT(openRules("sqlite:" + file_)->namedRules().at(0).state.networks,
                testing::ElementsAre(network("192.0.2.1")));
}

TEST_F(Opening, AnEmptyFileIsAStoreToBe) {
    std::ofstream(file_).close();
    create(file_);
    EXPECT_EQ(Shell(file_).value("SELECT rules_version FROM access_meta"), "1");
}

TEST_F(Opening, ResumingNeedsAStore) {
    expectError(Kind::Open, "the file is gone", file_, Use::Resume);
    EXPECT_FALSE(std::filesystem::exists(file_));
    std::ofstream(file_).close();
    expectError(Kind::Damaged, "empty", file_, Use::Resume);
    Shell(file_).run("CREATE TABLE t(a); DROP TABLE t");
    expectError(Kind::Damaged, "empty", file_, Use::Resume);
}

TEST_F(Opening, AnotherUrlIsRefused) {
    for (const char* url : {"", "sqlite:", "postgresql://db/x", "/var/lib/rules.db"}) {
        try {
            openRules(url, {.use = Use::Serve});
            ADD_FAILURE() << url;
        } catch (const StoreError& error) {
            EXPECT_EQ(error.kind(), Kind::BadInput) << url;
        }
    }
}

TEST_F(Opening, AnotherProgramsDatabaseIsLeftAlone) {
    Shell(file_).run("CREATE TABLE mail(id INTEGER); PRAGMA application_id = 7");
    expectError(Kind::Open, "another program", file_);
    EXPECT_EQ(Shell(file_).value("PRAGMA journal_mode"), "delete");
    const std::string plain = folder_.file("plain.db");
    Shell(plain).run("CREATE TABLE mail(id INTEGER)");
    expectError(Kind::Open, "another program", plain);
}

TEST_F(Opening, ANewerSchemaIsLeftAlone) {
    create(file_);
    Shell(file_).run("PRAGMA user_version = 99");
    expectError(Kind::NewerSchema, "schema 99", file_);
    EXPECT_EQ(Shell(file_).value("PRAGMA user_version"), "99");
}

TEST_F(Opening, ATruncatedFile) {
    create(file_, 2'000);
    std::filesystem::resize_file(file_, std::filesystem::file_size(file_) / 2);
    expectError(Kind::Damaged, "damaged", file_);
    std::filesystem::resize_file(file_, 60);
    expectError(Kind::Damaged, "damaged", file_);
}

TEST_F(Opening, AnOverwrittenPage) {
    create(file_, 2'000);
    std::fstream file(file_, std::ios::in | std::ios::out | std::ios::binary);
    const auto size = static_cast<std::streamoff>(std::filesystem::file_size(file_));
    for (std::streamoff page = kPageBytes; page < size; page += kPageBytes) {
        file.seekp(page);
        file << std::string(200, '\xEE');
    }
    file.close();
    expectError(Kind::Damaged, "damaged", file_);
}

TEST_F(Opening, WhatIsDamagedWhereNoRuleIsServesNobodyEither) {
    create(file_, 2'000);
    const auto page = Shell(file_).value(
        "SELECT min(pageno) FROM dbstat WHERE name = 'access_audit' AND pagetype = 'leaf'");
    std::fstream file(file_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp((std::stoll(page) - 1) * kPageBytes);
    file << std::string(200, '\xEE');
    file.close();
    EXPECT_EQ(openRules("sqlite:" + file_, {.use = Use::Assist})->load({})->size(), 2'000u) << "of the rules";
    const auto store = openRules("sqlite:" + file_, {.use = Use::Serve});
    for (int times = 0; times < 2; ++times) {
        try {
            store->load({});
            ADD_FAILURE() << "served, at attempt " << times;
        } catch (const StoreError& error) {
            EXPECT_EQ(error.kind(), Kind::Damaged) << error.what();
            EXPECT_THAT(error.what(), HasSubstr("restore it from a backup"));
        }
    }
}

TEST_F(Opening, TriggersThatWereTamperedWithAreNoticed) {
    const struct {
        const char* script;
        const char* words;
    } cases[] = {
        {"DROP TRIGGER access_audit_no_delete", "trigger access_audit_no_delete is missing"},
        {"DROP TRIGGER access_rule_added", "trigger access_rule_added is missing"},
        {"DROP TRIGGER access_rule_removed; CREATE TRIGGER access_rule_removed AFTER DELETE ON access_rule "
         "BEGIN SELECT 1; END",
         "trigger access_rule_removed was altered"},
        {"CREATE TRIGGER quiet BEFORE INSERT ON access_audit BEGIN SELECT raise(IGNORE); END",
         "an unknown trigger, quiet"},
    };
    for (const auto& one : cases) {
        SCOPED_TRACE(one.script);
        const std::string file = folder_.file("tampered.db");
        create(file, 3);
        const auto open = openRules("sqlite:" + file, {.use = Use::Serve});
        EXPECT_NO_THROW(open->checkTrail());
        Shell(file).run(one.script);
        EXPECT_THROW(open->checkTrail(), StoreError);
        for (const Use use : {Use::Administer, Use::Serve, Use::Resume, Use::Inspect})
            expectError(Kind::Damaged, one.words, file, use);
        std::size_t rules = 0;
        openRules("sqlite:" + file, {.use = Use::Rescue})->forEachRule([&](const AccessRule&) { ++rules; });
        EXPECT_EQ(rules, 3u);
        for (const char* suffix : {"", "-wal", "-shm"})
            std::filesystem::remove(file + suffix);
    }
}

TEST_F(Opening, InspectingChangesNothing) {
    expectError(Kind::Open, "the file is gone", file_, Use::Inspect);
    EXPECT_FALSE(std::filesystem::exists(file_));
    create(file_, 2);
    EXPECT_EQ(openRules("sqlite:" + file_, {.use = Use::Inspect})->version(), 3);
    Shell(file_).run("PRAGMA user_version = 1");
    expectError(Kind::Other, "older schema", file_, Use::Inspect);
    EXPECT_EQ(Shell(file_).value("PRAGMA user_version"), "1");
}

TEST_F(Opening, ReadingWritesNothing) {
    const auto rulesIn = [&](const RuleStore::Options& options) {
        std::size_t rules = 0;
        const auto store = openRules("sqlite:" + file_, options);
        store->rehearse([&] {
            AccessRule added;
            added.network = network("203.0.113.9");
            store->put(std::span(&added, 1), "test");
            store->load({});
            store->forEachRule([&](const AccessRule&) { ++rules; });
        });
        store->namedRules();
        return rules;
    };
    EXPECT_EQ(rulesIn({.use = Use::Read}), 1u);
    EXPECT_FALSE(std::filesystem::exists(file_));
    { const std::ofstream empty(file_); }
    EXPECT_EQ(rulesIn({.use = Use::Read}), 1u);
    EXPECT_EQ(std::filesystem::file_size(file_), 0u);
    const auto bytes = [&] {
        std::ifstream file(file_, std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(file), {});
    };
    Shell(file_).run(kSecondSchema);
    std::string before = bytes();
    EXPECT_EQ(rulesIn({.use = Use::Read}), 3u);
    EXPECT_EQ(bytes(), before) << "an older schema is read as it is";
    EXPECT_EQ(Shell(file_).value("PRAGMA user_version"), "2");
    EXPECT_EQ(openRules("sqlite:" + file_, {.use = Use::Rescue})->history({}).size(), 4u);
    EXPECT_EQ(bytes(), before);
    openRules("sqlite:" + file_);
    before = bytes();
    EXPECT_EQ(rulesIn({.use = Use::Read}), 3u);
    EXPECT_EQ(bytes(), before);
    Shell(file_).run("PRAGMA user_version = 99");
    expectError(Kind::NewerSchema, "written by a newer mailgate", file_, Use::Read);
}

}  // namespace
}  // namespace mailgate::store
