// SPDX-License-Identifier: Apache-2.0
/// \file  A TlsTransport as the server of an OpenSSL client, over a wire that is two strings.
#pragma once

#include "gateway/io/session_set.h"
#include "gateway/tls/tls_transport.h"
#include "tests/support/scripted_peer.h"
#include "tests/support/tls_files.h"
#include "tests/support/tls_peer.h"

#include <memory>
#include <string>
#include <utility>

namespace mailgate::test {

struct TlsConnection {
    explicit TlsConnection(std::shared_ptr<const TlsServerContext> context,
                           std::shared_ptr<SSL_CTX> client_context = TlsPeer::clientContext())
        : client(std::move(client_context)) {
        std::unique_ptr<Transport> below = std::make_unique<ScriptedTransport>(wire);
        server = TlsTransport::accept(below, std::move(context));
    }

    /// What the client has sent reaches the server, with the event that a socket would give; the reverse too.
    void carry() {
        const std::string bytes = client.sent();
        if (!bytes.empty()) arrives(bytes);
        client.gets(wire->heard());
    }
    void arrives(std::string_view bytes) {
        wire->sends(bytes);
        server->note(kReadable);
    }
    /// The client's FIN, behind what it has sent.
    void finishes() {
        wire->finished = true;
        server->note(kReadable | kHangup);
    }

    /// Until it is done or has failed, or nothing moves any more.
    TlsTransport::Handshake handshake() {
        TlsTransport::Handshake step{TlsTransport::Handshake::State::Wants};
        for (int turn = 0; turn < 30 && step.state == TlsTransport::Handshake::State::Wants; ++turn) {
            client.advance();
            carry();
            step = server->advance(now);
            now += 1;
            client.gets(wire->heard());
        }
        client.advance();
        carry();
        return step;
    }

    /// All that can be read by now, in calls as a relay makes them.
    std::string serverReads(std::size_t size = 64 * 1024) {
        std::string all, buffer(size, '\0');
        while (server->readable()) {
            last = server->read(buffer);
            if (last.status != IoStatus::Ok) break;
            all.append(buffer, 0, last.bytes);
            if (!last.more) break;
        }
        return all;
    }

    std::shared_ptr<ScriptedPeer> wire = std::make_shared<ScriptedPeer>();
    TlsPeer client;
    std::unique_ptr<TlsTransport> server;
    IoResult last;
    Millis now = 1000;
};

inline constexpr auto kDone = TlsTransport::Handshake::State::Done;
inline constexpr auto kFailedStep = TlsTransport::Handshake::State::Failed;
inline constexpr auto kWants = TlsTransport::Handshake::State::Wants;

}  // namespace mailgate::test
