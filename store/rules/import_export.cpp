// SPDX-License-Identifier: Apache-2.0
#include "store/rules/import_export.h"

#include "protocols/values/network_range.h"
#include "protocols/values/text.h"
#include "store/rules/import_formats.h"
#include "store/rules/import_rows.h"
#include "store/rules/new_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <functional>
#include <iterator>
#include <optional>
#include <set>
#include <utility>
#include <variant>

namespace mailgate::store {

namespace {

constexpr std::string_view kEnd = "# end, ";
constexpr std::string_view kListenerOption = "listener=";
constexpr std::string_view kExpiresOption = "expires=";
constexpr std::string_view kSessionsOption = "client_sessions=";
constexpr std::string_view kRateOption = "client_rate=";
constexpr std::string_view kSetOption = "set=";
constexpr std::string_view kOwnerOption = "owner=";
constexpr std::string_view kTicketOption = "ticket=";
constexpr std::string_view kReplyOption = "reply=";
constexpr std::array kOptions{kListenerOption, kExpiresOption, kSessionsOption, kRateOption,
                              kSetOption,      kOwnerOption,   kTicketOption,   kReplyOption};
constexpr std::string_view kNeverWord = "never";

/// The option that the text begins with; empty: none.
std::string_view optionAt(std::string_view text) noexcept {
    const auto found = std::find_if(kOptions.begin(), kOptions.end(),
                                    [&](std::string_view option) { return text.starts_with(option); });
    return found == kOptions.end() ? std::string_view() : *found;
}

int hexDigit(char digit) noexcept {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    return -1;
}

/// The inside of a quoted text; `text` starts after the opening quote, and loses what is before and the closing one.
std::optional<std::string> takeQuoted(std::string_view& text) {
    std::string out;
    while (!text.empty() && text.front() != '"') {
        char character = text.front();
        std::size_t length = 1;
        if (character == '\\') {
            if (text.size() < 2) return std::nullopt;
            character = text[1];
            length = 2;
            if (character == 'x') {
                const int high = text.size() < 4 ? -1 : hexDigit(text[2]);
                const int low = text.size() < 4 ? -1 : hexDigit(text[3]);
                if (high < 0 || low < 0) return std::nullopt;
                character = static_cast<char>(high * 16 + low);
                length = 4;
            } else if (character != '"' && character != '\\') {
                return std::nullopt;
            }
        }
        out += character;
        text.remove_prefix(length);
    }
    if (text.empty()) return std::nullopt;
    text.remove_prefix(1);
    return out;
}

bool isAsciiByte(char character) noexcept {
    return static_cast<unsigned char>(character) < 0x80;
}

std::string quotedText(std::string_view note, NoteForm form) {
    std::string out = "\"";
    for (const char character : note) {
        if (isControl(character) || (form == NoteForm::Ascii && !isAsciiByte(character)))
            out += fmt::format("\\x{:02X}", static_cast<unsigned char>(character));
        else if (character == '"' || character == '\\')
            out += fmt::format("\\{}", character);
        else
            out += character;
    }
    return out + '"';
}

/// Notes do begin with these words.
bool beginsNotes(std::string_view option) noexcept {
    return option == kSetOption || option == kOwnerOption || option == kTicketOption ||
           option == kReplyOption;
}

/// "ticket = 4711"
bool assigns(std::string_view note) noexcept {
    const std::string_view word = takeField(note);
    return note.starts_with('=') &&
           std::any_of(kOptions.begin(), kOptions.end(),
                       [&](std::string_view option) { return option.substr(0, option.size() - 1) == word; });
}

/// "listener", "--expires", "client_rate:": an option that is not written as one.
bool namesOption(std::string_view word) {
    word.remove_prefix(std::min(word.find_first_not_of('-'), word.size()));
    const std::size_t end = word.find_first_of("=:,");
    const std::string name = lowerCase(word.substr(0, end)) + '=';
    const auto found = std::find(kOptions.begin(), kOptions.end(), name);
    return found != kOptions.end() && !beginsNotes(*found);
}

bool isNetwork(std::string_view word) {
    // Hardly any word of a note is one; why it is not, nobody asks.
    return word.find_first_of(".:") != std::string_view::npos &&
           std::holds_alternative<std::vector<Network>>(parseNetworks(word));
}

/// The word of an unquoted note that may well be meant as something else; empty: none.
std::string_view mistakable(std::string_view note) {
    std::string_view rest = note;
    if (const std::string_view first = takeField(rest); first == "-" || isRuleName(first) ||
                                                        import::isListWord(first) || namesOption(first) ||
                                                        isNetwork(first) || assigns(note))
        return first;
    for (rest = note; !rest.empty();)
        if (const std::string_view word = takeField(rest); import::looksLikeOption(word)) return word;
    return {};
}

bool canStandPlain(std::string_view note, NoteForm form) {
    return trimmed(note) == note && std::none_of(note.begin(), note.end(), isControl) &&
           (form == NoteForm::Utf8 || std::all_of(note.begin(), note.end(), isAsciiByte)) &&
           note.find_first_of("\"#;") != 0 && mistakable(note).empty();
}

/// A word, or a text in double quotes.
std::string tagOf(std::string_view tag, NoteForm form) {
    const bool word = canStandPlain(tag, form) && tag.find_first_of(" \t\"#;") == std::string_view::npos;
    return word ? std::string(tag) : quotedText(tag, form);
}

/// Which names a file may use.
struct Names {
    std::span<const std::string> known;  ///< empty: any
    bool any = false;                    ///< others too, and whatever rules may be for
};

/// Reads one line. An error ends it: what follows could only be guessed.
class LineReader {
  public:
    LineReader(std::string_view line, std::optional<Verdict> verdict, const Names& names)
        : line_(line), rest_(trimmed(line)), at_(rest_), verdict_(verdict), names_(names) {}

