// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/rows.h"

#include "protocols/values/text.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <iterator>

namespace mailgate::store::rows {

using sqlite::Database;
using sqlite::RawStatement;

namespace {

template <typename Number>
void bindNumber(RawStatement& statement, int place, const std::optional<Number>& number) {
    if (number)
        statement.bind(place, static_cast<std::int64_t>(*number));
    else
        statement.bindNull(place);
}

void bindRule(RawStatement& statement, const AccessRule& rule, std::string_view network) {
    statement.reset();
    statement.bind(1, network);
    statement.bind(2, std::string_view(rule.listener));
    statement.bind(3, toString(rule.verdict));
    statement.bind(4, std::string_view(rule.note));
    bindNumber(statement, 5, rule.expires_at);
    bindNumber(statement, 6, rule.limits.sessions);
    bindNumber(statement, 7, rule.limits.per_minute);
    statement.bind(8, std::string_view(rule.set));
    statement.bind(9, std::string_view(rule.owner));
    statement.bind(10, std::string_view(rule.ticket));
    statement.bind(11, toString(rule.reply));
}

}  // namespace

std::variant<std::string, NetworkError> nameOfRow(std::string_view text) {
    auto name = parseRuleName(text);
    const std::string_view kind = text.substr(0, text.find(':'));
    const bool found = std::find(std::begin(kNameKinds), std::end(kNameKinds), kind) != std::end(kNameKinds);
    if (const auto* parsed = std::get_if<std::string>(&name);
        parsed && (!found || lowerCase(text) != *parsed))
        return NetworkError{fmt::format("\"{}\" has to be written as {}", printable(text), *parsed)};
    return name;
}

std::string readName(const Database& database, std::int64_t id, std::string_view text) {
    auto parsed = nameOfRow(text);
    if (auto* error = std::get_if<NetworkError>(&parsed))
        throw StoreError(StoreError::Kind::BadRow,
                         fmt::format("{}: table access_rule, row id {}, column network: {} (mailgate access "
                                     "remove {} removes the row)",
                                     database.path(), id, error->message, id));
    return std::move(std::get<std::string>(parsed));
}

Network readNetwork(const Database& database, std::int64_t id, std::string_view text) {
    auto parsed = parseNetwork(text);
    if (auto* error = std::get_if<NetworkError>(&parsed))
        throw StoreError(StoreError::Kind::BadRow,
                         fmt::format("{}: table access_rule, row id {}, column network: {} (mailgate access "
                                     "remove {} removes the row)",
                                     database.path(), id, error->message, id));
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

AccessRule readRule(const Database& database, const RawStatement& row) {
    AccessRule rule;
    rule.id = row.number(0);
    if (isRuleName(row.text(1)))
        rule.name = readName(database, rule.id, row.text(1));
    else
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
    rule.set = row.text(12);
    rule.owner = row.text(13);
    rule.ticket = row.text(14);
    rule.reply = ruleReplyOf(row.text(15)).value_or(RuleReply{});
    return rule;
}

std::optional<std::vector<Network>> readNetworks(std::string_view text) {
    std::vector<Network> networks;
    while (!text.empty()) {
        const auto parsed = parseNetwork(text.substr(0, text.find(' ')));
        if (std::holds_alternative<NetworkError>(parsed)) return std::nullopt;
        networks.push_back(std::get<Network>(parsed));
        text.remove_prefix(std::min(text.find(' '), text.size() - 1) + 1);
    }
    return networks;
}

// Of the index of networks a few small parts.
std::vector<NamedRule> readNamed(Database& database, bool skips_bad) {
    std::vector<NamedRule> named;
    RawStatement states(
        database,
        "SELECT networks, asked_at, answered_at, due, error FROM access_name WHERE rule_id = ? AND name = ?");
    for (const std::string_view kind : kNameKinds) {
        RawStatement rows(database,
                          fmt::format("{0} WHERE network >= '{1}:' AND network < '{1};'", kAllRules, kind));
        while (rows.step()) {
            if (skips_bad && std::holds_alternative<NetworkError>(nameOfRow(rows.text(1)))) continue;
            NamedRule& one = named.emplace_back(NamedRule{readRule(database, rows), {}});
            states.reset();
            states.bind(1, one.rule.id);
            states.bind(2, std::string_view(one.rule.name));
            if (!states.step()) continue;
            auto networks = readNetworks(states.text(0));
            if (!networks && skips_bad) continue;  // so that it is asked for again
            if (!networks)
                throw StoreError(
                    StoreError::Kind::BadRow,
                    fmt::format("{}: table access_name, row rule_id {}, column networks: \"{}\" is no list "
                                "of networks",
                                database.path(), one.rule.id, printable(states.text(0))));
            one.state = {std::move(*networks), states.number(1), optionalNumber(states, 2), states.number(3),
                         std::string(states.text(4))};
        }
        states.reset();
    }
    return named;
}

std::string_view subjectIn(std::string_view line) {
    line.remove_prefix(std::min(line.find(' '), line.size() - 1) + 1);
    return line.substr(0, line.find(' '));
}

Putter::Putter(Database& database, std::string_view who)
    : database_(database),
      who_(who),
      find_(database,
            "SELECT id, note IS ?4 AND expires_at IS ?5 AND client_sessions IS ?6 AND client_rate IS ?7"
            " AND owner IS ?9 AND ticket IS ?10 AND reply IS ?11 FROM access_rule"
            " WHERE network = ?1 AND listener = ?2 AND verdict = ?3 AND rule_set = ?8"),
      change_(database,
              "UPDATE access_rule SET note = ?4, expires_at = ?5, client_sessions = ?6, client_rate = ?7,"
              " owner = ?9, ticket = ?10, reply = ?11"
              " WHERE network = ?1 AND listener = ?2 AND verdict = ?3 AND rule_set = ?8"),
      add_(database,
           "INSERT INTO access_rule(network, listener, verdict, note, expires_at, client_sessions, "
           "client_rate, rule_set, owner, ticket, reply, created_by)"
           " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"),
      restore_(database,
               "INSERT INTO access_rule(network, listener, verdict, note, expires_at, client_sessions, "
               "client_rate, rule_set, owner, ticket, reply, created_by, created_at, id, hits, last_hit_at)"
               " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"),
      overwrite_(database,
                 "UPDATE access_rule SET network = ?1, listener = ?2, verdict = ?3, note = ?4,"
                 " expires_at = ?5, client_sessions = ?6, client_rate = ?7, rule_set = ?8, owner = ?9,"
                 " ticket = ?10, reply = ?11 WHERE id = ?12") {}

RuleStore::PutResult Putter::put(const AccessRule& rule) {
    const std::string network = subjectOf(rule);
    bindRule(find_, rule, network);
    if (find_.step()) {
        const std::int64_t id = find_.number(0);
        const bool same = find_.number(1) != 0;
        find_.reset();  // a table of which something is being read cannot be dropped
        if (same) return {RuleStore::PutKind::Unchanged, id};
        bindRule(change_, rule, network);
        change_.step();
        return {RuleStore::PutKind::Changed, id};
    }
    return {RuleStore::PutKind::Added, add(rule, network)};
}

std::int64_t Putter::add(const AccessRule& rule, std::string_view network) {
    bindRule(add_, rule, network);
    add_.bind(12, who_);
    add_.step();
    return sqlite3_last_insert_rowid(database_.handle());
}

void Putter::restore(const AccessRule& rule, std::string_view network) {
    bindRule(restore_, rule, network);
    restore_.bind(12, std::string_view(rule.created_by));
    restore_.bind(13, rule.created_at);
    restore_.bind(14, rule.id);
    restore_.bind(15, rule.hits);
    bindNumber(restore_, 16, rule.last_hit_at);
    restore_.step();
}

void Putter::overwrite(const AccessRule& rule, std::string_view network) {
    bindRule(overwrite_, rule, network);
    overwrite_.bind(12, rule.id);
    overwrite_.step();
}

Finder::Finder(Database& database)
    : database_(database),
      find_(database,
            fmt::format("{} WHERE network = ?1 AND listener = ?2 AND verdict = ?3 AND rule_set = ?4",
                        kAllRules)) {}

std::optional<AccessRule> Finder::find(const AccessRule& like) {
    return find(like, subjectOf(like));
}

std::optional<AccessRule> Finder::find(const AccessRule& like, std::string_view network) {
    find_.reset();
    find_.bind(1, network);
    find_.bind(2, std::string_view(like.listener));
    find_.bind(3, toString(like.verdict));
    find_.bind(4, std::string_view(like.set));
    std::optional<AccessRule> found;
    if (find_.step()) found = readRule(database_, find_);
    find_.reset();
    return found;
}

}  // namespace mailgate::store::rows
