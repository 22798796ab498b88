# SPDX-License-Identifier: Apache-2.0
"""A server dies at each point of a session: what the client hears, what the log says, and who serves the next client."""

import select
import socket
import unittest

from harness import backend, mailgate, proxyclient
from harness.situation import Situation

# (what the client says, what the server answers). A death comes before, within and after each answer.
SMTP = ((b"", b"220 dying.example.net ESMTP\r\n"),
        (b"EHLO c.example\r\n", b"250-dying.example.net\r\n250-CHUNKING\r\n250 AUTH PLAIN\r\n"),
        (b"AUTH PLAIN\r\n", b"334 \r\n"),
        (b"AGJvYgBidWlsZGVy\r\n", b"235 2.7.0 accepted\r\n"),
        (b"MAIL FROM:<a@b.example>\r\n", b"250 2.1.0 Ok\r\n"),
        (b"RCPT TO:<c@d.example>\r\n", b"250 2.1.5 Ok\r\n"),
        (b"DATA\r\n", b"354 go on\r\n"),
        (b"Subject: x\r\n\r\nhalf the bo", b""),
        (b"dy\r\n.\r\n", b"250 2.0.0 Ok: queued as DEAD0001\r\n"),
        (b"QUIT\r\n", b"221 2.0.0 Bye\r\n"))
BDAT = (*SMTP[:2], *SMTP[4:6],
        (b"BDAT 14\r\nSubject: x\r\n\r\n", b"250 2.0.0 Ok: 14 bytes\r\n"),
        (b"BDAT 6 LAST\r\nbo", b""),
        (b"dy\r\n", b"250 2.0.0 Ok: queued as DEAD0002\r\n"))
IMAP = ((b"", b"* OK dying\r\n"),
        (b"a CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1\r\na OK done\r\n"),
        (b"b LOGIN bob builder\r\n", b"b OK in\r\n"),
        (b"c SELECT INBOX\r\n", b"* 3 EXISTS\r\nc OK selected\r\n"))

GOODBYE = {"smtp": rb"^421 4\.4\.2 gw\.example\.net [^\r\n]*\r\n$", "imap": rb"^\* BYE \[UNAVAILABLE\] [^\r\n]*\r\n$"}
GREETING = {"smtp": b"220 fake.example.net ESMTP\r\n", "imap": b"* OK fake\r\n"}


def other_server(protocol):
    def behaviour(connection):
        connection.send(GREETING[protocol])
        backend.mute(connection)
    return behaviour


