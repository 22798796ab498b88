// SPDX-License-Identifier: Apache-2.0
/// \file  Makes hostile text fit for one line of a log or of a message.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace mailgate {

/// Long enough for an ordinary line, so that composing one takes no heap memory.
using LineBuffer = fmt::basic_memory_buffer<char, 2048>;

/// Appends `text` as the inside of a JSON string (RFC 8259 7). The result is valid UTF-8 without anything that a
/// terminal or a line reader acts on, or that hides or reorders text: C0 and C1 controls, DEL, line and paragraph
/// separators, bidirectional controls and invisible characters become \uXXXX; each ill-formed sequence becomes U+FFFD
/// (one for each maximal subpart, as Unicode 3.9 recommends). Never shorter than `text`.
void appendEscaped(LineBuffer& out, std::string_view text);
std::string escaped(std::string_view text);

/// A whole JSON document, whose strings may still hold such characters: escaped there. C0 controls are
/// left (between the strings they are layout, and inside no JSON writer leaves them).
std::string visibleJson(std::string_view json);

/// True when appendEscaped would add `text` unchanged and it is plain ASCII.
bool isPlain(std::string_view text) noexcept;

/// `text` in double quotes, escaped, its tail replaced by "..." when it is longer than `limit` bytes.
std::string inQuotes(std::string_view text, std::size_t limit = 80);

}  // namespace mailgate
