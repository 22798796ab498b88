// SPDX-License-Identifier: Apache-2.0
/// \file  A connection to a server that its owner polls itself: for health checks and `mailgate probe`.
#pragma once

#include "gateway/io/socket_transport.h"
#include "gateway/upstream/connector.h"
#include "protocols/proxy/encoder.h"

#include <poll.h>

#include <functional>
#include <string>

namespace mailgate {

class PolledConnection {
  public:
    /// Writes the header of a connection between these two ends; empty: none is sent.
    using HeaderFor = std::function<std::string(const proxy::Connection&)>;

    /// Begins to connect.
    Connector::Progress begin(const Endpoint& server, const HeaderFor& header);
    /// What poll(2) said of interest(), until the connection is made.
    Connector::Progress onReady(short events);
    /// What it has sent since, when reads and writes go to transport().
    void note(short events) noexcept;

    pollfd interest() const noexcept;
    /// Waits for the connection to be made.
    bool connecting() const noexcept { return connecting_; }
    Transport& transport() noexcept { return *connector_.transport(); }
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
