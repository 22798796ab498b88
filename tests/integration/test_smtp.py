# SPDX-License-Identifier: Apache-2.0
"""SMTP: HAProxy in front, Postfix behind, real clients."""

import base64
import os
import re
import ssl
import subprocess
import unittest

from harness import mailgate, proxyclient
from harness.haproxy import HAProxy
from harness.postfix import Postfix
from harness.process import Scratch, make_certificate, wait_until

scratch = postfix = gateway = balancer = None
fronts = {}


def setUpModule():
    global scratch, postfix, gateway, balancer
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    postfix = scratch.start(Postfix(scratch))
    gateway = scratch.start(mailgate.Mailgate(
        scratch,
        [mailgate.listener("smtp", "postfix"), mailgate.listener("smtp", "postfix-v1", name="smtp-v1"),
         mailgate.listener("smtp", "postscreen", name="mx")],
        [mailgate.upstream("postfix", postfix.proxy_port),
         mailgate.upstream("postfix-v1", postfix.proxy_port, send_proxy="v1"),
         mailgate.upstream("postscreen", postfix.postscreen_port)]))
    balancer = HAProxy(scratch)
    for send in ("send-proxy", "send-proxy-v2"):
        for name in ("smtp", "smtp-v1"):
            fronts[send, name] = balancer.frontend(gateway.port(name), send, accept_proxy=True)
        fronts[send, "checked"] = balancer.frontend(
            gateway.port("smtp"), send, client="198.51.100.90", check="check check-send-proxy inter 100ms",
            options=("option tcp-check", "tcp-check expect rstring ^220", "tcp-check send QUIT\\r\\n",
                     "tcp-check expect rstring ^221"))
    scratch.start(balancer)


