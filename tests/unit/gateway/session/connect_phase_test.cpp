// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/connect_phase.h"

#include "protocols/proxy/decoder.h"
#include "tests/support/scripted_phase.h"
#include "tests/support/tls_files.h"

#include <array>

namespace mailgate::test {
namespace {

class ConnectPhaseTest : public PhaseTest {
  protected:
    Next begin() {
        phase_.emplace(*context_);
        return phase_->begin();
    }
    Next begin(Config config) {
        arriveAdmitted(std::move(config));
        server_ = host_->nextServer();
        return begin();
    }
    /// Its header is out, and nothing else.
    void awaitingGreeting(Config config = makeConfig()) {
        expectStep<next::Stay>(begin(std::move(config)));
        expectStep<next::Stay>(phase_->onServer(kWritable));
        EXPECT_EQ(phase_->name(), "awaiting_greeting");
    }
    Next serverSends(std::string_view bytes) {
        server_->sends(bytes);
        return phase_->onServer(kReadable);
    }
    std::uint32_t sessionsOfServers() {
        std::uint32_t sessions = 0;
        for (const auto& endpoint : context_->record.pool().endpoints())
            sessions += endpoint->sessions.load();
        return sessions;
    }
    /// What the header says of TLS, if anything.
    std::optional<proxy::SslInfo> toldOfTls() {
        server_ = host_->nextServer();
        expectStep<next::Stay>(begin());
        expectStep<next::Stay>(phase_->onServer(kWritable));
        return tlsIn(server_->received);
    }
    static std::optional<proxy::SslInfo> tlsIn(const std::string& sent) {
        const auto decoded = proxy::decode({reinterpret_cast<const std::uint8_t*>(sent.data()), sent.size()});
        const auto* header = std::get_if<proxy::Header>(&decoded);
        EXPECT_TRUE(header);
        return header ? header->tlvs.ssl : std::nullopt;
    }
    Drain drainedNow() { return {CloseReason::Drained, host_->now(), host_->now() + 1'000}; }

    std::optional<ConnectPhase> phase_;
};

TEST_F(ConnectPhaseTest, RelaysOnceAServerHasTakenTheHeaderAndGreeted) {
    expectStep<next::Stay>(begin(makeConfig()));
    EXPECT_EQ(phase_->name(), "connecting");
    EXPECT_EQ(host_->spoke_first, std::vector<bool>{true});
    EXPECT_EQ(sessionsOfServers(), 1U);
    expectStep<next::Stay>(phase_->onServer(kWritable));
    const auto decoded = proxy::decode(
        {reinterpret_cast<const std::uint8_t*>(server_->received.data()), server_->received.size()});
    const auto* header = std::get_if<proxy::Header>(&decoded);
    ASSERT_NE(header, nullptr);
    EXPECT_EQ(header->size, server_->received.size());
    EXPECT_EQ(header->source.toString(), "198.51.100.7:55555");
    expectStep<next::Stay>(serverSends("220 m"));
    expectStep<next::Relay>(serverSends("x\r\n"));
    EXPECT_FALSE(context_->drain);
    EXPECT_EQ(context_->relay.held(Side::Server), "220 mx\r\n");
    EXPECT_EQ(context_->relay.bytesFrom(Side::Server), 8U);
    EXPECT_NE(context_->server(), nullptr);
    EXPECT_EQ(client_->received, "") << "it is for the relay to hand it on";
}

TEST_F(ConnectPhaseTest, TriesEachServerOnce) {
    awaitingGreeting();
    auto second = host_->nextServer();
    server_->finished = true;
    const unsigned slot = context_->server_slot;
    expectStep<next::Stay>(phase_->onServer(kReadable | kHangup));
    EXPECT_TRUE(server_->closed);
    EXPECT_NE(context_->server_slot, slot) << "events of the first are not the second's";
    EXPECT_EQ(host_->connected_to.size(), 2U);
    EXPECT_EQ(sessionsOfServers(), 1U);
    expectStep<next::Stay>(phase_->onServer(kWritable));
    second->sends("421 4.3.0 not today\r\n");
    expectStep<next::Stay>(phase_->onServer(kReadable));
    EXPECT_EQ(phase_->name(), "holding");
    EXPECT_EQ(sessionsOfServers(), 0U);
}

TEST_F(ConnectPhaseTest, ReadsAGreetingThatCameAlongWithTheConnection) {
    Config config = makeConfig();
    config.upstreams[0].send_proxy = SendProxy::Off;
    expectStep<next::Stay>(begin(config));
    EXPECT_EQ(host_->spoke_first, std::vector<bool>{false});
    server_->sends("220 mx\r\n");
    expectStep<next::Relay>(phase_->onServer(kWritable | kReadable));
    EXPECT_EQ(server_->received, "");
}

TEST_F(ConnectPhaseTest, ASlowServerIsPassedOver) {
    expectStep<next::Stay>(begin(makeConfig()));
    auto second = host_->nextServer();
    expectStep<next::Stay>(phase_->onDeadline());
    EXPECT_TRUE(server_->closed);
    expectStep<next::Stay>(phase_->onServer(kWritable));
    expectStep<next::Stay>(phase_->onDeadline());
    EXPECT_TRUE(second->closed);
    EXPECT_EQ(phase_->name(), "holding");
}

TEST_F(ConnectPhaseTest, HoldsTheClientUntilAServerComesOrTheTimeIsOver) {
    arriveAdmitted(makeConfig());
    expectStep<next::Stay>(begin());
    EXPECT_EQ(phase_->name(), "holding");
    EXPECT_EQ(host_->connected_to.size(), 2U);
    host_->advance(1'100);
    EXPECT_EQ(events_.deadlines, 1);
    expectStep<next::Stay>(phase_->onDeadline());
    EXPECT_EQ(host_->connected_to.size(), 4U);
    host_->advance(context_->config().timeouts.hold.count());
    EXPECT_EQ(expectStep<next::Refuse>(phase_->onDeadline()).refusal, Refusal::NoServer);
    EXPECT_EQ(context_->record.endpoint, nullptr);
}

TEST_F(ConnectPhaseTest, HoldsTheClientOfAServerThatEndsWithoutAWord) {
    const Millis hold = makeConfig().timeouts.hold.count();
    ASSERT_GT(hold, 10'000);
    for (const bool reset : {false, true}) {
        awaitingGreeting();
        if (reset)
            server_->broken = ECONNRESET;
        else
            server_->finished = true;
        expectStep<next::Stay>(phase_->onServer(kReadable | (reset ? kFailed : kHangup)));
        host_->advance(hold - 3'000);
        expectStep<next::Stay>(phase_->onDeadline());
        EXPECT_EQ(phase_->name(), "holding");
        host_->advance(3'000);
        EXPECT_EQ(expectStep<next::Refuse>(phase_->onDeadline()).refusal, Refusal::NoServer);
    }
}

TEST_F(ConnectPhaseTest, AWantOfDescriptorsIsNoServersFault) {
    arriveAdmitted(makeConfig());
    host_->connect_error = EMFILE;
    EXPECT_EQ(expectStep<next::Refuse>(begin()).refusal, Refusal::Internal);
    EXPECT_EQ(host_->connected_to.size(), 1U);
}

TEST_F(ConnectPhaseTest, WhatNobodyCanReadIsRelayedAsSoonAsTheHeaderIsOut) {
    expectStep<next::Stay>(begin(makeConfig(Protocol::Tcp)));
    expectStep<next::Relay>(phase_->onServer(kWritable));
    Config passthrough = makeConfig(Protocol::Imap);
    passthrough.listeners[0].tls = ListenerTls::Passthrough;
    expectStep<next::Stay>(begin(passthrough));
    expectStep<next::Relay>(phase_->onServer(kWritable));
    EXPECT_EQ(context_->record.facts.tls, TlsBegin::Passthrough);
}

TEST_F(ConnectPhaseTest, AClientThatOpensWithTlsNeedNotWaitForAGreeting) {
    awaitingGreeting();
    expectStep<next::Stay>(serverSends("220-half"));
    expectStep<next::Relay>(clientSends(*phase_, "\x16\x03\x01"));
    EXPECT_EQ(context_->relay.held(Side::Server), "220-half") << "what the server has said is not lost";
    EXPECT_EQ(client_->to_read, "\x16\x03\x01") << "it is for the relay to read it";
}

TEST_F(ConnectPhaseTest, AClientThatSpeaksTooEarlyIsNotRead) {
    awaitingGreeting();
    expectStep<next::Stay>(clientSends(*phase_, "EHLO early\r\n"));
    EXPECT_EQ(client_->to_read, "EHLO early\r\n");
}

TEST_F(ConnectPhaseTest, NobodyIsConnectedForAClientThatIsGone) {
    awaitingGreeting();
    EXPECT_EQ(expectStep<next::Close>(clientEvent(*phase_, kFailed)).reason, CloseReason::ClientReset);
}

TEST_F(ConnectPhaseTest, ADrainOfItsServerGoesAlongAndEndsWithTheServer) {
    awaitingGreeting();
    expectStep<next::Stay>(phase_->onDrain(drainedNow()));
    expectStep<next::Relay>(serverSends("220 mx\r\n"));
    ASSERT_TRUE(context_->drain);
    EXPECT_EQ(context_->drain->end, CloseReason::Drained);

    awaitingGreeting();
    expectStep<next::Stay>(phase_->onDrain(drainedNow()));
    auto second = host_->nextServer();
    server_->finished = true;
    expectStep<next::Stay>(phase_->onServer(kReadable | kHangup));
    expectStep<next::Stay>(phase_->onServer(kWritable));
    second->sends("220 mx\r\n");
    expectStep<next::Relay>(phase_->onServer(kReadable));
    EXPECT_FALSE(context_->drain);

    awaitingGreeting();
    expectStep<next::Stay>(phase_->onDrain(drainedNow()));
    context_->undrain();
    expectStep<next::Relay>(serverSends("220 mx\r\n"));
    EXPECT_FALSE(context_->drain);
}

TEST_F(ConnectPhaseTest, BehindStartTlsTheGatewaysDrainLastsAndThatOfTheServerBeforeDoesNot) {
    for (const CloseReason reason : {CloseReason::Shutdown, CloseReason::Drained}) {
        phase_.reset();
        arriveAdmitted(makeConfig());
        server_ = host_->nextServer();
        context_->drainAs({reason, host_->now(), host_->now() + 1'000});
        phase_.emplace(*context_);
        expectStep<next::Stay>(phase_->begin());
        EXPECT_EQ(context_->drain != nullptr, reason == CloseReason::Shutdown);
    }
}

TEST_F(ConnectPhaseTest, AStopRefusesWhoIsNotServedYet) {
    awaitingGreeting();
    const Next step = phase_->onDrain({CloseReason::Shutdown, host_->now(), host_->now()});
    EXPECT_EQ(expectStep<next::Refuse>(step).refusal, Refusal::ShuttingDown);
}

/// The second way to a server: the client has gone on within TLS.
class ConnectAfterStartTlsTest : public ConnectPhaseTest {
  protected:
    void beginAgain(Protocol protocol) {
        Config config = makeConfig(protocol);
        config.listeners[0].tls = ListenerTls::StartTls;
        arriveAdmitted(std::move(config));
        context_->record.tls = std::make_unique<TlsFacts>();
        context_->record.tls->version = "TLSv1.3";
        context_->record.endpoint = context_->record.pool().endpoints().back();
        server_ = host_->nextServer();
        expectStep<next::Stay>(begin());
        expectStep<next::Stay>(phase_->onServer(kWritable));
        EXPECT_EQ(phase_->name(), "awaiting_greeting");
    }
    /// What the server has got behind the header, in which it is told of TLS.
    std::string behindHeader() {
        const std::string heard = server_->heard();
        const auto decoded =
            proxy::decode({reinterpret_cast<const std::uint8_t*>(heard.data()), heard.size()});
        const auto* header = std::get_if<proxy::Header>(&decoded);
        if (!header || !header->tlvs.ssl || !header->tlvs.ssl->tls) return "no header that tells of TLS";
        return heard.substr(header->size);
    }
};

TEST_F(ConnectAfterStartTlsTest, SwallowsTheGreetingOfTheServerBefore) {
    beginAgain(Protocol::Imap);
    EXPECT_EQ(host_->connected_to, std::vector<std::string>{"192.0.2.2:25"});
    const std::string question = behindHeader();
    EXPECT_TRUE(question.ends_with(" CAPABILITY\r\n")) << question;
    const std::string tag = question.substr(0, question.find(' '));
    expectStep<next::Stay>(serverSends("* OK wait\r\n"));
    expectStep<next::Stay>(serverSends("* OK ready\r\n* CAPABILITY IMAP4rev1\r\n" + tag.substr(0, 1)));
    EXPECT_EQ(phase_->name(), "awaiting_greeting");
    EXPECT_TRUE(expectStep<next::Relay>(serverSends(tag.substr(1) + " OK done\r\n")).greeted);
    EXPECT_EQ(context_->relay.held(Side::Server), "");
}

TEST_F(ConnectAfterStartTlsTest, HandsOnWhatManageSieveSendsUnasked) {
    beginAgain(Protocol::Sieve);
    EXPECT_EQ(behindHeader(), "");
    expectStep<next::Stay>(serverSends("\"SASL\" \"PLAIN\"\r\n"));
    EXPECT_FALSE(expectStep<next::Relay>(serverSends("OK\r\n")).greeted);
    EXPECT_EQ(context_->relay.held(Side::Server), "\"SASL\" \"PLAIN\"\r\nOK\r\n");
}

TEST_F(ConnectAfterStartTlsTest, GoesOnToAnotherServer) {
    beginAgain(Protocol::Pop3);
    auto second = host_->nextServer();
    server_->finished = true;
    expectStep<next::Stay>(phase_->onServer(kReadable | kHangup));
    EXPECT_EQ(host_->connected_to, (std::vector<std::string>{"192.0.2.2:25", "192.0.2.1:25"}));
    expectStep<next::Stay>(phase_->onServer(kWritable));
    second->sends("+OK ready\r\n");
    EXPECT_TRUE(expectStep<next::Relay>(phase_->onServer(kReadable)).greeted);
}

TEST_F(ConnectAfterStartTlsTest, GivesUpAServerThatSaysTooMuchOrEndsInItsGreeting) {
    beginAgain(Protocol::Pop3);
    expectStep<next::Stay>(serverSends("+OK ready\r\n+OK injected\r\n"));
    EXPECT_EQ(phase_->name(), "holding");
    beginAgain(Protocol::Imap);
    expectStep<next::Stay>(serverSends("* OK ready\r\n"));
    server_->finished = true;
    expectStep<next::Stay>(phase_->onServer(kReadable | kHangup));
    EXPECT_EQ(phase_->name(), "holding");
    beginAgain(Protocol::Imap);
    expectStep<next::Stay>(serverSends("* OK ready\r\n"));
    host_->advance(31'000);
    EXPECT_EQ(events_.deadlines, 1);
    EXPECT_EQ(expectStep<next::Refuse>(phase_->onDeadline()).refusal, Refusal::NoServer);
}

TEST_F(ConnectPhaseTest, PassesABalancersWordForTlsWithoutANameThatNobodyVouchesFor) {
    arriveAdmitted(makeConfig());
    auto tlvs = std::make_unique<proxy::Tlvs>();
    tlvs->ssl.emplace();
    tlvs->ssl->tls = true;
    tlvs->ssl->version = "TLSv1.2";
    tlvs->ssl->common_name = "mallory";
    context_->record.tlvs = std::move(tlvs);
    const auto told = toldOfTls();
    ASSERT_TRUE(told);
    EXPECT_TRUE(told->tls);
    EXPECT_EQ(told->version, "TLSv1.2");
    EXPECT_EQ(told->common_name, "");
}

TEST_F(ConnectPhaseTest, TellsOfTlsThatABalancerEndsWithoutSayingSo) {
    Config config = makeConfig();
    config.listeners[0].trusted_tls = {networkAround(IpAddress::parse("10.0.0.9")->bytes, 128)};
    arriveAdmitted(std::move(config));
    context_->record.arrival.header_expected = true;
    const auto told = toldOfTls();
    ASSERT_TRUE(told);
    EXPECT_TRUE(told->tls);
}

/// The server is a TlsTransport too, behind the header.
class ConnectPhaseTlsTest : public ConnectPhaseTest {
  protected:
    /// Its header is out, and the beginning of a handshake.
    void shakingHands(UpstreamTls tls = UpstreamTls::Implicit, Config config = makeConfig()) {
        config.upstreams[0].tls = tls;
        config.upstreams[0].tls_options.verify = false;
        arriveAdmitted(std::move(config));
        if (context_->record.listener().tls == ListenerTls::StartTls)
            context_->record.tls = std::make_unique<TlsFacts>();
        server_ = host_->nextServer();
        expectStep<next::Stay>(begin());
        expectStep<next::Stay>(phase_->onServer(kWritable));
        EXPECT_EQ(phase_->name(), "connecting");
        auto below = std::unique_ptr<Transport>(std::make_unique<ScriptedTransport>(far_below_));
        const auto tickets = std::make_shared<TicketKeys>([] { return 1'800'000'000; });
        far_ = TlsTransport::accept(
            below, TlsServerContext::build({}, {files_.certificate({{"mx.example.net"}})}, tickets));
        if (tls == UpstreamTls::Implicit) skipHeader();
    }
    void skipHeader() { server_->received.erase(0, server_->received.find('\x16')); }
    Next carry() {
        far_below_->sends(server_->heard());
        far_->note(kReadable);
        far_->advance(0);
        server_->sends(far_below_->heard());
        return phase_->onServer(kReadable);
    }
    const ServerEndpoint& endpoint() { return *context_->record.endpoint; }

    TlsFiles files_;
    std::shared_ptr<ScriptedPeer> far_below_ = std::make_shared<ScriptedPeer>();
    std::unique_ptr<TlsTransport> far_;
};

TEST_F(ConnectPhaseTlsTest, RelaysBehindTheHandshake) {
    shakingHands();
    expectStep<next::Stay>(carry());
    EXPECT_EQ(phase_->name(), "awaiting_greeting");
    EXPECT_EQ(value(endpoint().handshakes.versions[1]), 1U);
    EXPECT_GT(endpoint().certificate_expires.load(), 0);
    far_below_->sends(server_->heard());
    far_->note(kReadable);
    ASSERT_EQ(far_->advance(0).state, TlsTransport::Handshake::State::Done);
    far_->write("220 mx\r\n");
    server_->sends(far_below_->heard());
    expectStep<next::Relay>(phase_->onServer(kReadable));
    EXPECT_EQ(context_->relay.held(Side::Server), "220 mx\r\n");
    EXPECT_TRUE(context_->server_tls);
    ASSERT_TRUE(context_->record.server_tls);
    EXPECT_EQ(context_->record.server_tls->version, "TLSv1.3");
    EXPECT_EQ(context_->tlsPolicy().stage, TlsPolicy::Stage::ToServer);
    EXPECT_FALSE(context_->serverCutOff());
    context_->leaveServer();
    EXPECT_TRUE(server_->got_fin) << "behind the end of TLS";
}

TEST_F(ConnectPhaseTlsTest, TheGreetingFromBeforeStartTlsIsTheClients) {
    shakingHands(UpstreamTls::StartTls);
    server_->heard();
    expectStep<next::Stay>(serverSends("220 mx\r\n"));
    EXPECT_EQ(server_->heard().substr(0, 5), "EHLO ");
    expectStep<next::Stay>(serverSends("250-mx\r\n250 STARTTLS\r\n"));
    EXPECT_EQ(server_->heard(), "STARTTLS\r\n");
    EXPECT_EQ(phase_->name(), "connecting");
    expectStep<next::Stay>(serverSends("220 go ahead\r\n"));
    expectStep<next::Relay>(carry());
    EXPECT_EQ(context_->relay.held(Side::Server), "220 mx\r\n");
}

TEST_F(ConnectPhaseTlsTest, ASilenceBehindTheGreetingIsNotOneInsteadOfIt) {
    for (const bool greets : {false, true}) {
        Config config = makeConfig();
        config.upstreams[0].check = false;
        config.upstreams[0].fall = 1;
        shakingHands(UpstreamTls::StartTls, std::move(config));
        if (greets) expectStep<next::Stay>(serverSends("220 mx\r\n"));
        const auto asked = context_->record.endpoint;
        expectStep<next::Stay>(phase_->onDeadline());
        EXPECT_EQ(asked->health.reason(), greets ? "does not start TLS in time" : "no greeting in time");
    }
}

TEST_F(ConnectPhaseTlsTest, WhatIsAskedAfterTheClientsStartTlsGoesInside) {
    Config config = makeConfig(Protocol::Imap);
    config.listeners[0].tls = ListenerTls::StartTls;
    shakingHands(UpstreamTls::Implicit, std::move(config));
    expectStep<next::Stay>(carry());
    EXPECT_EQ(phase_->name(), "awaiting_greeting");
    far_below_->sends(server_->heard());
    far_->note(kReadable);
    ASSERT_EQ(far_->advance(0).state, TlsTransport::Handshake::State::Done);
    std::array<char, 100> question{};
    const IoResult got = far_->read(question);
    const std::string_view asked(question.data(), got.bytes);
    EXPECT_TRUE(asked.ends_with(" CAPABILITY\r\n")) << asked;
    // A record each, and one event for them all.
    far_->write("* OK ready\r\n");
    far_->write("* CAPABILITY IMAP4rev1\r\n");
    far_->write(std::string(asked.substr(0, asked.find(' '))) + " OK done\r\n");
    server_->sends(far_below_->heard());
    EXPECT_TRUE(expectStep<next::Relay>(phase_->onServer(kReadable)).greeted);
    EXPECT_EQ(context_->relay.held(Side::Server), "");
    EXPECT_TRUE(context_->server_tls);
    EXPECT_EQ(context_->tlsPolicy().stage, TlsPolicy::Stage::Within);
}

TEST_F(ConnectPhaseTlsTest, WhereStartTlsIsMirroredItWaitsForTheClients) {
    Config config = makeConfig();
    config.listeners[0].tls = ListenerTls::StartTls;
    config.upstreams[0].tls = UpstreamTls::Mirror;
    config.upstreams[0].tls_options.verify = false;
    awaitingGreeting(std::move(config));
    expectStep<next::Relay>(serverSends("220 mx\r\n"));
    EXPECT_FALSE(context_->server_tls);
    EXPECT_FALSE(context_->record.server_tls);
    EXPECT_TRUE(context_->tlsPolicy().mirror);
    EXPECT_EQ(context_->tlsPolicy().stage, TlsPolicy::Stage::Before);
}

TEST_F(ConnectPhaseTlsTest, AClientThatHasTlsAlreadyIsMirroredBeforehand) {
    Config config = makeConfig();
    config.listeners[0].tls = ListenerTls::StartTls;
    shakingHands(UpstreamTls::Mirror, std::move(config));
    EXPECT_FALSE(tlsIn(server_->heard())) << "it would offer no STARTTLS to who has TLS already";
    expectStep<next::Stay>(serverSends("220 mx\r\n"));
    EXPECT_EQ(server_->heard().substr(0, 5), "EHLO ");
    expectStep<next::Stay>(serverSends("250-mx\r\n250 STARTTLS\r\n"));
    EXPECT_EQ(server_->heard(), "STARTTLS\r\n");
}

TEST_F(ConnectPhaseTlsTest, StepsOfTheHandshakeAreRationed) {
    shakingHands();
    host_->handshake_steps = 0;
    expectStep<next::Stay>(carry());
    EXPECT_EQ(phase_->name(), "connecting");
    host_->runAgain();
    EXPECT_EQ(events_.turns.size(), 1U) << "its turn comes";
    host_->handshake_steps = 1;
    expectStep<next::Stay>(phase_->onServer(0));
    EXPECT_EQ(phase_->name(), "awaiting_greeting");
}

TEST_F(ConnectPhaseTlsTest, AServerThatDoesNotFinishTheHandshakeIsPassedOver) {
    shakingHands();
    auto second = host_->nextServer();
    const auto first = context_->record.endpoint;
    expectStep<next::Stay>(phase_->onDeadline());
    EXPECT_TRUE(server_->closed);
    EXPECT_EQ(value(first->handshakes.failures[static_cast<std::size_t>(TlsFailure::Reason::Timeout)]), 1U);
    EXPECT_EQ(first->failures_total.load(), 1U);
    EXPECT_EQ(host_->connected_to.size(), 2U);
}

}  // namespace
}  // namespace mailgate::test
