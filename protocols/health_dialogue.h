// SPDX-License-Identifier: Apache-2.0
/// \file  A health check's side of the conversation: greeting, a command that shows that the server serves, goodbye.
///
/// SMTP: 220, EHLO, QUIT (RFC 5321); LMTP: 220, LHLO, QUIT (RFC 2033); IMAP: * OK, LOGOUT (RFC 9051); POP3:
/// +OK, QUIT (RFC 1939); ManageSieve: capabilities, LOGOUT (RFC 5804). Ends politely, so that the server's
/// log shows a connection and nothing else. Pure: bytes in, bytes out. Bounded: a server that talks on for
/// more than kMaxHealthBytes has failed.
#pragma once

#include "protocols/dialogue/protocol_traits.h"
#include "protocols/stream/lines.h"
#include "protocols/values/address.h"
#include "protocols/values/protocol.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace mailgate {

/// The name that EHLO gives: the gateway's, or where strict servers would not accept that (RFC 5321 4.1.1.1;
/// reject_non_fqdn_helo_hostname), the address that the connection comes from, as a literal.
std::string heloName(std::string_view name, const IpAddress& own);
/// Two or more labels of letters, digits and hyphens, and not an address.
bool isQualifiedName(std::string_view name) noexcept;

inline constexpr std::size_t kMaxHealthBytes = std::size_t{64} << 10;

class HealthDialogue {
  public:
    struct Step {
        std::string send;      ///< to be sent; may be empty
        bool decided = false;  ///< the verdict stands, see good()
        bool done = false;     ///< nothing more is to be sent or read: close
    };

    /// `name`: what EHLO and LHLO say. Protocol::Tcp: decided, good and done at once.
    HealthDialogue(Protocol protocol, std::string name);

    /// What is said before the server has said anything.
    Step open();
    /// What the server said, in any pieces. Throws std::bad_alloc.
    Step onBytes(std::string_view bytes);
    /// The server closed; if there is no verdict yet, it is a bad one.
    Step onEnd();

    bool good() const noexcept { return good_; }
    /// Why the verdict is bad, with the server's own line, escaped, if there was one; empty while good or undecided.
    const std::string& reason() const noexcept { return reason_; }
    /// The server has begun its greeting and wants the client to wait (postscreen's "220-" teaser).
    bool teasing() const noexcept { return state_ == State::Greeting && begun_; }

  private:
    enum class State { Greeting, Hello, Goodbye, Done };

    void onLine(std::string_view line, Step& step);
    void onGreeting(std::string_view line, Step& step);
    void onHelloReply(std::string_view line, Step& step);
    void pass();
    void fail(std::string reason);
    void sendGoodbye(Step& step);

    const HealthScript& script() const noexcept { return traits_.health; }

    const ProtocolTraits& traits_;
    std::string name_;
    State state_ = State::Greeting;
    LineReader lines_;
    std::size_t received_ = 0;
    bool begun_ = false;
    bool decided_ = false;
    bool good_ = false;
    std::string reason_;
};

}  // namespace mailgate
