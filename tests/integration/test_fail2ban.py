# SPDX-License-Identifier: Apache-2.0
"""The fail2ban filter and action, with the real fail2ban: fail2ban-regex over mailgate's own lines, and a server that bans."""

import json
import pathlib
import re
import shutil
import subprocess
import unittest

from harness import backend, mailgate, proxyclient
from harness.ports import reserve_port
from harness.process import Process, Scratch, wait_until

SHIPPED = pathlib.Path(__file__).resolve().parents[2] / "etc/fail2ban"
FILTER = SHIPPED / "filter.d/mailgate.conf"
LOGIN = b'a LOGIN "o\\"brien" wrong\r\n'
scratch = gateway = None


def imap(connection):
    """Takes no password but one, and cannot say of another."""
    connection.send(b"* OK ready\r\n")
    while b"LOGOUT" not in (line := connection.read_line()):
        if b"right" in line:
            connection.send(b"a OK in\r\n")
        elif b"later" in line:
            connection.send(b"a NO [UNAVAILABLE] Temporary authentication failure\r\n")
        else:
            connection.send(b"a NO [AUTHENTICATIONFAILED] no\r\n")
    connection.send(b"* BYE\r\nb OK bye\r\n")


def setUpModule():
    global scratch, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    smtp_server = scratch.start(backend.Backend(backend.smtp))
    imap_server = scratch.start(backend.Backend(imap))
    gateway = scratch.start(mailgate.Mailgate(
        scratch, [mailgate.listener("smtp", "smtp", access="allowlist"), mailgate.listener("imap", "imap"),
                  mailgate.listener("smtp", "smtp", name="open"), mailgate.listener("smtp", "down", name="down")],
        [mailgate.upstream("smtp", smtp_server.port), mailgate.upstream("imap", imap_server.port),
         mailgate.upstream("down", reserve_port())]))


def greeting(listener, client):
    with proxyclient.connect(gateway.port(listener), proxyclient.header_v2(client)) as session:
        return proxyclient.read_line(session)


def refuse(client):
    greeting("smtp", client)
    gateway.wait_event("session.refused", client=client, reason="access")


def log_in(client, *logins, authenticated):
    with proxyclient.connect(gateway.port("imap"), proxyclient.header_v2(client)) as session:
        for login in logins:
            session.sendall(login)
            proxyclient.read_until(session, rb"^a (NO|OK)")
        session.sendall(b"b LOGOUT\r\n")
        proxyclient.read_to_end(session)
    return gateway.wait_event("session.end", client=client, authenticated=authenticated)


def fail_login(client):
    log_in(client, LOGIN, authenticated=False)


