// SPDX-License-Identifier: Apache-2.0
#include "store/rules/sqlite/schema.h"

#include "protocols/values/text.h"
#include "store/sqlite/migrator.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <new>

namespace mailgate::store::schema {

namespace {

/// A rule as one line of the audit trail, in the form of the export; `row` is NEW or OLD. strftime() knows the years
/// 0 to 9999 only. `options`: what the version has besides listener and expiry, with {0} for the row.
std::string ruleLine(std::string_view row, std::string_view options) {
    return fmt::format(
        "{0}.verdict || ' ' || {0}.network"
        " || CASE WHEN {0}.listener <> '' THEN ' listener=' || {0}.listener ELSE '' END"
        " || CASE WHEN {0}.expires_at IS NOT NULL THEN ' expires='"
        " || coalesce(strftime('%Y-%m-%dT%H:%M:%SZ', {0}.expires_at, 'unixepoch'), {0}.expires_at) ELSE '' "
        "END{1}"
        " || CASE WHEN {0}.note <> '' THEN ' ' || {0}.note ELSE '' END",
        row, fmt::format(fmt::runtime(options), row));
}

// access_rule: AUTOINCREMENT, because the id of a removed rule must not come back: hits counted meanwhile
// would go to the new one. access_audit: REPLACE deletes without firing a DELETE trigger, hence the third
// guard. `acting` is written by mailgate's own transactions; it is empty when somebody else writes.
constexpr std::string_view kVersion1 = R"(
CREATE TABLE access_rule(
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  network     TEXT NOT NULL,
  verdict     TEXT NOT NULL CHECK (verdict IN ('allow', 'deny')),
  listener    TEXT NOT NULL DEFAULT '' CHECK (listener NOT GLOB '*[^A-Za-z0-9._-]*'),
  note        TEXT NOT NULL DEFAULT '',
  created_at  INTEGER NOT NULL DEFAULT (unixepoch()),
  created_by  TEXT NOT NULL DEFAULT 'sqlite3',
  expires_at  INTEGER,
  hits        INTEGER NOT NULL DEFAULT 0,
  last_hit_at INTEGER,
  UNIQUE (network, listener, verdict)
) STRICT;

CREATE TABLE access_audit(
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  at      INTEGER NOT NULL DEFAULT (unixepoch()),
  who     TEXT NOT NULL,
  action  TEXT NOT NULL,
  rule_id INTEGER NOT NULL,
  before  TEXT,
  after   TEXT
) STRICT;

CREATE TABLE access_meta(
  id            INTEGER PRIMARY KEY CHECK (id = 1),
  rules_version INTEGER NOT NULL,
  acting        TEXT NOT NULL
) STRICT;
INSERT INTO access_meta VALUES (1, 1, '');

CREATE TRIGGER access_audit_no_update BEFORE UPDATE ON access_audit BEGIN
  SELECT raise(ABORT, 'the audit trail is append only');
END;
CREATE TRIGGER access_audit_no_delete BEFORE DELETE ON access_audit BEGIN
  SELECT raise(ABORT, 'the audit trail is append only');
END;
CREATE TRIGGER access_audit_no_replace BEFORE INSERT ON access_audit
WHEN EXISTS (SELECT 1 FROM access_audit WHERE id = NEW.id) BEGIN
  SELECT raise(ABORT, 'the audit trail is append only');
END;
)";

/// Every change of a rule leaves a row in the audit trail and raises the version. `columns`: those that make
/// a rule, `options`: as for ruleLine().
std::string triggers(std::string_view columns, std::string_view options) {
    constexpr std::string_view kTriggers = R"(
CREATE TRIGGER access_rule_added AFTER INSERT ON access_rule BEGIN
  UPDATE access_meta SET rules_version = rules_version + 1;
  INSERT INTO access_audit(who, action, rule_id, after) VALUES ({who}, 'add', NEW.id, {new});
END;

CREATE TRIGGER access_rule_changed AFTER UPDATE OF {columns} ON access_rule BEGIN
  UPDATE access_meta SET rules_version = rules_version + 1;
  INSERT INTO access_audit(who, action, rule_id, before, after) VALUES ({who}, 'change', NEW.id, {old}, {new});
END;

CREATE TRIGGER access_rule_removed AFTER DELETE ON access_rule BEGIN
  UPDATE access_meta SET rules_version = rules_version + 1;
  INSERT INTO access_audit(who, action, rule_id, before) VALUES ({who}, 'remove', OLD.id, {old});
END;
)";
    return fmt::format(kTriggers,
                       fmt::arg("who", "(SELECT coalesce(nullif(acting, ''), 'sqlite3') FROM access_meta)"),
                       fmt::arg("columns", columns), fmt::arg("new", ruleLine("NEW", options)),
                       fmt::arg("old", ruleLine("OLD", options)));
}

