// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/relay.h"

#include "tests/support/scripted_peer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mailgate::test {
namespace {

/// A tap that is a function.
class Tap final : public RelayTap {
  public:
    std::function<Rest(Side, std::string_view, Output&)> onBytesDo;
    Rest onBytes(Side from, std::string_view bytes, Output& out) noexcept override {
        return onBytesDo(from, bytes, out);
    }
    void onMail(const MailTransaction&, std::uint32_t) noexcept override {}
};

class RelayTest : public ::testing::Test {
  protected:
    RelayTest() {
        relay_.setTap(&tap_);
        tap_.onBytesDo = [](Side, std::string_view bytes, Output& out) {
            out.pass(bytes.size());
            return Rest::More;
        };
    }
    ScriptedTransport& connect(Side side, std::shared_ptr<ScriptedPeer> peer) {
        auto transport = std::make_unique<ScriptedTransport>(std::move(peer));
        ScriptedTransport& end = *transport;
        relay_.transport(side) = std::move(transport);
        return end;
    }
    Relay::Status clientSends(std::string_view bytes) {
        client_->sends(bytes);
        client_end_.note(kReadable);
        return relay_.pump(Side::Client);
    }
    Relay::Status serverSends(std::string_view bytes) {
        server_->sends(bytes);
        server_end_.note(kReadable);
        return relay_.pump(Side::Server);
    }

    std::vector<char> scratch_ = std::vector<char>(kReadBytes);
    std::vector<char> edited_ = std::vector<char>(kBlockBytes);
    BlockPool blocks_;
    PipePool pipes_;
    std::shared_ptr<ScriptedPeer> client_ = std::make_shared<ScriptedPeer>();
    std::shared_ptr<ScriptedPeer> server_ = std::make_shared<ScriptedPeer>();
    Tap tap_;
    Relay::Resources resources_{scratch_, edited_, blocks_, pipes_};
    Relay relay_{resources_};
    ScriptedTransport& client_end_ = connect(Side::Client, client_);
    ScriptedTransport& server_end_ = connect(Side::Server, server_);
};

/// Takes whole lines; a line "x" is doubled, "no" is dropped, "?" is answered.
Rest editLines(std::string_view bytes, Output& out) {
    while (true) {
        const std::size_t end = bytes.find('\n');
        if (end == std::string_view::npos) return Rest::More;
        const std::string_view line = bytes.substr(0, end);
        if (line == "?") {
            if (!out.canReply()) return Rest::Hold;
            out.drop(end + 1);
            out.reply("answer\n");
        } else if (line == "no") {
            out.drop(end + 1);
        } else {
            out.pass(end + 1);
            if (line == "x") out.write("x\n");
        }
        bytes.remove_prefix(end + 1);
    }
}

TEST_F(RelayTest, CarriesOutWhatATapDecidesWhateverThePiecesAndHoweverLittleTheSinkTakes) {
    tap_.onBytesDo = [](Side, std::string_view bytes, Output& out) { return editLines(bytes, out); };
    const std::string input = "one\nx\nno\n?\ntwo\nno\nx\n?\nx\nend\n";
    for (const std::size_t piece : {1U, 2U, 3U, 7U, 100U}) {
        for (const std::size_t room : {1U, 2U, 5U, 1000U}) {
            server_->room = room;
            for (std::size_t at = 0; at < input.size(); at += piece) {
                clientSends(std::string_view(input).substr(at, piece));
                server_->room = room;
                relay_.pump(Side::Client);
            }
            while (!relay_.drained(Side::Client)) {
                server_->room = room;
                relay_.pump(Side::Client);
            }
            EXPECT_EQ(server_->heard(), "one\nx\nx\ntwo\nx\nx\nx\nx\nend\n") << piece << ' ' << room;
            EXPECT_EQ(client_->heard(), "answer\nanswer\n") << piece << ' ' << room;
        }
    }
}

TEST_F(RelayTest, LetsTheEndTravelWithTheLastBytes) {
    tap_.onBytesDo = [](Side, std::string_view bytes, Output& out) { return editLines(bytes, out); };
    EXPECT_EQ(serverSends("more\n"), Relay::Status::Open);
    EXPECT_FALSE(client_->told_last) << "nothing has ended";
    server_->sends("bye\n");
    server_->finished = true;
    server_end_.note(kReadable | kHangup);
    EXPECT_EQ(relay_.pump(Side::Server), Relay::Status::Ended);
    EXPECT_EQ(client_->heard(), "more\nbye\n");
    EXPECT_TRUE(client_->told_last);
}

TEST_F(RelayTest, HoldsNothingBackBeforeAnEndThatHasToWait) {
    tap_.onBytesDo = [](Side, std::string_view bytes, Output& out) {
        out.pass(std::min<std::size_t>(bytes.size(), 4));
        return Rest::Hold;
    };
    client_->sends("one\ntwo\n");
    client_->finished = true;
    client_end_.note(kReadable | kHangup);
    EXPECT_EQ(relay_.pump(Side::Client), Relay::Status::Open) << "the server has to speak first";
    EXPECT_EQ(server_->heard(), "one\n");
    EXPECT_FALSE(server_->told_last);
    EXPECT_EQ(relay_.pump(Side::Client), Relay::Status::Ended);
    EXPECT_EQ(server_->heard(), "two\n");
}

TEST_F(RelayTest, HasRoomForAReadThatDoublesWhileTheSinkTakesNothing) {
    tap_.onBytesDo = [](Side, std::string_view bytes, Output& out) {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            out.write("\r");
            out.pass(1);
        }
        return Rest::More;
    };
    server_->room = 0;
    EXPECT_EQ(clientSends(std::string(3 * kReadBytes, '\n')), Relay::Status::Open);
    EXPECT_EQ(client_->to_read.size(), 2 * kReadBytes) << "what cannot go on is not read";
    server_->room = std::numeric_limits<std::size_t>::max();
    relay_.pump(Side::Client);
    EXPECT_EQ(server_->received.size(), 6 * kReadBytes);
    EXPECT_EQ(server_->received.find("\n\n"), std::string::npos);
}

