// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/replica.h"

#include "protocols/values/network.h"
#include "protocols/values/text.h"
#include "store/rules/import_export.h"
#include "store/rules/sqlite/bulk.h"
#include "store/rules/sqlite/rows.h"
#include "store/rules/sqlite/trail_line.h"
#include "store/rules/store.h"
#include "store/store_error.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <set>
#include <utility>
#include <variant>

namespace mailgate::store::replica {

namespace {

using rows::optionalNumber;
using rows::WithoutTriggers;
using sqlite::Database;
using sqlite::RawStatement;

constexpr std::string_view kRuleRow =
    "SELECT id, network, verdict, listener, rule_set, note, owner, ticket, reply, created_at, created_by, "
    "expires_at,"
    " client_sessions, client_rate FROM access_rule";

SharedRule sharedRule(const RawStatement& row) {
    SharedRule rule;
    rule.id = row.number(0);
    rule.network = row.text(1);
    rule.verdict = row.text(2);
    rule.listener = row.text(3);
    rule.set = row.text(4);
    rule.note = row.text(5);
    rule.owner = row.text(6);
    rule.ticket = row.text(7);
    rule.reply = row.text(8);
    rule.created_at = row.number(9);
    rule.created_by = row.text(10);
    rule.expires_at = optionalNumber(row, 11);
    rule.client_sessions = optionalNumber(row, 12);
    rule.client_rate = optionalNumber(row, 13);
    return rule;
}

void bindOptional(RawStatement& statement, int position, const std::optional<std::int64_t>& value) {
    if (value)
        statement.bind(position, *value);
    else
        statement.bindNull(position);
}

/// One statement for many numbers.
class ForEach {
  public:
    ForEach(Database& database, std::string_view sql) : statement_(database, sql) {}
    void operator()(std::int64_t first) {
        statement_.reset();
        statement_.bind(1, first);
        statement_.step();
    }
    void operator()(std::int64_t first, std::int64_t second) {
        statement_.reset();
        statement_.bind(1, first);
        statement_.bind(2, second);
        statement_.step();
    }

