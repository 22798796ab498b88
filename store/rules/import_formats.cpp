// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_formats.h"

#include "protocols/values/text.h"

#include <Poco/Dynamic/Var.h>
#include <Poco/Exception.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <map>
#include <utility>

namespace mailgate::store::import {

namespace {

using Words = std::span<const std::string_view>;

constexpr std::array<std::string_view, 5> kAllowing{"allow", "permit", "accept", "ok", "pass"};
constexpr std::array<std::string_view, 4> kDenying{"deny", "reject", "drop", "block"};
// access(5): what neither lets a client in nor keeps it out.
constexpr std::array<std::string_view, 11> kOtherActions{
    "bcc",  "defer_if_permit", "defer_if_reject", "discard", "filter", "hold",
    "info", "prepend",         "redirect",        "warn",    "ban"};
constexpr int kMaxJsonDepth = 4;

bool isOneOf(std::string_view word, Words words) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

bool isComment(std::string_view rest) noexcept {
    return rest.empty() || rest.front() == '#' || rest.front() == ';';
}

bool isDigits(std::string_view word) noexcept {
    return !word.empty() && word.find_first_not_of("0123456789") == std::string_view::npos;
}

/// "450", "554".
bool isReplyCode(std::string_view word) noexcept {
    return word.size() == 3 && isDigits(word) && (word.front() == '4' || word.front() == '5');
}

/// "; SBL256894"
bool isSblNumber(std::string_view rest) {
    const std::string_view word = trimmed(rest.substr(1));
    return rest.front() == ';' && word.starts_with("SBL") && isDigits(word.substr(3));
}

/// What access(5) has the server do with a client; DUNNO: nothing against it.
std::optional<Verdict> cidrVerdict(std::string_view action) {
    const std::string word = lowerCase(action);
    if (word == "ok" || word == "permit" || word == "dunno") return Verdict::Allow;
    if (word == "reject" || word == "defer" || isReplyCode(word)) return Verdict::Deny;
    return std::nullopt;
}

bool isCidrWord(std::string_view word) {
    const std::string lower = lowerCase(word);
    return cidrVerdict(word) || (isOneOf(lower, kOtherActions) && lower != "ban");
}

/// Columns are told by their names; several names mean the same.
enum class Column : std::uint8_t {
    Network,
    Verdict,
    Set,
    Listener,
    Expires,
    Sessions,
    Rate,
    Owner,
    Ticket,
    Note
};
struct ColumnName {
    std::string_view name;
    Column column;
};
constexpr ColumnName kColumnNames[] = {
    {"network", Column::Network},    {"cidr", Column::Network},
    {"ip", Column::Network},         {"address", Column::Network},
    {"ip_address", Column::Network}, {"prefix", Column::Network},
    {"subnet", Column::Network},     {"verdict", Column::Verdict},
    {"action", Column::Verdict},     {"set", Column::Set},
    {"listener", Column::Listener},  {"expires", Column::Expires},
    {"expires_at", Column::Expires}, {"client_sessions", Column::Sessions},
    {"client_rate", Column::Rate},   {"owner", Column::Owner},
    {"ticket", Column::Ticket},      {"note", Column::Note},
    {"comment", Column::Note},       {"description", Column::Note},
    {"reason", Column::Note},
};

std::optional<Column> columnOf(std::string_view name) {
    const std::string lower = lowerCase(trimmed(name));
    const auto found = std::find_if(std::begin(kColumnNames), std::end(kColumnNames),
                                    [&](const ColumnName& known) { return known.name == lower; });
    return found == std::end(kColumnNames) ? std::nullopt : std::optional(found->column);
}

/// RFC 4180, without line breaks in cells. None: a quote is not closed, or something stands behind one.
std::optional<std::vector<std::string>> cellsOf(std::string_view line, char separator) {
    std::vector<std::string> cells(1);
    std::size_t at = 0;
    while (true) {
        if (at < line.size() && line[at] == '"') {
            for (++at;; ++at) {
                if (at == line.size()) return std::nullopt;
                if (line[at] == '"' && (at + 1 == line.size() || line[at + 1] != '"')) break;
                if (line[at] == '"') ++at;
                cells.back() += line[at];
            }
            ++at;
        } else {
            const std::size_t end = std::min(line.find(separator, at), line.size());
            cells.back() = trimmed(line.substr(at, end - at));
            at = end;
        }
        if (at == line.size()) return cells;
        if (line[at] != separator) return std::nullopt;
        cells.emplace_back();
        ++at;
    }
}

/// The separator of a heading that names a network's column; none: the line is no heading.
std::optional<char> headingSeparator(std::string_view line) {
    for (const char separator : {',', ';', '\t'}) {
        const auto cells = cellsOf(line, separator);
        if (cells && cells->size() > 1 && std::any_of(cells->begin(), cells->end(), [](const auto& cell) {
                return columnOf(cell) == Column::Network;
            }))
            return separator;
    }
    return std::nullopt;
}

/// The note of a rule may name columns, too.
bool isHeading(std::string_view line) {
    std::string_view rest = line;
    const std::string_view first = takeField(rest);
    return headingSeparator(line) && first != "allow" && first != "deny" &&
           std::holds_alternative<NetworkError>(parseNetwork(first));
}

/// HAProxy knows dotted masks: "10.0.0.0/255.0.0.0" to "10.0.0.0/8". Others as they are.
std::string withoutMask(std::string_view text) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos || text.find('.', slash) == std::string_view::npos)
        return std::string(text);
    const auto mask = parseNetwork(text.substr(slash + 1));
    const auto* octets = std::get_if<Network>(&mask);
    if (octets == nullptr || !octets->isV4() || octets->prefix_length != 128) return std::string(text);
    std::uint32_t bits = 0;
    for (std::size_t at = 12; at < 16; ++at)
        bits = bits << 8 | octets->address[at];
    const int ones = std::countl_one(bits);
    if (std::popcount(bits) != ones) return std::string(text);
    return fmt::format("{}/{}", text.substr(0, slash), ones);
}

