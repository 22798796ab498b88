// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/admin_states.h"

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
    const DrainedServers drained{{"mx", "mx1"}, {"submission", "mx1"}};
    writeDrained(file_, drained);
    EXPECT_EQ(readDrained(file_), drained);
    writeDrained(file_, {});
    EXPECT_EQ(readDrained(file_), DrainedServers());
    EXPECT_FALSE(std::filesystem::exists(file_ + ".new"));
}

TEST_F(AdminStates, WhatTheConfigurationHasNoMoreIsForgotten) {
    Config config;
    config.upstreams.emplace_back().name = "mx";
    config.upstreams[0].servers.emplace_back().name = "mx1";
    DrainedServers drained{{"mx", "mx1"}, {"mx", "mx2"}, {"submission", "mx1"}};
    forgetUnknown(drained, config);
    EXPECT_EQ(drained, (DrainedServers{{"mx", "mx1"}}));
}

TEST_F(AdminStates, WhatCannotBeReadOrWrittenSaysWhy) {
    std::ofstream(file_) << "drain mx1\n";
    EXPECT_THROW(readDrained(file_), std::runtime_error);
    std::filesystem::remove(file_);
    std::filesystem::create_directory(file_);
    try {
        writeDrained(file_, {{"mx", "mx1"}});
        ADD_FAILURE() << "a folder was replaced";
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("cannot be replaced: Is a directory"));
    }
}

}  // namespace
}  // namespace mailgate
