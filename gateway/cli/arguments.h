// SPDX-License-Identifier: Apache-2.0
/// \file  Values of options that several commands take. Throw CLI::ValidationError, which names the option, what
/// was found and what was expected.
#pragma once

#include "gateway/cli/time_text.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class Validator;
}

namespace mailgate::cli {

/// Unix milliseconds of a time as parseTime() takes it.
std::int64_t timeArgument(const std::string& option, const std::string& text, TimeMeans means, Zone zone);

/// Seconds of a duration as parseSpan() takes it, rounded up.
std::int64_t spanArgument(const std::string& option, const std::string& text);

/// What --since and --until say; Unix milliseconds.
struct Period {
    std::optional<std::int64_t> since_ms, until_ms;
};
/// A period that nothing can be in is an error: its beginning is in the future, or behind its end.
Period periodArgument(const std::optional<std::string>& since, const std::optional<std::string>& until,
                      Zone zone);

/// Their lines in --help.
extern const std::string kSinceHelp, kUntilHelp;

/// The one that was probably meant, as a question behind a colon; empty when none is near.
std::string didYouMean(const std::vector<std::string>& names, std::string_view word);

/// Takes one of these words; --help lists them.
CLI::Validator oneOf(std::vector<std::string> words);

/// What is wrong with the value of --limit; empty: nothing.
std::string limitError(const std::string& text);

}  // namespace mailgate::cli
