// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_formats.h"

#include "protocols/values/network_range.h"
#include "protocols/values/text.h"
#include "store/rules/import_dumps.h"
#include "store/rules/import_rows.h"
#include "store/rules/new_name.h"

#include <Poco/Dynamic/Var.h>
#include <Poco/Exception.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <utility>

namespace mailgate::store::import {

namespace {

using Words = std::span<const std::string_view>;

constexpr std::array<std::string_view, 5> kAllowing{"allow", "permit", "accept", "ok", "pass"};
constexpr std::array<std::string_view, 4> kDenying{"deny", "reject", "drop", "block"};
// access(5): what neither lets a client in nor keeps it out.
constexpr std::array<std::string_view, 10> kOtherActions{
    "bcc", "defer_if_reject", "discard", "filter", "hold", "info", "prepend", "redirect", "warn", "ban"};
// What a value of a map says in somebody's own words: of those who are not meant to come in, of those who are, and of
// those whom the map is not about. A 1 or a yes may be any.
constexpr std::array<std::string_view, 15> kDenied{
    "denied",      "rejected",  "dropped",     "blocked",  "banned",     "refused", "forbidden", "blocklist",
    "blacklisted", "blacklist", "blocklisted", "disallow", "disallowed", "spam",    "bad"};
constexpr std::array<std::string_view, 10> kAllowed{"allowed",   "permitted",   "accepted",  "passed",
                                                    "trusted",   "whitelisted", "whitelist", "allowlisted",
                                                    "allowlist", "good"};
constexpr std::array<std::string_view, 4> kNeither{"no", "false", "0", "off"};
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

/// What a line says of the clients of its network, besides its note.
struct Says {
    std::optional<Verdict> verdict{};  ///< none: what is asked for
    std::optional<RuleReply> reply{};  ///< none: it is silent about that
};

constexpr std::string_view kRelay = "relay", kDunno = "dunno";

/// What access(5) has the server do with a client. DUNNO: nothing against it. DEFER_IF_PERMIT: whatever else decides, the
/// client does not come in, and may try again.
std::optional<Says> postfixSays(std::string_view action) {
    const std::string word = lowerCase(action);
    if (word == "ok" || word == "permit" || word == kRelay || word == kDunno) return Says{Verdict::Allow};
    if (word == "defer" || word == "defer_if_permit" || (isReplyCode(word) && word.front() == '4'))
        return Says{Verdict::Deny, RuleReply{.temporary = true}};
    if (word == "reject" || isReplyCode(word)) return Says{Verdict::Deny, RuleReply{}};
    return std::nullopt;
}

/// Behind an address it leaves no doubt about the format. RELAY does where nothing follows it: notes begin with that.
bool isPostfixWord(std::string_view word, std::string_view rest) {
    const std::string lower = lowerCase(word);
    if (lower == kRelay) return rest.empty();
    return postfixSays(word) || (isOneOf(lower, kOtherActions) && lower != "ban");
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
    Note,
    Ignored,
    Unnamed
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
    std::string lower = lowerCase(trimmed(name));
    std::replace(lower.begin(), lower.end(), ' ', '_');  // "IP Address"
    const auto found = std::find_if(std::begin(kColumnNames), std::end(kColumnNames),
                                    [&](const ColumnName& known) { return known.name == lower; });
    return found == std::end(kColumnNames) ? std::nullopt : std::optional(found->column);
}

/// "network (cidr, ip), verdict (action), set"
std::string columnNames() {
    std::string text;
    for (auto name = std::begin(kColumnNames); name != std::end(kColumnNames);) {
        const Column column = name->column;
        text.append(text.empty() ? "" : ", ").append(name->name);
        std::string others;
        for (++name; name != std::end(kColumnNames) && name->column == column; ++name)
            others.append(others.empty() ? "" : ", ").append(name->name);
        if (!others.empty()) text += fmt::format(" ({})", others);
    }
    return text;
}

bool namesNetworks(std::string_view word) {
    return std::holds_alternative<std::vector<Network>>(parseNetworks(word));
}

std::string notANetwork(std::string_view word, const NetworkError& error) {
    if (!isRuleName(word)) return error.message + nameMeant(word);
    return fmt::format("{}: of lists, those of the formats mailgate and csv may have names", printable(word));
}

/// Several in one line may be a list, a network and its mask, or the ends of a range.
std::string severalNetworks(std::string_view first, std::string_view second) {
    return fmt::format(
        "{} after {}: a list has one network a line (tr ' ' '\\n' parts them); a mask and the end of a range "
        "stand "
        "without blanks, as in 10.0.0.0/255.0.0.0 and 192.0.2.10-192.0.2.20",
        printable(second), printable(first));
}

constexpr std::string_view kNoHeading =
    "this looks like CSV: its first line must name the columns, such as network,verdict,note";

/// A row, and no heading. Tabs are between other things, too.
bool looksLikeRow(std::string_view line) {
    return import::looksLikeRow(line, ',') || import::looksLikeRow(line, ';');
}

/// A decimal number up to `most`, without zeros in front; none: it is no such number.
std::optional<unsigned> smallNumber(std::string_view text, int base, unsigned most) noexcept {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc() || end != text.data() + text.size() || value > most) return std::nullopt;
    return base == 10 && text.size() > 1 && text.front() == '0' ? std::nullopt : std::optional(value);
}

/// access(5) names networks by their first octets, or groups: "192.168" is 192.168.0.0/16, "2001:db8" 2001:db8::/32.
/// None: it is no such pattern.
std::optional<std::string> networkOfOctets(std::string_view pattern) {
    const bool v6 = pattern.find(':') != std::string_view::npos;
    const std::size_t most = v6 ? 7 : 3;
    std::size_t parts = 0;
    std::string_view rest = pattern;
    while (true) {
        const std::size_t end = std::min(rest.find(v6 ? ':' : '.'), rest.size());
        if (++parts > most || !smallNumber(rest.substr(0, end), v6 ? 16 : 10, v6 ? 0xFFFF : 0xFF))
            return std::nullopt;
        if (end == rest.size()) break;
        rest.remove_prefix(end + 1);
    }
    if (v6) return fmt::format("{}::/{}", pattern, parts * 16);
    std::string network(pattern);
    for (std::size_t part = parts; part <= most; ++part)
        network += ".0";
    return fmt::format("{}/{}", network, parts * 8);
}

/// Rules whose order says which one counts, there, while here the more specific one does: what would change
/// sides by that is found.
class Precedence {
  public:
    /// What becomes of a client.
    struct Decision {
        Verdict verdict;
        RuleReply reply;

