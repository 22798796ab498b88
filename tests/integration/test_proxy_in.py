# SPDX-License-Identifier: Apache-2.0
"""PROXY headers from balancers: the conformance vectors against the running daemon, and who may send them."""

import concurrent.futures
import json
import pathlib
import time
import unittest

from harness import backend, mailgate, proxyclient
from harness.process import Scratch

VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "conformance" / "proxy-vectors.json").read_text())
HEADER_LIMIT = 3.0  # timeouts.proxy_header in these tests

scratch = server = gateway = None


def setUpModule():
    global scratch, server, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    server = scratch.start(backend.Backend(tell_and_echo))
    narrow = {"trusted": ["127.0.0.1/32", "::1/128"]}
    gateway = scratch.start(mailgate.Mailgate(
        scratch,
        [mailgate.listener("smtp", "mail", **narrow), mailgate.listener("imap", "mail"),
         mailgate.listener("smtp", "mail", name="mixed", proxy="mixed", **narrow),
         mailgate.listener("smtp", "mail", name="direct", proxy="off"), mailgate.listener("tcp", "mail", **narrow),
         mailgate.listener("tcp", "mail", name="mixed-tcp", proxy="mixed", **narrow),
         mailgate.listener("tcp", "mail", name="direct-tcp", proxy="off")],
        [mailgate.upstream("mail", server.port)], timeouts={"proxy_header": f"{HEADER_LIMIT:.0f}s"}))


def tell_and_echo(connection):
    """Greets with what the header said, then returns what the client sent."""
    told = {"source": connection.source, "source_port": connection.source_port,
            "destination": connection.destination, "destination_port": connection.destination_port}
    connection.send(b"220 " + json.dumps(told).encode() + b"\r\n")
    while data := connection.recv():
        connection.send(data)


def send(client, data, pieces):
    """The bytes at once or one by one; a peer that has already closed is not the sender's business."""
    try:
        for part in ([data] if pieces == "whole" else [data[i:i + 1] for i in range(len(data))]):
            client.sendall(part)
    except (BrokenPipeError, ConnectionResetError):
        pass


def run_vector(vector, pieces):
    """What became of it: (outcome, greeting, bytes after the greeting, seconds)."""
    # What follows a header need not be mail.
    listener = "tcp" if vector["expect"] == "accept" and vector["payload_hex"] else "smtp"
    peer = "127.0.0.66" if vector.get("context", {}).get("peer") == "untrusted" else "127.0.0.1"
    with proxyclient.connect(gateway.port(listener), source=peer) as client:
        start = time.monotonic()
        send(client, bytes.fromhex(vector["hex"]), pieces)
        try:
            greeting = proxyclient.read_line(client)
        except ConnectionResetError:
            greeting = b""
        if not greeting:
            seconds = time.monotonic() - start
            return ("reject" if seconds < HEADER_LIMIT / 2 else "incomplete"), greeting, b"", seconds
        if not greeting.startswith(b"220 {"):
            return "local", greeting, b"", time.monotonic() - start
        client.shutdown(1)
        return "accept", greeting, proxyclient.read_to_end(client), time.monotonic() - start


class Conformance(unittest.TestCase):
    def run_all(self, pieces):
        before = len(server.connections)
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            results = list(pool.map(lambda vector: run_vector(vector, pieces), VECTORS))
        accepted = 0
        for vector, (outcome, greeting, rest, seconds) in zip(VECTORS, results):
            with self.subTest(vector=vector["id"], pieces=pieces):
                self.assertIn(outcome, [vector["expect"], *vector.get("also_ok", [])], (greeting, seconds))
                if outcome == "accept":
                    accepted += 1
                    told = json.loads(greeting[4:])
                    self.assertEqual(told["source"], vector["match_addr"])
                    self.assertEqual((told["source_port"], told["destination_port"]), (vector["src_port"], vector["dst_port"]))
                    self.assertEqual(rest.hex(), vector["payload_hex"])
                elif outcome == "local":
                    self.assertRegex(greeting, rb"^220 gw\.example\.net ")
        self.assertEqual(len(server.connections) - before, accepted, "only accepted clients reach the server")

    def test_vectors_in_one_piece(self):
        self.run_all("whole")

    def test_vectors_byte_by_byte(self):
        self.run_all("bytes")

    def test_the_header_sent_on_is_whole_and_small(self):
        self.run_all("whole")
        for connection in server.connections:
            length = proxyclient.parse_header(connection.first_segment)[4]
            self.assertLessEqual(length, 536)


