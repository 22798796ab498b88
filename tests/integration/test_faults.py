# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around mailgate, and what its clients and its administrator see of it."""

import os
import pathlib
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import time
import unittest

from harness import backend, mailgate, proxyclient
from harness.ports import reserve_port
from harness.process import Process, is_listening, wait_until
from harness.situation import Situation


class Servers(Situation):
    def test_no_server_is_told_after_the_hold_time(self):
        for protocol, reply in (("smtp", rb"^421 4\.4\.1 gw\.example\.net "), ("imap", rb"^\* BYE \[UNAVAILABLE\] "),
                                ("pop3", rb"^-ERR \[SYS/TEMP\] "), ("lmtp", rb"^421 "), ("sieve", rb"^BYE \(TRYLATER\) ")):
            with self.subTest(protocol=protocol):
                daemon = mailgate.Mailgate(self.scratch, [mailgate.listener(protocol, "mail")],
                                           [mailgate.upstream("mail", reserve_port())], name=f"down-{protocol}")
                self.addCleanup(daemon.stop)
                daemon.start()
                start = time.monotonic()
                with proxyclient.connect(daemon.port(protocol), proxyclient.header_v2(self.client)) as session:
                    self.assertRegex(proxyclient.read_to_end(session), reply)
                self.assertGreater(time.monotonic() - start, 0.8)
                daemon.wait_event("server.down", server="mail1")

    def test_a_server_that_comes_up_in_time_serves_the_waiting_client(self):
        port = reserve_port()
        self.started([port], timeouts={"hold": "20s"})
        with self.connect() as session:
            self.gateway.wait_event("server.down")
            self.backend(backend.smtp, port=port)
            self.assertRegex(proxyclient.read_line(session), rb"^220 fake\.example\.net")
        self.gateway.wait_event("server.up")

    def test_a_bad_server_is_passed_over_for_the_next(self):
        behaviours = {"closes": backend.says(), "resets": backend.resets,
                      "answers our header with an error": backend.says(b"421 4.3.0 mx Server local error\r\n"),
                      "speaks something else": backend.says(b"SSH-2.0-OpenSSH_9.2\r\n"), "is mute": backend.mute}
        for what, behaviour in behaviours.items():
            with self.subTest(what):
                bad, good = self.backend(behaviour), self.backend(backend.smtp)
                daemon = mailgate.Mailgate(self.scratch, [mailgate.listener("smtp", "mail")],
                                           [mailgate.upstream("mail", bad.port, good.port)],
                                           name="passed-over-" + what.replace(" ", "-"), timeouts={"greeting": "1s"})
                self.addCleanup(daemon.stop)
                daemon.start()
                for number in range(4):
                    with proxyclient.SMTP(daemon.port("smtp"), proxyclient.header_v2(f"198.51.100.{number}")) as session:
                        session.sendmail("a@example.org", ["b@example.net"], b"Subject: x\r\n\r\n")
                self.assertGreaterEqual(len(bad.connections), 1)
                lines = daemon.wait_events(4, "session.end")
                self.assertEqual({line["server"] for line in lines}, {"mail2"})

    def test_the_servers_own_refusal_reaches_the_client(self):
        server = self.backend(backend.says(b"554 5.7.1 mx.example.net does not like you\r\n"))
        self.started([server.port])
        self.assertEqual(self.greeting(), b"554 5.7.1 mx.example.net does not like you\r\n")


