# SPDX-License-Identifier: Apache-2.0
"""Gateways that share their rules in a real PostgreSQL: changes that are in force everywhere, and a database that freezes,
dies, is too new, or refuses its gateways."""

import concurrent.futures
import contextlib
import http.client
import itertools
import json
import pathlib
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
import unittest

import jsonschema

from harness import backend, mailgate, proxyclient
from harness.authority import Authority
from harness.browser import Browser
from harness.ports import reserve_port
from harness.postgres import PgBouncer, Postgres
from harness.process import Scratch, wait_until
from harness.terminal import Terminal
from test_console import DEFINITIONS

PASSWORD = "s3cret%40of/the-fleet"  # as the URL has it
NAMES = ("mx-1", "mx-2", "mx-3")

TICKET_SECRET = "the gateways have this one, and the database has not"

scratch = server = database = authority = None
gateways = []


def url(role="mailgate", options=""):
    return database.url(role, PASSWORD.replace("/", "%2F"), "mailgate", options)


def make_gateway(name, fleet_url=None, **settings):
    fleet = {"url": fleet_url or url()}
    listeners = [mailgate.listener("smtp", "mail")]
    if name in NAMES:
        certificate, key = authority.issue("mx.example.net")
        listeners.append(mailgate.listener("smtp", "mail", name="smtps", proxy="off", tls="implicit",
                                           certificates=[{"certificate": str(certificate), "key": str(key)}]))
    if name in NAMES[:2]:
        secret = scratch.folder(f"secret-{name}") / "tickets"
        secret.write_text(TICKET_SECRET + "\n")
        secret.chmod(0o640)
        fleet["ticket_secret"] = str(secret)
    return mailgate.Mailgate(scratch, listeners, [mailgate.upstream("mail", server.port)], name=name,
                             gateway={"name": name, "workers": 1}, admin={"socket": "mailgate.sock"}, fleet=fleet, **settings)


def setUpModule():
    global scratch, server, database, authority
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    server = scratch.start(backend.Backend(lambda connection: connection.send(b"220 mx.example.net ESMTP\r\n")))
    authority = Authority(scratch.path)
    database = scratch.start(Postgres(scratch, certificate=(pair := authority.issue("db.example.net"))[0], key=pair[1]))
    gateways.extend(make_gateway(name) for name in NAMES)
    gateways[0].console = {"address": f"127.0.0.1:{reserve_port()}"}
    gateways[0].write_config()
    database.sql(ran(gateways[0], "snippet", "postgresql"))
    word = PASSWORD.replace("%40", "@")
    for role in ("mailgate", "mailgate_owner"):
        database.sql(f"ALTER ROLE {role} PASSWORD '{word}'")
    ran(gateways[0], "fleet", "migrate", "--url", url("mailgate_owner"), "--grant", "mailgate")
    for gateway in gateways:
        gateway.write_config()
        ran(gateway, "fleet", "join")
        scratch.start(gateway)
    for gateway in gateways:
        wait_until(lambda: standing(gateway)["connected"], f"{gateway.gateway['name']} to reach the database")


def ran(gateway, *arguments, status=0):
    done = gateway.run(*arguments)
    assert done.returncode == status, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def insisted(gateway, *arguments):
    """What it prints: on a machine that is busy the database may not answer in time at first."""
    return wait_until(lambda: (done := gateway.run(*arguments)).returncode == 0 and done.stdout, f"{arguments} to be done")


def plan_of(gateway, command, *arguments, status=0):
    """What joining or pushing does or would do."""
    plan = json.loads(ran(gateway, "fleet", command, *arguments, "--json", status=status))
    jsonschema.Draft202012Validator({"$ref": f"#/$defs/fleet_{command}", "$defs": DEFINITIONS}).validate(plan)
    return plan


def verified(gateway, status=0):
    found = json.loads(ran(gateway, "fleet", "verify", "--json", status=status))
    jsonschema.Draft202012Validator({"$ref": "#/$defs/fleet_verify", "$defs": DEFINITIONS}).validate(found)
    return found


def fleet_told(gateway):
    """By the API."""
    told = gateway.ask("GET", "/api/v1/fleet")[1]
    jsonschema.Draft202012Validator({"$ref": "#/$defs/api_Fleet", "$defs": DEFINITIONS}).validate(told)
    return told


def fleet_page(gateway):
    """By the console, to somebody who has logged in just now."""
    password = "correct horse battery"
    if "person" not in gateway.run("console", "user", "list").stdout:
        done = gateway.run("console", "user", "add", "person", "--role", "viewer", stdin=password + "\n")
        assert done.returncode == 0, done.stderr
    browser = Browser(int(gateway.console["address"].rsplit(":", 1)[1])).log_in("person", password)
    return browser.open(browser.open("/").links["Fleet"][0])


def standing(gateway):
    return gateway.ask("GET", "/v1/status")[1]["fleet"]


def refuses(gateway, client):
    with proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2(client)) as session:
        return proxyclient.read_line(session).startswith(b"554 5.7.1")


def wait_refused(client, everywhere=True, expected=True):
    for gateway in gateways if everywhere is True else everywhere:
        wait_until(lambda: refuses(gateway, client) is expected, f"{gateway.gateway['name']} to decide otherwise about {client}")


