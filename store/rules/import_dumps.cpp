// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_dumps.h"

#include "protocols/values/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <span>
#include <utility>

namespace mailgate::store::import {

namespace {

constexpr std::int64_t kMaxLifetime = std::int64_t{10} * 365 * 24 * 60 * 60;  ///< seconds

/// What ends the reading of a dump.
struct DumpError {
    std::string_view at;
    std::string message;
};

/// A text in double quotes that `rest` begins with; none: it is not closed. Neither program knows of escapes.
std::optional<std::string_view> takeQuotes(std::string_view& rest) {
    const std::size_t end = rest.find('"', 1);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view inside = rest.substr(1, end - 1);
    rest = trimmed(rest.substr(end + 1));
    return inside;
}

std::optional<std::int64_t> wholeNumber(std::string_view text) noexcept {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size() && number >= 0 ? std::optional(number)
                                                                                   : std::nullopt;
}

std::optional<std::int64_t> lifetimeOf(std::string_view text) noexcept {
    const auto seconds = wholeNumber(text);
    return seconds && *seconds <= kMaxLifetime ? seconds : std::nullopt;
}

/// The one that a dump of ipset is of.
struct Ipset {
    std::string_view name;                   ///< empty: nothing has named it yet
    std::optional<std::int64_t> lifetime{};  ///< of elements that name none
};

/// One line of `ipset save`.
class IpsetLine {
  public:
    explicit IpsetLine(std::string_view line) : rest_(trimmed(line)) {}

    /// Puts the element there, if the line is one.
    std::optional<DumpError> read(const Line& line, Ipset& set, Dump& dump) {
        const std::string_view command = takeField(rest_);
        if (command == "create") return readType(takeField(rest_), set);
        if (command != "add")
            return DumpError{command,
                             fmt::format("\"{}\" is neither create nor add, as in what `ipset save NAME` "
                                         "prints",
                                         printable(command))};
        if (auto error = checkSet(takeField(rest_), set)) return error;
        const std::string_view network = takeField(rest_);
        if (network.empty()) return DumpError{command, "there is no address"};
        Element element{line.number, placeIn(line.text, network), network};
        if (auto error = readOptions(element)) return error;
        // A file for `ipset restore` may leave it to the set.
        if (!element.lifetime && !element.stays) element.lifetime = set.lifetime;
        dump.elements.push_back(element);
        return std::nullopt;
    }

  private:
    static std::optional<DumpError> checkSet(std::string_view name, Ipset& set) {
        if (set.name.empty()) set.name = name;
        if (name == set.name) return std::nullopt;
        return DumpError{
            name, fmt::format("there are several sets, {} and {}, which may mean opposite things: import "
                              "one at a time (ipset save {})",
                              printable(set.name), printable(name), printable(set.name))};
    }

    std::optional<DumpError> readType(std::string_view name, Ipset& set) {
        if (auto error = checkSet(name, set)) return error;
        const std::string_view type = takeField(rest_);
        if (type == "hash:ip" || type == "hash:net" || type == "bitmap:ip") return readProperties(set);
        return DumpError{
            type, fmt::format("a set of type \"{}\" holds more than networks: expected hash:ip, hash:net "
                              "or bitmap:ip",
                              printable(type))};
    }

    /// What does not change what the elements stand for, mailgate need not know.
    std::optional<DumpError> readProperties(Ipset& set) {
        while (!rest_.empty()) {
            const std::string_view property = takeField(rest_);
            if (property == "netmask" || property == "bitmask")
                return DumpError{
                    property,
                    fmt::format(
                        "with {0} each element stands for a network, of which its line has the address only: "
                        "write the networks there, and leave out {0}",
                        property)};
            if (property != "timeout") continue;
            const auto seconds = lifetimeOf(takeField(rest_));
            if (!seconds) return DumpError{property, "the set's timeout is no number of seconds"};
            if (*seconds > 0) set.lifetime = seconds;
        }
        return std::nullopt;
    }

    std::optional<DumpError> readOptions(Element& element) {
        while (!rest_.empty()) {
            const std::string_view option = takeField(rest_);
            if (option == "nomatch")
                return DumpError{
                    option, "an exception (nomatch) is neither allowed nor denied: take it out of the set"};
            if (option == "comment" && rest_.starts_with('"')) {
                const auto inside = takeQuotes(rest_);
                if (!inside) return DumpError{option, "the comment's quote is not closed"};
                element.comment = *inside;
                continue;
            }
            const std::string_view value = takeField(rest_);
            const auto number = wholeNumber(value);
            if (const auto seconds = lifetimeOf(value); option == "timeout" && seconds) {
                element.stays = *seconds == 0;
                if (!element.stays) element.lifetime = seconds;
            } else if (!number || (option != "packets" && option != "bytes")) {
                return DumpError{
                    option, fmt::format("the option \"{}\" is unknown, or has no number: expected timeout, "
                                        "comment, packets or bytes",
                                        printable(option))};
            }
        }
        return std::nullopt;
    }

