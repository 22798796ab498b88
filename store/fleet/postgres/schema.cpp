// SPDX-License-Identifier: Apache-2.0
#include "store/fleet/postgres/schema.h"

#include "protocols/values/text.h"
#include "store/fleet/postgres/journal_columns.h"

#include <fmt/format.h>

#include <array>
#include <random>
#include <string_view>

namespace mailgate::store::postgres {

namespace {

/// "mgat" in ASCII.
constexpr std::int64_t kMigrationLock = 0x6D676174;

constexpr std::string_view kTables1 = R"(
CREATE TABLE mailgate.meta(
  id      integer PRIMARY KEY CHECK (id = 1),
  schema  integer NOT NULL,
  needs   integer NOT NULL,
  fleet   text NOT NULL,
  version bigint NOT NULL,
  next_id bigint NOT NULL
);
CREATE TABLE mailgate.rule(
  id              bigint PRIMARY KEY,
  network         text NOT NULL,
  verdict         text NOT NULL CHECK (verdict IN ('allow', 'deny')),
  listener        text NOT NULL,
  rule_set        text NOT NULL CHECK (rule_set <> 'here'),
  note            text NOT NULL,
  owner           text NOT NULL,
  ticket          text NOT NULL,
  reply           text NOT NULL,
  created_at      bigint NOT NULL,
  created_by      text NOT NULL,
  expires_at      bigint,
  client_sessions bigint,
  client_rate     bigint,
  UNIQUE (network, listener, verdict, rule_set)
);
CREATE TABLE mailgate.rule_set(
  name          text PRIMARY KEY,
  note          text NOT NULL,
  expires_after bigint
);
CREATE TABLE mailgate.change_log(
  version bigint NOT NULL,
  seq     bigint NOT NULL,
  at      bigint NOT NULL,
  who     text NOT NULL,
  gateway text NOT NULL,
  action  text NOT NULL,
  rule_id bigint NOT NULL,
  before  text NOT NULL,
  after   text NOT NULL,
  made_by text NOT NULL,
  made_at bigint NOT NULL,
  PRIMARY KEY (version, seq)
);
CREATE TABLE mailgate.member(
  name     text PRIMARY KEY,
  release  text NOT NULL,
  started  bigint NOT NULL,
  position bigint NOT NULL,
  seen     timestamptz NOT NULL
);
)";

constexpr std::string_view kTokens = R"(
ALTER TABLE mailgate.meta ADD COLUMN token text NOT NULL DEFAULT '';
ALTER TABLE mailgate.change_log ADD COLUMN token text NOT NULL DEFAULT '';
)";

constexpr std::string_view kTicketKeys = R"(
CREATE TABLE mailgate.ticket_key(
  secret text NOT NULL,
  period bigint NOT NULL,
  sealed text NOT NULL,
  PRIMARY KEY (secret, period)
);
)";

constexpr std::string_view kDrains = R"(
ALTER TABLE mailgate.meta ADD COLUMN drains bigint NOT NULL DEFAULT 0;
CREATE TABLE mailgate.drain(
  upstream text NOT NULL,
  server   text NOT NULL,
  since    bigint NOT NULL,
  who      text NOT NULL,
  PRIMARY KEY (upstream, server)
);
)";

/// Where it is PostgreSQL itself; elsewhere changes are kept for good. A gateway that says nothing of how long it wants changes is one
/// of an older version, which needs all that it does not have. What is the version of one of them stays, with its token. Of what is
/// before `log_from` nothing holds, whether it has been removed yet or not: a list may be more than can go at once.
constexpr std::string_view kForgetChanges = R"(
CREATE FUNCTION mailgate.forget_changes() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  keep bigint;
  had bigint;
  young bigint;
  kept_from bigint;
