# SPDX-License-Identifier: Apache-2.0
"""Journals of gateways that meet in a real PostgreSQL: every record is there once, whatever is killed, frozen or restored.

MAILGATE_ROUNDS=100 python3 -m unittest test_fleet_journal.Shipping.test_exactly_once_whatever_is_killed     # by hand: so many rounds"""

import contextlib
import http.client
import os
import pathlib
import random
import re
import shutil
import sqlite3
import string
import threading
import unittest

from harness import backend, mailgate, proxyclient
from harness.postgres import Postgres
from harness.process import Scratch, wait_until

ROUNDS = int(os.environ.get("MAILGATE_ROUNDS", "3"))
FAKETIME = f"/usr/lib/{os.uname().machine}-linux-gnu/faketime/libfaketimeMT.so.1"
DAY_MS = 86_400_000

scratch = server = database = None
gateways = []


def make_gateway(name, env=None, **settings):
    return mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", server.port)], name=name,
                             gateway={"name": name, "workers": 1}, admin={"socket": "mailgate.sock"},
                             prefix=["env", *(f"{key}={value}" for key, value in env.items())] if env else [],
                             fleet={"url": database.url("mailgate", "word", "mailgate")}, **settings)


def setUpModule():
    global scratch, server, database
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    server = scratch.start(backend.Backend(backend.smtp))
    database = scratch.start(Postgres(scratch))
    gateways.extend(make_gateway(name) for name in ("mx-1", "mx-2"))
    gateways[0].write_config()
    database.sql(ran(gateways[0], "snippet", "postgresql"))
    database.sql("ALTER ROLE mailgate PASSWORD 'word'; ALTER ROLE mailgate_owner PASSWORD 'word'")
    ran(gateways[0], "fleet", "migrate", "--url", database.url("mailgate_owner", "word", "mailgate"), "--grant", "mailgate")
    for gateway in gateways:
        join(gateway)


def join(gateway):
    gateway.write_config()
    ran(gateway, "fleet", "join")
    scratch.start(gateway)


def ran(gateway, *arguments):
    done = gateway.run(*arguments)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def sql(text):
    return database.sql(text, "mailgate")


def standing(gateway):
    """None: it does not answer yet."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return gateway.ask("GET", "/v1/status")[1]["fleet"]["journal"]
    return None


def send(gateway, client, count=1, sender="Alice@partner.example"):
    """Sessions that have ended for their clients; what the journal has of them may come later."""
    for _ in range(count):
        with proxyclient.SMTP(gateway.port("smtp"), proxyclient.header_v2(client)) as session:
            session.ehlo("mail.partner.example")
            session.sendmail(sender, ["bob@example.net", "Carol@Example.net"], "Subject: x\r\n\r\ny\r\n")


def written_by(gateway):
    """The ids in its own journal: of sessions, and of each mail that of its session."""
    with contextlib.closing(sqlite3.connect(f"file:{gateway.journal}?mode=ro", uri=True)) as journal:
        sessions = [row[0] for row in journal.execute("SELECT id FROM session UNION ALL SELECT id FROM refused ORDER BY 1")]
        return sessions, [row[0] for row in journal.execute("SELECT s.id FROM mail m JOIN session s ON s.key = m.key / 256 ORDER BY 1")]


def there_of(gateway):
    """The same at the fleet's database."""
    name = gateway.gateway["name"]
    of_it = f"journal IN (SELECT id FROM mailgate.journal WHERE gateway = '{name}')"
    return (sql(f"SELECT id FROM mailgate.session WHERE {of_it} UNION ALL SELECT id FROM mailgate.refused WHERE {of_it} ORDER BY 1").split(),
            sql(f"SELECT s.id FROM mailgate.mail m JOIN mailgate.session s USING (journal, key, at_ms) WHERE {of_it} ORDER BY 1").split())


def wait_shipped(gateway, sessions):
    """Until its journal has so many, and the database the same."""
    wait_until(lambda: len(written_by(gateway)[0]) >= sessions, f"{sessions} sessions in the journal of {gateway.gateway['name']}")
    wait_until(lambda: there_of(gateway) == written_by(gateway),
               lambda: f"all of {gateway.gateway['name']}'s journal at the database: {standing(gateway)}")


