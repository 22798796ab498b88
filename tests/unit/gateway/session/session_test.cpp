// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session.h"

#include "protocols/proxy/decoder.h"
#include "protocols/proxy/encoder.h"
#include "tests/support/scripted_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace mailgate::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::string kHeader = "PROXY TCP4 198.51.100.7 203.0.113.10 55555 25\r\n";

/// Some 64 bytes of transports and what malloc adds make it less than 600: what each of ten thousand idle clients costs.
static_assert(sizeof(Session) <= 504);

class SessionTest : public ::testing::Test {
  protected:
    void configure(Config config) { host_ = std::make_unique<ScriptedHost>(std::move(config)); }

    ScriptedHost& host() {
        if (!host_) configure(makeConfig());
        return *host_;
    }

    Session& arrive(bool expect_header = true) {
        client_ = std::make_shared<ScriptedPeer>();
        session_ = &host().arrive(client_, expect_header);
        return *session_;
    }

    void clientSends(std::string_view bytes) {
        client_->sends(bytes);
        if (!client_->closed) session_->onEvents(Session::kClientSlot, kReadable);
        host().runAgain();
    }
    void clientCloses() {
        client_->finished = true;
        if (!client_->closed) session_->onEvents(Session::kClientSlot, kReadable | kHangup);
        host().runAgain();
    }
    void serverSends(ScriptedPeer& server, std::string_view bytes) {
        server.sends(bytes);
        session_->onEvents(server.slot, kReadable);
        host().runAgain();
    }
    void serverCloses(ScriptedPeer& server) {
        server.finished = true;
        session_->onEvents(server.slot, kReadable | kHangup);
        host().runAgain();
    }
    void established(ScriptedPeer& server) { session_->onEvents(server.slot, kWritable); }

    /// A session in the relay, header and greeting done with.
    std::shared_ptr<ScriptedPeer> relaying(std::string_view greeting = "220 mx ready\r\n") {
        auto server = host().nextServer();
        arrive();
        clientSends(kHeader);
        established(*server);
        serverSends(*server, greeting);
        EXPECT_EQ(client_->heard(), greeting);
        server->heard();
        return server;
    }

    std::unique_ptr<ScriptedHost> host_;
    std::shared_ptr<ScriptedPeer> client_;
    Session* session_ = nullptr;
};

TEST_F(SessionTest, SendsOneHeaderWithTheOriginalAddressBeforeAnythingElse) {
    auto server = host().nextServer();
    arrive();
    clientSends(kHeader + "EHLO early\r\n");
    established(*server);
    const std::string sent = server->heard();
    const auto decoded = proxy::decode({reinterpret_cast<const std::uint8_t*>(sent.data()), sent.size()});
    const auto* header = std::get_if<proxy::Header>(&decoded);
    ASSERT_NE(header, nullptr);
    EXPECT_EQ(header->size, sent.size()) << "what the client said early waits for the greeting";
    EXPECT_EQ(header->source.toString(), "198.51.100.7:55555");
    EXPECT_EQ(header->destination.toString(), "203.0.113.10:25");
    EXPECT_EQ(header->tlvs.unique_id, std::string(session_->id().text()));
    serverSends(*server, "220 mx\r\n");
    EXPECT_EQ(client_->heard(), "220 mx\r\n");
    EXPECT_EQ(server->heard(), "EHLO early\r\n");
}

TEST_F(SessionTest, InMonitorModeAClientThatTheRulesDenyIsServedAndRecorded) {
    Config config = makeConfig();
    config.listeners[0].access = AccessDefault::Allowlist;
    config.listeners[0].mode = ListenerMode::Monitor;
    config.listeners[0].refusal_footer = "ask us";
    configure(config);
    auto server = relaying();
    clientSends("QUIT\r\n");
    serverSends(*server, "221 bye\r\n");
    const std::string id(session_->id().text());
    serverCloses(*server);
    EXPECT_EQ(client_->heard(), "221 bye\r\n");
    const std::string log = host().takeLog();
    EXPECT_THAT(log, HasSubstr("\"event\":\"session.end\""));
    EXPECT_THAT(log, HasSubstr("\"access\":\"deny\",\"rule\":null"));
    EXPECT_THAT(
        log, HasSubstr("\"would_refuse\":[\"access\"],\"reply\":\"554 5.7.1 gw.example 198.51.100.7 is not "
                       "allowed to use this service [id " +
                       id + "]; ask us\""));
    EXPECT_THAT(log, Not(HasSubstr("session.refused")));
    ASSERT_EQ(host().records.kept.size(), 1U);
    EXPECT_EQ(host().records.kept[0].would_refuse, std::vector<std::string>{"access"});
    EXPECT_FALSE(host().records.kept[0].allowed);
}

