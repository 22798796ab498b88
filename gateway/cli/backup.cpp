// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/backup.h"

#include "gateway/base/clock.h"
#include "gateway/base/descriptor.h"
#include "gateway/log/escape.h"
#include "protocols/values/text.h"
#include "store/backends/backup.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <Poco/SHA2Engine.h>
#include <fmt/format.h>

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>

namespace mailgate::cli {

namespace {

namespace fs = std::filesystem;
using Poco::JSON::Array;
using Poco::JSON::Object;
using Kind = BackupFile::Kind;

constexpr std::string_view kList = "mailgate-backup.json";
constexpr int kFormat = 1;
constexpr std::string_view kKinds[] = {"rules", "journal", "configuration"};
constexpr std::size_t kPiece = std::size_t{1} << 18;

[[noreturn]] void failedAt(const fs::path& path, std::string_view what) {
    throw BackupError(fmt::format("{}: {}: {}", path.string(), what, std::strerror(errno)));
}

Descriptor opened(const fs::path& path, int flags, mode_t mode = 0) {
    Descriptor file(::open(path.c_str(), flags | O_CLOEXEC, mode));
    if (file.get() < 0) failedAt(path, "cannot be opened");
    return file;
}

/// `each` gets the file's bytes in pieces.
void readPieces(const fs::path& path, const std::function<void(std::string_view)>& each) {
    const Descriptor file = opened(path, O_RDONLY);
    std::string piece(kPiece, '\0');
    while (true) {
        const ssize_t got = ::read(file.get(), piece.data(), piece.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) failedAt(path, "cannot be read");
        if (got == 0) return;
        each({piece.data(), static_cast<std::size_t>(got)});
    }
}

void writeAll(const Descriptor& file, const fs::path& path, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) failedAt(path, "cannot be written");
        bytes.remove_prefix(static_cast<std::size_t>(written));
    }
}

/// On the disk when it returns, as is a folder's list of names.
void sync(const fs::path& path) {
    const Descriptor file = opened(path, O_RDONLY);
    if (::fsync(file.get()) != 0) failedAt(path, "cannot be brought to the disk");
}

void writeFile(const fs::path& path, std::string_view text) {
    const Descriptor file = opened(path, O_WRONLY | O_CREAT | O_EXCL, 0640);
    writeAll(file, path, text);
    if (::fsync(file.get()) != 0) failedAt(path, "cannot be brought to the disk");
}

std::uint64_t sizeOf(const fs::path& path) {
    std::error_code error;
    const std::uintmax_t size = fs::file_size(path, error);
    return error ? 0 : size;
}

struct Summed {
    std::uint64_t bytes = 0;
    std::string sha256;
};

/// `tell`: what is being done.
Summed summed(const fs::path& path, const BackupReport& report, std::string_view what) {
    Poco::SHA2Engine engine(Poco::SHA2Engine::SHA_256);
    Summed result;
    const std::uint64_t total = sizeOf(path);
    readPieces(path, [&](std::string_view piece) {
        engine.update(piece.data(), piece.size());
        result.bytes += piece.size();
        report(what, result.bytes, total);
    });
    result.sha256 = Poco::DigestEngine::digestToHex(engine.digest());
    return result;
}