  private:
    RawStatement statement_;
};

std::int64_t endOfTrailIn(Database& database) {
    return database.number("SELECT coalesce(max(id), 0) FROM access_audit");
}

std::int64_t trailSeen(Database& database) {
    return database.number("SELECT trail_seen FROM fleet_state");
}

void seeTrail(Database& database) {
    database.run("UPDATE fleet_state SET trail_seen = (SELECT coalesce(max(id), 0) FROM access_audit)");
}

std::int64_t lastNumber(Database& database, std::string_view table) {
    return database.number(fmt::format("SELECT seq FROM sqlite_sequence WHERE name = '{}'", table));
}

/// The next rule gets a greater number than that.
void raiseNumbers(Database& database, std::int64_t to) {
    database.run(
        fmt::format("INSERT INTO sqlite_sequence(name, seq) SELECT 'access_rule', 0"
                    " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'access_rule');"
                    "UPDATE sqlite_sequence SET seq = max(seq, {}) WHERE name = 'access_rule'",
                    to));
}

void raiseVersion(Database& database) {
    database.run("UPDATE access_meta SET rules_version = rules_version + 1");
}

bool isMarked(Database& database, std::int64_t id, std::string_view what) {
    return database.number(fmt::format("SELECT count(*) FROM fleet_local WHERE rule_id = {} AND what = '{}'",
                                       id, what)) > 0;
}

bool isOwn(Database& database, std::int64_t id) {
    return isMarked(database, id, "added");
}

/// Notes what has been changed in the file for itself. That expired rules were removed is nothing that only it does.
void absorb(Database& database) {
    RawStatement entries(
        database,
        // 0 is what lines on a set's defaults have; and a rule to which the shell has given it.
        "SELECT action, rule_id FROM access_audit WHERE id > ?1 AND (rule_id <> 0"
        " OR coalesce(after, before) NOT LIKE 'set %')"
        " AND action IN ('add', 'change', 'remove') AND who <> ?2 ORDER BY id");
    const std::string upkeep = programName("mailgate");
    entries.bind(1, trailSeen(database));
    entries.bind(2, std::string_view(upkeep));
    ForEach added(database, "INSERT OR REPLACE INTO fleet_local(rule_id, what) VALUES (?1, 'added')");
    ForEach changed(database, "INSERT OR IGNORE INTO fleet_local(rule_id, what) VALUES (?1, 'changed')");
    ForEach gone(database, "DELETE FROM fleet_local WHERE rule_id = ?1 AND what = 'added'");
    while (entries.step()) {
        const std::int64_t id = entries.number(1);
        const bool own = isOwn(database, id);
        if (entries.text(0) == "add")
            added(id);
        else if (own && entries.text(0) == "remove")
            gone(id);
        else
            changed(id);
    }
    entries.reset();
    database.run(
        "DELETE FROM fleet_local WHERE what = 'added' AND rule_id NOT IN (SELECT id FROM access_rule)");
    seeTrail(database);
}

/// What the table's constraints do not say. The file counts on from its rules' numbers: one that nobody can have reached would leave it
/// no more.
bool isReadable(const SharedRule& rule) {
    constexpr std::int64_t kMost = std::int64_t{1} << 53;
    if (rule.id <= 0 || rule.id > kMost) return false;
    if (isRuleName(rule.network)) return std::holds_alternative<std::string>(rows::nameOfRow(rule.network));
    return std::holds_alternative<Network>(parseNetwork(rule.network));
}

/// WithoutTriggers, as nothing of the rule changes.
void numberAnew(Database& database, std::int64_t id, std::int64_t to) {
    database.run(
        fmt::format("UPDATE access_rule SET id = {0} WHERE id = {1};"
                    "UPDATE access_name SET rule_id = {0} WHERE rule_id = {1};"
                    "UPDATE fleet_local SET rule_id = {0} WHERE rule_id = {1}",
                    to, id));
}

/// One of the file's own, whose number the fleet has for another rule, gets one that no rule has had: what is kept of rules that are
/// gone is kept by their numbers.
void giveWay(Database& database, std::int64_t id) {
    const std::int64_t greatest = database.number("SELECT max(id) FROM access_rule");
    raiseNumbers(database, std::max(greatest, lastNumber(database, "access_rule")) + 1);
    numberAnew(database, id, lastNumber(database, "access_rule"));
}

/// The file's own rules with numbers that no command gives get others, so that those that come have some: the fleet counts on from the
/// greatest one.
void comeDown(Database& database, std::int64_t next_id) {
    const std::int64_t last =
        database.number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'access_rule'");
    std::int64_t greatest = isFarBeyond(last, next_id) ? next_id - 1 : std::max(last, next_id - 1);
    std::vector<std::int64_t> odd;
    RawStatement ids(database, "SELECT id FROM access_rule WHERE id < 1 OR id > ?1 ORDER BY id");
    ids.bind(1, greatest);
    while (ids.step()) {
        const std::int64_t id = ids.number(0);
        if (id >= 1 && !isFarBeyond(id, next_id))
            greatest = id;
        else if (isOwn(database, id))
            odd.push_back(id);
    }
    ids.reset();
    const WithoutTriggers quiet(database);
    for (const std::int64_t id : odd)
        numberAnew(database, id, ++greatest);
    if (odd.empty() && !isFarBeyond(last, next_id)) return;
    database.run(fmt::format("UPDATE sqlite_sequence SET seq = {} WHERE name = 'access_rule'", greatest));
    if (!odd.empty()) raiseVersion(database);
}

std::string trailLine(const SharedRule& rule) {
    std::string line;
    rows::appendTrailLine(line, {.verdict = rule.verdict,
                                 .network = rule.network,
                                 .set = rule.set,
                                 .listener = rule.listener,
                                 .expires_at = rule.expires_at,
                                 .client_sessions = rule.client_sessions,
                                 .client_rate = rule.client_rate,
                                 .reply = rule.reply,
                                 .owner = rule.owner,
                                 .ticket = rule.ticket,
                                 .note = rule.note});
    return line;
}

/// The rules concerned go, but for how often they were used; what is there of the file's own makes room.
class Application {
  public:
    explicit Application(Database& database)
        : database_(database),
          hits_(database, "SELECT hits, last_hit_at FROM access_rule WHERE id = ?"),
          find_(database,
                fmt::format("{} WHERE network = ?1 AND listener = ?2 AND verdict = ?3 AND rule_set = ?4",
                            kRuleRow)),
          remove_(database, "DELETE FROM access_rule WHERE id = ?1"),
          unmark_(database, "DELETE FROM fleet_local WHERE rule_id = ?1"),
          differs_(database, "INSERT OR IGNORE INTO fleet_local(rule_id, what) VALUES (?1, 'changed')"),
          put_(database,
               "INSERT OR IGNORE INTO access_rule(id, network, verdict, listener, rule_set, note, owner, "
               "ticket, reply,"
               " created_at, created_by, expires_at, client_sessions, client_rate, hits, last_hit_at)"
               " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)") {}

