// SPDX-License-Identifier: Apache-2.0
#include "store/journal/sqlite/schema.h"

#include "store/journal/sqlite/rows.h"
#include "store/sqlite/copy.h"
#include "store/sqlite/migrator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace mailgate::store::journal {

namespace {

// -1 and '' as in JournalSession: fewer cases than NULLs, and the columns stay STRICT.
constexpr std::string_view kSessionTable = R"(
CREATE TABLE {}(
  key              INTEGER PRIMARY KEY,
  id               TEXT NOT NULL,
  started_ms       INTEGER NOT NULL,
  listener         TEXT NOT NULL,
  protocol         TEXT NOT NULL,
  client           TEXT NOT NULL,
  client_port      INTEGER NOT NULL,
  balancer         TEXT NOT NULL,
  destination      TEXT NOT NULL,
  destination_port INTEGER NOT NULL,
  allowed          INTEGER NOT NULL,
  rule             TEXT NOT NULL,
  upstream         TEXT NOT NULL,
  server           TEXT NOT NULL,
  helo             TEXT NOT NULL,
  user             TEXT NOT NULL,
  tls              TEXT NOT NULL,
  authenticated    INTEGER NOT NULL,
  mail_count       INTEGER NOT NULL,
  bytes_in         INTEGER NOT NULL,
  bytes_out        INTEGER NOT NULL,
  header_ms        INTEGER NOT NULL,
  connect_ms       INTEGER NOT NULL,
  greeting_ms      INTEGER NOT NULL,
  duration_ms      INTEGER NOT NULL,
  end              TEXT NOT NULL
) STRICT;
)";

constexpr std::string_view kOtherTables = R"(
CREATE TABLE mail(
  key             INTEGER PRIMARY KEY,
  sender          TEXT NOT NULL,
  recipients      TEXT NOT NULL,
  recipient_count INTEGER NOT NULL,
  size            INTEGER NOT NULL,
  queue_id        TEXT NOT NULL,
  reply           TEXT NOT NULL,
  accepted        INTEGER NOT NULL
) STRICT;

CREATE TABLE segment(
  number    INTEGER PRIMARY KEY AUTOINCREMENT,
  refused   INTEGER NOT NULL,
  rows      INTEGER NOT NULL,
  first_ms  INTEGER NOT NULL,
  last_ms   INTEGER NOT NULL,
  opened_ms INTEGER NOT NULL,
  sealed    INTEGER NOT NULL DEFAULT 0,
  masked    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE term_page(
  key   INTEGER PRIMARY KEY,
  terms BLOB NOT NULL
) STRICT;
)";

constexpr std::string_view kApartAddresses = R"(
CREATE TABLE client_address(
  key    INTEGER PRIMARY KEY,
  client TEXT NOT NULL,
  rule   TEXT,  -- NULL: nothing more than in the session's row
  helo   TEXT
) STRICT;

CREATE TABLE address_page(
  key   INTEGER PRIMARY KEY,
  terms BLOB NOT NULL
) STRICT;

ALTER TABLE segment ADD COLUMN addresses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE segment DROP COLUMN masked;
ALTER TABLE mail ADD COLUMN recipients_refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mail ADD COLUMN replies TEXT NOT NULL DEFAULT '';
)";

// What a row has beyond version 2; values of a kind stand in lines.
constexpr std::string_view kLaterColumns = R"(
ALTER TABLE {0} ADD COLUMN failed_logins INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {0} ADD COLUMN failed_users TEXT NOT NULL DEFAULT '';
ALTER TABLE {0} ADD COLUMN balancer_told TEXT NOT NULL DEFAULT '';
ALTER TABLE {0} ADD COLUMN violation TEXT NOT NULL DEFAULT '';
ALTER TABLE {0} ADD COLUMN reply TEXT NOT NULL DEFAULT '';
ALTER TABLE {0} ADD COLUMN limit_name TEXT NOT NULL DEFAULT '';
ALTER TABLE {0} ADD COLUMN limit_value INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {0} ADD COLUMN repeated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE {0} ADD COLUMN rule_id INTEGER NOT NULL DEFAULT 0;
)";

constexpr std::string_view kRefusedRecipients = R"(
ALTER TABLE segment RENAME COLUMN refused TO kind;  -- as JournalKind
ALTER TABLE mail ADD COLUMN refused TEXT NOT NULL DEFAULT '';
ALTER TABLE mail ADD COLUMN refused_replies TEXT NOT NULL DEFAULT '';
ALTER TABLE mail ADD COLUMN truncated INTEGER NOT NULL DEFAULT 0;
)";

std::string version1() {
    return fmt::format(kSessionTable, tableOf(Kind::Session)) +
           fmt::format(kSessionTable, tableOf(Kind::Refused)) + std::string(kOtherTables);
}

std::string version2() {
    return std::string(kApartAddresses);
}

std::string version3() {
    std::string script = fmt::format(kSessionTable, tableOf(Kind::Mail));
    for (const Kind kind : kKinds)
        script += fmt::format(kLaterColumns, tableOf(kind));
    return script + std::string(kRefusedRecipients);
}

template <std::size_t Version>
std::string versionOf() {
    constexpr std::array<sqlite::Schema::Migration, 3> kWritten{version1, version2, version3};
    if constexpr (Version <= kWritten.size())
        return kWritten[Version - 1]();
    else
        return addedColumns(Version);
}

/// From version 4 on a version is what fields have come with it.
constexpr std::size_t kVersions =
    std::max({3, newestVersion<JournalSession>(), newestVersion<JournalMail>()});
constexpr auto kMigrations = []<std::size_t... At>(std::index_sequence<At...>) {
    return std::array<sqlite::Schema::Migration, kVersions>{versionOf<At + 1>...};
}
(std::make_index_sequence<kVersions>{});
constexpr sqlite::Migrator kMigrator{
    {.application_id = kApplicationId,
     .migrations = kMigrations,
     .page_size = 8'192,  // rows of some 300 bytes that are only appended: larger pages are fewer writes
     .empty_kind = StoreError::Kind::Open,
     .empty = "nothing has been written to this journal yet: is the gateway running with this configuration?",
     .foreign = "is not a journal",
     .elsewhere = "name another file in [journal] url",
     .before = "name another file in [journal] url"}};

}  // namespace

std::vector<Segment> readSegments(sqlite::Database& database) {
    std::vector<Segment> segments;
    sqlite::RawStatement select(database,
                                "SELECT number, kind, rows, first_ms, last_ms, opened_ms, sealed, addresses"
                                " FROM segment ORDER BY number");
    while (select.step())
        segments.push_back({select.number(0), static_cast<Kind>(select.number(1)), select.number(2),
                            select.number(3), select.number(4), select.number(5), select.number(6) != 0,
                            static_cast<Addresses>(select.number(7))});
    return segments;
}

void migrate(sqlite::Database& database, bool create) {
    kMigrator.migrate(database, create);
}

void requireKnown(sqlite::Database& database) {
    kMigrator.requireKnown(database);
}

namespace {

constexpr sqlite::OpenOptions kToRead{
    .create = false, .durability = sqlite::Durability::Process, .when_damaged = kWhenDamaged};

}  // namespace

bool verifyWithin(const std::string& url, std::chrono::milliseconds at_most) {
    return sqlite::verifyWithin(sqlite::pathOf(url), kToRead, at_most);
}

void inspect(const std::string& url) {
    sqlite::Database database(sqlite::pathOf(url), kToRead);
    requireKnown(database);
    readSegments(database);
}

}  // namespace mailgate::store::journal
