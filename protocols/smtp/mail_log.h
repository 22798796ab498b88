// SPDX-License-Identifier: Apache-2.0
/// \file  Records what the server's replies say about a session's mail, in the session's facts.
///
/// Bounded in bytes: what is kept for the session's record takes at most half of kMaxFactBytes, the open transaction
/// what is left. A transaction that is over and has no room goes to the MailSink with its number. A transaction that
/// came to nothing (MAIL and RSET) gives up its place to one that did not, and is not counted where it has none.
#pragma once

#include "protocols/stream/session_facts.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace mailgate::smtp {

class MailLog {
  public:
    /// `sink` may be null. `reply_each`: LMTP, a final reply for each recipient. Goes on where another one has left mails in
    /// the facts, as after STARTTLS.
    MailLog(SessionFacts& facts, MailSink* sink, bool reply_each) noexcept;

    bool open() const noexcept { return open_; }
    /// Of the open transaction; empty also when none is open.
    std::string_view sender() const noexcept { return mail_.from; }
    /// Of the open transaction: the server accepted its message, for one recipient at least.
    bool taken() const noexcept { return mail_.accepted; }
    std::uint32_t recipients() const noexcept { return mail_.recipient_count; }

    // All of these may throw std::bad_alloc.
    void senderAccepted(std::string from);
    void senderRefused(std::string from, std::string_view reply);
    void recipientAccepted(std::string to);
    void recipientRefused(std::string to, std::string_view reply);
    /// The server asks for a message: whatever it said about the envelope, it may accept it.
    void messageBegins() {
        if (!open_) senderAccepted({});
    }
    void addBytes(std::uint64_t bytes) noexcept { mail_.size += bytes; }
    /// Of the open transaction's message; kMaxMessageIdBytes at the most.
    void noteMessageId(std::string id) noexcept {
        if (open_) mail_.message_id = std::move(id);
    }
    /// DATA or BDAT was refused, or the server says goodbye.
    void refused(std::string_view reply);
    void finalReply(bool accepted, std::string_view reply);
    void close();

  private:
    bool grow(std::size_t bytes) noexcept;
    void noteReply(std::string_view reply) { mail_.reply = reply; }
    void noteRecipientReply(std::string_view reply);
    bool takesLast(std::uint32_t number) const noexcept;
    void keep(MailTransaction&& mail, std::size_t bytes, std::uint32_t number);

    SessionFacts& facts_;
    MailSink* const sink_;
    const bool reply_each_;
    bool open_ = false;
    MailTransaction mail_;
    std::size_t bytes_ = 0;       ///< mail_'s, without what has a bound of its own
    std::size_t kept_bytes_ = 0;  ///< of facts_.transactions
    std::uint32_t number_ = 0;
    std::uint32_t answered_ = 0;  ///< reply_each: recipients that have their final reply
};

}  // namespace mailgate::smtp
