// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/cli.h"

#include "gateway/cli/arguments.h"
#include "gateway/cli/examples.h"
#include "gateway/cli/help.h"
#include "gateway/cli/interrupts.h"
#include "gateway/cli/status_check.h"
#include "gateway/cli/synonyms.h"
#include "gateway/config/load.h"
#include "gateway/log/log_target.h"
#include "protocols/values/text.h"
#include "store/store_error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailgate::cli {

namespace {

#ifdef MAILGATE_WITHOUT_CONSOLE
constexpr const char* kVersionText = "mailgate " MAILGATE_VERSION " (without the console)";
#else
constexpr const char* kVersionText = "mailgate " MAILGATE_VERSION;
#endif

constexpr const char* kMoreHelp = "Run with --help for more information.\n";

std::vector<std::string> commandNames(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::App* command : app.get_subcommands({}))
        names.push_back(command->get_name());
    return names;
}

/// Those of the commands around it as well, which it takes too.
std::vector<std::string> optionNames(const CLI::App* app) {
    std::vector<std::string> names;
    for (; app != nullptr; app = app->get_parent())
        for (const CLI::Option* option : app->get_options())
            for (const std::string& name : option->get_lnames())
                names.push_back("--" + name);
    return names;
}

/// "mailgate sessions show"
std::string pathOf(const CLI::App* app) {
    return app->get_parent() == nullptr ? app->get_name() : pathOf(app->get_parent()) + " " + app->get_name();
}

/// "sessions show has"; of the whole program, which the message begins with anyway, "there is".
std::string subjectOf(const CLI::App* app, std::string_view has, std::string_view there_is) {
    if (app->get_parent() == nullptr) return std::string(there_is);
    std::string subject = app->get_name();
    for (app = app->get_parent(); app->get_parent() != nullptr; app = app->get_parent())
        subject.insert(0, app->get_name() + " ");
    return fmt::format("{} {}", subject, has);
}

std::string question(std::string_view meant) {
    return fmt::format(": did you mean \"{}\"?", meant);
}

std::string unknownOption(const CLI::App* app, std::string_view word) {
    word = word.substr(0, word.find('='));
    const std::vector<std::string> own = optionNames(app);
    if (std::find(own.begin(), own.end(), word) != own.end())
        return fmt::format("{} belongs behind the command that has it: {} {}", word, pathOf(app), word);
    std::vector<std::string> all = own;
    if (app->get_parent() == nullptr)
        for (const std::string& name : commandNames(*app))
            all.push_back(name);
    const std::string meant = meantOption(word, all);
    return fmt::format("{} no option \"{}\"{}", subjectOf(app, "has", "there is"), printable(word),
                       meant.empty() ? didYouMean(own, word) : question(meant));
}

/// "access set" of "set"; empty: no other command has one of that name.
std::string ownerOf(const CLI::App& app, const std::string& word) {
    for (const CLI::App* command : app.get_subcommands({}))
        for (const std::string& name : commandNames(*command))
            if (name == word) return fmt::format("{} {}", command->get_name(), name);
    return {};
}

/// Where it should be the first command.
std::string meantFirstBy(const CLI::App& root, std::span<const std::string> words) {
    const std::string& word = words.front();
    if (word == "start" || word == "stop" || word == "restart")
        return fmt::format("systemctl {} mailgate", word);
    if (word == "show") {  // HAProxy's "show sess"
        for (const std::string& what : words.subspan(1))
            if (std::string meant = meantFirst(what); !meant.empty()) return meant;
        return "status";
    }
    if (std::string meant = meantFirst(word); !meant.empty()) return meant;
    if (std::string owned = ownerOf(root, word); !owned.empty()) return owned;
    for (const CLI::App* command : root.get_subcommands({}))
        if (const std::string meant = meantAmong(word, commandNames(*command)); !meant.empty())
            return fmt::format("{} {}", command->get_name(), meant);
    return {};
}

/// An option without its dashes.
std::string optionMeant(const CLI::App& app, const std::string& word) {
    const std::vector<std::string> own = optionNames(&app);
    const std::string option = "--" + word;
    return std::find(own.begin(), own.end(), option) != own.end() ? option : meantOption(option, own);
}

bool asksForAll(std::string_view word) {
    return word == "show" || word == "list" || word == "ls";
}

