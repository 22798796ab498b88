// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/table.h"

#include "gateway/log/escape.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace mailgate::cli {

void Table::add(Row row) {
    widths_.resize(std::max(widths_.size(), row.size()));
    for (std::size_t column = 0; column < row.size(); ++column) {
        row[column] = escaped(row[column]);
        widths_[column] = std::max(widths_[column], row[column].size());
    }
    rows_.push_back(std::move(row));
}

std::string Table::text() const {
    std::string out;
    for (const Row& row : rows_) {
        std::string line;
        for (std::size_t column = 0; column < row.size(); ++column)
            line += fmt::format("{:<{}}  ", row[column], widths_[column]);
        out.append(line, 0, line.find_last_not_of(' ') + 1);
        out += '\n';
    }
    return out;
}

std::string orDash(std::string_view text) {
    return std::string(text.empty() ? "-" : text);
}

std::string counted(std::size_t count, std::string_view noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace mailgate::cli
