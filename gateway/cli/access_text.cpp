// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/access_text.h"

#include "gateway/cli/screen_text.h"
#include "gateway/log/escape.h"
#include "protocols/values/text.h"
#include "store/rules/import_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
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

/// `"name":[...]`, an item a line.
template <typename Items, typename ToJson>
std::string jsonArray(std::string_view name, const Items& items, const ToJson& to_json) {
    std::string out;
    for (const auto& item : items)
        out += (out.empty() ? "\n  " : ",\n  ") + to_json(item);
    return fmt::format("\"{}\":[{}{}]", name, out, out.empty() ? "" : "\n");
}

std::string jsonObject(std::string_view inside) {
    return fmt::format("{{{}}}\n", inside);
}

/// Programs read it: always with the prefix length.
std::string jsonNetwork(const Network& network) {
    std::string text = network.toString();
    if (text.find('/') == std::string::npos) text += network.isV4() ? "/32" : "/128";
    return jsonText(text);
}

/// "180d", "90s"
std::string durationText(std::int64_t seconds) {
    for (const auto& [length, unit] : {std::pair(86'400, 'd'), std::pair(3'600, 'h'), std::pair(60, 'm')})
        if (seconds % length == 0) return fmt::format("{}{}", seconds / length, unit);
    return fmt::format("{}s", seconds);
}

bool isHarmless(std::string text) {
    std::erase_if(text, [](char character) { return character == '"' || character == '\\'; });
    return escaped(text) == text;
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

constexpr std::size_t kMaxNamed = 10;  ///< networks of a name in a sentence

/// "192.0.2.1, 192.0.2.2 and 3 more"
std::string networksText(const std::vector<Network>& networks, std::size_t most) {
    std::string text;
    for (std::size_t at = 0; at < std::min(networks.size(), most); ++at)
        text += (at == 0 ? "" : ", ") + networks[at].toString();
    return networks.size() > most ? text + fmt::format(" and {} more", networks.size() - most) : text;
}

/// A rule for a name that has a network is about to decide on an address of it.
std::string subjectText(const AccessRule& rule) {
    if (rule.name.empty() || rule.network == Network{}) return subjectOf(rule);
    return fmt::format("{} ({})", rule.name, rule.network.toString());
}

/// "host:home.example.org (203.0.113.9 and 1 more)"
std::string subjectCell(const AccessRule& rule, const rules::NameStates& names) {
    const auto state = rule.name.empty() ? names.end() : names.find(rule.id);
    if (state == names.end()) return subjectOf(rule);
    return fmt::format("{} ({})", rule.name,
                       state->second.networks.empty() ? "unknown" : networksText(state->second.networks, 1));
}

/// `"name":"host:home.example.org","stands_for":["203.0.113.9/32"],`; of a rule for a network null.
std::string jsonName(const AccessRule& rule, const rules::NameStates& names) {
    if (rule.name.empty()) return R"("name":null,"stands_for":null,)";
    std::string networks;
    if (const auto state = names.find(rule.id); state != names.end())
        for (const Network& network : state->second.networks)
            networks += (networks.empty() ? "" : ",") + jsonNetwork(network);
    return fmt::format(R"("name":{},"stands_for":[{}],)", jsonText(rule.name), networks);
}

std::string scopeOf(const AccessRule& rule) {
    return rule.listener.empty() ? "all listeners" : "listener " + rule.listener;
}

}  // namespace

std::string sentenceOf(const AccessRule& rule) {
    std::string sentence = fmt::format("rule {}: {} {} on {}", rule.id, toString(rule.verdict),
                                       subjectText(rule), scopeOf(rule));
    if (rule.set != store::kManualSet) sentence += fmt::format(", set {}", escaped(rule.set));
    if (!rule.note.empty()) sentence += fmt::format(", \"{}\"", escaped(rule.note));
    if (!rule.owner.empty()) sentence += fmt::format(", owner {}", escaped(rule.owner));
    if (!rule.ticket.empty()) sentence += fmt::format(", ticket {}", escaped(rule.ticket));
    if (rule.limits.sessions)
        sentence +=
            fmt::format(", {} concurrent sessions per client", limit(*rule.limits.sessions, "unlimited"));
    if (rule.limits.per_minute)
        sentence += fmt::format(", {} new sessions per minute per client",
                                limit(*rule.limits.per_minute, "unlimited"));
    if (rule.reply.temporary) sentence += ", reply temporary";
    if (rule.reply.shows_note) sentence += ", reply with note";
    if (rule.expires_at) sentence += fmt::format(", expires {}", formatUtc(*rule.expires_at));
    return sentence;
}

