# SPDX-License-Identifier: Apache-2.0
"""kill -9 at any moment, under load and while rules change: what was acknowledged is there afterwards, and nothing is half done."""

import contextlib
import os
import random
import shutil
import smtplib
import sqlite3
import subprocess
import threading
import time
import unittest

from harness import backend, mailgate, proxyclient
from harness.process import Scratch

ROUNDS = int(os.environ.get("MAILGATE_CRASH_ROUNDS", 100 if mailgate.SLACK == 1 else 10))
SEED = int(os.environ.get("MAILGATE_CRASH_SEED", time.time_ns()))
ALLOWED, DENIED, UNKNOWN = "198.51.100.7", "203.0.113.66", "192.0.2.1"

scratch = None


def setUpModule():
    global scratch
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)


class Autopsy:
    """A copy of a database as the kill left it: opening it recovers it, and the gateway must do that with its own."""

    def __init__(self, path):
        folder = scratch.folder("autopsy")
        for suffix in ("", "-wal"):
            copy = folder / (path.name + suffix)
            copy.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(f"{path}{suffix}", copy)
        self._database = sqlite3.connect(folder / path.name)

    def close(self):
        self._database.close()

    def ask(self, query):
        return self._database.execute(query).fetchall()

    def rules(self):
        """(network, verdict) -> note"""
        return {(network, verdict): note for network, verdict, note in self.ask("SELECT network, verdict, note FROM access_rule")}

    def rule_lines(self):
        return {rule: f"{verdict} {network} {note}".rstrip()
                for rule, network, verdict, note in self.ask("SELECT id, network, verdict, note FROM access_rule")}

    def replayed_audit(self):
        """What the trail says the rules are, if each of its rows fits the ones before."""
        rules = {}
        for action, rule, before, after in self.ask("SELECT action, rule_id, before, after FROM access_audit ORDER BY id"):
            assert rules.pop(rule, None) == before, (action, rule, before, after)
            assert (before is None, after is None) == (action == "add", action == "remove"), (action, rule, before, after)
            if after is not None:
                rules[rule] = after
        return rules


class Writer:
    """Changes rules of its own networks, one after the other. `rules` is what has been acknowledged; `open` is what they are
    if the change that was not acknowledged is there all the same."""

    def __init__(self, gateway, number, seed):
        self.gateway = gateway
        self.number = number
        self.random = random.Random(seed)
        self.rules = {}
        self.open = None
        self.acknowledged = self.killed = 0
        self.complaints = []

    def run(self, over):
        try:
            while self.open is None and not over.is_set():
                self.change()
        except Exception as error:  # a thread's own would be lost
            self.complaints.append(error)

    def networks(self, count):
        return [f"10.{self.number}.{place // 4}.{place % 4 * 64}/26" for place in self.random.sample(range(400), count)]

    def change(self):
        raise NotImplementedError


