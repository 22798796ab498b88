// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/progress_line.h"

#include <gtest/gtest.h>

namespace mailgate::cli {
namespace {

using Step = store::Progress::Step;

TEST(ProgressLine, SaysHowManyHowFastAndHowLong) {
    EXPECT_EQ(progressText(Step::Read, 0, 999, 0), "reading lines: 0 of 999");
    EXPECT_EQ(progressText(Step::Write, 250'000, 1'000'000, 2),
              "writing rules: 250,000 of 1,000,000 (125,000/s, 6 s left)");
    EXPECT_EQ(progressText(Step::Compare, 1'000, 1'001, 1),
              "comparing rules: 1,000 of 1,001 (1,000/s, 1 s left)");
    EXPECT_EQ(progressText(Step::Finish, 0, 0, 1), "finishing ...");
}

TEST(ProgressLine, ToldOfNothingWhereNobodyLooks) {
    testing::internal::CaptureStderr();
    {
        ProgressLine line;
        for (std::size_t done = 0; done < 1'000; ++done)
            line.progress().tell(Step::Write, done, 1'000);
    }
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace mailgate::cli
