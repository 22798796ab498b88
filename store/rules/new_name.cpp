// SPDX-License-Identifier: Apache-2.0
#include "store/rules/new_name.h"

#include "protocols/values/network_range.h"
#include "protocols/values/text.h"

#include <fmt/format.h>

namespace mailgate::store {

std::string nameMeant(std::string_view text) {
    constexpr std::string_view kOfNames = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    constexpr std::string_view kOfAddresses = "0123456789.";
    const bool may_be_name = text.find_first_not_of(kOfNames) == std::string_view::npos &&
                             text.find_first_not_of(kOfAddresses) != std::string_view::npos &&
                             text.find('.') != std::string_view::npos;
    return may_be_name ? fmt::format(" (for a name: host:{0}, or spf:{0} for its mail servers)", text) : "";
}

std::variant<std::string, NetworkError> parseNewRuleName(std::string_view text) {
    auto parsed = parseRuleName(text);
    const auto* name = std::get_if<std::string>(&parsed);
    if (name == nullptr) return parsed;
    // RFC 1123 section 2.1: no top-level domain is without a letter.
    if (name->find_first_of("abcdefghijklmnopqrstuvwxyz", name->find_last_of(".:") + 1) != std::string::npos)
        return parsed;
    const std::string range = rangeMeant(name->substr(name->find(':') + 1));
    return NetworkError{fmt::format("\"{}\" cannot be a name: its last part has no letter{}",
                                    printable(*name),
                                    range.empty() ? "" : fmt::format(" (did you mean {}?)", range))};
}

}  // namespace mailgate::store
