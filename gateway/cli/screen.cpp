// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/screen.h"

#include "gateway/base/clock.h"
#include "gateway/log/escape.h"

#include <Poco/JSON/Object.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <utility>

namespace mailgate::cli {

namespace {

std::string_view variable(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string_view() : std::string_view(value);
}

std::size_t numberOr(std::string_view text, std::size_t otherwise) {
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    return whole && number > 0 && number < 10'000 ? number : otherwise;
}

bool localeIsUtf8() {
    const locale_t own = ::newlocale(LC_CTYPE_MASK, "", nullptr);
    if (own == nullptr) return false;
    const bool utf8 = std::string_view(::nl_langinfo_l(CODESET, own)) == "UTF-8";
    ::freelocale(own);
    return utf8;
}

/// No signal reaches mailgate while the pager has the terminal, as in system(3): it decides what Ctrl-C means, and
/// leaves the terminal in order. A pager that is left early is no reason to die either.
class PagerSignals {
  public:
    PagerSignals() {
        struct sigaction ignore {};
        ignore.sa_handler = SIG_IGN;
        for (std::size_t at = 0; at < kSignals.size(); ++at)
            ::sigaction(kSignals[at], &ignore, &before_[at]);
    }
    ~PagerSignals() {
        for (std::size_t at = 0; at < kSignals.size(); ++at)
            ::sigaction(kSignals[at], &before_[at], nullptr);
    }
    PagerSignals(const PagerSignals&) = delete;
    PagerSignals& operator=(const PagerSignals&) = delete;

    static constexpr std::array<int, 3> kSignals{SIGINT, SIGQUIT, SIGPIPE};

  private:
    std::array<struct sigaction, 3> before_{};
};

/// What less(1) is told unless the user has: colours pass, long lines are cut, the screen stays. Who came by
/// sudo(8) may have been given this one command: less then runs no others.
std::vector<std::string> pagerEnvironment() {
    std::vector<std::string> environment;
    for (char** entry = environ; *entry != nullptr; ++entry)
        environment.emplace_back(*entry);
    if (std::getenv("LESS") == nullptr) environment.emplace_back("LESS=RSX");
    if (std::getenv("LESSCHARSET") == nullptr && localeIsUtf8())
        environment.emplace_back("LESSCHARSET=utf-8");
    if (std::getenv("SUDO_USER") != nullptr && std::getenv("LESSSECURE") == nullptr)
        environment.emplace_back("LESSSECURE=1");
    return environment;
}

std::vector<char*> pointersTo(std::vector<std::string>& words) {
    std::vector<char*> pointers;
    pointers.reserve(words.size() + 1);
    for (std::string& word : words)
        pointers.push_back(word.data());
    pointers.push_back(nullptr);
    return pointers;
}

/// Starts it with what is written to `input` as its standard input.
std::optional<pid_t> started(std::vector<std::string> argv, int input) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
    ::posix_spawnattr_init(&attributes);
    ::sigemptyset(&defaults);
    for (const int number : PagerSignals::kSignals)
        ::sigaddset(&defaults, number);
    ::posix_spawnattr_setsigdefault(&attributes, &defaults);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    std::vector<std::string> environment = pagerEnvironment();
    pid_t child = -1;
    const int error = ::posix_spawnp(&child, argv.front().c_str(), &files, &attributes,
                                     pointersTo(argv).data(), pointersTo(environment).data());
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
    return error == 0 ? std::optional(child) : std::nullopt;
}

void writeAll(int descriptor, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(descriptor, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return;
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

/// Whether that program could be run.
bool shownBy(std::vector<std::string> argv, std::string_view text) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    const PagerSignals signals;
    const auto child = started(std::move(argv), ends[0]);
    ::close(ends[0]);
    if (child) writeAll(ends[1], text);
    ::close(ends[1]);
    if (!child) return false;
    int status = 0;
    while (::waitpid(*child, &status, 0) < 0 && errno == EINTR) {
    }
    constexpr int kNotRun = 126;  // as sh(1) says it; 127 likewise
    return !WIFEXITED(status) || WEXITSTATUS(status) < kNotRun;
}

}  // namespace

bool isDumb() {
    return variable("TERM").empty() || variable("TERM") == "dumb";
}

namespace {

/// Whether a pager has shown it. On a dumb terminal only one that was asked for does.
bool isPaged(std::string_view text) {
    if (const char* pager = std::getenv("PAGER")) {
        if (std::string_view(pager).empty() || std::string_view(pager) == "cat") return false;
        return shownBy({"sh", "-c", pager}, text);
    }
    return !isDumb() && (shownBy({"less"}, text) || shownBy({"more"}, text));
}

}  // namespace

Screen standardOutput() {
    Screen screen;
    if (::isatty(STDOUT_FILENO) == 0) return screen;
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) size = {};
    screen.terminal = true;
    screen.columns = size.ws_col > 0 ? size.ws_col : numberOr(variable("COLUMNS"), 80);
    screen.rows = size.ws_row > 0 ? size.ws_row : numberOr(variable("LINES"), 24);
    screen.colours = variable("NO_COLOR").empty() && !isDumb();
    screen.letters = localeIsUtf8() ? Letters::Utf8 : Letters::Ascii;
    return screen;
}

TableStyle ViewOptions::style() const {
    const Screen screen = standardOutput();
    return {.width = wide ? 0 : screen.columns,
            .letters = screen.letters,
            .colours = screen.colours,
            .follows = false,
            .columns = columns};
}

Times ViewOptions::times() const {
    return standardOutput().terminal ? Times(zone(), unixMillis()) : Times(zone());
}

void addViewOptions(CLI::App& command, ViewOptions& options, Prints prints) {
    constexpr const char* kGroup = "Output";
    const auto flag = [&](const char* name, bool& value, const char* help) {
        command.add_flag(name, value, help)->group(kGroup);
    };
    if (prints != Prints::Text) flag("--wide", options.wide, "Do not fit tables to the terminal");
    if (prints == Prints::OneTable)
        command
            .add_option("--columns", options.columns,
                        "Print these columns, separated by commas; an unknown name lists them all")
            ->delimiter(',')
            ->allow_extra_args(false)
            ->group(kGroup);
    flag("--utc", options.utc, "Read and print times in UTC, not in the local time zone");
    flag("--no-pager", options.no_pager, "Do not use a pager on a terminal");
}

void print(std::string_view text, const ViewOptions& options) {
    const Screen screen = standardOutput();
    std::fflush(stdout);
    const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
    if (screen.terminal && !options.no_pager && lines >= screen.rows && isPaged(text)) return;
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
}

std::string asTyped(std::string_view text) {
    constexpr std::size_t kLongest = 200;  // columns
    const Letters letters = standardOutput().letters;
    return clipped(shown(text, letters), kLongest, letters);
}

Poco::JSON::Array::Ptr jsonTexts(const std::vector<std::string>& texts) {
    Poco::JSON::Array::Ptr array(new Poco::JSON::Array);
    for (const std::string& text : texts)
        array->add(text);
    return array;
}

void printDocument(const Poco::JSON::Object& document) {
    constexpr unsigned kIndent = 2;
    std::ostringstream text;
    document.stringify(text, kIndent);
    std::fputs((visibleJson(text.str()) + "\n").c_str(), stdout);
}

void printWithNote(std::string text, std::string_view note, const ViewOptions& options) {
    const bool terminal = standardOutput().terminal;
    if (terminal && !note.empty()) text += fmt::format("{}\n", note);
    print(text, options);
    if (!terminal && !note.empty()) fmt::print(stderr, "mailgate: {}\n", note);
}

}  // namespace mailgate::cli