class Rejections(unittest.TestCase):
    """Repeated ones are summed up by peer and reason, so each test has a peer of its own."""

    def test_each_is_logged_with_its_reason(self):
        v2 = proxyclient.V2_SIGNATURE
        rejected = {"not_proxy": b"EHLO client.example\r\n",
                    "bad_v1": b"PROXY TCP4 192.0.2.300 192.0.2.1 1 2\r\n",
                    "v1_too_long": b"PROXY UNKNOWN " + b"x" * 120,
                    "bad_version": v2 + b"\x31\x11\0\x0c" + bytes(12),
                    "bad_command": v2 + b"\x22\x11\0\x0c" + bytes(12),
                    "unsupported_family": v2 + b"\x21\x12\0\x0c" + bytes(12),
                    "bad_length": v2 + b"\x21\x11\0\x04" + bytes(4),
                    "too_long": v2 + b"\x21\x11\x40\0",
                    "bad_tlv": proxyclient.header_v2("192.0.2.1", tlvs=b"\x01\x00\x09x"),
                    "bad_checksum": proxyclient.header_v2("192.0.2.1", tlvs=b"\x03\x00\x04abcd")}
        for reason, data in rejected.items():
            with self.subTest(reason=reason):
                with proxyclient.connect(gateway.port("imap"), data, source="127.0.1.1") as client:
                    self.assertEqual(proxyclient.read_to_end(client), b"")
                line = gateway.wait_event("proxy.rejected", peer="127.0.1.1", reason=reason)
                self.assertEqual(line["listener"], "imap")

    def test_a_balancer_that_is_taken_for_a_client_is_told_of(self):
        for header in (proxyclient.header_v1("192.0.2.1"), proxyclient.header_v2("192.0.2.1")):
            with proxyclient.connect(gateway.port("direct"), header, source="127.0.1.7") as client:
                self.assertIn(b"521 5.5.1", proxyclient.read_to_end(client))
        line = gateway.wait_event("proxy.rejected", peer="127.0.1.7", reason="unexpected_header")
        self.assertIn("127.0.1.7", line["hint"])

    def test_an_untrusted_peer_is_closed_without_a_word(self):
        with proxyclient.connect(gateway.port("smtp"), source="127.0.1.2") as client:
            self.assertEqual(proxyclient.read_to_end(client), b"")
        gateway.wait_event("proxy.rejected", peer="127.0.1.2", reason="untrusted_peer")

    def test_a_header_that_ends_early_or_never_comes(self):
        with proxyclient.connect(gateway.port("imap"), b"PROXY TCP4 192.0", source="127.0.1.3") as client:
            client.shutdown(1)
            self.assertEqual(proxyclient.read_to_end(client), b"")
        gateway.wait_event("proxy.rejected", peer="127.0.1.3", reason="incomplete")
        start = time.monotonic()
        with proxyclient.connect(gateway.port("imap"), b"PROXY TCP4 192.0", source="127.0.1.4") as partial, \
                proxyclient.connect(gateway.port("imap"), source="127.0.1.4") as silent:
            self.assertEqual(proxyclient.read_to_end(partial) + proxyclient.read_to_end(silent), b"")
        self.assertGreater(time.monotonic() - start, HEADER_LIMIT - 0.5)
        gateway.wait_event("proxy.rejected", peer="127.0.1.4", reason="header_timeout")
        gateway.wait_event("proxy.rejected", peer="127.0.1.4", reason="no_header")

    def test_a_port_that_is_only_probed_is_no_warning(self):
        proxyclient.connect(gateway.port("imap"), source="127.0.1.5").close()
        with proxyclient.connect(gateway.port("imap"), b"\n", source="127.0.1.6"):
            gateway.wait_event("proxy.rejected", peer="127.0.1.6")
        self.assertEqual(gateway.events("proxy.rejected", peer="127.0.1.5"), [])

    def test_a_flood_of_them_stays_a_few_lines(self):
        for _ in range(100):
            with proxyclient.connect(gateway.port("imap"), b"GET / HTTP/1.0\r\n\r\n", source="127.0.1.7") as client:
                proxyclient.read_to_end(client)
        self.assertLess(len(gateway.events("proxy.rejected", peer="127.0.1.7")), 50)


