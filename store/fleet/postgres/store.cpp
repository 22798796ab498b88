// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/store.h"

#include "store/fleet/postgres/connection.h"
#include "store/fleet/postgres/conninfo.h"
#include "store/fleet/postgres/journal_rows.h"
#include "store/fleet/postgres/schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
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
/// Of a server that has just answered. Meanwhile nobody else writes to the gateway's file; but a million rules are not
/// removed at once.
milliseconds writeAnswer(std::size_t rules) {
    return milliseconds(3'000 + static_cast<std::int64_t>(rules) / 20);
}
constexpr std::string_view kFrozenTimeout =
    "SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL statement_timeout = '120s'";

/// An index of what is there already takes its time.
constexpr std::chrono::minutes kMigrationAnswer{10};

constexpr std::int64_t kLatestTime = 253'402'300'799;  // of the year 9999, which is all that RFC 3339 has

constexpr std::string_view kRuleColumns =
    "id, network, verdict, listener, rule_set, note, owner, ticket, reply, created_at, created_by, "
    "expires_at,"
    " client_sessions, client_rate";

/// Files count on from these numbers: one that nobody can have reached would leave them no more.
constexpr std::int64_t kMostNumber = std::int64_t{1} << 53;
std::int64_t plausible(std::int64_t number, std::string_view what) {
    if (number < 0 || number > kMostNumber)
        throw StoreError(
            StoreError::Kind::Damaged,
            fmt::format("the fleet's database: {} is {}, which cannot be: mend it there", what, number));
    return number;
}

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

std::string copyLineOf(const SharedEntry& entry, const SharedChanges& changes, std::size_t seq,
                       const std::string& gateway) {
    return fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n", changes.version, seq, entry.at,
                       copyField(entry.who), copyField(gateway), copyField(entry.action), entry.rule_id,
                       copyField(entry.before), copyField(entry.after), copyField(entry.made_by),
                       entry.made_at, copyField(changes.token));
}

