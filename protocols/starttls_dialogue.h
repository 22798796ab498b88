// SPDX-License-Identifier: Apache-2.0
/// \file  Speaks STARTTLS with a server: greeting, EHLO or LHLO where the protocol has one, STARTTLS, its reply.
///
/// For the Connector, health checks and `mailgate probe` (RFC 3207, RFC 9051 6.2.1, RFC 2595 4, RFC 5804 2.2).
/// When it is Ready, the next byte to the server is the handshake's first. Bytes that a server sends behind its consent
/// would be taken for what it says within TLS (response injection): they are a failure, whenever they come. Pure: bytes
/// in, bytes out. Bounded: kMaxUnfinishedBytes in all.
#pragma once

#include "protocols/dialogue/protocol_traits.h"
#include "protocols/values/protocol.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mailgate {

class StartTlsDialogue {
  public:
    enum class State : std::uint8_t {
        Greeting,
        Hello,     ///< EHLO or LHLO is out
        StartTls,  ///< STARTTLS is out
        Ready,     ///< the handshake may begin
        /// The greeting is no Welcome: verdict() and greeting() have it, as if there were no TLS to come.
        NotWelcome,
        Failed,  ///< reason() says why
    };

    /// `name`: what EHLO and LHLO say, see heloName(). Not for Protocol::Tcp.
    StartTlsDialogue(Protocol protocol, std::string name);

    /// What the server said, in any pieces; returns what it has to be sent, which may be nothing. Throws
    /// std::bad_alloc.
    std::string onBytes(std::string_view bytes);
    /// The server closed.
    void onEnd();

    State state() const noexcept { return state_; }
    Greeting verdict() const noexcept { return verdict_; }
    /// The greeting as it came, while not welcome. When Ready: what the client gets for one; empty: the server
    /// greets again within TLS.
    const std::string& greeting() const noexcept { return greeting_; }
    /// With the server's own line, escaped, if there was one.
    const std::string& reason() const noexcept { return reason_; }

  private:
    void onLine(std::string_view whole, std::string& send);
    void onGreeting(std::string_view whole, std::string_view line, std::string& send);
    void sendCommand(std::string& send);
    void fail(std::string reason);
    bool over() const noexcept { return state_ >= State::Ready; }

    const ProtocolTraits& traits_;
    std::string name_;
    std::string kept_;  ///< the beginning of a line
    std::string greeting_;
    std::string reason_;
    std::size_t received_ = 0;
    State state_ = State::Greeting;
    Greeting verdict_ = Greeting::Incomplete;
};

}  // namespace mailgate