// Dovecot 2.4 takes a header's ALPN for its own and closes a connection whose protocol it does not know.
TEST_F(SessionTest, HandsOnWhatTheBalancerSaidOfTheClientButNotWhatItNegotiated) {
    using proxy::TlvType;
    const auto tlv = [](TlvType type, std::string value) {
        return proxy::Tlv{static_cast<std::uint8_t>(type), std::move(value)};
    };
    auto server = host().nextServer();
    arrive();
    clientSends(
        proxy::encodeV2({{*IpAddress::parse("198.51.100.7"), 55555}, {*IpAddress::parse("203.0.113.10"), 25}},
                        {tlv(TlvType::Alpn, "h2"), tlv(TlvType::Authority, "mx.example.org")}));
    established(*server);
    const std::string sent = server->heard();
    const auto decoded = proxy::decode({reinterpret_cast<const std::uint8_t*>(sent.data()), sent.size()});
    const auto* header = std::get_if<proxy::Header>(&decoded);
    ASSERT_NE(header, nullptr);
    EXPECT_EQ(header->tlvs.authority, "mx.example.org");
    EXPECT_FALSE(header->tlvs.alpn);
}

TEST_F(SessionTest, GivesTheSameResultForAHeaderThatComesByteByByte) {
    auto server = host().nextServer();
    arrive();
    for (const char byte : kHeader)
        clientSends(std::string(1, byte));
    established(*server);
    EXPECT_FALSE(server->heard().empty());
    serverSends(*server, "220 mx\r\n");
    EXPECT_EQ(client_->heard(), "220 mx\r\n");
}

