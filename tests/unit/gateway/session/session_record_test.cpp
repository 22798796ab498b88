// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session_record.h"

#include "tests/support/scripted_host.h"

#include <gtest/gtest.h>

namespace mailgate::test {
namespace {

TEST(SessionRecordTest, TheFirstReasonStands) {
    ScriptedHost host(makeConfig());
    SessionRecord record(host.arrival(false), ScriptedHost::local(), host.newSessionId(), host.wallClock(),
                         host.now());
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
    const SessionRecord record(host.arrival(false, 1), ScriptedHost::local(), host.newSessionId(),
                               host.wallClock(), host.now());
    EXPECT_EQ(record.listener().name, "second");
    EXPECT_EQ(record.pool().config().name, "backend");
    EXPECT_EQ(&record.listenerCounters(), record.arrival.generation->listeners[1].get());
    EXPECT_FALSE(record.identified()) << "no header has been read";
}

TEST(SessionRecordTest, AMomentIsSinceTheStart) {
    constexpr Millis kDay = 86'400'000;
    EXPECT_FALSE(Moment().hasCome());
    EXPECT_EQ(Moment().sinceStart(), 0);
    EXPECT_TRUE(Moment(0).hasCome()) << "in the first millisecond";
    EXPECT_EQ(Moment(0).sinceStart(), 0);
    EXPECT_EQ(Moment(40 * kDay).sinceStart(), 40 * kDay);
    EXPECT_EQ(Moment(7) - Moment(3), 4);
    EXPECT_TRUE(Moment(50 * kDay).hasCome());
    EXPECT_EQ(Moment(50 * kDay).sinceStart(), Moment(60 * kDay).sinceStart()) << "as far as it can tell";
}

TEST(SessionRecordTest, HoldsReasonsToRefuse) {
    RefusalSet reasons;
    EXPECT_TRUE(reasons.empty());
    reasons.add(Refusal::Rule);
    reasons.add(Refusal::ServerViolation);
    EXPECT_EQ(reasons.size(), 2U);
    for (std::size_t at = 0; at < kRefusals; ++at) {
        const auto reason = static_cast<Refusal>(at);
        EXPECT_EQ(reasons.has(reason), reason == Refusal::Rule || reason == Refusal::ServerViolation) << at;
    }
}

}  // namespace
}  // namespace mailgate::test
