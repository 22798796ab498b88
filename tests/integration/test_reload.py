# SPDX-License-Identifier: Apache-2.0
"""A reload is a transaction: it waits for nobody who matters, is in force wholly or not at all, and measures go on."""

import concurrent.futures
import itertools
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

from harness import backend, mailgate, proxyclient
from harness.ports import reserve_port
from harness.process import Scratch, wait_until

ADMIN = {"socket": "mailgate.sock"}
CHECKED = {"check": True, "interval": "200ms", "check_timeout": "1s"}
MUTE = "127.0.0.154"  # where a name server listens and never answers

scratch = None
numbers = itertools.count()


def setUpModule():
    global scratch
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)


def checked_smtp(connection, greeting=b"220 fake.example.net ESMTP\r\n"):
    """Takes any header in one segment, a check's too."""
    connection.recv()
    backend.smtp(connection, greeting)


class Reloaded(unittest.TestCase):
    def serve(self, behaviour, **arguments):
        server = backend.Backend(behaviour, reads_header=False, **arguments).start()
        self.addCleanup(server.stop)
        return server

    def make(self, upstreams, listeners=None, **settings):
        return mailgate.Mailgate(scratch, listeners or [mailgate.listener("smtp", "mx")], upstreams,
                                 name=f"reload{next(numbers)}", admin=ADMIN, **settings)

    def start(self, *arguments, **settings):
        gateway = self.make(*arguments, **settings)
        gateway.start()
        self.addCleanup(gateway.stop)
        wait_until(gateway.socket.exists, "the admin socket")
        return gateway

    def manage(self, gateway, **environment):
        """Plays the service manager for it; before its start."""
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(str(gateway.folder / "notify"))
        self.manager.settimeout(30)
        os.chmod(gateway.folder / "notify", 0o666)
        gateway.process.env = {**os.environ, "NOTIFY_SOCKET": str(gateway.folder / "notify"), **environment}

    def hear(self, word):
        while not any(line.startswith(word) for line in self.manager.recv(4096).decode().splitlines()):
            pass

    def servers(self, gateway):
        return {row["server"]: row for row in gateway.ask("GET", "/v1/status")[1]["servers"]}


@unittest.skipUnless(os.geteuid() == 0, "needs a mount namespace")
class MuteNameServers(Reloaded):
    """Of two name servers none answers: a look-up of one name takes getaddrinfo(3) 20 s."""

    def in_an_outage(self):
        server = self.serve(checked_smtp)
        settings = mailgate.upstream("mx", server.port)
        settings["server"] += [{"name": f"named{number}", "address": f"mx{number}.example.org:25"} for number in range(4)]
        gateway = self.make([settings])
        dead = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(dead.close)
        dead.bind((MUTE, 53))
        resolv = gateway.folder / "resolv.conf"
        resolv.write_text(f"nameserver {MUTE}\nnameserver {MUTE}\n")
        self.manage(gateway, WATCHDOG_USEC="4000000")
        gateway.process.argv = ["unshare", "-m", "sh", "-c", f'mount --bind {resolv} /etc/resolv.conf && WATCHDOG_PID=$$ exec "$@"',
                                "sh", *gateway.process.argv]
        self.begun = time.monotonic()
        gateway.start()
        self.addCleanup(gateway.stop)
        return gateway

    def test_neither_the_start_nor_the_watchdog_nor_the_stop_waits_for_them(self):
        gateway = self.in_an_outage()
        self.hear("READY=1")
        self.assertLess(time.monotonic() - self.begun, 10 * mailgate.SLACK)
        with proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("198.51.100.7")) as client:
            self.assertIn(b"220 fake", proxyclient.read_line(client))
        gateway.process.signal(signal.SIGHUP)
        for _ in range(4):  # a quarter of WATCHDOG_USEC apart
            before = time.monotonic()
            self.hear("WATCHDOG=1")
            self.assertLess(time.monotonic() - before, 2.5 * mailgate.SLACK)
        self.assertEqual(gateway.wait_event("config.reloaded")["changes"], [])
        gateway.process.signal(signal.SIGHUP)
        time.sleep(0.3)  # into its look-ups; any moment is right
        before = time.monotonic()
        gateway.process.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertLess(time.monotonic() - before, 2 * mailgate.SLACK)


