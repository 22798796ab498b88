// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/store.h"

#include "store/fleet/postgres/connection.h"
#include "store/fleet/postgres/conninfo.h"
#include "store/fleet/postgres/schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

namespace mailgate::store::postgres {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// How long a writer waits for another one. The server ends a transaction of a gateway that is frozen in it.
constexpr std::string_view kLockTimeout = "SET LOCAL lock_timeout = '5s'";
constexpr milliseconds kLockAnswer{6'000};
/// Of a server that has just answered: a million rules are not removed at once.
constexpr milliseconds kWriteAnswer{30'000};
constexpr std::string_view kFrozenTimeout = "SET LOCAL idle_in_transaction_session_timeout = '120s'";

constexpr std::string_view kRuleColumns =
    "id, network, verdict, listener, rule_set, note, owner, ticket, reply, created_at, created_by, "
    "expires_at,"
    " client_sessions, client_rate";

SharedRule ruleOf(const Rows& rows, std::size_t row) {
    SharedRule rule;
    rule.id = rows.number(row, 0);
    rule.network = rows.text(row, 1);
    rule.verdict = rows.text(row, 2);
    rule.listener = rows.text(row, 3);
    rule.set = rows.text(row, 4);
    rule.note = rows.text(row, 5);
    rule.owner = rows.text(row, 6);
    rule.ticket = rows.text(row, 7);
    rule.reply = rows.text(row, 8);
    rule.created_at = rows.number(row, 9);
    rule.created_by = rows.text(row, 10);
    rule.expires_at = rows.optionalNumber(row, 11);
    rule.client_sessions = rows.optionalNumber(row, 12);
    rule.client_rate = rows.optionalNumber(row, 13);
    return rule;
}

std::string copyLineOf(const SharedRule& rule) {
    return fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n", rule.id,
                       copyField(rule.network), copyField(rule.verdict), copyField(rule.listener),
                       copyField(rule.set), copyField(rule.note), copyField(rule.owner),
                       copyField(rule.ticket), copyField(rule.reply), rule.created_at,
                       copyField(rule.created_by), copyField(rule.expires_at),
                       copyField(rule.client_sessions), copyField(rule.client_rate));
}

std::string copyLineOf(const SharedEntry& entry, std::int64_t version, std::size_t seq,
                       const std::string& gateway) {
    return fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n", version, seq, entry.at,
                       copyField(entry.who), copyField(gateway), copyField(entry.action), entry.rule_id,
                       copyField(entry.before), copyField(entry.after), copyField(entry.made_by),
                       entry.made_at);
}

/// '{1,2,3}', for = ANY.
std::string arrayOf(const std::set<std::int64_t>& numbers) {
    return fmt::format("{{{}}}", fmt::join(numbers, ","));
}

std::set<std::int64_t> rulesIn(const std::vector<SharedEntry>& entries) {
    std::set<std::int64_t> ids;
    for (const SharedEntry& entry : entries)
        if (entry.rule_id != 0) ids.insert(entry.rule_id);
    return ids;
}

class PostgresFleet final : public FleetStore {
  public:
    PostgresFleet(const std::string& url, const Patience& patience, bool notifies)
        : info_(parseUrl(url)), patience_(patience), notifies_(notifies) {}

    FleetState state() override;
    SharedChanges changesSince(std::int64_t version) override;
    SharedChanges everything() override;
    void announce(const Member& self) override;
    void forget(const std::string& member) override;
    std::vector<Member> members() override;
    void wait(milliseconds at_most) override;
    bool listens() const noexcept override { return listens_; }
    void interrupt() noexcept override { interrupt_.raise(); }
    FleetState lock() override;
    void commit(const SharedChanges& changes, const std::string& gateway) override;
    void rollback() noexcept override;
    Migration migrate(const std::string& grant) override;

  private:
    Deadline soon() const { return steady_clock::now() + patience_.answer; }
    static Deadline written() { return steady_clock::now() + kWriteAnswer; }
    Connection& connected();
    std::unique_ptr<Connection> connect();
    bool isNotified();
    FleetState readState(Connection& connection, std::string_view how);
    std::vector<SharedSet> readSets(Connection& connection);
    static void readRules(const Rows& rows, SharedChanges& changes);
    void commitKnowingly(Connection& connection);
    void writeRules(Connection& connection, const SharedChanges& changes);
    void writeSets(Connection& connection, const std::vector<SharedSet>& sets);
    template <typename Work>
    auto attempt(const Work& work);
    template <typename Work>
    auto snapshot(const Work& work);

