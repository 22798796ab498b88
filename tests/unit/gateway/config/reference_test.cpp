// SPDX-License-Identifier: Apache-2.0
/// \file  The reference of the configuration's keys, in the documents and in the sample, is what the field tables say.
#include "tests/support/reference.h"
#include "gateway/config/fields.h"
#include "gateway/config/load.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <map>
#include <string>

namespace mailgate::config {
namespace {

std::string replaced(std::string text, std::string_view from, std::string_view to) {
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
        text.replace(at, from.size(), to);
    return text;
}

std::string markdownReference() {
    std::string text = "| Key | Type | Default | Meaning |\n|---|---|---|---|\n";
    for (const DescribedTable& table : describeTables()) {
        for (const Described& key : table.keys)
            text += fmt::format("| `{}{}{}` | {} | {} | {}{} |\n", table.path, table.path.empty() ? "" : ".",
                                key.key, key.type, key.without, key.meaning,
                                key.change == Change::Restart ? "; needs a restart" : "");
    }
    return text;
}

/// What stands between backticks is underlined; underscores are marks there.
std::string manText(std::string_view text) {
    std::string result;
    bool code = false;
    for (const char byte : text) {
        if (byte == '`') {
            code = !code;
            result += '_';
        } else if (byte == '_' || byte == '*') {
            result += '\\';
            result += byte;
        } else {
            result += byte;
        }
    }
    return result;
}

std::string manReference() {
    std::string text;
    for (const DescribedTable& table : describeTables()) {
        if (table.path.empty())
            text += "# BEFORE THE FIRST TABLE\n\n";
        else
            text +=
                fmt::format("# {}{}{}\n\n", table.array ? "[[" : "[", table.path, table.array ? "]]" : "]");
        if (!table.about.empty()) text += table.about + "\n\n";
        for (const Described& key : table.keys) {
            const std::string_view word = key.without == "needed" ? "" : "default: ";
            std::string meaning = manText(replaced(key.meaning, "see below", "see NOTES"));
            meaning[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(meaning[0])));
            text += fmt::format("*{}*: {}; {}{}\n\t{}.{}\n\n", key.key, manText(key.type), word,
                                manText(key.without), meaning,
                                key.change == Change::Restart ? " A change needs a restart." : "");
        }
    }
    return text;
}

TEST(Reference, TheDocumentsSayWhatTheTablesSay) {
    expectReference("docs/configuration.md", "<!-- The table is made of ", "<!-- end of the table -->",
                    markdownReference());
    expectReference("docs/man/mailgate.toml.5.scd", "; The keys are made of ", "; end of the keys",
                    manReference());
}

TEST(Reference, EveryKeyIsExplained) {
    for (const DescribedTable& table : describeTables()) {
        for (const Described& key : table.keys) {
            EXPECT_FALSE(key.type.empty()) << table.path << '.' << key.key;
            EXPECT_FALSE(key.without.empty()) << table.path << '.' << key.key;
            EXPECT_FALSE(key.meaning.empty()) << table.path << '.' << key.key;
        }
    }
}

/// Tables and keys of the sample's text with their values, commented ones too.
std::map<std::string, std::string> sampleValues() {
    std::ifstream sample(kSourceFolder / "etc/mailgate.toml");
    std::map<std::string, std::string> values;
    std::string table;
    for (std::string line; std::getline(sample, line);) {
        if (line.starts_with("# ")) line.erase(0, 2);
        const std::string word =
            line.substr(0, line.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_[."));
        if (word.starts_with("[networks") || word.starts_with("[defaults.")) {
            // Keys of the site's own, or of another table: the table itself is what there is to show.
            values[word.substr(1)];
            table = "-";
        } else if (word.starts_with('[')) {
            table = word.substr(word.find_first_not_of('['));
            values[table];
        } else if (!word.empty() && line.substr(word.size()).starts_with(" = ")) {
            const std::string value = line.substr(word.size() + 3);
            values[table.empty() ? word : table + "." + word] =
                value.substr(0, value.find_last_not_of(' ', value.find(" #")) + 1);
        }
    }
    return values;
}

TEST(Reference, TheSampleShowsEveryKeyAndNoOther) {
    std::vector<std::string> shown;
    for (const auto& [key, value] : sampleValues())
        if (!key.starts_with("-.")) shown.push_back(key);
    // The table around those for listeners and upstreams has no line of its own.
    std::vector<std::string> keys = configKeys();
    std::erase(keys, "defaults");
    EXPECT_THAT(shown, testing::ElementsAreArray(keys));
}

TEST(Reference, TheSampleShowsTheDefaults) {
    const std::map<std::string, std::string> sample = sampleValues();
    for (const DescribedTable& table : describeTables()) {
        for (const Described& row : table.keys) {
            const std::string key = table.path.empty() ? row.key : table.path + "." + row.key;
            // A first set-up has balancers.
            if (!row.without.starts_with('`') || key == "listener.proxy") continue;
            EXPECT_EQ("`" + sample.at(key) + "`", row.without.substr(0, row.without.rfind('`') + 1)) << key;
        }
    }
}

}  // namespace
}  // namespace mailgate::config
