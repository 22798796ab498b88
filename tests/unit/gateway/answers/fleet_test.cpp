// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/fleet.h"

#include <gtest/gtest.h>

namespace mailgate::answers {
namespace {

FleetView viewOf(bool answered) {
    FleetView view;
    view.shown = "postgresql://mailgate@db.example.net/mailgate";
    view.self = "mx-1";
    view.answered = answered;
    if (!answered) return view;
    view.fleet = {.fleet = "f", .version = 7};
    view.here = store::Membership{.fleet = "f", .version = 6};
    view.members = {
        {.name = "mx-1\n",
         .release = "0.1.0",
         .started = 1,
         .position = 6,
         .seen = 2,
         .silent_secs = 19,
         .behind_secs = 3},
        {.name = "mx-2", .release = "0.1.0", .started = 1, .position = 9, .seen = 2, .silent_secs = 20}};
    view.members[1].missed = {.records = 7, .exact = false, .to_ms = 1'000};
    view.differences = store::Differences{.added = 1, .changed = 2};
    return view;
}

TEST(Fleet, IsToldWithWhoIsBehindAndWhoIsSilent) {
    const FleetView view = viewOf(true);
    const auto told = fleetAsJson(view);
    EXPECT_EQ(told.getValue<int>("rules_version"), 7);
    const auto here = told.getObject("here");
    EXPECT_TRUE(here->getValue<bool>("joined"));
    EXPECT_EQ(here->getValue<int>("rules_added_here"), 1);
    const auto members = told.getArray("members");
    ASSERT_EQ(members->size(), 2U);
    EXPECT_EQ(members->getObject(0)->getValue<std::string>("gateway"), "mx-1\\u000a");
    EXPECT_EQ(members->getObject(0)->getValue<int>("behind"), 1);
    EXPECT_EQ(members->getObject(1)->getValue<int>("behind"), 0);
    EXPECT_EQ(members->getObject(0)->getValue<int>("behind_seconds"), 3);
    EXPECT_EQ(members->getObject(0)->getValue<std::string>("state"), "behind");
    EXPECT_EQ(members->getObject(1)->getValue<std::string>("state"), "ahead") << "which is worse than silent";
    EXPECT_TRUE(members->getObject(0)->isNull("missing"));
    const auto missing = members->getObject(1)->getObject("missing");
    EXPECT_EQ(missing->getValue<int>("records"), 7);
    EXPECT_FALSE(missing->getValue<bool>("exact"));
    EXPECT_TRUE(missing->isNull("from"));
    EXPECT_EQ(missing->getValue<std::string>("to"), "1970-01-01T00:00:01Z");
    EXPECT_FALSE(isSilent(view.members[0]));
    EXPECT_TRUE(isSilent(view.members[1]));
}

TEST(Fleet, TellsOfWhatNoGatewayWrites) {
    FleetView view = viewOf(true);
    view.members = {{.name = "mx-3", .release = "0.1.0", .damaged = true}};
    view.more_members = true;
    const auto told = fleetAsJson(view);
    const auto member = told.getArray("members")->getObject(0);
    for (const char* key : {"started", "seen"})
        EXPECT_TRUE(member->isNull(key)) << key;
    EXPECT_TRUE(member->getValue<bool>("damaged"));
    EXPECT_TRUE(told.getValue<bool>("more_members"));
    EXPECT_FALSE(fleetAsJson(viewOf(true)).getArray("members")->getObject(0)->getValue<bool>("damaged"));
}

TEST(Fleet, TellsWhatIsDrainedAtAllGateways) {
    FleetView view = viewOf(true);
    view.drains = {{"mx", "mx1\x1B", 60, "alice@mx-2"}};
    const auto drain = fleetAsJson(view).getArray("drains")->getObject(0);
    EXPECT_EQ(drain->getValue<std::string>("server"), "mx1\\u001b");
    EXPECT_EQ(drain->getValue<std::string>("since"), "1970-01-01T00:01:00Z");
    EXPECT_EQ(drain->getValue<std::string>("by"), "alice@mx-2");
    EXPECT_TRUE(fleetAsJson(viewOf(false)).isNull("drains")) << "only the database knows";
}

TEST(Fleet, IsWellWhereAllHaveItsRules) {
    FleetView view = viewOf(true);
    view.members = {view.members[0]};
    view.differences->changed = 0;
    EXPECT_TRUE(isWell(view)) << "being behind for a moment is no illness";
    view.members[0].silent_secs = 20;
    EXPECT_FALSE(isWell(view));
    EXPECT_EQ(stateOf(view, view.members[0]), "silent");
    view.members[0] = {.name = "mx-1", .position = 7};
    EXPECT_EQ(stateOf(view, view.members[0]), "up");
    EXPECT_TRUE(isWell(view));
    view.members[0].damaged = true;
    EXPECT_EQ(stateOf(view, view.members[0]), "damaged");
    EXPECT_FALSE(isWell(view));
    view.members[0].damaged = false;
    view.members[0].journal_secs = kJournalLateFrom - 1;
    EXPECT_TRUE(isWell(view));
    view.members[0].journal_secs = kJournalLateFrom;
    EXPECT_FALSE(isWell(view));
    view.members[0].journal_secs.reset();
    view.failure = "it has left";
    view.here.reset();
    EXPECT_FALSE(isWell(view));
    EXPECT_FALSE(isWell(viewOf(false)));
}

TEST(Fleet, HasNullForWhatNobodyHasSaid) {
    const auto told = fleetAsJson(viewOf(false));
    for (const char* key : {"fleet", "rules_version", "members"})
        EXPECT_TRUE(told.isNull(key)) << key;
    for (const char* key : {"joined", "rules_version", "failure", "rules_added_here", "rules_changed_here"})
        EXPECT_TRUE(told.getObject("here")->isNull(key)) << key;
    EXPECT_EQ(told.getObject("here")->getValue<std::string>("gateway"), "mx-1");
}

store::SharedRule sharedRule(const std::string& network, const std::string& note) {
    store::SharedRule rule;
    rule.network = network;
    rule.verdict = "deny";
    rule.note = note;
    rule.expires_at = 86'400;
    return rule;
}

TEST(Fleet, TellsWhatJoiningWouldMoveAndWhatIsInTheWay) {
    store::JoinOutcome outcome;
    outcome.plan.uploads = {sharedRule("host:mx.example.org", "")};
    outcome.plan.renewed = {{sharedRule("192.0.2.2", "new"), sharedRule("192.0.2.2/32", "expired")}};
    outcome.plan.outlived = {{sharedRule("192.0.2.3/32", "expired"), sharedRule("192.0.2.3/32", "new")}};
    outcome.plan.conflicts = {{sharedRule("192.0.2.4/32", "ours"), sharedRule("192.0.2.4/32", "theirs\x1b")}};
    outcome.plan.set_uploads = {{.name = "feed", .note = "", .expires_after = 60}};
    const auto told = joinAsJson(outcome, {.gateway = "mx-1", .preview = true});
    EXPECT_TRUE(told.getValue<bool>("dry_run"));
    EXPECT_TRUE(told.isNull("prefer"));
    ASSERT_EQ(told.getArray("to_fleet")->size(), 2U);
    const auto named = told.getArray("to_fleet")->getObject(0);
    EXPECT_TRUE(named->isNull("network"));
    EXPECT_EQ(named->getValue<std::string>("name"), "host:mx.example.org");
    EXPECT_EQ(named->getValue<std::string>("expires_at"), "1970-01-02T00:00:00Z");
    EXPECT_EQ(told.getArray("to_fleet")->getObject(1)->getValue<std::string>("note"), "new");
    EXPECT_EQ(told.getArray("to_fleet")->getObject(1)->getValue<std::string>("network"), "192.0.2.2/32");
    EXPECT_EQ(told.getArray("from_fleet")->getObject(0)->getValue<std::string>("note"), "new");
    const auto conflict = told.getArray("conflicts")->getObject(0);
    EXPECT_EQ(conflict->getObject("here")->getValue<std::string>("note"), "ours");
    EXPECT_EQ(conflict->getObject("fleet")->getValue<std::string>("note"), "theirs\\u001b");
    EXPECT_EQ(told.getArray("sets_to_fleet")->getObject(0)->getValue<int>("expires_after_seconds"), 60);
}

TEST(Fleet, TellsOfPushingARuleThatWasRemovedHere) {
    store::PushOutcome outcome;
    outcome.pushed = true;
    outcome.plan.conflicts = {{std::nullopt, sharedRule("192.0.2.4/32", "theirs")}};
    outcome.overruled = {{sharedRule("192.0.2.5/32", "ours"), std::nullopt}};
    const auto told = pushAsJson(outcome, {.gateway = "mx-1", .prefer = store::Prefer::Here});
    EXPECT_TRUE(told.getArray("overruled")->getObject(0)->isNull("fleet"));
    EXPECT_TRUE(told.getValue<bool>("pushed"));
    EXPECT_EQ(told.getValue<std::string>("prefer"), "here");
    EXPECT_TRUE(told.getArray("conflicts")->getObject(0)->isNull("here"));
}

}  // namespace
}  // namespace mailgate::answers
