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
    Killed,            ///< an administrator, or a new rule, ends this client's session
    Idle,              ///< nothing moved for the listener's idle limit
    Internal,          ///< the gateway's own fault (no access table, no memory, no descriptors)
    BareLf,            ///< SMTP and LMTP: a line that ends in LF alone
    ForbiddenCommand,  ///< a command that only gateways may use
    BadCommand,  ///< what the client sent is not the protocol, or has no end: where its commands are is unknown
    PlaintextAfterStartTls,  ///< the client did not wait for TLS before it went on
    TlsRequired,             ///< the client went on without TLS, though it was told to begin it
    ServerViolation,         ///< the server's replies do not match the client's commands
};

/// What refuses is the site's policy: a listener's mode may let that pass, and its footer says whom to ask. All else is
/// about what the gateway can do at the moment, or about bytes that no server may get.
constexpr bool isPolicy(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::Rule:
        case Refusal::TooMany:
        case Refusal::BareLf:
            return true;
        case Refusal::GatewayFull:
        case Refusal::NoServer:
        case Refusal::ServerLost:
        case Refusal::ShuttingDown:
        case Refusal::Killed:
        case Refusal::Idle:
        case Refusal::Internal:
        case Refusal::ForbiddenCommand:
        case Refusal::BadCommand:
        case Refusal::ServerViolation:
        case Refusal::PlaintextAfterStartTls:
        // Passwords in the clear are not an administrator's to try out.
        case Refusal::TlsRequired:
            break;
    }
    return false;
}

struct RefusalText {
    std::string_view gateway;         ///< gateway.name
    std::string_view client;          ///< the client's address in text
    std::string_view session;         ///< session id, quoted by the sender's postmaster
    std::string_view footer = {};     ///< listener.refusal_footer, its variables not replaced yet
    bool soft = false;                ///< no refusal is permanent
    std::string_view rule_note = {};  ///< of the rule that refuses
};

/// One refusal in one protocol. Empty: the protocol has no such refusal, or asks for silence.
struct Wording {
    std::string_view code;            ///< what stands in front
    std::string_view sentence;        ///< {} stands for the client
    std::string_view soft_code = {};  ///< in place of a permanent `code` where no refusal is permanent
};

/// RFC 5321 4.5.3.1.5, with the CRLF.
inline constexpr std::size_t kMaxReplyLineBytes = 512;

/// What is wrong with a footer's variables or characters; empty: nothing. `$client`, `$id`, `$rule_note`; `$$` is a dollar
/// sign.
std::string footerError(std::string_view footer);
bool showsRuleNote(std::string_view footer);

/// `text` fit to stand in a reply line and in a quoted string: its first `limit` bytes, in ASCII.
std::string cleaned(std::string_view text, std::size_t limit);

/// The texts of RefusalText, cleaned and owned. With their bounds a refusal without a footer stays under
/// kMaxReplyLineBytes whatever the configuration says.
struct RefusalNames {
    explicit RefusalNames(const RefusalText& text);

    std::string gateway;
    std::string client;
    std::string session;
    std::string footer;  ///< with its variables' values
};

/// The sentence, with the client in its place.
std::string sentenceOf(const Wording& wording, const RefusalNames& names);

/// "; FOOTER", or nothing: the end of a refusal's text.
std::string endOf(const RefusalNames& names);

/// "CODE SENTENCE (SESSION)", perhaps a footer, with its CRLF: a reply where text needs no quotes (IMAP, POP3).
std::string unquotedReplyLine(const Wording& wording, const RefusalNames& names);

}  // namespace mailgate
