// SPDX-License-Identifier: Apache-2.0
#include "store/rules/store.h"

#include "protocols/values/text.h"
#include "store/rules/schema.h"
#include "store/sqlite/database.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <utility>

namespace mailgate::store {

namespace {

using sqlite::Database;
using sqlite::RawStatement;

constexpr std::string_view kProgram = "program ";

bool isProgram(std::string_view who) noexcept {
    return who.starts_with(kProgram);
}

bool mayCreate(AccessStore::Use use) noexcept {
    return use != AccessStore::Use::Resume && use != AccessStore::Use::Inspect;
}

bool administers(AccessStore::Use use) noexcept {
    return use == AccessStore::Use::Administer || use == AccessStore::Use::Rescue;
}

sqlite::OpenOptions optionsFor(AccessStore::Use use, std::chrono::milliseconds lock_timeout) {
    return {mayCreate(use), administers(use) ? sqlite::Durability::PowerLoss : sqlite::Durability::Process,
            lock_timeout};
}

Network readNetwork(const Database& database, std::int64_t id, std::string_view text) {
    auto parsed = parseNetwork(text);
    if (auto* error = std::get_if<NetworkError>(&parsed))
        throw StoreError(StoreError::Kind::BadRow,
                         fmt::format("{}: table access_rule, row id {}, column network: {}", database.path(),
                                     id, error->message));
    return std::get<Network>(parsed);
}

std::optional<UnixSeconds> optionalNumber(const RawStatement& row, int column) {
    return row.isNull(column) ? std::nullopt : std::optional(row.number(column));
}

ClientLimits readLimits(const RawStatement& row, int column) {
    const auto limit = [](std::optional<std::int64_t> number) {
        return number ? std::optional(static_cast<std::uint32_t>(*number)) : std::nullopt;
    };
    return {limit(optionalNumber(row, column)), limit(optionalNumber(row, column + 1))};
}

constexpr std::string_view kAllRules =
    "SELECT id, network, verdict, listener, note, created_at, created_by, expires_at, hits, last_hit_at,"
    " client_sessions, client_rate FROM access_rule";

AccessRule readRule(const Database& database, const RawStatement& row) {
    AccessRule rule;
    rule.id = row.number(0);
    rule.network = readNetwork(database, rule.id, row.text(1));
    rule.verdict = row.text(2) == "allow" ? Verdict::Allow : Verdict::Deny;
    rule.listener = row.text(3);
    rule.note = row.text(4);
    rule.created_at = row.number(5);
    rule.created_by = row.text(6);
    rule.expires_at = optionalNumber(row, 7);
    rule.hits = row.number(8);
    rule.last_hit_at = optionalNumber(row, 9);
    rule.limits = readLimits(row, 10);
    return rule;
}

/// Puts rules one by one; lives inside one transaction.
class Putter {
  public:
    Putter(Database& database, std::string_view who)
        : who_(who),
          find_(database,
                "SELECT id, note IS ?4 AND expires_at IS ?5 AND client_sessions IS ?6 AND client_rate IS ?7"
                " FROM access_rule"
                " WHERE network = ?1 AND listener = ?2 AND verdict = ?3"),
          change_(database,
                  "UPDATE access_rule SET note = ?4, expires_at = ?5, client_sessions = ?6, client_rate = ?7"
                  " WHERE network = ?1 AND listener = ?2 AND verdict = ?3"),
          add_(database,
               "INSERT INTO access_rule(network, listener, verdict, note, expires_at, client_sessions, "
               "client_rate,"
               " created_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING id") {}

    AccessStore::PutResult put(const AccessRule& rule) {
        const std::string network = rule.network.toString();
        bind(find_, rule, network);
        if (find_.step()) {
            const std::int64_t id = find_.number(0);
            if (find_.number(1) != 0) return {AccessStore::PutKind::Unchanged, id};
            bind(change_, rule, network);
            change_.step();
            return {AccessStore::PutKind::Changed, id};
        }
        bind(add_, rule, network);
        add_.bind(8, who_);
        add_.step();
        const std::int64_t id = add_.number(0);
        add_.step();
        return {AccessStore::PutKind::Added, id};
    }

