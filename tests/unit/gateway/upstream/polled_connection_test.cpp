// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstream/polled_connection.h"

#include "gateway/base/descriptor.h"
#include "gateway/io/socket_address.h"

#include <gtest/gtest.h>

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <variant>

namespace mailgate {
namespace {

constexpr int kPatienceMs = 30'000;

class PolledConnectionTest : public testing::Test {
  protected:
    PolledConnectionTest() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const SocketAddress any({*IpAddress::parse("127.0.0.1"), 0});
        EXPECT_EQ(::bind(socket_.get(), any.get(), any.size()), 0);
        sockaddr_storage bound{};
        socklen_t size = sizeof bound;
        ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&bound), &size);
        server_ = SocketAddress::toEndpoint(bound);
    }

    void listen() const { EXPECT_EQ(::listen(socket_.get(), 4), 0); }
    /// Begins to connect, and goes on until there is a result.
    Connector::Progress connect(const PolledConnection::HeaderFor& header) {
        Connector::Progress progress = connection_.begin(server_, header);
        while (std::holds_alternative<Connector::Waiting>(progress)) {
            EXPECT_TRUE(connection_.connecting());
            pollfd interest = connection_.interest();
            EXPECT_EQ(interest.events, POLLOUT);
            if (::poll(&interest, 1, kPatienceMs) != 1) break;
            progress = connection_.onReady(interest.revents);
        }
        return progress;
    }

    Descriptor socket_;
    Endpoint server_;
    PolledConnection connection_;
};

TEST_F(PolledConnectionTest, SendsAHeaderOfItsOwnEndsAndHandsOverTheTransport) {
    listen();
    std::string source;
    const auto progress = connect([&](const proxy::Connection& ends) {
        source = ends.source.toString();
        EXPECT_EQ(ends.destination, server_);
        return "PROXY UNKNOWN\r\n";
    });
    ASSERT_TRUE(std::holds_alternative<Connector::Connected>(progress)) << progress.index();
    EXPECT_FALSE(connection_.connecting());
    EXPECT_EQ(connection_.interest().events, POLLIN);

    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    const Descriptor accepted(
        ::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
    EXPECT_EQ(SocketAddress::toEndpoint(peer).toString(), source);
    std::array<char, 64> bytes{};
    const auto got = ::recv(accepted.get(), bytes.data(), bytes.size(), 0);
    EXPECT_EQ(std::string_view(bytes.data(), static_cast<std::size_t>(got)), "PROXY UNKNOWN\r\n");

    ASSERT_EQ(::send(accepted.get(), "220 mx\r\n", 8, MSG_NOSIGNAL), 8);
    pollfd interest = connection_.interest();
    ASSERT_EQ(::poll(&interest, 1, kPatienceMs), 1);
    connection_.note(interest.revents);
    const IoResult read = connection_.transport().read(bytes);
    EXPECT_EQ(std::string_view(bytes.data(), read.bytes), "220 mx\r\n");
}

TEST_F(PolledConnectionTest, SaysWhyThereIsNone) {
    const auto progress = connect([](const proxy::Connection&) { return std::string(); });
    const auto* failed = std::get_if<Connector::Failed>(&progress);
    ASSERT_NE(failed, nullptr) << progress.index();
    EXPECT_EQ(failed->error, ECONNREFUSED);
    EXPECT_FALSE(connection_.connecting());
}

}  // namespace
}  // namespace mailgate