class Traffic:
    """Sessions at one gateway, one after the other, until it is stopped."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.over.is_set():
            try:
                send(self.gateway, "198.51.100.7")
            except (OSError, proxyclient.smtplib.SMTPException):
                self.over.wait(0.05)  # it is being killed

    def stop(self):
        self.over.set()
        self.thread.join()


class Shipping(unittest.TestCase):
    def test_what_is_written_can_be_searched(self):
        gateway = gateways[0]
        before = len(written_by(gateway)[0])
        send(gateway, "203.0.113.77", sender="Alice@Partner.Example")
        wait_shipped(gateway, before + 1)
        row = sql("SELECT s.client, s.listener, s.protocol, s.helo, s.\"end\", m.sender, m.recipients, m.accepted, m.sender_key, m.recipient_keys,"
                  " s.at_ms = s.started_ms + s.duration_ms FROM mailgate.mail m JOIN mailgate.session s USING (journal, key, at_ms)"
                  " WHERE s.client <<= '203.0.113.77'")
        self.assertEqual(row, "203.0.113.77|smtp|smtp|mail.partner.example|client_quit|Alice@Partner.Example|"
                              "{bob@example.net,Carol@Example.net}|t|partner.example@alice|"
                              "{@example.net,bob@example.net,carol@example.net}|t")
        told = standing(gateway)
        self.assertEqual((told["connected"], told["failure"], told["missed"], told["rejected"]), (True, None, 0, 0))
        metrics = gateway.ask_text("GET", "/metrics")[1]
        self.assertRegex(metrics, r"(?m)^mailgate_fleet_journal_connected 1$")
        self.assertRegex(metrics, r"(?m)^mailgate_fleet_journal_shipped_total [1-9]")
        self.assertRegex(metrics, r"(?m)^mailgate_fleet_journal_lag_seconds [0-9]")
        # As idle_session_timeout does it, and firewalls.
        failed = len(gateway.events("fleet.journal_failed"))
        sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'mailgate' AND state = 'idle'")
        send(gateway, "203.0.113.77")
        wait_shipped(gateway, before + 2)
        self.assertEqual(len(gateway.events("fleet.journal_failed")), failed)

    def test_exactly_once_whatever_is_killed(self):
        seed = random.randrange(10**9)
        chance = random.Random(seed)
        for gateway in gateways:  # that has one in its journal, however soon it is killed
            send(gateway, "198.51.100.7")
            wait_shipped(gateway, 1)
        with self.subTest(seed=seed):
            for _ in range(ROUNDS):
                traffic = [Traffic(gateway) for gateway in gateways]
                try:
                    for victim in chance.sample([database, *gateways], chance.randint(1, 3)):
                        threading.Event().wait(chance.uniform(0, 1))
                        victim.kill()
                        if victim is database:
                            victim.start()
                        else:
                            victim.launch()
                finally:
                    for one in traffic:
                        one.stop()
                for gateway in gateways:
                    wait_until(lambda: standing(gateway), "the gateway to answer")
                    wait_shipped(gateway, 1)
        self.assertGreater(int(sql("SELECT count(*) FROM mailgate.mail")), 0)
        self.assertEqual(sql("SELECT gateway, count(*) FROM mailgate.journal WHERE gateway LIKE 'mx-_' GROUP BY 1 ORDER BY 1"), "mx-1|1\nmx-2|1")
        print(f"{ROUNDS} rounds, {sql('SELECT count(*) FROM mailgate.session')} sessions", flush=True)

    def test_an_outage_holds_up_nobody_and_is_made_up_for(self):
        gateway = gateways[1]
        send(gateway, "198.51.100.8")
        wait_shipped(gateway, 1)
        before = len(gateway.events("fleet.journal_failed")), len(gateway.events("fleet.journal_recovered"))
        sessions = len(written_by(gateway)[0])
        database.kill()
        try:
            send(gateway, "198.51.100.8", 5)
            wait_until(lambda: (told := standing(gateway))["behind"] >= 5 and not told["connected"] and told["failure"],
                       lambda: f"the outage in the status: {standing(gateway)}")
            self.assertRegex(gateway.ask_text("GET", "/metrics")[1], r"(?m)^mailgate_fleet_journal_behind [1-9]")
            self.assertIn("of this gateway's journal are not in the fleet's database yet", gateway.run("status").stdout)
            gateway.wait_events(before[0] + 1, "fleet.journal_failed")
            send(gateway, "198.51.100.8", 3)
            wait_until(lambda: standing(gateway)["behind"] >= 8, lambda: f"those of during the outage: {standing(gateway)}")
        finally:
            database.start()
        wait_shipped(gateway, sessions + 8)
        gateway.wait_events(before[1] + 1, "fleet.journal_recovered")
        wait_until(lambda: standing(gateway)["behind"] == 0, "nothing to be left")
        self.assertEqual((len(gateway.events("fleet.journal_failed")), len(gateway.events("fleet.journal_recovered"))),
                         (before[0] + 1, before[1] + 1))

    def test_what_no_database_can_have_holds_up_nothing(self):
        gateway = gateways[0]
        wait_shipped(gateway, 0)
        sessions = len(written_by(gateway)[0])
        database.kill()
        try:
            for number in (1, 2, 3):  # a session may be written after one that began later
                send(gateway, f"192.0.2.{number}")
                wait_until(lambda number=number: len(written_by(gateway)[0]) == sessions + number, "one more session in the journal")
            noise = "".join(random.choices(string.printable.replace("\0", ""), k=20_000))
            with contextlib.closing(sqlite3.connect(gateway.journal)) as journal, journal:
                keys = [row[0] for row in journal.execute("SELECT key FROM session ORDER BY key DESC LIMIT 3")]
                journal.execute("UPDATE session SET helo = CAST(x'41ff42' AS TEXT) WHERE key = ?", (keys[2],))
                journal.execute("UPDATE session SET user = ? WHERE key = ?", (noise, keys[1]))
        finally:
            database.start()
        wait_until(lambda: len(there_of(gateway)[0]) == sessions + 2, "the other two")
        self.assertEqual(gateway.wait_event("fleet.journal_rejected")["event"], "fleet.journal_rejected")
        self.assertEqual(standing(gateway)["rejected"], 1)
        self.assertEqual(sql("SELECT client, helo FROM mailgate.session WHERE client <<= '192.0.2.0/24' ORDER BY 1"),
                         "192.0.2.1|A\\xFFB\n192.0.2.3|mail.partner.example")
        with contextlib.closing(sqlite3.connect(gateway.journal)) as journal, journal:
            journal.execute("DELETE FROM mail WHERE key / 256 = ?", (keys[1],))
            journal.execute("DELETE FROM session WHERE key = ?", (keys[1],))

    def test_days_that_nobody_wants_any_more_go(self):
        wait_shipped(gateways[1], 0)
        tables = "SELECT relname FROM pg_class WHERE relnamespace = 'mailgate'::regnamespace AND relkind = 'r' AND relname ~ '_[0-9]{8}$'"
        today = int(sql("SELECT floor(extract(epoch FROM now()) / 86400)::integer"))
        for days_ago in (200, 120, 30):
            sql(f"SELECT mailgate.make_day({today - days_ago})")
        names = {days_ago: sql(f"SELECT to_char(date '1970-01-01' + {today - days_ago}, 'YYYYMMDD')") for days_ago in (200, 120, 30, 0, -3)}
        # The owner's word counts, whatever gateways want.
        page = (pathlib.Path(__file__).parents[2] / "docs/fleet.md").read_text()
        sql(re.search(r"(?s)    (CREATE FUNCTION mailgate.keep_sessions.*?)\n\n", page)[1].replace("400", "150").replace(", 30)", ", 1)"))
        self.addCleanup(sql, "DROP FUNCTION mailgate.keep_sessions() CASCADE")
        with contextlib.closing(database.connection("mailgate")) as reader:
            # Somebody reads it for long: no gateway waits for that.
            reader.run(f"BEGIN; SELECT count(*) FROM mailgate.mail_{names[200]};")
            self.start_anew(gateways[1])
            sessions = len(written_by(gateways[1])[0])
            send(gateways[1], "198.51.100.9")
            wait_shipped(gateways[1], sessions + 1)
            self.assertIn(f"mail_{names[200]}", sql(tables).split())
        self.start_anew(gateways[1])
        wait_until(lambda: f"session_{names[200]}" not in sql(tables).split(), "the old day to go")
        left = set(sql(tables).split())
        self.assertEqual({one for one in left if one.endswith(names[200])}, set())
        self.assertIn(f"session_{names[120]}", left)
        self.assertEqual({one for one in left if one.endswith(names[30])}, {f"session_{names[30]}", f"mail_{names[30]}", f"further_mail_{names[30]}"})
        for days_ago in (0, -3):
            self.assertIn(f"session_{names[days_ago]}", left)


    def start_anew(self, gateway):
        gateway.stop()
        gateway.log_file.unlink()
        gateway.start()


class Others(unittest.TestCase):
    def test_masked_before_it_leaves(self):
        masking = make_gateway("masking", journal={"mask_after": "1h"})
        join(masking)
        send(masking, "203.0.113.99", sender="x@[203.0.113.99]")
        wait_shipped(masking, 1)
        self.assertEqual(sql("SELECT s.client, m.sender FROM mailgate.mail m JOIN mailgate.session s USING (journal, key, at_ms)"
                             " JOIN mailgate.journal j ON j.id = s.journal WHERE gateway = 'masking'"),
                         "203.0.113.0/24|x@[203.0.113.0/24]")

    def test_a_gateway_that_has_not_joined_or_does_not_want_to_keeps_its_journal(self):
        silent = make_gateway("silent")
        silent.fleet["journal"] = False
        join(silent)
        stranger = scratch.start(make_gateway("stranger"))
        for gateway in (silent, stranger):
            send(gateway, "203.0.113.5")
            wait_until(lambda: len(written_by(gateway)[0]) == 1, "the session in its own journal")
        wait_until(lambda: "has not joined" in (standing(stranger)["failure"] or ""), "the reason in the status")
        self.assertIsNone(standing(silent))
        self.assertEqual(sql("SELECT count(*) FROM mailgate.journal WHERE gateway IN ('silent', 'stranger')"), "0")
        ran(stranger, "fleet", "join")
        wait_shipped(stranger, 1)
        ran(stranger, "fleet", "leave")
        wait_until(lambda: "has not joined" in (standing(stranger)["failure"] or ""), "the reason in the status")
        send(stranger, "203.0.113.5")
        wait_until(lambda: standing(stranger)["behind"] == 1, "the one that stays here")
        self.assertEqual(len(there_of(stranger)[0]), 1)

    @unittest.skipIf(mailgate.SLACK > 1, "sanitizers and faketime both replace the C library's functions")
    def test_a_clock_that_is_far_off_holds_up_nothing(self):
        ahead = make_gateway("ahead", {"LD_PRELOAD": FAKETIME, "FAKETIME": "+40d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
        behind = make_gateway("behind", {"LD_PRELOAD": FAKETIME, "FAKETIME": "-400d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
        for gateway in (ahead, behind):
            join(gateway)
            send(gateway, "203.0.113.5")
            wait_shipped(gateway, 1)
        today = int(sql("SELECT floor(extract(epoch FROM now()) / 86400)::integer"))
        for name, day in (("ahead", today + 3), ("behind", today - 90)):
            at = int(sql(f"SELECT at_ms FROM mailgate.session JOIN mailgate.journal j ON j.id = journal WHERE gateway = '{name}'"))
            self.assertAlmostEqual(at / DAY_MS, day + (1 if name == "ahead" else 0), delta=1.01)

    def test_a_journal_from_a_backup_goes_on_where_it_parts(self):
        gateway = make_gateway("restored")
        join(gateway)
        send(gateway, "203.0.113.6", 3)
        wait_shipped(gateway, 3)
        gateway.stop()
        kept = pathlib.Path(f"{gateway.journal}.kept")
        shutil.copy(gateway.journal, kept)  # the last one to close it has taken the log into it
        common = set(written_by(gateway)[0])
        self.restart(gateway)
        send(gateway, "203.0.113.6", 2)
        wait_shipped(gateway, 5)
        lost = set(written_by(gateway)[0]) - common
        gateway.stop()
        for end in ("-wal", "-shm"):
            pathlib.Path(f"{gateway.journal}{end}").unlink(missing_ok=True)
        shutil.copy(kept, gateway.journal)
        self.restart(gateway)
        send(gateway, "203.0.113.6", 4)  # under the keys that the lost ones have
        wait_until(lambda: len(written_by(gateway)[0]) == 7, "the four in its journal")
        wait_until(lambda: there_of(gateway)[0] == sorted([*written_by(gateway)[0], *lost]), lambda: f"all of them once: {standing(gateway)}")
        self.assertEqual(sql("SELECT count(*), max(number) FROM mailgate.journal WHERE gateway = 'restored'"), "2|2")
        self.assertIn("from a backup", gateway.wait_event("fleet.journal_placed")["detail"])
        gateway.stop()
        gateway.journal.unlink()
        self.restart(gateway)
        before = there_of(gateway)[0]
        send(gateway, "203.0.113.6", 2)
        wait_until(lambda: len(there_of(gateway)[0]) == len(before) + 2, lambda: f"those of a new journal: {standing(gateway)}")
        self.assertEqual(there_of(gateway)[0], sorted([*before, *written_by(gateway)[0]]))
        sql("UPDATE mailgate.writer SET process = 'another', lineage = 'another' WHERE gateway = 'restored'")
        send(gateway, "203.0.113.6")
        wait_until(lambda: "another gateway called restored" in (standing(gateway)["failure"] or ""), "the other one in the status")
        self.assertIn("another gateway called restored", gateway.wait_event("fleet.journal_failed")["detail"])
        self.assertIn("was heard of", gateway.run("fleet", "join").stderr)  # as if the other one still ran
        sql("UPDATE mailgate.writer SET since = now() - interval '20s' WHERE gateway = 'restored';"
            " UPDATE mailgate.journal SET seen = now() - interval '20s' WHERE gateway = 'restored'")
        ran(gateway, "fleet", "join")
        wait_until(lambda: len(there_of(gateway)[0]) == len(before) + 3, lambda: f"the last one too: {standing(gateway)}")

    def test_a_place_at_the_database_that_was_altered_or_is_gone_is_found_again(self):
        gateway = make_gateway("placed")
        join(gateway)
        send(gateway, "203.0.113.8", 2)
        wait_shipped(gateway, 2)
        sessions = 2
        for harm in ("UPDATE mailgate.journal SET position = 'x' WHERE gateway = 'placed'",
                     "UPDATE mailgate.journal SET position = '0 0 - 0 0 - 0 0 - 0' WHERE gateway = 'placed'",
                     "UPDATE mailgate.journal SET position = '99 1638400 01K 1 0 - 0 0 - 0' WHERE gateway = 'placed'",
                     "DELETE FROM mailgate.journal WHERE gateway = 'placed'"):
            sql(harm)
            send(gateway, "203.0.113.8")
            sessions += 1
            wait_shipped(gateway, sessions)
        gateway.wait_events(4, "fleet.journal_placed")
        self.assertEqual(gateway.events("fleet.journal_failed"), [])
        # A piece that was removed while the gateway was stopped, before any of it had come.
        gateway.stop()
        with contextlib.closing(sqlite3.connect(gateway.journal)) as journal, journal:
            journal.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'segment'")
        self.restart(gateway)
        told = gateway.wait_event("fleet.journal_missed")
        self.assertEqual((told["pieces"], told["records"]), (1, 16_384))
        self.assertRegex(told["detail"], r"^up to 16384 records of placed from \S+ to \S+$")
        wait_until(lambda: standing(gateway)["missing"], "them in the status")
        self.assertRegex(gateway.run("status").stdout, r"Up to 16,?384 records, up to \S+, are missing in the fleet's database")
        self.assertRegex(gateway.run("fleet", "status").stdout, r"(?m)^up to 16384 records of placed from \S+ to \S+ are missing")
        self.assertRegex(gateway.run("sessions", "--since", "1h").stderr, r"; up to 16384 records of placed from \S+ to \S+ are missing")
        before = gateway.run("sessions", "--until", "2020-01-01").stderr
        self.assertIn("asked the fleet's database", before)
        self.assertNotIn("missing", before)

    def restart(self, gateway):
        gateway.log_file.unlink()
        gateway.start()

    def test_tables_that_are_not_cut_into_days(self):
        """As other databases have them that speak PostgreSQL's protocol."""
        plain = make_gateway("plain")
        sql("CREATE DATABASE plain OWNER mailgate_owner TEMPLATE template0")
        url = database.url("mailgate_owner", "word", "plain")
        plain.fleet["url"] = database.url("mailgate", "word", "plain")
        plain.write_config()
        ran(plain, "fleet", "migrate", "--url", url)
        names = ("session", "refused", "further_mail", "mail")
        database.sql("SET ROLE mailgate_owner;" + "".join(
            f"CREATE TABLE mailgate.plain_{name} (LIKE mailgate.{name} INCLUDING ALL); DROP TABLE mailgate.{name};"
            f"ALTER TABLE mailgate.plain_{name} RENAME TO {name};" for name in names), "plain")
        ran(plain, "fleet", "migrate", "--url", url, "--grant", "mailgate")
        join(plain)
        send(plain, "203.0.113.7", 2)
        wait_until(lambda: database.sql("SELECT count(*) FROM mailgate.mail", "plain") == "2", "both mails")
        database.sql("UPDATE mailgate.session SET at_ms = 1 WHERE key = (SELECT min(key) FROM mailgate.session)", "plain")
        plain.stop()
        self.restart(plain)
        wait_until(lambda: database.sql("SELECT count(*) FROM mailgate.session", "plain") == "1", "the old one to be deleted")


if __name__ == "__main__":
    unittest.main()
