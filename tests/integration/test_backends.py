# SPDX-License-Identifier: Apache-2.0
"""Pools of real and scripted servers: health checks, failover, names."""

import os
import pathlib
import re
import threading
import time
import unittest

from harness import backend, mailgate, proxyclient
from harness.dnsmasq import Dnsmasq
from harness.dovecot import Dovecot
from harness.ports import reserve_port
from harness.postfix import Postfix
from harness.process import Scratch, wait_until

scratch = postfix = None

CHECKED = {"check": True, "interval": "200ms", "check_timeout": "1s"}


def setUpModule():
    global scratch, postfix
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    postfix = scratch.start(Postfix(scratch))


def session_greeting(port):
    with proxyclient.connect(port, proxyclient.header_v2("198.51.100.7")) as client:
        return proxyclient.read_line(client)


def checked_smtp(connection, greeting=b"220 fake.example.net ESMTP\r\n"):
    """A scripted SMTP server that takes a LOCAL header too (any header in one segment)."""
    connection.recv()
    backend.smtp(connection, greeting)


class Quiet(unittest.TestCase):
    """Checks leave nothing but connect and disconnect in the servers' logs."""

    def check_for_a_while(self, listeners, upstreams):
        gateway = mailgate.Mailgate(scratch, listeners, upstreams, name=f"quiet-{self.id().rsplit('.', 1)[1]}")
        gateway.start()
        try:
            time.sleep(2 * mailgate.SLACK)  # a silence is only heard by waiting
        finally:
            gateway.stop()
        self.assertEqual(gateway.events("server.down"), [])

    def test_postfix_logs_connect_and_disconnect_only(self):
        for send in ("v2", "v1"):
            with self.subTest(send=send):
                before = len(postfix.log())
                self.check_for_a_while(
                    [mailgate.listener("smtp", "mx")],
                    [mailgate.upstream("mx", postfix.proxy_port, postfix.postscreen_port, send_proxy=send, **CHECKED)])
                lines = [line for line in postfix.log()[before:].splitlines() if "smtpd[" in line or "postscreen[" in line]
                self.assertGreater(len(lines), 6)
                noise = [line for line in lines if not re.search(
                    r"smtpd\[\d+\]: (dis)?connect from unknown\[127\.0\.0\.1\]"
                    r"|postscreen\[\d+\]: (cache|CONNECT from|ALLOWLISTED|WHITELISTED|PASS (NEW|OLD)|DISCONNECT) ", line)]
                self.assertEqual(noise, [])

    def test_dovecot_logs_no_warning(self):
        dovecot = scratch.start(Dovecot(scratch))
        protocols = ("imap", "pop3", "lmtp", "sieve")
        self.check_for_a_while(
            [mailgate.listener(protocol, protocol) for protocol in protocols],
            [mailgate.upstream(protocol, dovecot.proxy_port[protocol], **CHECKED) for protocol in protocols])
        lines = dovecot.log().splitlines()
        noise = [line for line in lines if re.search(r"Warning|Error|Fatal|Panic|haproxy", line)]
        self.assertEqual(noise, [])