TEST_F(SessionTest, SaysNothingAndConnectsNowhereBeforeTheHeaderIsWhole) {
    arrive();
    clientSends(kHeader.substr(0, kHeader.size() - 1));
    EXPECT_TRUE(client_->received.empty());
    EXPECT_TRUE(host().connected_to.empty());
    host().advance(6'000);
    EXPECT_TRUE(client_->closed);
    EXPECT_TRUE(client_->received.empty());
    EXPECT_THAT(host().takeLog(), HasSubstr("\"reason\":\"header_timeout\""));
}

TEST_F(SessionTest, TellsASilentBalancerFromASlowOne) {
    arrive();
    host().advance(6'000);
    EXPECT_TRUE(client_->closed);
    const std::string log = host().takeLog();
    EXPECT_THAT(log, HasSubstr("\"reason\":\"no_header\""));
    EXPECT_THAT(log, HasSubstr("on_first_ack"));
}

TEST_F(SessionTest, CountsTheHeaderLimitFromTheAcceptNotFromTheLastByte) {
    arrive();
    for (int second = 0; second < 4; ++second) {
        host().advance(1'200);
        clientSends(kHeader.substr(static_cast<std::size_t>(second), 1));
    }
    host().advance(400);
    EXPECT_TRUE(client_->closed);
}

TEST_F(SessionTest, ClosesOnABadHeaderWithoutAWord) {
    arrive();
    clientSends("EHLO mx.example\r\n");
    EXPECT_TRUE(client_->closed);
    EXPECT_TRUE(client_->received.empty());
    const std::string log = host().takeLog();
    EXPECT_THAT(log, HasSubstr("\"reason\":\"not_proxy\""));
    EXPECT_THAT(log, Not(HasSubstr("mx.example"))) << "only the first bytes, in hex";
}

TEST_F(SessionTest, IsSilentAboutAProbeThatSendsNothing) {
    arrive();
    clientCloses();
    EXPECT_EQ(host().openSessions(), 0U);
    EXPECT_EQ(value(host().counters().empty), 1U);
    EXPECT_TRUE(host().takeLog().empty());
}

TEST_F(SessionTest, AnswersABalancersCheckItselfAndNeverRelaysIt) {
    for (const std::string& header :
         {std::string("PROXY UNKNOWN\r\n"), std::string("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16),
          std::string("PROXY TCP4 10.0.0.9 203.0.113.10 40001 25\r\n")}) {
        arrive();
        clientSends(header);
        EXPECT_THAT(client_->heard(), StartsWith("220 gw.example"));
        clientSends("EHLO balancer\r\n");
        EXPECT_THAT(client_->heard(), StartsWith("250"));
        clientSends("MAIL FROM:<a@b>\r\n");
        EXPECT_THAT(client_->heard(), StartsWith("5"));
        clientSends("QUIT\r\n");
        EXPECT_THAT(client_->heard(), StartsWith("221"));
        EXPECT_TRUE(client_->got_fin);
        EXPECT_TRUE(host().connected_to.empty());
        clientCloses();
        EXPECT_TRUE(client_->closed);
    }
}

TEST_F(SessionTest, RefusesWith554AndWaitsForQuit) {
    Config config = makeConfig();
    config.listeners[0].access = AccessDefault::Allowlist;
    configure(std::move(config));
    arrive();
    clientSends(kHeader);
    const std::string id(session_->id().text());
    const std::string greeting = client_->heard();
    EXPECT_THAT(greeting, StartsWith("554 5.7.1"));
    EXPECT_THAT(greeting, HasSubstr("198.51.100.7"));
    EXPECT_THAT(greeting, HasSubstr(id));
    clientSends("MAIL FROM:<a@b>\r\n");
    EXPECT_THAT(client_->heard(), StartsWith("503"));
    EXPECT_FALSE(client_->got_fin);
    clientSends("QUIT\r\n");
    EXPECT_THAT(client_->heard(), StartsWith("221"));
    EXPECT_TRUE(client_->got_fin);
    EXPECT_FALSE(client_->closed) << "lingers, so that the reply is not lost to a reset";
    host().advance(3'000);
    EXPECT_TRUE(client_->closed);
    EXPECT_TRUE(host().connected_to.empty());
    const std::string log = host().takeLog();
    EXPECT_THAT(log, HasSubstr("session.refused"));
    EXPECT_THAT(log, HasSubstr("\"reason\":\"access\""));
    EXPECT_THAT(log, Not(HasSubstr("session.end")));
}

TEST_F(SessionTest, BoundsTheWaitForQuit) {
    Config config = makeConfig();
    config.listeners[0].access = AccessDefault::Allowlist;
    configure(std::move(config));
    arrive();
    clientSends(kHeader);
    host().advance(59'000);
    EXPECT_FALSE(client_->closed);
    host().advance(4'000);
    host().advance(4'000);
    EXPECT_TRUE(client_->closed);
}

TEST_F(SessionTest, ARefusedClientIsToldEvenWhenNoneMayStay) {
    Config config = makeConfig();
    config.listeners[0].access = AccessDefault::Allowlist;
    configure(std::move(config));
    host().refused_places = 0;
    arrive();
    clientSends(kHeader);
    EXPECT_THAT(client_->heard(), StartsWith("554 5.7.1"));
    EXPECT_TRUE(client_->closed);
    EXPECT_EQ(host().refused_places, 0);
    EXPECT_THAT(host().takeLog(), HasSubstr("session.refused"));
}

TEST_F(SessionTest, ARefusedClientGivesItsPlaceBack) {
    Config config = makeConfig();
    config.listeners[0].access = AccessDefault::Allowlist;
    configure(std::move(config));
    arrive();
    clientSends(kHeader);
    EXPECT_EQ(host().refused_places, 0);
    clientCloses();
    EXPECT_TRUE(client_->closed);
    EXPECT_EQ(host().refused_places, 1);
}

TEST_F(SessionTest, ARefusedClientThatSendsWithoutEndIsCutOff) {
    Config config = makeConfig();
    config.listeners[0].access = AccessDefault::Allowlist;
    configure(std::move(config));
    arrive();
    clientSends(kHeader);
    client_->heard();
    client_->sends(std::string(100 * kBlockBytes, 'x'));
    session_->onEvents(Session::kClientSlot, kReadable);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.7.0"));
    EXPECT_TRUE(client_->closed);
    EXPECT_FALSE(client_->to_read.empty()) << "all of it was read, in one turn";
}

TEST_F(SessionTest, AClientThatGoesOnAfterTheEndLeavesTheWorkerToOthers) {
    relaying();
    ASSERT_TRUE(session_->kill());
    client_->sends(std::string(100 * kBlockBytes, 'x'));
    session_->onEvents(Session::kClientSlot, kReadable);
    EXPECT_FALSE(client_->to_read.empty()) << "all of it was read in one turn";
    host().runAgain();
    EXPECT_TRUE(client_->to_read.empty());
    EXPECT_FALSE(client_->closed);
    host().advance(3'000);
    EXPECT_TRUE(client_->closed);
}

TEST_F(SessionTest, RefusesInEachProtocolsOwnWords) {
    const std::pair<Protocol, const char*> cases[] = {{Protocol::Imap, "* BYE [CONTACTADMIN]"},
                                                      {Protocol::Pop3, "-ERR [SYS/PERM]"},
                                                      {Protocol::Sieve, "BYE"},
                                                      {Protocol::Lmtp, "421 4.7.1"}};
    for (const auto& [protocol, words] : cases) {
        Config config = makeConfig(protocol);
        config.listeners[0].access = AccessDefault::Allowlist;
        configure(std::move(config));
        arrive();
        clientSends(kHeader);
        EXPECT_THAT(client_->heard(), StartsWith(words));
        EXPECT_TRUE(client_->got_fin);
    }
}

TEST_F(SessionTest, IsSilentWhereTheClientSpeaksTls) {
    Config config = makeConfig();
    config.listeners[0].access = AccessDefault::Allowlist;
    config.listeners[0].tls = ListenerTls::Passthrough;
    configure(std::move(config));
    arrive();
    clientSends(kHeader);
    EXPECT_TRUE(client_->received.empty());
    EXPECT_TRUE(client_->got_fin);
}

TEST_F(SessionTest, RelaysBothWaysUnchanged) {
    auto server = relaying();
    clientSends("EHLO client\r\n");
    EXPECT_EQ(server->heard(), "EHLO client\r\n");
    serverSends(*server, "250-mx\r\n250 CHUNKING\r\n");
    EXPECT_EQ(client_->heard(), "250-mx\r\n250 CHUNKING\r\n");
    clientSends("BDAT 7 LAST\r\n");
    const std::string binary("\0\xff\r\n.\n\x80", 7);
    clientSends(binary);
    EXPECT_EQ(server->heard(), "BDAT 7 LAST\r\n" + binary);
}

TEST_F(SessionTest, EndsAtOnceWhenTheServerLetsAClientGoAfterQuit) {
    auto server = relaying();
    clientSends("QUIT\r\n");
    server->sends("221 bye\r\n");
    serverCloses(*server);
    EXPECT_EQ(client_->heard(), "221 bye\r\n");
    EXPECT_TRUE(client_->closed);
    EXPECT_TRUE(server->closed);
    EXPECT_THAT(host().takeLog(), HasSubstr("\"end\":\"client_quit\""));
}

TEST_F(SessionTest, PassesAHalfCloseOnAndWaitsForTheAnswer) {
    auto server = relaying();
    client_->sends("NOOP\r\n");
    clientCloses();
    EXPECT_EQ(server->heard(), "NOOP\r\n");
    EXPECT_TRUE(server->got_fin);
    EXPECT_FALSE(server->closed);
    serverSends(*server, "250 ok\r\n");
    EXPECT_EQ(client_->heard(), "250 ok\r\n");
    serverCloses(*server);
    EXPECT_TRUE(client_->closed);
    EXPECT_THAT(host().takeLog(), HasSubstr("\"end\":\"client_closed\""));
}

TEST_F(SessionTest, BoundsTheSilenceOfAHalfClosedSessionAndNamesIt) {
    auto server = relaying();
    clientSends("HELP\r\n");
    clientCloses();
    for (int i = 0; i < 5; ++i) {
        host().advance(29'000);
        EXPECT_FALSE(server->closed) << "bytes still move";
        serverSends(*server, "214-more\r\n");
    }
    host().advance(29'000);
    EXPECT_FALSE(server->closed);
    host().advance(2'000);
    EXPECT_TRUE(server->closed);
    EXPECT_THAT(host().takeLog(), HasSubstr("\"end\":\"half_close_timeout\""));
}

TEST_F(SessionTest, WaitsMoreThanTenMinutesForTheReplyToAMessage) {
    for (const bool half_closed : {false, true}) {
        auto server = relaying();
        clientSends("EHLO a\r\n");
        serverSends(*server, "250 mx\r\n");
        clientSends("MAIL FROM:<a@b.example>\r\n");
        serverSends(*server, "250 ok\r\n");
        clientSends("RCPT TO:<c@d.example>\r\n");
        serverSends(*server, "250 ok\r\n");
        clientSends("DATA\r\n");
        serverSends(*server, "354 go on\r\n");
        clientSends("Subject: x\r\n\r\nx\r\n.\r\n");
        if (half_closed) clientCloses();
        client_->heard();
        host().advance(601'000);
        EXPECT_FALSE(server->closed);
        serverSends(*server, "250 queued\r\n");
        EXPECT_EQ(client_->heard(), "250 queued\r\n");
    }
}

TEST_F(SessionTest, NormalizesBareLineFeedsOfAllButTheClientsThatAreExcluded) {
    for (const bool excluded : {false, true}) {
        Config config = makeConfig();
        config.listeners[0].bare_lf = BareLfPolicy::Normalize;
        config.listeners[0].bare_lf_exclude = {
            std::get<Network>(parseNetwork(excluded ? "198.51.100.0/24" : "192.0.2.0/24"))};
        configure(std::move(config));
        auto server = relaying();
        clientSends("MAIL FROM:<a@b.example>\r\n");
        serverSends(*server, "250 ok\r\n");
        clientSends("RCPT TO:<c@d.example>\r\n");
        serverSends(*server, "250 ok\r\n");
        clientSends("DATA\r\n");
        serverSends(*server, "354 go on\r\n");
        server->heard();
        clientSends("Subject: x\n\nx\n");
        EXPECT_EQ(server->heard(), excluded ? "Subject: x\n\nx\n" : "Subject: x\r\n\r\nx\r\n");
    }
}

TEST_F(SessionTest, EndsWhenTheServerHasClosedWhateverTheClientHasSentAheadOfIt) {
    auto server = relaying();
    clientSends("FOO\r\nDATA\r\nMAIL FROM:<a@b.example>\r\nQUIT\r\n");
    server->sends("500 What\r\n421 Too many errors\r\n");
    serverCloses(*server);
    clientCloses();
    EXPECT_TRUE(client_->closed);
    EXPECT_TRUE(server->closed);
}

TEST_F(SessionTest, HearsOfAClientThatIsGoneThoughItsBytesAreHeldBack) {
    auto server = relaying();
    clientSends("DATA\r\nheld back until the server has answered\r\n");
    client_->broken = ECONNRESET;
    session_->onEvents(Session::kClientSlot, kReadable | kHangup | kFailed);
    EXPECT_TRUE(server->closed);
}

TEST_F(SessionTest, ToldNoByItsOnlyServerAClientHearsWithinTwoSeconds) {
    Config config = makeConfig();
    config.upstreams[0].servers.resize(1);
    configure(std::move(config));
    arrive();
    auto server = host().nextServer();
    clientSends(kHeader);
    established(*server);
    serverSends(*server, "421 4.3.0 not today\r\n");
    EXPECT_TRUE(client_->received.empty());
    auto again = host().nextServer();
    host().advance(1'000);
    established(*again);
    serverSends(*again, "421 4.3.0 not today\r\n");
    EXPECT_THAT(client_->heard(), StartsWith("421 4.4.1"));
}

TEST_F(SessionTest, SaysNoFarewellToAClientThatDoesNotRead) {
    auto server = relaying();
    client_->unacknowledged = 1'000'000;
    ASSERT_TRUE(session_->kill());
    EXPECT_EQ(client_->heard(), "") << "half a line might be all that ever arrives";
}

TEST_F(SessionTest, AClientThatTakesOurLastLineInPiecesGetsAllOfItBeforeTheEnd) {
    auto server = relaying();
    client_->room = 4;
    ASSERT_TRUE(session_->kill());
    EXPECT_EQ(client_->received, "421 ");
    EXPECT_FALSE(client_->got_fin);
    client_->room = 1'000;
    session_->onEvents(Session::kClientSlot, kWritable);
    EXPECT_THAT(client_->heard(), ::testing::EndsWith("\r\n"));
    EXPECT_TRUE(client_->got_fin);
    EXPECT_FALSE(session_->kill()) << "it has ended already";
}

TEST_F(SessionTest, EndsWhereMemoryRunsOutAndLeavesTheOthersAlone) {
    auto server = relaying();
    const auto first = client_;
    Session* const first_session = session_;
    host().out_of_memory = true;
    host().is_full = true;
    arrive();
    clientSends(kHeader);
    EXPECT_TRUE(client_->closed);
    EXPECT_EQ(host().openSessions(), 1U);
    first->sends("NOOP\r\n");
    first_session->onEvents(Session::kClientSlot, kReadable);
    EXPECT_EQ(server->heard(), "NOOP\r\n");
    EXPECT_THAT(host().takeLog(), HasSubstr("\"event\":\"session.failed\""));
}

TEST_F(SessionTest, LogsASessionThatEndsForWantOfMemoryBeforeItsClientIsKnown) {
    arrive();
    client_->sends("PROXY");
    session_->onEvents(Session::kClientSlot, kReadable);
    session_->abort(CloseReason::GatewayError);
    EXPECT_THAT(host().takeLog(), HasSubstr("\"event\":\"session.failed\""));
}

TEST_F(SessionTest, DoesNotReadAServerWhoseClientTakesNothing) {
    auto server = relaying();
    clientSends("NOOP\r\nNOOP\r\n");
    client_->room = 10;
    serverSends(*server, "250 0123456789\r\n");
    EXPECT_EQ(client_->received.size(), 10U);
    EXPECT_TRUE(client_->wants_writable);
    serverSends(*server, "250 second\r\n");
    EXPECT_EQ(server->to_read, "250 second\r\n") << "not read while the first is stuck";
    client_->room = std::numeric_limits<std::size_t>::max();
    session_->onEvents(Session::kClientSlot, kWritable);
    EXPECT_EQ(client_->received, "250 0123456789\r\n250 second\r\n");
}

TEST_F(SessionTest, PassesOverAServerThatRefusesTheConnection) {
    arrive();
    auto second = host().nextServer();
    second->connecting = true;
    auto third = host().nextServer();
    clientSends(kHeader);
    second->connecting = false;
    second->write_error = ECONNREFUSED;
    session_->onEvents(second->slot, kFailed | kReadable);
    EXPECT_EQ(host().connected_to.size(), 2U);
    established(*third);
    serverSends(*third, "220 mx2\r\n");
    EXPECT_EQ(client_->heard(), "220 mx2\r\n");
}

TEST_F(SessionTest, PassesOverAServerThatAnswersTheHeaderWithAnErrorOrSilence) {
    auto grumpy = host().nextServer();
    auto good = host().nextServer();
    arrive();
    clientSends(kHeader);
    established(*grumpy);
    serverSends(*grumpy, "421 4.3.0 Server local error\r\n");
    EXPECT_TRUE(grumpy->closed);
    EXPECT_TRUE(client_->received.empty());
    established(*good);
    host().advance(10);
    serverSends(*good, "220 good\r\n");
    EXPECT_EQ(client_->heard(), "220 good\r\n");

    auto mute = host().nextServer();
    auto spare = host().nextServer();
    arrive();
    clientSends(kHeader);
    established(*mute);
    host().advance(31'000);
    EXPECT_TRUE(mute->closed);
    established(*spare);
    serverSends(*spare, "220 spare\r\n");
    EXPECT_EQ(client_->heard(), "220 spare\r\n");
}

TEST_F(SessionTest, HandsOnAServersOwnRefusalOfTheClient) {
    auto server = host().nextServer();
    arrive();
    clientSends(kHeader);
    established(*server);
    serverSends(*server, "521 5.7.1 go away\r\n");
    EXPECT_EQ(client_->heard(), "521 5.7.1 go away\r\n");
    EXPECT_EQ(host().connected_to.size(), 1U);
}

TEST_F(SessionTest, IgnoresEventsOfAServerThatWasGivenUp) {
    auto first = host().nextServer();
    auto second = host().nextServer();
    arrive();
    clientSends(kHeader);
    established(*first);
    const unsigned stale = first->slot;
    serverCloses(*first);
    established(*second);
    session_->onEvents(stale, kReadable | kHangup | kFailed);
    serverSends(*second, "220 second\r\n");
    EXPECT_EQ(client_->heard(), "220 second\r\n");
}

TEST_F(SessionTest, HoldsTheClientWhileNoServerIsUpAndServesItWhenOneComes) {
    arrive();
    clientSends(kHeader);
    EXPECT_EQ(host().connected_to.size(), 2U);
    host().advance(1'100);
    EXPECT_EQ(host().connected_to.size(), 4U);
    EXPECT_TRUE(client_->received.empty());
    auto server = host().nextServer();
    host().advance(1'100);
    established(*server);
    serverSends(*server, "220 back\r\n");
    EXPECT_EQ(client_->heard(), "220 back\r\n");
}

TEST_F(SessionTest, SaysTryAgainLaterWhenTheHoldIsOver) {
    arrive();
    clientSends(kHeader);
    for (int second = 0; second < 16; ++second)
        host().advance(1'000);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.4.1"));
    EXPECT_TRUE(client_->got_fin);
    EXPECT_THAT(host().takeLog(), HasSubstr("\"reason\":\"no_server\""));
}

TEST_F(SessionTest, TellsTheClientWhenTheServerIsLostInMidSession) {
    auto server = relaying();
    clientSends("EHLO a\r\n");
    serverSends(*server, "250 mx\r\n");
    client_->heard();
    server->broken = ECONNRESET;
    session_->onEvents(server->slot, kReadable | kFailed);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.4.2"));
    EXPECT_TRUE(client_->got_fin);
    EXPECT_THAT(host().takeLog(), HasSubstr("\"end\":\"server_lost\""));
}

TEST_F(SessionTest, AServerThatClosedIsReportedOnce) {
    const auto server = relaying();
    serverCloses(*server);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.4.2"));
    session_->onEvents(Session::kClientSlot, kWritable);
    clientSends("NOOP\r\n");
    EXPECT_FALSE(client_->wrote_behind_fin);
}

TEST_F(SessionTest, PutsNoWordOfItsOwnIntoAHalfReply) {
    auto server = relaying();
    clientSends("HELP\r\n");
    serverSends(*server, "214-one\r\n214 tw");
    EXPECT_EQ(client_->heard(), "214-one\r\n");
    serverCloses(*server);
    EXPECT_EQ(client_->heard(), "");
    EXPECT_TRUE(client_->got_fin);
}

TEST_F(SessionTest, PutsItsWordsInThePlaceOfHalfALine) {
    auto server = relaying();
    clientSends("EHLO a\r\n");
    serverSends(*server, "250-mx\r\n250 8BIT");
    EXPECT_EQ(client_->heard(), "");
    serverCloses(*server);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.4.2 "));
}

TEST_F(SessionTest, AddsNothingToTheServersOwnGoodbye) {
    auto server = relaying();
    serverSends(*server, "421 4.4.2 timeout\r\n");
    client_->heard();
    serverCloses(*server);
    EXPECT_EQ(client_->heard(), "");
}

TEST_F(SessionTest, EndsAnIdleSessionWithTheProtocolsWords) {
    auto server = relaying();
    host().advance(5 * 60'000);
    clientSends("NOOP\r\n");
    serverSends(*server, "250 ok\r\n");
    client_->heard();
    host().advance(5 * 60'000);
    EXPECT_FALSE(client_->got_fin) << "activity restarts the limit";
    host().advance(61'000);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.4.2"));
    EXPECT_THAT(host().takeLog(), HasSubstr("\"end\":\"idle_timeout\""));
}

TEST_F(SessionTest, LetsATlsClientSpeakFirst) {
    auto server = host().nextServer();
    arrive();
    clientSends(kHeader);
    established(*server);
    server->heard();
    const std::string hello("\x16\x03\x01\x00\x05hello", 10);
    clientSends(hello);
    EXPECT_EQ(server->heard(), hello);
    serverSends(*server, "\x16 certificates");
    EXPECT_EQ(client_->heard(), "\x16 certificates");
    session_->abort(CloseReason::Killed);
    EXPECT_THAT(host().takeLog(), HasSubstr(R"("tls":{"mode":"implicit"})"));
}

TEST_F(SessionTest, RefusesWhenFullAndWhenStopping) {
    host().is_full = true;
    arrive();
    clientSends(kHeader);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.3.2"));
    host().is_full = false;
    host().is_stopping = true;
    arrive();
    clientSends(kHeader);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.3.2"));
    EXPECT_TRUE(host().connected_to.empty());
}

TEST_F(SessionTest, DrainsBetweenTransactionsNotInThem) {
    auto server = relaying();
    clientSends("MAIL FROM:<a@example.com>\r\n");
    serverSends(*server, "250 ok\r\n");
    client_->heard();
    session_->drain({CloseReason::Shutdown, host().now(), host().now() + 30'000});
    EXPECT_EQ(client_->heard(), "");
    clientSends("RCPT TO:<b@example.com>\r\n");
    serverSends(*server, "250 ok\r\n");
    clientSends("DATA\r\n");
    serverSends(*server, "354 go\r\n");
    clientSends("Subject: x\r\n\r\nbody\r\n.\r\n");
    client_->heard();
    serverSends(*server, "250 2.0.0 queued as ABC\r\n");
    const std::string heard = client_->heard();
    EXPECT_THAT(heard, StartsWith("250 2.0.0 queued as ABC\r\n421 4.3.2"));
    EXPECT_TRUE(client_->got_fin);
    EXPECT_TRUE(server->closed);
    EXPECT_THAT(host().takeLog(), HasSubstr("\"end\":\"shutdown\""));
}

TEST_F(SessionTest, LogsOneLineWithTheEnvelope) {
    auto server = relaying();
    clientSends("EHLO mail.partner.example\r\n");
    serverSends(*server, "250 mx\r\n");
    clientSends("MAIL FROM:<alice@partner.example>\r\n");
    serverSends(*server, "250 ok\r\n");
    clientSends("RCPT TO:<bob@example.net>\r\n");
    serverSends(*server, "250 ok\r\n");
    clientSends("DATA\r\n");
    serverSends(*server, "354 go\r\n");
    clientSends("Subject: secret\r\n\r\nhello\r\n.\r\n");
    serverSends(*server, "250 2.0.0 Ok: queued as 6E955A72018\r\n");
    clientSends("QUIT\r\n");
    server->sends("221 bye\r\n");
    serverCloses(*server);
    const std::string log = host().takeLog();
    for (const char* part :
         {"\"event\":\"session.end\"", "\"client\":\"198.51.100.7\"", "\"client_port\":55555",
          "\"balancer\":\"10.0.0.9\"", "\"destination\":\"203.0.113.10\"", "\"server\":\"mx1\"",
          "\"helo\":\"mail.partner.example\"", "\"from\":\"alice@partner.example\"",
          "\"recipients\":[\"bob@example.net\"]", "\"reply\":\"250 2.0.0 Ok: queued as 6E955A72018\"",
          "\"end\":\"client_quit\""}) {
        EXPECT_THAT(log, HasSubstr(part));
    }
    EXPECT_THAT(log, Not(HasSubstr("secret")));
    EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1);
}

TEST_F(SessionTest, SplicesABulkDirectionThatNobodyWatches) {
    configure(makeConfig(Protocol::Tcp));
    auto server = host().nextServer();
    arrive();
    clientSends(kHeader);
    established(*server);
    std::string bulk;
    for (int i = 0; bulk.size() < 1'000'000; ++i)
        bulk += std::to_string(i) + ",";
    serverSends(*server, bulk);
    EXPECT_EQ(client_->received, bulk);
    client_->received.clear();
    client_->room = 100'000;
    serverSends(*server, bulk);
    EXPECT_EQ(client_->received.size(), 100'000U);
    client_->room = std::numeric_limits<std::size_t>::max();
    session_->onEvents(Session::kClientSlot, kWritable);
    host().runAgain();
    EXPECT_EQ(client_->received, bulk);
}

TEST_F(SessionTest, CountsAServersSessionsBackToNothing) {
    {
        auto server = relaying();
        clientSends("QUIT\r\n");
        server->sends("221 bye\r\n");
        serverCloses(*server);
    }
    EXPECT_EQ(host().openSessions(), 0U);
    EXPECT_EQ(value(host().counters().admitted), 1U);
    EXPECT_EQ(value(host().counters().ends[static_cast<std::size_t>(CloseReason::ClientQuit)]), 1U);
}

// ---- what the client may not send

TEST_F(SessionTest, HoldsBackWhatFollowsDataUntilTheServerAsksForIt) {
    auto server = relaying();
    clientSends("DATA\r\nbody\r\n.\r\nQUIT\r\n");
    EXPECT_EQ(server->heard(), "DATA\r\n");
    serverSends(*server, "354 Go on\r\n");
    EXPECT_EQ(client_->heard(), "354 Go on\r\n");
    EXPECT_EQ(server->heard(), "body\r\n.\r\nQUIT\r\n");
}

TEST_F(SessionTest, ReadsNoFurtherWhileItHoldsBytesBack) {
    auto server = relaying();
    clientSends("DATA\r\nbody\r\n");
    clientSends("more\r\n");
    EXPECT_EQ(client_->to_read, "more\r\n");
    serverSends(*server, "354 Go on\r\n");
    EXPECT_EQ(server->heard(), "DATA\r\nbody\r\nmore\r\n");
}

TEST_F(SessionTest, AnswersAForbiddenCommandInItsTurnAndEnds) {
    auto server = relaying();
    clientSends("EHLO a\r\nXCLIENT ADDR=192.0.2.1\r\nMAIL FROM:<a@b>\r\n");
    EXPECT_EQ(server->heard(), "EHLO a\r\n");
    EXPECT_EQ(client_->heard(), "");
    serverSends(*server, "250 mx\r\n");
    const std::string heard = client_->heard();
    EXPECT_THAT(heard, StartsWith("250 mx\r\n521 5.5.1 gw.example Error: command not accepted"));
    EXPECT_TRUE(server->closed);
    EXPECT_EQ(server->heard(), "");
    EXPECT_THAT(host().takeLog(), HasSubstr(R"("end":"forbidden_command")"));
}

TEST_F(SessionTest, WhatCameBeforeAForbiddenCommandWaitsForAServerThatIsSlow) {
    auto server = relaying();
    server->room = 3;
    clientSends("EHLO a\r\nXCLIENT ADDR=192.0.2.1\r\n");
    server->room = 1'000;
    session_->onEvents(server->slot, kWritable);
    EXPECT_EQ(server->heard(), "EHLO a\r\n");
    serverSends(*server, "250 mx\r\n");
    EXPECT_THAT(client_->heard(), StartsWith("250 mx\r\n521 5.5.1"));
}

TEST_F(SessionTest, DoesNotWaitForeverToAnswerAForbiddenCommand) {
    auto server = relaying();
    clientSends("EHLO a\r\nXCLIENT ADDR=192.0.2.1\r\n");
    host().advance(11'000);
    EXPECT_TRUE(server->closed);
    EXPECT_EQ(server->heard(), "EHLO a\r\n");
}

TEST_F(SessionTest, EndsAMessageWithABareLfBeforeTheServerHasItAll) {
    Config config = makeConfig();
    config.listeners[0].bare_lf = BareLfPolicy::Reject;
    configure(std::move(config));
    auto server = relaying();
    clientSends("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    serverSends(*server, "250 ok\r\n250 ok\r\n354 go\r\n");
    server->heard();
    client_->heard();
    clientSends("body\r\nx\n.\r\nMAIL FROM:<evil@b>\r\n.\r\n");
    EXPECT_EQ(server->heard(), "body\r\nx");
    EXPECT_TRUE(server->closed);
    EXPECT_THAT(client_->heard(), StartsWith("521 5.5.2 gw.example Error: bare <LF> received"));
    EXPECT_THAT(host().takeLog(), HasSubstr(R"("end":"bare_lf")"));
}

TEST_F(SessionTest, LetsNoClientSendTheHeaderThatTheGatewayDoesNot) {
    Config config = makeConfig(Protocol::Tcp);
    config.upstreams[0].send_proxy = SendProxy::Off;
    config.upstreams[0].lost_client_address_accepted = true;
    configure(std::move(config));
    auto server = host().nextServer();
    arrive();
    clientSends(kHeader + kHeader);
    established(*server);
    host().runAgain();
    EXPECT_TRUE(server->closed);
    EXPECT_EQ(server->heard(), "PROXY");
}

// ---- limits

TEST_F(SessionTest, RefusesAClientThatHasItsSessionsAlready) {
    Config config = makeConfig();
    config.listeners[0].client_sessions = 1;
    configure(std::move(config));
    auto server = relaying();
    const auto first = client_;
    Session* const first_session = session_;
    arrive();
    clientSends(kHeader);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.7.0 gw.example Too many connections from 198.51.100.7"));
    EXPECT_TRUE(client_->got_fin);
    first->finished = true;
    first_session->onEvents(Session::kClientSlot, kReadable | kHangup);
    server->finished = true;
    first_session->onEvents(server->slot, kReadable | kHangup);
    relaying();
    EXPECT_THAT(host().takeLog(),
                HasSubstr(R"("reason":"too_many","limit":"client_sessions","limit_value":1)"));
}

TEST_F(SessionTest, ARuleGivesItsClientsOtherLimits) {
    Config config = makeConfig();
    config.listeners[0].client_rate = 1;
    configure(std::move(config));
    store::AccessTable::Builder rules(std::vector<std::string>{"front"});
    rules.add(1, networkAround(IpAddress::parse("198.51.100.0")->bytes, 120), store::Verdict::Allow, "", {},
              {{}, 2});
    host().table = rules.build(1);
    relaying();
    relaying();
    arrive();
    clientSends(kHeader);
    EXPECT_THAT(client_->heard(), StartsWith("421 4.7.0"));
    EXPECT_THAT(host().takeLog(), HasSubstr(R"("limit":"client_rate","limit_value":2)"));
}

}  // namespace
}  // namespace mailgate::test
