#include "store/import_export.h"

#include "store/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>
#include <variant>

namespace mailgate::store {

namespace {

constexpr std::string_view kBlanks = " \t";
constexpr std::string_view kListenerOption = "listener=";
constexpr std::string_view kExpiresOption = "expires=";
constexpr std::string_view kSessionsOption = "client_sessions=";
constexpr std::string_view kRateOption = "client_rate=";
constexpr std::array kOptions{kListenerOption, kExpiresOption, kSessionsOption, kRateOption};

/// The option that the text begins with; empty: none.
std::string_view optionAt(std::string_view text) noexcept {
    const auto found = std::find_if(kOptions.begin(), kOptions.end(),
                                    [&](std::string_view option) { return text.starts_with(option); });
    return found == kOptions.end() ? std::string_view() : *found;
}

bool isControl(char character) noexcept {
    const auto byte = static_cast<unsigned char>(character);
    return byte < 0x20 || byte == 0x7F;
}

std::string_view trimmed(std::string_view text) noexcept {
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

/// The first word of `rest`, which loses it and the blanks around it.
std::string_view takeWord(std::string_view& rest) noexcept {
    rest = trimmed(rest);
    const std::string_view word = rest.substr(0, rest.find_first_of(kBlanks));
    rest = trimmed(rest.substr(word.size()));
    return word;
}

int hexDigit(char digit) noexcept {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    return -1;
}

/// The inside of a quoted note; `text` starts after the opening quote and must end with the closing one.
std::optional<std::string> unquoted(std::string_view text) {
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
    return text == "\"" ? std::optional(std::move(out)) : std::nullopt;
}

std::string quotedNote(std::string_view note) {
    std::string out = "\"";
    for (const char character : note) {
        if (isControl(character))
            out += fmt::format("\\x{:02X}", static_cast<unsigned char>(character));
        else if (character == '"' || character == '\\')
            out += fmt::format("\\{}", character);
        else
            out += character;
    }
    return out + '"';
}

bool canStandPlain(std::string_view note) {
    return trimmed(note) == note && std::none_of(note.begin(), note.end(), isControl) &&
           note.find_first_of("\"#") != 0 && optionAt(note).empty();
}

/// Reads one line. An error ends it: what follows could only be guessed.
class LineReader {
  public:
    LineReader(std::string_view line, std::span<const std::string> known)
        : rest_(trimmed(line)), known_(known) {}

    bool isBlank() const noexcept { return rest_.empty() || rest_.front() == '#'; }

    /// Appends the line's rules; else says what is wrong.
    std::optional<std::string> read(std::size_t line, std::vector<ImportedRule>& rules) {
        if (auto error = readNetwork()) return error;
        if (auto error = readOptions()) return error;
        if (auto error = readNote()) return error;
        if (listeners_.empty()) listeners_.emplace_back();
        for (std::string& name : listeners_) {
            rule_.listener = std::move(name);
            rules.push_back({rule_, line});
        }
        return std::nullopt;
    }

  private:
    std::optional<std::string> readNetwork() {
        std::string_view word = takeWord(rest_);
        rule_.verdict = word == "deny" ? Verdict::Deny : Verdict::Allow;
        if (word == toString(rule_.verdict)) {
            word = takeWord(rest_);
            if (word.empty()) return fmt::format("a network must follow {}", toString(rule_.verdict));
        }
        auto parsed = parseNetwork(word);
        if (auto* error = std::get_if<NetworkError>(&parsed)) return std::move(error->message);
        rule_.network = std::get<Network>(parsed);
        return std::nullopt;
    }

    std::optional<std::string> readOptions() {
        while (true) {
            const std::string_view option = optionAt(rest_);
            if (option.empty()) return std::nullopt;
            const std::string_view value = takeWord(rest_).substr(option.size());
            if (auto error = readOption(option, value)) return error;
        }
    }

    std::optional<std::string> readOption(std::string_view option, std::string_view value) {
        if (option == kListenerOption) return readListeners(value);
        if (option == kExpiresOption) return readExpiry(value);
        return readLimit(option, option == kSessionsOption ? rule_.limits.sessions : rule_.limits.per_minute,
                         value);
    }

    std::optional<std::string> readLimit(std::string_view option, std::optional<std::uint32_t>& limit,
                                         std::string_view text) {
        if (limit) return fmt::format("{} stands twice", option);
        if (rule_.verdict == Verdict::Deny) return fmt::format("{} is for allow rules", option);
        std::uint32_t number = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (error != std::errc() || end != text.data() + text.size() || number > kMaxClientLimit)
            return fmt::format("\"{}\" is not a number from 0 to {}", printable(text), kMaxClientLimit);
        limit = number;
        return std::nullopt;
    }

    std::optional<std::string> readListeners(std::string_view names) {
        if (!listeners_.empty()) return "listener= stands twice: name several with commas";
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
        if (known_.empty() || std::find(known_.begin(), known_.end(), name) != known_.end())
            return std::nullopt;
        return fmt::format("no listener is named \"{}\": the configuration has {}", printable(name),
                           fmt::join(known_, ", "));
    }

    static bool isListenerName(std::string_view name) noexcept {
        constexpr std::string_view kAllowed =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
        return !name.empty() && name.find_first_not_of(kAllowed) == std::string_view::npos;
    }

    std::optional<std::string> readExpiry(std::string_view time) {
        if (rule_.expires_at) return "expires= stands twice";
        rule_.expires_at = parseUtc(time);
        if (rule_.expires_at) return std::nullopt;
        return fmt::format("\"{}\" is not a time: expected RFC 3339, such as 2026-12-31T23:59:59Z",
                           printable(time));
    }

    std::optional<std::string> readNote() {
        if (isBlank()) return std::nullopt;
        if (rest_.front() == '"') {
            auto inside = unquoted(rest_.substr(1));
            if (!inside)
                return "the quoted note is not closed at the end of the line, or has an unknown escape";
            rule_.note = std::move(*inside);
        } else {
            if (std::any_of(rest_.begin(), rest_.end(), isControl))
                return "the note holds a control character";
            rule_.note = rest_;
        }
        if (rule_.note.size() > kMaxNoteLength)
            return fmt::format("the note is longer than {} bytes", kMaxNoteLength);
        return std::nullopt;
    }

    std::string_view rest_;
    std::span<const std::string> known_;
    AccessRule rule_;
    std::vector<std::string> listeners_;
};

}  // namespace

ImportResult parseRules(std::string_view text, std::span<const std::string> listeners) {
    ImportResult result;
    std::size_t line_number = 0;
    while (!text.empty() && result.errors.size() < kMaxImportErrors) {
        ++line_number;
        const std::size_t newline = text.find('\n');
        std::string_view line = text.substr(0, newline);
        text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
        if (line.ends_with('\r')) line.remove_suffix(1);
        LineReader reader(line, listeners);
        if (reader.isBlank()) continue;
        if (auto error = reader.read(line_number, result.rules))
            result.errors.push_back({line_number, std::move(*error)});
    }
    return result;
}

std::string noteError(std::string_view note) {
    if (note.size() > kMaxNoteLength) return fmt::format("the note is longer than {} bytes", kMaxNoteLength);
    if (std::any_of(note.begin(), note.end(), isControl)) return "the note holds a control character";
    return {};
}

std::string formatRule(const AccessRule& rule) {
    std::string line = fmt::format("{} {}", toString(rule.verdict), rule.network.toString());
    if (!rule.listener.empty()) line += fmt::format(" {}{}", kListenerOption, rule.listener);
    if (rule.expires_at) line += fmt::format(" {}{}", kExpiresOption, formatUtc(*rule.expires_at));
    if (rule.limits.sessions) line += fmt::format(" {}{}", kSessionsOption, *rule.limits.sessions);
    if (rule.limits.per_minute) line += fmt::format(" {}{}", kRateOption, *rule.limits.per_minute);
    if (!rule.note.empty()) line += ' ' + (canStandPlain(rule.note) ? rule.note : quotedNote(rule.note));
    return line;
}

}  // namespace mailgate::store
