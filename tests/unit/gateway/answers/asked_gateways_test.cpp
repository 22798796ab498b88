// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/asked_gateways.h"

#include <gtest/gtest.h>

namespace mailgate::answers {
namespace {

using Gateways = std::vector<store::ShippedJournal>;

TEST(AskedGateways, AreNamedWithWhoIsLate) {
    EXPECT_EQ(askedText({{.gateway = "mx-1", .age_secs = 59}, {.gateway = "mx-2\n", .age_secs = 0}}),
              "asked the fleet's database: mx-1, mx-2\\x0A");
    EXPECT_EQ(
        askedText({{.gateway = "a", .age_secs = 119},
                   {.gateway = "b", .age_secs = 7'200},
                   {.gateway = "c", .age_secs = 200'000},
                   {.gateway = "d"}}),
        "asked the fleet's database: a, b, c, d; a's newest is 1 minute old; b's newest is 2 hours old; "
        "c's newest is 2 days old; not all of d's has come yet");
    EXPECT_EQ(askedText(Gateways(13, {.gateway = "a", .age_secs = 0})),
              "asked the fleet's database: 13 gateways");
}

TEST(AskedGateways, TellWhatIsMissingOfATime) {
    Gateways gateways{{.gateway = "mx-1",
                       .age_secs = 0,
                       .missed = {{.records = 1, .from_ms = 1'000, .to_ms = 2'000},
                                  {.records = 7, .exact = false, .from_ms = 5'000, .to_ms = 9'000}}},
                      {.gateway = "\"", .age_secs = 3}};
    EXPECT_EQ(askedText(gateways),
              "asked the fleet's database: mx-1, \"; up to 8 records of mx-1 from 1970-01-01T00:00:01Z to "
              "1970-01-01T00:00:09Z are missing");
    EXPECT_EQ(askedAsJson(gateways),
              R"([{"gateway":"mx-1","age_seconds":0,"missing":{"records":8,"exact":false,)"
              R"("from":"1970-01-01T00:00:01Z","to":"1970-01-01T00:00:09Z"}},)"
              R"({"gateway":"\"","age_seconds":3,"missing":null}])");
    keepMissedOf(gateways, {}, 4'000);
    EXPECT_EQ(askedText(gateways),
              "asked the fleet's database: mx-1, \"; 1 record of mx-1 from 1970-01-01T00:00:01Z to "
              "1970-01-01T00:00:02Z is missing");
    keepMissedOf(gateways, 3'000, {});
    EXPECT_EQ(askedText(gateways), "asked the fleet's database: mx-1, \"");
}

}  // namespace
}  // namespace mailgate::answers
