# SPDX-License-Identifier: Apache-2.0
"""Logins in the clear as an attacker writes them: what a real Dovecot made of them is what the log says."""

import base64
import re
import unittest

from harness import mailgate, proxyclient
from harness.dovecot import USERS, Dovecot
from harness.process import Scratch

SERVICES = ("imap", "pop3", "sieve")
CLAIMED = "203.0.113.99"
PASSWORD = USERS["alice"].encode()
scratch = dovecot = trusting = gateway = None


def setUpModule():
    global scratch, dovecot, trusting, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    dovecot = scratch.start(Dovecot(scratch, settings="auth_mechanisms = plain login cram-md5\n"))
    trusting = scratch.start(Dovecot(scratch, name="trusting", settings="login_trusted_networks = 127.0.0.0/8\n"))
    gateway = scratch.start(mailgate.Mailgate(
        scratch,
        [mailgate.listener(service, service) for service in SERVICES]
        + [mailgate.listener(service, f"{service}-trusting", name=f"{service}-trusting") for service in SERVICES],
        [mailgate.upstream(service, dovecot.proxy_port[service]) for service in SERVICES]
        + [mailgate.upstream(f"{service}-trusting", trusting.plain_port[service], send_proxy="off",
                             lost_client_address="accepted") for service in SERVICES]))


def plain(user, password):
    return base64.b64encode(b"\0%s\0%s" % (user, password))


class Case(unittest.TestCase):
    number = 0

    def converse(self, listener, *exchanges):
        """Sends each text in one write, and reads to the answer's last line, or to the end where that is None; all that
        came, and the log's line."""
        Case.number += 1
        client = f"198.51.100.{Case.number}"
        heard = b""
        with proxyclient.connect(gateway.port(listener), proxyclient.header_v2(client)) as session:
            for text, answer in exchanges:
                session.sendall(text)
                heard += proxyclient.read_until(session, answer) if answer else proxyclient.read_to_end(session)
        return heard, gateway.wait_event("session.end", client=client)


