// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite/database.h"

#include "protocols/values/text.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <new>
#include <utility>

namespace mailgate::store::sqlite {

namespace {

using Kind = StoreError::Kind;

constexpr std::string_view kMagic{"SQLite format 3\0", 16};

std::string folderOf(const std::string& path) {
    const auto folder = std::filesystem::path(path).parent_path();
    return folder.empty() ? "." : folder.string();
}

/// As whom this process acts, not as whom it was started: access(2) would ask the latter.
bool mayWrite(const std::string& path) {
    return ::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0;
}

[[noreturn]] void throwReadOnly(const std::string& path) {
    const std::string folder = folderOf(path);
    const bool folder_is_it = !mayWrite(folder);
    // Of the file or else of its folder, and of a mount: a service has a file system of its own.
    const bool mount_is_it = folder_is_it && errno == EROFS;
    const std::string& culprit = mayWrite(path) && folder_is_it ? folder : path;
    throw StoreError(
        Kind::ReadOnly,
        fmt::format("{}: {} is read-only for this user: {}", path,
                    culprit == path ? "the database" : "the folder " + folder,
                    mount_is_it ? "its file system is mounted so; for the service ReadWritePaths= makes a "
                                  "folder writable (systemctl edit mailgate)"
                                : "run the command as the files' owner (sudo -u), or give it write "
                                  "permission on the file and its folder (SQLite keeps its "
                                  "log there)"));
}

[[noreturn]] void throwDamaged(const std::string& path, const std::string& what, std::string_view remedy) {
    throw StoreError(Kind::Damaged, fmt::format("{}: {}: {}", path, what, remedy));
}

[[noreturn]] void throwDiskFull(const std::string& path) {
    throw StoreError(Kind::DiskFull, fmt::format("{}: the disk is full: make room and try again", path));
}

bool isLackOfRoom(int error) noexcept {
    return error == ENOSPC || error == EDQUOT;
}

[[noreturn]] void throwCode(const std::string& path, int code, const std::string& detail,
                            std::string_view when_damaged) {
    switch (code & 0xFF) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            throw StoreError(
                Kind::Locked,
                fmt::format("{}: another process keeps the database locked: try again, or end it "
                            "(a command that changes much? an open sqlite3 shell?)",
                            path));
        case SQLITE_READONLY:
            throwReadOnly(path);
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            throwDamaged(path, "the database is damaged (" + detail + ")", when_damaged);
        case SQLITE_FULL:
            throwDiskFull(path);
        case SQLITE_NOMEM:
            throw std::bad_alloc();
        case SQLITE_CANTOPEN:
            if (!mayWrite(folderOf(path))) throwReadOnly(path);
            throw StoreError(Kind::Open, fmt::format("{}: cannot be opened ({})", path, detail));
        default:
            throw StoreError(Kind::Other, fmt::format("{}: {}", path, detail));
    }
}

/// SQLite leaves the mode to the umask, and gives its -wal and -shm the mode of the database.
void createForOwnerAndGroup(const std::string& path) {
    constexpr mode_t kMode = 0640;
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kMode);
    if (file < 0) return;  // it is there, or SQLite will say why it cannot be
    ::fchmod(file, kMode);
    ::close(file);
}

/// Nothing may have no address, which to SQLite would be a NULL.
const char* addressOf(std::string_view value) noexcept {
    return value.empty() ? "" : value.data();
}

sqlite3_mem_methods system_memory{};
/// How often there was no memory at the first attempt.
std::atomic<std::uint64_t> shortages = 0;

/// As operator new does it: what the program has put aside for such a time is SQLite's too.
template <typename Attempt>
void* untilThereIsMemory(Attempt attempt) noexcept {
    while (true) {
        if (void* const memory = attempt()) return memory;
        ++shortages;
        const std::new_handler make_room = std::get_new_handler();
        if (make_room == nullptr) return nullptr;
        try {
            make_room();
        } catch (const std::bad_alloc&) {
            return nullptr;
        }
    }
}

void* allocate(int bytes) {
    return untilThereIsMemory([&] { return system_memory.xMalloc(bytes); });
}

