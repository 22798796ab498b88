// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/last_look.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace mailgate::store::sqlite {
namespace {

using namespace std::chrono_literals;

constexpr LastLook::Time kBegin{1h};

/// Written long ago.
FileState written(std::int64_t at, std::int64_t log_at = 1) {
    return {{1, 1}, at, log_at};
}

TEST(LastLook, ThatThereIsNothingNewStandsForAWhileWhereNobodyWrites) {
    LastLook last;
    EXPECT_FALSE(last.stands(written(1), kBegin)) << "nobody has looked yet";
    last.foundNothingNew(kBegin);
    EXPECT_TRUE(last.stands(written(1), kBegin + LastLook::kTimesStand - 1ms));
    EXPECT_FALSE(last.stands(written(1), kBegin + LastLook::kTimesStand)) << "times may be set back";
    last.foundNothingNew(kBegin);
    for (const FileState& other : {written(2), written(1, 2), FileState{{1, 2}, 1, 1}}) {
        EXPECT_FALSE(last.stands(other, kBegin));
        last.foundNothingNew(kBegin);
        EXPECT_TRUE(last.stands(other, kBegin));
    }
    last.forgetUnchanged();
    EXPECT_FALSE(last.stands(FileState{{1, 2}, 1, 1}, kBegin));
}

TEST(LastLook, WhatWasWrittenJustNowMayBeWrittenAgainWithoutATrace) {
    using std::chrono::nanoseconds;
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const FileState fresh = written(1, std::chrono::duration_cast<nanoseconds>(now + 1h).count());
    LastLook last;
    for (int time = 0; time < 2; ++time) {
        EXPECT_FALSE(last.stands(fresh, kBegin));
        last.foundNothingNew(kBegin);
    }
}

TEST(LastLook, DamageStandsForAWhileWhereNobodyWrites) {
    const auto damage = [](const char* what) { return std::make_exception_ptr(std::runtime_error(what)); };
    LastLook last;
    EXPECT_FALSE(last.stands(written(1), kBegin));
    last.foundDamage(damage("damaged"), kBegin);
    last.foundDamage(damage("in other words"), kBegin + 1s);
    try {
        last.stands(written(1), kBegin + LastLook::kDamageStands - 1ms);
        FAIL() << "the damage is gone";
    } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "damaged");
    }
    EXPECT_FALSE(last.stands(written(1), kBegin + LastLook::kDamageStands));
    last.foundDamage(damage("still damaged"), kBegin);
    EXPECT_THROW(last.stands(written(1), kBegin), std::runtime_error);
    EXPECT_FALSE(last.stands(written(2), kBegin)) << "somebody has written, and has mended it perhaps";
}

}  // namespace
}  // namespace mailgate::store::sqlite
