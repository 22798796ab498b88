# SPDX-License-Identifier: Apache-2.0
"""STARTTLS that ends at mailgate: real clients, servers that speak in the clear."""

import email.message
import imaplib
import json
import os
import poplib
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import unittest

from harness import mailgate, proxyclient
from harness.authority import Authority
from harness.dovecot import USERS, Dovecot
from harness.postfix import Postfix
from harness.process import Scratch, wait_until

PASSWORD = USERS["bob"]
NAME = "mail.example.org"
MUST_TLS = "530 5.7.0 Must issue a STARTTLS command first"
ELSEWHERE = "127.0.0.2"  # a client with the server's own address has a secure connection, says Dovecot 2.4
scratch = authority = dovecot = postfix = gateway = None


def setUpModule():
    global scratch, authority, dovecot, postfix, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    authority = Authority(scratch.folder("certificates"))
    certificate, key = authority.issue(NAME)
    shared = {"tls": "starttls", "proxy": "off",
              "certificates": [{"certificate": str(certificate), "key": str(key)}]}
    dovecot = scratch.start(Dovecot(scratch, cleartext=False))
    postfix = scratch.start(Postfix(scratch))
    gateway = scratch.start(mailgate.Mailgate(
        scratch,
        [mailgate.listener("smtp", "smtp", name="mx", tls_required=False, **shared),
         mailgate.listener("smtp", "smtp", name="submission", **shared),
         mailgate.listener("lmtp", "lmtp", **shared),
         mailgate.listener("imap", "imap", **shared),
         mailgate.listener("imap", "imap", name="imap-optional", tls_required=False, **shared),
         mailgate.listener("imap", "imap-v1", name="imap-v1", **shared),
         mailgate.listener("pop3", "pop3", **shared),
         mailgate.listener("sieve", "sieve", **shared),
         mailgate.listener("imap", "imap", name="imap-balanced", **{**shared, "proxy": "require"}),
         mailgate.listener("imap", "imap", name="imap-trusted", **{**shared, "proxy": "require", "trusted": [
             {"network": "127.0.0.0/8", "tls": True}]})],
        [mailgate.upstream("smtp", postfix.proxy_port), mailgate.upstream("lmtp", dovecot.proxy_port["lmtp"]),
         mailgate.upstream("imap", dovecot.proxy_port["imap"]), mailgate.upstream("pop3", dovecot.proxy_port["pop3"]),
         mailgate.upstream("sieve", dovecot.proxy_port["sieve"]),
         mailgate.upstream("imap-v1", dovecot.proxy_port["imap"], send_proxy="v1")],
        timeouts={"tls_handshake": "2s"}, admin={"socket": "mailgate.sock"}))


def trusting():
    return ssl.create_default_context(cafile=str(authority.certificate))


class Clear:
    """A client in the clear that can go on within TLS."""

    def __init__(self, listener, header=b"", source=None):
        self.socket = proxyclient.connect(gateway.port(listener), header, source=source)
        self.port = self.socket.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def sends(self, text):
        self.socket.sendall(text)

    def line(self):
        return proxyclient.read_line(self.socket)

    def until(self, pattern):
        """Lines up to the first one that matches, as one text."""
        text = b""
        while True:
            line = self.line()
            text += line
            if re.match(pattern, line):
                return text
            assert line, text

    def secure(self):
        self.socket = trusting().wrap_socket(self.socket, server_hostname=NAME)

    def rest(self):
        return proxyclient.read_to_end(self.socket)


# By listener: how it greets, what asks for TLS, the answer, and a harmless command with its answer.
SPOKEN = {
    "mx": (rb"220 ", b"STARTTLS\r\n", rb"220 ", b"NOOP\r\n", rb"250 "),
    "lmtp": (rb"220 ", b"STARTTLS\r\n", rb"220 ", b"NOOP\r\n", rb"250 "),
    "imap": (rb"\* OK", b"s STARTTLS\r\n", rb"s OK", b"n NOOP\r\n", rb"n OK"),
    "pop3": (rb"\+OK", b"STLS\r\n", rb"\+OK", b"CAPA\r\n", rb"\.\r\n"),
    "sieve": (rb"OK", b"STARTTLS\r\n", rb"OK", b"NOOP\r\n", rb"OK"),
}