class Modes(unittest.TestCase):
    def greeting(self, listener, header=b"", source="127.0.0.1"):
        with proxyclient.connect(gateway.port(listener), header, source=source) as client:
            return proxyclient.read_line(client)

    def test_mixed_takes_headers_from_balancers_and_clients_directly(self):
        told = json.loads(self.greeting("mixed", proxyclient.header_v1("192.0.2.44", 4444))[4:])
        self.assertEqual((told["source"], told["source_port"]), ("192.0.2.44", 4444))
        told = json.loads(self.greeting("mixed", source="127.0.0.66")[4:])
        self.assertEqual((told["source"], told["destination"]), ("127.0.0.66", "127.0.0.1"))
        self.assertEqual(told["destination_port"], gateway.port("mixed"))

    def test_mixed_never_parses_a_direct_clients_bytes_as_a_header(self):
        header = proxyclient.header_v1("192.0.2.45")
        with proxyclient.connect(gateway.port("mixed-tcp"), header, source="127.0.0.66") as client:
            told = json.loads(proxyclient.read_line(client)[4:])
            self.assertEqual(told["source"], "127.0.0.66")
            self.assertEqual(proxyclient.read_line(client), header)

    def test_mixed_still_requires_a_header_of_a_balancer(self):
        self.assertEqual(self.greeting("mixed", b"EHLO balancer.example\r\n"), b"")

    def test_off_treats_everybody_as_a_client(self):
        header = proxyclient.header_v1("192.0.2.46")
        with proxyclient.connect(gateway.port("direct-tcp"), header) as client:
            self.assertEqual(json.loads(proxyclient.read_line(client)[4:])["source"], "127.0.0.1")
            self.assertEqual(proxyclient.read_line(client), header)


class Checks(unittest.TestCase):
    """Connections without a client of their own: mailgate answers them itself."""

    def test_smtp_check_dialogue(self):
        with proxyclient.connect(gateway.port("smtp"), proxyclient.LOCAL_V2) as client:
            before = len(server.connections)
            self.assertRegex(proxyclient.read_reply(client), rb"^220 gw\.example\.net ")
            for command, reply in ((b"EHLO check", rb"^250"), (b"NOOP", rb"^250 "), (b"MAIL FROM:<>", rb"^5\d\d "),
                                   (b"QUIT", rb"^221 ")):
                client.sendall(command + b"\r\n")
                self.assertRegex(proxyclient.read_reply(client), reply)
            self.assertEqual(client.recv(1), b"")
            self.assertEqual(len(server.connections), before)

    def test_imap_check_dialogue(self):
        with proxyclient.connect(gateway.port("imap"), b"PROXY UNKNOWN\r\n") as client:
            self.assertRegex(proxyclient.read_line(client), rb"^\* OK ")
            client.sendall(b"a CAPABILITY\r\nb LOGIN u p\r\nc LOGOUT\r\n")
            self.assertRegex(proxyclient.read_to_end(client), rb"(?s)\* CAPABILITY .*a OK.*b (NO|BAD).*\* BYE.*c OK")

    def test_a_header_that_describes_its_own_connection_is_a_check(self):
        with proxyclient.connect(gateway.port("smtp")) as client:
            address, port = client.getsockname()
            client.sendall(proxyclient.header_v1(address, port, "127.0.0.1", gateway.port("smtp")))
            self.assertRegex(proxyclient.read_line(client), rb"^220 gw\.example\.net ")
