// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite/copy.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <filesystem>
#include <mutex>
#include <stop_token>
#include <system_error>
#include <thread>

namespace mailgate::store::sqlite {

namespace {

using Kind = StoreError::Kind;

struct FinishBackup {
    void operator()(sqlite3_backup* backup) const noexcept { sqlite3_backup_finish(backup); }
};

/// What a progress handler of SQLite calls, which may not throw.
struct Watch {
    const CopyProgress& progress;
    std::exception_ptr thrown;
};

int callProgress(void* argument) noexcept {
    auto& watch = *static_cast<Watch*>(argument);
    try {
        watch.progress(0, 0);
        return 0;
    } catch (...) {
        watch.thrown = std::current_exception();
        return 1;
    }
}

/// "*** in database main ***" stands above some findings.
std::string findingIn(const std::string& text) {
    return text.substr(text.find('\n') + 1);  // npos + 1 is 0
}

/// What is in the log beside the file has not reached it yet.
bool hasLog(const std::string& path) {
    std::error_code none;
    const auto size = std::filesystem::file_size(path + "-wal", none);
    return !none && size > 0;
}

}  // namespace

std::unique_ptr<Database> copyInMemory(Database& source) {
    auto copy = Database::inMemory(source.path());
    const std::unique_ptr<sqlite3_backup, FinishBackup> backup(
        sqlite3_backup_init(copy->handle(), "main", source.handle(), "main"));
    if (!backup) copy->fail(sqlite3_errcode(copy->handle()));
    if (const int code = sqlite3_backup_step(backup.get(), -1); code != SQLITE_DONE) copy->fail(code);
    return copy;
}

std::unique_ptr<Database> openToRead(const std::string& path, const OpenOptions& options) {
    OpenOptions reading = options;
    reading.create = reading.immutable = true;
    if (!examine(path, reading)) return Database::inMemory(path);
    reading.create = reading.immutable = false;
    try {
        auto database = std::make_unique<Database>(path, reading);
        database->number("PRAGMA schema_version");  // reads
        return database;
    } catch (const StoreError& error) {
        if ((error.kind() != Kind::DiskFull && error.kind() != Kind::ReadOnly) || hasLog(path)) throw;
    }
    reading.immutable = true;
    Database file(path, reading);
    return copyInMemory(file);
}

void copyDatabase(const std::string& from, const std::string& to, const CopyProgress& progress) {
    constexpr int kPagesAtOnce = 256;
    Database source(from, {.create = false});
    Database copy(to, {});
    // One state of it: without a transaction around all steps every commit of somebody else would begin the copy anew.
    source.snapshot([&] {
        source.number("SELECT count(*) FROM sqlite_master");
        const std::unique_ptr<sqlite3_backup, FinishBackup> backup(
            sqlite3_backup_init(copy.handle(), "main", source.handle(), "main"));
        if (!backup) copy.fail(sqlite3_errcode(copy.handle()));
        int code = SQLITE_OK;
        do {
            code = sqlite3_backup_step(backup.get(), kPagesAtOnce);
            const int total = sqlite3_backup_pagecount(backup.get());
            progress(static_cast<std::uint64_t>(total - sqlite3_backup_remaining(backup.get())),
                     static_cast<std::uint64_t>(total));
        } while (code == SQLITE_OK);
        if (code != SQLITE_DONE) copy.fail(code);
    });
    copy.run("PRAGMA journal_mode = DELETE");
}

void verifyDatabase(const std::string& path, const CopyProgress& progress) {
    constexpr int kInstructions = 10'000;
    Database database(path, {.create = false});
    Watch watch{progress, nullptr};
    sqlite3_progress_handler(database.handle(), kInstructions, callProgress, &watch);
    std::string found;
    try {
        found = database.text("PRAGMA integrity_check(1)");
    } catch (const StoreError&) {
        if (watch.thrown) std::rethrow_exception(watch.thrown);
        throw;
    }
    if (found == "ok") return;
    throw StoreError(Kind::Damaged, fmt::format("{}: the database is damaged ({})", path, findingIn(found)));
}

bool verifyWithin(const std::string& path, const OpenOptions& options, std::chrono::milliseconds at_most) {
    Database database(path, options);
    std::mutex mutex;
    std::condition_variable_any over;
    std::atomic<bool> is_late = false;
    // No handler of SQLite's is called inside of a large table.
    const std::jthread watch([&](const std::stop_token& stop) {
        std::unique_lock lock(mutex);
        over.wait_for(lock, stop, at_most, [] { return false; });
        if (stop.stop_requested()) return;
        is_late = true;
        sqlite3_interrupt(database.handle());
    });
    std::string found;
    try {
        found = database.text("PRAGMA quick_check(1)");
    } catch (const StoreError&) {
        if (is_late) return false;
        throw;
    }
    if (is_late) return false;  // what was not read is found to be missing
    if (found == "ok") return true;
    throw StoreError(Kind::Damaged, fmt::format("{}: the database is damaged ({}): {}", path,
                                                findingIn(found), options.when_damaged));
}

void releaseDatabase(const std::string& path) {
    if (!examine(path, {})) return;
    Database database(path, {.create = false, .busy_timeout = std::chrono::milliseconds(500)});
    // Refused while there is another connection, whatever that does.
    if (database.text("PRAGMA journal_mode = DELETE") != "delete")
        throw StoreError(Kind::Locked, fmt::format("{}: the database is in use", path));
}

}  // namespace mailgate::store::sqlite
