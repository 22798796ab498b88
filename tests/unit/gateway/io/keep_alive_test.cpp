// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/keep_alive.h"

#include "gateway/base/descriptor.h"

#include <gtest/gtest.h>

namespace mailgate {
namespace {

int option(const Descriptor& socket, int level, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    EXPECT_EQ(::getsockopt(socket.get(), level, name, &value, &size), 0);
    return value;
}

TEST(KeepAliveTest, IsOnAndSoonerThanAnNlbForgetsAConnection) {
    constexpr int kNlbForgetsSeconds = 350;
    const Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(option(socket, SOL_SOCKET, SO_KEEPALIVE), 0);
    keepAlive(socket.get());
    EXPECT_EQ(option(socket, SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT_LT(option(socket, IPPROTO_TCP, TCP_KEEPIDLE), kNlbForgetsSeconds);
    keepAlive(-1);  // a connection that is gone is not worth an error
}

}  // namespace
}  // namespace mailgate