    std::string_view rest_;
};

/// A word, a text in quotes, or one of { } , ; =.
struct Token {
    std::string_view text;  ///< empty: there is no more
    const Line* line = nullptr;
    bool quoted = false;

    std::size_t column() const noexcept { return line == nullptr ? 0 : placeIn(line->text, text); }
};

class Tokens {
  public:
    explicit Tokens(std::span<const Line> lines) : lines_(lines) {}

    const Token& now() const noexcept { return token_; }
    /// What is behind the last one; empty at the end.
    void next() {
        const bool first = token_.line == nullptr;
        if (first && !lines_.empty()) rest_ = trimmed(lines_[0].text);
        while (at_ < lines_.size() && (rest_.empty() || rest_.front() == '#'))
            if (++at_ < lines_.size()) rest_ = trimmed(lines_[at_].text);
        if (at_ >= lines_.size()) {
            token_ = {{}, lines_.empty() ? nullptr : &lines_.back()};
            return;
        }
        token_ = {take(), &lines_[at_], false};
        if (token_.text.size() > 1 && token_.text.front() == '"') {
            token_.text = token_.text.substr(1, token_.text.size() - 2);
            token_.quoted = true;
        }
    }
    bool is(std::string_view text) const noexcept { return !token_.quoted && token_.text == text; }
    bool ended() const noexcept { return !token_.quoted && token_.text.empty(); }
    bool sameLineAs(const Token& other) const noexcept { return token_.line == other.line && !ended(); }

  private:
    std::string_view take() {
        constexpr std::string_view kMarks = "{},;=";
        std::size_t length = 1;
        if (rest_.front() == '"') {
            const std::size_t end = rest_.find('"', 1);
            length = end == std::string_view::npos ? 1 : end + 1;
            if (length == 1) return takeUnclosed();
        } else if (kMarks.find(rest_.front()) == std::string_view::npos) {
            length = std::min(rest_.find_first_of(" \t{},;=\""), rest_.size());
        }
        const std::string_view taken = rest_.substr(0, length);
        rest_ = trimmed(rest_.substr(length));
        return taken;
    }
    /// A word that nothing expects.
    std::string_view takeUnclosed() { return std::exchange(rest_, std::string_view()).substr(0, 1); }

    std::span<const Line> lines_;
    std::size_t at_ = 0;
    std::string_view rest_;
    Token token_;
};

/// "1d2h3m4s", "59m30s500ms"
std::optional<std::int64_t> nftDuration(std::string_view text) {
    constexpr std::array<std::pair<std::string_view, std::int64_t>, 6> kUnits{
        {{"w", 604'800'000}, {"d", 86'400'000}, {"h", 3'600'000}, {"ms", 1}, {"m", 60'000}, {"s", 1'000}}};
    std::int64_t total = 0;
    if (text.empty()) return std::nullopt;
    while (!text.empty()) {
        const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
        const auto number = wholeNumber(text.substr(0, digits));
        text.remove_prefix(digits);
        const auto* const unit = std::find_if(kUnits.begin(), kUnits.end(),
                                              [&](const auto& one) { return text.starts_with(one.first); });
        if (!number || unit == kUnits.end() || *number > kMaxLifetime * 1'000 / unit->second)
            return std::nullopt;
        total += *number * unit->second;
        text.remove_prefix(unit->first.size());
    }
    return total > kMaxLifetime * 1'000 ? std::nullopt : std::optional((total + 999) / 1'000);
}

class NftReader {
  public:
    explicit NftReader(std::span<const Line> lines) : tokens_(lines) {}

    Dump read() {
        tokens_.next();
        error_ = readFile();
        if (error_) dump_.error = std::move(error_);
        return std::move(dump_);
    }

  private:
    using Problem = std::optional<ImportError>;

    Problem problem(std::string message) const {
        const Token& token = tokens_.now();
        return ImportError{token.line == nullptr ? 0 : token.line->number, std::move(message),
                           token.column()};
    }
    Problem unexpected(std::string_view wanted) const {
        if (tokens_.ended()) return problem("the set is not closed: the rest of the file is missing");
        return problem(fmt::format("expected {}, found \"{}\"", wanted, printable(tokens_.now().text)));
    }
    Problem expect(std::string_view mark) {
        if (!tokens_.is(mark)) return unexpected(fmt::format("\"{}\"", mark));
        tokens_.next();
        return std::nullopt;
    }
    /// Words up to the brace that opens.
    Problem readHead() {
        while (!tokens_.is("{")) {
            if (tokens_.ended()) return unexpected("\"{\"");
            tokens_.next();
        }
        tokens_.next();
        return std::nullopt;
    }

    Problem readFile() {
        while (!tokens_.ended()) {
            const bool table = tokens_.is("table");
            if (!table) {
                if (auto error = readSet()) return error;
                continue;
            }
            if (auto error = readHead()) return error;
            while (!tokens_.is("}"))
                if (auto error = readSet()) return error;
            tokens_.next();
        }
        return std::nullopt;
    }

