// SPDX-License-Identifier: Apache-2.0
/// \file  How a file becomes a database of this program's, and an older one of them a current one.
/// Internal to store/.
///
/// A file says what it is with `PRAGMA application_id` and how new it is with `PRAGMA user_version`. It is
/// created and upgraded in one transaction; one of another program, or of a newer version of this one, is
/// left as it is.
#pragma once

#include "store/sqlite/database.h"
#include "store/upgrade.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mailgate::store::sqlite {

/// One kind of database.
struct Schema {
    /// The script that brings a file to the version after it. A released one is never changed.
    using Migration = std::string (*)();

    std::int64_t application_id;
    std::span<const Migration>
        migrations;              ///< the n-th: from version n to n + 1, an empty file being version 0
    std::int64_t page_size = 0;  ///< of a new file; 0: as SQLite has it

    // What an administrator reads. `foreign` says what the file is not, `elsewhere` what to do then; `before`
    // is what else helps against a newer file than to install that version.
    StoreError::Kind empty_kind;
    std::string_view empty, foreign, elsewhere, before;
};

class Migrator {
  public:
    constexpr explicit Migrator(const Schema& schema) noexcept : schema_(schema) {}

    /// The newest version known here.
    std::int64_t currentVersion() const noexcept;

    /// Brings the file to the current version and to WAL. Throws StoreError: Open for another program's
    /// database, NewerSchema, and the schema's kind for an empty file unless `create`.
    void migrate(Database& database, bool create, const Upgrade& upgrade = {}) const;

    /// Throws StoreError as migrate() does, for an empty file too; changes nothing.
    void requireKnown(Database& database) const;
    /// False: it is of an older version, or nothing yet. Throws StoreError as migrate() does; changes nothing.
    bool isCurrent(Database& database) const;

    /// Throws StoreError as migrate() does, and Other for a file of an older version; changes nothing.
    void requireCurrent(Database& database) const;

  private:
    std::int64_t checkedVersion(Database& database, bool create) const;

    Schema schema_;
};

}  // namespace mailgate::store::sqlite
