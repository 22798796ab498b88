// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/rows.h"

#include "store/rules/sqlite/schema.h"
#include "tests/unit/store/support.h"

#include <vector>

namespace mailgate::store::rows {
namespace {

using PutKind = RuleStore::PutKind;

class RuleRowsTest : public testing::Test {
  protected:
    RuleRowsTest() { schema::migrate(database_, true); }

    RuleStore::PutResult put(const AccessRule& rule, std::string_view who = "alice") {
        return Putter(database_, who).put(rule);
    }
    std::vector<AccessRule> all() {
        std::vector<AccessRule> rules;
        sqlite::RawStatement select(database_, kAllRules);
        while (select.step())
            rules.push_back(readRule(database_, select));
        return rules;
    }
    static AccessRule allow(std::string_view text) {
        AccessRule rule;
        rule.verdict = Verdict::Allow;
        rule.network = network(text);
        return rule;
    }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("rules.db");
    sqlite::Database database_{file_, {}};
};

TEST_F(RuleRowsTest, ARuleIsReadAsItWasPut) {
    AccessRule rule = allow("2001:db8::/32");
    rule.listener = "smtp";
    rule.note = "partner's, \"new\"";
    rule.expires_at = 4'000'000'000;
    rule.limits = {0, 60};
    const auto put = this->put(rule);
    EXPECT_EQ(put.kind, PutKind::Added);
    Shell(file_).run("UPDATE access_rule SET hits = 7, last_hit_at = 5, created_at = 3");
    const auto rules = all();
    ASSERT_EQ(rules.size(), 1u);
    const AccessRule& kept = rules.front();
    EXPECT_EQ(kept.id, put.id);
    EXPECT_EQ(kept.network.toString(), "2001:db8::/32");
    EXPECT_EQ(kept.verdict, Verdict::Allow);
    EXPECT_EQ(kept.listener, rule.listener);
    EXPECT_EQ(kept.note, rule.note);
    EXPECT_EQ(kept.expires_at, rule.expires_at);
    EXPECT_EQ(kept.limits, rule.limits) << "0 is a limit, and none is none";
    EXPECT_EQ(kept.created_by, "alice");
    EXPECT_EQ(kept.created_at, 3);
    EXPECT_EQ(kept.hits, 7);
    EXPECT_EQ(kept.last_hit_at, 5);
}

TEST_F(RuleRowsTest, ADenyRuleKeepsItsReply) {
    AccessRule rule = allow("192.0.2.1");
    rule.verdict = Verdict::Deny;
    rule.reply = {.temporary = true, .shows_note = true};
    put(rule);
    EXPECT_EQ(all().at(0).reply, rule.reply);
    EXPECT_EQ(put(rule).kind, PutKind::Unchanged);
    rule.reply.temporary = false;
    EXPECT_EQ(put(rule).kind, PutKind::Changed);
    EXPECT_EQ(all().at(0).reply, rule.reply);
    EXPECT_EQ(Shell(file_).value("SELECT after FROM access_audit ORDER BY id DESC"),
              "deny 192.0.2.1 reply=note");
    EXPECT_NE(Shell(file_).tryRun("UPDATE access_rule SET reply = 'loud'"), "");
    EXPECT_NE(Shell(file_).tryRun("UPDATE access_rule SET verdict = 'allow'"), "");
}

TEST_F(RuleRowsTest, WhatARuleDoesNotSayIsAbsent) {
    put(allow("192.0.2.1"));
    const AccessRule kept = all().at(0);
    EXPECT_FALSE(kept.expires_at);
    EXPECT_FALSE(kept.last_hit_at);
    EXPECT_FALSE(kept.limits.any());
    EXPECT_EQ(kept.note + kept.listener, "");
}

TEST_F(RuleRowsTest, ARuleIsPutOnceAndChangedWhereItDiffers) {
    AccessRule rule = allow("192.0.2.0/24");
    const std::int64_t id = put(rule).id;
    const auto expect = [&](PutKind kind) {
        const auto again = put(rule, "bob");
        EXPECT_EQ(again.kind, kind);
        EXPECT_EQ(again.id, id);
    };
    expect(PutKind::Unchanged);
    rule.note = "new";
    expect(PutKind::Changed);
    expect(PutKind::Unchanged);
    rule.expires_at = 4'000'000'000;
    expect(PutKind::Changed);
    rule.limits.sessions = 0;
    expect(PutKind::Changed);
    rule.limits.per_minute = 5;
    expect(PutKind::Changed);
    rule.expires_at.reset();
    rule.limits = {};
    expect(PutKind::Changed);
    expect(PutKind::Unchanged);
    EXPECT_EQ(all().at(0).created_by, "alice");
}

TEST_F(RuleRowsTest, AnotherListenerNetworkOrVerdictIsAnotherRule) {
    AccessRule rule = allow("192.0.2.0/24");
    put(rule);
    rule.listener = "smtp";
    EXPECT_EQ(put(rule).kind, PutKind::Added);
    rule.verdict = Verdict::Deny;
    EXPECT_EQ(put(rule).kind, PutKind::Added);
    rule.network = network("192.0.2.0/25");
    Finder finder(database_);
    EXPECT_FALSE(finder.find(rule));
    rule.network = network("192.0.2.0/24");
    const auto found = finder.find(rule);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->verdict, Verdict::Deny);
    EXPECT_EQ(found->listener, "smtp");
    EXPECT_EQ(finder.find(allow("192.0.2.0/24"))->listener, "");
}

TEST_F(RuleRowsTest, TextOfOthersIsNoSql) {
    AccessRule rule = allow("192.0.2.1");
    rule.note = "'); DROP TABLE access_rule; --";
    put(rule, "o'brien");
    EXPECT_EQ(all().at(0).note, rule.note);
    EXPECT_EQ(all().at(0).created_by, "o'brien");
}

TEST_F(RuleRowsTest, ANetworkThatIsNoneIsNamedWithItsRow) {
    Shell shell(file_);
    shell.run("DROP TRIGGER access_rule_add_network");  // which earlier versions had not
    for (const char* text : {"", "192.0.2.5/24", "example.net", "192.0.2.0/33"}) {
        shell.run("DELETE FROM access_rule; INSERT INTO access_rule(id, network, verdict) VALUES (42, '" +
                  std::string(text) + "', 'deny')");
        try {
            all();
            ADD_FAILURE() << text;
        } catch (const StoreError& error) {
            EXPECT_EQ(error.kind(), StoreError::Kind::BadRow) << text;
            const std::string words = error.what();
            EXPECT_TRUE(words.starts_with(file_ + ": table access_rule, row id 42, column network: "))
                << words;
            EXPECT_NE(words.find(text), std::string::npos) << words;
        }
    }
}

}  // namespace
}  // namespace mailgate::store::rows