class AllOrNothing(Reloaded):
    @unittest.skipUnless(os.geteuid() == 0, "runs the daemon as another user")
    def test_without_threads_to_be_had_a_reload_is_in_force_wholly_or_not_at_all(self):
        old, new = self.serve(checked_smtp), self.serve(lambda c: checked_smtp(c, b"220 new\r\n"))
        gateway = self.make([mailgate.upstream("mx", old.port, **CHECKED)], gateway={"user": "daemon"})
        os.chmod(gateway.folder.parent, 0o755)
        shutil.chown(gateway.folder, "daemon")
        self.manage(gateway)
        gateway.start()
        self.addCleanup(gateway.stop)
        self.hear("READY=1")  # it has the threads that it needs by itself
        second = mailgate.listener("smtp", "mx")["address"]
        listener = gateway.listeners[0]

        def limit(number):
            subprocess.run(["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", "prlimit", f"--nproc={number}:",
                            f"--pid={gateway.process.pid}"], check=True)

        [most] = [line.split()[3] for line in pathlib.Path(f"/proc/{gateway.process.pid}/limits").read_text().splitlines()
                  if line.startswith("Max processes")]
        limit(1)
        # A name needs a thread that watches it; a renamed listener a thread that watches its rules.
        for settings, listeners in (
                (mailgate.upstream("mx", new.port, host="localhost", **CHECKED), [{**listener, "address": [listener["address"], second]}]),
                (mailgate.upstream("mx", new.port, **CHECKED), [{**listener, "name": "renamed", "address": [listener["address"], second]}])):
            gateway.upstreams, gateway.listeners = [settings], listeners
            gateway.write_config()
            self.assertEqual(gateway.run("reload").returncode, 1)
            [row] = self.servers(gateway).values()
            self.assertEqual(row["address"], f"127.0.0.1:{old.port}")
            asked = len(old.connections)
            wait_until(lambda: len(old.connections) >= asked + 3, "checks of the old server")
            self.assertEqual(len(new.connections), 0)
            with self.assertRaises(ConnectionRefusedError):
                proxyclient.connect(int(second.rsplit(":", 1)[1]))
        limit(most)
        self.assertEqual(gateway.run("reload").returncode, 0)
        wait_until(lambda: len(new.connections) >= 3, "checks of the new server")
        with proxyclient.connect(int(second.rsplit(":", 1)[1]), proxyclient.header_v2("198.51.100.7")) as client:
            self.assertEqual(proxyclient.read_line(client), b"220 new\r\n")
        self.wildcards_come_and_go(gateway, int(second.rsplit(":", 1)[1]))

    def wildcards_come_and_go(self, gateway, port):
        """Its own sockets, opened as root or as the user whom it became, are not in its way, and nobody is refused meanwhile."""
        over, greeted, reset = threading.Event(), [], []

        def connect_all_the_time():
            while not over.is_set():
                try:
                    with proxyclient.connect(port, proxyclient.header_v2("198.51.100.7"), address="127.0.0.2") as client:
                        greeted.append(proxyclient.read_line(client))
                except (ConnectionResetError, BrokenPipeError) as error:  # between the last accept and the close
                    reset.append(error)
        with concurrent.futures.ThreadPoolExecutor(2) as clients:
            running = []
            try:
                for addresses in (["127.0.0.2"], ["0.0.0.0"], ["127.0.0.2", "127.0.0.1"], ["[::]"], ["[::]", "0.0.0.0"], ["[::]"], ["127.0.0.2"]):
                    gateway.listeners[0]["address"] = [f"{address}:{port}" for address in addresses]
                    gateway.write_config()
                    done = gateway.run("reload")
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                    running = running or [clients.submit(connect_all_the_time) for _ in range(2)]
                    served = len(greeted)
                    wait_until(lambda served=served: len(greeted) >= served + 4 or any(one.done() for one in running), "clients")
            finally:
                over.set()
        for one in running:
            one.result()  # refused, or in time not answered
        self.assertEqual(set(greeted), {b"220 new\r\n"})
        self.assertLess(len(reset), len(greeted) / 2)

    def test_a_reload_needs_no_thread_where_nothing_new_is_watched(self):
        old, new = self.serve(checked_smtp), self.serve(lambda c: checked_smtp(c, b"220 new\r\n"))
        gateway = self.make([mailgate.upstream("mx", old.port, **CHECKED)])
        self.manage(gateway)
        gateway.start()
        self.addCleanup(gateway.stop)
        self.hear("READY=1")  # all its threads have begun
        tasks = f"/proc/{gateway.process.pid}/task"
        before = set(os.listdir(tasks))
        gateway.upstreams = [mailgate.upstream("mx", new.port, **CHECKED)]
        gateway.write_config()
        self.assertEqual(gateway.run("reload").returncode, 0)
        wait_until(lambda: len(new.connections) >= 3, "checks of the new server")
        # The admin server's own come and go.
        names = [pathlib.Path(f"{tasks}/{task}/comm").read_text().strip() for task in set(os.listdir(tasks)) - before]
        self.assertLessEqual(len(names), 2, names)


