// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/access_text.h"

#include "gateway/cli/screen_text.h"
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

/// 0 is without limit.
std::string limit(std::uint32_t number) {
    return number == 0 ? "any" : std::to_string(number);
}

/// "20 at once, 60/min"; a dash where the listener's limits hold.
std::string limitsCell(const store::ClientLimits& limits) {
    std::string cell;
    if (limits.sessions) cell = limit(*limits.sessions) + " at once";
    if (limits.per_minute) cell += (cell.empty() ? "" : ", ") + limit(*limits.per_minute) + "/min";
    return cell.empty() ? "-" : cell;
}

bool isHarmless(std::string text) {
    std::erase_if(text, [](char character) { return character == '"' || character == '\\'; });
    return escaped(text) == text;
}

/// "host:home.example.org (203.0.113.9 and 1 more)"
std::string subjectCell(const AccessRule& rule, const rules::NameStates& names) {
    const auto state = rule.name.empty() ? names.end() : names.find(rule.id);
    if (state == names.end()) return subjectOf(rule);
    return fmt::format(
        "{} ({})", rule.name,
        state->second.networks.empty() ? "unknown" : answers::networksText(state->second.networks, 1));
}

}  // namespace

std::string takeOverNote(const RuleStore::EditResult& result) {
    const AccessRule& former = *result.taken_over;
    std::string note = fmt::format("rule {} was rule {} of {}, which leaves it alone from now on",
                                   result.rule.id, former.id, escaped(former.created_by));
    if (former.expires_at && !result.rule.expires_at)
        note +=
            fmt::format("; it no longer expires at {}", timeText(*former.expires_at * 1'000, Zone::Local));
    return note;
}

std::string rulesAsTable(std::span<const AccessRule> rules, const TableStyle& style, const Times& times,
                         const rules::NameStates& names) {
    // Few have any.
    const auto none = [&](std::string AccessRule::*text) {
        return std::all_of(rules.begin(), rules.end(),
                           [&](const AccessRule& rule) { return (rule.*text).empty(); });
    };
    Table table(
        {{.name = "rule", .title = "RULE", .also = {"id"}},
         {.name = "set", .title = "SET", .least = 8, .leaves = 7},
         {.name = "verdict", .title = "VERDICT"},
         {.name = "network", .title = "NETWORK"},
         {.name = "listener", .title = "LISTENER", .least = 8, .leaves = 8},
         {.name = "limits",
          .title = "LIMITS",
          .least = 10,
          .leaves = 2,
          .also = {"client_sessions", "client_rate"}},
         {.name = "reply",
          .title = "REPLY",
          .leaves = 3,
          .on_request = std::none_of(rules.begin(), rules.end(),
                                     [](const AccessRule& rule) { return rule.reply.any(); })},
         {.name = "expires", .title = times.title("EXPIRES"), .leaves = 9, .also = {"expires_at"}},
         {.name = "hits", .title = "HITS", .leaves = 3},
         {.name = "last-hit", .title = times.title("LAST HIT"), .leaves = 1, .also = {"last_hit_at"}},
         {.name = "by", .title = "BY", .least = 6, .leaves = 5, .also = {"created_by"}},
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
                   grouped(static_cast<std::uint64_t>(rule.hits)),
                   timeOrDash(rule.last_hit_at, times),
                   rule.created_by,
                   orDash(rule.owner),
                   orDash(rule.ticket),
                   rule.note});
    return table.text();
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
            "others", listener.allowlist && !listener.monitors ? "deny" : "allow", listener.name, "",
            fmt::format("access = {}{}", listener.allowlist ? "allowlist" : "open",
                        listener.monitors ? ", mode = monitor: nobody is refused" : ""),
            "", "", "", "", "", "", "", "", ""});
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
    Table table(
        {{.name = "set", .title = "SET", .least = 16, .also = {"name"}},
         {.name = "rules", .title = "RULES"},
         {.name = "allow", .title = "ALLOW", .leaves = 3},
         {.name = "deny", .title = "DENY", .leaves = 4},
         {.name = "expired", .title = "EXPIRED", .leaves = 2},
         {.name = "hits", .title = "HITS", .leaves = 5},
         {.name = "last-hit", .title = times.title("LAST HIT"), .leaves = 1, .also = {"last_hit_at"}},
         {.name = "expires-after", .title = "EXPIRES AFTER", .leaves = 6, .also = {"default_expires_after"}},
         {.name = "note", .title = "NOTE", .least = 10, .also = {"default_note"}}},
        style);
    for (const rules::SetSummary& set : sets)
        table.add({set.name, grouped(set.allowing + set.denying), grouped(set.allowing), grouped(set.denying),
                   grouped(set.expired), grouped(static_cast<std::uint64_t>(set.hits)),
                   timeOrDash(set.last_hit_at, times),
                   set.defaults.expires_after ? answers::durationText(*set.defaults.expires_after) : "-",
                   set.defaults.note});
    return table.text();
}

std::string sentenceOf(const std::string& set, std::size_t rules, const store::SetDefaults& defaults) {
    std::string gets;
    if (!defaults.note.empty()) gets = fmt::format(" get the note \"{}\"", escaped(defaults.note));
    if (defaults.expires_after)
        gets += fmt::format("{} expire after {}", gets.empty() ? "" : " and",
                            answers::durationText(*defaults.expires_after));
    return fmt::format("set {}: {}{}", escaped(set), counted(rules, "rule"),
                       gets.empty() ? ", no defaults" : ", new rules" + gets);
}