  private:
    static void bind(RawStatement& statement, const AccessRule& rule, std::string_view network) {
        statement.reset();
        statement.bind(1, network);
        statement.bind(2, std::string_view(rule.listener));
        statement.bind(3, toString(rule.verdict));
        statement.bind(4, std::string_view(rule.note));
        bind(statement, 5, rule.expires_at);
        bind(statement, 6, rule.limits.sessions);
        bind(statement, 7, rule.limits.per_minute);
    }

    template <typename Number>
    static void bind(RawStatement& statement, int place, const std::optional<Number>& number) {
        if (number)
            statement.bind(place, static_cast<std::int64_t>(*number));
        else
            statement.bindNull(place);
    }

    std::string_view who_;
    RawStatement find_;
    RawStatement change_;
    RawStatement add_;
};

/// Finds the rule with the network, listener and verdict of another; lives inside one transaction.
class Finder {
  public:
    explicit Finder(Database& database)
        : database_(database),
          find_(database,
                fmt::format("{} WHERE network = ?1 AND listener = ?2 AND verdict = ?3", kAllRules)) {}

    std::optional<AccessRule> find(const AccessRule& like) {
        const std::string network = like.network.toString();
        find_.reset();
        find_.bind(1, network);
        find_.bind(2, std::string_view(like.listener));
        find_.bind(3, toString(like.verdict));
        std::optional<AccessRule> found;
        if (find_.step()) found = readRule(database_, find_);
        find_.reset();
        return found;
    }

  private:
    Database& database_;
    RawStatement find_;
};

/// The network of an audit line ("deny 192.0.2.0/24 ..."); none when the row held something else.
std::optional<Network> networkOf(std::string_view line) {
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    line.remove_prefix(space + 1);
    const auto parsed = parseNetwork(line.substr(0, line.find(' ')));
    if (const auto* network = std::get_if<Network>(&parsed)) return *network;
    return std::nullopt;
}

bool touches(std::string_view line, const Network& asked) {
    const auto network = networkOf(line);
    return network && (network->contains(asked) || asked.contains(*network));
}

}  // namespace

struct AccessStore::Impl {
    Impl(const std::string& url, Use use, std::chrono::milliseconds lock_timeout)
        : database(sqlite::pathOf(url), optionsFor(use, lock_timeout)),
          identity(sqlite::identityOf(database.path())),
          written(sqlite::lastWritten(database.path())) {}

    /// A transaction whose audit rows say `who`.
    void change(std::string_view who, const std::function<void()>& work) {
        database.transaction([&] {
            act(who);
            work();
            act("");
        });
    }

    void act(std::string_view who) {
        RawStatement name(database, "UPDATE access_meta SET acting = ?");
        name.bind(1, who);
        name.step();
    }

    std::vector<PutResult> putAll(std::span<const AccessRule> rules, std::string_view who) {
        std::vector<PutResult> results;
        results.reserve(rules.size());
        Putter putter(database, who);
        for (const AccessRule& rule : rules)
            results.push_back(putter.put(rule));
        return results;
    }

    void forEach(const std::function<void(const AccessRule&)>& visit) {
        RawStatement rows(database, fmt::format("{} ORDER BY id", kAllRules));
        while (rows.step())
            visit(readRule(database, rows));
    }

    void removeIds(const std::vector<std::int64_t>& ids) {
        RawStatement remove(database, "DELETE FROM access_rule WHERE id = ?");
        for (const std::int64_t id : ids) {
            remove.reset();
            remove.bind(1, id);
            remove.step();
        }
    }

