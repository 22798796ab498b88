# SPDX-License-Identifier: Apache-2.0
"""The log through a real rsyslogd, in a scratch folder."""

import json
import re
import socket
import unittest

from harness import backend, mailgate, proxyclient
from harness.process import Process, Scratch, wait_until

CONFIG = """
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{socket}" RateLimit.Interval="0")
template(name="plain" type="string" string="%syslogfacility-text%.%syslogseverity-text% %programname% %msg:2:$%\\n")
*.* action(type="omfile" file="{messages}" template="plain")
"""


class Rsyslog:
    """rsyslogd with one Unix socket; each message becomes `facility.severity program text`."""

    def __init__(self, scratch):
        self.folder = scratch.folder("rsyslog")
        self.socket = self.folder / "log"
        self.messages = self.folder / "messages"
        config = self.folder / "rsyslog.conf"
        config.write_text(CONFIG.format(folder=self.folder, socket=self.socket, messages=self.messages))
        self.process = Process("rsyslogd", ["rsyslogd", "-n", "-f", config, "-i", self.folder / "pid"],
                               self.folder / "output.txt")

    def start(self):
        self.process.start()
        self.process.wait_ready(self._takes_messages, "a socket that takes messages")
        return self

    def stop(self):
        self.process.stop()
        self.socket.unlink(missing_ok=True)

    def _takes_messages(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def lines(self):
        """The whole ones: rsyslog may be writing another."""
        return self.messages.read_text().split("\n")[:-1] if self.messages.exists() else []

    def wait_line(self, pattern):
        return wait_until(lambda: next((line for line in self.lines() if re.search(pattern, line)), None),
                          lambda: f"{pattern} in rsyslog's messages:\n" + "\n".join(self.lines()[-20:]))


class Syslog(unittest.TestCase):
    def setUp(self):
        scratch = Scratch()
        self.addCleanup(scratch.close)
        self.rsyslog = scratch.start(Rsyslog(scratch))
        server = scratch.start(backend.Backend(backend.smtp))
        self.gateway = mailgate.Mailgate(
            scratch, [mailgate.listener("smtp", "mail", access="allowlist"), mailgate.listener("smtp", "mail", name="open")],
            [mailgate.upstream("mail", server.port)], log={"target": f"syslog:{self.rsyslog.socket}"})
        scratch.defer(self.gateway.stop)
        self.gateway.launch()
        self.rsyslog.wait_line('"event":"gateway.start"')

    def refuse(self, client):
        with proxyclient.connect(self.gateway.port("smtp"), proxyclient.header_v2(client)) as session:
            proxyclient.read_line(session)

    def test_every_line_arrives_whole_with_facility_and_severity(self):
        self.refuse("203.0.113.1")
        line = self.rsyslog.wait_line(r'"client":"203\.0\.113\.1"')
        head, _, text = line.partition("{")
        self.assertEqual(head, "mail.info mailgate ")
        self.assertEqual(json.loads("{" + text)["event"], "session.refused")
        with proxyclient.connect(self.gateway.port("open"), b"EHLO no.header\r\n"):
            self.assertTrue(self.rsyslog.wait_line('"event":"proxy.rejected"').startswith("mail.warning mailgate "))

    def test_a_long_line_is_not_cut(self):
        with proxyclient.SMTP(self.gateway.port("open"), proxyclient.header_v2("203.0.113.2")) as session:
            session.ehlo()
            session.mail("alice@example.org")
            for number in range(50):
                session.rcpt(f"{'r' * 60}{number}@{'d' * 60}.{'e' * 60}.{'f' * 60}.example.net")
            session.data(b"Subject: long\r\n\r\n.\r\n")
        line = self.rsyslog.wait_line(r'"event":"session\.end".*"client":"203\.0\.113\.2"')
        end = json.loads(line[line.index("{"):])
        self.assertGreater(len(line), 8192)
        self.assertEqual(end["end"], "client_quit")

    def test_nothing_is_lost_while_rsyslog_restarts(self):
        self.rsyslog.stop()
        self.refuse("203.0.113.3")
        wait_until(lambda: "cannot be written" in self.gateway.process.text(), "mailgate to notice")
        self.rsyslog.start()
        self.refuse("203.0.113.4")
        for client in ("203.0.113.3", "203.0.113.4"):
            self.rsyslog.wait_line(f'"client":"{client}"')
