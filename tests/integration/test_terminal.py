# SPDX-License-Identifier: Apache-2.0
"""What an administrator sees on a terminal: tables in a tmux of 60, 80 and 120 columns while clients send whatever may
widen, turn or colour a row; the pager, colours, local times, and sessions that are followed."""

import contextlib
import itertools
import json
import os
import re
import shlex
import subprocess
import unittest

from harness import backend, mailgate, proxyclient
from harness.process import Scratch, wait_until

ESCAPE = "\x1b[31mred\x1b[0m\x1b[2J"
BIDI = "\u202egro.elpmaxe\u202c\u2066x\u2069"
INVISIBLE = "a\u200bb\ufeffc\u00add\u2028e"
MARKS = "Z" + "\u0301\u0489" * 30
WIDE = "\u4e2d\u6587" * 60
UNKNOWN = "\u0378\U000e0041\U0010ffff"
LONG = "x" * 230
HOSTILE = {"escape": ESCAPE, "bidi": BIDI, "invisible": INVISIBLE, "marks": MARKS, "wide": WIDE, "unknown": UNKNOWN, "long": LONG,
           "blanks": "x" + " " * 60 + "client_quit", "emoji": "\U0001f468\u200d\U0001f469\U0001f3fd\U0001f1e9\U0001f1ea" * 10}
ZONE = "CET-1"  # an hour east, all the year

scratch = server = gateway = None
terminals = itertools.count(1)


def replies(connection):
    """Takes any command, and says a queue id and a text of the client's choice back."""
    said = b""
    connection.send(b"220 mx.example.net ESMTP\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            line = connection.read_line()
            verb = line[:4].upper()
            if verb == b"EHLO":
                connection.send(b"250-mx.example.net\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n")
            elif verb == b"MAIL":
                said = line[11:line.rfind(b">")]
                connection.send(b"250 2.1.0 Ok\r\n")
            elif verb == b"DATA":
                connection.send(b"354 go on\r\n")
                while connection.read_line() != b".\r\n":
                    pass
                connection.send(b"250 2.0.0 Ok: " + said + b"\r\n")
            elif verb == b"QUIT":
                connection.send(b"221 2.0.0 Bye\r\n")
                return
            else:
                connection.send(b"250 2.1.5 Ok\r\n")


def silence(connection):
    while connection.recv():
        pass


def setUpModule():
    global scratch, server, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    server = scratch.start(backend.Backend(replies))
    silent = scratch.start(backend.Backend(silence, reads_header=False))
    gateway = scratch.start(mailgate.Mailgate(
        scratch, [mailgate.listener("smtp", "mail"), mailgate.listener("smtp", "mail", name="guarded", access="allowlist"),
                  mailgate.listener("smtp", "silent", name="slow")],
        [mailgate.upstream("mail", server.port), mailgate.upstream("silent", silent.port)], admin={"socket": "mailgate.sock"}))
    gateway.access("deny", "192.0.2.0/24", "--note", "B\u00fcro \u4e2d\u6587 " + "n" * 100)
    wait_until(lambda: any(line["rules"] == 1 for line in gateway.events("access.changed")), "the rule")
    for number, text in enumerate(HOSTILE.values(), 1):
        hostile_session(number, text.encode())
    with proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("192.0.2.66")) as refused:
        proxyclient.read_line(refused)
    wait_until(lambda: len(sessions()) == len(HOSTILE) + 1, lambda: gateway.log_text()[-3000:])


def hostile_session(number, text):
    """What of it mailgate does not take for a command of SMTP is answered by itself."""
    client = f"198.51.100.{number}"
    with proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2(client)) as session:
        proxyclient.read_line(session)
        for line in (b"EHLO " + text, b"EHLO client.example", b"MAIL FROM:<" + text + b"@example.org> SMTPUTF8",
                     b"MAIL FROM:<a@example.org>", b"RCPT TO:<" + text + b"@example.net>", b"RCPT TO:<bob@example.net>", b"DATA"):
            session.sendall(line + b"\r\n")
            while proxyclient.read_line(session)[3:4] == b"-":
                pass
        session.sendall(b"Message-ID: <" + text + b"@example.org>\r\n\r\nbody\r\n.\r\nQUIT\r\n")
        while proxyclient.read_line(session)[:4] != b"221 ":
            pass


