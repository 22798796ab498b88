// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/cli.h"

#include "tests/support/command_line.h"

#include <gmock/gmock.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace mailgate::cli {
namespace {

using test::ran;
using test::Ran;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Cli, NamesTheWordThatIsNoSubcommand) {
    struct Case {
        std::vector<std::string> words;
        const char* error;
    };
    const Case cases[] = {
        {{"sesions", "--live"}, "mailgate: there is no command \"sesions\": did you mean \"sessions\"?\n"},
        {{"access", "alow", "192.0.2.1"},
         "mailgate: access has no subcommand \"alow\": did you mean \"allow\"?\n"},
        {{"access", "del", "192.0.2.1"},
         "mailgate: access has no subcommand \"del\": did you mean \"remove\"?\n"},
        {{"access", "block", "192.0.2.1"},
         "mailgate: access has no subcommand \"block\": did you mean \"deny\"?\n"},
        {{"restart"},
         "mailgate: there is no command \"restart\": did you mean \"systemctl restart mailgate\"?\n"},
        {{"kill", "sessions"},
         "mailgate: kill belongs behind the command that has it: mailgate sessions kill\n"},
        {{"show", "sessions"},
         "mailgate: there is no command \"show\": did you mean \"mailgate sessions\"?\n"},
        {{"sessions", "--sinse", "1h"},
         "mailgate: sessions has no option \"--sinse\": did you mean \"--since\"?\n"},
        {{"sessions", "show", "--utx", "01"},
         "mailgate: sessions show has no option \"--utx\": did you mean \"--utc\"?\n"},
        {{"status", "--config-file=x"}, "mailgate: status has no option \"--config-file\"\n"},
        {{"--json", "status"},
         "mailgate: --json belongs behind the command that has it: mailgate status --json\n"},
        {{"access", "alow", "--x"}, "mailgate: access has no subcommand \"alow\": did you mean \"allow\"?\n"},
        {{"set", "--help"}, "mailgate: there is no command \"set\": did you mean \"access set\"?\n"},
        {{"server"}, "mailgate: server needs a subcommand: drain, ready\n"},
        {{"reload", "now"}, "mailgate: reload takes no argument: \"now\"\n"},
        {{"reload", "\x1B[2J"}, "mailgate: reload takes no argument: \"\\x1B[2J\"\n"},
        {{"backup", "a", "b", "c"}, "mailgate: backup takes no further argument: \"b\"\n"},
        {{"sessions", "bob@example.net"},
         "mailgate: sessions takes what to look for as options: --client, --from, --to or --user; \"mailgate "
         "who "
         "bob@example.net\" finds it anywhere\n"},
        {{"sessions", "shw", "01"}, "mailgate: sessions has no subcommand \"shw\": did you mean \"show\"?\n"},
        {{"-v"}, "mailgate: there is no option \"-v\": did you mean \"version\"?\n"},
        {{"top", "--limit"}, "mailgate: --limit needs a value\n"},
        {{"top", "--since", "1h", "--since", "2h"}, "mailgate: --since may be given once only\n"},
        {{"sessions", "show"}, "mailgate: ID is required\n"},
        {{"server", "restart"}, "mailgate: server has no subcommand \"restart\": expected drain, ready\n"},
    };
    for (const Case& wrong : cases) {
        const Ran done = ran(wrong.words);
        EXPECT_EQ(done.exit_code, kUsage) << wrong.error;
        EXPECT_EQ(done.errors, std::string(wrong.error) + test::kMoreHelp);
        EXPECT_EQ(done.output, "");
    }
}

TEST(Cli, OfAValueItIsSaidWhatWasExpected) {
    const std::pair<std::vector<std::string>, const char*> cases[] = {
        {{"help", "acess"}, "mailgate: there is no command \"acess\": did you mean \"access\"?\n"},
        {{"help", "access", "ls"}, "mailgate: access has no subcommand \"ls\": did you mean \"list\"?\n"},
        {{"help", "access", "allow", "extra"},
         "mailgate: access allow has no subcommand \"extra\": it has none\n"},
        {{"server", "drain", "p/a", "--host", "h"},
         "mailgate: UPSTREAM/SERVER and --host cannot be combined\n"},
        {{"sessions", "--protocol", "http"},
         "mailgate: --protocol: expected smtp, lmtp, imap, pop3, sieve or tcp, found \"http\"\n"},
        {{"sessions", "--end", "client_quitt"},
         "mailgate: --end: no session ends with \"client_quitt\": did you mean \"client_quit\"?\n"},
        {{"sessions", "--tls", "tls13"},
         "mailgate: --tls: expected starttls, implicit, passthrough, balancer or none, found \"tls13\"\n"},
        {{"restore", "x", "--parts", ""},
         "mailgate: --parts: expected rules, journal or configuration, found \"\"\n"},
        {{"access", "undo", "foo"}, "mailgate: CHANGE: expected a number, found \"foo\"\n"},
        {{"console", "user", "add", "x", "--role", "root"},
         "mailgate: --role: expected viewer, operator or admin, found \"root\"\n"},
    };
    for (const auto& [words, error] : cases) {
        const Ran done = ran(words);
        EXPECT_EQ(done.exit_code, kUsage) << error;
        EXPECT_EQ(done.errors, error);
        EXPECT_EQ(done.output, "");
    }
}

