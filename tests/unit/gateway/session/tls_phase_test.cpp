// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/tls_phase.h"

#include "gateway/session/linger_phase.h"
#include "gateway/session/session.h"
#include "gateway/tls/tls_listener.h"
#include "protocols/proxy/decoder.h"
#include "tests/support/scripted_phase.h"
#include "tests/support/tls_files.h"
#include "tests/support/tls_peer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace mailgate::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Config implicitTls(Protocol protocol = Protocol::Imap) {
    Config config = makeConfig(protocol);
    config.listeners[0].tls = ListenerTls::Implicit;
    return config;
}

class TlsPhaseTest : public PhaseTest {
  protected:
    std::shared_ptr<TlsListener> listener(const TlsServerOptions& options = {}) {
        return std::make_shared<TlsListener>(
            options,
            std::vector<CertificateFiles>{files_.combined(files_.authority.issue({{"mx.example.net"}}))},
            std::make_shared<TicketKeys>([] { return 1'800'000'000; }), TlsListener::Callbacks{});
    }
    void arriveSecure(const TlsServerOptions& options = {}) {
        arriveAdmitted(implicitTls());
        host_->endTlsWith(listener(options));
        phase_ = std::make_unique<TlsPhase>(*context_);
    }
    /// What TLS client and phase have for each other, until nothing moves or the phase is over.
    Next shakeHands(Next step) {
        for (int turn = 0; turn < 20 && stays(step); ++turn) {
            peer_.advance();
            const std::string bytes = peer_.sent();
            if (bytes.empty()) break;
            step = clientSends(*phase_, bytes);
            peer_.gets(client_->heard());
        }
        return step;
    }

    TlsFiles files_;
    TlsPeer peer_;
    std::unique_ptr<TlsPhase> phase_;
};

TEST_F(TlsPhaseTest, GoesOnToAServerWhenTheHandshakeIsDone) {
    arriveSecure();
    peer_.asksFor("mx.example.net");
    expectStep<next::Connect>(shakeHands(phase_->begin()));
    ASSERT_TRUE(context_->record.tls);
    EXPECT_EQ(context_->record.tls->version, "TLSv1.3");
    EXPECT_EQ(context_->record.tls->sni, "mx.example.net");
    EXPECT_EQ(context_->record.facts.tls, TlsBegin::Implicit);
    EXPECT_EQ(context_->replyProtocol(), Protocol::Imap);
    EXPECT_EQ(value(context_->record.listenerCounters().handshakes.versions[1]), 1U);
    phase_.reset();
    EXPECT_EQ(host_->handshakes, 0);
}

TEST_F(TlsPhaseTest, TakesWhatCameWithTheHeaderForTheBeginningOfTheHandshake) {
    arriveSecure();
    peer_.advance();
    ASSERT_TRUE(context_->relay.receive(Side::Client, peer_.sent(), false));
    Next step = phase_->begin();
    peer_.gets(client_->heard());
    expectStep<next::Connect>(shakeHands(std::move(step)));
    EXPECT_EQ(context_->relay.bytesFrom(Side::Client), 0U) << "these bytes were TLS's";
}

TEST_F(TlsPhaseTest, SaysNothingInTheClear) {
    arriveSecure();
    EXPECT_EQ(context_->replyProtocol(), Protocol::Tcp);
    expectStep<next::Stay>(phase_->begin());
    expectStep<next::Refuse>(phase_->onDrain({CloseReason::Shutdown, 0, 0}));
    EXPECT_EQ(client_->heard(), "");
}

TEST_F(TlsPhaseTest, TellsWhyAHandshakeFailedAndLingersForTheAlert) {
    arriveSecure({});
    expectStep<next::Stay>(phase_->begin());
    const auto linger = expectStep<next::Linger>(clientSends(*phase_, "a LOGIN bob secret\r\n"));
    EXPECT_EQ(linger.reason, CloseReason::TlsHandshakeFailed);
    EXPECT_FALSE(context_->admitted) << "no session.end is owed";
    phase_.reset();
    LingerPhase lingering(*context_);
    expectStep<next::Stay>(lingering.begin());
    EXPECT_TRUE(client_->got_fin);
    expectStep<next::Close>(clientCloses(lingering));
    const std::string log = host_->takeLog();
    EXPECT_THAT(log, HasSubstr(R"("event":"session.tls_failed")"));
    EXPECT_THAT(log, HasSubstr(R"("reason":"not_tls")"));
    EXPECT_THAT(log, HasSubstr(R"("client":"198.51.100.7")"));
    EXPECT_THAT(log, Not(HasSubstr("secret")));
}

TEST_F(TlsPhaseTest, SendsAnAlertToAClientThatCannotBeServed) {
    TlsServerOptions options;
    options.min_version = "1.3";
    arriveSecure(options);
    SSL_set_max_proto_version(peer_.ssl(), TLS1_2_VERSION);
    expectStep<next::Linger>(shakeHands(phase_->begin()));
    peer_.advance();
    EXPECT_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
    EXPECT_THAT(host_->takeLog(), HasSubstr(R"("reason":"unsupported_version")"));
}

TEST_F(TlsPhaseTest, LogsNoClientThatSentNothing) {
    arriveSecure();
    expectStep<next::Stay>(phase_->begin());
    expectStep<next::Linger>(clientCloses(*phase_));
    EXPECT_EQ(host_->takeLog(), "");
    const auto reason = static_cast<std::size_t>(TlsFailure::Reason::PeerClosed);
    EXPECT_EQ(value(context_->record.listenerCounters().handshakes.failures[reason]), 1U);
}

TEST_F(TlsPhaseTest, WaitsNoLongerThanConfigured) {
    arriveSecure();
    peer_.advance();
    const std::string hello = peer_.sent();
    expectStep<next::Stay>(phase_->begin());
    expectStep<next::Stay>(clientSends(*phase_, hello.substr(0, 20)));
    host_->advance(9'000);
    EXPECT_EQ(events_.deadlines, 0);
    host_->advance(1'100);
    EXPECT_EQ(events_.deadlines, 1);
    expectStep<next::Linger>(phase_->onDeadline());
    EXPECT_THAT(host_->takeLog(), HasSubstr(R"("reason":"timeout")"));
}

TEST_F(TlsPhaseTest, WaitsForItsTurnWhereTooManyShakeHands) {
    arriveSecure();
    host_->handshake_steps = 0;
    peer_.advance();
    const std::string hello = peer_.sent();
    expectStep<next::Stay>(phase_->begin());
    host_->runAgain();
    EXPECT_EQ(events_.turns.size(), 1U);
    host_->handshake_steps = 10;
    expectStep<next::Stay>(clientSends(*phase_, hello));
    EXPECT_EQ(client_->heard(), "") << "its turn is still to come";
    expectStep<next::Stay>(phase_->onClient(0));
    peer_.gets(client_->heard());
    expectStep<next::Connect>(shakeHands(next::Stay{}));
}

TEST_F(TlsPhaseTest, RefusesBeyondTheHandshakesThatThereIsRoomFor) {
    arriveSecure();
    host_->most_handshakes = 0;
    EXPECT_EQ(expectStep<next::Refuse>(phase_->begin()).refusal, Refusal::GatewayFull);
    phase_.reset();
    EXPECT_EQ(host_->handshakes, 0);
}

/// The client has asked for it.
class StartTlsPhaseTest : public TlsPhaseTest {
  protected:
    static constexpr std::string_view kReply = "220 go on\r\n";

    void arriveAsking(Protocol protocol, std::string_view greeting) {
        arriveAsking(makeConfig(protocol), greeting);
    }
    void arriveAsking(Config config, std::string_view greeting) {
        phase_.reset();
        config.listeners[0].tls = ListenerTls::StartTls;
        arriveGreeted(std::move(config), greeting);
        context_->relay.dropHeld(Side::Server);
        host_->endTlsWith(listener());
        phase_ =
            std::make_unique<TlsPhase>(*context_, next::ShakeHands{std::make_unique<std::string>(kReply)});
    }
};

TEST_F(StartTlsPhaseTest, RepliesInTheClearAndKeepsAnSmtpServer) {
    arriveAsking(Protocol::Smtp, "220 mx\r\n");
    Next step = phase_->begin();
    EXPECT_EQ(client_->heard(), kReply);
    EXPECT_TRUE(expectStep<next::Relay>(shakeHands(std::move(step))).greeted);
    EXPECT_FALSE(server_->closed);
    EXPECT_EQ(context_->record.facts.tls, TlsBegin::StartTls);
    EXPECT_EQ(context_->tlsPolicy().stage, TlsPolicy::Stage::Within);
    phase_.reset();
    EXPECT_EQ(host_->handshakes, 0);
}

TEST_F(StartTlsPhaseTest, DropsAServerThatHasToBeToldOfTls) {
    Next step = next::Stay{};
    for (const Protocol protocol : {Protocol::Sieve, Protocol::Pop3, Protocol::Imap}) {
        arriveAsking(protocol, "* OK\r\n");
        step = phase_->begin();
        EXPECT_EQ(client_->heard(), kReply);
        EXPECT_TRUE(server_->closed);
    }
    expectStep<next::Connect>(shakeHands(std::move(step)));
}

TEST_F(StartTlsPhaseTest, KeepsAServerThatHasTlsByNow) {
    for (const Protocol protocol : {Protocol::Sieve, Protocol::Pop3, Protocol::Imap}) {
        Config config = makeConfig(protocol);
        config.upstreams[0].tls = UpstreamTls::Mirror;
        config.upstreams[0].tls_options.verify = false;
        arriveAsking(std::move(config), "* OK\r\n");
        TlsPeer peer;
        Next step = phase_->begin();
        client_->heard();
        for (int turn = 0; turn < 20 && stays(step); ++turn) {
            peer.advance();
            step = clientSends(*phase_, peer.sent());
            peer.gets(client_->heard());
        }
        const bool greets_again = protocol == Protocol::Sieve;
        EXPECT_EQ(expectStep<next::Relay>(step).greeted, !greets_again);
        EXPECT_FALSE(server_->closed);
    }
}

TEST_F(StartTlsPhaseTest, EndsAClientThatGoesOnInTheClear) {
    arriveAsking(Protocol::Smtp, "220 mx\r\n");
    expectStep<next::Stay>(phase_->begin());
    const Next step = clientSends(*phase_, "MAIL FROM:<a@b>\r\n");
    EXPECT_EQ(expectStep<next::Linger>(step).reason, CloseReason::PlaintextAfterStartTls);
    EXPECT_EQ(context_->record.violation, Violation::PlaintextAfterStartTls);
    EXPECT_TRUE(context_->admitted) << "its line is session.end";
    EXPECT_EQ(server_->heard(), "");
}

TEST_F(StartTlsPhaseTest, ReadsNothingBeforeItsReplyIsOut) {
    arriveAsking(Protocol::Smtp, "220 mx\r\n");
    client_->room = 5;
    expectStep<next::Stay>(phase_->begin());
    EXPECT_TRUE(client_->wants_writable);
    expectStep<next::Stay>(clientSends(*phase_, "NOOP\r\n"));
    clientTakesAll();
    const Next step = clientEvent(*phase_, kWritable);
    EXPECT_EQ(client_->heard(), kReply);
    EXPECT_EQ(expectStep<next::Linger>(step).reason, CloseReason::PlaintextAfterStartTls);
}

TEST_F(StartTlsPhaseTest, SaysInTheSessionsLineThatTheHandshakeFailed) {
    arriveAsking(Protocol::Smtp, "220 mx\r\n");
    expectStep<next::Stay>(phase_->begin());
    expectStep<next::Stay>(clientSends(*phase_, "\x16\x03"));
    host_->advance(10'100);
    EXPECT_EQ(events_.deadlines, 1);
    EXPECT_EQ(expectStep<next::Linger>(phase_->onDeadline()).reason, CloseReason::TlsHandshakeFailed);
    EXPECT_TRUE(context_->admitted);
    EXPECT_EQ(value(host_->counters().ends[static_cast<std::size_t>(CloseReason::TlsHandshakeFailed)]), 0U)
        << "session.end counts it";
    EXPECT_THAT(host_->takeLog(), HasSubstr(R"("reason":"timeout")"));
}

TEST_F(StartTlsPhaseTest, LeavesADrainedServerAfterTheHandshake) {
    arriveAsking(Protocol::Smtp, "220 mx\r\n");
    Next step = phase_->begin();
    client_->heard();
    expectStep<next::Stay>(phase_->onDrain({CloseReason::Drained, 0, 0}));
    expectStep<next::Relay>(shakeHands(std::move(step)));
    ASSERT_TRUE(context_->drain);
    EXPECT_EQ(context_->drain->end, CloseReason::Drained);
    arriveAsking(Protocol::Smtp, "220 mx\r\n");
    expectStep<next::Stay>(phase_->begin());
    const Next stopped = phase_->onDrain({CloseReason::Shutdown, 0, 0});
    EXPECT_EQ(expectStep<next::Linger>(stopped).reason, CloseReason::Shutdown);
}

/// The whole session, in front of a server that speaks in the clear.
class TlsSessionTest : public TlsPhaseTest {
  protected:
    void deliver() {
        peer_.advance();
        client_->sends(peer_.sent());
        session_->onEvents(Session::kClientSlot, kReadable);
        host_->runAgain();
        peer_.gets(client_->heard());
    }
    /// A session of IMAP in TLS whose server has greeted.
    void relay() {
        host_ = std::make_unique<ScriptedHost>(implicitTls());
        host_->endTlsWith(listener());
        server_ = host_->nextServer();
        client_ = std::make_shared<ScriptedPeer>();
        session_ = &host_->arrive(client_, false);
        while (host_->connected_to.empty())
            deliver();
        session_->onEvents(server_->slot, kWritable);
        server_->sends("* OK ready\r\n");
        session_->onEvents(server_->slot, kReadable);
        peer_.gets(client_->heard());
        EXPECT_EQ(peer_.reads(), "* OK ready\r\n");
    }
    /// As it was recorded.
    store::JournalSession ended() {
        EXPECT_EQ(host_->records.kept.size(), 1U);
        return host_->records.kept.empty() ? store::JournalSession{} : host_->records.kept.front();
    }
    void clientEnds() {
        client_->finished = true;
        session_->onEvents(Session::kClientSlot, kReadable | kHangup);
        server_->finished = true;
        session_->onEvents(server_->slot, kReadable | kHangup);
        host_->runAgain();
    }

    std::shared_ptr<ScriptedPeer> server_;
    Session* session_ = nullptr;
};

TEST_F(TlsSessionTest, TellsTlsThatBrokeFromAConnectionThatDid) {
    relay();
    client_->sends("a LOGIN bob secret\r\n");
    session_->onEvents(Session::kClientSlot, kReadable);
    EXPECT_EQ(ended().end, "tls_error");
    EXPECT_EQ(ended().tls_error, "protocol_error");
    EXPECT_EQ(value(host_->counters().ends[static_cast<std::size_t>(CloseReason::TlsError)]), 1U);
}

TEST_F(TlsSessionTest, TellsThatAConnectionBroke) {
    relay();
    client_->broken = ECONNRESET;
    session_->onEvents(Session::kClientSlot, kReadable | kFailed);
    EXPECT_EQ(ended().end, "client_reset");
    EXPECT_EQ(ended().tls_error, "");
}

TEST_F(TlsSessionTest, TellsAnEndThatTlsDidNotTellOf) {
    relay();
    clientEnds();
    EXPECT_EQ(ended().end, "client_closed");
    EXPECT_EQ(ended().tls_error, "truncated");
}

TEST_F(TlsSessionTest, HasNothingToTellOfAnEndInOrder) {
    relay();
    SSL_shutdown(peer_.ssl());
    client_->sends(peer_.sent());
    clientEnds();
    EXPECT_EQ(ended().end, "client_closed");
    EXPECT_EQ(ended().tls_error, "");
}

TEST_F(TlsSessionTest, HasNothingToTellOfAnEndBehindTheGoodbye) {
    relay();
    peer_.writes("a LOGOUT\r\n");
    deliver();
    server_->sends("* BYE\r\na OK\r\n");
    session_->onEvents(server_->slot, kReadable);
    clientEnds();
    EXPECT_EQ(ended().end, "client_quit");
    EXPECT_EQ(ended().tls_error, "");
}

TEST_F(TlsSessionTest, RelaysInTheClearAndTellsTheServerOfTls) {
    host_ = std::make_unique<ScriptedHost>(implicitTls());
    host_->endTlsWith(listener());
    auto server = host_->nextServer();
    client_ = std::make_shared<ScriptedPeer>();
    session_ = &host_->arrive(client_, false);
    while (server->heard().empty() && host_->connected_to.empty())
        deliver();
    session_->onEvents(server->slot, kWritable);
    const std::string sent = server->heard();
    const auto decoded = proxy::decode({reinterpret_cast<const std::uint8_t*>(sent.data()), sent.size()});
    const auto* header = std::get_if<proxy::Header>(&decoded);
    ASSERT_NE(header, nullptr);
    ASSERT_TRUE(header->tlvs.ssl);
    EXPECT_TRUE(header->tlvs.ssl->tls);
    EXPECT_EQ(header->tlvs.ssl->version, "TLSv1.3");
    EXPECT_FALSE(header->tlvs.ssl->certificate_verified);
    EXPECT_EQ(header->tlvs.ssl->common_name, "");
    EXPECT_FALSE(header->tlvs.alpn);

    server->sends("* OK ready\r\n");
    session_->onEvents(server->slot, kReadable);
    peer_.gets(client_->heard());
    EXPECT_EQ(peer_.reads(), "* OK ready\r\n");
    peer_.writes("a LOGIN bob builder\r\n");
    deliver();
    EXPECT_EQ(server->heard(), "a LOGIN bob builder\r\n");
    server->sends("a OK done\r\n");
    session_->onEvents(server->slot, kReadable);
    session_->abort(CloseReason::Killed);
    ASSERT_EQ(host_->records.kept.size(), 1U);
    const store::JournalSession& record = host_->records.kept.front();
    EXPECT_EQ(record.user, "bob");
    EXPECT_EQ(record.tls, "implicit");
    EXPECT_EQ(record.tls_version, "TLSv1.3");
    EXPECT_EQ(record.bytes_in, 21U);
}

TEST_F(TlsSessionTest, ConnectsAnewAfterStartTls) {
    Config config = makeConfig(Protocol::Imap);
    config.listeners[0].tls = ListenerTls::StartTls;
    config.listeners[0].tls_required = true;
    host_ = std::make_unique<ScriptedHost>(std::move(config));
    host_->endTlsWith(listener());
    auto first = host_->nextServer();
    auto second = host_->nextServer();
    client_ = std::make_shared<ScriptedPeer>();
    session_ = &host_->arrive(client_, false);
    const auto said = [&](const std::shared_ptr<ScriptedPeer>& by, std::string_view text) {
        by->sends(text);
        session_->onEvents(by == client_ ? Session::kClientSlot : by->slot, kReadable);
        host_->runAgain();
    };
    session_->onEvents(first->slot, kWritable);
    first->heard();
    said(first, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n");
    EXPECT_EQ(client_->heard(), "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready\r\n");
    said(client_, "a LOGIN bob builder\r\n");
    EXPECT_THAT(client_->heard(), HasSubstr("a NO [PRIVACYREQUIRED]"));
    said(client_, "s STARTTLS\r\n");
    EXPECT_THAT(client_->heard(), HasSubstr("s OK"));
    EXPECT_TRUE(first->closed);
    EXPECT_EQ(first->heard(), "") << "it knows nothing of all that";
    while (host_->connected_to.size() < 2)
        deliver();
    EXPECT_EQ(host_->connected_to[0], host_->connected_to[1]);
    session_->onEvents(second->slot, kWritable);
    peer_.writes("b LOGIN bob builder\r\n");
    deliver();
    const std::string sent = second->heard();
    EXPECT_THAT(sent, ::testing::EndsWith(" CAPABILITY\r\n"));
    EXPECT_THAT(sent, Not(HasSubstr("LOGIN"))) << "the login waits for the greeting";
    said(second, "* OK ready\r\n* CAPABILITY IMAP4rev1\r\nG0 OK done\r\n");
    EXPECT_EQ(second->heard(), "b LOGIN bob builder\r\n");
    said(second, "b OK in\r\n");
    peer_.gets(client_->heard());
    EXPECT_EQ(peer_.reads(), "b OK in\r\n");
    session_->abort(CloseReason::Killed);
    ASSERT_EQ(host_->records.kept.size(), 1U);
    const store::JournalSession& record = host_->records.kept.front();
    EXPECT_EQ(record.user, "bob");
    EXPECT_EQ(record.tls, "starttls");
    EXPECT_EQ(record.tls_version, "TLSv1.3");
}

}  // namespace
}  // namespace mailgate::test
