// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/toml_reader.h"

#include "gateway/config/syntax_error.h"
#include "gateway/log/escape.h"
#include "protocols/values/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <tuple>

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

std::string sizeRange(std::size_t low, std::size_t high) {
    const std::string longest = formatSize(high);
    if (!longest.ends_with('B')) return fmt::format("a size from {} to {} bytes", low, high);
    return fmt::format("a size from \"{}\" to \"{}\"", formatSize(low), longest);
}

/// Of "10GB", "64k" and the like: that units are powers of 1,024 here.
std::string sizeMeant(std::string_view text) {
    constexpr std::string_view kUnits = "kKmMgG";
    const std::size_t end = text.find_first_not_of("0123456789");
    if (end == 0 || end == std::string_view::npos) return "";
    const std::size_t unit = text.find_first_not_of(' ', end);
    if (unit == std::string_view::npos || kUnits.find(text[unit]) == std::string_view::npos) return "";
    const std::string_view rest = text.substr(unit + 1);
    if (!rest.empty() && rest != "b" && rest != "B" && rest != "ib" && rest != "iB") return "";
    const std::string meant = fmt::format("{}{}iB", text.substr(0, end), kUnits[kUnits.find(text[unit]) | 1]);
    return fmt::format(": the units are KiB, MiB and GiB (did you mean {}?)", inQuotes(meant));
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

Position Problems::placeOf(const toml::source_region& source) const {
    Position where{source.begin.line, source.begin.column};
    if (!source.path) return where;
    const auto file = std::find(files_.begin(), files_.end(), *source.path);
    where.file = file == files_.end() ? 0 : static_cast<std::size_t>(file - files_.begin());
    return where;
}

std::string Problems::lineOf(const Position& where, const Position& from) const {
    if (where.file == from.file) return fmt::format("line {}", where.line);
    return fmt::format("line {} of {}", where.line, files_[where.file]);
}

void Problems::error(const Position& where, std::string_view key, std::string_view message) {
    add(errors_, where, "", key, message);
}

void Problems::warning(const Position& where, std::string_view key, std::string_view message) {
    add(warnings_, where, "warning: ", key, message);
}

void Problems::add(std::vector<Problem>& to, const Position& where, std::string_view kind,
                   std::string_view key, std::string_view message) const {
    const std::string_view colon = key.empty() ? "" : ": ";
    to.push_back(
        {where, std::string(key), fmt::format("{}: {}{}{}{}", text(where), kind, key, colon, message)});
}

bool Problems::errorsOnlyWhere(const std::function<bool(std::string_view key)>& may_be_wrong) const {
    return std::all_of(errors_.begin(), errors_.end(),
                       [&](const Problem& problem) { return may_be_wrong(problem.key); });
}

std::string Problems::text(const Position& where) const {
    // A document without a line has its root at 0:0.
    const auto line = std::max<toml::source_index>(where.line, 1);
    const auto column = std::max<toml::source_index>(where.column, 1);
    return fmt::format("{}:{}:{}", files_[where.file], line, column);
}

std::vector<std::string> Problems::inOrder(std::vector<Problem> problems) {
    std::stable_sort(problems.begin(), problems.end(), [](const Problem& a, const Problem& b) {
        return std::tie(a.where.file, a.where.line, a.where.column) <
               std::tie(b.where.file, b.where.line, b.where.column);
    });
    std::vector<std::string> texts;
    std::set<std::string_view> told;  // a default may be wrong for every listener
    texts.reserve(problems.size());
    for (const Problem& problem : problems)
        if (told.insert(problem.text).second) texts.push_back(problem.text);
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
    return nodeOf(key);
}

const toml::node* TableReader::nodeOf(std::string_view key) const {
    if (isOwn(key)) return table_->get(key);
    return defaults_ == nullptr ? nullptr : defaults_->get(key);
}

bool TableReader::applies(std::string_view key, bool condition, std::string_view why_not) {
    if (condition) return true;
    known_.emplace_back(key);
    if (isOwn(key)) error(key, why_not);
    return false;
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
        const auto* text = node->as_string();
        wrongKind(key, *node, sizeRange(low, high), bytes || text == nullptr ? "" : sizeMeant(text->get()));
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
            found.texts.push_back({text->get(), problems_->placeOf(item.source())});
        else if (table != nullptr && with_tables)
            found.tables.emplace_back(table, pathOf(key), problems_->placeOf(item.source()), *problems_);
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
    return TableReader(table, pathOf(key), where(key), *problems_);
}

std::vector<TableReader> TableReader::tables(std::string_view key) {
    const toml::node* node = find(key);
    if (node == nullptr) return {};
    const bool heads = mayComeOften(pathOf(key));
    const std::string expected = heads ? fmt::format("an array of tables, [[{}]]", pathOf(key))
                                       : fmt::format("an array of tables, {} = [{{ ... }}]", key);
    const auto* array = node->as_array();
    if (array == nullptr) {
        std::string remedy;
        if (const auto* table = node->as_table(); table != nullptr && heads) {
            // So is it where there is no heading but those of what belongs to it.
            const bool headless =
                !table->empty() && std::all_of(table->begin(), table->end(), [](const auto& item) {
                    return item.second.is_array_of_tables();
                });
            remedy = headless ? fmt::format(": [[{}]] has to come before what belongs to it", pathOf(key))
                              : ": two brackets, because there may be more than one";
        }
        wrongKind(key, *node, expected, remedy);
        return {};
    }
    std::vector<TableReader> readers;
    for (const toml::node& item : *array) {
        if (const auto* table = item.as_table())
            readers.emplace_back(table, pathOf(key), problems_->placeOf(item.source()), *problems_);
        else
            wrongKind(key, item, expected);
    }
    return readers;
}

bool TableReader::isWrong(std::string_view key) const {
    return std::find(wrong_.begin(), wrong_.end(), key) != wrong_.end();
}

bool TableReader::isEmpty(std::string_view key) const {
    const toml::node* node = nodeOf(key);
    return node == nullptr || (node->is_array() && node->as_array()->empty());
}

Position TableReader::where(std::string_view key) const {
    const toml::node* node = nodeOf(key);
    return node == nullptr ? where_ : problems_->placeOf(node->source());
}

std::string TableReader::pathOf(std::string_view key) const {
    const std::string& path = isOwn(key) || nodeOf(key) == nullptr ? path_ : defaults_path_;
    return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

void TableReader::error(std::string_view key, std::string_view message) {
    problems_->error(where(key), pathOf(key), message);
}

void TableReader::warning(std::string_view key, std::string_view message) {
    problems_->warning(where(key), pathOf(key), message);
}

void TableReader::wrongKind(std::string_view key, const toml::node& node, std::string_view expected,
                            std::string_view hint) {
    wrong_.emplace_back(key);
    problems_->error(problems_->placeOf(node.source()), pathOf(key),
                     fmt::format("expected {}, found {}{}", expected, describe(node), hint));
}

void TableReader::wrongWord(std::string_view key, std::string_view word,
                            std::span<const std::string_view> known, std::span<const WordHint> hints) {
    wrong_.emplace_back(key);
    const auto hint =
        std::find_if(hints.begin(), hints.end(), [word](const WordHint& each) { return each.word == word; });
    const std::string_view told = hint == hints.end() ? std::string_view() : hint->value;
    error(key, fmt::format("expected {}, found {}{}{}", joinWords(known), inQuotes(word),
                           told.empty() ? "" : ": ", told));
}

void TableReader::rejectUnknown() {
    if (table_ == nullptr) return;
    for (const auto& [key, node] : *table_) {
        if (std::find(known_.begin(), known_.end(), key.str()) != known_.end()) continue;
        const std::string name =
            isPlain(key.str()) && key.length() <= 80 ? std::string(key.str()) : inQuotes(key.str());
        std::string hint = didYouMean(key.str(), known_);
        if (key.str() == "include" && !path_.empty())
            hint = ": include has to stand before the first [table] of its file";
        if (key.str() == "server" && path_.empty()) hint = ": a server is [[upstream.server]]";
        problems_->error(problems_->placeOf(key.source()), pathOf(name), "unknown key" + hint);
    }
}

}  // namespace mailgate::config
