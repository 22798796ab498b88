// SPDX-License-Identifier: Apache-2.0
#include "gateway/answers/rules_text.h"

#include "gateway/answers/numbers.h"
#include "gateway/log/escape.h"
#include "protocols/values/text.h"
#include "store/rules/import_export.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <variant>

namespace mailgate::answers {

using store::AccessRule;
using store::RuleStore;
using store::Verdict;

std::string durationText(std::int64_t seconds) {
    for (const auto& [length, unit] : {std::pair(86'400, 'd'), std::pair(3'600, 'h'), std::pair(60, 'm')})
        if (seconds % length == 0) return fmt::format("{}{}", seconds / length, unit);
    return fmt::format("{}s", seconds);
}

std::string networksText(const std::vector<Network>& networks, std::size_t most) {
    std::string text;
    for (std::size_t at = 0; at < std::min(networks.size(), most); ++at)
        text += (at == 0 ? "" : ", ") + networks[at].toString();
    return networks.size() > most ? text + fmt::format(" and {} more", grouped(networks.size() - most))
                                  : text;
}

std::string jsonText(std::string_view text) {
    return fmt::format("\"{}\"", escaped(text));
}

namespace {

std::string jsonTime(const std::optional<UnixSeconds>& time) {
    return time ? jsonText(formatUtc(*time)) : "null";
}

std::string jsonNumberOrNull(const std::optional<std::uint32_t>& number) {
    return number ? std::to_string(*number) : "null";
}

/// 0 is without limit.
std::string limitText(std::uint32_t number) {
    return number == 0 ? "unlimited" : std::to_string(number);
}

std::string jsonTextOrNull(std::string_view text) {
    return text.empty() ? "null" : jsonText(text);
}

/// Of a set's defaults in the trail with "7d" for "604800s".
std::string withSpanInWords(std::string_view line) {
    const auto set = store::parseTrailSet(line);
    if (!set || !set->second.expires_after) return std::string(line);
    const std::string begin = fmt::format("set {} expires=", set->first);
    const std::size_t end = std::min(line.find(' ', begin.size()), line.size());
    return begin + durationText(*set->second.expires_after) + std::string(line.substr(end));
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

std::string textOf(const rules::WholeInternet& whole) {
    return fmt::format("{} of {}", whole.half ? "half" : "all", whole.v4 ? "IPv4" : "IPv6");
}

/// The first three.
std::string fewOf(std::span<const std::string> texts) {
    constexpr std::size_t kMost = 3;
    const std::string first = fmt::format("{}", fmt::join(texts.first(std::min(texts.size(), kMost)), ", "));
    return texts.size() > kMost ? fmt::format("{} +{} more", first, grouped(texts.size() - kMost)) : first;
}

/// Each network of balancers once, with those that believe it: all listeners may.
std::string hazardsText(const std::vector<rules::Hazard>& hazards) {
    std::vector<std::string> texts, servers;
    std::vector<std::pair<Network, std::vector<std::string>>> balancers;
    for (const rules::Hazard& hazard : hazards) {
        if (const auto* whole = std::get_if<rules::WholeInternet>(&hazard)) texts.push_back(textOf(*whole));
        if (const auto* own = std::get_if<rules::OwnServer>(&hazard))
            servers.push_back(fmt::format("{} ({})", own->name, own->address));
        const auto* believed = std::get_if<rules::OwnBalancers>(&hazard);
        if (believed == nullptr) continue;
        auto found = std::find_if(balancers.begin(), balancers.end(),
                                  [&](const auto& one) { return one.first == believed->network; });
        if (found == balancers.end()) found = balancers.insert(found, {believed->network, {}});
        found->second.push_back(believed->listener);
    }
    std::vector<std::string> networks;
    networks.reserve(balancers.size());
    for (const auto& [network, listeners] : balancers)
        networks.push_back(fmt::format("the balancers {} of listener{} {}", network.toString(),
                                       listeners.size() == 1 ? "" : "s", fewOf(listeners)));
    if (!networks.empty()) texts.push_back(fewOf(networks));
    if (!servers.empty())
        texts.push_back(fmt::format("the server{} {}", servers.size() == 1 ? "" : "s", fewOf(servers)));
    return fmt::format("{}", fmt::join(texts, ", "));
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
    const std::string_view after = overlap.outlives ? "; it stays in force when that has expired" : "";
    switch (overlap.standing) {
        case rules::Standing::Wins:
            return fmt::format("overrides {}", theirs);
        case rules::Standing::WithoutEffect:
            return fmt::format("has no effect where {} applies", theirs);
        case rules::Standing::OverriddenInside:
            return fmt::format("is overridden inside {} by {}", overlap.other.network.toString(), theirs);
        case rules::Standing::MoreSpecific:
            return fmt::format("is more specific and overrides {}", theirs);
        case rules::Standing::ComesFirst:
            return fmt::format("comes before {}{}", theirs, after);
        case rules::Standing::ComesAfter:
            return fmt::format("comes after {}{}", theirs, after);
    }
    return "";
}

constexpr std::size_t kMaxNamed = 10;  ///< networks of a name in a sentence

/// A rule for a name that has a network is about to decide on an address of it.
std::string subjectText(const AccessRule& rule) {
    if (rule.name.empty() || rule.network == Network{}) return subjectOf(rule);
    return fmt::format("{} ({})", rule.name, rule.network.toString());
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

std::string sentenceOf(const AccessRule& rule, Zone zone) {
    std::string sentence = fmt::format("rule {}: {} {} on {}", rule.id, toString(rule.verdict),
                                       subjectText(rule), scopeOf(rule));
    if (rule.set != store::kManualSet) sentence += fmt::format(", set {}", escaped(rule.set));
    if (!rule.note.empty()) sentence += fmt::format(", \"{}\"", escaped(rule.note));
    if (!rule.owner.empty()) sentence += fmt::format(", owner {}", escaped(rule.owner));
    if (!rule.ticket.empty()) sentence += fmt::format(", ticket {}", escaped(rule.ticket));
    if (rule.limits.sessions)
        sentence += fmt::format(", {} concurrent session{} per client", limitText(*rule.limits.sessions),
                                *rule.limits.sessions == 1 ? "" : "s");
    if (rule.limits.per_minute)
        sentence += fmt::format(", {} new session{} per minute per client",
                                limitText(*rule.limits.per_minute), *rule.limits.per_minute == 1 ? "" : "s");
    if (rule.reply.temporary) sentence += ", reply temporary";
    if (rule.reply.shows_note) sentence += ", reply with note";
    if (rule.expires_at) sentence += fmt::format(", expires {}", timeText(*rule.expires_at * 1'000, zone));
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

std::string dangerOf(const rules::MostRemoved& refused) {
    return fmt::format("{} of {} rule{} would be removed{}: the list may be incomplete",
                       grouped(refused.removed), grouped(refused.present), refused.present == 1 ? "" : "s",
                       refused.without_end_mark
                           ? ", and the list has no end mark (\"# end, N rules\", as the export writes it)"
                           : "");
}

std::string dangerOf(const rules::Hazardous& refused) {
    const bool allow = refused.rule.verdict == Verdict::Allow;
    return fmt::format("{} {} would {} {}", allow ? "allowing" : "denying", refused.rule.network.toString(),
                       allow ? "let in" : "shut out", hazardsText(refused.hazards));
}

std::string sentenceOf(const rules::Overlap& overlap, const AccessRule* planned) {
    const std::string subject = planned == nullptr ? fmt::format("rule {}", overlap.rule_id)
                                                   : "the new rule for " + subjectOf(*planned);
    return fmt::format("{} {}", subject, standingText(overlap));
}

std::string sentenceOf(const rules::NearMiss& near) {
    return fmt::format("{}: {}", relationText(near.relation), sentenceOf(near.rule));
}

std::string sentenceOf(const AccessRule& rule, const store::NameState& state, UnixSeconds now) {
    if (state.networks.empty())
        return fmt::format("{} stands for nothing yet, so the rule matches nobody: {}", rule.name,
                           printable(state.error, std::string::npos));
    std::string sentence = fmt::format("{} is {}", rule.name, networksText(state.networks, kMaxNamed));
    if (!state.error.empty())
        return sentence + fmt::format(", as before: {}", printable(state.error, std::string::npos));
    return sentence +
           fmt::format("; asked again in {}", durationText(std::max<UnixSeconds>(state.due - now, 0)));
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

std::string historyAsJson(std::span<const RuleStore::AuditEntry> entries, std::optional<std::size_t> found) {
    const std::string cut =
        found ? fmt::format(R"("cut":{{"printed":{},"found":{}}},)", entries.size(), *found) : "";
    return jsonObject(
        cut + jsonArray("changes", entries, [](const RuleStore::AuditEntry& entry) {
            return fmt::format(
                R"({{"id":{},"change":{},"time":{},"who":{},"action":{},"rule":{},"before":{},)"
                R"("after":{}}})",
                entry.id, entry.change, jsonTime(entry.at), jsonText(entry.who), jsonText(entry.action),
                entry.rule_id == 0 ? "null" : std::to_string(entry.rule_id),
                jsonTextOrNull(withSpanInWords(entry.before)), jsonTextOrNull(withSpanInWords(entry.after)));
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
                              jsonTextOrNull(withSpanInWords(entry.before)),
                              jsonTextOrNull(withSpanInWords(entry.after)));
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
        return fmt::format(R"({{"name":{},"access":"{}","monitors":{}}})", jsonText(one.name),
                           one.allowlist ? "allowlist" : "open", one.monitors);
    };
    return jsonObject(jsonArray("listeners", site.listeners, listener) + ",\n" + ruleArray(rules, names));
}

std::string plainLine(std::string_view line) {
    std::string plain;
    while (!line.empty()) {
        const std::size_t end = std::min(line.find_first_of("\"\\"), line.size());
        plain += escaped(line.substr(0, end));
        if (end < line.size()) plain += line[end];
        line.remove_prefix(std::min(end + 1, line.size()));
    }
    return plain;
}

std::string trailLine(std::string_view line) {
    return plainLine(withSpanInWords(line));
}

std::string changeLine(const RuleStore::AuditEntry& entry) {
    if (entry.before.empty()) return "+ " + trailLine(entry.after);
    if (entry.after.empty()) return "- " + trailLine(entry.before);
    return fmt::format("~ {}  ->  {}", trailLine(entry.before), trailLine(entry.after));
}

}  // namespace mailgate::answers
