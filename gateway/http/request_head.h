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

}  // namespace mailgate::http
