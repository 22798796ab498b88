// SPDX-License-Identifier: Apache-2.0
/// \file  Rows that the program makes, as a table that a statement reads, and functions of the program's in a statement:
/// for very many rows, of which each would cost a statement of its own. Internal to store/.
#pragma once

#include "store/sqlite/database.h"

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <variant>

struct sqlite3_value;

namespace mailgate::store::sqlite {

/// Nothing: NULL. A text must live until the next row.
using Cell = std::variant<std::monostate, std::int64_t, std::string_view>;

/// Rows one after another, as often as somebody begins.
class Feed {
  public:
    Feed() = default;
    Feed(const Feed&) = delete;
    Feed& operator=(const Feed&) = delete;
    virtual ~Feed() = default;

    virtual void begin() = 0;  ///< the next row is the first one
    virtual bool next() = 0;   ///< false: there is none
    virtual Cell cell(int column) const = 0;
};

/// While it lives, statements of the connection find the feed under a name, which no table may have.
class FeedTable {
  public:
    /// `columns`: their names with commas between. The feed has to live as long.
    FeedTable(Database& database, std::string name, const std::string& columns, Feed& feed);
    ~FeedTable();
    FeedTable(const FeedTable&) = delete;
    FeedTable& operator=(const FeedTable&) = delete;

    /// Database::run(), which throws what the feed has thrown.
    void run(const std::string& statement);

    /// What SQLite's calls are given.
    struct Source {
        Feed* feed;
        std::string declaration;
        std::exception_ptr failure{};
    };

  private:
    Database& database_;
    const std::string name_;
    Source source_;
};

/// What a call in a statement has been given.
class Arguments {
  public:
    explicit Arguments(sqlite3_value** values) noexcept : values_(values) {}
    bool isNull(int at) const noexcept;
    std::int64_t number(int at) const noexcept;
    std::string_view text(int at) const noexcept;

  private:
    sqlite3_value** values_;
};

/// While it lives, statements of the connection have a function that makes a text.
class TextFunction {
  public:
    /// The text has to live until the next call.
    using Make = std::function<std::string_view(const Arguments& arguments)>;
    TextFunction(Database& database, std::string name, int arguments, Make make);
    ~TextFunction();
    TextFunction(const TextFunction&) = delete;
    TextFunction& operator=(const TextFunction&) = delete;

  private:
    Database& database_;
    const std::string name_;
    const int arguments_;
    const Make make_;
};

}  // namespace mailgate::store::sqlite
