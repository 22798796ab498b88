// SPDX-License-Identifier: Apache-2.0
/// \file  The journal's sessions as JSON, and what is asked of it as people write that. Pure functions.
#pragma once

#include "store/journal/record.h"

#include <string>
#include <string_view>

namespace mailgate::answers {

/// As people write an envelope address: "<>" is the null sender.
std::string envelopeAddress(std::string_view text);

/// As the journal has a Message-ID: without < and >, as long as it is kept.
std::string messageId(std::string_view text);

/// The log lines of the session (docs/log.md): its own, then those of mails that had no place in it.
std::string sessionAsJson(const store::JournalSession& session);

}  // namespace mailgate::answers