class Mail(unittest.TestCase):
    def kept(self, *filters):
        def found():
            done = gateway.run("sessions", *filters, "--json")
            return done.returncode == 0 and done.stdout and json.loads(done.stdout.splitlines()[0])
        return wait_until(found, lambda: gateway.run("sessions", "--json").stdout)

    def test_log_and_journal_have_the_envelope_of_mail_behind_starttls(self):
        subprocess.run(["swaks", "--tls", "--server", "127.0.0.1", "--port", str(gateway.port("mx")), "--tls-sni", NAME,
                        "--helo", "client.example.com", "--from", "sender@example.com", "--to", "alice@example.net",
                        "--header", "Subject: inside"], check=True, capture_output=True)
        line = gateway.wait_event("session.end", listener="mx", helo="client.example.com")
        tls = line["tls"]
        self.assertEqual((tls["mode"], tls["version"], tls["sni"], tls["resumed"]), ("starttls", "TLSv1.3", NAME, False))
        self.assertIn("AES", tls["cipher"])
        self.assertGreaterEqual(tls["handshake_ms"], 0)
        self.assertNotIn("client_certificate", tls)
        [mail] = line["mail"]
        self.assertEqual((mail["from"], mail["recipients"]), ("sender@example.com", ["alice@example.net"]))
        self.assertEqual(line["end"], "client_quit")
        self.assertIn(b"Subject: inside", postfix.wait_messages("alice", 1)[-1])
        self.assertEqual(self.kept("--from", "sender@example.com")["tls"], tls)
        self.assertIn("TLS1.3", gateway.run("sessions", "--from", "sender@example.com").stdout)

    def test_where_tls_is_not_required_mail_comes_in_the_clear_too(self):
        with smtplib.SMTP("127.0.0.1", gateway.port("mx"), "clear.example.com", timeout=30) as client:
            client.sendmail("clear@example.com", ["bob@example.net"], b"Subject: in the clear\r\n\r\n")
            self.assertTrue(client.has_extn("starttls"))
        line = gateway.wait_event("session.end", listener="mx", helo="clear.example.com")
        self.assertIsNone(line["tls"])
        self.assertEqual(line["mail"][0]["recipients"], ["bob@example.net"])

    def test_python_submits(self):
        with smtplib.SMTP("127.0.0.1", gateway.port("submission"), "python.example.com", timeout=30) as client:
            client.ehlo()
            self.assertTrue(client.has_extn("starttls"))
            client._host = NAME
            client.starttls(context=trusting())
            client.ehlo()
            self.assertFalse(client.has_extn("starttls"))
            client.sendmail("python@example.com", ["alice@example.net"], b"Subject: python\r\n\r\n")
        line = gateway.wait_event("session.end", listener="submission", helo="python.example.com")
        self.assertEqual((line["tls"]["version"], line["mail"][0]["from"]), ("TLSv1.3", "python@example.com"))