    /// Where the error is that read() has found.
    std::size_t column() const noexcept { return import::placeIn(line_, at_); }

    /// Appends the line's rules; else says what is wrong.
    std::optional<std::string> read(std::size_t line, ImportResult& result) {
        if (auto error = readNetwork()) return error;
        if (auto error = readOptions()) return error;
        if (auto error = readNote()) return error;
        if (!without_verdict_.empty()) {
            result.without_verdict.add(line, import::placeIn(line_, without_verdict_), without_verdict_);
            return std::nullopt;
        }
        if (!doubted_name_.empty()) result.doubted_names.add(line, 0, doubted_name_);
        if (!import::isUtf8(rule_.note)) result.not_utf8.add(line, import::placeIn(line_, at_), rule_.note);
        if (listeners_.empty()) listeners_.emplace_back();
        for (std::string& name : listeners_) {
            noteUnknown(name, result.unknown_listeners);
            rule_.listener = std::move(name);
            for (const Network& network : networks_) {
                rule_.network = network;
                result.rules.push_back({rule_, line, names_set_, never_expires_, no_note_, names_reply_});
            }
        }
        return std::nullopt;
    }

  private:
    std::optional<std::string> readNetwork() {
        std::string_view word = takeField(rest_);
        if (word == "allow" || word == "deny") {
            verdict_ = word == "deny" ? Verdict::Deny : Verdict::Allow;
            word = takeField(rest_);
            if (!word.empty()) at_ = word;
            if (word.empty()) return fmt::format("a network must follow {}", toString(*verdict_));
        }
        if (isRuleName(word)) {
            auto name = parseNewRuleName(word);
            if (const auto* doubt = std::get_if<NetworkError>(&name); doubt && names_.any) {
                doubted_name_ = doubt->message;
                name = parseRuleName(word);
            }
            if (auto* error = std::get_if<NetworkError>(&name)) return std::move(error->message);
            takeVerdict(word);
            rule_.name = std::move(std::get<std::string>(name));
            networks_ = {rule_.network};
            return std::nullopt;
        }
        auto parsed = parseNetworks(word);
        if (const auto* error = std::get_if<NetworkError>(&parsed)) return error->message + nameMeant(word);
        takeVerdict(word);
        networks_ = std::move(std::get<std::vector<Network>>(parsed));
        return std::nullopt;
    }

