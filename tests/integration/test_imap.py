# SPDX-License-Identifier: Apache-2.0
"""IMAP: real clients through HAProxy and mailgate to Dovecot."""

import hashlib
import os
import re
import ssl
import subprocess
import unittest

from harness import mailgate, proxyclient
from harness.dovecot import USERS, Dovecot
from harness.haproxy import HAProxy
from harness.process import Scratch, make_certificate, wait_until

PASSWORD = USERS["bob"]
scratch = dovecot = gateway = balancer = None
fronts = {}


def setUpModule():
    global scratch, dovecot, gateway, balancer
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    dovecot = scratch.start(Dovecot(scratch))
    gateway = scratch.start(mailgate.Mailgate(
        scratch,
        [mailgate.listener("imap", "dovecot"), mailgate.listener("imap", "dovecot-v1", name="imap-v1")],
        [mailgate.upstream("dovecot", dovecot.proxy_port["imap"]),
         mailgate.upstream("dovecot-v1", dovecot.proxy_port["imap"], send_proxy="v1")]))
    balancer = HAProxy(scratch)
    for client, send, name in (("198.51.100.31", "send-proxy", "imap"), ("198.51.100.32", "send-proxy-v2", "imap"),
                               ("2001:db8::33", "send-proxy-v2", "imap-v1"), ("198.51.100.34", "send-proxy", "imap-v1"),
                               ("198.51.100.35", "send-proxy-v2", "imap"), ("198.51.100.36", "send-proxy-v2", "imap")):
        fronts[client] = balancer.frontend(gateway.port(name), send, client=client)
    scratch.start(balancer)


def message(number, size=200):
    text = f"Subject: message {number}\r\nMessage-ID: <{number}@test.example.net>\r\n\r\n"
    return text.encode() + hashlib.shake_128(str(number).encode()).hexdigest(size // 2).encode() + b"\r\n"


class OriginalAddress(unittest.TestCase):
    def test_dovecot_logs_the_original_client_and_mailgate_the_user(self):
        for client in ("198.51.100.31", "198.51.100.32", "2001:db8::33", "198.51.100.34"):
            with self.subTest(client=client):
                session = proxyclient.IMAP(fronts[client])
                session.login("bob", PASSWORD)
                session.logout()
                line = gateway.wait_event("session.end", client=client)
                self.assertEqual(line["user"], "bob")
                self.assertEqual(line["protocol"], "imap")
                dovecot.wait_log(rf"Log(in|ged in): user=<bob>, .*rip={client}, rport={line['client_port']},")

    def test_a_wrong_password_is_the_servers_answer(self):
        session = proxyclient.IMAP(gateway.port("imap"), proxyclient.header_v2("198.51.100.40"))
        self.addCleanup(session.shutdown)
        with self.assertRaisesRegex(session.error, "AUTHENTICATIONFAILED"):
            session.login("bob", "not-it")
        self.assertEqual(session.login("bob", PASSWORD)[0], "OK")


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        session = proxyclient.IMAP(gateway.port("imap"), proxyclient.header_v2("198.51.100.41"))
        session.login("bob", PASSWORD)
        session.create("Clients")
        for number in range(5):
            session.append("Clients", None, None, message(number))
        session.logout()

    def test_curl_reads_a_message(self):
        done = subprocess.run(["curl", "--silent", "--show-error", "--user", f"bob:{PASSWORD}",
                               f"imap://127.0.0.1:{fronts['198.51.100.35']}/Clients;MAILINDEX=3"],
                              capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, message(2))
        dovecot.wait_log(r"Log(in|ged in): user=<bob>, .*rip=198\.51\.100\.35,")

    def test_mbsync_mirrors_a_mailbox(self):
        folder = scratch.folder("mbsync")
        (folder / "mail").mkdir()
        (folder / "rc").write_text(f"""IMAPAccount front
Host 127.0.0.1
Port {fronts['198.51.100.36']}
User bob
Pass {PASSWORD}
SSLType None
AuthMechs LOGIN

IMAPStore far
Account front

MaildirStore near
Path {folder}/mail/
Inbox {folder}/mail/INBOX

Channel clients
Far :far:Clients
Near :near:clients
Create Near
Sync Pull
SyncState {folder}/state-
""")
        done = subprocess.run(["mbsync", "--config", folder / "rc", "clients"], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "HOME": str(folder)})
        self.assertEqual(done.returncode, 0, done.stderr)
        mirrored = sorted(re.sub(rb"X-TUID: .*\r?\n", b"", path.read_bytes()).replace(b"\r\n", b"\n")
                          for path in (folder / "mail" / "clients").glob("*/*") if path.parent.name != "tmp")
        self.assertEqual(mirrored, sorted(message(number).replace(b"\r\n", b"\n") for number in range(5)))
        dovecot.wait_log(r"Log(in|ged in): user=<bob>, .*rip=198\.51\.100\.36,")


