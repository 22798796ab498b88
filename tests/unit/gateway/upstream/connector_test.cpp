// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/connector.h"

#include "gateway/io/session_set.h"
#include "tests/support/scripted_peer.h"
#include "tests/support/tls_files.h"

#include <gtest/gtest.h>

#include <array>
#include <ctime>
#include <memory>
#include <string>
#include <utility>

namespace mailgate::test {
namespace {

const std::string kHeader = "PROXY TCP4 198.51.100.7 203.0.113.10 55555 25\r\n";

class ConnectorTest : public ::testing::Test {
  protected:
    Connector::Progress begin(bool at_once, const std::string& header = kHeader) {
        return connector_.begin(std::make_unique<ScriptedTransport>(server_), 0, header, at_once);
    }
    Connector::Progress onEvents(std::uint32_t events) { return connector_.onEvents(events, scratch_); }
    Connector::Progress serverSends(std::string_view bytes) {
        server_->sends(bytes);
        return onEvents(kReadable);
    }
    /// A connection whose header is out.
    void connected() {
        ASSERT_TRUE(std::holds_alternative<Connector::Connected>(begin(true)));
        server_->heard();
    }
    static void expectFailure(const Connector::Progress& progress, ServerFailure failure, int error = 0) {
        const auto* failed = std::get_if<Connector::Failed>(&progress);
        ASSERT_NE(failed, nullptr) << progress.index();
        EXPECT_EQ(toString(failed->failure), toString(failure));
        EXPECT_EQ(failed->error, error);
    }

