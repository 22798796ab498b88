# SPDX-License-Identifier: Apache-2.0
"""A million rules at once: what somebody at a terminal sees, what an interrupt leaves, what a pipe gets."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import time
import unittest

from harness import mailgate
from harness.process import Scratch

# Enough to take longer than the two seconds of which nobody wants to hear anything.
RULES = 1_000_000 if os.environ.get("MAILGATE_TEST_SLACK", "1") == "1" else 200_000
PATIENCE = 250  # seconds, of a debug build on a busy machine

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


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, *arguments):
        self.text = ""
        self._process, self._terminal = pty.fork()
        if self._process == 0:
            os.chdir(gateway.folder)
            os.execv(gateway.argv()[0], gateway.argv(*arguments))

    def wait(self, pattern):
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, f"{pattern} is not in {self.text[-500:]}"
            if select.select([self._terminal], [], [], 1)[0]:
                self.text += os.read(self._terminal, 4096).decode()

    def interrupt(self):
        """Control-C; the signal that has ended the command."""
        os.write(self._terminal, b"\x03")
        with contextlib.suppress(OSError):  # as Linux ends a terminal
            while said := os.read(self._terminal, 4096):
                self.text += said.decode()
        status = os.waitpid(self._process, 0)[1]
        os.close(self._terminal)
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else None


class BigImport(unittest.TestCase):
    def test_an_interrupt_leaves_nothing_of_what_the_terminal_tells(self):
        terminal = Terminal("access", "import", "--verdict", "deny", str(blocklist))
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
