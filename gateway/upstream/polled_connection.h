// SPDX-License-Identifier: Apache-2.0
/// \file  A connection to a server that its owner polls itself: for health checks and `mailgate probe`.
#pragma once

#include "gateway/io/socket_transport.h"
#include "gateway/upstream/connector.h"
#include "protocols/proxy/encoder.h"

#include <poll.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace mailgate {

class PolledConnection {
  public:
    /// Writes the header of a connection between these two ends; empty: none is sent.
    using HeaderFor = std::function<std::string(const proxy::Connection&)>;

    /// What TLS needs between these two ends; null where it is not spoken.
    using TlsFor = std::function<std::unique_ptr<ServerTls>(const proxy::Connection&)>;

    /// Begins to connect. Without `tls` it is not spoken.
    Connector::Progress begin(const Endpoint& server, const HeaderFor& header, const TlsFor& tls = {});
    /// What poll(2) said of interest(), until the connection is made.
    Connector::Progress onReady(short events);
    /// What it has sent since, when reads and writes go to transport().
    void note(short events) noexcept;

    pollfd interest() const noexcept;
    /// Waits for the connection to be made.
    bool connecting() const noexcept { return connecting_; }
    /// poll(2) tells only what is new below it: readable() has to be asked first.
    Transport& transport() noexcept { return *connector_.transport(); }
    bool shakingHands() const noexcept { return connector_.shakingHands(); }
    /// STARTTLS is under way, which takes the server as long as its greeting does.
    bool startingTls() const noexcept { return connector_.startingTls(); }
    /// Of a server that has greeted before TLS.
    std::string_view greeting() const noexcept { return connector_.heard(); }
    const TlsTransport* tls() const noexcept { return connector_.tls(); }
    /// The gateway's end, and the server's.
    proxy::Connection ends() const noexcept { return {socket_->localEnd(), server_}; }

  private:
    Connector::Progress proceed(Connector::Progress progress) noexcept;

    Endpoint server_;
    Connector connector_{
        Protocol::Tcp};  ///< for connection and header: its owners judge greetings in dialogues
    SocketTransport* socket_ = nullptr;  ///< the connector's
    bool connecting_ = false;
};

}  // namespace mailgate