/// Rules whose order says which one counts, there, while here the more specific one does: what would change
/// sides by that is found.
class Precedence {
  public:
    /// The line of an earlier rule that decides for the whole network, otherwise than this one; 0: none.
    std::size_t contradicts(const Network& network, Verdict verdict) const {
        for (unsigned length = 0; length <= network.prefix_length; ++length) {
            if (!lengths_[length]) continue;
            const auto found = earlier_.find(networkAround(network.address, length));
            if (found != earlier_.end() && found->first.contains(network) && found->second.first != verdict)
                return found->second.second;
        }
        return 0;
    }
    /// The line of a rule for the very same network that says the opposite; 0: none.
    std::size_t opposite(const Network& network, Verdict verdict) const {
        const auto found = earlier_.find(network);
        return found != earlier_.end() && found->second.first != verdict ? found->second.second : 0;
    }
    void add(const Network& network, Verdict verdict, std::size_t line) {
        lengths_[network.prefix_length] = true;
        earlier_.try_emplace(network, verdict, line);
    }

  private:
    std::map<Network, std::pair<Verdict, std::size_t>> earlier_;
    std::array<bool, 129> lengths_{};
};

/// Reads the lines of one format. An error ends its line: what follows could only be guessed.
class Reader {
  public:
    Reader(bool named, const ImportOptions& options, OwnReader read_own, ImportResult& result)
        : named_(named), options_(options), read_own_(read_own), result_(result) {}

    void plain(std::span<const Line> lines) { each(lines, &Reader::plainLine); }
    void haproxy(std::span<const Line> lines) { each(lines, &Reader::haproxyLine); }
    void cidr(std::span<const Line> lines);
    void drop(std::span<const Line> lines);
    void csv(std::span<const Line> lines);

  private:
    using Problem = std::optional<std::string>;
    using Read = Problem (Reader::*)(std::size_t number, std::string_view line);

    bool full() const noexcept { return result_.errors.size() >= kMaxImportErrors; }
    void note(std::size_t line, Problem problem) {
        if (problem) result_.errors.push_back({line, std::move(*problem)});
    }
    void each(std::span<const Line> lines, Read read) {
        for (const Line& line : lines) {
            if (full()) return;
            note(line.number, (this->*read)(line.number, line.text));
        }
    }

    /// A rule for all listeners, or what is wrong with it.
    Problem add(std::size_t line, std::string_view network, std::optional<Verdict> verdict,
                std::string_view text);
    Problem plainLine(std::size_t number, std::string_view line);
    Problem haproxyLine(std::size_t number, std::string_view line);
    Problem cidrLine(std::size_t number, std::string_view line);
    Problem dropLine(std::size_t number, std::string_view line);
    Problem jsonLine(std::size_t number, std::string_view line);
    Problem csvHeading(std::string_view line);
    Problem csvLine(std::size_t number, std::string_view line);
    std::string lineOfOwn(const std::vector<std::string>& cells) const;

    const bool named_;
    const ImportOptions& options_;
    OwnReader read_own_;
    ImportResult& result_;
    Precedence precedence_;
    bool list_ended_ = false;  ///< JSON: its metadata has been read
    char separator_ = ',';
    std::vector<Column> columns_;
};

