// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/journal_writer.h"

#include "protocols/values/text.h"
#include "store/fleet/postgres/connection.h"
#include "store/fleet/postgres/conninfo.h"
#include "store/fleet/postgres/copy_lines.h"
#include "store/fleet/postgres/journal_columns.h"
#include "store/fleet/postgres/schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <set>
#include <utility>

namespace mailgate::store::postgres {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Days whose tables are made before anybody needs them; a clock may go ahead by as many.
constexpr std::int64_t kAhead = 3;
/// Whoever reads may be long about it: dropping a day can wait, and others must not wait for it, nor for a gateway that is lost
/// in the middle and cannot say so.
constexpr std::string_view kDropTimeout =
    "SET LOCAL lock_timeout = '2s'; SET LOCAL idle_in_transaction_session_timeout = '10s';"
    " SET LOCAL statement_timeout = '30s'";
/// Of tables that are not cut into days, at a time.
constexpr int kRemovedAtOnce = 5'000;
/// What a power cut of the database loses, it loses together with how far it had come: it comes again. A gateway that has died
/// in the middle does not keep its successor waiting.
constexpr std::string_view kBegin =
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = '5s';"
    " SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL statement_timeout = '60s'";

/// With blanks between.
std::vector<std::string> processesIn(std::string_view text) {
    std::vector<std::string> processes;
    for (std::string_view one = takeField(text); !one.empty(); one = takeField(text))
        processes.emplace_back(one);
    return processes;
}

class PostgresJournal final : public SharedJournal {
  public:
    PostgresJournal(const std::string& url, const FleetStore::Patience& patience, JournalOwner owner)
        : info_(parseUrl(url)), patience_(patience), owner_(std::move(owner)) {}

    std::string fleet() override;
    std::vector<Journal> journals() override;
    Journal create(std::int64_t number, const std::string& position, std::optional<std::int64_t> id) override;
    void place(std::int64_t journal, const std::string& position) override;
    std::optional<JournalWriter> writer() override;
    bool claim(const std::optional<JournalWriter>& from, const std::vector<std::string>& lineage) override;
    std::optional<std::int64_t> journalOf(JournalKind kind, const journal::SpoolPlace& record) override;
    bool has(JournalKind kind, const journal::SpoolPlace& record) override;
    std::int64_t lastKey(std::int64_t journal, JournalKind kind) override;
    std::int64_t keptSinceMs(JournalKind kind) const override {
        const bool refused = kind == JournalKind::Refused;
        return (today_ - (refused ? owner_.keep_refused_days : owner_.keep_days)) * kDayMs;
    }
    std::size_t add(std::int64_t journal, std::int64_t key, const JournalSession& record) override;
    void discard() noexcept override;
    bool commit(const Progress& progress) override;
    bool maintain() override;
    void interrupt() noexcept override { interrupt_.raise(); }

  private:
    Deadline soon() const { return steady_clock::now() + patience_.answer; }
    Connection& connected();
    template <typename Work>
    auto attempt(const Work& work);
    void makeDay(Connection& connection, std::int64_t day);
    bool write(Connection& connection, const Progress& progress);
    bool removeOldRows(Connection& connection);
    std::string& linesOf(JournalKind kind) noexcept { return lines_[static_cast<std::size_t>(kind)]; }

    const Conninfo info_;
    const FleetStore::Patience patience_;
    const JournalOwner owner_;
    Interrupt interrupt_;
    std::unique_ptr<Connection> connection_;
    bool by_day_ = false;

