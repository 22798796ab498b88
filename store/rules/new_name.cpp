// SPDX-License-Identifier: Apache-2.0
#include "store/rules/new_name.h"

#include "protocols/values/network_range.h"
#include "protocols/values/text.h"

#include <fmt/format.h>

namespace mailgate::store {

std::string nameMeant(std::string_view text) {
    constexpr std::string_view kOfNames = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    constexpr std::string_view kDigits = "0123456789";
    // The last label of a name begins with a letter, and 192.0.2.1O is an address with a slip.
    const std::string_view whole = text.substr(0, text.size() - (text.ends_with('.') ? 1 : 0));
    const std::size_t last = whole.rfind('.') + 1;
    const bool may_be_name = text.find_first_not_of(kOfNames) == std::string_view::npos && last > 0 &&
                             last < whole.size() && kDigits.find(whole[last]) == std::string_view::npos;
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
