// SPDX-License-Identifier: Apache-2.0
/// \file  A backup: a folder with a copy of the rules, of the journal and of the configuration's files, and a list of them with
/// their checksums (mailgate-backup.json). Keys and certificates are not in it.
#pragma once

#include "gateway/config/config.h"

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace mailgate::cli {

/// What cannot be done, in a sentence.
class BackupError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// Reports what is being done: "copying the journal", `done` of `total` (0: not known). What it throws ends the work.
using BackupReport = std::function<void(std::string_view what, std::uint64_t done, std::uint64_t total)>;

struct BackupFile {
    enum class Kind : std::uint8_t { Rules, Journal, Configuration };
    Kind kind = Kind::Configuration;
    std::string name;    ///< in the backup's folder
    std::string origin;  ///< absolute
    std::uint64_t bytes = 0;
    std::string sha256;
    /// Of the configuration: whose the file was, and its mode. Empty, 0: not known.
    std::string user{}, group{};
    std::uint32_t mode = 0;
};

/// Beside those files: a database that is not there yet.
struct MissingDatabase {
    BackupFile::Kind kind;
    std::string origin;
};

struct Backup {
    std::string gateway, version;  ///< whose, and the program's
    std::int64_t created_ms = 0;
    std::vector<MissingDatabase> missing;  ///< of one that has just been made
    std::vector<BackupFile> files;         ///< the configuration's main file is the first of its kind
};

/// Makes `given`, which must not exist or be empty, as a whole or not at all: everything is copied beside it, read back,
/// brought to the disk, and then named. Throws BackupError and StoreError.
Backup makeBackup(const Config& config, const std::filesystem::path& given, const BackupReport& report);

/// Reads the list of a backup. Throws BackupError.
Backup readBackup(const std::filesystem::path& folder);
/// Throws BackupError or StoreError unless every file is there as it was written.
void verifyBackup(const Backup& backup, const std::filesystem::path& folder, const BackupReport& report);

struct FileOwner {
    uid_t user;
    gid_t group;
};
/// A file of a backup that is to be put somewhere.
struct Replacement {
    const BackupFile* file;
    std::filesystem::path target;
    /// Of a database: who is going to write it, where that is known.
    std::optional<FileOwner> service{};
};
/// Puts files of a verified backup in their places: all of them, or none. What is there is kept as NAME.before-restore, in
/// place of an earlier one; the new file has its owner and mode. What is new has those of the backup where there are such users
/// here, else the service's, or those of its folder. The databases among them must be out of use. Returns whether anything was there. Throws
/// BackupError.
bool putInPlace(const std::vector<Replacement>& replacements, const std::filesystem::path& folder,
                const BackupReport& report);

/// Where a file of the configuration goes if the main one goes to `main`: it stays in its place relative to that.
std::filesystem::path placeOf(const BackupFile& file, const BackupFile& main,
                              const std::filesystem::path& new_main);

}  // namespace mailgate::cli
