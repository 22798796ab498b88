// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/tls_transport.h"

#include "gateway/io/socket_transport.h"
#include "tests/support/tls_connection.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>

namespace mailgate::test {
namespace {

std::string noise(std::size_t size) {
    std::mt19937_64 random(7);
    std::string text(size, '\0');
    for (char& byte : text)
        byte = static_cast<char>(random());
    return text;
}

class TlsVersionTest : public ::testing::Test {
  protected:
    explicit TlsVersionTest(int version) {
        SSL_CTX_set_min_proto_version(client_context_.get(), version);
        SSL_CTX_set_max_proto_version(client_context_.get(), version);
        connect();
    }
    void connect() {
        connection_.emplace(server_context_, client_context_);
        if (connection_->handshake().state != kDone) std::abort();
        EXPECT_FALSE(connection_->server->readable()) << "nothing is left of the handshake";
    }
    TlsTransport& server() { return *connection_->server; }
    TlsPeer& client() { return connection_->client; }
    IoResult read(std::size_t size = 64 * 1024) {
        buffer_.assign(size, '\0');
        const IoResult got = server().read(buffer_);
        buffer_.resize(got.bytes);
        return got;
    }

    TlsFiles files_;
    std::shared_ptr<TicketKeys> tickets_ =
        std::make_shared<TicketKeys>([] { return UnixSeconds{1'800'000'000}; });
    std::shared_ptr<const TlsServerContext> server_context_ =
        TlsServerContext::build({}, {files_.certificate({{"mx.example.net"}})}, tickets_);
    std::shared_ptr<SSL_CTX> client_context_ = TlsPeer::clientContext();
    std::optional<TlsConnection> connection_;
    std::string buffer_;
};

class TlsTransportTest : public TlsVersionTest, public ::testing::WithParamInterface<int> {
  protected:
    TlsTransportTest() : TlsVersionTest(GetParam()) {}
};

class Tls12Test : public TlsVersionTest {
  protected:
    Tls12Test() : TlsVersionTest(TLS1_2_VERSION) {}
};

class Tls13Test : public TlsVersionTest {
  protected:
    Tls13Test() : TlsVersionTest(TLS1_3_VERSION) {}
};

INSTANTIATE_TEST_SUITE_P(Versions, TlsTransportTest, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& version) {
                             return version.param == TLS1_2_VERSION ? "Tls12" : "Tls13";
                         });

TEST_P(TlsTransportTest, CarriesPlainTextBothWays) {
    client().writes("a001 NOOP\r\n");
    connection_->carry();
    EXPECT_TRUE(server().readable());
    const IoResult got = read();
    EXPECT_EQ(got.status, IoStatus::Ok);
    EXPECT_EQ(buffer_, "a001 NOOP\r\n");
    EXPECT_FALSE(got.more);
    EXPECT_FALSE(got.last);
    EXPECT_FALSE(server().readable());
    EXPECT_EQ(read().status, IoStatus::WouldBlock);
    EXPECT_EQ(server().write("a001 OK\r\n").bytes, 9u);
    connection_->carry();
    EXPECT_EQ(client().reads(), "a001 OK\r\n");
    EXPECT_FALSE(server().canSplice());
}

TEST_P(TlsTransportTest, TellsOfBytesThatNoEventWillTellOf) {
    // All of it is below after one event: small reads have to go on until there is no more.
    const std::string text = noise(100'000);
    client().writes(text);
    connection_->carry();
    std::string all;
    for (IoResult got = read(1000); got.status == IoStatus::Ok; got = read(1000)) {
        all += buffer_;
        EXPECT_EQ(got.more, server().readable());
        EXPECT_TRUE(got.more || all.size() == text.size());
        if (!got.more) break;
    }
    EXPECT_EQ(all, text);
    EXPECT_EQ(read().status, IoStatus::WouldBlock);
}

TEST_P(TlsTransportTest, WaitsForTheRestOfARecord) {
    client().writes("whole");
    const std::string record = client().sent();
    for (std::size_t i = 0; i + 1 < record.size(); ++i) {
        connection_->arrives(record.substr(i, 1));
        const IoResult got = read();
        ASSERT_EQ(got.status, IoStatus::WouldBlock);
        ASSERT_FALSE(got.more) << "a part of a record is not more";
        ASSERT_FALSE(server().readable());
    }
    connection_->arrives(record.substr(record.size() - 1));
    EXPECT_EQ(connection_->serverReads(), "whole");
}

TEST_P(TlsTransportTest, TellsTheEndThatComesBehindTheBytes) {
    client().writes("QUIT\r\n");
    SSL_shutdown(client().ssl());
    connection_->carry();
    const IoResult got = read();
    EXPECT_EQ(buffer_, "QUIT\r\n");
    EXPECT_TRUE(got.last);
    EXPECT_FALSE(got.more);
    EXPECT_FALSE(server().truncated());
    EXPECT_EQ(read().status, IoStatus::Eof);
    connection_->finishes();
    EXPECT_FALSE(server().readable()) << "there is nothing behind the end";
    EXPECT_EQ(server().write("221 bye\r\n").bytes, 9u) << "the other direction goes on";
    connection_->carry();
    EXPECT_EQ(client().reads(), "221 bye\r\n");
}

TEST_P(TlsTransportTest, TellsAnEndThatWasCutOff) {
    client().writes("DATA");
    connection_->arrives(client().sent());
    connection_->finishes();
    const IoResult got = read();
    EXPECT_EQ(buffer_, "DATA");
    EXPECT_TRUE(got.last);
    EXPECT_TRUE(server().truncated());
    EXPECT_EQ(server().fault(), "truncated");
    EXPECT_FALSE(server().broken());
    EXPECT_EQ(read().status, IoStatus::Eof);
    EXPECT_EQ(server().write("x").bytes, 1u) << "an end, and no error";

    connect();
    client().writes("a record of which the last byte is missing");
    const std::string record = client().sent();
    connection_->arrives(record.substr(0, record.size() - 1));
    EXPECT_EQ(read().status, IoStatus::WouldBlock);
    connection_->finishes();
    EXPECT_EQ(read().status, IoStatus::Eof);
    EXPECT_TRUE(server().truncated());
}

TEST_P(TlsTransportTest, ReadsAllBeforeTheEndHoweverSmallTheReads) {
    const std::string text = noise(40'000);
    client().writes(text);
    SSL_shutdown(client().ssl());
    connection_->arrives(client().sent());
    connection_->finishes();
    std::string all;
    bool last = false;
    while (!last && server().readable()) {
        const IoResult got = read(777);
        all += buffer_;
        last = got.last || got.status == IoStatus::Eof;
    }
    EXPECT_TRUE(last);
    EXPECT_EQ(all, text);
    EXPECT_FALSE(server().truncated());
}

TEST_P(TlsTransportTest, EndsWithTheConnectionsError) {
    client().writes("half");
    connection_->arrives(client().sent());
    connection_->wire->broken = ECONNRESET;
    server().note(kReadable | kFailed);
    EXPECT_EQ(connection_->serverReads(), "half");
    EXPECT_EQ(connection_->last.status, IoStatus::Error);
    EXPECT_EQ(connection_->last.error, ECONNRESET);
    EXPECT_FALSE(server().broken());
    EXPECT_EQ(server().fault(), "");
    connect();
    connection_->wire->write_error = EPIPE;
    EXPECT_EQ(server().write("x").status, IoStatus::Error);
    EXPECT_EQ(server().write("x").error, EPIPE);
}

TEST_P(TlsTransportTest, RefusesForgedAndOversizedRecords) {
    client().writes("untouched");
    std::string record = client().sent();
    record.back() = static_cast<char>(record.back() ^ 1);
    connection_->arrives(record);
    const IoResult got = read();
    EXPECT_EQ(got.status, IoStatus::Error);
    EXPECT_EQ(got.error, EPROTO);
    EXPECT_TRUE(server().broken());
    EXPECT_EQ(server().fault(), "protocol_error");
    EXPECT_EQ(server().write("x").status, IoStatus::Error);

    connect();
    connection_->arrives(std::string_view("\x17\x03\x03\xff\xff", 5));
    EXPECT_EQ(read().status, IoStatus::Error);
    EXPECT_EQ(toString(server().failure()), "too_large");

    connect();
    connection_->arrives("RSET\r\n and more of it in the clear");
    EXPECT_EQ(read().status, IoStatus::Error);
}

TEST_P(TlsTransportTest, GivesWhatCameBeforeAForgedRecord) {
    client().writes("good");
    std::string good = client().sent();
    client().writes("bad");
    std::string bad = client().sent();
    bad.back() = static_cast<char>(bad.back() ^ 1);
    connection_->arrives(good + bad);
    const IoResult got = read();
    EXPECT_EQ(buffer_, "good");
    EXPECT_TRUE(got.more);
    EXPECT_EQ(read().status, IoStatus::Error);
}

TEST_P(TlsTransportTest, WritesInPiecesAndGoesOnWhereItStopped) {
    const std::string text = noise(200'000);
    std::string_view rest = text;
    std::string got;
    for (int turns = 0; !rest.empty() && turns < 100'000; ++turns) {
        connection_->wire->room = 997;
        const IoResult put = server().write(rest.substr(0, 64 * 1024));
        ASSERT_NE(put.status, IoStatus::Error);
        if (put.status == IoStatus::Ok) {
            ASSERT_GT(put.bytes, 0u);
            rest.remove_prefix(put.bytes);
        }
        connection_->carry();
        got += client().reads();
    }
    EXPECT_EQ(got, text);
}

TEST_P(TlsTransportTest, SendsTheRecordsOfOneWriteTogether) {
    const std::string text = noise(8 * 16 * 1024);
    connection_->wire->writes = 0;
    EXPECT_EQ(server().write(text).bytes, text.size());
    EXPECT_EQ(connection_->wire->writes, 1);
    connection_->carry();
    EXPECT_EQ(client().reads(), text);
}

TEST_P(TlsTransportTest, TakesTheLastRecordOnceAllBeforeItIsOut) {
    const std::string text = noise(64 * 1024);
    connection_->wire->room = 20'000;
    const IoResult put = server().write(text);
    EXPECT_EQ(put.bytes, 3 * 16 * 1024u) << "though two of these wait for room as well";
    const std::string_view rest = std::string_view(text).substr(put.bytes);
    EXPECT_EQ(server().write(rest).status, IoStatus::WouldBlock);
    connection_->wire->room = 20'000;
    EXPECT_EQ(server().write(rest).status, IoStatus::WouldBlock);
    EXPECT_EQ(server().write(rest.substr(1)).error, EPROTO) << "that was not what came first";
    connection_->wire->room = 1'000'000;
    EXPECT_EQ(server().write(rest).bytes, rest.size());
    connection_->carry();
    EXPECT_EQ(client().reads(), text);
}

TEST_P(TlsTransportTest, ClosesBehindWhatWaitsForRoom) {
    const std::string text = noise(20'000);
    connection_->wire->room = 100;
    server().write(text);
    server().shutdownWrite();
    EXPECT_FALSE(connection_->wire->got_fin);
    connection_->wire->room = 1'000'000;
    server().note(kWritable);
    EXPECT_TRUE(connection_->wire->got_fin);
    connection_->carry();
    EXPECT_EQ(client().reads(), text) << "sealed already";
    EXPECT_EQ(SSL_get_shutdown(client().ssl()) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
}

TEST_P(TlsTransportTest, SaysNoEndWhereItIsToBeAReset) {
    server().resetOnClose();
    server().shutdownWrite();
    EXPECT_TRUE(connection_->wire->reset);
    EXPECT_EQ(connection_->wire->heard(), "");
    EXPECT_FALSE(connection_->wire->got_fin);
}

TEST_P(TlsTransportTest, ClosesInOrder) {
    server().write("bye");
    server().shutdownWrite();
    EXPECT_TRUE(connection_->wire->got_fin);
    EXPECT_FALSE(connection_->wire->wrote_behind_fin);
    connection_->carry();
    EXPECT_EQ(client().reads(), "bye");
    EXPECT_EQ(SSL_get_shutdown(client().ssl()) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    EXPECT_EQ(server().write("too late").error, EPIPE);
    client().writes("still talking");
    connection_->carry();
    EXPECT_EQ(connection_->serverReads(), "still talking");
}

TEST_P(TlsTransportTest, SendsTheFinBehindACloseNotifyThatHadToWait) {
    connection_->wire->room = 3;
    server().shutdownWrite();
    EXPECT_FALSE(connection_->wire->got_fin);
    EXPECT_TRUE(connection_->wire->wants_writable);
    connection_->wire->room = 1000;
    server().note(kWritable);
    EXPECT_TRUE(connection_->wire->got_fin);
    connection_->carry();
    client().reads();
    EXPECT_EQ(SSL_get_shutdown(client().ssl()) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
}

TEST_P(TlsTransportTest, PeeksWithoutTaking) {
    EXPECT_EQ(server().peek(), -1);
    client().writes("xyz");
    connection_->carry();
    EXPECT_EQ(server().peek(), 'x');
    EXPECT_TRUE(server().readable());
    EXPECT_EQ(connection_->serverReads(), "xyz");
    std::unique_ptr<Transport> below = std::make_unique<ScriptedTransport>(connection_->wire);
    connection_->wire->to_read = "EHLO";
    EXPECT_EQ(TlsTransport::accept(below, server_context_)->peek(), 'E')
        << "before the handshake: what is below";
}

TEST_P(TlsTransportTest, OpensSomeRecordsACallAndNoMore) {
    for (int i = 0; i < 1000; ++i)
        client().writes("x");
    connection_->carry();
    std::size_t calls = 0, total = 0;
    while (server().readable()) {
        const IoResult got = read();
        ASSERT_LE(got.bytes, 128u);
        total += got.bytes;
        ++calls;
        if (!got.more) break;
    }
    EXPECT_EQ(total, 1000u);
    EXPECT_GE(calls, 8u);
}

TEST_P(TlsTransportTest, TakesReadsFromBelowInTurns) {
    const std::string text = noise(1'000'000);
    client().writes(text);
    connection_->carry();
    const std::size_t before = connection_->wire->to_read.size();
    read(std::size_t{1} << 20);
    EXPECT_LE(before - connection_->wire->to_read.size(), 10 * 17'000u);
    EXPECT_TRUE(server().readable());
    EXPECT_EQ(buffer_ + connection_->serverReads(), text);
}

TEST_F(Tls13Test, BearsRekeyingAndNotAFloodOfIt) {
    for (int i = 0; i < 5; ++i) {
        SSL_key_update(client().ssl(), SSL_KEY_UPDATE_REQUESTED);
        client().writes("again " + std::to_string(i));
        connection_->carry();
        EXPECT_EQ(connection_->serverReads(), "again " + std::to_string(i));
        EXPECT_EQ(server().write("ok").bytes, 2u);
        connection_->carry();
        EXPECT_EQ(client().reads(), "ok");
    }
    std::string flood;
    for (int i = 0; i < 5000; ++i) {
        SSL_key_update(client().ssl(), SSL_KEY_UPDATE_NOT_REQUESTED);
        client().writes("");
        SSL_do_handshake(client().ssl());
        flood += client().sent();
    }
    ASSERT_GT(flood.size(), 5000u * 20);
    connection_->arrives(flood);
    read();
    EXPECT_GT(connection_->wire->to_read.size(), flood.size() - 40'000)
        << "most of it was not even looked at";
    EXPECT_EQ(read().status, IoStatus::Error);
    EXPECT_EQ(toString(server().failure()), "flood");
}

TEST_F(Tls13Test, BearsARekeyingEverySoManyBytes) {
    const std::string block = noise(16 * 1024);
    for (int i = 0; i < 300; ++i) {
        SSL_key_update(client().ssl(), SSL_KEY_UPDATE_NOT_REQUESTED);
        client().writes(block);
        connection_->carry();
        ASSERT_EQ(connection_->serverReads(), block);
    }
}

TEST_F(Tls12Test, DoesNotRenegotiate) {
    SSL_CTX_clear_options(client_context_.get(), SSL_OP_NO_RENEGOTIATION);
    connect();
    ASSERT_EQ(SSL_renegotiate(client().ssl()), 1);
    client().advance();
    connection_->carry();
    EXPECT_EQ(read().status, IoStatus::WouldBlock);
    connection_->carry();
    EXPECT_FALSE(client().advance());
    EXPECT_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    EXPECT_EQ(server().write("x").bytes, 1u) << "refused, and the session goes on";
}

/// Both ends of ours, over sockets with as little room as the kernel gives, in a SessionSet: events tell
/// of changes alone.
class TlsSocketTest : public Tls13Test {
  protected:
    class End final : public EventHandler {
      public:
        explicit End(std::string to_send) : sends(std::move(to_send)) {}
        void onEvents(unsigned, std::uint32_t events) override {
            transport->note(events);
            work();
            if (done()) set->leave();
        }
        void work() {
            if (!transport->established()) {
                const auto step = transport->advance(0);
                failed = step.state == kFailedStep;
                if (step.again) set->defer(*this, 0);
                if (step.state != kDone) return;
            }
            std::array<char, 20'000> buffer;
            for (int reads = 0; transport->readable(); ++reads) {
                if (reads == 16) return set->defer(*this, 0);
                const IoResult got = transport->read(buffer);
                received.append(buffer.data(), got.bytes);
                ended = ended || got.last || got.status == IoStatus::Eof;
                failed = failed || got.status == IoStatus::Error;
                if (ended || failed) break;
            }
            while (at < sends.size()) {
                const IoResult put = transport->write(std::string_view(sends).substr(at, 50'000));
                failed = failed || put.status == IoStatus::Error;
                if (put.status != IoStatus::Ok) return transport->notifyWritable();
                at += put.bytes;
            }
            if (!std::exchange(closed, true)) transport->shutdownWrite();
        }
        bool done() const { return failed || (ended && closed); }

        SessionSet* set = nullptr;
        std::unique_ptr<TlsTransport> transport;
        std::string sends, received;
        std::size_t at = 0;
        bool ended = false, failed = false, closed = false;
    };
    struct Limit final : Timer {
        explicit Limit(SessionSet& of) : set(of) {}
        void onTimer() override {
            reached = true;
            set.leave();
        }
        SessionSet& set;
        bool reached = false;
    };
};

TEST_F(TlsSocketTest, MovesTenMegabytesBothWaysThroughTinyBuffers) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    const int small = 1;
    for (const int end : ends) {
        ::setsockopt(end, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        ::setsockopt(end, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    }
    SessionSet set;
    const std::string text = noise(10'000'000);
    End server(text), client(text.substr(1) + "!");
    std::unique_ptr<Transport> server_below = SocketTransport::adopt(set, ends[0], server, 0, true);
    std::unique_ptr<Transport> client_below = SocketTransport::adopt(set, ends[1], client, 0, true);
    TlsClientOptions options;
    options.verify = false;
    server.transport = TlsTransport::accept(server_below, server_context_);
    client.transport =
        TlsTransport::connect(client_below, TlsClientContext::build(options, nullptr), "mx.example.net");
    server.set = client.set = &set;
    client.work();
    Limit limit(set);
    set.arm(limit, set.now() + 120'000);
    while (!(server.done() && client.done())) {
        set.serve();
        ASSERT_FALSE(limit.reached) << "stalled: " << server.received.size() << " and "
                                    << client.received.size();
    }
    EXPECT_FALSE(server.failed || client.failed);
    EXPECT_TRUE(client.received == server.sends);
    EXPECT_TRUE(server.received == client.sends);
    EXPECT_FALSE(server.transport->truncated() || client.transport->truncated());
}

}  // namespace
}  // namespace mailgate::test