std::string version1() {
    return std::string(kVersion1) +
           triggers("id, network, verdict, listener, note, created_at, created_by, expires_at", "");
}

// How much one client of an allow rule may have.
constexpr std::string_view kVersion2 = R"(
ALTER TABLE access_rule ADD COLUMN client_sessions INTEGER
  CHECK (client_sessions BETWEEN 0 AND 1000000 AND verdict = 'allow' OR client_sessions IS NULL);
ALTER TABLE access_rule ADD COLUMN client_rate INTEGER
  CHECK (client_rate BETWEEN 0 AND 1000000 AND verdict = 'allow' OR client_rate IS NULL);

DROP TRIGGER access_rule_added;
DROP TRIGGER access_rule_changed;
DROP TRIGGER access_rule_removed;
)";

std::string version2() {
    constexpr std::string_view kLimits =
        " || CASE WHEN {0}.client_sessions IS NOT NULL THEN ' client_sessions=' || {0}.client_sessions ELSE "
        "'' END"
        " || CASE WHEN {0}.client_rate IS NOT NULL THEN ' client_rate=' || {0}.client_rate ELSE '' END";
    return std::string(kVersion2) +
           triggers(
               "id, network, verdict, listener, note, created_at, created_by, expires_at, client_sessions, "
               "client_rate",
               kLimits);
}

// Sets, owners, tickets; which rows of the trail are one change. A constraint cannot be altered, hence the new table;
// its sequence goes on, see above. What the trail says since then can be read back (parseTrailLine()): a note that
// might be taken for an option stands in quotes.
constexpr std::string_view kVersion3 = R"(
DROP TRIGGER access_rule_added;
DROP TRIGGER access_rule_changed;
DROP TRIGGER access_rule_removed;

ALTER TABLE access_rule RENAME TO access_rule_2;
CREATE TABLE access_rule(
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  network         TEXT NOT NULL,
  verdict         TEXT NOT NULL CHECK (verdict IN ('allow', 'deny')),
  listener        TEXT NOT NULL DEFAULT '' CHECK (listener NOT GLOB '*[^A-Za-z0-9._-]*'),
  rule_set        TEXT NOT NULL DEFAULT 'manual'
                  CHECK (length(rule_set) BETWEEN 1 AND 64 AND rule_set NOT GLOB '*[^A-Za-z0-9._-]*'),
  note            TEXT NOT NULL DEFAULT '',
  owner           TEXT NOT NULL DEFAULT '',
  ticket          TEXT NOT NULL DEFAULT '',
  created_at      INTEGER NOT NULL DEFAULT (unixepoch()),
  created_by      TEXT NOT NULL DEFAULT 'sqlite3',
  expires_at      INTEGER,
  hits            INTEGER NOT NULL DEFAULT 0,
  last_hit_at     INTEGER,
  client_sessions INTEGER
                  CHECK (client_sessions BETWEEN 0 AND 1000000 AND verdict = 'allow' OR client_sessions IS NULL),
  client_rate     INTEGER
                  CHECK (client_rate BETWEEN 0 AND 1000000 AND verdict = 'allow' OR client_rate IS NULL),
  UNIQUE (network, listener, verdict, rule_set)
) STRICT;
INSERT INTO access_rule(id, network, verdict, listener, rule_set, note, created_at, created_by, expires_at, hits,
                        last_hit_at, client_sessions, client_rate)
  SELECT id, network, verdict, listener,
         CASE WHEN created_by GLOB 'program fail2ban*' THEN 'fail2ban' ELSE 'manual' END, note, created_at, created_by,
         expires_at, hits, last_hit_at, client_sessions, client_rate
  FROM access_rule_2 ORDER BY id;