void* reallocate(void* memory, int bytes) {
    return untilThereIsMemory([&] { return system_memory.xRealloc(memory, bytes); });
}

void configureLibrary() {
    static std::once_flag once;
    std::call_once(once, [] {
        // A connection is one thread's at a time, so its lock, taken for every bound value, and the count of
        // all memory are paid for nothing: a sixth of what writing the journal costs. Refused, without harm,
        // when something else has brought SQLite up before.
        sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
        sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
        if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &system_memory) == SQLITE_OK) {
            sqlite3_mem_methods methods = system_memory;
            methods.xMalloc = allocate;
            methods.xRealloc = reallocate;
            sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
        }
    });
}

/// RFC 3986: what is no letter, digit or slash is escaped.
std::string immutableUri(std::string_view absolute) {
    constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-";
    std::string uri = "file:";
    for (const char character : absolute)
        uri += kPlain.find(character) != std::string_view::npos
                   ? std::string(1, character)
                   : fmt::format("%{:02X}", static_cast<unsigned char>(character));
    return uri + "?immutable=1";
}

}  // namespace

std::string pathOf(std::string_view url) {
    constexpr std::string_view kScheme = "sqlite:";
    if (!url.starts_with(kScheme) || url.size() == kScheme.size())
        throw StoreError(Kind::BadInput,
                         fmt::format("\"{}\": the URL of a database is sqlite:PATH", printable(url)));
    return std::string(url.substr(kScheme.size()));
}

namespace {

/// The file that SQLite would make: what links name need not be there.
std::string behindLinks(const std::string& path) {
    constexpr int kMost = 40;  // Linux follows no more
    std::filesystem::path target = path;
    std::error_code error;
    for (int link = 0; link < kMost && std::filesystem::is_symlink(target, error) && !error; ++link)
        target = target.parent_path() / std::filesystem::read_symlink(target, error);
    return target.string();
}

}  // namespace

bool examine(const std::string& path, const OpenOptions& options) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
        if (errno != ENOENT)
            throw StoreError(Kind::Open, fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
        const std::string target = behindLinks(path), folder = folderOf(target);
        if (!std::filesystem::is_directory(folder))
            throw StoreError(
                Kind::Open,
                fmt::format("{}: {}the folder {} does not exist", path,
                            target == path ? "" : fmt::format("is a link to {}: ", target), folder));
        if (!options.create) throw StoreError(Kind::Open, fmt::format("{}: the file is gone", path));
        if (!options.immutable && !mayWrite(folder)) throwReadOnly(path);
        return false;
    }
    if (!S_ISREG(status.st_mode))
        throw StoreError(Kind::Open, fmt::format("{}: is not a file: the url must name a file", path));
    if (status.st_size == 0 && !options.create) throwDamaged(path, "the file is empty", options.when_damaged);
    // Not opened: closing it would release the locks of every connection that this process has to it (POSIX), and
    // the next process to close one would take the write-ahead log from under them.
    if (::faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) != 0)
        throw StoreError(Kind::Open, fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
    if (!options.immutable && !mayWrite(path)) throwReadOnly(path);
    return status.st_size > 0;
}

FileIdentity identityOf(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return {};
    return {status.st_dev, status.st_ino};
}

