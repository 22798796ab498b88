// SPDX-License-Identifier: Apache-2.0
#include "store/journal/record.h"

#include "tests/support/networks.h"

#include <gtest/gtest.h>

namespace mailgate::store {
namespace {

TEST(JournalRecord, AClientIsAnAddress) {
    JournalSession session;
    for (const char* client : {"198.51.100.7", "2001:db8:5::9"}) {
        session.client = address(client);
        EXPECT_EQ(clientNetwork(session).toString(), client);
    }
}

TEST(JournalRecord, AMaskedClientIsANetwork) {
    JournalSession session;
    session.client_masked = true;
    session.client = address("198.51.100.0");
    EXPECT_EQ(clientNetwork(session).toString(), "198.51.100.0/24");
    session.client = address("2001:db8:5::");
    EXPECT_EQ(clientNetwork(session).toString(), "2001:db8:5::/48");
}

TEST(JournalRecord, KnowsItsKindAndItsEnd) {
    JournalSession session;
    EXPECT_FALSE(session.refused());
    session.kind = JournalKind::Mail;
    EXPECT_FALSE(session.refused());
    session.kind = JournalKind::Refused;
    EXPECT_TRUE(session.refused());
    session.started_ms = 1'700'000'000'000;
    session.duration_ms = 1'500;
    EXPECT_EQ(session.endedMs(), 1'700'000'001'500);
}

}  // namespace
}  // namespace mailgate::store
