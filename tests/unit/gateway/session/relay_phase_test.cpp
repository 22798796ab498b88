// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/relay_phase.h"

#include "tests/support/scripted_phase.h"
#include "tests/support/scripted_tls_server.h"
#include "tests/support/tls_connection.h"
#include "tests/support/tls_files.h"

#include <gmock/gmock.h>

namespace mailgate::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class RelayPhaseTest : public PhaseTest {
  protected:
    ~RelayPhaseTest() override { phase_.reset(); }

    RelayPhase& begin(Config config = makeConfig(), const Drain& drain = {}) {
        phase_.reset();
        arriveGreeted(std::move(config), "220 mx\r\n");
        if (drain.end != CloseReason::None) context_->drainAs(drain);
        phase_.emplace(*context_);
        expectStep<next::Stay>(phase_->begin());
        EXPECT_EQ(client_->heard(), "220 mx\r\n");
        return *phase_;
    }
    Next serverEvent(std::uint32_t events) {
        context_->server()->note(events);
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
    const Next step = clientSends(*phase_, "STARTTLS\r\n");
    const auto& asked = expectStep<next::ShakeHands>(step);
    ASSERT_TRUE(asked.reply);
    EXPECT_THAT(*asked.reply, StartsWith("220 "));
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
    expectStep<next::Stay>(phase_->onDeadline());  // keep-alive's
    exchange("NOOP\r\n", "250 ok\r\n");
    events_.deadlines = 0;
    host_->advance(61'000);
    EXPECT_EQ(events_.deadlines, 1);
    expectStep<next::Stay>(phase_->onDeadline());
    host_->advance(limit - 60'000);
    EXPECT_EQ(events_.deadlines, 2) << "activity has restarted the limit";
    EXPECT_EQ(expectStep<next::Linger>(phase_->onDeadline()).reason, CloseReason::IdleTimeout);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.4.2"));
}

TEST_F(RelayPhaseTest, HasTheKernelLookAfterBothConnectionsOnceItLasts) {
    begin();
    host_->advance(50'000);
    EXPECT_EQ(events_.deadlines, 0) << "most sessions are over by then";
    EXPECT_FALSE(client_->kept_alive);
    host_->advance(10'100);
    EXPECT_EQ(events_.deadlines, 1);
    expectStep<next::Stay>(phase_->onDeadline());
    EXPECT_TRUE(client_->kept_alive);
    EXPECT_TRUE(server_->kept_alive);
    const Millis limit = context_->config().timeouts.idleFor(Protocol::Smtp).count();
    host_->advance(limit - 61'000);
    EXPECT_EQ(events_.deadlines, 1) << "once is enough";
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
    context_->undrain();
    exchange("RSET\r\n", "250 ok\r\n");
    host_->advance(5'100);
    expectStep<next::Stay>(phase_->onDeadline());
}

TEST_F(RelayPhaseTest, IsKilledInTheProtocolsWords) {
    EXPECT_EQ(expectStep<next::Linger>(begin().onKill()).reason, CloseReason::Killed);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.7.0")) << "the gateway goes on";
    EXPECT_EQ(expectStep<next::Close>(begin().onAbort(CloseReason::Shutdown)).reason, CloseReason::Shutdown);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.3.2"));
}

TEST_F(RelayPhaseTest, WhatWeSaidInTheServersPlaceIsInTheMailsRecord) {
    begin();
    expectStep<next::Stay>(clientSends(*phase_, "MAIL FROM:<a@b.example>\r\n"));
    expectStep<next::Linger>(phase_->onKill());
    phase_.reset();
    ASSERT_EQ(context_->record.facts.transactions.size(), 1U);
    EXPECT_EQ(context_->record.facts.transactions[0].from, "a@b.example");
    EXPECT_THAT(context_->record.facts.transactions[0].reply, StartsWith("421 4.7.0"));
}

TEST_F(RelayPhaseTest, KeepsWhatTheClientLeavesOfOurWords) {
    begin();
    client_->room = 4;
    expectStep<next::Linger>(phase_->onKill());
    EXPECT_EQ(client_->received, "421 ");
    phase_.reset();
    EXPECT_THAT(context_->relay.held(Side::Server), StartsWith("4.7.0"));
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

TEST_F(RelayPhaseTest, AHeaderOfWhoIsNotTrustedForItIsTold) {
    begin();
    const Next step = clientSends(*phase_, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nEHLO a\r\n");
    EXPECT_EQ(expectStep<next::Linger>(step).reason, CloseReason::ForbiddenCommand);
    EXPECT_THAT(client_->heard(), StartsWith("521 5.5.1"));
    EXPECT_EQ(server_->heard(), "");
    EXPECT_THAT(host_->events.text, HasSubstr("\"reason\":\"unexpected_header\""));
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
    EXPECT_TRUE(context_->record.would_refuse.has(Refusal::BareLf));
    EXPECT_EQ(context_->record.would_refuse.size(), 1U);
    EXPECT_THAT(context_->refusalSetAside(), StartsWith("521 5.5.2"));
}

TEST_F(BareLfModes, MessagesWithoutItAreNotRecorded) {
    Config config = makeConfig();
    config.listeners[0].bare_lf = BareLfPolicy::Reject;
    config.listeners[0].mode = ListenerMode::Monitor;
    begin(config);
    exchange("EHLO a\r\n", "250 mx\r\n");
    phase_.reset();
    EXPECT_TRUE(context_->record.would_refuse.empty());
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
    EXPECT_TRUE(context_->record.would_refuse.empty());
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
        EXPECT_TRUE(context_->record.would_refuse.empty());
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

/// The server decides about STARTTLS, and has TLS of its own before the client's begins.
/// Bytes that mean nothing to the gateway: the client's end of TLS is the only sign that they are all.
TEST_F(RelayPhaseTest, AnEndThatWasCutOffIsNoneForTheOtherSideEither) {
    for (const bool says_the_end : {true, false}) {
        Config config = makeConfig(Protocol::Tcp);
        config.listeners[0].tls = ListenerTls::Implicit;
        phase_.reset();
        arriveGreeted(std::move(config), "");
        TlsFiles files;
        TlsConnection connection(TlsServerContext::build({}, {files.certificate({{"mx.example.net"}})},
                                                         std::make_shared<TicketKeys>([] { return 0; })));
        ASSERT_EQ(connection.handshake().state, kDone);
        context_->client() = std::move(connection.server);
        context_->record.tls = std::make_unique<TlsFacts>();
        phase_.emplace(*context_, next::Relay{});
        expectStep<next::Stay>(phase_->begin());
        connection.client.writes("half of it");
        if (says_the_end) SSL_shutdown(connection.client.ssl());
        connection.wire->sends(connection.client.sent());
        connection.wire->finished = true;
        context_->client()->note(kReadable | kHangup);
        const Next step = phase_->onClient(kReadable | kHangup);
        EXPECT_EQ(server_->received, "half of it");
        EXPECT_EQ(server_->got_fin, says_the_end);
        EXPECT_EQ(server_->reset, !says_the_end);
        if (says_the_end)
            expectStep<next::Stay>(step);
        else
            EXPECT_EQ(expectStep<next::Close>(step).reason, CloseReason::ClientClosed);
    }
}

class RelayPhaseMirrorTest : public RelayPhaseTest {
  protected:
    static Config mirroring(bool verify = false) {
        Config config = offeringStartTls();
        config.upstreams[0].tls = UpstreamTls::Mirror;
        config.upstreams[0].tls_options.verify = verify;
        return config;
    }
    /// The server has the client's STARTTLS, and nothing else.
    void asked(Config config = mirroring()) {
        begin(std::move(config));
        exchange("EHLO a\r\n", "250-mx\r\n250 STARTTLS\r\n");
        expectStep<next::Stay>(clientSends(*phase_, "STARTTLS\r\n"));
        EXPECT_EQ(server_->heard(), "STARTTLS\r\n");
    }
    void consented(Config config = mirroring()) {
        asked(std::move(config));
        expectStep<next::Stay>(serverSends("220 2.0.0 go\r\n"));
        EXPECT_EQ(server_->received.front(), '\x16') << "the handshake's first byte";
        EXPECT_EQ(client_->heard(), "") << "it does not know yet";
    }
    /// Until nothing moves or the phase is over.
    Next shakeHands() {
        Next step = next::Stay{};
        while (stays(step) && far_.exchange(*server_))
            step = serverEvent(kReadable);
        return step;
    }
    void expectLost(const Next& step, TlsFailure::Reason reason) {
        EXPECT_EQ(expectStep<next::Linger>(step).reason, CloseReason::ServerLost);
        const std::string heard = client_->heard();
        EXPECT_THAT(heard, StartsWith("454 4.7.0 "));
        EXPECT_THAT(heard, HasSubstr("\r\n421 4.")) << "and that it cannot go on";
        ASSERT_TRUE(context_->record.server_tls);
        EXPECT_EQ(context_->record.server_tls->failure.reason, reason);
        EXPECT_EQ(endpoint().failures_total.load(), 1U);
        EXPECT_EQ(value(endpoint().handshakes.failures[static_cast<std::size_t>(reason)]), 1U);
        EXPECT_EQ(host_->handshakes, 0);
    }
    const ServerEndpoint& endpoint() { return *context_->record.endpoint; }

    TlsFiles files_;
    ScriptedTlsServer far_{ScriptedTlsServer::context(files_.certificate({{"mx.example.net"}}))};
};

TEST_F(RelayPhaseMirrorTest, AnswersTheClientOnceTheServerHasTls) {
    consented();
    const Next step = shakeHands();
    const auto& answered = expectStep<next::ShakeHands>(step);
    ASSERT_TRUE(answered.reply);
    EXPECT_THAT(*answered.reply, StartsWith("220 "));
    EXPECT_EQ(client_->heard(), "") << "the next phase says it";
    EXPECT_EQ(host_->handshakes, 1) << "the client's follows";
    EXPECT_TRUE(context_->server_tls);
    ASSERT_TRUE(context_->record.server_tls);
    EXPECT_EQ(context_->record.server_tls->version, "TLSv1.3");
    EXPECT_FALSE(context_->record.server_tls->verified);
    EXPECT_EQ(value(endpoint().handshakes.versions[1]), 1U);
    far_.exchange(*server_);
    EXPECT_TRUE(far_.established());
}

TEST_F(RelayPhaseMirrorTest, OneEventMayTellThatTheServerSpeaksAndListens) {
    asked();
    server_->sends("220 2.0.0 go\r\n");
    expectStep<next::Stay>(serverEvent(kReadable | kWritable));
    expectStep<next::ShakeHands>(shakeHands());
    far_.exchange(*server_);
    EXPECT_TRUE(far_.established());
}

TEST_F(RelayPhaseMirrorTest, OffersStartTlsOnlyWhereTheServerDoes) {
    begin(mirroring());
    expectStep<next::Stay>(clientSends(*phase_, "EHLO a\r\n"));
    expectStep<next::Stay>(serverSends("250-mx\r\n250 SIZE\r\n"));
    EXPECT_EQ(client_->heard(), "250-mx\r\n250 SIZE\r\n");
}

TEST_F(RelayPhaseMirrorTest, AServersRefusalIsTheClients) {
    asked();
    expectStep<next::Stay>(serverSends("454 4.7.0 TLS not available due to local problem\r\n"));
    EXPECT_EQ(client_->heard(), "454 4.7.0 TLS not available due to local problem\r\n");
    exchange("MAIL FROM:<a@b>\r\n", "250 ok\r\n");
    EXPECT_FALSE(context_->record.server_tls);
    EXPECT_EQ(endpoint().failures_total.load(), 0U);
}

TEST_F(RelayPhaseMirrorTest, AServerThatDoesNotSpeakTlsIsLost) {
    consented();
    expectLost(serverSends("250 what\r\n"), TlsFailure::Reason::NotTls);
}

TEST_F(RelayPhaseMirrorTest, ACertificateThatCannotBeTrustedIsALoss) {
    Config config = mirroring(true);
    config.upstreams[0].tls_options.ca = files_.write("others.pem", CertificateAuthority("Others").pem());
    for (ServerConfig& server : config.upstreams[0].servers)
        server.tls_name = "mx.example.net";
    consented(std::move(config));
    expectLost(shakeHands(), TlsFailure::Reason::UnknownCa);
}

TEST_F(RelayPhaseMirrorTest, ACertificateOfTheCaIsVerified) {
    Config config = mirroring(true);
    config.upstreams[0].tls_options.ca = files_.write("ca.pem", files_.authority.pem());
    for (ServerConfig& server : config.upstreams[0].servers)
        server.tls_name = "mx.example.net";
    consented(std::move(config));
    expectStep<next::ShakeHands>(shakeHands());
    EXPECT_TRUE(context_->record.server_tls->verified);
}

TEST_F(RelayPhaseMirrorTest, AServerThatClosesInsteadIsLost) {
    consented();
    expectLost(serverCloses(), TlsFailure::Reason::PeerClosed);
    asked();
    server_->finished = true;
    expectLost(serverSends("220 2.0.0 go\r\n"), TlsFailure::Reason::PeerClosed);
}

TEST_F(RelayPhaseMirrorTest, AServerThatDoesNotFinishIsLost) {
    consented();
    const Millis limit = context_->config().timeouts.connect.count();
    const Millis now = host_->now();
    expectStep<next::Stay>(phase_->onDrain({CloseReason::Drained, now + 300'000, now + 600'000}));
    host_->advance(limit - 100);
    EXPECT_EQ(events_.deadlines, 0) << "a drain gives it neither less nor more time";
    host_->advance(200);
    EXPECT_EQ(events_.deadlines, 1);
    expectLost(phase_->onDeadline(), TlsFailure::Reason::Timeout);
}

TEST_F(RelayPhaseMirrorTest, WhatAServerSaysBehindItsConsentEndsTheSession) {
    for (const bool at_once : {true, false}) {
        asked();
        const std::string evil = "250-evil\r\n250 AUTH EVIL\r\n";
        if (!at_once) server_->sends("220 2.0.0 go\r\n" + evil);
        const Next step = at_once ? serverSends("220 2.0.0 go\r\n" + evil) : serverEvent(kReadable);
        EXPECT_EQ(expectStep<next::Linger>(step).reason, CloseReason::ServerViolation);
        const std::string heard = client_->heard();
        EXPECT_THAT(heard, StartsWith("421 "));
        EXPECT_THAT(heard, Not(HasSubstr("evil")));
        EXPECT_EQ(server_->heard(), "") << "no handshake either";
    }
}

TEST_F(RelayPhaseMirrorTest, WhatAClientSaysBeforeTheAnswerEndsTheSession) {
    asked();
    expectStep<next::Stay>(clientSends(*phase_, "MAIL FROM:<a@b>\r\n"));
    EXPECT_EQ(expectStep<next::Linger>(serverSends("220 2.0.0 go\r\n")).reason,
              CloseReason::PlaintextAfterStartTls);
    consented();
    expectStep<next::Stay>(clientSends(*phase_, "MAIL FROM:<a@b>\r\n"));
    EXPECT_EQ(expectStep<next::Linger>(shakeHands()).reason, CloseReason::PlaintextAfterStartTls);
    far_.exchange(*server_);
    EXPECT_EQ(far_.heard(), "");
}

TEST_F(RelayPhaseMirrorTest, AClientThatLeavesMeanwhileIsGone) {
    consented();
    expectStep<next::Stay>(clientCloses(*phase_));
    EXPECT_EQ(expectStep<next::Close>(shakeHands()).reason, CloseReason::ClientClosed);
    consented();
    EXPECT_EQ(expectStep<next::Close>(clientEvent(*phase_, kFailed)).reason, CloseReason::ClientReset);
}

TEST_F(RelayPhaseMirrorTest, StepsOfTheHandshakeAreRationed) {
    asked();
    host_->handshake_steps = 0;
    expectStep<next::Stay>(serverSends("220 2.0.0 go\r\n"));
    EXPECT_EQ(server_->heard(), "");
    host_->runAgain();
    EXPECT_EQ(events_.turns.size(), 1U) << "its turn comes";
    host_->handshake_steps = 10;
    expectStep<next::Stay>(phase_->onServer(0));
    expectStep<next::ShakeHands>(shakeHands());
}

TEST_F(RelayPhaseMirrorTest, EndsWhereThereIsNoRoomForTheHandshakeThatTheServerWaitsFor) {
    asked();
    host_->most_handshakes = 0;
    EXPECT_EQ(expectStep<next::Linger>(serverSends("220 2.0.0 go\r\n")).reason, CloseReason::GatewayError);
    EXPECT_THAT(client_->heard(), StartsWith("454 4.7.0 "));
    EXPECT_EQ(endpoint().failures_total.load(), 0U);
}

TEST_F(RelayPhaseMirrorTest, AStopNeedNotWaitForTheHandshake) {
    consented();
    EXPECT_EQ(expectStep<next::Linger>(phase_->onKill()).reason, CloseReason::Killed);
    EXPECT_THAT(client_->heard(), StartsWith("421 "));
}

}  // namespace
}  // namespace mailgate::test
