// SPDX-License-Identifier: Apache-2.0
/// \file  What a session's log line (docs/log.md) and the journal's account of it say, in the same words.
#pragma once

#include "gateway/log/log_line.h"
#include "store/journal/record.h"

#include <span>

namespace mailgate {

/// `session.end`, `session.refused`, or for a Mail record `session.mail`.
std::string_view eventOf(const store::JournalSession& session) noexcept;

/// All fields of that event. In `session.end` the mails of mailInLine().
void writeSession(LogLine& line, const store::JournalSession& session);

/// The mails that stand in the session's own line; the others are `session.mail` events.
std::span<const store::JournalMail> mailInLine(const store::JournalSession& session) noexcept;

/// All fields of `session.mail`, for `session.mail[at]`.
void writeFurtherMail(LogLine& line, const store::JournalSession& session, std::size_t at);

}  // namespace mailgate
