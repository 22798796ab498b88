// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/table.h"

#include "protocols/values/text.h"

#include <fmt/format.h>
#include <CLI/Error.hpp>

#include <algorithm>
#include <numeric>
#include <utility>

namespace mailgate::cli {

namespace {

constexpr std::size_t kGap = 2;       ///< blanks between columns
constexpr std::size_t kNarrow = 60;   ///< below this a table is no use
constexpr std::size_t kAligned = 60;  ///< a wider cell does not widen its column where there is no limit

std::string_view sequenceOf(Colour colour) {
    switch (colour) {
        case Colour::Good:
            return "\x1B[32m";
        case Colour::Warning:
            return "\x1B[33m";
        case Colour::Bad:
            return "\x1B[31m";
        case Colour::None:
            break;
    }
    return "";
}

std::string padded(std::string text, std::size_t width) {
    const std::size_t has = screenWidth(text);
    if (has < width) text.append(width - has, ' ');
    return text;
}

bool isWhole(const Cell& cell) {
    return cell.whole || !cell.brief.empty();
}

/// What of it is to be seen at that width.
std::string fitting(const Cell& cell, std::size_t width, Letters letters) {
    const bool fits = cell.brief.empty() || screenWidth(cell.text) <= width;
    return clipped(fits ? cell.text : cell.brief, width, letters);
}

std::string coloured(std::string text, Colour colour) {
    return colour == Colour::None ? text : fmt::format("{}{}\x1B[0m", sequenceOf(colour), text);
}

using Fact = std::pair<std::string, std::string>;

std::size_t labelWidth(const std::vector<Fact>& facts) {
    std::size_t width = 0;
    for (const Fact& fact : facts)
        width = std::max(width, screenWidth(fact.first));
    return width;
}

std::string factLines(const std::vector<Fact>& facts) {
    const std::size_t width = labelWidth(facts);
    std::string lines;
    for (const auto& [label, text] : facts)
        lines += (text.empty() ? label : padded(label, width + kGap) + text) + '\n';
    return lines;
}

/// "Last Hit" and "last_hit" are "last-hit".
std::string columnName(std::string_view text) {
    std::string name = lowerCase(trimmed(text));
    std::replace_if(
        name.begin(), name.end(), [](char character) { return character == ' ' || character == '_'; }, '-');
    return name;
}

std::vector<std::string> namesOf(const std::vector<Column>& columns) {
    std::vector<std::string> names;
    names.reserve(columns.size());
    for (const Column& column : columns)
        names.push_back(column.name);
    return names;
}

}  // namespace

Table::Table(std::vector<Column> columns, TableStyle style)
    : columns_(std::move(columns)), style_(std::move(style)) {
    choose();
}

/// Those that were asked for, in that order; none of them leaves.
void Table::choose() {
    for (const std::string& name : style_.columns) {
        const std::string wanted = columnName(name);
        const auto found = std::find_if(columns_.begin(), columns_.end(), [&](const Column& column) {
            return column.name == wanted || columnName(column.title) == wanted ||
                   std::any_of(column.also.begin(), column.also.end(),
                               [&](const std::string& other) { return columnName(other) == wanted; });
        });
        if (found == columns_.end())
            throw CLI::ValidationError(fmt::format("--columns: there is no column \"{}\": expected {}",
                                                   shown(name), fmt::join(namesOf(columns_), ", ")));
        found->leaves = 0;
        laid_.push_back({static_cast<std::size_t>(found - columns_.begin()), 0});
    }
    constexpr unsigned kLast = 100;
    for (Column& column : columns_)
        if (column.leaves > 0 &&
            std::find(style_.asked.begin(), style_.asked.end(), column.name) != style_.asked.end())
            column.leaves += kLast;
    for (std::size_t at = 0; style_.columns.empty() && at < columns_.size(); ++at)
        if (!columns_[at].on_request) laid_.push_back({at, 0});
}

void Table::add(Row row) {
    for (Cell& cell : row) {
        cell.text = shown(cell.text, style_.letters);
        cell.brief = shown(cell.brief, style_.letters);
    }
    rows_.push_back(std::move(row));
}

std::size_t Table::leastOf(const Laid& laid) const {
    return std::min(laid.width, std::max(laid.whole, columns_[laid.column].least));
}

/// Whether there was one that could go.
bool Table::leaveOut() {
    const auto rank = [this](const Laid& laid) { return columns_[laid.column].leaves; };
    auto first = laid_.end();
    for (auto laid = laid_.begin(); laid != laid_.end(); ++laid)
        if (rank(*laid) > 0 && (first == laid_.end() || rank(*laid) < rank(*first))) first = laid;
    if (first == laid_.end()) return false;
    laid_.erase(first);
    return true;
}

/// Takes that off a column whose cells may move what follows; not where that has what is not to be clipped, nor where the cell
/// itself would not fit.
void Table::letMove(std::size_t excess) {
    std::size_t end = 0;  // of the column, in columns of the screen
    for (auto laid = laid_.begin(); laid != laid_.end(); ++laid, end += kGap) {
        end += leastOf(*laid);
        const std::size_t moves = columns_[laid->column].moves;
        if (moves == 0 || laid->width < moves + excess || end > style_.width) continue;
        if (std::any_of(laid, laid_.end(), [](const Laid& behind) { return behind.has_brief; })) continue;
        laid->width -= excess;
        return;
    }
}

/// Takes what is too much off the widest of those that may be clipped. Their least widths fit.
void Table::shrink() {
    std::size_t all = laid_.size() * kGap - kGap;
    for (const Laid& laid : laid_)
        all += laid.width;
    for (; all > style_.width; --all) {
        Laid* widest = nullptr;
        for (Laid& laid : laid_)
            if (laid.width > leastOf(laid) && (widest == nullptr || laid.width >= widest->width))
                widest = &laid;
        --widest->width;
    }
}

void Table::layOut() {
    for (Laid& laid : laid_) {
        laid.width = screenWidth(columns_[laid.column].title);
        laid.whole = 0;
        laid.has_brief = false;
        if (style_.follows) laid.width = std::max(laid.width, columns_[laid.column].usual);
        for (const Row& row : rows_) {
            const Cell& cell = row[laid.column];
            const std::size_t width = screenWidth(cell.text);
            laid.has_brief = laid.has_brief || !cell.brief.empty();
            if (isWhole(cell))
                laid.whole = std::max(laid.whole, cell.brief.empty() ? width : screenWidth(cell.brief));
            if (style_.width > 0 || width <= kAligned) laid.width = std::max(laid.width, width);
        }
    }
    if (style_.width == 0) return;
    const auto least = [this] {
        return std::accumulate(laid_.begin(), laid_.end(), laid_.size() * kGap - kGap,
                               [this](std::size_t sum, const Laid& laid) { return sum + leastOf(laid); });
    };
    const std::vector<Laid> all = laid_;
    while (style_.width >= kNarrow && least() > style_.width && leaveOut()) {
    }
    if (style_.width >= kNarrow && least() > style_.width) letMove(least() - style_.width);
    facts_ = style_.width < kNarrow || least() > style_.width;
    if (facts_)
        laid_ = all;
    else
        shrink();
}

std::string Table::lineOf(const Row& row) const {
    std::string line;
    std::size_t end = 0;   // of what is to be seen
    std::size_t used = 0;  // columns of the screen
    for (const Laid& laid : laid_) {
        const Cell& cell = row[laid.column];
        const bool whole = style_.width == 0 || columns_[laid.column].moves > 0;
        const std::size_t room = std::min(laid.width, style_.width - std::min(used, style_.width));
        const std::string text =
            whole ? cell.text : fitting(cell, isWhole(cell) ? laid.width : room, style_.letters);
        line += style_.colours ? coloured(text, cell.colour) : text;
        if (!text.empty()) end = line.size();
        line.append(padded(text, laid.width).size() - text.size() + kGap, ' ');
        used += std::max(laid.width, screenWidth(text)) + kGap;
    }
    return line.substr(0, end) + '\n';
}

/// A value that goes on in the next line could begin it as another fact would.
std::string Table::factsOf(const Row& row) const {
    std::vector<Fact> facts;
    for (const Laid& laid : laid_)
        facts.emplace_back(columns_[laid.column].title, row[laid.column].text);
    const std::size_t before = labelWidth(facts) + kGap;
    std::string lines;
    for (std::size_t at = 0; at < facts.size(); ++at) {
        const bool whole = columns_[laid_[at].column].least == Column::kWhole || style_.width <= before ||
                           isWhole(row[laid_[at].column]);
        auto& [label, text] = facts[at];
        if (!whole) text = clipped(text, style_.width - before, style_.letters);
        // What must not be clipped moves towards its label rather than over the edge.
        const std::size_t room = style_.width - std::min(style_.width, screenWidth(text));
        label = padded(label, std::clamp(room, screenWidth(label) + 1, before));
        if (style_.colours) text = coloured(std::move(text), row[laid_[at].column].colour);
        lines += (text.empty() ? columns_[laid_[at].column].title : label + text) + '\n';
    }
    return lines;
}

std::string Table::text() {
    if (rows_.empty() && !(style_.follows && !begun_)) return {};
    std::string out;
    if (!begun_) {
        layOut();
        Row heading;
        for (const Column& column : columns_)
            heading.emplace_back(column.title);
        if (!facts_) out = lineOf(heading);
    }
    for (const Row& row : rows_) {
        if (facts_ && (begun_ || &row != &rows_.front())) out += '\n';
        out += facts_ ? factsOf(row) : lineOf(row);
    }
    begun_ = begun_ || !rows_.empty() || !facts_;
    rows_.clear();
    return out;
}

void Facts::add(std::string_view label, std::string_view text) {
    facts_.emplace_back(shown(label, letters_), shown(text, letters_));
}

std::string Facts::text() const {
    return factLines(facts_);
}

std::string orDash(std::string_view text) {
    return std::string(text.empty() ? "-" : text);
}

}  // namespace mailgate::cli
