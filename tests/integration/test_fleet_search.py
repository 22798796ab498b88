# SPDX-License-Identifier: Apache-2.0
"""The journals of a fleet's gateways in a real PostgreSQL: they answer as a file with the same records does, and the commands
that ask say whom they have asked."""

import json
import os
import pathlib
import subprocess
import time
import unittest

import jsonschema

from harness import backend, mailgate, proxyclient
from harness.postgres import Postgres
from harness.process import Scratch, wait_until

SCHEMA = json.loads((pathlib.Path(__file__).parents[2] / "docs" / "json.schema.json").read_text())
PASSWORD = "s3cret"

scratch = database = gateway = None


def url(role="mailgate"):
    return database.url(role, PASSWORD, "mailgate")


def setUpModule():
    global scratch, database, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    server = scratch.start(backend.Backend(backend.smtp))
    database = scratch.start(Postgres(scratch))
    gateway = mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", server.port)], name="mx-3",
                                gateway={"name": "mx-3", "workers": 1}, admin={"socket": "mailgate.sock"}, fleet={"url": url()})
    gateway.write_config()
    database.sql(gateway.run("snippet", "postgresql").stdout)
    for role in ("mailgate", "mailgate_owner"):
        database.sql(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
    done = gateway.run("fleet", "migrate", "--url", url("mailgate_owner"), "--grant", "mailgate")
    assert done.returncode == 0, done.stderr
    answers = subprocess.run([os.environ["FLEET_SEARCH_ANSWERS_BIN"], "--gtest_brief=1"], text=True, capture_output=True, check=False,
                             env={**os.environ, "MAILGATE_FLEET_URL": url()})
    assert answers.returncode == 0, answers.stdout[-5000:] + answers.stderr


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

    def test_a_gateway_that_is_late_is_named(self):
        database.sql("UPDATE mailgate.journal SET current = now() - interval '12 minutes 30 seconds' WHERE gateway = 'mx-1'", "mailgate")
        try:
            self.assertRegex(asked("sessions", "--limit", "1")[1], r"; mx-1's newest is 12 minutes old\n")
            database.sql("UPDATE mailgate.journal SET current = NULL WHERE gateway = 'mx-1'", "mailgate")
            self.assertIn("; not all of mx-1's has come yet", asked("sessions", "--limit", "1")[1])
        finally:
            database.sql("UPDATE mailgate.journal SET current = now() WHERE gateway = 'mx-1'", "mailgate")


class Outages(unittest.TestCase):
    def test_what_this_gateway_has_seen_needs_no_database(self):
        scratch.start(gateway)
        self.addCleanup(gateway.stop)
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
