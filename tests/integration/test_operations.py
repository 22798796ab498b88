# SPDX-License-Identifier: Apache-2.0
"""An administrator at work: reload, drain, stop, restart with socket activation, sessions ended by hand."""

import contextlib
import json
import os
import signal
import socket
import ssl
import threading
import time
import unittest

from harness import backend, mailgate, proxyclient
from harness.dovecot import USERS, Dovecot
from harness.process import Scratch, is_listening, make_certificate, wait_until

ADMIN = {"socket": "mailgate.sock"}
HEADER = proxyclient.header_v2("198.51.100.7")
CHECKED = {"check": True, "interval": "200ms", "check_timeout": "1s"}

scratch = dovecot = None


def setUpModule():
    global scratch, dovecot
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    dovecot = scratch.start(Dovecot(scratch))


class Talk:
    """A client in a session, line by line; `greeting` is what the server said first."""

    def __init__(self, port, header=HEADER):
        self.socket = proxyclient.connect(port, header)
        try:
            self.greeting = proxyclient.read_line(self.socket)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, line):
        """The reply to an SMTP command."""
        self.socket.sendall(line + b"\r\n")
        return proxyclient.read_reply(self.socket)

    def begin_transaction(self):
        self.say(b"EHLO client.example.org")
        self.say(b"MAIL FROM:<a@example.org>")
        self.say(b"RCPT TO:<b@example.net>")

    def finish_transaction(self):
        """The reply to the message."""
        assert self.say(b"DATA").startswith(b"354"), "no 354"
        return self.say(b"Subject: drained\r\n\r\nhello\r\n.")

    def log_in(self):
        self.socket.sendall(f"a LOGIN alice {USERS['alice']}\r\n".encode())
        assert b"a OK" in proxyclient.read_until(self.socket, rb"^a "), "no login"

    def rest(self):
        return proxyclient.read_to_end(self.socket)


class Operated(unittest.TestCase):
    """Gateways of a test's own, and scripted SMTP servers that say their name in the greeting."""

    def serve(self, name, port=None, behaviour=backend.smtp, reads_header=True):
        server = backend.Backend(lambda connection: behaviour(connection, f"220 {name} ESMTP\r\n".encode()),
                                 reads_header=reads_header, port=port).start()
        self.addCleanup(server.stop)
        return server

    def start(self, listeners, upstreams, **settings):
        gateway = mailgate.Mailgate(scratch, listeners, upstreams, name=self.id().rsplit(".", 1)[1], admin=ADMIN, **settings)
        gateway.start()
        self.addCleanup(gateway.stop)
        wait_until(gateway.socket.exists, "the admin socket")
        return gateway

    def talk(self, port, greeting=b""):
        """A session, with the server that greets like this."""
        while True:
            session = Talk(port)
            if greeting in session.greeting:
                self.addCleanup(session.socket.close)
                return session
            session.socket.close()

    def order(self, gateway, *arguments):
        """`mailgate …`, which must succeed."""
        done = gateway.run(*arguments)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout


class Load:
    """Threads that run sessions one after another until the end; `failed` tells which went wrong and how."""

    def __init__(self, session, threads=4):
        self.done = 0
        self.failed = []
        self._session = session
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self):
        while not self._over.is_set():
            try:
                self._session()
                self.done += 1
            except (OSError, AssertionError) as error:
                self.failed.append(repr(error))

    def more(self, count):
        """Waits until that many sessions more are over."""
        before = self.done
        wait_until(lambda: self.done >= before + count, lambda: f"{count} sessions more; failed: {self.failed}")


