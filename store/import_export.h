/// \file  Access rules as a text file: one network a line.
///
///     [allow|deny] NETWORK [listener=NAME[,NAME]] [expires=RFC3339] [client_sessions=N] [client_rate=N]
///     [note]
///
/// Without a verdict: allow. The note is the rest of the line; one that would be taken for something else
/// stands in double quotes, with \" \\ and \xHH inside. A line, or what follows the options, that begins with
/// # is a comment. Pure functions over text; the input may be hostile.
#pragma once

#include "store/access_rule.h"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::store {

constexpr std::size_t kMaxNoteLength = 1'000;  ///< bytes
constexpr std::size_t kMaxImportErrors = 100;  ///< reading stops there

struct ImportedRule {
    AccessRule rule;
    std::size_t line;  ///< from 1
};

struct ImportError {
    std::size_t line;
    std::string message;
};

struct ImportResult {
    std::vector<ImportedRule> rules;  ///< a line with several listeners gives several
    std::vector<ImportError> errors;  ///< when there is one, nothing may be imported
};

/// `listeners`: the names that may be used; empty: any.
ImportResult parseRules(std::string_view text, std::span<const std::string> listeners);

/// Why a note cannot be kept; empty when it can.
std::string noteError(std::string_view note);

/// The line of a rule, without a newline; parseRules() gives back the same network, verdict, listener,
/// expiry, limits and note.
std::string formatRule(const AccessRule& rule);

}  // namespace mailgate::store