DELETE FROM sqlite_sequence WHERE name = 'access_rule';
UPDATE sqlite_sequence SET name = 'access_rule' WHERE name = 'access_rule_2';
DROP TABLE access_rule_2;

CREATE TABLE access_set(
  name          TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._-]*'),
  note          TEXT NOT NULL DEFAULT '',
  expires_after INTEGER CHECK (expires_after > 0)
) STRICT;

ALTER TABLE access_audit ADD COLUMN change INTEGER;
ALTER TABLE access_meta ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
ALTER TABLE access_meta ADD COLUMN undo_after INTEGER NOT NULL DEFAULT 0;
UPDATE access_meta SET undo_after = (SELECT coalesce(max(id), 0) FROM access_audit);
)";

/// A text in double quotes, as the import reads it.
std::string quotedSql(std::string_view text) {
    return fmt::format(R"('"' || replace(replace({0}, '\', '\\'), '"', '\"') || '"')", text);
}

/// " owner=ops@example.org", quoted where it is not one word.
std::string tagSql(std::string_view row, std::string_view tag) {
    const std::string column = fmt::format("{}.{}", row, tag);
    return fmt::format(
        " || CASE WHEN {0} = '' THEN '' WHEN {0} GLOB '*[^A-Za-z0-9@._:/+-]*' THEN ' {1}=' || {2}"
        " ELSE ' {1}=' || {0} END",
        column, tag, quotedSql(column));
}

/// " a note", quoted where it could be an option or has more than one line.
std::string noteSql(std::string_view row) {
    const std::string note = fmt::format("{}.note", row);
    return fmt::format(
        " || CASE WHEN {0} = '' THEN '' WHEN {0} GLOB '*[=\"\\]*' OR {0} GLOB '[#; ]*' OR {0} GLOB '* '"
        " OR instr({0}, char(10)) > 0 THEN ' ' || {1} ELSE ' ' || {0} END",
        note, quotedSql(note));
}

/// `reply`: what the version has of that.
std::string ruleLine3(std::string_view row, std::string_view reply) {
    return fmt::format(
               "{0}.verdict || ' ' || {0}.network"
               " || CASE WHEN {0}.rule_set <> 'manual' THEN ' set=' || {0}.rule_set ELSE '' END"
               " || CASE WHEN {0}.listener <> '' THEN ' listener=' || {0}.listener ELSE '' END"
               " || CASE WHEN {0}.expires_at IS NOT NULL THEN ' expires='"
               " || coalesce(strftime('%Y-%m-%dT%H:%M:%SZ', {0}.expires_at, 'unixepoch'), {0}.expires_at) "
               "ELSE '' END"
               " || CASE WHEN {0}.client_sessions IS NOT NULL THEN ' client_sessions=' || "
               "{0}.client_sessions ELSE '' END"
               " || CASE WHEN {0}.client_rate IS NOT NULL THEN ' client_rate=' || {0}.client_rate ELSE '' "
               "END",
               row) +
           fmt::format(fmt::runtime(reply), row) + tagSql(row, "owner") + tagSql(row, "ticket") +
           noteSql(row);
}

/// What a set gives its rules: "set partners expires=15552000s a note".
std::string setLine(std::string_view row) {
    return fmt::format(
               "'set ' || {0}.name"
               " || CASE WHEN {0}.expires_after IS NOT NULL THEN ' expires=' || {0}.expires_after || 's' "
               "ELSE '' END",
               row) +
           noteSql(row);
}

/// For a row of the trail: who writes it, and to which change it belongs.
constexpr std::string_view kWho = "(SELECT coalesce(nullif(acting, ''), 'sqlite3') FROM access_meta)";
constexpr std::string_view kChange = "(SELECT CASE WHEN acting <> '' THEN change END FROM access_meta)";

/// Three triggers of a table, which leave a row in the trail each. `then`: what else they do.
std::string trail(std::string_view table, std::string_view columns, std::string_view then,
                  const std::function<std::string(std::string_view)>& line, bool is_rule) {
    constexpr std::string_view kTriggers = R"(
CREATE TRIGGER {table}_added AFTER INSERT ON {table} BEGIN
  {then}INSERT INTO access_audit(who, change, action, rule_id, after) VALUES ({who}, {change}, 'add', {new_id}, {new});
END;

CREATE TRIGGER {table}_changed AFTER UPDATE OF {columns} ON {table} BEGIN
  {then}INSERT INTO access_audit(who, change, action, rule_id, before, after)
    VALUES ({who}, {change}, 'change', {new_id}, {old}, {new});
END;

CREATE TRIGGER {table}_removed AFTER DELETE ON {table} BEGIN
  {then}INSERT INTO access_audit(who, change, action, rule_id, before) VALUES ({who}, {change}, 'remove', {old_id}, {old});
END;
)";
    return fmt::format(kTriggers, fmt::arg("who", kWho), fmt::arg("change", kChange),
                       fmt::arg("table", table), fmt::arg("columns", columns), fmt::arg("then", then),
                       fmt::arg("new_id", is_rule ? "NEW.id" : "0"),
                       fmt::arg("old_id", is_rule ? "OLD.id" : "0"), fmt::arg("new", line("NEW")),
                       fmt::arg("old", line("OLD")));
}

