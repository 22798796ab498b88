// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/sharing.h"

#include "store/backends/fleet.h"
#include "store/backends/rules.h"
#include "store/fleet/join.h"
#include "store/fleet/push.h"
#include "store/fleet/verify.h"
#include "tests/support/fake_fleet.h"
#include "tests/unit/store/support.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <limits>
#include <random>

namespace mailgate::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using testing::UnorderedElementsAre;

AccessRule denied(const std::string& network, const std::string& note = "") {
    AccessRule rule;
    rule.network = mailgate::network(network);
    rule.note = note;
    return rule;
}

/// A gateway's file, with the commands that change it.
class SharingGateway {
  public:
    SharingGateway(std::string name, std::shared_ptr<FleetDatabase> database)
        : name_(std::move(name)),
          database_(std::move(database)),
          url_("sqlite:" + folder_.file("rules.db")) {}

    std::unique_ptr<RuleStore> rules(const FleetSharing::Overruled& overruled = {}) {
        return openRules(url_, {.sharing = std::make_shared<FleetSharing>(
                                    std::make_unique<FakeFleet>(database_), name_, overruled)});
    }
    std::unique_ptr<RuleStore> alone() { return openRules(url_); }
    std::unique_ptr<Replica> replica() { return openReplica(url_, {}); }
    JoinOutcome join(Prefer prefer = Prefer::Nobody) {
        FakeFleet fleet(database_);
        const auto here = replica();
        return joinFleet(*here, fleet, {.gateway = name_, .who = "alice", .now = 1'000, .prefer = prefer});
    }
    PushOutcome push(Prefer prefer = Prefer::Nobody) {
        FakeFleet fleet(database_);
        const auto here = replica();
        return pushToFleet(*here, fleet, {.gateway = name_, .who = "alice", .now = 1'000, .prefer = prefer});
    }
    /// As the follower does it.
    std::vector<std::string> follow() { return apply().unreadable; }
    Applied apply() {
        FakeFleet fleet(database_);
        const auto here = replica();
        return here->apply(fleet.changesSince(here->membership()->version));
    }
    /// "1 deny 192.0.2.1/32 note"
    std::vector<std::string> lines() {
        std::vector<std::string> lines;
        alone()->forEachRule([&](const AccessRule& rule) {
            lines.push_back(std::to_string(rule.id) + ' ' + subjectOf(rule) + ' ' + rule.note);
        });
        return lines;
    }
    std::string file() const { return folder_.file("rules.db"); }

  private:
    const std::string name_;
    const std::shared_ptr<FleetDatabase> database_;
    const TemporaryFolder folder_{folderInMemory()};
    const std::string url_;
};

class FleetSharingTest : public testing::Test {
  protected:
    FleetSharingTest() {
        a_.join();
        b_.join();
    }

    struct Backup {
        FleetState state{.fleet = "f1"};
        std::vector<SharedEntry> log{};
        std::map<std::int64_t, std::string> tokens{{0, ""}};
        std::map<std::int64_t, SharedRule> rules{};
    };
    Backup backUp() const { return {database_->state, database_->log, database_->tokens, database_->rules}; }
    void restore(const Backup& backup) {
        database_->state = backup.state;
        database_->log = backup.log;
        database_->tokens = backup.tokens;
        database_->rules = backup.rules;
    }

    std::shared_ptr<FleetDatabase> database_ = std::make_shared<FleetDatabase>();
    SharingGateway a_{"a", database_}, b_{"b", database_};
};

TEST_F(FleetSharingTest, AChangeComesToOthersWithItsNumberAndItsTrail) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one"), denied("192.0.2.2/32", "two")}, "alice");
    b_.follow();
    EXPECT_EQ(b_.lines(), a_.lines());
    b_.rules()->put(std::vector{denied("192.0.2.3/32", "three")}, "bob");
    b_.rules()->remove(std::vector<std::int64_t>{1}, "bob");
    a_.follow();
    EXPECT_THAT(a_.lines(), ElementsAre("2 192.0.2.2 two", "3 192.0.2.3 three"));

    const auto mine = a_.alone()->history({}), others = b_.alone()->history({});
    ASSERT_EQ(mine.size(), 4u);
    ASSERT_EQ(others.size(), 4u);
    for (std::size_t at = 0; at < mine.size(); ++at) {
        EXPECT_EQ(mine[at].who, at < 2 ? "alice@a" : "bob@b");
        EXPECT_EQ(std::tie(mine[at].at, mine[at].who, mine[at].action, mine[at].before, mine[at].after,
                           mine[at].change, mine[at].made_by),
                  std::tie(others[at].at, others[at].who, others[at].action, others[at].before,
                           others[at].after, others[at].change, others[at].made_by));
    }
    EXPECT_NO_THROW(b_.alone()->checkTrail());
}

TEST_F(FleetSharingTest, WhatACommandHasBroughtMeanwhileIsNotAppliedTwice) {
    FakeFleet fleet(database_);
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    const SharedChanges asked_for = fleet.changesSince(0);
    b_.rules()->put(std::vector{denied("192.0.2.2/32", "two")}, "bob");
    const auto lines = b_.lines();
    b_.replica()->apply(asked_for);
    EXPECT_EQ(b_.lines(), lines);
    EXPECT_EQ(b_.replica()->membership()->version, 2);
    EXPECT_EQ(b_.alone()->history({}).size(), 2u);
    a_.replica()->apply(fleet.changesSince(0));  // with a change that it has
    EXPECT_EQ(a_.alone()->history({}).size(), 2u);
    EXPECT_EQ(a_.lines(), lines);
}

TEST_F(FleetSharingTest, WhatACommandHasBroughtMeanwhileIsAmongWhatIsChangedAsAWhole) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    const auto before = b_.replica()->membership().value();
    database_->state.log_from = 1;
    FakeFleet fleet(database_);
    database_->before_everything = [this] {
        b_.rules()->put(std::vector{denied("192.0.2.2/32", "two")}, "bob");
        a_.follow();
        a_.rules()->remove(std::vector<std::int64_t>{2}, "alice");
    };
    EXPECT_EQ(bringUp(*b_.replica(), before, fleet.state(), fleet).version, 3);
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 one"));
    EXPECT_EQ(b_.replica()->membership()->version, 3);
}

TEST_F(FleetSharingTest, WithTheRulesAsAWholeWhatNobodyHasIsNoDifference) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one"), denied("192.0.2.2/32", "two")}, "alice");
    b_.follow();
    Shell(b_.file()).run("DELETE FROM access_rule");
    a_.rules()->remove(std::vector<std::int64_t>{1}, "alice");
    database_->rules.at(2).network = "garbage";
    database_->state.log_from = 2;
    FakeFleet fleet(database_);
    bringUp(*b_.replica(), b_.replica()->membership().value(), fleet.state(), fleet);
    EXPECT_EQ(b_.replica()->differences().changed, 1u) << "which cannot be read";
}

TEST_F(FleetSharingTest, WhoChangesHasTheOthersChangesFirst) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "a's")}, "alice");
    b_.rules()->put(std::vector{denied("192.0.2.1/32", "b's")}, "bob");  // without having followed
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 b's"));
    a_.follow();
    EXPECT_THAT(a_.lines(), ElementsAre("1 192.0.2.1 b's"));
    EXPECT_EQ(a_.rules()->undo(a_.alone()->history({}).back().change, "alice").kind,
              RuleStore::UndoResult::Kind::Done);
    b_.follow();
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 a's"));
}

TEST_F(FleetSharingTest, NothingIsChangedWithoutTheDatabase) {
    database_->gone = true;
    try {
        a_.rules()->put(std::vector{denied("192.0.2.1/32")}, "alice");
        FAIL() << "it was changed";
    } catch (const StoreError& error) {
        EXPECT_THAT(error.what(), HasSubstr("nothing was changed: the database is gone"));
    }
    EXPECT_THAT(a_.lines(), IsEmpty());
    EXPECT_THAT(a_.alone()->history({}), IsEmpty());
}

TEST_F(FleetSharingTest, WhatTheDatabaseHasAndNobodyHeardOfIsNotLost) {
    database_->loses_answer = true;
    try {
        a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
        FAIL() << "nobody has said that it was made";
    } catch (const StoreError& error) {
        EXPECT_EQ(error.kind(), StoreError::Kind::Unknown);
    }
    database_->loses_answer = false;
    EXPECT_THAT(a_.lines(), IsEmpty());
    a_.follow();
    EXPECT_THAT(a_.lines(), ElementsAre("1 192.0.2.1 one"));
    EXPECT_EQ(a_.alone()->history({}).size(), 1u);
}

