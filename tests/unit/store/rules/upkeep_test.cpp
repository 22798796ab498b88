// SPDX-License-Identifier: Apache-2.0
#include "store/rules/upkeep.h"

#include "store/backends/rules.h"
#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

#include <ctime>
#include <string>
#include <vector>

namespace mailgate::store {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr UnixSeconds kHour = 3'600, kDay = 24 * kHour;

AccessRule ruleOfLife(UnixSeconds created_at, UnixSeconds expires_at) {
    AccessRule rule;
    rule.created_at = created_at;
    rule.expires_at = expires_at;
    return rule;
}

TEST(ExpiresSoon, InTheTimeBeforeButNotBeforeTheLastQuarterOfItsLife) {
    const AccessRule partner = ruleOfLife(0, 180 * kDay);
    EXPECT_FALSE(expiresSoon(partner, 177 * kDay - 1, 3 * kDay));
    EXPECT_TRUE(expiresSoon(partner, 177 * kDay, 3 * kDay));
    EXPECT_TRUE(expiresSoon(partner, 180 * kDay - 1, 3 * kDay));
    EXPECT_FALSE(expiresSoon(partner, 180 * kDay, 3 * kDay)) << "it has expired";
    const AccessRule exception = ruleOfLife(0, 48 * kHour);
    EXPECT_FALSE(expiresSoon(exception, kHour, 3 * kDay)) << "who has made it knows";
    EXPECT_TRUE(expiresSoon(exception, 36 * kHour, 3 * kDay));
}

TEST(ExpiresSoon, NotWhereNobodyIsToHearOfIt) {
    AccessRule rule = ruleOfLife(0, 40 * kDay);
    EXPECT_TRUE(expiresSoon(rule, 39 * kDay, kDay));
    EXPECT_FALSE(expiresSoon(rule, 39 * kDay, 0));
    rule.created_by = programName("fail2ban");
    EXPECT_FALSE(expiresSoon(rule, 39 * kDay, kDay));
    rule.created_by = "alice";
    rule.expires_at.reset();
    EXPECT_FALSE(expiresSoon(rule, 39 * kDay, kDay));
}

class UpkeepTest : public testing::Test {
  protected:
    void add(std::string_view text, const std::string& created_at, const std::string& expires_at) {
        shell_.run("INSERT INTO access_rule(network, verdict, created_at, expires_at) VALUES ('" +
                   std::string(text) + "', 'allow', " + created_at + ", " + expires_at + ")");
    }
    std::vector<std::string> networks() {
        std::vector<std::string> found;
        store_->forEachRule([&](const AccessRule& rule) { found.push_back(rule.network.toString()); });
        return found;
    }
    std::vector<std::string> actions() {
        std::vector<std::string> found;
        for (const auto& entry : store_->history({}))
            found.push_back(entry.action + " " + (entry.after.empty() ? entry.before : entry.after));
        return found;
    }

