// SPDX-License-Identifier: Apache-2.0
/// \file  The way to a server: one after the other is tried until one serves this client.
///
///     connecting ─ awaiting greeting ─ served      connecting: with STARTTLS and the TLS handshake, where they are
///         └──────── holding ┘           no server was left: all are tried again, until `hold` has passed
///
/// Until a server has shown that it serves the client, the client gets nothing and is read no further.
///
/// After STARTTLS this is the second time: the server before, if it can be, is told of TLS in a new header, and its greeting
/// is not the client's, who has had one.
#pragma once

#include "gateway/session/phase.h"
#include "gateway/upstream/connector.h"
#include "protocols/greeting_swallower.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace mailgate {

class ConnectPhase : public Phase {
  public:
    explicit ConnectPhase(SessionContext& context) noexcept : Phase(context) {}

    Next begin();
    Next onClient(std::uint32_t events);
    Next onServer(std::uint32_t events);
    Next onDeadline();
    Next onDrain(const Drain& drain);
    std::string_view name() const noexcept;

  private:
    enum class Stage : std::uint8_t { Connecting, StartingTls, AwaitingGreeting, Swallowing, Holding };

    Next tryNext();
    Next shakeHands(std::uint32_t events);
    Next proceed(const Connector::Progress& progress);
    Next wait(const Connector::Waiting& waiting);
    Next awaitGreeting();
    Next watchTls();
    Next askBehindHeader();
    Next greeted(const Connector::Greeted& greeting);
    Next swallow(std::string_view greeting, bool ended);
    Next swallowOn(std::uint32_t events);
    Next relayWith(std::string_view greeting, bool ended, bool greeted = false);
    Next failed(const Connector::Failed& failed);
    Next hold();
    std::string proxyHeader(bool starttls) const;

    // Apart: the session keeps room for its largest phase as long as it lasts.
    struct Way {
        explicit Way(Protocol protocol) noexcept : connector(protocol) {}
        Connector connector;  ///< has the connection until it is relayed
        std::unique_ptr<GreetingSwallower>
            swallower{};  ///< after STARTTLS, of the server that is tried; else null
        UpstreamPool::Tried tried = 0;
        Millis hold_until = 0;
    };
    Connector& connector() const noexcept { return way_->connector; }

    std::unique_ptr<Way> way_;  ///< from begin() on
    Stage stage_ = Stage::Connecting;
};

}  // namespace mailgate