std::optional<std::string> Reader::add(std::size_t line, std::string_view network,
                                       std::optional<Verdict> verdict, std::string_view text) {
    auto parsed = parseNetwork(network);
    if (auto* error = std::get_if<NetworkError>(&parsed)) return std::move(error->message);
    if (!verdict) verdict = options_.verdict;
    if (!verdict) return verdictMissing(network);
    AccessRule rule;
    rule.network = std::get<Network>(parsed);
    rule.verdict = *verdict;
    rule.note = text;
    if (std::string error = noteError(rule.note); !error.empty()) return error;
    result_.rules.push_back({std::move(rule), line});
    return std::nullopt;
}

std::optional<std::string> Reader::plainLine(std::size_t number, std::string_view line) {
    const std::string_view network = takeField(line);
    if (isComment(line)) return add(number, network, std::nullopt, "");
    if (const auto parsed = parseNetwork(network); std::holds_alternative<NetworkError>(parsed))
        return std::get<NetworkError>(parsed).message;
    return fmt::format("in a list of networks only a comment may follow {}, found \"{}\"", printable(network),
                       printable(line));
}

std::optional<std::string> Reader::haproxyLine(std::size_t number, std::string_view line) {
    const std::string network = withoutMask(takeField(line));
    if (isComment(line)) return add(number, network, std::nullopt, "");
    const std::string_view value = line;
    const auto said = verdictOf(value);
    std::string_view rest = value;
    if (const std::string_view word = takeField(rest); !said && isListWord(word))
        return fmt::format("\"{}\" is not a value of a map, \"{}\" alone would be", printable(value),
                           printable(word));
    if (!said && !options_.verdict)
        return fmt::format("\"{}\" is neither allow nor deny: use --verdict allow or --verdict deny",
                           printable(value));
    if (auto problem = add(number, network, said, said ? std::string_view() : value)) return problem;
    const AccessRule& rule = result_.rules.back().rule;
    if (const std::size_t other = precedence_.opposite(rule.network, rule.verdict))
        return fmt::format("contradicts line {}", other);
    precedence_.add(rule.network, rule.verdict, number);
    return std::nullopt;
}

/// A line that begins with white space goes on with the one before (postmap(1)).
void Reader::cidr(std::span<const Line> lines) {
    for (std::size_t at = 0; at < lines.size() && !full();) {
        std::string logical(lines[at].text);
        std::size_t next = at + 1;
        for (; next < lines.size() && (lines[next].text.front() == ' ' || lines[next].text.front() == '\t');
             ++next)
            logical.append(" ").append(trimmed(lines[next].text));
        note(lines[at].number, cidrLine(lines[at].number, logical));
        at = next;
    }
}

std::optional<std::string> Reader::cidrLine(std::size_t number, std::string_view line) {
    std::string network(takeField(line));
    if (network.front() == '!' || lowerCase(network) == "if" || lowerCase(network) == "endif")
        return fmt::format(
            "\"{}\": access rules have no negation and no if/endif: list the networks that are meant",
            printable(network));
    std::erase_if(network, [](char character) { return character == '[' || character == ']'; });
    if (auto parsed = parseNetwork(network); std::holds_alternative<NetworkError>(parsed))
        return std::move(std::get<NetworkError>(parsed).message);
    const std::string_view whole = line;
    const std::string_view action = takeField(line);
    if (action.empty()) return fmt::format("an action (OK, REJECT, ...) must follow {}", printable(network));
    const auto verdict = cidrVerdict(action);
    if (!verdict)
        return fmt::format(
            "\"{}\" neither allows nor denies a client: expected OK, PERMIT, DUNNO, "
            "REJECT, DEFER or a reply code (4xx, 5xx)",
            printable(action));
    if (auto problem = add(number, network, verdict, isReplyCode(action) ? whole : line)) return problem;
    const AccessRule& rule = result_.rules.back().rule;
    if (const std::size_t earlier = precedence_.contradicts(rule.network, rule.verdict))
        return fmt::format(
            "Postfix never reaches this line, because line {} matches {} first; in mailgate the more "
            "specific rule would win: remove this line",
            earlier, rule.network.toString());
    precedence_.add(rule.network, rule.verdict, number);
    return std::nullopt;
}

void Reader::drop(std::span<const Line> lines) {
    if (options_.verdict == Verdict::Allow) {
        note(lines.front().number, "a DROP list contains networks to deny, but --verdict says allow");
        return;
    }
    each(lines, &Reader::dropLine);
}

