// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/descriptor.h"

#include <gtest/gtest.h>

#include <fcntl.h>

#include <utility>

namespace mailgate {
namespace {

bool isOpen(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

int opened() {
    return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}

TEST(DescriptorTest, IsClosedOnceByItsLastOwner) {
    const int fd = opened();
    {
        Descriptor first(fd);
        Descriptor second(std::move(first));
        EXPECT_EQ(first.get(), -1);  // NOLINT(bugprone-use-after-move): what it leaves behind
        Descriptor third;
        third = std::move(second);
        EXPECT_EQ(third.get(), fd);
        EXPECT_TRUE(isOpen(fd));
    }
    EXPECT_FALSE(isOpen(fd));
}

TEST(DescriptorTest, OneThatIsReplacedIsClosed) {
    const int before = opened();
    Descriptor descriptor(before);
    descriptor = Descriptor();
    EXPECT_EQ(descriptor.get(), -1);
    EXPECT_FALSE(isOpen(before));
}

TEST(DescriptorTest, OneThatIsReleasedIsSomebodyElses) {
    const int fd = opened();
    {
        Descriptor descriptor(fd);
        EXPECT_EQ(descriptor.release(), fd);
        EXPECT_EQ(descriptor.get(), -1);
    }
    EXPECT_TRUE(isOpen(fd));
    ::close(fd);
}

}  // namespace
}  // namespace mailgate
