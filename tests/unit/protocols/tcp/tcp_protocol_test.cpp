// SPDX-License-Identifier: Apache-2.0
#include "protocols/tcp/tcp_protocol.h"

#include <gtest/gtest.h>

namespace mailgate::tcp {
namespace {

TEST(TcpProtocol, LooksAtNothingWhereTheServerGetsAHeader) {
    EXPECT_TRUE(kTcp.opaque());
    SessionFacts facts;
    EXPECT_EQ(kTcp.make_filter(facts, {.no_header = false}, nullptr), nullptr);
    EXPECT_NE(kTcp.make_filter(facts, {.no_header = true}, nullptr), nullptr)
        << "a client's own header must not reach a server that may believe it";
}

TEST(TcpProtocol, ASilentConnectionSaysUp) {
    const auto dialogue = kTcp.make_probe_dialogue(RefusalNames({"gw", "203.0.113.9", "7f3a"}));
    EXPECT_EQ(dialogue->open().reply, "");
    EXPECT_FALSE(dialogue->open().done);
    EXPECT_EQ(dialogue->onBytes("anything\r\n").reply, "");
    EXPECT_FALSE(dialogue->onBytes("anything\r\n").done);
}

}  // namespace
}  // namespace mailgate::tcp