class Logins(unittest.TestCase):
    """Of servers that take no password in the clear, but for what the gateway tells them."""

    def logged_in(self, listener, port, **fields):
        line = gateway.wait_event("session.end", listener=listener, client_port=port, **fields)
        self.assertEqual((line["tls"]["mode"], line["tls"]["version"], line["authenticated"]), ("starttls", "TLSv1.3", True))
        return line

    def test_imap(self):
        client = imaplib.IMAP4("127.0.0.1", gateway.port("imap"), timeout=30)
        port = client.sock.getsockname()[1]
        self.assertIn("STARTTLS", client.capabilities)
        self.assertIn("LOGINDISABLED", client.capabilities)
        self.assertFalse([capability for capability in client.capabilities if capability.startswith("AUTH=")])
        client.host = NAME
        client.starttls(trusting())
        self.assertNotIn("STARTTLS", client.capabilities)
        self.assertNotIn("LOGINDISABLED", client.capabilities)
        self.assertIn("AUTH=PLAIN", client.capabilities)
        client.login("bob", PASSWORD)
        self.assertEqual(client.select("INBOX")[0], "OK")
        client.logout()
        self.logged_in("imap", port, user="bob")
        dovecot.wait_log(rf"Log(in|ged in): user=<bob>, .*rport={port}.*(TLS|secured)")

    def test_pop3(self):
        client = poplib.POP3("127.0.0.1", gateway.port("pop3"), timeout=30)
        port = client.sock.getsockname()[1]
        before = client.capa()
        self.assertIn("STLS", before)
        self.assertNotIn("USER", before)
        client.host = NAME
        client.stls(trusting())
        after = client.capa()
        self.assertNotIn("STLS", after)
        self.assertIn("PLAIN", after["SASL"])
        client.user("bob")
        client.pass_(PASSWORD)
        client.quit()
        self.logged_in("pop3", port, user="bob")
        dovecot.wait_log(rf"Log(in|ged in): user=<bob>, .*rport={port}.*(TLS|secured)")

    def test_managesieve_which_sends_its_capabilities_anew(self):
        with Clear("sieve") as client:
            before = client.until(rb"OK")
            self.assertIn(b'"STARTTLS"\r\n', before)
            self.assertIn(b'"SASL" ""\r\n', before)
            client.sends(b"STARTTLS\r\n")
            self.assertTrue(client.line().startswith(b"OK"))
            client.secure()
            after = client.until(rb"OK")
            self.assertNotIn(b"STARTTLS", after)
            self.assertRegex(after, rb'"SASL" ".*PLAIN')
            client.sends(b'AUTHENTICATE "PLAIN" "AGJvYgBidWlsZGVyLTMxNDE="\r\n')
            client.until(rb"OK")
            client.sends(b"LOGOUT\r\n")
            client.rest()
            port = client.port
        self.logged_in("sieve", port, user="bob")

    def test_lmtp(self):
        with Clear("lmtp") as client:
            client.until(SPOKEN["lmtp"][0])
            client.sends(b"LHLO client.example.com\r\n")
            self.assertIn(b"STARTTLS", client.until(rb"250 "))
            client.sends(b"MAIL FROM:<a@example.com>\r\n")
            self.assertRegex(client.line(), rb"^530 5\.7\.0 ")
            client.sends(b"STARTTLS\r\n")
            client.until(rb"220 ")
            client.secure()
            client.sends(b"LHLO client.example.com\r\n")
            self.assertNotIn(b"STARTTLS", client.until(rb"250 "))
            for command, answer in ((b"MAIL FROM:<lmtp@example.com>", rb"250"), (b"RCPT TO:<alice>", rb"250"),
                                    (b"DATA", rb"354"), (b"Subject: lmtp\r\n\r\n.", rb"250"), (b"QUIT", rb"221")):
                client.sends(command + b"\r\n")
                client.until(answer)
            port = client.port
        line = gateway.wait_event("session.end", listener="lmtp", client_port=port)
        self.assertEqual([(mail["from"], mail["reply"][:3]) for mail in line["mail"]],
                         [("a@example.com", "530"), ("lmtp@example.com", "250")])
        self.assertEqual(line["tls"]["mode"], "starttls")

    def test_programs(self):
        dovecot.deliver("bob", b"Subject: fetched\r\n\r\nbody\r\n")
        for scheme, path in (("imap", "INBOX;UID=1"), ("pop3", "1")):
            with self.subTest(scheme=scheme):
                port = gateway.port(scheme)
                done = subprocess.run(
                    ["curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", authority.certificate, "--user",
                     f"bob:{PASSWORD}", "--resolve", f"{NAME}:{port}:127.0.0.1", f"{scheme}://{NAME}:{port}/{path}"],
                    capture_output=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(b"Subject: fetched", done.stdout)

    def test_openssl_finds_its_way_in_every_protocol(self):
        for listener, protocol in (("mx", "smtp"), ("lmtp", "lmtp"), ("imap", "imap"), ("pop3", "pop3"), ("sieve", "sieve")):
            with self.subTest(protocol=protocol):
                shown = subprocess.run(
                    ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port(listener)}", "-starttls", protocol,
                     "-CAfile", authority.certificate, "-verify_return_error"], input=b"", capture_output=True, check=False)
                self.assertEqual(shown.returncode, 0, shown.stderr)
                self.assertIn(b"Verify return code: 0 (ok)", shown.stdout)

    def test_a_dovecot_that_greets_twice(self):
        """Whose authentication does not answer for a while: the second connection's greetings are both kept from the client."""
        with Clear("imap") as client:
            client.until(rb"\* OK")
            auth = dovecot.processes("dovecot/auth")
            self.assertTrue(auth)
            try:
                for pid in auth:
                    os.kill(pid, signal.SIGSTOP)
                client.sends(b"s STARTTLS\r\n")
                client.until(rb"s OK")
                client.secure()
                client.sends(b"a LOGIN bob %s\r\n" % PASSWORD.encode())
                client.socket.settimeout(4)  # its "Waiting for authentication process" comes after 2.5 seconds
                with self.assertRaises(TimeoutError):
                    client.socket.recv(1)
            finally:
                for pid in auth:
                    os.kill(pid, signal.SIGCONT)
            client.socket.settimeout(30)
            self.assertNotRegex(client.until(rb"a OK"), rb"(?m)^\* OK")

    def test_servers_that_cannot_be_told_are_connected_to_anew_all_the_same(self):
        with Clear("imap-v1", source=ELSEWHERE) as client:
            client.until(rb"\* OK")
            client.sends(b"s STARTTLS\r\n")
            client.until(rb"s OK")
            client.secure()
            client.sends(b"a LOGIN bob %s\r\n" % PASSWORD.encode())
            self.assertIn(b"a NO [PRIVACYREQUIRED]", client.until(rb"a "))
        self.assertIn('send_proxy = "v2" tells them', gateway.run("check").stdout)


