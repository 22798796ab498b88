// SPDX-License-Identifier: Apache-2.0
/// \file  Cutting one direction of a stream into lines, whatever the pieces it arrives in, and lines into words.
///
/// Shared by the filters and dialogues. What comes out depends on the bytes alone, never on how they were split.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

/// The longest line that is looked at whole. Commands are shorter (RFC 5321 4.5.3.1.4: 512 bytes and what
/// extensions add); SASL responses may be longer, but say who they are at their beginning.
inline constexpr std::size_t kMaxLineBytes = 2048;
/// How much of a longer line's end is kept: room for an IMAP literal's {size}.
inline constexpr std::size_t kLineTailBytes = 32;

class LineReader {
  public:
    /// Takes the next line off the front of `bytes` and returns it without its CRLF or LF; nothing when `bytes` ran
    /// out in mid-line (the fragment is kept). Of a line longer than kMaxLineBytes the middle is left out. The result
    /// is valid until the next call. Copies only what arrives in pieces. Throws std::bad_alloc.
    std::optional<std::string_view> next(std::string_view& bytes);

  private:
    void keep(std::string_view piece);

    std::string fragment_;
    bool handed_out_ = false;  ///< fragment_ is the line that was returned last
};

/// `line` without its CRLF or LF.
std::string_view withoutLineEnd(std::string_view line) noexcept;

/// Where the first line in `bytes`, which may not be longer than `limit`, ends: behind its LF. Nothing: it is
/// not whole. npos: it is too long, whatever follows.
std::optional<std::size_t> endOfLine(std::string_view bytes, std::size_t limit) noexcept;

/// Whether `line` begins with `words`, in either case, and then with a space or nothing.
bool beginsWithWords(std::string_view line, std::string_view words) noexcept;

void skipSpaces(std::string_view& text) noexcept;

/// Takes the first word off the front of `text`, with the spaces before and after it.
std::string_view takeWord(std::string_view& text) noexcept;

}  // namespace mailgate