TEST_F(FleetSharingTest, HitsStayWhenARuleIsChangedElsewhere) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    b_.follow();
    b_.alone()->addHits(std::vector{RuleStore::HitCount{1, 7, 1'000}});
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "other")}, "alice");
    b_.follow();
    b_.alone()->forEachRule([](const AccessRule& rule) {
        EXPECT_EQ(rule.note, "other");
        EXPECT_EQ(rule.hits, 7);
    });
}

TEST_F(FleetSharingTest, ARuleOfTheFilesOwnMakesRoomForTheFleets) {
    Shell(b_.file()).run(
        "INSERT INTO access_rule(network, verdict, note) VALUES ('192.0.2.9/32', 'deny', 'own')");
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one"), denied("192.0.2.2/32", "two")}, "alice");
    b_.follow();
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 one", "2 192.0.2.2 two", "3 192.0.2.9 own"));
    EXPECT_EQ(b_.replica()->differences().added, 1u);
    // The next of the fleet's is not that one either, on whichever gateway it is made.
    a_.rules()->put(std::vector{denied("192.0.2.3/32", "three")}, "alice");
    b_.follow();
    EXPECT_THAT(b_.lines(),
                ElementsAre("1 192.0.2.1 one", "2 192.0.2.2 two", "3 192.0.2.3 three", "4 192.0.2.9 own"));
    b_.rules()->remove(std::vector<std::int64_t>{4}, "bob");
    EXPECT_EQ(b_.replica()->differences().added, 0u);
    EXPECT_EQ(database_->rules.size(), 3u);
}

TEST_F(FleetSharingTest, WhatTheShellDidToAFleetsRuleHoldsUntilTheFleetChangesIt) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    b_.follow();
    Shell(b_.file()).run("UPDATE access_rule SET note = 'by hand'");
    EXPECT_EQ(b_.replica()->differences().changed, 1u);
    a_.rules()->put(std::vector{denied("192.0.2.2/32", "two")}, "alice");
    b_.follow();
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 by hand", "2 192.0.2.2 two"));
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "fleet's")}, "alice");
    b_.follow();
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 fleet's", "2 192.0.2.2 two"));
    EXPECT_EQ(b_.replica()->differences().changed, 0u);
}

TEST_F(FleetSharingTest, WhatIsLostSinceTheFleetHasChangedTheSameIsToldAndInTheTrail) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one"), denied("192.0.2.2/32", "two"),
                                denied("192.0.2.3/32", "three"), denied("192.0.2.4/32", "four"),
                                denied("192.0.2.5/32", "five")},
                    "alice");
    b_.follow();
    Shell(b_.file()).run(
        "UPDATE access_rule SET network = '192.0.2.21' WHERE id = 1;"
        "DELETE FROM access_rule WHERE id = 2;"
        "UPDATE access_rule SET note = 'as there' WHERE id = 3;"
        "UPDATE access_rule SET note = 'x' WHERE id = 4; UPDATE access_rule SET note = 'four' WHERE id = 4;"
        "UPDATE access_rule SET note = 'stays' WHERE id = 5;"
        "INSERT INTO access_rule(network, verdict, note) VALUES ('192.0.2.9', 'deny', 'shell')");
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "uno"), denied("192.0.2.2/32", "due"),
                                denied("192.0.2.3/32", "as there"), denied("192.0.2.4/32", "quattro")},
                    "alice");
    a_.rules()->put(std::vector{denied("192.0.2.9/32", "fleet's")}, "carol");
    std::vector<std::string> lost;
    for (const Applied::Lost& one : b_.apply().lost)
        lost.push_back(fmt::format("{} {}: {} | {}", one.rule_id, one.by, one.here, one.fleet));
    EXPECT_THAT(lost, ElementsAre("1 alice@a: deny 192.0.2.21 one | deny 192.0.2.1 uno",
                                  "2 alice@a:  | deny 192.0.2.2 due",
                                  "7 carol@a: deny 192.0.2.9 shell | deny 192.0.2.9 fleet's"))
        << "both have made the same of the third, and nothing of the fourth";
    std::vector<std::string> trail;
    for (const RuleStore::AuditEntry& entry : b_.alone()->history(mailgate::network("192.0.2.21/32")))
        trail.push_back(fmt::format("{} {} | {}", entry.who, entry.before, entry.after));
    EXPECT_THAT(trail, ElementsAre(HasSubstr("deny 192.0.2.1 one | deny 192.0.2.21 one"),
                                   "alice@a deny 192.0.2.21 one | deny 192.0.2.1 one"));
    const auto removed = b_.alone()->history(mailgate::network("192.0.2.2/32"));
    ASSERT_EQ(removed.size(), 4u);
    EXPECT_EQ(removed[2].before + removed[2].after, "deny 192.0.2.2 two") << "it is there again";
    EXPECT_EQ(removed[3].before, removed[2].after);
    // By its number it may be taken back, for all then: once the fleet's change is.
    EXPECT_EQ(b_.rules()->undo(removed[3].change, "bob").kind, RuleStore::UndoResult::Kind::Done);
    EXPECT_EQ(b_.rules()->undo(removed[2].change, "bob").kind, RuleStore::UndoResult::Kind::Done);
    a_.follow();
    EXPECT_EQ(database_->rules.at(1).network, "192.0.2.21");
    EXPECT_EQ(database_->rules.count(2), 0u);
    EXPECT_THAT(a_.lines(), testing::Not(testing::Contains(HasSubstr("192.0.2.1 "))));
    EXPECT_NO_THROW(b_.alone()->checkTrail());
}

TEST_F(FleetSharingTest, WhatAChangeMeetsAndIsLostIsToldToWhoMakesIt) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    b_.follow();
    Shell(b_.file()).run(
        "UPDATE access_rule SET network = '192.0.2.21' WHERE id = 1;"
        "INSERT INTO access_rule(network, verdict, expires_at) VALUES ('192.0.2.9', 'deny', 1)");
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "uno"), denied("192.0.2.9/32")}, "alice");
    std::vector<std::string> told;
    b_.rules([&](const std::vector<Applied::Lost>& lost) {
          for (const Applied::Lost& one : lost)
              told.push_back(one.here);
      })->put(std::vector{denied("192.0.2.2/32", "two")}, "bob");
    EXPECT_THAT(told, ElementsAre("deny 192.0.2.21 one")) << "and nothing of what had expired";
}

TEST_F(FleetSharingTest, WhatIsLostByTheRulesAsAWholeIsTold) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    b_.follow();
    Shell(b_.file()).run("UPDATE access_rule SET note = 'by hand'");
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "fleet's")}, "alice");
    database_->state.log_from = database_->state.version;
    FakeFleet fleet(database_);
    const auto lost =
        bringUp(*b_.replica(), b_.replica()->membership().value(), fleet.state(), fleet).applied.lost;
    ASSERT_EQ(lost.size(), 1u);
    EXPECT_EQ(lost[0].here, "deny 192.0.2.1 by hand");
    EXPECT_EQ(b_.alone()->history({}).size(), 3u) << "it is in the trail as it is";
}

TEST_F(FleetSharingTest, AFleetsRuleThatMadeRoomForAnotherIsMissedHere) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    b_.follow();
    Shell(b_.file()).run("UPDATE access_rule SET network = '192.0.2.9'");
    a_.rules()->put(std::vector{denied("192.0.2.9/32", "two")}, "alice");
    b_.follow();
    EXPECT_THAT(b_.lines(), ElementsAre("2 192.0.2.9 two"));
    EXPECT_EQ(b_.replica()->differences().changed, 1u);
    EXPECT_TRUE(b_.push(Prefer::Fleet).pushed);
    EXPECT_EQ(b_.lines(), a_.lines());
    EXPECT_EQ(b_.replica()->differences().changed, 0u);
}