    void take(std::int64_t id) {
        if (isOwn(database_, id)) return giveWay(database_, id);
        hits_.reset();
        hits_.bind(1, id);
        if (hits_.step()) used_.insert_or_assign(id, std::pair(hits_.number(0), optionalNumber(hits_, 1)));
        hits_.reset();
        remove_(id);
        unmark_(id);
    }

    /// False: it cannot be read, and is not put; nor does anything make room for it.
    bool put(const SharedRule& rule) {
        if (!isReadable(rule)) return false;
        const auto saved = [&](const char* what) { database_.run(std::string(what) + " putting_rule"); };
        find_.reset();
        find_.bind(1, std::string_view(rule.network));
        find_.bind(2, std::string_view(rule.listener));
        find_.bind(3, std::string_view(rule.verdict));
        find_.bind(4, std::string_view(rule.set));
        const auto other = find_.step() ? std::optional(sharedRule(find_)) : std::nullopt;
        find_.reset();
        if (other) {
            saved("SAVEPOINT");
            // One of the fleet's is there by what the shell has made of it: the fleet still has it.
            if (isOwn(database_, other->id))
                unmark_(other->id);
            else
                differs_(other->id);
            remove_(other->id);
        }
        put_.reset();
        put_.bind(1, rule.id);
        int position = 2;
        for (const std::string* text : {&rule.network, &rule.verdict, &rule.listener, &rule.set, &rule.note,
                                        &rule.owner, &rule.ticket, &rule.reply})
            put_.bind(position++, std::string_view(*text));
        put_.bind(10, rule.created_at);
        put_.bind(11, std::string_view(rule.created_by));
        bindOptional(put_, 12, rule.expires_at);
        bindOptional(put_, 13, rule.client_sessions);
        bindOptional(put_, 14, rule.client_rate);
        const auto used = used_.find(rule.id);
        put_.bind(15, used == used_.end() ? 0 : used->second.first);
        bindOptional(put_, 16, used == used_.end() ? std::nullopt : used->second.second);
        put_.step();
        const bool is_put = sqlite3_changes(database_.handle()) == 1;
        put_.reset();
        if (other) {
            if (!is_put) saved("ROLLBACK TO");
            saved("RELEASE");
        }
        if (other && is_put) displaced_.push_back({*other, rule});
        return is_put;
    }

    struct Displaced {
        SharedRule here, fleet;
    };
    /// What has made room for the fleet's.
    const std::vector<Displaced>& displaced() const noexcept { return displaced_; }