    std::shared_ptr<ScriptedPeer> server_ = std::make_shared<ScriptedPeer>();
    std::array<char, 4096> scratch_{};
    Connector connector_{Protocol::Smtp};
};

TEST_F(ConnectorTest, SendsTheHeaderWhenTheConnectionIsMade) {
    server_->connecting = true;
    EXPECT_TRUE(std::holds_alternative<Connector::Waiting>(begin(false)));
    EXPECT_TRUE(server_->wants_writable) << "the event that says so is asked for";
    server_->connecting = false;
    EXPECT_TRUE(std::holds_alternative<Connector::Connected>(onEvents(kWritable)));
    EXPECT_EQ(server_->heard(), kHeader);
}

TEST_F(ConnectorTest, WaitsForNoEventWhereTheConnectionIsMadeAtOnce) {
    EXPECT_TRUE(std::holds_alternative<Connector::Connected>(begin(true)));
    EXPECT_EQ(server_->heard(), kHeader);
    EXPECT_FALSE(server_->wants_writable) << "nothing more is to be written when there is room";
}

TEST_F(ConnectorTest, WaitsWhereItWasNotMadeAtOnceAfterAll) {
    server_->connecting = true;
    EXPECT_TRUE(std::holds_alternative<Connector::Waiting>(begin(true)));
    EXPECT_TRUE(server_->wants_writable);
    server_->connecting = false;
    EXPECT_TRUE(std::holds_alternative<Connector::Connected>(onEvents(kWritable)));
}

TEST_F(ConnectorTest, IsConnectedWithoutAHeaderWhereThereIsNone) {
    server_->connecting = true;
    EXPECT_TRUE(std::holds_alternative<Connector::Waiting>(begin(true, "")));
    server_->connecting = false;
    EXPECT_TRUE(std::holds_alternative<Connector::Connected>(onEvents(kWritable)));
    EXPECT_EQ(server_->heard(), "");
}

TEST_F(ConnectorTest, TellsWhyThereIsNoConnection) {
    expectFailure(connector_.begin(nullptr, ENETUNREACH, kHeader, true), ServerFailure::NetworkUnreachable,
                  ENETUNREACH);
    EXPECT_EQ(connector_.transport(), nullptr);
    begin(false);
    server_->write_error = ECONNREFUSED;
    expectFailure(onEvents(kReadable | kFailed), ServerFailure::ConnectRefused, ECONNREFUSED);
}

TEST_F(ConnectorTest, BlamesNoServerForTheGatewaysOwnWant) {
    for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
        const auto progress = connector_.begin(nullptr, error, kHeader, true);
        EXPECT_TRUE(std::holds_alternative<Connector::NoResources>(progress)) << error;
    }
    for (const bool at_once : {false, true}) {
        server_->unwatchable = true;
        EXPECT_TRUE(std::holds_alternative<Connector::NoResources>(begin(at_once))) << at_once;
    }
}

TEST_F(ConnectorTest, GivesUpAServerThatTakesOnlyPartOfTheHeader) {
    server_->room = kHeader.size() - 1;
    expectFailure(begin(true), ServerFailure::HeaderNotTaken);
}

TEST_F(ConnectorTest, HandsOverTheGreetingAndAllThatCameWithIt) {
    connected();
    const auto progress = serverSends("220 mx ready\r\n250 early\r\n");
    const auto* greeted = std::get_if<Connector::Greeted>(&progress);
    ASSERT_NE(greeted, nullptr);
    EXPECT_EQ(greeted->verdict, Greeting::Welcome);
    EXPECT_EQ(greeted->bytes, "220 mx ready\r\n250 early\r\n");
    EXPECT_FALSE(greeted->ended);
    EXPECT_NE(connector_.take(), nullptr);
    EXPECT_EQ(connector_.transport(), nullptr);
}

TEST_F(ConnectorTest, CollectsAGreetingInPieces) {
    connected();
    const std::string greeting = "220 mx ready\r\n";
    for (const char byte : greeting.substr(0, greeting.size() - 1))
        ASSERT_TRUE(std::holds_alternative<Connector::Waiting>(serverSends({&byte, 1})));
    EXPECT_EQ(connector_.heard(), "220 mx ready\r");
    const auto progress = serverSends("\n");
    const auto* greeted = std::get_if<Connector::Greeted>(&progress);
    ASSERT_NE(greeted, nullptr);
    EXPECT_EQ(greeted->bytes, greeting);
}

TEST_F(ConnectorTest, LetsAClientHearThatTheServerDoesNotWantIt) {
    connected();
    server_->finished = true;
    server_->sends("554 no service for you\r\n");
    const auto progress = onEvents(kReadable | kHangup);
    const auto* greeted = std::get_if<Connector::Greeted>(&progress);
    ASSERT_NE(greeted, nullptr);
    EXPECT_EQ(greeted->verdict, Greeting::Refused);
    EXPECT_TRUE(greeted->ended) << "no event will tell of the end";
}

TEST_F(ConnectorTest, PassesOverAServerThatDoesNotServe) {
    connected();
    expectFailure(serverSends("421 4.3.2 going down\r\n"), ServerFailure::SystemNotAccepting);
}

TEST_F(ConnectorTest, PassesOverAServerOfAnotherProtocol) {
    connected();
    expectFailure(serverSends("* OK IMAP4rev1\r\n"), ServerFailure::Foreign);
}

TEST_F(ConnectorTest, BoundsWhatItReadsOfAGreeting) {
    connected();
    ASSERT_TRUE(std::holds_alternative<Connector::Waiting>(serverSends("220 " + std::string(995, 'x'))));
    expectFailure(serverSends("x"), ServerFailure::Foreign);
}

TEST_F(ConnectorTest, TellsSilenceFromHalfAGreeting) {
    connected();
    server_->finished = true;
    expectFailure(onEvents(kReadable | kHangup), ServerFailure::ClosedWithoutGreeting);

    for (const bool end_comes_along : {false, true}) {
        server_ = std::make_shared<ScriptedPeer>();
        connected();
        if (!end_comes_along) serverSends("22");
        if (end_comes_along) server_->sends("22");
        server_->finished = true;
        expectFailure(onEvents(kReadable | kHangup), ServerFailure::ClosedInGreeting);
    }

    server_ = std::make_shared<ScriptedPeer>();
    connected();
    server_->broken = ECONNRESET;
    expectFailure(onEvents(kReadable | kFailed), ServerFailure::ResetWithoutGreeting, ECONNRESET);
}

/// Against a server that is a TlsTransport itself.
class ConnectorTlsTest : public ConnectorTest {
  protected:
    static std::shared_ptr<const TlsServerContext> serving(std::shared_ptr<const Certificate> certificate,
                                                           const TlsServerOptions& options = {}) {
        const auto tickets = std::make_shared<TicketKeys>([] { return std::time(nullptr); });
        return TlsServerContext::build(options, {std::move(certificate)}, tickets);
    }
    std::unique_ptr<ServerTls> tls(const std::string& name) {
        TlsClientOptions options;
        options.ca = files_.write("ca.pem", files_.authority.pem());
        auto made = std::make_unique<ServerTls>();
        made->context = TlsClientContext::build(options, nullptr);
        made->name = name;
        return made;
    }
    /// The header is out, and behind it the beginning of a handshake.
    void begin(const std::string& name, std::shared_ptr<const Certificate> certificate,
               const TlsServerOptions& options = {}) {
        auto below = std::unique_ptr<Transport>(std::make_unique<ScriptedTransport>(end_));
        far_ = TlsTransport::accept(below, serving(std::move(certificate), options));
        progress_ =
            connector_.begin(std::make_unique<ScriptedTransport>(server_), 0, kHeader, true, tls(name));
        ASSERT_TRUE(std::holds_alternative<Connector::Waiting>(progress_));
        EXPECT_TRUE(connector_.shakingHands());
        ASSERT_EQ(server_->received.substr(0, kHeader.size()), kHeader) << "first, and in the clear";
        server_->received.erase(0, kHeader.size());
    }
    /// Lets both sides go on until the connector has something to report.
    void shakeHands() {
        for (int turn = 0; turn < 20 && std::holds_alternative<Connector::Waiting>(progress_); ++turn) {
            end_->sends(server_->heard());
            far_->note(kReadable);
            far_->advance(turn);
            server_->sends(end_->heard());
            progress_ = onEvents(kReadable);
        }
    }