TEST_F(FleetSharingTest, ARuleThatTheShellRemovedMayBeMadeAgain) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one"), denied("192.0.2.2/32", "two")}, "alice");
    b_.follow();
    Shell(a_.file()).run("DELETE FROM access_rule WHERE id = 1");
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "again")}, "alice");
    b_.follow();
    EXPECT_THAT(a_.lines(), ElementsAre("2 192.0.2.2 two", "3 192.0.2.1 again"));
    EXPECT_EQ(b_.lines(), a_.lines());
    EXPECT_EQ(database_->rules.size(), 2u);
    bool told = false;
    for (const auto& entry : b_.alone()->history({}))
        told |= entry.action == "remove" && entry.before == "deny 192.0.2.1 one";
    EXPECT_TRUE(told);
    // Who takes it back has the fleet's rule again, also where it was made.
    const auto change = a_.alone()->history({}).back().change;
    EXPECT_EQ(a_.rules()->undo(change, "alice").kind, RuleStore::UndoResult::Kind::Done);
    b_.follow();
    EXPECT_THAT(a_.lines(), ElementsAre("1 192.0.2.1 one", "2 192.0.2.2 two"));
    EXPECT_EQ(b_.lines(), a_.lines());
    EXPECT_EQ(a_.replica()->differences().changed, 0u);
    a_.rules()->undo(a_.alone()->history({}).back().change, "alice");
    b_.follow();
    EXPECT_THAT(b_.lines(), ElementsAre("2 192.0.2.2 two", "3 192.0.2.1 again"));
    b_.rules()->remove(std::vector<std::int64_t>{3}, "bob");
    EXPECT_EQ(database_->rules.size(), 1u);
}

TEST_F(FleetSharingTest, ARuleThatTheShellMovedMayBeMadeAgainAndThatTakenBack) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    Shell(a_.file()).run("UPDATE access_rule SET network = '192.0.2.9'");
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "again")}, "alice");
    EXPECT_THAT(a_.lines(), ElementsAre("2 192.0.2.1 again", "3 192.0.2.9 one"));
    EXPECT_EQ(a_.rules()->undo(a_.alone()->history({}).back().change, "alice").kind,
              RuleStore::UndoResult::Kind::Done);
    EXPECT_THAT(a_.lines(), ElementsAre("1 192.0.2.1 one", "3 192.0.2.9 one"));
    EXPECT_EQ(a_.replica()->differences().added, 1u);
    EXPECT_EQ(database_->rules.size(), 1u);
}

TEST_F(FleetSharingTest, AChangeWhoseNumberAnotherRuleHasIsNotTakenBackForThat) {
    AccessRule own = denied("192.0.2.1/32", "own");
    own.set = kHereSet;
    b_.alone()->put(std::vector{own}, "bob");
    const auto change = b_.alone()->history({}).back().change;
    a_.rules()->put(std::vector{denied("192.0.2.2/32", "other")}, "alice");
    b_.follow();
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.2 other", "2 192.0.2.1 own"));
    using Kind = RuleStore::UndoResult::Kind;
    EXPECT_EQ(b_.alone()->undo(change, "bob").kind, Kind::Renumbered);
    a_.rules()->remove(std::vector<std::int64_t>{1}, "alice");
    b_.follow();
    EXPECT_THAT(b_.lines(), ElementsAre("2 192.0.2.1 own"));
    EXPECT_EQ(b_.alone()->undo(change, "bob").kind, Kind::Renumbered) << "that one is there";
    // The trail may tell only that the other one went.
    Shell shell(b_.file());
    const std::string guard =
        shell.value("SELECT sql FROM sqlite_master WHERE name = 'access_audit_no_delete'");
    shell.run(
        "DROP TRIGGER access_audit_no_delete;"
        "DELETE FROM access_audit WHERE after = 'deny 192.0.2.2 other';" +
        guard);
    EXPECT_EQ(b_.alone()->undo(change, "bob").kind, Kind::Renumbered);
    a_.rules()->put(std::vector{denied("192.0.2.2/32", "other")}, "alice");
    // One that was changed since is the same one.
    const auto first = a_.alone()->history({}).back().change;
    a_.rules()->put(std::vector{denied("192.0.2.2/32", "changed")}, "alice");
    EXPECT_EQ(a_.rules()->undo(first, "alice").kind, RuleStore::UndoResult::Kind::LaterChanges);
}

TEST_F(FleetSharingTest, WhatGivesWayGetsANumberThatNoRuleHasHad) {
    AccessRule first = denied("::/0", "first"), second = denied("::/0", "second");
    first.set = second.set = kHereSet;
    first.name = "host:a.example";
    second.name = "host:b.example";
    b_.alone()->put(std::vector{first, second}, "bob");
    for (const std::int64_t id : {1, 2})
        b_.alone()->keepName(id, {{network("192.0.2.1/32")}, 1, 1, 60, ""});
    b_.alone()->remove(std::vector<std::int64_t>{2}, "bob");
    const auto removal = b_.alone()->history({}).back().change;
    a_.rules()->put(std::vector{denied("192.0.2.2/32", "other")}, "alice");
    b_.follow();
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.2 other", "3 host:a.example first"));
    EXPECT_EQ(b_.alone()->undo(removal, "bob").kind, RuleStore::UndoResult::Kind::Done);
    EXPECT_THAT(b_.lines(),
                ElementsAre("1 192.0.2.2 other", "2 host:b.example second", "3 host:a.example first"));
}

TEST_F(FleetSharingTest, WhatTheShellDidToAFleetsRuleIsNotGivenToTheFleetUnseen) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    b_.follow();
    Shell(b_.file()).run("UPDATE access_rule SET network = '192.0.2.9'");
    try {
        b_.rules()->put(std::vector{denied("192.0.2.9/32", "other")}, "bob");
        FAIL() << "it was changed";
    } catch (const StoreError& error) {
        EXPECT_THAT(error.what(), HasSubstr("mailgate fleet push"));
    }
    EXPECT_EQ(database_->rules.at(1).network, "192.0.2.1");
}

TEST_F(FleetSharingTest, ARuleOfTheShellsThatIsSharedIsANewOneToOthers) {
    Shell(b_.file()).run(
        "INSERT INTO access_rule(network, verdict, note) VALUES ('192.0.2.9', 'deny', 'own')");
    b_.rules()->put(std::vector{denied("192.0.2.9/32", "shared")}, "bob");
    a_.follow();
    const auto last = a_.alone()->history({}).back();
    EXPECT_EQ(std::tie(last.action, last.before, last.after),
              std::make_tuple(std::string("add"), std::string(), std::string("deny 192.0.2.9 shared")));
}

TEST_F(FleetSharingTest, RulesThatExpiredGoForAllAtOnce) {
    AccessRule expired = denied("192.0.2.1/32", "expired"), own = denied("192.0.2.2/32", "own");
    expired.expires_at = own.expires_at = 1'000;
    own.set = kHereSet;
    a_.rules()->put(std::vector{expired}, "alice");
    b_.follow();
    b_.alone()->put(std::vector{own}, "bob");
    EXPECT_EQ(b_.alone()->prune(2'000, 0, programName("mailgate")).rules, 1u);
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 expired"));
    EXPECT_EQ(b_.rules()->prune(2'000, 0, programName("mailgate")).rules, 1u);
    EXPECT_THAT(database_->rules, IsEmpty());
    a_.follow();
    EXPECT_THAT(a_.lines(), IsEmpty());
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "again")}, "alice");
    EXPECT_EQ(database_->rules.size(), 1u);
}

TEST_F(FleetSharingTest, ARuleThatCannotBeReadIsLeftOutAndTheOthersAreNot) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one"), denied("192.0.2.2/32", "two"),
                                denied("192.0.2.3/32", "three"), denied("192.0.2.4/32", "four")},
                    "alice");
    database_->rules.at(1).network = "garbage";
    database_->rules.at(2).listener = "no such name";
    database_->rules.at(3).network = "host:mail.example.net.";  // which has no dot at its end
    EXPECT_THAT(b_.follow(), ElementsAre("rule 1 for garbage", "rule 2 for 192.0.2.2",
                                         "rule 3 for host:mail.example.net."));
    EXPECT_THAT(b_.lines(), ElementsAre("4 192.0.2.4 four"));
    EXPECT_TRUE(b_.push(Prefer::Fleet).pushed);
    EXPECT_EQ(b_.replica()->differences().changed, 3u);
    EXPECT_TRUE(b_.push(Prefer::Here).pushed);  // takes them from the fleet
    EXPECT_EQ(database_->rules.size(), 1u);
}