TEST(Cli, KnowsWhatOtherProgramsCallIt) {
    const std::pair<std::vector<std::string>, const char*> cases[] = {
        {{"show", "stat"}, "status"},
        {{"show", "errors"}, "sessions --refused"},
        {{"disable", "server", "a/b"}, "drain"},
        {{"server", "list"}, "mailgate status"},
        {{"list"}, "access list"},
        {{"whitelist", "192.0.2.1"}, "access allow"},
        {{"unban", "192.0.2.1"}, "access remove"},
        {{"log"}, "sessions --follow"},
        {{"configtest"}, "check"},
        {{"-t"}, "check"},
        {{"-c", "x"}, "--config"},
        {{"access", "show"}, "list"},
        {{"fleet", "remove", "x"}, "forget"},
        {{"sessions", "ls"}, "mailgate sessions"},
        {{"sessions", "live"}, "--live"},
        {{"access", "list", "expired"}, "--expired"},
        {{"sessions", "--sender", "a"}, "--from"},
        {{"top", "--sender", "a"}, "--by sender"},
        {{"access", "deny", "192.0.2.1", "--ttl", "1h"}, "--expires"},
        {{"access", "remove", "1", "-y"}, "--yes"},
    };
    for (const auto& [words, meant] : cases)
        EXPECT_THAT(ran(words).errors, HasSubstr(std::string(": did you mean \"") + meant + "\"?\n"))
            << words.back();
    EXPECT_THAT(ran({"queue"}).errors, HasSubstr("servers' queues"));
    EXPECT_THAT(ran({"sessions", "192.0.2.1"}).errors, HasSubstr("\"mailgate who 192.0.2.1\""));
}

TEST(Cli, AnOptionIsNotTheValueOfAnother) {
    const std::vector<std::vector<std::string>> cases = {
        {"access", "deny", "192.0.2.1", "--note", "--dry-run"},
        {"access", "deny", "192.0.2.1", "--set", "--force"},
        {"access", "remove", "192.0.2.1", "--note-contains", "--dry-run", "--yes"},
        {"access", "--config", "--x", "list"},
        {"access", "set", "define", "x", "--note", "--dry-run"},
        {"sessions", "--since", "--all"},
        {"top", "--limit", "--json"}};
    for (const auto& words : cases) {
        const Ran done = ran(words);
        const auto next = std::adjacent_find(words.begin(), words.end(), [](const auto& a, const auto& b) {
            return a.starts_with("--") && b.starts_with("--");
        });
        EXPECT_EQ(done.exit_code, kUsage);
        EXPECT_EQ(done.errors, "mailgate: " + next[0] + " needs a value, and is followed by \"" + next[1] +
                                   "\" (a value that begins with --: " + next[0] + "=" + next[1] + ")\n");
    }
}

TEST(Cli, WhatAMonitoringSystemMisspeltIsUnknown) {
    constexpr int kUnknown = 3;
    for (const auto& words : {std::vector<std::string>{"status", "--check", "--nonsense"},
                              {"status", "--check", "--sessions", "many"},
                              {"status", "--check", "extra"},
                              {"status", "--check", "--sessions", "--journal", "90"}})
        EXPECT_EQ(ran(words).exit_code, kUnknown) << words.back();
    const Ran misspelt = ran({"status", "--check", "--sessions", "x"});
    EXPECT_THAT(misspelt.output, testing::MatchesRegex("MAILGATE UNKNOWN - [^\n]*WARNING[^\n]*\n"));
    EXPECT_EQ(misspelt.errors, "") << "a plugin's runner shows one line, of standard output";
}

TEST(Cli, WithoutACommandTheCommandsAreNamed) {
    EXPECT_THAT(ran({}).errors, StartsWith("mailgate: a command is needed: serve, check, access, "));
    EXPECT_THAT(ran({"access"}).errors, StartsWith("mailgate: access needs a subcommand: allow, "));
}

TEST(Cli, WhereNoneIsNearTheCommandsAreNamed) {
    EXPECT_THAT(ran({"nonsense"}).errors,
                StartsWith("mailgate: there is no command \"nonsense\": expected serve, check, access, "));
    EXPECT_THAT(ran({"\x1B[2J"}).errors,
                StartsWith("mailgate: there is no command \"\\x1B[2J\": expected serve, "));
}

TEST(Cli, HelpAndVersionAreNoErrors) {
    const Ran help = ran({"--help"});
    EXPECT_EQ(help.exit_code, kDone);
    EXPECT_THAT(help.output, HasSubstr("Exit status: "));
    EXPECT_EQ(help.errors, "");
    EXPECT_THAT(ran({"version"}).output, StartsWith("mailgate "));
    EXPECT_EQ(ran({"help"}).output, help.output);
    EXPECT_EQ(ran({"help", "sessions", "show"}).output, ran({"sessions", "show", "--help"}).output);
}

TEST(Cli, AClosedStandardOutputIsNoOtherFile) {
    const auto closed = [] {
        ::close(STDIN_FILENO);
        ::close(STDOUT_FILENO);
        char program[] = "mailgate", command[] = "help";
        char* words[] = {program, command};
        const bool has_failed = run(2, words) == kRefusedOrNotFound;
        const int flags = ::fcntl(STDOUT_FILENO, F_GETFL);
        ::_exit(has_failed && flags != -1 && (flags & O_ACCMODE) == O_RDONLY ? 0 : 1);
    };
    EXPECT_EXIT(closed(), testing::ExitedWithCode(0), "cannot write to standard output");
}

TEST(Cli, AConfigurationThatCannotBeReadHasACodeOfItsOwn) {
    const Ran done = ran({"--config", "/nonexistent/mailgate.toml", "check"});
    EXPECT_EQ(done.exit_code, kBadConfiguration);
    EXPECT_THAT(done.errors, HasSubstr("/nonexistent/mailgate.toml"));
}

}  // namespace
}  // namespace mailgate::cli