TEST_F(RelayTest, ReadsTwiceAsMuchWhereNobodyLooksAndThereIsNoPipe) {
    client_end_.splices = server_end_.splices = false;
    relay_.setTap(nullptr);
    const std::string sent(9 * kReadBytes, 'x');
    server_->writes = 0;
    EXPECT_EQ(clientSends(sent), Relay::Status::Open);
    EXPECT_EQ(server_->writes, 1 + 4) << "the first read shows that there is much";
    EXPECT_EQ(server_->heard(), sent);
    server_->room = 0;
    clientSends(sent);
    EXPECT_EQ(client_->to_read.size(), 7 * kReadBytes) << "what cannot go on is not read";
    server_->room = std::numeric_limits<std::size_t>::max();
    relay_.pump(Side::Client);
    EXPECT_EQ(server_->heard().size(), sent.size());
}

TEST_F(RelayTest, HasRoomForTheNextReadBehindWhatADoubledOneLeftOver) {
    tap_.onBytesDo = [](Side, std::string_view bytes, Output& out) {
        for (std::size_t i = 0; i + 1 < bytes.size(); ++i) {
            out.write("\r");
            out.pass(1);
        }
        return Rest::More;
    };
    server_->room = 0;
    EXPECT_EQ(clientSends(std::string(3 * kReadBytes, '\n')), Relay::Status::Open);
    server_->room = std::numeric_limits<std::size_t>::max();
    EXPECT_EQ(relay_.pump(Side::Client), Relay::Status::Open);
    EXPECT_EQ(server_->heard().size(), 2 * (3 * kReadBytes - 1));
}

TEST_F(RelayTest, ShowsWhatIsNotWholeWithWhatFollowsItAndAcknowledgesAtOnce) {
    std::vector<std::string> shown;
    tap_.onBytesDo = [&](Side, std::string_view bytes, Output& out) {
        shown.emplace_back(bytes);
        return editLines(bytes, out);
    };
    clientSends("EH");
    clientSends("LO a\nNO");
    EXPECT_EQ(shown, (std::vector<std::string>{"EH", "EHLO a\nNO"}));
    EXPECT_EQ(server_->heard(), "EHLO a\n");
    EXPECT_EQ(client_->acknowledgements, 2) << "the client may wait for that with the rest of its line";
    EXPECT_FALSE(relay_.stalled(Side::Client));
}

