// SPDX-License-Identifier: Apache-2.0
/// \file  Stream filters: what a session shows in the clear is judged, noted for the log, and edited where it must be.
///
/// A filter sees the bytes of both sides in their order, before they go on, and decides what goes on: as it came,
/// in other words, or not at all. In the clear, bytes reach a server only as what the filter understood them to be;
/// a session that it does not understand any more ends (violation()). It never throws, whatever the bytes; memory
/// is bounded (session_facts.h, lines.h); it never keeps a password, a SASL response or message content. One filter
/// per session, used on the session's worker only.
#pragma once

#include "protocols/stream/session_facts.h"
#include "protocols/values/protocol.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

enum class Side : std::uint8_t { Client, Server };

constexpr Side other(Side side) noexcept {
    return side == Side::Client ? Side::Server : Side::Client;
}

/// Where a filter puts what goes on. Lent for one call of onBytes(), whose input it counts through.
class Output {
  public:
    virtual ~Output() = default;
    /// The next `bytes` of the input go on as they came.
    virtual void pass(std::size_t bytes) = 0;
    /// The next `bytes` of the input go nowhere.
    virtual void drop(std::size_t bytes) = 0;
    /// Text that goes on in place of input, or between parts of it. In one call pass() and write() together may come
    /// to twice the input and kMaxEditBytes at the most.
    virtual void write(std::string_view text) = 0;
    /// Whether a reply of ours may follow what the sender of the input has been sent so far. False while it has not
    /// taken all of that: hold the input, it is shown again.
    virtual bool canReply() const = 0;
    /// A reply of ours to the sender of the input. Only while canReply(), at most kMaxEditBytes in one call, and only
    /// when no reply of the other side is under way: the filter knows.
    virtual void reply(std::string_view text) = 0;
};

inline constexpr std::size_t kMaxEditBytes = 4096;

/// What becomes of the input that was neither passed nor dropped. It has not been noted yet, and is shown again
/// with what follows it; so a filter may look at the same bytes more than once.
enum class Rest : std::uint8_t {
    More,  ///< it is not whole: shown again when more of it has come (at most kMaxUnfinished bytes may wait so)
    Hold,  ///< the other side has to speak first, or canReply() to become true: nothing more is read until then
};
inline constexpr std::size_t kMaxUnfinishedBytes = std::size_t{16} << 10;

/// Why a session cannot go on: what comes next would not be understood, or must not pass.
enum class Violation : std::uint8_t {
    BareLf,            ///< a line of a message ends in LF alone, and the listener rejects that
    ForbiddenCommand,  ///< how gateways tell a server who the client is: XCLIENT, XFORWARD, ...
    ProxyHeader,  ///< ... and a PROXY header, where none is expected: no command of any mail protocol is like it
    BadCommand,  ///< the client's bytes are not what the protocol allows, and the stream cannot be saved
    TooLong,     ///< a line or a literal without end
    PlaintextAfterStartTls,  ///< bytes in the clear behind a STARTTLS that the gateway takes (CVE-2011-0411)
    TlsRequired,             ///< the client goes on and on with commands that have to wait for TLS
    UnexpectedReply,  ///< the server's: no command explains it, so the two read the client's bytes differently
    NoMemory,         ///< for what has to be known to go on
};

/// The third line of a PROXY header in binary (specification 2.2), which is like no command.
inline constexpr std::string_view kHeaderLine{"\0\r\n", 3};

/// In log and journal.
std::string_view toString(Violation violation) noexcept;

/// How lines of messages may end (SMTP, LMTP). Only CR LF . CR LF ends a message in each case.
enum class BareLfPolicy : std::uint8_t {
    Normalize,  ///< what ends in LF alone goes on with CR LF; what only looks like the end goes on dot-stuffed
    Reject,     ///< a violation, before the server has it
    Pass,       ///< as it came: then the server alone decides where a message ends
};

/// TLS that ends at the gateway, as the protocol has to know it. Both sides of the filter are in the clear here.
struct TlsPolicy {
    enum class Stage : std::uint8_t {
        None,    ///< TLS is the client's and the server's own matter: STARTTLS passes, nothing is edited
        Before,  ///< STARTTLS is offered and answered by the gateway
        Within,  ///< the client speaks through TLS already, from the first byte on or after STARTTLS
        ToServer,  ///< the client speaks in the clear, and gets no TLS; the server has TLS of its own with the gateway
    };
    Stage stage = Stage::None;
    /// Before: what must not be said in the clear is answered by the gateway and does not go on.
    bool required = false;
    /// Before: the server decides. It gets the client's STARTTLS, and its consent ends the plaintext on both sides.
    bool mirror = false;

