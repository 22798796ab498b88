// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/connector.h"

#include "gateway/io/session_set.h"
#include "tests/support/scripted_peer.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

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

}  // namespace
}  // namespace mailgate::test
