// SPDX-License-Identifier: Apache-2.0
/// \file  The tables of the journal. Internal to store/; made for the sqlite3 shell too:
///
/// - session: admitted sessions, in the order in which they ended
/// - refused: the same columns for clients that were refused; kept for a shorter time
/// - further_mail: the same columns, a row for each mail that did not wait for its session's end (`id` is the
///   session's, `mail_count` the mail's number in it)
/// - client_address: by the key of any of them, the only place of a client's full address; kept for a shorter
///   time
/// - mail: the transactions: key / 256 is the key of the session, or of the row in further_mail
/// - segment: they are cut into segments of up to 16,384 rows: key / 16384 is the segment's number
/// - term_page: what a sealed segment can be searched by (store/journal/sqlite/terms.h)
/// - address_page: the same for full addresses; goes with client_address
///
///         SELECT s.id, coalesce(a.client, s.client), m.sender, m.recipients, m.queue_id
///         FROM mail m JOIN session s ON s.key = m.key / 256 LEFT JOIN client_address a USING (key)
///         ORDER BY m.key DESC LIMIT 20;
///
/// Where a column could hold the address (client, rule, helo, and the mail's replies) it holds the masked one
/// from the beginning (store/journal/mask.h). So to forget addresses is to delete rows from two tables, and
/// their bytes are overwritten when that is done.
///
/// Why segments: eight secondary B-trees cost several times what the rows cost. Rows are appended, without
/// any index, to the open segment, which is small enough to be read whole; when it is full its terms are
/// sorted once and stored as a few hundred pages. Retention deletes whole segments. Tables and indexes for each
/// segment were measured, and cost more (docs/benchmark.md).
#pragma once

#include "store/journal/sqlite/layout.h"
#include "store/sqlite/database.h"

#include <chrono>
#include <string>
#include <vector>

namespace mailgate::store::journal {

/// "mgjl" in ASCII, as `PRAGMA application_id`.
constexpr std::int64_t kApplicationId = 0x6D676A6C;

/// Where a segment's client addresses are.
enum class Addresses : std::uint8_t {
    InRows,    ///< as version 1 wrote them: in the sessions' rows and terms. The writer moves them
    Apart,     ///< in client_address and address_page
    Forgotten  ///< their time was up
};

/// A row of the table segment.
struct Segment {
    std::int64_t number = 0;
    Kind kind = Kind::Session;
    std::int64_t rows = 0;
    std::int64_t first_ms = 0;   ///< the earliest start of its sessions
    std::int64_t last_ms = 0;    ///< the latest end
    std::int64_t opened_ms = 0;  ///< the end of its first session
    bool sealed = false;
    Addresses addresses = Addresses::Apart;
};

/// What to do about a damaged file.
constexpr std::string_view kWhenDamaged =
    "move it away together with its -wal and -shm files: the gateway creates a new one within a second "
    "(sqlite3's .recover may rescue what is in the old one)";

/// All of them, oldest first.
std::vector<Segment> readSegments(sqlite::Database& database);

/// Brings the file to the current version and to WAL. Throws StoreError: Open for another program's database
/// (and for one that is not there yet unless `create`), NewerSchema.
void migrate(sqlite::Database& database, bool create);

/// Throws StoreError as migrate() does; changes nothing.
void requireKnown(sqlite::Database& database);

/// Reads all of it, for so long at most. False: there was no time for that. Throws StoreError, Damaged for one.
bool verifyWithin(const std::string& url, std::chrono::milliseconds at_most);

/// Reads what a writer begins with. Throws StoreError likewise, and Damaged.
void inspect(const std::string& url);

}  // namespace mailgate::store::journal
