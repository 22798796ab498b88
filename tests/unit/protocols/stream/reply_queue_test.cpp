// SPDX-License-Identifier: Apache-2.0
#include "protocols/stream/reply_queue.h"

#include <gtest/gtest.h>

#include <memory>

namespace mailgate {
namespace {

TEST(ReplyQueue, AnswersTheOldestFirst) {
    ReplyQueue<std::unique_ptr<int>> queue;
    EXPECT_TRUE(queue.empty());
    for (const int number : {1, 2, 3})
        queue.push(std::make_unique<int>(number));
    EXPECT_EQ(queue.size(), 3U);
    EXPECT_EQ(*queue.front(), 1);
    EXPECT_EQ(*queue.back(), 3);
    EXPECT_EQ(*queue.pop(), 1);
    EXPECT_EQ(*queue.pop(), 2);
    EXPECT_EQ(*queue.front(), 3);
    EXPECT_EQ(*queue.pop(), 3);
    EXPECT_TRUE(queue.empty());
}

TEST(ReplyQueue, IsFullOfTheUnansweredAlone) {
    ReplyQueue<std::size_t> queue;
    for (std::size_t number = 0; number < kMaxUnanswered; ++number) {
        EXPECT_FALSE(queue.full());
        queue.push(number);
    }
    EXPECT_TRUE(queue.full());
    queue.pop();
    EXPECT_FALSE(queue.full());
}

TEST(ReplyQueue, KeepsItsOrderInAPipelineThatNeverRunsDry) {
    ReplyQueue<std::size_t> queue;
    queue.push(0);
    for (std::size_t number = 1; number < 5 * kMaxUnanswered; ++number) {
        queue.push(number);
        ASSERT_EQ(queue.size(), 2U);
        ASSERT_EQ(queue.pop(), number - 1);
    }
    EXPECT_EQ(queue.back(), 5 * kMaxUnanswered - 1);
}

}  // namespace
}  // namespace mailgate
