// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/shared_parts.h"

#include <gtest/gtest.h>

namespace mailgate::console {
namespace {

using namespace std::chrono_literals;

class SharedPartsTest : public testing::Test {
  protected:
    std::string get(const std::string& key = "x") {
        return parts_
            .get(key,
                 [this] {
                     now_ += takes_;
                     return api::Response{status_, std::to_string(++made_), "text/html", {}};
                 })
            .body;
    }

    SharedParts::Clock::time_point now_{};
    SharedParts::Clock::duration takes_ = 0ms;
    int status_ = 200, made_ = 0;
    SharedParts parts_{[this] { return now_; }};
};

TEST_F(SharedPartsTest, AreMadeOnceASecond) {
    EXPECT_EQ(get(), "1");
    now_ += 999ms;
    EXPECT_EQ(get(), "1");
    EXPECT_EQ(get("another"), "2");
    now_ += 1ms;
    EXPECT_EQ(get(), "3");
}

TEST_F(SharedPartsTest, TakeAHundredthOfTheTimeButAreNotOld) {
    takes_ = 30ms;
    EXPECT_EQ(get(), "1");
    now_ += 2'999ms;
    EXPECT_EQ(get(), "1");
    now_ += 1ms;
    takes_ = 2s;
    EXPECT_EQ(get(), "2");
    now_ += 9'999ms;
    EXPECT_EQ(get(), "2");
    now_ += 1ms;
    EXPECT_EQ(get(), "3");
}

TEST_F(SharedPartsTest, ThatCouldNotBeMadeAreNotKept) {
    status_ = 503;
    EXPECT_EQ(get(), "1");
    status_ = 200;
    EXPECT_EQ(get(), "2");
    EXPECT_EQ(get(), "2");
}

}  // namespace
}  // namespace mailgate::console
