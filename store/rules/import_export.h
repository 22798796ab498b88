// SPDX-License-Identifier: Apache-2.0
/// \file  Access rules as a text file: one network a line.
///
///     allow|deny NETWORK [set=NAME] [listener=NAME[,NAME]] [expires=RFC3339|never] [client_sessions=N] [client_rate=N]
///         [reply=temporary|note|temporary,note|default] [owner=TEXT] [ticket=TEXT] [note]
///     # end, N rules
///
/// The note is the rest of the line; one that could be taken for something else stands in double quotes, with
/// \" \\ and \xHH inside, and so do an owner and a ticket of several words. A line, or what follows the options, that begins with # or ; is a comment. The last line, which
/// the export writes, distinguishes a complete file from one that broke off.
///
/// Lists in other formats are read too (ImportFormat). The verdict is never guessed: the line, the format or the
/// caller gives it; otherwise nothing may be imported. Pure functions over text; the input may be hostile.
#pragma once

#include "store/rules/import_result.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::store {

ImportResult parseRules(std::string_view text, const ImportOptions& options);

/// How a note is written: as it is, or with \xHH for each byte that is not printable ASCII.
enum class NoteForm : std::uint8_t { Utf8, Ascii };

/// The line of a rule, without a newline; parseRules() gives back the same network, verdict, set, listener, expiry,
/// limits, reply, owner, ticket and note. `defaults`: those of its set, of which it says where it is without.
std::string formatRule(const AccessRule& rule, NoteForm form = NoteForm::Utf8,
                       const SetDefaults& defaults = {});

/// A rule as a line of the audit trail, which is as above but for the note: in quotes only where it might be an option,
/// and with bytes of any kind. None: it is no such line.
std::optional<AccessRule> parseTrailRule(std::string_view line);
/// "set NAME [expires=SECONDSs] [note]", likewise.
std::optional<std::pair<std::string, SetDefaults>> parseTrailSet(std::string_view line);

/// The end mark, without a newline.
std::string formatEnd(std::size_t rules);

}  // namespace mailgate::store