BEGIN
  PERFORM 1 FROM mailgate.meta WHERE id = 1 FOR UPDATE;
  IF EXISTS (SELECT 1 FROM mailgate.member WHERE seen > now() - interval '30 days' AND keeps_changes IS NULL) THEN
    RETURN 0;
  END IF;
  SELECT max(keeps_changes), min(position) INTO keep, had FROM mailgate.member WHERE seen > now() - interval '30 days';
  IF keep IS NULL OR keep < 1 OR had < 1 THEN
    RETURN 0;
  END IF;
  SELECT min(version) INTO young FROM mailgate.change_log WHERE at >= floor(extract(epoch FROM now())) - keep * 86400;
  SELECT greatest(m.log_from, least(m.version, had, young)) INTO kept_from FROM mailgate.meta m WHERE id = 1;
  IF NOT EXISTS (SELECT 1 FROM mailgate.change_log WHERE version < kept_from) THEN
    RETURN 0;
  END IF;
  UPDATE mailgate.meta SET log_from = kept_from WHERE id = 1 AND log_from < kept_from;
  DELETE FROM mailgate.change_log WHERE (version, seq) IN (SELECT version, seq FROM mailgate.change_log
    WHERE version < kept_from ORDER BY version, seq LIMIT 20000);
  RETURN kept_from;
END $$;
REVOKE ALL ON FUNCTION mailgate.forget_changes() FROM PUBLIC;
)";

constexpr std::string_view kLogRetention = R"(
ALTER TABLE mailgate.meta ADD COLUMN log_from bigint NOT NULL DEFAULT 0;
ALTER TABLE mailgate.meta ADD COLUMN drains_copied bigint NOT NULL DEFAULT 0;
UPDATE mailgate.meta SET drains_copied = drains;
ALTER TABLE mailgate.member ADD COLUMN keeps_changes integer;
)";

/// What the owner wants, whatever gateways say: their role cannot read it, and not raise log_from beyond it.
constexpr std::string_view kOwnersWish = R"(
CREATE TABLE mailgate.keep_at_least(
  id          integer PRIMARY KEY CHECK (id = 1),
  change_days integer NOT NULL CHECK (change_days >= 0)
);
INSERT INTO mailgate.keep_at_least VALUES (1, 0);
)";

/// As kForgetChanges, but for that. A superuser may migrate, too, and the function runs as the owner of the tables that were there.
constexpr std::string_view kForgetChanges6 = R"(
DO $$ BEGIN
  EXECUTE format('ALTER TABLE mailgate.keep_at_least OWNER TO %I',
    (SELECT tableowner FROM pg_tables WHERE schemaname = 'mailgate' AND tablename = 'meta'));
END $$;
CREATE OR REPLACE FUNCTION mailgate.forget_changes() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  now_secs bigint := floor(extract(epoch FROM now()));
  keep bigint;
  had bigint;
  at_least bigint;
  young bigint;
  guarded bigint;
  kept_from bigint;
BEGIN
  PERFORM 1 FROM mailgate.meta WHERE id = 1 FOR UPDATE;
  IF EXISTS (SELECT 1 FROM mailgate.member WHERE seen > now() - interval '30 days' AND keeps_changes IS NULL) THEN
    RETURN 0;
  END IF;
  SELECT max(keeps_changes), min(position) INTO keep, had FROM mailgate.member WHERE seen > now() - interval '30 days';
  IF keep IS NULL OR keep < 1 OR had < 1 THEN
    RETURN 0;
  END IF;
  SELECT change_days INTO at_least FROM mailgate.keep_at_least WHERE id = 1;
  SELECT min(version) FILTER (WHERE at >= now_secs - keep * 86400), min(version) FILTER (WHERE at >= now_secs - at_least * 86400)
    INTO young, guarded FROM mailgate.change_log;
  SELECT least(greatest(m.log_from, least(m.version, had, young)), guarded) INTO kept_from FROM mailgate.meta m WHERE id = 1;
  IF NOT EXISTS (SELECT 1 FROM mailgate.change_log WHERE version < kept_from) THEN
    RETURN 0;
  END IF;
  UPDATE mailgate.meta SET log_from = kept_from WHERE id = 1 AND log_from < kept_from;
  DELETE FROM mailgate.change_log WHERE (version, seq) IN (SELECT version, seq FROM mailgate.change_log
    WHERE version < kept_from ORDER BY version, seq LIMIT 20000);
  RETURN kept_from;