    Database database;
    sqlite::FileIdentity identity;
    std::int64_t written;  ///< sqlite::lastWritten when we looked
};

std::string programName(std::string_view program) {
    return fmt::format("{}{}", kProgram, program);
}

bool examineDatabase(const std::string& url) {
    return sqlite::examine(sqlite::pathOf(url), {});
}

AccessStore::AccessStore(const std::string& url, Use use, std::chrono::milliseconds lock_timeout)
    : impl_(std::make_unique<Impl>(url, use, lock_timeout)) {
    if (use == Use::Inspect)
        schema::requireCurrent(impl_->database);
    else
        schema::migrate(impl_->database, mayCreate(use));
    if (use == Use::Serve || use == Use::Resume) schema::quickCheck(impl_->database);
    if (use != Use::Rescue) checkTriggers();
}

AccessStore::~AccessStore() = default;

const std::string& AccessStore::path() const noexcept {
    return impl_->database.path();
}

void AccessStore::forEachRule(const std::function<void(const AccessRule&)>& visit) {
    impl_->database.snapshot([&] { impl_->forEach(visit); });
}

std::shared_ptr<const AccessTable> AccessStore::load(std::span<const std::string> listeners) {
    AccessTable::Builder builder(listeners);
    std::int64_t version = 0;
    impl_->database.snapshot([&] {
        version = rulesVersion();
        RawStatement rows(impl_->database,
                          "SELECT id, network, verdict, listener, expires_at, client_sessions, client_rate"
                          " FROM access_rule");
        while (rows.step()) {
            const std::int64_t id = rows.number(0);
            builder.add(id, readNetwork(impl_->database, id, rows.text(1)),
                        rows.text(2) == "allow" ? Verdict::Allow : Verdict::Deny, rows.text(3),
                        optionalNumber(rows, 4), readLimits(rows, 5));
        }
    });
    return builder.build(version);
}

std::map<std::string, std::size_t> AccessStore::ruleListeners() {
    std::map<std::string, std::size_t> listeners;
    RawStatement rows(impl_->database,
                      "SELECT listener, count(*) FROM access_rule WHERE listener <> '' GROUP BY listener");
    while (rows.step())
        listeners.emplace(rows.text(0), static_cast<std::size_t>(rows.number(1)));
    return listeners;
}

void AccessStore::checkTriggers() {
    schema::checkTriggers(impl_->database);
}

std::int64_t AccessStore::rulesVersion() {
    return impl_->database.number("SELECT rules_version FROM access_meta");
}

std::int64_t AccessStore::dataVersion() {
    return impl_->database.number("PRAGMA data_version");
}

bool AccessStore::fileReplaced() const {
    return sqlite::identityOf(impl_->database.path()) != impl_->identity;
}

bool AccessStore::fileWritten() const {
    return sqlite::lastWritten(impl_->database.path()) != impl_->written;
}

std::vector<AccessStore::PutResult> AccessStore::put(std::span<const AccessRule> rules,
                                                     std::string_view who) {
    std::vector<PutResult> results;
    impl_->change(who, [&] { results = impl_->putAll(rules, who); });
    return results;
}

std::vector<AccessStore::EditResult> AccessStore::edit(std::span<const AccessRule> rules,
                                                       const Change& change, std::string_view who) {
    std::vector<EditResult> results;
    impl_->change(who, [&] {
        Finder finder(impl_->database);
        Putter putter(impl_->database, who);
        const UnixSeconds now = impl_->database.number("SELECT unixepoch()");
        for (const AccessRule& wanted : rules) {
            AccessRule rule = wanted;
            bool changed = false;
            if (auto found = finder.find(wanted)) {
                const bool gone = found->expires_at && *found->expires_at <= now;
                const bool others = found->created_by != who;
                if (!gone && others && isProgram(who)) {
                    results.push_back({PutKind::Kept, std::move(*found)});
                    continue;
                }
                if (gone || (others && isProgram(found->created_by))) {
                    impl_->removeIds({found->id});
                    changed = !gone;
                } else {
                    rule = std::move(*found);
                }
            }
            change(rule, wanted);
            const PutResult put = putter.put(rule);
            rule.id = put.id;
            results.push_back({changed ? PutKind::Changed : put.kind, std::move(rule)});
        }
    });
    return results;
}

AccessStore::ReplaceResult AccessStore::replaceAll(std::span<const AccessRule> rules, std::string_view who) {
    ReplaceResult result;
    impl_->change(who, [&] {
        result.put = impl_->putAll(rules, who);
        std::vector<std::int64_t> kept;
        for (const PutResult& put : result.put)
            kept.push_back(put.id);
        std::sort(kept.begin(), kept.end());
        std::vector<std::int64_t> gone;
        // Not through forEach(): a row that cannot be read must not stand in the way of its removal.
        RawStatement ids(impl_->database, "SELECT id FROM access_rule");
        while (ids.step())
            if (!std::binary_search(kept.begin(), kept.end(), ids.number(0))) gone.push_back(ids.number(0));
        impl_->removeIds(gone);
        result.removed = gone.size();
    });
    return result;
}

AccessStore::RemoveResult AccessStore::remove(std::span<const Network> networks,
                                              std::span<const std::string> listeners, std::string_view who) {
    RemoveResult result;
    impl_->change(who, [&] {
        std::vector<bool> found(networks.size());
        std::vector<std::int64_t> ids;
        // By value and not by text: the sqlite3 shell may have written 192.0.2.1/32 or 2001:DB8::/32.
        impl_->forEach([&](const AccessRule& rule) {
            const auto network = std::find(networks.begin(), networks.end(), rule.network);
            if (network == networks.end()) return;
            if (isProgram(who) && rule.created_by != who) return;
            if (!listeners.empty() &&
                std::find(listeners.begin(), listeners.end(), rule.listener) == listeners.end())
                return;
            found[static_cast<std::size_t>(network - networks.begin())] = true;
            ids.push_back(rule.id);
            result.removed.push_back(rule);
        });
        for (std::size_t at = 0; at < networks.size(); ++at)
            if (!found[at]) result.missing.push_back(networks[at]);
        if (result.missing.empty())
            impl_->removeIds(ids);
        else
            result.removed.clear();
    });
    return result;
}

AccessStore::RenameResult AccessStore::renameListener(const std::string& from, const std::string& to,
                                                      std::string_view who) {
    RenameResult result;
    impl_->change(who, [&] {
        Finder finder(impl_->database);
        impl_->forEach([&](const AccessRule& rule) {
            if (rule.listener != from) return;
            ++result.renamed;
            AccessRule renamed = rule;
            renamed.listener = to;
            if (auto found = finder.find(renamed)) result.in_the_way.push_back(std::move(*found));
        });
        if (!result.in_the_way.empty()) {
            result.renamed = 0;
            return;
        }
        RawStatement rename(impl_->database, "UPDATE access_rule SET listener = ?2 WHERE listener = ?1");
        rename.bind(1, std::string_view(from));
        rename.bind(2, std::string_view(to));
        rename.step();
    });
    return result;
}

void AccessStore::addHits(std::span<const HitCount> counts) {
    impl_->database.transaction([&] {
        RawStatement add(
            impl_->database,
            "UPDATE access_rule SET hits = hits + ?2, last_hit_at = max(coalesce(last_hit_at, 0), ?3)"
            " WHERE id = ?1");
        for (const HitCount& count : counts) {
            add.reset();
            add.bind(1, count.rule_id);
            add.bind(2, count.hits);
            add.bind(3, count.last);
            add.step();
        }
    });
}

void AccessStore::checkpoint() noexcept {
    sqlite3_wal_checkpoint_v2(impl_->database.handle(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr,
                              nullptr);
    impl_->written = sqlite::lastWritten(impl_->database.path());
}

std::vector<AccessStore::AuditEntry> AccessStore::history(const std::optional<Network>& network) {
    std::vector<AuditEntry> entries;
    RawStatement rows(impl_->database,
                      "SELECT id, at, who, action, rule_id, before, after FROM access_audit ORDER BY id");
    while (rows.step()) {
        if (network && !touches(rows.text(5), *network) && !touches(rows.text(6), *network)) continue;
        entries.push_back({rows.number(0), rows.number(1), std::string(rows.text(2)),
                           std::string(rows.text(3)), rows.number(4), std::string(rows.text(5)),
                           std::string(rows.text(6))});
    }
    return entries;
}

}  // namespace mailgate::store