        friend bool operator==(const Decision&, const Decision&) = default;
    };

    /// The line of an earlier rule that decides for the whole network, otherwise than this one; 0: none.
    std::size_t contradicts(const Network& network, const Decision& decision) const {
        for (unsigned length = 0; length <= network.prefix_length; ++length) {
            if (!lengths_[length]) continue;
            const auto found = earlier_.find(networkAround(network.address, length));
            if (found != earlier_.end() && found->first.contains(network) &&
                !(found->second.first == decision))
                return found->second.second;
        }
        return 0;
    }
    /// The line of a rule for the very same network that says something else; 0: none.
    std::size_t opposite(const Network& network, const Decision& decision) const {
        const auto found = earlier_.find(network);
        return found != earlier_.end() && !(found->second.first == decision) ? found->second.second : 0;
    }
    void add(const Network& network, const Decision& decision, std::size_t line) {
        lengths_[network.prefix_length] = true;
        earlier_.try_emplace(network, decision, line);
    }

  private:
    std::map<Network, std::pair<Decision, std::size_t>> earlier_;
    std::array<bool, 129> lengths_{};
};

/// Reads the lines of one format. An error ends its line: what follows could only be guessed.
class Reader {
  public:
    Reader(bool named, const ImportOptions& options, OwnReader read_own, ImportResult& result)
        : named_(named), options_(options), read_own_(read_own), result_(result) {}

    void plain(std::span<const Line> lines) { each(lines, &Reader::plainLine); }
    void nginx(std::span<const Line> lines) { each(lines, &Reader::nginxLine); }
    void access(std::span<const Line> lines) {
        in_order_ = false;
        joined(lines, &Reader::accessLine);
    }
    void cidr(std::span<const Line> lines) { joined(lines, &Reader::cidrLine); }
    void dump(Dump dump);
    void haproxy(std::span<const Line> lines) { each(lines, &Reader::haproxyLine); }
    void drop(std::span<const Line> lines);
    void csv(std::span<const Line> lines);

  private:
    using Problem = std::optional<std::string>;
    using Read = Problem (Reader::*)(std::size_t number, std::string_view line);

