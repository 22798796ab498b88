# SPDX-License-Identifier: Apache-2.0
"""What servers say about one client reaches that client and nobody else; and how long is waited for whom."""

import socket
import threading
import time
import unittest

from harness import backend, mailgate, proxyclient
from harness.postfix import Postfix
from harness.process import Scratch, wait_until

scratch = None


def setUpModule():
    global scratch
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)


def start(test, listeners, upstreams, **more):
    gateway = mailgate.Mailgate(scratch, listeners, upstreams, name=f"patience-{test.id().rsplit('.', 1)[1]}", **more)
    gateway.start()
    test.addCleanup(gateway.stop)
    return gateway


def connect(gateway, client="198.51.100.7", name="smtp"):
    connection = proxyclient.connect(gateway.port(name), proxyclient.header_v2(client))
    return connection


class AboutOneClient(unittest.TestCase):
    """A real Postfix that turns one client away while it serves others."""

    CHECKED = {"check": True, "interval": "200ms"}

    def gateway_before(self, **settings):
        postfix = scratch.start(Postfix(scratch, name=f"postfix{len(settings)}", settings=settings))
        return postfix, start(self, [mailgate.listener("smtp", "mx")],
                              [mailgate.upstream("mx", postfix.proxy_port, **self.CHECKED)], timeouts={"hold": "15s"})

    def assert_server_is_well(self, postfix, gateway, connections, others=b"220 "):
        self.assertEqual(gateway.events("server.down"), [])
        with connect(gateway, "198.51.100.200") as other:
            self.assertIn(others, proxyclient.read_line(other))
        with proxyclient.connect(gateway.port("smtp"), proxyclient.LOCAL_V2) as probe:
            self.assertIn(b"220 ", proxyclient.read_line(probe), "what balancers hear")
        seen = [line for line in postfix.log().splitlines() if " connect from " in line and "198.51.100." in line]
        self.assertLessEqual(len(seen), connections + 1, "one connection a client")

    def test_too_many_connections_are_told_at_once(self):
        postfix, gateway = self.gateway_before(smtpd_client_connection_count_limit="2")
        with connect(gateway) as first, connect(gateway) as second:
            self.assertIn(b"220 ", proxyclient.read_line(first))
            self.assertIn(b"220 ", proxyclient.read_line(second))
            began = time.monotonic()
            with connect(gateway) as third:
                said = proxyclient.read_to_end(third)
            self.assertRegex(said, rb"^421 4\.7\.0 mx\.example\.net Error: too many connections from 198\.51\.100\.7\r\n$")
            self.assertLess(time.monotonic() - began, 10 * mailgate.SLACK, "held though the answer was there")
            self.assert_server_is_well(postfix, gateway, 3)

    def test_a_client_without_a_name_is_turned_away_and_no_server_flaps(self):
        postfix, gateway = self.gateway_before(
            smtpd_delay_reject="no", smtpd_client_restrictions="reject_unknown_client_hostname", smtpd_peername_lookup="yes")
        for _ in range(10):
            with connect(gateway) as client:
                self.assertRegex(proxyclient.read_line(client), rb"^450 4\.7\.25 .*cannot find your hostname")
                client.sendall(b"QUIT\r\n")
                proxyclient.read_to_end(client)
        self.assert_server_is_well(postfix, gateway, 10, others=b"450 ")

    def test_refused_greetings_of_scripted_servers_pass_and_count_against_nobody(self):
        for words in (b"450 4.7.25 mx cannot find your hostname\r\n", b"421 too many of you\r\n", b"554 5.7.1 go away\r\n"):
            with self.subTest(words=words):
                server = backend.Backend(backend.says(words)).start()
                self.addCleanup(server.stop)
                gateway = mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", server.port)],
                                            name=f"words-{words[:3].decode()}", timeouts={"hold": "15s"})
                gateway.start()
                self.addCleanup(gateway.stop)
                for _ in range(5):
                    with connect(gateway) as client:
                        self.assertEqual(proxyclient.read_to_end(client), words)
                self.assertEqual(len(server.connections), 5, "one connection a client")
                self.assertEqual(gateway.events("server.down"), [])


