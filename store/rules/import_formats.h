// SPDX-License-Identifier: Apache-2.0
/// \file  Lists in other formats as access rules: what a line says, and which format a file has. Internal to store/.
#pragma once

#include "store/rules/import_lines.h"
#include "store/rules/import_result.h"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mailgate::store::import {

/// Of lines without a heading the format that the first distinctive one belongs to (Plain where all lines are networks only), or an error for a
/// line that belongs to none.
std::variant<ImportFormat, ImportError> recognize(std::span<const Line> lines);

/// What may stand between the cells of a row.
inline constexpr std::string_view kSeparators = ",;\t";

/// The separator of a heading that names a network's column; none: the row is no heading.
std::optional<char> headingSeparator(std::string_view row);
/// Likewise, and no rule whose note names columns.
bool isHeading(std::string_view row);

/// "allow", "permit", "accept", "ok", "pass"; "deny", "reject", "drop", "block"; in any case.
std::optional<Verdict> verdictOf(std::string_view word);

/// A word that has a meaning in some format of lists and cannot begin a note: verdictOf's, those of access(5),
/// a reply code.
bool isListWord(std::string_view word);

/// "word=": an option, known or misspelt.
bool looksLikeOption(std::string_view word) noexcept;

/// Reads lines of our own format, into which rows with columns are turned.
using OwnReader = ImportResult (*)(std::string_view text, const ImportOptions& options);

/// The lines of any format but Mailgate and Auto. `named`: the format was asked for, and not recognized.
void read(ImportFormat format, bool named, std::span<const Line> lines, const ImportOptions& options,
          OwnReader read_own, ImportResult& result);

/// What to do about lines that have no verdict.
std::string verdictMissing(const ImportLines& lines);

}  // namespace mailgate::store::import
