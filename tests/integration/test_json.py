# SPDX-License-Identifier: Apache-2.0
"""What commands print with --json is what docs/json.schema.json says, and docs/json.md names each of them."""

import contextlib
import json
import pathlib
import re
import sqlite3
import subprocess
import unittest

import jsonschema

from harness import backend, mailgate, proxyclient
from harness.process import Scratch, wait_until

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
SCHEMA = json.loads((DOCS / "json.schema.json").read_text())

scratch = gateway = server = current = None


def replies(connection):
    """Takes any mail, but none for nobody@; of PROXY headers not those without addresses, which probe tries."""
    try:
        connection.read_header()
    except ValueError:
        return
    connection.send(b"220 mx.example.net ESMTP\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            line = connection.read_line()
            verb = line[:4].upper()
            if verb == b"DATA":
                connection.send(b"354 go on\r\n")
                while connection.read_line() != b".\r\n":
                    pass
                connection.send(b"250 2.0.0 Ok: queued as 6E955A72018\r\n")
            else:
                connection.send(b"550 5.1.1 no such user\r\n" if b"<nobody@" in line else
                                b"221 2.0.0 Bye\r\n" if verb == b"QUIT" else b"250 2.1.0 Ok\r\n")


def setUpModule():
    global scratch, gateway, server, current
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    server = scratch.start(backend.Backend(replies, reads_header=False))
    gateway = scratch.start(mailgate.Mailgate(
        scratch, [mailgate.listener("smtp", "mail"), mailgate.listener("smtp", "mail", name="watched", access="allowlist", mode="monitor")],
        [mailgate.upstream("mail", server.port), mailgate.upstream("gone", backend.reserve_port())], admin={"socket": "mailgate.sock"}))
    gateway.access("deny", "192.0.2.0/24", "--note", "ticket 4711", "--owner", "alice")
    gateway.access("allow", "203.0.113.7", "--expires", "7d", "--client-rate", "5", "--set", "partners")
    wait_until(lambda: any(line["rules"] == 2 for line in gateway.events("access.changed")), "the rules")
    for listener in ("smtp", "watched"):
        with proxyclient.SMTP(gateway.port(listener), proxyclient.header_v2("198.51.100.7")) as client:
            for _ in range(22):  # more than have a place in the session's own line
                client.sendmail("alice@partner.example", ["bob@example.net"], b"Message-ID: <1@partner.example>\r\n\r\nbody\r\n")
            client.mail("alice@partner.example")
            client.rcpt("nobody@example.net")
            client.rset()
            client.quit()
    with proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("192.0.2.66")) as refused:
        proxyclient.read_line(refused)
    current = proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("198.51.100.8"))
    unittest.addModuleCleanup(current.close)
    proxyclient.read_line(current)
    wait_until(lambda: len(lines("sessions")) >= 3, "the sessions")


def lines(*words):
    return [json.loads(line) for line in gateway.run(*words, "--json").stdout.splitlines()]


def table():
    """The commands of docs/json.md and the names of their schemas."""
    rows = re.findall(r"(?m)^\| `([^`]+)` \|.*\| `(\w+)` \|$", (DOCS / "json.md").read_text())
    return dict(rows)


def commands(*path):
    """All that have --json, by their --help."""
    text = gateway.run("help", *path).stdout
    found = [" ".join(path)] if re.search(r"(?m)^  --json\b", text) else []
    if below := re.search(r"(?ms)^Subcommands:\n(.*?)\n\n", text):
        for name in re.findall(r"(?m)^  (\S+)", below[1]):
            found += commands(*path, name)
    return found