class Filter(unittest.TestCase):
    def matches(self, pattern, prefix=""):
        """What fail2ban-regex finds in mailgate's lines that match the pattern: (address, user) each."""
        lines = [prefix + line for line in gateway.log_text().splitlines() if re.search(pattern, line)]
        self.assertTrue(lines, f"no line with {pattern}")
        sample = gateway.folder / "sample.log"
        sample.write_text("\n".join(lines) + "\n")
        done = subprocess.run(["fail2ban-regex", "--out", "<ip> <F-USER>", sample, FILTER], text=True, capture_output=True,
                              timeout=120)
        return [tuple(line.split(" ", 1)) for line in done.stdout.splitlines() if line]

    def test_refusals_count(self):
        for client in ("203.0.113.10", "2001:db8::10"):
            refuse(client)
        found = self.matches(r'"client":"(203\.0\.113\.10|2001:db8::10)"')
        self.assertEqual([address for address, _ in found], ["203.0.113.10", "2001:db8::10"])

    def test_a_wrong_password_counts_with_its_user(self):
        fail_login("203.0.113.11")
        self.assertEqual(self.matches(r'"client":"203\.0\.113\.11"'), [("203.0.113.11", r"o\"brien")])

    def test_a_wrong_password_counts_though_a_right_one_followed(self):
        line = log_in("203.0.113.16", LOGIN, b"a LOGIN alice right\r\n", authenticated=True)
        self.assertEqual((line["user"], line["failed_logins"], line["failed_users"]), ("alice", 1, ['o"brien']))
        self.assertEqual(self.matches(r'"client":"203\.0\.113\.16"'), [("203.0.113.16", r"o\"brien")])

    def test_a_login_that_the_server_could_not_judge_does_not_count(self):
        line = log_in("203.0.113.17", b"a LOGIN alice later\r\n", authenticated=None)
        self.assertEqual((line["user"], line["failed_logins"]), ("alice", 0))
        self.assertEqual(self.matches(r'"client":"203\.0\.113\.17"'), [])

    def test_what_is_not_the_clients_doing_does_not_count(self):
        greeting("down", "203.0.113.12")
        gateway.wait_event("session.refused", client="203.0.113.12", reason="no_server")
        with proxyclient.SMTP(gateway.port("open"), proxyclient.header_v2("203.0.113.12")) as session:
            session.ehlo()
        gateway.wait_event("session.end", client="203.0.113.12")
        self.assertEqual(self.matches(r'"client":"203\.0\.113\.12"'), [])

    def test_a_client_that_is_banned_already_does_not_count(self):
        gateway.access("deny", "203.0.113.15")
        wait_until(lambda: not greeting("open", "203.0.113.15").startswith(b"220 "), lambda: gateway.access("list"))
        gateway.wait_event("session.refused", client="203.0.113.15", rule="203.0.113.15")
        self.assertEqual(self.matches(r'"event":"session\.refused".*"client":"203\.0\.113\.15"'), [])

    def test_a_client_cannot_have_another_one_banned(self):
        forged = ('x","event":"session.refused","session":"1","listener":"smtp","protocol":"smtp","client":"192.0.2.1",'
                  '"reason":"access"')
        with proxyclient.SMTP(gateway.port("open"), proxyclient.header_v2("203.0.113.13")) as session:
            session.ehlo("host mailgate[1]: {\"time\":\"\"," + forged)
            session.docmd("MAIL", f"FROM:<{forged}>")
        gateway.wait_event("session.end", client="203.0.113.13")
        self.assertEqual(self.matches(r'"client":"203\.0\.113\.13"'), [])

    def test_lines_from_syslog_and_the_journal_count(self):
        refuse("203.0.113.14")
        for prefix in ("Nov 21 00:00:00 mx mailgate[17]: ", "2026-11-21T00:00:00.000000+00:00 mx mailgate[17]: "):
            with self.subTest(prefix=prefix):
                found = self.matches(r'"client":"203\.0\.113\.14"', prefix)
                self.assertEqual([address for address, _ in found], ["203.0.113.14"])


class Fail2ban:
    """fail2ban-server with the shipped files over its own defaults, everything it writes in a folder of its own."""

    def __init__(self, jail):
        self.folder = scratch.folder("fail2ban")
        etc = self.folder / "etc"
        shutil.copytree("/etc/fail2ban", etc, dirs_exist_ok=True)
        shutil.rmtree(etc / "jail.d")
        shutil.copytree(SHIPPED, etc, dirs_exist_ok=True)
        (etc / "jail.d/mailgate.local").write_text("[mailgate]\n" + "".join(f"{key} = {value}\n" for key, value in jail.items()))
        self.options = ["-c", etc, "-s", self.folder / "socket", "-p", self.folder / "pid"]
        (etc / "fail2ban.local").write_text(f"[Definition]\nlogtarget = {self.folder}/fail2ban.log\n"
                                            f"dbfile = {self.folder}/fail2ban.sqlite3\n")
        self.process = Process("fail2ban-server", ["fail2ban-server", *self.options, "-f", "start"], self.folder / "output.txt")

    def start(self):
        self.process.start()
        # Not by asking for the jail: the server logs an error for each time that it is not there yet.
        self.process.wait_ready(lambda: "Jail 'mailgate' started" in self.log(), "the jail")
        return self

    def stop(self):
        self.process.stop()

    def client(self, *arguments):
        return subprocess.run(["fail2ban-client", *map(str, self.options), *arguments], text=True, capture_output=True, timeout=60)

    def log(self):
        file = self.folder / "fail2ban.log"
        return file.read_text() if file.exists() else ""


