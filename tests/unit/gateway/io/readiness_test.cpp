// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/readiness.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace mailgate {
namespace {

const IoResult kBytes{IoStatus::Ok, 10};
const IoResult kNothing{IoStatus::WouldBlock};
const IoResult kEnd{IoStatus::Eof};

TEST(Readiness, AShortReadUsesUpWhatAnEventSaid) {
    Readiness readiness;
    EXPECT_FALSE(readiness.readable());
    readiness.note(kReadable);
    EXPECT_TRUE(readiness.readable());
    EXPECT_FALSE(readiness.conclude(kBytes, true).more);
    EXPECT_FALSE(readiness.readable());
}

TEST(Readiness, AFullReadMayHaveLeftSomething) {
    Readiness readiness;
    readiness.note(kReadable);
    EXPECT_TRUE(readiness.conclude(kBytes, false).more);
    EXPECT_FALSE(readiness.conclude(kNothing, false).more);
    EXPECT_FALSE(readiness.readable());
}

TEST(Readiness, TheEndComesBehindAShortReadOnceTheFinIsHere) {
    Readiness readiness;
    readiness.note(kReadable | kHangup);
    EXPECT_FALSE(readiness.conclude(kBytes, false).last) << "there may be more before it";
    EXPECT_TRUE(readiness.conclude(kBytes, true).last);
}

TEST(Readiness, NothingFollowsFromAShortReadWithUrgentDataOrAReset) {
    for (const std::uint32_t event : {kUrgent, kFailed}) {
        Readiness readiness;
        readiness.note(kReadable | kHangup | event);
        const IoResult got = readiness.conclude(kBytes, true);
        EXPECT_FALSE(got.last) << event;
        EXPECT_TRUE(got.more) << "the read that tells has to be made";
        EXPECT_FALSE(readiness.conclude(kNothing, true).more);
    }
}

TEST(Readiness, TheEndIsNotReadTwiceAndAnErrorStays) {
    Readiness readiness;
    readiness.note(kReadable | kHangup);
    EXPECT_FALSE(readiness.conclude(kEnd, true).more);
    EXPECT_FALSE(readiness.readable());
    readiness.note(kReadable | kFailed);
    EXPECT_TRUE(readiness.conclude({IoStatus::Error, 0, ECONNRESET}, true).more);
}

}  // namespace
}  // namespace mailgate
