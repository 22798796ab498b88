// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/syntax_error.h"

#include "gateway/log/escape.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace mailgate::config {

namespace {

bool holds(std::string_view text, std::string_view words) {
    return text.find(words) != std::string_view::npos;
}

/// Nor the CR of lines that end with CR LF.
std::string_view withoutBlanks(std::string_view text) {
    const std::size_t begin = std::min(text.find_first_not_of(" \t\r"), text.size());
    return text.substr(begin, text.find_last_not_of(" \t\r") + 1 - begin);
}

/// Counted from 1; empty behind the last one.
std::string_view lineOf(std::string_view text, std::size_t number) {
    for (; number > 1; --number)
        text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
    return text.substr(0, text.find('\n'));
}

/// The column of the quote that opens a text which its line does not close; 0: there is none.
std::size_t openQuote(std::string_view line) {
    std::size_t opened = 0;
    for (std::size_t at = 0; at < line.size(); ++at) {
        const char byte = line[at];
        if (opened == 0 && byte == '#') return 0;
        if (opened != 0 && byte == '\\' && line[opened - 1] == '"')
            ++at;
        else if (opened == 0 && (byte == '"' || byte == '\''))
            opened = at + 1;
        else if (opened != 0 && byte == line[opened - 1])
            opened = 0;
    }
    return opened;
}

/// The value without quotes that stands at the column, as far as it may be meant: "0.0.0.0:25" of `a = 0.0.0.0:25  # c`.
std::string_view bareValue(std::string_view line, std::size_t column) {
    constexpr std::string_view kBefore = "=[,{", kBehind = ",]}#";
    column = std::min(column, line.size());
    const std::size_t begin = line.find_last_of(kBefore, column == 0 ? 0 : column - 1) + 1;  // npos + 1 is 0
    const std::string_view value = line.substr(std::min(begin, line.size()));
    return withoutBlanks(value.substr(0, value.find_first_of(kBehind)));
}

/// 'listener' of "cannot redefine existing table 'listener' as array-of-tables".
std::string_view quotedName(std::string_view description) {
    const std::size_t begin = description.find('\'') + 1;  // npos + 1 is 0
    return description.substr(begin, description.find('\'', begin) - begin);
}

/// As word processors and web pages write them.
bool holdsCurlyQuote(std::string_view text) {
    constexpr std::string_view kCurly[] = {"\u201c", "\u201d", "\u201e", "\u2018", "\u2019"};
    return std::any_of(std::begin(kCurly), std::end(kCurly),
                       [text](std::string_view quote) { return holds(text, quote); });
}

std::string missingQuotes(std::string_view value) {
    if (holdsCurlyQuote(value))
        return fmt::format("these quotes are typographic ones, write \" or ': {}", inQuotes(value));
    const std::size_t quote = value.find_first_of("\"'");
    if (quote != std::string_view::npos)
        return fmt::format("a quote is missing at the beginning of {}", inQuotes(value.substr(0, quote)));
    return fmt::format("what is no number, true or false needs quotes: {}", inQuotes(value));
}

/// Of a heading that cannot be one of several any more, the line before `before` that has made it so.
std::string doubleTable(std::string_view name, std::string_view toml, std::size_t before) {
    if (mayComeOften(name)) {
        for (std::size_t number = 1; number < before; ++number) {
            const std::string_view line = withoutBlanks(lineOf(toml, number));
            const std::size_t brackets = std::min(line.find_first_not_of('['), line.size());
            const std::string_view heading = line.substr(brackets, line.find(']') - brackets);
            if (brackets == 1 && heading == name)
                return fmt::format("line {}: {}", number, needsTwoBrackets(name));
            if (brackets > 0 && heading.starts_with(name) && heading.substr(name.size()).starts_with('.'))
                return fmt::format("[[{}]] has to come before what belongs to it, which begins in line {}",
                                   name, number);
        }
        return needsTwoBrackets(name);
    }
    return fmt::format("the table {} is here for the second time: put its keys into one", inQuotes(name));
}

/// Without the quotes around it, and with the backslashes that toml++ has escaped something with as they are.
std::string escapedLine(std::string_view text) {
    constexpr std::size_t kLongest = 400;
    const std::string quoted = inQuotes(text, kLongest);
    std::string line;
    for (std::size_t at = 1; at + 1 < quoted.size(); ++at) {
        if (quoted[at] == '\\' && quoted[at + 1] == '\\') ++at;
        line += quoted[at];
    }
    return line;
}

}  // namespace

bool mayComeOften(std::string_view table) noexcept {
    return table == "listener" || table == "upstream" || table == "upstream.server" || table == "server";
}

std::string needsTwoBrackets(std::string_view table) {
    return fmt::format("there may be more than one: write [[{0}]] with two brackets, each time", table);
}

std::string syntaxError(std::string_view toml, const toml::parse_error& error) {
    const std::string_view description = error.description();
    const toml::source_position where = error.source().begin;
    const std::string_view line = lineOf(toml, where.line);
    if (holds(description, "control characters other than TAB") ||
        (holds(description, "parsing string") && holds(description, "end-of-file"))) {
        if (const std::size_t column = openQuote(line);
            column != 0 && where.column > withoutBlanks(line).size())
            return fmt::format("the quote that closes the text of column {} is missing", column);
    }
    if (holds(description, "could not determine value type") || holds(description, "floating-point") ||
        holds(description, "decimal integer") || holds(description, "parsing boolean") ||
        holds(description, "parsing time") || holds(description, "parsing date")) {
        if (const std::string_view value = bareValue(line, where.column); !value.empty())
            return missingQuotes(value);
    }
    if (holds(description, "table header: cannot redefine existing"))
        return doubleTable(quotedName(description), toml, where.line);
    if (holds(description, "key-value pair: cannot redefine existing"))
        return fmt::format("the key {} is already set above", inQuotes(quotedName(description)));
    if (holds(description, "expected value, saw '\\n'")) return "a value is missing at the end of the line";
    if (holds(description, "invalid utf-8 sequence")) return "this is no UTF-8 text";
    return escapedLine(description);
}

}  // namespace mailgate::config