class Required(unittest.TestCase):
    def test_no_password_and_no_mail_before_tls(self):
        for listener, command, answer, user in (
                ("submission", b"MAIL FROM:<a@example.com>\r\n", rb"530 5\.7\.0 Must issue a STARTTLS", None),
                ("submission", b"AUTH PLAIN AGJvYgBidWlsZGVyLTMxNDE=\r\n", rb"530 5\.7\.0", "bob"),
                ("imap", b"a LOGIN bob builder-3141\r\n", rb"a NO \[PRIVACYREQUIRED\]", "bob"),
                ("imap", b"a AUTHENTICATE PLAIN\r\n", rb"a NO \[PRIVACYREQUIRED\]", None),
                ("pop3", b"USER bob\r\n", rb"-ERR \[AUTH\]", "bob"),
                ("sieve", b'AUTHENTICATE "PLAIN" "AGJvYgBidWlsZGVyLTMxNDE="\r\n', rb"NO \(ENCRYPT-NEEDED\)", "bob")):
            before = self.refusals(listener)
            with self.subTest(listener=listener, command=command), Clear(listener) as client:
                client.until(SPOKEN.get(listener, SPOKEN["mx"])[0])
                client.sends(command)
                self.assertRegex(client.line(), rb"^" + answer)
                client.socket.close()
                line = gateway.wait_event("session.end", listener=listener, client_port=client.port)
                self.assertEqual((line["user"], line["tls"]), (user, None))
                self.assertNotIn("builder-3141", str(line))
                if user:
                    self.assertEqual((line["authenticated"], line["failed_logins"]), (None, 0))
                else:
                    self.assertNotIn("authenticated", line)
                mails = [(mail["from"], mail["reply"]) for mail in line.get("mail", [])]
                self.assertEqual(mails, [("a@example.com", MUST_TLS)] if command.startswith(b"MAIL") else [])
                self.assertEqual(self.refusals(listener), before + 1, "counted before the line is written")

    def test_who_was_told_to_begin_tls_can_be_found(self):
        with Clear("submission") as smtp, Clear("imap") as imap:
            smtp.until(SPOKEN["mx"][0])
            smtp.sends(b"MAIL FROM:<old-printer@example.com>\r\n")
            smtp.until(rb"530 ")
            imap.until(SPOKEN["imap"][0])
            imap.sends(b"a LOGIN old-phone builder-3141\r\n")
            imap.until(rb"a NO")
        for *question, port in (("--from", "old-printer@example.com", smtp.port), ("--reply", "530", "--from", "old-printer@example.com", smtp.port),
                                ("--user", "old-phone", imap.port), ("--user", "old-phone", "--reply", "PRIVACYREQUIRED", imap.port)):
            found = wait_until(lambda question=question: gateway.run("sessions", *question, "--json").stdout, "the journal has it")
            self.assertEqual([json.loads(line)["client_port"] for line in found.splitlines()], [port], question)

    def refusals(self, listener):
        text = gateway.run("status", "--json").stdout
        return next(one["tls_required_refusals"] for one in json.loads(text)["listeners"] if one["name"] == listener)

    def test_a_client_that_goes_on_is_let_go(self):
        with Clear("imap") as client:
            client.until(rb"\* OK")
            client.sends(b"".join(b"a%d LOGIN bob guess\r\n" % number for number in range(30)))
            received = client.rest()
            self.assertIn(b"PRIVACYREQUIRED", received)
            port = client.port
        line = gateway.wait_event("session.end", listener="imap", client_port=port)
        self.assertEqual((line["end"], line["failed_logins"] if "failed_logins" in line else 0), ("tls_required", 0))

    def test_where_it_is_not_required_the_server_decides(self):
        with Clear("imap-optional", source=ELSEWHERE) as client:
            greeting = client.until(rb"\* OK")
            self.assertIn(b"STARTTLS", greeting)
            client.sends(b"a LOGIN bob builder-3141\r\n")
            self.assertIn(b"a NO [PRIVACYREQUIRED]", client.until(rb"a "), "Dovecot's own")

    def test_a_balancer_that_ends_tls_fulfils_it(self):
        ssl_tlv = b"\x20\x00\x0f" + b"\x01\x00\x00\x00\x01" + b"\x21\x00\x07TLSv1.2"
        for listener, tlvs, version in (("imap-balanced", ssl_tlv, "TLSv1.2"), ("imap-trusted", b"", None)):
            with self.subTest(listener=listener), Clear(
                    listener, proxyclient.header_v2("198.51.100.77", tlvs=tlvs)) as client:
                self.assertNotIn(b"STARTTLS", client.until(rb"\* OK"))
                client.sends(b"a LOGIN bob builder-3141\r\n")
                client.until(rb"a OK")
                client.sends(b"b LOGOUT\r\n")
                client.rest()
                client.socket.close()
                line = gateway.wait_event("session.end", listener=listener, user="bob")
                self.assertEqual((line["tls"]["mode"], line["tls"].get("version")), ("balancer", version))

    def test_a_balancers_alpn_stays_here(self):
        # Dovecot 2.4.0 and 2.4.1 close the connection for any, later ones for another than their own.
        for alpn in (b"imap", b"h2"):
            tlv = b"\x01" + len(alpn).to_bytes(2, "big") + alpn
            with self.subTest(alpn=alpn), Clear("imap-balanced", proxyclient.header_v2("198.51.100.79", tlvs=tlv)) as client:
                client.until(rb"\* OK")
                client.sends(b"b LOGOUT\r\n")
                client.rest()
                client.socket.close()
                self.assertEqual(gateway.wait_event("session.end", client="198.51.100.79", alpn=alpn.decode())["end"], "client_quit")
        self.assertEqual(gateway.events("server.down", upstream="imap"), [])

    def test_a_balancer_that_does_not_end_it_does_not(self):
        with Clear("imap-balanced", proxyclient.header_v2("198.51.100.78")) as client:
            self.assertIn(b"STARTTLS LOGINDISABLED", client.until(rb"\* OK"))


