// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_rows.h"

#include "protocols/values/network_range.h"
#include "protocols/values/text.h"
#include "store/rules/rule.h"

#include <algorithm>
#include <variant>

namespace mailgate::store::import {

namespace {

/// Whether a row that was `open`, within quotes, still is so behind `line`; `inside`: what of it is in those quotes.
bool staysOpen(std::string_view line, std::string_view separators, bool open, std::string_view& inside) {
    inside = open ? line : std::string_view();
    bool begins = !open;
    for (std::size_t at = 0; at < line.size(); ++at) {
        const bool quote = line[at] == '"';
        if (open && quote && line.substr(at + 1).starts_with('"')) {
            ++at;
        } else if (open && quote) {
            if (inside.size() == line.size()) inside = line.substr(0, at);
            open = false;
        } else if (!open) {
            open = quote && begins;
            begins = separators.find(line[at]) != std::string_view::npos;
        }
    }
    return open;
}

/// Without its end, which is taken off the text, too.
std::string_view takeLine(std::string_view& text) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

}  // namespace

std::optional<Cells> cellsOf(std::string_view row, char separator) {
    Cells cells{{""}, {0}};
    std::size_t at = 0;
    while (true) {
        std::string& text = cells.texts.back();
        if (at < row.size() && row[at] == '"') {
            bool broken = false;  // by the end of a line
            for (++at;; ++at) {
                if (at == row.size()) return std::nullopt;
                if (row[at] == '"' && (at + 1 == row.size() || row[at + 1] != '"')) break;
                if (row[at] == '"') ++at;
                const bool breaks = row[at] == '\n' || row[at] == '\r';
                if (!breaks && broken && !text.empty()) text += ' ';
                broken = breaks;
                if (!breaks) text += row[at];
            }
            ++at;
        } else {
            const std::size_t end = std::min(row.find(separator, at), row.size());
            text = trimmed(row.substr(at, end - at));
            at = end;
        }
        if (at == row.size()) return cells;
        if (row[at] != separator) return std::nullopt;
        cells.texts.emplace_back();
        cells.starts.push_back(++at);
    }
}

bool looksLikeRow(std::string_view line, char separator) {
    const auto cells = cellsOf(line, separator);
    return cells && cells->texts.size() > 1 &&
           std::any_of(cells->texts.begin(), cells->texts.end(), [](const std::string& text) {
               return std::holds_alternative<std::vector<Network>>(parseNetworks(text)) ||
                      (isRuleName(text) && text.find(' ') == std::string::npos);
           });
}

std::vector<Line> rowsOf(std::string_view text, std::string_view separators, std::size_t most) {
    std::vector<Line> rows;
    for (std::size_t number = 1; !text.empty() && rows.size() < most; ++number) {
        const std::size_t first = number;
        std::string_view row = takeLine(text);
        const std::string_view begin = trimmed(row);
        const bool semicolon = begin.starts_with(';');
        if (begin.empty() || begin.front() == '#' ||
            (semicolon && (rows.empty() || separators.find(';') == std::string_view::npos)))
            continue;
        std::string_view inside;
        for (bool open = staysOpen(row, separators, false, inside); open && !text.empty();) {
            std::string_view rest = text;
            const std::string_view line = takeLine(rest);
            open = staysOpen(line, separators, true, inside);
            if (std::any_of(separators.begin(), separators.end(),
                            [&](char separator) { return looksLikeRow(inside, separator); }))
                break;
            row = std::string_view(row.data(),
                                   static_cast<std::size_t>(line.data() + line.size() - row.data()));
            text = rest;
            ++number;
        }
        rows.push_back({first, row});
    }
    return rows;
}

}  // namespace mailgate::store::import
