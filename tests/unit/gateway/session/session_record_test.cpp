// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session_record.h"

#include "tests/support/scripted_host.h"

#include <gtest/gtest.h>

namespace mailgate::test {
namespace {

TEST(SessionRecordTest, TheFirstReasonStands) {
    ScriptedHost host(makeConfig());
    SessionRecord record(host.arrival(false), host.newSessionId(), host.wallClock(), host.now());
    EXPECT_EQ(record.end, CloseReason::None);
    record.close(CloseReason::IdleTimeout);
    record.close(CloseReason::ClientReset);
    EXPECT_EQ(record.end, CloseReason::IdleTimeout);
}

TEST(SessionRecordTest, LooksUpWhatBelongsToItsListener) {
    Config config = makeConfig();
    config.upstreams.insert(config.upstreams.begin(), UpstreamConfig{});
    config.upstreams[0].name = "other";
    config.listeners.push_back(config.listeners[0]);
    config.listeners[1].name = "second";
    config.listeners[0].upstream_index = 0;
    config.listeners[1].upstream_index = 1;
    ScriptedHost host(config);
    const SessionRecord record(host.arrival(false, 1), host.newSessionId(), host.wallClock(), host.now());
    EXPECT_EQ(record.listener().name, "second");
    EXPECT_EQ(record.pool().config().name, "backend");
    EXPECT_EQ(&record.listenerCounters(), record.arrival.generation->listeners[1].get());
    EXPECT_FALSE(record.identified()) << "no header has been read";
}

}  // namespace
}  // namespace mailgate::test
