# SPDX-License-Identifier: Apache-2.0
"""The system's clock jumps. Time limits run by the monotonic clock and must not care; rules expire by the wall clock."""

import datetime
import json
import os
import unittest

from harness import backend, mailgate, proxyclient
from harness.process import wait_until
from harness.situation import Situation

# Replaces the wall clock of the programs that load it by what a file says.
LIBRARY = f"/usr/lib/{os.uname().machine}-linux-gnu/faketime/libfaketimeMT.so.1"


@unittest.skipIf(mailgate.SLACK > 1, "sanitizers and faketime both replace the C library's functions")
class Jumps(Situation):
    def setUp(self):
        self.clock = self.scratch.folder(self._testMethodName) / "clock"
        self.jump(0)
        server = self.backend(backend.smtp)
        self.started([server.port], access="allowlist", timeouts={"hold": "2s"}, env={
            **os.environ, "LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1"})

    def jump(self, seconds):
        """From now on the daemon's wall clock is that much ahead of ours."""
        fresh = self.clock.with_suffix(".fresh")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self.clock)
        self.ahead = seconds

    def admitted(self, client):
        return self.greeting(client).startswith(b"220 ")

    def mail(self, client):
        """A mail of its own session; its line in the log, whose time is the daemon's."""
        with proxyclient.SMTP(self.gateway.port("smtp"), proxyclient.header_v2(client)) as session:
            session.sendmail("a@example.org", ["b@example.net"], b"Subject: x\r\n\r\n")
        line = self.gateway.wait_events(1, "session.end", client=client, end="client_quit")[-1]
        ahead = datetime.datetime.fromisoformat(line["time"]) - datetime.datetime.now(datetime.timezone.utc)
        self.assertAlmostEqual(ahead.total_seconds(), self.ahead, delta=60)
        self.assertLess(line["duration_ms"], 30_000)
        return line

    def journalled(self, client):
        done = self.gateway.run("sessions", "--json", "--client", client)
        return [json.loads(line)["session"] for line in done.stdout.splitlines()]

    def expect_a_session_to_outlast(self, seconds):
        client = f"198.51.100.{71 + (seconds > 0)}"
        self.gateway.access("allow", client)
        wait_until(lambda: self.admitted(client), "the client is admitted")
        with self.connect(client) as idle, self.connect(client) as mute:
            proxyclient.read_line(idle)
            self.jump(seconds)
            idle.sendall(b"NOOP\r\n")
            self.assertEqual(proxyclient.read_line(idle), b"250 2.0.0 Ok\r\n")
            line = self.mail(client)
            idle.sendall(b"NOOP\r\n")
            self.assertEqual(proxyclient.read_line(idle), b"250 2.0.0 Ok\r\n")
            self.assertRegex(proxyclient.read_line(mute), rb"^220 ")
        wait_until(lambda: line["session"] in self.journalled(client), "the session in the journal")
        self.assertEqual([found["end"] for found in self.gateway.events("session.end", end="idle_timeout")], [])

    def test_an_hour_back(self):
        self.expect_a_session_to_outlast(-3600)
        # What a rule's maker meant by its expiry is the wall clock's time.
        self.gateway.access("allow", "192.0.2.8", "--expires", "30m")
        wait_until(lambda: self.admitted("192.0.2.8"), "the rule in force")

    def test_a_day_forward(self):
        self.gateway.access("allow", "192.0.2.9", "--expires", "12h")
        wait_until(lambda: self.admitted("192.0.2.9"), "the rule in force")
        self.expect_a_session_to_outlast(86400)
        self.assertFalse(self.admitted("192.0.2.9"), "the rule has expired")
        self.jump(0)
        self.assertTrue(self.admitted("192.0.2.9"), "the rule is in force again")


if __name__ == "__main__":
    unittest.main()