    /// In the line that is being read.
    std::size_t place(std::string_view part) const noexcept { return placeIn(line_, part); }
    bool full() const noexcept { return result_.errors.size() >= kMaxImportErrors; }
    void note(const Line& line, Problem problem) {
        if (!problem) return;
        ImportError error{line.number, std::move(*problem), placeIn(line.text, at_)};
        if (error.column > 0) {  // of a row of several lines, in the one where it is
            const std::string_view before =
                line.text.substr(0, static_cast<std::size_t>(at_.data() - line.text.data()));
            error.line += static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n'));
            error.column = placeIn(line.text.substr(before.find_last_of('\n') + 1), at_);
        }
        result_.errors.push_back(std::move(error));
    }
    void each(std::span<const Line> lines, Read read) {
        std::size_t done = 0;
        for (const Line& line : lines) {
            if (full()) return;
            if (options_.progress != nullptr)
                options_.progress->tell(Progress::Step::Read, done++, lines.size());
            readOne(line, read);
        }
    }
    void readOne(const Line& line, Read read) {
        line_ = line.text;
        at_ = trimmed(line.text);
        note(line, (this->*read)(line.number, line.text));
    }
    /// A line that begins with white space goes on with the one before (postmap(1)).
    void joined(std::span<const Line> lines, Read read);
    /// The next word, at which an error found from now on is.
    std::string_view takeWord(std::string_view& rest) {
        const std::string_view word = takeField(rest);
        if (!word.empty()) at_ = word;
        return word;
    }

    /// Rules for all listeners, or what is wrong with them.
    Problem add(std::size_t line, std::string_view network, const Says& says, std::string_view text,
                std::optional<UnixSeconds> expires_at = std::nullopt);
    /// Likewise, where the first line that matches a client decides, and this one may be none for anybody.
    Problem addInOrder(std::size_t line, std::string_view network, const Says& says, std::string_view text,
                       std::string_view program);
    /// Likewise, where no two lines may say different things of a network.
    Problem addConsistent(std::size_t line, std::string_view network, const Says& says,
                          std::string_view text);
    Problem accessEntry(std::size_t number, std::string_view pattern, std::string_view network,
                        std::string_view line);
    Problem nginxLine(std::size_t number, std::string_view line);
    Problem accessLine(std::size_t number, std::string_view line);
    Problem plainLine(std::size_t number, std::string_view line);
    Problem haproxyLine(std::size_t number, std::string_view line);
    Problem cidrLine(std::size_t number, std::string_view line);
    Problem dropLine(std::size_t number, std::string_view line);
    Problem jsonLine(std::size_t number, std::string_view line);
    bool isIgnored(std::string_view column) const;
    Problem csvHeading(std::string_view line);
    Problem readDate(std::string& cell) const;
    Problem csvLine(std::size_t number, std::string_view line);
    std::string lineOfOwn(const std::vector<std::string>& cells, std::vector<std::size_t>& begins) const;