  private:
    Database& database_;
    RawStatement hits_, find_;
    ForEach remove_, unmark_, differs_;
    RawStatement put_;
    std::map<std::int64_t, std::pair<std::int64_t, std::optional<std::int64_t>>> used_;
    std::vector<Displaced> displaced_;
};

/// As they are in the fleet's log; what was done at once has one number here, or is a part of `part_of`.
void writeEntries(Database& database, const std::vector<SharedEntry>& entries,
                  std::optional<std::int64_t> part_of = std::nullopt) {
    RawStatement write(
        database,
        "INSERT INTO access_audit(id, at, who, action, rule_id, before, after, change, made_by, made_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5, nullif(?6, ''), nullif(?7, ''), ?8, nullif(?9, ''), ?10)");
    std::int64_t id = lastNumber(database, "access_audit");
    std::int64_t change = 0, version = -1;
    for (const SharedEntry& entry : entries) {
        ++id;
        if (std::exchange(version, entry.version) != entry.version) change = part_of.value_or(id);
        write.reset();
        write.bind(1, id);
        write.bind(2, entry.at);
        write.bind(3, std::string_view(entry.who));
        write.bind(4, std::string_view(entry.action));
        write.bind(5, entry.rule_id);
        write.bind(6, std::string_view(entry.before));
        write.bind(7, std::string_view(entry.after));
        write.bind(8, change);
        write.bind(9, std::string_view(entry.made_by));
        bindOptional(write, 10, entry.made_by.empty() ? std::nullopt : std::optional(entry.made_at));
        write.step();
    }
}

/// What was made of rules here alone, and is lost by `changes`; made before these are applied.
class Losses {
  public:
    Losses(Database& database, const SharedChanges& changes, const std::vector<SharedEntry>& entries)
        : changes_(changes) {
        for (const SharedEntry& entry : entries)
            if (entry.rule_id != 0) first_.try_emplace(entry.rule_id, &entry);
        RawStatement changed(database, "SELECT rule_id FROM fleet_local WHERE what = 'changed'");
        RawStatement row(database, fmt::format("{} WHERE id = ?", kRuleRow));
        while (changed.step()) {
            const std::int64_t id = changed.number(0);
            if (!first_.contains(id)) continue;
            row.reset();
            row.bind(1, id);
            here_.emplace(id, row.step() ? trailLine(sharedRule(row)) : std::string());
        }
    }

    /// Afterwards. Tells of them in the trail, where what the fleet's says of these rules goes on with how they were there.
    std::vector<Applied::Lost> tell(Database& database,
                                    const std::vector<Application::Displaced>& displaced) {
        std::map<std::int64_t, std::string> there;
        for (const SharedRule& rule : changes_.rules)
            if (here_.contains(rule.id)) there.emplace(rule.id, trailLine(rule));
        for (const auto& [id, here] : here_) {
            const SharedEntry& first = *first_.at(id);
            const std::string& fleet = there[id];
            // Where nobody knows what the fleet had, what its change tells of is what was here.
            if (here == fleet || (here == first.before && !changes_.sums_up)) continue;
            lost_.push_back({id, first.who, here, fleet});
            if (here != first.before) enter(first, id, here, first.before);
        }
        for (const Application::Displaced& one : displaced) {
            const std::string here = trailLine(one.here), fleet = trailLine(one.fleet);
            if (here == fleet) continue;
            const SharedEntry& first = *first_.at(one.fleet.id);
            const bool was_over =
                one.here.expires_at && *one.here.expires_at <= database.number("SELECT unixepoch()");
            if (!was_over) lost_.push_back({one.here.id, first.who, here, fleet});
            enter(first, one.here.id, here, "");
        }
        writeEntries(database, entries_);
        return std::move(lost_);
    }

  private:
    void enter(const SharedEntry& like, std::int64_t id, const std::string& before,
               const std::string& after) {
        SharedEntry entry{.version = like.version,
                          .at = like.at,
                          .who = like.who,
                          .action = before.empty()  ? "add"
                                    : after.empty() ? "remove"
                                                    : "change",
                          .rule_id = id};
        entry.before = before;
        entry.after = after;
        entries_.push_back(std::move(entry));
    }

