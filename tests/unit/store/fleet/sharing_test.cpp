// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/sharing.h"

#include "store/backends/fleet.h"
#include "store/backends/rules.h"
#include "store/fleet/join.h"
#include "tests/support/fake_fleet.h"
#include "tests/unit/store/support.h"

#include <gmock/gmock.h>

namespace mailgate::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

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

    std::unique_ptr<RuleStore> rules() {
        return openRules(
            url_, {.sharing = std::make_shared<FleetSharing>(std::make_unique<FakeFleet>(database_), name_)});
    }
    std::unique_ptr<RuleStore> alone() { return openRules(url_); }
    std::unique_ptr<Replica> replica() { return openReplica(url_, {}); }
    JoinOutcome join(Prefer prefer = Prefer::Nobody) {
        FakeFleet fleet(database_);
        const auto here = replica();
        return joinFleet(*here, fleet, {.gateway = name_, .who = "alice", .now = 1'000, .prefer = prefer});
    }
    /// As the follower does it.
    void follow() {
        FakeFleet fleet(database_);
        const auto here = replica();
        here->apply(fleet.changesSince(here->membership()->version));
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
    const TemporaryFolder folder_;
    const std::string url_;
};

class FleetSharingTest : public testing::Test {
  protected:
    FleetSharingTest() {
        a_.join();
        b_.join();
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
    EXPECT_THROW(a_.rules()->put(std::vector{denied("192.0.2.1/32", "one")}, "alice"), StoreError);
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

TEST_F(FleetSharingTest, AnImportOfManyIsOneChange) {
    std::vector<AccessRule> many;
    for (int number = 0; number < 1'200; ++number)
        many.push_back(
            denied("10.0." + std::to_string(number / 250) + '.' + std::to_string(number % 250) + "/32"));
    a_.rules()->replaceAll(many, std::nullopt, {}, "alice");
    EXPECT_EQ(database_->state.version, 1);
    b_.follow();
    EXPECT_EQ(b_.lines(), a_.lines());
    a_.rules()->replaceAll(std::span(many).first(1'100), std::nullopt, {}, "alice");
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
    database_->state.version = 0;
    database_->rules.clear();
    database_->log.clear();
    EXPECT_THROW(a_.rules()->put(std::vector{denied("192.0.2.2/32")}, "alice"), StoreError);
    a_.join();
    EXPECT_EQ(database_->rules.size(), 1u);
    b_.join();
    EXPECT_EQ(b_.lines(), a_.lines());
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