std::optional<std::string> Reader::dropLine(std::size_t number, std::string_view line) {
    if (line.front() == '{') return jsonLine(number, line);
    const std::string_view network = takeField(line);
    if (!isComment(line) || (!line.empty() && line.front() == '#'))
        return fmt::format("expected \"; SBL...\" after {}, found \"{}\"", printable(network),
                           printable(line));
    // A comment in somebody's list of friends looks like that too.
    if (!named_ && (line.empty() || !isSblNumber(line)))
        return fmt::format(
            "{} has no SBL number, unlike the lines before it: if this is a DROP list nevertheless, use "
            "--format drop",
            printable(network));
    return add(number, network, Verdict::Deny, line.empty() ? line : trimmed(line.substr(1)));
}

/// `{"cidr":"1.10.16.0/20","sblid":"SBL256894","rir":"apnic"}`; the last line is
/// `{"type":"metadata",...,"records":N,...}`.
std::optional<std::string> Reader::jsonLine(std::size_t number, std::string_view line) {
    try {
        Poco::JSON::Parser parser;
        parser.setDepth(kMaxJsonDepth);
        const auto object = parser.parse(std::string(line)).extract<Poco::JSON::Object::Ptr>();
        if (list_ended_) return "is after the metadata, which is the list's last line";
        if (object->optValue<std::string>("type", "") == "metadata") {
            list_ended_ = true;
            if (!object->has("records")) return std::nullopt;
            const auto records = object->getValue<std::int64_t>("records");
            if (records == static_cast<std::int64_t>(result_.rules.size())) return std::nullopt;
            return fmt::format("the list says that it has {} records, but contains {}: it is incomplete",
                               records, result_.rules.size());
        }
        if (!object->has("cidr")) return "the object has no \"cidr\"";
        return add(number, object->getValue<std::string>("cidr"), Verdict::Deny,
                   object->optValue<std::string>("sblid", ""));
    } catch (const Poco::Exception&) {
        return "is neither a JSON object with a \"cidr\" nor the list's metadata";
    }
}

void Reader::csv(std::span<const Line> lines) {
    if (auto problem = csvHeading(lines.front().text)) {
        note(lines.front().number, std::move(problem));
        return;
    }
    each(lines.subspan(1), &Reader::csvLine);
}

std::optional<std::string> Reader::csvHeading(std::string_view line) {
    separator_ = headingSeparator(line).value_or(',');
    const auto cells = cellsOf(line, separator_);
    if (!cells) return "a quote is not closed";
    for (const std::string& name : *cells) {
        const auto column = columnOf(name);
        if (!column)
            return fmt::format(
                "unknown column \"{}\": expected network, verdict, set, listener, "
                "expires, client_sessions, client_rate, owner, ticket or note",
                printable(name));
        if (std::find(columns_.begin(), columns_.end(), *column) != columns_.end())
            return fmt::format("the column \"{}\" means the same as one before it", printable(name));
        columns_.push_back(*column);
    }
    if (std::find(columns_.begin(), columns_.end(), Column::Network) == columns_.end())
        return "the first line must name the columns, and one of them must be network";
    return std::nullopt;
}

/// The row as a line of our own format, so that its options are read as there.
std::string Reader::lineOfOwn(const std::vector<std::string>& cells) const {
    std::string line;
    for (std::size_t at = 0; at < cells.size(); ++at) {
        if (cells[at].empty()) continue;
        switch (columns_[at]) {
            case Column::Network:
                line.insert(0, cells[at]);
                break;
            case Column::Set:
                line += " set=" + cells[at];
                break;
            case Column::Listener:
                line += " listener=" + cells[at];
                break;
            case Column::Expires:
                line += " expires=" + cells[at];
                break;
            case Column::Sessions:
                line += " client_sessions=" + cells[at];
                break;
            case Column::Rate:
                line += " client_rate=" + cells[at];
                break;
            case Column::Verdict:
            case Column::Owner:
            case Column::Ticket:
            case Column::Note:
                break;
        }
    }
    return line;
}

