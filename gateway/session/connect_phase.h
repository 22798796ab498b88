// SPDX-License-Identifier: Apache-2.0
/// \file  The way to a server: one after the other is tried until one serves this client.
///
///     connecting ─ awaiting greeting ─ served      connecting: with STARTTLS and the TLS handshake, where they are
///         └──────── holding ┘           no server was left: all are tried again, until `hold` has passed
///
/// Until a server has shown that it serves the client, the client gets nothing and is read no further.
#pragma once

#include "gateway/session/phase.h"
#include "gateway/upstream/connector.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace mailgate {

class ConnectPhase : public Phase {
  public:
    explicit ConnectPhase(SessionContext& context) noexcept
        : Phase(context), connector_(context.record.listener().protocol) {}

    Next begin();
    Next onClient(std::uint32_t events);
    Next onServer(std::uint32_t events);
    Next onDeadline();
    Next onDrain(const Drain& drain);
    void onUndrain() noexcept;
    std::string_view name() const noexcept;

  private:
    enum class Stage : std::uint8_t { Connecting, StartingTls, AwaitingGreeting, Holding };

    Next tryNext();
    Next shakeHands(std::uint32_t events);
    Next proceed(const Connector::Progress& progress);
    Next wait(const Connector::Waiting& waiting);
    Next awaitGreeting();
    Next watchTls();
    Next greeted(const Connector::Greeted& greeting);
    Next relayWith(std::string_view greeting, bool ended);
    Next failed(const Connector::Failed& failed);
    Next hold();
    std::string proxyHeader() const;

    Connector connector_;  ///< has the connection until it is relayed
    UpstreamPool::Tried tried_ = 0;
    Millis hold_until_ = 0;
    Drain drain_;
    Stage stage_ = Stage::Connecting;
};

}  // namespace mailgate
