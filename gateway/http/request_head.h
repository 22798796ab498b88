// SPDX-License-Identifier: Apache-2.0
/// \file  As much of an HTTP request as has to be known before a thread reads it. Pure functions; `text` may be anything.
#pragma once

#include <cstddef>
#include <string_view>

namespace mailgate::http {

/// ASCII.
bool holdsIgnoringCase(std::string_view text, std::string_view word) noexcept;

/// Whether there is nothing more to be waited for: the head is there, up to the empty line, and so is the body, where
/// Content-Length says how long that is, `most` bytes have room for both, and the client sends it unasked.
bool isWholeRequest(std::string_view text, std::size_t most) noexcept;

/// Whether a head that is whole is none of HTTP/1.0 or 1.1 as RFC 9112 2 and 5 have it, so that a parser that is less strict would
/// wait for more, or read something else than is meant: no version, a space before a colon, a line that goes on, a
/// Content-Length that is no number of bytes that could come.
bool isMalformed(std::string_view text) noexcept;

}  // namespace mailgate::http