    TemporaryFolder folder_;
    std::string file_ = folder_.file("rules.db");
    std::unique_ptr<RuleStore> store_ =
        openRules("sqlite:" + file_, {.lock_timeout = std::chrono::milliseconds(0)});
    Shell shell_{file_};
    std::vector<std::string> told_;
    Upkeep upkeep_{{.keep_expired = 30 * kDay, .keep_audit = 100 * kDay, .warn_expiry = 3 * kDay},
                   {[this](std::span<const AccessRule> fresh, std::size_t all) {
                        std::string text = std::to_string(all) + ":";
                        for (const AccessRule& rule : fresh)
                            text += " " + rule.network.toString();
                        told_.push_back(text);
                    },
                    [this](const RuleStore::Pruned& pruned) {
                        told_.push_back("pruned " + std::to_string(pruned.rules) + ", " +
                                        std::to_string(pruned.entries));
                    }}};
};

TEST_F(UpkeepTest, EachRuleIsReportedOnce) {
    add("192.0.2.1", "0", "40 * 86400");
    add("192.0.2.2", "0", "41 * 86400");
    add("192.0.2.3", "0", "NULL");
    upkeep_.run(*store_, 30 * kDay);
    upkeep_.run(*store_, 37 * kDay);
    upkeep_.run(*store_, 37 * kDay + kHour);
    upkeep_.run(*store_, 38 * kDay);
    EXPECT_THAT(told_, ElementsAre("0:", "1: 192.0.2.1", "2: 192.0.2.2"));
    told_.clear();
    shell_.run("UPDATE access_rule SET expires_at = 39 * 86400 WHERE id = 2");
    upkeep_.run(*store_, 38 * kDay);
    EXPECT_THAT(told_, ElementsAre("2: 192.0.2.2")) << "it expires at another time";
    told_.clear();
    upkeep_.run(*store_, 40 * kDay);
    EXPECT_THAT(told_, ElementsAre("0:")) << "both have expired";
}

TEST_F(UpkeepTest, RulesThatExpiredLongAgoGoAndTheTrailSaysSo) {
    add("192.0.2.1", "0", "10 * 86400");
    add("192.0.2.2", "0", "11 * 86400");
    add("192.0.2.3", "0", "NULL");
    EXPECT_EQ(upkeep_.run(*store_, 40 * kDay - 1).rules, 0u);
    EXPECT_EQ(upkeep_.run(*store_, 40 * kDay).rules, 1u);
    EXPECT_THAT(networks(), ElementsAre("192.0.2.2", "192.0.2.3"));
    EXPECT_THAT(told_, ElementsAre("0:", "pruned 1, 0"));
    const auto entry = store_->history({}).back();
    EXPECT_EQ(entry.action, "remove");
    EXPECT_EQ(entry.who, "program mailgate");
    EXPECT_EQ(store_->undo(entry.change, "alice").kind, RuleStore::UndoResult::Kind::Done);
}

TEST_F(UpkeepTest, ManyAtOnceGoInPortions) {
    std::vector<AccessRule> rules(5'001);
    for (std::size_t at = 0; at < rules.size(); ++at) {
        rules[at].network = network("10.0.0.0");
        rules[at].network.address[14] = static_cast<std::uint8_t>(at >> 8);
        rules[at].network.address[15] = static_cast<std::uint8_t>(at);
        rules[at].expires_at = 1;
    }
    store_->put(rules, "test");
    const auto first = upkeep_.run(*store_, 31 * kDay);
    EXPECT_EQ(first.rules, 5'000u);
    EXPECT_TRUE(first.more);
    const auto second = upkeep_.run(*store_, 31 * kDay);
    EXPECT_EQ(second.rules, 1u);
    EXPECT_FALSE(second.more);
}

class Trimming : public UpkeepTest {
  protected:
    /// Entries of the trail get this time, which the file itself refuses to change.
    void date(std::int64_t first, std::int64_t last, UnixSeconds at) {
        std::string trigger =
            shell_.value("SELECT sql FROM sqlite_schema WHERE name = 'access_audit_no_update'");
        shell_.run("DROP TRIGGER access_audit_no_update; UPDATE access_audit SET at = " + std::to_string(at) +
                   " WHERE id BETWEEN " + std::to_string(first) + " AND " + std::to_string(last) + ";" +
                   trigger);
    }
    void put(std::vector<std::string_view> networks) {
        std::vector<AccessRule> rules(networks.size());
        for (std::size_t at = 0; at < rules.size(); ++at)
            rules[at].network = network(networks[at]);
        store_->put(rules, "alice");
    }

    const UnixSeconds now_ = std::time(nullptr);
};

TEST_F(Trimming, TheOldPartOfTheTrailGoesAndLeavesAnEntry) {
    put({"192.0.2.1"});
    put({"192.0.2.2"});
    put({"192.0.2.3"});
    date(1, 2, now_ - 100 * kDay - 1);
    EXPECT_EQ(upkeep_.run(*store_, now_).entries, 0u) << "not every hour";
    date(1, 2, now_ - 102 * kDay);
    EXPECT_EQ(upkeep_.run(*store_, now_).entries, 2u);
    EXPECT_THAT(actions(), ElementsAre("add deny 192.0.2.3", "trim entries up to 2"));
    EXPECT_EQ(store_->history({}).back().who, "program mailgate");
    EXPECT_EQ(networks().size(), 3u);
    EXPECT_EQ(upkeep_.run(*store_, now_).entries, 0u);
    EXPECT_EQ(actions().size(), 2u);

    put({"192.0.2.4"});
    EXPECT_EQ(store_->history({}).back().id, 5);
    using Kind = RuleStore::UndoResult::Kind;
    EXPECT_EQ(store_->undo(2, "alice").kind, Kind::NotFound);
    EXPECT_EQ(store_->undo(4, "alice").kind, Kind::Unreadable);
    EXPECT_EQ(store_->undo(5, "alice").kind, Kind::Done);
}

TEST_F(Trimming, AllOfItMayBeOld) {
    put({"192.0.2.1"});
    date(1, 1, now_ - 200 * kDay);
    upkeep_.run(*store_, now_);
    EXPECT_THAT(actions(), ElementsAre("trim entries up to 1"));
    EXPECT_NO_THROW(store_->checkTrail());
}

TEST_F(Trimming, NoChangeIsCutInTwo) {
    put({"192.0.2.1"});
    put({"192.0.2.2", "192.0.2.3"});
    date(1, 2, now_ - 102 * kDay);
    EXPECT_EQ(upkeep_.run(*store_, now_).entries, 1u);
    EXPECT_EQ(store_->undo(2, "alice").kind, RuleStore::UndoResult::Kind::Done);
    EXPECT_THAT(networks(), ElementsAre("192.0.2.1"));
}

// Who has made a rule is in the entry of its removal: that of its making may be gone.
TEST_F(Trimming, AProgramsRuleIsItsOwnAgainAfterwards) {
    AccessRule ban;
    ban.network = network("192.0.2.1");
    store_->put(std::span(&ban, 1), programName("fail2ban"));
    shell_.run("UPDATE access_rule SET created_at = 4711");
    store_->remove(std::vector<std::int64_t>{1}, "alice");
    const auto removal = store_->lastChange();
    date(1, 2, now_ - 102 * kDay);
    ASSERT_EQ(upkeep_.run(*store_, now_).entries, 2u);
    EXPECT_EQ(store_->undo(removal, "alice").kind, RuleStore::UndoResult::Kind::Done);
    EXPECT_EQ(shell_.value("SELECT created_by FROM access_rule"), "program fail2ban");
    EXPECT_EQ(shell_.value("SELECT created_at FROM access_rule"), "4711");
}

TEST_F(Trimming, AClockThatWasWrongDoesNotRemoveIt) {
    for (const char* text : {"192.0.2.1", "192.0.2.2", "192.0.2.3"})
        put({text});
    date(3, 3, 0);
    EXPECT_EQ(upkeep_.run(*store_, now_).entries, 0u);
    EXPECT_EQ(actions().size(), 3u);
}

TEST_F(Trimming, NothingElseMayRemoveTheTrail) {
    put({"192.0.2.1"});
    EXPECT_NE(shell_.tryRun("DELETE FROM access_audit"), "");
    EXPECT_NE(shell_.tryRun("UPDATE access_meta SET trimmed_to = 9"), "");
    EXPECT_NE(
        shell_.tryRun("REPLACE INTO access_meta(id, rules_version, acting, trimmed_to) VALUES (1, 1, '', 9)"),
        "");
    // Who does it by hand is named.
    shell_.run("UPDATE access_meta SET trimmed_to = 1; DELETE FROM access_audit WHERE id <= 1");
    EXPECT_THAT(actions(), ElementsAre("trim entries up to 1"));
    EXPECT_EQ(store_->history({}).back().who, "sqlite3");
    EXPECT_NE(shell_.tryRun("UPDATE access_meta SET trimmed_to = 0"), "");
}

}  // namespace
}  // namespace mailgate::store
