// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/access_text.h"

#include "gateway/cli/table.h"
#include "gateway/config/values.h"
#include "gateway/log/escape.h"
#include "protocols/values/text.h"
#include "store/rules/import_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace mailgate::cli {

namespace {

using store::AccessRule;
using store::RuleStore;
using store::Verdict;

std::string timeOrDash(const std::optional<UnixSeconds>& time) {
    return time ? formatUtc(*time) : "-";
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

/// At one network: a rule that names the listener beats one for all, then deny beats allow.
bool beatsAtSameNetwork(const AccessRule& rule, const AccessRule& other) noexcept {
    if (rule.listener.empty() != other.listener.empty()) return other.listener.empty();
    return rule.verdict == Verdict::Deny;
}

bool sharesListener(const AccessRule& a, const AccessRule& b) noexcept {
    return a.listener.empty() || b.listener.empty() || a.listener == b.listener;
}

bool overlap(const Network& a, const Network& b) noexcept {
    return a.contains(b) || b.contains(a);
}

}  // namespace

std::optional<UnixSeconds> parseExpiry(std::string_view text, UnixSeconds now) {
    if (const auto duration = parseDuration(text))
        return now + std::chrono::ceil<std::chrono::seconds>(*duration).count();
    return parseUtc(text);
}

bool isLive(const AccessRule& rule, UnixSeconds now) noexcept {
    return !rule.expires_at || *rule.expires_at > now;
}

bool covers(const AccessRule& rule, std::string_view listener) noexcept {
    return rule.listener.empty() || rule.listener == listener;
}

std::string scopeOf(const AccessRule& rule) {
    return rule.listener.empty() ? "all listeners" : "listener " + rule.listener;
}

std::string sentenceOf(const AccessRule& rule) {
    std::string sentence = fmt::format("rule {}: {} {} on {}", rule.id, toString(rule.verdict),
                                       rule.network.toString(), scopeOf(rule));
    if (!rule.note.empty()) sentence += fmt::format(", \"{}\"", escaped(rule.note));
    if (rule.limits.sessions)
        sentence +=
            fmt::format(", {} sessions at once for a client", limit(*rule.limits.sessions, "any number of"));
    if (rule.limits.per_minute)
        sentence += fmt::format(", {} new sessions a minute for a client",
                                limit(*rule.limits.per_minute, "any number of"));
    if (rule.expires_at) sentence += fmt::format(", expires {}", formatUtc(*rule.expires_at));
    return sentence;
}

std::string rulesAsTable(std::span<const AccessRule> rules) {
    Table table(
        {"RULE", "VERDICT", "NETWORK", "LISTENER", "LIMITS", "EXPIRES", "HITS", "LAST HIT", "BY", "NOTE"});
    for (const AccessRule& rule : rules)
        table.add({std::to_string(rule.id), std::string(toString(rule.verdict)), rule.network.toString(),
                   rule.listener.empty() ? "all" : rule.listener, limitsCell(rule.limits),
                   timeOrDash(rule.expires_at), std::to_string(rule.hits), timeOrDash(rule.last_hit_at),
                   rule.created_by, rule.note});
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

std::string historyAsTable(std::span<const RuleStore::AuditEntry> entries) {
    Table table({"TIME", "BY", "ACTION", "RULE", "WHAT"});
    for (const auto& entry : entries) {
        std::string what = entry.before.empty() ? entry.after : entry.before;
        if (entry.action == "change") what += "  ->  " + entry.after;
        table.add(
            {formatUtc(entry.at), entry.who, entry.action, std::to_string(entry.rule_id), std::move(what)});
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

std::string overlapNote(const AccessRule& rule, const AccessRule& other) {
    if (rule.verdict == other.verdict || !sharesListener(rule, other) ||
        !overlap(rule.network, other.network))
        return {};
    const std::string theirs = sentenceOf(other);
    if (rule.network == other.network)
        return beatsAtSameNetwork(rule, other) ? fmt::format("wins over {}", theirs)
                                               : fmt::format("is without effect where {} covers it", theirs);
    if (rule.network.contains(other.network))
        return fmt::format("is overridden inside {} by {}", other.network.toString(), theirs);
    return fmt::format("wins, being more specific, over {}", theirs);
}

std::string_view wholeInternet(const Network& network) noexcept {
    // All global IPv6 addresses are in 2000::/3, and nearly all that anybody has in its lower half.
    constexpr std::uint8_t kGlobal = 0x20;
    if (!network.isV4() && network.prefix_length == 4)
        return network.address[0] >> 5 == kGlobal >> 5 ? "half of IPv6" : "";
    if (!network.isV4()) return network.prefix_length <= 3 ? "all of IPv6" : "";
    if (network.prefix_length == 96) return "all of IPv4";
    return network.prefix_length == 97 ? "half of IPv4" : "";
}

std::string exportLine(const AccessRule& rule) {
    std::string words = rule.note;
    std::erase_if(words, [](char character) { return character == '"' || character == '\\'; });
    const bool harmless = escaped(words) == words;
    return store::formatRule(rule, harmless ? store::NoteForm::Utf8 : store::NoteForm::Ascii);
}

std::vector<std::string> ownAddressesDenied(const Config& config, const AccessRule& denial) {
    std::vector<std::string> found;
    if (const std::string_view whole = wholeInternet(denial.network); !whole.empty())
        found.emplace_back(whole);
    for (const ListenerConfig& listener : config.listeners) {
        if (!covers(denial, listener.name)) continue;
        for (const Network& trusted : listener.trusted)
            if (overlap(denial.network, trusted))
                found.push_back(
                    fmt::format("the balancers {} of listener {}", trusted.toString(), listener.name));
    }
    for (const UpstreamConfig& upstream : config.upstreams)
        for (const ServerConfig& server : upstream.servers)
            if (std::any_of(server.endpoints.begin(), server.endpoints.end(), [&](const Endpoint& endpoint) {
                    return denial.network.contains(endpoint.address.bytes);
                }))
                found.push_back(
                    fmt::format("the server {}/{} ({})", upstream.name, server.name, server.address));
    return found;
}

}  // namespace mailgate::cli
