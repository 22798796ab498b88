// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/session_fields.h"

#include "protocols/mail_protocol.h"
#include "protocols/stream/session_facts.h"

#include <algorithm>

namespace mailgate {

namespace {

using store::JournalKind;
using store::JournalMail;
using store::JournalSession;

/// Of the mails in a session's own line, so that escaping, and the fields around them, still fit.
constexpr std::size_t kMailBytesInLine = std::size_t{20} << 10;

std::string addressText(const AddressBytes& address) {
    return Network{address, 128}.toString();
}

void writeItems(LogLine& line, std::string_view key, const std::vector<std::string>& items) {
    line.beginArray(key);
    for (const std::string& item : items)
        line.item(item);
    line.endArray();
}

void writeRefused(LogLine& line, const JournalMail& mail) {
    if (mail.refused_count == 0 && mail.refused.empty()) return;
    line.beginArray("refused");
    for (const store::JournalRefusal& refusal : mail.refused) {
        line.beginObject();
        line.text("to", refusal.to);
        line.textOrNull("reply", refusal.reply);
        line.endObject();
    }
    line.endArray();
    if (mail.refused_count > mail.refused.size()) line.number("refused_count", mail.refused_count);
}

void writeMail(LogLine& line, const JournalMail& mail) {
    line.text("from", mail.from);
    writeItems(line, "recipients", mail.recipients);
    if (mail.recipient_count > mail.recipients.size()) line.number("recipient_count", mail.recipient_count);
    writeRefused(line, mail);
    line.number("size", static_cast<std::int64_t>(mail.size));
    line.textOrNull("reply", mail.reply);
    if (!mail.replies.empty()) writeItems(line, "replies", mail.replies);
    line.textOrNull("queue_id", mail.queue_id);
    if (mail.truncated) line.boolean("truncated", true);
}

std::size_t lengthOf(const JournalMail& mail) noexcept {
    std::size_t length = 100 + mail.from.size() + mail.reply.size() + mail.queue_id.size();
    for (const std::vector<std::string>* texts : {&mail.recipients, &mail.replies})
        for (const std::string& text : *texts)
            length += text.size() + 3;
    for (const store::JournalRefusal& refusal : mail.refused)
        length += refusal.to.size() + refusal.reply.size() + 20;
    return length;
}

bool isMail(const JournalSession& session) noexcept {
    const std::optional<Protocol> protocol = protocolFromString(session.protocol);
    return protocol && traitsOf(*protocol).transfers_mail;
}

void writeClient(LogLine& line, const JournalSession& session) {
    line.text("session", session.id);
    line.text("listener", session.listener);
    line.text("protocol", session.protocol);
    line.text("client", store::clientNetwork(session).toString());
    line.number("client_port", session.client_port);
}

void writeArrival(LogLine& line, const JournalSession& session) {
    writeClient(line, session);
    line.textOrNull("balancer", session.balancer ? addressText(*session.balancer) : "");
    line.text("destination", addressText(session.destination));
    line.number("destination_port", session.destination_port);
    line.text("access", session.allowed ? "allow" : "deny");
    line.textOrNull("rule", session.rule);
}

void writeLogin(LogLine& line, const JournalSession& session) {
    line.textOrNull("user", session.user);
    if (session.user.empty() && !session.authenticated && session.failed_logins == 0) return;
    if (session.authenticated)
        line.boolean("authenticated", *session.authenticated);
    else
        line.null("authenticated");
    line.number("failed_logins", session.failed_logins);
    if (session.failed_logins > 0) writeItems(line, "failed_users", session.failed_users);
}

void writeBalancer(LogLine& line, const JournalSession& session) {
    for (const auto& [name, value] : session.balancer_told) {
        if (name == "azure_link_id")
            line.number(name, std::strtoll(value.c_str(), nullptr, 10));
        else
            line.text(name, value);
    }
}

void writeOutcome(LogLine& line, const JournalSession& session) {
    const auto timing = [&](std::string_view key, std::int64_t milliseconds) {
        if (milliseconds < 0)
            line.null(key);
        else
            line.number(key, milliseconds);
    };
    line.number("bytes_in", static_cast<std::int64_t>(session.bytes_in));
    line.number("bytes_out", static_cast<std::int64_t>(session.bytes_out));
    timing("header_ms", session.header_ms);
    timing("connect_ms", session.connect_ms);
    timing("greeting_ms", session.greeting_ms);
    timing("duration_ms", session.duration_ms);
    line.text("end", session.end);
    if (!session.violation.empty()) line.text("violation", session.violation);
}

void writeEnd(LogLine& line, const JournalSession& session) {
    line.textOrNull("upstream", session.upstream);
    line.textOrNull("server", session.server);
    if (isMail(session)) line.textOrNull("helo", session.helo);
    writeLogin(line, session);
    line.textOrNull("tls", session.tls);
    if (isMail(session)) {
        const auto mails = mailInLine(session);
        line.beginArray("mail");
        for (const JournalMail& mail : mails) {
            line.beginObject();
            writeMail(line, mail);
            line.endObject();
        }
        line.endArray();
        if (session.mail_count > mails.size()) line.number("mail_count", session.mail_count);
    }
    writeBalancer(line, session);
    writeOutcome(line, session);
}

void writeRefusal(LogLine& line, const JournalSession& session) {
    if (session.rule_id != 0) line.number("rule_id", session.rule_id);
    line.text("reason", session.end);
    if (!session.limit.empty()) {
        line.text("limit", session.limit);
        line.number("limit_value", session.limit_value);
    }
    line.textOrNull("reply", session.reply);
    writeBalancer(line, session);
    if (session.repeated > 0) line.number("repeated", session.repeated);
}

}  // namespace

std::string_view eventOf(const JournalSession& session) noexcept {
    switch (session.kind) {
        case JournalKind::Session:
            return "session.end";
        case JournalKind::Refused:
            return "session.refused";
        case JournalKind::Mail:
            return "session.mail";
    }
    return "";
}

std::span<const JournalMail> mailInLine(const JournalSession& session) noexcept {
    if (session.kind != JournalKind::Session) return {};
    std::size_t count = 0, length = 0;
    while (count < std::min(session.mail.size(), kMaxTransactionsKept)) {
        const JournalMail& mail = session.mail[count];
        if (mail.number != 0) break;  // it had a line of its own before
        length += lengthOf(mail);
        if (length > kMailBytesInLine) break;
        ++count;
    }
    return std::span(session.mail).first(count);
}

void writeFurtherMail(LogLine& line, const JournalSession& session, std::size_t at) {
    const JournalMail& mail = session.mail[at];
    writeClient(line, session);
    line.textOrNull("user", session.user);
    line.number("number", mail.number == 0 ? static_cast<std::int64_t>(at) + 1 : mail.number);
    writeMail(line, mail);
}

void writeSession(LogLine& line, const JournalSession& session) {
    if (session.kind == JournalKind::Mail) {
        if (!session.mail.empty()) writeFurtherMail(line, session, 0);
        return;
    }
    writeArrival(line, session);
    if (session.refused())
        writeRefusal(line, session);
    else
        writeEnd(line, session);
}

}  // namespace mailgate
