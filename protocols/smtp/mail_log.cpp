// SPDX-License-Identifier: Apache-2.0
#include "protocols/smtp/mail_log.h"

#include "protocols/smtp/reply.h"

#include <algorithm>
#include <utility>

namespace mailgate::smtp {

namespace {

/// The names of the session, those of failed logins, and what belongs to kept transactions here.
constexpr std::size_t kOtherFactBytes = std::size_t{4} << 10;
/// Every transaction counts for so much, whatever its sender, replies and ids.
constexpr std::size_t kHeadBytes =
    sizeof(MailTransaction) + kMaxMailboxBytes + 2 * kMaxReplyBytes + kMaxMessageIdBytes;
constexpr std::size_t kMaxBytes = kMaxFactBytes - kOtherFactBytes;

std::string_view cut(std::string_view reply) noexcept {
    return reply.substr(0, kMaxReplyBytes);
}

bool cameToNothing(const MailTransaction& mail) noexcept {
    return mail.recipient_count == 0 && mail.refused_count == 0 && mail.size == 0 && mail.reply.empty();
}

/// What grow() has counted of it.
std::size_t bytesOf(const MailTransaction& mail, bool reply_each) noexcept {
    std::size_t bytes = kHeadBytes;
    for (const std::string& to : mail.recipients)
        bytes += (reply_each ? 2 : 1) * sizeof(std::string) + to.size();
    for (const RefusedRecipient& refused : mail.refused)
        bytes += sizeof(RefusedRecipient) + refused.to.size() + refused.reply.size();
    for (const std::string& reply : mail.replies)
        bytes += reply.size();
    return bytes;
}

}  // namespace

MailLog::MailLog(SessionFacts& facts, MailSink* sink, bool reply_each) noexcept
    : facts_(facts), sink_(sink), reply_each_(reply_each) {
    for (const MailTransaction& mail : facts.transactions)
        kept_bytes_ += bytesOf(mail, reply_each);
}

void MailLog::senderAccepted(std::string from) {
    close();
    open_ = true;
    mail_.from = std::move(from);
    bytes_ = kHeadBytes;
    number_ = ++facts_.transaction_count;
}

void MailLog::senderRefused(std::string from, std::string_view reply) {
    MailTransaction mail;
    mail.from = std::move(from);
    mail.reply = cut(reply);
    keep(std::move(mail), kHeadBytes, ++facts_.transaction_count);
}

void MailLog::recipientAccepted(std::string to) {
    if (!open_) return;
    // What was said of others is no word about the mail.
    if (mail_.recipient_count++ == 0) mail_.reply.clear();
    if (!grow((reply_each_ ? 2 : 1) * sizeof(std::string) + to.size())) return;
    mail_.recipients.push_back(std::move(to));
}

void MailLog::recipientRefused(std::string to, std::string_view reply) {
    if (!open_) return;
    if (mail_.recipient_count == 0) refused(reply);
    ++mail_.refused_count;
    if (!grow(sizeof(RefusedRecipient) + to.size() + cut(reply).size())) return;
    mail_.refused.push_back({std::move(to), std::string(cut(reply))});
}

/// The first refusal stands in for the final reply of a transaction that never got to its message; that of a recipient where
/// none was accepted. So whoever sums up mails knows what a client gave up: it has no reply.
void MailLog::refused(std::string_view reply) {
    if (open_ && mail_.reply.empty()) noteReply(cut(reply));
}

void MailLog::finalReply(bool accepted, std::string_view reply) {
    if (!open_) return;
    noteReply(cut(reply));
    if (accepted) {
        mail_.accepted = true;
        if (const std::string_view id = queueIdOf(mail_.reply); !id.empty()) mail_.queue_id = id;
    }
    if (reply_each_) noteRecipientReply(cut(reply));
}

/// RFC 2033 4.2: the final replies come in the order of the accepted recipients.
void MailLog::noteRecipientReply(std::string_view reply) {
    mail_.replies.resize(mail_.recipients.size());
    const std::size_t at = answered_++;
    if (at < mail_.replies.size() && grow(reply.size())) mail_.replies[at] = reply;
}

void MailLog::close() {
    if (!std::exchange(open_, false)) return;
    answered_ = 0;
    keep(std::move(mail_), std::exchange(bytes_, 0), number_);
    mail_ = {};
}

bool MailLog::grow(std::size_t bytes) noexcept {
    const bool has_room = bytes_ + bytes <= kMaxBytes - kept_bytes_;
    if (has_room)
        bytes_ += bytes;
    else
        mail_.truncated = true;
    return has_room;
}

/// Whether its number may be the next one's: no other has a later one.
bool MailLog::takesLast(std::uint32_t number) const noexcept {
    return !open_ && number == facts_.transaction_count;
}

void MailLog::keep(MailTransaction&& mail, std::size_t bytes, std::uint32_t number) {
    std::vector<MailTransaction>& all = facts_.transactions.own();
    const bool empty = cameToNothing(mail);
    if (all.size() == kMaxTransactionsKept && !empty) {
        const auto idle = std::find_if(all.begin(), all.end(), cameToNothing);
        if (idle != all.end()) {
            kept_bytes_ -= bytesOf(*idle, reply_each_);
            all.erase(idle);
            if (takesLast(number)) number = --facts_.transaction_count;
        }
    }
    // Without a sink there is no other place; then a later transaction has less room.
    const std::size_t room = (sink_ ? kMaxBytes / 2 : kMaxBytes - kHeadBytes) - kept_bytes_;
    if (all.size() < kMaxTransactionsKept && bytes <= room) {
        all.push_back(std::move(mail));
        kept_bytes_ += bytes;
    } else if (sink_ && !empty) {
        sink_->onMail(mail, number);
    } else if (empty && takesLast(number)) {
        --facts_.transaction_count;
    }
}

}  // namespace mailgate::smtp
