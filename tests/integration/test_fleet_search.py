# SPDX-License-Identifier: Apache-2.0
"""The journals of a fleet's gateways in a real PostgreSQL: they answer as a file with the same records does, and the commands
that ask say whom they have asked."""

import concurrent.futures
import contextlib
import html
import http.client
import json
import os
import pathlib
import re
import subprocess
import threading
import time
import unittest
import urllib.parse

import jsonschema

from harness import backend, mailgate, proxyclient
from harness.ports import reserve_port
from harness.postgres import Postgres
from harness.process import DEADLINE, Scratch, wait_until

SCHEMA = json.loads((pathlib.Path(__file__).parents[2] / "docs" / "json.schema.json").read_text())
PASSWORD = "s3cret"

scratch = database = gateway = None
console_port = None


def url(role="mailgate"):
    return database.url(role, PASSWORD, "mailgate")


def setUpModule():
    global scratch, database, gateway, console_port
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    server = scratch.start(backend.Backend(backend.smtp))
    database = scratch.start(Postgres(scratch))
    console_port = reserve_port()
    gateway = mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", server.port)], name="mx-3",
                                gateway={"name": "mx-3", "workers": 1}, admin={"socket": "mailgate.sock"}, fleet={"url": url()},
                                console={"address": f"127.0.0.1:{console_port}", "trusted_proxies": "127.0.0.1", "user_header": "X-User"})
    gateway.write_config()
    database.sql(gateway.run("snippet", "postgresql").stdout)
    for role in ("mailgate", "mailgate_owner"):
        database.sql(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
    done = gateway.run("fleet", "migrate", "--url", url("mailgate_owner"), "--grant", "mailgate")
    assert done.returncode == 0, done.stderr
    answers = subprocess.run([os.environ["FLEET_SEARCH_ANSWERS_BIN"], "--gtest_brief=1"], text=True, capture_output=True, check=False,
                             env={**os.environ, "MAILGATE_FLEET_URL": url()})
    assert answers.returncode == 0, answers.stdout[-5000:] + answers.stderr
    for role in ("viewer", "admin"):
        added = gateway.run("console", "user", "add", role, "--role", role, stdin=PASSWORD * 3 + "\n")
        assert added.returncode == 0, added.stderr
    scratch.start(gateway)


def asked(*words):
    """What it prints, of journals that it says on standard error."""
    done = gateway.run(*words)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout, done.stderr


def validate(document, name):
    jsonschema.Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{name}"}).validate(document)


class Commands(unittest.TestCase):
    """The records are those of fleet_search_answers.cpp, which has found them to be what they should be."""

    def setUp(self):
        # They were written a while ago, and each age of a minute or more is told.
        database.sql("UPDATE mailgate.journal SET current = now()", "mailgate")

    def sessions(self, *words):
        lines = [json.loads(line) for line in asked("sessions", "--json", *words)[0].splitlines()]
        for line in lines:
            validate(line, "session")
        return [line for line in lines if line["event"] in ("session.end", "session.refused")]

    def test_sessions_of_all_gateways_say_whose_they_are(self):
        table, said = asked("sessions", "--limit", "500")
        self.assertRegex(said, r'asked the fleet\'s database: mx "2"\\, mx-1; 3 records of mx-1 from 1970-01-02T00:00:00Z to 1970-01-03T00:00:00Z'
                               r' are missing\n')
        self.assertNotIn("missing", asked("sessions", "--since", "7d")[1])
        self.assertRegex(table.splitlines()[0], r"TIME +SESSION +GATEWAY +CLIENT")
        self.assertRegex(table, r'(?m)Z +\w{16} +mx-1 ')
        self.assertEqual({one["gateway"] for one in self.sessions("--limit", "200")}, {"mx-1", 'mx "2"\\'})
        mine = self.sessions("--limit", "200", "--gateway", "mx-1")
        self.assertEqual({one["gateway"] for one in mine}, {"mx-1"})
        one = mine[0]["session"]
        story, said = asked("sessions", "show", one)
        self.assertRegex(story, rf"(?m)^session +{one}\ngateway +mx-1$")
        wrong = gateway.run("sessions", "--gateway", "mx-9")
        self.assertEqual(wrong.returncode, 2)
        self.assertIn('no journal of "mx-9": it has mx "2"\\, mx-1', wrong.stderr)

    def test_who_top_and_report_add_up_all_gateways(self):
        who = json.loads(asked("who", "alice@partner.example", "--json")[0])
        validate(who, "who")
        self.assertEqual({one["gateway"] for one in who["gateways"]}, {"mx-1", 'mx "2"\\'})
        self.assertTrue(all(one["age_seconds"] is not None for one in who["gateways"]))
        self.assertIn("--gateway mx-1", asked("who", "alice@partner.example", "--gateway", "mx-1")[0])
        tops = [json.loads(asked("top", "--since", "7d", "--json", *words)[0]) for words in ((), ("--gateway", "mx-1"),
                                                                                         ("--gateway", 'mx "2"\\'))]
        for top in tops:
            validate(top, "top")
        self.assertEqual(tops[0]["sessions"], tops[1]["sessions"] + tops[2]["sessions"])
        self.assertTrue(all(top["sessions"] for top in tops))
        report = json.loads(asked("report", "would-refuse", "--json")[0])
        validate(report, "report_would_refuse")
        self.assertGreater(report["sessions"], 0)
        self.assertEqual(len(report["gateways"]), 2)

    def test_few_answers_are_waited_for(self):
        database.sql("ALTER ROLE mailgate SET log_statement = 'all'")
        try:
            self.assertEqual(gateway.run("sessions", "--queue-id", "none-of-them").returncode, 1)
        finally:
            database.sql("ALTER ROLE mailgate RESET log_statement")
        log = database.log.read_text()
        process = re.search(r"\[(\d+)\] DETAIL: .*'none-of-them'", log).group(1)
        statements = re.findall(rf"\[{process}\] LOG:  (?:statement|execute [^:]+): (.*)", log)
        self.assertEqual(sum("m.queue_id" in one for one in statements), 1, "a session's own mails and further ones are looked for at once")
        self.assertFalse([one for one in statements if "max(key)" in one], "only who follows has to know where the journals end")
        # Whether the tables are known; the gateways, what is missing of them; the mail; and two COMMITs.
        self.assertLessEqual(len(statements), 7, statements)

    def test_who_follows_hears_of_what_ends_and_not_of_the_past_and_waits_for_the_database(self):
        def add(key, at_ms):
            """To a journal that is there since just now, each with a key as its client's port."""
            database.sql(f"INSERT INTO mailgate.session SELECT (jsonb_populate_record(s, jsonb_build_object('journal', 9000, 'key', {key}, 'at_ms',"
                         f" {at_ms}, 'client_port', {key}))).* FROM mailgate.session s WHERE journal < 9000 LIMIT 1", "mailgate")

        now = "(extract(epoch FROM now()) * 1000)::bigint"
        with subprocess.Popen([mailgate.binary(), "sessions", "--follow", "--json", "--limit", "1", "--config", gateway.config],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
            late = threading.Timer(DEADLINE, follower.kill)  # what does not come is then an end
            late.start()
            try:
                follower.stdout.readline()
                database.sql("INSERT INTO mailgate.journal SELECT (jsonb_populate_record(j, jsonb_build_object('id', 9000, 'gateway', 'late'))).*"
                             " FROM mailgate.journal j LIMIT 1", "mailgate")
                for key in (1, 2):
                    add(key, f"{now} - 3600000")
                add(3, now)
                ports = (line["client_port"] for line in map(json.loads, follower.stdout) if line.get("gateway") == "late")
                self.assertEqual(next(ports, None), 3)
                database.disconnect_all("mailgate")
                self.assertIn("asked the fleet's database", follower.stderr.readline())
                self.assertIn(": waiting for it", follower.stderr.readline())
                add(4, now)
                self.assertEqual(next(ports, None), 4)
                self.assertIn("it answers again", follower.stderr.readline())
            finally:
                late.cancel()
                follower.kill()
                database.sql("DELETE FROM mailgate.session WHERE journal = 9000; DELETE FROM mailgate.journal WHERE id = 9000", "mailgate")

    def test_a_gateway_that_is_late_is_named(self):
        database.sql("UPDATE mailgate.journal SET current = now() - interval '12 minutes 30 seconds' WHERE gateway = 'mx-1'", "mailgate")
        try:
            self.assertRegex(asked("sessions", "--limit", "1")[1], r"; mx-1's newest is 12 minutes old\n")
            database.sql("UPDATE mailgate.journal SET current = NULL WHERE gateway = 'mx-1'", "mailgate")
            self.assertIn("; not all of mx-1's has come yet", asked("sessions", "--limit", "1")[1])
        finally:
            database.sql("UPDATE mailgate.journal SET current = now() WHERE gateway = 'mx-1'", "mailgate")


def ask(target, user="admin", status=200):
    """The text that the console answers to somebody whom its proxy names, and its headers."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", console_port, timeout=30)) as connection:
        connection.request("GET", target, headers={"X-User": user})
        got = connection.getresponse()
        text = got.read().decode()
    assert status in (None, got.status), f"{target}: {got.status} {text}"
    return text, got.headers


def api(target, user="admin", status=200):
    return json.loads(ask("/api/v1" + target, user, status)[0])


def in_parallel(call):
    """What three of them return."""
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        return [done.result() for done in [pool.submit(call) for _ in range(3)]]


class Console(unittest.TestCase):
    """The same sessions, as the commands have them."""

    @classmethod
    def setUpClass(cls):
        database.sql("UPDATE mailgate.journal SET current = now()", "mailgate")

    def test_sessions_of_all_gateways_come_in_pages(self):
        wanted = [json.loads(line)["session"] for line in asked("sessions", "--json", "--limit", "60")[0].splitlines()
                  if '"event":"session.end"' in line or '"event":"session.refused"' in line]
        got, page = [], {"next": ""}
        while len(got) < 60:
            page = api("/sessions?gateways=all&limit=25" + (f"&cursor={page['next']}" if page["next"] else ""))
            validate(page["gateways"], "asked_gateways")
            got += [one["session"] for one in page["sessions"] if one["event"] != "session.mail"]
        self.assertEqual(got[:60], wanted[::-1])
        self.assertEqual({one["gateway"] for one in page["gateways"]}, {"mx-1", 'mx "2"\\'})
        self.assertIn("3 records of mx-1", page["said"])
        mine = api("/sessions?gateway=mx-1")
        self.assertEqual({one["gateway"] for one in mine["sessions"]}, {"mx-1"})
        self.assertNotIn("gateways", api("/sessions"), "this gateway's own")

    def test_a_search_and_one_session(self):
        found = api("/sessions?gateways=all&q=alice%40partner.example")
        self.assertEqual(found["meaning"]["name"], "from")
        one = found["sessions"][0]
        shown = api(f"/sessions/{one['session']}?gateway={urllib.parse.quote(one['gateway'])}")
        self.assertEqual(shown["sessions"][0]["session"], one["session"])
        self.assertNotIn("missing", shown["said"], "it is there")
        self.assertEqual(api(f"/sessions/{one['session']}", status=404)["code"], "no_session")
        for wrong in ("/sessions?gateways=some", "/sessions?gateways=all&gateway=mx-1", "/sessions?gateway=", "/sessions?gateway=mx-9"):
            told = api(wrong, status=400)
        self.assertIn("it has mx \"2\"\\, mx-1", told["detail"])

    def test_viewers_see_masked_addresses(self):
        clients = {one["client"] for one in api("/sessions?gateways=all&limit=200", "viewer")["sessions"] if one.get("client")}
        self.assertTrue(clients)
        self.assertTrue(all(client.endswith(("/24", "/48")) for client in clients), clients)
        api("/sessions?gateways=all&rule=default", "viewer", 403)

    def test_the_page(self):
        page, _ = ask("/sessions?q=alice%40partner.example&gateways=all", "viewer")
        self.assertIn("Asked the fleet&#39;s database: ", page)
        link = html.unescape(re.search(r'href="(/sessions/[^"]+[?]gateway=[^"]+)"', page).group(1))
        self.assertIn('class="story"', ask(link, "viewer")[0])
        self.assertIn("ask all gateways", ask("/sessions?q=nobody%40nowhere.example", "viewer")[0])


class Outages(unittest.TestCase):
    def test_the_console_says_so_and_has_what_this_gateway_has_seen(self):
        database.freeze()
        try:
            began = time.monotonic()
            # Only one asks at a time, each for a second, and one waits.
            codes = set()
            while codes != {"fleet_unavailable", "busy"}:
                told = in_parallel(lambda: api("/sessions?gateways=all", status=503))
                codes = {one["code"] for one in told}
                self.assertLess(time.monotonic() - began, 60)
            self.assertIn("does not answer", next(one["detail"] for one in told if one["code"] == "fleet_unavailable"))
            page, headers = ask("/sessions?gateways=all&q=x", "viewer", 503)
            self.assertEqual(headers["Retry-After"], "2")
            self.assertIn('<a href="/sessions?q=x">What this gateway itself has seen</a>', page)
            self.assertNotIn("postgresql", page)
            api("/sessions")
        finally:
            database.thaw()

    def test_what_this_gateway_has_seen_needs_no_database(self):
        with proxyclient.SMTP(gateway.port("smtp"), proxyclient.header_v2("198.51.100.7")) as client:
            client.quit()
        # None of them is there before the session is written.
        wait_until(lambda: "198.51.100.7" in gateway.run("sessions", "--here").stdout, "the session in the journal")
        database.freeze()
        try:
            for command in (("sessions",), ("sessions", "show", "01M"), ("who", "198.51.100.7"), ("top",), ("report", "would-refuse")):
                began = time.monotonic()
                refused = gateway.run(*command)
                self.assertLess(time.monotonic() - began, 5 * mailgate.SLACK)
                self.assertEqual((refused.returncode, refused.stdout), (1, ""))
                self.assertRegex(refused.stderr, r"the fleet's database .* does not answer \(--here asks for what this gateway has seen\)")
            here = gateway.run("who", "198.51.100.7", "--here")
            self.assertEqual(here.returncode, 0)
            self.assertIn("mailgate sessions --client 198.51.100.7 --here", here.stdout)
            self.assertNotIn("GATEWAY", here.stdout)
            self.assertNotIn("asked", here.stderr)
            self.assertEqual(gateway.run("top", "--here", "--json").returncode, 0)
        finally:
            database.thaw()


if __name__ == "__main__":
    unittest.main()