constexpr std::string_view kRaiseVersion = "UPDATE access_meta SET rules_version = rules_version + 1;\n  ";

std::string version3() {
    return std::string(kVersion3) +
           trail(
               "access_rule",
               "id, network, verdict, listener, rule_set, note, owner, ticket, created_at, created_by, "
               "expires_at, client_sessions, client_rate",
               kRaiseVersion, [](std::string_view row) { return ruleLine3(row, ""); }, true) +
           trail("access_set", "name, note, expires_after", "", setLine, false);
}

// The trail can be trimmed from its beginning on, which leaves an entry. The row of access_meta stays the one there is:
// REPLACE would change trimmed_to without a trace.
constexpr std::string_view kTrimming = R"(
ALTER TABLE access_meta ADD COLUMN trimmed_to INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER access_audit_no_delete;
CREATE TRIGGER access_audit_no_delete BEFORE DELETE ON access_audit
WHEN OLD.id > (SELECT trimmed_to FROM access_meta) BEGIN
  SELECT raise(ABORT, 'the audit trail is append only');
END;
CREATE TRIGGER access_audit_trim_all BEFORE UPDATE OF trimmed_to ON access_meta
WHEN NEW.trimmed_to < OLD.trimmed_to OR NEW.trimmed_to > (SELECT coalesce(max(id), 0) FROM access_audit) BEGIN
  SELECT raise(ABORT, 'the audit trail is trimmed from its beginning on, and no further than it goes');
END;
CREATE TRIGGER access_audit_trimmed AFTER UPDATE OF trimmed_to ON access_meta BEGIN
  INSERT INTO access_audit(who, change, action, rule_id, after) VALUES ({who}, {change}, 'trim', 0,
    'entries up to ' || NEW.trimmed_to);
END;
CREATE TRIGGER access_meta_no_insert BEFORE INSERT ON access_meta BEGIN
  SELECT raise(ABORT, 'access_meta has one row');
END;
)";

std::string versionOfTrimming() {
    return fmt::format(kTrimming, fmt::arg("who", kWho), fmt::arg("change", kChange));
}

// What is said to whom a rule denies.
constexpr std::string_view kReplies = R"(
DROP TRIGGER access_rule_added;
DROP TRIGGER access_rule_changed;
DROP TRIGGER access_rule_removed;

ALTER TABLE access_rule ADD COLUMN reply TEXT NOT NULL DEFAULT ''
  CHECK (reply = '' OR verdict = 'deny' AND reply IN ('temporary', 'note', 'temporary,note'));
)";

constexpr std::string_view kReplyOfRule =
    " || CASE WHEN {0}.reply <> '' THEN ' reply=' || {0}.reply ELSE '' END";

std::string versionOfReplies() {
    return std::string(kReplies) +
           trail(
               "access_rule",
               "id, network, verdict, listener, rule_set, note, owner, ticket, created_at, created_by, "
               "expires_at, client_sessions, client_rate, reply",
               kRaiseVersion, [](std::string_view row) { return ruleLine3(row, kReplyOfRule); }, true);
}

