// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin/client.h"
#include "gateway/base/clock.h"
#include "gateway/cli/arguments.h"
#include "gateway/cli/backup.h"
#include "gateway/cli/chosen_config.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/interrupts.h"
#include "gateway/cli/progress.h"
#include "gateway/cli/running_gateway.h"
#include "gateway/config/load.h"
#include "gateway/daemon/service_unit.h"
#include "protocols/values/text.h"
#include "store/backends/backup.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mailgate::cli {

namespace {

namespace fs = std::filesystem;
using Kind = BackupFile::Kind;

/// A line for each thing that is done, and the end of all when it is interrupted.
class Reporter {
  public:
    void report(std::string_view what, std::uint64_t done, std::uint64_t total) {
        if (const int signal = Interrupts::noted())
            throw Interrupted(signal, "interrupted: nothing was left behind, and nothing changed");
        if (what != what_) {
            progress_.reset();
            what_ = what;
            progress_.emplace(what_);
        }
        progress_->outOf(total);
        progress_->at(done);
    }
    BackupReport callback() {
        return [this](std::string_view what, std::uint64_t done, std::uint64_t total) {
            report(what, done, total);
        };
    }

  private:
    std::string what_;
    std::optional<Progress> progress_;
};

std::string copiedText(std::uint64_t bytes) {
    const auto size = static_cast<double>(bytes);
    if (bytes < 1'000'000) return fmt::format("{:.1f} kB", size / 1e3);
    return bytes < 1'000'000'000 ? fmt::format("{:.1f} MB", size / 1e6)
                                 : fmt::format("{:.1f} GB", size / 1e9);
}

std::string_view wordFor(Kind kind) {
    constexpr std::string_view kWords[] = {"rules", "journal", "configuration"};
    return kWords[static_cast<std::size_t>(kind)];
}

void requireName(const std::string& folder) {
    if (folder.empty()) throw CLI::ValidationError("DIR", "the name is empty");
}

void backUp(const Context& context, const std::string& folder) {
    requireName(folder);
    const Config config = chosenConfig(context);
    // It would be put in the place of the last one that has rules.
    if (const auto lost = lostStore(config)) throw BackupError(*lost);
    const Interrupts interrupts;
    std::optional<Reporter> reporter(std::in_place);
    const Backup backup = makeBackup(config, folder, reporter->callback());
    reporter.reset();
    for (const BackupFile& file : backup.files)
        fmt::print("{:<14} {:>10}  {}\n", wordFor(file.kind), copiedText(file.bytes),
                   printable(file.origin, std::string::npos));
    for (const MissingDatabase& missing : backup.missing)
        fmt::print("{:<14} {:>10}  {} does not exist yet\n", wordFor(missing.kind), "none",
                   printable(missing.origin, std::string::npos));
    fmt::print("{}: backup made and verified\n", printable(folder, std::string::npos));
}

// ---- and back

/// Which parts --parts names.
struct Parts {
    bool rules = true, journal = true, configuration = false;
    bool has(Kind kind) const noexcept {
        return kind == Kind::Rules ? rules : kind == Kind::Journal ? journal : configuration;
    }
};

Parts partsArgument(const std::vector<std::string>& words) {
    Parts parts{false, false, false};
    for (const std::string& word : words) {
        parts.rules = parts.rules || word == "rules";
        parts.journal = parts.journal || word == "journal";
        parts.configuration = parts.configuration || word == "configuration";
    }
    return parts;
}

// A socket unit that holds its ports would start it again.
constexpr const char* kInUse = "stop the gateway first (systemctl stop 'mailgate@*.socket' mailgate)";

/// A gateway that answers would go on with the files that are put aside.
void requireStopped(const Config& config) {
    if (config.admin.socket.empty()) return;
    try {
        admin::Client(config.admin.socket).get("/v1/status");
    } catch (const admin::ClientError& error) {
        if (error.status() == 0) return;
    }
    throw BackupError(fmt::format("a gateway runs with this configuration: {}", kInUse));
}

void requireOutOfUse(const fs::path& database) {
    try {
        store::takeOutOfUse("sqlite:" + database.string());
    } catch (const store::StoreError& error) {
        using StoreKind = store::StoreError::Kind;
        if (error.kind() == StoreKind::Locked)
            throw BackupError(fmt::format("{}: is in use: {}", database.string(), kInUse));
        // What is damaged is what a backup is for, and what is not there is in nobody's way.
        if (error.kind() != StoreKind::Damaged && error.kind() != StoreKind::Open) throw;
    }
}

/// Who writes the databases of a gateway that serves with this configuration; nobody, where that is not known.
std::optional<FileOwner> serviceOf(const Config& config) {
    ServiceUser service{config.user, {}, {}};
    if (service.user.empty()) service = serviceUser(config.file).value_or(service);
    const passwd* user = ::getpwnam(service.user.c_str());
    if (user == nullptr) return std::nullopt;
    const gid_t own = user->pw_gid;
    const group* group = ::getgrnam(service.group.c_str());
    return FileOwner{user->pw_uid, group != nullptr ? group->gr_gid : own};
}

bool isMoved(const BackupFile& main, const fs::path& new_main) {
    return new_main != fs::path(main.origin);
}

/// What is where it was.
bool staysInUse(const Replacement& replacement) {
    std::error_code ignored;
    return fs::exists(replacement.target, ignored) &&
           fs::equivalent(replacement.target, replacement.file->origin, ignored);
}

/// Of the configuration, what is included from where it was is not the backup's to replace where that is tried elsewhere.
bool staysAsItIs(const Replacement& replacement, const BackupFile& main, const fs::path& new_main) {
    return isMoved(main, new_main) && staysInUse(replacement);
}

/// The configuration of the backup as it will be at `new_main`.
Config comingConfig(const fs::path& folder, const Backup& backup, const BackupFile& main,
                    const fs::path& new_main) {
    ComingFiles coming;
    for (const BackupFile& file : backup.files)
        if (file.kind == Kind::Configuration &&
            !staysAsItIs({&file, placeOf(file, main, new_main)}, main, new_main))
            coming[placeOf(file, main, new_main)] = folder / file.name;
    try {
        return loadReadable(new_main, coming).config;
    } catch (const ConfigError& error) {
        throw BackupError(fmt::format(
            "{}\nmailgate: this configuration does not tell where rules and journal go: restore it "
            "alone (--parts configuration), mend it, then restore these",
            error.what()));
    }
}

/// Who tries a backup elsewhere means no database that stays where it was.
void requireMoved(const Replacement& replacement) {
    if (!staysInUse(replacement)) return;
    throw BackupError(fmt::format(
        "{}: the configuration goes to another place than it was, and has this database where it was: to "
        "replace it, restore the configuration alone (--parts configuration), then these; else change "
        "{}.url in between",
        replacement.target.string(), replacement.file->kind == Kind::Rules ? "store" : "journal"));
}

/// Where everything goes: the configuration where it was, or where --config says, the databases where the one says that will
/// be in force.
std::vector<Replacement> replacementsFor(const Context& context, const fs::path& folder, const Backup& backup,
                                         const Parts& parts) {
    std::vector<Replacement> all;
    const auto main = std::find_if(backup.files.begin(), backup.files.end(),
                                   [](const BackupFile& file) { return file.kind == Kind::Configuration; });
    std::optional<Config> config;
    fs::path new_main;
    if (parts.configuration) {
        if (main == backup.files.end()) throw BackupError("the backup has no configuration");
        new_main = context.config_file.empty() ? fs::path(main->origin)
                                               : fs::absolute(context.config_file).lexically_normal();
        if (parts.rules || parts.journal) config = comingConfig(folder, backup, *main, new_main);
    } else {
        config = chosenConfig(context);
        requireStopped(*config);
    }
    // The file itself, where a link leads to it.
    const auto pathOf = [](const std::string& url) {
        const fs::path path(url.substr(url.find(':') + 1));
        std::error_code error;
        const fs::path file = fs::weakly_canonical(path, error);
        return error ? path : file;
    };
    for (const BackupFile& file : backup.files) {
        if (!parts.has(file.kind)) continue;
        if (file.kind == Kind::Configuration) {
            const Replacement replacement{&file, placeOf(file, *main, new_main)};
            if (staysAsItIs(replacement, *main, new_main))
                fmt::print("{:<14} {} stays as it is\n", wordFor(file.kind),
                           printable(file.origin, std::string::npos));
            else
                all.push_back(replacement);
            continue;
        }
        all.push_back({&file, pathOf(file.kind == Kind::Rules ? config->store_url : config->journal.url),
                       serviceOf(*config)});
        if (parts.configuration && isMoved(*main, new_main)) requireMoved(all.back());
    }
    return all;
}

/// Of a configuration that has gone to another place: what there still belongs to the one from which it came.
void tellOfMoved(const std::vector<Replacement>& replacements) {
    const auto main = std::ranges::find(replacements, Kind::Configuration,
                                        [](const Replacement& one) { return one.file->kind; });
    if (main == replacements.end() || !isMoved(*main->file, main->target)) return;
    Config config;
    try {
        config = loadReadable(main->target).config;
    } catch (const ConfigError&) {
        return;  // mailgate check says why
    }
    for (const Replacement& replacement : replacements) {
        const auto isThat = [&](const std::string& read) {
            std::error_code ignored;
            return fs::equivalent(replacement.target, read, ignored);
        };
        if (replacement.file->kind == Kind::Configuration && std::ranges::none_of(config.files, isThat))
            fmt::print("note: {} is not read: what is included is {}, by an absolute path\n",
                       printable(replacement.target.string(), std::string::npos),
                       printable(replacement.file->origin, std::string::npos));
    }
    if (!config.fleet.url.empty())
        fmt::print(
            "note: a gateway that is started with it is {} in the fleet's database: to try a backup, take "
            "[fleet] "
            "out\n",
            printable(config.name));
}

void restore(const Context& context, const std::string& folder, const Parts& parts) {
    requireName(folder);
    const Interrupts interrupts;
    const Backup backup = readBackup(folder);
    std::optional<Reporter> reporter(std::in_place);
    // Of a damaged one, what is whole can still be had.
    const auto verify = [&](auto isWanted) {
        Backup wanted = backup;
        std::erase_if(wanted.files,
                      [&](const BackupFile& file) { return !parts.has(file.kind) || !isWanted(file); });
        verifyBackup(wanted, folder, reporter->callback());
    };
    const auto isText = [](const BackupFile& file) { return file.kind == Kind::Configuration; };
    verify(isText);  // which is read to find the places
    const std::vector<Replacement> replacements = replacementsFor(context, folder, backup, parts);
    if (replacements.empty()) throw BackupError(fmt::format("{}: has nothing of that", printable(folder)));
    verify(std::not_fn(isText));
    for (const Replacement& replacement : replacements)
        if (replacement.file->kind != Kind::Configuration) requireOutOfUse(replacement.target);
    const bool any_before = putInPlace(replacements, folder, reporter->callback());
    reporter.reset();
    for (const Replacement& replacement : replacements)
        fmt::print("{:<14} {}\n", wordFor(replacement.file->kind),
                   printable(replacement.target.string(), std::string::npos));
    for (const Kind kind : {Kind::Rules, Kind::Journal})
        if (parts.has(kind) && std::none_of(backup.files.begin(), backup.files.end(),
                                            [&](const BackupFile& file) { return file.kind == kind; }))
            fmt::print("{:<14} none in this backup: what is there stays\n", wordFor(kind));
    fmt::print("restored the backup of {} of {}{}\n", printable(backup.gateway),
               timeText(backup.created_ms, Zone::Local),
               any_before ? "; what was there is beside it as *.before-restore" : "");
    tellOfMoved(replacements);
}

}  // namespace

void addBackupCommand(CLI::App& root, Context& context) {
    CLI::App* command = root.add_subcommand(
        "backup",
        "Copy rules, journal and configuration to a new folder, while the gateway runs, and verify the copy");
    const auto folder = std::make_shared<std::string>();
    command->add_option("DIR", *folder, "The folder to make; its parent must exist")->required();
    command->callback([&context, folder] { backUp(context, *folder); });
}

void addRestoreCommand(CLI::App& root, Context& context) {
    CLI::App* command = root.add_subcommand(
        "restore", "Put the rules and the journal of a backup in place, while the gateway is stopped");
    const auto folder = std::make_shared<std::string>();
    const auto parts =
        std::make_shared<std::vector<std::string>>(std::vector<std::string>{"rules", "journal"});
    command->add_option("DIR", *folder, "The folder that mailgate backup made")->required();
    command
        ->add_option(
            "--parts", *parts,
            "What to restore, separated by commas: rules, journal, configuration (default: rules,journal)")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(oneOf({"rules", "journal", "configuration"}));
    command->callback([&context, folder, parts] { restore(context, *folder, partsArgument(*parts)); });
}

}  // namespace mailgate::cli