class Sharing(unittest.TestCase):
    def test_a_change_is_in_force_everywhere_within_a_second(self):
        for number, gateway in enumerate(gateways):
            gateway.access("deny", f"198.51.100.{number}", "--note", "spam run", "--ticket", "4711")
            changed = time.monotonic()
            wait_refused(f"198.51.100.{number}")
            self.assertLess(time.monotonic() - changed, 5 * mailgate.SLACK)
        lists = [json.loads(gateway.access("list", "--match", "198.51.100.1", "--json"))["rules"] for gateway in gateways]
        for rules in lists:
            self.assertEqual([(rule["id"], rule["note"], rule["ticket"]) for rule in rules],
                             [(lists[0][0]["id"], "spam run", "4711")])
        gateways[2].access("remove", "198.51.100.0")
        wait_refused("198.51.100.0", expected=False)

    def test_one_trail_tells_who_and_where_and_any_gateway_takes_back(self):
        gateways[1].access("deny", "198.51.100.64/26", "--note", "first")
        gateways[1].access("deny", "198.51.100.64/26", "--note", "second")
        wait_refused("198.51.100.70")

        def trail(gateway):
            changes = json.loads(gateway.access("history", "198.51.100.64/26", "--json"))["changes"]
            return [(change["who"], change["action"], change["before"], change["after"]) for change in changes], changes

        wait_until(lambda: trail(gateways[2]) and len(trail(gateways[2])[0]) == 2, "both changes in the third's trail")
        self.assertEqual(trail(gateways[2])[0], trail(gateways[1])[0])
        self.assertEqual({who for who, *_ in trail(gateways[2])[0]}, {"root@mx-2"})
        self.assertIn("second", gateways[1].access("undo", "--dry-run"))
        last = trail(gateways[2])[1][-1]["change"]
        gateways[2].access("undo", str(last))
        for gateway in gateways:
            wait_until(lambda: trail(gateway)[0][-1][3].endswith("first"), "the note as it was")
        self.assertEqual(database.sql("SELECT DISTINCT gateway FROM mailgate.change_log WHERE after LIKE '%198.51.100.64/26%'"
                                      " ORDER BY 1", "mailgate").split(), ["mx-2", "mx-3"])

    def test_lists_and_sets_are_shared(self):
        lines = "".join(f"deny 203.0.113.{number} set=feed note {number}\n" for number in range(250))
        done = gateways[0].run("access", "import", "-", stdin=lines)
        self.assertEqual(done.returncode, 0, done.stderr)
        gateways[0].access("set", "define", "feed", "--note", "from the feed", "--expires", "7d")
        wait_refused("203.0.113.249")
        sets = wait_until(lambda: [one for one in json.loads(gateways[2].access("set", "list", "--json"))["sets"]
                                   if one["name"] == "feed" and one["default_note"]], "the set's defaults")
        self.assertEqual((sets[0]["deny"], sets[0]["default_note"]), (250, "from the feed"))
        gateways[1].access("set", "remove", "feed", "--yes")
        wait_refused("203.0.113.249", expected=False)
        self.assertEqual(database.sql("SELECT count(*) FROM mailgate.rule WHERE rule_set = 'feed'", "mailgate"), "0")

    def test_members_are_known_with_their_versions(self):
        def members():
            return json.loads(gateways[1].run("fleet", "status", "--json").stdout)

        wait_until(lambda: all(one["behind"] == 0 for one in members()["members"]), "nobody to be behind")
        status = members()
        self.assertLessEqual(set(NAMES), {one["gateway"] for one in status["members"]})
        self.assertTrue(all(one["silent_seconds"] < 20 for one in status["members"]))
        self.assertEqual((status["here"]["gateway"], status["here"]["joined"]), ("mx-2", True))
        schema = json.loads((pathlib.Path(__file__).parents[2] / "docs" / "json.schema.json").read_text())
        jsonschema.Draft202012Validator({**schema, "$ref": "#/$defs/fleet_status"}).validate(status)
        self.assertRegex(ran(gateways[0], "fleet", "status"), r"(?m)^mx-3 .* up$")
        # As a shell completes --gateway.
        argv = [mailgate.binary(), "--config", gateways[0].config, "sessions", "--gateway", "mx-"]
        script = (f'source {pathlib.Path(__file__).parents[2]}/etc/completions/mailgate.bash; COMP_WORDS=("$@"); '
                  'COMP_CWORD=$(($# - 1)); _mailgate; echo "${COMPREPLY[@]}"')
        shell = ["bash", "-c", script, "bash", *map(str, argv)]
        wait_until(lambda: set(NAMES) <= set(subprocess.run(shell, text=True, capture_output=True, check=True).stdout.split()),
                   "an answer within a second")
        self.another_of_its_name(gateways[1])
        self.overview(gateways[0])
        told = wait_until(lambda: (seen := fleet_told(gateways[0]))["members"] and seen, "what the API says")
        self.assertEqual([one["gateway"] for one in told["members"]], [one["gateway"] for one in status["members"]])
        self.assertEqual((told["fleet"], told["here"]["gateway"], told["here"]["joined"]), (status["fleet"], "mx-1", True))
        page = fleet_page(gateways[0])
        self.addCleanup(database.sql, "DELETE FROM mailgate.member WHERE name LIKE 'odd%'", "mailgate")
        database.sql("INSERT INTO mailgate.member(name, release, started, position, seen) VALUES ('odd-1', repeat('x', 100000), 1, 1, 'infinity'),"
                     " ('odd-2', '0.1.0', 9223372036854775807, -1, now()), ('odd-3' || repeat('x', 1000), '0.1.0', 1, 1, '-infinity')", "mailgate")
        odd = [one for one in members()["members"] if one["gateway"].startswith("odd")]
        self.assertEqual([(one["damaged"], len(one["version"]), one["seen"] is None, one["started"] is None) for one in odd],
                         [(True, 64, True, False), (True, 5, False, True), (True, 5, True, False)])
        self.assertEqual(len(odd[2]["gateway"]), 255)
        self.assertEqual({one["damaged"] for one in members()["members"] if not one["gateway"].startswith("odd")}, {False})
        self.assertRegex(page.words, r"mx-1 +\(this one\)(?s:.)*mx-2(?s:.)*mx-3(?s:.)*it answers")
        self.assertEqual(page.words.count("(this one)"), 1)

    def another_of_its_name(self, gateway):
        words = "arning: another gateway of this name, started at 1970-01-01T00:16:40Z, is in the fleet: each needs a gateway.name of its own"

        def told():
            database.sql("UPDATE mailgate.member SET started = 1000, seen = now() WHERE name = 'mx-2'", "mailgate")
            gateway.access("deny", "203.0.113.202")  # so that it announces itself
            return words in gateway.run("fleet", "status").stderr and words in " ".join(gateway.run("status").stdout.split())

        wait_until(told, "the other one to be heard of")

    def overview(self, gateway):
        told = json.loads(gateway.run("status", "--fleet", "--json").stdout)
        jsonschema.Draft202012Validator({"$ref": "#/$defs/status_fleet", "$defs": DEFINITIONS}).validate(told)
        self.assertEqual((told["failure"], type(told["here"]["sessions"]), told["standing"]["connected"]), (None, int, True))
        # One that has stopped with the oldest rules, and was not heard of for long.
        gateway.access("deny", "203.0.113.201")
        database.sql("INSERT INTO mailgate.member VALUES ('old', '0.1.0', 0, 0, now() - interval '1 day')", "mailgate")
        database.sql("UPDATE mailgate.change_log SET at = at - 3600 WHERE version = 1", "mailgate")
        try:
            old, = (one for one in json.loads(gateway.run("fleet", "status", "--json").stdout)["members"] if one["gateway"] == "old")
            self.assertEqual((old["state"], old["behind_seconds"] >= 3600), ("silent", True), old)
            check = gateway.run("status", "--fleet", "--check", "--silent", ",100000", "--lag", "3600,90000")
            self.assertEqual(check.returncode, 1, check.stdout)
            self.assertRegex(check.stdout, r"^MAILGATE WARNING - old has not applied \d+ changes? of the rules for \d+ s \| gateways=\d+;;;0 ")
            self.assertRegex(ran(gateway, "status", "--fleet", status=1), r"(?m)^mx-2 .* - +\d+ +up$")
        finally:
            ran(gateway, "fleet", "forget", "old")
        self.assertRegex(ran(gateway, "status", "--fleet"), r"(?m)^mx-1 .* \d+ +\d+ +up$")

    def test_what_the_shell_changes_stays_here_and_makes_room(self):
        shell = gateways[2]
        with contextlib.closing(sqlite3.connect(shell.database)) as rules, rules:
            rules.execute("INSERT INTO access_rule(network, verdict, note) VALUES ('192.0.2.77/32', 'deny', 'by hand')")
        wait_refused("192.0.2.77", [shell])
        gateways[0].access("deny", "192.0.2.78")  # gets the number that the shell's has
        wait_refused("192.0.2.78")
        self.assertTrue(refuses(shell, "192.0.2.77"))
        self.assertFalse(refuses(gateways[0], "192.0.2.77"))
        status = json.loads(shell.run("fleet", "status", "--json").stdout)
        self.assertEqual(status["here"]["rules_added_here"], 1)
        self.assertIn("1 rule of mx-3 is its own", shell.run("fleet", "status").stdout)
        shell.access("remove", "192.0.2.77")
        wait_refused("192.0.2.77", [shell], expected=False)
        with contextlib.closing(sqlite3.connect(shell.database)) as rules, rules:
            rules.execute("DELETE FROM access_rule WHERE network LIKE '192.0.2.78%'")
        wait_refused("192.0.2.78", [shell], expected=False)
        found = verified(shell, status=1)
        self.assertEqual([(pair["here"], pair["fleet"]["network"]) for pair in found["differences"]], [(None, "192.0.2.78/32")])
        self.assertIn("difference: in the fleet alone: rule ", ran(shell, "fleet", "verify", status=1))
        shell.access("deny", "192.0.2.78", "--note", 'a "note\\', "--listener", "smtp")
        shell.access("deny", "192.0.2.78", "--note", 'a "note\\')
        wait_refused("192.0.2.78")
        for gateway in gateways:
            self.assertEqual(verified(gateway)["differences"], [])
        self.assertEqual(database.sql("SELECT note, count(*) OVER () FROM mailgate.rule WHERE network LIKE '192.0.2.78%'"
                                      " AND listener = ''", "mailgate"), 'a "note\\|1')
        # What the fleet changes counts again; what is lost by that is told.
        with contextlib.closing(sqlite3.connect(shell.database)) as rules, rules:
            rules.execute("UPDATE access_rule SET network = '192.0.2.79' WHERE network LIKE '192.0.2.78%' AND listener = ''")
        wait_refused("192.0.2.79", [shell])
        gateways[0].access("deny", "192.0.2.78", "--note", "another")
        wait_refused("192.0.2.79", [shell], expected=False)
        told = shell.wait_events(1, "fleet.overruled")[0]
        self.assertEqual((told["here"], told["fleet"]), ('deny 192.0.2.79 "a \\"note\\\\"', "deny 192.0.2.78 another"))
        self.assertRegex(told["by"], "@mx-1$")
        self.assertRegex(shell.access("history", "192.0.2.79"), "@mx-1 .*192.0.2.79 ")


