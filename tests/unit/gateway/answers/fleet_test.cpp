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
        {.name = "mx-1\n", .release = "0.1.0", .started = 1, .position = 6, .seen = 2, .silent_secs = 19},
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
    EXPECT_TRUE(members->getObject(0)->isNull("missing"));
    const auto missing = members->getObject(1)->getObject("missing");
    EXPECT_EQ(missing->getValue<int>("records"), 7);
    EXPECT_FALSE(missing->getValue<bool>("exact"));
    EXPECT_TRUE(missing->isNull("from"));
    EXPECT_EQ(missing->getValue<std::string>("to"), "1970-01-01T00:00:01Z");
    EXPECT_FALSE(isSilent(view.members[0]));
    EXPECT_TRUE(isSilent(view.members[1]));
}

TEST(Fleet, HasNullForWhatNobodyHasSaid) {
    const auto told = fleetAsJson(viewOf(false));
    for (const char* key : {"fleet", "rules_version", "members"})
        EXPECT_TRUE(told.isNull(key)) << key;
    for (const char* key : {"joined", "rules_version", "failure", "rules_added_here", "rules_changed_here"})
        EXPECT_TRUE(told.getObject("here")->isNull(key)) << key;
    EXPECT_EQ(told.getObject("here")->getValue<std::string>("gateway"), "mx-1");
}

}  // namespace
}  // namespace mailgate::answers
