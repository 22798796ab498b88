// SPDX-License-Identifier: Apache-2.0
/// \file  A connection to a server for as long as one attempt of `mailgate probe` or `mailgate tls test` takes. Blocks.
#pragma once

#include "gateway/upstream/polled_connection.h"

#include <chrono>
#include <cstdint>
#include <string>

namespace mailgate {

class ProbeConnection {
  public:
    /// The limit is for everything until it is let go.
    explicit ProbeConnection(std::chrono::milliseconds timeout) : deadline_(Clock::now() + timeout) {}
    /// Never with a reset: what the server still says is read, for a moment.
    ~ProbeConnection();
    ProbeConnection(const ProbeConnection&) = delete;
    ProbeConnection& operator=(const ProbeConnection&) = delete;

    /// Connects, sends the header, and begins TLS if it is to be spoken. Empty, or what went wrong.
    std::string open(const Endpoint& server, const PolledConnection::HeaderFor& header,
                     const PolledConnection::TlsFor& tls = {});

    /// Why TLS is not spoken, if that was what went wrong.
    TlsFailure tlsFailure() const noexcept { return tls_failure_; }
    /// Null: it is not spoken.
    const TlsTransport* tls() const noexcept { return connection_.tls(); }
    /// What the server said before TLS, as far as it is for the client.
    const std::string& heard() const noexcept { return heard_; }
    IpAddress own() const { return connection_.ends().source.address; }

    void send(const std::string& bytes) { connection_.transport().write(bytes); }

    enum class Got : std::uint8_t {
        Bytes,
        End,     ///< the server closed the connection
        Broken,  ///< or reset it
        Nothing  ///< until the time was over
    };
    Got receive(std::string& bytes);

  private:
    using Clock = std::chrono::steady_clock;

    short wait() const;

    Clock::time_point deadline_;
    PolledConnection connection_;
    TlsFailure tls_failure_;
    std::string heard_;
    bool open_ = false;
    bool ended_ = false;
};

}  // namespace mailgate