    /// What else the line says is looked at without one, too; only that options go with the verdict is not.
    void takeVerdict(std::string_view subject) {
        rule_.verdict = verdict_.value_or(Verdict::Allow);
        if (!verdict_) without_verdict_ = subject;
    }

    std::optional<std::string> readOptions() {
        while (true) {
            const std::string_view option = optionAt(rest_);
            if (option.empty()) return std::nullopt;
            at_ = rest_;
            if (option == kOwnerOption || option == kTicketOption) {
                rest_.remove_prefix(option.size());
                if (auto error = readTag(option, option == kOwnerOption ? rule_.owner : rule_.ticket))
                    return error;
                continue;
            }
            const std::string_view value = takeField(rest_).substr(option.size());
            if (auto error = readOption(option, value)) return error;
        }
    }

    std::optional<std::string> readOption(std::string_view option, std::string_view value) {
        if (option == kListenerOption) return readListeners(value);
        if (option == kExpiresOption) return readExpiry(value);
        if (option == kSetOption) return readSet(value);
        if (option == kReplyOption) return readReply(value);
        return readLimit(option, option == kSessionsOption ? rule_.limits.sessions : rule_.limits.per_minute,
                         value);
    }

    std::optional<std::string> readLimit(std::string_view option, std::optional<std::uint32_t>& limit,
                                         std::string_view text) {
        if (limit) return fmt::format("{} is given twice", option);
        if (text == "none") return std::nullopt;
        if (rule_.verdict == Verdict::Deny) return fmt::format("{} is only for allow rules", option);
        std::uint32_t number = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        const bool is_number = error == std::errc() && end == text.data() + text.size();
        if (text != "unlimited" && (!is_number || number > kMaxClientLimit))
            return fmt::format("\"{}\" is not a number from 0 to {}", printable(text), kMaxClientLimit);
        limit = number;
        return std::nullopt;
    }

    std::optional<std::string> readListeners(std::string_view names) {
        if (!listeners_.empty()) return "listener= is given twice: separate several listeners with commas";
        while (true) {
            const std::size_t comma = names.find(',');
            const std::string_view name = names.substr(0, comma);
            if (auto error = checkListener(name)) return error;
            listeners_.emplace_back(name);
            if (comma == std::string_view::npos) return std::nullopt;
            names.remove_prefix(comma + 1);
        }
    }

    std::optional<std::string> checkListener(std::string_view name) const {
        if (!isListenerName(name))
            return fmt::format("\"{}\" is not a listener's name: expected letters, digits, '.', '-' or '_'",
                               printable(name));
        if (names_.any || isKnown(name)) return std::nullopt;
        return fmt::format(
            "no listener is named \"{}\": the configuration has {}", printable(name),
            fmt::join(std::set<std::string_view>(names_.known.begin(), names_.known.end()), ", "));
    }

    bool isKnown(std::string_view name) const noexcept {
        return names_.known.empty() ||
               std::find(names_.known.begin(), names_.known.end(), name) != names_.known.end();
    }

    void noteUnknown(const std::string& name, std::vector<std::string>& unknown) const {
        if (!name.empty() && !isKnown(name) &&
            std::find(unknown.begin(), unknown.end(), name) == unknown.end())
            unknown.push_back(name);
    }

    static bool isListenerName(std::string_view name) noexcept {
        constexpr std::string_view kAllowed =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
        return !name.empty() && name.find_first_not_of(kAllowed) == std::string_view::npos;
    }

    std::optional<std::string> readExpiry(std::string_view time) {
        if (rule_.expires_at || never_expires_) return "expires= is given twice";
        never_expires_ = time == kNeverWord;
        if (never_expires_) return std::nullopt;
        rule_.expires_at = parseUtc(time);
        if (rule_.expires_at) return std::nullopt;
        return fmt::format("\"{}\" is not a time: expected RFC 3339, such as 2026-12-31T23:59:59Z, or never",
                           printable(time));
    }

