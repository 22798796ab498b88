// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/admin_states.h"

#include "gateway/base/clock.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace mailgate {
namespace {

class AdminStates : public testing::Test {
  protected:
    const TemporaryFolder folder_;
    const std::string file_ = adminStateFile("sqlite:" + folder_.file("mailgate.db"));
};

TEST_F(AdminStates, AreReadAsTheyWereWritten) {
    EXPECT_EQ(file_, folder_.file("mailgate.db-servers"));
    EXPECT_EQ(readDrained(file_), DrainedServers());
    const DrainedServers drained{{{"mx", "mx1"}, {1'795'000'000, "alice (console)"}},
                                 {{"submission", "mx1"}, {1'795'000'060, ""}}};
    writeDrained(file_, drained);
    EXPECT_EQ(readDrained(file_), drained);
    writeDrained(file_, {});
    EXPECT_EQ(readDrained(file_), DrainedServers());
    EXPECT_FALSE(std::filesystem::exists(file_ + ".new"));
}

TEST_F(AdminStates, ThoseOfAnEarlierVersionWereDrainedWhenTheyWereWritten) {
    std::ofstream(file_) << "# mailgate: drained servers\n# since yesterday\ndrain mx/mx1\n"
                            "# since 2026-11-20T12:00:00Z by alice\ndrain mx/mx2\ndrain mx/mx3\n";
    const DrainedServers drained = readDrained(file_);
    const std::int64_t written = drained.at({"mx", "mx1"}).since;
    EXPECT_NEAR(static_cast<double>(written), static_cast<double>(unixMillis() / 1'000), 60);
    EXPECT_EQ(inWords(drained.at({"mx", "mx2"})), " since 2026-11-20T12:00:00Z by alice");
    EXPECT_EQ(drained.at({"mx", "mx3"}), (DrainOrder{written, ""})) << "not the one before";
}

TEST_F(AdminStates, ANameKeepsToItsLine) {
    writeDrained(file_, {{{"mx", "mx1"}, {1'795'000'000, "a\ndrain mx/mx2"}}});
    EXPECT_EQ(readDrained(file_), (DrainedServers{{{"mx", "mx1"}, {1'795'000'000, "a?drain mx/mx2"}}}));
    EXPECT_EQ(inWords({}), "");
}

TEST_F(AdminStates, WhatTheConfigurationHasNoMoreIsForgotten) {
    Config config;
    config.upstreams.emplace_back().name = "mx";
    config.upstreams[0].servers.emplace_back().name = "mx1";
    DrainedServers drained{{{"mx", "mx1"}, {}}, {{"mx", "mx2"}, {}}, {{"submission", "mx1"}, {}}};
    forgetUnknown(drained, config);
    EXPECT_EQ(drained, (DrainedServers{{{"mx", "mx1"}, {}}}));
}

TEST_F(AdminStates, WhatCannotBeReadOrWrittenSaysWhy) {
    std::ofstream(file_) << "drain mx1\n";
    EXPECT_THROW(readDrained(file_), std::runtime_error);
    std::filesystem::remove(file_);
    std::filesystem::create_directory(file_);
    try {
        writeDrained(file_, {{{"mx", "mx1"}, {}}});
        ADD_FAILURE() << "a folder was replaced";
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("cannot be replaced: Is a directory"));
    }
}

}  // namespace
}  // namespace mailgate