    const bool named_;
    const ImportOptions& options_;
    OwnReader read_own_;
    ImportResult& result_;
    std::string_view line_;
    std::string_view at_;  ///< what an error is about: a part of the line
    Precedence precedence_;
    bool in_order_ = true;     ///< the first line that matches decides
    bool list_ended_ = false;  ///< JSON: its metadata has been read
    char separator_ = ',';
    std::vector<Column> columns_;
};

std::optional<std::string> Reader::add(std::size_t line, std::string_view network, const Says& says,
                                       std::string_view text, std::optional<UnixSeconds> expires_at) {
    auto parsed = parseNetworks(network);
    if (const auto* error = std::get_if<NetworkError>(&parsed)) return notANetwork(network, *error);
    const auto verdict = says.verdict ? says.verdict : options_.verdict;
    if (!verdict) {
        result_.without_verdict.add(line, place(network), network);
        return std::nullopt;
    }
    if (std::string error = noteError(text); !error.empty()) return error;
    if (!isUtf8(text)) result_.not_utf8.add(line, place(text), text);
    AccessRule rule;
    rule.verdict = *verdict;
    rule.note = text;
    rule.expires_at = expires_at;
    rule.reply = says.reply.value_or(RuleReply{});
    for (const Network& one : std::get<std::vector<Network>>(parsed)) {
        rule.network = one;
        result_.rules.push_back({.rule = rule, .line = line, .names_reply = says.reply.has_value()});
    }
    return std::nullopt;
}

std::optional<std::string> Reader::addInOrder(std::size_t line, std::string_view network, const Says& says,
                                              std::string_view text, std::string_view program) {
    const std::size_t first = result_.rules.size();
    if (auto problem = add(line, network, says, text)) return problem;
    for (std::size_t at = first; at < result_.rules.size(); ++at) {
        const AccessRule rule = result_.rules[at].rule;
        if (const std::size_t earlier = precedence_.contradicts(rule.network, {rule.verdict, rule.reply}))
            return fmt::format(
                "{} never reaches this line, because line {} matches {} first; in mailgate the more "
                "specific rule would win: remove this line",
                program, earlier, rule.network.toString());
    }
    for (std::size_t at = first; at < result_.rules.size(); ++at) {
        const AccessRule rule = result_.rules[at].rule;
        precedence_.add(rule.network, {rule.verdict, rule.reply}, line);
    }
    return std::nullopt;
}

std::optional<std::string> Reader::addConsistent(std::size_t line, std::string_view network, const Says& says,
                                                 std::string_view text) {
    const std::size_t first = result_.rules.size();
    if (auto problem = add(line, network, says, text)) return problem;
    for (std::size_t at = first; at < result_.rules.size(); ++at) {
        const AccessRule rule = result_.rules[at].rule;
        const Precedence::Decision decision{rule.verdict, rule.reply};
        if (const std::size_t other = precedence_.opposite(rule.network, decision))
            return fmt::format("contradicts line {}", other);
        precedence_.add(rule.network, decision, line);
    }
    return std::nullopt;
}

std::optional<std::string> Reader::plainLine(std::size_t number, std::string_view line) {
    const std::string_view network = takeWord(line);
    if (isComment(line)) return add(number, network, {}, "");
    if (const auto parsed = parseNetworks(network); std::holds_alternative<NetworkError>(parsed))
        return notANetwork(network, std::get<NetworkError>(parsed));
    at_ = line;
    std::string_view rest = line;
    if (const std::string_view second = takeField(rest); namesNetworks(second))
        return severalNetworks(network, second);
    return fmt::format("in a list of networks only a comment may follow {}, found \"{}\"", printable(network),
                       printable(line));
}

std::optional<std::string> Reader::haproxyLine(std::size_t number, std::string_view line) {
    const std::string_view network = takeWord(line);
    if (isComment(line)) return add(number, network, {}, "");
    const std::string_view value = line;
    const auto said = verdictOf(value);
    std::string_view rest = value;
    at_ = value;
    const std::string_view word = takeField(rest);
    if (namesNetworks(word)) return severalNetworks(network, word);
    if (!said && isListWord(word))
        return fmt::format("\"{}\" is not a value of a map, \"{}\" alone would be", printable(value),
                           printable(word));
    const std::string lower = lowerCase(word);
    if (options_.verdict && !said &&
        (isOneOf(lower, kNeither) ||
         isOneOf(lower, options_.verdict == Verdict::Allow ? Words(kDenied) : Words(kAllowed))))
        return fmt::format("\"{}\" does not sound like one to {}: write what is meant, allow or deny",
                           printable(value), toString(*options_.verdict));
    if (!said && !options_.verdict)
        return fmt::format("\"{}\" is neither allow nor deny: use --verdict allow or --verdict deny",
                           printable(value));
    at_ = network;
    return addConsistent(number, network, {said}, said ? std::string_view() : value);
}

std::optional<std::string> Reader::nginxLine(std::size_t number, std::string_view line) {
    line = trimmed(line);
    while (!line.empty() && line.front() != '#') {
        const std::string_view word = takeWord(line);
        if (word != "allow" && word != "deny")
            return fmt::format("expected \"allow NETWORK;\" or \"deny NETWORK;\", found \"{}\"",
                               printable(word));
        const std::size_t end = line.find(';');
        const std::string_view network = trimmed(line.substr(0, end));
        at_ = network.empty() ? word : network;
        if (end == std::string_view::npos) return "the directive does not end with a semicolon";
        line = trimmed(line.substr(end + 1));
        if (network == "all")
            return "what no rule matches is decided by the listener's access: \"allowlist\" refuses it, "
                   "\"open\" admits it; remove this line";
        if (auto problem =
                addInOrder(number, network, {word == "allow" ? Verdict::Allow : Verdict::Deny}, "", "nginx"))
            return problem;
    }
    return std::nullopt;
}

/// The set's name and its verdict are one: what the members are for is nowhere else to be read.
void Reader::dump(Dump dump) {
    for (const Element& element : dump.elements) {
        if (full()) return;
        std::optional<UnixSeconds> expires_at;
        if (element.lifetime) expires_at = options_.now + *element.lifetime;
        line_ = {};
        if (auto problem = add(element.line, element.network, {}, element.comment, expires_at))
            result_.errors.push_back({element.line, std::move(*problem), element.column});
    }
    if (dump.error && !full()) result_.errors.push_back(std::move(*dump.error));
}

void Reader::joined(std::span<const Line> lines, Read read) {
    for (std::size_t at = 0; at < lines.size() && !full();) {
        const auto goesOn = [&](std::size_t line) {
            return line < lines.size() &&
                   (lines[line].text.front() == ' ' || lines[line].text.front() == '\t');
        };
        std::size_t next = at + 1;
        if (!goesOn(next)) {
            readOne(lines[at], read);
        } else {
            std::string logical(lines[at].text);
            for (; goesOn(next); ++next)
                logical.append(" ").append(trimmed(lines[next].text));
            readOne({lines[at].number, logical}, read);
            // Of a line in parts only the first part's columns are those of the file.
            if (!result_.errors.empty() && result_.errors.back().line == lines[at].number &&
                result_.errors.back().column > lines[at].text.size())
                result_.errors.back().column = 0;
        }
        at = next;
    }
}

std::optional<std::string> Reader::cidrLine(std::size_t number, std::string_view line) {
    const std::string_view pattern = takeWord(line);
    std::string network(pattern);
    if (network.front() == '!' || lowerCase(network) == "if" || lowerCase(network) == "endif")
        return fmt::format(
            "\"{}\": access rules have no negation and no if/endif: list the networks that are meant",
            printable(network));
    std::erase_if(network, [](char character) { return character == '[' || character == ']'; });
    if (auto parsed = parseNetworks(network); std::holds_alternative<NetworkError>(parsed))
        return std::move(std::get<NetworkError>(parsed).message);
    return accessEntry(number, pattern, network, line);
}

/// A look-up of an indexed map asks for the address, then for ever fewer of its octets: the more specific one wins,
/// as here.
std::optional<std::string> Reader::accessLine(std::size_t number, std::string_view line) {
    const std::string_view pattern = takeWord(line);
    if (pattern.find('/') != std::string_view::npos)
        return fmt::format(
            "\"{}\": an indexed map has no networks in CIDR form: Postfix would never find this line; if it "
            "is a "
            "cidr_table, use --format cidr",
            printable(pattern));
    const bool address = std::holds_alternative<Network>(parseNetwork(pattern));
    const auto octets = address ? std::nullopt : networkOfOctets(pattern);
    if (!address && !octets)
        return fmt::format(
            "\"{}\" is neither an address nor the first octets of a network such as 192.168: names of hosts, "
            "domains and senders are no access rules",
            printable(pattern));
    return accessEntry(number, pattern, octets ? *octets : std::string(pattern), line);
}

/// What access(5) says of a network.
std::optional<std::string> Reader::accessEntry(std::size_t number, std::string_view pattern,
                                               std::string_view network, std::string_view line) {
    const std::string_view whole = line;
    const std::string_view action = takeWord(line);
    if (action.empty()) return fmt::format("an action (OK, REJECT, ...) must follow {}", printable(network));
    if (isDigits(action) && line.empty())
        return fmt::format(
            "\"{}\" alone is OK to Postfix, as every number without a text is: write what is meant, OK, "
            "REJECT, "
            "DEFER, or a reply code with a text (450 4.7.1 later)",
            printable(action));
    const auto says = postfixSays(action);
    if (!says)
        return fmt::format(
            "\"{}\" neither allows nor denies a client: expected OK, PERMIT, RELAY, DUNNO, REJECT, DEFER, "
            "DEFER_IF_PERMIT or a reply code with a text (450 4.7.1 later)",
            printable(action));
    at_ = pattern;
    if (lowerCase(action) == kDunno) result_.undecided.add(number, place(pattern), pattern);
    const std::string_view text = isReplyCode(action) ? whole : line;
    return in_order_ ? addInOrder(number, network, *says, text, "Postfix")
                     : addConsistent(number, network, *says, text);
}

void Reader::drop(std::span<const Line> lines) {
    if (options_.verdict == Verdict::Allow) {
        note(lines.front(),
             lines.front().text.front() == '{'
                 ? "JSON is read as Spamhaus' DROP list, which contains networks to deny, but --verdict says "
                   "allow: of other JSON give a network a line, e.g. by jq"
                 : "a DROP list contains networks to deny, but --verdict says allow");
        return;
    }
    each(lines, &Reader::dropLine);
}

std::optional<std::string> Reader::dropLine(std::size_t number, std::string_view line) {
    if (line.front() == '{') return jsonLine(number, line);
    const std::string_view network = takeWord(line);
    if (!isComment(line) || (!line.empty() && line.front() == '#'))
        return fmt::format("expected \"; SBL...\" after {}, found \"{}\"", printable(network),
                           printable(line));
    // A comment in somebody's list of friends looks like that too.
    if (!named_ && (line.empty() || !isSblNumber(line)))
        return fmt::format(
            "{} has no SBL number, unlike the lines before it: if this is a DROP list nevertheless, use "
            "--format drop",
            printable(network));
    return add(number, network, {Verdict::Deny}, line.empty() ? line : trimmed(line.substr(1)));
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
        return add(number, object->getValue<std::string>("cidr"), {Verdict::Deny},
                   object->optValue<std::string>("sblid", ""));
    } catch (const Poco::Exception&) {
        return "is neither a JSON object with a \"cidr\" nor the list's metadata";
    }
}

