# SPDX-License-Identifier: Apache-2.0
"""Clients that say a PROXY header before anything else, as a balancer does for them."""

import imaplib
import ipaddress
import poplib
import re
import smtplib
import socket
import struct

V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL_V2 = V2_SIGNATURE + b"\x20\x00\x00\x00"


def header_v1(client, client_port=40000, destination="203.0.113.10", destination_port=25):
    family = 6 if ":" in client else 4
    if family == 6 and ":" not in destination:
        destination = "2001:db8:ffff::10"
    return f"PROXY TCP{family} {client} {destination} {client_port} {destination_port}\r\n".encode()


def header_v2(client, client_port=40000, destination="203.0.113.10", destination_port=25, tlvs=b""):
    source = ipaddress.ip_address(client)
    if source.version == 6 and ":" not in destination:
        destination = "2001:db8:ffff::10"
    block = source.packed + ipaddress.ip_address(destination).packed + struct.pack("!HH", client_port, destination_port)
    family = 0x21 if source.version == 6 else 0x11
    return V2_SIGNATURE + struct.pack("!BBH", 0x21, family, len(block) + len(tlvs)) + block + tlvs


def parse_header(data):
    """(source, source port, destination, destination port, header length) of a v1 or v2 PROXY header; None while it is
    incomplete. For the fake servers: what mailgate sends is well-formed or a failure."""
    if data.startswith(b"PROXY "):
        end = data.find(b"\r\n")
        if end < 0:
            return None
        _, _, source, destination, source_port, destination_port = data[:end].decode().split(" ")
        return source, int(source_port), destination, int(destination_port), end + 2
    if len(data) < 16:
        return None
    command, family, length = struct.unpack("!BBH", data[12:16])
    if not data.startswith(V2_SIGNATURE) or command != 0x21 or family not in (0x11, 0x21):
        raise ValueError(f"no PROXY header with addresses: {data[:64]!r}")
    if len(data) < 16 + length:
        return None
    size = 4 if family == 0x11 else 16
    source, destination = data[16:16 + size], data[16 + size:16 + 2 * size]
    ports = struct.unpack("!HH", data[16 + 2 * size:20 + 2 * size])
    return str(ipaddress.ip_address(source)), ports[0], str(ipaddress.ip_address(destination)), ports[1], 16 + length


def connect(port, header=b"", address="127.0.0.1", source=None, timeout=30.0):
    """A connection on which `header` has been sent. `source` is the local address to connect from."""
    client = socket.create_connection((address, port), timeout, (source, 0) if source else None)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if header:
        client.sendall(header)
    return client


def read_to_end(client):
    """Everything until the end; a reset counts as the end."""
    data = bytearray()
    try:
        while chunk := client.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return bytes(data)


def read_line(client):
    """One line, read byte by byte so that nothing behind it is lost."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = client.recv(1)
        if not byte:
            break
        line += byte
    return bytes(line)


def read_reply(client):
    """One SMTP reply, all its lines."""
    reply = b""
    while True:
        line = read_line(client)
        reply += line
        if line[3:4] != b"-":
            return reply


def read_until(client, pattern):
    """Everything up to and with the line that matches the regular expression (bytes)."""
    lines = b""
    while True:
        line = read_line(client)
        lines += line
        if not line or re.search(pattern, line):
            return lines


class SMTP(smtplib.SMTP):
    def __init__(self, port, header=b"", address="127.0.0.1", timeout=60, source=None):
        self._header = header
        self._source = source
        super().__init__(address, port, local_hostname="client.example.org", timeout=timeout)

    def _get_socket(self, host, port, timeout):
        return connect(port, self._header, host, self._source, timeout)


class LMTP(SMTP):
    ehlo_msg = "lhlo"


class IMAP(imaplib.IMAP4):
    def __init__(self, port, header=b"", address="127.0.0.1"):
        self._header = header
        super().__init__(address, port, timeout=60)

    def _create_socket(self, timeout):
        return connect(self.port, self._header, self.host, timeout=timeout)


class POP3(poplib.POP3):
    def __init__(self, port, header=b"", address="127.0.0.1"):
        self._header = header
        super().__init__(address, port, timeout=60)

    def _create_socket(self, timeout):
        return connect(self.port, self._header, self.host, timeout=timeout)
