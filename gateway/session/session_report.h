// SPDX-License-Identifier: Apache-2.0
/// \file  What a session writes to the log (docs/log.md), and hands to the journal.
#pragma once

#include "gateway/session/session_host.h"
#include "gateway/session/session_record.h"
#include "protocols/refusal.h"
#include "store/journal/record.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mailgate::report {

/// `session.end`: an admitted session is over. What it knew goes with the line.
void ended(SessionHost& host, SessionRecord& record, std::uint64_t bytes_in, std::uint64_t bytes_out);
/// `session.mail`: a mail for which the session's facts have no room.
void mail(SessionHost& host, const SessionRecord& record, const MailTransaction& mail,
          std::uint32_t number) noexcept;
/// `session.refused`: what was said instead of a session, and why.
void refused(SessionHost& host, const SessionRecord& record, Refusal refusal, const LimitReached& limit,
             std::string_view reply);
/// `session.failed`: it ended before anything was known of its client, for want of memory or descriptors.
void failed(SessionHost& host, const SessionRecord& record) noexcept;
/// `session.check`, at debug level: a balancer probe was answered.
void probed(SessionHost& host, const SessionRecord& record, bool up);
/// `proxy.rejected`: a connection without a believable header. For connections that never became a session too.
void rejected(SessionHost& host, const AcceptedConnection& arrival, Rejection rejection,
              std::string_view first_bytes, std::size_t offset);

/// `session.tls_failed`: the TLS handshake of an admitted client failed. `silent`: it had sent nothing, as port scans and
/// probes do; that is only counted.
void tlsFailed(SessionHost& host, const SessionRecord& record, TlsFailure failure, bool silent);

/// Writes a record made before to the log and the journal.
void keep(SessionHost& host, store::JournalSession&& entry);

}  // namespace mailgate::report
