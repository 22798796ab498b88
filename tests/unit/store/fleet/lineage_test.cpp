// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/lineage.h"

#include "store/store_error.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace mailgate::store {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Lineage, IsKept) {
    const TemporaryFolder folder;
    Lineage lineage(folder.file("rules.db-fleet"));
    EXPECT_THAT(lineage.processes(), IsEmpty());
    for (const char* const process : {"a", "b", "b", "c"})
        lineage.add(process);
    EXPECT_THAT(Lineage(folder.file("rules.db-fleet")).processes(), ElementsAre("a", "b", "c"));
    std::ofstream file(folder.file("rules.db-fleet"));
    for (int number = 0; number < 300; ++number)
        file << number << '\n';
    file.close();
    lineage.add("d");
    EXPECT_EQ(lineage.processes().size(), 200u);
    EXPECT_EQ(lineage.processes().back(), "d");
    EXPECT_THROW(Lineage(folder.file("none/rules.db-fleet")).add("a"), StoreError);
}

TEST(Lineage, AProcessInheritsFromThoseBeforeIt) {
    EXPECT_EQ(claimOf({"b", "a"}, "b", {"a", "b"}), Claim::Held);
    EXPECT_EQ(claimOf({"b", "a"}, "c", {"a", "b"}), Claim::Inherited);
    // The database came back from a backup, or the answer to an earlier claim was lost.
    EXPECT_EQ(claimOf({"b", "a"}, "e", {"a", "b", "c", "d"}), Claim::Inherited);
    EXPECT_EQ(claimOf({"a", ""}, "c", {"a", "b", "c"}), Claim::Inherited);
}

TEST(Lineage, AnotherGatewayOfTheNameHasNoPartInIt) {
    EXPECT_EQ(claimOf({"x", ""}, "a", {}), Claim::None);
    EXPECT_EQ(claimOf({"x", "w"}, "b", {"a"}), Claim::None);
    // Its files are from a backup: the fleet has heard of a later process.
    EXPECT_EQ(claimOf({"d", "c"}, "e", {"a", "b"}), Claim::None);
}

TEST(Lineage, ACopyGivesWayToTheOriginalThatLives) {
    // "b" has the files of "a" up to then, and has come in its place, while "a" goes on.
    EXPECT_EQ(claimOf({"b", "a", 0, {"a", "b"}}, "a", {"a"}), Claim::TakenBack);
    // And where the copy was started again meanwhile.
    EXPECT_EQ(claimOf({"d", "c", 0, {"a", "b", "c", "d"}}, "a", {"a"}), Claim::TakenBack);
    // Whoever is started with the files of "a" now may be another copy.
    EXPECT_EQ(claimOf({"d", "c", 0, {"a", "b", "c", "d"}}, "a2", {"a"}), Claim::None);
    // Now "a" writes again: the copy, and what is started of it later, does not take it a second time.
    EXPECT_EQ(claimOf({"a", "b"}, "b", {"a", "b"}), Claim::None);
    EXPECT_EQ(claimOf({"a", "b"}, "c", {"a", "b"}), Claim::None);
    EXPECT_EQ(claimOf({"a", "d"}, "e", {"a", "b", "c", "d"}), Claim::None);
    EXPECT_EQ(claimOf({"a2", "a", 0, {"a", "a2"}}, "b", {"a", "b"}), Claim::None);
    EXPECT_EQ(claimOf({"a2", "a", 0, {"a", "a2"}}, "c", {"a", "b"}), Claim::None);
    // But the next process of the original does.
    EXPECT_EQ(claimOf({"a", "b"}, "a2", {"a"}), Claim::Inherited);
    // A later process of the same gateway is no copy.
    EXPECT_EQ(claimOf({"b", "a", 0, {"a", "b"}}, "a", {"a", "b"}), Claim::Retired);
    EXPECT_EQ(claimOf({"c", "b", 0, {"a", "b", "c"}}, "a", {"a", "b", "c"}), Claim::Retired);
}

}  // namespace
}  // namespace mailgate::store