std::string dangerOf(const rules::TooMuchTogether& refused) {
    constexpr double kPercent = 100;
    const bool allow = refused.verdict == Verdict::Allow;
    return fmt::format(
        "{} these networks would{} {} {:.0f}% of {} on listener {}", allow ? "allowing" : "denying",
        refused.with_others ? ", together with the rules that are there," : "", allow ? "let in" : "shut out",
        std::floor(refused.share * kPercent), refused.v4 ? "IPv4" : "IPv6", refused.listener);
}

std::string dangerOf(const rules::Hazardous& refused) {
    const bool allow = refused.rule.verdict == Verdict::Allow;
    std::string hazards;
    for (const rules::Hazard& hazard : refused.hazards)
        hazards +=
            (hazards.empty() ? "" : ", ") + std::visit([](const auto& kind) { return textOf(kind); }, hazard);
    return fmt::format("{} {} would {} {}", allow ? "allowing" : "denying", refused.rule.network.toString(),
                       allow ? "let in" : "shut out", hazards);
}

std::string sentenceOf(const rules::Overlap& overlap) {
    return fmt::format("rule {} {}", overlap.rule_id, standingText(overlap));
}

std::string sentenceOf(const rules::NearMiss& near) {
    return fmt::format("{}: {}", relationText(near.relation), sentenceOf(near.rule));
}

std::string takeOverNote(const RuleStore::EditResult& result) {
    const AccessRule& former = *result.taken_over;
    std::string note = fmt::format("rule {} was rule {} of {}, which leaves it alone from now on",
                                   result.rule.id, former.id, escaped(former.created_by));
    if (former.expires_at && !result.rule.expires_at)
        note += fmt::format("; it no longer expires at {}", formatUtc(*former.expires_at));
    return note;
}

std::string sentenceOf(const AccessRule& rule, const store::NameState& state, UnixSeconds now) {
    if (state.networks.empty())
        return fmt::format("{} stands for nothing yet, so the rule matches nobody: {}", rule.name,
                           escaped(state.error));
    std::string sentence = fmt::format("{} is {}", rule.name, networksText(state.networks, kMaxNamed));
    if (!state.error.empty()) return sentence + fmt::format(", as before: {}", escaped(state.error));
    return sentence +
           fmt::format("; asked again in {}", durationText(std::max<UnixSeconds>(state.due - now, 0)));
}

std::string rulesAsTable(std::span<const AccessRule> rules, const TableStyle& style, const Times& times,
                         const rules::NameStates& names) {
    // Few have any.
    const auto none = [&](std::string AccessRule::*text) {
        return std::all_of(rules.begin(), rules.end(),
                           [&](const AccessRule& rule) { return (rule.*text).empty(); });
    };
    Table table(
        {{.name = "rule", .title = "RULE"},
         {.name = "set", .title = "SET", .least = 8, .leaves = 7},
         {.name = "verdict", .title = "VERDICT"},
         {.name = "network", .title = "NETWORK"},
         {.name = "listener", .title = "LISTENER", .least = 8, .leaves = 8},
         {.name = "limits", .title = "LIMITS", .least = 10, .leaves = 2},
         {.name = "reply",
          .title = "REPLY",
          .leaves = 3,
          .on_request = std::none_of(rules.begin(), rules.end(),
                                     [](const AccessRule& rule) { return rule.reply.any(); })},
         {.name = "expires", .title = times.title("EXPIRES"), .leaves = 9},
         {.name = "hits", .title = "HITS", .leaves = 3},
         {.name = "last-hit", .title = times.title("LAST HIT"), .leaves = 1},
         {.name = "by", .title = "BY", .least = 6, .leaves = 5},
         {.name = "owner", .title = "OWNER", .least = 6, .leaves = 6, .on_request = none(&AccessRule::owner)},
         {.name = "ticket",
          .title = "TICKET",
          .least = 8,
          .leaves = 4,
          .on_request = none(&AccessRule::ticket)},
         {.name = "note", .title = "NOTE", .least = 10}},
        style);
    for (const AccessRule& rule : rules)
        table.add({std::to_string(rule.id),
                   rule.set,
                   {std::string(toString(rule.verdict)),
                    rule.verdict == Verdict::Allow ? Colour::Good : Colour::Bad},
                   subjectCell(rule, names),
                   rule.listener.empty() ? "all" : rule.listener,
                   limitsCell(rule.limits),
                   orDash(toString(rule.reply)),
                   timeOrDash(rule.expires_at, times),
                   std::to_string(rule.hits),
                   timeOrDash(rule.last_hit_at, times),
                   rule.created_by,
                   orDash(rule.owner),
                   orDash(rule.ticket),
                   rule.note});
    return table.text();
}

