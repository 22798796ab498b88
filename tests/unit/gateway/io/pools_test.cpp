// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/pools.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <utility>

namespace mailgate {
namespace {

TEST(BlockPool, LendsWhatCameBackAndLendsItEmpty) {
    BlockPool pool;
    auto block = pool.borrow();
    ASSERT_NE(block, nullptr);
    Block* const first = block.get();
    block->begin = 3;
    block->end = 9;
    pool.giveBack(std::move(block));
    const auto again = pool.borrow();
    EXPECT_EQ(again.get(), first);
    EXPECT_EQ(again->begin, 0U);
    EXPECT_EQ(again->end, 0U);
}

TEST(PipePool, LendsAnEmptyPipeAgain) {
    PipePool pool;
    auto pipe = pool.borrow();
    ASSERT_TRUE(pipe);
    const int first = pipe->read_end;
    pool.giveBack(std::move(pipe));
    auto again = pool.borrow();
    ASSERT_TRUE(again);
    EXPECT_EQ(again->read_end, first);
    pool.giveBack(std::move(again));
}

TEST(PipePool, LendsNobodyTheBytesOfAnother) {
    PipePool pool;
    auto pipe = pool.borrow();
    ASSERT_TRUE(pipe);
    ASSERT_EQ(::write(pipe->write_end, "secret", 6), 6);
    pipe->bytes = 6;
    const int read_end = pipe->read_end;
    pool.giveBack(std::move(pipe));
    EXPECT_LT(::fcntl(read_end, F_GETFD), 0) << "closed";
}

}  // namespace
}  // namespace mailgate
