// SPDX-License-Identifier: Apache-2.0
/// \file  What a session's protocol showed in the clear: for the log, the journal and the live view.
///
/// Values only. Memory is bounded in bytes (kMaxFactBytes), whatever the peers do; what had no room is counted
/// and marked. Never a password, a SASL response or message content.
#pragma once

#include "protocols/values/lean_string.h"
#include "protocols/values/lean_vector.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate {

/// Bounds on what one session may make us remember. Numbers count bytes unless they say otherwise.
inline constexpr std::size_t kMaxNameBytes = 255;       ///< HELO name, user name (RFC 5321 4.5.3.1.2)
inline constexpr std::size_t kMaxMailboxBytes = 320;    ///< an envelope address: local part 64, @, domain 255
inline constexpr std::size_t kMaxReplyBytes = 200;      ///< a server's reply, text cut, codes kept
inline constexpr std::size_t kMaxMessageIdBytes = 250;  ///< of a Message-ID, without < and >
inline constexpr std::size_t kMaxTransactionsKept = 20;  ///< per session; further ones go to the MailSink
inline constexpr std::size_t kMaxFactBytes = std::size_t{64}
                                             << 10;  ///< all of SessionFacts, strings and their heads
inline constexpr std::size_t kMaxFailedUsersKept =
    5;  ///< names; the true number of failed logins is beside them

/// How TLS began, with which a session went opaque.
enum class TlsBegin : std::uint8_t { None, StartTls, Implicit, Passthrough };

/// In log and journal; empty: there was none.
constexpr std::string_view toString(TlsBegin begin) noexcept {
    switch (begin) {
        case TlsBegin::None:
            break;
        case TlsBegin::StartTls:
            return "starttls";
        case TlsBegin::Implicit:
            return "implicit";
        case TlsBegin::Passthrough:
            return "passthrough";
    }
    return {};
}

struct RefusedRecipient {
    std::string to;     ///< forward-path without <>
    std::string reply;  ///< the server's words about it
};

/// One SMTP or LMTP transaction: MAIL to the final reply, RSET or the session's end; or a MAIL that was refused. What the
/// gateway refuses in the server's place counts as if the server had.
struct MailTransaction {
    std::string from;                     ///< reverse-path without <>, quotes and escapes; empty: null sender
    std::vector<std::string> recipients;  ///< forward-paths that the server accepted
    std::vector<RefusedRecipient> refused;  ///< those that it refused
    std::uint32_t recipient_count = 0;      ///< all that it accepted
    std::uint32_t refused_count = 0;        ///< all that it refused
    std::uint64_t size = 0;                 ///< message bytes (DATA without the final dot line, or BDAT)
    std::string reply;  ///< the server's final reply (LMTP: the last), first line, code included; without a
                        ///< message its first refusal; empty: the client gave it up
    std::string queue_id;              ///< from the reply that took the message, and from no other
    std::string message_id;            ///< of the header, without < and >; empty: none was seen
    std::vector<std::string> replies;  ///< LMTP, once one came: the final reply for each of `recipients`
    bool accepted = false;             ///< the final reply was 2xx (LMTP: any of them)
    bool truncated = false;            ///< recipients or refused are not all there: no room
};

/// Takes the transactions of a session that has shown more than its facts keep: each when it is over.
class MailSink {
  public:
    virtual ~MailSink() = default;
    /// `number`: counted from 1 through the session's transactions. Called on the session's worker.
    virtual void onMail(const MailTransaction& mail, std::uint32_t number) noexcept = 0;
};

/// What the protocol showed. Belongs to the session and outlives its filter.
struct SessionFacts {
    LeanString helo;   ///< last HELO/EHLO/LHLO argument
    std::string user;  ///< the user name that was accepted, else the last one offered; not seen where a SASL
        ///< mechanism hides it or is not known (sasl.h has those that are read)
    /// What the server said of the last login: accepted, refused; none: no login, no answer, or a temporary
    /// failure (454, [UNAVAILABLE], [SYS/TEMP], [PRIVACYREQUIRED]), which says nothing about the password; or the
    /// gateway refused it because it has to wait for TLS.
    std::optional<bool> authenticated;
    TlsBegin tls = TlsBegin::None;
    bool bare_lf : 1 = false;         ///< lines of a message went on with other ends than they had
    bool quit : 1 = false;            ///< the client said QUIT / LOGOUT
    bool greeted : 1 = false;         ///< the server's greeting was seen, and it was a welcome
    bool goodbye : 1 = false;         ///< the server announced the end itself (221, 421, * BYE, Sieve's BYE)
    std::uint32_t failed_logins = 0;  ///< logins that the server refused for good
    LeanVector<std::string> failed_users;      ///< their names where seen, without repetition, the first few
    LeanVector<MailTransaction> transactions;  ///< the first ones, as far as number and bytes allow
    std::uint32_t transaction_count = 0;  ///< MAIL commands that went on or were answered: smtp/mail_log.h
    std::uint32_t tls_refusals = 0;  ///< commands that the gateway refused because they have to wait for TLS
};

}  // namespace mailgate
