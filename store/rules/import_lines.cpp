// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_lines.h"

#include <Poco/UTF8Encoding.h>

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

bool isUtf8(std::string_view text) noexcept {
    for (std::size_t at = 0; at < text.size();) {
        const auto* const bytes = reinterpret_cast<const unsigned char*>(text.data()) + at;
        const std::size_t length = *bytes < 0x80 ? 1 : *bytes < 0xE0 ? 2 : *bytes < 0xF0 ? 3 : 4;
        if (length > text.size() - at || !Poco::UTF8Encoding::isLegal(bytes, static_cast<int>(length)))
            return false;
        at += length;
    }
    return true;
}

}  // namespace mailgate::store::import