    const SharedChanges& changes_;
    std::map<std::int64_t, const SharedEntry*> first_;  ///< of each rule concerned
    std::map<std::int64_t, std::string> here_;          ///< of those, what the file had made of them
    std::vector<Applied::Lost> lost_;
    std::vector<SharedEntry> entries_;
};

/// What is changed here can only be one of these.
void forgetAllBut(Database& database, const std::vector<SharedRule>& rules) {
    std::set<std::int64_t> there;
    for (const SharedRule& rule : rules)
        there.insert(rule.id);
    std::vector<std::int64_t> gone;
    RawStatement changed(database, "SELECT rule_id FROM fleet_local WHERE what = 'changed'");
    while (changed.step())
        if (!there.contains(changed.number(0))) gone.push_back(changed.number(0));
    forget(database, gone);
}

/// The names of the sets that entries of the trail are about.
std::set<std::string> setsIn(const std::vector<SharedEntry>& entries) {
    std::set<std::string> names;
    for (const SharedEntry& entry : entries)
        if (entry.rule_id == 0)
            if (const auto set = parseTrailSet(entry.after.empty() ? entry.before : entry.after))
                names.insert(set->first);
    return names;
}

std::vector<SharedSet> readSets(Database& database) {
    std::vector<SharedSet> sets;
    RawStatement rows(database,
                      "SELECT name, note, expires_after FROM access_set WHERE name <> 'here' ORDER BY name");
    while (rows.step())
        sets.push_back({std::string(rows.text(0)), std::string(rows.text(1)), optionalNumber(rows, 2)});
    return sets;
}

/// Of those with these names; others that the sqlite3 shell has made stay. `refused`: which the file cannot have.
void writeSets(Database& database, const std::vector<SharedSet>& sets, const std::set<std::string>& names,
               std::vector<std::string>& refused) {
    RawStatement remove(database, "DELETE FROM access_set WHERE name = ?1 AND name <> 'here'");
    for (const std::string& name : names) {
        remove.reset();
        remove.bind(1, std::string_view(name));
        remove.step();
    }
    RawStatement write(database,
                       "INSERT OR IGNORE INTO access_set(name, note, expires_after) VALUES (?1, ?2, ?3)");
    for (const SharedSet& set : sets) {
        if (!names.contains(set.name)) continue;
        write.reset();
        write.bind(1, std::string_view(set.name));
        write.bind(2, std::string_view(set.note));
        bindOptional(write, 3, set.expires_after);
        write.step();
        if (sqlite3_changes(database.handle()) != 1)
            refused.push_back(fmt::format("the defaults of set {}", printable(set.name)));
    }
}

[[noreturn]] void failOwnSet() {
    throw StoreError(
        StoreError::Kind::BadInput,
        fmt::format("the set \"{}\" is each gateway's own, not the fleet's: --here puts rules into it",
                    kHereSet));
}

/// What would be written is a change of what the fleet does not have.
[[noreturn]] void failChangedHere(std::int64_t id) {
    throw StoreError(
        StoreError::Kind::Other,
        fmt::format(
            "rule {} was changed on this gateway alone, with the sqlite3 shell or before, and is another one "
            "in the fleet: mailgate fleet push --prefer fleet takes that, --prefer here gives it this one",
            id));
}

SharedEntry entryOf(const RawStatement& row) {
    SharedEntry entry;
    entry.at = row.number(0);
    entry.who = row.text(1);
    entry.action = row.text(2);
    entry.rule_id = row.number(3);
    entry.before = row.text(4);
    entry.after = row.text(5);
    entry.made_by = row.text(6);
    entry.made_at = row.number(7);
    return entry;
}

/// Of what was written to the trail for the fleet.
std::vector<SharedEntry> entriesSince(Database& database, std::int64_t seen) {
    std::vector<SharedEntry> entries;
    RawStatement rows(
        database,
        "SELECT at, who, action, rule_id, coalesce(before, ''), coalesce(after, ''), coalesce(made_by, ''),"
        " coalesce(made_at, 0) FROM access_audit WHERE id > ?1 AND action IN ('add', 'change', 'remove')"
        " ORDER BY id");
    rows.bind(1, seen);
    while (rows.step())
        entries.push_back(entryOf(rows));
    return entries;
}

}  // namespace

std::optional<Membership> membership(Database& database) {
    RawStatement row(database, "SELECT fleet, version, token FROM fleet_state");
    if (!row.step()) return std::nullopt;
    return Membership{std::string(row.text(0)), row.number(1), std::string(row.text(2))};
}

Differences differences(Database& database) {
    if (!membership(database)) return {};
    absorb(database);
    const auto count = [&](std::string_view what) {
        return static_cast<std::size_t>(
            database.number(fmt::format("SELECT count(*) FROM fleet_local WHERE what = {}", what)));
    };
    return {count("'added' AND rule_id NOT IN (SELECT id FROM access_rule WHERE expires_at <= unixepoch())"),
            count("'changed'")};
}

OwnRules ownRules(Database& database) {
    absorb(database);
    OwnRules own;
    RawStatement rows(database, "SELECT rule_id, what FROM fleet_local ORDER BY rule_id");
    RawStatement rule(database, fmt::format("{} WHERE id = ?", kRuleRow));
    while (rows.step()) {
        const std::int64_t id = rows.number(0);
        rule.reset();
        rule.bind(1, id);
        const auto here = rule.step() ? std::optional(sharedRule(rule)) : std::nullopt;
        if (rows.text(1) == "changed")
            own.changed.emplace_back(id, here);
        else if (here)
            own.added.push_back(*here);
    }
    return own;
}

SharedChanges everything(Database& database) {
    SharedChanges all;
    RawStatement rows(database, fmt::format("{} ORDER BY id", kRuleRow));
    while (rows.step())
        all.rules.push_back(sharedRule(rows));
    all.sets = readSets(database);
    const std::int64_t last = lastNumber(database, "access_rule");
    all.next_id = last == std::numeric_limits<std::int64_t>::max() ? last : last + 1;
    return all;
}

Applied apply(Database& database, const SharedChanges& changes) {
    Applied applied;
    // Since they were asked for a command may have brought the file further, or out of the fleet.
    const auto mine = membership(database);
    if (!mine || changes.version <= mine->version) return applied;
    absorb(database);
    comeDown(database, changes.next_id);
    {
        const WithoutTriggers quiet(database);
        std::vector<SharedEntry> entries;
        std::copy_if(changes.entries.begin(), changes.entries.end(), std::back_inserter(entries),
                     [&](const SharedEntry& entry) { return entry.version > mine->version; });
        std::set<std::int64_t> ids;
        for (const SharedEntry& entry : entries)
            if (entry.rule_id != 0) ids.insert(entry.rule_id);
        Losses losses(database, changes, entries);
        Application application(database);
        std::for_each(ids.begin(), ids.end(), [&](std::int64_t id) { application.take(id); });
        ForEach differs(database, "INSERT OR REPLACE INTO fleet_local(rule_id, what) VALUES (?1, 'changed')");
        for (const SharedRule& rule : changes.rules) {
            if (!ids.contains(rule.id) || application.put(rule)) continue;
            differs(rule.id);
            applied.unreadable.push_back(fmt::format("rule {} for {}", rule.id, printable(rule.network)));
        }
        if (changes.sets) writeSets(database, *changes.sets, setsIn(entries), applied.unreadable);
        applied.lost = losses.tell(database, application.displaced());
        writeEntries(database, entries);
        if (!ids.empty()) raiseVersion(database);
    }
    if (changes.sums_up) {
        forgetAllBut(database, changes.rules);
        sealTrail(database);
    }
    raiseNumbers(database, changes.next_id - 1);
    reach(database, changes.version, changes.token);
    return applied;
}

void beginShared(Database& database, std::int64_t next_id) {
    absorb(database);
    comeDown(database, next_id);
    raiseNumbers(database, next_id - 1);
}

SharedChanges collectShared(Database& database) {
    SharedChanges shared;
    std::map<std::int64_t, bool> concerned;  // by number of a rule: it is the file's own, and stays so
    RawStatement rule(database, fmt::format("{} WHERE id = ?", kRuleRow));
    ForEach unmark(database, "DELETE FROM fleet_local WHERE rule_id = ?1");
    for (SharedEntry& entry : entriesSince(database, trailSeen(database))) {
        if (entry.rule_id == 0) {
            const std::string& line = entry.after.empty() ? entry.before : entry.after;
            if (line == "set here" || line.starts_with("set here ")) failOwnSet();
            if (!shared.sets) shared.sets = readSets(database);
            shared.entries.push_back(std::move(entry));
            continue;
        }
        const auto [at, fresh] = concerned.try_emplace(entry.rule_id, false);
        if (fresh) {
            const bool own = isOwn(database, entry.rule_id);
            rule.reset();
            rule.bind(1, entry.rule_id);
            const bool there = rule.step();
            const bool here = there && rule.text(4) == kHereSet;
            if (here && !own) failOwnSet();
            if (isMarked(database, entry.rule_id, "changed")) failChangedHere(entry.rule_id);
            // The fleet has not had it: what others hear of is a new rule.
            if (own && there && !here) {
                entry.action = "add";
                entry.before.clear();
            }
            at->second = own && (here || !there);
            if (there && !at->second) shared.rules.push_back(sharedRule(rule));
            rule.reset();
            if (!here) unmark(entry.rule_id);
        }
        if (!at->second) shared.entries.push_back(std::move(entry));
    }
    shared.next_id = lastNumber(database, "access_rule") + 1;
    seeTrail(database);
    return shared;
}

void reach(Database& database, std::int64_t version, std::string_view token) {
    RawStatement state(database, "UPDATE fleet_state SET version = ?1, token = ?2");
    state.bind(1, version);
    state.bind(2, token);
    state.step();
    seeTrail(database);
}

void tellRemoved(Database& database, const std::vector<SharedEntry>& removals) {
    if (removals.empty()) return;
    writeEntries(database, removals,
                 database.number("SELECT change FROM access_audit ORDER BY id DESC LIMIT 1"));
    const WithoutTriggers quiet(database);
    ForEach gone(database, "DELETE FROM fleet_local WHERE rule_id = ?1");
    ForEach own(database,
                "INSERT INTO fleet_local(rule_id, what) SELECT id, 'added' FROM access_rule WHERE id = ?1");
    for (const SharedEntry& removal : removals) {
        gone(removal.rule_id);
        own(removal.rule_id);
        // Who takes the change back has the removed one again, with its number.
        if (isOwn(database, removal.rule_id)) giveWay(database, removal.rule_id);
    }
}

void forget(Database& database, const std::vector<std::int64_t>& ids) {
    ForEach unmark(database, "DELETE FROM fleet_local WHERE rule_id = ?1");
    std::for_each(ids.begin(), ids.end(), [&](std::int64_t id) { unmark(id); });
}

void restore(Database& database, const std::vector<SharedRule>& rules) {
    if (rules.empty()) return;
    const WithoutTriggers quiet(database);
    Application application(database);
    ForEach differs(database, "INSERT OR REPLACE INTO fleet_local(rule_id, what) VALUES (?1, 'changed')");
    for (const SharedRule& rule : rules) {
        application.take(rule.id);
        if (!application.put(rule)) differs(rule.id);
    }
    raiseVersion(database);
}

void sealTrail(Database& database) {
    database.run(fmt::format("UPDATE access_meta SET undo_after = {}", endOfTrailIn(database)));
}

void renumber(Database& database, const std::map<std::int64_t, std::int64_t>& numbers) {
    if (numbers.empty()) return;
    const WithoutTriggers quiet(database);
    std::int64_t highest = 0;
    // By way of numbers that nobody has: a new one may be the old one of another rule.
    for (const bool back : {false, true}) {
        ForEach rule(database, "UPDATE access_rule SET id = ?2 WHERE id = ?1");
        ForEach name(database, "UPDATE access_name SET rule_id = ?2 WHERE rule_id = ?1");
        std::int64_t unused = std::numeric_limits<std::int64_t>::min();
        for (const auto& [from, to] : numbers) {
            ++unused;
            const std::int64_t now = back ? unused : from, then = back ? to : unused;
            rule(now, then);
            name(now, then);
            highest = std::max(highest, to);
        }
    }
    raiseNumbers(database, highest);
    sealTrail(database);
    raiseVersion(database);
}

void enrol(Database& database, const Membership& membership, const std::vector<std::int64_t>& own) {
    RawStatement state(database,
                       "INSERT OR REPLACE INTO fleet_state(id, fleet, version, trail_seen, token) VALUES (1, "
                       "?1, ?2, ?3, ?4)");
    state.bind(1, std::string_view(membership.fleet));
    state.bind(2, membership.version);
    state.bind(3, endOfTrailIn(database));
    state.bind(4, std::string_view(membership.token));
    state.step();
    database.run("DELETE FROM fleet_local");
    ForEach added(database, "INSERT INTO fleet_local(rule_id, what) VALUES (?1, 'added')");
    std::for_each(own.begin(), own.end(), [&](std::int64_t id) { added(id); });
}

void leave(Database& database) {
    database.run("DELETE FROM fleet_state; DELETE FROM fleet_local");
}

}  // namespace mailgate::store::replica
