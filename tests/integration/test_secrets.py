# SPDX-License-Identifier: Apache-2.0
"""No password, in any form in which it crosses the wire, may stand in anything that mailgate writes."""

import base64
import re
import unittest

from harness import mailgate, proxyclient
from harness.dovecot import USERS, Dovecot
from harness.process import Scratch

WRONG = "Wr0ng-but-almost-right"
scratch = dovecot = gateway = None


def setUpModule():
    global scratch, dovecot, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    dovecot = scratch.start(Dovecot(scratch))
    gateway = scratch.start(mailgate.Mailgate(
        scratch, [mailgate.listener(service, service) for service in ("imap", "pop3", "sieve")],
        [mailgate.upstream(service, dovecot.proxy_port[service]) for service in ("imap", "pop3", "sieve")]))


def plain(password):
    return base64.b64encode(f"\0bob\0{password}".encode())


class Secrets(unittest.TestCase):
    def converse(self, listener, *exchanges):
        """Sends each text and waits for the answer's last line."""
        with proxyclient.connect(gateway.port(listener), proxyclient.header_v2("198.51.100.95")) as session:
            for text, answer in exchanges:
                session.sendall(text)
                self.assertRegex(proxyclient.read_until(session, answer), rb"(?m)" + answer)

    def test_nothing_written_holds_a_password(self):
        right = USERS["bob"]
        for password in (right, WRONG):
            word = password.encode()
            size = len(word)
            self.converse("imap", (b"", rb"^\* OK"), (b"a LOGIN bob %s\r\n" % word, rb"^a (OK|NO)"))
            self.converse("imap", (b"", rb"^\* OK"), (b'a LOGIN "bob" "%s"\r\n' % word, rb"^a (OK|NO)"))
            self.converse("imap", (b"", rb"^\* OK"), (b"a LOGIN bob {%d+}\r\n%s\r\n" % (size, word), rb"^a (OK|NO)"))
            self.converse("imap", (b"", rb"^\* OK"), (b"a LOGIN {3}\r\n", rb"^\+"), (b"bob {%d}\r\n" % size, rb"^\+"),
                          (word + b"\r\n", rb"^a (OK|NO)"))
            self.converse("imap", (b"", rb"^\* OK"), (b"a AUTHENTICATE PLAIN\r\n", rb"^\+"),
                          (plain(password) + b"\r\n", rb"^a (OK|NO)"))
            self.converse("imap", (b"", rb"^\* OK"), (b"a AUTHENTICATE PLAIN %s\r\n" % plain(password), rb"^a (OK|NO)"))
            self.converse("imap", (b"", rb"^\* OK"), (b"a AUTHENTICATE LOGIN\r\n", rb"^\+"),
                          (base64.b64encode(b"bob") + b"\r\n", rb"^\+"), (base64.b64encode(word) + b"\r\n", rb"^a (OK|NO)"))
            self.converse("imap", (b"", rb"^\* OK"), (b"a LOGIN bob %s x y z\r\n" % word, rb"^a (OK|NO|BAD)"))
            self.converse("pop3", (b"", rb"^\+OK"), (b"USER bob\r\n", rb"^\+OK"), (b"PASS %s\r\n" % word, rb"^(\+OK|-ERR)"))
            self.converse("pop3", (b"", rb"^\+OK"), (b"AUTH PLAIN\r\n", rb"^\+"), (plain(password) + b"\r\n", rb"^(\+OK|-ERR)"))
            self.converse("pop3", (b"", rb"^\+OK"), (b"PASS %s\r\n" % word, rb"^-ERR"))
            self.converse("sieve", (b"", rb"^OK"), (b'AUTHENTICATE "PLAIN" "%s"\r\n' % plain(password), rb"^(OK|NO)"))
            # A client that reaches the balancers' port directly: its first line is no header, and holds a password.
            with proxyclient.connect(gateway.port("imap"), b"a LOGIN bob %s\r\n" % word) as session:
                self.assertEqual(proxyclient.read_to_end(session), b"")
        gateway.wait_events(24, "session.end")
        gateway.wait_events(2, "proxy.rejected")
        gateway.stop()
        written = {path: path.read_bytes() for path in gateway.folder.rglob("*") if path.is_file()}
        self.assertIn(gateway.log_file, written)
        for password in (right, WRONG):
            word = password.encode()
            forms = (word, plain(password), base64.b64encode(word), word.hex().encode(), word[:12].hex().encode())
            for path, content in written.items():
                for form in forms:
                    self.assertNotRegex(content, re.escape(form), path)