class Drains(unittest.TestCase):
    def drained(self, gateway):
        with contextlib.suppress(OSError, http.client.HTTPException):  # it is being started
            return [(one["server"], one["drained_by"]) for one in gateway.ask("GET", "/v1/status")[1]["servers"] if one["draining"]]
        return None

    def wait_drained(self, expected, gateways_):
        for gateway in gateways_:
            wait_until(lambda: self.drained(gateway) == expected, f"{expected} at {gateway.gateway['name']}")

    def test_a_server_is_drained_at_all_gateways_and_put_back(self):
        self.addCleanup(lambda: [gateway.run("server", "ready", "mail/mail1") for gateway in gateways])
        self.assertIn("at all gateways", insisted(gateways[0], "server", "drain", "mail/mail1", "--everywhere"))
        given = time.monotonic()
        by_alice = [("mail1", "root@mx-1")]
        self.wait_drained(by_alice, gateways)
        self.assertLess(time.monotonic() - given, 5 * mailgate.SLACK)
        status = json.loads(gateways[1].run("fleet", "status", "--json").stdout)
        self.assertEqual([(one["upstream"], one["server"], one["by"]) for one in status["drains"]], [("mail", "mail1", "root@mx-1")])
        self.assertRegex(gateways[2].run("fleet", "status").stdout, r"mail/mail1 is drained at all gateways since \S+Z by root@mx-1")
        # Taken back while one is away, and here alone on another one.
        gateways[2].stop()
        ran(gateways[1], "server", "ready", "mail/mail1")
        self.wait_drained([], [gateways[1]])
        ran(gateways[1], "server", "drain", "mail/mail1")
        self.wait_drained([("mail1", "root")], [gateways[1]])
        insisted(gateways[1], "server", "ready", "mail/mail1", "--everywhere")
        self.wait_drained([], [gateways[0]])
        gateways[2].start()
        self.wait_drained([], [gateways[2]])
        self.wait_drained([("mail1", "root")], [gateways[1]])
        self.assertIn("was not drained everywhere", insisted(gateways[0], "server", "ready", "mail/mail1", "--everywhere"))
        self.assertNotEqual(gateways[0].run("server", "drain", "mail/nobody", "--everywhere").returncode, 0)
        self.assertEqual(json.loads(gateways[0].run("fleet", "status", "--json").stdout)["drains"], [])


class Handshakes(unittest.TestCase):  # before Outages, which lose the database's keys: then each gateway has others for a minute
    def session_with(self, gateway, before=None):
        """The TLS session, and whether it was resumed."""
        connection = socket.create_connection(("127.0.0.1", gateway.port("smtps")), timeout=30)
        with self.context.wrap_socket(connection, server_hostname="mx.example.net", session=before) as client:
            self.assertTrue(client.recv(100).startswith(b"220 "))
            return client.session, client.session_reused

    def test_a_tls_client_resumes_at_another_gateway(self):
        for gateway in gateways[:2]:
            wait_until(lambda: standing(gateway)["tickets"]["shared"], "the fleet's keys")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                self.context = ssl.create_default_context(cafile=str(authority.certificate))
                self.context.minimum_version = self.context.maximum_version = version
                session, resumed = self.session_with(gateways[0])
                self.assertFalse(resumed)
                self.assertFalse(self.session_with(gateways[2], session)[1], "its keys are its own")
                session, resumed = self.session_with(gateways[1], session)
                self.assertTrue(resumed)
                self.assertTrue(self.session_with(gateways[0], session)[1])
        self.assertIsNone(standing(gateways[2])["tickets"])
        self.assertIn("fleet.ticket_secret is not set", gateways[2].run("status").stdout)
        self.assertNotIn("TLS sessions are resumed", gateways[0].run("status").stdout)
        rows = database.sql("SELECT secret, sealed FROM mailgate.ticket_key", "mailgate").split()
        self.assertGreaterEqual(len(rows), 2)
        for row in rows:
            self.assertRegex(row, r"^[0-9a-f]{32}\|[0-9a-f]{216}$")
        for words in (rows[0].split("|")[1][:40], TICKET_SECRET[:20]):
            for gateway in gateways[:2]:
                self.assertNotIn(words, gateway.log_file.read_text() + json.dumps(gateway.ask("GET", "/v1/status")[1]))
        gateways[0].wait_event("fleet.tickets_shared")


