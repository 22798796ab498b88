// SPDX-License-Identifier: Apache-2.0
#include "store/rules/new_name.h"

#include "protocols/values/network_range.h"
#include "protocols/values/text.h"

#include <fmt/format.h>

namespace mailgate::store {

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