    TlsFiles files_;
    std::shared_ptr<ScriptedPeer> end_ = std::make_shared<ScriptedPeer>();
    std::unique_ptr<TlsTransport> far_;
    Connector::Progress progress_;
};

TEST_F(ConnectorTlsTest, ShakesHandsBehindTheHeaderAndReadsTheGreetingInside) {
    begin("mx.example.net", files_.certificate({{"mx.example.net"}}));
    shakeHands();
    ASSERT_TRUE(std::holds_alternative<Connector::Connected>(progress_));
    EXPECT_FALSE(connector_.shakingHands());
    ASSERT_NE(connector_.tls(), nullptr);
    EXPECT_EQ(connector_.tls()->version(), "TLSv1.3");
    EXPECT_GT(connector_.tls()->peerNotAfter(), std::time(nullptr));
    far_->note(kReadable);
    end_->sends(server_->heard());
    ASSERT_EQ(far_->advance(99).state, TlsTransport::Handshake::State::Done);
    far_->write("220 mx ready\r\n");
    const auto progress = serverSends(end_->heard());
    const auto* greeted = std::get_if<Connector::Greeted>(&progress);
    ASSERT_NE(greeted, nullptr) << progress.index();
    EXPECT_EQ(greeted->bytes, "220 mx ready\r\n");
    EXPECT_NE(connector_.take(), nullptr);
    EXPECT_EQ(connector_.tls(), nullptr);
}

TEST_F(ConnectorTlsTest, SaysWhatIsWrongWithACertificate) {
    begin("mx.example.net", files_.certificate({{"other.example.net"}}));
    shakeHands();
    const auto* failed = std::get_if<Connector::Failed>(&progress_);
    ASSERT_NE(failed, nullptr) << progress_.index();
    EXPECT_EQ(failed->failure, ServerFailure::CertificateForOthers);
    EXPECT_EQ(failed->tls.reason, TlsFailure::Reason::WrongName);
    EXPECT_EQ(describe(*failed), "certificate is for another name");
    EXPECT_FALSE(server_->received.empty()) << "the server is told why";
}

/// In TLS 1.3 the handshake is over here before the server has looked at it.
TEST_F(ConnectorTlsTest, TellsWhatTheServerThinksOfOurCertificate) {
    TlsServerOptions options;
    options.client_certificates = ClientCertificates::Required;
    options.client_ca = files_.write("clients.pem", files_.authority.pem());
    begin("mx.example.net", files_.certificate({{"mx.example.net"}}), options);
    shakeHands();
    ASSERT_TRUE(std::holds_alternative<Connector::Connected>(progress_));
    end_->sends(server_->heard());
    far_->note(kReadable);
    ASSERT_EQ(far_->advance(99).state, TlsTransport::Handshake::State::Failed);
    const auto progress = serverSends(end_->heard());
    expectFailure(progress, ServerFailure::HandshakeFailed);
    EXPECT_EQ(describe(std::get<Connector::Failed>(progress)),
              "TLS handshake failed: alert_certificate_required");
}

TEST_F(ConnectorTlsTest, TellsAServerThatSpeaksInTheClearAndOneThatCloses) {
    begin("mx.example.net", files_.certificate({{"mx.example.net"}}));
    server_->finished = true;
    auto progress = serverSends("220 mx ready\r\n");
    expectFailure(progress, ServerFailure::NotTls);
    EXPECT_NE(connector_.transport(), nullptr) << "to be read to its end";
    EXPECT_FALSE(connector_.shakingHands());

    server_ = std::make_shared<ScriptedPeer>();
    end_ = std::make_shared<ScriptedPeer>();
    begin("mx.example.net", files_.certificate({{"mx.example.net"}}));
    server_->finished = true;
    expectFailure(onEvents(kReadable | kHangup), ServerFailure::ClosedInHandshake);
}

class ConnectorStartTlsTest : public ConnectorTlsTest {
  protected:
    /// The header is out, and nothing else.
    void begin() {
        auto starting = tls("mx.example.net");
        starting->starttls = std::make_unique<StartTlsDialogue>(Protocol::Smtp, "gw.example.net");
        progress_ = connector_.begin(std::make_unique<ScriptedTransport>(server_), 0, kHeader, true,
                                     std::move(starting));
        EXPECT_TRUE(std::holds_alternative<Connector::Waiting>(progress_));
        EXPECT_TRUE(connector_.startingTls());
        EXPECT_EQ(server_->heard(), kHeader);
    }
    void untilStartTls() {
        begin();
        progress_ = serverSends("220 mx ready\r\n");
        EXPECT_EQ(server_->heard(), "EHLO gw.example.net\r\n");
        progress_ = serverSends("250-mx\r\n250 STARTTLS\r\n");
        EXPECT_EQ(server_->heard(), "STARTTLS\r\n");
    }
    void expectNoTls(const Connector::Progress& progress, std::string_view why) {
        expectFailure(progress, ServerFailure::NoStartTls);
        EXPECT_EQ(describe(std::get<Connector::Failed>(progress)), "does not start TLS: " + std::string(why));
        EXPECT_EQ(server_->heard(), "") << "and nothing else is said";
    }
};

TEST_F(ConnectorStartTlsTest, ReportsTheGreetingFromBeforeOnceTlsIsSpoken) {
    untilStartTls();
    progress_ = serverSends("220 go ahead\r\n");
    ASSERT_TRUE(std::holds_alternative<Connector::Waiting>(progress_));
    EXPECT_TRUE(connector_.shakingHands());
    auto below = std::unique_ptr<Transport>(std::make_unique<ScriptedTransport>(end_));
    far_ = TlsTransport::accept(below, serving(files_.certificate({{"mx.example.net"}})));
    shakeHands();
    ASSERT_TRUE(std::holds_alternative<Connector::Connected>(progress_));
    EXPECT_EQ(connector_.heard(), "220 mx ready\r\n");
    EXPECT_TRUE(connector_.hasMore()) << "though no event will tell";
    const auto progress = onEvents(0);
    const auto* greeted = std::get_if<Connector::Greeted>(&progress);
    ASSERT_NE(greeted, nullptr) << progress.index();
    EXPECT_EQ(greeted->bytes, "220 mx ready\r\n");
    EXPECT_FALSE(connector_.hasMore());
}

TEST_F(ConnectorStartTlsTest, NothingInTheClearIsTakenForWhatComesWithinTls) {
    untilStartTls();
    expectNoTls(serverSends("220 go ahead\r\n250 mx\r\n"),
                "sends something in the clear behind its consent to TLS");

    server_ = std::make_shared<ScriptedPeer>();
    untilStartTls();
    progress_ = serverSends("220 go ahead\r\n");
    EXPECT_TRUE(connector_.shakingHands());
    expectFailure(serverSends("250 mx\r\n"), ServerFailure::NotTls);
}

TEST_F(ConnectorStartTlsTest, GivesUpAServerThatDoesNotConsentOrEnds) {
    untilStartTls();
    expectNoTls(serverSends("454 4.7.0 no\r\n"), "answered STARTTLS with: 454 4.7.0 no");

    server_ = std::make_shared<ScriptedPeer>();
    untilStartTls();
    server_->finished = true;
    expectNoTls(onEvents(kReadable | kHangup), "closed the connection before TLS");

    server_ = std::make_shared<ScriptedPeer>();
    begin();
    server_->broken = ECONNRESET;
    expectFailure(onEvents(kReadable | kFailed), ServerFailure::NoStartTls, ECONNRESET);
}

TEST_F(ConnectorStartTlsTest, AGreetingThatIsNoWelcomeNeedsNoTls) {
    begin();
    const auto progress = serverSends("554 no service for you\r\n");
    const auto* greeted = std::get_if<Connector::Greeted>(&progress);
    ASSERT_NE(greeted, nullptr) << progress.index();
    EXPECT_EQ(greeted->verdict, Greeting::Refused);
    EXPECT_EQ(greeted->bytes, "554 no service for you\r\n");
    EXPECT_TRUE(greeted->ended) << "nothing of the client's may go there in the clear";

    server_ = std::make_shared<ScriptedPeer>();
    begin();
    expectFailure(serverSends("421 4.3.2 going down\r\n"), ServerFailure::SystemNotAccepting);
}

}  // namespace
}  // namespace mailgate::test
