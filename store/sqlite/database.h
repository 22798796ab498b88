// SPDX-License-Identifier: Apache-2.0
/// \file  One connection to an SQLite file: opened with care, errors reported as StoreError. Internal to store/. One
/// thread at a time.
#pragma once

#include "store/store_error.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace mailgate::store::sqlite {

enum class Durability : std::uint8_t {
    Process,   ///< synchronous=NORMAL: a commit survives kill -9; a power cut may undo the last ones
    PowerLoss  ///< synchronous=FULL: a commit is on the disk when acknowledged
};

struct OpenOptions {
    bool create = true;  ///< a missing or empty file becomes a database
    Durability durability = Durability::PowerLoss;
    std::chrono::milliseconds busy_timeout{5'000};  ///< how long to wait for another process's lock
    /// Nothing is written, not even what SQLite keeps beside the file while it reads, and what is in a log beside it is not
    /// read: for a file that nobody writes meanwhile.
    bool immutable = false;
    /// How much of the file is kept in memory. With 2 MiB, SQLite's default, an import of a million rules takes twenty times as
    /// long; who reads all of it from time to time needs no more, and would keep whatever there is.
    unsigned cache_kib = 65'536;
    /// The end of a sentence that begins with what is damaged.
    std::string_view when_damaged =
        "stop the gateway, then restore it from a backup, or move it away and import the rules again";
};

/// "sqlite:PATH" to PATH. Throws StoreError(BadInput).
std::string pathOf(std::string_view url);

/// Which file a path names now; a file put in its place differs. Never 0 for an existing file.
struct FileIdentity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};
FileIdentity identityOf(const std::string& path);

/// Throws StoreError(DiskFull) when so much cannot be written where the file is, or would be. Nothing is left of having tried.
void requireRoom(const std::string& path, std::uint64_t bytes);

/// Throws StoreError, with a clear message, for what can be found without SQLite: no folder, no permission.
/// True: there is a file, and not an empty one.
bool examine(const std::string& path, const OpenOptions& options);

/// When the file was last written, in nanoseconds; 0 when there is none.
std::int64_t lastWritten(const std::string& path);

struct CloseDatabase {
    void operator()(sqlite3* handle) const noexcept;
};

class Database {
  public:
    /// Throws StoreError: Open, ReadOnly, Damaged, Locked.
    Database(const std::string& path, const OpenOptions& options);
    /// An empty one in memory, whose errors name the path.
    static std::unique_ptr<Database> inMemory(const std::string& path);
    /// Likewise, of which only a part is in memory, and the rest in a file that is gone with it. Nothing in it can be taken back:
    /// after a failure it is of no use.
    static std::unique_ptr<Database> temporary(const std::string& path);
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;

    const std::string& path() const noexcept { return path_; }
    sqlite3* handle() const noexcept { return handle_.get(); }

    /// One or more statements without parameters.
    void run(const std::string& script);
    /// The first column of the first row; 0 or nothing when there is none.
    std::int64_t number(const std::string& query);
    std::string text(const std::string& query);

    /// `work` between BEGIN IMMEDIATE and COMMIT; any exception rolls back.
    void transaction(const std::function<void()>& work);
    /// `work` as in transaction(), after which all of it is rolled back.
    void rehearse(const std::function<void()>& work);
    /// `work` sees one state of the database.
    void snapshot(const std::function<void()>& work);

    /// Gives back what reading very much has left behind: pages in the cache, and holes in the heap.
    void releaseMemory() noexcept;

    /// Throws the StoreError for the last failed call on handle().
    [[noreturn]] void fail(int code);

  private:
    explicit Database(const std::string& path) : path_(path) {}
    bool withoutRoom(int code) const;
    void between(const char* begin, const std::function<void()>& work, const char* end = "COMMIT");
    static std::unique_ptr<Database> ownedBy(const std::string& path, const char* name);
    void requireMagic();
    void prepare(const OpenOptions& options);
    void releaseCache() noexcept;

    std::string path_;
    std::string_view when_damaged_;
    std::unique_ptr<sqlite3, CloseDatabase> handle_;
    std::uint64_t shortages_seen_ = 0;
};

/// A statement with its parameters and rows.
class RawStatement {
  public:
    RawStatement(Database& database, std::string_view sql);
    ~RawStatement();
    RawStatement(const RawStatement&) = delete;
    RawStatement& operator=(const RawStatement&) = delete;

    void bind(int position, std::int64_t value);
    void bind(int position, std::string_view value);      ///< must live until the next reset
    void bindBlob(int position, std::string_view bytes);  ///< as a text; text() reads it back
    void bindNull(int position);
    bool step();  ///< true: there is a row
    void reset();

    bool isNull(int column) const noexcept;
    std::int64_t number(int column) const noexcept;
    std::string_view text(int column) const noexcept;  ///< until the next step

  private:
    /// What a parameter is stays over a reset, and need not be bound again: an empty text, a number that has not changed. In
    /// a row of the journal that is most of them.
    enum class Bound : std::uint8_t { Other, Empty, Number };
    bool is(int position, Bound bound) const noexcept;
    void note(int position, Bound bound) noexcept;

    Database& database_;
    sqlite3_stmt* statement_ = nullptr;
    static constexpr std::size_t kNoted = 64;
    std::array<Bound, kNoted> bound_{};
    std::array<std::int64_t, kNoted> numbers_{};
};

}  // namespace mailgate::store::sqlite