class Case:
    """One death: in the exchange of that number, at that point of its answer, in that way."""

    def __init__(self, protocol, conversation, number, point, ending):
        self.protocol, self.conversation, self.number, self.point, self.ending = protocol, conversation, number, point, ending
        self.said, answer = conversation[number]
        self.answer = {"before": b"", "within": answer[:len(answer) // 2], "after": answer}[point]
        self.server = backend.Backend(self.behaviour).start()

    def behaviour(self, connection):
        for said, answer in self.conversation[:self.number]:
            self.exchange(connection, said, answer)
        self.exchange(connection, self.said, self.answer)
        self.server.leave()
        if self.ending == "reset":
            connection.reset()

    @staticmethod
    def exchange(connection, said, answer):
        heard = b""
        while len(heard) < len(said):
            heard += connection.recv(len(said) - len(heard))
        connection.send(answer)

    @property
    def name(self):
        return f"{self.protocol}-{len(self.conversation)}-{self.number}-{self.point}-{self.ending}"

    def in_the_clear(self):
        return self.protocol == "smtp" or self.number < 2 or (self.number == 2 and self.point != "after")

    def has_said_quit(self):
        return self.said == b"QUIT\r\n"


def every_case():
    for protocol, conversation in (("smtp", SMTP), ("smtp", BDAT), ("imap", IMAP)):
        for number, (_, answer) in enumerate(conversation):
            for point in ("before", "within", "after") if answer else ("before",):
                for ending in ("closed", "reset"):
                    yield Case(protocol, conversation, number, point, ending)


class Deaths(Situation):
    def test_a_temporary_failure_at_any_point_and_never_a_false_acceptance(self):
        cases = list(every_case())
        others = {protocol: self.backend(other_server(protocol)).port for protocol in GREETING}
        upstreams = []
        for case in cases:
            self.addCleanup(case.server.stop)
            upstreams.append(mailgate.upstream(case.name, case.server.port, others[case.protocol]))
            upstreams[-1]["server"][1]["backup"] = True
        self.gateway = mailgate.Mailgate(
            self.scratch, [mailgate.listener(case.protocol, case.name, name=case.name) for case in cases], upstreams)
        self.addCleanup(self.gateway.stop)
        self.gateway.start()
        for case in cases:
            with self.subTest(case.name, said=case.said):
                self.check(case)

    def connect_to(self, case, client):
        session = proxyclient.connect(self.gateway.port(case.name), proxyclient.header_v2(client))
        self.addCleanup(session.close)
        return session

    def check(self, case):
        with self.connect_to(case, "198.51.100.1") as session:
            if case.number == 0 and case.point != "after":
                # Nothing has been heard of the server that died: another takes its place.
                self.assertEqual(proxyclient.read_line(session), GREETING[case.protocol])
                dead = False
            else:
                heard = self.converse(session, case)
                self.expect_words(case, heard)
                dead = True
        line = self.gateway.wait_event("session.end", listener=case.name, client="198.51.100.1")
        self.expect_line(case, line, dead)
        with self.connect_to(case, "198.51.100.2") as session:
            self.assertEqual(proxyclient.read_line(session), GREETING[case.protocol])
        self.assertEqual(self.gateway.wait_event("session.end", listener=case.name, client="198.51.100.2")["server"],
                         f"{case.name}2")
        self.gateway.wait_event("server.down", upstream=case.name, server=f"{case.name}1")

    def converse(self, session, case):
        """What is heard in and after the exchange in which the server dies."""
        for said, answer in case.conversation[:case.number]:
            session.sendall(said)
            self.assertEqual(self.read(session, len(answer)), answer)
        session.sendall(case.said)
        return proxyclient.read_to_end(session)

    @staticmethod
    def read(session, size):
        heard = b""
        while len(heard) < size and (more := session.recv(size - len(heard))):
            heard += more
        return heard

    def expect_words(self, case, heard):
        # In the clear half a line goes nowhere, so that words of ours may follow.
        answer = b"" if case.point == "within" and case.in_the_clear() else case.answer
        self.assertTrue(heard.startswith(answer), heard)
        rest = heard[len(answer):]
        if case.has_said_quit() or not case.in_the_clear():
            self.assertEqual(rest, b"")  # no place for words of ours
        else:
            self.assertRegex(rest, GOODBYE[case.protocol])

    def expect_line(self, case, line, dead):
        if not dead:
            self.assertEqual((line["server"], line["end"]), (f"{case.name}2", "client_closed"))
            return
        self.assertEqual(line["server"], f"{case.name}1")
        if case.has_said_quit():
            self.assertEqual(line["end"], "client_quit")
        else:
            self.assertEqual(line["end"], "server_closed" if case.ending == "closed" else "server_lost")
        for mail in line.get("mail", ()):
            accepted = b"queued as" in case.answer or case.has_said_quit()
            self.assertEqual((mail["reply"] or "").startswith("250 2.0.0 Ok: queued as DEAD"), accepted, mail)

    def test_before_it_takes_the_connection(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        other = self.backend(backend.smtp)
        upstream = mailgate.upstream("mail", listener.getsockname()[1], other.port)
        upstream["server"][1]["backup"] = True
        self.gateway = mailgate.Mailgate(self.scratch, [mailgate.listener("smtp", "mail")], [upstream], name="queue")
        self.addCleanup(self.gateway.stop)
        self.gateway.start()
        with self.connect() as session:
            self.assertTrue(select.select([listener], [], [], 30)[0])
            listener.close()
            self.assertEqual(proxyclient.read_line(session), GREETING["smtp"])
        self.assertEqual(self.gateway.wait_event("session.end")["server"], "mail2")
        self.assertEqual(self.greeting(), GREETING["smtp"])


if __name__ == "__main__":
    unittest.main()
