// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/memory_reserve.h"

#include <gtest/gtest.h>

#include <new>

namespace mailgate {
namespace {

/// What an allocation that fails does.
bool giveAwayOnePart() {
    try {
        std::get_new_handler()();
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

class MemoryReserve : public testing::Test {
  protected:
    MemoryReserve() { memory_reserve::install(); }
    ~MemoryReserve() override { memory_reserve::refill(); }
};

TEST_F(MemoryReserve, IsGivenAwayInPartsAndPutAsideAgain) {
    EXPECT_FALSE(memory_reserve::low());
    int parts = 0;
    while (giveAwayOnePart())
        ++parts;
    EXPECT_GT(parts, 0);
    EXPECT_TRUE(memory_reserve::low());
    EXPECT_TRUE(memory_reserve::refill()) << "this machine has memory";
    EXPECT_FALSE(memory_reserve::low());
}

TEST_F(MemoryReserve, IsNotLowWhileHalfOfItIsLeft) {
    int parts = 0;
    while (giveAwayOnePart())
        ++parts;
    memory_reserve::refill();
    for (int i = 0; i < parts / 2; ++i)
        giveAwayOnePart();
    EXPECT_FALSE(memory_reserve::low());
    giveAwayOnePart();
    EXPECT_TRUE(memory_reserve::low());
}

TEST_F(MemoryReserve, InstalledTwiceIsStillWhole) {
    memory_reserve::install();
    EXPECT_FALSE(memory_reserve::low());
    EXPECT_TRUE(memory_reserve::refill());
}

}  // namespace
}  // namespace mailgate