/// The new file, still open.
Descriptor copyFile(const fs::path& from, const fs::path& to, const BackupReport& report,
                    std::string_view what) {
    Descriptor file = opened(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    std::uint64_t done = 0;
    const std::uint64_t total = sizeOf(from);
    readPieces(from, [&](std::string_view piece) {
        writeAll(file, to, piece);
        report(what, done += piece.size(), total);
    });
    if (::fsync(file.get()) != 0) failedAt(to, "cannot be brought to the disk");
    return file;
}

void makeFolder(const fs::path& path) {
    if (::mkdir(path.c_str(), 0750) != 0) failedAt(path, "cannot be made");
}

/// Removed with all that is in it unless it was kept.
class TemporaryCopy {
  public:
    explicit TemporaryCopy(fs::path path) : path_(std::move(path)) { makeFolder(path_); }
    ~TemporaryCopy() {
        std::error_code ignored;  // there is nobody left to tell
        if (!kept_) fs::remove_all(path_, ignored);
    }
    TemporaryCopy(const TemporaryCopy&) = delete;
    TemporaryCopy& operator=(const TemporaryCopy&) = delete;

    const fs::path& path() const noexcept { return path_; }
    void keep() noexcept { kept_ = true; }

  private:
    fs::path path_;
    bool kept_ = false;
};

Object ordered() {
    return Object(Poco::JSON_PRESERVE_KEY_ORDER);
}

std::string listOf(const Backup& backup) {
    Array files;
    for (const BackupFile& file : backup.files) {
        Object row = ordered();
        row.set("kind", std::string(kKinds[static_cast<std::size_t>(file.kind)]));
        row.set("name", file.name);
        row.set("origin", file.origin);
        row.set("bytes", file.bytes);
        row.set("sha256", file.sha256);
        if (file.kind == Kind::Configuration) {
            row.set("user", file.user);
            row.set("group", file.group);
            row.set("mode", file.mode);
        }
        files.add(row);
    }
    Object list = ordered();
    list.set("format", kFormat);
    list.set("gateway", backup.gateway);
    list.set("version", backup.version);
    list.set("created", formatUtc(backup.created_ms / 1000));
    list.set("created_ms", backup.created_ms);
    list.set("files", files);
    std::ostringstream text;
    list.stringify(text, 2);
    text << '\n';
    return text.str();
}

/// A name that leads nowhere else: "rules.db", "configuration/00-mailgate.toml".
bool isNameOfOurs(const std::string& name) {
    const fs::path path(name);
    return !name.empty() && path.is_relative() && path.lexically_normal() == path &&
           std::none_of(path.begin(), path.end(),
                        [](const fs::path& part) { return part == ".." || part.empty(); });
}

BackupFile fileFrom(const Object& row) {
    BackupFile file;
    const auto* kind = std::find(std::begin(kKinds), std::end(kKinds), row.getValue<std::string>("kind"));
    if (kind == std::end(kKinds)) throw BackupError("a file of an unknown kind is in the list");
    file.kind = static_cast<Kind>(kind - std::begin(kKinds));
    file.name = row.getValue<std::string>("name");
    file.origin = row.getValue<std::string>("origin");
    file.bytes = row.getValue<std::uint64_t>("bytes");
    file.sha256 = row.getValue<std::string>("sha256");
    file.user = row.optValue<std::string>("user", "");
    file.group = row.optValue<std::string>("group", "");
    file.mode = row.optValue<std::uint32_t>("mode", 0);
    if (!isNameOfOurs(file.name))
        throw BackupError(fmt::format("{} is no name of a file in a backup", inQuotes(file.name)));
    return file;
}

void requireNewFolder(const fs::path& folder) {
    std::error_code error;
    if (folder.has_filename() && !fs::is_directory(folder.parent_path(), error))
        throw BackupError(
            fmt::format("{}: the folder {} does not exist", folder.string(), folder.parent_path().string()));
    if (folder.filename().empty() || folder.filename() == "." || folder.filename() == "..")
        throw BackupError(fmt::format("{}: name the folder that is to be made", folder.string()));
    const fs::file_status status = fs::symlink_status(folder, error);
    if (!fs::exists(status)) return;
    if (!fs::is_directory(status) || !fs::is_empty(folder, error))
        throw BackupError(
            fmt::format("{}: exists already: name a folder that is to be made", folder.string()));
}

/// "journal" of a database that is copied and then read back.
void addDatabase(Backup& backup, const fs::path& folder, Kind kind, const std::string& url,
                 const BackupReport& report) {
    const std::string_view word = kKinds[static_cast<std::size_t>(kind)];
    BackupFile file{kind, fmt::format("{}.db", word), url.substr(url.find(':') + 1), 0, ""};
    if (!store::hasDatabase(url)) {
        backup.missing.push_back({kind, file.origin});
        return;
    }
    const fs::path path = folder / file.name;
    store::copyTo(url, path.string(), [&](std::uint64_t done, std::uint64_t total) {
        report(fmt::format("copying the {}, pages", word), done, total);
    });
    try {
        store::verifyCopy(path.string(), [&](std::uint64_t, std::uint64_t) {
            report(fmt::format("verifying the copy of the {}", word), 0, 0);
        });
    } catch (const store::StoreError& error) {
        if (error.kind() != store::StoreError::Kind::Damaged) throw;
        std::string_view finding = error.what();  // of the copy, whose name nobody knows
        if (finding.starts_with(path.string() + ": ")) finding.remove_prefix(path.string().size() + 2);
        throw BackupError(
            fmt::format("no backup was made: a copy of {} cannot be used: {}", file.origin, finding));
    }
    const Summed sum = summed(path, report, "reading it back, bytes");
    file.bytes = sum.bytes;
    file.sha256 = sum.sha256;
    backup.files.push_back(std::move(file));
}

void noteOwner(BackupFile& file) {
    struct stat status {};
    if (::stat(file.origin.c_str(), &status) != 0) failedAt(file.origin, "cannot be examined");
    if (const passwd* user = ::getpwuid(status.st_uid)) file.user = user->pw_name;
    if (const group* group = ::getgrgid(status.st_gid)) file.group = group->gr_name;
    file.mode = status.st_mode & 0777;
}

void addConfiguration(Backup& backup, const fs::path& folder, const Config& config,
                      const BackupReport& report) {
    makeFolder(folder / "configuration");
    for (std::size_t i = 0; i < config.files.size(); ++i) {
        const fs::path origin = fs::absolute(config.files[i]).lexically_normal();
        BackupFile file{Kind::Configuration,
                        fmt::format("configuration/{:02}-{}", i, origin.filename().string()), origin.string(),
                        0, ""};
        copyFile(origin, folder / file.name, report, "copying the configuration, bytes");
        noteOwner(file);
        const Summed sum = summed(folder / file.name, report, "reading it back, bytes");
        file.bytes = sum.bytes;
        file.sha256 = sum.sha256;
        backup.files.push_back(std::move(file));
    }
    sync(folder / "configuration");
}

/// Copies that wait beside their targets, and what has been put aside for them: taken back unless all was done.
class Exchange {
  public:
    ~Exchange() {
        for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
            if (step->placed) ::unlink(step->target.c_str());
            // Of two names of one file rename() leaves both.
            if (step->is_aside && ::rename(step->aside.c_str(), step->target.c_str()) == 0)
                ::unlink(step->aside.c_str());
            if (!step->copy.empty()) ::unlink(step->copy.c_str());
        }
    }
    Exchange() = default;
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    /// `check` throws if the copy is of no use.
    void bring(const fs::path& from, const Replacement& replacement, const BackupReport& report,
               const std::function<void(const std::string& copy)>& check) {
        const fs::path& target = replacement.target;
        makeFolders(target.parent_path(), replacement.service);
        const std::string copy = target.string() + ".restoring", aside = target.string() + ".before-restore";
        // A log beside the database is of the one that goes: read into the new one it would destroy it.
        for (const char* log : {"-wal", "-shm"})
            steps_.push_back({target.string() + log, "", aside + log});
        ::unlink(copy.c_str());
        steps_.push_back({target.string(), copy, aside});
        const Descriptor file = copyFile(from, copy, report, "copying, bytes");
        check(copy);
        likeBefore(replacement, file, copy);
    }
    /// Whether anything was there.
    bool place() {
        bool any = false;
        for (Step& step : steps_) {
            std::error_code ignored;
            if (fs::exists(fs::symlink_status(step.target, ignored))) {
                if (!putAside(step)) failedAt(step.target, "cannot be put aside");
                any = step.is_aside = true;
            } else if (step.copy.empty()) {
                ::unlink(step.aside.c_str());  // of an earlier one, whose database is not kept any longer
            }
            if (step.copy.empty()) continue;
            if (::rename(step.copy.c_str(), step.target.c_str()) != 0)
                failedAt(step.target, "cannot be put in place");
            step.placed = true;
            sync(fs::path(step.target).parent_path());
        }
        steps_.clear();
        return any;
    }

  private:
    struct Step {
        std::string target, copy, aside;  ///< copy: empty where nothing takes its place
        bool is_aside = false, placed = false;
    };

    /// What is replaced has its name until that: a gateway that starts after a crash in between must not begin without rules.
    static bool putAside(const Step& step) {
        ::unlink(step.aside.c_str());
        if (!step.copy.empty() && ::link(step.target.c_str(), step.aside.c_str()) == 0) return true;
        return ::rename(step.target.c_str(), step.aside.c_str()) == 0;
    }

    /// Who may look into the folder above may look into one that is missing, whatever the umask; the last is the service's.
    /// Where one cannot be made, the copy says why it cannot be there. All by descriptors: whoever owns a folder above may put
    /// a link in the place of one that is being made, and root must not follow it.
    static Descriptor makeFolders(const fs::path& path, const std::optional<FileOwner>& service) {
        Descriptor folder(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (folder.get() >= 0 || errno != ENOENT || !path.has_relative_path()) return folder;
        const Descriptor parent = makeFolders(path.parent_path(), std::nullopt);
        struct stat above {};
        if (parent.get() < 0 || ::fstat(parent.get(), &above) != 0) return {};
        const std::string name = path.filename().string();
        if (::mkdirat(parent.get(), name.c_str(), 0700) != 0) return {};
        folder =
            Descriptor(::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (folder.get() < 0) return {};
        const FileOwner owner = service.value_or(FileOwner{above.st_uid, above.st_gid});
        if (::geteuid() != 0 || ::fchown(folder.get(), owner.user, owner.group) == 0)
            ::fchmod(folder.get(), above.st_mode & 0755);
        return folder;
    }

    /// Who may use what is there may use what takes its place; who could use it where it was may use what is new, or
    /// else the service, or the folder's owner.
    static void likeBefore(const Replacement& replacement, const Descriptor& file, const std::string& copy) {
        const fs::path& target = replacement.target;
        struct stat before {};
        if (::stat(target.c_str(), &before) != 0) {
            if (::stat(target.parent_path().c_str(), &before) != 0) failedAt(target, "cannot be examined");
            const BackupFile& origin = *replacement.file;
            const passwd* user = ::getpwnam(origin.user.c_str());
            const group* group = ::getgrnam(origin.group.c_str());
            if (replacement.service) {
                before.st_uid = replacement.service->user;
                before.st_gid = replacement.service->group;
            }
            if (user != nullptr) before.st_uid = user->pw_uid;
            if (group != nullptr) before.st_gid = group->gr_gid;
            before.st_mode = origin.mode != 0 ? origin.mode : 0640;
            // The folder's group is another one: it may not look into what was that group's.
            if (origin.mode != 0 && group == nullptr) before.st_mode &= ~mode_t{S_IRWXG};
        }
        if (::geteuid() == 0 && ::fchown(file.get(), before.st_uid, before.st_gid) != 0)
            failedAt(copy, "cannot be given to its owner");
        if (::fchmod(file.get(), before.st_mode & 0777) != 0) failedAt(copy, "cannot be given its mode");
    }

    std::vector<Step> steps_;
};

}  // namespace

Backup makeBackup(const Config& config, const fs::path& given, const BackupReport& report) {
    const fs::path folder =
        fs::absolute(given.filename().empty() ? given.parent_path() : given).lexically_normal();
    requireNewFolder(folder);
    TemporaryCopy copy(folder.parent_path() /
                       fmt::format(".{}.partial-{}", folder.filename().string(), ::getpid()));
    Backup backup{config.name, MAILGATE_VERSION, unixMillis(), {}, {}};
    addConfiguration(backup, copy.path(), config, report);
    addDatabase(backup, copy.path(), Kind::Rules, config.store_url, report);
    if (config.journal.enabled) addDatabase(backup, copy.path(), Kind::Journal, config.journal.url, report);
    writeFile(copy.path() / kList, listOf(backup));
    sync(copy.path());
    // An empty folder gives way; one that somebody has filled meanwhile does not.
    if (::rename(copy.path().c_str(), folder.c_str()) != 0) failedAt(folder, "cannot be given its name");
    copy.keep();
    sync(folder.parent_path());
    return backup;
}

Backup readBackup(const fs::path& folder) {
    constexpr std::size_t kLongest = std::size_t{1} << 20;
    const fs::path path = folder / kList;
    std::ifstream file(path, std::ios::binary);
    if (!file) throw BackupError(fmt::format("{}: is no backup: there is no {}", folder.string(), kList));
    std::string text(kLongest, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    try {
        const auto list = Poco::JSON::Parser().parse(text).extract<Object::Ptr>();
        if (list->getValue<int>("format") != kFormat)
            throw BackupError(
                fmt::format("{}: was made by a newer mailgate: restore it with that version", path.string()));
        Backup backup{list->getValue<std::string>("gateway"),
                      list->getValue<std::string>("version"),
                      list->getValue<std::int64_t>("created_ms"),
                      {},
                      {}};
        const Array::Ptr files = list->getArray("files");
        for (unsigned i = 0; files && i < files->size(); ++i)
            backup.files.push_back(fileFrom(*files->getObject(i)));
        return backup;
    } catch (const Poco::Exception&) {  // its words are a programmer's
        throw BackupError(fmt::format("{}: is damaged, or no list of a backup", path.string()));
    }
}

void verifyBackup(const Backup& backup, const fs::path& folder, const BackupReport& report) {
    for (const BackupFile& file : backup.files) {
        const fs::path path = folder / file.name;
        const Summed sum = summed(path, report, "verifying, bytes");
        if (sum.bytes != file.bytes || sum.sha256 != file.sha256)
            throw BackupError(
                fmt::format("{}: is not as it was written: the backup is damaged", path.string()));
    }
}

namespace {

/// Throws unless this version can use the file that has come from `from`.
void requireUsable(Kind kind, const std::string& copy, const fs::path& from) {
    try {
        if (kind == Kind::Rules) store::requireRules(copy);
        if (kind == Kind::Journal) store::requireJournal(copy);
    } catch (const store::StoreError& error) {
        if (error.kind() == store::StoreError::Kind::NewerSchema)
            throw BackupError(fmt::format("{}: was written by a newer mailgate: restore it with that version",
                                          from.string()));
        throw BackupError(fmt::format("{}: does not hold the {} of a mailgate", from.string(),
                                      kKinds[static_cast<std::size_t>(kind)]));
    }
}

}  // namespace

bool putInPlace(const std::vector<Replacement>& replacements, const fs::path& folder,
                const BackupReport& report) {
    Exchange exchange;
    for (const Replacement& replacement : replacements) {
        const fs::path from = folder / replacement.file->name;
        exchange.bring(from, replacement, report,
                       [&](const std::string& copy) { requireUsable(replacement.file->kind, copy, from); });
    }
    return exchange.place();
}

fs::path placeOf(const BackupFile& file, const BackupFile& main, const fs::path& new_main) {
    if (&file == &main) return new_main;
    const fs::path relative = fs::path(file.origin).lexically_relative(fs::path(main.origin).parent_path());
    const bool inside = !relative.empty() && *relative.begin() != "..";
    return inside ? new_main.parent_path() / relative : fs::path(file.origin);
}

}  // namespace mailgate::cli
