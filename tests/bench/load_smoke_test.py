# SPDX-License-Identifier: Apache-2.0
"""mailload against its own sinks: no error where there is none, none overlooked where there is one, and the counts agree."""

import sys

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
    expect(sink.stop()["finished"], 56, "sessions that ended with LOGOUT")


def check_nobody_there():
    sink = Sink(MAILLOAD, "smtp")
    sink.stop()
    outcome = result("smtp-sessions", sink, count=4, concurrency=2)
    expect((outcome["sessions"], outcome["errors"]), (0, 4), "sessions and errors without a server")


check_smtp()
check_imap()
check_nobody_there()
