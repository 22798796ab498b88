// SPDX-License-Identifier: Apache-2.0
/// \file  What mailgate says itself, in the client's protocol: refusals, and the short dialogues around them.
///
/// Texts and codes: RFC 5321 3.1, 3.8 and 4.3; RFC 3463; RFC 2033 (LMTP); RFC 9051 7.1.5 and RFC 5530 (IMAP);
/// RFC 1939, 2449 and 3206 (POP3); RFC 5804 1.2 and 1.3 (ManageSieve). Only an explicit rule and the client's
/// own breach of protocol are permanent refusals; every fault of ours is temporary. LMTP's peers are the
/// site's own mail servers: never 5xx.
#pragma once

#include "protocols/values/protocol.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace mailgate {

enum class Refusal : std::uint8_t {
    Rule,              ///< an access rule, or the listener's default, says no
    TooMany,           ///< this client has too many connections
    GatewayFull,       ///< max_sessions reached
    NoServer,          ///< no upstream server could be reached in time
    ServerLost,        ///< the server went away in mid-session
    ShuttingDown,      ///< the gateway stops
    Idle,              ///< nothing moved for the listener's idle limit
    Internal,          ///< the gateway's own fault (no access table, no memory, no descriptors)
    BareLf,            ///< SMTP and LMTP: a line that ends in LF alone
    ForbiddenCommand,  ///< a command that only gateways may use
    BadCommand,  ///< what the client sent is not the protocol, or has no end: where its commands are is unknown
    ServerViolation,  ///< the server's replies do not match the client's commands
};

struct RefusalText {
    std::string_view gateway;  ///< gateway.name
    std::string_view client;   ///< the client's address in text
    std::string_view session;  ///< session id, quoted by the sender's postmaster
};

/// One line with its CRLF, at most 512 bytes; empty for Protocol::Tcp, where the protocol asks for silence
/// (POP3 idle after login, RFC 1939 3), and where it has no such refusal.
std::string refusalLine(Protocol protocol, Refusal refusal, const RefusalText& text);

/// A short conversation that mailgate holds itself, without a server. Pure: bytes in, bytes out.
class Dialogue {
  public:
    struct Step {
        std::string say;    ///< to be sent to the client; may be empty
        bool done = false;  ///< after `say`, close
    };
    virtual ~Dialogue() = default;
    /// What is said before the client has said anything.
    virtual Step open() = 0;
    /// What the client sent, in any pieces. Bounded: a line longer than 1,000 bytes counts as a bad command;
    /// at most ten commands and 16 KiB are heard, then the protocol's goodbye and done.
    virtual Step hear(std::string_view bytes) = 0;
};

/// The refusal `line`, and what must follow it: after SMTP's 554, 503 to everything until QUIT (RFC
/// 5321 3.1); for all others the dialogue is done at once.
std::unique_ptr<Dialogue> makeRefusalDialogue(Protocol protocol, Refusal refusal, const RefusalText& text);

/// A balancer's health check (PROXY LOCAL, UNKNOWN, UNSPEC): with `up`, the protocol's greeting, then
/// EHLO/HELO/LHLO, NOOP, RSET, VRFY, HELP, QUIT (SMTP, LMTP; MAIL is refused), CAPABILITY, NOOP, LOGOUT (IMAP), CAPA, NOOP, QUIT (POP3),
/// CAPABILITY, NOOP, LOGOUT (ManageSieve) and an error for anything else; without, the NoServer refusal.
/// Protocol::Tcp: says nothing, done if not up.
std::unique_ptr<Dialogue> makeCheckDialogue(Protocol protocol, bool up, const RefusalText& text);

}  // namespace mailgate
