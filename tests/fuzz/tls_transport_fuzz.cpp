// SPDX-License-Identifier: Apache-2.0
// Bytes from a peer into a TlsTransport that is a server: as a handshake, raw or a client's own with bytes changed;
// and behind a handshake, as an OpenSSL client that writes, rekeys, closes, with its records delivered in any pieces,
// changed or cut. Properties: what is read is what the client wrote, in order, and all of it when nothing was
// changed; `more` is true to the next read; nothing spins; the end ends it.

#include "tests/support/tls_connection.h"
#include "tests/support/tls_files.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <string>

namespace {

using namespace mailgate;
using namespace mailgate::test;

void require(bool holds) {
    if (!holds) std::abort();
}

class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}
    bool empty() const { return rest_.empty(); }
    std::size_t byte() {
        if (rest_.empty()) return 0;
        const auto value = static_cast<unsigned char>(rest_.front());
        rest_.remove_prefix(1);
        return value;
    }
    std::string_view take(std::size_t size) {
        const std::string_view taken = rest_.substr(0, size);
        rest_.remove_prefix(taken.size());
        return taken;
    }

  private:
    std::string_view rest_;
};

struct Server {
    Server() {
        TlsServerOptions options;
        options.alpn = "imap";
        options.client_certificates = ClientCertificates::Optional;
        options.client_ca = files.write("ca.pem", files.authority.pem());
        context = TlsServerContext::build(
            options, {files.certificate({{"mx.example.net"}}), files.certificate({{"*.example.net"}})},
            std::make_shared<TicketKeys>([] { return std::time(nullptr); }));
        for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
            auto made = TlsPeer::clientContext();
            SSL_CTX_set_min_proto_version(made.get(), version);
            SSL_CTX_set_max_proto_version(made.get(), version);
            clients[version == TLS1_3_VERSION] = made;
        }
    }
    TlsFiles files;
    std::shared_ptr<const TlsServerContext> context;
    std::shared_ptr<SSL_CTX> clients[2];
};

const Server& server() {
    static const Server made;
    return made;
}

TlsTransport::Handshake advance(TlsConnection& connection) {
    for (int steps = 0;; ++steps) {
        require(steps < 1000);
        const auto step = connection.server->advance(0);
        require(step.failure == connection.server->failure());
        if (!step.again) return step;
    }
}

void shakeHands(Input input, std::size_t mode) {
    TlsConnection connection(server().context, server().clients[(mode >> 1) & 1]);
    connection.client.asksFor("imap.example.net");
    std::string hello;
    if (mode & 4) {
        connection.client.advance();
        hello = connection.client.sent();
        for (std::size_t changes = input.byte() % 4; changes > 0; --changes) {
            const std::size_t at = (input.byte() << 8 | input.byte()) % hello.size();
            hello[at] = static_cast<char>(input.byte());
        }
    }
    const std::size_t piece = 1 + input.byte();
    hello += input.take(std::size_t{1} << 20);
    auto step = advance(connection);
    for (std::size_t at = 0; at < hello.size() && step.state == kWants; at += piece) {
        connection.arrives(std::string_view(hello).substr(at, piece));
        step = advance(connection);
    }
    require(step.state != kDone);
    connection.finishes();
    step = advance(connection);
    require(step.state == kFailedStep && !toString(step.failure).empty());
    require(advance(connection).failure == step.failure);
    char byte = 0;
    require(connection.server->read({&byte, 1}).status == IoStatus::Error);
    require(connection.server->write("x").status == IoStatus::Error);
    connection.server->shutdownWrite();
}

class Dialogue {
  public:
    explicit Dialogue(std::size_t mode) : connection_(server().context, server().clients[(mode >> 1) & 1]) {
        require(connection_.handshake().state == kDone);
    }

    void run(Input input) {
        for (int steps = 0; !input.empty() && steps < 500; ++steps)
            step(input.byte() % 9, input);
        deliver(pending_.size());
        for (int reads = 0; readable(); ++reads) {
            require(reads < 100'000);
            if (!read(4096)) break;
        }
        if (!harmed_) require(received_ == sent_);
        if (!ended_ && !failed_) {
            finish();
            while (readable() && read(4096))
                continue;
            require(ended_ || failed_);
        }
        connection_.server->shutdownWrite();
    }

  private:
    TlsTransport& transport() { return *connection_.server; }
    bool readable() { return transport().readable(); }

    void step(std::size_t kind, Input& input) {
        const std::size_t size = input.byte() << 8 | input.byte();
        switch (kind) {
            case 0:
                return write(size);
            case 1:
                return rekey(size % 8);
            case 2:
                return deliver(size);
            case 3:
                read(1 + size);
                return;
            case 4:
                if (pending_.empty()) return;
                pending_[size % pending_.size()] = static_cast<char>(input.byte());
                harmed_ = true;
                return;
            case 5:
                SSL_shutdown(connection_.client.ssl());
                closed_ = true;
                return collect();
            case 6:
                pending_ += input.take(size % 64);
                harmed_ = true;
                return;
            case 7:
                connection_.wire->room = size;
                transport().note(kWritable);
                // What was not taken would have to come first in the next one, and here it does not.
                if (transport().write(std::string(1 + size % 100, 's')).bytes != 1 + size % 100)
                    harmed_ = true;
                connection_.wire->room = std::size_t{1} << 30;
                return;
            default:
                transport().peek();
                return;
        }
    }
    void write(std::size_t size) {
        if (closed_ || size == 0) return;
        std::string text(size, '\0');
        for (char& byte : text)
            byte = static_cast<char>(next_++);
        connection_.client.writes(text);
        sent_ += text;
        collect();
    }
    void rekey(std::size_t times) {
        if (closed_ || SSL_version(connection_.client.ssl()) != TLS1_3_VERSION) return;
        // Beyond what is borne, to no purpose.
        rekeyed_ += times;
        if (rekeyed_ > 60) harmed_ = true;
        for (; times > 0; --times) {
            SSL_key_update(connection_.client.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED);
            connection_.client.advance();
        }
        collect();
    }
    void collect() { pending_ += connection_.client.sent(); }
    void deliver(std::size_t size) {
        if (size == 0 || pending_.empty()) return;
        connection_.arrives(std::string_view(pending_).substr(0, size));
        pending_.erase(0, size);
    }
    void finish() { connection_.finishes(); }

    /// Whether there was anything, or may be later.
    bool read(std::size_t size) {
        std::string into(size, '\0');
        const bool was_over = ended_ || failed_;
        const IoResult got = transport().read(into);
        require(got.bytes <= size);
        require(!got.more || transport().readable());
        require(!was_over || got.status == IoStatus::Eof || got.status == IoStatus::Error);
        received_ += into.substr(0, got.bytes);
        require(std::string_view(sent_).starts_with(received_));
        ended_ = ended_ || got.last || got.status == IoStatus::Eof;
        failed_ = failed_ || got.status == IoStatus::Error;
        if (!got.more && got.status == IoStatus::Ok && !got.last) {
            char byte = 0;
            require(transport().read({&byte, 1}).status == IoStatus::WouldBlock);
        }
        return !ended_ && !failed_;
    }

    TlsConnection connection_;
    std::string sent_, received_, pending_;
    std::size_t rekeyed_ = 0;
    unsigned char next_ = 0;
    bool harmed_ = false, closed_ = false, ended_ = false, failed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    const std::size_t mode = input.byte();
    if (mode & 1) {
        shakeHands(input, mode);
    } else {
        Dialogue(mode).run(input);
    }
    return 0;
}