class Ban(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        command = f"{mailgate.binary()} --config {gateway.config}"
        cls.fail2ban = scratch.start(Fail2ban({"enabled": "true", "logpath": gateway.log_file, "maxretry": 3, "bantime": 600,
                                               "action": f'mailgate[command="{command}"]'}))

    def told(self):
        return f"{self.fail2ban.log()}\n{gateway.access('list')}"

    def rules(self, client):
        return [(rule["set"], rule["verdict"], rule["listener"], rule["note"], rule["created_by"], rule["expires_at"] is None)
                for rule in json.loads(gateway.run("access", "list", "--match", client, "--json").stdout)["rules"]]

    BAN = ("fail2ban", "deny", None, "fail2ban mailgate", "program fail2ban mailgate", False)

    def ban(self, client):
        self.fail2ban.client("set", "mailgate", "banip", client)
        wait_until(lambda: f"Ban {client}" in self.fail2ban.log(), self.told)

    def unban(self, client):
        self.fail2ban.client("set", "mailgate", "unbanip", client)
        wait_until(lambda: f"Unban {client}" in self.fail2ban.log(), self.told)

    def settle(self, client):
        """fail2ban's actions are over one after the other: those for the client are, once a later one is."""
        self.ban(client)
        wait_until(lambda: self.rules(client) == [self.BAN], self.told)

    def test_a_client_that_was_refused_too_often_is_denied_everywhere_until_the_ban_ends(self):
        client = "203.0.113.20"
        self.assertTrue(greeting("open", client).startswith(b"220 "))
        for _ in range(3):
            refuse(client)
        wait_until(lambda: not greeting("open", client).startswith(b"220 "), self.told)
        self.assertEqual(self.rules(client), [self.BAN])
        self.unban(client)
        wait_until(lambda: greeting("open", client).startswith(b"220 "), self.told)
        self.assertEqual(self.rules(client), [])
        self.assertNotRegex(self.fail2ban.log(), "ERROR")

    def test_an_administrators_rule_outlives_ban_and_unban(self):
        client = "203.0.113.21"
        gateway.access("deny", client, "--note", "abuse ticket 99")
        mine = self.rules(client)
        self.assertTrue(mine[0][-1])
        self.ban(client)
        wait_until(lambda: self.rules(client) == [*mine, self.BAN], self.told)
        self.unban(client)
        self.settle("203.0.113.32")
        self.assertEqual(self.rules(client), mine)

    def test_a_denial_that_an_administrator_adds_to_a_ban_stays(self):
        client = "203.0.113.22"
        self.settle(client)
        gateway.access("deny", client, "--note", "for good")
        self.assertEqual(len(self.rules(client)), 2)
        self.unban(client)
        self.settle("203.0.113.33")
        [(rule_set, verdict, listener, note, author, for_good)] = self.rules(client)
        self.assertEqual((rule_set, verdict, listener, note, for_good), ("manual", "deny", None, "for good", True))
        self.assertFalse(greeting("open", client).startswith(b"220 "))
        self.assertNotRegex(self.fail2ban.log(), "ERROR")

    def test_an_allow_rule_of_the_address_outlives_the_ban(self):
        client = "203.0.113.23"
        gateway.access("allow", client, "--note", "a partner")
        self.ban(client)
        wait_until(lambda: len(self.rules(client)) == 2, self.told)
        self.unban(client)
        wait_until(lambda: len(self.rules(client)) == 1, self.told)
        self.assertEqual(self.rules(client)[0][:4], ("manual", "allow", None, "a partner"))

    def test_a_list_that_is_replaced_leaves_the_bans(self):
        client = "203.0.113.24"
        self.settle(client)
        listing = scratch.path / "git.txt"
        listing.write_text("allow 198.51.100.0/24\n")
        for arguments in (("--set", "partners"), ()):
            self.assertRegex(gateway.access("import", "--replace", str(listing), *arguments), "not touched: set fail2ban, ")
            self.assertEqual(self.rules(client), [self.BAN])

    def test_an_administrator_can_lift_a_ban(self):
        client = "203.0.113.25"
        self.settle(client)
        gateway.access("remove", client)
        self.unban(client)
        self.settle("203.0.113.34")
        self.assertEqual(self.rules(client), [])
        self.assertNotRegex(self.fail2ban.log(), "ERROR")