class Health(Reloaded):
    def test_a_session_of_before_the_reload_takes_no_server_down(self):
        silent = threading.Event()

        def behaviour(connection):
            header = connection.recv()
            if header[12:13] == b"\x21":  # PROXY: a client; a check says LOCAL
                silent.wait(30)
                return
            backend.smtp(connection)
        server = self.serve(behaviour)
        gateway = self.start([mailgate.upstream("mx", server.port, **CHECKED)])
        with proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("198.51.100.7")) as waiting:
            wait_until(lambda: gateway.ask("GET", "/v1/status")[1]["live"] == 1, "the session")
            self.assertEqual(gateway.ask("POST", "/v1/reload"), (200, {"ok": True, "detail": "nothing has changed"}))
            silent.set()
            self.assertRegex(proxyclient.read_to_end(waiting), rb"^421 ")
        self.assertEqual(gateway.events("server.down"), [])
        self.assertTrue(self.servers(gateway)["mx1"]["healthy"])

    def test_a_session_of_before_the_reload_raises_no_server_that_checks_hold_down(self):
        greets = threading.Event()

        def behaviour(connection):
            header = connection.recv()
            if header[12:13] != b"\x21":
                connection.send(b"421 4.3.2 down for checks\r\n")
                return
            greets.wait(30)
            backend.smtp(connection)
        server = self.serve(behaviour)
        gateway = self.start([mailgate.upstream("mx", server.port, **{**CHECKED, "rise": 100})])
        gateway.wait_event("server.down")
        with proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("198.51.100.7")) as waiting:
            wait_until(lambda: gateway.ask("GET", "/v1/status")[1]["live"] == 1, "the session")
            self.assertEqual(gateway.ask("POST", "/v1/reload")[0], 200)
            greets.set()
            self.assertIn(b"220 fake", proxyclient.read_line(waiting))
        self.assertEqual(gateway.events("server.up"), [])
        row = self.servers(gateway)["mx1"]
        self.assertFalse(row["healthy"])
        self.assertIn("421 4.3.2 down for checks", row["reason"])


class Reported(Reloaded):
    def test_every_key_that_changed(self):
        server = self.serve(checked_smtp)
        gateway = self.start([mailgate.upstream("mx", server.port, check_protocol="smtp")])
        gateway.upstreams[0].update(check_protocol="tcp")
        gateway.write_config()
        self.assertIn("upstream mx: check_protocol", gateway.run("reload").stdout)
        gateway.upstreams[0].update(balance="source", fall=3, interval="9s")
        gateway.write_config()
        self.assertEqual(gateway.run("reload").returncode, 0)
        self.assertEqual(gateway.wait_events(2, "config.reloaded")[-1]["changes"], ["upstream mx: balance, interval, fall"])