class AnswersAreNotWaitedFor(unittest.TestCase):
    def test_a_server_that_is_no_mail_server_is_told_of_within_the_hold(self):
        server = backend.Backend(backend.says(b"HTTP/1.1 400 Bad Request\r\n")).start()
        self.addCleanup(server.stop)
        gateway = start(self, [mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", server.port)],
                        timeouts={"hold": "60s"})
        began = time.monotonic()
        with connect(gateway) as client:
            self.assertRegex(proxyclient.read_to_end(client), rb"^421 4\.4\.1 ")
        self.assertLess(time.monotonic() - began, 20 * mailgate.SLACK)


class BothSidesGone(unittest.TestCase):
    def test_a_session_ends_when_postfix_has_had_enough_of_a_client_that_sent_ahead(self):
        postfix = scratch.start(Postfix(scratch, name="hard-errors", settings={"smtpd_hard_error_limit": "2"}))
        gateway = start(self, [mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", postfix.proxy_port)],
                        timeouts={"half_close": "1h"})
        with connect(gateway) as client:
            proxyclient.read_line(client)
            client.sendall(b"FOO\r\n" * 3 + b"MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.net>\r\nDATA\r\n"
                           b"Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n")
            said = proxyclient.read_to_end(client)
        self.assertIn(b"421 4.7.0", said)
        self.assertNotEqual(gateway.wait_event("session.end")["end"], "half_close_timeout")


class HalfClosed(unittest.TestCase):
    def test_a_download_goes_on_behind_the_clients_end_as_long_as_bytes_move(self):
        step = threading.Event()

        def slow(connection):
            connection.send(b"ready\n")
            while connection.recv():
                pass
            for _ in range(6):
                step.wait(0.5)  # longer in all than the limit, shorter each
                connection.send(b"piece\n")

        server = backend.Backend(slow).start()
        self.addCleanup(server.stop)
        gateway = start(self, [mailgate.listener("tcp", "mx")], [mailgate.upstream("mx", server.port)],
                        timeouts={"half_close": "2s"})
        with connect(gateway, name="tcp") as client:
            proxyclient.read_line(client)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(proxyclient.read_to_end(client), b"piece\n" * 6)
        self.assertEqual(gateway.wait_event("session.end")["end"], "client_closed")

    def test_a_server_that_never_ends_is_left_and_the_end_says_why(self):
        server = backend.Backend(backend.mute).start()
        self.addCleanup(server.stop)
        gateway = start(self, [mailgate.listener("tcp", "mx")], [mailgate.upstream("mx", server.port)],
                        timeouts={"half_close": "1s"})

        def hangs(connection):
            threading.Event().wait(60)

        server._behaviour = hangs
        with connect(gateway, name="tcp") as client:
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(gateway.wait_event("session.end")["end"], "half_close_timeout")


class Headers(unittest.TestCase):
    def test_a_header_in_two_pieces_with_a_whole_buffer_behind_it_is_served(self):
        server = backend.Backend(lambda connection: (connection.send(b"ready\n"), wait_until(
            lambda: not connection.recv(), "the client's end"))).start()
        self.addCleanup(server.stop)
        gateway = start(self, [mailgate.listener("tcp", "mx")], [mailgate.upstream("mx", server.port)])
        header = proxyclient.header_v2("198.51.100.7")
        for size in (65_535, 65_536, 200_000):
            with self.subTest(size=size):
                client = proxyclient.connect(gateway.port("tcp"))
                client.sendall(header[:27])
                time.sleep(0.05)  # two segments, each in a read of its own
                client.sendall(header[27:] + b"x" * size)
                self.assertEqual(proxyclient.read_line(client), b"ready\n")
                client.close()
        for line in gateway.wait_events(3, "session.end"):
            self.assertIn(line["bytes_in"], (65_535, 65_536, 200_000))
