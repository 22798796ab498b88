// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_lines.h"

#include <algorithm>
#include <functional>

namespace mailgate::store::import {

std::size_t placeIn(std::string_view line, std::string_view part) noexcept {
    const std::less_equal<const char*> notBehind;
    if (part.data() == nullptr || !notBehind(line.data(), part.data()) ||
        !notBehind(part.data(), line.data() + line.size()))
        return 0;
    constexpr unsigned kTopBits = 0xC0, kContinues = 0x80;  // of UTF-8, RFC 3629 section 3
    return 1 + static_cast<std::size_t>(std::count_if(line.data(), part.data(), [](char byte) {
               return (static_cast<unsigned char>(byte) & kTopBits) != kContinues;
           }));
}

}  // namespace mailgate::store::import
