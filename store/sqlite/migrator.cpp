// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite/migrator.h"

#include <fmt/format.h>

namespace mailgate::store::sqlite {

std::int64_t Migrator::currentVersion() const noexcept {
    return static_cast<std::int64_t>(schema_.migrations.size());
}

/// The file's version; throws unless it is one that can be worked with.
std::int64_t Migrator::checkedVersion(Database& database, bool create) const {
    const std::int64_t application = database.number("PRAGMA application_id");
    const std::int64_t version = database.number("PRAGMA user_version");
    const bool empty =
        application == 0 && version == 0 && database.number("SELECT count(*) FROM sqlite_schema") == 0;
    if (empty && create) return 0;
    if (empty) throw StoreError(schema_.empty_kind, fmt::format("{}: {}", database.path(), schema_.empty));
    if (application != schema_.application_id)
        throw StoreError(StoreError::Kind::Open,
                         fmt::format("{}: this SQLite database {} (application_id {}): {}", database.path(),
                                     schema_.foreign, application, schema_.elsewhere));
    if (version > currentVersion())
        throw StoreError(
            StoreError::Kind::NewerSchema,
            fmt::format(
                "{}: written by a newer mailgate (schema {}, this one knows {}): install that version "
                "or {}",
                database.path(), version, currentVersion(), schema_.before));
    return version;
}

void Migrator::migrate(Database& database, bool create, const Upgrade& upgrade) const {
    const std::int64_t found = checkedVersion(database, create);
    // Without effect once there is a page.
    if (found == 0 && schema_.page_size != 0)
        database.run(fmt::format("PRAGMA page_size = {}", schema_.page_size));
    if (database.text("PRAGMA journal_mode") != "wal") database.run("PRAGMA journal_mode = WAL");
    if (found == currentVersion()) return;
    const auto tell = [&](const std::function<void()>& step) {
        if (found != 0 && step) step();
    };
    tell(upgrade.begins);
    database.transaction([&] {
        // Another process may have been faster.
        const auto from = static_cast<std::size_t>(checkedVersion(database, create));
        for (const Schema::Migration migration : schema_.migrations.subspan(from))
            database.run(migration());
        database.run(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}",
                                 schema_.application_id, currentVersion()));
        tell(upgrade.commits);
    });
    tell(upgrade.done);
}

void Migrator::requireKnown(Database& database) const {
    checkedVersion(database, false);
}

bool Migrator::isCurrent(Database& database) const {
    return checkedVersion(database, true) == currentVersion();
}

void Migrator::requireCurrent(Database& database) const {
    const std::int64_t version = checkedVersion(database, false);
    if (version < currentVersion())
        throw StoreError(
            StoreError::Kind::Other,
            fmt::format("{}: has an older schema ({}): it is upgraded when mailgate serve opens it",
                        database.path(), version));
}

}  // namespace mailgate::store::sqlite
