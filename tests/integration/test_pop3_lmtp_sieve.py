# SPDX-License-Identifier: Apache-2.0
"""POP3, LMTP and ManageSieve: mailgate between real clients and Dovecot."""

import base64
import re
import unittest

from harness import mailgate, proxyclient
from harness.dovecot import USERS, Dovecot
from harness.process import Scratch

scratch = dovecot = gateway = None


def setUpModule():
    global scratch, dovecot, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    dovecot = scratch.start(Dovecot(scratch))
    gateway = scratch.start(mailgate.Mailgate(
        scratch,
        [mailgate.listener(service, service) for service in ("pop3", "lmtp", "sieve")],
        [mailgate.upstream(service, dovecot.proxy_port[service]) for service in ("pop3", "lmtp", "sieve")]))


class Pop3(unittest.TestCase):
    def test_messages_are_read_and_the_original_address_logged(self):
        text = b"Subject: pop\r\n\r\n..two dots\r\n" + b"line\r\n" * 20000
        dovecot.deliver("bob", text)
        session = proxyclient.POP3(gateway.port("pop3"), proxyclient.header_v2("198.51.100.61"))
        session.user("bob")
        session.pass_(USERS["bob"])
        count, _ = session.stat()
        _, lines, _ = session.retr(count)
        self.assertEqual(b"\r\n".join(lines) + b"\r\n", text)
        session.quit()
        line = gateway.wait_event("session.end", client="198.51.100.61")
        self.assertEqual((line["user"], line["protocol"]), ("bob", "pop3"))
        dovecot.wait_log(rf"pop3-login: .*user=<bob>, .*rip=198\.51\.100\.61, rport={line['client_port']}")

    def test_a_wrong_password_is_the_servers_answer(self):
        session = proxyclient.POP3(gateway.port("pop3"), proxyclient.header_v2("198.51.100.62"))
        self.addCleanup(session.close)
        session.user("bob")
        with self.assertRaisesRegex(Exception, r"\[AUTH\]"):
            session.pass_("not-it")


class Lmtp(unittest.TestCase):
    def test_each_recipient_has_its_reply(self):
        session = proxyclient.connect(gateway.port("lmtp"), proxyclient.header_v2("198.51.100.63", 5063))
        with session:
            proxyclient.read_reply(session)
            session.sendall(b"LHLO mx.example.net\r\n")
            self.assertTrue(proxyclient.read_reply(session).startswith(b"250-"))
            session.sendall(b"MAIL FROM:<a@partner.example>\r\nRCPT TO:<alice@example.net>\r\nRCPT TO:<nobody@example.net>\r\n"
                            b"RCPT TO:<bob@example.net>\r\nDATA\r\n")
            codes = [proxyclient.read_reply(session)[:3] for _ in range(5)]
            self.assertEqual(codes, [b"250", b"250", b"550", b"250", b"354"])
            session.sendall(b"Subject: by LMTP\r\n\r\nbody\r\n.\r\nQUIT\r\n")
            replies = [proxyclient.read_reply(session) for _ in range(3)]
            self.assertEqual([reply[:3] for reply in replies], [b"250", b"250", b"221"])
        line = gateway.wait_event("session.end", client="198.51.100.63")
        self.assertEqual(line["end"], "client_quit")
        [mail] = line["mail"]
        self.assertEqual(mail["from"], "a@partner.example")
        self.assertRegex(mail["reply"], r"^250 2\.0\.0 <bob@example\.net> .* Saved")
        dovecot.wait_log(r"lmtp.*Connect from 198\.51\.100\.63")

    def test_smtplib_delivers(self):
        with proxyclient.LMTP(gateway.port("lmtp"), proxyclient.header_v1("198.51.100.64")) as session:
            self.assertEqual(session.sendmail("a@partner.example", ["alice@example.net"], b"Subject: x\r\n\r\nbody\r\n"), {})
        gateway.wait_event("session.end", client="198.51.100.64", protocol="lmtp")


class ManageSieve(unittest.TestCase):
    def test_a_script_is_stored(self):
        script = b'require "fileinto";\r\n# OK\r\nfileinto "Junk";\r\n'
        response = base64.b64encode(f"\0alice\0{USERS['alice']}".encode())
        session = proxyclient.connect(gateway.port("sieve"), proxyclient.header_v2("198.51.100.65"))
        with session:
            greeting = proxyclient.read_until(session, rb"^OK")
            self.assertIn(b'"SIEVE"', greeting)
            session.sendall(b'AUTHENTICATE "PLAIN" "%s"\r\n' % response)
            self.assertIn(b"OK", proxyclient.read_until(session, rb"^(OK|NO)"))
            session.sendall(b'PUTSCRIPT "filter" {%d+}\r\n%s\r\n' % (len(script), script))
            self.assertRegex(proxyclient.read_line(session), rb"^OK")
            session.sendall(b'GETSCRIPT "filter"\r\nLOGOUT\r\n')
            self.assertIn(script, proxyclient.read_until(session, rb"^OK"))
            self.assertRegex(proxyclient.read_line(session), rb"^OK")
        line = gateway.wait_event("session.end", client="198.51.100.65")
        self.assertEqual((line["user"], line["protocol"]), ("alice", "sieve"))
        self.assertTrue(re.search(r"managesieve-login: .*user=<alice>, .*rip=198\.51\.100\.65", dovecot.log()))