TEST_F(FleetSharingTest, ARuleWhoseNumberCannotBeIsLeftOutLikewise) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    for (const std::int64_t id : {std::int64_t{-5}, std::numeric_limits<std::int64_t>::max()}) {
        SharedRule odd = database_->rules.at(1);
        odd.id = id;
        odd.network = id < 0 ? "192.0.2.5/32" : "192.0.2.6/32";
        database_->rules.emplace(id, odd);
        SharedEntry entry = database_->log.back();
        entry.rule_id = id;
        database_->log.push_back(entry);
    }
    EXPECT_THAT(b_.follow(), UnorderedElementsAre("rule -5 for 192.0.2.5/32",
                                                  "rule 9223372036854775807 for 192.0.2.6/32"));
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 one"));
    b_.rules()->put(std::vector{denied("192.0.2.7/32", "two")}, "bob");
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 one", "2 192.0.2.7 two"));
    EXPECT_TRUE(b_.push(Prefer::Here).pushed);
    EXPECT_EQ(database_->rules.size(), 2u);
}

TEST_F(FleetSharingTest, NumbersThatNoCommandGivesDoNotComeToTheFleet) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    Shell(a_.file()).run(
        "INSERT INTO access_rule(id, network, verdict, note) VALUES (9007199254740900, '192.0.2.2', 'deny', "
        "'big'), (9223372036854775807, '192.0.2.3', 'deny', 'biggest'), (0, '192.0.2.4', 'deny', 'zero'),"
        " (-5, '192.0.2.5', 'deny', 'less')");
    a_.rules()->put(std::vector{denied("192.0.2.6/32", "two")}, "alice");
    EXPECT_THAT(a_.lines(), ElementsAre("1 192.0.2.1 one", "2 192.0.2.5 less", "3 192.0.2.4 zero",
                                        "4 192.0.2.2 big", "5 192.0.2.3 biggest", "6 192.0.2.6 two"));
    EXPECT_EQ(database_->state.next_id, 7);
    EXPECT_TRUE(a_.push().pushed);
    b_.follow();
    EXPECT_EQ(b_.replica()->differences().changed, 0u);
    EXPECT_EQ(b_.lines().size(), 6u);
    EXPECT_NO_THROW(a_.alone()->checkTrail());
}

TEST_F(FleetSharingTest, AFleetThatWasCountedBackIsFollowed) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    database_->state.next_id = (std::int64_t{1} << 53) - 1;
    a_.rules()->put(std::vector{denied("192.0.2.2/32", "last")}, "alice");
    b_.follow();
    a_.rules()->remove(std::vector{(std::int64_t{1} << 53) - 1}, "alice");
    database_->state.next_id = 2;
    b_.rules()->put(std::vector{denied("192.0.2.3/32", "two")}, "bob");
    a_.rules()->put(std::vector{denied("192.0.2.4/32", "three")}, "alice");
    EXPECT_THAT(a_.lines(), ElementsAre("1 192.0.2.1 one", "2 192.0.2.3 two", "3 192.0.2.4 three"));
}

TEST_F(FleetSharingTest, ARuleWithTheNumberZeroIsHere) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    Shell(a_.file()).run("UPDATE access_rule SET id = 0");
    EXPECT_TRUE(a_.push(Prefer::Here).pushed);
    b_.follow();
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 one"));
    EXPECT_EQ(a_.lines(), b_.lines());
}

// ---- pushing

TEST_F(FleetSharingTest, WhatAGatewayAloneHasIsGivenToTheFleet) {
    AccessRule here = denied("192.0.2.1/32", "in haste");
    here.set = kHereSet;
    here.expires_at = 4'000'000'000;
    a_.alone()->put(std::vector{here}, "alice");
    Shell(a_.file()).run(
        "INSERT INTO access_rule(network, verdict, note) VALUES ('192.0.2.2/32', 'deny', 'shell')");
    const auto outcome = a_.push();
    EXPECT_TRUE(outcome.pushed);
    EXPECT_EQ(outcome.plan.uploads.size(), 2u);
    b_.follow();
    EXPECT_EQ(a_.lines(), b_.lines());
    EXPECT_EQ(a_.lines().size(), 2u);
    EXPECT_EQ(a_.replica()->differences().added, 0u);
    b_.alone()->forEachRule([](const AccessRule& rule) {
        EXPECT_EQ(rule.set, kManualSet);
        EXPECT_EQ(rule.expires_at.has_value(), rule.note == "in haste");
    });
    EXPECT_EQ(a_.alone()->history({}).back().who, "alice@a");
    a_.rules()->put(std::vector{denied("192.0.2.3/32")}, "alice");
    b_.follow();
    EXPECT_EQ(a_.lines(), b_.lines());
    EXPECT_TRUE(a_.push().plan.uploads.empty());
}

TEST_F(FleetSharingTest, WhatTheFleetHasOtherwiseIsDecidedFirst) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "fleet's"), denied("192.0.2.2/32", "two")}, "alice");
    b_.follow();
    AccessRule here = denied("192.0.2.1/32", "here");
    here.set = kHereSet;
    here.expires_at = 4'000'000'000;
    b_.alone()->put(std::vector{here}, "bob");
    Shell(b_.file()).run("DELETE FROM access_rule WHERE id = 2");
    const auto outcome = b_.push();
    EXPECT_FALSE(outcome.pushed);
    ASSERT_EQ(outcome.plan.conflicts.size(), 2u);
    EXPECT_FALSE(outcome.plan.conflicts[1].here);
    EXPECT_EQ(database_->rules.size(), 2u);

    EXPECT_TRUE(b_.push(Prefer::Fleet).pushed);
    EXPECT_EQ(b_.lines(), a_.lines());
    EXPECT_EQ(database_->state.version, 1);

    Shell(b_.file()).run("DELETE FROM access_rule WHERE id = 2; UPDATE access_rule SET note = 'by hand'");
    EXPECT_TRUE(b_.push(Prefer::Here).pushed);
    a_.follow();
    EXPECT_THAT(a_.lines(), ElementsAre("1 192.0.2.1 by hand"));
    EXPECT_EQ(b_.lines(), a_.lines());
}

TEST_F(FleetSharingTest, ARuleThatHasExpiredIsNoConflict) {
    AccessRule expired = denied("192.0.2.1/32", "before"), here = denied("192.0.2.1/32", "now");
    expired.expires_at = 900;
    a_.rules()->put(std::vector{expired}, "alice");
    here.set = kHereSet;
    here.expires_at = 4'000'000'000;
    b_.alone()->put(std::vector{here}, "bob");
    const auto outcome = b_.push(Prefer::Fleet);
    EXPECT_TRUE(outcome.pushed);
    EXPECT_THAT(outcome.plan.conflicts, IsEmpty());
    a_.follow();
    EXPECT_THAT(a_.lines(), ElementsAre("1 192.0.2.1 now"));
    EXPECT_EQ(b_.lines(), a_.lines());
}

TEST_F(FleetSharingTest, ARuleThatCannotBeReadIsNotGivenToTheFleet) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    Shell(a_.file()).run("UPDATE access_rule SET network = 'garbage'");
    try {
        a_.push(Prefer::Here);
        ADD_FAILURE() << "it is given";
    } catch (const StoreError& error) {
        EXPECT_THAT(error.what(), HasSubstr("--prefer fleet"));
    }
    EXPECT_EQ(database_->rules.at(1).network, "192.0.2.1");
    EXPECT_TRUE(a_.push(Prefer::Fleet).pushed);
    EXPECT_THAT(a_.lines(), ElementsAre("1 192.0.2.1 one"));
}

TEST_F(FleetSharingTest, OfTwoRulesForTheSameTheFleetGetsTheOneThatLasts) {
    AccessRule here = denied("192.0.2.1/32", "for now");
    here.set = kHereSet;
    here.expires_at = 4'000'000'000;
    a_.alone()->put(std::vector{here}, "alice");
    Shell(a_.file()).run(
        "INSERT INTO access_rule(network, verdict, note) VALUES ('192.0.2.1', 'deny', 'for good')");
    EXPECT_TRUE(a_.push().pushed);
    b_.follow();
    ASSERT_EQ(b_.lines().size(), 1u);
    EXPECT_THAT(b_.lines()[0], HasSubstr("for good"));
    EXPECT_EQ(a_.lines(), b_.lines());
}