std::string ruleAsJson(const AccessRule& rule, const rules::NameStates& names) {
    return fmt::format(
        R"({{"id":{},"set":{},"network":{},{}"verdict":"{}","listener":{},"note":{},"owner":{},"ticket":{},)"
        R"("created_at":{},"created_by":{},"expires_at":{},"client_sessions":{},"client_rate":{},"reply":{},)"
        R"("hits":{},"last_hit_at":{}}})",
        rule.id, jsonText(rule.set), rule.name.empty() ? jsonNetwork(rule.network) : "null",
        jsonName(rule, names), toString(rule.verdict), jsonTextOrNull(rule.listener), jsonText(rule.note),
        jsonTextOrNull(rule.owner), jsonTextOrNull(rule.ticket), jsonTime(rule.created_at),
        jsonText(rule.created_by), jsonTime(rule.expires_at), jsonNumberOrNull(rule.limits.sessions),
        jsonNumberOrNull(rule.limits.per_minute), jsonTextOrNull(toString(rule.reply)), rule.hits,
        jsonTime(rule.last_hit_at));
}

namespace {

std::string ruleArray(std::span<const AccessRule> rules, const rules::NameStates& names) {
    return jsonArray("rules", rules, [&](const AccessRule& rule) { return ruleAsJson(rule, names); });
}

}  // namespace

std::string rulesAsJson(std::span<const AccessRule> rules, const rules::NameStates& names) {
    return jsonObject(ruleArray(rules, names));
}

namespace {

std::string csvCell(std::string_view text) {
    std::string cell = plainLine(text);
    if (!cell.empty() && std::string_view("=+-@").find(cell.front()) != std::string_view::npos)
        cell.insert(0, 1, '\'');
    if (cell.find_first_of(",\"'") == std::string::npos) return cell;
    for (std::size_t at = 0; (at = cell.find('"', at)) != std::string::npos; at += 2)
        cell.insert(at, 1, '"');
    return '"' + cell + '"';
}

std::string csvRow(std::span<const std::string> cells) {
    std::string row;
    for (const std::string& cell : cells)
        row += (row.empty() ? "" : ",") + csvCell(cell);
    return row + "\r\n";
}

std::string timeOrNothing(const std::optional<UnixSeconds>& time) {
    return time ? formatUtc(*time) : "";
}

/// What the name of a rule stands for, with a blank between.
std::string standsFor(const AccessRule& rule, const rules::NameStates& names) {
    std::string networks;
    if (const auto state = rule.name.empty() ? names.end() : names.find(rule.id); state != names.end())
        for (const Network& network : state->second.networks)
            networks += (networks.empty() ? "" : " ") + network.toString();
    return networks;
}

}  // namespace

