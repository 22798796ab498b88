// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/table_reader.h"

#include "store/rules/sqlite/rows.h"
#include "store/rules/sqlite/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>
#include <variant>

namespace mailgate::store::rows {

using sqlite::Database;
using sqlite::RawStatement;

namespace {

constexpr std::string_view kTableRows =
    "SELECT id, network, verdict, listener, expires_at, client_sessions, client_rate, rule_set, reply"
    " FROM access_rule";

/// What is asked of each row's values, all of which are read once: there are very many.
struct Sense {
    Verdict verdict;
    ClientLimits limits;
};

/// What the columns' constraints ask for, as far as it decides anything: somebody may have written without them.
Sense requireSense(const Database& database, const RawStatement& row) {
    const std::string_view verdict = row.text(2);
    const auto sessions = optionalNumber(row, 5), rate = optionalNumber(row, 6);
    const auto is_limit = [](const std::optional<std::int64_t>& limit) {
        return !limit || (*limit >= 0 && *limit <= kMaxClientLimit);
    };
    const bool allows = verdict == "allow";
    if ((!allows && verdict != "deny") || !is_limit(sessions) || !is_limit(rate))
        throw StoreError(
            StoreError::Kind::BadRow,
            fmt::format("{}: table access_rule, row id {}: the verdict is not allow or deny, or a limit not "
                        "from 0 to {} (mailgate access remove {} removes the row)",
                        database.path(), row.number(0), kMaxClientLimit, row.number(0)));
    const auto narrow = [](const std::optional<std::int64_t>& limit) {
        return limit ? std::optional(static_cast<std::uint32_t>(*limit)) : std::nullopt;
    };
    return {allows ? Verdict::Allow : Verdict::Deny, {narrow(sessions), narrow(rate)}};
}

void addRow(AccessTable::Builder& builder, const Database& database, const RawStatement& row,
            const Network& network) {
    const auto [verdict, limits] = requireSense(database, row);
    const std::string_view reply = row.text(8);
    builder.add(row.number(0), network, verdict, row.text(3), optionalNumber(row, 4), limits, row.text(7),
                !reply.empty() && ruleReplyOf(reply).value_or(RuleReply{}).temporary);
}

std::map<std::int64_t, std::vector<Network>> networksOfNames(Database& database) {
    std::map<std::int64_t, std::vector<Network>> names;
    for (NamedRule& named : readNamed(database, false))
        names.emplace(named.rule.id, std::move(named.state.networks));
    return names;
}

/// What changed a rule is in the trail only for as long as the triggers are the right ones.
bool hasItsTriggers(Database& database) {
    try {
        schema::checkTriggers(database);
        return true;
    } catch (const StoreError&) {
        return false;
    }
}

}  // namespace

/// Makes the table of the state after `before`.
class TableReader::Follower {
  public:
    Follower(Database& database, const State& before, const State& now)
        : database_(database), before_(before), now_(now) {}

    /// Null: it cannot be told from the trail.
    std::shared_ptr<const AccessTable> follow() {
        if (before_.listeners != now_.listeners || before_.schema != now_.schema || !isWorthIt() ||
            !readTrail() || !hasOnlyNewIds())
            return nullptr;
        noteNames();
        return build();
    }

  private:
    bool isWorthIt() const {
        constexpr std::int64_t kFew = 1'000, kShare = 32;
        const std::int64_t entries = now_.entry - before_.entry;
        return entries >= 0 && entries <= kFew + static_cast<std::int64_t>(before_.table->size()) / kShare;
    }

    /// False: it does not tell everything.
    bool readTrail() {
        RawStatement rows(
            database_,
            "SELECT id, action, rule_id, before, after FROM access_audit WHERE id > ? ORDER BY id");
        rows.bind(1, before_.entry);
        std::int64_t entry = before_.entry, version = before_.version;
        while (rows.step()) {
            if (rows.number(0) != ++entry) return false;
            const std::int64_t rule = rows.number(2);
            if (rule == 0) continue;  // the defaults of a set, or that the trail was trimmed
            ++version;
            if (rows.text(1) == schema::kResolve)
                rules_.insert(rule);
            else if (!noteChange(rule, rows.text(3), rows.text(4)))
                return false;
        }
        return entry == now_.entry && version == now_.version;
    }

    bool noteChange(std::int64_t rule, std::string_view before, std::string_view after) {
        const bool is_first = rules_.insert(rule).second;
        if (before.empty() && after.empty()) return false;
        if (!before.empty() && !notePlace(before, is_first ? rule : 0)) return false;
        if (!after.empty() && !notePlace(after, 0)) return false;
        if (!before.empty()) return true;
        // One more rule; with an id that has been there, it may be in the place of another.
        if (rule > before_.rule)
            new_.insert(rule);
        else if (is_first)
            again_.push_back(rule);
        return true;
    }

