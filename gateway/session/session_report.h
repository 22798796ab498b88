// SPDX-License-Identifier: Apache-2.0
/// \file  The log lines of a session (docs/log.md).
#pragma once

#include "gateway/session/live_session.h"
#include "gateway/session/session.h"
#include "store/journal/record.h"

namespace mailgate {

class SessionReport {
  public:
    /// `session.end`: an admitted session is over.
    static void ended(Session& session);
    /// `session.mail`: a mail of a session that has shown more than its facts keep.
    static void mail(Session& session, const MailTransaction& mail, std::uint32_t number) noexcept;
    /// `session.refused`: what was said instead of a session, and why.
    static void refused(Session& session, Refusal refusal, std::string_view reply);
    /// `session.failed`: it ended before anything was known of its client, for want of memory or descriptors.
    static void failed(const Session& session);
    /// `session.check`, at debug level: a balancer's health check was answered.
    static void checked(Session& session, bool up);
    /// `proxy.rejected`: a connection without a believable header. For connections that never became a
    /// session too.
    static void rejected(SessionHost& host, const Arrival& arrival, Rejection rejection,
                         std::string_view first_bytes, std::size_t offset);
    /// What an administrator sees of a session that is under way.
    static LiveSession live(const Session& session);

    /// A record made before: in the log and the journal.
    static void record(SessionHost& host, store::JournalSession&& entry);

  private:
    static store::JournalSession refusedEntry(const Session& session, Refusal refusal,
                                              std::string_view reply);
    static store::JournalSession journalHead(const Session& session);
    static store::JournalSession journalEntry(Session& session, std::uint64_t bytes_in,
                                              std::uint64_t bytes_out);
    static store::JournalSession mailEntry(const Session& session, const MailTransaction& mail,
                                           std::uint32_t number);
    static void addServer(store::JournalSession& entry, const Session& session);
    static void logEnd(EventSink& log, const store::JournalSession& entry);
    static std::string_view stateName(const Session& session) noexcept;
};

}  // namespace mailgate
