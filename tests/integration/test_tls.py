# SPDX-License-Identifier: Apache-2.0
"""TLS from the first byte that ends at mailgate: real clients, servers that speak in the clear."""

import hashlib
import imaplib
import json
import random
import shutil
import socket
import ssl
import subprocess
import threading
import unittest

from harness import backend, mailgate, proxyclient
from harness.authority import Authority
from harness.dovecot import USERS, Dovecot
from harness.postfix import Postfix
from harness.process import Scratch, wait_until

PASSWORD = USERS["bob"]
scratch = authority = other_authority = dovecot = postfix = gateway = folder = None
ANSWER = hashlib.shake_128(b"answer").digest(20 << 20)


def pair(files):
    certificate, key = files
    return {"certificate": str(certificate), "key": str(key)}


def digest_and_answer(connection):
    """Reads to the end, says what it was, and more than any buffer on the way takes."""
    connection.send(b"ready\n")
    digest = hashlib.sha256()
    while data := connection.recv():
        digest.update(data)
    connection.send(digest.digest() + ANSWER)


def setUpModule():
    global scratch, authority, other_authority, dovecot, postfix, gateway, folder
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    folder = scratch.folder("certificates")
    authority, other_authority = Authority(folder), Authority(folder, "others")
    org = authority.issue("mail.example.org")
    net = authority.issue("mail.example.net", "*.example.net")
    dovecot = scratch.start(Dovecot(scratch, cleartext=False))
    postfix = scratch.start(Postfix(scratch))
    digests = scratch.start(backend.Backend(digest_and_answer))
    shared = {"tls": "implicit", "proxy": "off", "certificates": [pair(org), pair(net)]}
    gateway = scratch.start(mailgate.Mailgate(
        scratch,
        [mailgate.listener("imap", "imap", name="imaps", **shared),
         mailgate.listener("imap", "imap", name="imaps-balanced", **{**shared, "proxy": "require"}),
         mailgate.listener("imap", "imap", name="imaps-known", **shared, client_certificates="required",
                           client_ca=str(authority.certificate)),
         mailgate.listener("imap", "imap", name="imaps-moved", **shared, client_certificates="required",
                           client_ca=str(shutil.copy(authority.certificate, folder / "moved-clients.pem"))),
         mailgate.listener("imap", "imap", name="imaps-renewed", **{**shared, "certificates": [
             pair(authority.issue("renewed.example.org"))]}),
         mailgate.listener("pop3", "pop3", name="pop3s", **shared),
         mailgate.listener("tcp", "digests", name="digests", **shared),
         mailgate.listener("smtp", "smtp", name="submissions", **shared)],
        [mailgate.upstream("imap", dovecot.proxy_port["imap"]), mailgate.upstream("pop3", dovecot.proxy_port["pop3"]),
         mailgate.upstream("smtp", postfix.proxy_port), mailgate.upstream("digests", digests.port)],
        timeouts={"tls_handshake": "2s"}, admin={"socket": "mailgate.sock"}))


def client_context(version=None, certificate=None):
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if version:
        context.minimum_version = context.maximum_version = version
    if certificate:
        context.load_cert_chain(*certificate)
    return context


def wrapped(listener, name="mail.example.org", context=None, session=None):
    connection = socket.create_connection(("127.0.0.1", gateway.port(listener)), timeout=30)
    return (context or client_context()).wrap_socket(connection, server_hostname=name, session=session)


