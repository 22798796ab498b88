// SPDX-License-Identifier: Apache-2.0
#include "protocols/tcp/header_screen.h"

#include "protocols/tcp/tcp_protocol.h"
#include "tests/support/filtered.h"

namespace mailgate {
namespace {

using namespace test;

TEST(HeaderScreen, RefusesAClientThatOpensWithAProxyHeader) {
    constexpr ScreenConfig kScreen{.no_header = true};
    for (const std::string& header : kHeaders) {
        const Observed seen = observe(tcp::kTcp, {client(header)}, kScreen);
        EXPECT_EQ(seen.violation, Violation::ProxyHeader);
        EXPECT_LT(seen.sent[1].size(), 12U);
    }
    const Observed other = observe(tcp::kTcp, {client("PROX, and so on")}, kScreen);
    EXPECT_TRUE(other.opaque);
    EXPECT_FALSE(other.violation);
}

}  // namespace
}  // namespace mailgate
