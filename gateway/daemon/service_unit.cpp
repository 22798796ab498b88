// SPDX-License-Identifier: Apache-2.0
#include "gateway/daemon/service_unit.h"

#include "protocols/values/text.h"

#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace mailgate {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr std::string_view kUnit = "mailgate.service";
// systemd-system.conf(5), DefaultTimeoutStopSec.
constexpr milliseconds kDefault{90'000};
// ... and DefaultLimitNOFILE, the hard one.
constexpr std::uint64_t kDefaultDescriptors = 524'288;
constexpr std::uint64_t kUnlimited = RLIM_INFINITY;
// The first one that has a file of a name is heard.
constexpr const char* kFolders[] = {"etc/systemd/system", "run/systemd/system",
                                    "usr/local/lib/systemd/system", "usr/lib/systemd/system",
                                    "lib/systemd/system"};

struct TimeUnit {
    std::string_view word;
    std::int64_t milliseconds;
};
constexpr TimeUnit kUnits[] = {
    {"", 1'000},         {"s", 1'000},        {"sec", 1'000},      {"second", 1'000},   {"seconds", 1'000},
    {"ms", 1},           {"msec", 1},         {"m", 60'000},       {"min", 60'000},     {"minute", 60'000},
    {"minutes", 60'000}, {"h", 3'600'000},    {"hr", 3'600'000},   {"hour", 3'600'000}, {"hours", 3'600'000},
    {"d", 86'400'000},   {"day", 86'400'000}, {"days", 86'400'000}};

std::optional<fs::path> unitFile(const fs::path& root) {
    std::error_code ignored;
    for (const char* folder : kFolders)
        if (fs::exists(root / folder / kUnit, ignored)) return root / folder / kUnit;
    return std::nullopt;
}

/// In the order in which they are read: by name, whatever their folder.
std::vector<fs::path> dropIns(const fs::path& root) {
    std::vector<fs::path> files;
    for (const char* folder : kFolders) {
        std::error_code error;
        const fs::path drop_ins = root / folder / (std::string(kUnit) + ".d");
        for (fs::directory_iterator each(drop_ins, error), end; !error && each != end;
             each.increment(error)) {
            const auto same = [&](const fs::path& file) {
                return file.filename() == each->path().filename();
            };
            if (each->path().extension() == ".conf" && std::none_of(files.begin(), files.end(), same))
                files.push_back(each->path());
        }
    }
    std::sort(files.begin(), files.end(),
              [](const fs::path& a, const fs::path& b) { return a.filename() < b.filename(); });
    return files;
}

/// What the section Service of a file says, in its order.
void readService(const fs::path& file,
                 const std::function<void(std::string_view key, std::string_view value)>& visit) {
    std::ifstream stream(file);
    bool of_service = false;
    std::string whole;  // a backslash at its end continues a line, over comments
    for (std::string line; std::getline(stream, line);) {
        std::string_view text = trimmed(line);
        if (text.starts_with('#') || text.starts_with(';')) continue;
        const bool goes_on = text.ends_with('\\');
        if (goes_on) text.remove_suffix(1);
        whole += text;
        whole += ' ';
        if (goes_on) continue;
        const std::string setting(trimmed(std::exchange(whole, "")));
        const std::size_t equals = setting.find('=');
        if (setting.starts_with('[')) of_service = setting == "[Service]";
        if (!of_service || equals == std::string::npos) continue;
        visit(trimmed(std::string_view(setting).substr(0, equals)),
              trimmed(std::string_view(setting).substr(equals + 1)));
    }
}

/// The same of the unit and its drop-ins. False: it is not installed.
bool readUnit(const fs::path& root,
              const std::function<void(std::string_view key, std::string_view value)>& visit) {
    const auto unit = unitFile(root);
    if (!unit) return false;
    readService(*unit, visit);
    for (const fs::path& file : dropIns(root))
        readService(file, visit);
    return true;
}

/// Separated by spaces; quotes only as they are around the whole of one.
std::vector<std::string> wordsOf(std::string_view value) {
    std::vector<std::string> words;
    std::istringstream stream{std::string(value)};
    for (std::string word; stream >> std::quoted(word);)
        words.push_back(word);
    return words;
}

/// Settings that are lists: each adds to what was before, and an empty one ends that.
void addWords(std::vector<std::string>& list, std::string_view value) {
    if (value.empty()) list.clear();
    for (std::string& word : wordsOf(value))
        list.push_back(std::move(word));
}

fs::path resolved(const fs::path& file) {
    std::error_code error;
    fs::path canonical = fs::weakly_canonical(file, error);
    return error ? file : canonical;
}

/// Whether `file` is in `folder`, or is that.
bool isBelow(const fs::path& file, const fs::path& folder) {
    const fs::path below = resolved(file), above = resolved(folder);
    return std::mismatch(above.begin(), above.end(), below.begin(), below.end()).first == above.end();
}

/// The configuration that a command line of `serve` names.
fs::path configOf(std::string_view command) {
    constexpr std::string_view kOption = "--config";
    const std::vector<std::string> words = wordsOf(command);
    for (std::size_t at = 0; at < words.size(); ++at) {
        if (words[at] == kOption && at + 1 < words.size()) return words[at + 1];
        if (words[at].starts_with(std::string(kOption) + "=")) return words[at].substr(kOption.size() + 1);
    }
    return "/etc/mailgate/mailgate.toml";
}

/// What a unit says of one service with this configuration; false: it is not installed, serves with another one, or without
/// the unit's user and sandbox ("+/usr/bin/mailgate").
bool readUnitOf(const fs::path& config, const fs::path& root,
                const std::function<void(std::string_view key, std::string_view value)>& visit) {
    std::string command;
    const bool is_installed = readUnit(root, [&](std::string_view key, std::string_view value) {
        if (key == "ExecStart")
            command = value;
        else
            visit(key, value);
    });
    const std::string_view prefix = std::string_view(command).substr(0, command.find('/'));
    return is_installed && prefix.find_first_of("+!") == std::string_view::npos &&
           resolved(configOf(command)) == resolved(config);
}

/// Capabilities that open to a service what is closed to its user. "~" names those that it does not have.
bool opensFiles(const std::vector<std::string>& capabilities) {
    return std::any_of(capabilities.begin(), capabilities.end(), [](const std::string& name) {
        return name.starts_with('~') || startsWithIgnoreCase(name, "CAP_DAC_");
    });
}

/// Settings that name folders which the service may write to, and where these are.
constexpr std::pair<std::string_view, std::string_view> kFoldersOfUnits[] = {
    {"StateDirectory", "/var/lib/"},
    {"LogsDirectory", "/var/log/"},
    {"RuntimeDirectory", "/run/"},
    {"CacheDirectory", "/var/cache/"},
    {"ConfigurationDirectory", "/etc/"},
    {"ReadWritePaths", ""},
    {"BindPaths", ""},
    {"TemporaryFileSystem", ""}};

/// What its specifiers stand for in a unit of the system (systemd.unit(5)); nothing where that is not known here.
std::optional<std::string> expanded(std::string_view word) {
    constexpr std::pair<char, std::string_view> kSpecifiers[] = {
        {'S', "/var/lib"}, {'L', "/var/log"}, {'C', "/var/cache"}, {'t', "/run"},
        {'E', "/etc"},     {'T', "/tmp"},     {'V', "/var/tmp"},   {'N', "mailgate"},
        {'p', "mailgate"}, {'n', kUnit},      {'%', "%"}};
    std::string text;
    for (std::size_t at = 0; at < word.size(); ++at) {
        if (word[at] != '%') {
            text += word[at];
            continue;
        }
        const char letter = ++at < word.size() ? word[at] : '\0';
        const auto* found = std::find_if(std::begin(kSpecifiers), std::end(kSpecifiers),
                                         [&](const auto& one) { return one.first == letter; });
        if (found == std::end(kSpecifiers)) return std::nullopt;
        text += found->second;
    }
    return text;
}

/// "/data" of "-/data", "+/data", NAME:LINK and PATH:OPTIONS; the second of SOURCE:DESTINATION where it `binds`.
std::string folderIn(std::string word, bool binds) {
    word.erase(0, word.find_first_not_of("-+"));
    const std::size_t colon = word.find(':');
    if (!binds || colon == std::string::npos) return word.substr(0, colon);
    return word.substr(colon + 1, word.find(':', colon + 1) - colon - 1);
}

/// "1024:131072": the limit that a process may raise its own one to is the second.
std::uint64_t parseDescriptors(std::string_view value) {
    value = trimmed(value.substr(value.find(':') + 1));  // npos + 1 is 0
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    return error == std::errc() && end == value.data() + value.size() ? number : kUnlimited;
}

}  // namespace

std::optional<milliseconds> parseTimeSpan(std::string_view text) {
    constexpr std::int64_t kLongest = std::int64_t{10} * 366 * 86'400'000;
    std::int64_t sum = 0;
    text = trimmed(text);
    if (text.empty()) return std::nullopt;
    while (!text.empty()) {
        std::int64_t number = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (error != std::errc() || number < 0 || number > kLongest) return std::nullopt;
        text = trimmed(text.substr(static_cast<std::size_t>(end - text.data())));
        const std::size_t length = std::min(text.find_first_of(" \t0123456789"), text.size());
        const auto* unit = std::find_if(std::begin(kUnits), std::end(kUnits), [&](const TimeUnit& each) {
            return each.word == text.substr(0, length);
        });
        if (unit == std::end(kUnits) || number > kLongest / unit->milliseconds) return std::nullopt;
        sum = std::min(sum + number * unit->milliseconds, kLongest);
        text = trimmed(text.substr(length));
    }
    return milliseconds(sum);
}

std::optional<milliseconds> stopLimit(const fs::path& root) {
    std::optional<milliseconds> limit = kDefault;
    const bool is_installed = readUnit(root, [&](std::string_view key, std::string_view value) {
        if (key != "TimeoutStopSec" && key != "TimeoutSec") return;
        limit = value.empty() ? kDefault : parseTimeSpan(value);
        if (limit && limit->count() == 0) limit.reset();  // no limit either
    });
    return is_installed ? limit : std::nullopt;
}

bool reloadsBySocket(const fs::path& config, const fs::path& root) {
    std::vector<std::string> words;
    const bool serves = readUnitOf(config, root, [&](std::string_view key, std::string_view value) {
        if (key == "ExecReload") addWords(words, value);
    });
    return serves && std::find(words.begin(), words.end(), "reload") != words.end();
}

std::optional<ServiceUser> serviceUser(const fs::path& config, const fs::path& root) {
    ServiceUser service;
    bool is_dynamic = false;
    std::vector<std::string> capabilities;
    const bool serves = readUnitOf(config, root, [&](std::string_view key, std::string_view value) {
        if (key == "User") service.user = value;
        if (key == "Group") service.group = value;
        if (key == "SupplementaryGroups") addWords(service.groups, value);
        if (key == "AmbientCapabilities") addWords(capabilities, value);
        if (key == "DynamicUser") is_dynamic = value == "yes" || value == "true" || value == "1";
    });
    if (!serves || is_dynamic || opensFiles(capabilities) || service.user.empty() || service.user == "root" ||
        service.user == "0")
        return std::nullopt;
    return service;
}

bool readOnlyInUnit(const fs::path& file, const fs::path& config, const fs::path& root) {
    bool is_strict = false;
    std::map<std::string_view, std::vector<std::string>> lists;  // by the setting's name
    const bool serves = readUnitOf(config, root, [&](std::string_view key, std::string_view value) {
        if (key == "ProtectSystem") is_strict = value == "strict";
        if (key == "ReadWriteDirectories") key = "ReadWritePaths";              // its former name
        const bool clears_binds = key == "BindReadOnlyPaths" && value.empty();  // both are one list
        for (const auto& [name, parent] : kFoldersOfUnits)
            if (key == name || (clears_binds && name == "BindPaths")) addWords(lists[name], value);
    });
    std::vector<std::string> writable{"/dev", "/proc", "/sys", "/tmp", "/var/tmp"};
    for (const auto& [name, parent] : kFoldersOfUnits)
        for (const std::string& word : lists[name]) {
            const auto path = expanded(word);
            if (!path) return false;  // nobody knows here what is writable
            writable.push_back(std::string(parent) + folderIn(*path, name == "BindPaths"));
        }
    return serves && is_strict &&
           std::none_of(writable.begin(), writable.end(),
                        [&](const std::string& folder) { return isBelow(file, folder); });
}

std::string hiddenInUnitBy(const fs::path& file, const fs::path& config, const fs::path& root) {
    constexpr const char* kHomes[] = {"/home", "/root", "/run/user"};
    std::string homes;  // ProtectHome=
    std::vector<std::string> closed;
    const bool serves = readUnitOf(config, root, [&](std::string_view key, std::string_view value) {
        if (key == "ProtectHome") homes = value;
        if (key == "InaccessiblePaths" || key == "InaccessibleDirectories") addWords(closed, value);
    });
    if (!serves) return "";
    for (const std::string& word : closed)
        if (const auto path = expanded(word); path && isBelow(file, folderIn(*path, false)))
            return "InaccessiblePaths=" + folderIn(*path, false);
    const bool are_hidden =
        homes == "yes" || homes == "true" || homes == "on" || homes == "1" || homes == "tmpfs";
    if (are_hidden && std::any_of(std::begin(kHomes), std::end(kHomes),
                                  [&](const char* home) { return isBelow(file, home); }))
        return "ProtectHome=" + homes;
    return "";
}

std::uint64_t descriptorLimit(const fs::path& root) {
    std::uint64_t limit = kDefaultDescriptors;
    const bool is_installed = readUnit(root, [&](std::string_view key, std::string_view value) {
        if (key == "LimitNOFILE") limit = value.empty() ? kDefaultDescriptors : parseDescriptors(value);
    });
    if (is_installed) return limit;
    rlimit own{};
    return ::getrlimit(RLIMIT_NOFILE, &own) == 0 ? own.rlim_max : kUnlimited;
}

}  // namespace mailgate
