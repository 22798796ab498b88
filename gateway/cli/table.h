// SPDX-License-Identifier: Apache-2.0
/// \file  What people read on the command line: tables, and the words in them. What programs read (JSON, the
/// export) does not come through here.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::cli {

/// Columns as wide as their widest cell; the last one is not padded. Whatever a client, a server or the sqlite3 shell
/// has put into a cell, it stays on its line and cannot control a terminal.
class Table {
  public:
    using Row = std::vector<std::string>;

    Table() = default;
    explicit Table(Row heading) { add(std::move(heading)); }

    void add(Row row);
    /// One line for each row; empty when there is none.
    std::string text() const;

  private:
    std::vector<Row> rows_;  ///< cells escaped
    std::vector<std::size_t> widths_;
};

/// A dash when there is nothing.
std::string orDash(std::string_view text);

/// "3 rules", "1 rule".
std::string counted(std::size_t count, std::string_view noun);

}  // namespace mailgate::cli
