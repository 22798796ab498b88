// SPDX-License-Identifier: Apache-2.0
/// \file  The journal's sessions as JSON, and what is asked of it as people write that.
#pragma once

#include "gateway/config/config.h"
#include "store/journal/backend.h"
#include "store/journal/record.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::answers {

/// Of an envelope address as people and servers write it, the one in the journal: "<>" is the null sender, and quotes are no
/// part of a local part.
std::string envelopeAddress(std::string_view text);

/// As the journal has a Message-ID: without < and >, as long as it is kept.
std::string messageId(std::string_view text);

/// As people see the end of a session: "refused: access (12 times)" is the refusal "access".
inline constexpr std::string_view kRefusedPrefix = "refused: ";
std::string_view reasonIn(std::string_view end);
/// All that a session in the journal can end with.
std::vector<std::string> endNames();

/// A name that is asked for, and that there is none of.
struct UnknownName {
    std::string_view what;  ///< "listener", "server"
    std::string name;
    std::vector<std::string> names;  ///< that the configuration has
};
/// The configuration does not have it, and neither does the journal, from an earlier configuration. `journal` may be null. Throws
/// StoreError.
std::optional<UnknownName> unknownName(const Config& config, const store::JournalFilter& filter,
                                       store::journal::Source* journal);

/// The log lines of the session (docs/log.md): its own, then those of mails that had no place in it.
std::string sessionAsJson(const store::JournalSession& session);

}  // namespace mailgate::answers