    std::int64_t today_ = 0;       ///< by the database's clock, in days since 1970
    std::set<std::int64_t> made_;  ///< days that have tables
    // What was added.
    std::array<std::string, kJournalTables.size()> lines_;  ///< by table
    std::set<std::int64_t> days_;
    std::int64_t records_ = 0;
};

Connection& PostgresJournal::connected() {
    // One that nobody used for long is closed by some servers, and firewalls.
    if (connection_ && !connection_->hasEnded()) return *connection_;
    connection_.reset();
    made_.clear();
    const auto deadline = steady_clock::now() + patience_.connect;
    auto fresh = std::make_unique<Connection>(info_, deadline, interrupt_);
    requireKnown(*fresh, info_.shown, deadline);
    by_day_ = isByDay(*fresh, deadline);
    connection_ = std::move(fresh);
    return *connection_;
}

/// What fails in the middle of a transaction must not leave it open.
template <typename Work>
auto PostgresJournal::attempt(const Work& work) {
    Connection& connection = connected();
    try {
        return work(connection);
    } catch (const StoreError&) {
        connection_.reset();
        throw;
    }
}

void PostgresJournal::makeDay(Connection& connection, std::int64_t day) {
    if (made_.contains(day)) return;
    connection.query("SELECT mailgate.make_day($1::integer)", {fmt::to_string(day)}, soon());
    made_.insert(day);
}

std::string PostgresJournal::fleet() {
    return attempt([&](Connection& connection) {
        const Rows rows = connection.query(
            "SELECT fleet, floor(extract(epoch FROM now()) / 86400)::bigint FROM mailgate.meta WHERE id = 1",
            {}, soon());
        if (rows.size() != 1)
            throw StoreError(
                StoreError::Kind::Damaged,
                fmt::format("the fleet's database {}: table mailgate.meta is empty", info_.shown));
        today_ = rows.number(0, 1);
        return rows.text(0, 0);
    });
}

std::vector<SharedJournal::Journal> PostgresJournal::journals() {
    return attempt([&](Connection& connection) {
        const Rows rows = connection.query(
            "SELECT id, number, position FROM mailgate.journal WHERE gateway = $1 ORDER BY number DESC",
            {owner_.gateway}, soon());
        std::vector<Journal> journals;
        for (std::size_t row = 0; row < rows.size(); ++row)
            journals.push_back({rows.number(row, 0), rows.number(row, 1), rows.text(row, 2)});
        return journals;
    });
}

SharedJournal::Journal PostgresJournal::create(std::int64_t number, const std::string& position,
                                               std::optional<std::int64_t> id) {
    return attempt([&](Connection& connection) {
        std::vector<std::string> values{
            owner_.gateway, fmt::to_string(number),           position,
            owner_.process, fmt::to_string(owner_.keep_days), fmt::to_string(owner_.keep_refused_days)};
        if (id) values.push_back(fmt::to_string(*id));
        const Rows rows = connection.query(
            fmt::format(
                "INSERT INTO mailgate.journal(gateway, number, position, owner, since, seen, records, missed,"
                " keep_days, keep_refused_days{}) VALUES ($1, $2::integer, $3, $4, now(), now(), 0, 0,"
                " $5::integer, $6::integer{}) RETURNING id",
                id ? ", id" : "", id ? ", $7::integer" : ""),
            values, soon());
        return Journal{rows.number(0, 0), number, position};
    });
}

void PostgresJournal::place(std::int64_t journal, const std::string& position) {
    attempt([&](Connection& connection) {
        connection.query("UPDATE mailgate.journal SET position = $2 WHERE id = $1::integer",
                         {fmt::to_string(journal), position}, soon());
    });
}

std::optional<JournalWriter> PostgresJournal::writer() {
    return attempt([&](Connection& connection) -> std::optional<JournalWriter> {
        const Rows rows = connection.query(
            "SELECT process, inherited, greatest(floor(extract(epoch FROM now() - greatest(since,"
            " (SELECT max(seen) FROM mailgate.journal j WHERE j.gateway = w.gateway)))), 0)::bigint, lineage"
            " FROM mailgate.writer w WHERE gateway = $1",
            {owner_.gateway}, soon());
        if (rows.size() == 0) return std::nullopt;
        return JournalWriter{rows.text(0, 0), rows.text(0, 1), rows.number(0, 2),
                             processesIn(rows.view(0, 3))};
    });
}

bool PostgresJournal::claim(const std::optional<JournalWriter>& from,
                            const std::vector<std::string>& lineage) {
    return attempt([&](Connection& connection) {
        std::vector<std::string> values{owner_.gateway, owner_.process,
                                        fmt::to_string(fmt::join(lineage, " "))};
        if (from) values.push_back(from->process);
        const Rows rows = connection.query(
            from ? "UPDATE mailgate.writer SET process = $2, inherited = $4, lineage = $3, since = now()"
                   " WHERE gateway = $1 AND process = $4 RETURNING 1"
                 : "INSERT INTO mailgate.writer(gateway, process, inherited, lineage, since) VALUES"
                   " ($1, $2, '', $3, now()) ON CONFLICT (gateway) DO NOTHING RETURNING 1",
            values, soon());
        return rows.size() == 1;
    });
}

std::optional<std::int64_t> PostgresJournal::journalOf(JournalKind kind, const journal::SpoolPlace& record) {
    return attempt([&](Connection& connection) -> std::optional<std::int64_t> {
        const Rows rows = connection.query(
            fmt::format("SELECT t.journal FROM mailgate.{} t LEFT JOIN mailgate.journal j ON j.id = t.journal"
                        " WHERE t.id = $3 AND t.key = $2::bigint AND (j.id IS NULL OR j.gateway = $1)"
                        " ORDER BY t.journal DESC LIMIT 1",
                        tableOf(kind)),
            {owner_.gateway, fmt::to_string(record.key), record.id}, soon());
        if (rows.size() == 0) return std::nullopt;
        return rows.number(0, 0);
    });
}

bool PostgresJournal::has(JournalKind kind, const journal::SpoolPlace& record) {
    return attempt([&](Connection& connection) {
        return connection
                   .query(fmt::format("SELECT 1 FROM mailgate.{} WHERE id = $2 AND key = $1::bigint LIMIT 1",
                                      tableOf(kind)),
                          {fmt::to_string(record.key), record.id}, soon())
                   .size() > 0;
    });
}

std::int64_t PostgresJournal::lastKey(std::int64_t journal, JournalKind kind) {
    return attempt([&](Connection& connection) {
        return connection
            .query(fmt::format("SELECT coalesce(max(key), 0) FROM mailgate.{} WHERE journal = $1::integer",
                               tableOf(kind)),
                   {fmt::to_string(journal)}, soon())
            .number(0, 0);
    });
}

std::size_t PostgresJournal::add(std::int64_t journal, std::int64_t key, const JournalSession& record) {
    const std::int64_t at = keptAt(record, {keptSinceMs(record.kind), (today_ + kAhead + 1) * kDayMs});
    days_.insert(at / kDayMs);
    std::string& rows = linesOf(record.kind);
    std::string& mails = lines_.back();
    const std::size_t before = rows.size() + mails.size();
    appendLines(rows, mails, journal, key, at, record);
    ++records_;
    return rows.size() + mails.size() - before;
}

void PostgresJournal::discard() noexcept {
    for (std::string& lines : lines_)
        lines.clear();
    days_.clear();
    records_ = 0;
}

bool PostgresJournal::commit(const Progress& progress) {
    try {
        const bool written = attempt([&](Connection& connection) { return write(connection, progress); });
        discard();
        return written;
    } catch (...) {
        discard();
        throw;
    }
}

bool PostgresJournal::write(Connection& connection, const Progress& progress) {
    if (by_day_)
        for (const std::int64_t day : days_)
            makeDay(connection, day);
    connection.run(std::string(kBegin), soon());
    const Rows rows = connection.query(
        "SELECT j.position, floor(extract(epoch FROM now()) / 86400)::bigint, m.schema, m.needs"
        " FROM mailgate.meta m, mailgate.journal j JOIN mailgate.writer w USING (gateway)"
        " WHERE m.id = 1 AND j.id = $1::integer AND w.process = $2 FOR UPDATE OF j, w",
        {fmt::to_string(progress.journal), owner_.process}, soon());
    if (rows.size() == 1) requireUsable(rows.number(0, 2), rows.number(0, 3), info_.shown);
    if (rows.size() != 1 || rows.text(0, 0) != progress.from) {
        connection.run("ROLLBACK", soon());
        return false;
    }
    for (std::size_t at = 0; at < lines_.size(); ++at)
        if (!lines_[at].empty())
            connection.copy(fmt::format("COPY mailgate.{} ({}) FROM STDIN", kJournalTables[at],
                                        kJournalTables[at] == "mail" ? mailColumns() : sessionColumns()),
                            lines_[at], patience_.answer);
    connection.query(
        fmt::format("UPDATE mailgate.journal SET position = $2, owner = $3, seen = now(), {}"
                    " records = records + $4::bigint, missed = missed + $5::bigint, keep_days = $6::integer,"
                    " keep_refused_days = $7::integer WHERE id = $1::integer",
                    progress.current ? "current = now()," : ""),
        {fmt::to_string(progress.journal), progress.to, owner_.process, fmt::to_string(records_),
         fmt::to_string(progress.missed.size()), fmt::to_string(owner_.keep_days),
         fmt::to_string(owner_.keep_refused_days)},
        soon());
    for (const Missed& missed : progress.missed)
        connection.query(
            "INSERT INTO mailgate.missed(journal, piece, records, exact, from_ms, to_ms) VALUES ($1::integer,"
            " $2::bigint, $3::bigint, $4::boolean, $5::bigint, $6::bigint) ON CONFLICT DO NOTHING",
            {fmt::to_string(progress.journal), fmt::to_string(missed.piece),
             fmt::to_string(missed.records.records), missed.records.exact ? "t" : "f",
             fmt::to_string(missed.records.from_ms), fmt::to_string(missed.records.to_ms)},
            soon());
    connection.run("COMMIT", soon());
    today_ = rows.number(0, 1);
    return true;
}

bool PostgresJournal::maintain() {
    return attempt([&](Connection& connection) {
        connection.query(
            "DELETE FROM mailgate.missed WHERE to_ms < (SELECT"
            " (floor(extract(epoch FROM now()) / 86400)::bigint - max(keep_days)) * 86400000"
            " FROM mailgate.journal)",
            {}, soon());
        if (!by_day_) return removeOldRows(connection);
        for (std::int64_t day = today_; day <= today_ + kAhead; ++day)
            makeDay(connection, day);
        connection.run(fmt::format("BEGIN; {}", kDropTimeout), soon());
        connection.query("SELECT mailgate.drop_old_days()", {}, soon());
        connection.run("COMMIT", soon());
        return false;
    });
}

/// Some of them.
bool PostgresJournal::removeOldRows(Connection& connection) {
    for (const std::string_view table : kJournalTables) {
        const bool more =
            connection
                .query(fmt::format("WITH gone AS (DELETE FROM mailgate.{0} WHERE (journal, key, at_ms) IN "
                                   "(SELECT journal, key, at_ms"
                                   " FROM mailgate.{0} WHERE at_ms < (SELECT floor(extract(epoch FROM now()) "
                                   "/ 86400)::bigint"
                                   " - max({1}) FROM mailgate.journal WHERE seen > now() - interval '30 "
                                   "days') * 86400000"
                                   " ORDER BY at_ms LIMIT {2}) RETURNING 1) SELECT count(*) FROM gone",
                                   table, table == "refused" ? "keep_refused_days" : "keep_days",
                                   kRemovedAtOnce),
                       {}, soon())
                .number(0, 0) >= kRemovedAtOnce;
        if (more) return true;
    }
    return false;
}

}  // namespace

std::unique_ptr<SharedJournal> openSharedJournal(const std::string& url, const FleetStore::Patience& patience,
                                                 const JournalOwner& owner) {
    return std::make_unique<PostgresJournal>(url, patience, owner);
}

}  // namespace mailgate::store::postgres
