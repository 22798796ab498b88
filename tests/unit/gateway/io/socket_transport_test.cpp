// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/socket_transport.h"

#include "gateway/base/descriptor.h"
#include "gateway/io/socket_address.h"

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>

namespace mailgate {
namespace {

constexpr int kPatienceMs = 30'000;

/// Connected over loopback, in no set.
class SocketTransportTest : public testing::Test {
  protected:
    SocketTransportTest() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const SocketAddress any({*IpAddress::parse("127.0.0.1"), 0});
        EXPECT_EQ(::bind(listener_.get(), any.get(), any.size()), 0);
        sockaddr_storage bound{};
        socklen_t size = sizeof bound;
        ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&bound), &size);
        endpoint_ = SocketAddress::toEndpoint(bound);
    }
    void connect() {
        ASSERT_EQ(::listen(listener_.get(), 1), 0);
        transport_ = SocketTransport::connect(endpoint_, error_);
        ASSERT_NE(transport_, nullptr);
        peer_ = Descriptor(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        EXPECT_TRUE(transport_->watch(true)) << "its owner polls";
    }
    /// As its owner does.
    void awaitBytes() {
        pollfd ready{transport_->descriptor(), POLLIN, 0};
        ASSERT_EQ(::poll(&ready, 1, kPatienceMs), 1);
        transport_->note(kReadable);
    }
    std::string read(IoStatus status) {
        char buffer[64];
        const IoResult got = transport_->read(buffer);
        EXPECT_EQ(got.status, status);
        return {buffer, got.bytes};
    }

    Descriptor listener_, peer_;
    Endpoint endpoint_;
    int error_ = 0;
    std::unique_ptr<SocketTransport> transport_;
};

TEST_F(SocketTransportTest, KnowsItsOwnEndAndMovesBytes) {
    connect();
    sockaddr_storage seen{};
    socklen_t size = sizeof seen;
    ::getpeername(peer_.get(), reinterpret_cast<sockaddr*>(&seen), &size);
    EXPECT_EQ(transport_->localEnd(), SocketAddress::toEndpoint(seen));

    EXPECT_EQ(transport_->write("hello").bytes, 5U);
    char buffer[8];
    EXPECT_EQ(::recv(peer_.get(), buffer, sizeof buffer, 0), 5);

    EXPECT_EQ(read(IoStatus::WouldBlock), "");
    ASSERT_EQ(::send(peer_.get(), "220 mx", 6, 0), 6);
    awaitBytes();
    EXPECT_TRUE(transport_->readable());
    EXPECT_EQ(transport_->peek(), '2');
    EXPECT_EQ(read(IoStatus::Ok), "220 mx");
    EXPECT_FALSE(transport_->readable());
}

TEST_F(SocketTransportTest, HasTheKernelLookAfterItsPeerWhenAsked) {
    connect();
    const auto keptAlive = [&] {
        int on = 0;
        socklen_t size = sizeof on;
        ::getsockopt(transport_->descriptor(), SOL_SOCKET, SO_KEEPALIVE, &on, &size);
        return on == 1;
    };
    EXPECT_FALSE(keptAlive());
    transport_->keepAlive();
    EXPECT_TRUE(keptAlive());
}

TEST_F(SocketTransportTest, PassesEndsBothWays) {
    connect();
    transport_->shutdownWrite();
    char byte = 0;
    EXPECT_EQ(::recv(peer_.get(), &byte, 1, 0), 0);
    peer_ = Descriptor();
    awaitBytes();
    EXPECT_EQ(read(IoStatus::Eof), "");
}

TEST_F(SocketTransportTest, LetsTheEndTravelWithTheLastBytes) {
    connect();
    transport_->writeLast("bye");
    pollfd waiting{peer_.get(), POLLIN | POLLRDHUP, 0};
    EXPECT_EQ(::poll(&waiting, 1, 0), 0) << "not before the end is there";
    transport_.reset();
    ASSERT_EQ(::poll(&waiting, 1, kPatienceMs), 1);
    EXPECT_TRUE(waiting.revents & POLLRDHUP);
    char bytes[8];
    EXPECT_EQ(::recv(peer_.get(), bytes, sizeof bytes, 0), 3);
    EXPECT_EQ(::recv(peer_.get(), bytes, sizeof bytes, 0), 0);
}

TEST_F(SocketTransportTest, SendsTheLastBytesBeforeAResetToo) {
    connect();
    transport_->writeLast("bye");
    transport_->resetOnClose();
    pollfd waiting{peer_.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&waiting, 1, kPatienceMs), 1);
    char bytes[8];
    EXPECT_EQ(::recv(peer_.get(), bytes, sizeof bytes, 0), 3);
    transport_.reset();
    EXPECT_EQ(::recv(peer_.get(), bytes, sizeof bytes, 0), -1);
    EXPECT_EQ(errno, ECONNRESET);
}

TEST_F(SocketTransportTest, EndsTheHandshakeWithItsFirstBytesWhereItSpeaksFirst) {
    ASSERT_EQ(::listen(listener_.get(), 2), 0);
    struct Nothing final : EventHandler {
        void onEvents(unsigned, std::uint32_t) override {}
    } handler;
    SessionSet set;
    for (const bool speaks_first : {true, false}) {
        transport_ = SocketTransport::connect(set, endpoint_, handler, 0, speaks_first, error_);
        ASSERT_NE(transport_, nullptr);
        ASSERT_EQ(transport_->write("PROXY").status, IoStatus::Ok) << "on loopback it is connected";
        // The kernel's struct tcp_info; the C library's ends before tcpi_segs_out.
        std::array<std::uint32_t, 64> info{};
        constexpr std::size_t kSegmentsSent = 34;
        socklen_t size = sizeof info;
        ASSERT_EQ(::getsockopt(transport_->descriptor(), IPPROTO_TCP, TCP_INFO, info.data(), &size), 0);
        ASSERT_GT(size, kSegmentsSent * sizeof info[0]);
        EXPECT_EQ(info[kSegmentsSent], speaks_first ? 2U : 3U);
    }
}

TEST_F(SocketTransportTest, TellsAtTheFirstWriteThatNobodyListens) {
    transport_ = SocketTransport::connect(endpoint_, error_);
    if (!transport_) {
        EXPECT_EQ(error_, ECONNREFUSED);
        return;
    }
    pollfd ready{transport_->descriptor(), POLLOUT, 0};
    ASSERT_EQ(::poll(&ready, 1, kPatienceMs), 1);
    const IoResult put = transport_->write("");
    EXPECT_EQ(put.status, IoStatus::Error);
    EXPECT_EQ(put.error, ECONNREFUSED);
}

}  // namespace
}  // namespace mailgate
