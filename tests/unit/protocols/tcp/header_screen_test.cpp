// SPDX-License-Identifier: Apache-2.0
#include "protocols/tcp/header_screen.h"

#include "protocols/tcp/tcp_protocol.h"
#include "tests/support/filtered.h"

namespace mailgate {
namespace {

using namespace test;

TEST(HeaderScreen, RefusesAClientThatOpensWithAProxyHeader) {
    constexpr ScreenConfig kScreen{.no_header = true};
    for (const std::string_view header : {std::string_view("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
                                          std::string_view("\r\n\r\n\0\r\nQUIT\n!", 13)}) {
        const Observed seen = observe(tcp::kTcp, {client(std::string(header))}, kScreen);
        EXPECT_EQ(seen.violation, Violation::ForbiddenCommand);
        EXPECT_LT(seen.sent[1].size(), 12U);
    }
    const Observed other = observe(tcp::kTcp, {client("PROX, and so on")}, kScreen);
    EXPECT_TRUE(other.opaque);
    EXPECT_FALSE(other.violation);
}

}  // namespace
}  // namespace mailgate
