// SPDX-License-Identifier: Apache-2.0
/// \file  Commands made of atoms, quoted strings and literals: IMAP (RFC 9051 9) and ManageSieve (RFC 5804 4).
#pragma once

#include "protocols/stream/lines.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

/// A literal's announcement at the end of a line: {size}, {size+} or {size-}.
struct LiteralSize {
    std::size_t at = 0;         ///< where the { stands in the line
    std::uint64_t bytes = 0;    ///< UINT64_MAX when the number does not fit
    bool synchronizing = true;  ///< the sender waits for leave (RFC 9051 4.3)
};
std::optional<LiteralSize> literalAtEnd(std::string_view line) noexcept;

/// How much of a command has arrived, or of the part of it up to a literal that waits for the server's continuation
/// request.
struct Extent {
    enum class State : std::uint8_t {
        Partial,
        Whole,
        Malformed,  ///< up to the end of the line where it breaks the grammar
        Lost,       ///< so does it, and a literal's bytes follow that cannot be told from commands
        TooLong,
    };
    State state = State::Partial;
    std::size_t bytes = 0;               ///< Whole, Malformed
    std::optional<std::size_t> literal;  ///< Whole: goes on with so many bytes, once the server gives leave
    bool unasked = false;                ///< Whole: has a literal that does not wait for leave
};

/// Whether parentheses make lists, and may stand around a string: in IMAP. In ManageSieve they are part of an atom.
enum class Lists : std::uint8_t { Allowed, Unknown };

/// Measures what `bytes` begin with: `literal` bytes of a literal that the server has asked for, if any, then the
/// rest of the line, which may be `limit` bytes long, and more after literals that need no continuation request.
Extent measureCommand(std::string_view bytes, std::optional<std::size_t> literal, std::size_t limit,
                      Lists lists);

/// Whether every server reads this as we do: arguments with one space between them that every parser accepts. A
/// server that rejects a line takes what follows for commands, the bytes of a literal that needs no continuation
/// request among them. Atoms and strings, after the literal that the server has asked for, if any.
bool isPlain(std::string_view text, std::optional<std::size_t> literal) noexcept;
/// Strings in ASCII without escapes, `most` at the most.
bool isStrings(std::string_view text, std::size_t most) noexcept;

/// The words of something that was measured, in their order. A list's parentheses around them are left out.
class WordReader {
  public:
    WordReader(std::string_view text, std::optional<std::size_t> literal, Lists lists) noexcept
        : text_(text), literal_(literal), lists_(lists) {}

    /// Unquoted. Nothing at the end. Throws std::bad_alloc.
    std::optional<std::string> next();

  private:
    std::string take(std::size_t bytes);

    std::string_view text_;
    std::optional<std::size_t> literal_;  ///< stands at the front of text_
    Lists lists_;
};

}  // namespace mailgate
