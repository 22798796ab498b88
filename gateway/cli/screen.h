// SPDX-License-Identifier: Apache-2.0
/// \file  Where tables are printed: how large the terminal is, what it can show, and the pager in front of it.
#pragma once

#include "gateway/cli/table.h"
#include "gateway/cli/time_text.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace mailgate::cli {

/// Standard output. Of what is no terminal nothing is known, and nothing is adapted to it.
struct Screen {
    bool terminal = false;
    std::size_t columns = 0, rows = 0;
    bool colours = false;
    Letters letters = Letters::Utf8;
};

/// A size that the terminal does not tell is that of $COLUMNS and $LINES, else 80 by 24. Colours are as
/// https://no-color.org says: none with a NO_COLOR that is not empty, nor on a dumb terminal.
Screen standardOutput();
/// Whether TERM names a terminal of which nothing is known: lines stay there, and pagers complain.
bool isDumb();

/// What a command prints: no table, some of different columns, or one whose columns can be chosen.
enum class Prints : std::uint8_t { Text, Tables, OneTable };

/// What commands that print for people take: --wide, --columns, --no-pager, --utc.
struct ViewOptions {
    bool wide = false;
    bool no_pager = false;
    bool utc = false;
    std::vector<std::string> columns;

    Zone zone() const noexcept { return utc ? Zone::Utc : Zone::Local; }
    // For standard output:
    TableStyle style() const;
    Times times() const;
};
void addViewOptions(CLI::App& command, ViewOptions& options, Prints prints);

/// What was typed on the command line, for a message: letters as they are, nothing that controls a terminal.
std::string asTyped(std::string_view text);

/// Prints to standard output; on a terminal that has not so many lines through $PAGER, else less(1) where the
/// terminal is not dumb, unless the options say otherwise. Returns when the pager has ended.
void print(std::string_view text, const ViewOptions& options);

/// The same with a remark: at the end on a terminal, otherwise on standard error, where no program reads it.
void printWithNote(std::string text, std::string_view note, const ViewOptions& options);

/// An array of texts for a document.
Poco::JSON::Array::Ptr jsonTexts(const std::vector<std::string>& texts);

/// Prints a whole document to standard output, in lines; what peers have put into it cannot control a terminal.
void printDocument(const Poco::JSON::Object& document);

}  // namespace mailgate::cli