def sessions():
    return [json.loads(line) for line in gateway.run("sessions", "--json").stdout.splitlines()]


class Tmux:
    """A terminal of that size in which the words run; it stays when they have ended."""

    def __init__(self, width, *arguments, height=50, **environment):
        self.socket = scratch.folder("tmux") / str(next(terminals))
        words = shlex.join(gateway.argv(*arguments))
        self.width = width
        variables = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": ZONE, "HOME": str(scratch.path), **environment}
        self._environment = {**variables, "TMUX_TMPDIR": str(scratch.path)}
        # TERM is tmux's own, whatever the test's is. Ctrl-C ends the command, not the shell around it.
        self._run("-f", "/dev/null", "-u", "new-session", "-d", "-x", str(width), "-y", str(height),
                  f"trap : INT; {words}; printf 'status %s' $?; exec sleep 1000")

    def _run(self, *words):
        return subprocess.run(["tmux", "-S", self.socket, *words], env=self._environment, check=True, text=True,
                              capture_output=True, timeout=30).stdout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._run("kill-server")

    def screen(self, *options):
        return self._run("capture-pane", "-p", *options)

    def wait(self, pattern, *options):
        return wait_until(lambda: re.search(pattern, text := self.screen(*options)) and text,
                          lambda: f"{pattern} on the screen\n{self.screen()}")

    def keys(self, *keys):
        self._run("send-keys", *keys)

    def ended(self, *options):
        """The lines of the screen when the command has ended, and its exit status."""
        lines = self.wait(r"(?m)^status \d").splitlines()
        end = next(at for at, line in enumerate(lines) if line.startswith("status "))
        return self.screen(*options).splitlines()[:end], int(lines[end].split()[1])

    def lines_are_whole(self):
        """Whether each line of output is one line of the screen. A full line whose next one goes on is joined by -J."""
        return len(self.screen("-J").splitlines()) == len(self.screen().splitlines())


def shown(width, *arguments, height=50):
    with Tmux(width, *arguments, height=height) as terminal:
        lines, status = terminal.ended()
        assert status == 0, lines
        assert terminal.lines_are_whole(), f"{width} columns:\n" + "\n".join(lines)
        return lines


TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


