# SPDX-License-Identifier: Apache-2.0
"""What clients may not send, against servers that would take it: smuggled mail, XCLIENT, XFORWARD, a PROXY header, commands
that servers read in different ways."""

import re
import unittest

from harness import mailgate, proxyclient
from harness.dovecot import Dovecot
from harness.exim import Exim
from harness.postfix import Postfix
from harness.process import Scratch

scratch = postfix = exim = dovecot = gateway = None
CLIENT = "198.51.100.7"
CLAIMED = "192.0.2.99"


def setUpModule():
    global scratch, postfix, exim, dovecot, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    postfix = scratch.start(Postfix(scratch, settings={
        "smtpd_forbid_bare_newline": "no",
        "smtpd_forbid_unauth_pipelining": "no",
        "smtpd_authorized_xclient_hosts": "127.0.0.0/8",
        "smtpd_authorized_xforward_hosts": "127.0.0.0/8"}))
    exim = scratch.start(Exim(scratch))
    dovecot = scratch.start(Dovecot(scratch))
    hidden = {"send_proxy": "off", "lost_client_address": "accepted"}
    gateway = scratch.start(mailgate.Mailgate(
        scratch,
        [mailgate.listener("smtp", "postfix", bare_lf="reject"),
         mailgate.listener("smtp", "postfix", name="lax", bare_lf="pass"),
         mailgate.listener("smtp", "postfix", name="tidy", bare_lf="normalize"),
         mailgate.listener("smtp", "exim", name="exim", bare_lf="normalize"),
         mailgate.listener("lmtp", "dovecot", bare_lf="normalize"),
         mailgate.listener("smtp", "hidden", name="hidden"), mailgate.listener("tcp", "headers", name="headers")],
        [mailgate.upstream("postfix", postfix.proxy_port), mailgate.upstream("exim", exim.proxy_port),
         mailgate.upstream("dovecot", dovecot.proxy_port["lmtp"]),
         mailgate.upstream("hidden", postfix.plain_port, **hidden),
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
                                                 + (2 if end.startswith(b"\r\n") else 0), "reply": f"{code} {text.decode()}",
                                                 "queue_id": None}])
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


ENDINGS = {"lf-dot-lf": b"\n.\n", "lf-dot-crlf": b"\n.\r\n", "crlf-dot-lf": b"\r\n.\n", "cr-dot-crlf": b"\r.\r\n",
           "cr-dot-cr": b"\r.\r", "crlf-dot-cr": b"\r\n.\r", "lf-dot-cr": b"\n.\r", "crlf-dot-crcrlf": b"\r\n.\r\r\n",
           "crlf-dot-crcrcrlf": b"\r\n.\r\r\r\n", "crcrlf-dot-crcrlf": b"\r\r\n.\r\r\n", "lf-dot-crcrlf": b"\n.\r\r\n",
           "crlf-nul-dot-crlf": b"\r\n\0.\r\n", "crlf-dot-nul-crlf": b"\r\n.\0\r\n", "crlf-dot-space-crlf": b"\r\n. \r\n",
           "crlf-space-dot-crlf": b"\r\n .\r\n", "crlf-dotdot-crlf": b"\r\n..\r\n", "crlf-dot-tab-crlf": b"\r\n.\t\r\n",
           "lf": b"\n", "crcrlf": b"\r\r\n"}