TEST_F(FleetSharingTest, WhatTheFleetDoesNotHaveAnyMoreIsNoDifference) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one"), denied("192.0.2.2/32", "two")}, "alice");
    b_.follow();
    Shell(b_.file()).run("DELETE FROM access_rule WHERE id = 1");
    EXPECT_EQ(b_.replica()->differences().changed, 1u);
    a_.rules()->remove(std::vector<std::int64_t>{1}, "alice");
    b_.follow();
    EXPECT_EQ(b_.replica()->differences().changed, 0u);
    // The fleet's second rule is one for another network here, and then makes room for a new one there.
    Shell(b_.file()).run("UPDATE access_rule SET network = '192.0.2.9' WHERE id = 2");
    b_.rules()->put(std::vector{denied("192.0.2.2/32", "again")}, "bob");
    EXPECT_EQ(b_.replica()->differences().changed, 0u);
    EXPECT_EQ(b_.replica()->differences().added, 1u);
    EXPECT_TRUE(b_.push().pushed);
    a_.follow();
    EXPECT_THAT(a_.lines(), ElementsAre("3 192.0.2.2 again", "4 192.0.2.9 two"));
    EXPECT_EQ(b_.lines(), a_.lines());
    EXPECT_EQ(b_.replica()->differences().added, 0u);
}

TEST_F(FleetSharingTest, ComparingFindsWhatTheLogOfChangesDoesNotTell) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one"), denied("192.0.2.2/32", "two"),
                                denied("192.0.2.3/32", "three")},
                    "alice");
    a_.rules()->defineSet("feed", {"from the feed", std::nullopt}, "alice");
    FakeFleet fleet(database_);
    EXPECT_TRUE(verifyRules(*a_.replica(), fleet, 1'000).agrees());
    AccessRule own = denied("192.0.2.9/32", "mine");
    own.set = "here";
    b_.alone()->put(std::vector{own}, "alice");
    const Comparison brought_up = verifyRules(*b_.replica(), fleet, 1'000);
    EXPECT_TRUE(brought_up.agrees()) << "it was behind, which is no difference";
    EXPECT_EQ(brought_up.version, database_->state.version);
    EXPECT_EQ(brought_up.same, 3u);
    EXPECT_EQ(brought_up.own, 1u);
    // In the database, and in the file, by somebody who writes nothing down.
    database_->rules.at(1).note = "uno";
    database_->rules.erase(2);
    database_->sets.clear();
    Shell(b_.file()).run("DELETE FROM access_rule WHERE note = 'three'");
    const Comparison found = verifyRules(*b_.replica(), fleet, 1'000);
    EXPECT_FALSE(found.agrees());
    ASSERT_EQ(found.rules.size(), 3u);
    EXPECT_EQ(found.rules[0].here->note, "one");
    EXPECT_EQ(found.rules[0].fleet->note, "uno");
    EXPECT_EQ(found.rules[1].here->note, "two");
    EXPECT_FALSE(found.rules[1].fleet);
    EXPECT_FALSE(found.rules[2].here);
    EXPECT_EQ(found.rules[2].fleet->note, "three");
    ASSERT_EQ(found.sets.size(), 1u);
    EXPECT_EQ(found.sets[0].here->name, "feed");
    EXPECT_EQ(found.same, 0u);
}

TEST_F(FleetSharingTest, WhatOneSideAloneHasAndHasExpiredIsNoDifference) {
    AccessRule expired = denied("192.0.2.1/32");
    expired.expires_at = 900;
    a_.rules()->put(std::vector{expired}, "alice");
    Shell(a_.file()).run(
        "DELETE FROM access_rule;"
        "INSERT INTO access_rule(network, verdict, expires_at) VALUES ('192.0.2.2', 'deny', 900)");
    EXPECT_EQ(a_.replica()->differences().added, 0u) << "pushing would do nothing";
    FakeFleet fleet(database_);
    EXPECT_TRUE(verifyRules(*a_.replica(), fleet, 1'000).agrees());
    EXPECT_EQ(verifyRules(*a_.replica(), fleet, 800).rules.size(), 2u);
}

TEST_F(FleetSharingTest, APreviewHoldsUpNobody) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    Shell(b_.file()).run("INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.2', 'deny')");
    const auto previewed = [&](const auto& work) {
        FakeFleet fleet(database_);
        // Who has the lock would keep this one waiting.
        database_->before_everything = [&] {
            EXPECT_EQ(database_->locks, 0);
            a_.rules()->put(std::vector{denied("192.0.2.3/32", "meanwhile")}, "alice");
            database_->locks = 0;
        };
        database_->locks = 0;
        const auto replica = b_.replica();
        return work(*replica, fleet, JoinRequest{.gateway = "b", .who = "bob", .now = 1'000, .preview = true})
            .plan.uploads.size();
    };
    EXPECT_EQ(previewed(pushToFleet), 1u);
    EXPECT_EQ(previewed(joinFleet), 1u);
    EXPECT_EQ(database_->locks, 0);
}

TEST_F(FleetSharingTest, WhatIsChangedWhileAMembersJoinIsPreviewedIsNoConflict) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    database_->before_everything = [&] {
        a_.rules()->put(std::vector{denied("192.0.2.1/32", "uno")}, "alice");
    };
    FakeFleet fleet(database_);
    const auto plan =
        joinFleet(*b_.replica(), fleet, {.gateway = "b", .who = "bob", .now = 1'000, .preview = true}).plan;
    EXPECT_EQ(plan.same.size(), 1u);
    EXPECT_EQ(plan.conflicts.size() + plan.uploads.size() + plan.downloads.size(), 0u);
}

TEST_F(FleetSharingTest, WhatOthersHaveForgottenIsForgottenByPushing) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    Shell(a_.file()).run("DELETE FROM access_rule WHERE id = 1");
    EXPECT_TRUE(a_.push(Prefer::Here).pushed);
    Shell(a_.file()).run("INSERT INTO fleet_local(rule_id, what) VALUES (1, 'changed')");
    EXPECT_TRUE(a_.push().pushed);
    EXPECT_EQ(a_.replica()->differences().changed, 0u);
}

TEST_F(FleetSharingTest, TheSetHereIsNobodyElses) {
    AccessRule own = denied("192.0.2.1/32", "here");
    own.set = kHereSet;
    EXPECT_THROW(a_.rules()->put(std::vector{own}, "alice"), StoreError);
    EXPECT_THAT(a_.lines(), IsEmpty());
    a_.alone()->put(std::vector{own}, "alice");
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "fleet's")}, "alice");
    b_.follow();
    EXPECT_THAT(b_.lines(), ElementsAre("2 192.0.2.1 fleet's"));
    EXPECT_THAT(a_.lines(), ElementsAre("1 192.0.2.1 here", "2 192.0.2.1 fleet's"));
}

TEST_F(FleetSharingTest, WhatNamesStandForEachGatewayFindsOut) {
    AccessRule name;
    name.name = "host:home.example.org";
    a_.rules()->put(std::vector{name}, "alice");
    const std::int64_t before = database_->state.version;
    database_->gone = true;
    NameState answer;
    answer.networks = {mailgate::network("192.0.2.1/32")};
    answer.asked_at = 1;
    EXPECT_TRUE(a_.rules()->keepName(1, answer));
    EXPECT_EQ(a_.alone()->history({}).back().who, programName("names"));
    EXPECT_EQ(database_->state.version, before);
}

TEST_F(FleetSharingTest, SetsHaveTheSameDefaults) {
    a_.rules()->defineSet("feed", {.note = "a = b", .expires_after = 60}, "alice");
    b_.follow();
    const auto defaults = b_.alone()->setDefaults();
    ASSERT_TRUE(defaults.contains("feed"));
    EXPECT_EQ(defaults.at("feed"), (SetDefaults{"a = b", 60}));
    b_.rules()->undo(b_.alone()->history({}).back().change, "bob");
    a_.follow();
    EXPECT_THAT(a_.alone()->setDefaults(), IsEmpty());
}

TEST_F(FleetSharingTest, SetsOfTheShellsStayWhereTheyAre) {
    a_.rules()->defineSet("feed", {.note = "fleet's", .expires_after = 60}, "alice");
    b_.follow();
    Shell(b_.file()).run(
        "INSERT INTO access_set(name, expires_after) VALUES ('shell', 1);"
        "UPDATE access_set SET expires_after = 1 WHERE name = 'feed'");
    b_.rules()->defineSet("other", {.note = "b's", .expires_after = {}}, "bob");
    a_.follow();
    EXPECT_EQ(a_.alone()->setDefaults().at("feed"), (SetDefaults{"fleet's", 60}));
    EXPECT_TRUE(a_.alone()->setDefaults().contains("other"));
    EXPECT_FALSE(a_.alone()->setDefaults().contains("shell"));
    EXPECT_EQ(database_->sets.size(), 2u);
    a_.rules()->defineSet("feed", {.note = "again", .expires_after = {}}, "alice");
    b_.follow();
    EXPECT_TRUE(b_.alone()->setDefaults().contains("shell"));
    EXPECT_EQ(b_.alone()->setDefaults().at("feed").note, "again");
    // One that no file can have keeps nothing else away.
    a_.rules()->defineSet("feed", {.note = "third", .expires_after = {}}, "alice");
    database_->sets.at(0).expires_after = -5;
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    EXPECT_THAT(b_.follow(), ElementsAre("the defaults of set feed"));
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 one"));
}

TEST_F(FleetSharingTest, AnImportOfManyIsOneChange) {
    std::vector<AccessRule> many;
    for (int number = 0; number < 1'200; ++number)
        many.push_back(
            denied("10.0." + std::to_string(number / 250) + '.' + std::to_string(number % 250) + "/32"));
    a_.rules()->replaceAll(many, std::nullopt, {}, "alice");
    EXPECT_EQ(database_->state.version, 1);
    b_.follow();
    EXPECT_EQ(b_.lines(), a_.lines());
    a_.rules()->replaceAll(store::RuleList(std::span(many).first(1'100)), std::nullopt, {}, "alice");
    b_.follow();
    EXPECT_EQ(b_.lines(), a_.lines());
    EXPECT_EQ(database_->rules.size(), 1'100u);
}

TEST_F(FleetSharingTest, WhoHasNotJoinedIsToldSo) {
    SharingGateway stranger("c", database_);
    try {
        stranger.rules()->put(std::vector{denied("192.0.2.1/32")}, "alice");
        FAIL() << "it was changed";
    } catch (const StoreError& error) {
        EXPECT_THAT(error.what(), HasSubstr("mailgate fleet join"));
    }
    a_.replica()->leave();
    EXPECT_THROW(a_.rules()->put(std::vector{denied("192.0.2.1/32")}, "alice"), StoreError);
    database_->state.fleet = "f2";
    EXPECT_THROW(b_.rules()->put(std::vector{denied("192.0.2.1/32")}, "alice"), StoreError);
}

TEST_F(FleetSharingTest, ADatabaseThatWasRestoredIsNotFollowedBackwards) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    restore({});
    EXPECT_THROW(a_.rules()->put(std::vector{denied("192.0.2.2/32")}, "alice"), StoreError);
    a_.join();
    EXPECT_EQ(database_->rules.size(), 1u);
    b_.join();
    EXPECT_EQ(b_.lines(), a_.lines());
}

TEST_F(FleetSharingTest, AVersionIsNotTakenForAnotherOneOfTheSameNumber) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "before")}, "alice");
    b_.follow();
    const auto backup = backUp();
    b_.rules()->put(std::vector{denied("192.0.2.2/32", "lost")}, "bob");  // version 2, which a has not seen
    restore(backup);
    a_.rules()->put(std::vector{denied("192.0.2.3/32", "instead")}, "alice");
    const auto refuses = [&] {
        try {
            b_.rules()->put(std::vector{denied("192.0.2.9/32")}, "bob");
            return false;
        } catch (const StoreError& error) {
            return std::string(error.what()).find("version 2 of the rules is another one") !=
                   std::string::npos;
        }
    };
    EXPECT_TRUE(refuses());
    a_.rules()->put(std::vector{denied("192.0.2.4/32", "later")}, "alice");
    EXPECT_TRUE(refuses());
    b_.join();
    a_.follow();
    EXPECT_EQ(b_.lines(), a_.lines());
    EXPECT_EQ(a_.lines().size(), 4u);
    EXPECT_FALSE(refuses());
}

TEST_F(FleetSharingTest, AFileThatFollowedBeforeThereWereTokensLearnsTheNext) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice");
    b_.follow();
    Shell(b_.file()).run("UPDATE fleet_state SET token = ''");
    b_.rules()->put(std::vector{denied("192.0.2.2/32", "two")}, "bob");
    EXPECT_EQ(b_.replica()->membership()->token, database_->state.token);
    a_.follow();
    EXPECT_EQ(b_.lines(), a_.lines());
}

TEST_F(FleetSharingTest, WhatTheShellHasMovedStaysWhereItsOldPlaceIsTaken) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "x")}, "alice");
    b_.follow();
    Shell(b_.file()).run(
        "UPDATE access_rule SET network = '192.0.2.2';"
        "INSERT INTO access_rule(network, verdict, note) VALUES ('192.0.2.1', 'deny', 'x')");
    const auto outcome = b_.push();
    EXPECT_TRUE(outcome.pushed);
    EXPECT_EQ(outcome.plan.uploads.size(), 1u);
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 x", "2 192.0.2.2 x"));
    a_.follow();
    EXPECT_EQ(a_.lines(), b_.lines());
    // Each of the two is where another one was.
    Shell(b_.file()).run(
        "UPDATE access_rule SET network = '192.0.2.3', note = 'third' WHERE id = 2;"
        "UPDATE access_rule SET network = '192.0.2.2', note = 'second' WHERE id = 1;"
        "INSERT INTO access_rule(network, verdict, note) VALUES ('192.0.2.1', 'deny', 'first')");
    EXPECT_FALSE(b_.push().pushed);
    EXPECT_EQ(b_.push(Prefer::Here).plan.conflicts.size(), 2u);
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 first", "2 192.0.2.2 second", "3 192.0.2.3 third"));
    a_.follow();
    EXPECT_EQ(a_.lines(), b_.lines());
}

