// SPDX-License-Identifier: Apache-2.0
#include "store/rules/store.h"

#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

namespace mailgate::store {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Use = AccessStore::Use;
using PutKind = AccessStore::PutKind;

AccessRule rule(Verdict verdict, std::string_view text, std::string listener = "", std::string note = "",
                std::optional<UnixSeconds> expires_at = {}) {
    AccessRule result;
    result.verdict = verdict;
    result.network = network(text);
    result.listener = std::move(listener);
    result.note = std::move(note);
    result.expires_at = expires_at;
    return result;
}

class AccessStoreTest : public testing::Test {
  protected:
    AccessStore::PutResult put(const AccessRule& one) {
        return store_.put(std::span(&one, 1), "alice").at(0);
    }
    /// "2 deny 192.0.2.0/24 imap" and so on.
    std::vector<std::string> rules() {
        std::vector<std::string> lines;
        store_.forEachRule([&](const AccessRule& one) {
            lines.push_back(std::to_string(one.id) + " " + std::string(toString(one.verdict)) + " " +
                            one.network.toString() + (one.listener.empty() ? "" : " " + one.listener));
        });
        return lines;
    }
    /// "alice add: - > deny 192.0.2.1" and so on.
    std::vector<std::string> audit(const std::optional<Network>& about = {}) {
        std::vector<std::string> lines;
        for (const auto& entry : store_.history(about))
            lines.push_back(entry.who + " " + entry.action + ": " +
                            (entry.before.empty() ? "-" : entry.before) + " > " +
                            (entry.after.empty() ? "-" : entry.after));
        return lines;
    }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("rules.db");
    AccessStore store_{"sqlite:" + file_, Use::Administer, std::chrono::milliseconds(0)};
    Shell shell_{file_};
};

TEST_F(AccessStoreTest, ARuleComesBackAsItWasPut) {
    put(rule(Verdict::Allow, "2001:db8::/32", "smtp", "Büro \"M\"; DROP TABLE", 1'800'000'000));
    std::vector<AccessRule> found;
    store_.forEachRule([&](const AccessRule& one) { found.push_back(one); });
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].network, network("2001:db8::/32"));
    EXPECT_EQ(found[0].verdict, Verdict::Allow);
    EXPECT_EQ(found[0].listener, "smtp");
    EXPECT_EQ(found[0].note, "Büro \"M\"; DROP TABLE");
    EXPECT_EQ(found[0].expires_at, 1'800'000'000);
    EXPECT_EQ(found[0].created_by, "alice");
    EXPECT_GT(found[0].created_at, 1'700'000'000);
    EXPECT_EQ(found[0].hits, 0);
    EXPECT_EQ(found[0].last_hit_at, std::nullopt);
}

TEST_F(AccessStoreTest, PuttingAgainChangesNoteAndExpiry) {
    const auto first = put(rule(Verdict::Deny, "192.0.2.1", "", "spam"));
    EXPECT_EQ(first.kind, PutKind::Added);
    const auto version = store_.rulesVersion();
    EXPECT_EQ(put(rule(Verdict::Deny, "192.0.2.1", "", "spam")).kind, PutKind::Unchanged);
    EXPECT_EQ(store_.rulesVersion(), version);
    const auto changed = put(rule(Verdict::Deny, "192.0.2.1", "", "worse", 1'800'000'000));
    EXPECT_EQ(changed.kind, PutKind::Changed);
    EXPECT_EQ(changed.id, first.id);
    EXPECT_GT(store_.rulesVersion(), version);
    EXPECT_EQ(put(rule(Verdict::Allow, "192.0.2.1")).kind, PutKind::Added);
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1", "2 allow 192.0.2.1"));
}

TEST_F(AccessStoreTest, AnEditChangesWhatItSaysAndNothingElse) {
    AccessRule first = rule(Verdict::Allow, "192.0.2.0/25", "smtp", "ACME", 4'000'000'000);
    first.limits = {200, 0};
    put(first);
    const AccessRule same = rule(Verdict::Allow, "192.0.2.0/25", "smtp");
    const auto edited = store_.edit(
        std::span(&same, 1), [](AccessRule& one, const AccessRule&) { one.note = "renewed"; }, "bob");
    ASSERT_EQ(edited.size(), 1u);
    EXPECT_EQ(edited[0].kind, PutKind::Changed);
    EXPECT_EQ(edited[0].rule.id, 1);
    EXPECT_EQ(audit().back(),
              "bob change: allow 192.0.2.0/25 listener=smtp expires=2096-10-02T07:06:40Z client_sessions=200 "
              "client_rate=0 ACME > allow 192.0.2.0/25 listener=smtp expires=2096-10-02T07:06:40Z "
              "client_sessions=200 client_rate=0 renewed");
    EXPECT_EQ(store_
                  .edit(
                      std::span(&same, 1), [](AccessRule&, const AccessRule&) {}, "bob")[0]
                  .kind,
              PutKind::Unchanged);
}

TEST_F(AccessStoreTest, ARuleThatHasExpiredIsNotTheOneThatIsEdited) {
    put(rule(Verdict::Deny, "192.0.2.1", "", "a ban", 1'000'000'000));
    const AccessRule again = rule(Verdict::Deny, "192.0.2.1");
    const auto edited = store_.edit(
        std::span(&again, 1), [](AccessRule& one, const AccessRule&) { one.note = "mine"; }, "bob");
    EXPECT_EQ(edited[0].kind, PutKind::Added);
    EXPECT_EQ(edited[0].rule.expires_at, std::nullopt);
    EXPECT_THAT(rules(), ElementsAre("2 deny 192.0.2.1"));
}

TEST_F(AccessStoreTest, AProgramLeavesTheRulesOfOthersAlone) {
    const std::string program = programName("fail2ban");
    const AccessRule ban = rule(Verdict::Deny, "192.0.2.1");
    const auto ask = [&](std::string_view note, std::optional<UnixSeconds> expiry, std::string_view who) {
        return store_
            .edit(
                std::span(&ban, 1),
                [&](AccessRule& one, const AccessRule&) {
                    one.note = note;
                    one.expires_at = expiry;
                },
                who)[0]
            .kind;
    };
    const std::vector unbanned{network("192.0.2.1")};
    EXPECT_EQ(ask("ban", 4'000'000'000, program), PutKind::Added);
    EXPECT_EQ(ask("longer ban", 4'000'000'001, program), PutKind::Changed);
    EXPECT_EQ(ask("another's ban", 4'000'000'000, programName("other")), PutKind::Kept);
    EXPECT_THAT(store_.remove(unbanned, {}, programName("other")).removed, IsEmpty());
    EXPECT_EQ(store_.remove(unbanned, {}, program).removed.size(), 1u);

    EXPECT_EQ(ask("ban", 4'000'000'000, program), PutKind::Added);
    EXPECT_EQ(ask("for good", std::nullopt, "alice"), PutKind::Changed);
    EXPECT_EQ(ask("ban", 4'000'000'000, program), PutKind::Kept);
    EXPECT_EQ(store_.remove(unbanned, {}, program).missing.size(), 1u);
    EXPECT_EQ(audit().back(), "alice add: - > deny 192.0.2.1 for good");
    EXPECT_EQ(store_.remove(unbanned, {}, "bob").removed.size(), 1u);
}

TEST_F(AccessStoreTest, TheRulesOfAListenerFollowItsNewName) {
    put(rule(Verdict::Deny, "192.0.2.1", "mx", "spam"));
    put(rule(Verdict::Allow, "192.0.2.0/24", "mx"));
    put(rule(Verdict::Allow, "192.0.2.0/24", "imap"));
    EXPECT_THAT(store_.ruleListeners(), ElementsAre(std::pair("imap", 1), std::pair("mx", 2)));
    const auto refused = store_.renameListener("mx", "imap", "bob");
    EXPECT_EQ(refused.renamed, 0u);
    ASSERT_EQ(refused.in_the_way.size(), 1u);
    EXPECT_EQ(refused.in_the_way[0].id, 3);
    EXPECT_EQ(store_.renameListener("mx", "inbound", "bob").renamed, 2u);
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1 inbound", "2 allow 192.0.2.0/24 inbound",
                                     "3 allow 192.0.2.0/24 imap"));
    EXPECT_EQ(audit().at(3),
              "bob change: deny 192.0.2.1 listener=mx spam > deny 192.0.2.1 listener=inbound spam");
}

TEST_F(AccessStoreTest, EveryChangeIsInTheTrailWithItsAuthor) {
    put(rule(Verdict::Deny, "192.0.2.1", "smtp", "spam"));
    put(rule(Verdict::Deny, "192.0.2.1", "smtp", "worse", 1'800'000'000));
    store_.remove(std::vector{network("192.0.2.1")}, {}, "bob");
    EXPECT_THAT(
        audit(),
        ElementsAre("alice add: - > deny 192.0.2.1 listener=smtp spam",
                    "alice change: deny 192.0.2.1 listener=smtp spam > "
                    "deny 192.0.2.1 listener=smtp expires=2027-01-15T08:00:00Z worse",
                    "bob remove: deny 192.0.2.1 listener=smtp expires=2027-01-15T08:00:00Z worse > -"));
}

TEST_F(AccessStoreTest, TheShellIsInTheTrailToo) {
    const auto version = store_.rulesVersion();
    shell_.run("INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.0/24', 'deny')");
    shell_.run("UPDATE access_rule SET verdict = 'allow'");
    shell_.run("DELETE FROM access_rule");
    EXPECT_THAT(audit(), ElementsAre("sqlite3 add: - > deny 192.0.2.0/24",
                                     "sqlite3 change: deny 192.0.2.0/24 > allow 192.0.2.0/24",
                                     "sqlite3 remove: allow 192.0.2.0/24 > -"));
    EXPECT_EQ(store_.rulesVersion(), version + 3);
}

TEST_F(AccessStoreTest, ReplacingInTheShellRaisesTheVersion) {
    shell_.run("INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.0/24', 'deny')");
    const auto version = store_.rulesVersion();
    shell_.run("REPLACE INTO access_rule(network, verdict) VALUES ('192.0.2.0/24', 'deny')");
    EXPECT_GT(store_.rulesVersion(), version);
}

TEST_F(AccessStoreTest, ATransactionThatIsRolledBackLeavesNoTrace) {
    shell_.run("BEGIN; INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.0/24', 'deny'); ROLLBACK");
    EXPECT_THAT(audit(), IsEmpty());
    EXPECT_EQ(store_.rulesVersion(), 1);
}

TEST_F(AccessStoreTest, TheTrailCannotBeChanged) {
    put(rule(Verdict::Deny, "192.0.2.1"));
    for (const char* sql :
         {"UPDATE access_audit SET who = 'mallory'", "DELETE FROM access_audit",
          "REPLACE INTO access_audit(id, who, action, rule_id) VALUES (1, 'mallory', 'add', 1)"})
        EXPECT_THAT(shell_.tryRun(sql), HasSubstr("append only")) << sql;
    EXPECT_THAT(audit(), ElementsAre("alice add: - > deny 192.0.2.1"));
}

TEST_F(AccessStoreTest, TheShellCannotWriteWhatMakesNoSense) {
    for (const char* values : {"'192.0.2.1', 'Deny', ''", "'192.0.2.1', 'refuse', ''", "NULL, 'deny', ''",
                               "'192.0.2.1', 'deny', 'two words'", "x'00', 'deny', ''"})
        EXPECT_NE(shell_.tryRun(std::string("INSERT INTO access_rule(network, verdict, listener) VALUES (") +
                                values + ")"),
                  "")
            << values;
    EXPECT_NE(
        shell_.tryRun("INSERT INTO access_rule(network, verdict, expires_at) VALUES ('::1', 'deny', 'soon')"),
        "");
}

TEST_F(AccessStoreTest, SeveralRulesAreOneTransaction) {
    shell_.run(
        "CREATE TRIGGER refuse BEFORE INSERT ON access_rule WHEN NEW.network = '192.0.2.3' BEGIN "
        "SELECT raise(ABORT, 'not this one'); END");
    const std::vector rules_to_put{rule(Verdict::Deny, "192.0.2.1"), rule(Verdict::Deny, "192.0.2.2"),
                                   rule(Verdict::Deny, "192.0.2.3")};
    EXPECT_THROW(store_.put(rules_to_put, "alice"), StoreError);
    EXPECT_THAT(rules(), IsEmpty());
    EXPECT_THAT(audit(), IsEmpty());
    EXPECT_EQ(put(rule(Verdict::Deny, "192.0.2.1")).kind, PutKind::Added);
}

TEST_F(AccessStoreTest, RemovingTakesWhatTheNetworkIsAndNotHowItIsWritten) {
    shell_.run(
        "INSERT INTO access_rule(network, verdict, listener) VALUES ('192.0.2.1/32', 'deny', ''),"
        " ('192.0.2.1', 'deny', 'smtp'), ('2001:DB8:0::/32', 'deny', ''), ('192.0.2.0/24', 'deny', '')");
    const auto result = store_.remove(std::vector{network("192.0.2.1"), network("2001:db8::/32")}, {}, "bob");
    EXPECT_EQ(result.removed.size(), 3u);
    EXPECT_THAT(result.missing, IsEmpty());
    EXPECT_THAT(rules(), ElementsAre("4 deny 192.0.2.0/24"));
}

TEST_F(AccessStoreTest, RemovingForAListenerLeavesTheOthers) {
    for (const char* listener : {"", "smtp", "imap"})
        put(rule(Verdict::Deny, "192.0.2.1", listener));
    store_.remove(std::vector{network("192.0.2.1")}, std::vector<std::string>{"imap"}, "bob");
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1", "2 deny 192.0.2.1 smtp"));
}

TEST_F(AccessStoreTest, RemovingNothingWhenOneIsMissing) {
    put(rule(Verdict::Deny, "192.0.2.1"));
    const auto result = store_.remove(std::vector{network("192.0.2.1"), network("192.0.2.2")}, {}, "bob");
    EXPECT_THAT(result.missing, ElementsAre(network("192.0.2.2")));
    EXPECT_THAT(result.removed, IsEmpty());
    EXPECT_EQ(rules().size(), 1u);
}

TEST_F(AccessStoreTest, ReplacingTouchesOnlyWhatDiffers) {
    put(rule(Verdict::Deny, "192.0.2.1", "", "kept"));
    put(rule(Verdict::Deny, "192.0.2.2"));
    shell_.run("INSERT INTO access_rule(network, verdict) VALUES ('no network', 'deny')");
    const std::vector wanted{rule(Verdict::Deny, "192.0.2.1", "", "kept"), rule(Verdict::Allow, "192.0.2.3")};
    const auto result = store_.replaceAll(wanted, "carol");
    EXPECT_EQ(result.removed, 2u);
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1", "4 allow 192.0.2.3"));
    EXPECT_EQ(audit().size(), 6u) << "one row for each change, none for the rule that stayed";
}

TEST_F(AccessStoreTest, HitsAreNoChangeOfRules) {
    const auto id = put(rule(Verdict::Deny, "192.0.2.1")).id;
    const auto version = store_.rulesVersion();
    store_.addHits(std::vector<AccessStore::HitCount>{{id, 3, 1'800'000'005}, {999, 1, 1'800'000'000}});
    store_.addHits(std::vector<AccessStore::HitCount>{{id, 2, 1'800'000'001}});
    EXPECT_EQ(shell_.value("SELECT hits || ' ' || last_hit_at FROM access_rule"), "5 1800000005");
    EXPECT_EQ(store_.rulesVersion(), version);
    EXPECT_EQ(audit().size(), 1u);
}

TEST_F(AccessStoreTest, TheIdOfARemovedRuleDoesNotComeBack) {
    const auto id = put(rule(Verdict::Deny, "192.0.2.1")).id;
    store_.remove(std::vector{network("192.0.2.1")}, {}, "bob");
    EXPECT_GT(put(rule(Verdict::Deny, "192.0.2.2")).id, id);
}

TEST_F(AccessStoreTest, HistoryOfANetworkIsThatOfTheRulesItTouches) {
    for (const char* one : {"192.0.2.0/24", "192.0.2.1", "198.51.100.0/24", "0.0.0.0/0"})
        put(rule(Verdict::Deny, one));
    shell_.run("UPDATE access_rule SET network = '203.0.113.1' WHERE network = '192.0.2.1'");
    EXPECT_THAT(
        audit(network("192.0.2.1")),
        ElementsAre("alice add: - > deny 192.0.2.0/24", "alice add: - > deny 192.0.2.1",
                    "alice add: - > deny 0.0.0.0/0", "sqlite3 change: deny 192.0.2.1 > deny 203.0.113.1"));
    EXPECT_THAT(audit(network("2001:db8::1")), IsEmpty());
}

TEST_F(AccessStoreTest, LoadingGivesTheTable) {
    put(rule(Verdict::Allow, "192.0.2.0/24"));
    put(rule(Verdict::Deny, "192.0.2.1", "imap"));
    put(rule(Verdict::Deny, "192.0.2.1", "elsewhere"));
    const std::vector<std::string> listeners{"smtp", "imap"};
    const auto table = store_.load(listeners);
    EXPECT_EQ(table->size(), 2u);
    EXPECT_EQ(table->version(), store_.rulesVersion());
    EXPECT_EQ(table->lookup(address("192.0.2.1"), 0, 0)->verdict, Verdict::Allow);
    EXPECT_EQ(table->lookup(address("192.0.2.1"), 1, 0)->verdict, Verdict::Deny);
}

TEST_F(AccessStoreTest, ARowThatCannotBeReadIsNamed) {
    shell_.run("INSERT INTO access_rule(id, network, verdict) VALUES (7, '192.0.2.5/24', 'deny')");
    try {
        store_.load({});
        FAIL() << "loaded";
    } catch (const StoreError& error) {
        EXPECT_EQ(error.kind(), StoreError::Kind::BadRow);
        EXPECT_THAT(error.what(), AllOf(HasSubstr(file_), HasSubstr("access_rule"), HasSubstr("id 7"),
                                        HasSubstr("192.0.2.5/24")));
    }
    put(rule(Verdict::Deny, "192.0.2.1"));
    EXPECT_THROW(store_.forEachRule([](const AccessRule&) {}), StoreError);
    shell_.run("DELETE FROM access_rule WHERE id = 7");
    EXPECT_EQ(rules().size(), 1u);
}

TEST_F(AccessStoreTest, AnotherWritersLockIsToldAndPasses) {
    shell_.run("BEGIN IMMEDIATE");
    try {
        put(rule(Verdict::Deny, "192.0.2.1"));
        FAIL() << "written";
    } catch (const StoreError& error) {
        EXPECT_EQ(error.kind(), StoreError::Kind::Locked) << error.what();
        EXPECT_THAT(error.what(), HasSubstr(file_));
    }
    EXPECT_THAT(rules(), IsEmpty()) << "readers do not wait";
    shell_.run("COMMIT");
    EXPECT_EQ(put(rule(Verdict::Deny, "192.0.2.1")).kind, PutKind::Added);
}

TEST_F(AccessStoreTest, DataVersionTellsOfOthersAlone) {
    const auto before = store_.dataVersion();
    put(rule(Verdict::Deny, "192.0.2.1"));
    EXPECT_EQ(store_.dataVersion(), before);
    shell_.run("DELETE FROM access_rule");
    EXPECT_NE(store_.dataVersion(), before);
}

TEST_F(AccessStoreTest, AnAcknowledgedRuleIsInTheFile) {
    put(rule(Verdict::Deny, "192.0.2.1"));
    // As after a kill: the file and its log, copied while the store is open.
    for (const char* suffix : {"", "-wal"})
        std::filesystem::copy_file(file_ + suffix, folder_.file("copy.db") + suffix);
    EXPECT_EQ(Shell(folder_.file("copy.db")).value("SELECT network FROM access_rule"), "192.0.2.1");
}

}  // namespace
}  // namespace mailgate::store
