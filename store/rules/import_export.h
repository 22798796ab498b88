// SPDX-License-Identifier: Apache-2.0
/// \file  Access rules as a text file: one network a line.
///
///     allow|deny NETWORK [listener=NAME[,NAME]] [expires=RFC3339] [client_sessions=N] [client_rate=N] [note]
///     # end, N rules
///
/// The note is the rest of the line; one that could be taken for something else stands in double quotes, with
/// \" \\ and \xHH inside. A line, or what follows the options, that begins with # or ; is a comment. The last line, which
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
#include <vector>

namespace mailgate::store {

ImportResult parseRules(std::string_view text, const ImportOptions& options);

/// How a note is written: as it is, or with \xHH for each byte that is not printable ASCII.
enum class NoteForm : std::uint8_t { Utf8, Ascii };

/// The line of a rule, without a newline; parseRules() gives back the same network, verdict, listener,
/// expiry, limits and note.
std::string formatRule(const AccessRule& rule, NoteForm form = NoteForm::Utf8);

/// The end mark, without a newline.
std::string formatEnd(std::size_t rules);

}  // namespace mailgate::store
