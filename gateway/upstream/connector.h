// SPDX-License-Identifier: Apache-2.0
/// \file  The way to a server, the same for sessions, health checks and `mailgate probe`.
///
///     connecting ─ our PROXY header, in one send ─ connected ─ the server's greeting ─ greeted
///
/// No clock, no timer, no retries: its owner has the deadlines and lets go of it when one has passed. What happened
/// is a value. TLS towards a server has its place between header and greeting: the transport that is here is replaced
/// by one that speaks it, and nothing else changes for the owner.
///
/// In gateway/upstream, not in gateway/io: it judges servers by what they say, and io knows nothing of protocols.
#pragma once

#include "gateway/io/transport.h"
#include "gateway/upstream/server_failure.h"
#include "protocols/mail_protocol.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace mailgate {

class Connector {
  public:
    /// Nothing to report yet: an event will.
    struct Waiting {};
    /// The header is out. The owner may take the transport, or wait for the greeting.
    struct Connected {};
    /// The server has sent a greeting that is for the client. Everything that was read is in `bytes` (of the scratch
    /// buffer); `ended`: its end comes behind them, and no event will tell.
    struct Greeted {
        Greeting verdict = Greeting::Welcome;  ///< or Refused
        std::string_view bytes;
        bool ended = false;
    };
    /// The server does not serve; the connection is of no further use. `error`: the errno, where there is one.
    struct Failed {
        ServerFailure failure = ServerFailure::ConnectFailed;
        int error = 0;
    };
    /// The gateway has no descriptor or memory for it, which says nothing about the server.
    struct NoResources {
        int error = 0;
    };
    using Progress = std::variant<Waiting, Connected, Greeted, Failed, NoResources>;

    /// Greetings are judged as of `protocol`.
    explicit Connector(Protocol protocol) noexcept : protocol_(protocol) {}

    /// `transport`: as connect() gave it, not watched yet; null: `error` is why. `header` goes out before anything
    /// else; empty: nothing does. `at_once`: the connection may be there already (on loopback the handshake is over
    /// when connect() returns), so the header is tried before an event says so.
    Progress begin(std::unique_ptr<Transport> transport, int error, std::string header, bool at_once);

    /// After an event. `scratch`: what is read goes there, behind what was read before (less than 1,000 bytes: a longer
    /// first line is no greeting).
    Progress onEvents(std::uint32_t events, std::span<char> scratch);

    /// While there is one: from begin() on, unless that failed, until take().
    Transport* transport() const noexcept { return transport_.get(); }
    /// Of a connection that is made. Whatever was read of a greeting that is not whole yet is in heard().
    std::unique_ptr<Transport> take() noexcept { return std::move(transport_); }
    /// A greeting's beginning.
    std::string_view heard() const noexcept {
        return connected_ ? std::string_view(kept_) : std::string_view();
    }

  private:
    Progress sendHeader();
    Progress readGreeting(std::span<char> scratch);
    bool watch(bool writable) noexcept;

    std::unique_ptr<Transport> transport_;
    std::string kept_;  ///< the header until it is out, then what there is of the greeting
    Protocol protocol_;
    bool watched_ = false;
    bool connected_ = false;
};

}  // namespace mailgate