class Rows(unittest.TestCase):
    def test_no_client_widens_turns_or_parts_a_row(self):
        everything = sessions()
        for width in (60, 80, 120):
            with self.subTest(width=width):
                text = "\n".join(shown(width, "sessions", "--no-pager", height=300))
                for forbidden in "\u202e\u2066\u200b\ufeff\u0378":
                    self.assertNotIn(forbidden, text)
                ids = [session["session"][:16] for session in everything for _ in session.get("mail") or [None]]
                self.assertEqual(re.findall(r"\b01[0-9A-Z]{14}\b", text), ids)
                self.assertEqual(len(re.findall(TIME, text)), len(ids))
                self.assertIn("refused: acc\u2026" if width == 80 else "refused: access", text)

    def test_columns_leave_in_the_order_that_is_documented(self):
        titles = {width: shown(width, "sessions", "--no-pager", "--client", "198.51.100.0/24", "--utc")[0].replace(" (UTC)", "").split()
                  for width in (80, 100, 120, 160)}
        self.assertEqual(titles[80], ["TIME", "SESSION", "CLIENT", "FROM", "END"])
        self.assertEqual(titles[100], ["TIME", "SESSION", "CLIENT", "HELO/USER", "FROM", "TO", "END"])
        self.assertEqual(titles[120], ["TIME", "SESSION", "CLIENT", "TLS", "HELO/USER", "FROM", "TO", "QUEUE", "ID/R\u2026", "END"])
        self.assertEqual(titles[160],
                         ["TIME", "SESSION", "CLIENT", "LISTENER", "TLS", "HELO/USER", "FROM", "TO", "QUEUE", "ID/REPLY", "END"])

    def test_below_60_columns_a_field_has_a_line(self):
        lines = shown(50, "sessions", "--client", "198.51.100.1")
        labels = [line.split("  ")[0] for line in lines]
        of_one = ["TIME (+01:00)", "SESSION", "CLIENT", "LISTENER", "TLS", "HELO/USER", "FROM", "TO", "QUEUE ID/REPLY", "END"]
        self.assertEqual(labels, [*of_one, "", *of_one])  # the sender that was refused, and the one that was not

    def test_all_tables_fit(self):
        client = proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("2001:db8:ffff:ffff:ffff:ffff:ffff:fff1"))
        with client:
            proxyclient.read_line(client)
            client.sendall(b"EHLO " + LONG.encode() + b"\r\n")
            wait_until(lambda: gateway.ask("GET", "/v1/sessions")[1]["sessions"], "a current session")
            longest = "2001:db8:ffff:ffff:ffff:ffff:ffff:fff0/124"
            gateway.access("allow", longest, "--set", "fits", "--client-sessions", "200", "--expires", "2w")
            self.addCleanup(gateway.access, "remove", longest, "--set", "fits")
            for width in (60, 80, 120):
                for arguments in (("sessions", "--live"), ("status",), ("access", "list"), ("access", "set", "show", "fits"), ("access", "history"), ("top", "--no-pager"),
                                  *(("top", "--no-pager", "--by", what) for what in ("recipient", "helo", "end", "network")),
                                  ("who", "198.51.100.0/24", "--no-pager"),
                                  ("sessions", "--columns", "time,end,balancer,server,from", "--no-pager")):
                    with self.subTest(width=width, arguments=arguments):
                        shown(width, *arguments)

    def test_wide_is_whole(self):
        with Tmux(60, "sessions", "--wide", "--no-pager", "--client", "198.51.100.7") as terminal:
            terminal.ended()
            self.assertIn(LONG, terminal.screen("-J"))

    def test_wanted_columns_are_those(self):
        self.assertEqual(shown(120, "sessions", "--columns", "end,session,server", "--client", "198.51.100.3")[0].split(),
                         ["END", "SESSION", "SERVER"])
        done = gateway.run("sessions", "--columns", "end,nope")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn('there is no column "nope": expected time, session, gateway, client', done.stderr)


class Colours(unittest.TestCase):
    def colours(self, *arguments, **environment):
        with Tmux(120, *arguments, **environment) as terminal:
            lines, _ = terminal.ended("-e")
            return [line for line in lines if re.search("\x1b\\[[0-9;]*3[1-7]", line)]  # 39 ends one

    def test_states_have_colours_and_nothing_else(self):
        coloured = self.colours("sessions", "--no-pager")
        self.assertEqual(len(coloured), 1)
        self.assertRegex(coloured[0], "\x1b\\[31mrefused: access")
        self.assertTrue(any("\x1b[32mup" in line for line in self.colours("status")))

    def test_no_color_is_heeded(self):
        self.assertEqual(self.colours("sessions", "--no-pager", NO_COLOR="1"), [])
        self.assertEqual(len(self.colours("sessions", "--no-pager", NO_COLOR="")), 1)


class Pager(unittest.TestCase):
    def test_more_than_a_screen_goes_through_less(self):
        with Tmux(120, "sessions", height=6) as terminal:
            first = terminal.wait(r"(?m)^:")
            self.assertTrue(first.startswith("TIME"))
            terminal.keys("G")
            terminal.wait(r"\(END\)")
            terminal.keys("q")
            self.assertEqual(terminal.ended()[1], 0)

    def test_another_pager_or_none(self):
        with Tmux(120, "sessions", height=6, PAGER="tail -n 1 | sed 's/^/paged: /'") as terminal:
            lines, _ = terminal.ended()
            self.assertRegex(lines[0], f"^paged: {TIME}")
        with Tmux(120, "sessions", "--no-pager", height=6) as terminal:
            terminal.ended()
        with Tmux(120, "sessions", "--client", "198.51.100.1", height=6) as terminal:
            terminal.ended()  # it fits

    def test_who_comes_by_sudo_starts_no_program_from_it(self):
        with Tmux(120, "sessions", height=6, SUDO_USER="alice") as terminal:
            terminal.wait(r"(?m)^:")
            terminal.keys("!")
            terminal.wait("Command not available")
            terminal.keys("q")
            terminal.ended()