class OneEnd(unittest.TestCase):
    """As many messages as mailgate's log names, whatever the line before the smuggled envelope looks like."""

    def test_postfix_takes_one_message(self):
        self.smuggle_to("tidy", "SMTP", lambda marker: postfix.wait_log(rf"from=<{marker}@partner\.example>.*nrcpt"))
        self.assertNotRegex(postfix.log(), r"from=<admin-tidy-")

    def test_exim_takes_one_message(self):
        self.smuggle_to("exim", "SMTP", lambda marker: exim.wait_log(rf"<= {marker}@partner\.example"))
        self.assertNotIn("<= admin-exim-", exim.log())

    def test_dovecot_takes_one_message(self):
        self.smuggle_to("lmtp", "LMTP", lambda marker: None)
        self.assertEqual(len(re.findall(r"lmtp\(bob\).*saved mail", dovecot.log())), len(ENDINGS))

    def smuggle_to(self, listener, protocol, wait):
        for number, (name, end) in enumerate(ENDINGS.items()):
            with self.subTest(end=name):
                marker, address = f"{listener}-{name}", f"203.0.113.{100 + number}"
                with getattr(proxyclient, protocol)(gateway.port(listener), proxyclient.header_v2(address)) as client:
                    client.ehlo("client.example.org")
                    client.docmd(f"MAIL FROM:<{marker}@partner.example>")
                    client.docmd("RCPT TO:<bob@example.net>")
                    self.assertEqual(client.docmd("DATA")[0], 354)
                    client.send(b"Subject: a\r\n\r\nbody" + end + (
                        f"MAIL FROM:<admin-{marker}@example.net>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
                        "Subject: x\r\n\r\ny\r\n.\r\n").encode())
                    self.assertEqual(client.getreply()[0], 250)
                    self.assertEqual(client.docmd("QUIT")[0], 221)
                line = gateway.wait_event("session.end", listener=listener, client=address)
                self.assertEqual([mail["from"] for mail in line["mail"]], [f"{marker}@partner.example"])
                self.assertEqual(line["end"], "client_quit")
                wait(marker)


class LogOfWhatPasses(unittest.TestCase):
    def test_where_bare_lf_passes_the_log_names_what_postfix_took(self):
        for number, name in enumerate(("lf-dot-lf", "lf-dot-crlf", "crlf-dot-lf", "crlf-dot-crcrlf")):
            address = f"198.51.100.{40 + number}"
            with self.subTest(end=name), proxyclient.connect(gateway.port("lax"), proxyclient.header_v2(address)) as client:
                marker = f"seen-{name}"
                proxyclient.read_reply(client)
                for line in ("EHLO a", f"MAIL FROM:<{marker}@partner.example>", "RCPT TO:<bob@example.net>", "DATA"):
                    client.sendall(line.encode() + b"\r\n")
                    proxyclient.read_reply(client)
                client.sendall(b"Subject: a\r\n\r\nbody" + ENDINGS[name]
                               + f"MAIL FROM:<admin-{marker}@example.net>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n".encode()
                               + b"Subject: x\r\n\r\ny\r\n.\r\n")
                replies = [proxyclient.read_reply(client) for _ in range(5)]
                client.sendall(b"QUIT\r\n")
                proxyclient.read_reply(client)
                line = gateway.wait_event("session.end", client=address)
                self.assertEqual([mail["from"] for mail in line["mail"]],
                                 [f"{marker}@partner.example", f"admin-{marker}@example.net"])
                self.assertEqual([mail["reply"].encode() + b"\r\n" for mail in line["mail"]], [replies[0], replies[4]])


