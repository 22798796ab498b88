# SPDX-License-Identifier: Apache-2.0
"""The log through a real systemd-journald, which has a /run of its own."""

import json
import pathlib
import subprocess
import unittest

from harness import backend, mailgate, proxyclient
from harness.process import Process, Scratch, wait_until

JOURNALD = "/lib/systemd/systemd-journald"
# The namespace's /run is empty: nothing of the machine's own journal is touched, and this one's is gone with it.
SETUP = f"""
set -e
mount --make-rprivate /
mount -t tmpfs none /run
mkdir -p /run/systemd/journald.conf.d /run/log/journal
printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=no\\n' > /run/systemd/journald.conf.d/test.conf
exec {JOURNALD}
"""


class Journald:
    def __init__(self, scratch):
        self.process = Process("journald", ["unshare", "--mount", "sh", "-c", SETUP], scratch.path / "journald.txt")

    def start(self):
        self.process.start()
        run = pathlib.Path(f"/proc/{self.process.pid}/root/run/systemd/journal")
        self.process.wait_ready(lambda: (run / "stdout").exists() and (run / "dev-log").exists(), "its sockets")
        return self

    def stop(self):
        self.process.stop()

    def argv(self, *words):
        """A command that sees this journal as the machine's."""
        return ["nsenter", "--target", str(self.process.pid), "--mount", *words]

    def entries(self):
        """Of mailgate, as dictionaries."""
        asked = subprocess.run(self.argv("journalctl", "--quiet", "--identifier=mailgate", "--output=json", "--all"), text=True,
                               capture_output=True, check=True)
        return [json.loads(line) for line in asked.stdout.splitlines()]

    def wait_entry(self, event, **fields):
        """The first that has this event as its message, and the event."""
        def find():
            for entry in self.entries():
                line = json.loads(entry["MESSAGE"])
                if line["event"] == event and all(line.get(key) == value for key, value in fields.items()):
                    return entry, line
            return None
        return wait_until(find, lambda: f"{event} with {fields} in the journal:\n{self.entries()}", interval=0.1)


class Journal(unittest.TestCase):
    def setUp(self):
        self.scratch = Scratch()
        self.addCleanup(self.scratch.close)
        self.journald = self.scratch.start(Journald(self.scratch))
        self.server = self.scratch.start(backend.Backend(backend.smtp))

    def gateway(self, target, *prefix):
        """A daemon in the journal's namespace, started with `prefix` before its command."""
        gateway = mailgate.Mailgate(
            self.scratch, [mailgate.listener("smtp", "mail"), mailgate.listener("smtp", "mail", name="guarded", access="allowlist")],
            [mailgate.upstream("mail", self.server.port)], log={"target": target})
        gateway.process.argv = [str(word) for word in self.journald.argv(*prefix, *gateway.process.argv)]
        self.scratch.defer(gateway.stop)
        gateway.launch()
        self.journald.wait_entry("gateway.start")
        return gateway

    def test_standard_error_arrives_line_by_line_as_a_service_writes_it(self):
        # A unit's standard error is a stream to journald, as systemd-cat makes it.
        gateway = self.gateway("stderr", "systemd-cat", "--identifier=mailgate")
        with proxyclient.connect(gateway.port("guarded"), proxyclient.header_v2("203.0.113.1")) as session:
            proxyclient.read_line(session)
        _, refused = self.journald.wait_entry("session.refused", client="203.0.113.1")
        self.assertEqual(refused["reason"], "access")
        with proxyclient.SMTP(gateway.port("smtp"), proxyclient.header_v2("203.0.113.2")) as session:
            session.ehlo()
            session.mail("alice@example.org")
            for number in range(50):
                session.rcpt(f"{'r' * 60}{number}@{'d' * 60}.{'e' * 60}.{'f' * 60}.example.net")
            session.data(b"Subject: long\r\n\r\n.\r\n")
        entry, ended = self.journald.wait_entry("session.end", client="203.0.113.2")
        self.assertGreater(len(entry["MESSAGE"]), 8192)
        self.assertEqual((ended["end"], len(ended["mail"][0]["recipients"])), ("client_quit", 50))

    def test_its_syslog_socket_takes_facility_and_severity(self):
        gateway = self.gateway("syslog:/run/systemd/journal/dev-log")
        with proxyclient.connect(gateway.port("smtp"), b"EHLO no.header\r\n"):
            entry, _ = self.journald.wait_entry("proxy.rejected")
        self.assertEqual((entry["SYSLOG_FACILITY"], entry["PRIORITY"]), ("2", "4"))  # mail, warning
        entry, _ = self.journald.wait_entry("gateway.start")
        self.assertEqual((entry["SYSLOG_FACILITY"], entry["PRIORITY"]), ("2", "6"))
