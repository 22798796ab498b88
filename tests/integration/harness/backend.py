# SPDX-License-Identifier: Apache-2.0
"""Scripted servers: what a real Postfix or Dovecot does only on a bad day, on demand."""

import contextlib
import socket
import struct
import threading

from .ports import reserve_port
from .proxyclient import parse_header


class Connection:
    """One connection to a scripted server: the PROXY header it came with, and the socket."""

    def __init__(self, sock):
        self.socket = sock
        self.first_segment = b""  # what one recv gave: a header that is not whole in it was split
        self.source = self.source_port = self.destination = self.destination_port = None
        self._pending = b""

    def read_header(self):
        self.first_segment = data = self.socket.recv(65536)
        while data and (parsed := parse_header(data)) is None:
            data += self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed before a header")
        self.source, self.source_port, self.destination, self.destination_port, length = parsed
        self._pending = data[length:]

    def recv(self, size=65536):
        if self._pending:
            data, self._pending = self._pending[:size], self._pending[size:]
            return data
        return self.socket.recv(size)

    def read_line(self):
        line = bytearray()
        while not line.endswith(b"\n"):
            byte = self.recv(1)
            if not byte:
                raise ConnectionError("closed within a line")
            line += byte
        return bytes(line)

    def send(self, data):
        self.socket.sendall(data)

    def reset(self):
        """Closes with a reset instead of an end of file."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Backend:
    """Runs `behaviour(connection)` for each connection, in a thread, after its PROXY header was read (unless
    `reads_header` is false). `connections` keeps them all, in order."""

    def __init__(self, behaviour, reads_header=True, address="127.0.0.1", port=None):
        self.port = port or reserve_port()
        self.connections = []
        self._behaviour = behaviour
        self._reads_header = reads_header
        self._listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, self.port))
        self._threads = []

    def start(self):
        self._listener.listen(1024)
        self._spawn(self._accept)
        return self

    def leave(self):
        """No new connections; those that are there stay."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
        self._listener.close()

    def stop(self):
        self.leave()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for connection in self.connections:
            connection.socket.close()

    def _spawn(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            connection = Connection(sock)
            self.connections.append(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection):
        with connection.socket, contextlib.suppress(OSError):  # the client may go away at any time
            if self._reads_header:
                connection.read_header()
            self._behaviour(connection)


def smtp(connection, greeting=b"220 fake.example.net ESMTP\r\n"):
    """Enough of an SMTP server for one session: 354 for DATA, 250 for the rest, 221 for QUIT."""
    connection.send(greeting)
    while True:
        verb = connection.read_line().strip().upper()
        if verb == b"DATA":
            connection.send(b"354 go on\r\n")
            while connection.read_line() != b".\r\n":
                pass
            connection.send(b"250 2.0.0 Ok: queued as FAKE0001\r\n")
        elif verb == b"QUIT":
            connection.send(b"221 2.0.0 Bye\r\n")
            return
        else:
            connection.send(b"250 2.0.0 Ok\r\n")


def says(*lines):
    """Sends the lines and closes."""
    def behaviour(connection):
        for line in lines:
            connection.send(line)
    return behaviour


def mute(connection):
    """Says nothing and stays, as an smtpd at its process limit does."""
    while connection.recv():
        pass


def resets(connection):
    connection.reset()
