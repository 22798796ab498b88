// SPDX-License-Identifier: Apache-2.0
#include "store/journal/filter.h"

#include "protocols/values/text.h"

#include <algorithm>

namespace mailgate::store::journal {

namespace {

bool hasServer(const JournalSession& session, std::string_view wanted) {
    const std::size_t slash = wanted.find('/');
    if (slash == std::string_view::npos) return sameText(session.server, wanted);
    return sameText(session.upstream, wanted.substr(0, slash)) &&
           sameText(session.server, wanted.substr(slash + 1));
}

bool hasUser(const JournalSession& session, std::string_view wanted) {
    return sameText(session.user, wanted) ||
           std::any_of(session.failed_users.begin(), session.failed_users.end(),
                       [&](const std::string& user) { return sameText(user, wanted); });
}

bool hasRefused(const JournalMail& mail, std::string_view wanted) {
    return std::any_of(mail.refused.begin(), mail.refused.end(),
                       [&](const JournalRefusal& refusal) { return isAddressed(refusal.to, wanted); });
}

bool hasRecipient(const JournalMail& mail, std::string_view wanted) {
    return hasRefused(mail, wanted) ||
           std::any_of(mail.recipients.begin(), mail.recipients.end(),
                       [&](const std::string& recipient) { return isAddressed(recipient, wanted); });
}

bool hasPart(std::string_view text, std::string_view part) {
    return std::search(text.begin(), text.end(), part.begin(), part.end(),
                       [](char a, char b) { return lower(a) == lower(b); }) != text.end();
}

bool hasReply(const JournalMail& mail, std::string_view part) {
    return hasPart(mail.reply, part) ||
           std::any_of(mail.replies.begin(), mail.replies.end(),
                       [&](const std::string& reply) { return hasPart(reply, part); }) ||
           std::any_of(mail.refused.begin(), mail.refused.end(),
                       [&](const JournalRefusal& refusal) { return hasPart(refusal.reply, part); });
}

bool hasHelo(const JournalSession& session, std::string_view wanted) {
    if (!wanted.starts_with('.')) return sameText(session.helo, wanted);
    const std::string_view helo = session.helo;
    return helo.size() > wanted.size() && sameText(helo.substr(helo.size() - wanted.size()), wanted);
}

}  // namespace

bool asksForEnvelope(const JournalFilter& filter) noexcept {
    return filter.from || filter.to || filter.refused_to || filter.queue_id || filter.message_id;
}

bool asksForMail(const JournalFilter& filter) noexcept {
    return asksForEnvelope(filter) || filter.reply;
}

bool passes(const JournalMail& mail, const JournalFilter& filter) {
    if (filter.from && !isAddressed(mail.from, *filter.from)) return false;
    if (filter.queue_id && mail.queue_id != *filter.queue_id) return false;
    if (filter.message_id && !sameText(mail.message_id, *filter.message_id)) return false;
    if (filter.refused_to && !hasRefused(mail, *filter.refused_to)) return false;
    if (filter.reply && !hasReply(mail, *filter.reply)) return false;
    return !filter.to || hasRecipient(mail, *filter.to);
}

bool passes(const JournalSession& session, const JournalFilter& filter) {
    if (filter.client && !filter.client->contains(clientNetwork(session))) return false;
    if (filter.balancer && !(session.balancer && filter.balancer->contains(*session.balancer))) return false;
    if (filter.would_refuse && session.would_refuse.empty()) return false;
    if (filter.failed_login && session.failed_logins == 0) return false;
    if (filter.user && !hasUser(session, *filter.user)) return false;
    if (filter.listener && !sameText(session.listener, *filter.listener)) return false;
    if (filter.server && !hasServer(session, *filter.server)) return false;
    if (filter.allowed && session.allowed != *filter.allowed) return false;
    if (filter.protocol && !sameText(session.protocol, *filter.protocol)) return false;
    if (filter.helo && !hasHelo(session, *filter.helo)) return false;
    if (filter.end && !sameText(session.end, *filter.end)) return false;
    if (filter.rule && session.rule != *filter.rule) return false;
    if (filter.tls && !sameText(session.tls, *filter.tls)) return false;
    if (filter.since_ms && session.endedMs() < *filter.since_ms) return false;
    return !filter.until_ms || session.started_ms <= *filter.until_ms;
}

bool hasWantedMail(const JournalSession& session, const JournalFilter& filter) {
    if (session.refused() && filter.reply) return hasPart(session.reply, *filter.reply);
    // The gateway's own reply, where it told a client to begin TLS first.
    if (filter.reply && !asksForEnvelope(filter) && hasPart(session.reply, *filter.reply)) return true;
    return !asksForMail(filter) || std::any_of(session.mail.begin(), session.mail.end(),
                                               [&](const JournalMail& mail) { return passes(mail, filter); });
}

}  // namespace mailgate::store::journal