class Records:
    """A client whose records are in our hands: what is sent, and when, and what is never sent."""

    def __init__(self, listener, version=None):
        self.raw = proxyclient.connect(gateway.port(listener))
        self.port = self.raw.getsockname()[1]
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = client_context(version).wrap_bio(self._incoming, self._outgoing, server_hostname="mail.example.org")
        self._go(self._tls.do_handshake)
        self.raw.sendall(self.sealed())

    def sealed(self, text=b""):
        if text:
            self._tls.write(text)
        return self._outgoing.read()

    def end(self):
        """The client's close_notify."""
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()

    def read(self):
        return self._go(lambda: self._tls.read(65536))

    def _go(self, step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                if out := self._outgoing.read():
                    self.raw.sendall(out)
                if not (received := self.raw.recv(65536)):
                    raise
                self._incoming.write(received)


class IMAPS(imaplib.IMAP4_SSL):
    """Connects to loopback whatever the name is."""

    def __init__(self, listener, name="mail.example.org", context=None):
        self._name, self._context = name, context or client_context()
        super().__init__("127.0.0.1", gateway.port(listener), ssl_context=self._context)

    def _create_socket(self, timeout):
        connection = socket.create_connection((self.host, self.port), timeout=30)
        return self._context.wrap_socket(connection, server_hostname=self._name)


class Mail(unittest.TestCase):
    def test_log_and_journal_have_the_envelope_of_mail_inside_tls(self):
        subprocess.run(["swaks", "--tlsc", "--server", "127.0.0.1", "--port", str(gateway.port("submissions")),
                        "--tls-sni", "mail.example.net", "--helo", "client.example.com", "--from", "sender@example.com",
                        "--to", "alice@example.net", "--header", "Subject: inside"], check=True, capture_output=True)
        line = gateway.wait_event("session.end", listener="submissions", helo="client.example.com")
        tls = line["tls"]
        self.assertEqual((tls["mode"], tls["version"], tls["sni"]), ("implicit", "TLSv1.3", "mail.example.net"))
        self.assertIn("AES", tls["cipher"])
        self.assertIs(tls["resumed"], False)
        self.assertGreaterEqual(tls["handshake_ms"], 0)
        self.assertNotIn("client_certificate", tls)
        [mail] = line["mail"]
        self.assertEqual((mail["from"], mail["recipients"]), ("sender@example.com", ["alice@example.net"]))
        self.assertIn(b"Subject: inside", postfix.wait_messages("alice", 1)[-1])

        def kept():
            done = gateway.run("sessions", "--from", "sender@example.com", "--json")
            return done.returncode == 0 and done.stdout and json.loads(done.stdout.splitlines()[0])
        record = wait_until(kept, lambda: gateway.run("sessions", "--json").stdout)
        self.assertEqual(record["tls"], tls)
        self.assertIn("TLS1.3", gateway.run("sessions", "--from", "sender@example.com").stdout)

    def test_dovecot_that_takes_passwords_in_tls_alone_takes_them(self):
        client = IMAPS("imaps")
        client.login("bob", PASSWORD)
        client.logout()
        line = gateway.wait_event("session.end", listener="imaps", user="bob")
        self.assertIs(line["authenticated"], True)
        dovecot.wait_log(rf"Log(in|ged in): user=<bob>, .*rport={line['client_port']}.*(TLS|secured)")

    def test_clients_of_pop3_and_imap_that_are_programs(self):
        dovecot.deliver("alice", b"Subject: fetched\r\n\r\nbody\r\n")
        for scheme, listener, path in (("imaps", "imaps", "INBOX;UID=1"), ("pop3s", "pop3s", "1")):
            with self.subTest(scheme=scheme):
                port = gateway.port(listener)
                done = subprocess.run(
                    ["curl", "--silent", "--show-error", "--cacert", authority.certificate, "--user",
                     f"alice:{USERS['alice']}", "--resolve", f"mail.example.org:{port}:127.0.0.1",
                     f"{scheme}://mail.example.org:{port}/{path}"], capture_output=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(b"Subject: fetched", done.stdout)

    def test_behind_a_balancer_that_sends_the_header_and_the_handshake_at_once(self):
        raw = proxyclient.connect(gateway.port("imaps-balanced"))
        self.addCleanup(raw.close)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context().wrap_bio(incoming, outgoing, server_hostname="mail.example.org")
        header = proxyclient.header_v2("198.51.100.9")
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(header + outgoing.read())
                header = b""
                incoming.write(raw.recv(65536))
        raw.sendall(outgoing.read())
        while True:
            try:
                greeting = client.read()
                break
            except ssl.SSLWantReadError:
                incoming.write(raw.recv(65536))
        self.assertTrue(greeting.startswith(b"* OK"), greeting)
        client.write(b"a LOGOUT\r\n")
        raw.sendall(outgoing.read())
        proxyclient.read_to_end(raw)
        line = gateway.wait_event("session.end", client="198.51.100.9")
        self.assertEqual((line["listener"], line["tls"]["version"], line["bytes_in"]), ("imaps-balanced", "TLSv1.3", 10))


class Negotiation(unittest.TestCase):
    def test_the_name_chooses_the_certificate(self):
        for name, expected in (("mail.example.org", "mail.example.org"), ("mail.example.net", "mail.example.net"),
                               ("smtp.example.net", "mail.example.net")):
            with self.subTest(name=name), wrapped("imaps", name) as client:
                self.assertIn((("commonName", expected),), client.getpeercert()["subject"])
        shown = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port('imaps')}", "-noservername",
                                "-CAfile", authority.certificate], input=b"", capture_output=True, check=True).stdout
        self.assertIn(b"CN = mail.example.org", shown)
        self.assertIn(b"Verify return code: 0 (ok)", shown)

    def test_both_versions_and_what_is_older(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with wrapped("imaps", context=client_context(version)) as client:
                self.assertTrue(client.recv(100).startswith(b"* OK"))
        old = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port('imaps')}", "-tls1_1", "-cipher",
                              "ALL:@SECLEVEL=0"], input=b"", capture_output=True, check=False)
        self.assertIn(b"alert protocol version", old.stderr)
        gateway.wait_event("session.tls_failed", listener="imaps", reason="unsupported_version")

    def test_a_client_that_comes_back_resumes(self):
        context = client_context(ssl.TLSVersion.TLSv1_2)
        with wrapped("imaps", context=context) as first:
            first.recv(100)
            session = first.session
        with wrapped("imaps", context=context, session=session) as second:
            second.recv(100)
            self.assertTrue(second.session_reused)
            port = second.getsockname()[1]
        self.assertIs(gateway.wait_event("session.end", client_port=port)["tls"]["resumed"], True)

    def test_certificates_of_clients(self):
        certificate = authority.issue("bobs.example.org", common_name="bob")
        client = IMAPS("imaps-known", context=client_context(certificate=certificate))
        port = client.sock.getsockname()[1]
        client.logout()
        line = gateway.wait_event("session.end", client_port=port)
        shown = line["tls"]["client_certificate"]
        self.assertEqual((shown["subject"], shown["verified"]), ("CN=bob", True))
        der = ssl.PEM_cert_to_DER_cert(certificate[0].read_text().split("-----END")[0] + "-----END CERTIFICATE-----\n")
        self.assertEqual(shown["sha256"], hashlib.sha256(der).hexdigest())

    def test_clients_without_a_good_certificate_stay_out(self):
        stranger = other_authority.issue("mallory.example.org")
        expired = authority.issue("late.example.org", days=-1)
        for certificate, reason in ((None, "client_certificate_missing"), (stranger, "unknown_ca"),
                                    (expired, "certificate_expired")):
            with self.subTest(reason=reason):
                # In TLS 1.3 the client hears of it behind the handshake.
                with self.assertRaises(ssl.SSLError) as raised:
                    with wrapped("imaps-known", context=client_context(certificate=certificate)) as client:
                        client.recv(100)
                self.assertIn("alert", str(raised.exception).lower())
                gateway.wait_event("session.tls_failed", listener="imaps-known", reason=reason)