TEST_F(RelayTest, ReadsNothingMoreOfAClientThatHasToWaitForTheServer) {
    bool may_pass = false;
    tap_.onBytesDo = [&](Side from, std::string_view bytes, Output& out) {
        if (from == Side::Client && !may_pass) return Rest::Hold;
        out.pass(bytes.size());
        return Rest::More;
    };
    clientSends("first");
    clientSends("second");
    EXPECT_TRUE(relay_.stalled(Side::Client));
    EXPECT_EQ(client_->to_read, "second");
    may_pass = true;
    relay_.pump(Side::Client);
    EXPECT_EQ(server_->heard(), "firstsecond");
}

TEST_F(RelayTest, LetsAllThatIsLeftGoOnWhenTheTapRemovesItself) {
    tap_.onBytesDo = [&](Side from, std::string_view bytes, Output& out) {
        if (from == Side::Client) return Rest::Hold;
        relay_.setTap(nullptr);
        out.pass(bytes.size());
        return Rest::More;
    };
    clientSends("a1 STARTTLS\r\n\x16\x03");
    serverSends("a1 OK\r\n");
    relay_.pump(Side::Client);
    EXPECT_EQ(server_->heard(), "a1 STARTTLS\r\n\x16\x03");
    EXPECT_EQ(client_->heard(), "a1 OK\r\n");
}

TEST_F(RelayTest, RepliesOnlyBehindWhatTheSenderHasTakenAlready) {
    bool could_reply = true;
    tap_.onBytesDo = [&](Side from, std::string_view bytes, Output& out) {
        if (from == Side::Client) could_reply = out.canReply();
        out.pass(bytes.size());
        return Rest::More;
    };
    client_->room = 2;
    serverSends("220 mx\r\n");
    clientSends("NOOP\r\n");
    EXPECT_FALSE(could_reply);
    client_->room = 100;
    relay_.pump(Side::Server);
    clientSends("NOOP\r\n");
    EXPECT_TRUE(could_reply);
}

TEST_F(RelayTest, ForgetsHalfALineWhoseSenderHasEnded) {
    tap_.onBytesDo = [](Side, std::string_view bytes, Output& out) { return editLines(bytes, out); };
    client_->finished = true;
    EXPECT_EQ(clientSends("whole\nhalf"), Relay::Status::Open);
    client_end_.note(kReadable | kHangup);
    EXPECT_EQ(relay_.pump(Side::Client), Relay::Status::Ended);
    EXPECT_EQ(server_->heard(), "whole\n");
    EXPECT_TRUE(relay_.drained(Side::Client));
}

TEST_F(RelayTest, KeepsWhatIsNotTakenOfWordsOfOursInTheirOrder) {
    client_->room = 3;
    EXPECT_EQ(serverSends("server"), Relay::Status::Open);
    EXPECT_EQ(relay_.reply(Side::Client, " ours"), Relay::Status::Open);
    EXPECT_EQ(client_->heard(), "ser");
    EXPECT_TRUE(client_->wants_writable);
    client_->room = 100;
    EXPECT_EQ(relay_.reply(Side::Client, " twice"), Relay::Status::Open);
    EXPECT_EQ(client_->heard(), "ver ours twice");
    EXPECT_TRUE(relay_.drained(Side::Server));
}

TEST_F(RelayTest, DropsWhatTheTapHasLeftOverAndNothingElse) {
    tap_.onBytesDo = [](Side, std::string_view bytes, Output& out) {
        out.pass(bytes.size() - 4);
        return Rest::More;
    };
    client_->room = 2;
    EXPECT_EQ(serverSends("passed left"), Relay::Status::Open);
    relay_.dropUnseen(Side::Server);
    EXPECT_EQ(relay_.held(Side::Server), "ssed ");
    client_->room = 100;
    relay_.endSource(Side::Server);
    EXPECT_EQ(relay_.pump(Side::Server), Relay::Status::Ended);
    EXPECT_EQ(client_->heard(), "passed ");
}

TEST_F(RelayTest, GoesOnFromWhatSomebodyElseHasRead) {
    relay_.setTap(nullptr);
    ASSERT_TRUE(relay_.receive(Side::Server, "220 mx\r\n", true));
    EXPECT_EQ(relay_.bytesFrom(Side::Server), 8U);
    EXPECT_EQ(relay_.pump(Side::Server), Relay::Status::Ended);
    EXPECT_EQ(client_->heard(), "220 mx\r\n");
}

}  // namespace
}  // namespace mailgate::test
