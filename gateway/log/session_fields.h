/// \file  What a session's log line (docs/log.md) and the journal's account of it say in the same words.
#pragma once

#include "gateway/log/log_line.h"
#include "store/journal.h"

namespace mailgate {

enum class QueueIds : std::uint8_t { Left, Told };

/// `mail`, and `mail_count` where some were left out.
void writeMail(LogLine& line, const store::JournalSession& session, QueueIds queue_ids);

/// `bytes_in` to `end`.
void writeOutcome(LogLine& line, const store::JournalSession& session);

}  // namespace mailgate