class Attribution(Case):
    def test_a_refused_login_is_not_made_good_by_another_commands_reply(self):
        heard, line = self.converse("imap", (b"a NOOP\r\na LOGIN ceo x\r\n", rb"^a NO"), (b"c LOGIN victim w3\r\n", rb"^c NO"))
        self.assertRegex(heard, rb"(?m)^a OK")
        self.assertEqual((line["user"], line["authenticated"]), ("victim", False))
        _, line = self.converse("pop3", (b"CAPA\r\nUSER ceo\r\nPASS x\r\n", rb"^-ERR"))
        self.assertEqual((line["user"], line["authenticated"]), ("ceo", False))
        _, line = self.converse("sieve", (b"", rb"^OK"),
                                (b'NOOP\r\nAUTHENTICATE "PLAIN" "%s"\r\nCAPABILITY\r\n' % plain(b"ceo", b"x"), rb"^NO"), (b"", rb"^OK"))
        self.assertEqual((line["user"], line["authenticated"]), ("ceo", False))

    def test_a_login_behind_a_refused_exchange_is_seen(self):
        _, line = self.converse("imap", (b"a AUTHENTICATE NOSUCH\r\nb LOGIN alice %s\r\n" % PASSWORD, rb"^b OK"))
        self.assertEqual((line["user"], line["authenticated"]), ("alice", True))
        _, line = self.converse("pop3", (b"AUTH NOSUCH\r\nUSER alice\r\nPASS %s\r\n" % PASSWORD, rb"^\+OK Logged in"))
        self.assertEqual((line["user"], line["authenticated"]), ("alice", True))
        _, line = self.converse("sieve", (b"", rb"^OK"),
                                (b'AUTHENTICATE "NOSUCH"\r\nAUTHENTICATE "PLAIN" "%s"\r\n' % plain(b"alice", PASSWORD), rb"^OK"))
        self.assertEqual((line["user"], line["authenticated"]), ("alice", True))

    def test_a_login_behind_an_open_string_is_seen(self):
        heard, line = self.converse("imap", (b'a LOGIN victim "pw{27+}\r\nb LOGIN alice %s\r\n' % PASSWORD, rb"^b OK"))
        self.assertRegex(heard, rb"(?m)^a BAD")
        self.assertEqual((line["user"], line["authenticated"]), ("alice", True))

    def test_a_guess_by_challenge_and_response_has_a_name(self):
        response = base64.b64encode(b"alice " + b"0" * 32)
        for service, exchange in (("imap", (b"a AUTHENTICATE CRAM-MD5\r\n%s\r\n" % response, rb"^a NO")),
                                  ("pop3", (b"AUTH CRAM-MD5\r\n%s\r\n" % response, rb"^-ERR"))):
            _, line = self.converse(service, exchange)
            self.assertEqual((line["user"], line["authenticated"]), ("alice", False))

    def test_no_login_hides_in_a_literal(self):
        # Dovecot finds fault with the line, gives it up and takes what follows for commands.
        login = b"b LOGIN alice %s\r\n" % PASSWORD
        for line in (b"a NOOP ) ", b"a LOGIN x) ", b"a NOOP \xe9 ", b"a ID x ", b'a ID ("a" "b") '):
            attack = line + b"{%d+}\r\n%s\r\nb NOOP\r\n" % (len(login), login)
            with self.subTest(line=line):
                heard, log = self.converse("imap", (attack, rb"^b OK"))
                self.assertNotIn(b"Logged in", heard)
                self.assertIsNone(log["user"])
        login = b'AUTHENTICATE "PLAIN" "%s"\r\n' % plain(b"alice", PASSWORD)
        for line in (b'PUTSCRIPT "x" ', b"NOOP ( ", b'NOOP "\xff" '):
            with self.subTest(line=line):
                heard, log = self.converse("sieve", (b"", rb"^OK"),
                                           (line + b"{%d+}\r\n%s\r\nNOOP\r\n" % (len(login), login), rb"^OK"))
                self.assertNotIn(b"Logged in", heard)
                self.assertIsNone(log["user"])
        with proxyclient.connect(dovecot.plain_port["imap"]) as session:
            session.sendall(b"a NOOP ) {%d+}\r\nb LOGIN alice %s\r\n" % (19, PASSWORD))
            self.assertIn(b"Logged in", proxyclient.read_until(session, rb"^b "))

    def test_a_list_of_mechanisms_is_no_login(self):
        for space in (b"", b" ", b"  "):
            heard, line = self.converse("pop3", (b"AUTH " + space + b"PLAIN %s\r\nNOOP\r\n" % plain(b"bob", b"guess"), rb"^-ERR"))
            self.assertIsNot(line.get("authenticated"), True, heard)

    def test_responses_and_literals_ahead_of_their_prompts_work(self):
        _, line = self.converse("imap", (b"a AUTHENTICATE PLAIN\r\n%s\r\n" % plain(b"alice", PASSWORD), rb"^a OK"))
        self.assertEqual((line["user"], line["authenticated"]), ("alice", True))
        _, line = self.converse("imap", (b"a LOGIN {5}\r\nalice {%d}\r\n%s\r\n" % (len(PASSWORD), PASSWORD), rb"^a OK"))
        self.assertEqual((line["user"], line["authenticated"]), ("alice", True))
        _, line = self.converse("pop3", (b"AUTH PLAIN\r\n%s\r\n" % plain(b"alice", PASSWORD), rb"^\+OK Logged in"))
        self.assertEqual((line["user"], line["authenticated"]), ("alice", True))

    def test_lines_may_end_in_a_bare_lf(self):
        _, line = self.converse("imap", (b"a LOGIN alice %s\nb SELECT INBOX\n" % PASSWORD, rb"^b OK"))
        self.assertEqual((line["user"], line["authenticated"]), ("alice", True))
        _, line = self.converse("pop3", (b"USER alice\nPASS %s\n" % PASSWORD, rb"^\+OK Logged in"))
        self.assertEqual((line["user"], line["authenticated"]), ("alice", True))

    def test_a_password_in_the_wrong_place_is_not_kept(self):
        for listener, exchange in (("pop3", (b"USER alice wr0ng-place\r\nPASS x\r\n", rb"^-ERR")),
                                   ("imap", (b"a LOGIN alice\twr0ng-place\r\n", rb"^a BAD")),
                                   ("imap", (b"a AUTHENTICATE PLAIN %s\r\n" % base64.b64encode(b"alice\0wr0ng-place\0"),
                                             rb"^a (NO|BAD)"))):
            _, line = self.converse(listener, exchange)
            self.assertNotIn("wr0ng-place", str(line))

    def test_what_the_server_must_not_see_does_not_reach_it(self):
        for listener, text in (("imap", b"zero LOGIN alice\0 x\r\n"), ("pop3", b"USER zero\0\r\n"), ("sieve", b'NOOP "zero\0"\r\n'),
                               ("imap", b"zero LOGIN " + b"x" * 9000)):
            heard, line = self.converse(listener, (text, None))
            self.assertNotIn("server_closed", line["end"])
            self.assertNotIn(b"zero BAD", heard)
            self.assertIsNone(line["user"])