class Questions(unittest.TestCase):
    def test_a_no_removes_nothing(self):
        gateway.access("allow", "203.0.113.200", "--note", "to be kept")
        with Tmux(80, "access", "remove", "--note-contains", "to be kept") as terminal:
            terminal.wait(r"remove 1 rule\? \[y/N\]")
            terminal.keys("n", "Enter")
            lines, status = terminal.ended()
        self.assertEqual((status, lines[-1]), (1, "mailgate: nothing was removed"))
        self.assertIn("203.0.113.200", gateway.access("list"))


class Follow(unittest.TestCase):
    def test_what_comes_later_stands_in_the_same_columns(self):
        with Tmux(120, "sessions", "--follow", "--from", "@follow.example") as terminal:
            heading = terminal.wait("TIME").splitlines()[0]
            for sender in ("short@follow.example", "x" * 60 + "@follow.example"):
                with proxyclient.SMTP(gateway.port("smtp"), proxyclient.header_v2("203.0.113.5")) as client:
                    client.sendmail(sender, ["bob@example.net"], b"Subject: x\r\n\r\nbody\r\n")
                terminal.wait("<" + sender[:3])  # another worker's session may be written first
            rows = terminal.wait(r"(?s)<short@.*<xxx").splitlines()[1:3]
            for title, cell in (("SESSION", r"01[0-9A-Z]{14}"), ("CLIENT", r"203\.0\.113\.5"), ("FROM", "<"), ("END", "client_quit")):
                for row in rows:
                    self.assertEqual(re.search(cell, row).start(), heading.index(title), (title, row))
            self.assertTrue(terminal.lines_are_whole())


class Progress(unittest.TestCase):
    def test_what_takes_long_says_so_and_can_be_ended(self):
        with Tmux(60, "probe", "silent") as terminal:
            asking = terminal.wait(r"(?m)^asking silent/silent1 127\.0\.0\.1:\d+: \d+ s$")
            self.assertEqual(len(asking.strip().splitlines()), 1)
            terminal.keys("C-c")
            terminal.wait(r"(?m)\^Cstatus 130$")

    def test_nothing_of_it_is_in_a_pipe(self):
        self.assertEqual(gateway.run("access", "export").stderr, "")


class Piped(unittest.TestCase):
    """For scripts: whole values, no colours, no remarks, and no row moves another."""

    def test_values_are_whole(self):
        done = gateway.run("sessions", "--client", "198.51.100.0/24")
        heading, *rows = done.stdout.splitlines()
        self.assertNotIn("\u2026", done.stdout)
        self.assertNotIn("\x1b", done.stdout)
        self.assertIn("x" * 230, done.stdout)
        self.assertLess(len(heading), 400)
        self.assertEqual(len({row.index("198.51.100.") for row in rows}), 1)

    def test_times_are_local_with_their_offset_or_utc(self):
        def asked(*options):
            words = gateway.argv("sessions", "--client", "198.51.100.1", "--no-pager", *options)
            environment = {**os.environ, "TZ": "NST3:30"}
            return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30).stdout

        local, utc = (asked(*options).splitlines()[1].split()[0] for options in ((), ("--utc",)))
        self.assertRegex(local, r"T\d\d:\d\d:\d\d-03:30$")
        self.assertRegex(utc, r"T\d\d:\d\d:\d\dZ$")
        self.assertEqual(len(asked("--since", local).splitlines()), 3)  # two mails
        self.assertRegex(asked("--json"), r'"time":"[^"]*Z"')


if __name__ == "__main__":
    unittest.main()