namespace {

/// "ticket=SEC-1 -> SEC-2", with commas between several.
class Differences {
  public:
    void add(std::string_view option, const std::string& before, const std::string& after) {
        if (before == after) return;
        text_ += fmt::format("{}{}{} -> {}", text_.empty() ? "" : ", ", option, before, after);
    }
    const std::string& text() const noexcept { return text_; }

  private:
    std::string text_;
};

std::string timeOrNever(const std::optional<UnixSeconds>& time) {
    return time ? formatUtc(*time) : "never";
}

std::string numberOrNone(const std::optional<std::uint32_t>& number) {
    return number ? std::to_string(*number) : "none";
}

std::string spanOrNever(const std::optional<std::int64_t>& seconds) {
    return seconds ? answers::durationText(*seconds) : "never";
}

std::string quotedLine(std::string_view text) {
    return fmt::format("\"{}\"", plainLine(text));
}

std::string differencesOf(const AccessRule& before, const AccessRule& after) {
    const auto all = [](const std::string& listener) { return listener.empty() ? "all" : listener; };
    const auto orDefault = [](std::string_view reply) {
        return std::string(reply.empty() ? "default" : reply);
    };
    Differences found;
    found.add("set=", before.set, after.set);
    found.add("listener=", all(before.listener), all(after.listener));
    found.add("expires=", timeOrNever(before.expires_at), timeOrNever(after.expires_at));
    found.add("client_sessions=", numberOrNone(before.limits.sessions), numberOrNone(after.limits.sessions));
    found.add("client_rate=", numberOrNone(before.limits.per_minute), numberOrNone(after.limits.per_minute));
    found.add("reply=", orDefault(toString(before.reply)), orDefault(toString(after.reply)));
    found.add("owner=", quotedLine(before.owner), quotedLine(after.owner));
    found.add("ticket=", quotedLine(before.ticket), quotedLine(after.ticket));
    found.add("note ", quotedLine(before.note), quotedLine(after.note));
    return found.text();
}

/// What a rule, or the defaults of a set, were changed in, and then of which: a row that is clipped has lost what did not
/// change. Empty: that is not to be told.
std::string differencesOf(const RuleStore::AuditEntry& entry) {
    const auto before = store::parseTrailRule(entry.before), after = store::parseTrailRule(entry.after);
    if (before && after && before->verdict == after->verdict && subjectOf(*before) == subjectOf(*after)) {
        const std::string found = differencesOf(*before, *after);
        return found.empty() ? found
                             : fmt::format("{} ({} {})", found, toString(after->verdict), subjectOf(*after));
    }
    const auto set = store::parseTrailSet(entry.before), later = store::parseTrailSet(entry.after);
    if (!set || !later || set->first != later->first) return {};
    Differences found;
    found.add("expires=", spanOrNever(set->second.expires_after), spanOrNever(later->second.expires_after));
    found.add("note ", quotedLine(set->second.note), quotedLine(later->second.note));
    return found.text().empty() ? "" : fmt::format("{} (set {})", found.text(), later->first);
}

std::string whatCell(const RuleStore::AuditEntry& entry) {
    if (entry.before.empty() || entry.after.empty())
        return answers::trailLine(entry.before.empty() ? entry.after : entry.before);
    const std::string found = differencesOf(entry);
    return found.empty() ? answers::trailLine(entry.before) + "  ->  " + answers::trailLine(entry.after)
                         : found;
}

}  // namespace

std::string historyAsTable(std::span<const RuleStore::AuditEntry> entries, const TableStyle& style,
                           const Times& times) {
    Table table({{.name = "time", .title = times.title("TIME")},
                 {.name = "by", .title = "BY", .least = 6, .leaves = 1, .also = {"who"}},
                 {.name = "change", .title = "CHANGE"},
                 {.name = "action", .title = "ACTION"},
                 {.name = "rule", .title = "RULE"},
                 {.name = "what", .title = "WHAT", .least = 16, .also = {"before", "after"}}},
                style);
    for (const auto& entry : entries)
        table.add({times.text(entry.at * 1'000), entry.who, std::to_string(entry.change), entry.action,
                   entry.rule_id == 0 ? "-" : std::to_string(entry.rule_id), whatCell(entry)});
    return table.text();
}

namespace {

/// "alice" is also who was alice at the console, by sudo, or on another gateway of the fleet; "fail2ban" also the program.
bool isAuthor(std::string_view who, std::string_view wanted) {
    if (who == wanted || who == store::programName(wanted)) return true;
    return who.starts_with(wanted) &&
           (who.substr(wanted.size()).starts_with(" (") || who.substr(wanted.size()).starts_with('@'));
}

bool isOfSet(std::string_view line, std::string_view set) {
    if (line.empty()) return false;
    if (const auto rule = store::parseTrailRule(line)) return rule->set == set;
    const auto defaults = store::parseTrailSet(line);
    return defaults && defaults->first == set;
}

}  // namespace

bool passes(const RuleStore::AuditEntry& entry, const HistoryFilter& filter) {
    const std::int64_t at_ms = entry.at * 1'000;
    if (filter.period.since_ms && at_ms < *filter.period.since_ms) return false;
    if (filter.period.until_ms && at_ms > *filter.period.until_ms) return false;
    if (filter.by && !isAuthor(entry.who, *filter.by)) return false;
    return !filter.set || isOfSet(entry.before, *filter.set) || isOfSet(entry.after, *filter.set);
}

std::string exportLine(const AccessRule& rule, const store::SetDefaults& defaults) {
    const bool harmless = isHarmless(rule.note) && isHarmless(rule.owner) && isHarmless(rule.ticket);
    return store::formatRule(rule, harmless ? store::NoteForm::Utf8 : store::NoteForm::Ascii, defaults);
}

}  // namespace mailgate::cli
