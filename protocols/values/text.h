// SPDX-License-Identifier: Apache-2.0
/// \file  Spellings that rules, their file form and messages share.
#pragma once

#include "protocols/values/time.h"

#include <optional>
#include <string>
#include <string_view>

namespace mailgate {

/// Fit for one line of a message: control bytes and non-ASCII as \xHH, cut with "..." after `limit` bytes.
std::string printable(std::string_view text, std::size_t limit = 80);

/// Bytes below 0x20, and DEL.
constexpr bool isControl(char character) noexcept {
    const auto byte = static_cast<unsigned char>(character);
    return byte < 0x20 || byte == 0x7F;
}
bool hasControls(std::string_view text) noexcept;

/// Without the blanks and tabs around it.
std::string_view trimmed(std::string_view text) noexcept;

/// The first word of `rest`, which loses it and the blanks around it.
std::string_view takeField(std::string_view& rest) noexcept;

/// ASCII only.
constexpr char lower(char character) noexcept {
    return character >= 'A' && character <= 'Z' ? static_cast<char>(character | 0x20) : character;
}
std::string lowerCase(std::string_view text);
bool equalsIgnoreCase(std::string_view one, std::string_view other) noexcept;
bool startsWithIgnoreCase(std::string_view text, std::string_view prefix) noexcept;

bool isAscii(std::string_view text) noexcept;

/// What is compared of an address or a user name: the domain as A-labels (RFC 5891), so that bücher.example
/// and xn--bcher-kva.example are one, and what is beyond ASCII before the @ in one case. ASCII text is
/// returned as it is: its case is the comparison's matter.
std::string comparable(std::string_view text);

/// The same as comparable(), without regard to case.
bool sameText(std::string_view one, std::string_view other);

/// What follows the last "@"; empty when there is none.
std::string_view domainOf(std::string_view address) noexcept;

/// `wanted` is an address or "@domain".
bool isAddressed(std::string_view address, std::string_view wanted);

/// RFC 3339 in UTC with whole seconds: "2026-11-20T21:00:00Z". Outside the years 0 to 9999: the number itself.
std::string formatUtc(UnixSeconds time);

/// RFC 3339 section 5.6, any offset, a fraction is cut off: "2026-11-20T21:00:00Z",
/// "2026-11-20T22:00:00+01:00".
std::optional<UnixSeconds> parseUtc(std::string_view text) noexcept;

}  // namespace mailgate