END $$;
)";

struct Step {
    std::string (*script)(
        bool by_day);  ///< of tables that are cut into days, where this database can do that
    int needs;         ///< the oldest version that a gateway must know to work with the tables afterwards
};

/// The n-th makes version n + 1. A released one is never changed.
constexpr std::array<Step, 6> kSteps{
    {{[](bool) { return std::string(kTables1); }, 1},
     {[](bool) { return std::string(kTokens); }, 2},
     {journalTables, 2},
     {[](bool) { return journalTables4().append(kTicketKeys).append(kDrains); }, 2},
     {[](bool by_day) { return std::string(kLogRetention).append(by_day ? kForgetChanges : ""); }, 2},
     {[](bool by_day) { return journalTables6().append(kOwnersWish).append(by_day ? kForgetChanges6 : ""); },
      2}}};
constexpr int kCurrent = static_cast<int>(kSteps.size());

/// What gateways need, and no more: the log is only ever added to, but for what kForgetChanges removes.
constexpr std::string_view kGrants = R"(
GRANT USAGE ON SCHEMA mailgate TO {0};
GRANT SELECT, UPDATE ON mailgate.meta TO {0};
GRANT SELECT, INSERT ON mailgate.change_log TO {0};
GRANT SELECT, INSERT, UPDATE, DELETE ON mailgate.rule, mailgate.rule_set, mailgate.member,
 mailgate.drain TO {0};
GRANT SELECT, INSERT, DELETE ON mailgate.ticket_key TO {0};
)";

/// Roles to whom all this was granted before.
constexpr std::string_view kGranted =
    "SELECT DISTINCT grantee FROM information_schema.role_table_grants WHERE table_schema = 'mailgate' AND"
    " table_name = 'meta' AND privilege_type = 'UPDATE' AND grantee <> 'PUBLIC' AND grantee NOT IN"
    " (SELECT tableowner FROM pg_catalog.pg_tables WHERE schemaname = 'mailgate' AND tablename = 'meta')";

/// What of kGrants shows whether the grants were made: to whom may grant nothing the server only says a warning.
constexpr std::string_view kHasGrants =
    "SELECT CASE WHEN pg_catalog.has_schema_privilege($1::text, 'mailgate', 'USAGE')"
    " AND pg_catalog.has_table_privilege($1::text, 'mailgate.meta', 'UPDATE')"
    " AND pg_catalog.has_table_privilege($1::text, 'mailgate.rule', 'DELETE')"
    " AND pg_catalog.has_table_privilege($1::text, 'mailgate.session', 'INSERT') THEN 1 ELSE 0 END";

/// What brings all to one owner, that of the first table: a superuser may have migrated, and the functions, which run as their owner,
/// need the tables to be the same one's. Where only the first table is a superuser's, it is that of the schema. What others have made
/// in the schema is theirs.
constexpr std::string_view kStrays = R"(
WITH owner AS (SELECT n.oid AS schema, r.oid AS role, r.rolname AS name
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_roles r ON r.oid IN (c.relowner, n.nspowner)
  WHERE n.nspname = 'mailgate' AND c.relname = 'meta' ORDER BY r.rolsuper, r.oid <> c.relowner LIMIT 1)
SELECT format('ALTER TABLE mailgate.%I OWNER TO %I', c.relname, owner.name)
  FROM pg_catalog.pg_class c JOIN owner ON c.relnamespace = owner.schema
  WHERE c.relkind IN ('r', 'p') AND c.relowner <> owner.role AND (c.relname ~ '^(meta|rule|rule_set|change_log|member|ticket_key|'
    'drain|keep_at_least|journal|writer|missed|session|refused|further_mail|mail)$'
    OR c.relispartition AND c.relname ~ '^(session|refused|further_mail|mail)_[0-9]{8}$')