void Reader::csv(std::span<const Line> lines) {
    if (auto problem = csvHeading(lines.front().text)) {
        note(lines.front(), std::move(problem));
        return;
    }
    each(lines.subspan(1), &Reader::csvLine);
}

std::optional<std::string> Reader::csvHeading(std::string_view line) {
    separator_ = headingSeparator(line).value_or(',');
    const auto cells = cellsOf(line, separator_);
    if (!cells) return "a quote is not closed";
    const std::vector<std::string>& names = cells->texts;
    for (std::size_t at = 0; at < names.size(); ++at) {
        const std::string& name = names[at];
        at_ = line.substr(cells->starts[at]);
        const auto column = isIgnored(name) ? Column::Ignored
                            : name.empty()  ? Column::Unnamed
                                            : columnOf(name);
        if (!column && looksLikeRow(line)) return std::string(kNoHeading);
        if (!column)
            return fmt::format(
                "unknown column \"{}\": expected {}; --ignore-columns leaves out columns that are named",
                printable(name), columnNames());
        if (column != Column::Ignored && column != Column::Unnamed &&
            std::find(columns_.begin(), columns_.end(), *column) != columns_.end())
            return fmt::format("the column \"{}\" means the same as one before it", printable(name));
        columns_.push_back(*column);
    }
    at_ = line;
    for (const std::string& ignored : options_.ignored_columns)
        if (std::none_of(names.begin(), names.end(),
                         [&](const std::string& name) { return sameText(trimmed(ignored), trimmed(name)); }))
            return fmt::format("--ignore-columns: the heading has no column \"{}\"", printable(ignored));
    if (std::find(columns_.begin(), columns_.end(), Column::Network) == columns_.end())
        return "the first line must name the columns, and one of them must be network";
    return std::nullopt;
}