/// Behind `app`.
std::string meantBehind(const CLI::App& app, const std::string& word) {
    if (std::string meant = meantAmong(word, commandNames(app)); !meant.empty()) return meant;
    if (app.get_name() == "server" && (asksForAll(word) || word == "status")) return "mailgate status";
    if (std::string owned = ownerOf(app, word); !owned.empty()) return owned;
    return optionMeant(app, word);
}

/// `words`: with those behind it.
std::string unknownCommand(const CLI::App& app, std::span<const std::string> words) {
    const std::string& word = words.front();
    const std::vector<std::string> names = commandNames(app);
    const bool is_first = app.get_parent() == nullptr;
    const std::string unknown = fmt::format(
        "{} \"{}\"", subjectOf(&app, "has no subcommand", "there is no command"), printable(word));
    if (std::find(names.begin(), names.end(), word) != names.end())
        return fmt::format("{} belongs behind the command that has it: {} {}", word, pathOf(&app), word);
    if (names.empty()) return unknown + ": it has none";
    if (is_first && (word == "queue" || word == "mailq" || word == "postqueue"))
        return unknown + ": mail waits in the servers' queues; sessions under way: mailgate sessions --live";
    const std::string meant = is_first ? meantFirstBy(app, words) : meantBehind(app, word);
    if (const std::string near = meant.empty() ? didYouMean(names, word) : question(meant); !near.empty())
        return unknown + near;
    if (app.get_name() == "sessions")
        return fmt::format(
            "sessions takes what to look for as options: --client, --from, --to or --user; \"mailgate who "
            "{}\" "
            "finds it anywhere",
            printable(word));
    return fmt::format("{}: expected {}", unknown, fmt::join(names, ", "));
}

std::string missingCommand(const CLI::App& app) {
    return fmt::format("{}: {}", subjectOf(&app, "needs a subcommand", "a command is needed"),
                       fmt::join(commandNames(app), ", "));
}

std::string unwantedArgument(const CLI::App& app, const std::string& word) {
    const bool takes_some =
        !app.get_options([](const CLI::Option* option) { return option->get_positional(); }).empty();
    const std::string meant = optionMeant(app, word);
    return fmt::format("{} {}argument: \"{}\"{}", subjectOf(&app, "takes no", "there is no"),
                       takes_some ? "further " : "", printable(word), meant.empty() ? "" : question(meant));
}

/// Its name may be a command's instead of the kind's.
bool is(const CLI::Error& error, CLI::ExitCodes kind) {
    return error.get_exit_code() == static_cast<int>(kind);
}

/// What CLI11 says in its own words of options that are used wrongly.
std::string misusedOption(const CLI::Error& error) {
    std::string said = printable(error.what(), std::string::npos);  // with what was typed in it
    const std::size_t colon = said.find(": ");
    if (is(error, CLI::ExitCodes::ArgumentMismatch) && colon != std::string::npos)
        return said.ends_with(" missing") ? said.substr(0, colon) + " needs a value"
                                          : said.substr(0, colon) + " may be given once only";
    constexpr std::string_view kUnconverted = "Could not convert: ", kEquals = " = ";
    if (const std::size_t at = said.find(kEquals);
        said.starts_with(kUnconverted) && at != std::string::npos)  // what is not read as text is a number
        return fmt::format("{}: expected a number, found \"{}\"",
                           said.substr(kUnconverted.size(), at - kUnconverted.size()),
                           said.substr(at + kEquals.size()));
    constexpr std::string_view kExcludes = " excludes ";
    if (const std::size_t at = said.find(kExcludes);
        is(error, CLI::ExitCodes::ExcludesError) && at != std::string::npos)
        return fmt::format("{} and {} cannot be combined", said.substr(0, at),
                           said.substr(at + kExcludes.size()));
    return said;
}

/// What was found and what was expected is all there is to say of a value: --help says no more.
bool isOfValue(const CLI::Error& error) {
    return is(error, CLI::ExitCodes::ValidationError) || is(error, CLI::ExitCodes::ConversionError) ||
           is(error, CLI::ExitCodes::ExcludesError);
}

