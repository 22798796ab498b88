// SPDX-License-Identifier: Apache-2.0
/// \file  Why mailgate refuses a client, and what a protocol's reply for it is made of.
///
/// The replies themselves are with each protocol (smtp/smtp_protocol.cpp, …).
#pragma once

#include <cstddef>
#include <cstdint>
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
    PlaintextAfterStartTls,  ///< the client did not wait for TLS before it went on
    TlsRequired,             ///< the client went on without TLS, though it was told to begin it
    ServerViolation,         ///< the server's replies do not match the client's commands
};

struct RefusalText {
    std::string_view gateway;  ///< gateway.name
    std::string_view client;   ///< the client's address in text
    std::string_view session;  ///< session id, quoted by the sender's postmaster
};

/// One refusal in one protocol. Empty: the protocol has no such refusal, or asks for silence.
struct Wording {
    std::string_view code;      ///< what stands in front
    std::string_view sentence;  ///< {} stands for the client
};

/// `text` fit to stand in a reply line and in a quoted string: its first `limit` bytes, in ASCII.
std::string cleaned(std::string_view text, std::size_t limit);

/// The texts of RefusalText, cleaned and owned. With their bounds a refusal stays under 512 bytes (RFC 5321
/// 4.5.3.1.5) whatever the configuration says.
struct RefusalNames {
    explicit RefusalNames(const RefusalText& text);

    std::string gateway;
    std::string client;
    std::string session;
};

/// The sentence, with the client in its place.
std::string sentenceOf(const Wording& wording, const RefusalNames& names);

/// "CODE SENTENCE (SESSION)", with its CRLF: a reply where text needs no quotes (IMAP, POP3).
std::string unquotedReplyLine(const Wording& wording, const RefusalNames& names);

}  // namespace mailgate