    std::optional<std::string> readSet(std::string_view name) {
        if (names_set_) return "set= is given twice";
        if (!isSetName(name))
            return fmt::format(
                "\"{}\" is not a set's name: expected up to 64 letters, digits, '.', '-' or '_'",
                printable(name));
        rule_.set = name;
        names_set_ = true;
        return std::nullopt;
    }

    std::optional<std::string> readReply(std::string_view words) {
        if (names_reply_) return "reply= is given twice";
        if (verdict_ == Verdict::Allow) return "reply= is only for deny rules";
        const auto reply = ruleReplyOf(words);
        if (!reply)
            return fmt::format("reply={}: expected temporary, note, temporary,note or default",
                               printable(words));
        rule_.reply = *reply;
        names_reply_ = true;
        return std::nullopt;
    }

    /// A word, or a text in double quotes.
    std::optional<std::string> readTag(std::string_view option, std::string& tag) {
        if (!tag.empty()) return fmt::format("{} is given twice", option);
        if (rest_.starts_with('"')) {
            rest_.remove_prefix(1);
            auto inside = takeQuoted(rest_);
            if (!inside || (!rest_.empty() && rest_.front() != ' ' && rest_.front() != '\t'))
                return fmt::format("{}: the quoted text is not closed, or has an unknown escape", option);
            tag = std::move(*inside);
            rest_ = trimmed(rest_);
        } else if (!rest_.empty() && rest_.front() != ' ' && rest_.front() != '\t') {
            tag = takeField(rest_);
        }
        if (tag.empty()) return fmt::format("{} is empty", option);
        if (std::string error = tagError(tag); !error.empty()) return fmt::format("{}: {}", option, error);
        return std::nullopt;
    }

    std::optional<std::string> readNote() {
        at_ = rest_;
        if (rest_.empty() || rest_.front() == '#' || rest_.front() == ';') return std::nullopt;
        if (rest_.front() == '"') {
            rest_.remove_prefix(1);
            auto inside = takeQuoted(rest_);
            if (!inside || !rest_.empty())
                return "the quoted note is not closed at the end of the line, or has an unknown escape";
            rule_.note = std::move(*inside);
            no_note_ = rule_.note.empty();
        } else {
            if (std::any_of(rest_.begin(), rest_.end(), isControl))
                return "the note contains a control character";
            if (const std::string_view word = mistakable(rest_); !word.empty()) {
                at_ = word;
                if (word == "-")
                    return "\"-\" after a network: a range is one word, such as 192.0.2.10-192.0.2.20; put a "
                           "note "
                           "that begins with it in double quotes";
                return fmt::format(
                    "\"{}\" is not an option (set=, listener=, expires=, client_sessions=, client_rate=, "
                    "reply=, owner= and ticket= follow the network, one network per line); put a note that "
                    "contains it in double quotes",
                    printable(word));
            }
            rule_.note = rest_;
        }
        if (rule_.note.size() > kMaxNoteLength)
            return fmt::format("the note is longer than {} bytes", kMaxNoteLength);
        return std::nullopt;
    }

    const std::string_view line_;
    std::string_view rest_;
    std::string_view at_;               ///< begins where the word does that is being read
    std::string_view without_verdict_;  ///< for what there is none; empty: there is one
    std::string doubted_name_;          ///< why there would be no rule for it now; empty: there would
    std::optional<Verdict> verdict_;
    const Names names_;
    AccessRule rule_;
    std::vector<Network> networks_;
    bool names_set_ = false;
    bool never_expires_ = false;
    bool no_note_ = false;
    bool names_reply_ = false;
    std::vector<std::string> listeners_;
};

/// The file as lines; what is none of a format's business is taken out.
class Lines {
  public:
    explicit Lines(std::string_view text) {
        constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
        if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
        text_ = text;
        ended_ = text.empty() || text.back() == '\n';
        while (!text.empty()) {
            const std::size_t newline = text.find('\n');
            std::string_view line = text.substr(0, newline);
            text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
            if (line.ends_with('\r')) line.remove_suffix(1);
            take(line);
        }
    }