// A row outlives its rule, which may be restored.
constexpr std::string_view kNames = R"(
CREATE TABLE access_name(
  rule_id     INTEGER PRIMARY KEY,
  networks    TEXT NOT NULL DEFAULT '',
  asked_at    INTEGER NOT NULL DEFAULT 0,
  answered_at INTEGER,
  due         INTEGER NOT NULL DEFAULT 0,
  error       TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TRIGGER access_name_added AFTER INSERT ON access_name WHEN NEW.networks <> '' BEGIN
  UPDATE access_meta SET rules_version = rules_version + 1;
  INSERT INTO access_audit(who, change, action, rule_id, after)
    VALUES ({who}, {change}, '{action}', NEW.rule_id, {name} || NEW.networks);
END;
CREATE TRIGGER access_name_changed AFTER UPDATE OF rule_id, networks ON access_name
WHEN NEW.networks IS NOT OLD.networks OR NEW.rule_id <> OLD.rule_id BEGIN
  UPDATE access_meta SET rules_version = rules_version + 1;
  INSERT INTO access_audit(who, change, action, rule_id, before, after)
    VALUES ({who}, {change}, '{action}', NEW.rule_id, {name} || OLD.networks, {name} || NEW.networks);
END;
CREATE TRIGGER access_name_removed AFTER DELETE ON access_name WHEN OLD.networks <> '' BEGIN
  UPDATE access_meta SET rules_version = rules_version + 1;
  INSERT INTO access_audit(who, change, action, rule_id, before)
    VALUES ({who}, {change}, '{action}', OLD.rule_id, 'rule ' || OLD.rule_id || '{is}' || OLD.networks);
END;
)";

std::string versionOfNames() {
    return fmt::format(
        kNames, fmt::arg("who", kWho), fmt::arg("change", kChange), fmt::arg("action", kResolve),
        fmt::arg("is", kNameIs),
        fmt::arg("name",
                 fmt::format("coalesce((SELECT network FROM access_rule WHERE id = NEW.rule_id), 'rule ' || "
                             "NEW.rule_id) || '{}'",
                             kNameIs)));
}

// A removal says who had made the rule, for the day on which it is taken back. What a name stands for is that name's, and
// no longer of use when somebody gives the rule another one; it goes without a trace once its rule is gone.
constexpr std::string_view kOrigins = R"(
ALTER TABLE access_audit ADD COLUMN made_by TEXT;
ALTER TABLE access_audit ADD COLUMN made_at INTEGER;
DROP TRIGGER access_rule_removed;
CREATE TRIGGER access_rule_removed AFTER DELETE ON access_rule BEGIN
  {raise}INSERT INTO access_audit(who, change, action, rule_id, before, made_by, made_at) VALUES ({who}, {change}, 'remove', OLD.id, {old}, OLD.created_by, OLD.created_at);
END;

ALTER TABLE access_name ADD COLUMN name TEXT NOT NULL DEFAULT '';
UPDATE access_name SET name = coalesce((SELECT lower(network) FROM access_rule WHERE id = rule_id), '');
DROP TRIGGER access_name_changed;
CREATE TRIGGER access_name_changed AFTER UPDATE OF rule_id, networks, name ON access_name
WHEN NEW.networks IS NOT OLD.networks OR NEW.rule_id <> OLD.rule_id OR NEW.name <> OLD.name BEGIN
  UPDATE access_meta SET rules_version = rules_version + 1;
  INSERT INTO access_audit(who, change, action, rule_id, before, after)
    VALUES ({who}, {change}, '{action}', NEW.rule_id, {old_name} || OLD.networks, {new_name} || NEW.networks);
END;
DROP TRIGGER access_name_removed;
CREATE TRIGGER access_name_removed AFTER DELETE ON access_name
WHEN OLD.networks <> '' AND EXISTS (SELECT 1 FROM access_rule WHERE id = OLD.rule_id) BEGIN
  UPDATE access_meta SET rules_version = rules_version + 1;
  INSERT INTO access_audit(who, change, action, rule_id, before)
    VALUES ({who}, {change}, '{action}', OLD.rule_id, {old_name} || OLD.networks);
END;
)";

std::string versionOfOrigins() {
    const auto name = [](std::string_view row) {
        return fmt::format("coalesce(nullif({0}.name, ''), 'rule ' || {0}.rule_id) || '{1}'", row, kNameIs);
    };
    return fmt::format(kOrigins, fmt::arg("who", kWho), fmt::arg("change", kChange),
                       fmt::arg("raise", kRaiseVersion), fmt::arg("old", ruleLine3("OLD", kReplyOfRule)),
                       fmt::arg("action", kResolve), fmt::arg("old_name", name("OLD")),
                       fmt::arg("new_name", name("NEW")));
}