UNION ALL
SELECT format('ALTER FUNCTION mailgate.%I(%s) OWNER TO %I', p.proname, pg_get_function_identity_arguments(p.oid), owner.name)
  FROM pg_catalog.pg_proc p JOIN owner ON p.pronamespace = owner.schema
  WHERE p.proowner <> owner.role AND p.proname IN ('make_day', 'drop_old_days', 'forget_changes')
ORDER BY 1
)";

std::string quotedName(std::string_view name) {
    std::string quoted = "\"";
    for (const char character : name)
        quoted += character == '"' ? "\"\"" : std::string(1, character);
    return quoted + '"';
}

/// Of 128 bits, so that two fleets have the same only if one is the other's copy.
std::string newFleetId() {
    std::random_device random;
    std::string id;
    for (int part = 0; part < 4; ++part)
        id += fmt::format("{:08x}", random());
    return id;
}

/// 0: there are no tables.
int schemaOf(Connection& connection, Deadline deadline) {
    // Not information_schema, which has only what the role may use.
    const Rows there = connection.query(
        "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'mailgate' AND c.relname = 'meta'",
        {}, deadline);
    if (there.number(0, 0) == 0) return 0;
    const Rows rows = connection.query("SELECT schema FROM mailgate.meta WHERE id = 1", {}, deadline);
    if (rows.size() == 0)
        throw StoreError(StoreError::Kind::Damaged,
                         "the fleet's database: table mailgate.meta is empty: restore it from a backup");
    return static_cast<int>(rows.number(0, 0));
}

/// Of the role that --grant names. Throws StoreError.
void requireGrantable(const std::string& role) {
    if (role != "public") return;
    throw StoreError(StoreError::Kind::BadInput,
                     "\"public\" is PostgreSQL's word for everybody who may connect: give --grant the role "
                     "that the gateways log in as");
}

/// Throws StoreError where it has not got what it needs.
void requireGranted(Connection& connection, const std::string& shown, const std::string& role,
                    Deadline deadline) {
    if (connection.query(std::string(kHasGrants), {role}, deadline).number(0, 0) != 0) return;
    throw StoreError(StoreError::Kind::Other,
                     fmt::format("the fleet's database {}: nothing was changed: this role may not give {} "
                                 "what gateways need: give --url with the role that owns the tables",
                                 shown, printable(role)));
}

void grantTo(Connection& connection, const std::string& role, bool by_day, Deadline deadline) {
    connection.run(fmt::format(kGrants, quotedName(role)), deadline);
    connection.run(journalGrants(by_day, quotedName(role)), deadline);
    if (by_day)
        connection.run(
            fmt::format("GRANT EXECUTE ON FUNCTION mailgate.forget_changes() TO {}", quotedName(role)),
            deadline);
}

/// Where it is PostgreSQL itself. `must`: throws StoreError where this role cannot do it.
void bringToOneOwner(Connection& connection, const std::string& shown, bool must, const Deadline& deadline) {
    const Rows strays = connection.query(std::string(kStrays), {}, deadline);
    if (strays.size() == 0) return;
    std::string script;
    for (std::size_t row = 0; row < strays.size(); ++row)
        script += fmt::format("{}{}", row == 0 ? "" : "; ", strays.view(row, 0));
    connection.run("SAVEPOINT owners", deadline);
    try {
        // Who reads a table for long must not have all others wait for the rest meanwhile.
        connection.run("SET LOCAL lock_timeout = '3s'; " + script + "; SET LOCAL lock_timeout TO DEFAULT",
                       deadline);
    } catch (const StoreError& error) {
        if (connection.broken()) throw;
        if (must && error.kind() == StoreError::Kind::Locked) throw;
        if (must)
            throw StoreError(
                StoreError::Kind::Other,
                fmt::format(
                    "the fleet's database {}: nothing was changed: not all of schema mailgate belongs to one "
                    "owner, since a superuser has made some of it: say as a superuser (psql): {}",
                    shown, script));
        connection.run("ROLLBACK TO SAVEPOINT owners", deadline);
    }
}

/// By what it says of its version.
bool isPostgres(std::string_view version) noexcept {
    return version.starts_with("PostgreSQL") && version.find("-YB-") == std::string_view::npos;
}