    std::span<const import::Line> telling() const noexcept { return lines_; }
    /// The first row, if they are rows; empty: there is nothing.
    std::string_view heading() const {
        const auto rows = import::rowsOf(text_, import::kSeparators, 1);
        return rows.empty() ? std::string_view() : rows.front().text;
    }
    /// What tells are the rows.
    void takeRows(char separator) { lines_ = import::rowsOf(text_, {&separator, 1}); }
    bool hasEndMark() const noexcept { return end_mark_.has_value(); }

    /// Why the file may not be all that was written; none: it is, as far as can be told.
    std::optional<ImportError> broken(std::size_t rules, bool must_end, bool must_have_mark) const {
        if (must_end && !ended_)
            return ImportError{count_, "the last line has no line end: the rest of the file is missing"};
        if (!end_mark_) {
            if (!must_have_mark) return std::nullopt;
            return ImportError{count_,
                               "the end mark (\"# end, N rules\", as the export writes it) is missing: rules "
                               "before it may be missing, too"};
        }
        if (last_ > end_mark_->line) return ImportError{last_, "is after the end mark"};
        if (end_mark_->rules != rules)
            return ImportError{end_mark_->line, fmt::format("the end mark says {} rules, but there are {}",
                                                            end_mark_->rules, rules)};
        return std::nullopt;
    }

  private:
    struct EndMark {
        std::size_t line;
        std::size_t rules;
    };

    void take(std::string_view line) {
        ++count_;
        const std::string_view inside = trimmed(line);
        if (!inside.empty()) last_ = count_;
        if (const auto rules = endMark(inside); rules && !end_mark_) end_mark_ = {count_, *rules};
        if (!inside.empty() && inside.front() != '#' && inside.front() != ';')
            lines_.push_back({count_, line});
    }

    /// How many rules "# end, N rules" counts.
    static std::optional<std::size_t> endMark(std::string_view line) noexcept {
        if (!line.starts_with(kEnd)) return std::nullopt;
        line.remove_prefix(kEnd.size());
        std::size_t rules = 0;
        const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), rules);
        const std::string_view rest(end, static_cast<std::size_t>(line.data() + line.size() - end));
        if (error != std::errc() || (rest != " rules" && rest != " rule")) return std::nullopt;
        return rules;
    }

    std::vector<import::Line> lines_;
    std::string_view text_;
    std::optional<EndMark> end_mark_;
    std::size_t count_ = 0;
    std::size_t last_ = 0;  ///< the last line that holds anything
    bool ended_ = true;
};

void readOwn(const Lines& lines, const ImportOptions& options, ImportResult& result) {
    const Names names{options.listeners, lines.hasEndMark()};
    std::size_t read = 0;
    for (const import::Line& line : lines.telling()) {
        if (options.progress != nullptr)
            options.progress->tell(Progress::Step::Read, read++, lines.telling().size());
        if (result.errors.size() >= kMaxImportErrors) return;
        LineReader reader(line.text, options.verdict, names);
        if (auto error = reader.read(line.number, result))
            result.errors.push_back({line.number, std::move(*error), reader.column()});
    }
}

/// As one error, however many lines there are.
void addWithoutVerdict(ImportResult& result) {
    const ImportLines& lines = result.without_verdict;
    if (lines.count == 0) return;
    const auto behind = std::find_if(result.errors.begin(), result.errors.end(),
                                     [&](const ImportError& error) { return error.line > lines.first; });
    result.errors.insert(behind, {lines.first, import::verdictMissing(lines), lines.column});
}

/// All rules belong to the set that was asked for.
void moveTo(const std::string& set, ImportResult& result) {
    ImportedRules moved;
    for (ImportedRule one : result.rules) {
        if (one.names_set && one.rule.set != set && result.errors.size() < kMaxImportErrors)
            result.errors.push_back(
                {one.line, fmt::format("the rule is of set {}, not of {}", one.rule.set, set)});
        one.rule.set = set;
        moved.push_back(one);
    }
    result.rules = std::move(moved);
}

