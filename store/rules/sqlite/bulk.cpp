// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/bulk.h"

#include "store/rules/sqlite/schema.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <functional>
#include <tuple>
#include <utility>

namespace mailgate::store::rows {

using sqlite::Database;
using sqlite::RawStatement;
using PutKind = RuleStore::PutKind;

namespace {

bool isSamePlace(const AccessRule& a, const AccessRule& b) {
    return a.network == b.network && a.name == b.name && a.listener == b.listener && a.verdict == b.verdict &&
           a.set == b.set;
}

/// A rule as the index sorts it.
struct Sorted {
    std::string network;
    AccessRule* rule;

    friend bool operator<(const Sorted& a, const Sorted& b) {
        const auto rest = [](const Sorted& one) {
            return std::tuple(std::string_view(one.rule->listener), toString(one.rule->verdict),
                              std::string_view(one.rule->set));
        };
        const int order = a.network.compare(b.network);
        return order != 0 ? order < 0 : rest(a) < rest(b);
    }
};

}  // namespace

WithoutTriggers::WithoutTriggers(Database& database) : database_(database) {
    set(0);
}

WithoutTriggers::~WithoutTriggers() {
    set(1);
}

void WithoutTriggers::set(int enabled) noexcept {
    sqlite3_db_config(database_.handle(), SQLITE_DBCONFIG_ENABLE_TRIGGER, enabled, nullptr);
}

Bulk::Bulk(Database& database, std::string_view who, std::size_t rules, const Progress& progress)
    : database_(database),
      who_(who),
      progress_(progress),
      finder_(database),
      putter_(database, who_),
      by_id_(database, fmt::format("{} WHERE id = ?", kAllRules)) {
    places_.reserve(rules);
    readPlaces();
}

std::uint64_t Bulk::hashOf(std::string_view network, std::string_view listener, std::string_view verdict,
                           std::string_view set) noexcept {
    constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15;
    const std::hash<std::string_view> hash;
    std::uint64_t value = hash(network);
    for (const std::string_view text : {listener, verdict, set})
        value = (value ^ value >> 29) * kOdd + hash(text);
    return value;
}

std::uint64_t Bulk::hashOf(const AccessRule& rule) {
    return hashOf(subjectOf(rule), rule.listener, toString(rule.verdict), rule.set);
}

/// By text, as the index has it: the sqlite3 shell may have written a network in another way.
void Bulk::readPlaces() {
    RawStatement rows(database_, "SELECT id, network, listener, verdict, rule_set FROM access_rule");
    while (rows.step())
        places_.try_emplace(hashOf(rows.text(1), rows.text(2), rows.text(3), rows.text(4)),
                            Place{rows.number(0), 0});
}

/// Where the rule is among the new ones; null: it is none of them.
AccessRule** Bulk::pendingOf(const AccessRule& like, std::uint64_t hash) {
    const auto place = places_.find(hash);
    if (place == places_.end()) return nullptr;
    if (place->second.id == 0) {
        AccessRule*& pending = pending_[place->second.pending];
        if (pending != nullptr && isSamePlace(*pending, like)) return &pending;
    }
    // Two rules have the same hash: not within anybody's lifetime, but it is looked for all the same.
    if (!collided_) return nullptr;
    const auto found = std::find_if(pending_.begin(), pending_.end(), [&](const AccessRule* pending) {
        return pending != nullptr && isSamePlace(*pending, like);
    });
    return found == pending_.end() ? nullptr : &*found;
}

std::optional<AccessRule> Bulk::find(const AccessRule& like) {
    asked_ = hashOf(like);
    const auto place = places_.find(asked_);
    if (place == places_.end()) return std::nullopt;
    if (AccessRule** const pending = pendingOf(like, asked_)) return **pending;
    if (place->second.id != 0) {
        by_id_.reset();
        by_id_.bind(1, place->second.id);
        std::optional<AccessRule> found;
        if (by_id_.step()) found = readRule(database_, by_id_);
        by_id_.reset();
        if (found && isSamePlace(*found, like)) return found;
    }
    return finder_.find(like);
}

PutKind Bulk::put(AccessRule& rule, const std::optional<AccessRule>& found) {
    if (!found) {
        rule.id = 0;
        if (!places_.try_emplace(asked_, Place{0, pending_.size()}).second) collided_ = true;
        pending_.push_back(&rule);
        return PutKind::Added;
    }
    // Who has made it, when, and how often it was used is not said anew.
    rule.id = found->id;
    rule.created_at = found->created_at;
    rule.created_by = found->created_by;
    rule.hits = found->hits;
    rule.last_hit_at = found->last_hit_at;
    if (rule == *found) return PutKind::Unchanged;
    if (found->id != 0) return putter_.put(rule).kind;
    if (AccessRule** const pending = pendingOf(rule, asked_)) *pending = &rule;
    return PutKind::Changed;
}

void Bulk::forget(const AccessRule& gone) {
    const std::uint64_t hash = hashOf(gone);
    if (AccessRule** const pending = pendingOf(gone, hash)) *pending = nullptr;
    places_.erase(hash);
}

void Bulk::remove(const std::vector<std::int64_t>& ids) {
    if (ids.empty()) return;
    const WithoutTriggers without(database_);
    database_.run("CREATE TEMP TABLE gone(id INTEGER PRIMARY KEY)");
    {
        RawStatement add(database_, "INSERT INTO temp.gone VALUES (?)");
        for (const std::int64_t id : ids) {
            add.reset();
            add.bind(1, id);
            add.step();
        }
    }
    database_.run(schema::trailOf("access_rule_removed",
                                  "temp.gone CROSS JOIN main.access_rule AS OLD ON OLD.id = gone.id"
                                  " ORDER BY gone.id"));
    const bool most =
        static_cast<std::int64_t>(ids.size()) > database_.number("SELECT count(*) FROM access_rule") / 2;
    if (most)
        removeMost();
    else
        database_.run("DELETE FROM access_rule WHERE id IN (SELECT id FROM temp.gone)");
    database_.run(
        fmt::format("UPDATE access_meta SET rules_version = rules_version + {};"
                    "DROP TABLE temp.gone",
                    ids.size()));
}

/// A table that is emptied as a whole is emptied at once.
void Bulk::removeMost() {
    database_.run(
        "CREATE TEMP TABLE kept AS SELECT * FROM access_rule WHERE id NOT IN (SELECT id FROM temp.gone);"
        "DELETE FROM access_rule;"
        "INSERT INTO access_rule SELECT * FROM temp.kept ORDER BY id;"
        "DROP TABLE temp.kept");
}

void Bulk::finish() {
    if (pending_.empty()) return;
    std::vector<Sorted> sorted;
    sorted.reserve(pending_.size());
    for (AccessRule* rule : pending_)
        if (rule != nullptr) sorted.push_back({subjectOf(*rule), rule});
    std::sort(sorted.begin(), sorted.end());
    const WithoutTriggers without(database_);
    const std::int64_t before =
        database_.number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'access_rule'");
    // Prepared now, it knows of no triggers.
    Putter putter(database_, who_);
    for (std::size_t at = 0; at < sorted.size(); ++at) {
        sorted[at].rule->id = putter.add(*sorted[at].rule, sorted[at].network);
        progress_.tell(Progress::Step::Write, at, sorted.size());
    }
    database_.run(schema::trailOf(
        "access_rule_added", fmt::format("access_rule AS NEW WHERE NEW.id > {} ORDER BY NEW.id", before)));
    database_.run(fmt::format("UPDATE access_meta SET rules_version = rules_version + {}", sorted.size()));
}

}  // namespace mailgate::store::rows
