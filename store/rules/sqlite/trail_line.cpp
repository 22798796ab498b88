// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/trail_line.h"

#include "protocols/values/text.h"
#include "store/rules/rule.h"

#include <fmt/format.h>

#include <iterator>

namespace mailgate::store::rows {

namespace {

void appendQuoted(std::string& line, std::string_view text) {
    line += '"';
    for (const char character : text) {
        if (character == '\\' || character == '"') line += '\\';
        line += character;
    }
    line += '"';
}

void appendTag(std::string& line, std::string_view option, std::string_view tag) {
    constexpr std::string_view kWord =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@._:/+-";
    if (tag.empty()) return;
    line.append(option);
    if (tag.find_first_not_of(kWord) == std::string_view::npos)
        line.append(tag);
    else
        appendQuoted(line, tag);
}

void appendNote(std::string& line, std::string_view note) {
    if (note.empty()) return;
    line += ' ';
    const bool quoted = note.find_first_of("=\"\\\n") != std::string_view::npos ||
                        std::string_view("#; ").find(note.front()) != std::string_view::npos ||
                        note.back() == ' ';
    if (quoted)
        appendQuoted(line, note);
    else
        line.append(note);
}

void appendNumber(std::string& line, std::string_view option, const std::optional<std::int64_t>& number) {
    if (number) fmt::format_to(std::back_inserter(line), "{}{}", option, *number);
}

}  // namespace

void appendTrailLine(std::string& line, const TrailRule& rule) {
    line.append(rule.verdict).append(" ").append(rule.network);
    if (rule.set != kManualSet) line.append(" set=").append(rule.set);
    if (!rule.listener.empty()) line.append(" listener=").append(rule.listener);
    if (rule.expires_at) line.append(" expires=").append(formatUtc(*rule.expires_at));
    appendNumber(line, " client_sessions=", rule.client_sessions);
    appendNumber(line, " client_rate=", rule.client_rate);
    if (!rule.reply.empty()) line.append(" reply=").append(rule.reply);
    appendTag(line, " owner=", rule.owner);
    appendTag(line, " ticket=", rule.ticket);
    appendNote(line, rule.note);
}

}  // namespace mailgate::store::rows