TEST_F(FleetSharingTest, WhatTheShellHasDisplacedWithoutAMarkIsSeenByPushing) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one"), denied("192.0.2.2/32", "two"),
                                denied("192.0.2.3/32", "three")},
                    "alice");
    Shell shell(a_.file());
    shell.run(
        "UPDATE OR REPLACE access_rule SET network = '192.0.2.1' WHERE note = 'two';"
        "UPDATE access_rule SET id = 99, network = '192.0.2.9' WHERE note = 'three'");
    EXPECT_FALSE(a_.push().pushed) << "what is not here any more is for a person to decide";
    EXPECT_TRUE(a_.push(Prefer::Here).pushed);
    b_.follow();
    EXPECT_THAT(b_.lines(), UnorderedElementsAre(HasSubstr("192.0.2.1 two"), HasSubstr("192.0.2.9 three")));
    EXPECT_EQ(a_.lines(), b_.lines());
}

TEST_F(FleetSharingTest, WhatHasExpiredIsNoConflictWhereTheShellHasRemovedIt) {
    AccessRule rule = denied("192.0.2.1/32");
    rule.expires_at = 500;
    a_.rules()->put(std::vector{rule}, "alice");
    Shell(a_.file()).run("DELETE FROM access_rule");
    EXPECT_THAT(a_.push().plan.conflicts, IsEmpty());
}

TEST_F(FleetSharingTest, NothingMakesRoomForARuleThatTheFileCannotHave) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "fleet")}, "alice");
    b_.alone()->put(std::vector{denied("192.0.2.2/32", "own")}, "bob");
    SharedRule& theirs = database_->rules.begin()->second;
    theirs.network = "192.0.2.2";
    theirs.client_sessions = 5;  // of a deny
    EXPECT_THAT(b_.follow(), ElementsAre(HasSubstr("192.0.2.2")));
    EXPECT_THAT(b_.lines(), ElementsAre(HasSubstr("192.0.2.2 own")));
}

TEST_F(FleetSharingTest, OfWhatTheFleetHasAndTheSetHereTheOneThatLastsIsKept) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "x")}, "alice");
    b_.follow();
    Shell(b_.file()).run(
        "UPDATE access_rule SET network = '192.0.2.2';"
        "INSERT INTO access_rule(network, verdict, note, rule_set, expires_at)"
        " VALUES ('192.0.2.2', 'deny', 'in haste', 'here', 4000000000)");
    const auto outcome = b_.push(Prefer::Here);
    ASSERT_EQ(outcome.plan.conflicts.size(), 1u);
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.2 x"));
    // One of another set is in the place of one that both have: both are shown.
    AccessRule other = denied("192.0.2.2/32", "other");
    other.set = "feed";
    a_.follow();
    a_.rules()->put(std::vector{other}, "alice");
    b_.follow();
    Shell(b_.file()).run(
        "UPDATE access_rule SET rule_set = 'here', expires_at = 4000000000 WHERE note = 'other'");
    EXPECT_EQ(b_.push(Prefer::Here).plan.conflicts.size(), 2u);
    a_.follow();
    EXPECT_EQ(a_.lines(), b_.lines());
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.2 other"));
    EXPECT_EQ(b_.replica()->differences().changed, 0u);
}

