// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/store.h"

#include "store/backends/rules.h"
#include "store/backends/shown_notes.h"
#include "store/rules/import_export.h"
#include "store/rules/sqlite/last_look.h"
#include "tests/support/reference.h"
#include "tests/unit/store/support.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <thread>

namespace mailgate::store {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Use = RuleStore::Use;
using PutKind = RuleStore::PutKind;

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

class RuleStoreTest : public testing::Test {
  protected:
    RuleStore::PutResult put(const AccessRule& one) { return store_->put(std::span(&one, 1), "alice").at(0); }
    /// "2 deny 192.0.2.0/24 imap" and so on.
    std::vector<std::string> rules() {
        std::vector<std::string> lines;
        store_->forEachRule([&](const AccessRule& one) {
            lines.push_back(std::to_string(one.id) + " " + std::string(toString(one.verdict)) + " " +
                            one.network.toString() + (one.listener.empty() ? "" : " " + one.listener));
        });
        return lines;
    }
    /// "alice add: - > deny 192.0.2.1" and so on.
    std::vector<std::string> audit(const std::optional<Network>& about = {}) {
        std::vector<std::string> lines;
        for (const auto& entry : store_->history(about))
            lines.push_back(entry.who + " " + entry.action + ": " +
                            (entry.before.empty() ? "-" : entry.before) + " > " +
                            (entry.after.empty() ? "-" : entry.after));
        return lines;
    }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("rules.db");
    std::unique_ptr<RuleStore> store_ =
        openRules("sqlite:" + file_,
                  {.lock_timeout = std::chrono::milliseconds(0), .poll = std::chrono::milliseconds(1)});
    Shell shell_{file_};
};

TEST_F(RuleStoreTest, ARuleComesBackAsItWasPut) {
    put(rule(Verdict::Allow, "2001:db8::/32", "smtp", "Büro \"M\"; DROP TABLE", 1'800'000'000));
    std::vector<AccessRule> found;
    store_->forEachRule([&](const AccessRule& one) { found.push_back(one); });
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
    EXPECT_EQ(store_->rule(found[0].id), found[0]);
    EXPECT_EQ(store_->rule(found[0].id + 1), std::nullopt);
}

NameState standingFor(std::initializer_list<std::string_view> networks) {
    NameState state;
    for (const std::string_view each : networks)
        state.networks.push_back(network(each));
    state.asked_at = 1'000;
    state.answered_at = 1'000;
    state.due = 1'060;
    return state;
}

TEST_F(RuleStoreTest, ARuleForANameMatchesWhatThatStandsFor) {
    AccessRule named = rule(Verdict::Allow, "::", "smtp", "Anna");
    named.name = "host:home.example.org";
    const auto id = put(named).id;
    EXPECT_EQ(put(named).kind, PutKind::Unchanged);
    const std::vector<std::string> listeners{"imap", "smtp"};
    EXPECT_EQ(store_->load(listeners)->size(), 0u);
    const auto version = store_->version();
    EXPECT_TRUE(store_->keepName(id, standingFor({"192.0.2.1", "2001:db8::/48"})));
    EXPECT_GT(store_->version(), version);
    const auto table = store_->load(listeners);
    EXPECT_EQ(table->size(), 2u);
    const auto match = table->lookup(address("2001:db8::7"), 1, 0);
    ASSERT_TRUE(match);
    EXPECT_EQ(table->ruleId(match->rule), id);
    EXPECT_FALSE(table->lookup(address("2001:db8::7"), 0, 0)) << "another listener";
    const auto all = store_->namedRules();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].rule.name, "host:home.example.org");
    EXPECT_EQ(all[0].state, standingFor({"192.0.2.1", "2001:db8::/48"}));
    EXPECT_FALSE(store_->keepName(4711, standingFor({"192.0.2.1"})));
}

TEST_F(RuleStoreTest, ARuleForANameHasItsReply) {
    AccessRule named = rule(Verdict::Deny, "::");
    named.name = "spf:example.org";
    named.reply.temporary = true;
    const auto id = put(named).id;
    store_->keepName(id, standingFor({"192.0.2.0/24"}));
    const auto match = store_->load(std::vector<std::string>{"smtp"})->lookup(address("192.0.2.9"), 0, 0);
    ASSERT_TRUE(match);
    EXPECT_TRUE(match->temporary);
    EXPECT_EQ(audit().front(), "alice add: - > deny spf:example.org reply=temporary");
    store_->remove(std::vector<std::int64_t>{id}, "alice");
    store_->undo(store_->lastChangeBy("alice"), "alice");
    EXPECT_EQ(store_->namedRules().at(0).rule.reply, named.reply);
    EXPECT_EQ(store_->namedRules()[0].state.networks, standingFor({"192.0.2.0/24"}).networks);
}

// It would be listed, and deny nobody.
TEST_F(RuleStoreTest, ANameWrittenSoThatNobodyAsksForItIsABadRow) {
    for (const char* name : {"host:home.example.org.", "hOsT:home.example.org"}) {
        SCOPED_TRACE(name);
        shell_.run(
            fmt::format("DELETE FROM access_rule;"
                        "INSERT INTO access_rule(network, verdict) VALUES ('{}', 'deny')",
                        name));
        EXPECT_THAT(store_->namedRules(), IsEmpty()) << "the others are asked for all the same";
        std::string why;
        try {
            store_->load(std::vector<std::string>{"smtp"});
        } catch (const StoreError& error) {
            EXPECT_EQ(error.kind(), StoreError::Kind::BadRow);
            why = error.what();
        }
        EXPECT_THAT(why, HasSubstr("has to be written as host:home.example.org"));
    }
    shell_.run("UPDATE access_rule SET network = 'HOST:Home.example.org'");
    EXPECT_EQ(store_->namedRules().at(0).rule.name, "host:home.example.org");
    EXPECT_EQ(store_->load(std::vector<std::string>{"smtp"})->size(), 0u);
}

TEST_F(RuleStoreTest, AnExpiredRuleForANameIsPruned) {
    AccessRule named = rule(Verdict::Allow, "::", "", "", 1'000);
    named.name = "host:home.example.org";
    store_->keepName(put(named).id, standingFor({"192.0.2.1"}));
    EXPECT_EQ(store_->prune(1'000, 0, "alice").rules, 1u);
    EXPECT_THAT(store_->namedRules(), IsEmpty());
    EXPECT_EQ(store_->load(std::vector<std::string>{"smtp"})->size(), 0u);
}

TEST_F(RuleStoreTest, TheTrailTellsWhatANameStandsFor) {
    AccessRule named = rule(Verdict::Allow, "::");
    named.name = "spf:example.org";
    const auto id = put(named).id;
    store_->keepName(id, standingFor({"192.0.2.1"}));
    auto failed = standingFor({"192.0.2.1"});
    failed.error = "mute";
    const auto version = store_->version();
    store_->keepName(id, failed);
    EXPECT_EQ(store_->version(), version) << "nobody is decided about otherwise";
    store_->keepName(id, standingFor({"192.0.2.2"}));
    EXPECT_THAT(
        audit(),
        ElementsAre("alice add: - > allow spf:example.org",
                    "program names resolve: - > spf:example.org is 192.0.2.1",
                    "program names resolve: spf:example.org is 192.0.2.1 > spf:example.org is 192.0.2.2"));
    EXPECT_THAT(
        audit(network("192.0.2.2")),
        ElementsAre("alice add: - > allow spf:example.org",
                    "program names resolve: spf:example.org is 192.0.2.1 > spf:example.org is 192.0.2.2"))
        << "who let it in";
    EXPECT_THAT(audit(network("192.0.2.3")), IsEmpty());
    const std::string name = "spf:example.org", other = "host:example.org";
    EXPECT_EQ(store_->historyOf(std::span(&name, 1)).size(), 3u);
    EXPECT_THAT(store_->historyOf(std::span(&other, 1)), IsEmpty());
    EXPECT_EQ(store_->newestEntries({.network = network("192.0.2.2"), .limit = 9}).size(), 2u);
    EXPECT_EQ(store_->newestEntries({.names = {name}, .limit = 9}).size(), 3u);
    const auto undone = store_->undo(store_->lastChangeBy("alice"), "alice");
    EXPECT_EQ(undone.kind, RuleStore::UndoResult::Kind::Done);
    EXPECT_EQ(store_->load(std::vector<std::string>{"smtp"})->size(), 0u);
    store_->undo(store_->lastChangeBy("alice"), "alice");
    EXPECT_EQ(store_->load(std::vector<std::string>{"smtp"})->size(), 1u) << "with its last answer";
}

TEST_F(RuleStoreTest, OneWhoAssistsCreatesNothing) {
    EXPECT_THROW(openRules("sqlite:" + folder_.file("none.db"), {.use = Use::Assist}), StoreError);
    EXPECT_EQ(openRules("sqlite:" + file_, {.use = Use::Assist})->version(), store_->version());
}

TEST_F(RuleStoreTest, PuttingAgainChangesNoteAndExpiry) {
    const auto first = put(rule(Verdict::Deny, "192.0.2.1", "", "spam"));
    EXPECT_EQ(first.kind, PutKind::Added);
    const auto version = store_->version();
    EXPECT_EQ(put(rule(Verdict::Deny, "192.0.2.1", "", "spam")).kind, PutKind::Unchanged);
    EXPECT_EQ(store_->version(), version);
    const auto changed = put(rule(Verdict::Deny, "192.0.2.1", "", "worse", 1'800'000'000));
    EXPECT_EQ(changed.kind, PutKind::Changed);
    EXPECT_EQ(changed.id, first.id);
    EXPECT_GT(store_->version(), version);
    EXPECT_EQ(put(rule(Verdict::Allow, "192.0.2.1")).kind, PutKind::Added);
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1", "2 allow 192.0.2.1"));
}

TEST_F(RuleStoreTest, AnEditChangesWhatItSaysAndNothingElse) {
    AccessRule first = rule(Verdict::Allow, "192.0.2.0/25", "smtp", "ACME", 4'000'000'000);
    first.limits = {200, 0};
    put(first);
    const AccessRule same = rule(Verdict::Allow, "192.0.2.0/25", "smtp");
    const auto edited = store_->edit(
        std::span(&same, 1), [](AccessRule& one, const AccessRule&, bool) { one.note = "renewed"; }, "bob");
    ASSERT_EQ(edited.size(), 1u);
    EXPECT_EQ(edited[0].kind, PutKind::Changed);
    EXPECT_EQ(edited[0].rule.id, 1);
    EXPECT_EQ(audit().back(),
              "bob change: allow 192.0.2.0/25 listener=smtp expires=2096-10-02T07:06:40Z client_sessions=200 "
              "client_rate=0 ACME > allow 192.0.2.0/25 listener=smtp expires=2096-10-02T07:06:40Z "
              "client_sessions=200 client_rate=0 renewed");
    EXPECT_EQ(store_
                  ->edit(
                      std::span(&same, 1), [](AccessRule&, const AccessRule&, bool) {}, "bob")[0]
                  .kind,
              PutKind::Unchanged);
}

TEST_F(RuleStoreTest, ARuleThatHasExpiredIsNotTheOneThatIsEdited) {
    put(rule(Verdict::Deny, "192.0.2.1", "", "a ban", 1'000'000'000));
    const AccessRule again = rule(Verdict::Deny, "192.0.2.1");
    const auto edited = store_->edit(
        std::span(&again, 1), [](AccessRule& one, const AccessRule&, bool) { one.note = "mine"; }, "bob");
    EXPECT_EQ(edited[0].kind, PutKind::Added);
    EXPECT_EQ(edited[0].rule.expires_at, std::nullopt);
    ASSERT_TRUE(edited[0].expired);
    EXPECT_EQ(edited[0].expired->expires_at, 1'000'000'000);
    EXPECT_THAT(rules(), ElementsAre("2 deny 192.0.2.1"));
}

TEST_F(RuleStoreTest, AProgramLeavesTheRulesOfOthersAlone) {
    const std::string program = programName("fail2ban");
    const AccessRule ban = rule(Verdict::Deny, "192.0.2.1");
    const auto ask = [&](std::string_view note, std::optional<UnixSeconds> expiry, std::string_view who) {
        return store_
            ->edit(
                std::span(&ban, 1),
                [&](AccessRule& one, const AccessRule&, bool) {
                    one.note = note;
                    one.expires_at = expiry;
                },
                who)[0]
            .kind;
    };
    const auto remove = [&](std::int64_t id, std::string_view by) {
        return store_->remove(std::span(&id, 1), by);
    };
    EXPECT_EQ(ask("ban", 4'000'000'000, program), PutKind::Added);
    EXPECT_EQ(ask("longer ban", 4'000'000'001, program), PutKind::Changed);
    EXPECT_EQ(ask("another's ban", 4'000'000'000, programName("other")), PutKind::Kept);
    EXPECT_THAT(remove(1, programName("other")).missing, ElementsAre(1));
    EXPECT_EQ(remove(1, program).removed.size(), 1u);

    EXPECT_EQ(ask("ban", 4'000'000'000, program), PutKind::Added);
    EXPECT_EQ(ask("for good", std::nullopt, "alice"), PutKind::Changed);
    EXPECT_EQ(ask("ban", 4'000'000'000, program), PutKind::Kept);
    EXPECT_EQ(remove(3, program).missing.size(), 1u);
    EXPECT_EQ(audit().back(), "alice add: - > deny 192.0.2.1 for good");
    EXPECT_EQ(remove(3, "bob").removed.size(), 1u);
}

TEST_F(RuleStoreTest, WhoTakesOverAProgramsRuleChangesWhatIsSaid) {
    const std::string program = programName("fail2ban");
    AccessRule ban = rule(Verdict::Deny, "192.0.2.1", "smtp", "banned", 4'000'000'000);
    ban.owner = "ops";
    ban.reply.temporary = true;
    AccessRule exception = rule(Verdict::Allow, "192.0.2.2", "", "for a day", 4'000'000'000);
    exception.limits = {5, {}};
    for (const std::size_t bulk_from : {1, 1'000}) {
        SCOPED_TRACE(bulk_from);
        const auto store =
            openRules("sqlite:" + folder_.file(std::to_string(bulk_from)), {.bulk_from = bulk_from});
        store->put(std::vector{ban, exception}, program);
        const std::vector wanted{rule(Verdict::Deny, "192.0.2.1", "smtp"), rule(Verdict::Allow, "192.0.2.2")};
        const auto taken = store->edit(
            wanted,
            [](AccessRule& one, const AccessRule&, bool is_new) {
                EXPECT_FALSE(is_new);
                one.ticket = "T1";
            },
            "alice");
        ASSERT_EQ(taken.size(), 2u);
        EXPECT_EQ(taken[0].kind, PutKind::Changed);
        ASSERT_TRUE(taken[0].taken_over);
        EXPECT_EQ(taken[0].taken_over->created_by, program);
        EXPECT_EQ(taken[0].taken_over->expires_at, 4'000'000'000);
        std::vector<AccessRule> now;
        store->forEachRule([&](const AccessRule& one) { now.push_back(one); });
        ASSERT_EQ(now.size(), 2u);
        EXPECT_EQ(formatRule(now[0]),
                  "deny 192.0.2.1 listener=smtp reply=temporary owner=ops ticket=T1 banned")
            << "for good";
        EXPECT_EQ(formatRule(now[1]),
                  "allow 192.0.2.2 expires=2096-10-02T07:06:40Z client_sessions=5 ticket=T1 for a day")
            << "no longer than the program has allowed";
        EXPECT_EQ(now[0].created_by, "alice");
        EXPECT_EQ(now[0].id, 3);
        EXPECT_EQ(store->remove(std::vector{now[0].id}, program).missing.size(), 1u);
    }
}

TEST_F(RuleStoreTest, ReplacingAProgramsRuleTakesItOver) {
    const std::string program = programName("fail2ban");
    const AccessRule ban = rule(Verdict::Deny, "192.0.2.1", "", "banned", 4'000'000'000);
    const AccessRule kept = rule(Verdict::Deny, "192.0.2.2", "", "banned", 4'000'000'000);
    for (const std::size_t bulk_from : {1, 1'000}) {
        SCOPED_TRACE(bulk_from);
        const auto store =
            openRules("sqlite:" + folder_.file(std::to_string(bulk_from)), {.bulk_from = bulk_from});
        store->put(std::vector{ban, kept}, program);
        const std::vector wanted{rule(Verdict::Deny, "192.0.2.1", "", "for good"), kept};
        const auto replaced = store->replaceAll(wanted, {}, {}, "alice");
        EXPECT_EQ(replaced.changed, 1u);
        EXPECT_EQ(replaced.unchanged, 1u);
        EXPECT_EQ(replaced.taken_over, 1u);
        EXPECT_THAT(replaced.removed, IsEmpty());
        std::vector<AccessRule> now;
        store->forEachRule([&](const AccessRule& one) { now.push_back(one); });
        ASSERT_EQ(now.size(), 2u);
        EXPECT_EQ(now[0].created_by, program) << "nothing else is said of it";
        EXPECT_EQ(formatRule(now[1]), "deny 192.0.2.1 for good");
        EXPECT_EQ(now[1].created_by, "alice");
        EXPECT_EQ(store->remove(std::vector{now[1].id}, program).missing.size(), 1u);
        EXPECT_EQ(store->undo(store->lastChangeBy("alice"), "alice").kind, RuleStore::UndoResult::Kind::Done);
        now.clear();
        store->forEachRule([&](const AccessRule& one) { now.push_back(one); });
        EXPECT_EQ(formatRule(now.at(0)), "deny 192.0.2.1 expires=2096-10-02T07:06:40Z banned");
        EXPECT_EQ(now.at(0).created_by, program);
    }
}

// Each import of a list with a past expiry would write it anew.
TEST_F(RuleStoreTest, ARuleThatIsToBeExpiredIsTheOneThatIs) {
    const AccessRule past = rule(Verdict::Deny, "192.0.2.1", "", "a ban", 1'000'000'000);
    put(past);
    const auto edited = store_->edit(
        std::span(&past, 1), [](AccessRule& one, const AccessRule& wanted, bool) { one.note = wanted.note; },
        "bob");
    EXPECT_EQ(edited[0].kind, PutKind::Unchanged);
    EXPECT_EQ(edited[0].rule.id, 1);
}

TEST_F(RuleStoreTest, TheRulesOfAListenerFollowItsNewName) {
    put(rule(Verdict::Deny, "192.0.2.1", "mx", "spam"));
    put(rule(Verdict::Allow, "192.0.2.0/24", "mx"));
    put(rule(Verdict::Allow, "192.0.2.0/24", "imap"));
    put(rule(Verdict::Allow, "192.0.2.9", "pop3", "", 1'000'000'000));
    EXPECT_THAT(store_->ruleListeners(0),
                ElementsAre(std::pair("imap", 1), std::pair("mx", 2), std::pair("pop3", 1)));
    EXPECT_THAT(store_->ruleListeners(1'000'000'000), ElementsAre(std::pair("imap", 1), std::pair("mx", 2)));
    const auto refused = store_->renameListener("mx", "imap", "bob");
    EXPECT_EQ(refused.renamed, 0u);
    ASSERT_EQ(refused.in_the_way.size(), 1u);
    EXPECT_EQ(refused.in_the_way[0].id, 3);
    EXPECT_EQ(store_->renameListener("mx", "inbound", "bob").renamed, 2u);
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1 inbound", "2 allow 192.0.2.0/24 inbound",
                                     "3 allow 192.0.2.0/24 imap", "4 allow 192.0.2.9 pop3"));
    EXPECT_EQ(audit().at(4),
              "bob change: deny 192.0.2.1 listener=mx spam > deny 192.0.2.1 listener=inbound spam");
}

TEST_F(RuleStoreTest, ExpiredRulesAreInNobodysWay) {
    using Kind = RuleStore::UndoResult::Kind;
    put(rule(Verdict::Deny, "192.0.2.1", "mx"));
    put(rule(Verdict::Deny, "192.0.2.1", "inbound", "gone", 1'000'000'000));
    EXPECT_EQ(store_->renameListener("mx", "inbound", "bob").renamed, 1u);
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1 inbound"));
    EXPECT_EQ(store_->undo(store_->lastChange(), "bob").kind, Kind::Done);
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1 mx", "2 deny 192.0.2.1 inbound"));

    store_->remove(std::vector<std::int64_t>{1}, "bob");
    const std::int64_t removal = store_->lastChange();
    put(rule(Verdict::Deny, "192.0.2.1", "mx", "gone", 1'000'000'000));
    EXPECT_EQ(store_->undo(removal, "bob").kind, Kind::Done);
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1 mx", "2 deny 192.0.2.1 inbound"));
}

TEST_F(RuleStoreTest, EveryChangeIsInTheTrailWithItsAuthor) {
    put(rule(Verdict::Deny, "192.0.2.1", "smtp", "spam"));
    put(rule(Verdict::Deny, "192.0.2.1", "smtp", "worse", 1'800'000'000));
    store_->remove(std::vector<std::int64_t>{1}, "bob");
    EXPECT_THAT(
        audit(),
        ElementsAre("alice add: - > deny 192.0.2.1 listener=smtp spam",
                    "alice change: deny 192.0.2.1 listener=smtp spam > "
                    "deny 192.0.2.1 listener=smtp expires=2027-01-15T08:00:00Z worse",
                    "bob remove: deny 192.0.2.1 listener=smtp expires=2027-01-15T08:00:00Z worse > -"));
}

TEST_F(RuleStoreTest, TheShellIsInTheTrailToo) {
    const auto version = store_->version();
    shell_.run("INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.0/24', 'deny')");
    shell_.run("UPDATE access_rule SET verdict = 'allow'");
    shell_.run("DELETE FROM access_rule");
    EXPECT_THAT(audit(), ElementsAre("sqlite3 add: - > deny 192.0.2.0/24",
                                     "sqlite3 change: deny 192.0.2.0/24 > allow 192.0.2.0/24",
                                     "sqlite3 remove: allow 192.0.2.0/24 > -"));
    EXPECT_EQ(store_->version(), version + 3);
}

TEST_F(RuleStoreTest, ReplacingInTheShellRaisesTheVersion) {
    shell_.run("INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.0/24', 'deny')");
    const auto version = store_->version();
    shell_.run("REPLACE INTO access_rule(network, verdict) VALUES ('192.0.2.0/24', 'deny')");
    EXPECT_GT(store_->version(), version);
}

TEST_F(RuleStoreTest, ATransactionThatIsRolledBackLeavesNoTrace) {
    shell_.run("BEGIN; INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.0/24', 'deny'); ROLLBACK");
    EXPECT_THAT(audit(), IsEmpty());
    EXPECT_EQ(store_->version(), 1);
}

TEST_F(RuleStoreTest, TheTrailCannotBeChanged) {
    put(rule(Verdict::Deny, "192.0.2.1"));
    for (const char* sql :
         {"UPDATE access_audit SET who = 'mallory'", "DELETE FROM access_audit",
          "REPLACE INTO access_audit(id, who, action, rule_id) VALUES (1, 'mallory', 'add', 1)"})
        EXPECT_THAT(shell_.tryRun(sql), HasSubstr("append only")) << sql;
    EXPECT_THAT(audit(), ElementsAre("alice add: - > deny 192.0.2.1"));
}

TEST_F(RuleStoreTest, TheShellCannotWriteWhatMakesNoSense) {
    for (const char* values : {"'192.0.2.1', 'Deny', ''", "'192.0.2.1', 'refuse', ''", "NULL, 'deny', ''",
                               "'192.0.2.1', 'deny', 'two words'", "x'00', 'deny', ''"})
        EXPECT_NE(shell_.tryRun(std::string("INSERT INTO access_rule(network, verdict, listener) VALUES (") +
                                values + ")"),
                  "")
            << values;
    EXPECT_NE(
        shell_.tryRun("INSERT INTO access_rule(network, verdict, expires_at) VALUES ('::1', 'deny', 'soon')"),
        "");
    for (const char* set : {"''", "'two words'", "NULL", "printf('%065d', 0)"})
        EXPECT_NE(shell_.tryRun(std::string("INSERT INTO access_rule(network, verdict, rule_set) VALUES "
                                            "('192.0.2.1', 'deny', ") +
                                set + ")"),
                  "")
            << set;
}

TEST_F(RuleStoreTest, SeveralRulesAreOneTransaction) {
    shell_.run(
        "CREATE TRIGGER refuse BEFORE INSERT ON access_rule WHEN NEW.network = '192.0.2.3' BEGIN "
        "SELECT raise(ABORT, 'not this one'); END");
    const std::vector rules_to_put{rule(Verdict::Deny, "192.0.2.1"), rule(Verdict::Deny, "192.0.2.2"),
                                   rule(Verdict::Deny, "192.0.2.3")};
    EXPECT_THROW(store_->put(rules_to_put, "alice"), StoreError);
    EXPECT_THAT(rules(), IsEmpty());
    EXPECT_THAT(audit(), IsEmpty());
    EXPECT_EQ(put(rule(Verdict::Deny, "192.0.2.1")).kind, PutKind::Added);
}

TEST_F(RuleStoreTest, RemovingNothingWhenOneIsMissing) {
    put(rule(Verdict::Deny, "192.0.2.1"));
    const auto result = store_->remove(std::vector<std::int64_t>{1, 2}, "bob");
    EXPECT_THAT(result.missing, ElementsAre(2));
    EXPECT_THAT(result.removed, IsEmpty());
    EXPECT_EQ(rules().size(), 1u);
}

TEST_F(RuleStoreTest, ReplacingTouchesOnlyWhatDiffers) {
    put(rule(Verdict::Deny, "192.0.2.1", "", "kept"));
    put(rule(Verdict::Deny, "192.0.2.2"));
    shell_.run("INSERT INTO access_rule(network, verdict) VALUES ('no network', 'deny')");
    const std::vector wanted{rule(Verdict::Deny, "192.0.2.1", "", "kept"), rule(Verdict::Allow, "192.0.2.3")};
    const auto result = store_->replaceAll(wanted, {}, {}, "carol");
    EXPECT_THAT(result.removed, ElementsAre("deny 192.0.2.2", "deny no network"));
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1", "4 allow 192.0.2.3"));
    EXPECT_EQ(audit().size(), 6u) << "one row for each change, none for the rule that stayed";
}

TEST_F(RuleStoreTest, SetsHaveRulesOfTheirOwnForANetwork) {
    AccessRule theirs = rule(Verdict::Deny, "192.0.2.1", "", "a ban");
    theirs.set = "fail2ban";
    theirs.owner = "ops@example.org";
    theirs.ticket = "CHG 4711";
    EXPECT_EQ(put(rule(Verdict::Deny, "192.0.2.1", "", "mine")).id, 1);
    EXPECT_EQ(put(theirs).id, 2);
    EXPECT_EQ(put(theirs).kind, PutKind::Unchanged);
    EXPECT_EQ(audit().back(),
              "alice add: - > deny 192.0.2.1 set=fail2ban owner=ops@example.org ticket=\"CHG 4711\" a ban");
    EXPECT_THAT(store_->ruleSets(), ElementsAre(std::pair("fail2ban", 1), std::pair("manual", 1)));
    std::vector<AccessRule> found;
    store_->forEachRule([&](const AccessRule& one) { found.push_back(one); });
    EXPECT_EQ(found.at(0).set, "manual");
    EXPECT_EQ(found.at(1).set, "fail2ban");
    EXPECT_EQ(found.at(1).owner, "ops@example.org");
    EXPECT_EQ(found.at(1).ticket, "CHG 4711");
    store_->remove(std::vector<std::int64_t>{2}, "bob");
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1"));
}

TEST_F(RuleStoreTest, ReplacingASetLeavesTheOthers) {
    const auto in = [](std::string set, std::string_view text) {
        AccessRule one = rule(Verdict::Allow, text);
        one.set = std::move(set);
        return one;
    };
    for (const AccessRule& one : {in("manual", "192.0.2.1"), in("git", "192.0.2.1"), in("git", "192.0.2.2")})
        put(one);
    const std::vector wanted{in("git", "192.0.2.2"), in("git", "192.0.2.3")};
    const auto result = store_->replaceAll(wanted, std::vector<std::string>{"git"}, {}, "carol");
    EXPECT_THAT(result.removed, ElementsAre("allow 192.0.2.1 set=git"));
    EXPECT_THAT(rules(), ElementsAre("1 allow 192.0.2.1", "3 allow 192.0.2.2", "4 allow 192.0.2.3"));
}

TEST_F(RuleStoreTest, ARuleCanBeMadeWholeBeforeItIsPut) {
    put(rule(Verdict::Deny, "192.0.2.1", "", "", 4'000'000'000));
    put(rule(Verdict::Deny, "192.0.2.2", "", "", 1'000'000'000));
    const std::vector wanted{rule(Verdict::Deny, "192.0.2.1"), rule(Verdict::Deny, "192.0.2.2")};
    RuleList tagged;
    for (const AccessRule& one : wanted)
        tagged.add(one, 7 + tagged.size());
    std::vector<std::optional<UnixSeconds>> present;
    store_->replaceAll(
        tagged, {},
        [&](AccessRule& one, std::uint64_t tag, const AccessRule* there) {
            EXPECT_EQ(tag, 7 + present.size());
            present.push_back(there == nullptr ? std::nullopt : there->expires_at);
            one.note = "whole";
        },
        "carol");
    EXPECT_THAT(present, ElementsAre(4'000'000'000, std::nullopt)) << "what has expired counts as gone";
    EXPECT_EQ(shell_.value("SELECT count(*) FROM access_rule WHERE note = 'whole'"), "2");
}

TEST_F(RuleStoreTest, DefaultsOfSetsAreInTheTrail) {
    store_->defineSet("git", {"from git", 3'600}, "alice");
    store_->defineSet("git", {"a = b", {}}, "alice");
    EXPECT_EQ(store_->setDefaults().at("git"), (SetDefaults{"a = b", {}}));
    store_->remove(std::vector<std::int64_t>{}, "bob", "git");
    EXPECT_THAT(store_->setDefaults(), IsEmpty());
    EXPECT_THAT(audit(), ElementsAre("alice add: - > set git expires=3600s from git",
                                     "alice change: set git expires=3600s from git > set git \"a = b\"",
                                     "bob remove: set git \"a = b\" > -"));
    EXPECT_EQ(store_->version(), 1) << "no rule has changed";
}

TEST_F(RuleStoreTest, WhatIsDoneAtOnceIsOneChange) {
    const std::vector two{rule(Verdict::Deny, "192.0.2.1"), rule(Verdict::Deny, "192.0.2.2")};
    store_->put(two, "alice");
    shell_.run("UPDATE access_rule SET note = 'by hand'");
    store_->put(two, "alice");
    std::vector<std::int64_t> changes;
    for (const auto& entry : store_->history({}))
        changes.push_back(entry.change);
    EXPECT_THAT(changes, ElementsAre(1, 1, 3, 4, 5, 5));
}

TEST_F(RuleStoreTest, OfTheTrailTheNewestAreRead) {
    store_->put(std::vector{rule(Verdict::Deny, "192.0.2.1"), rule(Verdict::Deny, "198.51.100.2")}, "alice");
    store_->put(std::vector{rule(Verdict::Deny, "192.0.2.3")}, "bob");
    const auto ids = [&](const RuleStore::WantedEntries& wanted) {
        std::vector<std::int64_t> found;
        for (const auto& entry : store_->newestEntries(wanted))
            found.push_back(entry.id);
        return found;
    };
    EXPECT_THAT(ids({.limit = 9}), ElementsAre(3, 2, 1));
    EXPECT_THAT(ids({.limit = 2}), ElementsAre(3, 2));
    EXPECT_THAT(ids({.before = 3, .limit = 1}), ElementsAre(2));
    EXPECT_THAT(ids({.change = 1, .limit = 9}), ElementsAre(2, 1));
    EXPECT_THAT(ids({.change = 3, .before = 3, .limit = 9}), IsEmpty());
    EXPECT_THAT(ids({.network = std::get<Network>(parseNetwork("192.0.2.0/24")), .limit = 1}),
                ElementsAre(3));
    EXPECT_THAT(ids({.network = std::get<Network>(parseNetwork("192.0.2.0/24")), .before = 3, .limit = 9}),
                ElementsAre(1));
}

// Or the trail could not be undone.
TEST_F(RuleStoreTest, TheTrailSaysWhatARuleWas) {
    for (const char* note :
         {"", "plain", "ticket 4711", "see a=b", "listener=smtp \"x\"", "back\\slash = x", " leading",
          "trailing ", "\"quoted\"", "; x", "# y", "554 no", "B\xC3\xBCro", "two\nlines", "set up"})
        for (const char* owner : {"", "ops@example.org", "Anna \"A\" Smith", "a=b"}) {
            AccessRule one = rule(Verdict::Allow, "2001:db8::/32", "smtp", note, 1'800'000'000);
            one.set = "git";
            one.owner = owner;
            one.ticket = owner;
            one.limits = {5, 0};
            shell_.run("DELETE FROM access_rule");
            put(one);
            const std::string line = store_->history({}).back().after;
            SCOPED_TRACE(line);
            const auto read = parseTrailRule(line);
            ASSERT_TRUE(read);
            EXPECT_EQ(read->note, note);
            EXPECT_EQ(read->owner, owner);
            EXPECT_EQ(read->ticket, owner);
            EXPECT_EQ(read->set, "git");
            EXPECT_EQ(read->listener, "smtp");
            EXPECT_EQ(read->verdict, Verdict::Allow);
            EXPECT_EQ(read->network, network("2001:db8::/32"));
            EXPECT_EQ(read->expires_at, 1'800'000'000);
            EXPECT_EQ(read->limits, (ClientLimits{5, 0}));
        }
    store_->defineSet("git", {"see a=b", 90}, "alice");
    EXPECT_EQ(parseTrailSet(store_->history({}).back().after),
              std::pair(std::string("git"), SetDefaults{"see a=b", 90}));
}

TEST_F(RuleStoreTest, ARehearsalIsSeenInsideAndLeavesNothing) {
    put(rule(Verdict::Deny, "192.0.2.1"));
    const std::vector<std::string> listeners{"smtp"};
    std::size_t inside = 0;
    store_->rehearse([&] {
        put(rule(Verdict::Allow, "192.0.2.2"));
        store_->remove(std::vector<std::int64_t>{1}, "bob");
        store_->defineSet("git", {"from git", {}}, "bob");
        EXPECT_THAT(rules(), ElementsAre("2 allow 192.0.2.2"));
        EXPECT_EQ(store_->load(listeners)->lookup(address("192.0.2.2"), 0, 1)->verdict, Verdict::Allow);
        store_->forEachEntry(1, [&](const RuleStore::AuditEntry&) { ++inside; });
        EXPECT_EQ(shell_.value("SELECT count(*) FROM access_rule WHERE network = '192.0.2.1'"), "1");
    });
    EXPECT_EQ(inside, 3u);
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1"));
    EXPECT_THAT(store_->setDefaults(), IsEmpty());
    EXPECT_EQ(audit().size(), 1u);
    EXPECT_THROW(store_->rehearse([&] {
        put(rule(Verdict::Allow, "192.0.2.2"));
        throw StoreError(StoreError::Kind::Other, "stop");
    }),
                 StoreError);
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1"));
    EXPECT_EQ(put(rule(Verdict::Allow, "192.0.2.2")).kind, PutKind::Added) << "what follows is none";
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1", "2 allow 192.0.2.2"));
}

TEST_F(RuleStoreTest, ARehearsalApartHindersNobody) {
    const std::vector<std::string> listeners{"smtp"};
    put(rule(Verdict::Deny, "192.0.2.1"));
    put(rule(Verdict::Deny, "192.0.2.2"));
    store_->defineSet("git", {"from git", {}}, "alice");
    shell_.run("INSERT INTO access_rule(network, verdict) VALUES ('host:mx.example.org', 'allow')");
    ASSERT_TRUE(store_->keepName(3, {{network("203.0.113.9")}, 1, 1, 2, ""}));
    const auto end = store_->endOfTrail();
    std::vector<std::string> entries;
    store_->rehearse(
        [&] {
            EXPECT_EQ(store_->endOfTrail(), end) << "numbers go on";
            EXPECT_EQ(store_->load(listeners)->lookup(address("203.0.113.9"), 0, 1)->verdict, Verdict::Allow);
            shell_.run(
                "PRAGMA busy_timeout = 0; INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.3', "
                "'deny')");
            put(rule(Verdict::Allow, "192.0.2.4"));
            store_->remove(std::vector<std::int64_t>{1}, "bob");
            store_->defineSet("git", {"from elsewhere", {}}, "bob");
            EXPECT_THAT(rules(), ElementsAre("2 deny 192.0.2.2", "3 allow ::", "4 allow 192.0.2.4"))
                << "as they were, and what was rehearsed";
            EXPECT_EQ(store_->load(listeners)->lookup(address("192.0.2.4"), 0, 1)->verdict, Verdict::Allow);
            store_->forEachEntry(end, [&](const RuleStore::AuditEntry& entry) {
                entries.push_back(fmt::format("{} {} > {}", entry.rule_id, entry.before, entry.after));
            });
        },
        RuleStore::Rehearsal::Apart);
    EXPECT_THAT(entries, ElementsAre("4  > allow 192.0.2.4", "1 deny 192.0.2.1 > ",
                                     "0 set git from git > set git from elsewhere"));
    EXPECT_THAT(rules(),
                ElementsAre("1 deny 192.0.2.1", "2 deny 192.0.2.2", "3 allow ::", "4 deny 192.0.2.3"));
    EXPECT_EQ(store_->setDefaults().at("git").note, "from git");
    EXPECT_EQ(store_->load(listeners)->lookup(address("192.0.2.4"), 0, 1), std::nullopt);
    EXPECT_THROW(store_->rehearse([&] { throw StoreError(StoreError::Kind::Other, "stop"); },
                                  RuleStore::Rehearsal::Apart),
                 StoreError);
    EXPECT_EQ(put(rule(Verdict::Allow, "192.0.2.5")).kind, PutKind::Added) << "what follows is none";
    EXPECT_EQ(shell_.value("SELECT count(*) FROM access_rule WHERE network = '192.0.2.5'"), "1");
}

TEST_F(RuleStoreTest, AChangeSaysWhenItCanBeCalledOffNoMoreAndWhenItIsMade) {
    std::vector<std::string> said;
    store_->watch(
        {.begins =
             [&] { said.push_back("begins, with " + shell_.value("SELECT count(*) FROM access_rule")); },
         .done = [&] { said.push_back("done, with " + shell_.value("SELECT count(*) FROM access_rule")); }});
    put(rule(Verdict::Deny, "192.0.2.1"));
    EXPECT_THAT(said, ElementsAre("begins, with 0", "done, with 1"));
    said.clear();
    store_->together([&] {
        put(rule(Verdict::Deny, "192.0.2.2"));
        put(rule(Verdict::Deny, "192.0.2.3"));
    });
    EXPECT_THAT(said, ElementsAre("begins, with 1", "done, with 3"));
    said.clear();
    store_->together([] {});
    put(rule(Verdict::Deny, "192.0.2.3"));
    EXPECT_THAT(said, IsEmpty()) << "nothing was changed";
    store_->rehearse([&] { put(rule(Verdict::Deny, "192.0.2.4")); });
    EXPECT_THAT(said, IsEmpty());
    store_->rehearse([&] { put(rule(Verdict::Deny, "192.0.2.4")); }, RuleStore::Rehearsal::Apart);
    EXPECT_THAT(said, IsEmpty());
}

TEST_F(RuleStoreTest, WhatIsDoneTogetherIsDoneAtOnceOrNotAtAll) {
    store_->together([&] {
        put(rule(Verdict::Deny, "192.0.2.1"));
        store_->together([&] { put(rule(Verdict::Deny, "192.0.2.2")); });
        EXPECT_EQ(shell_.value("SELECT count(*) FROM access_rule"), "0");
        EXPECT_THAT(shell_.tryRun("PRAGMA busy_timeout = 0; BEGIN IMMEDIATE"), HasSubstr("locked"))
            << "nobody else";
    });
    EXPECT_EQ(shell_.value("SELECT count(*) FROM access_rule"), "2");
    EXPECT_THROW(store_->together([&] {
        put(rule(Verdict::Deny, "192.0.2.3"));
        throw StoreError(StoreError::Kind::Other, "stop");
    }),
                 StoreError);
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1", "2 deny 192.0.2.2"));
    store_->rehearse([&] { store_->together([&] { put(rule(Verdict::Deny, "192.0.2.3")); }); });
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1", "2 deny 192.0.2.2")) << "a rehearsal stays one";
    EXPECT_EQ(audit().size(), 2u);
}

TEST_F(RuleStoreTest, UndoingTakesBackWhatWasDoneAtOnce) {
    using Kind = RuleStore::UndoResult::Kind;
    put(rule(Verdict::Deny, "192.0.2.1", "smtp", "see a=b", 4'000'000'000));
    put(rule(Verdict::Allow, "192.0.2.2"));
    shell_.run("UPDATE access_rule SET created_at = 5, created_by = 'eve' WHERE id = 1");
    const std::vector wanted{rule(Verdict::Allow, "192.0.2.2", "", "changed"),
                             rule(Verdict::Deny, "192.0.2.3")};
    store_->replaceAll(wanted, {}, {}, "bob");
    EXPECT_THAT(rules(), ElementsAre("2 allow 192.0.2.2", "3 deny 192.0.2.3"));

    const std::int64_t change = store_->lastChangeBy("bob");
    EXPECT_EQ(change, 4);
    auto result = store_->undo(change, "carol");
    EXPECT_EQ(result.kind, Kind::Done);
    EXPECT_EQ(result.entries.size(), 3u);
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1 smtp", "2 allow 192.0.2.2"));
    EXPECT_EQ(audit().back(), "carol change: allow 192.0.2.2 changed > allow 192.0.2.2");
    std::vector<AccessRule> found;
    store_->forEachRule([&](const AccessRule& one) { found.push_back(one); });
    EXPECT_EQ(found[0].note, "see a=b");
    EXPECT_EQ(found[0].expires_at, 4'000'000'000);
    EXPECT_EQ(found[0].created_by, "eve") << "who has made it, not who has taken the removal back";
    EXPECT_EQ(found[0].created_at, 5);
    EXPECT_EQ(found[1].note, "");

    result = store_->undo(change, "carol");
    EXPECT_EQ(result.kind, Kind::Undone);
    EXPECT_EQ(result.entries.size(), 3u);
    EXPECT_EQ(result.entries.back().change, store_->lastChangeBy("carol"));
    EXPECT_EQ(store_->undo(store_->lastChangeBy("carol"), "carol").kind, Kind::Done);
    EXPECT_THAT(rules(), ElementsAre("2 allow 192.0.2.2", "3 deny 192.0.2.3"));
    for (const std::int64_t none : {0, 5, 99, -1})
        EXPECT_EQ(store_->undo(none, "carol").kind, Kind::NotFound) << none;
    EXPECT_EQ(store_->lastChangeBy("nobody"), 0);
}

TEST_F(RuleStoreTest, WhatComesBackIsAsItWasWritten) {
    put(rule(Verdict::Allow, "192.0.2.1", "", "a"));
    shell_.run("INSERT INTO access_rule(network, verdict, note) VALUES ('192.0.2.1/32', 'allow', 'b')");
    store_->addHits(std::vector<RuleStore::HitCount>{{1, 3, 1'800'000'005}});
    store_->remove(std::vector<std::int64_t>{1, 2}, "bob");
    EXPECT_EQ(store_->undo(store_->lastChange(), "bob").kind, RuleStore::UndoResult::Kind::Done);
    std::vector<AccessRule> now;
    store_->forEachRule([&](const AccessRule& one) { now.push_back(one); });
    ASSERT_EQ(now.size(), 2u) << "of one network, written in two ways";
    EXPECT_EQ(now[0].hits, 3) << "it would be listed as unused";
    EXPECT_EQ(now[0].last_hit_at, 1'800'000'005);
    EXPECT_EQ(audit().back(), "bob add: - > allow 192.0.2.1 a");
    EXPECT_EQ(audit().at(audit().size() - 2), "bob add: - > allow 192.0.2.1/32 b");
}

TEST_F(RuleStoreTest, WhatALaterChangeStandsOnIsNotUndone) {
    using Kind = RuleStore::UndoResult::Kind;
    const auto id = put(rule(Verdict::Deny, "192.0.2.1")).id;
    store_->remove(std::vector{id}, "bob");
    put(rule(Verdict::Deny, "192.0.2.1", "", "anew"));
    auto result = store_->undo(2, "carol");
    EXPECT_EQ(result.kind, Kind::InTheWay);
    ASSERT_EQ(result.in_the_way.size(), 1u);
    EXPECT_EQ(result.in_the_way[0].note, "anew");
    put(rule(Verdict::Deny, "192.0.2.1", "", "other"));
    result = store_->undo(3, "carol");
    EXPECT_EQ(result.kind, Kind::LaterChanges);
    ASSERT_EQ(result.entries.size(), 1u);
    EXPECT_EQ(result.entries[0].id, 4);
    EXPECT_EQ(audit().size(), 4u) << "nothing was changed";
    EXPECT_EQ(store_->undo(4, "carol").kind, Kind::Done);
    EXPECT_EQ(shell_.value("SELECT note FROM access_rule"), "anew");
}

TEST_F(RuleStoreTest, WhatWasTakenBackDoesNotStandOnAChange) {
    using Kind = RuleStore::UndoResult::Kind;
    const auto undo = [&](std::int64_t change) { return store_->undo(change, "carol"); };
    put(rule(Verdict::Deny, "192.0.2.1"));                // 1
    put(rule(Verdict::Deny, "192.0.2.1", "", "second"));  // 2
    put(rule(Verdict::Deny, "192.0.2.1", "", "third"));   // 3
    EXPECT_EQ(undo(3).kind, Kind::Done);                  // 4
    const auto result = undo(1);
    ASSERT_EQ(result.kind, Kind::LaterChanges);
    ASSERT_EQ(result.entries.size(), 1u) << "3 has been taken back";
    EXPECT_EQ(result.entries[0].id, 2);
    EXPECT_EQ(undo(2).kind, Kind::Done);  // 5
    EXPECT_EQ(undo(5).kind, Kind::Done);  // 6: done again
    EXPECT_EQ(shell_.value("SELECT note FROM access_rule"), "second");
    EXPECT_EQ(undo(4).kind, Kind::Done);  // 7
    EXPECT_EQ(shell_.value("SELECT note FROM access_rule"), "third");
    EXPECT_EQ(undo(3).kind, Kind::Done);  // 8
    EXPECT_EQ(undo(2).kind, Kind::Done);  // 9
    EXPECT_EQ(undo(1).kind, Kind::Done);  // 10
    EXPECT_THAT(rules(), IsEmpty());
    EXPECT_EQ(undo(10).kind, Kind::Done);
    EXPECT_THAT(rules(), ElementsAre("1 deny 192.0.2.1"));
}

/// Changes and undos by chance beside a model of them, which knows what each change has made of what.
class UndoByChance {
  public:
    UndoByChance(RuleStore& store, unsigned seed) : store_(store), random_(seed) {}

    void changeSomething() {
        const State before = state();
        const auto who = oneOf(std::vector<std::string>{"alice", "bob", programName("fail2ban")});
        const auto some = [&] {
            AccessRule one =
                rule(oneOf(std::vector{Verdict::Allow, Verdict::Deny}),
                     oneOf(std::vector{"192.0.2.1", "192.0.2.2", "192.0.2.0/24"}),
                     oneOf(std::vector{"", "mx"}), oneOf(std::vector{"", "a=b", "\"x\"", "note"}));
            one.set = oneOf(std::vector{"manual", "git"});
            one.owner = oneOf(std::vector{"", "a b"});
            return one;
        };
        const std::vector rules{some(), some()};
        switch (number(6)) {
            case 0:
                store_.put(std::span(rules).first(1), who);
                break;
            case 1:
                store_.edit(
                    rules,
                    [](AccessRule& one, const AccessRule& wanted, bool) {
                        one.note = wanted.note;
                        one.owner = wanted.owner;
                    },
                    who);
                break;
            case 2:
                store_.replaceAll(rules, std::vector<std::string>{"git"}, {}, "alice");
                break;
            case 3: {
                std::vector<std::int64_t> ids;
                for (const auto& [subject, line] : before)
                    if (subject.first != 0 && number(2) == 0) ids.push_back(subject.first);
                store_.remove(ids, who, number(4) == 0 ? std::optional<std::string>("git") : std::nullopt);
                break;
            }
            case 4:
                store_.defineSet("git", {oneOf(std::vector{"x", "y=z"}), {}}, who);
                break;
            default:
                store_.renameListener("mx", "imap", who);
        }
        note(before);
    }

    void undoSomething() {
        if (changes_.empty()) return;
        const std::size_t at = number(changes_.size());
        const Change& change = changes_[at];
        const State before = state();
        State wanted = before;
        bool stands = true, is_undone = true;
        for (const auto& [subject, lines] : change.lines) {
            stands = stands && lines.second == lineOf(before, subject);
            is_undone = is_undone && lines.first == lineOf(before, subject);
            wanted.erase(subject);
            if (lines.first) wanted.emplace(subject, *lines.first);
        }
        const auto result = store_.undo(change.number, "carol");
        using Kind = RuleStore::UndoResult::Kind;
        const Kind kind = !stands                ? (is_undone ? Kind::Undone : Kind::LaterChanges)
                          : sharesAPlace(wanted) ? Kind::InTheWay
                                                 : Kind::Done;
        ASSERT_EQ(result.kind, kind) << "change " << change.number;
        ASSERT_EQ(state(), kind == Kind::Done ? wanted : before) << "change " << change.number;
        note(before);
    }

    /// As who is told to undo the later changes first, and does.
    void undoAll() {
        using Kind = RuleStore::UndoResult::Kind;
        for (std::size_t at = changes_.size(); at-- > 0;) {
            auto result = store_.undo(changes_[at].number, "dave");
            for (int steps = 0; result.kind == Kind::LaterChanges; ++steps) {
                ASSERT_LT(steps, 1'000);
                auto first = store_.undo(result.entries.back().change, "dave");
                while (first.kind == Kind::LaterChanges)
                    first = store_.undo(first.entries.back().change, "dave");
                if (first.kind != Kind::Done) break;
                result = store_.undo(changes_[at].number, "dave");
            }
        }
    }

  private:
    using Subject = std::pair<std::int64_t, std::string>;
    using State = std::map<Subject, std::string>;
    using Line = std::optional<std::string>;
    struct Change {
        std::int64_t number;
        std::map<Subject, std::pair<Line, Line>> lines;  ///< before and after
    };

    std::size_t number(std::size_t below) { return random_() % below; }
    template <typename Value>
    Value oneOf(const std::vector<Value>& values) {
        return values[number(values.size())];
    }
    State state() {
        State found;
        store_.forEachRule([&](const AccessRule& one) {
            found.emplace(Subject{one.id, ""}, std::string(toString(one.verdict)) + ' ' + subjectOf(one) +
                                                   ' ' + one.listener + ' ' + one.set + '|' +
                                                   formatRule(one) + " by " + one.created_by);
        });
        for (const auto& [name, defaults] : store_.setDefaults())
            found.emplace(Subject{0, name}, defaults.note);
        return found;
    }
    static Line lineOf(const State& state, const Subject& subject) {
        const auto found = state.find(subject);
        return found == state.end() ? Line() : Line(found->second);
    }
    static bool sharesAPlace(const State& state) {
        std::set<std::string> places;
        return std::any_of(state.begin(), state.end(), [&](const auto& one) {
            if (one.first.first == 0) return false;
            return !places.insert(one.second.substr(0, one.second.find('|'))).second;
        });
    }
    /// What has been done last, if it was anything.
    void note(const State& before) {
        const State after = state();
        Change change{store_.lastChange(), {}};
        for (const State* side : {&before, &after})
            for (const auto& [subject, line] : *side)
                if (lineOf(before, subject) != lineOf(after, subject))
                    change.lines[subject] = {lineOf(before, subject), lineOf(after, subject)};
        if (!change.lines.empty()) changes_.push_back(std::move(change));
    }

    RuleStore& store_;
    std::mt19937 random_;
    std::vector<Change> changes_;
};

TEST_F(RuleStoreTest, ChangesAndUndosByChanceKeepTheStateOfAModel) {
    for (unsigned seed = 1; seed <= 8; ++seed) {
        SCOPED_TRACE(seed);
        const auto store = openRules("sqlite:" + folder_.file("chance" + std::to_string(seed)));
        UndoByChance chance(*store, seed);
        std::mt19937 coin(seed);
        for (int turn = 0; turn < 60; ++turn) {
            if (coin() % 2 == 0)
                chance.changeSomething();
            else
                chance.undoSomething();
            if (HasFatalFailure()) return;
        }
        chance.undoAll();
        if (HasFatalFailure()) return;
    }
}

TEST_F(RuleStoreTest, DisputedIsWhatIsBothAllowedAndDenied) {
    const auto putOne = [&](const char* of, Verdict verdict, const char* set) {
        AccessRule one;
        one.network = network(of);
        one.verdict = verdict;
        one.set = set;
        return put(one).id;
    };
    const auto allowed = putOne("192.0.2.1", Verdict::Allow, "git");
    putOne("192.0.2.2", Verdict::Deny, "git");
    putOne("192.0.2.2", Verdict::Deny, "manual");
    putOne("192.0.2.0/24", Verdict::Allow, "manual");
    const auto denied = putOne("192.0.2.1", Verdict::Deny, "manual");
    std::vector<std::int64_t> disputed;
    store_->forEachDisputed([&](const AccessRule& rule) { disputed.push_back(rule.id); });
    EXPECT_THAT(disputed, ElementsAre(allowed, denied));
}

// A name's answer is of no use to another name, whoever has given it to the rule.
TEST_F(RuleStoreTest, ARuleWithANewNameHasNoAnswerYet) {
    AccessRule named;
    named.verdict = Verdict::Allow;
    named.name = "host:old.example.org";
    const auto id = put(named).id;
    NameState state{.networks = {network("192.0.2.1")}, .error = {}};
    state.name = named.name;
    ASSERT_TRUE(store_->keepName(id, state));
    EXPECT_THAT(store_->allowing(0), ElementsAre(""));
    shell_.run("UPDATE access_rule SET network = 'HOST:new.example.org'");
    EXPECT_THAT(store_->namedRules().at(0).state.networks, IsEmpty());
    EXPECT_EQ(store_->load({})->lookup(address("192.0.2.1"), 0, 0), std::nullopt);
    EXPECT_THAT(store_->allowing(0), IsEmpty()) << "a name without an answer lets in nobody";
    store_->forEachHeld(0, [](const RuleStore::Held&) { FAIL() << "it holds no network"; });
    EXPECT_FALSE(store_->keepName(id, state)) << "what the old one was asked for comes too late";

    const auto version = store_->version();
    state.name = "host:new.example.org";
    ASSERT_TRUE(store_->keepName(id, state));
    EXPECT_GT(store_->version(), version) << "though the networks are the same";
    EXPECT_EQ(audit().back(),
              "program names resolve: host:old.example.org is 192.0.2.1 > host:new.example.org is 192.0.2.1");
    EXPECT_THAT(store_->namedRules().at(0).state.networks, ElementsAre(network("192.0.2.1")));
}

TEST_F(RuleStoreTest, WhatANameStoodForGoesAWeekAfterItsRule) {
    AccessRule named;
    named.name = "host:home.example.org";
    const auto id = put(named).id;
    const auto now = std::time(nullptr);
    const auto asked = [&](std::int64_t days) {
        NameState state{.networks = {network("192.0.2.1")}, .error = {}};
        state.asked_at = now - days * 86'400;
        store_->keepName(id, state);
    };
    const auto answers = [&] { return shell_.value("SELECT count(*) FROM access_name"); };
    asked(8);
    store_->prune(0, 0, "x");
    EXPECT_EQ(answers(), "1") << "its rule is there";
    store_->remove(std::vector{id}, "bob");
    EXPECT_EQ(store_->undo(store_->lastChange(), "bob").kind, RuleStore::UndoResult::Kind::Done);
    EXPECT_THAT(store_->namedRules().at(0).state.networks, ElementsAre(network("192.0.2.1")));
    asked(1);
    store_->remove(std::vector{id}, "bob");
    store_->prune(0, 0, "x");
    EXPECT_EQ(answers(), "1");
    shell_.run("UPDATE access_name SET asked_at = unixepoch() - 8 * 86400");
    const auto entries = audit().size();
    store_->prune(0, 0, "x");
    EXPECT_EQ(answers(), "0");
    EXPECT_EQ(audit().size(), entries);
}

TEST_F(RuleStoreTest, DefaultsOfASetAreTakenBackToo) {
    using Kind = RuleStore::UndoResult::Kind;
    store_->defineSet("git", {"from git", 60}, "alice");
    store_->defineSet("git", {"other", {}}, "alice");
    EXPECT_EQ(store_->undo(1, "alice").kind, Kind::LaterChanges);
    EXPECT_EQ(store_->undo(2, "alice").kind, Kind::Done);
    EXPECT_EQ(store_->setDefaults().at("git"), (SetDefaults{"from git", 60}));
    AccessRule one = rule(Verdict::Deny, "192.0.2.1");
    one.set = "git";
    store_->remove(std::vector{put(one).id}, "bob", "git");
    EXPECT_EQ(store_->undo(store_->lastChangeBy("bob"), "bob").kind, Kind::Done);
    EXPECT_EQ(store_->setDefaults().size(), 1u);
    EXPECT_EQ(store_->ruleSets().at("git"), 1u);
}

TEST_F(RuleStoreTest, HitsAreNoChangeOfRules) {
    const auto id = put(rule(Verdict::Deny, "192.0.2.1")).id;
    const auto version = store_->version();
    store_->addHits(std::vector<RuleStore::HitCount>{{id, 3, 1'800'000'005}, {999, 1, 1'800'000'000}});
    store_->addHits(std::vector<RuleStore::HitCount>{{id, 2, 1'800'000'001}});
    EXPECT_EQ(shell_.value("SELECT hits || ' ' || last_hit_at FROM access_rule"), "5 1800000005");
    EXPECT_EQ(store_->version(), version);
    EXPECT_EQ(audit().size(), 1u);
}

TEST_F(RuleStoreTest, TheIdOfARemovedRuleDoesNotComeBack) {
    const auto id = put(rule(Verdict::Deny, "192.0.2.1")).id;
    store_->remove(std::vector{id}, "bob");
    EXPECT_GT(put(rule(Verdict::Deny, "192.0.2.2")).id, id);
}

TEST_F(RuleStoreTest, HistoryOfANetworkIsThatOfTheRulesItTouches) {
    for (const char* one : {"192.0.2.0/24", "192.0.2.1", "198.51.100.0/24", "0.0.0.0/0"})
        put(rule(Verdict::Deny, one));
    shell_.run("UPDATE access_rule SET network = '203.0.113.1' WHERE network = '192.0.2.1'");
    EXPECT_THAT(
        audit(network("192.0.2.1")),
        ElementsAre("alice add: - > deny 192.0.2.0/24", "alice add: - > deny 192.0.2.1",
                    "alice add: - > deny 0.0.0.0/0", "sqlite3 change: deny 192.0.2.1 > deny 203.0.113.1"));
    EXPECT_THAT(audit(network("2001:db8::1")), IsEmpty());
}

TEST_F(RuleStoreTest, LoadingGivesTheTable) {
    put(rule(Verdict::Allow, "192.0.2.0/24"));
    put(rule(Verdict::Deny, "192.0.2.1", "imap"));
    put(rule(Verdict::Deny, "192.0.2.1", "elsewhere"));
    const std::vector<std::string> listeners{"smtp", "imap"};
    const auto table = store_->load(listeners);
    EXPECT_EQ(table->size(), 2u);
    EXPECT_EQ(table->version(), store_->version());
    EXPECT_EQ(table->lookup(address("192.0.2.1"), 0, 0)->verdict, Verdict::Allow);
    EXPECT_EQ(table->lookup(address("192.0.2.1"), 1, 0)->verdict, Verdict::Deny);
}

TEST_F(RuleStoreTest, ARowThatCannotBeReadIsNamed) {
    shell_.run("INSERT INTO access_rule(id, network, verdict) VALUES (7, '192.0.2.5/99', 'deny')");
    try {
        store_->load({});
        FAIL() << "loaded";
    } catch (const StoreError& error) {
        EXPECT_EQ(error.kind(), StoreError::Kind::BadRow);
        EXPECT_THAT(error.what(), AllOf(HasSubstr(file_), HasSubstr("access_rule"), HasSubstr("id 7"),
                                        HasSubstr("192.0.2.5/99")));
    }
    put(rule(Verdict::Deny, "192.0.2.1"));
    EXPECT_THROW(store_->forEachRule([](const AccessRule&) {}), StoreError);
    shell_.run("DELETE FROM access_rule WHERE id = 7");
    EXPECT_EQ(rules().size(), 1u);
}

/// Networks of both families in the forms that they may be written in, half of them with host bits.
std::string anyNetwork(std::mt19937& random) {
    const auto below = [&](unsigned most) { return random() % most; };
    AddressBytes address{};
    const bool v4 = below(2) == 0;
    const unsigned bits = v4 ? 32 : 128, length = below(bits + 1), first = v4 ? 12 : 0;
    if (v4) address[10] = address[11] = 0xFF;
    for (std::size_t at = first; at < address.size(); ++at)
        if (below(3) > 0) address[at] = static_cast<std::uint8_t>(random());
    const Network whole{address, 128};
    const std::string text =
        below(2) == 0 ? whole.toString() : networkAround(address, 128 - bits + length).toString();
    std::string written = text.substr(0, text.find('/'));
    if (!v4 && below(3) == 0)
        written = fmt::format("{:x}:{:04X}:0:0:{:x}::{:x}", below(65'536), below(65'536), below(2), below(2));
    return below(10) == 0 ? written : fmt::format("{}/{}", written, length);
}

TEST_F(RuleStoreTest, ANetworkWithHostBitsIsRefusedWhoeverWritesIt) {
    std::mt19937 random(11);
    std::size_t refused = 0;
    shell_.run("BEGIN");
    for (int round = 0; round < 1'500; ++round) {
        const std::string text = anyNetwork(random);
        const auto parsed = parseNetwork(text);
        const auto* error = std::get_if<NetworkError>(&parsed);
        if (error != nullptr) {
            ASSERT_THAT(error->message, HasSubstr("has host bits set")) << text;
        }
        const std::string told = shell_.tryRun(
            fmt::format("INSERT OR IGNORE INTO access_rule(network, verdict) VALUES ('{}', 'deny')", text));
        ASSERT_EQ(told.find("has host bits set") != std::string::npos, error != nullptr)
            << text << ": " << told;
        refused += error != nullptr ? 1 : 0;
    }
    EXPECT_GT(refused, 300u);
    shell_.run("COMMIT");
    EXPECT_EQ(store_->load({})->version(), store_->version()) << "and all that is there can be read";
}

TEST_F(RuleStoreTest, ANetworkIsNotGivenHostBitsLater) {
    put(rule(Verdict::Deny, "192.0.2.0/24"));
    EXPECT_THAT(shell_.tryRun("UPDATE access_rule SET network = '192.0.2.5/24'"),
                HasSubstr("has host bits set"));
    EXPECT_THAT(shell_.tryRun("UPDATE access_rule SET network = '2001:db8::1/64'"),
                HasSubstr("has host bits set"));
    shell_.run("UPDATE access_rule SET network = '2001:db8::/64'");
    EXPECT_THAT(rules(), ElementsAre("1 deny 2001:db8::/64"));
}

TEST_F(RuleStoreTest, WhereSomebodyIsLetInIsToldOnceForEachListener) {
    put(rule(Verdict::Deny, "192.0.2.1", "imap"));
    put(rule(Verdict::Allow, "192.0.2.2", "mx"));
    put(rule(Verdict::Allow, "192.0.2.3", "mx"));
    put(rule(Verdict::Allow, "192.0.2.4", "submission", "", 100));
    put(rule(Verdict::Allow, "192.0.2.5", "pop3", "", 200));
    EXPECT_THAT(store_->allowing(100), ElementsAre("mx", "pop3"));
    put(rule(Verdict::Allow, "192.0.2.6", "", "", 200));
    EXPECT_THAT(store_->allowing(100), ElementsAre("")) << "which is all of them";
    EXPECT_THAT(store_->allowing(200), ElementsAre("mx"));
}

TEST_F(RuleStoreTest, NotesThatRulesShowAreTold) {
    AccessRule shows = rule(Verdict::Deny, "192.0.2.1", "", "for them");
    shows.reply = {.temporary = true, .shows_note = true};
    AccessRule hides = rule(Verdict::Deny, "192.0.2.2", "", "for us");
    AccessRule later = rule(Verdict::Deny, "192.0.2.3", "", "for us, too");
    later.reply = {.temporary = true, .shows_note = false};
    AccessRule silent = rule(Verdict::Deny, "192.0.2.4");
    silent.reply = {.temporary = false, .shows_note = true};
    AccessRule plain = rule(Verdict::Deny, "192.0.2.5", "", "also");
    plain.reply = {.temporary = false, .shows_note = true};
    for (const AccessRule* one : {&shows, &hides, &later, &silent, &plain})
        put(*one);
    std::map<std::int64_t, std::string> told;
    forEachShownNote("sqlite:" + file_, std::chrono::seconds(1),
                     [&](std::int64_t id, std::string_view note) { told.emplace(id, note); });
    EXPECT_THAT(told, ElementsAre(std::pair(1, "for them"), std::pair(5, "also")));
}

TEST_F(RuleStoreTest, AnotherWritersLockIsToldAndPasses) {
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

using News = RuleStore::News;
constexpr std::chrono::seconds kLong{20};
constexpr std::chrono::milliseconds kAMoment{20};

TEST_F(RuleStoreTest, WhatOthersChangeIsToldUntilItIsLoaded) {
    store_->load({});
    const auto other = openRules("sqlite:" + file_);
    const AccessRule one = rule(Verdict::Deny, "192.0.2.1");
    other->put(std::span(&one, 1), "bob");
    EXPECT_EQ(store_->waitForChange(kLong), News::Changed);
    EXPECT_EQ(store_->waitForChange(kLong), News::Changed);
    EXPECT_EQ(store_->load({})->size(), 1u);
    EXPECT_EQ(store_->waitForChange(kAMoment), News::None);
}

TEST_F(RuleStoreTest, TheTimesOfTheFilesAreBelievedForAMoment) {
    const std::string files[] = {file_, file_ + "-wal"};
    const auto other = openRules("sqlite:" + file_);
    // Long ago: they are settled.
    const auto before = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
    const auto setBack = [&] {
        for (const std::string& file : files)
            std::filesystem::last_write_time(file, before);
    };
    const auto looks = [&] {
        setBack();
        return store_->waitForChange(kAMoment);
    };
    const auto looksAtChange = [&](const AccessRule& change) {
        store_->load({});
        const auto begin = std::chrono::steady_clock::now();
        // The first leaves other times behind.
        for (int time = 0; time < 2; ++time)
            EXPECT_EQ(looks(), News::None);
        other->put(std::span(&change, 1), "bob");
        const News news = looks();
        // What has kept this thread from running has let the moment pass.
        const bool in_time = std::chrono::steady_clock::now() - begin < sqlite::LastLook::kTimesStand;
        return in_time ? std::optional(news) : std::nullopt;
    };
    std::optional<News> news;
    for (int attempt = 1; attempt < 20 && !news; ++attempt)
        news = looksAtChange(rule(Verdict::Deny, fmt::format("192.0.2.{}", attempt)));
    EXPECT_EQ(news, News::None) << "SQLite was asked, though nobody has written as far as can be seen";
    EXPECT_EQ(store_->waitForChange(kLong), News::Changed) << "times can be set back";
}

TEST_F(RuleStoreTest, OwnChangesAndHitsAreNoNews) {
    put(rule(Verdict::Deny, "192.0.2.1"));
    store_->load({});
    put(rule(Verdict::Deny, "192.0.2.2"));
    EXPECT_EQ(store_->waitForChange(kAMoment), News::None);
    store_->load({});
    shell_.run("UPDATE access_rule SET hits = 7");
    EXPECT_EQ(store_->waitForChange(kAMoment), News::None);
}

TEST_F(RuleStoreTest, ABadRowIsToldOfOnceUntilSomebodyWrites) {
    store_->load({});
    shell_.run("INSERT INTO access_rule(id, network, verdict) VALUES (7, '192.0.2.5/99', 'deny')");
    EXPECT_EQ(store_->waitForChange(kLong), News::Changed);
    EXPECT_THROW(store_->load({}), StoreError);
    EXPECT_EQ(store_->waitForChange(kAMoment), News::None);
    shell_.run("DELETE FROM access_rule WHERE id = 7");
    EXPECT_EQ(store_->waitForChange(kLong), News::Changed);
    EXPECT_NO_THROW(store_->load({}));
}

TEST_F(RuleStoreTest, AnotherFileInItsPlaceHoldsOtherRules) {
    store_->load({});
    const std::string other = folder_.file("other.db");
    {
        const AccessRule one = rule(Verdict::Deny, "192.0.2.1");
        openRules("sqlite:" + other)->put(std::span(&one, 1), "bob");
    }
    std::filesystem::rename(other, file_);
    EXPECT_FALSE(store_->addHits(std::vector<RuleStore::HitCount>{{1, 3, 1'800'000'005}}));
    EXPECT_EQ(store_->waitForChange(kLong), News::Replaced);
    EXPECT_EQ(store_->load({})->size(), 1u);
    EXPECT_TRUE(store_->addHits(std::vector<RuleStore::HitCount>{{1, 3, 1'800'000'005}}));
    EXPECT_EQ(store_->waitForChange(kAMoment), News::None);
}

TEST_F(RuleStoreTest, AFileThatIsGoneIsAnErrorUntilItIsBack) {
    store_->load({});
    std::filesystem::rename(file_, folder_.file("away.db"));
    for (int time = 0; time < 2; ++time)
        EXPECT_THROW(store_->waitForChange(kLong), StoreError);
    EXPECT_FALSE(std::filesystem::exists(file_));
    std::filesystem::rename(folder_.file("away.db"), file_);
    EXPECT_EQ(store_->waitForChange(kLong), News::Replaced);
}

TEST_F(RuleStoreTest, AnErrorStandsUntilSomebodyHasLookedAgain) {
    store_->load({});
    std::filesystem::rename(file_, folder_.file("away.db"));
    EXPECT_THROW(store_->waitForChange(kLong), StoreError);
    EXPECT_THROW(store_->waitForChange(std::chrono::milliseconds(0)), StoreError)
        << "the time was over before the next look";
    store_->stopWaiting();
    EXPECT_EQ(store_->waitForChange(kLong), News::None) << "nobody waits any more";
}

TEST_F(RuleStoreTest, TamperingIsAnErrorUntilItIsMended) {
    store_->load({});
    const std::string trigger =
        shell_.value("SELECT sql FROM sqlite_schema WHERE name = 'access_rule_added'");
    shell_.run("DROP TRIGGER access_rule_added");
    for (int time = 0; time < 2; ++time)
        EXPECT_THROW(store_->waitForChange(kLong), StoreError);
    shell_.run(trigger);
    EXPECT_EQ(store_->waitForChange(kLong), News::Changed) << "what was changed meanwhile left no trace";
}

TEST_F(RuleStoreTest, DamageIsAnErrorUntilTheFileIsWholeAgain) {
    for (int number = 1; number < 20; ++number)
        put(rule(Verdict::Deny, "192.0.2." + std::to_string(number)));
    shell_.run("PRAGMA wal_checkpoint(TRUNCATE)");
    store_ =
        openRules("sqlite:" + file_, {.use = RuleStore::Use::Serve, .poll = std::chrono::milliseconds(1)});
    EXPECT_EQ(store_->load({})->size(), 19u);
    // As whoever follows the rules does.
    const auto read = [&] {
        if (store_->waitForChange(kLong) == News::None) return std::size_t{0};
        return store_->load({})->size();
    };
    const std::string whole = readAll(file_);
    constexpr std::size_t kPage = 8'192;
    for (std::size_t first = 1; first * kPage < whole.size(); first += 4) {
        SCOPED_TRACE(first);
        // In place, as a disk does it, and a person who copies a backup. The clock of file systems goes in steps.
        const auto write = [&](const std::string& bytes) {
            std::fstream file(file_, std::ios::in | std::ios::out | std::ios::binary);
            const auto before = std::filesystem::last_write_time(file_);
            file.seekp(static_cast<std::streamoff>(first * kPage)) << bytes;
            file.close();
            std::filesystem::last_write_time(file_, before + std::chrono::seconds(1));
        };
        write(std::string(std::min(whole.size() - first * kPage, 6 * kPage), 'x'));
        for (int time = 0; time < 3; ++time)
            EXPECT_THROW(read(), StoreError);
        EXPECT_THROW(openRules("sqlite:" + file_, {.use = RuleStore::Use::Inspect})->load({}), StoreError)
            << "as a start would, before it";
        write(whole.substr(first * kPage, 6 * kPage));
        EXPECT_EQ(read(), 19u);
        EXPECT_EQ(store_->waitForChange(kAMoment), News::None);
    }
}

TEST_F(RuleStoreTest, ADamagedFileThatNobodyHasWrittenIsNotReadAgainAtOnce) {
    put(rule(Verdict::Deny, "192.0.2.1"));
    store_->load({});
    shell_.run("PRAGMA wal_checkpoint(TRUNCATE)");
    const std::string whole = readAll(file_);
    const auto write = [&](const std::string& bytes, std::filesystem::file_time_type time) {
        std::fstream(file_, std::ios::in | std::ios::out | std::ios::binary) << bytes;
        std::filesystem::last_write_time(file_, time);
    };
    const auto later = std::filesystem::last_write_time(file_) + std::chrono::seconds(1);
    write(std::string(whole.size(), 'x'), later);
    EXPECT_THROW(store_->waitForChange(kLong), StoreError);
    write(whole, later);
    for (int time = 0; time < 3; ++time)
        EXPECT_THROW(store_->waitForChange(kLong), StoreError)
            << "as nobody has written, as far as can be seen";
    write(whole, later + std::chrono::seconds(1));
    EXPECT_EQ(store_->waitForChange(kLong), News::Changed);
    EXPECT_EQ(store_->load({})->size(), 1u);
}

TEST_F(RuleStoreTest, WhatTakesTheDamagedFilesPlaceHoldsOtherRules) {
    put(rule(Verdict::Deny, "192.0.2.1"));
    store_->load({});
    shell_.run("PRAGMA wal_checkpoint(TRUNCATE)");
    const auto before = std::filesystem::last_write_time(file_);
    std::ofstream(file_) << std::string(40'000, 'x');
    std::filesystem::last_write_time(file_, before + std::chrono::seconds(1));
    EXPECT_THROW(store_->waitForChange(kLong), StoreError);
    const std::string other = folder_.file("other.db");
    openRules("sqlite:" + other);
    // Many file systems give a new file the number of the one that has just gone.
    std::filesystem::remove(file_);
    std::filesystem::copy_file(other, file_);
    EXPECT_EQ(store_->waitForChange(kLong), News::Replaced);
}

TEST_F(RuleStoreTest, AnotherConnectionOfThisProcessLeavesTheLocks) {
    store_->load({});
    const auto second = openRules("sqlite:" + file_);
    const pid_t other = ::fork();
    if (other == 0) {
        // SQLite's shared bytes: whoever could lock them alone would delete the write-ahead log.
        struct flock lock {};
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        lock.l_start = 0x40000002;
        lock.l_len = 510;
        const int file = ::open(file_.c_str(), O_RDWR | O_CLOEXEC);
        ::_exit(::fcntl(file, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(other, &status, 0), other);
    EXPECT_EQ(status, 0) << "the locks are gone";
}

TEST_F(RuleStoreTest, WhoWaitsCanBeStopped) {
    store_->load({});
    std::thread stopper([&] { store_->stopWaiting(); });
    EXPECT_EQ(store_->waitForChange(std::chrono::hours(1)), News::None);
    stopper.join();
    EXPECT_EQ(store_->waitForChange(std::chrono::hours(1)), News::None) << "nobody waits any more";
}

TEST_F(RuleStoreTest, AnAcknowledgedRuleIsInTheFile) {
    put(rule(Verdict::Deny, "192.0.2.1"));
    // As after a kill: the file and its log, copied while the store is open.
    for (const char* suffix : {"", "-wal"})
        std::filesystem::copy_file(file_ + suffix, folder_.file("copy.db") + suffix);
    EXPECT_EQ(Shell(folder_.file("copy.db")).value("SELECT network FROM access_rule"), "192.0.2.1");
}

}  // namespace
}  // namespace mailgate::store
