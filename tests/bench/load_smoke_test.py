# SPDX-License-Identifier: Apache-2.0
"""mailload against its own sinks: no error where there is none, none overlooked where there is one, and the counts agree."""

import contextlib
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

from load_tool import Run, Sink

MAILLOAD = sys.argv[1]
IMAP_OCTETS = 3_000_000


def result(workload, sink, **options):
    return Run(MAILLOAD, workload, sink.address, **options).finish()


def expect(found, wanted, what):
    assert found == wanted, f"{what}: {found}, not {wanted}"


def expect_clean(outcome, sessions):
    expect((outcome["sessions"], outcome["errors"], outcome["first_error"]), (sessions, 0, ""), outcome["workload"])


def check_smtp():
    sink = Sink(MAILLOAD, "smtp")
    expect_clean(result("smtp-sessions", sink, count=60, concurrency=7), 60)
    expect_clean(result("smtp-serial", sink, count=5, octets=300_000), 5)
    expect_clean(result("connect-quit", sink, count=40, concurrency=40), 40)
    expect(result("imap-bulk", sink, count=3)["errors"], 3, "errors of IMAP clients of an SMTP server")
    counts = sink.stop()
    expect(counts["connections"], 108, "connections")
    expect(counts["with_client"], 108, "connections with a client address")
    expect(counts["messages"], 65, "messages")
    expect(counts["finished"], 105, "sessions that ended with QUIT")
    expect(counts["open"], 0, "connections still open")


def check_imap():
    sink = Sink(MAILLOAD, "imap")
    bulk = result("imap-bulk", sink, count=6, concurrency=3, octets=IMAP_OCTETS)
    expect_clean(bulk, 6)
    overhead = bulk["bytes_received"] - 6 * IMAP_OCTETS
    assert 0 < overhead < 6 * 500, f"{overhead} octets beyond the literals"
    idle = Run(MAILLOAD, "imap-idle", sink.address, count=50, concurrency=8)
    expect(idle.wait_idle(), 50, "idle sessions")
    expect_clean(idle.finish(), 50)
    asking = Run(MAILLOAD, "imap-answers", sink.address, count=3, concurrency=3)
    expect(asking.wait_idle(), 3, "sessions that wait to ask")
    outcome = asking.finish()
    expect_clean(outcome, 3)
    expect(outcome["answers"], 3 * 250, "answers")
    assert 0 < outcome["answer_p50_ms"] <= outcome["answer_p99_ms"], outcome
    expect_clean(result("imap-logout", sink, count=20, concurrency=5), 20)
    expect(sink.stop()["finished"], 79, "sessions that ended with LOGOUT")


@contextlib.contextmanager
def tls_server():
    """An IMAP server's greeting and goodbye, in TLS behind the header; its address."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listening:
        pair = pathlib.Path(folder, "certificate"), pathlib.Path(folder, "key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
                        "-out", pair[0], "-keyout", pair[1]], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)

        def serve():
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    client.recv(28, socket.MSG_WAITALL)
                    with context.wrap_socket(client, server_side=True) as wrapped:
                        wrapped.sendall(b"* OK ready\r\n")
                        wrapped.recv(100)
                        wrapped.sendall(b"* BYE\r\na1 OK bye\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield "%s:%d" % listening.getsockname()
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def check_tls():
    with tls_server() as address:
        for tls, resumed in (("full", 0), ("resumed", 9)):
            outcome = Run(MAILLOAD, "imap-logout", address, count=10, tls=tls).finish()
            expect_clean(outcome, 10)
            expect(outcome["resumed"], resumed, f"resumed sessions with --tls={tls}")
    sink = Sink(MAILLOAD, "imap")
    outcome = result("imap-logout", sink, count=2, tls="full")
    expect(outcome["errors"], 2, "errors of TLS clients of a server in the clear")
    assert outcome["first_error"].startswith("read: "), outcome
    sink.stop()


def check_nobody_there():
    sink = Sink(MAILLOAD, "smtp")
    sink.stop()
    outcome = result("smtp-sessions", sink, count=4, concurrency=2)
    expect((outcome["sessions"], outcome["errors"]), (0, 4), "sessions and errors without a server")


check_smtp()
check_imap()
check_tls()
check_nobody_there()