std::string rulesAsCsv(std::span<const AccessRule> rules, const rules::Site& site,
                       const rules::NameStates& names) {
    std::string csv =
        "network,verdict,listener,set,note,owner,ticket,created_at,created_by,expires_at,hits,last_hit_at,"
        "id,stands_for\r\n";
    for (const rules::Site::Listener& listener : site.listeners)
        csv += csvRow(std::vector<std::string>{
            "others", listener.allowlist ? "deny" : "allow", listener.name, "",
            listener.allowlist ? "access = allowlist" : "access = open", "", "", "", "", "", "", "", "", ""});
    for (const AccessRule& rule : rules)
        csv += csvRow(std::vector<std::string>{subjectOf(rule), std::string(toString(rule.verdict)),
                                               rule.listener.empty() ? "all" : rule.listener, rule.set,
                                               rule.note, rule.owner, rule.ticket, formatUtc(rule.created_at),
                                               rule.created_by, timeOrNothing(rule.expires_at),
                                               std::to_string(rule.hits), timeOrNothing(rule.last_hit_at),
                                               std::to_string(rule.id), standsFor(rule, names)});
    return csv;
}

std::string setsAsTable(std::span<const rules::SetSummary> sets, const TableStyle& style,
                        const Times& times) {
    Table table({{.name = "set", .title = "SET", .least = 16},
                 {.name = "rules", .title = "RULES"},
                 {.name = "allow", .title = "ALLOW", .leaves = 3},
                 {.name = "deny", .title = "DENY", .leaves = 4},
                 {.name = "expired", .title = "EXPIRED", .leaves = 2},
                 {.name = "hits", .title = "HITS", .leaves = 5},
                 {.name = "last-hit", .title = times.title("LAST HIT"), .leaves = 1},
                 {.name = "expires-after", .title = "EXPIRES AFTER", .leaves = 6},
                 {.name = "note", .title = "NOTE", .least = 10}},
                style);
    for (const rules::SetSummary& set : sets)
        table.add({set.name, std::to_string(set.allowing + set.denying), std::to_string(set.allowing),
                   std::to_string(set.denying), std::to_string(set.expired), std::to_string(set.hits),
                   timeOrDash(set.last_hit_at, times),
                   set.defaults.expires_after ? durationText(*set.defaults.expires_after) : "-",
                   set.defaults.note});
    return table.text();
}

namespace {

std::string summaryAsJson(const rules::SetSummary& set) {
    return fmt::format(
        R"({{"name":{},"rules":{},"allow":{},"deny":{},"expired":{},"hits":{},"last_hit_at":{},)"
        R"("default_note":{},"default_expires_after":{}}})",
        jsonText(set.name), set.allowing + set.denying, set.allowing, set.denying, set.expired, set.hits,
        jsonTime(set.last_hit_at), jsonTextOrNull(set.defaults.note),
        set.defaults.expires_after ? jsonText(durationText(*set.defaults.expires_after)) : "null");
}

}  // namespace

std::string setsAsJson(std::span<const rules::SetSummary> sets) {
    return jsonObject(jsonArray("sets", sets, summaryAsJson));
}

std::string setAsJson(const rules::SetSummary& set, std::span<const AccessRule> rules,
                      const rules::NameStates& names) {
    return jsonObject(jsonArray("sets", std::span(&set, 1), summaryAsJson) + ",\n" + ruleArray(rules, names));
}

std::string sentenceOf(const std::string& set, std::size_t rules, const store::SetDefaults& defaults) {
    std::string gets;
    if (!defaults.note.empty()) gets = fmt::format(" get the note \"{}\"", escaped(defaults.note));
    if (defaults.expires_after)
        gets += fmt::format("{} expire after {}", gets.empty() ? "" : " and",
                            durationText(*defaults.expires_after));
    return fmt::format("set {}: {}{}", escaped(set), counted(rules, "rule"),
                       gets.empty() ? ", no defaults" : ", new rules" + gets);
}

