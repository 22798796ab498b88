// SPDX-License-Identifier: Apache-2.0
/// \file  What TLS alone costs: the server's processor time of handshakes and of bulk data, and what an idle connection
/// keeps. Without sockets: the wire is a string, and the client's work is not counted.
///
///     tls_bench [ROUNDS]     handshakes of each kind; 500 unless given

#include "tests/support/tls_connection.h"
#include "tests/support/tls_files.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <malloc.h>

#include <cstdlib>
#include <ctime>
#include <vector>

namespace {

using namespace mailgate;
using namespace mailgate::test;

std::size_t allocated = 0;

void* countedMalloc(std::size_t size, const char*, int) {
    void* block = std::malloc(size);
    if (block) allocated += malloc_usable_size(block);
    return block;
}
void* countedRealloc(void* old, std::size_t size, const char*, int) {
    const std::size_t before = old ? malloc_usable_size(old) : 0;
    void* block = std::realloc(old, size);
    if (block || size == 0) allocated -= before;
    if (block) allocated += malloc_usable_size(block);
    return block;
}
void countedFree(void* block, const char*, int) {
    if (block) allocated -= malloc_usable_size(block);
    std::free(block);
}

double processorSeconds() {
    ::timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

std::shared_ptr<SSL_CTX> clientOf(int version) {
    return TlsPeer::clientContext([=](SSL_CTX* context) {
        SSL_CTX_set_min_proto_version(context, version);
        SSL_CTX_set_max_proto_version(context, version);
    });
}

/// The server's time for one handshake, its making and its end.
double handshakeSeconds(const std::shared_ptr<const TlsServerContext>& server,
                        const std::shared_ptr<SSL_CTX>& client, std::shared_ptr<SSL_SESSION>& session,
                        bool resume) {
    double begun = processorSeconds();
    TlsConnection connection(server, client);
    double spent = processorSeconds() - begun;
    if (resume && session) SSL_set_session(connection.client.ssl(), session.get());
    for (auto state = kWants; state == kWants;) {
        connection.client.advance();
        connection.carry();
        begun = processorSeconds();
        state = connection.server->advance(0).state;
        spent += processorSeconds() - begun;
        if (state == kFailedStep) std::abort();
        connection.client.gets(connection.wire->heard());
    }
    connection.client.advance();
    connection.client.reads();
    session.reset(SSL_get1_session(connection.client.ssl()), SSL_SESSION_free);
    begun = processorSeconds();
    const bool resumed = connection.server->facts().resumed;
    connection.server.reset();
    spent += processorSeconds() - begun;
    if (resumed != resume) std::abort();
    return spent;
}

void timeHandshakes(const std::shared_ptr<const TlsServerContext>& server, const char* key, int rounds) {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        const auto client = clientOf(version);
        for (const bool resume : {false, true}) {
            std::shared_ptr<SSL_SESSION> session;
            handshakeSeconds(server, client, session, false);
            double spent = 0;
            for (int i = 0; i < rounds; ++i)
                spent += handshakeSeconds(server, client, session, resume);
            fmt::print("handshake  {:4} TLS 1.{} {:8} {:8.1f} us\n", key, version == TLS1_2_VERSION ? 2 : 3,
                       resume ? "resumed" : "full", spent / rounds * 1e6);
        }
    }
}

void timeBulk(const std::shared_ptr<const TlsServerContext>& server) {
    TlsConnection connection(server, clientOf(TLS1_3_VERSION));
    if (connection.handshake().state != kDone) std::abort();
    constexpr std::size_t kChunk = 64 * 1024, kChunks = 4096;
    const std::string text(kChunk, 'x');
    double spent = 0;
    for (std::size_t i = 0; i < kChunks; ++i) {
        const double begun = processorSeconds();
        if (connection.server->write(text).bytes != text.size()) std::abort();
        spent += processorSeconds() - begun;
        connection.wire->heard();
    }
    fmt::print("download   {:8.2f} s per GiB\n", spent * (1 << 30) / (kChunk * kChunks));
    spent = 0;
    std::string into(kChunk, '\0');
    for (std::size_t i = 0; i < kChunks; ++i) {
        connection.client.writes(text);
        connection.carry();
        const double begun = processorSeconds();
        while (connection.server->readable())
            connection.server->read(into);
        spent += processorSeconds() - begun;
    }
    fmt::print("upload     {:8.2f} s per GiB\n", spent * (1 << 30) / (kChunk * kChunks));
}

void weighIdle(const std::shared_ptr<const TlsServerContext>& server) {
    constexpr std::size_t kConnections = 200;
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        for (const bool traffic : {false, true}) {
            std::size_t kept = 0;
            std::vector<std::unique_ptr<TlsTransport>> servers;
            for (std::size_t i = 0; i < kConnections; ++i) {
                // The client's memory is the same OpenSSL's: what is left when it is gone is the server's.
                const std::size_t before = allocated;
                {
                    TlsConnection connection(server, clientOf(version));
                    if (connection.handshake().state != kDone) std::abort();
                    if (traffic) {
                        connection.client.writes(std::string(16'000, 'x'));
                        connection.carry();
                        connection.serverReads();
                        connection.server->write(std::string(16'000, 'x'));
                    }
                    servers.push_back(std::move(connection.server));
                }
                kept += allocated - before;
            }
            fmt::print("idle       TLS 1.{} {:14} {:6.2f} KiB, and {} bytes of ours\n",
                       version == TLS1_2_VERSION ? 2 : 3, traffic ? "after traffic" : "fresh",
                       static_cast<double>(kept) / kConnections / 1024, sizeof(TlsTransport));
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    CRYPTO_set_mem_functions(&countedMalloc, &countedRealloc, &countedFree);
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 500;
    TlsFiles files;
    const auto tickets = std::make_shared<TicketKeys>([] { return std::time(nullptr); });
    const auto ec = files.certificate({.names = {"mx.example.net"}});
    const auto rsa = files.certificate({.names = {"mx.example.net"}, .rsa = true});
    const auto ec_server = TlsServerContext::build({}, {ec}, tickets);
    weighIdle(ec_server);
    timeHandshakes(TlsServerContext::build({}, {rsa}, tickets), "RSA", rounds);
    timeHandshakes(ec_server, "EC", rounds);
    timeBulk(ec_server);
    return 0;
}
