// SPDX-License-Identifier: Apache-2.0
/// \file  Access rules as rows of the SQLite file. Internal to store/. Everything throws StoreError.
#pragma once

#include "store/rules/store.h"
#include "store/sqlite/database.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mailgate::store::rows {

constexpr std::string_view kAllRules =
    "SELECT id, network, verdict, listener, note, created_at, created_by, expires_at, hits, last_hit_at,"
    " client_sessions, client_rate, rule_set, owner, ticket, reply FROM access_rule";

/// How the kinds of names may be written, for which the index of networks is asked.
constexpr std::string_view kNameKinds[]{"host", "HOST", "Host", "spf", "SPF", "Spf"};
/// The name of a row that is for one. The sqlite3 shell may write it as it likes, in capitals too, but not so that what the
/// name stands for would not be found.
std::variant<std::string, NetworkError> nameOfRow(std::string_view text);
/// These throw StoreError(BadRow) naming table, id and value.
std::string readName(const sqlite::Database& database, std::int64_t id, std::string_view text);
Network readNetwork(const sqlite::Database& database, std::int64_t id, std::string_view text);
std::optional<std::int64_t> optionalNumber(const sqlite::RawStatement& row, int column);
/// From two columns.
ClientLimits readLimits(const sqlite::RawStatement& row, int column);
/// Of a row of kAllRules.
AccessRule readRule(const sqlite::Database& database, const sqlite::RawStatement& row);

/// Networks with a blank between; none when there is something else among them.
std::optional<std::vector<Network>> readNetworks(std::string_view text);
/// The rules for names, which the sqlite3 shell may write as it likes. With `skips_bad`, rows that cannot be read are left out;
/// else they are StoreError(BadRow).
std::vector<NamedRule> readNamed(sqlite::Database& database, bool skips_bad);

/// What an audit line, which is not empty, is about, as the row has it: "192.0.2.0/24" of "deny 192.0.2.0/24 ...".
std::string_view subjectIn(std::string_view line);

/// Puts rules one by one; lives inside one transaction.
class Putter {
  public:
    Putter(sqlite::Database& database, std::string_view who);
    RuleStore::PutResult put(const AccessRule& rule);
    /// A rule that is not there yet; `network`: its text. Its id.
    std::int64_t add(const AccessRule& rule, std::string_view network);
    /// A rule that there was, with its id, author, time and counters; `network`: its text.
    void restore(const AccessRule& rule, std::string_view network);
    /// The rule with that id becomes this one.
    void overwrite(const AccessRule& rule, std::string_view network);

  private:
    sqlite::Database& database_;
    std::string_view who_;
    sqlite::RawStatement find_;
    sqlite::RawStatement change_;
    sqlite::RawStatement add_;
    sqlite::RawStatement restore_;
    sqlite::RawStatement overwrite_;
};

/// Finds the rule with the set, network, listener and verdict of another; lives inside one transaction.
class Finder {
  public:
    explicit Finder(sqlite::Database& database);
    std::optional<AccessRule> find(const AccessRule& like);
    /// With the network written like this: the sqlite3 shell may have done so in another way.
    std::optional<AccessRule> find(const AccessRule& like, std::string_view network);

  private:
    sqlite::Database& database_;
    sqlite::RawStatement find_;
};

}  // namespace mailgate::store::rows
