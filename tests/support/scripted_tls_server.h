// SPDX-License-Identifier: Apache-2.0
/// \file  What speaks TLS behind a ScriptedPeer that is a server: what is said within it is the test's.
#pragma once

#include "gateway/io/session_set.h"
#include "gateway/tls/tls_transport.h"
#include "tests/support/scripted_peer.h"

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace mailgate::test {

class ScriptedTlsServer {
  public:
    static std::shared_ptr<const TlsServerContext> context(std::shared_ptr<const Certificate> certificate) {
        return TlsServerContext::build({}, {std::move(certificate)},
                                       std::make_shared<TicketKeys>([] { return 1'800'000'000; }));
    }

    explicit ScriptedTlsServer(const std::shared_ptr<const TlsServerContext>& context) {
        auto below = std::unique_ptr<Transport>(std::make_unique<ScriptedTransport>(below_));
        tls_ = TlsTransport::accept(below, context);
    }

    /// What the gateway has sent to `peer` gets here, and what comes of it gets there. Whether there was something.
    bool exchange(ScriptedPeer& peer) {
        const std::string bytes = peer.heard();
        const std::string answer = answerTo(bytes);
        peer.sends(answer);
        return !bytes.empty() || !answer.empty();
    }
    /// What comes of these bytes of the gateway.
    std::string answerTo(std::string_view bytes) {
        below_->sends(bytes);
        tls_->note(kReadable);
        if (!tls_->established()) tls_->advance(0);
        return below_->heard();
    }
    bool established() const { return tls_->established(); }
    /// What the gateway has said within TLS since the last time.
    std::string heard() {
        std::array<char, 4096> buffer{};
        std::string all;
        while (tls_->established() && tls_->readable()) {
            const IoResult got = tls_->read(buffer);
            all.append(buffer.data(), got.bytes);
            if (got.status != IoStatus::Ok || got.last) break;
        }
        return all;
    }
    /// The records of that text.
    std::string says(std::string_view text) {
        tls_->write(text);
        return below_->heard();
    }
    std::string ends() {
        tls_->shutdownWrite();
        return below_->heard();
    }

  private:
    std::shared_ptr<ScriptedPeer> below_ = std::make_shared<ScriptedPeer>();
    std::unique_ptr<TlsTransport> tls_;
};

}  // namespace mailgate::test