class Sessions(unittest.TestCase):
    def open(self, client):
        session = proxyclient.connect(gateway.port("imap"), proxyclient.header_v2(client))
        self.addCleanup(session.close)
        self.assertTrue(proxyclient.read_line(session).startswith(b"* OK"))
        return session

    def test_idle_announces_new_mail(self):
        session = self.open("198.51.100.50")
        session.sendall(f"a LOGIN alice {USERS['alice']}\r\nb SELECT INBOX\r\nc IDLE\r\n".encode())
        proxyclient.read_until(session, rb"^\+ idling")
        dovecot.deliver("alice", message("idle"))
        self.assertIn(b" EXISTS", proxyclient.read_until(session, rb" EXISTS"))
        session.sendall(b"DONE\r\nd LOGOUT\r\n")
        proxyclient.read_until(session, rb"^d OK")
        self.assertEqual(session.recv(1), b"")
        session.close()
        # After LOGOUT both close, and either may be first.
        self.assertIn(gateway.wait_event("session.end", client="198.51.100.50")["end"], ("server_closed", "client_closed"))

    def test_literals_in_both_directions(self):
        session = self.open("198.51.100.51")
        session.sendall(b"a LOGIN {3}\r\n")
        self.assertTrue(proxyclient.read_line(session).startswith(b"+ "))
        session.sendall(f"bob {{{len(PASSWORD)}+}}\r\n{PASSWORD}\r\n".encode())
        self.assertIn(b"a OK", proxyclient.read_until(session, rb"^a "))
        text = b"Subject: literal\r\n\r\na LOGOUT\r\n* BYE\r\n" + bytes(range(128, 256)) + b"\r\n" * 1000
        session.sendall(b"b CREATE Literals\r\nc APPEND Literals {%d}\r\n" % len(text))
        proxyclient.read_until(session, rb"^\+ ")
        session.sendall(text + b"\r\nd SELECT Literals\r\ne FETCH 1 BODY.PEEK[]\r\n")
        self.assertIn(b"c OK", proxyclient.read_until(session, rb"^c "))
        fetched = proxyclient.read_until(session, rb"^e OK")
        self.assertIn(b"{%d}\r\n" % len(text) + text + b")\r\n", fetched)
        session.sendall(b"f LOGOUT\r\n")
        proxyclient.read_until(session, rb"^f OK")
        session.close()
        line = gateway.wait_event("session.end", client="198.51.100.51")
        self.assertEqual(line["user"], "bob")
        # After LOGOUT both close, and either may be first.
        self.assertIn(line["end"], ("server_closed", "client_closed"))

    def test_starttls_is_end_to_end(self):
        certificate, _ = make_certificate(scratch.path)
        context = ssl.create_default_context(cafile=certificate)
        session = proxyclient.IMAP(gateway.port("imap"), proxyclient.header_v2("198.51.100.52"))
        session.host = "mx.example.net"  # the name that the certificate is checked against
        session.starttls(context)
        session.login("alice", USERS["alice"])
        session.logout()
        line = gateway.wait_event("session.end", client="198.51.100.52")
        self.assertEqual((line["tls"], line["user"]), ({"mode": "starttls"}, None))
        dovecot.wait_log(r"Log(in|ged in): user=<alice>, .*rip=198\.51\.100\.52, .*TLS")

    def test_a_large_mailbox_arrives_identical(self):
        messages = [message(f"bulk{number}", 300_000) for number in range(100)]
        for text in messages:
            dovecot.deliver("alice", text)
        session = proxyclient.IMAP(gateway.port("imap"), proxyclient.header_v2("198.51.100.53"))
        session.login("alice", USERS["alice"])
        count = int(session.select("INBOX", readonly=True)[1][0])
        _, parts = session.fetch(f"1:{count}", "BODY.PEEK[]")
        fetched = {hashlib.sha256(part[1]).digest() for part in parts if isinstance(part, tuple)}
        session.logout()
        self.assertLessEqual({hashlib.sha256(text).digest() for text in messages}, fetched)
        line = gateway.wait_event("session.end", client="198.51.100.53")
        self.assertGreater(line["bytes_out"], sum(map(len, messages)))