void requireRoom(const std::string& path, std::uint64_t bytes) {
    const std::string folder = folderOf(path);
    // A file without a name, where the file system has such, meets quotas too, and what is kept back for root.
    const int file = ::open(folder.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
    int error = file < 0 ? errno : ::posix_fallocate(file, 0, static_cast<off_t>(bytes));
    if (file >= 0) ::close(file);
    struct statvfs disk {};
    if (error != 0 && !isLackOfRoom(error) && ::statvfs(folder.c_str(), &disk) == 0 &&
        disk.f_bavail < bytes / disk.f_frsize)
        error = ENOSPC;
    if (isLackOfRoom(error)) throwDiskFull(path);
}

std::int64_t lastWritten(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return 0;
    return status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
}

Database::Database(const std::string& path, const OpenOptions& options)
    : path_(path), when_damaged_(options.when_damaged) {
    configureLibrary();
    examine(path, options);
    if (options.create && !options.immutable) createForOwnerAndGroup(path);
    // SQLite takes "file:..." for a URI and ":memory:" for no file; an absolute path is neither.
    const std::string absolute = std::filesystem::absolute(path).string();
    const int create = options.create ? SQLITE_OPEN_CREATE : 0;
    sqlite3* opened = nullptr;
    const int code = options.immutable ? sqlite3_open_v2(immutableUri(absolute).c_str(), &opened,
                                                         SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, nullptr)
                                       : sqlite3_open_v2(absolute.c_str(), &opened,
                                                         SQLITE_OPEN_READWRITE | create, nullptr);
    handle_.reset(opened);  // which is there to say why, even where opening has failed
    if (code != SQLITE_OK) fail(code);
    requireMagic();
    prepare(options);
}

/// `name`: SQLite's for a database that no other connection can open.
std::unique_ptr<Database> Database::ownedBy(const std::string& path, const char* name) {
    configureLibrary();
    std::unique_ptr<Database> database(new Database(path));
    sqlite3* opened = nullptr;
    // Of files that are attached none is made, either.
    const int code = sqlite3_open_v2(name, &opened, SQLITE_OPEN_READWRITE, nullptr);
    database->handle_.reset(opened);
    if (code != SQLITE_OK) database->fail(code);
    return database;
}

std::unique_ptr<Database> Database::inMemory(const std::string& path) {
    return ownedBy(path, ":memory:");
}

std::unique_ptr<Database> Database::temporary(const std::string& path) {
    auto database = ownedBy(path, "");
    sqlite3_busy_timeout(database->handle(), static_cast<int>(OpenOptions().busy_timeout.count()));
    database->run(fmt::format("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{}",
                              OpenOptions().cache_kib));
    return database;
}

/// Read through SQLite's own descriptor, see examine().
void Database::requireMagic() {
    sqlite3_file* file = nullptr;
    sqlite3_file_control(handle(), "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file));
    if (file == nullptr || file->pMethods == nullptr) return;
    sqlite3_int64 size = 0;
    char head[kMagic.size()] = {};
    if (file->pMethods->xFileSize(file, &size) != SQLITE_OK || size == 0) return;
    const int code = file->pMethods->xRead(file, head, sizeof head, 0);
    if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ) fail(code);
    if (std::string_view(head, sizeof head) != kMagic)
        throwDamaged(path_, "the file is not an SQLite database", when_damaged_);
}

void CloseDatabase::operator()(sqlite3* handle) const noexcept {
    sqlite3_close_v2(handle);
}

void Database::prepare(const OpenOptions& options) {
    sqlite3_busy_timeout(handle(), static_cast<int>(options.busy_timeout.count()));
    if (!options.immutable && sqlite3_db_readonly(handle(), "main") == 1) throwReadOnly(path_);
    run(fmt::format("PRAGMA cache_size = -{}", options.cache_kib));
    run(options.durability == Durability::PowerLoss ? "PRAGMA synchronous = FULL"
                                                    : "PRAGMA synchronous = NORMAL");
}

void Database::run(const std::string& script) {
    if (const int code = sqlite3_exec(handle(), script.c_str(), nullptr, nullptr, nullptr); code != SQLITE_OK)
        fail(code);
}

std::int64_t Database::number(const std::string& query) {
    RawStatement row(*this, query);
    return row.step() ? row.number(0) : 0;
}

std::string Database::text(const std::string& query) {
    RawStatement row(*this, query);
    return std::string(row.step() ? row.text(0) : "");
}

void Database::transaction(const std::function<void()>& work) {
    // A deferred one reads first, and then finds that it may not write any more.
    between("BEGIN IMMEDIATE", work);
}

void Database::rehearse(const std::function<void()>& work) {
    between("BEGIN IMMEDIATE", work, "ROLLBACK");
}

void Database::snapshot(const std::function<void()>& work) {
    between("BEGIN", work);
}

void Database::between(const char* begin, const std::function<void()>& work, const char* end) {
    run(begin);
    try {
        work();
        run(end);
        releaseCache();
    } catch (...) {
        // Some failures have rolled back already; then there is nothing left to end.
        if (sqlite3_get_autocommit(handle()) == 0)
            sqlite3_exec(handle(), "ROLLBACK", nullptr, nullptr, nullptr);
        throw;
    }
}

/// A cache that has filled the memory would keep it, however little happens afterwards.
void Database::releaseCache() noexcept {
    if (const std::uint64_t now = shortages; std::exchange(shortages_seen_, now) != now)
        sqlite3_db_release_memory(handle());
}

void Database::releaseMemory() noexcept {
    sqlite3_db_release_memory(handle());
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

/// A full disk is an I/O error in SQLite's words where its index of the log finds no room.
bool Database::withoutRoom(int code) const {
    if (!handle_ || (code & 0xFF) != SQLITE_IOERR) return false;
    return isLackOfRoom(sqlite3_system_errno(handle()));
}

void Database::fail(int code) {
    throwCode(path_, withoutRoom(code) ? SQLITE_FULL : code,
              handle_ ? sqlite3_errmsg(handle()) : sqlite3_errstr(code), when_damaged_);
}

RawStatement::RawStatement(Database& database, std::string_view sql) : database_(database) {
    const int code =
        sqlite3_prepare_v2(database.handle(), sql.data(), static_cast<int>(sql.size()), &statement_, nullptr);
    if (code != SQLITE_OK) database_.fail(code);
}

RawStatement::~RawStatement() {
    sqlite3_finalize(statement_);
}

bool RawStatement::is(int position, Bound bound) const noexcept {
    const auto at = static_cast<std::size_t>(position);
    return at < kNoted && bound_[at] == bound;
}

void RawStatement::note(int position, Bound bound) noexcept {
    const auto at = static_cast<std::size_t>(position);
    if (at < kNoted) bound_[at] = bound;
}

void RawStatement::bind(int position, std::int64_t value) {
    const auto at = static_cast<std::size_t>(position);
    if (is(position, Bound::Number) && numbers_[at] == value) return;
    note(position, Bound::Other);
    if (const int code = sqlite3_bind_int64(statement_, position, value); code != SQLITE_OK)
        database_.fail(code);
    note(position, Bound::Number);
    if (at < kNoted) numbers_[at] = value;
}

void RawStatement::bind(int position, std::string_view value) {
    if (value.empty() && is(position, Bound::Empty)) return;
    note(position, Bound::Other);
    const int code = sqlite3_bind_text(statement_, position, addressOf(value), static_cast<int>(value.size()),
                                       SQLITE_STATIC);
    if (code != SQLITE_OK) database_.fail(code);
    if (value.empty()) note(position, Bound::Empty);
}

void RawStatement::bindBlob(int position, std::string_view bytes) {
    note(position, Bound::Other);
    const int code = sqlite3_bind_blob(statement_, position, addressOf(bytes), static_cast<int>(bytes.size()),
                                       SQLITE_STATIC);
    if (code != SQLITE_OK) database_.fail(code);
}

void RawStatement::bindNull(int position) {
    note(position, Bound::Other);
    if (const int code = sqlite3_bind_null(statement_, position); code != SQLITE_OK) database_.fail(code);
}

bool RawStatement::step() {
    const int code = sqlite3_step(statement_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) database_.fail(code);
    return code == SQLITE_ROW;
}

void RawStatement::reset() {
    sqlite3_reset(statement_);
}

bool RawStatement::isNull(int column) const noexcept {
    return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

std::int64_t RawStatement::number(int column) const noexcept {
    return sqlite3_column_int64(statement_, column);
}

std::string_view RawStatement::text(int column) const noexcept {
    // The value has no lock of its own to be taken and is looked up once, not for its text and again for its length. Where a
    // connection is one thread's at a time, such values may be read.
    sqlite3_value* const value = sqlite3_column_value(statement_, column);
    const auto* text = sqlite3_value_text(value);
    if (text == nullptr) return {};
    return {reinterpret_cast<const char*>(text), static_cast<std::size_t>(sqlite3_value_bytes(value))};
}

}  // namespace mailgate::store::sqlite