bool Reader::isIgnored(std::string_view column) const {
    return std::any_of(options_.ignored_columns.begin(), options_.ignored_columns.end(),
                       [&](const std::string& name) { return sameText(trimmed(name), trimmed(column)); });
}

/// What our own format calls a column's value; empty: it is none of its options.
std::string_view optionOf(Column column) noexcept {
    switch (column) {
        case Column::Set:
            return "set=";
        case Column::Listener:
            return "listener=";
        case Column::Expires:
            return "expires=";
        case Column::Sessions:
            return "client_sessions=";
        case Column::Rate:
            return "client_rate=";
        case Column::Network:
        case Column::Verdict:
        case Column::Owner:
        case Column::Ticket:
        case Column::Note:
        case Column::Ignored:
        case Column::Unnamed:
            break;
    }
    return {};
}

/// The row as a line of our own format, so that its options are read as there; `begins`: where each cell is in it.
std::string Reader::lineOfOwn(const std::vector<std::string>& cells, std::vector<std::size_t>& begins) const {
    std::string line;
    begins.assign(cells.size(), std::string::npos);
    for (std::size_t at = 0; at < cells.size(); ++at)
        if (columns_[at] == Column::Network) {
            begins[at] = 0;
            line = cells[at];
        }
    for (std::size_t at = 0; at < cells.size(); ++at) {
        const std::string_view option = optionOf(columns_[at]);
        if (cells[at].empty() || option.empty()) continue;
        begins[at] = line.size();
        line.append(" ").append(option).append(cells[at]);
    }
    return line;
}

