// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/help.h"

#include "gateway/cli/screen.h"
#include "gateway/cli/screen_text.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::cli {

namespace {

constexpr std::size_t kHelpColumn = 30;

/// What the value of an option is called where that is not the option's own name. (CLI11 would call them TEXT and UINT.)
constexpr std::pair<std::string_view, std::string_view> kValues[] = {{"ca", "FILE"},
                                                                     {"client", "NET"},
                                                                     {"host", "HOST"},
                                                                     {"parts", "PART,..."},
                                                                     {"sessions", "WARN,CRIT"},
                                                                     {"journal", "WARN,CRIT"},
                                                                     {"certificates", "WARN,CRIT"},
                                                                     {"drained", "DURATION"},
                                                                     {"silent", "WARN,CRIT"},
                                                                     {"lag", "WARN,CRIT"},
                                                                     {"journal-lag", "WARN,CRIT"},
                                                                     {"client-rate", "N"},
                                                                     {"client-sessions", "N"},
                                                                     {"columns", "NAME,..."},
                                                                     {"config", "FILE"},
                                                                     {"end", "REASON"},
                                                                     {"expired-for", "DURATION"},
                                                                     {"balancer", "NET"},
                                                                     {"by", "NAME"},
                                                                     {"grant", "ROLE"},
                                                                     {"url", "URL"},
                                                                     {"expires", "WHEN"},
                                                                     {"expiring", "DURATION|soon"},
                                                                     {"format", "NAME"},
                                                                     {"from", "ADDR"},
                                                                     {"gateway", "NAME"},
                                                                     {"helo", "NAME"},
                                                                     {"ignore-columns", "NAME,..."},
                                                                     {"inside", "NET"},
                                                                     {"limit", "N"},
                                                                     {"listener", "NAME"},
                                                                     {"match", "NET"},
                                                                     {"message-id", "ID"},
                                                                     {"note", "TEXT"},
                                                                     {"note-contains", "TEXT"},
                                                                     {"owner", "TEXT"},
                                                                     {"program", "NAME"},
                                                                     {"queue-id", "ID"},
                                                                     {"refused-recipient", "ADDR"},
                                                                     {"reply", "TEXT"},
                                                                     {"rule", "NET|default"},
                                                                     {"server", "NAME"},
                                                                     {"server-name", "NAME"},
                                                                     {"set", "NAME"},
                                                                     {"since", "WHEN"},
                                                                     {"ticket", "TEXT"},
                                                                     {"tls", "NAME"},
                                                                     {"to", "ADDR"},
                                                                     {"until", "WHEN"},
                                                                     {"unused", "DURATION"},
                                                                     {"user", "NAME"},
                                                                     {"verdict", "allow|deny"}};

/// "allow|deny" of a validator's "TEXT:{allow,deny}" or "TEXT:client|network"; empty: it does not list the words.
std::string wordsOf(const CLI::Option& option) {
    const std::string type = option.get_type_name();
    const std::size_t colon = type.find(':');
    if (colon == std::string::npos) return {};
    std::string words = type.substr(colon + 1);
    if (words.starts_with('{') && words.ends_with('}')) words = words.substr(1, words.size() - 2);
    std::replace(words.begin(), words.end(), ',', '|');
    return words.find('|') == std::string::npos ? "" : words;
}

std::string upper(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
    return text;
}

bool isFlag(const CLI::Option& option) {
    return option.get_items_expected_max() == 0;
}

bool isRepeated(const CLI::Option& option) {
    return option.get_items_expected_max() > 1;
}

/// Empty: it takes none.
std::string valueOf(const CLI::Option& option) {
    if (isFlag(option)) return {};
    if (option.get_positional()) return upper(option.get_name(true));
    if (std::string words = wordsOf(option); !words.empty()) return words;
    const std::string& name = option.get_lnames().front();
    for (const auto& [known, value] : kValues)
        if (known == name) return std::string(value);
    return "TEXT";
}

/// As `--help` prints it: "--listener NAME ...".
std::string nameInHelp(const CLI::Option& option) {
    if (option.get_positional()) return valueOf(option) + (isRepeated(option) ? " ..." : "");
    std::string name = option.get_name(false, true);
    const std::string value = valueOf(option);
    if (!value.empty()) name += " " + value;
    return name + (isRepeated(option) && value.find("...") == std::string::npos ? " ..." : "");
}

/// Beside the names, on a screen of that many columns; 0: in one line.
std::string described(std::string_view description, std::size_t columns) {
    constexpr std::size_t kLeast = 20;  // fewer are no column
    std::string text = wrapped(description, columns < kHelpColumn + kLeast ? 0 : columns - kHelpColumn);
    for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; ++at)
        text.insert(at + 1, kHelpColumn, ' ');
    return text;
}