// Who may use the console (store/accounts). The rules do not depend on them, and they leave no entry in the trail.
constexpr std::string_view kAccounts = R"(
CREATE TABLE console_account(
  name        TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._@-]*'),
  role        TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
  password    TEXT NOT NULL,
  password_at INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  created_by  TEXT NOT NULL
) STRICT;
CREATE TABLE console_token(
  name       TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._@-]*'),
  role       TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
  account    TEXT NOT NULL DEFAULT '',
  secret     TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  expires_at INTEGER
) STRICT;
CREATE UNIQUE INDEX console_token_by_secret ON console_token(secret);
)";

std::string versionOfAccounts() {
    return std::string(kAccounts);
}

// A removal says how often the rule was used, too: one that comes back is not an unused one.
constexpr std::string_view kCounters = R"(
ALTER TABLE access_audit ADD COLUMN hits INTEGER;
ALTER TABLE access_audit ADD COLUMN last_hit_at INTEGER;
DROP TRIGGER access_rule_removed;
CREATE TRIGGER access_rule_removed AFTER DELETE ON access_rule BEGIN
  {raise}INSERT INTO access_audit(who, change, action, rule_id, before, made_by, made_at, hits, last_hit_at) VALUES ({who}, {change}, 'remove', OLD.id, {old}, OLD.created_by, OLD.created_at, OLD.hits, OLD.last_hit_at);
END;
)";

std::string versionOfCounters() {
    return fmt::format(kCounters, fmt::arg("who", kWho), fmt::arg("change", kChange),
                       fmt::arg("raise", kRaiseVersion), fmt::arg("old", ruleLine3("OLD", kReplyOfRule)));
}

// The part that the file has in a fleet (store/rules/replica.h). fleet_state has one row, or none; `trail_seen`: the last entry
// of the trail of which it is known whether the fleet has it. fleet_local: rules that are not as the fleet has them.
constexpr std::string_view kFleet = R"(
CREATE TABLE fleet_state(
  id         INTEGER PRIMARY KEY CHECK (id = 1),
  fleet      TEXT NOT NULL,
  version    INTEGER NOT NULL,
  trail_seen INTEGER NOT NULL
) STRICT;
CREATE TABLE fleet_local(
  rule_id INTEGER PRIMARY KEY,
  what    TEXT NOT NULL CHECK (what IN ('added', 'changed'))
) STRICT;
)";

std::string versionOfFleet() {
    return std::string(kFleet);
}

/// In a text in which each separator has become kWide blanks, part `at` is somewhere between two multiples of that: how to take
/// a text apart that is no longer than kWide in a single expression.
constexpr std::size_t kWide = 40;

std::string partAt(std::size_t at) {
    return fmt::format("trim(substr(parts, {}, {}))", at * kWide + 1, kWide);
}

std::string partsOf(std::string_view text, char separator) {
    return fmt::format("replace({}, '{}', '{}') AS parts", text, separator, std::string(kWide, ' '));
}

/// Of an IPv4 network, as "address" and "length".
std::string readingV4(std::string_view network) {
    std::string address = "0";
    for (std::size_t at = 0; at < 4; ++at)
        address = fmt::format("(({}) << 8 | CAST({} AS INTEGER))", address, partAt(at));
    return fmt::format(
        "SELECT {1} AS address, length FROM"
        " (SELECT {2}, CAST(substr({0}, instr({0}, '/') + 1) AS INTEGER) AS length LIMIT 1)",
        network, address, partsOf(network, '.'));
}

/// Of an IPv6 network, as 32 "digits" and "length". "::" becomes as many groups of zero as are missing.
std::string readingV6(std::string_view network) {
    std::string digits = "''";
    for (std::size_t at = 0; at < 8; ++at)
        digits += fmt::format(" || substr('0000' || {}, -4)", partAt(at));
    const std::string whole =
        "replace(text, '::', substr(':0:0:0:0:0:0:0:0:', 1,"
        " 17 - 2 * (length(text) - length(replace(text, ':', '')))))";
    return fmt::format(
        "SELECT {1} AS digits, length FROM (SELECT {2}, length FROM (SELECT"
        " substr({0}, 1, instr({0}, '/') - 1) AS text, CAST(substr({0}, instr({0}, '/') + 1) AS INTEGER) AS "
        "length"
        " LIMIT 1) LIMIT 1)",
        network, digits, partsOf(whole, ':'));
}

