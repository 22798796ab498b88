# SPDX-License-Identifier: Apache-2.0
"""Load, and peers that are slow or know no end: what is bounded stays bounded, and nobody waits for them.

What is seen on the way is printed in lines that begin with "figure:"; docs/reliability.md tells them. A sanitizer's memory
and pace are its own: under one there are fewer peers, and memory is not looked at.
"""

import concurrent.futures
import contextlib
import os
import resource
import select
import socket
import sqlite3
import statistics
import threading
import time
import unittest

from harness import backend, mailgate, proxyclient
from harness.process import DEADLINE, Scratch, wait_until
from load_tool import Run, Sink

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BLOCK = 64 * KIB  # what a session keeps of one direction at the most
SANITIZED = mailgate.SLACK > 1
MAILLOAD = os.environ["MAILLOAD_BIN"]
CLIENT = "198.51.100.70"
scratch = None


def setUpModule():
    global scratch
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)


def scaled(count):
    return count // 10 if SANITIZED else count


class Situation(unittest.TestCase):
    def figure(self, what, value):
        test = self._testMethodName.removeprefix("test_").replace("_", " ")
        print(f"figure: {test}: {what}: {value}", flush=True)

    def sink(self, protocol):
        """The port of a mail server that keeps nothing."""
        sink = Sink(MAILLOAD, protocol)
        self.addCleanup(sink.stop)
        return int(sink.address.rsplit(":", 1)[1])

    def backend(self, behaviour):
        server = backend.Backend(behaviour).start()
        self.addCleanup(server.stop)
        return server.port

    def prepared(self, protocol, port, timeouts=None, gateway=None, rules=(), **listener):
        """One listener named `protocol` before one server; unless that is "smtp", one of this name before a sink for others."""
        listeners, upstreams = [mailgate.listener(protocol, "mail", **listener)], [mailgate.upstream("mail", port)]
        if protocol != "smtp":
            listeners.append(mailgate.listener("smtp", "others"))
            upstreams.append(mailgate.upstream("others", self.sink("smtp")))
        self.gateway = mailgate.Mailgate(scratch, listeners, upstreams, name=self._testMethodName, timeouts=timeouts,
                                         gateway={"drain_timeout": "5s", **(gateway or {})},
                                         log={"level": "information"}, admin={"socket": "mailgate.sock"})
        self.addCleanup(self.gateway.stop)
        self.gateway.write_config()
        for verdict, network in rules:
            self.gateway.access(verdict, network)

    def started(self, *arguments, **settings):
        self.prepared(*arguments, **settings)
        self.gateway.start()

    def connect(self, listener="smtp", client=CLIENT, header=None):
        header = proxyclient.header_v2(client) if header is None else header
        session = proxyclient.connect(self.gateway.port(listener), header, timeout=60)
        self.addCleanup(session.close)
        return session

    def connect_many(self, count, *arguments, **settings):
        return [self.connect(*arguments, **settings) for _ in range(count)]

    def load(self, workload, listener, **options):
        """Many clients; see tests/bench/README.md."""
        run = Run(MAILLOAD, workload, f"127.0.0.1:{self.gateway.port(listener)}", **options)
        self.addCleanup(run.stop)
        return run

    def status(self):
        code, status = self.gateway.ask("GET", "/v1/status")
        self.assertEqual(code, 200)
        return status

    def live(self):
        return self.status()["live"]

    def expect_nobody(self):
        wait_until(lambda: self.live() == 0, lambda: f"the end of {self.live()} sessions", interval=0.1)

    def rejections(self, reason):
        return sum(entry["count"] for entry in self.status()["totals"]["rejections"] if entry["reason"] == reason)

    def expect_standstill(self):
        """Nothing moves any more: mailgate has used no processor time for a while."""
        def still():
            used = self.gateway.cpu_seconds()
            time.sleep(0.3)
            return self.gateway.cpu_seconds() - used <= 0.01

        wait_until(still, "the gateway to stand still")

    def expect_memory(self, before, sessions, bound):
        """At most `bound` bytes more than before for each of the sessions."""
        growth = (self.gateway.memory_bytes() - before) / sessions
        self.figure(f"resident memory a session, of {sessions:,}", f"{growth / KIB:.1f} KiB")
        if not SANITIZED:
            self.assertLess(growth, bound)

    @contextlib.contextmanager
    def others(self, pause=0):
        """An ordinary client that does one transaction after the other meanwhile: each succeeds."""
        done, failures, over = [], [], threading.Event()

        def transactions():
            while not over.wait(pause) and not failures:
                begin = time.monotonic()
                try:
                    with proxyclient.SMTP(self.gateway.port("smtp"), proxyclient.header_v2(CLIENT), timeout=DEADLINE) as session:
                        session.sendmail("a@partner.example", ["b@example.net"], b"Subject: x\r\n\r\n")
                except Exception as error:  # told below, in the test's own thread
                    failures.append(error)
                done.append(time.monotonic() - begin)

        thread = threading.Thread(target=transactions)
        thread.start()
        try:
            yield done
            wait_until(lambda: len(done) >= 20 or failures, "some of its transactions")
        finally:
            over.set()
            thread.join()
        self.assertEqual(failures, [])
        self.figure("another client's transactions meanwhile", f"{len(done):,}, median {statistics.median(done) * 1e3:.1f} ms, "
                    f"slowest {max(done) * 1e3:.1f} ms")


