// SPDX-License-Identifier: Apache-2.0
/// \file  What people read on the command line: tables, facts, and the words in them. What programs read (JSON, the
/// export) does not come through here. Whatever a client, a server or the sqlite3 shell has put into a cell, it
/// stays in its row and its column and cannot control a terminal.
#pragma once

#include "gateway/answers/numbers.h"
#include "gateway/cli/screen_text.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::cli {

/// The colours that states have.
enum class Colour : std::uint8_t { None, Good, Warning, Bad };

struct Cell {
    // Implicit: most cells are texts.
    Cell(std::string text, Colour colour = Colour::None) : text(std::move(text)), colour(colour) {}
    Cell(const char* text) : text(text) {}

    std::string text;
    Colour colour = Colour::None;
    bool whole = false;   ///< is not clipped, whatever its column's least width
    std::string brief{};  ///< what is printed, and not clipped, where there is no room for the text
};

/// A column is made for what it usually has, and gives way in an order of its own.
struct Column {
    static constexpr std::size_t kWhole = std::numeric_limits<std::size_t>::max();

    std::string
        name;  ///< as --columns takes it; in any case, and with blanks or _ for -; its heading does, too
    std::string title;           ///< its heading
    std::size_t least = kWhole;  ///< is clipped to this width, not further; kWhole: never
    /// Of a whole one: where nothing else can leave, or in further rows, it is as narrow as this, and a wider cell moves what follows in
    /// its own row, which loses what has no room then; 0: never.
    std::size_t moves = 0;
    unsigned leaves = 0;              ///< its place in the order of being left out, from 1 on; 0: never
    std::size_t usual = 0;            ///< width at least, where more rows are to come
    bool on_request = false;          ///< only with --columns
    std::vector<std::string> also{};  ///< further names, as the JSON of what the column has
};

/// How tables are laid out.
struct TableStyle {
    std::size_t width = 0;  ///< columns of the screen; 0: no limit
    Letters letters = Letters::Utf8;
    bool colours = false;
    bool follows = false;                ///< more rows are to come after the first text()
    std::vector<std::string> columns{};  ///< those wanted, by name; empty: the table's own
    std::vector<std::string> asked{};    ///< those with what was asked for: they leave last
};

/// Columns as wide as their widest cell, the last one not padded. Without a limit a cell of more than 60 columns
/// moves what follows in its own row and widens no other. With one, columns are clipped, the widest first, down to
/// `least`; where that does not do, they leave in their order; where what is left is still too wide, or the
/// screen has less than 60 columns, each row is printed as its facts, one a line.
class Table {
  public:
    using Row = std::vector<Cell>;

    /// Throws CLI::ValidationError, which names the columns, if the style wants one that is not there.
    Table(std::vector<Column> columns, TableStyle style);

    /// A cell for each column, those on request as well.
    void add(Row row);
    /// The heading and one line for each row; of a call after the first one the further rows, in the same columns.
    /// Empty when there is no row, unless the style `follows`.
    std::string text();

  private:
    struct Laid {
        std::size_t column;  ///< of columns_
        std::size_t width;
        std::size_t whole = 0;  ///< width of the widest cell that is not to be clipped
        bool has_brief = false;
    };

    void choose();
    void layOut();
    std::size_t leastOf(const Laid& laid) const;
    bool leaveOut();
    void letMove(std::size_t excess);
    void shrink();
    std::string lineOf(const Row& row) const;
    std::string factsOf(const Row& row) const;

    std::vector<Column> columns_;
    TableStyle style_;
    std::vector<Row> rows_;  ///< texts shown()
    std::vector<Laid> laid_;
    bool begun_ = false;
    bool facts_ = false;  ///< a fact a line
};

/// One fact a line, behind labels of one width.
class Facts {
  public:
    explicit Facts(Letters letters = Letters::Utf8) : letters_(letters) {}

    void add(std::string_view label, std::string_view text);
    std::string text() const;

  private:
    Letters letters_;
    std::vector<std::pair<std::string, std::string>> facts_;  ///< shown()
};

/// A dash when there is nothing.
std::string orDash(std::string_view text);

using answers::counted;
using answers::grouped;

}  // namespace mailgate::cli