/// Our own format has RFC 3339, and what may have blanks in it here would be several words there.
std::optional<std::string> Reader::readDate(std::string& cell) const {
    if (cell == "never" || parseUtc(cell)) return std::nullopt;
    const auto time = options_.local_time ? options_.local_time(cell) : std::nullopt;
    if (!time)
        return fmt::format(
            "\"{}\" is not a time: expected a date such as 2026-12-31, perhaps with a time, as in 2026-12-31 "
            "18:00, RFC 3339, or never",
            printable(cell));
    cell = formatUtc(*time);
    return std::nullopt;
}

std::optional<std::string> Reader::csvLine(std::size_t number, std::string_view line) {
    auto row = cellsOf(line, separator_);
    if (!row)
        return "a quote is not closed, or there is something after a quoted cell, or a line in a cell looks "
               "like a row";
    std::vector<std::string>& cells = row->texts;
    // What is empty throughout, spreadsheets save, too.
    if (std::all_of(cells.begin(), cells.end(), [](const std::string& cell) { return cell.empty(); }))
        return std::nullopt;
    while (cells.size() > columns_.size() && cells.back().empty())
        cells.pop_back();
    if (cells.size() != columns_.size())
        return fmt::format("has {} {} where the heading has {}", cells.size(),
                           cells.size() == 1 ? "cell" : "cells", columns_.size());
    ImportOptions options = options_;
    std::string text, owner, ticket;
    for (std::size_t at = 0; at < cells.size(); ++at) {
        std::string& cell = cells[at];
        at_ = line.substr(row->starts[at]);
        if (columns_[at] == Column::Ignored) continue;
        if (columns_[at] == Column::Unnamed) {
            if (cell.empty()) continue;
            return fmt::format(
                "\"{}\" is in a column without a name: name it, or leave it out with --ignore-columns \"\"",
                printable(cell));
        }
        if (columns_[at] == Column::Expires && !cell.empty()) {
            if (auto error = readDate(cell)) return error;
        } else if (columns_[at] == Column::Note) {
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
    at_ = line;
    if (std::string error = noteError(text); !error.empty()) return error;
    options.format = ImportFormat::Mailgate;
    options.may_be_cut = options.end_mark_required = false;
    options.ignored_columns.clear();
    std::vector<std::size_t> begins;
    ImportResult read = read_own_(lineOfOwn(cells, begins) + "\n", options);
    if (read.without_verdict.count > 0) {
        result_.without_verdict.add(number, 0, read.without_verdict.what);
        return std::nullopt;
    }
    if (!isUtf8(text)) result_.not_utf8.add(number, 0, text);
    if (!read.errors.empty()) {
        const std::size_t column = read.errors.front().column;
        std::size_t found = 0;  // the cell that begins last before it
        for (std::size_t at = 0, last = 0; at < begins.size(); ++at)
            if (begins[at] < column && begins[at] >= last) {
                found = at;
                last = begins[at];
            }
        at_ = line.substr(row->starts[found]);
        return std::move(read.errors.front().message);
    }
    for (ImportedRule one : read.rules) {
        one.line = number;
        one.rule.note = text;
        one.rule.owner = owner;
        one.rule.ticket = ticket;
        result_.rules.push_back(one);
    }
    return std::nullopt;
}

/// Behind an address: "2026-11-27 18:00:00 + 600 = 2026-11-27 18:10:00", as fail2ban-client writes it.
bool isTimeOfBan(std::string_view day, std::string_view rest) noexcept {
    return day.size() == 10 && day[4] == '-' && day[7] == '-' && rest.find(" + ") != std::string_view::npos &&
           rest.find(" = ") != std::string_view::npos;
}

/// What the line alone leaves no doubt about; Auto: it could be of several formats.
std::variant<ImportFormat, ImportError> tell(const Line& line) {
    if (line.text.front() == '{') return ImportFormat::Drop;
    std::string_view rest = line.text;
    const std::string_view first = takeField(rest);
    if (first == "allow" || first == "deny") {
        const std::string_view network = takeField(rest);
        return network.find(';') == std::string_view::npos ? ImportFormat::Mailgate : ImportFormat::Nginx;
    }
    if ((first == "create" || first == "add") && !rest.empty()) return ImportFormat::Ipset;
    if ((first == "table" || first == "set") && rest.find('{') != std::string_view::npos)
        return ImportFormat::Nft;
    if (first.front() == '!' || first == "if" || first == "endif") return ImportFormat::Cidr;
    if (isRuleName(first)) return ImportFormat::Mailgate;
    if (isComment(rest)) {
        if (!namesNetworks(first) && looksLikeRow(line.text))
            return ImportError{line.number, std::string(kNoHeading)};
        const bool sbl = !rest.empty() && isSblNumber(rest);
        return sbl ? ImportFormat::Drop : ImportFormat::Auto;
    }
    const std::string_view second = takeField(rest);
    if (looksLikeOption(second)) return ImportFormat::Mailgate;
    if (isPostfixWord(second, rest)) return ImportFormat::Cidr;
    if (verdictOf(second) && rest.empty()) return ImportFormat::Haproxy;
    if (looksLikeRow(line.text)) return ImportError{line.number, std::string(kNoHeading)};
    if (const auto parsed = parseNetworks(first); std::holds_alternative<NetworkError>(parsed))
        return ImportError{line.number, notANetwork(first, std::get<NetworkError>(parsed)),
                           placeIn(line.text, first)};
    if (second == "-")
        return ImportError{line.number, "a range is one word, such as 192.0.2.10-192.0.2.20",
                           placeIn(line.text, second)};
    if (isTimeOfBan(second, rest))
        return ImportError{line.number,
                           fmt::format("{} has the times of its ban: leave out fail2ban-client's --with-time "
                                       "(fail2ban-client get JAIL banip | tr ' ' '\\n')",
                                       printable(first)),
                           placeIn(line.text, second)};
    if (namesNetworks(second))
        return ImportError{line.number, severalNetworks(first, second), placeIn(line.text, second)};
    return ImportError{line.number,
                       fmt::format("the meaning of \"{}\" after {} is unclear: name the format with --format",
                                   printable(second), printable(first)),
                       placeIn(line.text, second)};
}

/// Where only an address has an action, both kinds of Postfix' tables mean the same by it.
ImportFormat tellPostfix(std::span<const Line> lines) {
    const bool octets = std::any_of(lines.begin(), lines.end(), [](const Line& line) {
        std::string_view rest = line.text;
        const std::string_view first = takeField(rest);
        return std::holds_alternative<NetworkError>(parseNetwork(first)) && networkOfOctets(first);
    });
    return octets ? ImportFormat::Access : ImportFormat::Cidr;
}

}  // namespace

std::optional<Verdict> verdictOf(std::string_view word) {
    const std::string lower = lowerCase(word);
    if (isOneOf(lower, kAllowing)) return Verdict::Allow;
    if (isOneOf(lower, kDenying)) return Verdict::Deny;
    return std::nullopt;
}

bool isListWord(std::string_view word) {
    const std::string lower = lowerCase(word);
    return verdictOf(word) || isOneOf(lower, kOtherActions) || (postfixSays(word) && lower != kRelay);
}

bool looksLikeOption(std::string_view word) noexcept {
    constexpr std::string_view kNames = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    const std::size_t end = word.find_first_not_of(kNames);
    return end != 0 && end != std::string_view::npos && word[end] == '=';
}

std::string verdictMissing(const ImportLines& lines) {
    const std::string others = lines.count < 2 ? ""
                               : lines.count == 2
                                   ? ", nor for that of another line"
                                   : fmt::format(", nor for those of {} more lines", lines.count - 1);
    return fmt::format("there is no verdict for {}{}: use --verdict allow or --verdict deny",
                       printable(lines.what), others);
}

std::variant<ImportFormat, ImportError> recognize(std::span<const Line> lines) {
    for (const Line& line : lines) {
        auto told = tell(line);
        const auto* format = std::get_if<ImportFormat>(&told);
        if (format != nullptr && *format == ImportFormat::Auto) continue;
        if (format != nullptr && *format == ImportFormat::Cidr) return tellPostfix(lines);
        return told;
    }
    return ImportFormat::Plain;
}

std::optional<char> headingSeparator(std::string_view row) {
    for (const char separator : kSeparators) {
        const auto cells = cellsOf(row, separator);
        if (cells && cells->texts.size() > 1 &&
            std::any_of(cells->texts.begin(), cells->texts.end(),
                        [](const std::string& text) { return columnOf(text) == Column::Network; }))
            return separator;
    }
    return std::nullopt;
}

bool isHeading(std::string_view row) {
    std::string_view rest = row;
    const std::string_view first = takeField(rest);
    return headingSeparator(row) && first != "allow" && first != "deny" &&
           std::holds_alternative<NetworkError>(parseNetwork(first));
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
        case ImportFormat::Access:
            return reader.access(lines);
        case ImportFormat::Nginx:
            return reader.nginx(lines);
        case ImportFormat::Ipset:
            return reader.dump(readIpset(lines));
        case ImportFormat::Nft:
            return reader.dump(readNft(lines));
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