class Json(unittest.TestCase):
    maxDiff = None

    def requires(self, name, instance):
        schema = {**SCHEMA, "$ref": f"#/$defs/{name}"}
        errors = list(jsonschema.Draft202012Validator(schema).iter_errors(instance))
        self.assertEqual([f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in errors], [], instance)

    def test_every_command_is_in_the_table(self):
        jsonschema.Draft202012Validator.check_schema(SCHEMA)
        documented = table()
        self.assertEqual(sorted(set(documented) - {"sessions --live", "status --fleet"}), sorted(commands()))
        self.assertLessEqual(set(documented.values()), set(SCHEMA["$defs"]))

    def test_lines(self):
        seen = set()
        for words in (("sessions", "--all"), ("sessions", "--limit", "1"), ("sessions", "--would-refuse"),
                      ("sessions", "show", lines("sessions")[-1]["session"])):
            for line in lines(*words):
                # Against the one that it says it is: an error then names the field.
                self.requires(line["event"].replace(".", "_"), line)
                self.requires("session", line)
                seen.add(line["event"])
        self.assertEqual(seen, {"session.end", "session.refused", "session.mail", "sessions.cut"})
        self.assertTrue(any("message_id" in mail for line in lines("sessions") for mail in line.get("mail", [])))
        live = lines("sessions", "--live")
        self.assertEqual(len(live), 1)
        self.requires("live_session", live[0])

    def test_objects(self):
        session = lines("sessions")[-1]["session"]
        closed = backend.reserve_port()
        rules = str(scratch.path / "rules.txt")
        gateway.run("console", "user", "add", "alice", "--role", "admin", stdin="correct horse battery\n")
        gateway.run("console", "token", "add", "one", "--role", "viewer", "--user", "alice")
        gateway.run("console", "token", "add", "two", "--role", "viewer", "--expires", "never")
        pathlib.Path(rules).write_text("deny 198.51.100.66 set=imported listener=smtp,watched\n")
        with contextlib.closing(sqlite3.connect(gateway.database)) as database, database:
            database.execute("INSERT INTO access_rule(network, verdict, listener) VALUES ('198.51.100.77', 'deny', 'gone')")
        for words in (("who", "alice@partner.example"), ("who", "198.51.100.7"), ("who", session[:16]), ("who", "nobody"),
                      ("top",), *(("top", "--by", group) for group in
                                  ("client", "network", "sender", "recipient", "user", "helo", "end")),
                      ("report", "would-refuse"), ("status",), ("tls", "status"), ("tls", "test", f"127.0.0.1:{closed}"),
                      ("tls", "test", "no-such-host.invalid:993"), ("check",), ("reload",), ("probe",), ("probe", "gone"),
                      ("console", "user", "list"), ("console", "token", "list"),
                      ("access", "list"), ("access", "list", "--expired"), ("access", "history"), ("access", "history", "--limit", "1"),
                      ("access", "set", "list"), ("access", "set", "show", "partners"), ("access", "report"),
                      ("access", "test", "192.0.2.66", "203.0.113.7"), ("access", "diff", rules),
                      ("access", "import", rules, "--dry-run"), ("access", "import", rules),
                      ("access", "allow", "198.51.100.9", "--dry-run"), ("access", "allow", "198.51.100.9", "--set", "new"),
                      ("access", "deny", "198.51.100.10", "--cut", "--set", "new"), ("access", "undo"),
                      ("access", "rename-listener", "gone", "smtp"), ("access", "remove", "198.51.100.66", "--yes"),
                      ("access", "set", "define", "new", "--note", "x"), ("access", "set", "remove", "new", "--yes")):
            with self.subTest(words=words):
                done = gateway.run(*words, "--json")
                documented = table()
                command = max((name for name in documented if " ".join(words).startswith(name)), key=len)
                self.requires(documented[command], json.loads(done.stdout))
                self.assertTrue(done.stdout.endswith("\n"))

    def test_what_check_has_found(self):
        well = json.loads(gateway.run("check", "--json").stdout)
        self.assertEqual((well["ok"], well["files"], well["listeners"], well["upstreams"], well["errors"]),
                         (True, [str(gateway.config)], ["smtp", "watched"], ["mail", "gone"], []))
        wrong = scratch.path / "wrong.toml"
        wrong.write_text(gateway.config.read_text().replace("[gateway]", '[gateway]\nnmae = "x"', 1))
        done = subprocess.run([mailgate.binary(), "check", "--json", "--config", str(wrong)], text=True, capture_output=True, timeout=60)
        found = json.loads(done.stdout)
        self.requires("check", found)
        self.assertEqual((done.returncode, done.stderr, found["ok"], len(found["errors"])), (78, "", False, 1))
        self.assertIn(f"{wrong}:", found["errors"][0])

    def test_what_a_server_accepts(self):
        done = gateway.run("probe", "mail", "--json")
        answer, = json.loads(done.stdout)["servers"]
        self.assertEqual((done.returncode, answer["ok"], answer["advice"]), (0, True, []), answer)
        self.assertEqual(answer["address"], f"127.0.0.1:{server.port}")
        self.assertEqual(answer["v2"], {"accepted": True, "reason": None})
        unreachable, = json.loads(gateway.run("probe", "gone", "--json").stdout)["servers"]
        self.assertEqual((unreachable["ok"], unreachable["v2"]), (False, None))

    def test_what_there_is_none_of_is_an_empty_array(self):
        for words, array in ((("who", "nobody"), "meanings"), (("access", "list", "--expired"), "rules"),
                             (("top", "--client", "203.0.113.99"), "clients")):
            done = gateway.run(*words, "--json")
            self.assertEqual((done.returncode, json.loads(done.stdout)[array]), (1, []), words)


if __name__ == "__main__":
    unittest.main()