class Injection(unittest.TestCase):
    """CVE-2011-0411: what is said in the clear behind STARTTLS is never taken for what is said within TLS."""

    def ended(self, listener, port):
        line = gateway.wait_event("session.end", listener=listener, client_port=port)
        self.assertEqual((line["end"], line["violation"]), ("plaintext_after_starttls", "plaintext_after_starttls"))

    def test_in_the_same_segment(self):
        for listener, (greeting, ask, taken, command, _) in SPOKEN.items():
            with self.subTest(listener=listener), Clear(listener) as client:
                client.until(greeting)
                client.sends(ask + command)
                self.assertNotRegex(client.rest(), rb"(?m)^" + taken)
                self.ended(listener, client.port)

    def test_in_another_segment_before_the_reply(self):
        for listener, (greeting, ask, taken, command, _) in SPOKEN.items():
            with self.subTest(listener=listener), Clear(listener) as client:
                client.until(greeting)
                # What comes first keeps STARTTLS waiting for the server.
                client.sends(command + ask)
                client.sends(command)
                client.rest()
                self.ended(listener, client.port)

    def test_behind_the_reply(self):
        for listener, (greeting, ask, taken, command, _) in SPOKEN.items():
            with self.subTest(listener=listener), Clear(listener) as client:
                client.until(greeting)
                client.sends(ask)
                client.until(taken)
                client.sends(command)
                self.assertEqual(client.rest(), b"")
                self.ended(listener, client.port)

    def test_the_handshake_that_follows_fails(self):
        for listener, (greeting, ask, taken, command, _) in SPOKEN.items():
            with self.subTest(listener=listener), Clear(listener) as client:
                client.until(greeting)
                client.sends(ask)
                client.until(taken)
                client.sends(command)
                with self.assertRaises((ssl.SSLError, OSError)):
                    client.secure()

    def test_a_second_starttls_is_refused(self):
        for listener, (greeting, ask, taken, command, answer) in SPOKEN.items():
            with self.subTest(listener=listener), Clear(listener) as client:
                client.until(greeting)
                client.sends(ask)
                client.until(taken)
                client.secure()
                if listener == "sieve":
                    client.until(rb"OK")
                client.sends(ask)
                self.assertNotRegex(client.line(), rb"^" + taken)
                client.sends(command)
                client.until(answer)