/// '{"a","b"}', of one text of each rule.
template <typename Text>
std::string arrayOf(const std::vector<SharedRule>& rules, std::size_t from, std::size_t to,
                    const Text& text) {
    std::string array = "{";
    for (std::size_t at = from; at < to; ++at) {
        array += at == from ? "\"" : ",\"";
        for (const char character : text(rules[at])) {
            if (character == '"' || character == '\\') array += '\\';
            array += character;
        }
        array += '"';
    }
    return array + '}';
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
    std::optional<std::string> tokenOf(std::int64_t version) override;
    SharedChanges changesSince(std::int64_t version) override;
    SharedChanges everything() override;
    std::vector<SharedSet> sets() override;
    std::optional<OldestChange> oldestChange() override;
    void forgetChanges() override;
    std::optional<std::int64_t> announce(const Member& self) override;
    void forget(const std::string& member) override;
    void release(const std::string& member) override;
    std::vector<Member> members() override;
    std::vector<FleetDrain> drains() override;
    bool setDrain(const FleetDrain& drain, bool is_drained) override;
    std::vector<SealedTicketKey> ticketKeys(const std::string& secret, std::int64_t from,
                                            std::int64_t to) override;
    void addTicketKeys(const std::string& secret, const std::vector<SealedTicketKey>& keys,
                       std::int64_t oldest) override;
    void wait(milliseconds at_most) override;
    bool listens() const noexcept override { return listens_; }
    void interrupt() noexcept override { interrupt_.raise(); }
    FleetState lock() override;
    std::vector<SharedEntry> commit(const SharedChanges& changes, const std::string& gateway) override;
    void rollback() noexcept override;
    Migration migrate(const std::string& grant) override;

  private:
    Deadline soon() const { return steady_clock::now() + patience_.answer; }
    Deadline written() const { return steady_clock::now() + write_answer_; }
    Connection& connected();
    std::unique_ptr<Connection> connect();
    bool isNotified();
    FleetState readState(Connection& connection, std::string_view how);
    std::vector<SharedSet> readSets(Connection& connection);
    static void readRules(const Rows& rows, SharedChanges& changes);
    std::vector<SharedEntry> write(Connection& connection, const SharedChanges& changes,
                                   const std::string& gateway);
    void commitKnowingly(Connection& connection, Deadline deadline, const std::string& where_shown);
    void writeRules(Connection& connection, const SharedChanges& changes, std::vector<SharedEntry>& entries);
    void makeRoom(Connection& connection, const SharedChanges& changes, std::vector<SharedEntry>& entries);
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
    milliseconds write_answer_{};  ///< of the change that is written
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
    has_notify_ = requireKnown(*fresh, info_.shown, deadline);
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
    const Rows rows = connection.query(
        fmt::format(
            "SELECT fleet, version, next_id, token, floor(extract(epoch FROM now()))::bigint, schema, needs,"
            " drains, log_from"
            " FROM mailgate.meta WHERE id = 1{}",
            how),
        {}, how.empty() ? soon() : steady_clock::now() + kLockAnswer);
    if (rows.size() != 1)
        throw StoreError(StoreError::Kind::Damaged,
                         fmt::format("the fleet's database {}: table mailgate.meta is empty", info_.shown));
    requireUsable(rows.number(0, 5), rows.number(0, 6), info_.shown);
    return {rows.text(0, 0),
            plausible(rows.number(0, 1), "version"),
            plausible(rows.number(0, 2), "next_id"),
            rows.text(0, 3),
            rows.number(0, 4),
            rows.number(0, 7),
            rows.number(0, 8)};
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

std::optional<std::string> PostgresFleet::tokenOf(std::int64_t version) {
    if (version == 0) return std::string();
    return attempt([&](Connection& connection) -> std::optional<std::string> {
        const Rows rows =
            connection.query("SELECT token FROM mailgate.change_log WHERE version = $1 ORDER BY seq LIMIT 1",
                             {fmt::to_string(version)}, soon());
        if (rows.size() == 0) return std::nullopt;
        return rows.text(0, 0);
    });
}

SharedChanges PostgresFleet::changesSince(std::int64_t version) {
    return snapshot([&](Connection& connection) {
        const FleetState state = readState(connection, "");
        if (version < state.log_from)
            throw StoreError(StoreError::Kind::Locked, "the fleet's log of changes is being cut: try again");
        SharedChanges changes{.version = state.version, .next_id = state.next_id, .token = state.token};
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
        SharedChanges all{.version = state.version, .next_id = state.next_id, .token = state.token};
        readRules(connection.query(fmt::format("SELECT {} FROM mailgate.rule ORDER BY id", kRuleColumns), {},
                                   soon()),
                  all);
        all.sets = readSets(connection);
        return all;
    });
}

std::vector<SharedSet> PostgresFleet::sets() {
    return attempt([&](Connection& connection) { return readSets(connection); });
}

std::optional<OldestChange> PostgresFleet::oldestChange() {
    return attempt([&](Connection& connection) -> std::optional<OldestChange> {
        const Rows rows =
            connection.query(fmt::format("SELECT version, CASE WHEN at BETWEEN 0 AND {} THEN at ELSE 0 END"
                                         " FROM mailgate.change_log WHERE version >= (SELECT log_from FROM"
                                         " mailgate.meta WHERE id = 1) ORDER BY version, seq LIMIT 1",
                                         kLatestTime),
                             {}, soon());
        if (rows.size() == 0) return std::nullopt;
        return OldestChange{rows.number(0, 0), rows.number(0, 1)};
    });
}

void PostgresFleet::forgetChanges() {
    attempt([&](Connection& connection) {
        if (!has_notify_) return;
        connection.run(
            fmt::format("BEGIN ISOLATION LEVEL READ COMMITTED; {}; {}", kLockTimeout, kFrozenTimeout),
            soon());
        connection.query("SELECT mailgate.forget_changes()", {}, steady_clock::now() + kLockAnswer);
        connection.run("COMMIT", soon());
    });
}

std::optional<std::int64_t> PostgresFleet::announce(const Member& self) {
    return attempt([&](Connection& connection) {
        const Rows rows = connection.query(
            fmt::format(
                "WITH other AS (SELECT started FROM mailgate.member WHERE name = $1 AND started <> $3::bigint"
                " AND started BETWEEN 0 AND {} AND seen BETWEEN now() - interval '20 seconds' AND now())"
                " INSERT INTO mailgate.member(name, release, started, position, seen, ships, keeps_changes)"
                " VALUES ($1, $2, $3::bigint, $4::bigint, now(), $5::boolean, nullif($6, '')::integer)"
                " ON CONFLICT (name) DO UPDATE SET"
                " release = excluded.release, started = excluded.started, position = excluded.position,"
                " seen = excluded.seen, ships = excluded.ships, keeps_changes = excluded.keeps_changes"
                " RETURNING (SELECT started FROM other)",
                kLatestTime),
            {self.name, self.release, fmt::to_string(self.started), fmt::to_string(self.position),
             self.ships ? "t" : "f", self.keeps_days ? fmt::to_string(*self.keeps_days) : ""},
            soon());
        return rows.optionalNumber(0, 0);
    });
}

void PostgresFleet::forget(const std::string& member) {
    attempt([&](Connection& connection) {
        connection.query("DELETE FROM mailgate.member WHERE name = $1", {member}, soon());
        connection.query("DELETE FROM mailgate.writer WHERE gateway = $1", {member}, soon());
    });
}

void PostgresFleet::release(const std::string& member) {
    attempt([&](Connection& connection) {
        connection.query("DELETE FROM mailgate.writer WHERE gateway = $1", {member}, soon());
    });
}

std::vector<Member> PostgresFleet::members() {
    return attempt([&](Connection& connection) {
        // What a gateway writes has a host's name, and times and numbers that there are; who else may write there writes anything.
        const Rows rows = connection.query(
            fmt::format(
                "SELECT left(name, 255), left(release, 64),"
                " CASE WHEN started BETWEEN 0 AND {0} THEN started ELSE 0 END, greatest(position, 0),"
                " CASE WHEN {1} THEN floor(extract(epoch FROM seen))::bigint ELSE 0 END,"
                " CASE WHEN {1} THEN greatest(floor(extract(epoch FROM now() - seen)), 0)::bigint ELSE 0 END,"
                " CASE WHEN {1} AND started BETWEEN 0 AND {0} AND position >= 0 AND length(name) <= 255"
                " AND length(release) <= 64 THEN 0 ELSE 1 END,"
                // Nobody waits for a change that is further away than numbers go.
                " coalesce((SELECT greatest(floor(extract(epoch FROM now()))::bigint - c.at, 0)"
                " FROM mailgate.change_log c WHERE c.version = CASE WHEN m.position BETWEEN 0 AND {3} THEN"
                " m.position + 1 END ORDER BY c.seq LIMIT 1), 0),"
                " coalesce(records, 0), coalesce(exact, true), coalesce(from_ms, 0), coalesce(to_ms, 0),"
                " CASE WHEN ships THEN greatest(floor(extract(epoch FROM now() - greatest("
                " CASE WHEN started BETWEEN 0 AND extract(epoch FROM now()) THEN to_timestamp(started) END,"
                " (SELECT max(current) FROM mailgate.journal c WHERE c.gateway = name)))), 0)::bigint END"
                " FROM mailgate.member m LEFT JOIN (SELECT j.gateway, sum(l.records)::bigint AS records,"
                " bool_and(l.exact) AS exact, min(l.from_ms) AS from_ms, max(l.to_ms) AS to_ms"
                " FROM mailgate.missed l JOIN mailgate.journal j ON j.id = l.journal GROUP BY j.gateway) "
                "missed"
                " ON missed.gateway = name ORDER BY name LIMIT {2}",
                kLatestTime, "seen BETWEEN '1970-01-01Z' AND now() + interval '1 day'", kMostMembers + 1,
                std::numeric_limits<std::int64_t>::max() - 1),
            {}, soon());
        std::vector<Member> members;
        for (std::size_t row = 0; row < rows.size(); ++row)
            members.push_back({rows.text(row, 0), rows.text(row, 1), rows.number(row, 2), rows.number(row, 3),
                               rows.number(row, 4), rows.number(row, 5), rows.number(row, 7),
                               rows.number(row, 6) != 0, missedOf(rows, row, 8), true, std::nullopt,
                               rows.optionalNumber(row, 12)});
        return members;
    });
}

std::vector<FleetDrain> PostgresFleet::drains() {
    return attempt([&](Connection& connection) {
        // More, or longer ones, no gateway has written.
        const Rows rows = connection.query(
            fmt::format("SELECT upstream, server, CASE WHEN since BETWEEN 0 AND {} THEN since ELSE 0 END,"
                        " left(who, 500) FROM mailgate.drain WHERE length(upstream) <= 100"
                        " AND length(server) <= 100 ORDER BY upstream, server LIMIT 10000",
                        kLatestTime),
            {}, soon());
        std::vector<FleetDrain> drains;
        for (std::size_t row = 0; row < rows.size(); ++row)
            drains.push_back({rows.text(row, 0), rows.text(row, 1), rows.number(row, 2), rows.text(row, 3)});
        return drains;
    });
}

bool PostgresFleet::setDrain(const FleetDrain& drain, bool is_drained) {
    return attempt([&](Connection& connection) {
        connection.run(
            fmt::format("BEGIN ISOLATION LEVEL READ COMMITTED; {}; {}", kLockTimeout, kFrozenTimeout),
            soon());
        // First, so that who sees the new count sees the change too.
        connection.query("UPDATE mailgate.meta SET drains = drains + 1 WHERE id = 1", {},
                         steady_clock::now() + kLockAnswer);
        const Rows changed =
            is_drained ? connection.query(
                             "INSERT INTO mailgate.drain(upstream, server, since, who) VALUES ($1, $2, "
                             "$3::bigint, $4)"
                             " ON CONFLICT (upstream, server) DO UPDATE SET since = excluded.since, who = "
                             "excluded.who"
                             " RETURNING since",
                             {drain.upstream, drain.server, fmt::to_string(drain.since), drain.by}, soon())
                       : connection.query(
                             "DELETE FROM mailgate.drain WHERE upstream = $1 AND server = $2 RETURNING since",
                             {drain.upstream, drain.server}, soon());
        if (has_notify_) connection.query("SELECT pg_notify('mailgate', '')", {}, soon());
        commitKnowingly(connection, soon(),
                        "whether the order was taken is not known: mailgate fleet status shows it once the "
                        "database is back, and to give it again does no harm");
        return changed.size() > 0;
    });
}

std::vector<SealedTicketKey> PostgresFleet::ticketKeys(const std::string& secret, std::int64_t from,
                                                       std::int64_t to) {
    return attempt([&](Connection& connection) {
        // What is longer no gateway has written.
        const Rows rows = connection.query(
            "SELECT period, left(sealed, 1000) FROM mailgate.ticket_key WHERE secret = $1"
            " AND period BETWEEN $2::bigint AND $3::bigint ORDER BY period",
            {secret, fmt::to_string(from), fmt::to_string(to)}, soon());
        std::vector<SealedTicketKey> keys;
        for (std::size_t row = 0; row < rows.size(); ++row)
            keys.push_back({rows.number(row, 0), rows.text(row, 1)});
        return keys;
    });
}

void PostgresFleet::addTicketKeys(const std::string& secret, const std::vector<SealedTicketKey>& keys,
                                  std::int64_t oldest) {
    attempt([&](Connection& connection) {
        connection.query("DELETE FROM mailgate.ticket_key WHERE period < $1::bigint",
                         {fmt::to_string(oldest)}, soon());
        for (const SealedTicketKey& key : keys)
            connection.query(
                "INSERT INTO mailgate.ticket_key(secret, period, sealed) VALUES ($1, $2::bigint, $3)"
                " ON CONFLICT (secret, period) DO NOTHING",
                {secret, fmt::to_string(key.period), key.sealed}, soon());
    });
}

void PostgresFleet::wait(milliseconds at_most) {
    attempt([&](Connection& connection) { connection.awaitNotification(steady_clock::now() + at_most); });
}

FleetState PostgresFleet::lock() {
    return attempt([&](Connection& connection) {
        connection.run(
            fmt::format("BEGIN ISOLATION LEVEL READ COMMITTED; {}; {}", kLockTimeout, kFrozenTimeout),
            soon());
        try {
            FleetState state = readState(connection, " FOR UPDATE");
            locked_ = true;
            return state;
        } catch (const StoreError& error) {
            if (error.kind() != StoreError::Kind::Locked) throw;
            throw StoreError(error.kind(), fmt::format("the fleet's database {}: another gateway is changing "
                                                       "the rules, or somebody holds the row of "
                                                       "mailgate.meta (psql, an open transaction)",
                                                       info_.shown));
        }
    });
}

/// What is still there for the same network, listener, verdict and set goes: the gateway has lost it.
void PostgresFleet::makeRoom(Connection& connection, const SharedChanges& changes,
                             std::vector<SharedEntry>& entries) {
    constexpr std::size_t kAtOnce = 5'000;
    const std::string sql = fmt::format(
        "DELETE FROM mailgate.rule WHERE (network, listener, verdict, rule_set) IN (SELECT * FROM"
        " unnest($1::text[], $2::text[], $3::text[], $4::text[])) RETURNING {}",
        kRuleColumns);
    for (std::size_t from = 0; from < changes.rules.size(); from += kAtOnce) {
        const std::size_t to = std::min(from + kAtOnce, changes.rules.size());
        const auto texts = [&](std::string SharedRule::*text) {
            return arrayOf(changes.rules, from, to, [&](const SharedRule& rule) { return rule.*text; });
        };
        const Rows gone = connection.query(sql,
                                           {texts(&SharedRule::network), texts(&SharedRule::listener),
                                            texts(&SharedRule::verdict), texts(&SharedRule::set)},
                                           written());
        for (std::size_t row = 0; row < gone.size(); ++row)
            entries.push_back(removalOf(ruleOf(gone, row), changes));
    }
}

void PostgresFleet::writeRules(Connection& connection, const SharedChanges& changes,
                               std::vector<SharedEntry>& entries) {
    const auto ids = rulesIn(changes.entries);
    if (ids.empty()) return;
    connection.query("DELETE FROM mailgate.rule WHERE id = ANY($1::bigint[])", {arrayOf(ids)}, written());
    makeRoom(connection, changes, entries);
    std::string lines;
    for (const SharedRule& rule : changes.rules)
        lines += copyLineOf(rule);
    if (!lines.empty())
        connection.copy(fmt::format("COPY mailgate.rule ({}) FROM STDIN", kRuleColumns), lines,
                        write_answer_);
}

void PostgresFleet::writeSets(Connection& connection, const std::vector<SharedSet>& sets) {
    connection.query("DELETE FROM mailgate.rule_set", {}, written());
    std::string lines;
    for (const SharedSet& set : sets)
        lines += fmt::format("{}\t{}\t{}\n", copyField(set.name), copyField(set.note),
                             copyField(set.expires_after));
    if (!lines.empty())
        connection.copy("COPY mailgate.rule_set (name, note, expires_after) FROM STDIN", lines,
                        write_answer_);
}

/// Returns what made room.
std::vector<SharedEntry> PostgresFleet::write(Connection& connection, const SharedChanges& changes,
                                              const std::string& gateway) {
    std::vector<SharedEntry> entries;
    writeRules(connection, changes, entries);
    auto made_room = entries;
    entries.insert(entries.end(), changes.entries.begin(), changes.entries.end());
    if (changes.sets) writeSets(connection, *changes.sets);
    std::string log;
    for (std::size_t seq = 0; seq < entries.size(); ++seq)
        log += copyLineOf(entries[seq], changes, seq, gateway);
    if (!log.empty())
        connection.copy(
            "COPY mailgate.change_log (version, seq, at, who, gateway, action, rule_id, before, after,"
            " made_by, made_at, token) FROM STDIN",
            log, write_answer_);
    connection.query(
        "UPDATE mailgate.meta SET version = $1::bigint, next_id = $2::bigint, token = $3 WHERE id = 1",
        {fmt::to_string(changes.version), fmt::to_string(changes.next_id), changes.token}, written());
    if (has_notify_)
        connection.query("SELECT pg_notify('mailgate', $1)", {fmt::to_string(changes.version)}, written());
    return made_room;
}

std::vector<SharedEntry> PostgresFleet::commit(const SharedChanges& changes, const std::string& gateway) {
    if (!locked_) throw StoreError(StoreError::Kind::Other, "the fleet's lock was lost: nothing was changed");
    if (changes.next_id > kMostNumber)
        throw StoreError(
            StoreError::Kind::Other,
            fmt::format("nothing was changed: numbers of rules end at {}, and so do the fleet's: remove the "
                        "rules with the greatest ones (mailgate access remove), and let next_id in the "
                        "database's mailgate.meta be one more than the greatest that is left",
                        kMostNumber));
    write_answer_ = writeAnswer(changes.entries.size());
    return attempt([&](Connection& connection) {
        std::vector<SharedEntry> made_room;
        try {
            made_room = write(connection, changes, gateway);
        } catch (const StoreError& error) {
            throw StoreError(error.kind(), fmt::format("nothing was changed: {}", error.what()));
        }
        commitKnowingly(
            connection, written(),
            fmt::format("whether the change was made is not known: mailgate access history shows it "
                        "once the database is back, whose mailgate.change_log then has it as version "
                        "{} with the token {}",
                        changes.version, changes.token));
        locked_ = false;
        return made_room;
    });
}

/// Where the answer is lost it may have been done all the same.
void PostgresFleet::commitKnowingly(Connection& connection, Deadline deadline,
                                    const std::string& where_shown) {
    try {
        connection.run("COMMIT", deadline);
    } catch (const StoreError& error) {
        if (!connection.broken()) throw;
        throw StoreError(StoreError::Kind::Unknown, fmt::format("{}; {}", error.what(), where_shown));
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
    return postgres::migrate(*connection, info_.shown, grant,
                             [] { return steady_clock::now() + kMigrationAnswer; });
}

}  // namespace

std::unique_ptr<FleetStore> openFleet(const std::string& url, const FleetStore::Patience& patience,
                                      bool notifies) {
    return std::make_unique<PostgresFleet>(url, patience, notifies);
}

}  // namespace mailgate::store::postgres
