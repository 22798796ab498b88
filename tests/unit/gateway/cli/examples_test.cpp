// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/examples.h"

#include "gateway/cli/cli.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace mailgate::cli {
namespace {

using testing::HasSubstr;

std::vector<std::string> wordsOf(std::string_view text) {
    std::istringstream stream{std::string(text)};
    std::vector<std::string> words;
    for (std::string word; stream >> word;)
        words.push_back(word);
    return words;
}

std::string helpOf(std::string_view command) {
    std::vector<std::string> words{"mailgate", "help"};
    for (std::string& word : wordsOf(command))
        words.push_back(std::move(word));
    std::vector<char*> argv;
    for (std::string& word : words)
        argv.push_back(word.data());
    testing::internal::CaptureStdout();
    EXPECT_EQ(run(static_cast<int>(argv.size()), argv.data()), kDone) << command;
    return testing::internal::GetCapturedStdout();
}

/// The commands that the help of `command` lists, and theirs.
void addCommands(std::set<std::string>& commands, const std::string& command) {
    commands.insert(command);
    const std::string help = helpOf(command);
    const std::size_t list = help.find("\nSubcommands:\n");
    if (list == std::string::npos) return;
    std::istringstream lines(help.substr(list + std::string_view("\nSubcommands:\n").size()));
    for (std::string line; std::getline(lines, line) && line.starts_with("  ");)
        if (line[2] != ' ')
            addCommands(commands, command + (command.empty() ? "" : " ") + wordsOf(line).front());
}

TEST(ExamplesTest, EveryCommandHasTwoInItsHelp) {
    std::set<std::string> commands, with_examples;
    addCommands(commands, "");
    for (const Examples& examples : allExamples())
        with_examples.emplace(examples.command);
    EXPECT_EQ(commands, with_examples);
    EXPECT_GT(commands.size(), 20u);
}

TEST(ExamplesTest, TheirOptionsAreThoseOfTheHelp) {
    for (const Examples& examples : allExamples()) {
        const std::string help = helpOf(examples.command);
        for (const std::string_view line : examples.lines) {
            EXPECT_THAT(help, HasSubstr(fmt::format("\n  {}\n", line)));
            if (examples.command.empty()) continue;
            for (const std::string& word : wordsOf(line.substr(0, line.find_first_of("|&>")))) {
                if (!word.starts_with("--") || word == "--config" || word == "--version") continue;
                EXPECT_THAT(help.substr(0, help.find("Examples:")), HasSubstr(word)) << line;
            }
        }
    }
}

}  // namespace
}  // namespace mailgate::cli