    constexpr bool offered() const noexcept { return stage == Stage::Before; }
    constexpr bool within() const noexcept { return stage == Stage::Within; }
    constexpr bool refused() const noexcept { return stage == Stage::Within || stage == Stage::ToServer; }
    constexpr bool endsHere() const noexcept { return stage != Stage::None; }
    constexpr bool demanded() const noexcept { return offered() && required; }
    /// What servers offer does not have to hold STARTTLS.
    constexpr bool addsOffer() const noexcept { return offered() && !mirror; }
};

/// What a listener's clients may not do in the clear, beside XCLIENT and XFORWARD, which never pass.
struct ScreenConfig {
    BareLfPolicy bare_lf = BareLfPolicy::Pass;
    /// The server gets no PROXY header from us: it may wait for one, or trust our address to name the client
    /// (TCP: a PROXY header; POP3's and ManageSieve's XCLIENT, the fields of IMAP's ID that name a client).
    bool no_header = false;
    /// gateway.name, in replies of ours.
    std::string_view gateway = {};
    TlsPolicy tls = {};
    /// The server has greeted before, and nothing of that is shown to this filter: after STARTTLS. The protocol
    /// begins anew all the same: SMTP wants EHLO again.
    bool greeted = false;
    /// SMTP, LMTP: the Message-ID is read from the header of each message.
    bool reads_message_id = false;
};

class StreamFilter {
  public:
    virtual ~StreamFilter() = default;

    /// Bytes that `from` sent, in any pieces: those that an earlier call left, and what followed them. Not to be
    /// called after opaque(); after a violation() of the client's only with the server's bytes, until noReplyPending().
    [[nodiscard]] virtual Rest onBytes(Side from, std::string_view bytes, Output& out) noexcept = 0;

    // Asked after each read: members, and no virtual functions.

    /// Why the session must end, if so: nothing of what was left over may go on.
    std::optional<Violation> violation() const noexcept { return violation_; }

    /// TLS ends at the gateway, and the client has asked for it with a whole command, in its turn: all that it said
    /// before has been answered (with TlsPolicy::mirror the server has said yes too, which the client has not been
    /// told). Nothing more may be shown to the filter, from neither side, before answerStartTls(). What the client
    /// has sent behind the command, here or in its socket, and what the server has sent behind its consent, must
    /// not be used: either ends the session. Never true beside a violation().
    bool startsTls() const noexcept { return starts_tls_ && !violation_; }

    /// What the client has to be sent, once, when startsTls(). `ready`: what follows these words is the handshake;
    /// the facts forget what the client said in the clear, and this filter is done: another one, TlsPolicy::Stage::Within,
    /// goes on. Otherwise TLS cannot begin for now, and the session goes on in the clear. Throws std::bad_alloc.
    virtual std::string answerStartTls(bool /*ready*/) { return {}; }

    /// No reply is due for anything that went on: what is sent to the client now counts as the reply to what
    /// was held back.
    virtual bool noReplyPending() const noexcept { return interruptible(); }

    /// Nothing more can or should be seen (STARTTLS accepted, IMAP/POP3/ManageSieve logged in): detach.
    bool opaque() const noexcept { return opaque_; }

    /// True while a line of ours may be put into the server-to-client stream without breaking it: no half
    /// line, no open literal or multi-line reply. (Meaningless once opaque.)
    virtual bool serverAtBoundary() const noexcept = 0;

    /// True while the gateway may end the session without harm: no command is unanswered and no mail
    /// transaction is open. The safe point for a 421 or a BYE while draining; implies serverAtBoundary().
    virtual bool interruptible() const noexcept = 0;

    /// The reply to a whole message is due: it may take ten minutes (RFC 5321 4.5.3.2.6).
    virtual bool awaitsFinalReply() const noexcept { return false; }

    /// The envelope sender of the transaction that is open; empty: the null sender, or none is.
    virtual std::string_view sender() const noexcept { return {}; }

    /// The session is over: transactions that are still open, and what was never answered of them, are written to the facts
    /// as they stand. `told`: what the gateway has just said to the client in the server's place; empty: nothing.
    virtual void finish(std::string_view told) noexcept = 0;

  protected:
    std::optional<Violation> violation_;
    bool opaque_ = false;
    bool starts_tls_ = false;
};

}  // namespace mailgate