TEST_F(FleetSharingTest, APushTellsOfWhatTheFleetHasChangedBefore) {
    a_.rules()->put(std::vector{denied("192.0.2.1/32", "one"), denied("192.0.2.2/32", "two"),
                                denied("192.0.2.3/32", "three")},
                    "alice");
    b_.follow();
    Shell(b_.file()).run(
        "UPDATE access_rule SET network = '192.0.2.9' WHERE id = 1;"
        "UPDATE access_rule SET note = 'both' WHERE id = 2;"
        "DELETE FROM access_rule WHERE id = 3;"
        "INSERT INTO access_rule(network, verdict, note) VALUES ('192.0.2.4', 'deny', 'here')");
    a_.rules()->remove(std::vector<std::int64_t>{1, 3}, "alice");
    a_.rules()->put(std::vector{denied("192.0.2.2/32", "both"), denied("192.0.2.4/32", "there")}, "alice");
    const auto overruled = b_.push(Prefer::Here).overruled;
    ASSERT_EQ(overruled.size(), 2u) << "both have removed the third, and made the same of the second";
    EXPECT_EQ(overruled[0].here.value().network, "192.0.2.9");
    EXPECT_FALSE(overruled[0].fleet);
    EXPECT_EQ(overruled[1].here.value().note, "here");
    EXPECT_EQ(overruled[1].fleet.value().note, "there");
    EXPECT_THAT(b_.push(Prefer::Here).overruled, IsEmpty());
}

/// What pushing must leave, whatever the shell did.
class Pushed {
  public:
    using Rules = std::vector<SharedRule>;
    Pushed(Replica& replica, FleetDatabase& database)
        : replica_(replica),
          database_(database),
          here_(replica.everythingHere().rules),
          own_(replica.ownRules()),
          fleet_(rulesThere()) {}

    void check(const PushOutcome& outcome, Prefer prefer) const {
        const Rules here = replica_.everythingHere().rules, fleet = rulesThere();
        if (!outcome.pushed) {
            EXPECT_EQ(prefer, Prefer::Nobody);
            EXPECT_THAT(outcome.plan.conflicts, Not(IsEmpty()));
            EXPECT_TRUE(here == here_ && fleet == fleet_);
            return;
        }
        EXPECT_THAT(here, IsSupersetOf(fleet));
        const auto differences = replica_.differences();
        EXPECT_EQ(differences.changed, 0u);
        EXPECT_EQ(differences.added, 0u) << "what is its own has expired";
        for (const SharedRule& rule : fleet_)
            EXPECT_TRUE(isIn(fleet, rule) ||
                        (prefer == Prefer::Here && isShown(outcome.plan.conflicts, rule)) ||
                        isShown(outcome.plan.renewed, rule))
                << "what goes is shown: " << lineOf(rule);
        std::map<RuleKey, Rules> wanted;
        for (SharedRule rule : here_) {
            const bool own = isIn(own_.added, rule) || rule.set == kHereSet;
            if (own && isOver(rule, kNow)) continue;
            if (rule.set == kHereSet) rule.set = kManualSet;
            wanted[keyOf(rule)].push_back(rule);
        }
        for (const auto& [key, rules] : wanted) {
            const auto found =
                std::find_if(fleet.begin(), fleet.end(),
                             [&, place = key](const SharedRule& rule) { return keyOf(rule) == place; });
            const auto says = [&](const SharedRule& rule) { return saySame(rule, *found); };
            if (prefer == Prefer::Here)
                EXPECT_TRUE(found != fleet.end() && std::any_of(rules.begin(), rules.end(), says))
                    << lineOf(rules[0]);
            else
                EXPECT_TRUE(found != fleet.end() || isShownHere(outcome.plan.conflicts, rules))
                    << lineOf(rules[0]);
        }
        if (prefer != Prefer::Here) return;
        for (const SharedRule& rule : fleet)
            EXPECT_TRUE(wanted.contains(keyOf(rule))) << lineOf(rule);
    }

    static constexpr UnixSeconds kNow = 1'000;

  private:
    Rules rulesThere() const {
        Rules rules;
        for (const auto& [id, rule] : database_.rules)
            rules.push_back(rule);
        return rules;
    }
    static bool isIn(const Rules& rules, const SharedRule& rule) {
        return std::find(rules.begin(), rules.end(), rule) != rules.end();
    }
    static bool isShown(const std::vector<PushPlan::Conflict>& pairs, const SharedRule& rule) {
        return std::any_of(pairs.begin(), pairs.end(), [&](const auto& pair) { return pair.fleet == rule; });
    }
    static bool isShownHere(const std::vector<PushPlan::Conflict>& pairs, const Rules& rules) {
        return std::any_of(pairs.begin(), pairs.end(),
                           [&](const auto& pair) { return pair.here && isIn(rules, *pair.here); });
    }

    Replica& replica_;
    FleetDatabase& database_;
    const Rules here_;
    const OwnRules own_;
    const Rules fleet_;
};

TEST_F(FleetSharingTest, PushingLosesNothingWhateverTheShellDid) {
    std::mt19937 random(20261127);
    const auto one = [&](auto... of) {
        const std::array all{std::string(of)...};
        return all[random() % all.size()];
    };
    const auto network = [&] { return fmt::format("192.0.2.{}", 1 + random() % 5); };
    const auto set = [&] { return one("manual", "feed"); };
    const auto end = [&] { return one("NULL", "NULL", "900", "3000000000", "4000000000"); };
    const auto shell = [&] {
        const auto some = fmt::format("WHERE id = (SELECT id FROM access_rule ORDER BY id LIMIT 1 OFFSET {})",
                                      random() % 4);
        switch (random() % 6) {
            case 0:
                return fmt::format("DELETE FROM access_rule {}", some);
            case 1:
                return fmt::format("UPDATE access_rule SET note = '{}', expires_at = {} {}", one("x", "y"),
                                   end(), some);
            case 2:
                return fmt::format("UPDATE OR IGNORE access_rule SET rule_set = 'here', expires_at = {} {}",
                                   one("900", "3000000000", "4000000000"), some);
            case 3:
                return fmt::format(
                    "INSERT OR IGNORE INTO access_rule(network, verdict, note, rule_set, expires_at)"
                    " VALUES ('{}', 'deny', '{}', '{}', {})",
                    network(), one("x", "y"), one("manual", "feed", "here"), one("900", "4000000000"));
            default:
                return fmt::format("UPDATE OR IGNORE access_rule SET network = '{}', rule_set = '{}' {}",
                                   network(), set(), some);
        }
    };
    FakeFleet fleet(database_);
    const auto elsewhere = a_.rules();
    const auto replica = b_.replica();
    Shell file(b_.file());
    for (int round = 0; round < 200 && !HasFailure(); ++round) {
        SCOPED_TRACE(round);
        if (random() % 3 == 0 && !database_->rules.empty())
            elsewhere->remove(std::vector{database_->rules.begin()->first}, "alice");
        AccessRule rule = denied(network() + "/32", one("x", "y"));
        rule.set = set();
        elsewhere->put(std::vector{rule}, "alice");
        replica->apply(fleet.changesSince(replica->membership()->version));
        for (auto changes = random() % 4; changes > 0; --changes)
            file.run(shell());
        const auto prefer = std::array{Prefer::Nobody, Prefer::Here, Prefer::Fleet}[random() % 3];
        const Pushed pushed(*replica, *database_);
        pushed.check(pushToFleet(*replica, fleet,
                                 {.gateway = "b", .who = "bob", .now = Pushed::kNow, .prefer = prefer}),
                     prefer);
    }
}

// ---- joining

class FleetJoin : public testing::Test {
  protected:
    FleetJoin() {
        a_.alone()->put(std::vector{denied("192.0.2.1/32", "same"), denied("192.0.2.2/32", "a's"),
                                    denied("192.0.2.3/32", "a's alone")},
                        "alice");
        a_.join();
        b_.alone()->put(std::vector{denied("192.0.2.4/32", "b's alone"), denied("192.0.2.2/32", "b's"),
                                    denied("192.0.2.1/32", "same")},
                        "bob");
    }

    std::shared_ptr<FleetDatabase> database_ = std::make_shared<FleetDatabase>();
    SharingGateway a_{"a", database_}, b_{"b", database_};
};