/// What makes a rule the one it is, but for the verdict.
bool isSameSubject(const AccessRule& a, const AccessRule& b) noexcept {
    return a.network == b.network && a.name == b.name && a.listener == b.listener && a.set == b.set;
}

std::size_t hashOfSubject(const AccessRule& rule) noexcept {
    constexpr std::size_t kOdd = 0x9E3779B97F4A7C15;
    const std::hash<std::string_view> hash;
    std::size_t value = rule.network.prefix_length;
    const auto add = [&](std::size_t more) { value = (value ^ value >> 29) * kOdd + more; };
    add(hash({reinterpret_cast<const char*>(rule.network.address.data()), rule.network.address.size()}));
    for (const std::string* text : {&rule.name, &rule.listener, &rule.set})
        add(hash(*text));
    return value ^ value >> 32;
}

/// Both lines make the same of the rule.
bool saysTheSame(const ImportedRule& a, const ImportedRule& b) {
    return a.rule == b.rule && a.never_expires == b.never_expires && a.no_note == b.no_note &&
           a.names_reply == b.names_reply;
}

/// Finds rules that several lines are for. In our own format, and of rows with columns, two that say different things are an
/// error; elsewhere, where a line has no more than a note, the last one counts, as it would if they came one after another.
class Repetitions {
  public:
    Repetitions(ImportResult& result, bool strict, const Progress* progress)
        : result_(result),
          strict_(strict),
          progress_(progress),
          slots_(std::bit_ceil(2 * result.rules.size() + 2)) {}

    void resolve() {
        for (std::size_t at = 0; at < result_.rules.size(); ++at) {
            if (progress_ != nullptr) progress_->tell(Progress::Step::Match, at, result_.rules.size());
            place(at);
        }
        if (!result_.errors.empty() || gone_.empty()) return;
        std::sort(gone_.begin(), gone_.end());
        ImportedRules kept;
        auto next = gone_.begin();
        for (std::size_t at = 0; at < result_.rules.size(); ++at)
            if (next != gone_.end() && *next == at)
                ++next;
            else
                kept.push_back(result_.rules[at]);
        result_.rules = std::move(kept);
    }

  private:
    /// Into the first slot that is free, past those that others with this hash have.
    void place(std::size_t at) {
        result_.rules.read(at, one_);
        const ImportedRule& one = one_;
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t slot = hashOfSubject(one.rule) & mask;; slot = (slot + 1) & mask) {
            if (slots_[slot] == 0) {
                slots_[slot] = at + 1;
                return;
            }
            // Of most that are met by chance, the network tells.
            if (result_.rules.list().network(slots_[slot] - 1) != one.rule.network) continue;
            const ImportedRule other = result_.rules[slots_[slot] - 1];
            if (!isSameSubject(one.rule, other.rule)) continue;
            if (one.rule.verdict != other.rule.verdict) {
                noteContradiction(one, other);
                continue;
            }
            if (strict_ && !saysTheSame(one, other)) return refuse(one, other);
            gone_.push_back(slots_[slot] - 1);
            slots_[slot] = at + 1;
            return;
        }
    }
    void refuse(const ImportedRule& one, const ImportedRule& other) {
        if (result_.errors.size() < kMaxImportErrors)
            result_.errors.push_back(
                {one.line, fmt::format("{} {} is in line {} already, with something else",
                                       toString(one.rule.verdict), subjectOf(one.rule), other.line)});
    }
    void noteContradiction(const ImportedRule& one, const ImportedRule& other) {
        constexpr std::size_t kMost = 10;
        if (result_.contradictions.size() == kMost) return;
        const bool denies = one.rule.verdict == Verdict::Deny;
        const std::string there = denies ? fmt::format("the allow rule of line {}", other.line)
                                         : fmt::format("it is denied in line {}", other.line);
        result_.contradictions.push_back(
            {one.line, denies ? fmt::format("deny {} overrides {}", subjectOf(one.rule), there)
                              : fmt::format("allow {} has no effect: {}", subjectOf(one.rule), there)});
    }

    ImportResult& result_;
    const bool strict_;
    const Progress* const progress_;
    ImportedRule one_{};              ///< that is being placed
    std::vector<std::size_t> slots_;  ///< a rule's place from 1 on; 0: free
    std::vector<std::size_t> gone_;
};