class Command(Writer):
    """By `mailgate access`, which is killed itself now and then."""

    def change(self):
        what = self.random.choice(("allow", "deny", "remove", "import"))
        after = dict(self.rules)
        if what == "import":
            lines = []
            for network in self.networks(self.random.choice((5, 300))):
                after[network, "deny"] = note = f"{self.random.random()}"
                lines.append(f"deny {network} {note}\n")
            self.tell(after, what, "-", stdin="".join(lines))
        elif what == "remove":
            network = self.random.choice([network for network, _ in self.rules] or self.networks(1))
            after = {key: note for key, note in self.rules.items() if key[0] != network}
            if after != self.rules:
                self.tell(after, what, network)
        else:
            note = f"{self.random.random()}"
            networks = self.networks(2)
            after.update({(network, what): note for network in networks})
            self.tell(after, what, *networks, "--note", note)

    def tell(self, after, *arguments, stdin=""):
        command = subprocess.Popen(self.gateway.argv("access", *arguments), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        doomed = self.random.random() < 0.3
        try:
            _, complaint = command.communicate(stdin, timeout=self.random.uniform(0, 0.03) if doomed else 60)
        except subprocess.TimeoutExpired:
            command.kill()
            _, complaint = command.communicate()
        if command.returncode == 0:
            self.rules = after
            self.acknowledged += 1
        elif doomed and command.returncode == -9:
            self.open = after
            self.killed += 1
        else:
            raise AssertionError(f"{arguments}: {command.returncode}: {complaint}")


class Shell(Writer):
    """By SQL, as with the sqlite3 shell."""

    def change(self):
        after = dict(self.rules)
        with contextlib.closing(sqlite3.connect(self.gateway.database, timeout=30, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            for network in self.networks(3):
                if after.pop((network, "deny"), None) is None:
                    after[network, "deny"] = ""
                    database.execute("INSERT INTO access_rule(network, verdict) VALUES (?, 'deny')", (network,))
                else:
                    database.execute("DELETE FROM access_rule WHERE network = ?", (network,))
            database.execute("COMMIT")
        self.rules = after
        self.acknowledged += 1


class KillLoop(unittest.TestCase):
    def setUp(self):
        server = scratch.start(backend.Backend(backend.smtp))
        self.gateway = mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail", access="allowlist")],
                                         [mailgate.upstream("mail", server.port)], log={"level": "information"})
        self.addCleanup(self.gateway.stop)
        self.gateway.write_config()
        self.gateway.access("allow", ALLOWED)
        self.gateway.access("deny", DENIED)
        self.random = random.Random(SEED)
        self.writers = [*(Command(self.gateway, number, self.random.random()) for number in range(2)),
                        Shell(self.gateway, 2, self.random.random())]
        self.kills = self.mails = 0
        self.began = time.monotonic()
        self.addCleanup(self.report)

    def report(self):
        print(f"{self.kills} kills in {time.monotonic() - self.began:.0f} s (seed {SEED}): "
              f"{sum(writer.acknowledged for writer in self.writers)} changes acknowledged, "
              f"{sum(writer.killed for writer in self.writers)} commands killed, {self.mails} mails")

    def test_nothing_acknowledged_is_lost_and_nothing_is_half_done(self):
        while self.kills < ROUNDS:
            self.start()
            if self.kills % 4 == 3:
                time.sleep(self.random.uniform(0, 0.05))  # in mid-start
                self.kill()
            else:
                self.expect_to_serve()
                self.kill_under_load(self.random.uniform(0, 0.3))
            self.expect_what_was_acknowledged()
        self.start()
        self.expect_to_serve()
        everybody = 2 + sum(len(writer.rules) for writer in self.writers)
        self.assertEqual(self.gateway.access("export").splitlines()[-1], f"# end, {everybody} rules")

    def start(self):
        self.gateway.log_file.unlink(missing_ok=True)
        self.gateway.launch()

    def expect_to_serve(self):
        self.gateway.process.wait_ready(lambda: self.gateway.events("gateway.start"), "gateway.start in its log")
        for client, answer in ((ALLOWED, rb"^220 "), (DENIED, rb"^554 "), (UNKNOWN, rb"^554 ")):
            with proxyclient.connect(self.gateway.port("smtp"), proxyclient.header_v2(client)) as session:
                self.assertRegex(proxyclient.read_line(session), answer)

    def kill(self):
        self.gateway.kill()
        self.kills += 1

    def send_mail(self):
        """Until the gateway is gone."""
        with contextlib.suppress(OSError, smtplib.SMTPException):
            while True:
                with proxyclient.SMTP(self.gateway.port("smtp"), proxyclient.header_v2(ALLOWED)) as session:
                    session.sendmail("load@partner.example", ["bob@example.net"], b"Subject: x\r\n\r\nbody\r\n")
                self.mails += 1

    def kill_under_load(self, seconds):
        over = threading.Event()
        threads = [threading.Thread(target=self.send_mail, daemon=True) for _ in range(2)]
        threads += [threading.Thread(target=writer.run, args=(over,), daemon=True) for writer in self.writers]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self.kill()
        over.set()
        for thread in threads:
            thread.join(60)

    def expect_what_was_acknowledged(self):
        store = self.autopsy(self.gateway.database)
        self.assertEqual(store.replayed_audit(), store.rule_lines())
        [(changes,)] = store.ask("SELECT count(*) FROM access_audit")
        self.assertEqual(store.ask("SELECT rules_version, acting FROM access_meta"), [(1 + changes, "")])
        shells = f"coalesce(before, after) LIKE 'deny 10.{self.writers[-1].number}.%'"
        self.assertEqual(store.ask(f"SELECT * FROM access_audit WHERE (who = 'sqlite3') <> ({shells})"), [])
        rules = store.rules()
        self.assertEqual((rules.pop((ALLOWED, "allow"), None), rules.pop((DENIED, "deny"), None)), ("", ""))
        for writer in self.writers:
            self.assertEqual(writer.complaints, [])
            own = {key: note for key, note in rules.items() if key[0].startswith(f"10.{writer.number}.")}
            if writer.open is not None and own == writer.open:
                writer.rules = writer.open
            self.assertEqual(own, writer.rules)
            writer.open = None
            for key in own:
                del rules[key]
        self.assertEqual(rules, {})
        if self.gateway.journal.exists():
            self.autopsy(self.gateway.journal)

    def autopsy(self, path):
        database = Autopsy(path)
        self.addCleanup(database.close)
        self.assertEqual(database.ask("PRAGMA integrity_check"), [("ok",)])
        return database


if __name__ == "__main__":
    unittest.main()