class Resources(Situation):
    def test_the_gateway_is_full(self):
        for protocol, reply in (("smtp", rb"^421 4\.3\.2 gw\.example\.net "), ("imap", rb"^\* BYE \[UNAVAILABLE\] ")):
            with self.subTest(protocol=protocol):
                server = self.backend(stays_with_greeting(protocol))
                daemon = mailgate.Mailgate(self.scratch, [mailgate.listener(protocol, "mail")],
                                           [mailgate.upstream("mail", server.port)], name=f"full-{protocol}",
                                           gateway={"max_sessions": 2})
                self.addCleanup(daemon.stop)
                daemon.start()
                header = proxyclient.header_v2(self.client)
                inside = [proxyclient.connect(daemon.port(protocol), header) for _ in range(2)]
                for session in inside:
                    self.addCleanup(session.close)
                    proxyclient.read_line(session)
                with proxyclient.connect(daemon.port(protocol), header) as session:
                    self.assertRegex(proxyclient.read_to_end(session), reply)
                inside.pop().close()

                def served():
                    with proxyclient.connect(daemon.port(protocol), header) as session:
                        return not re.match(reply, proxyclient.read_line(session))

                wait_until(served, "room again")

    def test_out_of_descriptors_it_waits_without_spinning_and_recovers(self):
        server = self.backend(backend.smtp)
        self.started([server.port], timeouts={"proxy_header": "30s"})
        pid = self.gateway.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (self.gateway.descriptors() + 8, limits[1]))
        waiting = [proxyclient.connect(self.gateway.port("smtp")) for _ in range(40)]
        for client in waiting:
            self.addCleanup(client.close)
        self.gateway.wait_event("listener.paused")
        before = self.gateway.cpu_seconds()
        time.sleep(1)  # the measurement itself
        self.assertLess(self.gateway.cpu_seconds() - before, 0.5)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        self.gateway.wait_event("listener.resumed")
        for client in waiting:
            client.sendall(proxyclient.header_v2(self.client))
        for client in waiting:
            self.assertRegex(proxyclient.read_line(client), rb"^220 ")

    @unittest.skipIf(mailgate.SLACK > 1, "sanitizers need address space of their own")
    def test_out_of_memory_new_clients_wait_and_those_inside_go_on(self):
        server = self.backend(answers_each_line)
        # One arena: a limit that is reached by what is used, and not by what malloc sets aside for each thread.
        self.started([server.port], env={**os.environ, "MALLOC_ARENA_MAX": "1"})
        inside = [self.connect() for _ in range(400)]
        for session in inside:
            self.assertRegex(proxyclient.read_line(session), rb"^220 ")
        [size] = re.findall(r"VmSize:\s+(\d+) kB", pathlib.Path(f"/proc/{self.gateway.process.pid}/status").read_text())
        unlimited = resource.RLIM_INFINITY
        resource.prlimit(self.gateway.process.pid, resource.RLIMIT_AS, (int(size) * 1024 + (2 << 20), unlimited))
        transaction = b"MAIL FROM:<a@b.example>\r\n" + b"RCPT TO:<%s@d.example>\r\n" % (b"c" * 200) * 40 + b"RSET\r\n"
        newcomers, answered = [], 0
        for number, session in enumerate(inside):  # what it keeps of each is bounded, so the limit is near
            for _ in range(20):
                session.sendall(transaction)
                if not read_lines(session, transaction.count(b"\n")):
                    break
            else:
                answered += 1
            if number % 4 == 0 and not self.gateway.events("listener.paused"):
                newcomers.append(self.connect())
        self.assertTrue(self.gateway.process.running(), self.gateway.process.text())
        told = self.gateway.wait_event("listener.paused")
        self.assertEqual((told["level"], told["reason"]), ("critical", "Cannot allocate memory"))
        self.assertGreater(answered, len(inside) // 4)
        resource.prlimit(self.gateway.process.pid, resource.RLIMIT_AS, (unlimited, unlimited))
        self.assertRegex(proxyclient.read_line(newcomers[-1]), rb"^220 ")
        self.gateway.wait_event("listener.resumed")
        self.assertRegex(self.greeting(), rb"^220 ")
        self.assertEqual(self.gateway.events("gateway.defect"), [])

    def test_a_small_descriptor_limit_lowers_max_sessions(self):
        server = self.backend(stays_with_greeting("smtp"))
        self.started([server.port], limits=((resource.RLIMIT_NOFILE, 96),))
        allowed = self.gateway.wait_event("gateway.start")["max_sessions"]
        self.assertLess(allowed, 48)
        self.assertIn("LimitNOFILE", self.gateway.wait_event("config.warning")["detail"])
        inside = [self.connect() for _ in range(allowed)]
        for session in inside:
            self.assertRegex(proxyclient.read_line(session), rb"^220 ")
        self.assertRegex(self.greeting(), rb"^421 4\.3\.2 ")

    def test_no_descriptor_is_lost_over_many_sessions(self):
        server = self.backend(backend.smtp)
        self.started([server.port])
        self.greeting()
        wait_until(lambda: self.gateway.events("session.end"), "the first session's end")
        before = self.gateway.descriptors()
        for _ in range(100):
            self.greeting()
        self.gateway.wait_events(101, "session.end")
        # The rules' hits are written now and then, through a connection that stays.
        wait_until(lambda: self.gateway.descriptors() <= before + 3, "descriptors given back")


def answers_each_line(connection):
    connection.send(b"220 fake.example.net ESMTP\r\n")
    while data := connection.recv():
        connection.send(b"250 2.0.0 Ok\r\n" * data.count(b"\n"))


def read_lines(session, count):
    """Whether so many came before the end."""
    while count > 0:
        try:
            data = session.recv(65536)
        except ConnectionResetError:
            return False
        if not data:
            return False
        count -= data.count(b"\n")
    return True


def stays_with_greeting(protocol):
    def behaviour(connection):
        connection.send(b"* OK ready\r\n" if protocol == "imap" else b"220 fake.example.net ESMTP\r\n")
        backend.mute(connection)
    return behaviour


class Starting(Situation):
    def expect_refusal(self, daemon, *words):
        daemon.launch()
        code = daemon.wait_exit()
        told = daemon.process.text() + daemon.log_text()
        self.assertGreater(code, 0, told)
        for word in words:
            self.assertIn(word, told)
        return code

    def test_an_address_that_is_taken(self):
        server = self.backend(backend.smtp)
        first = self.started([server.port])
        second = mailgate.Mailgate(self.scratch, first.listeners, first.upstreams, name="second")
        self.addCleanup(second.stop)
        self.expect_refusal(second, first.listeners[0]["address"])
        self.assertRegex(self.greeting(), rb"^220 ")

    def test_bad_configurations_exit_with_78_and_name_the_place(self):
        good = self.mailgate([reserve_port()])
        good.write_config()
        text = good.config.read_text()
        number = text[:text.index('protocol = "smtp"')].count("\n") + 1
        for what, broken, word in (("unknown key", text.replace('protocol = "smtp"', 'protcol = "smtp"'), "protcol"),
                                   ("unknown protocol", text.replace('protocol = "smtp"', 'protocol = "uucp"'), "uucp"),
                                   ("wrong type", text.replace('protocol = "smtp"', "protocol = 25"), "protocol"),
                                   ("no TOML", text.replace('protocol = "smtp"', "protocol = = 25"), "mailgate.toml")):
            for command in ("serve", "check"):
                with self.subTest(what, command=command):
                    good.config.write_text(broken)
                    done = good.run(command)
                    self.assertEqual(done.returncode, 78, done.stderr)
                    self.assertIn(f"mailgate.toml:{number}:", done.stderr)
                    self.assertIn(word, done.stderr)
        good.config.write_text(text)
        self.assertEqual(good.run("check").returncode, 0)

    def test_a_missing_configuration_exits_with_78(self):
        done = subprocess.run([mailgate.binary(), "serve", "--config", "/nonexistent/mailgate.toml"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 78)
        self.assertIn("/nonexistent/mailgate.toml", done.stderr)

    def test_a_database_of_a_newer_version(self):
        daemon = self.mailgate([reserve_port()], access="allowlist")
        daemon.write_config()
        daemon.access("allow", "192.0.2.1")
        make_newer(daemon.database)
        self.expect_refusal(daemon, "mailgate.db", "newer")
        self.assertNotEqual(daemon.run("access", "list").returncode, 0)

    def test_a_locked_database(self):
        daemon = self.mailgate([reserve_port()], access="allowlist")
        daemon.write_config()
        daemon.access("allow", "192.0.2.1")
        database = sqlite3.connect(daemon.database, isolation_level=None)
        self.addCleanup(database.close)
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        self.expect_refusal(daemon, "mailgate.db", "locked")


def make_newer(path):
    database = sqlite3.connect(path)
    with database:
        [version] = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version + 1000}")
    database.close()


class Signals(Situation):
    def test_sigterm_says_goodbye_and_writes_every_session(self):
        server = self.backend(backend.smtp)
        self.started([server.port], gateway={"drain_timeout": "20s"})
        with self.connect() as idle:
            proxyclient.read_line(idle)
            idle.sendall(b"EHLO idle.example\r\n")
            proxyclient.read_line(idle)
            self.gateway.process.signal(signal.SIGTERM)
            self.assertRegex(proxyclient.read_to_end(idle), rb"^421 4\.3\.2 gw\.example\.net ")
        self.assertEqual(self.gateway.wait_exit(), 0, self.gateway.process.text())
        self.assertEqual(len(self.gateway.events("session.end", client=self.client)), 1)
        self.assertEqual(self.gateway.events()[-1]["event"], "gateway.stop")

    def test_sigterm_lets_a_transaction_end(self):
        server = self.backend(backend.smtp)
        self.started([server.port], gateway={"drain_timeout": "20s"})
        with self.connect() as session:
            proxyclient.read_line(session)
            for command in (b"EHLO c\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<c@d.example>\r\n", b"DATA\r\n"):
                session.sendall(command)
                proxyclient.read_line(session)
            self.gateway.process.signal(signal.SIGTERM)
            wait_until(lambda: not is_listening(self.gateway.port("smtp")), "the listener to close")
            session.sendall(b"Subject: last\r\n\r\nbody\r\n.\r\n")
            self.assertIn(b"queued as FAKE0001", proxyclient.read_line(session))
            self.assertRegex(proxyclient.read_to_end(session), rb"^421 4\.3\.2 ")
        self.assertEqual(self.gateway.wait_exit(), 0)
        [line] = self.gateway.events("session.end")
        self.assertIn("queued as FAKE0001", line["mail"][0]["reply"])

    def test_sigterm_is_bounded_by_the_drain_timeout(self):
        server = self.backend(stays_with_greeting("smtp"))
        self.started([server.port], protocol="tcp", gateway={"drain_timeout": "1s"})
        with self.connect() as session:
            proxyclient.read_line(session)
            self.gateway.process.signal(signal.SIGTERM)
            self.assertEqual(self.gateway.wait_exit(), 0)

    def test_the_log_is_reopened_with_a_reload_or_without(self):
        server = self.backend(backend.smtp)
        self.started([server.port])
        self.greeting("198.51.100.71")
        self.gateway.wait_event("session.end", client="198.51.100.71")
        rotated = self.gateway.log_file.with_suffix(".1")
        for asked, client, reloads in ((signal.SIGUSR1, "198.51.100.72", 0), (signal.SIGHUP, "198.51.100.73", 1)):
            self.gateway.log_file.rename(rotated)
            self.gateway.process.signal(asked)
            wait_until(self.gateway.log_file.exists, "a new log file")
            self.greeting(client)
            self.gateway.wait_event("session.end", client=client)
            self.assertNotIn(client, rotated.read_text())
            self.assertEqual(len(self.gateway.events("config.reloaded")), reloads)

    def test_signals_wait_until_the_configuration_is_read(self):
        config = self.scratch.folder("waiting") / "mailgate.toml"
        os.mkfifo(config)
        writer = os.open(config, os.O_RDWR)
        process = self.scratch.start(Process("waiting", [mailgate.binary(), "serve", "--config", config], config.with_suffix(".txt")))
        self.addCleanup(process.stop)
        # What logrotate looks at, too: that SIGUSR1 is handled.
        wait_until(lambda: int(re.search(r"SigCgt:\s*(\w+)", pathlib.Path(f"/proc/{process.pid}/status").read_text())[1], 16) & 0x200, "signals")
        for one in (signal.SIGUSR1, signal.SIGHUP):
            process.signal(one)
        os.write(writer, b"nonsense")
        os.close(writer)
        self.assertEqual(process.exit_code(), 78, process.text())


class Farewell(Situation):
    """A server that takes its leave in mid-message, and only then waits for the client to go."""

    def test_a_client_that_reads_once_it_has_said_all_hears_it_and_both_get_to_their_end(self):
        heard = []

        def leaves_in_mid_message(connection):
            connection.send(b"220 mx ESMTP\r\n")
            while (line := connection.read_line()) != b"DATA\r\n":
                connection.send(b"250 Ok\r\n")
            connection.send(b"354 Go on\r\n")
            connection.read_line()
            connection.send(b"421 4.3.2 mx Shutting down\r\n")
            while line := connection.recv():
                heard.append(line)

        self.started([self.backend(leaves_in_mid_message).port])
        with self.connect() as client:
            proxyclient.read_reply(client)
            for line in (b"EHLO a", b"MAIL FROM:<a@partner.example>", b"RCPT TO:<bob@example.net>", b"DATA", b"first"):
                client.sendall(line + b"\r\n")
                reply = proxyclient.read_reply(client)
            self.assertEqual(reply, b"421 4.3.2 mx Shutting down\r\n")
            client.sendall(b"second\r\n" * 2_000_000 + b".\r\nMAIL FROM:<b@partner.example>\r\n")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(proxyclient.read_to_end(client), b"")
        [mail] = self.gateway.wait_event("session.end", end="client_closed")["mail"]
        self.assertEqual((mail["from"], mail["reply"]), ("a@partner.example", "421 4.3.2 mx Shutting down"))
        self.assertEqual(heard, [])