/// The note at the end of a line of the trail: it begins with a quote only where it stands in quotes.
std::optional<std::string> trailNote(std::string_view rest) {
    if (!rest.starts_with('"')) return std::string(rest);
    rest.remove_prefix(1);
    auto note = takeQuoted(rest);
    return note && rest.empty() ? note : std::nullopt;
}

/// Up to the next blank, which goes too.
std::string_view takeWord(std::string_view& rest) {
    const std::string_view word = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(word.size() + 1, rest.size()));
    return word;
}

template <typename Number>
bool readNumber(std::string_view text, std::optional<Number>& number) {
    number.emplace();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
    return error == std::errc() && end == text.data() + text.size();
}

/// A value of the trail goes into the rule; false: it is none.
bool readTrailOption(std::string_view option, std::string_view& rest, AccessRule& rule) {
    rest.remove_prefix(option.size());
    if (option == kOwnerOption || option == kTicketOption) {
        std::string& tag = option == kOwnerOption ? rule.owner : rule.ticket;
        if (!rest.starts_with('"')) {
            tag = takeWord(rest);
            return true;
        }
        rest.remove_prefix(1);
        auto inside = takeQuoted(rest);
        if (!inside || (!rest.empty() && rest.front() != ' ')) return false;
        tag = std::move(*inside);
        takeWord(rest);
        return true;
    }
    const std::string_view value = takeWord(rest);
    if (option == kSessionsOption) return readNumber(value, rule.limits.sessions);
    if (option == kRateOption) return readNumber(value, rule.limits.per_minute);
    if (option == kReplyOption) {
        const auto reply = ruleReplyOf(value);
        rule.reply = reply.value_or(RuleReply{});
        return reply.has_value();
    }
    if (option == kExpiresOption) {
        rule.expires_at = parseUtc(value);
        return rule.expires_at || readNumber(value, rule.expires_at);
    }
    (option == kSetOption ? rule.set : rule.listener) = value;
    return true;
}

}  // namespace

std::optional<AccessRule> parseTrailRule(std::string_view line) {
    AccessRule rule;
    const std::string_view verdict = takeWord(line);
    if (verdict != "allow" && verdict != "deny") return std::nullopt;
    rule.verdict = verdict == "allow" ? Verdict::Allow : Verdict::Deny;
    const std::string_view subject = takeWord(line);
    if (isRuleName(subject)) {
        auto name = parseRuleName(subject);
        if (std::holds_alternative<NetworkError>(name)) return std::nullopt;
        rule.name = std::move(std::get<std::string>(name));
    } else {
        const auto network = parseNetwork(subject);
        if (std::holds_alternative<NetworkError>(network)) return std::nullopt;
        rule.network = std::get<Network>(network);
    }
    for (std::string_view option = optionAt(line); !option.empty(); option = optionAt(line))
        if (!readTrailOption(option, line, rule)) return std::nullopt;
    auto note = trailNote(line);
    if (!note) return std::nullopt;
    rule.note = std::move(*note);
    return rule;
}

std::optional<std::pair<std::string, SetDefaults>> parseTrailSet(std::string_view line) {
    if (takeWord(line) != "set") return std::nullopt;
    std::pair<std::string, SetDefaults> set(takeWord(line), SetDefaults{});
    if (line.starts_with(kExpiresOption)) {
        line.remove_prefix(kExpiresOption.size());
        std::string_view seconds = takeWord(line);
        if (!seconds.ends_with('s')) return std::nullopt;
        seconds.remove_suffix(1);
        if (!readNumber(seconds, set.second.expires_after)) return std::nullopt;
    }
    auto note = trailNote(line);
    if (!note) return std::nullopt;
    set.second.note = std::move(*note);
    return set;
}