class OneReading(unittest.TestCase):
    """Commands go on as mailgate understood them, or not at all."""

    def session_of(self, client, port, *lines):
        replies = converse(gateway.port(port), proxyclient.header_v2(client), *lines)
        return replies, gateway.wait_event("session.end", client=client)

    def test_a_nul_hides_no_command(self):
        replies, line = self.session_of(
            "198.51.100.50", "smtp", b"EHLO a\r\n", b"MAIL FROM:<evil@spam.test>\r\n", b"RCPT TO:<bob@example.net>\r\n",
            b"DATA\0\r\n", b"STARTTLS\0\r\n", b"QUIT\r\n")
        self.assertEqual([reply[:3] for reply in replies[-3:]], [b"500", b"500", b"221"])
        self.assertEqual([mail["from"] for mail in line["mail"]], ["evil@spam.test"])
        self.assertNotRegex(postfix.log(), r"from=<evil@spam\.test>.*nrcpt")

    def test_the_log_has_the_addresses_that_postfix_has(self):
        for number, path in enumerate((b"\t<tab@spam.test>", b"<t\\ab@spam.test>", b'<"tab"@spam.test>', b"< tab@spam.test >")):
            with self.subTest(path=path):
                _, line = self.session_of(f"198.51.100.{60 + number}", "smtp", b"EHLO a\r\n", b"MAIL FROM:" + path + b"\r\n",
                                          b"RCPT TO:\t<bob@example.net>\r\n", b"DATA\r\n", b".\r\n", b"QUIT\r\n")
                [mail] = line["mail"]
                self.assertEqual((mail["from"], mail["recipients"]), ("tab@spam.test", ["bob@example.net"]))
                queue_id = mail["reply"].rpartition(" ")[2]
                postfix.wait_log(rf"{queue_id}: from=<tab@spam\.test>.*nrcpt")

    def test_a_chunk_that_servers_count_differently_does_not_pass(self):
        for number, (port, ehlo, chunk) in enumerate((
                ("exim", b"EHLO a\r\n", b"BDAT 4294967296 LAST\r\n"), ("exim", b"EHLO a\r\n", b"BDAT 4294967297\r\nx"),
                ("smtp", b"HELO a\r\n", b"BDAT 5\r\nabcdeXCLIENT ADDR=203.0.113.99\r\n"),
                ("smtp", b"HELO a\r\n", b"BDAT 0\r\n"),
                ("smtp", b"EHLO a\r\n", b"BDAT 5" + b" " * 4200 + b"LAST\r\nabcde"),
                ("hidden", b"HELO a\r\n", b"BDAT 5\tLAST\r\nabcdeXCLIENT ADDR=192.0.2.99\r\n"))):
            with self.subTest(chunk=chunk):
                replies, line = self.session_of(f"198.51.100.{70 + number}", port, ehlo, chunk)
                self.assertEqual(replies[-1][:3], b"521")
                self.assertEqual(line["mail"], [])

    def test_a_chunk_ahead_of_the_answer_to_ehlo_waits_for_it(self):
        chunk = b"Subject: early\r\n\r\nhello\r\n"
        replies, line = self.session_of(
            "198.51.100.80", "smtp", b"EHLO a\r\nMAIL FROM:<early@partner.example>\r\nRCPT TO:<bob@example.net>\r\n"
            + b"BDAT %d LAST\r\n" % len(chunk) + chunk, b"", b"", b"", b"QUIT\r\n")
        self.assertEqual([reply[:3] for reply in replies], [b"220", b"250", b"250", b"250", b"250", b"221"])
        self.assertEqual([mail["from"] for mail in line["mail"]], ["early@partner.example"])

    def test_a_mail_that_came_to_exim_in_chunks_has_its_queue_id(self):
        chunk = b"Subject: chunk\r\n\r\nhello\r\n"
        replies, line = self.session_of(
            "198.51.100.81", "exim", b"EHLO a\r\n", b"MAIL FROM:<chunks@partner.example>\r\n", b"RCPT TO:<bob@example.net>\r\n",
            b"BDAT %d  last\r\n" % len(chunk) + chunk, b"QUIT\r\n")
        self.assertRegex(replies[-2], rb"(?s)^250-.*\r\n250 OK id=")
        [mail] = line["mail"]
        self.assertTrue(mail["queue_id"])
        exim.wait_log(rf"{re.escape(mail['queue_id'])} <= chunks@partner\.example")

    def test_an_endless_line_is_answered_and_hides_nothing(self):
        replies, line = self.session_of("198.51.100.90", "exim", b"EHLO a\r\n", b"x" * 16385 + b"MAIL FROM:<evil@x.test>\r\n",
                                        b"QUIT\r\n")
        self.assertEqual([reply[:3] for reply in replies[-2:]], [b"500", b"221"])
        self.assertEqual(line["mail"], [])

    def test_a_line_that_hides_xclient_behind_blanks_ends_the_session(self):
        replies, line = self.session_of(
            "198.51.100.91", "hidden", b"EHLO a\r\n", b" " * 2009 + b"XCLIENT ADDR=203.0.113.99 NAME=" + b"a" * 160 + b"\r\n")
        self.assertEqual((replies[-1][:3], line["end"]), (b"521", "forbidden_command"))
        self.assertNotIn("203.0.113.99", postfix.log())


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

    def test_what_does_not_pass_is_not_offered(self):
        _, offered = converse(gateway.port("hidden"), proxyclient.header_v2("198.51.100.92"), b"EHLO a\r\n")
        self.assertIn(b"PIPELINING", offered)
        self.assertNotRegex(offered, rb"XCLIENT|XFORWARD")

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
            self.assertRegex(proxyclient.read_to_end(client), rb"^220 .*\r\n521 5\.5\.1 ")
        postfix.wait_log(r"disconnect from unknown\[198\.51\.100\.9\]")
        self.assertNotIn(f"connect from unknown[{CLAIMED}]", postfix.log())