class Many(Situation):
    def test_thousands_of_idle_sessions(self):
        self.started("imap", self.sink("imap"))
        count = scaled(min(9000, self.status()["max_sessions"] - 100))  # fewer where the descriptor limit is small
        warm = self.load("imap-idle", "imap", count=20)
        warm.wait_idle()
        self.assertEqual(warm.finish()["errors"], 0)
        self.expect_nobody()
        memory, descriptors = self.gateway.memory_bytes(), self.gateway.descriptors()

        begin = time.monotonic()
        run = self.load("imap-idle", "imap", count=count, concurrency=50)
        self.assertEqual(run.wait_idle(), count)
        self.figure("open at once", f"{self.live():,}, opened in {time.monotonic() - begin:.1f} s")
        self.assertEqual(self.live(), count)
        self.expect_standstill()
        self.expect_memory(memory, count, 4 * KIB)
        before, begin = self.gateway.cpu_seconds(), time.monotonic()
        time.sleep(2)  # the measurement itself
        share = (self.gateway.cpu_seconds() - before) / (time.monotonic() - begin)
        self.figure("processor time while all are idle", f"{share:.1%} of a core")
        self.assertLess(share, 0.2)

        begin = time.monotonic()
        with self.connect("imap") as one_more:
            self.assertRegex(proxyclient.read_line(one_more), rb"^\* OK ")
            one_more.sendall(b"a1 NOOP\r\n")
            self.assertRegex(proxyclient.read_line(one_more), rb"^a1 OK ")
        self.figure("one more client greeted and answered", f"{(time.monotonic() - begin) * 1e3:.1f} ms")
        with self.others():
            pass
        listed = self.gateway.run("sessions", "--live", "--json", "--limit", "10000").stdout.splitlines()
        self.assertGreaterEqual(len(listed), count)

        outcome = run.finish()  # every one of them says DONE and LOGOUT and hears the answers
        self.assertEqual((outcome["sessions"], outcome["errors"]), (count, 0), outcome["first_error"])
        self.expect_nobody()
        self.gateway.wait_events(20 + count + 1, "session.end")
        wait_until(lambda: self.gateway.descriptors() <= descriptors + 8, "the descriptors to be given back")