/// A word where a subcommand had to be is what is wrong, not that there is none; an option is told by its name.
std::string usageSentence(const CLI::App* root, const CLI::Error& error) {
    const CLI::App* app = root;
    while (!app->get_subcommands().empty())
        app = app->get_subcommands().front();
    const std::vector<std::string> words = root->remaining(true);
    const bool extra = is(error, CLI::ExitCodes::ExtrasError);
    const bool none = app->get_require_subcommand_min() > 0 && app->get_subcommands().empty();
    std::string sentence;
    if (!words.empty() && words.front().size() > 1 && words.front().starts_with('-'))
        sentence = unknownOption(app, words.front());
    else if (!words.empty() && extra && asksForAll(words.front()))
        sentence = fmt::format("there is no command \"{}\"{}", words.front(), question(pathOf(app)));
    else if (!words.empty() && (none || extra) && !commandNames(*app).empty())
        sentence = unknownCommand(*app, words);
    else if (!words.empty() && extra)
        sentence = unwantedArgument(*app, words.front());
    else if (none && is(error, CLI::ExitCodes::RequiredError))
        sentence = missingCommand(*app);
    else
        sentence = misusedOption(error);
    return sentence;
}

std::string usageErrorText(const CLI::App* root, const CLI::Error& error) {
    return forStandardError(LogLevel::Error, fmt::format("mailgate: {}\n{}", usageSentence(root, error),
                                                         isOfValue(error) ? "" : kMoreHelp));
}

/// `mailgate help sessions show` is `mailgate sessions show --help`.
void addHelpCommand(CLI::App& root) {
    CLI::App* help = root.add_subcommand("help", "Print the help of a command");
    const auto words = std::make_shared<std::vector<std::string>>();
    help->add_option("COMMAND", *words, "The command (default: a summary of all commands)");
    help->callback([&root, words] {
        const CLI::App* app = &root;
        for (const std::string& word : *words) {
            const auto commands =
                app->get_subcommands([&](const CLI::App* command) { return command->get_name() == word; });
            if (commands.empty()) throw CLI::ValidationError(unknownCommand(*app, std::span(&word, 1)));
            app = commands.front();
        }
        std::fputs(app->get_formatter()->make_help(app, pathOf(app), CLI::AppFormatMode::Normal).c_str(),
                   stdout);
    });
}

/// The option of that name that the command has, or one of those around it; null: none does.
const CLI::Option* optionOf(const CLI::App* app, const std::string& name) {
    for (; app != nullptr; app = app->get_parent())
        if (const CLI::Option* option = app->get_option_no_throw(name)) return option;
    return nullptr;
}

/// Whoever forgets the value of `--note` in front of `--dry-run` would make for real the change that was to be tried:
/// CLI11 takes whatever comes next. Throws CLI::ValidationError.
void requireValues(const CLI::App& root, std::span<char* const> words) {
    const CLI::App* app = &root;
    for (std::size_t at = 1; at < words.size(); ++at) {
        const std::string word = words[at];
        if (word == "--") return;
        if (!word.starts_with("--")) {
            const auto commands =
                app->get_subcommands([&](const CLI::App* command) { return command->get_name() == word; });
            if (!commands.empty()) app = commands.front();
            continue;
        }
        const CLI::Option* option = optionOf(app, word);
        if (option == nullptr || option->get_items_expected_min() == 0 || at + 1 == words.size()) continue;
        const std::string_view next = words[++at];
        if (next.starts_with("--"))
            throw CLI::ValidationError(fmt::format(
                "{0} needs a value, and is followed by \"{1}\" (a value that begins with --: {0}={1})", word,
                printable(next)));
    }
}

/// A monitoring system takes 2 for CRITICAL, and reads one line of standard output: of a command line that was misspelt it gets that.
bool isCheck(std::span<char* const> words) {
    const auto has = [&](std::string_view wanted) {
        return std::any_of(words.begin(), words.end(), [&](const char* word) { return word == wanted; });
    };
    return has("status") && has("--check");
}

void complain(std::string_view text) {
    std::fputs(forStandardError(LogLevel::Error, fmt::format("{}\n", text)).c_str(), stderr);
}

/// By a signal that could not call off what has failed then: a shell's loop is not to go on.
void endIfInterrupted(const std::exception& error) {
    if (const int signal = Interrupts::noted()) endBy(signal, error.what());
}

