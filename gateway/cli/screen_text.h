// SPDX-License-Identifier: Apache-2.0
/// \file  Text as a terminal shows it: what may be shown, and how many columns of the screen it takes. Widths are
/// wcwidth(3)'s for UTF-8, whatever the locale is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mailgate::cli {

/// What the terminal can show.
enum class Letters : std::uint8_t { Utf8, Ascii };

/// `text` as answers::plainLine() has it, so that it stays on its line and in its direction; also what has no width
/// of its own and no letter before it, marks beyond two of one letter, and what the C library does not know
/// becomes \uXXXX. What is left takes screenWidth() columns. With Letters::Ascii nothing else is left.
std::string shown(std::string_view text, Letters letters = Letters::Utf8);

/// Columns of the screen. `text` is shown() text.
std::size_t screenWidth(std::string_view text);

/// As much of it as fits, the last column being `…` (with Letters::Ascii `~`) where it is cut. `text` is shown() text.
std::string clipped(std::string_view text, std::size_t width, Letters letters = Letters::Utf8);

/// Its lines broken between words where they are longer than `width` columns (0: no limit). A word that is longer
/// stays whole. `text` is lines of shown() text.
std::string wrapped(std::string_view text, std::size_t width);

}  // namespace mailgate::cli