class Slow(Situation):
    def test_headers_byte_by_byte_end_at_the_time_limit(self):
        count = scaled(500)
        self.started("smtp", self.sink("smtp"))
        header = proxyclient.header_v2(CLIENT, tlvs=b"\xe0\x03\xe8" + bytes(1000))
        with self.others():
            begin = time.monotonic()
            ages = [end - begin for end in self.trickle(self.connect_many(count, header=b""), header)]
        self.figure("closed after", f"{min(ages):.2f} to {max(ages):.2f} s (proxy_header 3 s)")
        self.assertGreater(min(ages), 2.8)
        self.assertEqual(self.rejections("header_timeout"), count)
        self.expect_nobody()
        self.assertLess(len(self.gateway.events("proxy.rejected")), 50)

    def trickle(self, peers, data):
        """Sends each peer a byte of `data` in turn until the other side closes; when it closed each of them."""
        ends = []
        open_peers = {peer.fileno(): peer for peer in peers}
        poll = select.poll()
        for number in open_peers:
            poll.register(number, select.POLLIN)
        for byte in data:
            for number, _ in poll.poll(50):
                self.assertEqual(proxyclient.read_to_end(open_peers.pop(number)), b"")
                poll.unregister(number)
                ends.append(time.monotonic())
            if not open_peers:
                return ends
            for peer in open_peers.values():
                with contextlib.suppress(ConnectionError):  # closed since; the next turn reads that
                    peer.send(bytes([byte]))
        self.fail(f"{len(open_peers)} peers were never closed")

    def test_peers_that_never_send_a_header_end_at_the_time_limit(self):
        count = scaled(500)
        self.started("smtp", self.sink("smtp"))
        with self.others():
            for peer in self.connect_many(count, header=b""):
                self.assertEqual(proxyclient.read_to_end(peer), b"")
        self.assertEqual(self.rejections("no_header"), count)

    def test_peers_that_never_speak_end_at_the_idle_limit(self):
        count = scaled(500)
        self.started("tcp", self.sink("smtp"), timeouts={"idle": {"tcp": "2s"}})
        with self.others():
            for peer in self.connect_many(count, "tcp"):
                self.assertRegex(proxyclient.read_to_end(peer), rb"^220 ")
        self.gateway.wait_events(count, "session.end", listener="tcp", end="idle_timeout")

    def test_commands_byte_by_byte_are_answered(self):
        count = scaled(500)
        self.started("smtp", self.sink("smtp"))
        with self.others():
            peers = self.connect_many(count)
            for peer in peers:
                self.assertRegex(proxyclient.read_line(peer), rb"^220 ")
            for command in (b"NOOP\r\n", b"QUIT\r\n"):
                for byte in command:
                    for peer in peers:
                        peer.send(bytes([byte]))
                for peer in peers:
                    self.assertRegex(proxyclient.read_line(peer), rb"^2[25][01] ")
        self.expect_nobody()
        self.gateway.wait_events(count, "session.end", end="client_quit")


