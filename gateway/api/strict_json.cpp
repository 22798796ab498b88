// SPDX-License-Identifier: Apache-2.0
#include "gateway/api/strict_json.h"

#include "gateway/log/escape.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <set>
#include <system_error>
#include <vector>

namespace mailgate::api {

namespace {

/// The text at `at`, which is behind its first quote; moves behind the last.
std::string_view stringAt(std::string_view json, std::size_t& at) {
    const std::size_t begin = at;
    while (at < json.size() && json[at] != '"')
        at += json[at] == '\\' ? 2 : 1;
    const std::size_t end = std::min(at, json.size());
    at = std::min(at + 1, json.size());
    return json.substr(begin, end - begin);
}

bool isBehindColon(std::string_view json, std::size_t at) noexcept {
    at = json.find_first_not_of(" \t\r\n", at);
    return at != std::string_view::npos && json[at] == ':';
}

bool isTooLarge(std::string_view number) noexcept {
    if (number.find_first_of(".eE") != std::string_view::npos) return false;
    std::int64_t value = 0;
    return std::from_chars(number.data(), number.data() + number.size(), value).ec ==
           std::errc::result_out_of_range;
}

}  // namespace

std::string ambiguityIn(std::string_view json) {
    std::vector<std::set<std::string_view>> names;  // of the objects around
    for (std::size_t at = 0; at < json.size();) {
        const char character = json[at];
        if (character == '"') {
            const std::string_view text = stringAt(json, ++at);
            if (names.empty() || !isBehindColon(json, at)) continue;
            if (text.find('\\') != std::string_view::npos)
                return fmt::format("the name {} is written with an escape", inQuotes(text));
            if (!names.back().insert(text).second)
                return fmt::format("the member {} comes more than once", inQuotes(text));
        } else if ((character >= '0' && character <= '9') || character == '-') {
            const std::size_t end = std::min(json.find_first_not_of("+-.0123456789eE", at), json.size());
            const std::string_view number = json.substr(at, end - at);
            if (isTooLarge(number)) return fmt::format("the number {} is too large", inQuotes(number));
            at = end;
        } else {
            if (character == '{') names.emplace_back();
            if (character == '}' && !names.empty()) names.pop_back();
            ++at;
        }
    }
    return "";
}

}  // namespace mailgate::api
