// SPDX-License-Identifier: Apache-2.0
/// \file  mailgate(1) says what --help says: WRITE_REFERENCE=1 writes its synopses and options anew.
#include "gateway/cli/help.h"

#include "gateway/cli/cli.h"
#include "tests/support/command_line.h"
#include "tests/support/reference.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <CLI/CLI.hpp>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

namespace mailgate::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class HelpTest : public testing::Test {
  protected:
    HelpTest() {
        addCommands(app_, context_);
        addSynopses(app_, "");
    }

    /// Of those that do something by themselves.
    void addSynopses(const CLI::App& above, const std::string& path) {
        for (const CLI::App* command : above.get_subcommands({})) {
            const std::string own = path + (path.empty() ? "" : " ") + command->get_name();
            if (command->get_require_subcommand_min() == 0) synopses_[own] = synopsisOf(*command);
            addSynopses(*command, own);
        }
    }
    const CLI::App& command(const std::vector<std::string>& path) const {
        const CLI::App* found = &app_;
        for (const std::string& name : path)
            found = found->get_subcommand(name);
        return *found;
    }

    Context context_;
    CLI::App app_;
    std::map<std::string, std::string> synopses_;
};

TEST_F(HelpTest, ASynopsisHasWhatTheCommandTakes) {
    EXPECT_EQ(synopsisOf(command({"sessions", "show"})),
              "*sessions show* _ID_ [--here] [--gateway _NAME_] [--json]");
    EXPECT_EQ(synopsisOf(command({"access", "test"})),
              "*access test* _ADDR_... [--listener _NAME_]... [--json]");
    EXPECT_EQ(synopsisOf(command({"server", "drain"})),
              "*server drain* [_UPSTREAM_/_SERVER_] [--host _HOST_] [--everywhere]");
    EXPECT_EQ(synopsisOf(command({"serve"})), "*serve*");
    EXPECT_THAT(synopsisOf(command({"access", "import"})), HasSubstr(" [--verdict *allow*|*deny*] "));
    EXPECT_THAT(optionsReference(app_),
                AllOf(HasSubstr("\n*sessions show*\n\n\t_ID_\n\t\tSession id, or"),
                      HasSubstr("\n\t*--from* _ADDR_\n\t\tEnvelope sender: an address, @domain, or <>\n\n")));
    EXPECT_THAT(synopsisOf(command({"sessions"})),
                AllOf(HasSubstr(" [--verdict *allow*|*deny*] "), HasSubstr(" [--since _WHEN_] "),
                      HasSubstr(" [--rule _NET_|*default*] "), Not(HasSubstr("--wide"))));
}

TEST_F(HelpTest, HelpNamesTheValues) {
    const test::Ran help = test::ran({"help", "sessions"});
    EXPECT_THAT(help.output,
                AllOf(HasSubstr("\n  --from ADDR                 Envelope sender"),
                      HasSubstr("\n  --verdict allow|deny        Verdict"), HasSubstr("\n  --limit N "),
                      Not(HasSubstr("UINT")), Not(HasSubstr("REQUIRED"))));
    EXPECT_THAT(test::ran({"help", "access", "allow"}).output,
                AllOf(HasSubstr(" access allow [OPTIONS] NET...\n"), HasSubstr("\n  --listener NAME ...  ")));
}

TEST_F(HelpTest, TheManualPageHasTheSynopses) {
    const std::filesystem::path file = kSourceFolder / "docs/man/mailgate.1.scd";
    std::istringstream lines(readAll(file));
    std::string written;
    std::set<std::string> seen;
    for (std::string line; std::getline(lines, line); written += line + "\n") {
        if (!line.starts_with('*')) continue;
        const std::string path = line.substr(1, line.find('*', 1) - 1);
        // "*snippet* *postfix*|*haproxy*"
        for (const auto& [known, synopsis] : synopses_)
            if (known.starts_with(path + " ") &&
                line.find("*" + known.substr(path.size() + 1) + "*") != std::string::npos)
                seen.insert(known);
        const auto known = synopses_.find(path);
        // The options have a section of their own, where commands stand alone.
        if (known == synopses_.end() || !seen.insert(path).second) continue;
        const std::string wanted = known->second + (line.ends_with("++") ? "++" : "");
        if (std::getenv("WRITE_REFERENCE") == nullptr) {
            EXPECT_EQ(line, wanted) << "run this test with WRITE_REFERENCE=1";
        }
        line = wanted;
    }
    for (const auto& [path, synopsis] : synopses_)
        EXPECT_TRUE(seen.contains(path)) << path << " is not in docs/man/mailgate.1.scd";
    if (std::getenv("WRITE_REFERENCE") != nullptr) std::ofstream(file) << written;
}

TEST_F(HelpTest, TheManualPageHasTheOptions) {
    expectReference("docs/man/mailgate.1.scd", "; The options are made of ", "; end of the options",
                    optionsReference(app_));
}

}  // namespace
}  // namespace mailgate::cli