    Problem readSet() {
        if (!tokens_.is("set"))
            return tokens_.ended() ? unexpected("a set")
                                   : problem(fmt::format(
                                         "\"{}\" is no set of addresses: import what `nft list set FAMILY "
                                         "TABLE NAME` prints",
                                         printable(tokens_.now().text)));
        if (sets_++ > 0)
            return problem(
                "there are several sets, which may mean opposite things: import one at a time (nft list "
                "set)");
        if (auto error = readHead()) return error;
        while (!tokens_.is("}"))
            if (auto error = readProperty()) return error;
        tokens_.next();
        // A file for `nft -f` may leave it to the set.
        for (Element& element : dump_.elements)
            if (!element.lifetime && !element.stays) element.lifetime = lifetime_;
        return std::nullopt;
    }

    Problem readLifetime() {
        tokens_.next();
        const auto seconds = nftDuration(tokens_.now().text);
        if (!seconds) return unexpected("a duration such as 1d12h");
        if (*seconds > 0) lifetime_ = seconds;
        tokens_.next();
        if (tokens_.is(";")) tokens_.next();
        return std::nullopt;
    }

    Problem readProperty() {
        if (tokens_.is("timeout")) return readLifetime();
        if (tokens_.is("elements")) {
            tokens_.next();
            if (auto error = expect("=")) return error;
            return readElements();
        }
        if (tokens_.is("type")) {
            tokens_.next();
            if (!tokens_.is("ipv4_addr") && !tokens_.is("ipv6_addr"))
                return unexpected("ipv4_addr or ipv6_addr");
            const Token type = tokens_.now();
            tokens_.next();
            if (tokens_.is(".")) return unexpected("a set of addresses only");
            if (tokens_.sameLineAs(type) && !tokens_.is(";")) return unexpected("nothing else of a type");
            if (tokens_.is(";")) tokens_.next();
            return std::nullopt;
        }
        constexpr std::array<std::string_view, 7> kIgnored{"flags",      "gc-interval", "size",   "policy",
                                                           "auto-merge", "comment",     "counter"};
        if (std::none_of(kIgnored.begin(), kIgnored.end(),
                         [&](std::string_view word) { return tokens_.is(word); }))
            return unexpected("a property of a set, or its elements");
        const Token property = tokens_.now();
        while (tokens_.sameLineAs(property) && !tokens_.is(";") && !tokens_.is("}"))
            tokens_.next();
        if (tokens_.is(";")) tokens_.next();
        return std::nullopt;
    }

    Problem readElements() {
        if (auto error = expect("{")) return error;
        while (!tokens_.is("}")) {
            if (auto error = readElement()) return error;
            if (tokens_.is("}")) break;
            if (auto error = expect(",")) return error;
        }
        tokens_.next();
        return std::nullopt;
    }

    Problem readElement() {
        const Token& token = tokens_.now();
        if (tokens_.ended() || token.quoted || tokens_.is(",") || tokens_.is("{") || tokens_.is("="))
            return unexpected("a network");
        Element element{token.line->number, token.column(), token.text};
        tokens_.next();
        while (!tokens_.is(",") && !tokens_.is("}"))
            if (auto error = readAttribute(element)) return error;
        dump_.elements.push_back(element);
        return std::nullopt;
    }

    Problem readAttribute(Element& element) {
        const bool comment = tokens_.is("comment"), lifetime = tokens_.is("timeout") || tokens_.is("expires");
        const bool expires = tokens_.is("expires");
        if (tokens_.is("counter")) {
            tokens_.next();
            return std::nullopt;
        }
        const bool count = tokens_.is("packets") || tokens_.is("bytes");
        if (!comment && !lifetime && !count)
            return unexpected("\",\", \"}\", timeout, expires, comment or counter");
        tokens_.next();
        if (comment) {
            if (!tokens_.now().quoted) return unexpected("a comment in double quotes");
            element.comment = tokens_.now().text;
        } else if (lifetime) {
            const auto seconds = nftDuration(tokens_.now().text);
            if (!seconds) return unexpected("a duration such as 59m30s");
            // What is left of it counts, and that is printed last.
            element.stays = !expires && *seconds == 0;
            if (!element.stays) element.lifetime = std::max<std::int64_t>(*seconds, 1);
        } else if (!wholeNumber(tokens_.now().text)) {
            return unexpected("a number");
        }
        tokens_.next();
        return std::nullopt;
    }

    Tokens tokens_;
    Dump dump_;
    Problem error_;
    std::size_t sets_ = 0;
    std::optional<std::int64_t> lifetime_;  ///< of elements that name none
};

}  // namespace

Dump readIpset(std::span<const Line> lines) {
    Dump dump;
    Ipset set;
    for (const Line& line : lines)
        if (auto error = IpsetLine(line.text).read(line, set, dump)) {
            dump.error = ImportError{line.number, std::move(error->message), placeIn(line.text, error->at)};
            return dump;
        }
    return dump;
}

Dump readNft(std::span<const Line> lines) {
    return NftReader(lines).read();
}

}  // namespace mailgate::store::import
