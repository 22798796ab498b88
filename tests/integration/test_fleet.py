# SPDX-License-Identifier: Apache-2.0
"""Gateways that share their rules in a real PostgreSQL: changes that are in force everywhere, and a database that freezes,
dies, is too new, or refuses its gateways."""

import contextlib
import http.client
import json
import pathlib
import sqlite3
import time
import unittest

import jsonschema

from harness import backend, mailgate, proxyclient
from harness.authority import Authority
from harness.browser import Browser
from harness.ports import reserve_port
from harness.postgres import PgBouncer, Postgres
from harness.process import Scratch, wait_until
from test_console import DEFINITIONS

PASSWORD = "s3cret%40of/the-fleet"  # as the URL has it
NAMES = ("mx-1", "mx-2", "mx-3")

scratch = server = database = authority = None
gateways = []


def url(role="mailgate", options=""):
    return database.url(role, PASSWORD.replace("/", "%2F"), "mailgate", options)


def make_gateway(name, fleet_url=None, **settings):
    fleet = {"url": fleet_url or url()}
    return mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", server.port)], name=name,
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


def ran(gateway, *arguments):
    done = gateway.run(*arguments)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


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
        told = wait_until(lambda: (seen := fleet_told(gateways[0]))["members"] and seen, "what the API says")
        self.assertEqual([one["gateway"] for one in told["members"]], [one["gateway"] for one in status["members"]])
        self.assertEqual((told["fleet"], told["here"]["gateway"], told["here"]["joined"]), (status["fleet"], "mx-1", True))
        page = fleet_page(gateways[0])
        self.assertRegex(page.words, r"mx-1 +\(this one\)(?s:.)*mx-2(?s:.)*mx-3(?s:.)*it answers")
        self.assertEqual(page.words.count("(this one)"), 1)

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
        shell.access("deny", "192.0.2.78", "--note", 'a "note\\', "--listener", "smtp")
        shell.access("deny", "192.0.2.78", "--note", 'a "note\\')
        wait_refused("192.0.2.78")
        self.assertEqual(database.sql("SELECT note, count(*) OVER () FROM mailgate.rule WHERE network LIKE '192.0.2.78%'"
                                      " AND listener = ''", "mailgate"), 'a "note\\|1')


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
            self.assertRegex(gateway.ask_text("GET", "/readyz")[1], r"^ready\nfleet: the rules are \d+ s old: ")
            self.assertGreater(standing(gateway)["lag_seconds"], 1)
            self.assertRegex(gateway.ask_text("GET", "/metrics")[1], r"(?m)^mailgate_fleet_lag_seconds [1-9]")
            self.assertIn("The fleet's rules may be others by now", gateway.run("status").stdout)
            self.only_here(gateway)
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
        self.assertTrue(ran(gateway, "fleet", "push").endswith("1 rule to the fleet, 0 conflicts\n"))
        wait_refused("192.0.2.12")
        gateways[1].access("remove", "192.0.2.12")
        wait_refused("192.0.2.12", expected=False)

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

    def test_a_newer_schema_is_refused_in_words(self):
        database.sql("UPDATE mailgate.meta SET schema = 99, needs = 99", "mailgate")
        before = len(gateways[0].events("fleet.failed"))
        database.disconnect_all("mailgate")
        try:
            refused = gateways[0].run("access", "deny", "192.0.2.30")
            self.assertEqual(refused.returncode, 1)
            self.assertRegex(refused.stderr, "has schema 99, and this version of mailgate knows 4 at most")
            self.lost(gateways[0], before + 1)
            wait_until(lambda: "schema 99" in (standing(gateways[0])["failure"] or ""), "the reason in the status")
            self.assertRegex(gateways[0].run("fleet", "migrate", "--url", url("mailgate_owner")).stderr, "has schema 99")
        finally:
            database.sql("UPDATE mailgate.meta SET schema = 4, needs = 2", "mailgate")
        wait_until(lambda: standing(gateways[0])["connected"], "the database again")
        self.assertIn("has schema 4 already", ran(gateways[0], "fleet", "migrate", "--url", url("mailgate_owner")))

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

    def test_a_server_is_who_its_certificate_says(self):
        verified = f"sslmode=verify-full&sslrootcert={authority.certificate}"
        right = make_gateway("verified", url(options=f"?host=db.example.net&hostaddr=127.0.0.1&{verified}")
                             .replace("@127.0.0.1:", "@:"))
        right.write_config()
        self.assertIn(" gateways, rules version ", ran(right, "fleet", "status"))
        wrong = make_gateway("deceived", url(options=f"?{verified}"))
        wrong.write_config()
        refused = wrong.run("fleet", "status")
        self.assertEqual(refused.returncode, 1)
        self.assertRegex(refused.stderr, "db.example.net.*does not match host name")

    def test_viewers_are_not_told_where_files_are(self):
        port = reserve_port()
        gateway = scratch.start(make_gateway("certified", url(options="?sslmode=verify-full&sslrootcert=/nowhere/ca.pem"),
                                             console={"address": f"127.0.0.1:{port}"}))
        token = ran(gateway, "console", "token", "add", "looker", "--role", "viewer").strip()
        wait_until(lambda: standing(gateway)["failure"], "the reason in the status")
        self.assertIn("/nowhere/ca.pem", standing(gateway)["failure"])
        self.assertIn("/nowhere/ca.pem", fleet_told(gateway)["failure"])
        for path in ("/api/v1/status", "/api/v1/fleet", "/fleet"):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as viewer:
                viewer.request("GET", path, headers={"Authorization": "Bearer " + token})
                body = viewer.getresponse().read().decode()
                self.assertNotIn("nowhere", body)
                self.assertIn("a file", body)
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
        undecided = newcomer.run("fleet", "join")
        self.assertEqual((undecided.returncode, "--prefer fleet" in undecided.stderr), (1, True))
        ran(newcomer, "fleet", "join", "--prefer", "fleet")
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


if __name__ == "__main__":
    unittest.main()