std::string historyAsTable(std::span<const RuleStore::AuditEntry> entries, const TableStyle& style,
                           const Times& times) {
    Table table({{.name = "time", .title = times.title("TIME")},
                 {.name = "by", .title = "BY", .least = 6, .leaves = 1},
                 {.name = "change", .title = "CHANGE"},
                 {.name = "action", .title = "ACTION"},
                 {.name = "rule", .title = "RULE"},
                 {.name = "what", .title = "WHAT", .least = 16}},
                style);
    for (const auto& entry : entries) {
        std::string what = entry.before.empty() ? entry.after : entry.before;
        if (!entry.before.empty() && !entry.after.empty()) what += "  ->  " + entry.after;
        table.add({times.text(entry.at * 1'000), entry.who, std::to_string(entry.change), entry.action,
                   entry.rule_id == 0 ? "-" : std::to_string(entry.rule_id), std::move(what)});
    }
    return table.text();
}

std::string historyAsJson(std::span<const RuleStore::AuditEntry> entries) {
    return jsonObject(jsonArray("changes", entries, [](const RuleStore::AuditEntry& entry) {
        return fmt::format(
            R"({{"id":{},"change":{},"time":{},"who":{},"action":{},"rule":{},"before":{},"after":{}}})",
            entry.id, entry.change, jsonTime(entry.at), jsonText(entry.who), jsonText(entry.action),
            entry.rule_id == 0 ? "null" : std::to_string(entry.rule_id), jsonTextOrNull(entry.before),
            jsonTextOrNull(entry.after));
    }));
}

std::string changesAsJson(const ChangeReport& report) {
    const auto number = [&](std::int64_t value) {
        return report.dry_run ? std::string("null") : std::to_string(value);
    };
    std::string head = fmt::format(R"("dry_run":{},"added":{},"changed":{},"removed":{},)", report.dry_run,
                                   report.added, report.changed, report.removed);
    if (!report.sessions.empty()) head += fmt::format("\"sessions\":{},", report.sessions);
    if (report.ended) head += fmt::format("\"sessions_ended\":{},", *report.ended);
    return jsonObject(head + jsonArray("changes", report.entries, [&](const RuleStore::AuditEntry& entry) {
                          const bool is_new = entry.before.empty();
                          return fmt::format(
                              R"({{"change":{},"action":{},"rule":{},"before":{},"after":{}}})",
                              number(entry.change), jsonText(entry.action),
                              entry.rule_id == 0 ? "null"
                              : is_new           ? number(entry.rule_id)
                                                 : std::to_string(entry.rule_id),
                              jsonTextOrNull(entry.before), jsonTextOrNull(entry.after));
                      }));
}

std::string decisionsAsJson(std::span<const rules::Decision> decisions, UnixSeconds now,
                            const rules::NameStates& names) {
    return jsonObject(jsonArray("decisions", decisions, [&](const rules::Decision& decision) {
        std::string others;
        for (const AccessRule& rule : decision.others)
            others += fmt::format(R"({}{{"expired":{},"rule":{}}})", others.empty() ? "" : ",",
                                  !store::isLive(rule, now), ruleAsJson(rule, names));
        return fmt::format(R"({{"address":{},"listener":{},"allowed":{},"rule":{},"others":[{}]}})",
                           jsonText(Network{decision.client, 128}.toString()), jsonText(decision.listener),
                           decision.allowed, decision.by ? ruleAsJson(*decision.by, names) : "null", others);
    }));
}

std::string reportAsJson(std::span<const AccessRule> rules, const rules::Site& site,
                         const rules::NameStates& names) {
    const auto listener = [](const rules::Site::Listener& one) {
        return fmt::format(R"({{"name":{},"access":"{}"}})", jsonText(one.name),
                           one.allowlist ? "allowlist" : "open");
    };
    return jsonObject(jsonArray("listeners", site.listeners, listener) + ",\n" + ruleArray(rules, names));
}

std::string changeLine(const RuleStore::AuditEntry& entry) {
    if (entry.before.empty()) return "+ " + plainLine(entry.after);
    if (entry.after.empty()) return "- " + plainLine(entry.before);
    return fmt::format("~ {}  ->  {}", plainLine(entry.before), plainLine(entry.after));
}

std::string exportLine(const AccessRule& rule, const store::SetDefaults& defaults) {
    const bool harmless = isHarmless(rule.note) && isHarmless(rule.owner) && isHarmless(rule.ticket);
    return store::formatRule(rule, harmless ? store::NoteForm::Utf8 : store::NoteForm::Ascii, defaults);
}

}  // namespace mailgate::cli