    const Conninfo info_;
    const Patience patience_;
    const bool notifies_;
    Interrupt interrupt_;
    std::unique_ptr<Connection> connection_;
    bool listens_ = false;
    bool has_notify_ = false;  ///< the server is PostgreSQL itself
    bool locked_ = false;
};

std::unique_ptr<Connection> PostgresFleet::connect() {
    return std::make_unique<Connection>(info_, steady_clock::now() + patience_.connect, interrupt_);
}

Connection& PostgresFleet::connected() {
    if (connection_ && !connection_->broken()) return *connection_;
    listens_ = locked_ = false;
    connection_.reset();
    // The same time for all of it: a server that takes connections and answers nothing is one that does not answer.
    const auto deadline = steady_clock::now() + patience_.connect;
    auto fresh = std::make_unique<Connection>(info_, deadline, interrupt_);
    requireKnown(*fresh, info_.shown, deadline);
    const std::string version = fresh->query("SELECT version()", {}, deadline).text(0, 0);
    has_notify_ = version.starts_with("PostgreSQL") && version.find("-YB-") == std::string::npos;
    connection_ = std::move(fresh);
    listens_ = notifies_ && has_notify_ && isNotified();
    return *connection_;
}

/// A pooler may take LISTEN and lose it without a word; so it is tried, with a notification from another connection.
bool PostgresFleet::isNotified() {
    constexpr milliseconds kEnough{500};
    try {
        connection_->run("LISTEN mailgate", soon());
        connect()->query("SELECT pg_notify('mailgate', '')", {}, soon());
        return connection_->awaitNotification(steady_clock::now() + kEnough);
    } catch (const StoreError&) {
        if (connection_->broken()) throw;
        return false;
    }
}

/// What fails in the middle of a transaction must not leave it open.
template <typename Work>
auto PostgresFleet::attempt(const Work& work) {
    Connection& connection = connected();
    try {
        return work(connection);
    } catch (const StoreError&) {
        if (!locked_) connection_.reset();
        throw;
    }
}

/// One state of the database, for several queries.
template <typename Work>
auto PostgresFleet::snapshot(const Work& work) {
    return attempt([&](Connection& connection) {
        if (locked_) return work(connection);
        connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", soon());
        auto result = work(connection);
        connection.run("COMMIT", soon());
        return result;
    });
}

FleetState PostgresFleet::readState(Connection& connection, std::string_view how) {
    const Rows rows =
        connection.query(fmt::format("SELECT fleet, version, next_id FROM mailgate.meta WHERE id = 1{}", how),
                         {}, how.empty() ? soon() : steady_clock::now() + kLockAnswer);
    if (rows.size() != 1)
        throw StoreError(StoreError::Kind::Damaged,
                         fmt::format("the fleet's database {}: table mailgate.meta is empty", info_.shown));
    return {rows.text(0, 0), rows.number(0, 1), rows.number(0, 2)};
}

std::vector<SharedSet> PostgresFleet::readSets(Connection& connection) {
    std::vector<SharedSet> sets;
    const Rows rows =
        connection.query("SELECT name, note, expires_after FROM mailgate.rule_set ORDER BY name", {}, soon());
    for (std::size_t row = 0; row < rows.size(); ++row)
        sets.push_back({rows.text(row, 0), rows.text(row, 1), rows.optionalNumber(row, 2)});
    return sets;
}

void PostgresFleet::readRules(const Rows& rows, SharedChanges& changes) {
    changes.rules.reserve(rows.size());
    for (std::size_t row = 0; row < rows.size(); ++row)
        changes.rules.push_back(ruleOf(rows, row));
}

FleetState PostgresFleet::state() {
    return attempt([&](Connection& connection) { return readState(connection, ""); });
}

SharedChanges PostgresFleet::changesSince(std::int64_t version) {
    return snapshot([&](Connection& connection) {
        const FleetState state = readState(connection, "");
        SharedChanges changes{.version = state.version, .next_id = state.next_id};
        const Rows rows = connection.query(
            "SELECT version, at, who, action, rule_id, before, after, made_by, made_at"
            " FROM mailgate.change_log WHERE version > $1 ORDER BY version, seq",
            {fmt::to_string(version)}, soon());
        bool has_sets = false;
        for (std::size_t row = 0; row < rows.size(); ++row) {
            changes.entries.push_back({rows.number(row, 0), rows.number(row, 1), rows.text(row, 2),
                                       rows.text(row, 3), rows.number(row, 4), rows.text(row, 5),
                                       rows.text(row, 6), rows.text(row, 7), rows.number(row, 8)});
            has_sets |= changes.entries.back().rule_id == 0;
        }
        if (!rulesIn(changes.entries).empty())
            readRules(
                connection.query(fmt::format("SELECT {} FROM mailgate.rule WHERE id IN (SELECT rule_id FROM"
                                             " mailgate.change_log WHERE version > $1) ORDER BY id",
                                             kRuleColumns),
                                 {fmt::to_string(version)}, soon()),
                changes);
        if (has_sets) changes.sets = readSets(connection);
        return changes;
    });
}

SharedChanges PostgresFleet::everything() {
    return snapshot([&](Connection& connection) {
        const FleetState state = readState(connection, "");
        SharedChanges all{.version = state.version, .next_id = state.next_id};
        readRules(connection.query(fmt::format("SELECT {} FROM mailgate.rule ORDER BY id", kRuleColumns), {},
                                   soon()),
                  all);
        all.sets = readSets(connection);
        return all;
    });
}

void PostgresFleet::announce(const Member& self) {
    attempt([&](Connection& connection) {
        connection.query(
            "INSERT INTO mailgate.member(name, release, started, position, seen) VALUES ($1, $2, $3::bigint,"
            " $4::bigint, now()) ON CONFLICT (name) DO UPDATE SET release = excluded.release,"
            " started = excluded.started, position = excluded.position, seen = excluded.seen",
            {self.name, self.release, fmt::to_string(self.started), fmt::to_string(self.position)}, soon());
    });
}

void PostgresFleet::forget(const std::string& member) {
    attempt([&](Connection& connection) {
        connection.query("DELETE FROM mailgate.member WHERE name = $1", {member}, soon());
    });
}

std::vector<Member> PostgresFleet::members() {
    return attempt([&](Connection& connection) {
        const Rows rows = connection.query(
            "SELECT name, release, started, position, floor(extract(epoch FROM seen))::bigint,"
            " greatest(floor(extract(epoch FROM now() - seen)), 0)::bigint FROM mailgate.member ORDER BY "
            "name",
            {}, soon());
        std::vector<Member> members;
        for (std::size_t row = 0; row < rows.size(); ++row)
            members.push_back({rows.text(row, 0), rows.text(row, 1), rows.number(row, 2), rows.number(row, 3),
                               rows.number(row, 4), rows.number(row, 5)});
        return members;
    });
}

void PostgresFleet::wait(milliseconds at_most) {
    attempt([&](Connection& connection) { connection.awaitNotification(steady_clock::now() + at_most); });
}

FleetState PostgresFleet::lock() {
    return attempt([&](Connection& connection) {
        connection.run(fmt::format("BEGIN; {}; {}", kLockTimeout, kFrozenTimeout), soon());
        FleetState state = readState(connection, " FOR UPDATE");
        locked_ = true;
        return state;
    });
}

void PostgresFleet::writeRules(Connection& connection, const SharedChanges& changes) {
    const auto ids = rulesIn(changes.entries);
    if (ids.empty()) return;
    connection.query("DELETE FROM mailgate.rule WHERE id = ANY($1::bigint[])", {arrayOf(ids)}, written());
    std::string lines;
    for (const SharedRule& rule : changes.rules)
        lines += copyLineOf(rule);
    if (!lines.empty())
        connection.copy(fmt::format("COPY mailgate.rule ({}) FROM STDIN", kRuleColumns), lines, kWriteAnswer);
}

void PostgresFleet::writeSets(Connection& connection, const std::vector<SharedSet>& sets) {
    connection.query("DELETE FROM mailgate.rule_set", {}, written());
    std::string lines;
    for (const SharedSet& set : sets)
        lines += fmt::format("{}\t{}\t{}\n", copyField(set.name), copyField(set.note),
                             copyField(set.expires_after));
    if (!lines.empty())
        connection.copy("COPY mailgate.rule_set (name, note, expires_after) FROM STDIN", lines, kWriteAnswer);
}

void PostgresFleet::commit(const SharedChanges& changes, const std::string& gateway) {
    attempt([&](Connection& connection) {
        writeRules(connection, changes);
        if (changes.sets) writeSets(connection, *changes.sets);
        std::string log;
        for (std::size_t seq = 0; seq < changes.entries.size(); ++seq)
            log += copyLineOf(changes.entries[seq], changes.version, seq, gateway);
        if (!log.empty())
            connection.copy(
                "COPY mailgate.change_log (version, seq, at, who, gateway, action, rule_id, before, after,"
                " made_by, made_at) FROM STDIN",
                log, kWriteAnswer);
        connection.query("UPDATE mailgate.meta SET version = $1::bigint, next_id = $2::bigint WHERE id = 1",
                         {fmt::to_string(changes.version), fmt::to_string(changes.next_id)}, written());
        if (has_notify_)
            connection.query("SELECT pg_notify('mailgate', $1)", {fmt::to_string(changes.version)},
                             written());
        commitKnowingly(connection);
        locked_ = false;
    });
}

/// Where the answer is lost it may have been done all the same.
void PostgresFleet::commitKnowingly(Connection& connection) {
    try {
        connection.run("COMMIT", written());
    } catch (const StoreError& error) {
        if (!connection.broken()) throw;
        throw StoreError(error.kind(),
                         fmt::format("{}; whether the change was made mailgate access history shows once the "
                                     "database is back",
                                     error.what()));
    }
}

void PostgresFleet::rollback() noexcept {
    if (!locked_) return;
    locked_ = false;
    try {
        connection_->run("ROLLBACK", soon());
    } catch (const std::exception&) {
        connection_.reset();  // which ends it as well
    }
}

FleetStore::Migration PostgresFleet::migrate(const std::string& grant) {
    const auto connection = connect();
    return postgres::migrate(*connection, info_.shown, grant, [this] { return soon(); });
}

}  // namespace

std::unique_ptr<FleetStore> openFleet(const std::string& url, const FleetStore::Patience& patience,
                                      bool notifies) {
    return std::make_unique<PostgresFleet>(url, patience, notifies);
}

}  // namespace mailgate::store::postgres
