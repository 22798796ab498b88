// SPDX-License-Identifier: Apache-2.0
#include "protocols/values/lean_vector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mailgate {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(LeanVector, TakesOnePointer) {
    EXPECT_EQ(sizeof(LeanVector<std::string>), sizeof(void*));
}

TEST(LeanVector, ReadsLikeAnEmptyOneBeforeItHoldsAnything) {
    LeanVector<std::string> names;
    EXPECT_THAT(names, IsEmpty());
    EXPECT_EQ(names.size(), 0U);
    EXPECT_EQ(names.begin(), names.end());
    EXPECT_EQ(names, std::vector<std::string>{});
    EXPECT_THAT(names.take(), IsEmpty());
}

TEST(LeanVector, HoldsWhatItsOwnerPutsThere) {
    LeanVector<std::string> names;
    names.own().push_back("alice");
    names.own().push_back("bob");
    EXPECT_THAT(names, ElementsAre("alice", "bob"));
    EXPECT_EQ(names.front(), "alice");
    EXPECT_EQ(names.back(), "bob");
    EXPECT_EQ(names[1], "bob");
    EXPECT_EQ(names.size(), 2U);
    EXPECT_FALSE(names.empty());
}

TEST(LeanVector, CopiesHaveTheirOwn) {
    LeanVector<std::string> names{"alice"};
    LeanVector<std::string> copy(names);
    copy.own().push_back("bob");
    EXPECT_THAT(names, ElementsAre("alice"));
    names = copy;
    EXPECT_THAT(names, ElementsAre("alice", "bob"));
}

TEST(LeanVector, GivesAllAwayAndMayBeUsedAgain) {
    LeanVector<std::string> names{"alice"};
    EXPECT_THAT(names.take(), ElementsAre("alice"));
    EXPECT_THAT(names, IsEmpty());
    names.own().push_back("bob");
    EXPECT_THAT(names, ElementsAre("bob"));
}

}  // namespace
}  // namespace mailgate
