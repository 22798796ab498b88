// SPDX-License-Identifier: Apache-2.0
/// \file  What a JournalFilter lets through: the one meaning of its members, for databases and for sessions under way.
#pragma once

#include "store/journal/backend.h"

namespace mailgate::store::journal {

/// Whether it asks for what only a session with mail can have.
bool asksForEnvelope(const JournalFilter& filter) noexcept;
/// ... or for what is said of a mail or of a refused client.
bool asksForMail(const JournalFilter& filter) noexcept;

bool passes(const JournalMail& mail, const JournalFilter& filter);
/// All but what it asks of the mail.
bool passes(const JournalSession& session, const JournalFilter& filter);
/// That: true where it asks for nothing.
bool hasWantedMail(const JournalSession& session, const JournalFilter& filter);

}  // namespace mailgate::store::journal
