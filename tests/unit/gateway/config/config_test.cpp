// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/config.h"

#include "tests/support/networks.h"

#include <gtest/gtest.h>

namespace mailgate {
namespace {

using namespace std::chrono_literals;

TEST(ConfigTest, ClientsThatAreExcludedPassTheirMessagesWhateverThePolicy) {
    ListenerConfig listener;
    listener.bare_lf_exclude = {network("192.0.2.0/24"), network("2001:db8::/32")};
    for (const BareLfPolicy policy : {BareLfPolicy::Normalize, BareLfPolicy::Reject, BareLfPolicy::Pass}) {
        listener.bare_lf = policy;
        EXPECT_EQ(listener.bareLfFor(*IpAddress::parse("192.0.2.255")), BareLfPolicy::Pass);
        EXPECT_EQ(listener.bareLfFor(*IpAddress::parse("2001:db8:1::1")), BareLfPolicy::Pass);
        EXPECT_EQ(listener.bareLfFor(*IpAddress::parse("192.0.3.0")), policy);
        EXPECT_EQ(listener.bareLfFor(*IpAddress::parse("2001:db9::1")), policy);
    }
}

TEST(ConfigTest, EachProtocolHasAnIdleLimitOfItsOwn) {
    Timeouts timeouts;
    timeouts.idle[static_cast<std::size_t>(Protocol::Imap)] = 44min;
    EXPECT_EQ(timeouts.idleFor(Protocol::Imap), 44min);
    EXPECT_EQ(timeouts.idleFor(Protocol::Pop3), Timeouts().idleFor(Protocol::Pop3));
    EXPECT_NE(timeouts, Timeouts());
}

}  // namespace
}  // namespace mailgate
