// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/relay_phase.h"

#include "tests/support/scripted_phase.h"

#include <gmock/gmock.h>

namespace mailgate::test {
namespace {

using ::testing::IsEmpty;
using ::testing::StartsWith;

class RelayPhaseTest : public PhaseTest {
  protected:
    ~RelayPhaseTest() override { phase_.reset(); }

    RelayPhase& begin(Config config = makeConfig(), const Drain& drain = {}) {
        phase_.reset();
        arriveGreeted(std::move(config), "220 mx\r\n");
        phase_.emplace(*context_, next::Relay{.drain = drain});
        expectStep<next::Stay>(phase_->begin());
        EXPECT_EQ(client_->heard(), "220 mx\r\n");
        return *phase_;
    }
    Next serverEvent(std::uint32_t events) {
        context_->server->note(events);
        return phase_->onServer(events);
    }
    Next serverSends(std::string_view bytes) {
        server_->sends(bytes);
        return serverEvent(kReadable);
    }
    Next serverCloses() {
        server_->finished = true;
        return serverEvent(kReadable | kHangup);
    }
    /// A command, and its answer.
    void exchange(std::string_view command, std::string_view answer) {
        expectStep<next::Stay>(clientSends(*phase_, command));
        expectStep<next::Stay>(serverSends(answer));
        client_->heard();
        server_->heard();
    }
    Drain drain(CloseReason reason, Millis within) { return {reason, host_->now(), host_->now() + within}; }

