// SPDX-License-Identifier: Apache-2.0
/// \file  Typed access to a parsed TOML document that collects errors instead of stopping at the first.
///
/// A TableReader is asked for each key that its table may hold; what it was not asked for is unknown. A value of the
/// wrong kind is reported where it stands and leaves the caller's default in force, so that reading goes on.
#pragma once

#include "gateway/config/values.h"

#include <toml++/toml.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::config {

/// Line and column, from 1.
using Position = toml::source_position;

/// What is wrong or doubtful, with its place.
class Problems {
  public:
    explicit Problems(std::string file) : file_(std::move(file)) {}

    void error(Position where, std::string_view key, std::string_view message);
    void warning(Position where, std::string_view key, std::string_view message);

    bool hasErrors() const noexcept { return !errors_.empty(); }
    /// "FILE:LINE:COLUMN: key: message", one a line, in the file's order.
    std::string errorText() const;
    /// "FILE:LINE:COLUMN: warning: key: message", in the file's order.
    std::vector<std::string> warnings() const;

  private:
    struct Problem {
        Position where;
        std::string text;
    };
    static std::vector<std::string> inOrder(std::vector<Problem> problems);
    void add(std::vector<Problem>& to, Position where, std::string_view kind, std::string_view key,
             std::string_view message) const;

    std::string file_;
    std::vector<Problem> errors_;
    std::vector<Problem> warnings_;
};

/// Where a document nests tables or arrays deeper than any configuration does; the parser and the destructors of its
/// tables recurse as deep as the document nests, until the stack overflows. Looks only at brackets and at the dots in
/// keys, so it may also report a text that is not TOML.
std::optional<Position> tooDeep(std::string_view toml) noexcept;

/// The candidate that `word` is probably a misspelling of; empty when none is near.
std::string_view nearest(std::string_view word, std::span<const std::string> candidates);

/// ` (did you mean "candidate"?)`, or nothing.
std::string didYouMean(std::string_view word, std::span<const std::string> candidates);

/// A word of the configuration file, and its meaning.
template <typename Value>
struct Word {
    std::string_view word;
    Value value;
};

/// A text and where it stands.
struct LocatedText {
    std::string text;
    Position where;
};

class TableReader {
  public:
    /// `table` may be null: the table is absent and every key keeps its default. `path` is empty for the document.
    TableReader(const toml::table* table, std::string path, Position where, Problems& problems)
        : table_(table), path_(std::move(path)), where_(where), problems_(&problems) {}

    /// All readers: the value stays as it is when the key is absent or wrong; true when it was read.
    bool text(std::string_view key, std::string& value);
    bool boolean(std::string_view key, bool& value);
    bool integer(std::string_view key, std::int64_t& value, std::int64_t low, std::int64_t high);
    bool size(std::string_view key, std::size_t& value, std::size_t low, std::size_t high);
    bool duration(std::string_view key, std::chrono::milliseconds& value, std::chrono::milliseconds low,
                  std::chrono::milliseconds high);

    /// One of some words.
    template <typename Value>
    bool choice(std::string_view key, Value& value, std::span<const Word<Value>> words) {
        std::string word;
        if (!text(key, word)) return false;
        std::vector<std::string_view> known;
        for (const auto& [name, meaning] : words) {
            if (name == word) {
                value = meaning;
                return true;
            }
            known.push_back(name);
        }
        wrongWord(key, word, known);
        return false;
    }

    /// A text or an array of texts.
    std::vector<LocatedText> texts(std::string_view key);

    /// A text, or an array of texts and tables.
    struct Mixed;
    Mixed textsAndTables(std::string_view key);

    TableReader table(std::string_view key);
    std::vector<TableReader> tables(std::string_view key);  ///< [[key]]

    bool has(std::string_view key) const { return table_ != nullptr && table_->get(key) != nullptr; }
    bool isWrong(std::string_view key) const;                    ///< its value was not understood
    bool isEmpty(std::string_view key) const;                    ///< absent, or an array of nothing
    bool isEmptyText(std::string_view key);                      ///< "": switched off, where that is a value
    void error(std::string_view key, std::string_view message);  ///< at the key's value, else at the table
    void warning(std::string_view key, std::string_view message);
    Position where() const noexcept { return where_; }
    Position where(std::string_view key) const;
    std::string pathOf(std::string_view key) const;

    /// Reports the keys that nobody asked for. To be called when all have been read.
    void rejectUnknown();

  private:
    const toml::node* find(std::string_view key);
    Mixed items(std::string_view key, bool with_tables);
    void wrongKind(std::string_view key, const toml::node& node, std::string_view expected);
    void wrongWord(std::string_view key, std::string_view word, std::span<const std::string_view> known);

    const toml::table* table_;
    std::string path_;
    Position where_;
    Problems* problems_;
    std::vector<std::string> known_;
    std::vector<std::string> wrong_;
};

struct TableReader::Mixed {
    std::vector<LocatedText> texts;
    std::vector<TableReader> tables;
};

}  // namespace mailgate::config