class Identity(Case):
    """The server would believe what it is told about the client: no header is sent, and it trusts the gateway."""
    def forbidden(self, service, text):
        greeting = {"imap": rb"^\* OK", "pop3": rb"^\+OK", "sieve": rb"^OK"}[service]
        _, line = self.converse(f"{service}-trusting", (b"", greeting), (text, None))
        self.assertEqual(line["end"], "forbidden_command")

    def test_no_client_names_another(self):
        logins = {"imap": b"b LOGIN alice %s\r\n" % PASSWORD, "pop3": b"USER alice\r\nPASS %s\r\n" % PASSWORD,
                  "sieve": b'AUTHENTICATE "PLAIN" "%s"\r\n' % plain(b"alice", PASSWORD)}
        claims = {"imap": (b'a ID ("x-originating-ip" "%s")\r\n', b'a ID ("name" "x" "X-ORIGINATING-IP" "%s")\r\n',
                           b'a ID ("x-origin\\ating-ip" "%s")\r\n', b'a ID ({16+}\r\nx-originating-ip "%s")\r\n'),
                  "pop3": (b"XCLIENT ADDR=%s PORT=777\r\n", b"xclient ADDR=%s PORT=777\r\n"),
                  "sieve": (b"XCLIENT ADDR=%s PORT=777\r\n", b"xClient ADDR=%s PORT=777\r\n")}
        for service in SERVICES:
            for claim in claims[service]:
                with self.subTest(service=service, claim=claim):
                    self.forbidden(service, claim % CLAIMED.encode() + logins[service])
        self.assertNotIn(CLAIMED, trusting.log())
        # It is no vain care: without the gateway Dovecot believes them.
        for service, answer in (("imap", rb"^b OK"), ("pop3", rb"^\+OK Logged in"), ("sieve", rb"^OK.*Logged in")):
            with proxyclient.connect(trusting.plain_port[service]) as session:
                session.sendall(claims[service][0] % CLAIMED.encode() + logins[service])
                proxyclient.read_until(session, answer)
            trusting.wait_log(rf"(?i){service}-login: .*Log(in|ged in): user=<alice>, .*rip={re.escape(CLAIMED)}")

    def test_what_is_forbidden_is_not_offered(self):
        for service, question, answer in (("pop3", b"CAPA\r\n", rb"^\.\r"), ("sieve", b"", rb"^OK")):
            with proxyclient.connect(trusting.plain_port[service]) as session:
                session.sendall(question)
                self.assertIn(b"XCLIENT", proxyclient.read_until(session, answer))
            heard, _ = self.converse(f"{service}-trusting", (question, answer))
            self.assertNotIn(b"XCLIENT", heard)
            self.assertIn(b"SASL", heard)


class FalseHello(Case):
    """A first byte proves no TLS: it is the server's answer that does."""
    def test_a_login_behind_the_byte_that_opens_tls_is_seen(self):
        logins = {"imap": (b"a LOGIN victim guess\r\n", rb"^a NO"), "pop3": (b"USER victim\r\nPASS guess\r\n", rb"^-ERR \[AUTH\]"),
                  "sieve": (b'AUTHENTICATE "PLAIN" "%s"\r\n' % plain(b"victim", b"guess"), rb'^NO "Authentication failed')}
        for service in SERVICES:
            for first in (b"\x16\r\n", b"\x16\x03\x01\r\n"):
                with self.subTest(service=service, first=first):
                    _, line = self.converse(service, (first + logins[service][0], logins[service][1]))
                    self.assertEqual((line["user"], line["authenticated"], line["tls"]), ("victim", False, None))

    def test_a_false_hello_ends_the_session(self):
        hello = b"\x16\x03\x01\x00\x40\x01\x00\x00\x3c\x03\x03" + b"\r\na LOGIN victim guess\r\n" + b"\r\n" * 20
        for service in SERVICES:
            with self.subTest(service=service):
                heard, line = self.converse(service, (hello, None))
                self.assertNotIn(b"a NO", heard)
                self.assertIsNone(line["tls"])