    std::optional<RelayPhase> phase_;
};

TEST_F(RelayPhaseTest, MovesBytesBothWays) {
    begin();
    expectStep<next::Stay>(clientSends(*phase_, "EHLO a\r\n"));
    EXPECT_EQ(server_->heard(), "EHLO a\r\n");
    expectStep<next::Stay>(serverSends("250 mx\r\n"));
    EXPECT_EQ(client_->heard(), "250 mx\r\n");
}

Config offeringStartTls(bool required = false) {
    Config config = makeConfig();
    config.listeners[0].tls = ListenerTls::StartTls;
    config.listeners[0].tls_required = required;
    return config;
}

TEST_F(RelayPhaseTest, OffersStartTlsAndBeginsItOnceAllBeforeIsAnswered) {
    begin(offeringStartTls());
    expectStep<next::Stay>(clientSends(*phase_, "EHLO a\r\n"));
    expectStep<next::Stay>(serverSends("250 mx\r\n"));
    EXPECT_EQ(client_->heard(), "250-mx\r\n250 STARTTLS\r\n");
    server_->heard();
    const auto asked = expectStep<next::ShakeHands>(clientSends(*phase_, "STARTTLS\r\n"));
    EXPECT_THAT(asked.reply, StartsWith("220 "));
    EXPECT_EQ(client_->heard(), "") << "the next phase says it";
    EXPECT_EQ(server_->heard(), "");
    EXPECT_EQ(host_->handshakes, 1);
}

TEST_F(RelayPhaseTest, EndsWhatComesInTheClearBehindStartTlsInTheSameSegment) {
    begin(offeringStartTls());
    exchange("EHLO a\r\n", "250 mx\r\n");
    const Next step = clientSends(*phase_, "STARTTLS\r\nNOOP\r\n");
    EXPECT_EQ(expectStep<next::Linger>(step).reason, CloseReason::PlaintextAfterStartTls);
    EXPECT_EQ(server_->heard(), "");
    EXPECT_EQ(host_->handshakes, 0);
    phase_.reset();
    EXPECT_EQ(context_->record.violation, Violation::PlaintextAfterStartTls);
}

TEST_F(RelayPhaseTest, EndsWhatComesInTheClearBehindStartTlsInAnotherSegment) {
    begin(offeringStartTls());
    exchange("EHLO a\r\n", "250 mx\r\n");
    expectStep<next::Stay>(clientSends(*phase_, "NOOP\r\nSTARTTLS\r\n"));
    // In the socket, and no event has told of it yet.
    client_->sends("NOOP\r\n");
    EXPECT_EQ(expectStep<next::Linger>(serverSends("250 ok\r\n")).reason,
              CloseReason::PlaintextAfterStartTls);
    EXPECT_EQ(server_->heard(), "NOOP\r\n");
}

TEST_F(RelayPhaseTest, GoesOnInTheClearWhereTooManyShakeHands) {
    begin(offeringStartTls());
    host_->most_handshakes = 0;
    exchange("EHLO a\r\n", "250 mx\r\n");
    expectStep<next::Stay>(clientSends(*phase_, "STARTTLS\r\n"));
    EXPECT_THAT(client_->heard(), StartsWith("454 4.7.0 "));
    exchange("NOOP\r\n", "250 ok\r\n");
    host_->most_handshakes = 1;
    expectStep<next::ShakeHands>(clientSends(*phase_, "STARTTLS\r\n"));
}

TEST_F(RelayPhaseTest, PutsMailOffUntilTlsWhereItIsRequired) {
    begin(offeringStartTls(true));
    exchange("EHLO a\r\n", "250-mx\r\n250 AUTH PLAIN\r\n");
    expectStep<next::Stay>(clientSends(*phase_, "MAIL FROM:<a@b>\r\n"));
    EXPECT_THAT(client_->heard(), StartsWith("530 5.7.0 "));
    EXPECT_EQ(server_->heard(), "");
}

TEST_F(RelayPhaseTest, OffersNoTlsBehindABalancerThatEndsIt) {
    Config config = offeringStartTls(true);
    config.listeners[0].trusted_tls = {networkAround(IpAddress::parse("10.0.0.9")->bytes, 128)};
    arriveGreeted(std::move(config), "220 mx\r\n");
    context_->record.arrival.header_expected = true;
    phase_.emplace(*context_);
    expectStep<next::Stay>(phase_->begin());
    exchange("EHLO a\r\n", "250-mx\r\n250 STARTTLS\r\n");
    expectStep<next::Stay>(clientSends(*phase_, "MAIL FROM:<a@b>\r\n"));
    EXPECT_EQ(server_->heard(), "MAIL FROM:<a@b>\r\n");
}

TEST_F(RelayPhaseTest, HandsOnWhatTheClientSaidTooEarly) {
    arriveGreeted(makeConfig(), "220 mx\r\n");
    ASSERT_TRUE(context_->relay.hold(Side::Client, "EHLO early\r\n"));
    phase_.emplace(*context_);
    expectStep<next::Stay>(phase_->begin());
    EXPECT_EQ(server_->heard(), "EHLO early\r\n");
}

TEST_F(RelayPhaseTest, EndsAtOnceWhenTheServerLetsAClientGoAfterQuit) {
    begin();
    exchange("QUIT\r\n", "221 bye\r\n");
    EXPECT_EQ(expectStep<next::Close>(serverCloses()).reason, CloseReason::ClientQuit);
}

TEST_F(RelayPhaseTest, PassesAHalfCloseOnAndIsOverWhenBothSidesAre) {
    begin();
    expectStep<next::Stay>(clientCloses(*phase_));
    EXPECT_TRUE(server_->got_fin);
    EXPECT_EQ(expectStep<next::Linger>(serverCloses()).reason, CloseReason::ClientClosed);

    begin(makeConfig(Protocol::Tcp));
    expectStep<next::Stay>(serverCloses());
    EXPECT_TRUE(client_->got_fin);
    EXPECT_EQ(expectStep<next::Close>(clientCloses(*phase_)).reason, CloseReason::ServerClosed);
}

TEST_F(RelayPhaseTest, SaysThatTheServerIsLostAtABoundaryOnly) {
    begin();
    exchange("EHLO a\r\n", "250 mx\r\n");
    server_->broken = ECONNRESET;
    EXPECT_EQ(expectStep<next::Linger>(serverEvent(kReadable | kFailed)).reason, CloseReason::ServerLost);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.4.2"));

    begin();
    expectStep<next::Stay>(clientSends(*phase_, "HELP\r\n"));
    expectStep<next::Stay>(serverSends("214-one\r\n"));
    client_->heard();
    expectStep<next::Linger>(serverCloses());
    EXPECT_EQ(client_->heard(), "");
}

TEST_F(RelayPhaseTest, ALostClientIsTheEndAndTheFirstReasonStands) {
    begin();
    client_->broken = ECONNRESET;
    EXPECT_EQ(expectStep<next::Close>(clientEvent(*phase_, kReadable | kFailed)).reason,
              CloseReason::ClientReset);
}

TEST_F(RelayPhaseTest, EndsAnIdleSessionWithTheProtocolsWords) {
    begin();
    const Millis limit = context_->config().timeouts.idleFor(Protocol::Smtp).count();
    host_->advance(limit - 60'000);
    exchange("NOOP\r\n", "250 ok\r\n");
    host_->advance(61'000);
    EXPECT_EQ(events_.deadlines, 1);
    expectStep<next::Stay>(phase_->onDeadline());
    host_->advance(limit - 60'000);
    EXPECT_EQ(events_.deadlines, 2) << "activity has restarted the limit";
    EXPECT_EQ(expectStep<next::Linger>(phase_->onDeadline()).reason, CloseReason::IdleTimeout);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.4.2"));
}

TEST_F(RelayPhaseTest, BoundsTheSilenceOfAHalfClosedSession) {
    begin(makeConfig(Protocol::Tcp));
    expectStep<next::Stay>(clientCloses(*phase_));
    host_->advance(context_->config().timeouts.half_close.count() + 100);
    EXPECT_EQ(events_.deadlines, 1);
    EXPECT_EQ(expectStep<next::Close>(phase_->onDeadline()).reason, CloseReason::HalfCloseTimeout);
}

TEST_F(RelayPhaseTest, ADrainWaitsForTheEndOfATransaction) {
    begin();
    exchange("MAIL FROM:<a@b.example>\r\n", "250 ok\r\n");
    expectStep<next::Stay>(phase_->onDrain(drain(CloseReason::Shutdown, 30'000)));
    EXPECT_EQ(client_->heard(), "");
    expectStep<next::Stay>(clientSends(*phase_, "RSET\r\n"));
    EXPECT_EQ(expectStep<next::Linger>(serverSends("250 ok\r\n")).reason, CloseReason::Shutdown);
    EXPECT_THAT(client_->heard(), StartsWith("250 ok\r\n421 4.3.2"));
}

TEST_F(RelayPhaseTest, ADrainWaitsNoLongerThanItSays) {
    begin();
    exchange("MAIL FROM:<a@b.example>\r\n", "250 ok\r\n");
    expectStep<next::Stay>(phase_->onDrain(drain(CloseReason::Drained, 5'000)));
    host_->advance(5'100);
    EXPECT_EQ(events_.deadlines, 1);
    EXPECT_EQ(expectStep<next::Linger>(phase_->onDeadline()).reason, CloseReason::Drained);
}

TEST_F(RelayPhaseTest, ADrainThatIsTakenBackDoesNothing) {
    begin();
    exchange("MAIL FROM:<a@b.example>\r\n", "250 ok\r\n");
    expectStep<next::Stay>(phase_->onDrain(drain(CloseReason::Drained, 5'000)));
    phase_->onUndrain();
    exchange("RSET\r\n", "250 ok\r\n");
    host_->advance(5'100);
    expectStep<next::Stay>(phase_->onDeadline());
}

TEST_F(RelayPhaseTest, IsKilledInTheProtocolsWords) {
    EXPECT_EQ(expectStep<next::Linger>(begin().onKill()).reason, CloseReason::Killed);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.3.2"));
    EXPECT_EQ(expectStep<next::Close>(begin().onAbort(CloseReason::Shutdown)).reason, CloseReason::Shutdown);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.3.2"));
}

TEST_F(RelayPhaseTest, KeepsWhatTheClientLeavesOfOurWords) {
    begin();
    client_->room = 4;
    expectStep<next::Linger>(phase_->onKill());
    EXPECT_EQ(client_->received, "421 ");
    phase_.reset();
    EXPECT_THAT(context_->relay.held(Side::Server), StartsWith("4.3.2"));
}

TEST_F(RelayPhaseTest, AViolationIsToldInItsTurnAndStaysInTheRecord) {
    begin();
    expectStep<next::Stay>(clientSends(*phase_, "EHLO a\r\nXCLIENT ADDR=192.0.2.1\r\n"));
    EXPECT_EQ(client_->heard(), "");
    EXPECT_EQ(expectStep<next::Linger>(serverSends("250 mx\r\n")).reason, CloseReason::ForbiddenCommand);
    EXPECT_THAT(client_->heard(), StartsWith("250 mx\r\n521 5.5.1"));
    phase_.reset();
    EXPECT_EQ(context_->record.violation, Violation::ForbiddenCommand);
}

class BareLfModes : public RelayPhaseTest {
  protected:
    /// A message has a line that ends in LF alone; what comes of it.
    Next sendsBareLf(ListenerMode mode) {
        Config config = makeConfig();
        config.listeners[0].bare_lf = BareLfPolicy::Reject;
        config.listeners[0].mode = mode;
        begin(config);
        exchange("EHLO a\r\n", "250 mx\r\n");
        exchange("MAIL FROM:<a@b.example>\r\n", "250 ok\r\n");
        exchange("RCPT TO:<c@d.example>\r\n", "250 ok\r\n");
        exchange("DATA\r\n", "354 go\r\n");
        return clientSends(*phase_, "one\n.\r\nMAIL FROM:<smuggled@b.example>\r\n.\r\n");
    }
};

TEST_F(BareLfModes, EnforcedItEndsTheSessionForGood) {
    EXPECT_EQ(expectStep<next::Linger>(sendsBareLf(ListenerMode::Enforce)).reason, CloseReason::BareLf);
    EXPECT_THAT(client_->heard(), StartsWith("521 5.5.2"));
}

TEST_F(BareLfModes, InSoftModeItEndsTheSessionForNow) {
    EXPECT_EQ(expectStep<next::Linger>(sendsBareLf(ListenerMode::Soft)).reason, CloseReason::BareLf);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.5.2"));
}

TEST_F(BareLfModes, InMonitorModeItIsRecordedAndNormalized) {
    expectStep<next::Stay>(sendsBareLf(ListenerMode::Monitor));
    EXPECT_EQ(server_->heard(), "one\r\n..\r\nMAIL FROM:<smuggled@b.example>\r\n.\r\n")
        << "the server must not take for an end what mailgate takes for none";
    expectStep<next::Stay>(serverSends("250 ok\r\n"));
    EXPECT_EQ(client_->heard(), "250 ok\r\n");
    phase_.reset();
    EXPECT_TRUE(context_->record.would_refuse.test(static_cast<std::size_t>(Refusal::BareLf)));
    EXPECT_EQ(context_->record.would_refuse.count(), 1U);
    EXPECT_THAT(context_->refusalSetAside(), StartsWith("521 5.5.2"));
}

TEST_F(BareLfModes, MessagesWithoutItAreNotRecorded) {
    Config config = makeConfig();
    config.listeners[0].bare_lf = BareLfPolicy::Reject;
    config.listeners[0].mode = ListenerMode::Monitor;
    begin(config);
    exchange("EHLO a\r\n", "250 mx\r\n");
    phase_.reset();
    EXPECT_TRUE(context_->record.would_refuse.none());
}

TEST_F(BareLfModes, WhatTheListenerDoesNotRejectIsNotRecorded) {
    Config config = makeConfig();
    config.listeners[0].bare_lf = BareLfPolicy::Normalize;
    config.listeners[0].mode = ListenerMode::Monitor;
    begin(config);
    exchange("MAIL FROM:<a@b.example>\r\n", "250 ok\r\n");
    exchange("DATA\r\n", "354 go\r\n");
    expectStep<next::Stay>(clientSends(*phase_, "one\n.\r\n"));
    phase_.reset();
    EXPECT_TRUE(context_->record.facts.bare_lf);
    EXPECT_TRUE(context_->record.would_refuse.none());
}

TEST_F(RelayPhaseTest, InMonitorModeWhatIsNotUnderstoodEndsTheSessionAllTheSame) {
    for (const std::string_view command : {"XCLIENT ADDR=192.0.2.1\r\n", "BDAT x\r\n"}) {
        Config config = makeConfig();
        config.listeners[0].mode = ListenerMode::Monitor;
        begin(config);
        exchange("EHLO a\r\n", "250 mx\r\n");
        expectStep<next::Linger>(clientSends(*phase_, command));
        EXPECT_EQ(server_->heard(), "");
        EXPECT_THAT(client_->heard(), StartsWith("521 5.5."));
        phase_.reset();
        EXPECT_TRUE(context_->record.would_refuse.none());
    }
    begin();
    exchange("EHLO a\r\n", "250 mx\r\n");
    EXPECT_EQ(expectStep<next::Linger>(serverSends("250 what\r\n")).reason, CloseReason::ServerViolation);
    EXPECT_THAT(client_->heard(), StartsWith("421 "));
}

TEST_F(RelayPhaseTest, WaitsForNoServerThatDoesNotAnswerWhatCameBeforeAViolation) {
    begin();
    expectStep<next::Stay>(clientSends(*phase_, "EHLO a\r\nXCLIENT ADDR=192.0.2.1\r\n"));
    host_->advance(10'100);
    EXPECT_EQ(events_.deadlines, 1);
    EXPECT_EQ(expectStep<next::Linger>(phase_->onDeadline()).reason, CloseReason::ForbiddenCommand);
}

TEST_F(RelayPhaseTest, ATransactionThatIsOpenAtTheEndIsInTheRecord) {
    begin();
    exchange("MAIL FROM:<a@b.example>\r\n", "250 ok\r\n");
    EXPECT_EQ(phase_->sender(), "a@b.example");
    EXPECT_THAT(context_->record.facts.transactions, IsEmpty());
    phase_.reset();
    ASSERT_EQ(context_->record.facts.transactions.size(), 1U);
    EXPECT_EQ(context_->record.facts.transactions[0].from, "a@b.example");
}

}  // namespace
}  // namespace mailgate::test
