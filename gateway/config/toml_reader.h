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
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::config {

/// Line and column, from 1, of one of the configuration's files.
struct Position {
    toml::source_index line = 0, column = 0;
    std::size_t file = 0;  ///< as Problems numbers them; 0: the main one

    friend bool operator==(const Position&, const Position&) = default;
};

/// What is wrong or doubtful, with its place.
class Problems {
  public:
    /// `file`: the main one, as it is told.
    explicit Problems(std::string file) : files_{std::move(file)} {}

    /// An included file, under the name with which it is parsed.
    void addFile(std::string name) { files_.push_back(std::move(name)); }
    Position placeOf(const toml::source_region& source) const;
    /// "line 3", and of which file where `from` is in another one.
    std::string lineOf(const Position& where, const Position& from) const;

    void error(const Position& where, std::string_view key, std::string_view message);
    void warning(const Position& where, std::string_view key, std::string_view message);

    /// "FILE:LINE:COLUMN".
    std::string text(const Position& where) const;
    bool hasErrors() const noexcept { return !errors_.empty(); }
    /// Whether `mayBeWrong(key)` for the keys of all errors.
    bool errorsOnlyWhere(const std::function<bool(std::string_view key)>& may_be_wrong) const;
    /// "FILE:LINE:COLUMN: key: message", one a line, in the files' order, each once.
    std::string errorText() const;
    /// "FILE:LINE:COLUMN: warning: key: message", likewise.
    std::vector<std::string> warnings() const;

  private:
    struct Problem {
        Position where;
        std::string key, text;
    };
    static std::vector<std::string> inOrder(std::vector<Problem> problems);
    void add(std::vector<Problem>& to, const Position& where, std::string_view kind, std::string_view key,
             std::string_view message) const;

    std::vector<std::string> files_;
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

/// A word that is none, and what its user should be told.
using WordHint = Word<std::string_view>;

/// A text and where it stands.
struct LocatedText {
    std::string text;
    Position where;
};

class TableReader {
  public:
    /// `table` may be null: the table is absent and every key keeps its default. `path` is empty for the document.
    TableReader(const toml::table* table, std::string path, const Position& where, Problems& problems)
        : table_(table), path_(std::move(path)), where_(where), problems_(&problems) {}

    /// Another table, which must last: what this one does not say is taken from there.
    void setDefaults(const toml::table* table, std::string path) {
        defaults_ = table;
        defaults_path_ = std::move(path);
    }

    /// All readers: the value stays as it is when the key is absent or wrong; true when it was read.
    bool text(std::string_view key, std::string& value);
    bool boolean(std::string_view key, bool& value);
    bool integer(std::string_view key, std::int64_t& value, std::int64_t low, std::int64_t high);
    bool size(std::string_view key, std::size_t& value, std::size_t low, std::size_t high);
    bool duration(std::string_view key, std::chrono::milliseconds& value, std::chrono::milliseconds low,
                  std::chrono::milliseconds high);

    /// One of some words; `hints` are for others that people try.
    template <typename Value>
    bool choice(std::string_view key, Value& value, std::span<const Word<Value>> words,
                std::span<const WordHint> hints = {}) {
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
        wrongWord(key, word, known, hints);
        return false;
    }

    /// A text or an array of texts.
    std::vector<LocatedText> texts(std::string_view key);

    /// A text, or an array of texts and tables.
    struct Mixed;
    Mixed textsAndTables(std::string_view key);

    TableReader table(std::string_view key);
    std::vector<TableReader> tables(std::string_view key);  ///< [[key]]

    /// Whether a key has a meaning here. If not, it is an error where the table has it, and a default is left out.
    bool applies(std::string_view key, bool condition, std::string_view why_not);

    /// A key that is read elsewhere.
    void know(std::string_view key) { known_.emplace_back(key); }

    bool has(std::string_view key) const { return nodeOf(key) != nullptr; }
    bool isWrong(std::string_view key) const;                    ///< its value was not understood
    bool isEmpty(std::string_view key) const;                    ///< absent, or an array of nothing
    bool isEmptyText(std::string_view key);                      ///< "": switched off, where that is a value
    void error(std::string_view key, std::string_view message);  ///< at the key's value, else at the table
    void warning(std::string_view key, std::string_view message);
    const Position& where() const noexcept { return where_; }
    Position where(std::string_view key) const;
    std::string pathOf(std::string_view key) const;
    /// "FILE:LINE:COLUMN": for what is found out later.
    std::string placeOf(std::string_view key) const { return problems_->text(where(key)); }
    /// "line 3": where something is that is told of at `key`.
    std::string lineOf(const Position& other, std::string_view key) const {
        return problems_->lineOf(other, where(key));
    }
    const toml::table* table() const noexcept { return table_; }

    /// Reports the keys that nobody asked for. To be called when all have been read.
    void rejectUnknown();

  private:
    bool isOwn(std::string_view key) const { return table_ != nullptr && table_->get(key) != nullptr; }
    const toml::node* nodeOf(std::string_view key) const;
    const toml::node* find(std::string_view key);
    Mixed items(std::string_view key, bool with_tables);
    void wrongKind(std::string_view key, const toml::node& node, std::string_view expected,
                   std::string_view hint = {});
    void wrongWord(std::string_view key, std::string_view word, std::span<const std::string_view> known,
                   std::span<const WordHint> hints);

    const toml::table* table_;
    const toml::table* defaults_ = nullptr;
    std::string path_, defaults_path_;
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
