"""What clients may not send, against a Postfix that would take it: smuggled mail, XCLIENT, XFORWARD, a PROXY header."""

import unittest

from harness import mailgate, proxyclient
from harness.postfix import Postfix
from harness.process import Scratch

scratch = postfix = gateway = None
CLIENT = "198.51.100.7"
CLAIMED = "192.0.2.99"


def setUpModule():
    global scratch, postfix, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    postfix = scratch.start(Postfix(scratch, settings={
        "smtpd_forbid_bare_newline": "no",
        "smtpd_forbid_unauth_pipelining": "no",
        "smtpd_authorized_xclient_hosts": "127.0.0.0/8",
        "smtpd_authorized_xforward_hosts": "127.0.0.0/8"}))
    hidden = {"send_proxy": "off", "lost_client_address": "accepted"}
    gateway = scratch.start(mailgate.Mailgate(
        scratch,
        [mailgate.listener("smtp", "postfix"), mailgate.listener("smtp", "postfix", name="lax", bare_lf="pass"),
         mailgate.listener("smtp", "hidden", name="hidden"), mailgate.listener("tcp", "headers", name="headers")],
        [mailgate.upstream("postfix", postfix.proxy_port), mailgate.upstream("hidden", postfix.plain_port, **hidden),
         mailgate.upstream("headers", postfix.proxy_port, **hidden)]))


def converse(port, header, *lines):
    """Says one line after the other, each after the reply to the one before; all replies, and whether the end came."""
    with proxyclient.connect(port, header) as client:
        replies = [proxyclient.read_reply(client)]
        for line in lines:
            client.sendall(line)
            replies.append(proxyclient.read_reply(client))
            if not replies[-1] or replies[-1].startswith(b"521"):
                break
        return replies


def smuggle(port, header, end, marker):
    """A message whose body holds `end` and then another envelope and message, as one DATA."""
    envelope = f"MAIL FROM:<{marker}@partner.example>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
    smuggled = f"MAIL FROM:<admin-{marker}@example.net>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\nSubject: x\r\n\r\ny\r\n.\r\n"
    with proxyclient.SMTP(port, header) as client:
        client.ehlo()
        for line in envelope.splitlines():
            client.docmd(line)
        client.send(b"Subject: a\r\n\r\nbody" + end + smuggled.encode())
        reply = client.getreply()
        try:
            client.quit()
        except (OSError, proxyclient.smtplib.SMTPException):
            pass
        return reply


class Smuggling(unittest.TestCase):
    VARIANTS = {"lf-dot-lf": b"\n.\n", "lf-dot-crlf": b"\n.\r\n"}

    def test_this_postfix_takes_smuggled_mail_from_who_asks_it_directly_or_past_a_listener_that_passes_bare_lf(self):
        for way, port, header in (("direct", postfix.plain_port, b""),
                                  ("lax", gateway.port("lax"), proxyclient.header_v2(CLIENT))):
            for name, end in self.VARIANTS.items():
                with self.subTest(way=way, end=name):
                    smuggle(port, header, end, f"{way}-{name}")
                    postfix.wait_log(rf"from=<admin-{way}-{name}@example\.net>")

    def test_a_bare_lf_ends_the_session_and_none_of_the_mail_arrives(self):
        for name, end in {**self.VARIANTS, "crlf-dot-lf": b"\r\n.\n", "lf": b"\n"}.items():
            with self.subTest(end=name):
                marker = f"strict-{name}"
                code, text = smuggle(gateway.port("smtp"), proxyclient.header_v2(CLIENT), end, marker)
                self.assertEqual((code, text[:5]), (521, b"5.5.2"))
                self.assertIn(b"bare <LF>", text)
                line = gateway.wait_event("session.end", end="bare_lf",
                                          mail=[{"from": f"{marker}@partner.example", "recipients": ["bob@example.net"],
                                                 "size": len(b"Subject: a\r\n\r\nbody") + len(end.partition(b"\n")[0])
                                                 + (2 if end.startswith(b"\r\n") else 0), "reply": None}])
                postfix.wait_log(rf"lost connection after DATA .*from unknown\[{CLIENT}\]")
                self.assertNotIn(f"admin-{marker}", postfix.log())
                self.assertNotRegex(postfix.log(), rf"from=<{marker}@.*nrcpt")
                self.assertEqual(line["client"], CLIENT)

    def test_ordinary_mail_and_chunks_pass(self):
        header = proxyclient.header_v2(CLIENT)
        with proxyclient.SMTP(gateway.port("smtp"), header) as client:
            client.sendmail("plain@partner.example", ["bob@example.net"], b"Subject: a\r\n\r\n.dots\r\n\r\n..\r\n")
        postfix.wait_log(r"from=<plain@partner\.example>.*nrcpt")
        with proxyclient.SMTP(gateway.port("smtp"), header) as client:
            client.ehlo()
            client.docmd("MAIL", "FROM:<chunk@partner.example>")
            client.docmd("RCPT", "TO:<bob@example.net>")
            chunk = b"Subject: a\n\nbare\n.\nXCLIENT ADDR=192.0.2.99\r\n"
            client.send(b"BDAT %d LAST\r\n" % len(chunk) + chunk)
            self.assertEqual(client.getreply()[0], 250)
        postfix.wait_log(r"from=<chunk@partner\.example>.*nrcpt")