/// What is no network at all, or an IPv6 one with dots, is for whoever reads the row.
std::string hasHostBits(std::string_view network) {
    constexpr std::string_view kCondition = R"(CASE
  WHEN {network} NOT GLOB '*/[0-9]*' OR {network} GLOB '*/*[^0-9]*' THEN 0
  WHEN {network} GLOB '*.*.*.*' AND {network} NOT GLOB '*[^0-9./]*' THEN EXISTS (
    SELECT 1 FROM ({v4} LIMIT 1)
    WHERE length BETWEEN 0 AND 32 AND (address & ((1 << (32 - length)) - 1)) <> 0)
  WHEN {network} GLOB '*:*' AND {network} NOT GLOB '*[^0-9A-Fa-f:/]*' THEN EXISTS (
    SELECT 1 FROM ({v6} LIMIT 1)
    WHERE length BETWEEN 0 AND 127 AND (trim(substr(digits, length / 4 + 2), '0') <> ''
      OR (instr('123456789abcdef', lower(substr(digits, length / 4 + 1, 1))) & (15 >> (length % 4))) <> 0))
  ELSE 0
END)";
    return fmt::format(kCondition, fmt::arg("network", network), fmt::arg("v4", readingV4(network)),
                       fmt::arg("v6", readingV6(network)));
}

// One network with host bits, written with the sqlite3 shell, would keep all rules from being read. And what the upkeep asks for
// after every change, and whoever shows notes to the denied, is found without looking at all rules.
constexpr std::string_view kGuards = R"(
CREATE TRIGGER access_rule_add_network BEFORE INSERT ON access_rule WHEN {has_host_bits} BEGIN
  SELECT raise(ABORT, {why});
END;
CREATE TRIGGER access_rule_change_network BEFORE UPDATE OF network ON access_rule
WHEN NEW.network IS NOT OLD.network AND {has_host_bits} BEGIN
  SELECT raise(ABORT, {why});
END;
CREATE INDEX access_rule_by_expiry ON access_rule(expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX access_rule_with_reply ON access_rule(reply) WHERE reply <> '';
)";

std::string versionOfGuards() {
    return fmt::format(
        kGuards, fmt::arg("has_host_bits", hasHostBits("NEW.network")),
        fmt::arg("why", "'the network has host bits set: 192.0.2.5/24 is 192.0.2.0/24, or 192.0.2.5'"));
}

// Which change has led to `version`: a database from a backup reaches the same version by another one.
std::string versionOfTokens() {
    return "ALTER TABLE fleet_state ADD COLUMN token TEXT NOT NULL DEFAULT ''";
}

constexpr std::array<sqlite::Schema::Migration, 12> kMigrations{
    version1,          version2,       version3,         versionOfTrimming,
    versionOfReplies,  versionOfNames, versionOfOrigins, versionOfAccounts,
    versionOfCounters, versionOfFleet, versionOfGuards,  versionOfTokens};

using Triggers = std::map<std::string, std::string>;

/// Name to statement; what SQLite says.
int readTriggers(sqlite3* handle, Triggers& triggers) {
    sqlite3_stmt* rows = nullptr;
    sqlite3_prepare_v2(handle, "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'", -1, &rows,
                       nullptr);
    const auto text = [&](int column) {
        const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(rows, column));
        return std::string(bytes == nullptr ? "" : bytes);
    };
    while (sqlite3_step(rows) == SQLITE_ROW)
        triggers.emplace(text(0), text(1));
    sqlite3_finalize(rows);
    return sqlite3_errcode(handle);
}

/// As the scripts make them in a database of their own.
const Triggers& expectedTriggers() {
    static const Triggers expected = [] {
        sqlite3* handle = nullptr;
        Triggers triggers;
        int code = sqlite3_open(":memory:", &handle);
        for (const auto script : kMigrations)
            if (code == SQLITE_OK) code = sqlite3_exec(handle, script().c_str(), nullptr, nullptr, nullptr);
        if (code == SQLITE_OK) code = readTriggers(handle, triggers);
        sqlite3_close(handle);
        if (code != SQLITE_OK) throw std::bad_alloc();  // nothing else is missing in memory
        return triggers;
    }();
    return expected;
}