class BadHandshakes(unittest.TestCase):
    def fails(self, sent, reason, listener="imaps"):
        with proxyclient.connect(gateway.port(listener)) as client:
            port = client.getsockname()[1]
            client.sendall(sent)
            self.assertNotIn(b"* OK", proxyclient.read_to_end(client))
        line = gateway.wait_event("session.tls_failed", client_port=port)
        self.assertEqual(line["reason"], reason)
        self.assertEqual(gateway.events("session.end", client_port=port), [])

    def test_garbage_and_clients_that_speak_in_the_clear(self):
        self.fails(b"a LOGIN bob secret-in-the-clear\r\n", "not_tls")
        self.fails(bytes(range(128, 200)) * 100, "not_tls")
        self.assertNotIn("secret-in-the-clear", gateway.log_text())

    def test_a_broken_record(self):
        with proxyclient.connect(gateway.port("imaps")) as client:
            port = client.getsockname()[1]
            client.sendall(b"\x16\x03\x01\x00\x05\x7f\x00\x00\x01\x00")
            self.assertEqual(client.recv(1), b"\x15", "an alert")
            proxyclient.read_to_end(client)
        gateway.wait_event("session.tls_failed", client_port=port)

    def test_garbage_behind_a_hello(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with self.assertRaises(ssl.SSLWantReadError):
            client_context().wrap_bio(incoming, outgoing, server_hostname="mail.example.org").do_handshake()
        self.fails(outgoing.read() + b"garbage" * 10, "protocol_error")

    def test_one_that_stalls(self):
        self.fails(b"\x16\x03\x01\x02", "timeout")

    def test_a_probe_of_the_port_is_not_logged(self):
        with proxyclient.connect(gateway.port("imaps")) as client:
            port = client.getsockname()[1]
        self.fails(b"quit\r\n", "not_tls")  # what came first has been handled by then, or is soon
        self.assertEqual(gateway.events("session.tls_failed", client_port=port), [])

    def test_a_balancers_probe_finds_the_port_open(self):
        with proxyclient.connect(gateway.port("imaps-balanced"), b"PROXY UNKNOWN\r\n") as client:
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(proxyclient.read_to_end(client), b"")

    def test_metrics_count_them(self):
        with wrapped("imaps") as client:
            client.recv(100)
        self.fails(b"quit\r\n", "not_tls")
        gateway_status = json.loads(gateway.run("status", "--json").stdout)
        self.assertEqual({entry["listener"] for entry in gateway_status["certificates"]},
                         {"imaps", "imaps-balanced", "imaps-known", "imaps-moved", "imaps-renewed", "pop3s", "digests", "submissions"})


class Bulk(unittest.TestCase):
    def test_a_large_message_comes_whole(self):
        body = hashlib.shake_128(b"tls").hexdigest(6 << 20).encode()
        text = b"Subject: large\r\n\r\n" + b"\r\n".join(body[at:at + 76] for at in range(0, len(body), 76)) + b"\r\n"
        client = IMAPS("imaps")
        client.login("bob", PASSWORD)
        self.assertEqual(client.append("INBOX", None, None, text)[0], "OK")
        count = client.select("INBOX")[1][0]
        self.assertEqual(client.fetch(count, "(BODY.PEEK[])")[1][0][1], text)
        client.logout()

    def test_every_byte_both_ways(self):
        for version, total, write in ((ssl.TLSVersion.TLSv1_3, 20 << 20, 1 << 20), (ssl.TLSVersion.TLSv1_2, 20 << 20, 16_384),
                                      (ssl.TLSVersion.TLSv1_3, 7_100_000, 76), (ssl.TLSVersion.TLSv1_2, 3_000_001, 4_099),
                                      (ssl.TLSVersion.TLSv1_3, 20_001, 1)):
            with self.subTest(version=version.name, total=total, write=write):
                text = random.Random(total).randbytes(total)
                client = Records("digests", version)
                self.addCleanup(client.raw.close)
                self.assertEqual(client.read(), b"ready\n")
                # A record holds 16 KiB at most; a smaller write is a record of its own.
                sealed = b"".join(client.sealed(text[at:at + write]) for at in range(0, total, write)) + client.end()
                # Its end is TLS's alone, and no FIN: what the server says then still comes, as in the clear.
                sender = threading.Thread(target=client.raw.sendall, args=(sealed,))
                sender.start()
                received = hashlib.sha256()
                first = size = 0
                while size < 32 + len(ANSWER):
                    part = client.read()
                    first = first or part
                    received.update(part)
                    size += len(part)
                sender.join()
                self.assertEqual(first[:32], hashlib.sha256(text).digest())
                self.assertEqual(received.digest(), hashlib.sha256(first[:32] + ANSWER).digest())
                line = gateway.wait_event("session.end", client_port=client.port)
                self.assertEqual((line["end"], line["bytes_in"], line["bytes_out"]),
                                 ("client_closed", total, 6 + 32 + len(ANSWER)))
                self.assertNotIn("error", line["tls"])

    def test_the_end_is_told_as_tls_wants_it(self):
        raw = socket.create_connection(("127.0.0.1", gateway.port("imaps")), timeout=30)
        with client_context().wrap_socket(raw, server_hostname="mail.example.org",
                                          suppress_ragged_eofs=False) as client:
            client.recv(1000)
            client.sendall(b"a NOOP\r\nb LOGOUT\r\n")
            received = b""
            while part := client.recv(4096):
                received += part
            self.assertIn(b"b OK", received)  # and the end was close_notify, or recv() had raised


class Faults(unittest.TestCase):
    def test_what_is_no_record_of_the_session_is_told_from_a_reset(self):
        def forged(client):
            record = bytearray(client.sealed(b"a NOOP\r\n"))
            record[-1] ^= 1
            return bytes(record)
        for bytes_of in (forged, lambda client: b"a LOGIN bob secret-in-the-clear\r\n"):
            client = Records("imaps")
            self.addCleanup(client.raw.close)
            self.assertTrue(client.read().startswith(b"* OK"))
            client.raw.sendall(bytes_of(client))
            line = gateway.wait_event("session.end", client_port=client.port)
            self.assertEqual((line["end"], line["tls"]["error"]), ("tls_error", "protocol_error"))
        self.assertNotIn("secret-in-the-clear", gateway.log_text())
        kept = wait_until(lambda: [record for record in map(json.loads, gateway.run("sessions", "--json").stdout.splitlines())
                                   if record["session"] == line["session"]], "the journal to have it")
        self.assertEqual(kept[0]["tls"], line["tls"])

    def test_an_end_that_tls_did_not_tell_of(self):
        for ends, error in ((lambda client: b"", "truncated"), (Records.end, None)):
            client = Records("imaps")
            self.addCleanup(client.raw.close)
            self.assertTrue(client.read().startswith(b"* OK"))
            client.raw.sendall(ends(client))
            client.raw.shutdown(socket.SHUT_WR)
            line = gateway.wait_event("session.end", client_port=client.port)
            self.assertEqual((line["end"], line["tls"].get("error")), ("client_closed", error))


class Files(unittest.TestCase):
    def test_a_renewed_certificate_is_presented_without_a_reload(self):
        with wrapped("imaps-renewed", "renewed.example.org") as before:
            old = before.getpeercert(binary_form=True)
            self.assertIn(b"ready", proxyclient.read_line(before))
            authority.issue("renewed.example.org", days=60)
            gateway.wait_event("tls.certificate_renewed", listener="imaps-renewed")
            with wrapped("imaps-renewed", "renewed.example.org") as after:
                self.assertNotEqual(after.getpeercert(binary_form=True), old)
            before.sendall(b"a NOOP\r\n")
            self.assertIn(b"a OK", proxyclient.read_line(before), "a session outlives the certificate that it began with")

    def test_clients_of_another_ca_are_believed_without_a_reload(self):
        clients = folder / "moved-clients.pem"
        context = client_context(certificate=other_authority.issue("relay.example.org"))
        with self.assertRaises(OSError), wrapped("imaps-moved", context=context) as client:
            client.recv(100)
        renewed = folder / "moved-clients.new"
        shutil.copy(other_authority.certificate, renewed)
        renewed.rename(clients)
        gateway.wait_event("tls.certificate_renewed", listener="imaps-moved", certificate=str(clients))
        with wrapped("imaps-moved", context=context) as client:
            self.assertTrue(client.recv(100).startswith(b"* OK"))
        self.addCleanup(shutil.copy, other_authority.certificate, clients)
        clients.unlink()
        self.assertIn(str(clients), gateway.wait_event("tls.certificate_refused", listener="imaps-moved")["detail"])
        with wrapped("imaps-moved", context=context) as client:
            self.assertTrue(client.recv(100).startswith(b"* OK"), "nothing better has come")

    def test_a_pair_that_does_not_match_is_refused_and_the_old_one_stays(self):
        other = authority.issue("unrelated.example.org")
        key = folder / "renewed.example.org.key"
        kept = key.read_bytes()
        self.addCleanup(key.write_bytes, kept)
        shutil.copy(other[1], key)
        line = gateway.wait_event("tls.certificate_refused", listener="imaps-renewed")
        self.assertIn("renewed.example.org", line["detail"])
        with wrapped("imaps-renewed", "renewed.example.org") as client:
            self.assertTrue(client.recv(100).startswith(b"* OK"))
        done = gateway.run("reload")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("renewed.example.org", done.stdout + done.stderr)
        self.assertIn("imaps-renewed", gateway.wait_event("config.failed")["detail"])
        checked = gateway.run("check")
        self.assertEqual(checked.returncode, 78)
        self.assertIn("renewed.example.org", checked.stderr)

    def test_sessions_outlive_a_reload(self):
        with wrapped("pop3s") as client:
            self.assertTrue(client.recv(100).startswith(b"+OK"))
            self.assertEqual(gateway.run("reload").returncode, 0)
            client.sendall(b"CAPA\r\n")
            self.assertTrue(client.recv(1000).startswith(b"+OK"))

    def test_status_tells_when_they_expire(self):
        table = gateway.run("tls", "status").stdout
        self.assertIn("mail.example.net, *.example.net", table)
        for entry in json.loads(gateway.run("tls", "status", "--json").stdout)["certificates"]:
            self.assertIn(entry["days_left"], range(28, 61))

    def test_one_that_expires_soon_is_warned_of(self):
        soon = authority.issue("soon.example.org", days=3)
        gateway.listeners[0]["certificates"].append(pair(soon))
        self.addCleanup(gateway.run, "reload")
        self.addCleanup(gateway.write_config)
        self.addCleanup(gateway.listeners[0]["certificates"].pop)
        gateway.write_config()
        self.assertEqual(gateway.run("reload").returncode, 0)
        line = gateway.wait_event("tls.certificate_expires", listener="imaps")
        self.assertEqual((line["names"], line["days_left"]), (["soon.example.org"], 2))

    def test_a_missing_file_keeps_it_from_starting(self):
        broken = mailgate.Mailgate(
            scratch, [mailgate.listener("imap", "imap", tls="implicit", proxy="off",
                                        certificates=[{"certificate": str(folder / "nowhere.pem")}])],
            gateway.upstreams, name="broken")
        broken.launch()
        self.assertEqual(broken.wait_exit(), 78)
        self.assertIn("nowhere.pem", broken.process.text())
        done = broken.run("check")
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, r"mailgate\.toml:\d+:\d+: listener imap: \S*nowhere\.pem: ")