class Pooled(unittest.TestCase):
    def test_a_pooler_that_loses_notifications_is_found_out(self):
        pooler = scratch.start(PgBouncer(scratch, database, {"mailgate": PASSWORD.replace("%40", "@")}))
        pooled = make_gateway("pooled", url().replace(f":{database.port}/", f":{pooler.port}/"))
        pooled.write_config()
        ran(pooled, "fleet", "join")
        scratch.start(pooled)
        wait_until(lambda: standing(pooled)["connected"], "the database behind the pooler")
        self.assertEqual([standing(gateway)["notified"] for gateway in (gateways[0], pooled)], [True, False])
        for gateway, other, client in ((gateways[0], pooled, "192.0.2.50"), (pooled, gateways[0], "192.0.2.51")):
            gateway.access("deny", client)
            changed = time.monotonic()
            wait_refused(client, [other])
            self.assertLess(time.monotonic() - changed, 5 * mailgate.SLACK)
        ran(pooled, "fleet", "leave")
        pooled.stop()


class Outages(unittest.TestCase):
    def lost(self, gateway, count):
        gateway.wait_events(count, "fleet.failed")
        return gateway.events("fleet.failed")[-1]["detail"]

    def test_a_frozen_server_blocks_nobody(self):
        gateway = gateways[0]
        gateway.access("deny", "192.0.2.10")
        wait_refused("192.0.2.10")
        before = len(gateway.events("fleet.failed")), len(gateway.events("fleet.recovered"))
        database.freeze()
        try:
            began = time.monotonic()
            refused = gateway.run("access", "deny", "192.0.2.11")
            self.assertLess(time.monotonic() - began, 5 * mailgate.SLACK)
            self.assertEqual(refused.returncode, 1)
            self.assertRegex(refused.stderr, "nothing was changed: the fleet's database .*does not answer.*--here")
            self.assertIn("does not answer", self.lost(gateway, before[0] + 1))
            began = time.monotonic()
            self.assertTrue(refuses(gateway, "192.0.2.10"))
            self.assertFalse(refuses(gateway, "192.0.2.11"))
            self.assertLess(time.monotonic() - began, 5 * mailgate.SLACK)
            self.assertIn("does not answer", standing(gateway)["failure"])
            self.assertRegex(gateway.ask_text("GET", "/readyz")[1], r"^ready\nfleet: the rules are \d+ s old\n")
            self.assertGreater(standing(gateway)["lag_seconds"], 1)
            self.assertRegex(gateway.ask_text("GET", "/metrics")[1], r"(?m)^mailgate_fleet_lag_seconds [1-9]")
            self.assertIn("The fleet's rules may be others by now", gateway.run("status").stdout)
            self.only_here(gateway)
            began = time.monotonic()
            refused = gateway.run("server", "drain", "mail/mail1", "--everywhere")
            self.assertLess(time.monotonic() - began, 5 * mailgate.SLACK)
            self.assertEqual(refused.returncode, 1, refused.stderr)
            self.assertRegex(refused.stderr, "the fleet's database .*does not answer.*without --everywhere")
            self.assertNotIn("drain", json.dumps([one["admin_state"] for one in gateway.ask("GET", "/v1/status")[1]["servers"]]))
            self.shown_without_the_database(gateway)
        finally:
            database.thaw()
        wait_until(lambda: standing(gateway)["connected"], "the database again")
        gateway.wait_events(before[1] + 1, "fleet.recovered")
        self.assertEqual((len(gateway.events("fleet.failed")), len(gateway.events("fleet.recovered"))),
                         (before[0] + 1, before[1] + 1))
        gateway.access("deny", "192.0.2.11")
        wait_refused("192.0.2.11")
        self.assertFalse(refuses(gateways[1], "192.0.2.12"))
        self.assertTrue(refuses(gateway, "192.0.2.12"))
        self.assertIn("to the fleet: deny 192.0.2.12 ", ran(gateway, "fleet", "push", "--dry-run"))
        plan = plan_of(gateway, "push", "--dry-run")
        self.assertEqual((plan["pushed"], [(rule["network"], rule["set"]) for rule in plan["to_fleet"]], plan["conflicts"]),
                         (False, [("192.0.2.12/32", "manual")], []))
        self.assertTrue(ran(gateway, "fleet", "push").endswith("1 rule to the fleet, 0 conflicts\n"))
        wait_refused("192.0.2.12")
        gateways[1].access("remove", "192.0.2.12")
        wait_refused("192.0.2.12", expected=False)

    def test_a_server_that_freezes_while_a_change_is_made(self):
        gateway = gateways[0]
        database.sql("""
            CREATE FUNCTION mailgate.hold() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN WHILE NOT pg_try_advisory_xact_lock(4711) LOOP PERFORM pg_sleep(0.02); END LOOP; RETURN NULL; END';
            CREATE TRIGGER before_the_end AFTER INSERT ON mailgate.change_log FOR EACH ROW WHEN (NEW.after LIKE '%192.0.2.91%')
            EXECUTE FUNCTION mailgate.hold();
            CREATE CONSTRAINT TRIGGER at_the_end AFTER INSERT ON mailgate.change_log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
            WHEN (NEW.after LIKE '%192.0.2.92%') EXECUTE FUNCTION mailgate.hold();
            CREATE CONSTRAINT TRIGGER at_the_end AFTER INSERT ON mailgate.drain DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
            EXECUTE FUNCTION mailgate.hold()""", "mailgate")

        def held():
            return database.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'mailgate' AND wait_event = 'PgSleep'")

        def frozen(*order):
            """What the command says that finds the server frozen in the middle."""
            with database.holding("SELECT pg_advisory_xact_lock(4711)", "mailgate"):
                with subprocess.Popen(gateway.argv(*order), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
                    wait_until(lambda: held() == "1", "the change to be under way")
                    database.freeze()
                    try:
                        began = time.monotonic()
                        told = command.communicate(timeout=60)[1]
                        self.assertLess(time.monotonic() - began, 5 * mailgate.SLACK)
                    finally:
                        database.thaw()
            wait_until(lambda: held() == "0", "the server to find that nobody waits for it any more")
            return command.returncode, told

        def made(address):
            return database.sql(f"SELECT (SELECT count(*) FROM mailgate.rule WHERE network = '{address}'), string_agg(version || ' ' || token, ',')"
                                f" FROM mailgate.change_log WHERE after LIKE '%{address}%'", "mailgate")

        try:
            status, told = frozen("access", "deny", "192.0.2.91")
            self.assertEqual((status, "nothing was changed: " in told), (1, True), told)
            status, told = frozen("access", "deny", "192.0.2.92")
            self.assertEqual(status, 75, told)
            number, token = re.search(r"does not answer; whether the change was made is not known: .* as version (\d+) with the token (\w+)$", told).groups()
            wait_refused("192.0.2.92")  # it was made
            self.assertEqual((made("192.0.2.91"), made("192.0.2.92")), ("0|", f"1|{number} {token}"))
            gateway.access("deny", "192.0.2.92")
            self.assertEqual(made("192.0.2.92"), f"1|{number} {token}")
            self.assertEqual(len(json.loads(gateway.access("history", "192.0.2.92", "--json"))["changes"]), 1)
            status, told = frozen("server", "drain", "mail/mail1", "--everywhere")
            self.assertEqual(status, 75, told)
            self.assertRegex(told, "does not answer; whether the order was taken is not known: mailgate fleet status ")
            self.assertEqual(database.sql("SELECT server FROM mailgate.drain", "mailgate"), "mail1")  # it was
        finally:
            database.sql("DROP FUNCTION mailgate.hold CASCADE", "mailgate")
            insisted(gateway, "server", "ready", "mail/mail1", "--everywhere")
        for one in gateways:
            wait_until(lambda: standing(one)["connected"], "the database again")

    def test_changes_that_wait_for_the_database_leave_threads_for_others(self):
        def deny(last):
            return gateways[0].ask("POST", "/api/v1/rules", {"network": f"192.0.2.{last}", "verdict": "deny"})

        def keep_denying(last):
            while not released.is_set():
                self.assertNotEqual(deny(last)[0], 201)

        released = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            with database.holding("SELECT 1 FROM mailgate.meta FOR UPDATE", "mailgate"):
                waiting = [pool.submit(keep_denying, last) for last in (61, 62)]
                try:
                    status, told = wait_until(lambda: (answer := deny(63))[1].get("code") == "fleet_busy" and answer,
                                              "one to be turned away")
                    self.assertEqual((status, "nothing was changed" in told["detail"]), (503, True))
                    self.assertEqual(gateways[0].ask("GET", "/api/v1/rules")[0], 200)
                finally:
                    released.set()
                for one in waiting:
                    one.result()
        self.assertEqual(wait_until(lambda: deny(63)[0] == 201, "the change"), True)
        wait_refused("192.0.2.63")
        self.assertFalse(refuses(gateways[0], "192.0.2.61"))

    def shown_without_the_database(self, gateway):
        wait_until(lambda: fleet_told(gateway)["here"]["rules_added_here"], "the rule of this gateway alone")
        began = time.monotonic()
        told, page = fleet_told(gateway), fleet_page(gateway)
        self.assertLess(time.monotonic() - began, 5 * mailgate.SLACK)
        self.assertIn("does not answer", told["failure"])
        self.assertEqual((told["members"], told["standing"]["connected"]), (None, False))
        for words in ("does not answer", "access deny NET --here", "only the database knows", "mailgate fleet push"):
            self.assertIn(words, page.words)

    def only_here(self, gateway):
        forgotten = gateway.run("access", "deny", "192.0.2.12", "--here")
        self.assertEqual((forgotten.returncode, "--here needs --expires" in forgotten.stderr), (2, True))
        gateway.access("deny", "192.0.2.12", "--here", "--expires", "1h")
        wait_refused("192.0.2.12", [gateway])

    def test_a_server_that_was_killed_is_found_again_and_missed_by_nobody(self):
        gateways[0].access("deny", "192.0.2.20")
        wait_refused("192.0.2.20")
        database.kill()
        gateways[1].kill()
        gateways[1].log_file.rename(gateways[1].folder / "events.1")
        gateways[1].start()  # without a database
        self.assertTrue(refuses(gateways[1], "192.0.2.20"))
        self.assertIn("cannot be reached", self.lost(gateways[1], 1))
        database.start()
        for gateway in gateways:
            wait_until(lambda: standing(gateway)["connected"], "the database again")
        gateways[1].access("remove", "192.0.2.20")
        wait_refused("192.0.2.20", expected=False)

    def test_who_gives_up_waiting_for_a_lock_leaves_no_process_behind(self):
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'mailgate' AND wait_event_type = 'Lock'"
        with database.holding("LOCK TABLE mailgate.meta", "mailgate"):
            with concurrent.futures.ThreadPoolExecutor() as several:
                for given_up in several.map(lambda _: gateways[0].run("fleet", "verify"), range(8)):
                    self.assertIn("does not answer", given_up.stderr)
            # The gateways look for changes and ship their journals, which waits as well, once each.
            wait_until(lambda: int(database.sql(waiting)) <= 2 * len(gateways), "those that were given up to be gone")
        for gateway in gateways:
            wait_until(lambda gateway=gateway: standing(gateway)["connected"], "the database again")

    def test_a_newer_schema_is_refused_in_words(self):
        try:
            # One with which this version can work is not: its gateways go on while others are upgraded.
            database.sql("UPDATE mailgate.meta SET schema = 7", "mailgate")
            database.disconnect_all("mailgate")
            insisted(gateways[1], "access", "deny", "192.0.2.29")
            wait_refused("192.0.2.29")
            database.sql("UPDATE mailgate.meta SET schema = 99, needs = 99", "mailgate")
            before = len(gateways[0].events("fleet.failed"))
            database.disconnect_all("mailgate")
            refused = gateways[0].run("access", "deny", "192.0.2.30")
            self.assertEqual(refused.returncode, 1)
            self.assertRegex(refused.stderr, "has schema 99, and this version of mailgate knows 6 at most")
            self.lost(gateways[0], before + 1)
            wait_until(lambda: "schema 99" in (standing(gateways[0])["failure"] or ""), "the reason in the status")
            self.assertRegex(gateways[0].run("fleet", "migrate", "--url", url("mailgate_owner")).stderr, "has schema 99")
        finally:
            database.sql("UPDATE mailgate.meta SET schema = 6, needs = 2", "mailgate")
        wait_until(lambda: standing(gateways[0])["connected"], "the database again")
        self.assertIn("has schema 6 already", ran(gateways[0], "fleet", "migrate", "--url", url("mailgate_owner")))

    def test_an_older_schema_is_migrated_while_gateways_are_connected(self):
        insisted(gateways[0], "access", "deny", "192.0.2.160")
        wait_refused("192.0.2.160")
        database.sql("BEGIN; DROP TABLE mailgate.writer, mailgate.missed, mailgate.ticket_key, mailgate.drain, mailgate.keep_at_least;"
                     " DROP INDEX mailgate.mail_message_id_beyond_ascii, mailgate.session_balancer, mailgate.refused_balancer; ALTER TABLE mailgate.meta DROP COLUMN drains, DROP COLUMN log_from, DROP COLUMN drains_copied;"
                     " ALTER TABLE mailgate.member DROP COLUMN ships, DROP COLUMN keeps_changes; DROP FUNCTION mailgate.forget_changes();"
                     " UPDATE mailgate.meta SET schema = 3; COMMIT", "mailgate")
        words = "has schema 3, and this version of mailgate needs 6: mailgate fleet migrate"
        for gateway in gateways:
            wait_until(lambda: words in (standing(gateway)["failure"] or ""), "the gateway to ask for it")
            self.assertTrue(refuses(gateway, "192.0.2.160"))
        self.assertIn(words, gateways[1].run("access", "deny", "192.0.2.161").stderr)
        self.assertIn("3", ran(gateways[0], "fleet", "migrate", "--url", url("mailgate_owner")))
        for gateway in gateways:
            wait_until(lambda: standing(gateway)["connected"], "the new tables")
            wait_until(lambda: standing(gateway)["journal"]["connected"], "those of the journals")
        insisted(gateways[1], "access", "deny", "192.0.2.161")
        wait_refused("192.0.2.161")
        for gateway in gateways:
            self.assertEqual(verified(gateway)["differences"], [])
        self.assertEqual(database.sql("SELECT has_table_privilege('mailgate', 'mailgate.ticket_key', 'INSERT')", "mailgate"), "t")
        self.assertIn("was not drained everywhere", insisted(gateways[2], "server", "ready", "mail/mail1", "--everywhere"))

    def test_a_role_without_rights_changes_nothing(self):
        database.sql("REVOKE INSERT ON mailgate.change_log FROM mailgate", "mailgate")
        refused = gateways[0].run("access", "deny", "192.0.2.40")
        self.assertEqual(refused.returncode, 1)
        self.assertRegex(refused.stderr, "permission denied for table change_log: mailgate fleet migrate --grant")
        self.assertEqual(gateways[0].run("access", "list", "--match", "192.0.2.40").returncode, 1)
        ran(gateways[0], "fleet", "migrate", "--url", url("mailgate_owner"), "--grant", "mailgate")
        gateways[0].access("deny", "192.0.2.40")
        # The trail is only ever added to.
        for order in ("DELETE FROM mailgate.change_log", "UPDATE mailgate.change_log SET who = 'nobody'"):
            with self.assertRaisesRegex(AssertionError, "permission denied"):
                database.sql(f"SET ROLE mailgate; {order}", "mailgate")

    def test_what_a_superuser_has_made_comes_to_the_owner(self):
        def owners():
            return set(database.sql("SELECT relowner::regrole FROM pg_class WHERE relnamespace = 'mailgate'::regnamespace AND relkind IN"
                                    " ('r', 'p') UNION SELECT proowner::regrole FROM pg_proc WHERE pronamespace = 'mailgate'::regnamespace",
                                    "mailgate").split())

        def spoil():
            database.sql("ALTER TABLE mailgate.keep_at_least OWNER TO postgres; ALTER FUNCTION mailgate.make_day(integer) OWNER TO postgres",
                         "mailgate")

        # It asks what the owner wants kept where there are changes that all gateways have.
        insisted(gateways[0], "access", "deny", "192.0.2.41")
        had = "SELECT min(position) FROM mailgate.member WHERE seen > now() - interval '30 days'"
        wait_until(lambda: int(database.sql(had, "mailgate")) > 0, "all gateways to have a change")
        spoil()
        with self.assertRaisesRegex(AssertionError, "permission denied for table keep_at_least"):
            database.sql("SET ROLE mailgate; SELECT mailgate.forget_changes()", "mailgate")
        refused = gateways[0].run("fleet", "migrate", "--url", url("mailgate_owner"), "--grant", "mailgate")
        self.assertEqual(refused.returncode, 1)
        database.sql(re.search(r"say as a superuser \(psql\): (.*)", refused.stderr)[1], "mailgate")
        self.assertEqual(owners(), {"mailgate_owner"})
        spoil()
        database.sql("ALTER TABLE mailgate.meta OWNER TO postgres", "mailgate")  # which makes no superuser the owner of the others
        # What the owner of the database would have a superuser call.
        database.sql("SET ROLE mailgate_owner; CREATE SCHEMA trap; ALTER DATABASE mailgate SET search_path = trap, pg_catalog; "
                     + "".join(f"CREATE FUNCTION trap.{name} LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$; "
                               for name in ("pg_advisory_xact_lock(integer) RETURNS void", "pg_advisory_xact_lock(bigint) RETURNS void",
                                            "version() RETURNS text", "format(text, name, name) RETURNS text")), "mailgate")
        self.addCleanup(database.sql, "DROP SCHEMA trap CASCADE; ALTER DATABASE mailgate RESET search_path", "mailgate")
        migrate = ("fleet", "migrate", "--url", f"postgresql://postgres@/mailgate?host={database.folder}&port={database.port}",
                   "--grant", "mailgate")
        with database.holding("LOCK TABLE mailgate.keep_at_least IN ACCESS SHARE MODE", "mailgate"):  # whoever reads it
            self.assertIn("did not let go of it in time", gateways[0].run(*migrate).stderr)
        ran(gateways[0], *migrate)
        self.assertEqual(owners(), {"mailgate_owner"})
        database.sql("SET ROLE mailgate; SELECT mailgate.forget_changes()", "mailgate")

    def test_rights_are_given_by_their_owner_and_to_one_role(self):
        database.sql("CREATE ROLE second")
        refused = gateways[0].run("fleet", "migrate", "--grant", "second")
        self.assertEqual((refused.returncode, "may not give second" in refused.stderr), (1, True), refused.stderr)
        refused = gateways[0].run("fleet", "migrate", "--url", url("mailgate_owner"), "--grant", "public")
        self.assertEqual((refused.returncode, "everybody" in refused.stderr), (1, True), refused.stderr)
        # Nor does what was granted so before fail the next migration.
        database.sql("GRANT UPDATE ON mailgate.meta TO PUBLIC; UPDATE mailgate.meta SET schema = 5; DROP TABLE mailgate.keep_at_least;"
                     " DROP INDEX mailgate.session_balancer, mailgate.refused_balancer", "mailgate")
        ran(gateways[0], "fleet", "migrate", "--url", url("mailgate_owner"))
        database.sql("REVOKE UPDATE ON mailgate.meta FROM PUBLIC", "mailgate")

    def test_a_server_is_who_its_certificate_says(self):
        verified = f"sslmode=verify-full&sslrootcert={authority.certificate}"
        right = make_gateway("verified", url(options=f"?host=db.example.net&hostaddr=127.0.0.1&{verified}")
                             .replace("@127.0.0.1:", "@:"))
        right.write_config()
        self.assertIn(" gateways, rules version ", ran(right, "fleet", "status", status=1), "it has not joined")
        wrong = make_gateway("deceived", url(options=f"?{verified}"))
        wrong.write_config()
        refused = wrong.run("fleet", "status")
        self.assertEqual(refused.returncode, 1)
        self.assertRegex(refused.stderr, "db.example.net.*does not match host name")

    def test_what_the_database_says_is_for_administrators(self):
        port = reserve_port()
        gateway = scratch.start(make_gateway("certified", url(options="?sslmode=verify-full&sslrootcert=/nowhere/ca.pem"),
                                             console={"address": f"127.0.0.1:{port}"}))
        roles = {role: ran(gateway, "console", "token", "add", role, "--role", role).strip() for role in ("viewer", "operator", "admin")}
        wait_until(lambda: standing(gateway)["failure"], "the reason in the status")
        self.assertIn("/nowhere/ca.pem", standing(gateway)["failure"])
        self.assertIn("/nowhere/ca.pem", fleet_told(gateway)["failure"])
        for path, (role, token) in itertools.product(("/api/v1/status", "/api/v1/fleet", "/fleet"), roles.items()):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as viewer:
                viewer.request("GET", path, headers={"Authorization": "Bearer " + token})
                body = viewer.getresponse().read().decode()
                (self.assertIn if role == "admin" else self.assertNotIn)("nowhere", body)
                if role != "admin":
                    self.assertIn("who has the role admin is told why", body)
        gateway.stop()

    def test_no_password_is_shown(self):
        self.assertEqual(gateways[0].run("check").returncode, 0)
        wrong = make_gateway("stranger", url().replace("%40of", "%40from"))
        wrong.write_config()
        told = [gateways[0].log_text(), gateways[0].process.text(), gateways[0].ask_text("GET", "/v1/status")[1]]
        for gateway in (gateways[0], wrong):
            for command in (("check",), ("status",), ("fleet", "status"), ("fleet", "status", "--json"), ("snippet", "postgresql"),
                            ("access", "deny", "not a network"), ("fleet", "join", "--dry-run")):
                done = gateway.run(*command)
                told += [done.stdout, done.stderr]
        self.assertIn("password authentication failed", "".join(told))
        broken = make_gateway("broken", "postgresql://mailgate:s3cret@of@:/%zz/the-fleet")
        broken.write_config()
        done = broken.run("check")
        self.assertEqual(done.returncode, 78)
        told += [done.stdout, done.stderr]
        self.assertNotIn("s3cret", "".join(told))


class Joining(unittest.TestCase):
    def test_rules_of_both_sides_come_together(self):
        gateways[0].access("deny", "203.0.113.1", "--note", "fleet's")
        gateways[0].access("deny", "203.0.113.2", "--note", "fleet's word")
        newcomer = make_gateway("mx-4")
        fleet = newcomer.fleet
        newcomer.fleet = {}
        newcomer.write_config()
        for client, note in (("203.0.113.2", "newcomer's word"), ("203.0.113.3", "newcomer's")):
            newcomer.access("deny", client, "--note", note)
        newcomer.fleet = fleet
        scratch.start(newcomer)
        self.assertIn("has not joined", newcomer.wait_event("fleet.failed")["detail"])
        self.assertIn("has not joined", newcomer.run("access", "deny", "203.0.113.9").stderr)
        preview = ran(newcomer, "fleet", "join", "--dry-run")
        self.assertIn("to the fleet: deny 203.0.113.3 newcomer's\n", preview)
        self.assertIn("from the fleet: deny 203.0.113.1 fleet's\n", preview)
        self.assertRegex(preview, "conflict: here \"deny 203.0.113.2 newcomer's word\", in the fleet \".*fleet's word\"")
        told = plan_of(newcomer, "join", "--dry-run")
        self.assertEqual((told["joined"], told["dry_run"], told["prefer"]), (False, True, None))
        self.assertEqual([(rule["network"], rule["note"]) for rule in told["to_fleet"]], [("203.0.113.3/32", "newcomer's")])
        self.assertIn(("203.0.113.1/32", "fleet's"), [(rule["network"], rule["note"]) for rule in told["from_fleet"]])
        self.assertEqual([(pair["here"]["note"], pair["fleet"]["note"]) for pair in told["conflicts"]], [("newcomer's word", "fleet's word")])
        self.assertFalse(plan_of(newcomer, "join", status=1)["joined"])
        undecided = newcomer.run("fleet", "join")
        self.assertEqual((undecided.returncode, "--prefer fleet" in undecided.stderr), (1, True))
        done = plan_of(newcomer, "join", "--prefer", "fleet")
        self.assertEqual((done["joined"], done["prefer"], len(done["to_fleet"]), len(done["conflicts"])), (True, "fleet", 1, 1))
        wait_refused("203.0.113.3")
        wait_refused("203.0.113.1", [newcomer])
        newcomer.wait_event("fleet.recovered")

        def shared(gateway):
            rules = json.loads(gateway.access("list", "--json"))["rules"]
            return sorted((rule["id"], rule["network"], rule["note"]) for rule in rules if rule["set"] != "here")

        wait_until(lambda: shared(newcomer) == shared(gateways[2]), "the same rules with the same numbers")
        self.assertIn("fleet's word", newcomer.access("list", "--match", "203.0.113.2"))
        newcomer.access("remove", "203.0.113.3")
        wait_refused("203.0.113.3", expected=False)
        newcomer.stop()  # and so it is behind
        gateways[0].access("deny", "203.0.113.4", "--set", "late")
        self.assertIn("203.0.113.4", newcomer.access("remove", "203.0.113.4"))
        gateways[0].access("deny", "203.0.113.4", "--set", "later")
        self.assertIn("203.0.113.4", newcomer.access("remove", "--set", "later", "--yes"))
        self.leaves(newcomer)

    def test_a_fleet_moves_to_another_database(self):
        def all_of(name):
            return database.sql("SELECT fleet, version, next_id, token FROM mailgate.meta; SELECT * FROM mailgate.rule ORDER BY id;"
                                "SELECT * FROM mailgate.rule_set ORDER BY name; SELECT * FROM mailgate.change_log ORDER BY version, seq", name)

        def moved(role="mailgate"):
            return database.url(role, PASSWORD.replace("/", "%2F"), "moved")

        database.sql("CREATE DATABASE moved OWNER mailgate_owner")
        self.assertIn("mailgate fleet migrate makes the tables", gateways[0].run("fleet", "copy", moved()).stderr)
        ran(gateways[0], "fleet", "migrate", "--url", moved("mailgate_owner"), "--grant", "mailgate")
        # What a superuser makes is the owner's all the same.
        word = PASSWORD.replace("%40", "@")
        database.sql("DROP TABLE mailgate.keep_at_least; DROP INDEX mailgate.session_balancer, mailgate.refused_balancer; UPDATE mailgate.meta SET schema = 5;"
                     f" CREATE ROLE root_of_all SUPERUSER LOGIN PASSWORD '{word}'", "moved")
        ran(gateways[0], "fleet", "migrate", "--url", moved("root_of_all"))
        self.assertEqual(database.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'keep_at_least'", "moved"), "mailgate_owner")
        gateways[0].access("deny", "203.0.113.20", "--note", "a\\tab", "--set", "moving")
        gateways[0].access("set", "define", "moving", "--note", "first")
        with database.holding("LOCK TABLE mailgate.meta", "moved"):
            terminal = Terminal(self, gateways[0], "fleet", "copy", moved())
            terminal.wait(r"copying the rules: \d+ s")
            self.assertEqual(terminal.interrupt(), signal.SIGINT)
        self.assertRegex(ran(gateways[0], "fleet", "copy", moved()), r"has version \d+ of the rules now: [1-9]\d* rules?, [1-9]\d* new lines? of the log")
        self.assertEqual(all_of("moved"), all_of("mailgate"))
        gateways[0].access("remove", "203.0.113.20")
        self.assertRegex(ran(gateways[0], "fleet", "copy", moved()), ", 1 new line of the log")
        self.assertEqual(all_of("moved"), all_of("mailgate"))
        drained = "SELECT upstream, server, who FROM mailgate.drain ORDER BY server"
        insisted(gateways[0], "server", "drain", "mail/mail1", "--everywhere")
        self.addCleanup(insisted, gateways[0], "server", "ready", "mail/mail1", "--everywhere")
        ran(gateways[0], "fleet", "copy", moved())
        self.assertEqual(database.sql(drained, "moved"), "mail|mail1|root@mx-1")
        # As a gateway writes it that has the new database already.
        database.sql("BEGIN; DELETE FROM mailgate.drain; INSERT INTO mailgate.drain VALUES ('mail', 'mail2', 1, 'root@mx-2');"
                     " UPDATE mailgate.meta SET drains = drains + 1; COMMIT", "moved")
        again = gateways[0].run("fleet", "copy", moved())
        self.assertEqual((again.returncode, "stays as it is there" in again.stderr), (0, True), again.stderr)
        self.assertEqual(database.sql(drained, "moved"), "mail|mail2|root@mx-2")
        there = make_gateway("moved", moved())
        there.write_config()
        with database.holding("LOCK TABLE mailgate.meta", "moved"):
            terminal = Terminal(self, there, "fleet", "join")
            terminal.wait(r"joining the fleet: \d+ s")
            self.assertEqual(terminal.interrupt(), signal.SIGINT)
        ran(there, "fleet", "join")  # as the copy's first gateway
        there.access("deny", "203.0.113.21")
        before = all_of("moved")
        refused = gateways[0].run("fleet", "copy", moved())
        self.assertEqual((refused.returncode, "nothing was copied" in refused.stderr), (1, True), refused.stderr)
        self.assertEqual(all_of("moved"), before)

    def leaves(self, newcomer):
        self.assertIn("mailgate fleet leave", gateways[0].run("fleet", "forget", "mx-4").stderr)
        ran(newcomer, "fleet", "leave")
        database.sql("INSERT INTO mailgate.member VALUES ('gone', '0.1.0', 0, 0, now() - interval '1 day')", "mailgate")
        self.assertEqual(gateways[0].run("fleet", "status").returncode, 1)
        ran(gateways[0], "fleet", "forget", "gone")
        self.assertEqual(newcomer.run("fleet", "leave").returncode, 1)
        names = [one["gateway"] for one in json.loads(gateways[0].run("fleet", "status", "--json").stdout)["members"]]
        self.assertNotIn("mx-4", names)
        newcomer.fleet = {}
        newcomer.log_file.unlink()
        newcomer.start()
        self.assertTrue(refuses(newcomer, "203.0.113.1"))
        newcomer.access("remove", "203.0.113.1")
        wait_refused("203.0.113.1", [newcomer], expected=False)
        self.assertTrue(refuses(gateways[0], "203.0.113.1"))


class Upkeep(unittest.TestCase):
    def test_the_log_of_changes_forgets_what_nobody_needs(self):
        def oldest():
            return database.sql("SELECT min(version) FROM mailgate.change_log", "mailgate")

        def forget():
            return database.sql("SET ROLE mailgate; SELECT mailgate.forget_changes()", "mailgate").splitlines()[-1]

        def position(gateway):
            return database.sql(f"SELECT position FROM mailgate.member WHERE name = '{gateway.gateway['name']}'", "mailgate")

        late = gateways[2]
        for client in ("192.0.2.181", "192.0.2.182"):
            insisted(gateways[0], "access", "deny", client)
            wait_refused(client)
        insisted(late, "access", "deny", "192.0.2.183", "--here", "--expires", "1d")
        with contextlib.closing(sqlite3.connect(late.database)) as shell, shell:
            shell.execute("UPDATE access_rule SET note = 'by the shell' WHERE network = '192.0.2.182/32' OR network = '192.0.2.182'")
        wait_until(lambda: position(late) == database.sql("SELECT version FROM mailgate.meta", "mailgate"), "the last version to be announced")
        late.stop()
        had = position(late)
        insisted(gateways[0], "access", "remove", "192.0.2.181")
        insisted(gateways[1], "access", "deny", "192.0.2.184")
        for gateway in gateways[:2]:
            wait_until(lambda gateway=gateway: position(gateway) == database.sql("SELECT version FROM mailgate.meta", "mailgate"), "all to be there")
        database.sql("DELETE FROM mailgate.member WHERE keeps_changes IS NULL", "mailgate")
        since = oldest()
        self.assertEqual(forget(), "0", "nothing is old")
        database.sql("UPDATE mailgate.change_log SET at = at - 4000 * 86400::bigint", "mailgate")
        # One of an older version says nothing of what it needs.
        database.sql("INSERT INTO mailgate.member VALUES ('older', '0.0.9', 0, 1, now(), true)", "mailgate")
        self.assertEqual((forget(), oldest()), ("0", since))
        database.sql("DELETE FROM mailgate.member WHERE name = 'older'", "mailgate")
        # More than goes at once, of one version: a list.
        database.sql("INSERT INTO mailgate.change_log SELECT (jsonb_populate_record(c, jsonb_build_object('seq', 1000 + n))).*"
                     f" FROM mailgate.change_log c, generate_series(1, 25000) n WHERE version = {since} AND seq ="
                     f" (SELECT min(seq) FROM mailgate.change_log WHERE version = {since})", "mailgate")
        # The owner's word counts, whatever gateways say, and whatever their role has written.
        database.sql("UPDATE mailgate.keep_at_least SET change_days = 5000", "mailgate")
        database.sql("SET ROLE mailgate; UPDATE mailgate.meta SET log_from = version", "mailgate")
        self.assertEqual((forget(), oldest()), ("0", since))
        database.sql("UPDATE mailgate.meta SET log_from = 0", "mailgate")
        self.assertEqual(database.sql("SELECT has_table_privilege('mailgate', 'mailgate.keep_at_least', 'UPDATE')", "mailgate"), "f")
        database.sql("UPDATE mailgate.keep_at_least SET change_days = 3999", "mailgate")
        self.assertEqual((forget(), oldest()), (had, since))
        self.assertEqual((forget(), oldest()), (had, had))
        database.sql(f"UPDATE mailgate.member SET seen = now() - interval '31 days' WHERE name = '{late.gateway['name']}'", "mailgate")
        last = database.sql("SELECT version FROM mailgate.meta", "mailgate")
        self.assertEqual((forget(), oldest()), (last, last))
        self.assertRegex(ran(gateways[0], "fleet", "status", status=1), r"rules version \d+, changes since 20\d\d-")
        late.start()
        wait_until(lambda: position(late) == last, "the late one to have all")
        wait_refused("192.0.2.184", [late])
        wait_refused("192.0.2.181", [late], expected=False)
        wait_refused("192.0.2.183", [late])
        self.assertEqual(verified(late)["differences"], [])
        self.assertIn("program mailgate", late.access("history", "192.0.2.184"))
        self.assertNotEqual(late.run("access", "undo").returncode, 0)


if __name__ == "__main__":
    unittest.main()