class HelpFormatter final : public CLI::Formatter {
  public:
    HelpFormatter() { column_width(kHelpColumn); }

    std::string make_option(const CLI::Option* option, bool /*is_positional*/) const override {
        return lineOf(nameInHelp(*option), option->get_description());
    }
    std::string make_subcommand(const CLI::App* command) const override {
        return lineOf(command->get_name(), command->get_description());
    }
    std::string make_option_usage(const CLI::Option* option) const override {
        const std::string name = valueOf(*option) + (isRepeated(*option) ? "..." : "");
        return option->get_required() ? name : "[" + name + "]";
    }

  private:
    static std::string lineOf(const std::string& name, const std::string& description) {
        const std::string begin = "  " + name;
        const bool fits = begin.size() + 1 < kHelpColumn;
        return begin +
               (fits ? std::string(kHelpColumn - begin.size(), ' ') : "\n" + std::string(kHelpColumn, ' ')) +
               described(description, standardOutput().columns) + "\n";
    }
};

/// What scdoc(5) would take for a mark is escaped.
std::string plain(std::string_view text) {
    std::string escaped;
    for (const char byte : text) {
        if (byte == '_' || byte == '*' || byte == '\\') escaped += '\\';
        escaped += byte;
    }
    return escaped;
}

/// "NET|default" to "_NET_|*default*", "UPSTREAM[/SERVER]" to "_UPSTREAM_[/_SERVER_]"
std::string marked(const std::string& value) {
    std::string text;
    std::size_t from = 0;
    while (from <= value.size()) {
        const std::size_t end = std::min(value.find_first_of("|/,[]:", from), value.size());
        const std::string word = value.substr(from, end - from);
        const bool is_name = !word.empty() && std::isupper(static_cast<unsigned char>(word.front())) != 0;
        text += word.empty() || word == "..." ? word : is_name ? "_" + word + "_" : "*" + word + "*";
        if (end < value.size()) text += value[end];
        from = end + 1;
    }
    return text;
}

/// "*--listener* _NAME_", "_NET_"; `mark`: what is put around the name of an option.
std::string termOf(const CLI::Option& option, std::string_view mark) {
    if (option.get_positional()) return marked(valueOf(option));
    const std::string value = valueOf(option);
    return fmt::format("{0}--{1}{0}{2}{3}", mark, option.get_lnames().front(), value.empty() ? "" : " ",
                       marked(value));
}

std::string inSynopsis(const CLI::Option& option) {
    const std::string term = termOf(option, "");
    const std::string more = isRepeated(option) && term.find("...") == std::string::npos ? "..." : "";
    return option.get_required() ? term + more : "[" + term + "]" + more;
}

bool isOwn(const CLI::Option* option) {
    return option->get_group() == "Options" &&
           (option->get_positional() ||
            (!option->get_lnames().empty() && option->get_lnames().front() != "help"));
}

/// Without mailgate itself.
std::string pathOf(const CLI::App& command) {
    const CLI::App* parent = command.get_parent();
    if (parent == nullptr) return {};
    const std::string above = pathOf(*parent);
    return above.empty() ? command.get_name() : above + " " + command.get_name();
}

void addOptions(std::string& text, const CLI::App& command) {
    const auto options = command.get_options(isOwn);
    if (!options.empty() && command.get_parent() != nullptr) {
        text += fmt::format("*{}*\n\n", pathOf(command));
        for (const CLI::Option* option : options)
            text += fmt::format("\t{}\n\t\t{}\n\n", termOf(*option, "*"), plain(option->get_description()));
    }
    for (const CLI::App* below : command.get_subcommands({}))
        addOptions(text, *below);
}

}  // namespace

std::shared_ptr<CLI::FormatterBase> helpFormatter() {
    return std::make_shared<HelpFormatter>();
}

std::string synopsisOf(const CLI::App& command) {
    std::string text = "*" + pathOf(command) + "*";
    const auto options = command.get_options(isOwn);
    for (const bool positional : {true, false})
        for (const CLI::Option* option : options)
            if (option->get_positional() == positional) text += " " + inSynopsis(*option);
    return text;
}

std::string optionsReference(const CLI::App& root) {
    std::string text;
    addOptions(text, root);
    return text;
}

}  // namespace mailgate::cli