namespace {

/// Of a file that is no list of lines, what it is and how to make one of it; empty: it may be one.
std::string_view whyNoLines(std::string_view text) {
    using namespace std::string_view_literals;
    if (text.starts_with("\xFF\xFE"sv) || text.starts_with("\xFE\xFF"sv))
        return "is UTF-16, as spreadsheets save \"Unicode text\": save it as CSV in UTF-8 (iconv -f UTF-16 "
               "-t UTF-8 "
               "converts it)";
    if (text.starts_with("PK\x03\x04"sv))
        return "is a workbook or another archive, and no list of lines: save it as CSV";
    return {};
}

}  // namespace

ImportResult parseRules(std::string_view text, const ImportOptions& options) {
    ImportResult result;
    result.format = options.format;
    if (const std::string_view why = whyNoLines(text); !why.empty()) {
        result.errors.push_back({0, std::string(why)});
        return result;
    }
    Lines lines(text);
    if (options.format == ImportFormat::Auto) {
        // Only we write such a mark, whatever there is before it.
        using Recognized = std::variant<ImportFormat, ImportError>;
        auto recognized = lines.hasEndMark()                   ? Recognized(ImportFormat::Mailgate)
                          : import::isHeading(lines.heading()) ? Recognized(ImportFormat::Csv)
                                                               : import::recognize(lines.telling());
        if (auto* error = std::get_if<ImportError>(&recognized)) {
            result.errors.push_back(std::move(*error));
            return result;
        }
        result.format = std::get<ImportFormat>(recognized);
    }
    const bool own = result.format == ImportFormat::Mailgate;
    if (result.format == ImportFormat::Csv)
        lines.takeRows(import::headingSeparator(lines.heading()).value_or(','));
    if (own)
        readOwn(lines, options, result);
    else
        import::read(result.format, options.format != ImportFormat::Auto, lines.telling(), options,
                     &parseRules, result);
    if (!options.ignored_columns.empty() && result.format != ImportFormat::Csv)
        result.errors.push_back(
            {0,
             fmt::format(
                 "--ignore-columns is for lists whose heading names columns (csv): this one was read as {}",
                 toString(result.format))});
    addWithoutVerdict(result);
    result.has_end_mark = lines.hasEndMark();
    if (options.set) moveTo(*options.set, result);
    if (!result.errors.empty()) return result;
    if (auto error = lines.broken(result.rules.size(), own || options.may_be_cut, options.end_mark_required))
        result.errors.push_back(std::move(*error));
    else if (result.rules.size() > 1)
        Repetitions(result, own || result.format == ImportFormat::Csv, options.progress).resolve();
    return result;
}

std::string formatRule(const AccessRule& rule, NoteForm form, const SetDefaults& defaults) {
    std::string line = fmt::format("{} {}", toString(rule.verdict), subjectOf(rule));
    if (rule.set != kManualSet) line += fmt::format(" {}{}", kSetOption, rule.set);
    if (!rule.listener.empty()) line += fmt::format(" {}{}", kListenerOption, rule.listener);
    if (rule.expires_at)
        line += fmt::format(" {}{}", kExpiresOption, formatUtc(*rule.expires_at));
    else if (defaults.expires_after)
        line += fmt::format(" {}{}", kExpiresOption, kNeverWord);
    if (rule.limits.sessions) line += fmt::format(" {}{}", kSessionsOption, *rule.limits.sessions);
    if (rule.limits.per_minute) line += fmt::format(" {}{}", kRateOption, *rule.limits.per_minute);
    if (rule.reply.any()) line += fmt::format(" {}{}", kReplyOption, toString(rule.reply));
    if (!rule.owner.empty()) line += fmt::format(" {}{}", kOwnerOption, tagOf(rule.owner, form));
    if (!rule.ticket.empty()) line += fmt::format(" {}{}", kTicketOption, tagOf(rule.ticket, form));
    if (!rule.note.empty())
        line += ' ' + (canStandPlain(rule.note, form) ? rule.note : quotedText(rule.note, form));
    else if (!defaults.note.empty())
        line += " \"\"";
    return line;
}

std::string formatEnd(std::size_t rules) {
    return fmt::format("{}{} rules", kEnd, rules);
}

}  // namespace mailgate::store
