/// \file  Makes hostile text fit for one line of a log or of a message.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace mailgate {

/// Long enough for an ordinary line, so that composing one takes no heap memory.
using LineBuffer = fmt::basic_memory_buffer<char, 2048>;

/// Appends `text` as the inside of a JSON string (RFC 8259 7). The result is valid UTF-8 without anything
/// that a terminal or a reader of lines obeys: C0 and C1 controls, DEL, U+2028 and U+2029 become \u00XX; each
/// ill-formed sequence becomes U+FFFD (one for each maximal subpart, as Unicode 3.9 recommends). Never
/// shorter than `text`.
void appendEscaped(LineBuffer& out, std::string_view text);

/// True when appendEscaped would add `text` unchanged and it is plain ASCII.
bool isPlain(std::string_view text) noexcept;

/// `text` in double quotes, escaped, its tail replaced by "..." when it is longer than `limit` bytes.
std::string inQuotes(std::string_view text, std::size_t limit = 80);

}  // namespace mailgate