std::optional<std::string> Reader::csvLine(std::size_t number, std::string_view line) {
    const auto cells = cellsOf(line, separator_);
    if (!cells) return "a quote is not closed, or there is something after a quoted cell";
    if (cells->size() != columns_.size())
        return fmt::format("has {} {} where the heading has {}", cells->size(),
                           cells->size() == 1 ? "cell" : "cells", columns_.size());
    ImportOptions options = options_;
    std::string text, owner, ticket;
    for (std::size_t at = 0; at < cells->size(); ++at) {
        const std::string& cell = (*cells)[at];
        if (columns_[at] == Column::Note) {
            text = cell;
        } else if (columns_[at] == Column::Owner || columns_[at] == Column::Ticket) {
            if (std::string error = tagError(cell); !error.empty()) return error;
            (columns_[at] == Column::Owner ? owner : ticket) = cell;
        } else if (cell.find_first_of(" \t\"#;") != std::string::npos) {
            return fmt::format("\"{}\" is not one word", printable(cell));
        } else if (columns_[at] == Column::Network && cell.empty()) {
            return "has no network";
        } else if (columns_[at] == Column::Verdict && !cell.empty()) {
            options.verdict = verdictOf(cell);
            if (!options.verdict) return fmt::format("\"{}\" is neither allow nor deny", printable(cell));
        }
    }
    if (std::string error = noteError(text); !error.empty()) return error;
    options.format = ImportFormat::Mailgate;
    options.may_be_cut = options.end_mark_required = false;
    ImportResult row = read_own_(lineOfOwn(*cells) + "\n", options);
    if (!row.errors.empty()) return std::move(row.errors.front().message);
    for (ImportedRule& one : row.rules) {
        one.line = number;
        one.rule.note = text;
        one.rule.owner = owner;
        one.rule.ticket = ticket;
        result_.rules.push_back(std::move(one));
    }
    return std::nullopt;
}

/// What the line alone leaves no doubt about; Auto: it could be of several formats.
std::variant<ImportFormat, ImportError> tell(const Line& line) {
    if (line.text.front() == '{') return ImportFormat::Drop;
    std::string_view rest = line.text;
    const std::string_view first = takeField(rest);
    if (first == "allow" || first == "deny") return ImportFormat::Mailgate;
    if (first.front() == '!' || first == "if" || first == "endif") return ImportFormat::Cidr;
    if (isComment(rest)) {
        const bool sbl = !rest.empty() && isSblNumber(rest);
        return sbl ? ImportFormat::Drop : ImportFormat::Auto;
    }
    const std::string_view second = takeField(rest);
    if (looksLikeOption(second)) return ImportFormat::Mailgate;
    if (isCidrWord(second)) return ImportFormat::Cidr;
    if (verdictOf(second) && rest.empty()) return ImportFormat::Haproxy;
    if (const auto parsed = parseNetwork(first); std::holds_alternative<NetworkError>(parsed))
        return ImportError{line.number, std::get<NetworkError>(parsed).message};
    return ImportError{
        line.number,
        fmt::format("the meaning of \"{}\" after {} is unclear: name the format with --format plain, "
                    "cidr, haproxy, drop, csv or mailgate",
                    printable(second), printable(first))};
}

}  // namespace

std::optional<Verdict> verdictOf(std::string_view word) {
    const std::string lower = lowerCase(word);
    if (isOneOf(lower, kAllowing)) return Verdict::Allow;
    if (isOneOf(lower, kDenying)) return Verdict::Deny;
    return std::nullopt;
}

bool isListWord(std::string_view word) {
    return verdictOf(word) || cidrVerdict(word) || isOneOf(lowerCase(word), kOtherActions);
}

bool looksLikeOption(std::string_view word) noexcept {
    constexpr std::string_view kNames = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    const std::size_t end = word.find_first_not_of(kNames);
    return end != 0 && end != std::string_view::npos && word[end] == '=';
}

std::string verdictMissing(std::string_view network) {
    return fmt::format("there is no verdict for {}: use --verdict allow or --verdict deny",
                       printable(network));
}

std::variant<ImportFormat, ImportError> recognize(std::span<const Line> lines) {
    if (!lines.empty() && isHeading(lines.front().text)) return ImportFormat::Csv;
    for (const Line& line : lines) {
        auto told = tell(line);
        if (const auto* format = std::get_if<ImportFormat>(&told); format && *format == ImportFormat::Auto)
            continue;
        return told;
    }
    return ImportFormat::Plain;
}

void read(ImportFormat format, bool named, std::span<const Line> lines, const ImportOptions& options,
          OwnReader read_own, ImportResult& result) {
    if (lines.empty()) return;
    Reader reader(named, options, read_own, result);
    switch (format) {
        case ImportFormat::Plain:
            return reader.plain(lines);
        case ImportFormat::Cidr:
            return reader.cidr(lines);
        case ImportFormat::Haproxy:
            return reader.haproxy(lines);
        case ImportFormat::Drop:
            return reader.drop(lines);
        case ImportFormat::Csv:
            return reader.csv(lines);
        case ImportFormat::Auto:
        case ImportFormat::Mailgate:
            return;
    }
}

}  // namespace mailgate::store::import
