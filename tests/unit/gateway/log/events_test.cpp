// SPDX-License-Identifier: Apache-2.0
/// \file  The catalogue of events, the places that log them, and the documents that tell of them say the same.
#include "gateway/log/events.h"

#include "gateway/log/log_line.h"
#include "tests/support/reference.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <string>

namespace mailgate {
namespace {

namespace fs = std::filesystem;

const EventRow* rowOf(const std::string& name) {
    const auto* row = std::ranges::find(kEvents, name, &EventRow::name);
    return row == std::end(kEvents) ? nullptr : row;
}

std::set<std::string> matches(const std::string& text, const char* pattern) {
    const std::regex regex(pattern);
    std::set<std::string> found;
    for (std::sregex_iterator each(text.begin(), text.end(), regex), end; each != end; ++each)
        found.insert((*each)[1]);
    return found;
}

/// The sources that may log, but for the catalogue itself, by their path.
std::map<std::string, std::string> sources() {
    std::map<std::string, std::string> texts;
    for (const auto& entry : fs::recursive_directory_iterator(kSourceFolder / "gateway")) {
        const std::string extension = entry.path().extension();
        if ((extension == ".cpp" || extension == ".h") && entry.path().filename() != "events.h")
            texts[entry.path().lexically_relative(kSourceFolder)] = readAll(entry.path());
    }
    return texts;
}

/// The beginnings of lines: what stands between the parentheses of line(…).
std::set<std::string> linesBegun(const std::string& source) {
    return matches(source, R"(\bline\(([^;]*LogLevel::[^;]*)\);)");
}

TEST(Events, WhatIsLoggedIsInTheCatalogueWithItsLevel) {
    std::size_t seen = 0;
    for (const auto& [file, text] : sources()) {
        for (const std::string& begun : linesBegun(text)) {
            const std::set<std::string> levels = matches(begun, R"(LogLevel::(\w+))");
            for (const std::string& name : matches(begun, R"re("([a-z]+\.[a-z_]+)")re")) {
                const EventRow* row = rowOf(name);
                ASSERT_NE(row, nullptr) << file << " logs " << name;
                const auto among = [&](LogLevel level) {
                    return std::ranges::any_of(levels, [&](std::string word) {
                        std::ranges::transform(word, word.begin(), ::tolower);
                        return word == toString(level);
                    });
                };
                EXPECT_TRUE(among(row->level)) << file << " logs " << name << " with another level";
                if (row->when_refused) {
                    EXPECT_TRUE(among(*row->when_refused)) << file << " logs " << name;
                }
                ++seen;
            }
        }
    }
    EXPECT_GT(seen, 20U) << "this test no longer finds the places that log";
}

TEST(Events, WhatIsInTheCatalogueIsLogged) {
    std::string all;
    for (const auto& [file, text] : sources())
        all += text;
    for (const EventRow& row : kEvents)
        EXPECT_THAT(all, testing::HasSubstr(fmt::format("\"{}\"", row.name)));
}

TEST(Events, EachHasANameOfItsOwn) {
    std::set<std::string_view> names;
    for (const EventRow& row : kEvents)
        EXPECT_TRUE(names.insert(row.name).second) << row.name;
}

TEST(Events, TheDocumentsHaveThemAll) {
    std::string table = "| Event | Level | When |\n|---|---|---|\n";
    const std::string manual = readAll(kSourceFolder / "docs/man/mailgate-log.5.scd");
    const std::size_t events = manual.find("\n# EVENTS\n") + 1;
    std::set<std::string> named =
        matches(manual.substr(events, manual.find("\n# ", events) - events), R"(\*([a-z]+\.[a-z_]+)\*)");
    for (const EventRow& row : kEvents) {
        const std::string refused =
            row.when_refused ? fmt::format("; {} when refused", toString(*row.when_refused)) : "";
        table += fmt::format("| `{}` | {}{} | {} |\n", row.name, toString(row.level), refused, row.when);
        EXPECT_EQ(named.erase(std::string(row.name)), 1U) << row.name << " is not in mailgate-log(5)";
    }
    EXPECT_THAT(named, testing::IsEmpty()) << "mailgate-log(5) tells of events that there are not";
    expectReference("docs/log.md", "<!-- The table is made of ", "<!-- end of the table -->", table);
}

}  // namespace
}  // namespace mailgate
