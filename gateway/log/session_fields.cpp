#include "gateway/log/session_fields.h"

#include <algorithm>

namespace mailgate {

namespace {

void writeItems(LogLine& line, std::string_view key, const std::vector<std::string>& items) {
    line.beginArray(key);
    for (const std::string& item : items)
        line.item(item);
    line.endArray();
}

void writeOne(LogLine& line, const store::JournalMail& mail, QueueIds queue_ids) {
    line.beginObject();
    line.text("from", mail.from);
    writeItems(line, "recipients", mail.recipients);
    if (mail.recipient_count > mail.recipients.size()) line.number("recipient_count", mail.recipient_count);
    if (mail.recipients_refused > 0) line.number("recipients_refused", mail.recipients_refused);
    line.number("size", static_cast<std::int64_t>(mail.size));
    line.textOrNull("reply", mail.reply);
    if (!mail.replies.empty()) writeItems(line, "replies", mail.replies);
    if (queue_ids == QueueIds::Told) line.textOrNull("queue_id", store::queueIdOf(mail.reply));
    line.endObject();
}

}  // namespace

void writeMail(LogLine& line, const store::JournalSession& session, QueueIds queue_ids) {
    line.beginArray("mail");
    for (const store::JournalMail& mail : session.mail)
        writeOne(line, mail, queue_ids);
    line.endArray();
    if (session.mail_count > session.mail.size()) line.number("mail_count", session.mail_count);
}

void writeOutcome(LogLine& line, const store::JournalSession& session) {
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
}

}  // namespace mailgate
