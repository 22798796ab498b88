/// \file  Filters: what a session shows in the clear, for the log and the journal; and SMTP's screen.
///
/// a filter sees the bytes of both sides in their order, before they go on, and never changes them. Most
/// are passive. SMTP's may also hold a client's bytes back until the server has said what it will take them
/// for, and may object to them. It never throws, whatever the bytes; memory is bounded (see the limits
/// below); it never keeps a password, a SASL response or message content. One filter per session, used on
/// the session's worker only.
#pragma once

#include "protocols/protocol.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate {

enum class Side : std::uint8_t { Client, Server };

constexpr Side other(Side side) noexcept {
    return side == Side::Client ? Side::Server : Side::Client;
}

/// Bounds on what one session may make us remember. Numbers count bytes unless they say otherwise.
inline constexpr std::size_t kMaxNameBytes = 255;      ///< HELO name, user name (RFC 5321 4.5.3.1.2)
inline constexpr std::size_t kMaxMailboxBytes = 320;   ///< an envelope address: local part 64, @, domain 255
inline constexpr std::size_t kMaxReplyBytes = 200;     ///< the server's final reply, text cut, codes kept
inline constexpr std::size_t kMaxRecipientsKept = 50;  ///< per transaction; the true count is kept beside it
inline constexpr std::size_t kMaxTransactionsKept = 20;  ///< per session; the true count is kept beside it

/// One SMTP or LMTP transaction: MAIL to the final reply, RSET or the session's end.
struct MailTransaction {
    std::string from;                      ///< reverse-path without <>; empty for the null sender
    std::vector<std::string> recipients;   ///< accepted or tried forward-paths, the first kMaxRecipientsKept
    std::uint32_t recipient_count = 0;     ///< all RCPT commands of the transaction
    std::uint32_t recipients_refused = 0;  ///< RCPT commands that the server answered 4xx or 5xx
    std::uint64_t size = 0;                ///< message bytes seen (DATA without the final dot line, or BDAT)
    std::string reply;  ///< the server's final reply (LMTP: the last), first line, code included;
                        ///< without a message the first refusal of a RCPT, DATA or BDAT
    std::vector<std::string> replies;  ///< LMTP, once one came: to each of `recipients`, the refusal of its
                                       ///< RCPT or the final one; empty: none came
    bool accepted = false;             ///< the final reply was 2xx (LMTP: any of them)
};

/// What the protocol showed. Belongs to the session and outlives the filter.
struct SessionFacts {
    std::string helo;            ///< last HELO/EHLO/LHLO argument
    std::string user;            ///< user name offered; not seen where a SASL mechanism hides or signs it
                                 ///< (CRAM-MD5, SCRAM and others: protocols/sasl.h has those that are read)
    bool authenticated = false;  ///< the server accepted that user
    std::string tls;             ///< "starttls" or "implicit" once the session went opaque that way
    std::vector<MailTransaction> transactions;  ///< the first kMaxTransactionsKept
    std::uint32_t transaction_count = 0;        ///< all MAIL commands that the server accepted
    bool quit = false;                          ///< the client said QUIT / LOGOUT
    bool greeted = false;                       ///< the server's greeting was seen, and it was a welcome
    bool goodbye = false;  ///< the server announced the end itself (221, 421, * BYE, Sieve's BYE)
};

/// Why a client's bytes may not reach the server.
enum class Violation : std::uint8_t {
    BareLf,  ///< a line of a message ends in LF alone: where the message ends is a matter of opinion
    ForbiddenCommand,  ///< how gateways tell a server who the client is: XCLIENT, XFORWARD, a PROXY header
};

/// What a listener's clients may not do in the clear, beside XCLIENT and XFORWARD, which never pass.
struct ScreenConfig {
    bool bare_lf = false;       ///< lines that end in LF alone in messages (SMTP, LMTP), but in BDAT's chunks
    bool proxy_header = false;  ///< a PROXY header, which a server that gets none from us may wait for
};

class StreamFilter {
  public:
    virtual ~StreamFilter() = default;

    /// Bytes that `from` sent, in any pieces. Must not be called after opaque() became true.
    ///
    /// Returns how many of them, from the front, may go on: all, unless the client has to wait or has given
    /// cause for an violation(). The others have not been seen yet; they are to be shown again, with whatever
    /// follows them, once the server has said more.
    [[nodiscard]] virtual std::size_t observe(Side from, std::string_view bytes) noexcept = 0;

    /// Why the bytes that were held back last must never go on, if so.
    virtual std::optional<Violation> violation() const noexcept { return std::nullopt; }

    /// No reply is due for anything that went on: what is said to the client now is heard as the answer to
    /// what was held back.
    virtual bool settled() const noexcept { return interruptible(); }

    /// Nothing more can or should be seen (STARTTLS accepted, IMAP/POP3/ManageSieve logged in): detach.
    virtual bool opaque() const noexcept = 0;

    /// True while a line of ours may be put into the server-to-client stream without breaking it: no half
    /// line, no open literal or multi-line reply. (Meaningless once opaque.)
    virtual bool serverAtBoundary() const noexcept = 0;

    /// True while the gateway may end the session without harm: no command is unanswered and no mail
    /// transaction is open. The safe point for a 421 or a BYE while draining; implies serverAtBoundary().
    virtual bool interruptible() const noexcept = 0;

    /// The session is over: a transaction that is still open is written to the facts as it stands.
    virtual void finish() noexcept = 0;
};

/// the filter for a protocol, writing into `facts`, which must outlive it. Null where there is nothing to
/// see or to screen.
std::unique_ptr<StreamFilter> makeFilter(Protocol protocol, SessionFacts& facts,
                                         const ScreenConfig& screen = {});

/// What the first bytes of a server mean to somebody who is about to hand it a client.
enum class Greeting : std::uint8_t {
    Incomplete,  ///< no whole line yet
    Welcome,     ///< 220, * OK, * PREAUTH, +OK, ManageSieve's OK or capability lines
    Deferred,    ///< 4xx, * BYE, -ERR, BYE/NO: this server cannot serve now; another may
    Refused,     ///< 5xx: the server's own policy about this client; the client has to hear it
    Foreign,     ///< not this protocol at all
};

/// Judges the first line in `bytes` (Protocol::Tcp: any byte is a Welcome). Bounded: a first line of more
/// than 1,000 bytes is Foreign.
Greeting judgeGreeting(Protocol protocol, std::string_view bytes) noexcept;

}  // namespace mailgate
