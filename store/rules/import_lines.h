// SPDX-License-Identifier: Apache-2.0
/// \file  The lines of a list of rules, whatever its format. Internal to store/.
#pragma once

#include <cstddef>
#include <string_view>

namespace mailgate::store::import {

/// A line that is neither blank nor a comment, without its end.
struct Line {
    std::size_t number;  ///< from 1
    std::string_view text;
};

/// Where a part of the line begins, in characters from 1; 0: `part` is none.
std::size_t placeIn(std::string_view line, std::string_view part) noexcept;

/// RFC 3629: neither overlong nor a surrogate.
bool isUtf8(std::string_view text) noexcept;

}  // namespace mailgate::store::import
