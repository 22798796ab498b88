/// \file  The tables of the journal. Internal to store/; made for the sqlite3 shell too:
///
///     session    admitted sessions, in the order in which they ended
///     refused    the same columns for clients that were refused; kept for a shorter time
///     mail       the transactions: key / 256 is the key of the session
///     segment    both are cut into segments of up to 16,384 rows: key / 16384 is the segment's number
///     term_page  what a sealed segment can be searched by (store/journal_terms.h)
///
///         SELECT s.id, s.client, m.sender, m.recipients, m.queue_id
///         FROM mail m JOIN session s ON s.key = m.key / 256 ORDER BY m.key DESC LIMIT 20;
///
/// Why segments: eight secondary B-trees cost several times what the rows cost. Rows are appended, without
/// any index, to the open segment, which is small enough to be read whole; when it is full its terms are
/// sorted once and stored as a few hundred pages. Retention deletes whole segments.
#pragma once

#include "store/journal.h"
#include "store/sqlite.h"

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

enum class Kind : std::uint8_t { Session, Refused };
constexpr std::string_view tableOf(Kind kind) noexcept {
    return kind == Kind::Session ? "session" : "refused";
}

/// A row of the table segment.
struct Segment {
    std::int64_t number = 0;
    Kind kind = Kind::Session;
    std::int64_t rows = 0;
    std::int64_t first_ms = 0;   ///< the earliest start of its sessions
    std::int64_t last_ms = 0;    ///< the latest end
    std::int64_t opened_ms = 0;  ///< the end of its first session
    bool sealed = false;
    bool masked = false;
};

/// All of them, oldest first.
std::vector<Segment> readSegments(sqlite::Database& database);

/// Brings the file to the current version and to WAL. Throws StoreError: Open for another program's database
/// (and for one that is not there yet unless `create`), NewerSchema.
void migrate(sqlite::Database& database, bool create);

/// INSERT into a session table, and how its parameters are bound. The texts must live until the step.
std::string insertSql(Kind kind);
void bindSession(sqlite::RawStatement& insert, std::int64_t key, const JournalSession& session,
                 std::string_view client, std::string_view balancer, std::string_view destination);

/// "key, …" in the order that readSession() expects.
std::string_view sessionColumns() noexcept;
/// Without the mail. Text that is no address, from another hand, reads as ::.
JournalSession readSession(const sqlite::RawStatement& row, Kind kind);

constexpr std::string_view kMailInsert =
    "INSERT INTO mail(key, sender, recipients, recipient_count, size, queue_id, reply, accepted)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
constexpr std::string_view kMailOfSession =
    "SELECT sender, recipients, recipient_count, size, reply, accepted FROM mail"
    " WHERE key BETWEEN ?1 AND ?2 ORDER BY key";
JournalMail readMail(const sqlite::RawStatement& row);

/// Calls `visit` for each recipient of the column, one a line.
template <typename Visit>
void eachRecipient(std::string_view recipients, Visit visit) {
    while (!recipients.empty()) {
        const std::size_t end = recipients.find('\n');
        visit(recipients.substr(0, end));
        if (end == std::string_view::npos) return;
        recipients.remove_prefix(end + 1);
    }
}

}  // namespace mailgate::store::journal
