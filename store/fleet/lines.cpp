// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/lines.h"

#include "protocols/values/text.h"
#include "store/rules/import_export.h"

#include <fmt/format.h>

#include <utility>
#include <variant>

namespace mailgate::store {

std::optional<AccessRule> readableRule(const SharedRule& row) {
    AccessRule rule;
    if (isRuleName(row.network)) {
        auto name = parseRuleName(row.network);
        // Nor would the files that get it read another spelling.
        if (std::holds_alternative<NetworkError>(name) ||
            lowerCase(row.network) != std::get<std::string>(name))
            return std::nullopt;
        rule.name = std::move(std::get<std::string>(name));
    } else {
        const auto network = parseNetwork(row.network);
        if (std::holds_alternative<NetworkError>(network)) return std::nullopt;
        rule.network = std::get<Network>(network);
    }
    const auto limit = [](const std::optional<std::int64_t>& number) {
        return number ? std::optional(static_cast<std::uint32_t>(*number)) : std::nullopt;
    };
    rule.verdict = row.verdict == "allow" ? Verdict::Allow : Verdict::Deny;
    rule.listener = row.listener;
    rule.set = row.set;
    rule.note = row.note;
    rule.owner = row.owner;
    rule.ticket = row.ticket;
    rule.expires_at = row.expires_at;
    rule.limits = {limit(row.client_sessions), limit(row.client_rate)};
    rule.reply = ruleReplyOf(row.reply).value_or(RuleReply{});
    return rule;
}

std::string lineOf(const SharedRule& rule) {
    const auto readable = readableRule(rule);
    if (!readable) return fmt::format("{} {}", rule.verdict, rule.network);
    std::string line = formatRule(*readable);
    // The network as the row has it, which is what taking the change back writes.
    const std::size_t begin = line.find(' ') + 1;
    line.replace(begin, line.find(' ', begin) - begin, rule.network);
    return line;
}

std::string lineOf(const SharedSet& set) {
    std::string note;
    for (const char character : set.note)
        note += character == '"' || character == '\\' ? fmt::format("\\{}", character)
                                                      : std::string(1, character);
    return fmt::format("set {}{}{}", set.name,
                       set.expires_after ? fmt::format(" expires={}s", *set.expires_after) : "",
                       note.empty() ? "" : fmt::format(" \"{}\"", note));
}

}  // namespace mailgate::store