    /// Of a line of the trail. False: it cannot be read, or `expected`, which is not 0, has not been there before.
    bool notePlace(std::string_view line, std::int64_t expected) {
        const std::string_view subject = subjectIn(line);
        if (isRuleName(subject)) return expected == 0 || before_.names.contains(expected);
        const auto parsed = parseNetwork(subject);
        const auto* network = std::get_if<Network>(&parsed);
        if (network == nullptr) return false;
        networks_.insert(*network);
        if (expected == 0) return true;
        const auto there = before_.table->rulesOf(*network);
        return std::find(there.begin(), there.end(), expected) != there.end();
    }

    /// New rules have new ids, and each id that has been given since is known.
    bool hasOnlyNewIds() {
        if (static_cast<std::int64_t>(new_.size()) != now_.rule - before_.rule) return false;
        if (!new_.empty() && *new_.rbegin() != now_.rule) return false;
        std::sort(again_.begin(), again_.end());
        return again_.empty() || !before_.table->holdsAny(again_);
    }

    /// What other names stand for than before, or stood for.
    void noteNames() {
        const auto note = [&](const Names& names, const Names& others) {
            for (const auto& [rule, networks] : names) {
                const auto other = others.find(rule);
                if (other != others.end() && other->second == networks && !rules_.contains(rule)) continue;
                rules_.insert(rule);
                networks_.insert(networks.begin(), networks.end());
            }
        };
        note(before_.names, now_.names);
        note(now_.names, before_.names);
    }

    /// All rules of the networks where something was changed, as they are now.
    std::shared_ptr<const AccessTable> build() {
        for (const Network& network : networks_)
            for (const std::int64_t rule : before_.table->rulesOf(network))
                rules_.insert(rule);
        AccessTable::Builder builder(before_.table);
        for (const Network& network : networks_)
            builder.replace(network);
        RawStatement row(database_, fmt::format("{} WHERE id = ?", kTableRows));
        for (const std::int64_t rule : rules_) {
            row.reset();
            row.bind(1, rule);
            if (row.step() && !add(builder, row)) return nullptr;
        }
        return builder.build(now_.version);
    }

    /// False: it is where nobody has looked.
    bool add(AccessTable::Builder& builder, const RawStatement& row) {
        const std::int64_t rule = row.number(0);
        if (isRuleName(row.text(1))) {
            readName(database_, rule, row.text(1));
            for (const Network& network : now_.names.at(rule))
                if (networks_.contains(network)) addRow(builder, database_, row, network);
            return true;
        }
        const Network network = readNetwork(database_, rule, row.text(1));
        if (!networks_.contains(network)) return false;
        addRow(builder, database_, row, network);
        return true;
    }

    Database& database_;
    const State& before_;
    const State& now_;
    std::set<std::int64_t> rules_;     ///< to be read again
    std::set<Network> networks_;       ///< whose rules may be others
    std::vector<std::int64_t> again_;  ///< rules that were added with an id that there was before
    std::set<std::int64_t> new_;       ///< ids of rules that were added
};

TableReader::State TableReader::stateOf(Database& database, std::span<const std::string> listeners) {
    State state{.listeners = {listeners.begin(), listeners.end()}};
    state.version = database.number("SELECT rules_version FROM access_meta");
    state.schema = database.number("PRAGMA schema_version");
    state.entry = database.number("SELECT coalesce(max(id), 0) FROM access_audit");
    state.rule = database.number(
        "SELECT max(coalesce((SELECT max(id) FROM access_rule), 0),"
        " coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'access_rule'), 0))");
    state.names = networksOfNames(database);
    return state;
}

std::shared_ptr<const AccessTable> TableReader::readAll(Database& database, const State& state) {
    AccessTable::Builder builder(state.listeners);
    RawStatement rows(database, kTableRows);
    while (rows.step()) {
        const std::int64_t id = rows.number(0);
        const std::string_view subject = rows.text(1);
        if (!isRuleName(subject)) {
            addRow(builder, database, rows, readNetwork(database, id, subject));
            continue;
        }
        readName(database, id, subject);
        for (const Network& network : state.names.at(id))
            addRow(builder, database, rows, network);
    }
    return builder.build(state.version);
}

std::shared_ptr<const AccessTable> TableReader::read(Database& database,
                                                     std::span<const std::string> listeners) {
    State now = stateOf(database, listeners);
    if (last_) now.table = Follower(database, *last_, now).follow();
    if (!now.table) {
        now.table = readAll(database, now);
        database.releaseMemory();
        if (!hasItsTriggers(database)) {
            last_.reset();
            return now.table;
        }
    }
    last_ = std::move(now);
    return last_->table;
}

}  // namespace mailgate::store::rows
