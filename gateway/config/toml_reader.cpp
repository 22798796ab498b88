// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/toml_reader.h"

#include "gateway/log/escape.h"
#include "protocols/values/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

namespace mailgate::config {

namespace {

/// The found value as a message shows it.
std::string describe(const toml::node& node) {
    if (const auto* text = node.as_string()) return inQuotes(text->get());
    if (const auto* number = node.as_integer()) return fmt::to_string(number->get());
    if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
    if (node.is_floating_point()) return "a fraction";
    if (node.is_array_of_tables()) return "an array of tables";
    if (node.is_array()) return "an array";
    if (node.is_table()) return "a table";
    return "a date or time";
}

std::size_t editDistance(std::string_view from, std::string_view to) {
    std::vector<std::size_t> row(to.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < from.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i + 1);
        for (std::size_t j = 0; j < to.size(); ++j) {
            const std::size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
        }
    }
    return row.back();
}

/// Behind the string that begins at `at`, or behind its line when it is not closed there.
std::size_t behindString(std::string_view toml, std::size_t at) noexcept {
    const char quote = toml[at];
    const std::string_view three = quote == '"' ? R"(""")" : "'''";
    const bool lines = toml.substr(at).starts_with(three);
    for (at += lines ? 3 : 1; at < toml.size(); ++at) {
        if (toml[at] == '\\' && quote == '"')
            ++at;
        else if (lines ? toml.substr(at).starts_with(three) : toml[at] == quote)
            return at + (lines ? 3 : 1);
        else if (toml[at] == '\n' && !lines)
            return at;
    }
    return toml.size();
}

std::string joinWords(std::span<const std::string_view> words) {
    std::string joined;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i > 0) joined += i + 1 == words.size() ? " or " : ", ";
        joined += inQuotes(words[i]);
    }
    return joined;
}

}  // namespace

std::optional<Position> tooDeep(std::string_view toml) noexcept {
    constexpr std::size_t kDeepest = 32;
    std::size_t brackets = 0;
    std::size_t dots = 0;
    for (std::size_t at = 0; at < toml.size(); ++at) {
        switch (toml[at]) {
            case '#':
                at = std::min(toml.find('\n', at), toml.size()) - 1;
                break;
            case '"':
            case '\'':
                at = behindString(toml, at) - 1;
                break;
            case '[':
            case '{':
                ++brackets;
                dots = 0;
                break;
            case ']':
            case '}':
                brackets -= brackets > 0 ? 1 : 0;
                dots = 0;
                break;
            case '.':
                ++dots;
                break;
            case '=':
            case ',':
            case '\n':
                dots = 0;
                break;
            default:
                break;
        }
        if (brackets <= kDeepest && dots <= kDeepest) continue;
        const std::string_view before = toml.substr(0, at);
        const auto lines = std::count(before.begin(), before.end(), '\n');
        const std::size_t column = at - (before.rfind('\n') + 1);  // npos + 1 is 0: the first line
        return Position{static_cast<toml::source_index>(lines + 1),
                        static_cast<toml::source_index>(column + 1)};
    }
    return std::nullopt;
}

void Problems::error(Position where, std::string_view key, std::string_view message) {
    add(errors_, where, "", key, message);
}

void Problems::warning(Position where, std::string_view key, std::string_view message) {
    add(warnings_, where, "warning: ", key, message);
}

void Problems::add(std::vector<Problem>& to, Position where, std::string_view kind, std::string_view key,
                   std::string_view message) const {
    // A document without a line has its root at 0:0.
    const auto line = std::max<toml::source_index>(where.line, 1);
    const auto column = std::max<toml::source_index>(where.column, 1);
    const std::string_view colon = key.empty() ? "" : ": ";
    to.push_back({where, fmt::format("{}:{}:{}: {}{}{}{}", file_, line, column, kind, key, colon, message)});
}

std::vector<std::string> Problems::inOrder(std::vector<Problem> problems) {
    std::stable_sort(problems.begin(), problems.end(),
                     [](const Problem& a, const Problem& b) { return a.where < b.where; });
    std::vector<std::string> texts;
    texts.reserve(problems.size());
    for (Problem& problem : problems)
        texts.push_back(std::move(problem.text));
    return texts;
}

std::string Problems::errorText() const {
    return fmt::to_string(fmt::join(inOrder(errors_), "\n"));
}

std::vector<std::string> Problems::warnings() const {
    return inOrder(warnings_);
}

std::string_view nearest(std::string_view word, std::span<const std::string> candidates) {
    constexpr std::size_t kLongestWord = 64;  // the distance costs the product of both lengths
    if (word.size() > kLongestWord) return {};
    std::string_view best;
    // Two swapped letters count as two changes; in a word of three letters that is another word.
    std::size_t best_distance = word.size() < 4 ? 2 : std::max<std::size_t>(word.size() / 3, 2) + 1;
    for (const std::string& candidate : candidates) {
        const std::size_t distance = editDistance(word, candidate);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

std::string didYouMean(std::string_view word, std::span<const std::string> candidates) {
    const std::string_view candidate = nearest(word, candidates);
    return candidate.empty() ? "" : fmt::format(" (did you mean {}?)", inQuotes(candidate));
}

const toml::node* TableReader::find(std::string_view key) {
    known_.emplace_back(key);
    return table_ == nullptr ? nullptr : table_->get(key);
}

bool TableReader::text(std::string_view key, std::string& value) {
    const toml::node* node = find(key);
    if (node == nullptr) return false;
    const auto* text = node->as_string();
    if (text == nullptr) {
        wrongKind(key, *node, "a text in quotes");
        return false;
    }
    // They have no business in any value: they would end in protocol lines, paths and logs.
    if (hasControls(text->get())) {
        wrongKind(key, *node, "a text without control characters");
        return false;
    }
    value = text->get();
    return true;
}

bool TableReader::boolean(std::string_view key, bool& value) {
    const toml::node* node = find(key);
    if (node == nullptr) return false;
    const auto* flag = node->as_boolean();
    if (flag == nullptr) {
        wrongKind(key, *node, "true or false");
        return false;
    }
    value = flag->get();
    return true;
}

bool TableReader::integer(std::string_view key, std::int64_t& value, std::int64_t low, std::int64_t high) {
    const toml::node* node = find(key);
    if (node == nullptr) return false;
    const auto* number = node->as_integer();
    if (number == nullptr || number->get() < low || number->get() > high) {
        wrongKind(key, *node, fmt::format("a whole number from {} to {}", low, high));
        return false;
    }
    value = number->get();
    return true;
}

bool TableReader::size(std::string_view key, std::size_t& value, std::size_t low, std::size_t high) {
    const toml::node* node = find(key);
    if (node == nullptr) return false;
    std::optional<std::uint64_t> bytes;
    if (const auto* text = node->as_string()) bytes = parseSize(text->get());
    if (const auto* number = node->as_integer(); number != nullptr && number->get() >= 0)
        bytes = static_cast<std::uint64_t>(number->get());
    if (!bytes || *bytes < low || *bytes > high) {
        wrongKind(key, *node,
                  fmt::format("a size from {} to {} bytes, such as {} or \"1KiB\"", low, high, low));
        return false;
    }
    value = static_cast<std::size_t>(*bytes);
    return true;
}

bool TableReader::isEmptyText(std::string_view key) {
    const toml::node* node = find(key);
    const auto* text = node == nullptr ? nullptr : node->as_string();
    return text != nullptr && text->get().empty();
}

bool TableReader::duration(std::string_view key, std::chrono::milliseconds& value,
                           std::chrono::milliseconds low, std::chrono::milliseconds high) {
    const toml::node* node = find(key);
    if (node == nullptr) return false;
    const auto* text = node->as_string();
    const auto duration = text == nullptr ? std::nullopt : parseDuration(text->get());
    if (!duration) {
        wrongKind(key, *node, "a duration such as \"250ms\", \"30s\", \"5m\", \"1h\" or \"7d\"");
        return false;
    }
    if (*duration < low || *duration > high) {
        wrongKind(key, *node,
                  fmt::format("a duration from {} to {}", formatDuration(low), formatDuration(high)));
        return false;
    }
    value = *duration;
    return true;
}

std::vector<LocatedText> TableReader::texts(std::string_view key) {
    return items(key, false).texts;
}

TableReader::Mixed TableReader::textsAndTables(std::string_view key) {
    return items(key, true);
}

TableReader::Mixed TableReader::items(std::string_view key, bool with_tables) {
    const toml::node* node = find(key);
    if (node == nullptr) return {};
    Mixed found;
    const auto take = [&](const toml::node& item) {
        const auto* text = item.as_string();
        const auto* table = item.as_table();
        if (text != nullptr && !hasControls(text->get()))
            found.texts.push_back({text->get(), item.source().begin});
        else if (table != nullptr && with_tables)
            found.tables.emplace_back(table, pathOf(key), item.source().begin, *problems_);
        else
            wrongKind(key, item, "a text in quotes, or an array of them");
    };
    if (const auto* array = node->as_array()) {
        for (const toml::node& item : *array)
            take(item);
    } else {
        take(*node);
    }
    return found;
}

TableReader TableReader::table(std::string_view key) {
    const toml::node* node = find(key);
    const toml::table* table = node == nullptr ? nullptr : node->as_table();
    if (node != nullptr && table == nullptr) wrongKind(key, *node, fmt::format("a table, [{}]", pathOf(key)));
    return TableReader(table, pathOf(key), node == nullptr ? where_ : node->source().begin, *problems_);
}

std::vector<TableReader> TableReader::tables(std::string_view key) {
    const toml::node* node = find(key);
    if (node == nullptr) return {};
    const std::string expected = fmt::format("an array of tables, [[{}]]", pathOf(key));
    const auto* array = node->as_array();
    if (array == nullptr) {
        wrongKind(key, *node, expected);
        return {};
    }
    std::vector<TableReader> readers;
    for (const toml::node& item : *array) {
        if (const auto* table = item.as_table())
            readers.emplace_back(table, pathOf(key), item.source().begin, *problems_);
        else
            wrongKind(key, item, expected);
    }
    return readers;
}

bool TableReader::isWrong(std::string_view key) const {
    return std::find(wrong_.begin(), wrong_.end(), key) != wrong_.end();
}

bool TableReader::isEmpty(std::string_view key) const {
    const toml::node* node = table_ == nullptr ? nullptr : table_->get(key);
    return node == nullptr || (node->is_array() && node->as_array()->empty());
}

Position TableReader::where(std::string_view key) const {
    const toml::node* node = table_ == nullptr ? nullptr : table_->get(key);
    return node == nullptr ? where_ : node->source().begin;
}

std::string TableReader::pathOf(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

void TableReader::error(std::string_view key, std::string_view message) {
    problems_->error(where(key), pathOf(key), message);
}

void TableReader::warning(std::string_view key, std::string_view message) {
    problems_->warning(where(key), pathOf(key), message);
}

void TableReader::wrongKind(std::string_view key, const toml::node& node, std::string_view expected) {
    wrong_.emplace_back(key);
    problems_->error(node.source().begin, pathOf(key),
                     fmt::format("expected {}, found {}", expected, describe(node)));
}

void TableReader::wrongWord(std::string_view key, std::string_view word,
                            std::span<const std::string_view> known) {
    wrong_.emplace_back(key);
    error(key, fmt::format("expected {}, found {}", joinWords(known), inQuotes(word)));
}

void TableReader::rejectUnknown() {
    if (table_ == nullptr) return;
    for (const auto& [key, node] : *table_) {
        if (std::find(known_.begin(), known_.end(), key.str()) != known_.end()) continue;
        const std::string name =
            isPlain(key.str()) && key.length() <= 80 ? std::string(key.str()) : inQuotes(key.str());
        problems_->error(key.source().begin, pathOf(name), "unknown key" + didYouMean(key.str(), known_));
    }
}

}  // namespace mailgate::config
