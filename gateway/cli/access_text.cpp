// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/access_text.h"

#include "gateway/log/escape.h"
#include "protocols/values/text.h"
#include "store/rules/import_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <variant>

namespace mailgate::cli {

namespace {

using store::AccessRule;
using store::RuleStore;
using store::Verdict;

std::string timeOrDash(const std::optional<UnixSeconds>& time, const Times& times) {
    return time ? times.text(*time * 1'000) : "-";
}

std::string jsonText(std::string_view text) {
    return fmt::format("\"{}\"", escaped(text));
}

std::string jsonTime(const std::optional<UnixSeconds>& time) {
    return time ? jsonText(formatUtc(*time)) : "null";
}

std::string jsonNumberOrNull(const std::optional<std::uint32_t>& number) {
    return number ? std::to_string(*number) : "null";
}

/// 0 is without limit, in the `unlimited` word.
std::string limit(std::uint32_t number, std::string_view unlimited = "any") {
    return number == 0 ? std::string(unlimited) : std::to_string(number);
}

/// "20 at once, 60/min"; a dash where the listener's limits hold.
std::string limitsCell(const store::ClientLimits& limits) {
    std::string cell;
    if (limits.sessions) cell = limit(*limits.sessions) + " at once";
    if (limits.per_minute) cell += (cell.empty() ? "" : ", ") + limit(*limits.per_minute) + "/min";
    return cell.empty() ? "-" : cell;
}

std::string jsonTextOrNull(std::string_view text) {
    return text.empty() ? "null" : jsonText(text);
}

template <typename Items, typename ToJson>
std::string jsonArray(const Items& items, const ToJson& to_json) {
    std::string out = "[";
    for (const auto& item : items)
        out += (out.size() == 1 ? "\n  " : ",\n  ") + to_json(item);
    return out + (items.empty() ? "]\n" : "\n]\n");
}

std::string textOf(const rules::WholeInternet& whole) {
    return fmt::format("{} of {}", whole.half ? "half" : "all", whole.v4 ? "IPv4" : "IPv6");
}

std::string textOf(const rules::OwnBalancers& balancers) {
    return fmt::format("the balancers {} of listener {}", balancers.network.toString(), balancers.listener);
}

std::string textOf(const rules::OwnServer& server) {
    return fmt::format("the server {} ({})", server.name, server.address);
}

std::string_view relationText(rules::NearMiss::Relation relation) {
    switch (relation) {
        case rules::NearMiss::Relation::Same:
            return "the same network";
        case rules::NearMiss::Relation::Around:
            return "a larger network";
        case rules::NearMiss::Relation::Contains:
            return "a smaller network";
    }
    return "";
}

std::string standingText(const rules::Overlap& overlap) {
    const std::string theirs = sentenceOf(overlap.other);
    switch (overlap.standing) {
        case rules::Standing::Wins:
            return fmt::format("overrides {}", theirs);
        case rules::Standing::WithoutEffect:
            return fmt::format("has no effect where {} applies", theirs);
        case rules::Standing::OverriddenInside:
            return fmt::format("is overridden inside {} by {}", overlap.other.network.toString(), theirs);
        case rules::Standing::MoreSpecific:
            return fmt::format("is more specific and overrides {}", theirs);
    }
    return "";
}

std::string scopeOf(const AccessRule& rule) {
    return rule.listener.empty() ? "all listeners" : "listener " + rule.listener;
}

}  // namespace

std::string sentenceOf(const AccessRule& rule) {
    std::string sentence = fmt::format("rule {}: {} {} on {}", rule.id, toString(rule.verdict),
                                       rule.network.toString(), scopeOf(rule));
    if (!rule.note.empty()) sentence += fmt::format(", \"{}\"", escaped(rule.note));
    if (rule.limits.sessions)
        sentence +=
            fmt::format(", {} concurrent sessions per client", limit(*rule.limits.sessions, "unlimited"));
    if (rule.limits.per_minute)
        sentence += fmt::format(", {} new sessions per minute per client",
                                limit(*rule.limits.per_minute, "unlimited"));
    if (rule.expires_at) sentence += fmt::format(", expires {}", formatUtc(*rule.expires_at));
    return sentence;
}

std::string sentenceOf(const rules::Hazardous& refused) {
    const bool allow = refused.rule.verdict == Verdict::Allow;
    std::string hazards;
    for (const rules::Hazard& hazard : refused.hazards)
        hazards +=
            (hazards.empty() ? "" : ", ") + std::visit([](const auto& kind) { return textOf(kind); }, hazard);
    return fmt::format("{} {} would {} {}: nothing was changed; use --force to do it anyway",
                       allow ? "allowing" : "denying", refused.rule.network.toString(),
                       allow ? "let in" : "shut out", hazards);
}

std::string sentenceOf(const rules::Overlap& overlap) {
    return fmt::format("rule {} {}", overlap.rule_id, standingText(overlap));
}

std::string sentenceOf(const rules::NearMiss& near) {
    return fmt::format("{}: {}", relationText(near.relation), sentenceOf(near.rule));
}

std::string rulesAsTable(std::span<const AccessRule> rules, const TableStyle& style, const Times& times) {
    Table table({{.name = "rule", .title = "RULE"},
                 {.name = "verdict", .title = "VERDICT"},
                 {.name = "network", .title = "NETWORK"},
                 {.name = "listener", .title = "LISTENER", .least = 8, .leaves = 5},
                 {.name = "limits", .title = "LIMITS", .least = 10, .leaves = 2},
                 {.name = "expires", .title = times.title("EXPIRES"), .leaves = 6},
                 {.name = "hits", .title = "HITS", .leaves = 3},
                 {.name = "last-hit", .title = times.title("LAST HIT"), .leaves = 1},
                 {.name = "by", .title = "BY", .least = 6, .leaves = 4},
                 {.name = "note", .title = "NOTE", .least = 10}},
                style);
    for (const AccessRule& rule : rules)
        table.add({std::to_string(rule.id),
                   {std::string(toString(rule.verdict)),
                    rule.verdict == Verdict::Allow ? Colour::Good : Colour::Bad},
                   rule.network.toString(),
                   rule.listener.empty() ? "all" : rule.listener,
                   limitsCell(rule.limits),
                   timeOrDash(rule.expires_at, times),
                   std::to_string(rule.hits),
                   timeOrDash(rule.last_hit_at, times),
                   rule.created_by,
                   rule.note});
    return table.text();
}

std::string ruleAsJson(const AccessRule& rule) {
    return fmt::format(
        R"({{"id":{},"network":{},"verdict":"{}","listener":{},"note":{},"created_at":{},"created_by":{},)"
        R"("expires_at":{},"client_sessions":{},"client_rate":{},"hits":{},"last_hit_at":{}}})",
        rule.id, jsonText(rule.network.toString()), toString(rule.verdict), jsonTextOrNull(rule.listener),
        jsonText(rule.note), jsonTime(rule.created_at), jsonText(rule.created_by), jsonTime(rule.expires_at),
        jsonNumberOrNull(rule.limits.sessions), jsonNumberOrNull(rule.limits.per_minute), rule.hits,
        jsonTime(rule.last_hit_at));
}

std::string rulesAsJson(std::span<const AccessRule> rules) {
    return jsonArray(rules, ruleAsJson);
}

std::string historyAsTable(std::span<const RuleStore::AuditEntry> entries, const TableStyle& style,
                           const Times& times) {
    Table table({{.name = "time", .title = times.title("TIME")},
                 {.name = "by", .title = "BY", .least = 6, .leaves = 1},
                 {.name = "action", .title = "ACTION"},
                 {.name = "rule", .title = "RULE"},
                 {.name = "what", .title = "WHAT", .least = 16}},
                style);
    for (const auto& entry : entries) {
        std::string what = entry.before.empty() ? entry.after : entry.before;
        if (entry.action == "change") what += "  ->  " + entry.after;
        table.add({times.text(entry.at * 1'000), entry.who, entry.action, std::to_string(entry.rule_id),
                   std::move(what)});
    }
    return table.text();
}

std::string historyAsJson(std::span<const RuleStore::AuditEntry> entries) {
    return jsonArray(entries, [](const RuleStore::AuditEntry& entry) {
        return fmt::format(R"({{"id":{},"time":{},"who":{},"action":{},"rule":{},"before":{},"after":{}}})",
                           entry.id, jsonTime(entry.at), jsonText(entry.who), jsonText(entry.action),
                           entry.rule_id, jsonTextOrNull(entry.before), jsonTextOrNull(entry.after));
    });
}

std::string exportLine(const AccessRule& rule) {
    std::string words = rule.note;
    std::erase_if(words, [](char character) { return character == '"' || character == '\\'; });
    const bool harmless = escaped(words) == words;
    return store::formatRule(rule, harmless ? store::NoteForm::Utf8 : store::NoteForm::Ascii);
}

}  // namespace mailgate::cli