class Partial(Situation):
    """What a session holds of something that never comes to its end."""

    def test_half_a_header(self):
        count = scaled(2000)
        self.started("smtp", self.sink("smtp"), timeouts={"proxy_header": "30s"})
        half = proxyclient.header_v2(CLIENT, tlvs=b"\xe0\x0f\xa0" + bytes(4000))[:-1]
        self.expect_bounded(count, lambda: self.connect_many(count, header=half), BLOCK / 4)

    def test_half_a_line(self):
        count = scaled(2000)
        self.started("smtp", self.sink("smtp"))

        def half_lines():
            for peer in self.connect_many(count):
                proxyclient.read_line(peer)
                peer.sendall(b"EHLO " + b"a" * 10_000)

        self.expect_bounded(count, half_lines, 8 * KIB)

    def expect_bounded(self, count, fill, bound):
        with self.connect() as warm:
            proxyclient.read_line(warm)
        self.expect_nobody()
        before = self.gateway.memory_bytes()
        fill()
        wait_until(lambda: self.live() == count, lambda: f"{count} sessions, not {self.live()}", interval=0.1)
        self.expect_standstill()
        self.expect_memory(before, count, bound)
        with self.others():
            pass

    def test_a_line_without_end(self):
        size = GIB if not SANITIZED else 64 * MIB
        received = []
        self.started("smtp", self.backend(lambda connection: swallows(connection, received)))
        chunk = b"x" * MIB
        with self.connect() as client:
            proxyclient.read_line(client)
            before = self.gateway.memory_bytes()
            client.sendall(b"EHLO ")
            begin, peak = time.monotonic(), before
            for number in range(size // MIB):
                client.sendall(chunk)
                if number % 16 == 0:
                    peak = max(peak, self.gateway.memory_bytes())
            client.sendall(b"\r\n")
            self.assertRegex(proxyclient.read_line(client), rb"^500 5\.5\.2 .*line too long")
            took = time.monotonic() - begin
            client.sendall(b"QUIT\r\n")
            self.assertRegex(proxyclient.read_to_end(client), rb"^221 ")
        self.figure(f"{size // MIB:,} MiB", f"dropped in {took:.1f} s, resident memory grew by {(peak - before) / KIB:.0f} KiB")
        if not SANITIZED:
            self.assertLess(peak - before, 4 * MIB)
        self.assertEqual(sum(received), len(b"QUIT\r\n"), "no part of the line reaches the server")
        line = self.gateway.wait_event("session.end")
        self.assertEqual(line["bytes_in"], size + len(b"EHLO \r\nQUIT\r\n"))
        longest = max(map(len, self.gateway.log_text().splitlines()))
        self.figure("the longest log line", f"{longest} bytes")
        self.assertLessEqual(longest, 32 * KIB)

    def test_many_writers_that_never_end_a_line(self):
        count, size = scaled(200), 4 * MIB
        received = []
        self.started("smtp", self.backend(lambda connection: swallows(connection, received)))
        with self.connect() as warm:
            proxyclient.read_line(warm)
        before = self.gateway.memory_bytes()
        clients = self.connect_many(count)
        for client in clients:
            proxyclient.read_line(client)
        chunk = b"x" * (256 * KIB)
        for _ in range(size // len(chunk)):
            for client in clients:
                client.sendall(chunk)
        self.expect_memory(before, count, 2 * BLOCK)
        for client in clients:
            client.sendall(b"\r\n")
            self.assertRegex(proxyclient.read_line(client), rb"^500 5\.5\.2 .*line too long")
        self.assertEqual(sum(received), 0)


def swallows(connection, received):
    """Counts what it hears; answers what comes with a line end."""
    connection.send(b"220 fake.example.net ESMTP\r\n")
    while data := connection.recv(MIB):
        received.append(len(data))
        if data.endswith(b"QUIT\r\n"):
            connection.send(b"221 2.0.0 Bye\r\n")
            return
        if data.endswith(b"\n"):
            connection.send(b"250 2.0.0 Ok\r\n")


class StoppedReaders(Situation):
    """Somebody does not read: the other side is slowed down, the gateway keeps two blocks a session, and nobody else waits."""

    MEMORY = 2 * (BLOCK + 8 * KIB)
    SIZE = 64 * MIB

    def test_clients_that_stop_reading_a_download(self):
        count = scaled(50)
        self.started("imap", self.sink("imap"))
        before = self.gateway.memory_bytes()
        with self.others():
            clients = self.connect_many(count, "imap")
            for client in clients:
                client.sendall(b"a1 LOGIN bob secret\r\na2 FETCH 1 BODY.PEEK[]<0.%d>\r\n" % self.SIZE)
                proxyclient.read_until(client, rb"^a1 OK")
        self.expect_standstill()
        self.expect_memory(before, count, self.MEMORY)
        with clients[0] as client:
            client.sendall(b"a3 LOGOUT\r\n")
            self.assertGreater(len(proxyclient.read_to_end(client)), self.SIZE)
        for client in clients:
            client.close()
        self.expect_nobody()

    def test_servers_that_stop_reading(self):
        count = scaled(50)
        goes_on, received = threading.Event(), []

        def stops(connection):
            connection.send(b"220 fake.example.net ESMTP\r\n")
            goes_on.wait(120)
            while data := connection.recv(MIB):
                received.append(len(data))

        self.addCleanup(goes_on.set)
        self.started("tcp", self.backend(stops))
        before = self.gateway.memory_bytes()
        clients = self.connect_many(count, "tcp")
        for client in clients:
            proxyclient.read_line(client)
            client.setblocking(False)
        with self.others():
            sent = self.send_until_nobody_takes_more(clients)
        self.figure("under way in the kernel", f"{sent / count / MIB:.1f} MiB a session")
        self.expect_memory(before, count, self.MEMORY)
        goes_on.set()
        for client in clients:
            client.shutdown(socket.SHUT_WR)
        self.expect_nobody()
        self.assertEqual(sum(received), sent)

    def send_until_nobody_takes_more(self, clients):
        chunk, sent = b"x" * (256 * KIB), 0
        while select.select([], clients, [], 1)[1]:
            for client in clients:
                with contextlib.suppress(BlockingIOError):
                    sent += client.send(chunk)
        return sent


class Flood(Situation):
    """Clients that no rule matches and clients that one denies, as many as come; the admitted ones must not notice."""

    ADMITTED, DENIED, UNKNOWN = "198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24"

    def flooded(self, **settings):
        self.started("smtp", self.sink("smtp"), access="allowlist",
                     rules=(("allow", self.ADMITTED), ("deny", self.DENIED)), **settings)

    def clients(self, network):
        path = self.gateway.folder / f"{network.split('/')[0]}.txt"
        path.write_text(network + "\n")
        return path

    def serial(self, **options):
        """One admitted client after the other."""
        return self.load("smtp-serial", "smtp", clients=self.clients(self.ADMITTED), **options)

    def test_admitted_clients_are_served_in_a_flood_of_refused_ones(self):
        self.flooded()
        seconds = 5
        quiet = self.serial(count=scaled(1000)).finish()
        begin = time.monotonic()
        floods = [self.load("connect-quit", "smtp", clients=self.clients(network), count=10**9, duration=seconds)
                  for network in (self.DENIED, self.UNKNOWN)]
        flooded = self.serial(count=10**9, duration=seconds).finish()
        floods = [flood.finish() for flood in floods]
        took = time.monotonic() - begin
        self.assertEqual((quiet["errors"], flooded["errors"]), (0, 0), flooded["first_error"])
        self.assertGreater(flooded["sessions"], 1)
        for flood in floods:
            self.assertEqual(flood["sessions"], 0)
            self.assertRegex(flood["first_error"], "^step 0: 554 5[.]7[.]1 ")
        refused = sum(flood["errors"] for flood in floods)
        self.figure("refused by a deny rule and by the default", f"{refused / took:,.0f} a second")
        for what, outcome in (("before the flood", quiet), ("in the flood", flooded)):
            self.figure(f"an admitted client {what}", f"median {outcome['p50_ms']:.2f} ms, "
                        f"99 % within {outcome['p99_ms']:.2f} ms, {outcome['sessions']:,} transactions")
        self.assertEqual(self.status()["totals"]["refused"], refused)
        self.expect_nobody()

    def test_strangers_at_a_balancers_door_are_closed_and_hardly_logged(self):
        self.started("smtp", self.sink("smtp"), trusted=["127.0.0.1/32"])
        begin = time.monotonic()
        with self.others():
            flood = self.load("connect-quit", "smtp", count=scaled(20_000), concurrency=50, sources=16).finish()
        logged = len(self.gateway.events("proxy.rejected"))
        self.figure("closed", f"{flood['errors'] / (time.monotonic() - begin):,.0f} a second from 16 addresses; {logged} log lines")
        self.assertEqual((flood["sessions"], flood["errors"]), (0, scaled(20_000)))
        self.assertEqual(self.rejections("untrusted_peer"), flood["errors"])
        self.assertLess(logged, 1000)

    def test_refused_clients_that_stay_take_no_admitted_clients_place(self):
        self.flooded(gateway={"max_sessions": 80})
        for number in range(400):
            client = ("192.0.2.7", "203.0.113.7")[number % 2]
            self.assertRegex(proxyclient.read_line(self.connect(client=client)), rb"^554 5[.]7[.]1 ")
        with self.others():
            inside = self.connect_many(70)
            for session in inside:
                self.assertRegex(proxyclient.read_line(session), rb"^220 ")
        self.figure("kept of 400, with max_sessions = 80", self.live() - len(inside))

    def test_refused_clients_that_send_without_end_are_cut_off(self):
        self.flooded()
        chunk = b"x" * MIB
        ended = []

        def pours(client):
            sent = 0
            with contextlib.suppress(ConnectionError):
                while True:
                    sent += client.send(chunk)
            ended.append(sent)

        before = self.gateway.cpu_seconds()
        with self.others():
            writers = [threading.Thread(target=pours, args=(client,)) for client in self.connect_many(8, client="192.0.2.7")]
            for writer in writers:
                writer.start()
            wait_until(lambda: len(ended) == len(writers), "all of them to be cut off")
            for writer in writers:
                writer.join()
        self.figure(f"{len(writers)} of them", f"cut off after {max(ended) / MIB:,.0f} MiB at the most, "
                    f"{self.gateway.cpu_seconds() - before:.1f} s of processor time for all")
        self.expect_nobody()


class Rules(Situation):
    """A large table is replaced while clients come."""

    COUNT = 1_000_000 if not SANITIZED else 20_000
    OLD, NEW, BOTH = "10.0.0.5", "11.0.0.5", CLIENT

    @classmethod
    def networks(cls, first):
        for place in range(cls.COUNT):
            number = place * 7919 % cls.COUNT  # in no order
            yield f"{first}.{number >> 12}.{number >> 4 & 255}.{(number & 15) * 16}/28"

    def test_a_million_rules_replaced_under_load(self):
        self.start_with_rules()
        self.figure("rules in the table", f"{self.status()['rules']['count']:,}, {self.status()['rules']['bytes'] / MIB:.1f} MiB")
        self.change_one_rule()
        memory = self.gateway.memory_bytes()
        verdicts = {self.OLD: [], self.NEW: []}
        listing, before = self.listing(), self.rules_version()
        with self.others(pause=0.01), self.asking(verdicts), concurrent.futures.ThreadPoolExecutor() as pool:
            begin = time.monotonic()
            replacing = pool.submit(self.gateway.run, "access", "import", "--replace", "--format", "mailgate", "--verdict", "allow",
                                    str(listing), timeout=240)
            wait_until(lambda: self.rules_version() != before or replacing.done(), "the new rules", deadline=240)
            committed = time.monotonic()
            wait_until(lambda: verdicts[self.NEW][-1], "the new rules to be in force")
            in_force = time.monotonic()
            wait_until(lambda: not verdicts[self.OLD][-1], "the old rules to be gone")
            self.assertEqual(replacing.result().returncode, 0, replacing.result().stderr)
        self.figure("all replaced", f"committed after {committed - begin:.1f} s, "
                    f"in force {in_force - committed:.2f} s after that")
        for client, course in verdicts.items():
            self.assertEqual(course, sorted(course, reverse=client == self.OLD), f"{client} went back and forth")
        self.assertEqual(self.status()["rules"]["count"], self.COUNT + 1)
        self.expect_standstill()
        grown = self.gateway.memory_bytes() - memory
        self.figure("resident memory with the other table", f"{grown / MIB:+.1f} MiB")
        if not SANITIZED:
            self.assertLess(grown, 64 * MIB)
        self.expect_nobody()

    def start_with_rules(self):
        self.prepared("smtp", self.sink("smtp"), access="allowlist", rules=(("allow", self.BOTH),))
        with contextlib.closing(sqlite3.connect(self.gateway.database)) as database, database:
            database.execute("PRAGMA cache_size = -262144")  # a quarter of the time
            database.executemany("INSERT INTO access_rule(network, verdict) VALUES (?, 'allow')",
                                 ((network,) for network in self.networks(10)))
        self.gateway.start()

    def rules_version(self):
        with contextlib.closing(sqlite3.connect(self.gateway.database, timeout=10)) as database:
            return database.execute("SELECT rules_version FROM access_meta").fetchone()[0]

    def listing(self):
        path = self.gateway.folder / "rules.txt"
        path.write_text("\n".join([f"allow {self.BOTH}", *self.networks(11)]) + "\n")
        return path

    def admitted(self, client):
        with proxyclient.connect(self.gateway.port("smtp"), proxyclient.header_v2(client)) as session:
            line = proxyclient.read_line(session)
        self.assertRegex(line, rb"^(220|554 5[.]7[.]1) ")
        return line.startswith(b"220")

    def change_one_rule(self):
        """One rule more among all the others, several times."""
        waits = []
        with contextlib.closing(sqlite3.connect(self.gateway.database, isolation_level=None, timeout=10)) as database:
            for number in range(1, 6):
                client = f"192.0.2.{number}"
                database.execute("INSERT INTO access_rule(network, verdict) VALUES (?, 'allow')", (client,))
                begin = time.monotonic()
                wait_until(lambda: self.admitted(client), "the rule to be in force")
                waits.append(time.monotonic() - begin)
        self.figure("one rule changed among them", f"in force {min(waits):.2f} to {max(waits):.2f} s after the commit")

    @contextlib.contextmanager
    def asking(self, verdicts):
        """Asks for each client, over and over, whether it is admitted."""
        over, failures = threading.Event(), []

        def ask():
            try:
                while not over.wait(0.01):
                    for client, course in verdicts.items():
                        course.append(self.admitted(client))
            except Exception as error:  # told below, in the test's own thread
                failures.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        self.assertEqual(failures, [])
