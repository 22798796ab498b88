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
/// sorted once and stored as a few hundred pages. Retention deletes whole segments.
#pragma once

#include "store/journal/record.h"
#include "store/sqlite/database.h"

#include <array>

namespace mailgate::store::journal {

/// "mgjl" in ASCII, as `PRAGMA application_id`.
constexpr std::int64_t kApplicationId = 0x6D676A6C;

constexpr unsigned kRowBits = 14;
constexpr unsigned kMailBits = 8;
constexpr std::int64_t kRowsPerSegment = std::int64_t{1} << kRowBits;
static_assert(kMaxMailKept == std::size_t{1} << kMailBits);

constexpr std::int64_t firstKey(std::int64_t segment) noexcept {
    return segment << kRowBits;
}
constexpr std::int64_t lastKey(std::int64_t segment) noexcept {
    return firstKey(segment) + kRowsPerSegment - 1;
}
constexpr std::uint16_t rowOf(std::int64_t key) noexcept {
    return static_cast<std::uint16_t>(key & (kRowsPerSegment - 1));
}

using Kind = JournalKind;
inline constexpr std::array<Kind, 3> kKinds{Kind::Session, Kind::Refused, Kind::Mail};
constexpr std::size_t index(Kind kind) noexcept {
    return static_cast<std::size_t>(kind);
}
constexpr std::string_view tableOf(Kind kind) noexcept {
    constexpr std::array<std::string_view, kKinds.size()> kTables{"session", "refused", "further_mail"};
    return kTables[index(kind)];
}

/// In SQL, of a row of any of them: the server refused a login. Before version 3 only the last was known.
constexpr std::string_view kFailedLogin = "(failed_logins > 0 OR (authenticated = 0 AND user <> ''))";

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

/// Of a damaged file.
constexpr std::string_view kWhenDamaged =
    "move it away with its -wal and -shm: the gateway begins a new one within a second (sqlite3's .recover "
    "may "
    "save what is in the old one)";

/// All of them, oldest first.
std::vector<Segment> readSegments(sqlite::Database& database);

/// Brings the file to the current version and to WAL. Throws StoreError: Open for another program's database
/// (and for one that is not there yet unless `create`), NewerSchema.
void migrate(sqlite::Database& database, bool create);

/// The texts of a row that are not those of the session.
struct RowTexts {
    std::string_view client, balancer, destination, rule, helo, failed_users, balancer_told, reply;
};

/// The column balancer_told: a line "name=value" for each, the value's control characters and % as %HH.
std::string namedLines(const std::vector<std::pair<std::string, std::string>>& named);

/// INSERT into a session table, and how its parameters are bound. The texts must live until the step.
std::string insertSql(Kind kind);
void bindSession(sqlite::RawStatement& insert, std::int64_t key, const JournalSession& session,
                 const RowTexts& texts);

constexpr std::string_view kAddressInsert =
    "INSERT INTO client_address(key, client, rule, helo) VALUES (?1, ?2, ?3, ?4)";

/// SELECT "key, …" in the order that readSession() expects, the full address where it is still known.
std::string selectSql(Kind kind, std::string_view condition);
/// Without the mail. Text that is no address, from another hand, reads as ::.
JournalSession readSession(const sqlite::RawStatement& row, Kind kind);

constexpr std::string_view kMailInsert =
    "INSERT INTO mail(key, sender, recipients, recipient_count, size, queue_id, reply, accepted,"
    " recipients_refused, replies, refused, refused_replies, truncated)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
constexpr std::string_view kMailOfSession =
    "SELECT sender, recipients, recipient_count, size, reply, accepted, recipients_refused, replies, "
    "queue_id,"
    " refused, refused_replies, truncated FROM mail WHERE key BETWEEN ?1 AND ?2 ORDER BY key";
JournalMail readMail(const sqlite::RawStatement& row);

/// Calls `visit` for each line of a column that has several values.
template <typename Visit>
void eachLine(std::string_view lines, Visit visit) {
    while (!lines.empty()) {
        const std::size_t end = lines.find('\n');
        visit(lines.substr(0, end));
        if (end == std::string_view::npos) return;
        lines.remove_prefix(end + 1);
    }
}

}  // namespace mailgate::store::journal
