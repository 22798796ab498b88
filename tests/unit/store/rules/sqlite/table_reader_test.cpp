// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/table_reader.h"

#include "store/backends/rules.h"
#include "store/rules/import_export.h"
#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <random>
#include <set>
#include <tuple>

namespace mailgate::store {
namespace {

using Use = RuleStore::Use;

const std::vector<std::string> kFollowed{"mx", "imap"};
/// Of a rule that nobody changes: whoever asks whether it is shared would not know.
const Network kUntouched = network("203.0.113.1");

/// Another program's connection, whose triggers can be told not to fire.
class Silent {
  public:
    explicit Silent(const std::string& file) {
        sqlite3_open(file.c_str(), &handle_);
        sqlite3_busy_timeout(handle_, 5'000);
        sqlite3_db_config(handle_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
    }
    ~Silent() { sqlite3_close(handle_); }
    Silent(const Silent&) = delete;
    Silent& operator=(const Silent&) = delete;
    void run(const std::string& sql) {
        ASSERT_EQ(sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
            << sqlite3_errmsg(handle_);
    }

  private:
    sqlite3* handle_ = nullptr;
};

class TableReaderTest : public testing::Test {
  protected:
    void SetUp() override {
        shell_.run("INSERT INTO access_rule(network, verdict) VALUES ('203.0.113.1', 'deny')");
        table_ = following_->load(kFollowed);
    }

    /// Whether the next table shares the rules that were not changed with the one before: then they have the counters in
    /// common.
    bool follows() {
        const auto before = std::exchange(table_, following_->load(kFollowed));
        const auto match = table_->lookup(address("203.0.113.1"), 0, std::time(nullptr));
        if (!match || match->network != kUntouched) return false;
        table_->hit(match->rule, 1);
        std::uint32_t shared = 0;
        before->takeHits([&](std::int64_t, std::uint32_t hits, UnixSeconds) { shared += hits; });
        table_->takeHits([](std::int64_t, std::uint32_t, UnixSeconds) {});
        return shared == 1;
    }
    /// The table answers as one does that is made of what the file says.
    void expectWhatTheFileSays() {
        const auto fresh = openRules("sqlite:" + file_, {.use = Use::Read})->load(kFollowed);
        EXPECT_EQ(table_->version(), fresh->version());
        EXPECT_EQ(table_->size(), fresh->size());
        const UnixSeconds now = std::time(nullptr);
        EXPECT_EQ(table_->unknownListeners(now), fresh->unknownListeners(now));
        for (const AddressBytes& asked : asked_)
            for (ListenerIndex listener = 0; listener < 2; ++listener)
                ASSERT_EQ(answer(*table_, asked, listener, now), answer(*fresh, asked, listener, now))
                    << Network{asked, 128}.toString();
    }
    static std::string answer(const AccessTable& table, const AddressBytes& asked, ListenerIndex listener,
                              UnixSeconds now) {
        const auto match = table.lookup(asked, listener, now);
        if (!match) return "none";
        return std::to_string(table.ruleId(match->rule)) + " " + std::string(toString(match->verdict)) + " " +
               match->network.toString() + (match->temporary ? " temporary " : " ") +
               std::to_string(match->limits.sessions.value_or(77)) + "/" +
               std::to_string(match->limits.per_minute.value_or(77));
    }
    static std::vector<AddressBytes> askedAddresses() {
        std::vector<AddressBytes> all{address("203.0.113.1"), address("198.51.100.1")};
        for (int host = 0; host < 16; ++host) {
            all.push_back(address("192.0.2." + std::to_string(host)));
            all.push_back(address("2001:db8::" + std::to_string(host)));
        }
        return all;
    }
    void put(const AccessRule& one, const std::string& who = "alice") {
        store_->put(std::span(&one, 1), who);
    }
    static AccessRule denied(std::string_view text, std::string listener = "") {
        AccessRule one;
        one.network = network(text);
        one.listener = std::move(listener);
        return one;
    }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("rules.db");
    std::unique_ptr<RuleStore> store_ = openRules("sqlite:" + file_, {.bulk_from = 3});
    std::unique_ptr<RuleStore> following_ =
        openRules("sqlite:" + file_, {.use = Use::Serve, .poll = std::chrono::milliseconds(0)});
    Shell shell_{file_};
    std::shared_ptr<const AccessTable> table_;
    const std::vector<AddressBytes> asked_ = askedAddresses();
};

TEST_F(TableReaderTest, WhatWasChangedIsAllThatIsNew) {
    put(denied("192.0.2.0/28"));
    EXPECT_TRUE(follows());
    expectWhatTheFileSays();
    shell_.run("UPDATE access_rule SET verdict = 'allow', listener = 'mx' WHERE id = 2");
    EXPECT_TRUE(follows());
    expectWhatTheFileSays();
    shell_.run("DELETE FROM access_rule WHERE id = 2");
    EXPECT_TRUE(follows());
    expectWhatTheFileSays();
    const auto undone = store_->undo(store_->lastChangeBy("sqlite3"), "alice");
    ASSERT_EQ(undone.kind, RuleStore::UndoResult::Kind::Done);
    EXPECT_TRUE(follows()) << "a rule with a number that there was, and that nothing has now";
    expectWhatTheFileSays();
    store_->defineSet("git", {"note", {}}, "alice");
    EXPECT_TRUE(follows());
}

TEST_F(TableReaderTest, ARowThatReplacesAnotherTakesItsPlaceAlone) {
    shell_.run(
        "INSERT INTO access_rule(network, verdict, listener) VALUES ('192.0.2.1', 'deny', ''),"
        " ('192.0.2.1', 'deny', 'mx'), ('192.0.2.2', 'deny', ''), ('192.0.2.3', 'deny', 'gone')");
    EXPECT_TRUE(follows());
    shell_.run("REPLACE INTO access_rule(network, verdict, reply) VALUES ('192.0.2.1', 'deny', 'temporary')");
    shell_.run("UPDATE OR REPLACE access_rule SET network = '192.0.2.1', listener = 'mx' WHERE id = 4");
    shell_.run("REPLACE INTO access_rule(network, verdict, listener) VALUES ('192.0.2.3', 'deny', 'gone')");
    EXPECT_TRUE(follows());
    expectWhatTheFileSays();
}

TEST_F(TableReaderTest, WhatTheTrailCannotTellHasAllRulesRead) {
    put(denied("192.0.2.1"));
    put(denied("192.0.2.2"));
    const struct {
        const char* what;
        const char* sql;
    } cases[] = {
        {"a row with the number of another",
         "REPLACE INTO access_rule(id, network, verdict) VALUES (2, '192.0.2.9', 'deny')"},
        {"a new number", "UPDATE access_rule SET id = 90 WHERE id = 2"},
        {"the number of another", "UPDATE OR REPLACE access_rule SET id = 3 WHERE id = 90"},
        {"a version of somebody's own", "UPDATE access_meta SET rules_version = rules_version + 1"},
        {"an earlier version", "UPDATE access_meta SET rules_version = 1"},
        {"a trail that was trimmed",
         "INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.5', 'deny');"
         "UPDATE access_meta SET trimmed_to = (SELECT max(id) FROM access_audit);"
         "DELETE FROM access_audit WHERE id <= (SELECT trimmed_to FROM access_meta)"},
        {"an entry of somebody's own",
         "INSERT INTO access_audit(who, action, rule_id, before) VALUES ('x', 'remove', 1, 'deny "
         "203.0.113.1')"},
        {"a table of somebody's own", "CREATE TABLE note(text TEXT)"},
        {"a sequence of somebody's own", "UPDATE sqlite_sequence SET seq = 1000 WHERE name = 'access_rule'"},
        {"a zero", "INSERT INTO access_rule(id, network, verdict) VALUES (0, '192.0.2.6', 'deny')"},
    };
    ASSERT_TRUE(follows());
    for (const auto& one : cases) {
        SCOPED_TRACE(one.what);
        shell_.run(one.sql);
        EXPECT_FALSE(follows());
        expectWhatTheFileSays();
        put(denied("192.0.2.8", "mx"), one.what);
        EXPECT_TRUE(follows());
        shell_.run("DELETE FROM access_rule WHERE network = '192.0.2.8'");
        EXPECT_TRUE(follows());
    }
}

TEST_F(TableReaderTest, WhatIsWrittenWithoutATraceIsFoundWithTheNextChange) {
    put(denied("192.0.2.1"));
    ASSERT_TRUE(follows());
    for (const char* sql : {"DELETE FROM access_rule WHERE network = '192.0.2.1'",
                            "UPDATE access_rule SET verdict = 'allow' WHERE network = '203.0.113.1'"}) {
        Silent(file_).run(sql);
        EXPECT_EQ(following_->waitForChange(std::chrono::milliseconds(20)), RuleStore::News::None);
        put(denied("192.0.2.2", "mx"), sql);
        shell_.run("DELETE FROM access_rule WHERE network = '192.0.2.2'");
        EXPECT_FALSE(follows());
        expectWhatTheFileSays();
    }
    // A new row shows in the numbers that were given.
    Silent(file_).run("INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.3', 'deny')");
    put(denied("192.0.2.2"));
    EXPECT_FALSE(follows());
    expectWhatTheFileSays();
    // One that was there: when nobody could look in between, the next time that all is read.
    Silent(file_).run("DELETE FROM access_rule WHERE network = '192.0.2.3'");
    put(denied("192.0.2.4"));
    EXPECT_TRUE(follows());
    following_->distrust();
    EXPECT_FALSE(follows());
    expectWhatTheFileSays();
}

TEST_F(TableReaderTest, TriggersThatWereAwayHaveAllRulesRead) {
    const std::string trigger =
        shell_.value("SELECT sql FROM sqlite_schema WHERE name = 'access_rule_removed'");
    put(denied("192.0.2.1"));
    ASSERT_TRUE(follows());
    shell_.run("DROP TRIGGER access_rule_removed; DELETE FROM access_rule WHERE id = 2;" + trigger);
    put(denied("192.0.2.2"));
    EXPECT_FALSE(follows());
    expectWhatTheFileSays();
}

TEST_F(TableReaderTest, AnotherFileHasAllRulesRead) {
    put(denied("192.0.2.1"));
    const std::string copy = folder_.file("copy.db");
    shell_.run("VACUUM INTO '" + copy + "'");
    {
        Silent other(copy);
        other.run("UPDATE access_rule SET network = '192.0.2.2' WHERE id = 2");
    }
    ASSERT_TRUE(follows());
    std::filesystem::rename(copy, file_);
    EXPECT_EQ(following_->waitForChange(std::chrono::seconds(20)), RuleStore::News::Replaced);
    EXPECT_FALSE(follows());
    expectWhatTheFileSays();
}

TEST_F(TableReaderTest, ARowThatCannotBeReadIsNamedHoweverItCameAndLeavesNoTable) {
    shell_.run("INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.5/99', 'deny')");
    EXPECT_THROW(following_->load(kFollowed), StoreError);
    put(denied("192.0.2.1"));
    EXPECT_THROW(following_->load(kFollowed), StoreError);
    shell_.run("DELETE FROM access_rule WHERE network = '192.0.2.5/99'");
    follows();
    expectWhatTheFileSays();
}

TEST_F(TableReaderTest, ARowWithoutSenseIsNamedHoweverItCame) {
    put(denied("192.0.2.1"));
    shell_.run("PRAGMA ignore_check_constraints = ON");
    for (const char* set :
         {"verdict = 'allow', client_sessions = -1", "client_rate = 1000001", "verdict = 'Deny'"}) {
        SCOPED_TRACE(set);
        shell_.run("UPDATE access_rule SET " + std::string(set) + " WHERE id = 2");
        const auto starting = openRules("sqlite:" + file_, {.use = Use::Serve});
        for (RuleStore* store : {following_.get(), starting.get()}) {
            try {
                store->load(kFollowed);
                ADD_FAILURE() << "no error";
            } catch (const StoreError& error) {
                EXPECT_EQ(error.kind(), StoreError::Kind::BadRow);
                EXPECT_THAT(error.what(), testing::HasSubstr("row id 2"));
            }
        }
        shell_.run(
            "UPDATE access_rule SET verdict = 'deny', client_sessions = NULL, client_rate = NULL WHERE id = "
            "2");
        EXPECT_NO_THROW(following_->load(kFollowed));
    }
}

TEST_F(TableReaderTest, ARehearsalIsForgotten) {
    const auto one = denied("192.0.2.1");
    following_.reset();
    following_ = openRules("sqlite:" + file_, {.use = Use::Read});
    table_ = following_->load(kFollowed);
    following_->rehearse([&] {
        following_->put(std::span(&one, 1), "alice");
        EXPECT_TRUE(follows());
        EXPECT_EQ(table_->size(), 2u);
    });
    EXPECT_FALSE(follows());
    expectWhatTheFileSays();
}

/// Everything that changes rules, by chance.
class Chance {
  public:
    Chance(RuleStore& store, Shell& shell, unsigned seed) : store_(store), shell_(shell), random_(seed) {}

    void step() {
        const std::string who = oneOf<std::string>({"alice", "bob", programName("fail2ban")});
        const auto rules = some();
        switch (below(14)) {
            case 0:
            case 1:
                store_.put(std::span(rules).first(1), who);
                return;
            case 2:
                store_.editList(
                    rules,
                    [](AccessRule& rule, const AccessRule& wanted, std::uint64_t, bool) {
                        rule.expires_at = wanted.expires_at;
                        rule.limits = wanted.limits;
                        rule.reply = wanted.reply;
                    },
                    who);
                return;
            case 3:
                store_.replaceAll(rules, RuleStore::Sets({"git"}), {}, who);
                return;
            case 4:
            case 5:
                store_.remove(someIds(), "alice", {});
                return;
            case 6:
                store_.renameListener(oneOf<std::string>({"mx", "gone"}), "imap", who);
                return;
            case 7:
                store_.prune(std::time(nullptr) - 100, 0, "alice");
                return;
            case 8:
            case 9:
                store_.undo(below(2) == 0 ? store_.lastChangeBy(who)
                                          : 2 + static_cast<std::int64_t>(
                                                    below(static_cast<unsigned>(store_.endOfTrail()))),
                            who);
                return;
            case 10:
                answerAName();
                return;
            case 11:
                shell_.tryRun("REPLACE INTO access_rule(network, verdict, listener) VALUES ('" +
                              subjectOf(rules.front()) + "', 'deny', '" + listener() + "')");
                return;
            case 12:
                shell_.tryRun("UPDATE OR REPLACE access_rule SET network = '" + subjectOf(rules.front()) +
                              "', listener = '" + listener() +
                              "' WHERE network <> '203.0.113.1' AND id % 5 = " + std::to_string(below(5)));
                return;
            default:
                shell_.tryRun("UPDATE OR REPLACE access_rule SET id = id + " + std::to_string(below(3)) +
                              " WHERE id = (SELECT max(id) FROM access_rule WHERE network <> '203.0.113.1')");
        }
    }

  private:
    unsigned below(unsigned most) { return static_cast<unsigned>(random_() % most); }
    template <typename Value>
    Value oneOf(const std::vector<Value>& values) {
        return values[below(static_cast<unsigned>(values.size()))];
    }
    std::string listener() { return oneOf<std::string>({"", "", "mx", "imap", "gone", "older"}); }
    AccessRule one() {
        AccessRule rule;
        const auto subject = oneOf<std::string>(
            {"192.0.2." + std::to_string(below(16)), "192.0.2." + std::to_string(2 * below(8)) + "/31",
             "192.0.2." + std::to_string(8 * below(2)) + "/29", "192.0.2.0/24",
             "2001:db8::" + std::to_string(below(10)), "2001:db8::/32", "0.0.0.0/0", "host:a.example.org",
             "spf:b.example.org"});
        if (isRuleName(subject))
            rule.name = subject;
        else
            rule.network = network(subject);
        rule.verdict = oneOf<Verdict>({Verdict::Allow, Verdict::Deny});
        rule.listener = listener();
        rule.set = oneOf<std::string>({"manual", "git", "ads", "zeta"});
        rule.note = oneOf<std::string>({"", "a=b", "\"x\" y"});
        const UnixSeconds now = std::time(nullptr);
        rule.expires_at = oneOf<std::optional<UnixSeconds>>({{}, {}, now - 1'000, now + 100'000});
        if (rule.verdict == Verdict::Allow && below(3) == 0) rule.limits.sessions = below(5);
        if (rule.verdict == Verdict::Deny && below(3) == 0) rule.reply.temporary = true;
        return rule;
    }
    std::vector<AccessRule> some() {
        std::vector<AccessRule> rules;
        std::set<std::tuple<std::string, std::string, std::string, Verdict>> places;
        for (unsigned left = 1 + below(6); left > 0; --left) {
            AccessRule rule = one();
            if (places.emplace(subjectOf(rule), rule.listener, rule.set, rule.verdict).second)
                rules.push_back(std::move(rule));
        }
        return rules;
    }
    std::vector<std::int64_t> someIds() {
        std::vector<std::int64_t> ids;
        store_.forEachRule([&](const AccessRule& rule) {
            if (below(8) == 0 && rule.network != kUntouched) ids.push_back(rule.id);
        });
        return ids;
    }
    void answerAName() {
        const auto named = store_.namedRules();
        if (named.empty()) return;
        NameState state;
        for (unsigned left = below(3); left > 0; --left)
            state.networks.push_back(network("192.0.2." + std::to_string(below(16))));
        std::sort(state.networks.begin(), state.networks.end());
        state.networks.erase(std::unique(state.networks.begin(), state.networks.end()), state.networks.end());
        store_.keepName(named[below(static_cast<unsigned>(named.size()))].rule.id, state);
    }

    RuleStore& store_;
    Shell& shell_;
    std::mt19937 random_;
};

TEST_F(TableReaderTest, WhateverIsChangedTheTableIsTheOneThatIsMadeAnew) {
    unsigned steps = 0, followed = 0;
    for (unsigned seed = 1; seed <= 6; ++seed) {
        SCOPED_TRACE(seed);
        Chance chance(*store_, shell_, seed);
        for (int turn = 0; turn < 25; ++turn) {
            SCOPED_TRACE(turn);
            for (unsigned left = 1 + seed % 3; left > 0; --left)
                chance.step();
            ++steps;
            followed += follows() ? 1 : 0;
            expectWhatTheFileSays();
            if (HasFatalFailure()) return;
        }
    }
    EXPECT_GT(followed, steps / 2);
}

}  // namespace
}  // namespace mailgate::store
