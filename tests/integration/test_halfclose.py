# SPDX-License-Identifier: Apache-2.0
"""The relay itself: every byte, both ways, at any pace, until both sides are done."""

import concurrent.futures
import hashlib
import os
import random
import socket
import threading
import time
import unittest

from harness import backend, mailgate, proxyclient
from harness.process import Scratch, wait_until

MEGABYTE = 1 << 20
scratch = gateway = None
servers = {}


def setUpModule():
    global scratch, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    behaviours = {"digest": digest_after_the_end, "leaves": leaves_then_listens, "pours": pours, "echoes": echoes,
                  "slow": reads_when_told}
    for name, behaviour in behaviours.items():
        servers[name] = scratch.start(backend.Backend(behaviour))
    gateway = scratch.start(mailgate.Mailgate(
        scratch, [mailgate.listener("tcp", name, name=name) for name in behaviours],
        [mailgate.upstream(name, server.port) for name, server in servers.items()], timeouts={"half_close": "2s"}))


def connect(name):
    return proxyclient.connect(gateway.port(name), proxyclient.header_v2("198.51.100.80"), timeout=60)


TAIL = hashlib.shake_128(b"tail").digest(3 * MEGABYTE)
POURED = hashlib.shake_128(b"poured").digest(MEGABYTE)
POURED_TIMES = 64
received = {}  # digest by source port, of what "leaves" got after its own end
may_read = threading.Event()


def digest_after_the_end(connection):
    digest = hashlib.sha256()
    connection.send(b"ready\n")
    while data := connection.recv():
        digest.update(data)
    connection.send(digest.digest() + TAIL)


def leaves_then_listens(connection):
    connection.send(b"goodbye\n")
    connection.socket.shutdown(socket.SHUT_WR)
    digest = hashlib.sha256()
    while data := connection.recv():
        digest.update(data)
    received[connection.source_port] = digest.digest()


def pours(connection):
    for _ in range(POURED_TIMES):
        connection.send(POURED)


def echoes(connection):
    connection.send(b"")
    while data := connection.recv():
        connection.send(data)


def reads_when_told(connection):
    connection.send(b"ready\n")
    may_read.wait(60)
    digest = hashlib.sha256()
    while data := connection.recv():
        digest.update(data)
    connection.send(digest.digest())


class HalfClose(unittest.TestCase):
    def test_the_clients_end_leaves_the_servers_answer_whole(self):
        data = os.urandom(5 * MEGABYTE)
        with connect("digest") as client:
            proxyclient.read_line(client)
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(proxyclient.read_to_end(client), hashlib.sha256(data).digest() + TAIL)

    def test_the_servers_end_leaves_the_clients_bytes_whole(self):
        data = os.urandom(5 * MEGABYTE)
        header = proxyclient.header_v2("198.51.100.81", 8181)
        with proxyclient.connect(gateway.port("leaves"), header) as client:
            self.assertEqual(proxyclient.read_to_end(client), b"goodbye\n")
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            wait_until(lambda: 8181 in received, "the server to have it all")
        self.assertEqual(received[8181], hashlib.sha256(data).digest())

    def test_half_a_session_without_traffic_ends_at_its_time_limit(self):
        header = proxyclient.header_v2("198.51.100.82", 8282)
        with proxyclient.connect(gateway.port("leaves"), header) as client:
            self.assertEqual(proxyclient.read_to_end(client), b"goodbye\n")
            start = time.monotonic()
            gateway.wait_event("session.end", client="198.51.100.82")
            self.assertGreater(time.monotonic() - start, 1.0)
        wait_until(lambda: 8282 in received, "the server's side to be closed")

    def test_a_reset_by_the_client_reaches_the_server(self):
        before = len(servers["echoes"].connections)
        client = connect("echoes")
        client.sendall(b"x")
        self.assertEqual(client.recv(1), b"x")
        backend.Connection(client).reset()
        connection = servers["echoes"].connections[before]
        wait_until(lambda: connection.socket.fileno() == -1, "the server's connection to end")


class Bytes(unittest.TestCase):
    def echo(self, seed):
        numbers = random.Random(seed)
        data = numbers.randbytes(numbers.choice((1, 1000, 70_000, 3_000_000)))

        with connect("echoes") as client:
            def send():
                position = 0
                while position < len(data):
                    size = numbers.choice((1, 7, 1460, 65536, 262144))
                    client.sendall(data[position:position + size])
                    position += size
                client.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            echoed = proxyclient.read_to_end(client)
            sender.join()
        return echoed == data

    def test_many_sessions_at_once_keep_their_own_bytes(self):
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            self.assertEqual(set(pool.map(self.echo, range(64))), {True})


class Backpressure(unittest.TestCase):
    """Somebody does not read: the other side is slowed down, and mailgate's memory does not grow."""

    SESSIONS = 8
    GROWTH = 8 * MEGABYTE  # far below the 512 MiB under way, far above two blocks a session

    def test_a_client_that_does_not_read(self):
        before = gateway.memory_bytes()
        clients = [connect("pours") for _ in range(self.SESSIONS)]
        for client in clients:
            self.addCleanup(client.close)
        self.expect_standstill()
        self.assertLess(gateway.memory_bytes() - before, self.GROWTH * mailgate.SLACK)
        expected = hashlib.sha256(POURED * POURED_TIMES).digest()
        with concurrent.futures.ThreadPoolExecutor(self.SESSIONS) as pool:
            for digest in pool.map(lambda client: hashlib.sha256(proxyclient.read_to_end(client)).digest(), clients):
                self.assertEqual(digest, expected)

    def test_a_server_that_does_not_read(self):
        before = gateway.memory_bytes()
        may_read.clear()
        data = os.urandom(MEGABYTE)
        expected = hashlib.sha256(data * POURED_TIMES).digest()

        def upload(client):
            for _ in range(POURED_TIMES):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return proxyclient.read_to_end(client)

        clients = [connect("slow") for _ in range(self.SESSIONS)]
        for client in clients:
            self.addCleanup(client.close)
            proxyclient.read_line(client)
        with concurrent.futures.ThreadPoolExecutor(self.SESSIONS) as pool:
            uploads = [pool.submit(upload, client) for client in clients]
            try:
                self.expect_standstill()
                self.assertLess(gateway.memory_bytes() - before, self.GROWTH * mailgate.SLACK)
            finally:
                may_read.set()
            for done in uploads:
                self.assertEqual(done.result(), expected)

    def expect_standstill(self):
        """Nothing moves any more: mailgate has used no processor time for a while."""
        def still():
            used = gateway.cpu_seconds()
            time.sleep(0.3)
            return gateway.cpu_seconds() == used

        wait_until(still, "the relay to stand still")