class BadHandshakes(unittest.TestCase):
    def fails(self, sent, reason, listener="mx"):
        greeting, ask, taken, _, _ = SPOKEN[listener]
        with Clear(listener) as client:
            client.until(greeting)
            client.sends(ask)
            client.until(taken)
            client.sends(sent)
            client.rest()
            port = client.port
        self.assertEqual(gateway.wait_event("session.tls_failed", client_port=port)["reason"], reason)
        self.assertEqual(gateway.wait_event("session.end", client_port=port)["end"], "tls_handshake_failed")

    def test_stalled(self):
        self.fails(b"\x16\x03\x01\x02", "timeout")
        self.fails(b"\x16\x03\x01\x02", "timeout", "imap")

    def test_garbage(self):
        with Clear("imap") as client:
            client.until(rb"\* OK")
            client.sends(b"s STARTTLS\r\n")
            client.until(rb"s OK")
            client.sends(b"\x16\x03\x01\x00\x05\x7f\x00\x00\x01\x00")
            client.rest()
            gateway.wait_event("session.tls_failed", client_port=client.port)

    def test_truncated(self):
        greeting, ask, taken, _, _ = SPOKEN["pop3"]
        with Clear("pop3") as client:
            client.until(greeting)
            client.sends(ask)
            client.until(taken)
            client.sends(b"\x16\x03\x01\x02\x00\x01\x00")
            client.socket.shutdown(socket.SHUT_WR)
            client.rest()
            port = client.port
        self.assertEqual(gateway.wait_event("session.tls_failed", client_port=port)["reason"], "peer_closed")
        self.assertEqual(gateway.wait_event("session.end", client_port=port)["end"], "tls_handshake_failed")

    def test_tls_on_a_port_that_begins_in_the_clear(self):
        with Clear("imap") as client:
            with self.assertRaises((ssl.SSLError, OSError)):
                client.secure()
            port = client.port
        self.assertEqual(gateway.wait_event("session.end", client_port=port)["end"], "protocol_violation")
