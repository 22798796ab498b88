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
    EXPECT_EQ(context_->record.facts.tls, "implicit");
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
    const auto& linger = expectStep<next::Linger>(clientSends(*phase_, "a LOGIN bob secret\r\n"));
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
    Session* session_ = nullptr;
};

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

}  // namespace
}  // namespace mailgate::test