class Reload(Operated):
    def test_listeners_come_go_and_change_while_sessions_stay(self):
        mx, other = self.serve("mx"), self.serve("other")
        names = ("moved", "closed", "gone")
        gateway = self.start([mailgate.listener("smtp", "mx", name=name) for name in names],
                             [mailgate.upstream("mx", mx.port), mailgate.upstream("other", other.port, check_protocol="smtp")])
        before = {name: self.talk(gateway.port(name)) for name in names}
        gone = gateway.port("gone")
        moved, closed, _ = gateway.listeners
        moved["upstream"], closed["access"] = "other", "allowlist"
        gateway.listeners[2] = mailgate.listener("smtp", "mx", name="added")
        gateway.write_config()
        self.order(gateway, "reload")
        self.assertEqual(set(gateway.wait_event("config.reloaded")["changes"]),
                         {"listener moved: upstream", "listener closed: access", "listener gone: removed", "listener added: added"})
        self.assertIn(b"220 other", self.talk(gateway.port("moved")).greeting)
        self.assertIn(b"220 mx", self.talk(gateway.port("added")).greeting)
        self.assertRegex(self.talk(gateway.port("closed")).greeting, rb"^554 ")
        with self.assertRaises(ConnectionRefusedError):
            proxyclient.connect(gone)
        for name, session in before.items():
            self.assertTrue(session.say(b"NOOP").startswith(b"250"), name)

    def test_an_address_moves_to_another_listener_and_goes_on(self):
        mx, other = self.serve("mx"), self.serve("other")
        first = mailgate.listener("smtp", "mx", name="first")
        gateway = self.start([first, mailgate.listener("smtp", "mx", name="second")],
                             [mailgate.upstream("mx", mx.port), mailgate.upstream("other", other.port)])
        gateway.listeners[0] = mailgate.listener("smtp", "other", name="third", port=gateway.port("first"))
        gateway.listeners.reverse()
        gateway.write_config()
        self.order(gateway, "reload")
        self.assertIn(b"220 other", self.talk(gateway.port("third")).greeting)
        self.assertIn(b"220 mx", self.talk(gateway.port("second")).greeting)

    def test_hup_is_a_reload(self):
        mx = self.serve("mx")
        gateway = self.start([mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", mx.port)])
        gateway.listeners.append(mailgate.listener("smtp", "mx", name="added"))
        gateway.write_config()
        gateway.process.signal(signal.SIGHUP)
        self.assertEqual(gateway.wait_event("config.reloaded")["changes"], ["listener added: added"])
        self.assertIn(b"220 mx", self.talk(gateway.port("added")).greeting)

    def test_fewer_sessions(self):
        mx = self.serve("mx")
        gateway = self.start([mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", mx.port)])
        self.talk(gateway.port("smtp"))
        gateway.gateway["max_sessions"] = 1
        gateway.write_config()
        self.order(gateway, "reload")
        self.assertEqual(gateway.wait_event("config.reloaded")["changes"], ["gateway.max_sessions"])
        self.assertRegex(self.talk(gateway.port("smtp")).greeting, rb"^421 ")
        self.assertEqual(gateway.wait_event("session.refused")["reason"], "gateway_full")

    def test_the_log_changes_its_file_its_format_and_its_level(self):
        mx = self.serve("mx")
        gateway = self.start([mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", mx.port)])
        old, new = gateway.log_file, gateway.folder / "second.log"
        gateway.log_settings.update(target="file:second.log", format="logfmt")
        gateway.write_config()
        self.order(gateway, "reload")
        with Talk(gateway.port("smtp")):
            pass
        wait_until(lambda: new.exists() and "event=session.end" in new.read_text(), "a session in the new file")
        self.assertIn("event=config.reloaded", new.read_text())
        self.assertNotIn("session.end", old.read_text())
        gateway.log_settings.update(target="file:third.log", level="warning")
        gateway.write_config()
        self.order(gateway, "reload")
        third = gateway.folder / "third.log"
        with Talk(gateway.port("smtp")):
            pass
        with proxyclient.connect(gateway.port("smtp"), b"PROXY nonsense\r\n") as rejected:
            proxyclient.read_to_end(rejected)
        wait_until(lambda: third.exists() and "event=proxy.rejected" in third.read_text(), "a warning in the third file")
        self.assertNotIn("session.end", third.read_text())

    def test_sessions_outlive_twenty_reloads_and_no_connection_fails(self):
        mx = self.serve("mx")
        gateway = self.start([mailgate.listener("smtp", "mx"), mailgate.listener("imap", "store")],
                             [mailgate.upstream("mx", mx.port), mailgate.upstream("store", dovecot.proxy_port["imap"])])
        smtp, imap = self.talk(gateway.port("smtp")), self.talk(gateway.port("imap"))
        smtp.begin_transaction()
        imap.log_in()
        imap.socket.sendall(b"b SELECT INBOX\r\n")
        proxyclient.read_until(imap.socket, rb"^b OK")
        imap.socket.sendall(b"c IDLE\r\n")
        proxyclient.read_until(imap.socket, rb"^\+ ")

        def short_session():
            with Talk(gateway.port("smtp")) as session:
                assert session.greeting.startswith(b"220"), session.greeting

        with Load(short_session) as load:
            for turn in range(20):
                gateway.gateway["max_sessions"] = 1000 + turn
                gateway.listeners[2:] = [mailgate.listener("smtp", "mx", name="sometimes")] if turn % 2 else []
                gateway.write_config()
                self.order(gateway, "reload")
                load.more(4)
        self.assertEqual(load.failed, [])
        gateway.wait_events(20, "config.reloaded")
        self.assertTrue(smtp.finish_transaction().startswith(b"250"))
        dovecot.deliver("alice", b"Subject: new\r\n\r\nhello\r\n")
        proxyclient.read_until(imap.socket, rb"^\* 1 EXISTS")
        imap.socket.sendall(b"DONE\r\nd LOGOUT\r\n")
        self.assertIn(b"d OK", imap.rest())

    def test_what_cannot_be_in_force_changes_nothing(self):
        mx = self.serve("mx")
        gateway = self.start([mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", mx.port)])
        added = mailgate.listener("smtp", "mx", name="added")
        taken = mailgate.listener("smtp", "mx", name="taken", port=mx.port)
        cases = [("a broken file", [added], {}, "colour = 1\n", 78, "colour"),
                 ("an address that is taken", [added, taken], {}, "", 1, "cannot listen on"),
                 ("a key for a restart", [added], {"workers": 3}, "", 1, "gateway.workers")]
        for what, listeners, settings, broken, code, word in cases:
            with self.subTest(what):
                failures = len(gateway.events("config.failed"))
                kept = (list(gateway.listeners), dict(gateway.gateway))
                gateway.listeners += listeners
                gateway.gateway.update(settings)
                if taken in listeners:  # not by one of the file's own servers, which the file alone gives away
                    taker = self.serve("taker")
                    taken["address"] = f"127.0.0.1:{taker.port}"
                gateway.write_config()
                gateway.config.write_text(broken + gateway.config.read_text())
                done = gateway.run("reload")
                self.assertEqual(done.returncode, code, done.stdout + done.stderr)
                self.assertIn(word, done.stderr)
                status, answer = gateway.ask("POST", "/v1/reload")
                self.assertEqual(status, 409)
                self.assertIn(word, answer["error"])
                gateway.process.signal(signal.SIGHUP)
                asked = 2 if broken else 3  # the command reads the file itself and stops there
                for line in gateway.wait_events(failures + asked, "config.failed")[failures:]:
                    self.assertIn(word, line["detail"])
                self.assertIn(b"220 mx", self.talk(gateway.port("smtp")).greeting)
                with self.assertRaises(ConnectionRefusedError):
                    proxyclient.connect(gateway.port("added"))
                gateway.listeners, gateway.gateway = kept
        self.assertEqual(gateway.events("config.reloaded"), [])
        gateway.write_config()
        self.order(gateway, "reload")


def starttls(connection, greeting):
    """An SMTP server that takes STARTTLS and then says back what it hears."""
    connection.send(greeting)
    connection.read_line()
    connection.send(b"220 go ahead\r\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(scratch.path))
    with contextlib.suppress(OSError), context.wrap_socket(connection.socket, server_side=True) as inner:
        while data := inner.recv(4096):
            inner.sendall(data)


class Drain(Operated):
    def start_two(self, drain_timeout="60s", behaviour=backend.smtp):
        servers = [self.serve(name, behaviour=behaviour) for name in ("one", "two")]
        return self.start([mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", *(server.port for server in servers))],
                          gateway={"drain_timeout": drain_timeout})

    def greetings(self, gateway, count=6):
        seen = []
        for _ in range(count):
            with Talk(gateway.port("smtp")) as session:
                seen.append(session.greeting.split()[1])
        return set(seen)

    def test_new_sessions_avoid_a_drained_server_until_it_is_ready(self):
        gateway = self.start_two()
        self.assertEqual(self.greetings(gateway), {b"one", b"two"})
        self.order(gateway, "server", "drain", "mx/mx1")
        self.assertEqual(self.greetings(gateway), {b"two"})
        server = json.loads(self.order(gateway, "status", "--json"))["servers"][0]
        self.assertEqual((server["server"], server["draining"], server["healthy"]), ("mx1", True, True))
        self.order(gateway, "reload")
        self.assertEqual(self.greetings(gateway), {b"two"}, "the admin state outlives a reload")
        self.order(gateway, "server", "ready", "mx/mx1")
        self.assertEqual(self.greetings(gateway), {b"one", b"two"})

    def test_a_machine_is_drained_over_a_restart(self):
        servers = [self.serve(name, behaviour=backend.smtp) for name in ("one", "two")]
        ports = [server.port for server in servers]
        upstreams = [mailgate.upstream("mx", *ports), mailgate.upstream("submission", *ports)]
        for upstream in upstreams:
            for number, server in enumerate(upstream["server"], 1):
                server["name"] = f"host{number}"
        gateway = self.start([mailgate.listener("smtp", "mx"), mailgate.listener("smtp", "submission", name="submission")], upstreams)
        said = self.order(gateway, "server", "drain", "*/host1")
        self.assertEqual([line.split()[0] for line in said.splitlines()], ["mx/host1", "submission/host1"])
        self.assertNotIn("no other server", said)
        server = gateway.ask("GET", "/v1/status")[1]["servers"][0]
        since = server["drained_since"]
        self.assertEqual((server["server"], server["drained_by"]), ("host1", "root"))
        self.assertIn("no other server of mx takes sessions", self.order(gateway, "server", "drain", "mx/host2"))
        self.order(gateway, "server", "ready", "mx/host2")
        for stop in (gateway.stop, gateway.kill):
            stop()
            started = len(gateway.events("gateway.start"))
            gateway.launch()
            gateway.wait_events(started + 1, "gateway.start")
            wait_until(gateway.socket.exists, "the admin socket")
            self.assertEqual(self.greetings(gateway), {b"two"})
        self.assertTrue(gateway.wait_event("config.warning", detail=f"server mx/host1 is still drained since {since} by root: mailgate server ready mx/host1"))
        self.order(gateway, "server", "ready", "--host", "127.0.0.1")
        self.assertEqual(self.greetings(gateway), {b"one", b"two"})

    def test_smtp_ends_at_once_or_after_the_transaction(self):
        gateway = self.start_two()
        idle, busy, other = (self.talk(gateway.port("smtp"), name) for name in (b"one", b"one", b"two"))
        busy.begin_transaction()
        other.begin_transaction()
        self.order(gateway, "server", "drain", "mx/mx1")
        self.assertRegex(idle.rest(), rb"^421 [^\r\n]*\r\n$")
        self.assertRegex(busy.finish_transaction(), rb"^250 ")
        self.assertRegex(busy.rest(), rb"^421 [^\r\n]*\r\n$")
        self.assertRegex(other.finish_transaction(), rb"^250 ")
        self.assertRegex(other.say(b"QUIT"), rb"^221 ")
        gateway.wait_event("session.end", end="client_quit")
        self.assertEqual(sorted(len(line["mail"]) for line in gateway.wait_events(2, "session.end", end="drained")), [0, 1])

    def test_imap_sessions_get_bye_one_by_one(self):
        gateway = self.start([mailgate.listener("imap", "store")], [mailgate.upstream("store", dovecot.proxy_port["imap"])],
                             gateway={"drain_timeout": "4s", "workers": 1})
        users = [self.talk(gateway.port("imap")) for _ in range(2)]
        for session in users:
            session.log_in()
        before_login = [self.talk(gateway.port("imap")) for _ in range(8)]
        said, ended = {}, {}

        def listen(session):
            said[session] = session.rest()
            ended[session] = time.monotonic()

        threads = [threading.Thread(target=listen, args=(session,)) for session in (*users, *before_login)]
        for thread in threads:
            thread.start()
        self.order(gateway, "server", "drain", "store/store1")
        for thread in threads:
            thread.join(30)
        for session in before_login:
            self.assertRegex(said[session], rb"^\* BYE [^\r\n]*\r\n$")
        byes = [ended[session] for session in before_login]
        self.assertGreater(max(byes) - min(byes), 1, "spread over a good part of the 4 s")
        # After a login nobody knows where a line of ours would fit: these go on to the end of the time.
        self.assertEqual([said[session] for session in users], [b"", b""])
        self.assertGreater(min(ended[session] for session in users), max(byes))
        self.assertEqual({line["end"] for line in gateway.wait_events(10, "session.end")}, {"drained"})

    def test_what_is_encrypted_goes_on_until_the_time_is_over(self):
        gateway = self.start_two(drain_timeout="3s", behaviour=starttls)
        session = self.talk(gateway.port("smtp"), b"one")
        session.say(b"STARTTLS")
        with ssl._create_unverified_context().wrap_socket(session.socket) as inner:
            self.order(gateway, "server", "drain", "mx/mx1")
            inner.sendall(b"still here")
            self.assertEqual(inner.recv(4096), b"still here")
            self.assertEqual(gateway.events("session.end", tls={"mode": "starttls"}), [])
            with contextlib.suppress(OSError):
                self.assertEqual(inner.recv(4096), b"")
        [line] = gateway.wait_events(1, "session.end", tls={"mode": "starttls"})
        self.assertEqual(line["end"], "drained")
        self.assertGreaterEqual(line["duration_ms"], 2900)

    def test_ready_spares_those_that_were_to_end(self):
        gateway = self.start_two(drain_timeout="1s")
        busy = self.talk(gateway.port("smtp"), b"one")
        busy.begin_transaction()
        self.order(gateway, "server", "drain", "mx/mx1")
        self.order(gateway, "server", "ready", "mx/mx1")
        time.sleep(1.5 * mailgate.SLACK)  # only waiting shows that nothing happens
        self.assertRegex(busy.finish_transaction(), rb"^250 ")
        self.assertRegex(busy.say(b"NOOP"), rb"^250 ")

    def test_an_unknown_server_is_named(self):
        gateway = self.start_two()
        for target, word in (("mx/none", 'no server "none"'), ("none/mx1", 'no upstream "none"')):
            for state in ("drain", "ready"):
                done = gateway.run("server", state, target)
                self.assertEqual(done.returncode, 2, target)
                self.assertIn(word, done.stderr)

    def test_a_restarted_server_serves_again(self):
        def checked(connection, greeting):
            connection.recv()  # any header, a check's too
            backend.smtp(connection, greeting)

        servers = [self.serve(name, behaviour=checked, reads_header=False) for name in ("one", "two")]
        gateway = self.start([mailgate.listener("smtp", "mx")],
                             [mailgate.upstream("mx", *(server.port for server in servers), **CHECKED)])
        servers[0].stop()
        gateway.wait_event("server.down", server="mx1")
        self.assertEqual(self.greetings(gateway), {b"two"})
        self.serve("one", port=servers[0].port, behaviour=checked, reads_header=False)
        gateway.wait_event("server.up", server="mx1")
        self.assertEqual(self.greetings(gateway), {b"one", b"two"})


class Stop(Operated):
    def start_one(self):
        mx = self.serve("mx")
        return self.start([mailgate.listener("smtp", "mx"), mailgate.listener("imap", "store")],
                          [mailgate.upstream("mx", mx.port), mailgate.upstream("store", dovecot.proxy_port["imap"])],
                          gateway={"drain_timeout": "120s"})

    def test_term_lets_a_transaction_finish(self):
        gateway = self.start_one()
        idle, busy, imap = self.talk(gateway.port("smtp")), self.talk(gateway.port("smtp")), self.talk(gateway.port("imap"))
        busy.begin_transaction()
        gateway.process.signal(signal.SIGTERM)
        self.assertRegex(idle.rest(), rb"^421 [^\r\n]*\r\n$")
        self.assertRegex(imap.rest(), rb"^\* BYE [^\r\n]*\r\n$")
        with self.assertRaises(ConnectionRefusedError):
            proxyclient.connect(gateway.port("smtp"))
        self.assertTrue(gateway.process.running())
        self.assertRegex(busy.finish_transaction(), rb"^250 ")
        self.assertRegex(busy.rest(), rb"^421 [^\r\n]*\r\n$")
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertEqual({line["end"] for line in gateway.events("session.end")}, {"shutdown"})
        self.assertEqual(len(gateway.events("session.end")), 3)
        self.assertEqual(gateway.events("gateway.stop")[0]["admitted"], 3)

    def test_a_client_on_its_way_in_hears_why_not(self):
        gateway = self.start_one()
        with proxyclient.connect(gateway.port("smtp")) as late:
            wait_until(lambda: gateway.ask("GET", "/v1/status")[1]["totals"]["accepted"], "the connection to be taken")
            gateway.process.signal(signal.SIGTERM)
            wait_until(lambda: not is_listening(gateway.port("smtp")), "the end of the listener")
            late.sendall(HEADER)
            self.assertRegex(proxyclient.read_to_end(late), rb"^421 ")

    def test_a_second_term_ends_it_at_once(self):
        gateway = self.start_one()
        idle, busy = self.talk(gateway.port("smtp")), self.talk(gateway.port("smtp"))
        busy.begin_transaction()
        gateway.process.signal(signal.SIGTERM)
        self.assertRegex(idle.rest(), rb"^421 ")
        self.assertTrue(gateway.process.running())
        gateway.process.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertEqual(len(gateway.events("session.end", end="shutdown")), 2)


class Systemd(Operated):
    """What systemd gives a service, given by the test."""

    def test_a_restart_behind_a_held_socket_fails_no_connection(self):
        mx = self.serve("mx")
        listener = mailgate.listener("smtp", "mx")
        gateway = mailgate.Mailgate(scratch, [listener], [mailgate.upstream("mx", mx.port)], name="activated", admin=ADMIN)
        held = socket.create_server(("127.0.0.1", gateway.port("smtp")), backlog=1024)
        self.addCleanup(held.close)
        gateway.process.pass_fds = (held.fileno(),)
        gateway.process.argv = ["bash", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=smtp exec "$@" '
                                f"3<&{held.fileno()}", "bash", *gateway.process.argv]
        told_to_return = []

        def short_session():
            with Talk(gateway.port("smtp")) as session:
                heard = session.greeting
                for code, line in ((b"220", b"EHLO client.example.org"), (b"250", b"MAIL FROM:<a@example.org>"),
                                   (b"250", b"RCPT TO:<b@example.net>"), (b"250", b"DATA"),
                                   (b"354", b"Subject: load\r\n\r\nhello\r\n."), (b"250", b"QUIT"), (b"221", b"")):
                    if heard.startswith(b"421 "):  # said in words outside a transaction: nothing is lost
                        told_to_return.append(line)
                        return
                    assert heard.startswith(code), (line, heard)
                    heard = line and session.say(line)

        gateway.start()
        self.addCleanup(gateway.stop)
        with Load(short_session) as load:
            load.more(20)
            for restart in range(3):
                gateway.process.signal(signal.SIGTERM)
                self.assertEqual(gateway.process.exit_code(), 0)
                gateway.launch()
                gateway.wait_events(restart + 2, "gateway.start")
                load.more(20)
        self.assertEqual(load.failed, [])
        # Who was told comes back at once, and may meet the other worker, which hears of the stop a moment later.
        self.assertLessEqual(len(told_to_return), 4 * 3 * gateway.gateway["workers"], "one for each client, restart and worker")
        # What they would have said next: nobody was told between MAIL's reply and the message's.
        self.assertEqual([line for line in told_to_return if line == b"DATA" or line.startswith(b"Subject")], [])
        self.assertEqual([line for line in gateway.events("config.warning") if "systemd" in line["detail"]], [])

    def test_it_tells_the_service_manager_how_it_is(self):
        mx = self.serve("mx")
        gateway = mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", mx.port)],
                                    name="notifies", admin=ADMIN)
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(str(gateway.folder / "notify"))
        manager.settimeout(30)
        gateway.process.env = {**os.environ, "NOTIFY_SOCKET": str(gateway.folder / "notify"), "WATCHDOG_USEC": "4000000"}
        gateway.process.argv = ["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh", *gateway.process.argv]
        gateway.start()
        self.addCleanup(gateway.stop)
        told = []

        def hear(word):
            while not any(line.startswith(word) for line in told):
                told.extend(manager.recv(4096).decode().splitlines())

        hear("READY=1")
        self.assertEqual(told[0], "READY=1")
        for _ in range(3):
            told.clear()
            hear("WATCHDOG=1")
            hear("STATUS=")
        gateway.process.signal(signal.SIGTERM)
        hear("STOPPING=1")
        self.assertEqual(gateway.wait_exit(), 0)


class ByHand(Operated):
    def start_one(self):
        mx = self.serve("mx")
        return self.start([mailgate.listener("smtp", "mx"), mailgate.listener("smtp", "mx", name="submission")],
                          [mailgate.upstream("mx", mx.port)])

    def test_one_session_is_ended(self):
        gateway = self.start_one()
        mine, other = self.talk(gateway.port("smtp")), self.talk(gateway.port("smtp"))
        mine.say(b"EHLO mine.example.org")
        [found] = [session for session in gateway.ask("GET", "/v1/sessions")[1]["sessions"]
                   if session["helo"] == "mine.example.org"]
        self.order(gateway, "sessions", "kill", found["session"])
        self.assertRegex(mine.rest(), rb"^421 ")
        self.assertEqual(gateway.wait_event("session.end", session=found["session"])["end"], "killed")
        self.assertRegex(other.say(b"NOOP"), rb"^250 ")
        self.assertEqual(gateway.ask("DELETE", f"/v1/sessions/{found['session']}")[0], 404)

    def test_a_network_is_cut_off_on_the_listeners_named(self):
        gateway = self.start_one()
        there, here = self.talk(gateway.port("smtp")), self.talk(gateway.port("submission"))
        order = {"network": "198.51.100.0/24", "listeners": ["submission"]}
        self.assertEqual(gateway.ask("POST", "/v1/cut", order), (200, {"cut": 1}))
        self.assertRegex(here.rest(), rb"^421 ")
        here.socket.close()
        wait_until(lambda: len(gateway.ask("GET", "/v1/sessions")[1]["sessions"]) == 1, "one session left")
        self.assertRegex(there.say(b"NOOP"), rb"^250 ")
        self.assertEqual(gateway.ask("POST", "/v1/cut", {"network": "198.51.100.0/24"}), (200, {"cut": 1}))
        self.assertRegex(there.rest(), rb"^421 ")

    def test_a_denial_that_cuts_spares_whom_a_more_specific_rule_allows(self):
        gateway = self.start_one()
        for arguments in (("198.51.100.128/25",), ("198.51.100.64", "--listener", "submission")):
            gateway.access("allow", *arguments)
        gateway.access("allow", "198.51.100.65")
        gateway.access("deny", "198.51.100.65", "--listener", "submission")
        talks = {(host, name): Talk(gateway.port(name), proxyclient.header_v2(f"198.51.100.{host}"))
                 for host, name in ((7, "smtp"), (64, "smtp"), (64, "submission"), (65, "smtp"), (129, "submission"))}
        for talk in talks.values():
            self.addCleanup(talk.socket.close)
        self.assertIn("2 sessions ended", self.order(gateway, "access", "deny", "198.51.100.0/24", "--cut"))
        for denied in ((7, "smtp"), (64, "smtp")):
            self.assertRegex(talks.pop(denied).rest(), rb"^421 ")
        for talk in talks.values():
            self.assertRegex(talk.say(b"NOOP"), rb"^250 ")
        # In force before the first session ended.
        self.assertRegex(self.talk(gateway.port("smtp")).greeting, rb"^5")

    def test_a_denial_that_cuts_ends_nothing_where_it_would_refuse_nobody(self):
        gateway = self.start_one()
        here, there = self.talk(gateway.port("smtp")), self.talk(gateway.port("submission"))
        next(settings for settings in gateway.listeners if settings["name"] == "submission")["mode"] = "monitor"
        gateway.write_config()
        self.order(gateway, "reload")
        self.assertIn("1 session ended", self.order(gateway, "access", "deny", "198.51.100.0/24", "--cut"))
        self.assertRegex(here.rest(), rb"^421 ")
        self.assertRegex(there.say(b"NOOP"), rb"^250 ")

    def test_the_status_tells_what_goes_on(self):
        gateway = self.start_one()
        self.talk(gateway.port("smtp"))
        status = json.loads(self.order(gateway, "status", "--json"))
        self.assertEqual((status["name"], status["live"], status["draining"]), ("gw.example.net", 1, False))
        self.assertEqual([(row["name"], row["live"]) for row in status["listeners"]], [("smtp", 1), ("submission", 0)])
        [server] = status["servers"]
        self.assertEqual((server["upstream"], server["server"], server["sessions"], server["healthy"]), ("mx", "mx1", 1, True))


if __name__ == "__main__":
    unittest.main()
