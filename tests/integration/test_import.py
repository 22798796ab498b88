# SPDX-License-Identifier: Apache-2.0
"""A million rules at once: what somebody at a terminal sees, what an interrupt leaves, what a pipe gets."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import unittest

from harness import mailgate
from harness.process import Scratch, wait_until
from harness.terminal import PATIENCE, Terminal

# Enough to take longer than the two seconds of which nobody wants to hear anything.
RULES = 1_000_000 if os.environ.get("MAILGATE_TEST_SLACK", "1") == "1" else 200_000

scratch = gateway = blocklist = None


def setUpModule():
    global scratch, gateway, blocklist
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    gateway = mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail", access="open")], [mailgate.upstream("mail", 25)])
    gateway.write_config()
    blocklist = gateway.folder / "blocklist.txt"
    # From the last to the first: the order of the file is not that of the database.
    blocklist.write_text("".join(f"{10 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24\n" for n in range(RULES - 1, -1, -1)))


class BigImport(unittest.TestCase):
    def test_an_interrupt_leaves_nothing_of_what_the_terminal_tells(self):
        terminal = Terminal(self, gateway, "access", "import", "--verdict", "deny", str(blocklist))
        terminal.wait(rf"writing rules: [\d,]+ of {RULES:,}, \d+ %, [\d,]+/s, \d+ s left")
        self.assertEqual(terminal.interrupt(), 2)
        self.assertIn("^C\r\nmailgate: interrupted: nothing changed\r\n", terminal.text)
        self.assertIn("there are no rules", gateway.run("access", "list").stderr)
        self.assertIn("no change is recorded", gateway.run("access", "history").stderr)

    def test_pipes_get_the_result_alone(self):
        done = gateway.run("access", "import", "--verdict", "deny", str(blocklist), timeout=PATIENCE)
        self.assertEqual(done.stderr, "")
        self.assertIn(f"imported {RULES:,} rules (plain): 0 allow, {RULES:,} deny; {RULES:,} added, 0 changed", done.stdout)
        self.assertIn("refuse 11.0.0.9 on smtp", gateway.run("access", "test", "11.0.0.9").stdout)
        self.ends_and_says_so()

    def ends_and_says_so(self):
        """Of so many rules whatever is done takes long."""
        export = gateway.folder / "export"
        terminal = Terminal(self, gateway, "access", "export", output=export)
        wait_until(lambda: export.exists() and export.stat().st_size > 0, "the first rules", interval=0.001)
        terminal.hold(2.1)  # as on a slow machine, whatever this one is
        terminal.wait(r"exporting rules: [\d,]+, \d+ s")
        self.assertEqual(terminal.interrupt(), signal.SIGINT)
        self.assertIn("mailgate: interrupted: what was exported lacks rules, and its end mark\r\n", terminal.text)
        self.assertNotIn("# end", export.read_text()[-100:])
        # As the version before left it: a change of the schema takes this along.
        before = "ALTER TABLE fleet_state DROP COLUMN token; PRAGMA user_version = 11"
        with contextlib.closing(sqlite3.connect(gateway.database)) as database:
            database.executescript(before)
        terminal = Terminal(self, gateway, "access", "deny", "192.0.2.1")
        with contextlib.closing(sqlite3.connect(gateway.database)) as database:
            wait_until(lambda: database.execute("PRAGMA user_version").fetchone() != (11,), "the upgrade")
            database.execute("BEGIN IMMEDIATE")  # however fast it judges the rule, it does not make it
            terminal.wait(r"changing the rules: \d+ s")
            self.assertEqual(terminal.interrupt(), signal.SIGINT)
        self.assertIn("mailgate: interrupted: no rule was changed, but the database has been upgraded: ", terminal.text)
        with contextlib.closing(sqlite3.connect(gateway.database)) as database:
            database.executescript(before + "; BEGIN IMMEDIATE")
            terminal = Terminal(self, gateway, "access", "deny", "192.0.2.1")
            terminal.wait(r"upgrading the rules: \d+ s")
            self.assertEqual(terminal.interrupt(), signal.SIGINT)
            self.assertIn("mailgate: interrupted: nothing changed\r\n", terminal.text)
        with contextlib.closing(sqlite3.connect(gateway.database)) as database:
            self.assertEqual(database.execute("SELECT count(*) FROM access_audit WHERE after LIKE '%192.0.2.1%'").fetchone(), (0,))
            # Nor is what has been made made without a word.
            for delay in (0.2, 0.9):
                changes = database.execute("SELECT max(id) FROM access_audit").fetchone()
                command = subprocess.Popen(gateway.argv("access", "deny", f"192.0.2.{delay * 10:.0f}"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                wait_until(lambda: database.execute("SELECT max(id) FROM access_audit").fetchone() != changes, "the change", PATIENCE)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    command.wait(delay)
                command.send_signal(signal.SIGINT)
                self.assertRegex("".join(command.communicate(timeout=PATIENCE)), "added rule|the change had been made")
                self.assertIn(command.returncode, (0, -signal.SIGINT))

    def test_what_an_interrupt_says_is_so(self):
        listing = gateway.folder / "part.txt"
        listing.write_text("".join(f"172.16.{n >> 8}.{n & 255}\n" for n in range(20_000)))
        orders = {True: ("import", "--verdict", "deny", "--set", "part", str(listing)), False: ("set", "remove", "part", "--yes")}
        there, said = False, set()
        for delay in range(12):
            command = subprocess.Popen(gateway.argv("access", *orders[not there]), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(0.03 * (delay + 1))
            command.send_signal(signal.SIGINT)
            _, errors = command.communicate(timeout=PATIENCE)
            after = "172.16.0.1" in gateway.access("export", "--set", "part") if self.sets() else False
            if "nothing changed" in errors:
                self.assertEqual((after, command.returncode), (there, -signal.SIGINT), errors)
            elif "the change had been made" in errors:
                self.assertEqual((after, command.returncode), (not there, -signal.SIGINT), errors)
            elif command.returncode == 0:
                self.assertEqual(after, not there, errors)
            there = after
            said.add(errors)
        self.assertIn("mailgate: interrupted: nothing changed\n", said)

    def sets(self):
        return "part" in gateway.access("set", "list")


if __name__ == "__main__":
    unittest.main()
