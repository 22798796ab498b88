// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/journal.h"

#include "gateway/log/log_line.h"
#include "gateway/session/session_fields.h"
#include "protocols/stream/session_facts.h"
#include "protocols/values/text.h"

#include <chrono>

namespace mailgate::answers {

using store::JournalSession;

std::string envelopeAddress(std::string_view text) {
    if (text.size() >= 2 && text.front() == '<' && text.back() == '>') text = text.substr(1, text.size() - 2);
    return std::string(text);
}

std::string messageId(std::string_view text) {
    return envelopeAddress(trimmed(text)).substr(0, kMaxMessageIdBytes);
}

std::string sessionAsJson(const JournalSession& session) {
    const std::chrono::system_clock::time_point ended{std::chrono::milliseconds(session.endedMs())};
    std::string lines;
    if (session.kind != store::JournalKind::Mail) {
        LogLine line(LogFormat::Json, LogLevel::Information, eventOf(session), ended);
        writeSession(line, session);
        lines = line.finish();
    }
    for (std::size_t at = mailInLine(session).size(); at < session.mail.size(); ++at) {
        LogLine line(LogFormat::Json, LogLevel::Information, "session.mail", ended);
        writeFurtherMail(line, session, at);
        lines += line.finish();
    }
    return lines;
}

}  // namespace mailgate::answers