int parseAndRun(CLI::App& app, const Context& context, int argc, char** argv) {
    const std::span<char* const> words(argv, static_cast<std::size_t>(argc));
    try {
        requireValues(app, words);
        app.parse(argc, argv);
        return context.exit_code;
    } catch (const CLI::CallForHelp& error) {
        // Of a command that there is not, the program's help is no answer.
        const std::vector<std::string> left = app.remaining(true);
        if (left.empty() || left.front().starts_with('-') || !app.get_subcommands().empty())
            return app.exit(error);
        std::fprintf(stderr, "mailgate: %s\n%s", unknownCommand(app, left).c_str(), kMoreHelp);
        return kUsage;
    } catch (const CLI::ParseError& error) {
        const bool was_asked = is(error, CLI::ExitCodes::Success);  // for the version
        if (!was_asked && isCheck(words)) {
            fmt::print("{}\n", checkFailed(CheckState::Unknown, usageSentence(&app, error)).line);
            return static_cast<int>(CheckState::Unknown);
        }
        app.exit(error);
        return was_asked ? kDone : kUsage;
    } catch (const ConfigError& error) {
        complain(error.what());
        return kBadConfiguration;
    } catch (const store::StoreError& error) {
        endIfInterrupted(error);
        complain(fmt::format("mailgate: {}", error.what()));
        return error.kind() == store::StoreError::Kind::Unknown ? kOutcomeUnknown : kRefusedOrNotFound;
    } catch (const Interrupted& error) {
        endBy(error.signal(), error.what());
    } catch (const std::exception& error) {
        endIfInterrupted(error);
        complain(fmt::format("mailgate: {}", error.what()));
        return kRefusedOrNotFound;
    }
}

/// Of a pipe or a terminal: whoever has read enough is told nothing, and wants nothing to be told (`| head`).
bool readerIsGone() noexcept {
    pollfd output{STDOUT_FILENO, 0, 0};
    return ::poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP)) != 0;
}

/// What was printed has to have arrived: a backup on a full disk is none. Subcommands need not look.
int afterWriting(int exit_code) {
    const bool failed_before = std::cout.flush().fail() || std::ferror(stdout) != 0;
    if (std::fflush(stdout) == 0 && !failed_before) return exit_code;
    const int error = errno;
    // Where the signal is ignored, as by services of systemd; else that has ended the command.
    if (readerIsGone()) return exit_code == kDone ? kReaderGone : exit_code;
    std::fprintf(stderr, "mailgate: cannot write to standard output: %s\n",
                 failed_before ? "the output is incomplete" : std::strerror(error));
    return exit_code == kDone ? kRefusedOrNotFound : exit_code;
}

/// Whose standard output is closed would have the next file that is opened for it, and what is printed in that.
void requireDescriptors() noexcept {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::fcntl(fd, F_GETFD) < 0)  // to be used as it was closed: it fails
            [[maybe_unused]]
            const int same = ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

}  // namespace

void addCommands(CLI::App& app, Context& context) {
    app.description(
        "mailgate: a gateway for SMTP, LMTP, IMAP, POP3 and ManageSieve in front of Postfix and Dovecot");
    app.name("mailgate");
    app.formatter(helpFormatter());
    app.require_subcommand(1);
    app.failure_message(usageErrorText);
    app.fallthrough();
    app.set_version_flag("--version", kVersionText);
    app.add_option("--config", context.config_file,
                   "Configuration file (default: ./mailgate.toml, else /etc/mailgate/mailgate.toml)");
    app.footer(
        "Exit status: 0 success, 1 refused or not found, 2 usage error, 75 not known whether a change was "
        "made, "
        "78 configuration error, 141 the reader of the output has gone (| head).");
    addServeCommand(app, context);
    addCheckCommand(app, context);
    addAccessCommand(app, context);
    addSessionsCommand(app, context);
    addWhoCommand(app, context);
    addTopCommand(app, context);
    addReportCommand(app, context);
    addStatusCommand(app, context);
    addTlsCommand(app, context);
    addServerCommand(app, context);
    addFleetCommand(app, context);
    addConsoleCommand(app, context);
    addReloadCommand(app, context);
    addProbeCommand(app, context);
    addSnippetCommand(app, context);
    addBackupCommand(app, context);
    addRestoreCommand(app, context);
    app.add_subcommand("version", "Print the version")->callback([] { std::puts(kVersionText); });
    addHelpCommand(app);
    addExamples(app);
}

int run(int argc, char** argv) {
    requireDescriptors();
    // A file that may not grow is an error of the call that writes, which can be told, and no reason to die.
    ::signal(SIGXFSZ, SIG_IGN);
    Context context;
    CLI::App app;
    addCommands(app, context);
    return afterWriting(parseAndRun(app, context, argc, argv));
}

}  // namespace mailgate::cli