class ForeignIdentity(unittest.TestCase):
    COMMANDS = {"XCLIENT": f"XCLIENT ADDR={CLAIMED} NAME=trusted.example.net\r\n".encode(),
                "XFORWARD": f"XFORWARD ADDR={CLAIMED} NAME=trusted.example.net\r\n".encode()}

    def test_this_postfix_believes_whom_it_takes_for_a_gateway(self):
        for name, command in self.COMMANDS.items():
            with self.subTest(command=name):
                _, offered, answer = converse(postfix.plain_port, b"", b"EHLO a\r\n", command)
                self.assertIn(name.encode(), offered)
                self.assertRegex(answer, rb"^2[25]0")

    def test_a_client_that_says_so_is_answered_by_mailgate_and_not_heard_by_postfix(self):
        ways = {"alone": lambda command: [b"EHLO a\r\n", command],
                "behind_data": lambda command: [b"EHLO a\r\n", b"DATA\r\n" + command],
                "behind_auth": lambda command: [b"EHLO a\r\n", b"AUTH LOGIN\r\n" + command],
                "after_space": lambda command: [b"EHLO a\r\n", b" \t" + command]}
        for name, command in self.COMMANDS.items():
            for way, lines in ways.items():
                with self.subTest(command=name, way=way):
                    with proxyclient.connect(gateway.port("hidden"), proxyclient.header_v2(CLIENT)) as client:
                        proxyclient.read_reply(client)
                        for line in lines(command):
                            client.sendall(line)
                        heard = proxyclient.read_to_end(client)
                    self.assertIn(b"521 5.5.1 gw.example.net Error: command not accepted from clients", heard)
        gateway.wait_events(8, "session.end", end="forbidden_command")
        self.assertNotIn(f"[{CLAIMED}]", postfix.log().replace("XCLIENT", ""))

    def test_a_client_that_only_opens_as_tls_does_is_screened(self):
        for name, command in self.COMMANDS.items():
            with self.subTest(command=name):
                opening = proxyclient.header_v2("198.51.100.8") + b"\x16\x03\x01\r\n" + command
                with proxyclient.connect(gateway.port("hidden"), opening) as client:
                    self.assertEqual(proxyclient.read_to_end(client).count(b"220 "), 0)
        gateway.wait_events(2, "session.end", client="198.51.100.8", end="forbidden_command")

    def test_a_client_cannot_say_the_header_that_the_gateway_does_not(self):
        with proxyclient.connect(gateway.port("headers"), proxyclient.header_v2(CLIENT)) as client:
            client.sendall(proxyclient.header_v1(CLAIMED) + b"QUIT\r\n")
            self.assertEqual(proxyclient.read_to_end(client), b"")
        gateway.wait_event("session.end", listener="headers", end="forbidden_command")
        self.assertNotIn(f"connect from unknown[{CLAIMED}]", postfix.log())

    def test_a_second_header_behind_the_gateways_own_is_no_header(self):
        with proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("198.51.100.9") + proxyclient.header_v1(CLAIMED)
                                 + b"QUIT\r\n") as client:
            self.assertRegex(proxyclient.read_to_end(client), rb"^220 .*\r\n5\d\d .*\r\n221 ")
        postfix.wait_log(r"disconnect from unknown\[198\.51\.100\.9\]")
        self.assertNotIn(f"connect from unknown[{CLAIMED}]", postfix.log())
