// SPDX-License-Identifier: Apache-2.0
/// \file  Lists of words with blanks between them, as servers announce their capabilities and SASL mechanisms in.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

/// `list` without the words that `drops` says, each with the blanks before it; the first with those behind it. All
/// else stays as it is. Nothing: there are none. Throws std::bad_alloc.
std::optional<std::string> withoutWords(std::string_view list,
                                        const std::function<bool(std::string_view word)>& drops);

/// In any case of letters.
bool hasWord(std::string_view list, std::string_view word) noexcept;

/// There is no word in it.
bool isBlank(std::string_view list) noexcept;

/// A mechanism that binds the login to the TLS connection (RFC 5801, RFC 5802: -PLUS). Where TLS ends at the gateway,
/// client and server do not have the same one.
bool bindsChannel(std::string_view mechanism) noexcept;

}  // namespace mailgate