class Failing(unittest.TestCase):
    def start(self, listeners, upstreams, **more):
        gateway = mailgate.Mailgate(scratch, listeners, upstreams, name=f"failing-{self.id().rsplit('.', 1)[1]}", **more)
        gateway.start()
        self.addCleanup(gateway.stop)
        return gateway

    def serve(self, behaviour, port=None):
        server = backend.Backend(behaviour, reads_header=False, port=port).start()
        self.addCleanup(server.stop)
        return server

    def test_a_mute_server_is_down_and_gets_no_session(self):
        mute = self.serve(backend.mute)
        gateway = self.start([mailgate.listener("smtp", "mx")],
                             [mailgate.upstream("mx", mute.port, postfix.proxy_port, **CHECKED)], timeouts={"greeting": "1s"})
        down = gateway.wait_event("server.down", server="mx1")
        self.assertIn("took the connection but sent no greeting", down["reason"])
        for _ in range(4):
            self.assertIn(b"220", session_greeting(gateway.port("smtp")))
        for line in gateway.wait_events(4, "session.end"):
            self.assertEqual(line["server"], "mx2")
            self.assertLess(line["connect_ms"], 1000 * mailgate.SLACK)
        self.assertEqual(len(gateway.events("server.down")), 1, "one line a change")

    def test_a_server_that_was_restarted_serves_again(self):
        port = reserve_port()
        gateway = self.start([mailgate.listener("smtp", "mx")],
                             [mailgate.upstream("mx", port, **CHECKED)], timeouts={"hold": "20s"})
        self.assertEqual(gateway.wait_event("server.down")["reason"], "connection refused")
        heard = []
        client = threading.Thread(target=lambda: heard.append(session_greeting(gateway.port("smtp"))))
        client.start()
        self.serve(checked_smtp, port)
        gateway.wait_event("server.up", server="mx1")
        client.join(30)
        self.assertEqual(heard, [b"220 fake.example.net ESMTP\r\n"])

    def test_a_backup_serves_while_nobody_else_does(self):
        port = reserve_port()
        settings = mailgate.upstream("mx", port, postfix.proxy_port, **CHECKED)
        settings["server"][1]["backup"] = True
        gateway = self.start([mailgate.listener("smtp", "mx")], [settings])
        gateway.wait_event("server.down", server="mx1")
        self.assertIn(b"220 mx.example.net", session_greeting(gateway.port("smtp")))
        self.serve(checked_smtp, port)
        gateway.wait_event("server.up", server="mx1")
        self.assertIn(b"220 fake", session_greeting(gateway.port("smtp")))

    def test_a_server_that_greets_late_is_as_good_to_a_check_as_to_a_client(self):
        def late(connection):
            connection.recv()
            time.sleep(2)  # what a slow name server costs
            backend.smtp(connection)
        server = self.serve(late)
        gateway = self.start([mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", server.port, **{**CHECKED, "check_timeout": "300ms"})])
        self.assertIn(b"220 fake", session_greeting(gateway.port("smtp")))
        self.assertIn(b"220 fake", session_greeting(gateway.port("smtp")))
        self.assertEqual(gateway.events("server.down"), [])

    def test_what_postfix_says_to_one_client_takes_it_from_nobody_else(self):
        strict = scratch.start(Postfix(scratch, name="counting", settings={"smtpd_client_connection_count_limit": "2",
                                                                           "smtpd_client_event_limit_exceptions": ""}))
        gateway = self.start([mailgate.listener("smtp", "mx", name="smtp")],
                             [mailgate.upstream("mx", strict.proxy_port, **{**CHECKED, "interval": "30s"})])
        port = gateway.port("smtp")
        for number in range(6):
            client = proxyclient.connect(port, proxyclient.header_v2("198.51.100.7"))
            self.addCleanup(client.close)
            self.assertRegex(proxyclient.read_line(client), rb"^220 " if number < 2 else rb"^421 ")
            with proxyclient.connect(port, proxyclient.header_v2("198.51.100.8")) as other:
                self.assertIn(b"220 mx.example.net", proxyclient.read_line(other))
        self.assertEqual(gateway.events("server.down"), [])

    def test_a_check_by_a_gateway_without_a_domain_is_taken_by_a_strict_postfix(self):
        strict = scratch.start(Postfix(scratch, name="strict", settings={
            "smtpd_helo_required": "yes", "smtpd_delay_reject": "no",
            "smtpd_helo_restrictions": "reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname"}))
        before = len(strict.log())
        gateway = self.start([mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", strict.proxy_port, **CHECKED)],
                             gateway={"name": "gw1"})
        strict.wait_log(r"disconnect from .* ehlo=1 quit=1")
        self.assertNotIn("reject", strict.log()[before:])
        self.assertEqual(gateway.events("server.down"), [])
        wait_until(lambda: any("gateway.name" in line["detail"] for line in gateway.events("config.warning")), "the warning")
        self.assertIn("warning: gateway.name", gateway.run("check").stdout)

    def test_idle_connections_are_kept_alive_alike_on_both_sides(self):
        server = self.serve(checked_smtp)
        gateway = self.start([mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", server.port)])
        with proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("198.51.100.7")) as client:
            proxyclient.read_line(client)

            def seconds_to_the_next_probe(column, port):
                """Of the gateway's connection: proc(5), tr (2: keep-alive) and tm->when, in hundredths."""
                for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
                    fields = line.split()
                    if fields[3] == "01" and int(fields[column].split(":")[1], 16) == port:
                        kind, left = fields[5].split(":")
                        return int(left, 16) / 100 if kind == "02" else None
            for side, column, port in (("client", 1, gateway.port("smtp")), ("server", 2, server.port)):
                # It is asked for when the session has lasted a minute.
                left = wait_until(lambda: seconds_to_the_next_probe(column, port), f"keep-alive towards the {side}", deadline=90)
                self.assertTrue(0 < left <= 61, (side, left))  # two minutes after the last byte

    def test_two_postfixes_share_the_sessions_by_weight(self):
        other = scratch.start(Postfix(scratch, name="postfix2"))
        settings = mailgate.upstream("mx", postfix.proxy_port, other.proxy_port, **CHECKED)
        settings["server"][0]["weight"] = 3
        gateway = self.start([mailgate.listener("smtp", "mx")], [settings])
        for _ in range(12):
            session_greeting(gateway.port("smtp"))
        served = [line["server"] for line in gateway.wait_events(12, "session.end")]
        self.assertEqual((served.count("mx1"), served.count("mx2")), (9, 3))


@unittest.skipUnless(os.geteuid() == 0, "needs a mount namespace")
class Names(unittest.TestCase):
    def test_addresses_follow_the_name_and_a_failure_keeps_the_last(self):
        names = scratch.start(Dnsmasq(scratch))
        port = reserve_port()
        servers = {}
        for address in ("127.0.0.1", "127.0.0.2"):
            greeting = f"220 {address}\r\n".encode()
            servers[address] = backend.Backend(lambda c, g=greeting: checked_smtp(c, g), reads_header=False,
                                               address=address, port=port).start()
            self.addCleanup(servers[address].stop)
        names.tell("mx.example.org", "127.0.0.1")
        settings = mailgate.upstream("mx", port, host="mx.example.org", resolve_interval="100ms", **CHECKED)
        gateway = mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mx")], [settings], name="named")
        gateway.process.argv = ["unshare", "-m", "sh", "-c",
                                f'mount --bind {names.resolv} /etc/resolv.conf && exec "$@"', "sh", *gateway.process.argv]
        gateway.start()
        self.addCleanup(gateway.stop)
        greet = lambda: session_greeting(gateway.port("smtp"))
        self.assertEqual(greet(), b"220 127.0.0.1\r\n")
        names.tell("mx.example.org", "127.0.0.1", "127.0.0.2")
        wait_until(lambda: {greet(), greet()} == {b"220 127.0.0.1\r\n", b"220 127.0.0.2\r\n"}, "sessions at both addresses")
        names.tell("mx.example.org", "127.0.0.2")
        wait_until(lambda: {greet(), greet()} == {b"220 127.0.0.2\r\n"}, "sessions at the new address only")
        names.stop()
        gateway.wait_event("server.unresolved", upstream="mx")
        self.assertEqual({greet(), greet()}, {b"220 127.0.0.2\r\n"})