/// "trigger access_rule_added is missing"; empty when all are there, and no others.
std::string differenceOf(const Triggers& found, const Triggers& expected) {
    for (const auto& [name, sql] : expected) {
        const auto same = found.find(name);
        if (same == found.end()) return fmt::format("trigger {} is missing", name);
        if (same->second != sql) return fmt::format("trigger {} was altered", name);
    }
    for (const auto& [name, sql] : found)
        if (!expected.contains(name)) return fmt::format("there is an unknown trigger, {}", printable(name));
    return {};
}

constexpr sqlite::Migrator kMigrator{{.application_id = kApplicationId,
                                      .migrations = kMigrations,
                                      .page_size = 8'192,  // fewer to write and to copy for an import
                                      .empty_kind = StoreError::Kind::Damaged,
                                      .empty = "the database is empty: restore the rules from a backup",
                                      .foreign = "belongs to another program",
                                      .elsewhere = "name another file in [store] url",
                                      .before = "restore a backup made before the upgrade"}};

}  // namespace

std::int64_t currentVersion() noexcept {
    return kMigrator.currentVersion();
}

void migrate(sqlite::Database& database, bool create, const Upgrade& upgrade) {
    kMigrator.migrate(database, create, upgrade);
}

void requireKnown(sqlite::Database& database) {
    kMigrator.requireKnown(database);
}

bool isCurrent(sqlite::Database& database) {
    return kMigrator.isCurrent(database);
}

void requireCurrent(sqlite::Database& database) {
    kMigrator.requireCurrent(database);
}

std::string trailOf(const std::string& trigger, std::string_view from, std::string_view line) {
    constexpr std::string_view kInsert = "INSERT INTO access_audit(", kValues = " VALUES (", kEnd = ");";
    const std::string& sql = expectedTriggers().at(trigger);
    const std::size_t insert = sql.find(kInsert) + kInsert.size();
    const std::size_t names_end = sql.find(kValues, insert);
    const std::size_t first = names_end + kValues.size();
    std::string values = sql.substr(first, sql.rfind(kEnd) - first);
    // Made in SQL, the lines are most of the work.
    for (const std::string_view row : {"NEW", "OLD"}) {
        const std::string made = ruleLine3(row, kReplyOfRule);
        if (const std::size_t at = values.find(made); at != std::string::npos)
            values.replace(at, made.size(), line);
    }
    return fmt::format("{}at, {} SELECT (SELECT unixepoch()), {} FROM {}", kInsert,
                       sql.substr(insert, names_end - insert), values, from);
}

std::string trailLineOf(std::string_view row) {
    return fmt::format(
        "{1}({0}.verdict, {0}.network, {0}.rule_set, {0}.listener, {0}.expires_at, {0}.client_sessions,"
        " {0}.client_rate, {0}.reply, {0}.owner, {0}.ticket, {0}.note)",
        row, kTrailLine);
}

void checkTriggers(sqlite::Database& database) {
    Triggers found;
    if (const int code = readTriggers(database.handle(), found); code != SQLITE_OK) database.fail(code);
    const std::string difference = differenceOf(found, expectedTriggers());
    if (difference.empty()) return;
    throw TriggersAltered(fmt::format(
        "{}: {}: rules may have been changed without a trace. Restore the file from a backup, or look "
        "through what `mailgate access export` prints, move the file away and import that",
        database.path(), difference));
}

void quickCheck(sqlite::Database& database) {
    // What may be in the columns of a rule whoever reads it looks at anyway, and names the row; to do so twice is half of the
    // time that a start with very many rules takes.
    database.run("PRAGMA ignore_check_constraints = ON");
    std::string finding = database.text("PRAGMA quick_check(1)");
    std::replace(finding.begin(), finding.end(), '\n', ' ');
    database.run("PRAGMA ignore_check_constraints = OFF");
    if (finding != "ok")
        throw StoreError(
            StoreError::Kind::Damaged,
            fmt::format("{}: the database is damaged ({}): stop the gateway, then restore it from a "
                        "backup, or move it away and import the rules again",
                        database.path(), printable(finding, 200)));
}

}  // namespace mailgate::store::schema
