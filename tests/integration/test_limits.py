# SPDX-License-Identifier: Apache-2.0
"""How much one client may have: by its own address, on each listener and by rule, in its protocol's words."""

import json
import unittest

from harness import backend, mailgate, proxyclient
from harness.process import Scratch

scratch = gateway = None


def setUpModule():
    global scratch, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    smtp_server = scratch.start(backend.Backend(backend.smtp))
    greetings = {"imap": b"* OK ready\r\n", "pop3": b"+OK ready\r\n"}
    servers = {name: scratch.start(backend.Backend(lambda connection, said=said: (connection.send(said),
                                                                                  connection.read_line())))
               for name, said in greetings.items()}
    gateway = scratch.start(mailgate.Mailgate(
        scratch,
        [mailgate.listener("smtp", "smtp", client_sessions=2),
         mailgate.listener("smtp", "smtp", name="paced", client_rate=3),
         mailgate.listener("smtp", "smtp", name="wide", client_sessions=1, client_ipv4_prefix=24, client_ipv6_prefix=56),
         mailgate.listener("imap", "imap", client_sessions=1), mailgate.listener("pop3", "pop3", client_sessions=1)],
        [mailgate.upstream("smtp", smtp_server.port),
         *(mailgate.upstream(name, server.port) for name, server in servers.items())]))


class Limits(unittest.TestCase):
    def session(self, listener, client):
        """The connection, kept open until the test is over, and the first line that the client hears."""
        connection = proxyclient.connect(gateway.port(listener), proxyclient.header_v2(client))
        self.addCleanup(connection.close)
        return connection, proxyclient.read_line(connection)

    def assert_admitted(self, listener, client):
        connection, line = self.session(listener, client)
        self.assertRegex(line, rb"^(220|\* OK|\+OK) ")
        return connection

    def assert_refused(self, listener, client, words):
        connection, line = self.session(listener, client)
        self.assertTrue(line.startswith(words), line)
        self.assertEqual(proxyclient.read_to_end(connection), b"")

    def test_one_client_more_than_its_sessions_is_refused_and_others_are_not(self):
        connections = [self.assert_admitted("smtp", "198.51.100.1") for _ in range(2)]
        self.assert_refused("smtp", "198.51.100.1", b"421 4.7.0 gw.example.net Too many connections from 198.51.100.1")
        self.assert_admitted("smtp", "198.51.100.2")
        self.assert_admitted("paced", "198.51.100.1")
        line = gateway.wait_event("session.refused", client="198.51.100.1", reason="too_many")
        self.assertEqual((line["limit"], line["limit_value"], line["access"]), ("client_sessions", 2, "allow"))
        connections[0].close()
        gateway.wait_event("session.end", client="198.51.100.1", listener="smtp")
        self.assert_admitted("smtp", "198.51.100.1")

    def test_the_words_are_the_protocols(self):
        for listener, words in (("imap", b"* BYE [LIMIT] Too many"), ("pop3", b"-ERR [IN-USE] Too many")):
            with self.subTest(listener=listener):
                self.assert_admitted(listener, "198.51.100.3")
                self.assert_refused(listener, "198.51.100.3", words)

    def test_new_sessions_come_no_faster_than_the_rate(self):
        for _ in range(3):
            self.assert_admitted("paced", "198.51.100.4").close()
        self.assert_refused("paced", "198.51.100.4", b"421 4.7.0 ")
        line = gateway.wait_event("session.refused", client="198.51.100.4")
        self.assertEqual((line["limit"], line["limit_value"]), ("client_rate", 3))

    def test_a_client_is_as_much_of_the_address_as_the_listener_says(self):
        self.assert_admitted("wide", "198.51.101.1")
        self.assert_refused("wide", "198.51.101.200", b"421 4.7.0 ")
        self.assert_admitted("wide", "2001:db8:1:1::1")
        self.assert_refused("wide", "2001:db8:1:fe::1", b"421 4.7.0 ")
        self.assert_admitted("wide", "2001:db8:1:100::1")
        self.assert_admitted("smtp", "2001:db8:2:1::1")
        self.assert_admitted("smtp", "2001:db8:2:1::2")
        self.assert_refused("smtp", "2001:db8:2:1::3", b"421 4.7.0 ")
        self.assert_admitted("smtp", "2001:db8:2:2::1")

    def test_partners_get_more(self):
        gateway.access("allow", "203.0.113.0/24", "--client-sessions", "4", "--client-rate", "0", "--note", "partner")
        [rule] = json.loads(gateway.access("list", "--match", "203.0.113.1", "--json"))["rules"]
        self.assertEqual((rule["client_sessions"], rule["client_rate"]), (4, 0))
        self.assertIn("4 at once, any/min", gateway.access("list"))
        self.assertIn("4 concurrent sessions per client", gateway.access("test", "203.0.113.1"))
        self.assertIn("allow 203.0.113.0/24 client_sessions=4 client_rate=0 partner", gateway.access("export"))
        self.assertIn("client_sessions=4", gateway.access("history", "203.0.113.0/24"))
        gateway.wait_event("access.changed", rules=1)
        for _ in range(4):
            self.assert_admitted("smtp", "203.0.113.1")
        self.assert_refused("smtp", "203.0.113.1", b"421 4.7.0 ")
        for _ in range(4):
            self.assert_admitted("paced", "203.0.113.1")

    def test_limits_are_for_rules_that_allow(self):
        done = gateway.run("access", "deny", "203.0.114.0/24", "--client-sessions", "4")
        self.assertEqual(done.returncode, 2)