def swaks(port, header, sender, recipient, *more):
    """Sends one message with swaks through a balancer port that takes a PROXY header; its transcript."""
    client, client_port = header
    family = "TCP6" if ":" in client else "TCP4"
    destination = "2001:db8:ffff::10" if ":" in client else "203.0.113.10"
    done = subprocess.run(
        ["swaks", "--server", "127.0.0.1", "--port", str(port), "--helo", "mail.partner.example", "--from", sender,
         "--to", recipient, "--proxy-version", "1", "--proxy-family", family, "--proxy-source", client,
         "--proxy-source-port", str(client_port), "--proxy-dest", destination, "--proxy-dest-port", "25", *more],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class OriginalAddress(unittest.TestCase):
    def test_postfix_logs_the_original_client_and_mailgate_the_queue_id(self):
        clients = {("send-proxy", "smtp"): "198.51.100.7", ("send-proxy-v2", "smtp"): "2001:db8::7",
                   ("send-proxy", "smtp-v1"): "2001:db8::8", ("send-proxy-v2", "smtp-v1"): "198.51.100.8"}
        for number, (front, client) in enumerate(clients.items()):
            with self.subTest(balancer=front[0], listener=front[1], client=client):
                port = 55500 + number
                swaks(fronts[front], (client, port), "alice@partner.example", "bob@example.net")
                line = gateway.wait_event("session.end", client=client)
                self.assertEqual(line["client_port"], port)
                self.assertEqual(line["listener"], front[1])
                self.assertEqual(line["protocol"], "smtp")
                self.assertEqual(line["balancer"], "127.0.0.1")
                self.assertEqual(line["destination"], "2001:db8:ffff::10" if ":" in client else "203.0.113.10")
                self.assertEqual(line["destination_port"], 25)
                self.assertEqual(line["helo"], "mail.partner.example")
                self.assertEqual(line["end"], "client_quit")
                [mail] = line["mail"]
                self.assertEqual(mail["from"], "alice@partner.example")
                self.assertEqual(mail["recipients"], ["bob@example.net"])
                logged = postfix.wait_log(rf"([0-9A-F]{{8,}}): client=unknown\[{re.escape(client)}\]:{port}")
                self.assertEqual(mail["reply"], f"250 2.0.0 Ok: queued as {logged[1]}")

    def test_postscreen_hands_the_original_client_to_smtpd(self):
        with proxyclient.SMTP(gateway.port("mx"), proxyclient.header_v2("198.51.100.9", 5009)) as client:
            client.sendmail("alice@partner.example", ["bob@example.net"], b"Subject: via postscreen\r\n\r\nhello\r\n")
        postfix.wait_log(r"postscreen\[\d+\]: CONNECT from \[198\.51\.100\.9\]:5009")
        postfix.wait_log(r"client=unknown\[198\.51\.100\.9\]:5009")

    def test_balancer_checks_get_a_greeting_and_never_reach_postfix(self):
        for send in ("send-proxy", "send-proxy-v2"):
            with self.subTest(send=send):
                # The balancer serves only while its check of mailgate succeeds.
                with proxyclient.SMTP(fronts[send, "checked"]) as client:
                    self.assertEqual(client.noop()[0], 250)
        clients = re.findall(r"smtpd\[\d+\]: connect from unknown\[(127\.[0-9.]+|::1)\]", postfix.log())
        self.assertEqual(len(clients), 2, "only the warm-up of the harness may come from loopback")


class Transactions(unittest.TestCase):
    def connect(self, client):
        session = proxyclient.SMTP(gateway.port("smtp"), proxyclient.header_v2(client))
        self.addCleanup(session.close)
        session.ehlo()
        return session

    def test_several_transactions_are_told_apart(self):
        session = self.connect("198.51.100.20")
        for number, recipient in enumerate(("alice@example.net", "bob@example.net", "carol@example.net")):
            session.sendmail(f"sender{number}@partner.example", [recipient], b"Subject: several\r\n\r\nbody\r\n")
        session.mail("dropped@partner.example")
        session.rcpt("alice@example.net")
        session.rset()
        session.mail("")
        code, _ = session.rcpt("stranger@elsewhere.example")
        self.assertEqual(code, 554)
        session.quit()
        line = gateway.wait_event("session.end", client="198.51.100.20")
        senders = [mail["from"] for mail in line["mail"]]
        self.assertEqual(senders[:4], ["sender0@partner.example", "sender1@partner.example",
                                       "sender2@partner.example", "dropped@partner.example"])
        self.assertEqual([bool(re.match("250 2.0.0 Ok: queued as ", mail["reply"] or "")) for mail in line["mail"]],
                         [True, True, True, False, False])

    def test_a_pipelined_burst_arrives_whole(self):
        session = proxyclient.connect(gateway.port("smtp"), proxyclient.header_v1("198.51.100.21"))
        with session:
            self.assertTrue(proxyclient.read_reply(session).startswith(b"220 "))
            session.sendall(b"EHLO burst.example\r\n")
            self.assertIn(b"PIPELINING", proxyclient.read_reply(session))
            session.sendall(b"MAIL FROM:<a@partner.example>\r\nRCPT TO:<alice@example.net>\r\n"
                            b"RCPT TO:<bob@example.net>\r\nDATA\r\n")
            replies = [proxyclient.read_reply(session)[:3] for _ in range(4)]
            self.assertEqual(replies, [b"250", b"250", b"250", b"354"])
            session.sendall(b"Subject: burst\r\n\r\n..stuffed\r\n.\r\nQUIT\r\n")
            self.assertIn(b"queued as", proxyclient.read_reply(session))
            self.assertTrue(proxyclient.read_reply(session).startswith(b"221"))
            self.assertEqual(session.recv(1), b"")
        [mail] = gateway.wait_event("session.end", client="198.51.100.21")["mail"]
        self.assertEqual(mail["recipients"], ["alice@example.net", "bob@example.net"])
        self.assertIn("queued as", mail["reply"])
        [found] = [text for text in wait_until(lambda: postfix.messages("bob"), "bob's mail") if b"Subject: burst" in text] \
            or wait_until(lambda: [text for text in postfix.messages("bob") if b"Subject: burst" in text], "the burst's mail")
        self.assertTrue(found.endswith(b"\n\n.stuffed\n"))

    def test_bdat_chunks_carry_any_bytes(self):
        chunks = [b"Subject: chunks\r\n\r\n", b"QUIT\r\n.\r\nDATA\r\n", "für Größe\r\n".encode()]
        session = proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("198.51.100.22"))
        with session:
            proxyclient.read_reply(session)
            session.sendall(b"EHLO chunks.example\r\n")
            self.assertIn(b"CHUNKING", proxyclient.read_reply(session))
            session.sendall(b"MAIL FROM:<a@partner.example> BODY=8BITMIME\r\nRCPT TO:<carol@example.net>\r\n")
            for _ in range(2):
                self.assertTrue(proxyclient.read_reply(session).startswith(b"250"))
            for number, chunk in enumerate(chunks):
                last = b" LAST" if number == len(chunks) - 1 else b""
                session.sendall(b"BDAT %d%s\r\n" % (len(chunk), last) + chunk)
                reply = proxyclient.read_reply(session)
                self.assertTrue(reply.startswith(b"250"), reply)
            session.sendall(b"QUIT\r\n")
            self.assertTrue(proxyclient.read_reply(session).startswith(b"221"))
        [mail] = gateway.wait_event("session.end", client="198.51.100.22")["mail"]
        self.assertEqual(mail["size"], sum(map(len, chunks)))
        self.assertIn("queued as", mail["reply"])
        found = wait_until(lambda: [text for text in postfix.messages("carol") if b"Subject: chunks" in text],
                           "the chunked mail")
        self.assertTrue(found[0].endswith(b"\n\nQUIT\n.\nDATA\n" + "für Größe\n".encode()))

    def test_eight_bit_and_long_lines_are_left_alone(self):
        body = bytes(range(128, 256)) * 7 + b"\r\n" + b"x" * 1990 + b"\r\n"
        session = self.connect("198.51.100.23")
        session.sendmail("a@partner.example", ["dave@example.net"], b"Subject: eight bit\r\n\r\n" + body, ["BODY=8BITMIME"])
        session.quit()
        found = wait_until(lambda: [text for text in postfix.messages("dave") if b"eight bit" in text], "the 8-bit mail")
        self.assertTrue(found[0].endswith(b"\n\n" + body.replace(b"\r\n", b"\n")))

    def test_fifty_megabytes_arrive_identical(self):
        body = base64.encodebytes(os.urandom(37_000_000))
        message = b"Subject: large\n\n" + body
        wire = message.replace(b"\n", b"\r\n")
        session = self.connect("198.51.100.24")
        session.mail("a@partner.example", [f"SIZE={len(wire)}"])
        session.rcpt("dave@example.net")
        self.assertEqual(session.docmd("DATA")[0], 354)
        session.sock.sendall(wire)
        code, text = session.docmd(".")
        self.assertEqual(code, 250, text)
        session.quit()
        line = gateway.wait_event("session.end", client="198.51.100.24")
        self.assertEqual(line["mail"][0]["size"], len(wire))
        self.assertGreater(line["bytes_in"], len(wire))
        found = wait_until(lambda: [text for text in postfix.messages("dave") if b"Subject: large" in text], "the large mail")
        self.assertTrue(found[0].endswith(b"Subject: large\n\n" + body))

    def test_starttls_is_end_to_end(self):
        certificate, _ = make_certificate(scratch.path)
        context = ssl.create_default_context(cafile=certificate)
        session = self.connect("198.51.100.25")
        session._host = "mx.example.net"  # the name that the certificate is checked against
        self.assertEqual(session.starttls(context=context)[0], 220)
        session.ehlo()
        session.sendmail("hidden@partner.example", ["alice@example.net"], b"Subject: within TLS\r\n\r\nbody\r\n")
        session.quit()
        line = gateway.wait_event("session.end", client="198.51.100.25")
        self.assertEqual(line["tls"], {"mode": "starttls"})
        self.assertNotIn("hidden@partner.example", gateway.log_text())
        postfix.wait_log(r"client=unknown\[198\.51\.100\.25\]")
