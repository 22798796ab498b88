// SPDX-License-Identifier: Apache-2.0
/// \file  A file of rules as earlier versions of mailgate made it, to the letter: what sqlite3's .dump printed of it.
#pragma once

namespace mailgate::store {

/// The second schema: rules of a person and of fail2ban, and one that was removed again.
constexpr const char* kSecondSchema = R"sql(
BEGIN TRANSACTION;
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
  last_hit_at INTEGER, client_sessions INTEGER
  CHECK (client_sessions BETWEEN 0 AND 1000000 AND verdict = 'allow' OR client_sessions IS NULL), client_rate INTEGER
  CHECK (client_rate BETWEEN 0 AND 1000000 AND verdict = 'allow' OR client_rate IS NULL),
  UNIQUE (network, listener, verdict)
) STRICT;
INSERT INTO access_rule VALUES(1,'198.51.100.0/24','allow','mx','ACME',1795000000,'root',NULL,0,NULL,20,NULL);
INSERT INTO access_rule VALUES(2,'203.0.113.7','deny','','',1795000000,'program fail2ban mailgate',NULL,0,NULL,NULL,NULL);
CREATE TABLE access_audit(
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  at      INTEGER NOT NULL DEFAULT (unixepoch()),
  who     TEXT NOT NULL,
  action  TEXT NOT NULL,
  rule_id INTEGER NOT NULL,
  before  TEXT,
  after   TEXT
) STRICT;
INSERT INTO access_audit VALUES(1,1795000000,'root','add',1,NULL,'allow 198.51.100.0/24 listener=mx client_sessions=20 ACME');
INSERT INTO access_audit VALUES(2,1795000000,'program fail2ban mailgate','add',2,NULL,'deny 203.0.113.7');
INSERT INTO access_audit VALUES(3,1795000000,'root','add',3,NULL,'deny 203.0.113.9');
INSERT INTO access_audit VALUES(4,1795000000,'root','remove',3,'deny 203.0.113.9',NULL);
CREATE TABLE access_meta(
  id            INTEGER PRIMARY KEY CHECK (id = 1),
  rules_version INTEGER NOT NULL,
  acting        TEXT NOT NULL
) STRICT;
INSERT INTO access_meta VALUES(1,5,'');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('access_audit',4);
INSERT INTO sqlite_sequence VALUES('access_rule',3);
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
CREATE TRIGGER access_rule_added AFTER INSERT ON access_rule BEGIN
  UPDATE access_meta SET rules_version = rules_version + 1;
  INSERT INTO access_audit(who, action, rule_id, after) VALUES ((SELECT coalesce(nullif(acting, ''), 'sqlite3') FROM access_meta), 'add', NEW.id, NEW.verdict || ' ' || NEW.network || CASE WHEN NEW.listener <> '' THEN ' listener=' || NEW.listener ELSE '' END || CASE WHEN NEW.expires_at IS NOT NULL THEN ' expires=' || coalesce(strftime('%Y-%m-%dT%H:%M:%SZ', NEW.expires_at, 'unixepoch'), NEW.expires_at) ELSE '' END || CASE WHEN NEW.client_sessions IS NOT NULL THEN ' client_sessions=' || NEW.client_sessions ELSE '' END || CASE WHEN NEW.client_rate IS NOT NULL THEN ' client_rate=' || NEW.client_rate ELSE '' END || CASE WHEN NEW.note <> '' THEN ' ' || NEW.note ELSE '' END);
END;
CREATE TRIGGER access_rule_changed AFTER UPDATE OF id, network, verdict, listener, note, created_at, created_by, expires_at, client_sessions, client_rate ON access_rule BEGIN
  UPDATE access_meta SET rules_version = rules_version + 1;
  INSERT INTO access_audit(who, action, rule_id, before, after) VALUES ((SELECT coalesce(nullif(acting, ''), 'sqlite3') FROM access_meta), 'change', NEW.id, OLD.verdict || ' ' || OLD.network || CASE WHEN OLD.listener <> '' THEN ' listener=' || OLD.listener ELSE '' END || CASE WHEN OLD.expires_at IS NOT NULL THEN ' expires=' || coalesce(strftime('%Y-%m-%dT%H:%M:%SZ', OLD.expires_at, 'unixepoch'), OLD.expires_at) ELSE '' END || CASE WHEN OLD.client_sessions IS NOT NULL THEN ' client_sessions=' || OLD.client_sessions ELSE '' END || CASE WHEN OLD.client_rate IS NOT NULL THEN ' client_rate=' || OLD.client_rate ELSE '' END || CASE WHEN OLD.note <> '' THEN ' ' || OLD.note ELSE '' END, NEW.verdict || ' ' || NEW.network || CASE WHEN NEW.listener <> '' THEN ' listener=' || NEW.listener ELSE '' END || CASE WHEN NEW.expires_at IS NOT NULL THEN ' expires=' || coalesce(strftime('%Y-%m-%dT%H:%M:%SZ', NEW.expires_at, 'unixepoch'), NEW.expires_at) ELSE '' END || CASE WHEN NEW.client_sessions IS NOT NULL THEN ' client_sessions=' || NEW.client_sessions ELSE '' END || CASE WHEN NEW.client_rate IS NOT NULL THEN ' client_rate=' || NEW.client_rate ELSE '' END || CASE WHEN NEW.note <> '' THEN ' ' || NEW.note ELSE '' END);
END;
CREATE TRIGGER access_rule_removed AFTER DELETE ON access_rule BEGIN
  UPDATE access_meta SET rules_version = rules_version + 1;
  INSERT INTO access_audit(who, action, rule_id, before) VALUES ((SELECT coalesce(nullif(acting, ''), 'sqlite3') FROM access_meta), 'remove', OLD.id, OLD.verdict || ' ' || OLD.network || CASE WHEN OLD.listener <> '' THEN ' listener=' || OLD.listener ELSE '' END || CASE WHEN OLD.expires_at IS NOT NULL THEN ' expires=' || coalesce(strftime('%Y-%m-%dT%H:%M:%SZ', OLD.expires_at, 'unixepoch'), OLD.expires_at) ELSE '' END || CASE WHEN OLD.client_sessions IS NOT NULL THEN ' client_sessions=' || OLD.client_sessions ELSE '' END || CASE WHEN OLD.client_rate IS NOT NULL THEN ' client_rate=' || OLD.client_rate ELSE '' END || CASE WHEN OLD.note <> '' THEN ' ' || OLD.note ELSE '' END);
END;
COMMIT;
PRAGMA application_id = 1835491700;
PRAGMA user_version = 2;
)sql";

}  // namespace mailgate::store
