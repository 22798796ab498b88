// SPDX-License-Identifier: Apache-2.0
/// \file  Rows with columns (RFC 4180), whatever stands between their cells. Internal to store/.
#pragma once

#include "store/rules/import_lines.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::store::import {

struct Cells {
    std::vector<std::string> texts;   ///< without quotes; a line break in one is a blank
    std::vector<std::size_t> starts;  ///< where each begins in the row
};
/// None: a quote is not closed, or something stands behind one.
std::optional<Cells> cellsOf(std::string_view row, char separator);

/// Several cells, of which one is a network, or a name.
bool looksLikeRow(std::string_view line, char separator);

/// The first `most` rows of a text, where any of `separators` is between cells: a cell in quotes goes on over the end of its line,
/// unless the next one looks like a row. A line that begins with # is a comment, and so is one with a semicolon where
/// that separates nothing, or before the heading.
std::vector<Line> rowsOf(std::string_view text, std::string_view separators,
                         std::size_t most = std::string_view::npos);

}  // namespace mailgate::store::import