[[noreturn]] void failNewer(const std::string& shown, std::int64_t schema) {
    throw StoreError(
        StoreError::Kind::NewerSchema,
        fmt::format("the fleet's database {} has schema {}, and this version of mailgate knows {} at "
                    "most: install the version that the other gateways have",
                    shown, schema, kCurrent));
}

}  // namespace

bool isPostgres(Connection& connection, Deadline deadline) {
    return isPostgres(connection.query("SELECT pg_catalog.version()", {}, deadline).view(0, 0));
}

bool isByDay(Connection& connection, Deadline deadline) {
    return connection
               .query(
                   "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid ="
                   " c.relnamespace WHERE n.nspname = 'mailgate' AND c.relname = 'session' AND c.relkind = "
                   "'p'",
                   {}, deadline)
               .number(0, 0) > 0;
}

FleetStore::Migration migrate(Connection& connection, const std::string& shown, const std::string& grant,
                              const std::function<Deadline()>& deadline) {
    if (!grant.empty()) requireGrantable(grant);
    // Whose role this is, the database's owner must not choose which functions it calls.
    connection.run("BEGIN; SET LOCAL search_path = pg_catalog, pg_temp", deadline());
    connection.query(fmt::format("SELECT pg_advisory_xact_lock({})", kMigrationLock), {}, deadline());
    const int from = schemaOf(connection, deadline());
    if (from > kCurrent) failNewer(shown, from);
    if (from == 0) {
        // CREATE SCHEMA IF NOT EXISTS wants a right on the database even where the schema exists.
        const Rows there = connection.query(
            "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = 'mailgate'", {}, deadline());
        if (there.number(0, 0) == 0) connection.run("CREATE SCHEMA mailgate", deadline());
    }
    const bool days = isPostgres(connection, deadline());
    for (int at = from; at < kCurrent; ++at) {
        const Step& step = kSteps[static_cast<std::size_t>(at)];
        connection.run(step.script(days), deadline());
        if (at == 0)
            connection.query("INSERT INTO mailgate.meta VALUES (1, 0, 0, $1, 0, 1)", {newFleetId()},
                             deadline());
        connection.run(fmt::format("UPDATE mailgate.meta SET schema = {}, needs = {}", at + 1, step.needs),
                       deadline());
    }
    if (days) bringToOneOwner(connection, shown, !grant.empty(), deadline());
    const bool by_day = isByDay(connection, deadline());
    if (from > 0 && from < kCurrent) {
        const Rows granted = connection.query(std::string(kGranted), {}, deadline());
        for (std::size_t row = 0; row < granted.size(); ++row)
            grantTo(connection, granted.text(row, 0), by_day, deadline());
    }
    if (!grant.empty()) {
        grantTo(connection, grant, by_day, deadline());
        if (days) requireGranted(connection, shown, grant, deadline());
    }
    connection.run("COMMIT", deadline());
    return {from, kCurrent};
}

void requireUsable(std::int64_t schema, std::int64_t needs, const std::string& shown) {
    if (needs > kCurrent) failNewer(shown, schema);
}

bool requireKnown(Connection& connection, const std::string& shown, Deadline deadline) {
    const Rows rows = connection.query(
        "SELECT schema, needs, pg_catalog.version() FROM mailgate.meta WHERE id = 1", {}, deadline);
    if (rows.size() == 0)
        throw StoreError(
            StoreError::Kind::Open,
            fmt::format("the fleet's database {} is not made yet: mailgate fleet migrate", shown));
    requireUsable(rows.number(0, 0), rows.number(0, 1), shown);
    if (rows.number(0, 0) < kCurrent)
        throw StoreError(
            StoreError::Kind::Other,
            fmt::format("the fleet's database {} has schema {}, and this version of mailgate needs {}: "
                        "mailgate fleet migrate",
                        shown, rows.number(0, 0), kCurrent));
    return isPostgres(rows.view(0, 2));
}

}  // namespace mailgate::store::postgres
