-- What version 1 of the journal's schema left behind: a sealed segment, and an open one of refused clients.
PRAGMA application_id = 1835493996;
PRAGMA user_version = 1;
CREATE TABLE session(
  key              INTEGER PRIMARY KEY,
  id               TEXT NOT NULL,
  started_ms       INTEGER NOT NULL,
  listener         TEXT NOT NULL,
  protocol         TEXT NOT NULL,
  client           TEXT NOT NULL,
  client_port      INTEGER NOT NULL,
  balancer         TEXT NOT NULL,
  destination      TEXT NOT NULL,
  destination_port INTEGER NOT NULL,
  allowed          INTEGER NOT NULL,
  rule             TEXT NOT NULL,
  upstream         TEXT NOT NULL,
  server           TEXT NOT NULL,
  helo             TEXT NOT NULL,
  user             TEXT NOT NULL,
  tls              TEXT NOT NULL,
  authenticated    INTEGER NOT NULL,
  mail_count       INTEGER NOT NULL,
  bytes_in         INTEGER NOT NULL,
  bytes_out        INTEGER NOT NULL,
  header_ms        INTEGER NOT NULL,
  connect_ms       INTEGER NOT NULL,
  greeting_ms      INTEGER NOT NULL,
  duration_ms      INTEGER NOT NULL,
  end              TEXT NOT NULL
) STRICT;
INSERT INTO session VALUES(16384,'01HF7YASTB0000000000000001',1699999999819,'smtp','smtp','198.51.100.7',36785,'10.0.0.10','203.0.113.10',25,1,'198.51.100.7','postfix','mx2','[198.51.100.7]','','',0,1,7761,402,0,1,3,181,'client_quit');
INSERT INTO session VALUES(16385,'01HF7YATQJ0000000000000002',1700000000754,'smtp','smtp','2001:db8:5::9',25250,'10.0.0.9','203.0.113.10',25,1,'11.0.0.0/8','postfix','mx1','mail4226.partner.example','bob','',0,1,26226,402,0,1,3,246,'client_quit');
CREATE TABLE refused(
  key              INTEGER PRIMARY KEY,
  id               TEXT NOT NULL,
  started_ms       INTEGER NOT NULL,
  listener         TEXT NOT NULL,
  protocol         TEXT NOT NULL,
  client           TEXT NOT NULL,
  client_port      INTEGER NOT NULL,
  balancer         TEXT NOT NULL,
  destination      TEXT NOT NULL,
  destination_port INTEGER NOT NULL,
  allowed          INTEGER NOT NULL,
  rule             TEXT NOT NULL,
  upstream         TEXT NOT NULL,
  server           TEXT NOT NULL,
  helo             TEXT NOT NULL,
  user             TEXT NOT NULL,
  tls              TEXT NOT NULL,
  authenticated    INTEGER NOT NULL,
  mail_count       INTEGER NOT NULL,
  bytes_in         INTEGER NOT NULL,
  bytes_out        INTEGER NOT NULL,
  header_ms        INTEGER NOT NULL,
  connect_ms       INTEGER NOT NULL,
  greeting_ms      INTEGER NOT NULL,
  duration_ms      INTEGER NOT NULL,
  end              TEXT NOT NULL
) STRICT;
INSERT INTO refused VALUES(32768,'01HF7YAVYF0000000000000003',1700000001999,'smtp','smtp','198.51.100.7',61011,'10.0.0.10','203.0.113.10',25,0,'','','','','','',0,0,0,402,0,-1,-1,1,'access');
CREATE TABLE mail(
  key             INTEGER PRIMARY KEY,
  sender          TEXT NOT NULL,
  recipients      TEXT NOT NULL,
  recipient_count INTEGER NOT NULL,
  size            INTEGER NOT NULL,
  queue_id        TEXT NOT NULL,
  reply           TEXT NOT NULL,
  accepted        INTEGER NOT NULL
) STRICT;
INSERT INTO mail VALUES(4194304,'sender35761@partner15761.example','user35761@example.net',1,7481,'','450 4.7.1 Client host [198.51.100.7] rejected',1);
INSERT INTO mail VALUES(4194560,'sender304226@partner4226.example','user4226@example.net',1,25946,'40000000002','250 2.0.0 Ok: queued as 40000000002',1);
CREATE TABLE segment(
  number    INTEGER PRIMARY KEY AUTOINCREMENT,
  refused   INTEGER NOT NULL,
  rows      INTEGER NOT NULL,
  first_ms  INTEGER NOT NULL,
  last_ms   INTEGER NOT NULL,
  opened_ms INTEGER NOT NULL,
  sealed    INTEGER NOT NULL DEFAULT 0,
  masked    INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO segment VALUES(1,0,2,1699999999819,1700000001000,1700000000000,1,0);
INSERT INTO segment VALUES(2,1,1,1700000001999,1700000002000,1700000002000,0,0);
CREATE TABLE term_page(
  key   INTEGER PRIMARY KEY,
  terms BLOB NOT NULL
) STRICT;
INSERT INTO term_page VALUES(16384,X'00009d953f2f0600');
INSERT INTO term_page VALUES(16385,X'00009d953f2f060001c0ab953f2f060000c001d98c31001001400080db1000220180deef1d285d300140203fd58ecd4200409a6dc00bee4800c08a6a5819be51018094498947dd5f00c0bb15ce12e264018021cfbd24926f0080613166e85a7f0180613166e85a7f0180349141d4048001c06db5ec2408960000b08fb14321a70040729141a87bb00040729151a87bb000400200800200c000800200800200c000400000000000e0');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('segment',2);
