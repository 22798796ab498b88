// SPDX-License-Identifier: Apache-2.0
/// \file  What a file that is no TOML lacks, in the words of who has to mend it.
#pragma once

#include <toml++/toml.h>

#include <string>
#include <string_view>

namespace mailgate::config {

/// `toml` is the text whose parsing has failed with `error`. One line, escaped: it may quote the text.
std::string syntaxError(std::string_view toml, const toml::parse_error& error);

/// Of [[listener]] and its like.
bool mayComeOften(std::string_view table) noexcept;

/// What to tell where such a table has one bracket.
std::string needsTwoBrackets(std::string_view table);

}  // namespace mailgate::config