TEST_F(FleetJoin, NothingIsDoneWhileThereIsAConflict) {
    const auto before = b_.lines();
    const auto outcome = b_.join();
    EXPECT_FALSE(outcome.joined);
    ASSERT_EQ(outcome.plan.conflicts.size(), 1u);
    EXPECT_EQ(lineOf(outcome.plan.conflicts[0].here), "deny 192.0.2.2 b's");
    EXPECT_EQ(lineOf(outcome.plan.conflicts[0].fleet), "deny 192.0.2.2 a's");
    EXPECT_EQ(b_.lines(), before);
    EXPECT_EQ(database_->rules.size(), 3u);
}

TEST_F(FleetJoin, TheFleetsWordMayCount) {
    EXPECT_TRUE(b_.join(Prefer::Fleet).joined);
    a_.follow();
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 same", "2 192.0.2.2 a's", "3 192.0.2.3 a's alone",
                                        "4 192.0.2.4 b's alone"));
    EXPECT_EQ(a_.lines(), b_.lines());
}

TEST_F(FleetJoin, OrTheGateways) {
    EXPECT_TRUE(b_.join(Prefer::Here).joined);
    a_.follow();
    EXPECT_THAT(b_.lines(), ElementsAre("1 192.0.2.1 same", "2 192.0.2.2 b's", "3 192.0.2.3 a's alone",
                                        "4 192.0.2.4 b's alone"));
    EXPECT_EQ(a_.lines(), b_.lines());
    EXPECT_EQ(a_.alone()->history({}).back().who, "alice@b");
    EXPECT_NO_THROW(b_.alone()->checkTrail());
}

TEST_F(FleetJoin, NumbersThatNoCommandGivesAreLeftBehind) {
    Shell(b_.file()).run(
        "INSERT INTO access_rule(id, network, verdict, note) VALUES (9007199254740993, '192.0.2.5', 'deny', "
        "'big'), (-1, '192.0.2.6', 'deny', 'less'), (0, '192.0.2.7', 'deny', 'zero')");
    EXPECT_TRUE(b_.join(Prefer::Fleet).joined);
    b_.rules()->put(std::vector{denied("192.0.2.8/32", "next")}, "bob");
    EXPECT_EQ(database_->state.next_id, 9);
    a_.follow();
    EXPECT_EQ(a_.lines(), b_.lines());
}

TEST_F(FleetJoin, ARuleThatTheDatabaseCannotHaveIsNamed) {
    Shell(b_.file()).run("UPDATE access_rule SET note = CAST(x'FF41' AS TEXT) WHERE network = '192.0.2.2'");
    try {
        b_.join(Prefer::Here);
        ADD_FAILURE() << "it is taken";
    } catch (const StoreError& error) {
        EXPECT_THAT(error.what(), HasSubstr("for \"192.0.2.2\" has a note"));
    }
    EXPECT_TRUE(b_.join(Prefer::Fleet).joined);
}

TEST_F(FleetJoin, ARuleThatHasExpiredMakesRoomForOneThatHasNot) {
    AccessRule over = denied("192.0.2.7/32", "before");
    over.expires_at = 900;
    const AccessRule live = denied("192.0.2.7/32", "now");
    AccessRule lapsed = denied("192.0.2.8/32", "before"), lasting = denied("192.0.2.8/32", "now");
    lapsed.expires_at = 900;
    a_.rules()->put(std::vector{over, lasting}, "alice");
    SharingGateway c{"c", database_};
    c.alone()->put(std::vector{lapsed, live}, "carol");
    const auto outcome = c.join();
    ASSERT_TRUE(outcome.joined) << "no conflict";
    ASSERT_EQ(outcome.plan.renewed.size(), 1u);
    ASSERT_EQ(outcome.plan.outlived.size(), 1u);
    a_.follow();
    EXPECT_THAT(c.lines(), IsSupersetOf({HasSubstr("192.0.2.7 now"), HasSubstr("192.0.2.8 now")}));
    EXPECT_EQ(a_.lines(), c.lines());
    EXPECT_NO_THROW(c.alone()->checkTrail());
}

TEST_F(FleetJoin, WhatHasComeFromTheFleetCannotBeTakenBack) {
    b_.join(Prefer::Fleet);
    const auto last = b_.alone()->history({}).back().change;
    EXPECT_EQ(b_.rules()->undo(last, "bob").kind, RuleStore::UndoResult::Kind::Unreadable);
    EXPECT_EQ(database_->rules.size(), 4u);
}

TEST_F(FleetJoin, ItsOwnRulesStayItsOwn) {
    AccessRule own = denied("192.0.2.9/32", "here");
    own.set = kHereSet;
    b_.alone()->put(std::vector{own}, "bob");
    b_.join(Prefer::Fleet);
    EXPECT_EQ(b_.replica()->differences().added, 1u);
    EXPECT_EQ(database_->rules.size(), 4u);
    a_.rules()->put(std::vector{denied("192.0.2.5/32", "new")}, "alice");
    b_.follow();
    EXPECT_THAT(b_.lines(), testing::Contains(HasSubstr("192.0.2.9 here")));
    EXPECT_THAT(b_.lines(), testing::Contains(HasSubstr("192.0.2.5 new")));
}

TEST(RequireReadable, NamesTheRuleThatTheDatabaseCannotHave) {
    SharedRule rule;
    rule.id = 7;
    rule.network = "192.0.2.7";
    rule.verdict = "deny";
    for (const std::string& note : {std::string("a\xFF"), std::string("a\0b", 3)}) {
        rule.note = note;
        try {
            requireReadable({rule}, {.joining = true});
            ADD_FAILURE() << "it is taken";
        } catch (const StoreError& error) {
            EXPECT_THAT(error.what(), HasSubstr("rule 7 for \"192.0.2.7\" has a note"));
            EXPECT_THAT(error.what(), Not(HasSubstr("--prefer"))) << "which would say the same again";
            EXPECT_THAT(error.what(), HasSubstr("DELETE FROM access_rule WHERE id = 7"));
        }
    }
    rule.note = "Tr\xC3\xA4ume";
    EXPECT_NO_THROW(requireReadable({rule}, {}));
}

TEST(WholeChange, LeavesWhatTheGatewayHasForItself) {
    const auto rule = [](std::int64_t id, const std::string& network, const std::string& note = "") {
        SharedRule made;
        made.id = id;
        made.network = network;
        made.verdict = "deny";
        made.set = "manual";
        made.note = note;
        return made;
    };
    SharedChanges here, fleet{.version = 9, .next_id = 20};
    here.rules = {rule(1, "192.0.2.1"),          rule(2, "192.0.2.2"),
                  rule(3, "192.0.2.3"),          rule(4, "192.0.2.4", "shell"),
                  rule(5, "192.0.2.5", "shell"), rule(12, "192.0.2.12", "own")};
    here.sets = std::vector{SharedSet{"a", "here"}, SharedSet{"mine", ""}};
    OwnRules own;
    own.added = {here.rules.back()};
    own.changed = {{4, here.rules[3]}, {5, here.rules[4]}, {6, std::nullopt}};
    fleet.rules = {rule(1, "192.0.2.1"), rule(2, "192.0.2.2", "new"), rule(4, "192.0.2.4"),
                   rule(6, "192.0.2.6"), rule(12, "192.0.2.99")};
    fleet.sets = std::vector{SharedSet{"a", "fleet"}};
    const SharedChanges change = wholeChange(here, own, fleet, 5);
    std::vector<std::string> told;
    for (const SharedEntry& entry : change.entries)
        told.push_back(entry.action + " " + std::to_string(entry.rule_id));
    EXPECT_THAT(told, ElementsAre("change 2", "change 4", "add 6", "add 12", "remove 3", "remove 5",
                                  "change 0", "remove 0"))
        << "whether the fleet has changed what the shell has nobody knows: it is the fleet's that counts";
    EXPECT_TRUE(change.sums_up);
    EXPECT_EQ(change.version, 9);
}

TEST_F(FleetJoin, WhoHasLeftKeepsItsRulesAndMayComeBack) {
    b_.join(Prefer::Fleet);
    const auto before = b_.lines();
    b_.replica()->leave();
    EXPECT_EQ(b_.lines(), before);
    b_.alone()->put(std::vector{denied("192.0.2.7/32", "meanwhile")}, "bob");
    EXPECT_TRUE(b_.join().joined);
    a_.follow();
    EXPECT_EQ(a_.lines(), b_.lines());
}

}  // namespace
}  // namespace mailgate::store
