# SPDX-License-Identifier: Apache-2.0
"""Who sent this: real sessions through mailgate, and what `mailgate sessions` and `mailgate top` say of them afterwards."""

import base64
import contextlib
import datetime
import hashlib
import itertools
import json
import re
import resource
import signal
import sqlite3
import subprocess
import threading
import time
import unittest

from harness import backend, mailgate, proxyclient
from harness.dovecot import USERS, Dovecot
from harness.haproxy import HAProxy
from harness.ports import reserve_port
from harness.postfix import Postfix
from harness.process import Scratch, wait_until

SECRET = {**USERS, "wrong": "Wr0ng-but-almost-right"}
scratch = dovecot = postfix = None
ports = itertools.count(41000)  # of the clients: Postfix's log tells their sessions apart by these


class AuthenticatingDovecot(Dovecot):
    """Checks passwords for Postfix too, and knows APOP."""

    def _configuration(self, passwd):
        text = super()._configuration(passwd).replace("auth_mechanisms = plain login",
                                                      "auth_mechanisms = plain login apop")
        return text + f"service auth {{\n  unix_listener {self.folder}/sasl {{\n    mode = 0666\n  }}\n}}\n"


def setUpModule():
    global scratch, dovecot, postfix
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    dovecot = scratch.start(AuthenticatingDovecot(scratch))
    postfix = scratch.start(Postfix(scratch, settings={
        "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": dovecot.folder / "sasl",
        "recipient_delimiter": "+"}))


class Asked(mailgate.Mailgate):
    """A daemon in front of the module's Postfix and Dovecot, and questions to its journal."""

    def __init__(self, name, **settings):
        services = ("imap", "pop3", "lmtp", "sieve")
        super().__init__(
            scratch,
            [mailgate.listener("smtp", "postfix"),
             mailgate.listener("smtp", "postfix", name="guarded", access="allowlist"),
             mailgate.listener("smtp", "nobody", name="down"),
             *(mailgate.listener(service, service) for service in services)],
            [mailgate.upstream("postfix", postfix.proxy_port), mailgate.upstream("nobody", reserve_port()),
             *(mailgate.upstream(service, dovecot.proxy_port[service]) for service in services)],
            name=name, **settings)

    def sessions(self, *filters):
        """What the filters find, oldest first."""
        done = self.run("sessions", "--json", "--limit", "100000", *filters)
        assert (done.returncode, bool(done.stderr)) == ((0, False) if done.stdout else (1, True)), done
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return [line for line in lines if line["event"] != "session.mail"]

    def further_mail(self, *filters):
        """The mails that have a line of their own, by their senders."""
        lines = [json.loads(line) for line in self.run("sessions", "--json", *filters).stdout.splitlines()]
        return {line["from"]: line for line in lines if line["event"] == "session.mail"}

    def wait_sessions(self, count, *filters):
        return wait_until(lambda: len(found := self.sessions(*filters)) >= count and found,
                          lambda: f"{count} sessions with {filters}:\n{self.text('sessions')}\n{self.log_text()[-3000:]}")

    def session(self, *filters):
        """The only session that the filters find, once it is there."""
        [found] = self.wait_sessions(1, *filters)
        return found

    def text(self, *arguments):
        done = self.run(*arguments)
        assert done.returncode == 0, done
        return done.stdout

    def status(self):
        return json.loads(self.text("status", "--json"))

    def kill_and_start_again(self):
        starts = len(self.events("gateway.start"))
        self.kill()
        self.launch()
        self.process.wait_ready(lambda: len(self.events("gateway.start")) > starts, "a second start")


def smtp(port, client, client_port=40000):
    return proxyclient.SMTP(port, proxyclient.header_v2(client, client_port))


def send(port, client, sender, *recipients, client_port=None):
    """One mail in one session; Postfix's own queue id for it, from its log."""
    client_port = client_port or next(ports)
    with smtp(port, client, client_port) as session:
        session.sendmail(sender, recipients, b"Subject: hello\r\n\r\nbody\r\n")
    return postfix.wait_log(rf"([0-9A-F]{{8,}}): client=unknown\[{re.escape(client)}\]:{client_port}")[1]


def imap_login(port, client, user, password, client_port=40000):
    session = proxyclient.IMAP(port, proxyclient.header_v2(client, client_port, destination_port=143))
    with contextlib.suppress(session.error):
        session.login(user, password)
    session.logout()


def converse(port, client, *exchanges):
    """Sends each text and waits for a line that matches its answer."""
    with proxyclient.connect(port, proxyclient.header_v2(client)) as session:
        for text, answer in exchanges:
            session.sendall(text)
            heard = proxyclient.read_until(session, answer)
            assert re.search(rb"(?m)" + answer, heard), (text, heard)


class EveryFilter(unittest.TestCase):
    """One set of sessions; the clients are told apart by their addresses."""

    @classmethod
    def setUpClass(cls):
        cls.gateway = scratch.start(Asked("filters"))
        cls.gateway.access("allow", "198.51.100.0/24", "--listener", "guarded")
        cls.gateway.access("deny", "192.0.2.0/24")
        wait_until(lambda: any(line["rules"] == 2 for line in cls.gateway.events("access.changed")), "the rules")
        port = cls.gateway.port
        balancers = HAProxy(scratch, "balancers")
        first = balancers.frontend(port("smtp"), accept_proxy=True)
        second = balancers.frontend(port("smtp"), accept_proxy=True, check="source 127.0.0.2")
        mailboxes = balancers.frontend(port("imap"), accept_proxy=True)
        scratch.start(balancers)

        cls.queue_id = {
            "partner": send(first, "198.51.100.7", "alice@partner.example", "bob@example.net", client_port=50007),
            "v6": send(first, "2001:db8::7", "carol@partner.example", "carol@example.net", "dave@example.net"),
            "bounce": send(port("guarded"), "198.51.100.8", "", "bob@example.net"),
        }
        with smtp(second, "203.0.113.20") as session:
            session.sendmail("news1@news.example", ["alice@example.net"], b"Subject: 1\r\n\r\nbody\r\n")
            session.sendmail("news2@news.example", ["bob@example.net"], b"Subject: 2\r\n\r\nbody\r\n")
        with smtp(port("guarded"), "198.51.100.9") as session:
            session.ehlo()
            session.mail("spam@partner.example")
            assert session.rcpt("victim@elsewhere.example")[0] == 554
        imap_login(mailboxes, "198.51.100.31", "alice", USERS["alice"])
        imap_login(mailboxes, "203.0.113.99", "alice", "not-it")
        converse(port("pop3"), "198.51.100.32", (b"", rb"^\+OK"), (b"USER bob\r\n", rb"^\+OK"),
                 (b"PASS %s\r\n" % USERS["bob"].encode(), rb"^\+OK"), (b"QUIT\r\n", rb"^\+OK"))
        cls.told = {}
        for name, client in (("smtp", "192.0.2.66"), ("down", "198.51.100.70")):
            with proxyclient.connect(port(name), proxyclient.header_v2(client)) as session:
                cls.told[client] = proxyclient.read_line(session).decode()
        cls.gateway.wait_sessions(10)

    # What each question must find.
    ADMITTED = {"198.51.100.7", "2001:db8::7", "198.51.100.8", "203.0.113.20", "198.51.100.9", "198.51.100.31",
                "203.0.113.99", "198.51.100.32"}
    REFUSED = {"192.0.2.66", "198.51.100.70"}

    def test_each_filter_finds_its_sessions_and_no_others(self):
        everything = self.ADMITTED | self.REFUSED
        partners = {"198.51.100.7", "2001:db8::7", "198.51.100.9"}
        for filters, clients in (
                ("", everything),
                ("--client 198.51.100.7", {"198.51.100.7"}),
                ("--client 203.0.113.0/24", {"203.0.113.20", "203.0.113.99"}),
                ("--client 2001:db8::/32", {"2001:db8::7"}),
                ("--client 192.0.2.66", {"192.0.2.66"}),
                ("--client 198.51.100.77", set()),
                ("--from alice@partner.example", {"198.51.100.7"}),
                ("--from <ALICE@Partner.EXAMPLE>", {"198.51.100.7"}),
                ("--from @partner.example", partners),
                ("--from @PARTNER.example", partners),
                ("--from @artner.example", set()),
                ("--from <>", {"198.51.100.8"}),
                ("--to bob@example.net", {"198.51.100.7", "198.51.100.8", "203.0.113.20"}),
                ("--to dave@example.net", {"2001:db8::7"}),
                ("--to victim@elsewhere.example", {"198.51.100.9"}),
                ("--to @elsewhere.example", {"198.51.100.9"}),
                ("--from news1@news.example --to alice@example.net", {"203.0.113.20"}),
                ("--from news1@news.example --to bob@example.net", set()),  # two mails of one session
                ("--user alice", {"198.51.100.31", "203.0.113.99"}),
                ("--user bob", {"198.51.100.32"}),
                (f"--queue-id {self.queue_id['partner']}", {"198.51.100.7"}),
                (f"--queue-id {self.queue_id['v6']}", {"2001:db8::7"}),
                (f"--queue-id {self.queue_id['bounce']} --from <>", {"198.51.100.8"}),
                ("--queue-id 0000000000", set()),
                ("--refused-recipient victim@elsewhere.example", {"198.51.100.9"}),
                ("--refused-recipient @ELSEWHERE.example", {"198.51.100.9"}),
                ("--refused-recipient bob@example.net", set()),
                ("--reply 5.7.1", {"198.51.100.9", "192.0.2.66"}),  # of the server, and of mailgate
                (f"--reply {self.queue_id['v6'].lower()}", {"2001:db8::7"}),
                ("--protocol imap", {"198.51.100.31", "203.0.113.99"}),
                ("--protocol lmtp", set()),
                ("--end access", {"192.0.2.66"}),
                ("--end no_server", {"198.51.100.70"}),
                ("--rule 192.0.2.0/24", {"192.0.2.66"}),
                ("--rule 198.51.100.0/24", {"198.51.100.8", "198.51.100.9"}),
                ("--rule default --listener guarded", set()),
                ("--rule default --protocol pop3", {"198.51.100.32"}),
                ("--tls starttls", set()),
                ("--tls none --protocol pop3", {"198.51.100.32"}),
                ("--helo .example --protocol imap", set()),
                ("--helo CLIENT.example.org --from @news.example", {"203.0.113.20"}),
                ("--helo .example.org --from @news.example", {"203.0.113.20"}),
                ("--helo .ample.org --from @news.example", set()),
                ("--listener smtp", {"198.51.100.7", "2001:db8::7", "203.0.113.20", "192.0.2.66"}),
                ("--listener guarded", {"198.51.100.8", "198.51.100.9"}),
                ("--listener imap", {"198.51.100.31", "203.0.113.99"}),
                ("--balancer 127.0.0.2", {"203.0.113.20"}),
                ("--balancer 127.0.0.0/8", everything),
                ("--server postfix1", {"198.51.100.7", "2001:db8::7", "198.51.100.8", "203.0.113.20", "198.51.100.9"}),
                ("--server imap/imap1", {"198.51.100.31", "203.0.113.99"}),
                ("--verdict allow", everything - {"192.0.2.66"}),
                ("--verdict deny", {"192.0.2.66"}),
                ("--refused", self.REFUSED),
                ("--failed-logins", {"203.0.113.99"}),
                ("--failed-logins --user alice --client 198.51.100.0/24", set()),
                ("--refused --verdict allow", {"198.51.100.70"}),
                ("--since 1h", everything),
                ("--until 1h", set()),
                ("--since 1h --client 198.51.100.0/24 --listener pop3", {"198.51.100.32"})):
            with self.subTest(filters=filters):
                found = self.gateway.sessions(*filters.split())
                self.assertEqual({session["client"] for session in found}, clients)
                self.assertEqual(len(found), len(clients))

    def test_json_says_what_the_log_said(self):
        asked = {session["session"]: session for session in self.gateway.sessions()}
        logged = {line["session"]: line for event in ("session.end", "session.refused") for line in self.gateway.events(event)}
        self.assertEqual(asked.keys(), logged.keys())
        for key, line in logged.items():
            for name, value in line.items():
                self.assertEqual(asked[key].get(name), value, f"{name} of {line}")
            self.assertEqual(list(asked[key]), list(line))
        [mail] = self.gateway.session("--client", "198.51.100.9")["mail"]
        [refused] = mail["refused"]
        self.assertEqual((mail["recipients"], refused["to"], refused["reply"][:4]), ([], "victim@elsewhere.example", "554 "))

    def test_the_table_has_one_row_for_each_mail(self):
        heading, *rows = self.gateway.text("sessions", "--from", "@news.example").splitlines()
        self.assertEqual(heading.split()[:4], ["TIME", "SESSION", "CLIENT", "LISTENER"])
        self.assertEqual(len(rows), 2)
        for row, sender, recipient in zip(rows, ("news1", "news2"), ("alice", "bob")):
            self.assertRegex(row, rf"203\.0\.113\.20 +smtp +- +client\.example\.org +<{sender}@news\.example> +"
                                  rf"{recipient}@example\.net +[0-9A-F]+ +client_quit")
        [_, refused] = self.gateway.text("sessions", "--client", "192.0.2.66").splitlines()
        self.assertRegex(refused, r"192\.0\.2\.66 .*refused: access")

    def test_the_table_marks_failed_logins_and_refused_recipients(self):
        for client, mark in (("203.0.113.99", "imap +- +alice \\(failed\\) +-"), ("198.51.100.31", "imap +- +alice +-"),
                             ("198.51.100.9", "victim@elsewhere\\.example \\(1 refused\\) +554 5.7.1")):
            [_, row] = self.gateway.text("sessions", "--client", client).splitlines()
            self.assertRegex(row, mark)

    def test_limit_keeps_the_newest(self):
        newest = self.gateway.sessions()[-3:]
        lines = self.gateway.text("sessions", "--json", "--limit", "3").splitlines()
        *sessions, cut = [json.loads(line) for line in lines]
        self.assertEqual(sessions, newest)
        found = len(self.ADMITTED) + len(self.REFUSED)
        self.assertEqual(cut, {"event": "sessions.cut", "printed": 3, "found": found, "more": False})
        done = self.gateway.run("sessions", "--limit", "3")
        self.assertEqual(done.stderr, f"mailgate: the newest 3 of {found} sessions; --limit N or --all prints more\n")
        self.assertEqual(len(done.stdout.splitlines()), 4)
        whole = self.gateway.run("sessions", "--json", "--all")
        self.assertEqual((len(whole.stdout.splitlines()), whole.stderr), (found, ""))
        self.assertEqual(self.gateway.run("sessions", "--all", "--limit", "3").returncode, 2)

    def test_what_is_not_found_is_told_in_words(self):
        for arguments, code, words in (
                (("--client", "192.0.2.200"), 1, "no session in the journal matches"),
                (("--user", "nobody"), 1, 'no session in the journal has the user "nobody"'),
                (("--user", "alice", "--until", "1970-01-02"), 1, "no session in the journal matches"),
                (("--listener", "down", "--user", "alice"), 1, "no session in the journal matches"),
                (("--listener", "no\x1b"), 2, 'no listener is named "no\\x1B": '),
                (("--listener", "nope", "--follow"), 2, "smtp, guarded, down, imap"),
                (("--server", "postfix/nope"), 2, 'no server is named "postfix/nope": '),
                (("--server", "nope"), 2, "postfix/postfix1, nobody/nobody1")):
            for form in ((), ("--json",)):
                with self.subTest(arguments=arguments, form=form):
                    done = self.gateway.run("sessions", *arguments, *form)
                    self.assertEqual((done.returncode, done.stdout), (code, ""))
                    self.assertIn(words, done.stderr)
        done = self.gateway.run("top", "--since", "2000-01-01", "--until", "2000-01-02")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("no session in the journal matches", done.stderr)

    def test_times_are_given_as_people_write_them(self):
        everything = {session["session"] for session in self.gateway.sessions()}
        for arguments in (("--since", "yesterday"), ("--since", "1h30m"), ("--since", "1w", "--until", "tomorrow 10:00")):
            self.assertEqual({session["session"] for session in self.gateway.sessions(*arguments)}, everything)
        self.assertEqual(self.gateway.sessions("--until", "yesterday 10:00"), [])
        for arguments, words in ((("--since", "noon"), "expected yesterday, today, 10:00, 2026-11-25"),
                                 (("--since", "1y"), "expected w, d, h, m, s or ms"),
                                 (("--until", "2026-02-30"), "not in the calendar"),
                                 (("--since", "tomorrow"), "is in the future"),
                                 (("--since", "today", "--until", "yesterday"), "is after --until")):
            done = self.gateway.run("sessions", *arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(words, done.stderr)

    def test_a_session_is_shown_by_the_beginning_of_its_id(self):
        whole = self.gateway.session("--client", "198.51.100.7")
        shown = self.gateway.text("sessions", "--client", "198.51.100.7").splitlines()[1].split()[1]
        for prefix in (whole["session"], shown, shown.lower()):
            with self.subTest(prefix=prefix):
                story = self.gateway.text("sessions", "show", prefix)
                for fact in (r"client +198\.51\.100\.7 port 50007", r"server +postfix/postfix1", r"access +allow",
                             r"mail from +<alice@partner\.example>", r"to +<bob@example\.net>",
                             rf"queue id +{self.queue_id['partner']}", r"connect +\d+ ms", r"end +client_quit"):
                    self.assertRegex(story, fact)
        self.assertEqual(json.loads(self.gateway.text("sessions", "show", "--json", shown)), whole)

    def test_an_id_that_is_unknown_or_of_many_is_said_so(self):
        for prefix, words in (("7ZZZZZZZZZ", "no session"), (self.gateway.sessions()[0]["session"][:2], "several")):
            done = self.gateway.run("sessions", "show", prefix)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(words, done.stderr)

    def test_what_a_refused_client_was_told_leads_to_its_session(self):
        for client, reason in (("192.0.2.66", "access"), ("198.51.100.70", "no_server")):
            [quoted] = re.findall(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", self.told[client])
            session = json.loads(self.gateway.text("sessions", "show", "--json", quoted))
            self.assertEqual((session["event"], session["client"], session["reason"]), ("session.refused", client, reason))

    def test_top_adds_up(self):
        top = json.loads(self.gateway.text("top", "--json", "--limit", "100"))
        self.assertEqual((top["sessions"], top["refused"], top["failed_logins"]),
                         (len(self.ADMITTED) + len(self.REFUSED), len(self.REFUSED), 1))
        by_name = {kind: {entry["name"]: entry for entry in top[kind]} for kind in ("clients", "senders", "users")}
        self.assertEqual(by_name["clients"].keys(), self.ADMITTED | self.REFUSED)
        self.assertEqual(by_name["clients"]["192.0.2.66"]["refused"], 1)
        self.assertEqual(by_name["clients"]["203.0.113.20"]["mails"], 2)
        self.assertEqual(by_name["senders"].keys(), {"alice@partner.example", "carol@partner.example", "", "news1@news.example",
                                                     "news2@news.example", "spam@partner.example"})
        self.assertEqual({name: entry["sessions"] for name, entry in by_name["users"].items()}, {"alice": 2, "bob": 1})
        for name in ("sessions", "refused", "failed_logins"):
            self.assertEqual(sum(entry[name] for entry in top["clients"]), top[name])
        self.assertEqual(by_name["senders"]["spam@partner.example"]["mails_refused"], 1)
        self.assertEqual([entry["name"] for entry in json.loads(self.gateway.text("top", "--json", "--by", "failed-logins"))["clients"]],
                         ["203.0.113.99"])
        refused_first = json.loads(self.gateway.text("top", "--json", "--by", "refused"))["clients"]
        self.assertEqual({entry["name"] for entry in refused_first[:2]}, self.REFUSED)
        self.assertIn("198.51.100.7", self.gateway.text("top"))

    def test_wrong_questions_are_refused(self):
        for arguments in (("--client", "198.51.100.300"), ("--since", "noon"), ("--verdict", "maybe")):
            done = self.gateway.run("sessions", *arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(arguments[1], done.stderr)
        for arguments in (("--user", ""), ("--queue-id", ""), ("--to", ""), ("--limit", "0"), ("--limit", "-1"),
                          ("--limit", "99999999999999999999"), ("--live", "--follow"), ("--live", "--from", "<>")):
            with self.subTest(arguments=arguments):
                done = self.gateway.run("sessions", *arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(next(word for word in arguments if word != "--live"), done.stderr)


class Live(unittest.TestCase):
    def test_those_under_way_are_found_as_those_that_are_over(self):
        gateway = scratch.start(Asked("under-way"))
        with smtp(gateway.port("smtp"), "198.51.100.90") as session:
            session.ehlo()
            self.assertEqual(session.mail("Live@Partner.Example")[0], 250)
            for sender, found in (("live@partner.example", 1), ("@PARTNER.example", 1), ("@artner.example", 0),
                                  ("other@partner.example", 0)):
                done = gateway.run("sessions", "--live", "--json", "--from", sender)
                self.assertEqual((len(done.stdout.splitlines()), done.returncode), (found, 0 if found else 1), sender)
                self.assertEqual(done.stderr, "" if found else "mailgate: no current session matches\n")
            self.assertEqual(gateway.run("sessions", "--live", "--listener", "nope").returncode, 2)


class Time(unittest.TestCase):
    def test_since_and_until_divide_the_sessions(self):
        gateway = scratch.start(Asked("time"))
        send(gateway.port("smtp"), "198.51.100.1", "a@partner.example", "bob@example.net")
        gateway.wait_sessions(1)
        between = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(seconds=1)
        # The border's own millisecond belongs to both sides.
        wait_until(lambda: datetime.datetime.now(datetime.timezone.utc) - between >= datetime.timedelta(milliseconds=1), "the next second")
        send(gateway.port("smtp"), "198.51.100.2", "a@partner.example", "bob@example.net")
        gateway.wait_sessions(2)
        border = between.strftime("%Y-%m-%dT%H:%M:%SZ")
        for filters, clients in ((("--until", border), ["198.51.100.1"]), (("--since", border), ["198.51.100.2"]),
                                 (("--since", "1h", "--until", border), ["198.51.100.1"])):
            self.assertEqual([session["client"] for session in gateway.sessions(*filters)], clients)
        top = json.loads(gateway.text("top", "--since", border, "--json"))
        self.assertEqual([entry["name"] for entry in top["clients"]], ["198.51.100.2"])

    def test_follow_tells_of_sessions_as_they_end(self):
        gateway = scratch.start(Asked("follow"))
        send(gateway.port("smtp"), "198.51.100.3", "before@partner.example", "bob@example.net")
        gateway.wait_sessions(1)
        follower = subprocess.Popen([mailgate.binary(), "sessions", "--follow", "--json", "--from", "@partner.example",
                                     "--config", gateway.config], stdout=subprocess.PIPE, text=True)
        self.addCleanup(follower.stdout.close)
        self.addCleanup(follower.wait)
        self.addCleanup(follower.kill)
        self.assertEqual(json.loads(follower.stdout.readline())["client"], "198.51.100.3")
        send(gateway.port("smtp"), "198.51.100.4", "other@elsewhere.example", "bob@example.net")
        for number in (5, 6):
            send(gateway.port("smtp"), f"198.51.100.{number}", "now@partner.example", "bob@example.net")
            self.assertEqual(json.loads(follower.stdout.readline())["client"], f"198.51.100.{number}")


class Accidents(unittest.TestCase):
    def setUp(self):
        self.gateway = Asked(self._testMethodName, log={"level": "information"})

    def mail(self, number):
        return send(self.gateway.port("smtp"), f"198.51.100.{number}", f"sender{number}@partner.example", "bob@example.net")

    def test_what_was_shown_once_survives_a_kill(self):
        scratch.start(self.gateway)
        stop = threading.Event()

        def traffic():
            with contextlib.suppress(OSError):  # the kill
                while not stop.is_set():
                    with smtp(self.gateway.port("smtp"), "198.51.100.50") as session:
                        session.sendmail("load@partner.example", ["bob@example.net"], b"Subject: x\r\n\r\nbody\r\n")

        threads = [threading.Thread(target=traffic) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for round_ in range(3):
                shown = {session["session"]: session for session in self.gateway.wait_sessions(30 * (round_ + 1))}
                if round_ == 2:
                    self.gateway.kill_and_start_again()
                again = {session["session"]: session for session in self.gateway.sessions()}
                self.assertEqual(shown, {key: again.get(key) for key in shown})
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        self.mail(51)
        self.gateway.session("--client", "198.51.100.51")

    def hold_the_lock(self):
        """Another program that does not let go of the journal. Returns how to end that."""
        holder = sqlite3.connect(self.gateway.journal, isolation_level=None)
        self.addCleanup(holder.close)
        holder.execute("PRAGMA busy_timeout = 30000")
        holder.execute("BEGIN IMMEDIATE")
        return lambda: holder.execute("ROLLBACK")

    def allow_files_of(self, size):
        soft, hard = resource.prlimit(self.gateway.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.gateway.process.pid, resource.RLIMIT_FSIZE, (size, hard))
        return lambda: resource.prlimit(self.gateway.process.pid, resource.RLIMIT_FSIZE, (soft, hard))

    def put_a_folder_there(self):
        """The files are gone and a folder has their name."""
        moved = self.gateway.folder / "moved"
        moved.mkdir()
        for path in self.gateway.folder.glob(self.gateway.journal.name + "*"):
            path.rename(moved / path.name)
        self.gateway.journal.mkdir()

        def undo():
            self.gateway.journal.rmdir()
            for path in moved.iterdir():
                path.rename(self.gateway.folder / path.name)
        return undo

    def goes_on_without_its_journal(self, accident):
        """Mail passes and is logged from the accident to its end; then the journal has it all."""
        scratch.start(self.gateway)
        self.mail(1)
        self.gateway.wait_sessions(1)
        undo = accident()
        self.mail(2)
        self.gateway.wait_event("session.end", client="198.51.100.2")
        failed = self.gateway.wait_event("journal.failed")
        self.assertEqual(failed["level"], "error")
        self.assertTrue(failed["detail"])
        ids = {number: self.mail(number) for number in range(3, 8)}
        for number, queue_id in ids.items():
            [mail] = self.gateway.wait_event("session.end", client=f"198.51.100.{number}")["mail"]
            self.assertIn(queue_id, mail["reply"])
        wait_until(lambda: self.gateway.status()["journal"]["queued"] >= len(ids), "sessions that wait")
        self.assertEqual(self.gateway.events("journal.recovered"), [])
        undo()
        recovered = self.gateway.wait_event("journal.recovered")
        self.assertEqual((recovered["level"], recovered["lost"]), ("warning", 0))
        self.assertEqual(len(self.gateway.events("journal.failed")), 1, "once for each change of state")
        found = self.gateway.wait_sessions(7)
        self.assertEqual(sorted(session["client"] for session in found), [f"198.51.100.{number}" for number in range(1, 8)])
        for number, queue_id in ids.items():
            self.assertEqual(self.gateway.session("--queue-id", queue_id)["client"], f"198.51.100.{number}")

    def test_a_lock_that_another_program_holds(self):
        self.goes_on_without_its_journal(self.hold_the_lock)

    def test_a_disk_that_takes_no_more(self):
        # A commit takes three pages; the event log needs less than this for the whole test.
        self.goes_on_without_its_journal(lambda: self.allow_files_of(12_000))

    def test_a_folder_in_its_place(self):
        self.goes_on_without_its_journal(lambda: self.put_a_folder_there())

    def test_a_damaged_file_at_a_start(self):
        self.gateway.journal.write_bytes(b"no database\n" * 4000)
        self.gateway.write_config()
        checked = self.gateway.run("check")
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertIn("the journal cannot be written: ", checked.stdout)
        scratch.start(self.gateway)
        self.assertIn("is not an SQLite database", self.gateway.wait_event("journal.failed")["detail"])
        self.mail(1)
        wait_until(lambda: self.gateway.status()["journal"]["queued"] == 1, "a session that waits")
        self.assertIn("not an SQLite database", self.gateway.status()["journal"]["failure"])
        judged = self.gateway.run("status", "--check")
        self.assertEqual(judged.returncode, 1, judged.stdout)
        self.gateway.journal.rename(self.gateway.folder / "moved.db")
        self.gateway.wait_event("journal.recovered")
        self.assertEqual(self.gateway.session()["client"], "198.51.100.1")

    def test_what_is_lost_is_counted(self):
        scratch.start(self.gateway)
        self.mail(1)
        self.gateway.wait_sessions(1)
        self.hold_the_lock()
        for number in range(2, 6):
            self.mail(number)
        self.gateway.wait_event("journal.failed")
        self.gateway.wait_events(5, "session.end")
        self.gateway.stop()
        self.assertEqual(self.gateway.wait_event("gateway.stop")["journal_lost"], 4)


class Correlation(unittest.TestCase):
    """Three logs of one session are joined by the client's address and port, and by the queue id."""

    @classmethod
    def setUpClass(cls):
        cls.gateway = scratch.start(Asked("joined"))
        balancer = HAProxy(scratch, "balancer")
        cls.front = {name: balancer.frontend(cls.gateway.port(name), accept_proxy=True) for name in ("smtp", "imap")}
        scratch.start(balancer)

    def test_smtp(self):
        for client, port in (("198.51.100.41", 51041), ("2001:db8::41", 51042)):
            with self.subTest(client=client):
                queue_id = send(self.front["smtp"], client, "join@partner.example", "carol@example.net", client_port=port)
                session = self.gateway.session("--client", client)
                line = self.gateway.wait_event("session.end", client=client, client_port=port)
                self.assertEqual((session["session"], session["client_port"]), (line["session"], port))
                [mail] = session["mail"]
                self.assertEqual(mail["queue_id"], queue_id)
                # By address and port: the session in Postfix's log. By queue id: the way of the mail behind it.
                where = rf"unknown\[{re.escape(client)}\]:{port}"
                smtpd = postfix.wait_log(rf"smtpd\[(\d+)\]: connect from {where}")[1]
                postfix.wait_log(rf"smtpd\[{smtpd}\]: {queue_id}: client={where}")
                postfix.wait_log(rf"smtpd\[{smtpd}\]: disconnect from {where} .*data=1")
                postfix.wait_log(rf"{queue_id}: from=<join@partner\.example>, size=\d+, nrcpt=1")
                postfix.wait_log(rf"{queue_id}: to=<carol@example\.net>, .*status=sent")
                self.assertEqual([found["session"] for found in self.gateway.sessions("--queue-id", queue_id)],
                                 [session["session"]])

    def test_imap(self):
        for client, port in (("198.51.100.42", 51043), ("2001:db8::42", 51044)):
            with self.subTest(client=client):
                imap_login(self.front["imap"], client, "carol-of-nowhere", "nothing", port)
                imap_login(self.front["imap"], client, "bob", USERS["bob"], port + 100)
                wanted = {port: ("carol-of-nowhere", False), port + 100: ("bob", True)}
                found = self.gateway.wait_sessions(2, "--client", client)
                self.assertEqual({session["client_port"]: (session["user"], session["authenticated"]) for session in found},
                                 wanted)
                logged = self.gateway.events("session.end", client=client)
                self.assertEqual({line["client_port"]: line["session"] for line in logged},
                                 {session["client_port"]: session["session"] for session in found})
                dovecot.wait_log(rf"auth failed.*user=<carol-of-nowhere>, .*rip={client}, rport={port},")
                dovecot.wait_log(rf"Log(in|ged in): user=<bob>, .*rip={client}, rport={port + 100},")


def plain(user, password):
    return base64.b64encode(f"\0{user}\0{password}".encode())


class Names(unittest.TestCase):
    """However a user name crosses the wire it is in the journal, and what proves it is nowhere."""

    @classmethod
    def setUpClass(cls):
        cls.gateway = scratch.start(Asked("names"))
        cls.numbers = iter(range(1, 200))

    def converse(self, listener, *exchanges, user="bob", accepted=True):
        """A session that must leave the user's name in the journal."""
        client = f"198.51.100.{next(self.numbers)}"
        converse(self.gateway.port(listener), client, *exchanges)
        session = self.gateway.session("--client", client)
        self.assertEqual((session["user"], session.get("authenticated")), (user, accepted), exchanges)

    def test_imap(self):
        greeting = (b"", rb"^\* OK")
        for password, accepted in ((SECRET["bob"], True), (SECRET["wrong"], False)):
            word, size, answer = password.encode(), len(password), rb"^a (OK|NO)"
            proof = plain("bob", password)
            for exchanges in (
                    [(b"a LOGIN bob %s\r\n" % word, answer)],
                    [(b'a LOGIN "bob" "%s"\r\n' % word, answer)],
                    [(b"a LOGIN {3+}\r\nbob {%d+}\r\n%s\r\n" % (size, word), answer)],
                    [(b"a LOGIN {3}\r\n", rb"^\+"), (b"bob {%d}\r\n" % size, rb"^\+"), (word + b"\r\n", answer)],
                    [(b"a AUTHENTICATE PLAIN\r\n", rb"^\+"), (proof + b"\r\n", answer)],
                    [(b"a AUTHENTICATE PLAIN %s\r\n" % proof, answer)],
                    [(b"a AUTHENTICATE LOGIN\r\n", rb"^\+"), (base64.b64encode(b"bob") + b"\r\n", rb"^\+"),
                     (base64.b64encode(word) + b"\r\n", answer)],
                    [(b'i ID ("name" "client" "version" "1")\r\n', rb"^i OK"), (b"a LOGIN bob %s\r\n" % word, answer)]):
                with self.subTest(exchanges=exchanges):
                    self.converse("imap", greeting, *exchanges, accepted=accepted)

    def test_pop3(self):
        greeting = (b"", rb"^\+OK")
        for password, accepted in ((SECRET["bob"], True), (SECRET["wrong"], False)):
            word, answer, proof = password.encode(), rb"^(\+OK|-ERR)", plain("bob", password)
            for exchanges in (
                    [(b"USER bob\r\n", rb"^\+OK"), (b"PASS %s\r\n" % word, answer)],
                    [(b"AUTH PLAIN\r\n", rb"^\+"), (proof + b"\r\n", answer)],
                    [(b"AUTH PLAIN %s\r\n" % proof, answer)]):
                with self.subTest(exchanges=exchanges):
                    self.converse("pop3", greeting, *exchanges, accepted=accepted)

    def test_pop3_apop(self):
        for password, accepted in ((SECRET["bob"], True), (SECRET["wrong"], False)):
            client = f"198.51.100.{next(self.numbers)}"
            session = proxyclient.POP3(self.gateway.port("pop3"), proxyclient.header_v2(client))
            with contextlib.suppress(Exception if not accepted else ()):
                session.apop("bob", password)
            session.quit()
            found = self.gateway.session("--client", client)
            self.assertEqual((found["user"], found["authenticated"]), ("bob", accepted))

    def test_sieve(self):
        for password, accepted in ((SECRET["bob"], True), (SECRET["wrong"], False)):
            proof = plain("bob", password)
            for exchanges in (
                    [(b'AUTHENTICATE "PLAIN" "%s"\r\n' % proof, rb"^(OK|NO)")],
                    [(b'AUTHENTICATE "PLAIN" {%d+}\r\n%s\r\n' % (len(proof), proof), rb"^(OK|NO)")]):
                with self.subTest(exchanges=exchanges):
                    self.converse("sieve", (b"", rb"^OK"), *exchanges, accepted=accepted)

    def test_smtp(self):
        greeting = [(b"", rb"^220 "), (b"EHLO client.example.org\r\n", rb"^250 ")]
        for password, accepted in ((SECRET["bob"], True), (SECRET["wrong"], False)):
            word, answer, proof = password.encode(), rb"^[25]35 ", plain("bob", password)
            for exchanges in (
                    [(b"AUTH PLAIN %s\r\n" % proof, answer)],
                    [(b"AUTH PLAIN\r\n", rb"^334"), (proof + b"\r\n", answer)],
                    [(b"AUTH LOGIN\r\n", rb"^334"), (base64.b64encode(b"bob") + b"\r\n", rb"^334"),
                     (base64.b64encode(word) + b"\r\n", answer)],
                    [(b"AUTH LOGIN %s\r\n" % base64.b64encode(b"bob"), rb"^334"), (base64.b64encode(word) + b"\r\n", answer)]):
                with self.subTest(exchanges=exchanges):
                    self.converse("smtp", *greeting, *exchanges, (b"QUIT\r\n", rb"^221 "), accepted=accepted)

    def test_the_mail_after_a_login_has_its_user(self):
        client = f"198.51.100.{next(self.numbers)}"
        with smtp(self.gateway.port("smtp"), client) as session:
            session.login("bob", SECRET["bob"], initial_response_ok=False)
            session.sendmail("bob@example.net", ["carol@example.net"], b"Subject: submitted\r\n\r\nbody\r\n")
        found = self.gateway.session("--client", client)
        self.assertIn(found, self.gateway.sessions("--user", "bob", "--from", "bob@example.net", "--to", "carol@example.net"))
        postfix.wait_log(rf"{found['mail'][0]['queue_id']}: client=unknown\[{re.escape(client)}\].*sasl_username=bob")

    def tearDown(self):
        self.nothing_written_holds_a_secret()

    def nothing_written_holds_a_secret(self):
        """In the log, the journal with its -wal, standard error, and what the command line prints."""
        written = {path: path.read_bytes() for path in self.gateway.folder.rglob("*") if path.is_file()}
        for expected in (self.gateway.log_file, self.gateway.journal, self.gateway.folder / "mailgate-journal.db-wal"):
            self.assertIn(expected, written)
        for command in (["sessions"], ["sessions", "--json"], ["top"], ["status", "--json"]):
            written[" ".join(command)] = self.gateway.text(*command).encode()
        for name in ("bob", "wrong"):
            word = SECRET[name].encode()
            for form in (word, base64.b64encode(word), plain("bob", SECRET[name]), word.hex().encode(), word[:12].hex().encode(),
                         hashlib.md5(word).hexdigest().encode()):
                for where, content in written.items():
                    self.assertNotIn(form, content, where)


class Envelopes(unittest.TestCase):
    """What the journal knows of mail, whatever way it came."""

    @classmethod
    def setUpClass(cls):
        cls.gateway = scratch.start(Asked("envelopes"))

    def smtp(self, client):
        session = smtp(self.gateway.port("smtp"), client)
        self.addCleanup(session.close)
        session.ehlo()
        return session

    def mails(self, client):
        return self.gateway.session("--client", client)["mail"]

    def test_bdat(self):
        chunks = [b"Subject: chunks\r\n\r\n", b"MAIL FROM:<forged@partner.example>\r\n.\r\n", "für Größe\r\n".encode()]
        converse(self.gateway.port("smtp"), "198.51.100.1", (b"", rb"^220 "), (b"EHLO c.example\r\n", rb"^250 "),
                 (b"MAIL FROM:<chunks@partner.example>\r\n", rb"^250 "), (b"RCPT TO:<bob@example.net>\r\n", rb"^250 "),
                 *((b"BDAT %d\r\n" % len(chunk) + chunk, rb"^250 ") for chunk in chunks),
                 (b"BDAT 0 LAST\r\n", rb"^250 .*queued as"), (b"QUIT\r\n", rb"^221 "))
        [mail] = self.mails("198.51.100.1")
        self.assertEqual((mail["from"], mail["recipients"], mail["size"]),
                         ("chunks@partner.example", ["bob@example.net"], sum(map(len, chunks))))
        self.assertIn(f"{mail['queue_id']}: from=<chunks@partner.example>", postfix.wait_log(rf"{mail['queue_id']}: from=.*")[0])
        self.assertEqual(self.gateway.sessions("--from", "forged@partner.example"), [])

    def test_smtputf8(self):
        session = self.smtp("198.51.100.2")
        session.command_encoding = "utf-8"
        session.mail("jörg@müller.example", ["SMTPUTF8"])
        self.assertEqual(session.rcpt("bob@example.net")[0], 250)
        session.data(b"Subject: utf8\r\n\r\nbody\r\n")
        session.quit()
        self.assertEqual(self.mails("198.51.100.2")[0]["from"], "jörg@müller.example")
        for sender in ("jörg@müller.example", "@müller.example", "JÖRG@MÜLLER.example", "@xn--mller-kva.example"):
            self.assertEqual(self.gateway.session("--from", sender)["client"], "198.51.100.2")

    def test_rset_and_several_transactions(self):
        session = self.smtp("198.51.100.4")
        session.mail("dropped@partner.example")
        session.rcpt("alice@example.net")
        session.rset()
        for number in range(25):
            session.sendmail(f"sender{number}@partner.example", ["bob@example.net"], b"Subject: several\r\n\r\nbody\r\n")
        session.quit()
        found = self.gateway.session("--client", "198.51.100.4")
        self.assertEqual(found["mail_count"], 26)
        self.assertEqual([mail["from"] for mail in found["mail"]],
                         ["dropped@partner.example", *(f"sender{number}@partner.example" for number in range(19))])
        self.assertIsNone(found["mail"][0]["queue_id"])
        ids = [mail["queue_id"] for mail in found["mail"][1:]]
        self.assertEqual(len(set(ids)), 19)
        further = self.gateway.further_mail("--client", "198.51.100.4")
        self.assertEqual(list(further), [f"sender{number}@partner.example" for number in range(19, 25)])
        self.assertEqual([mail["number"] for mail in further.values()], list(range(21, 27)))
        ids += [mail["queue_id"] for mail in further.values()]
        self.assertEqual(len(set(ids)), 25)
        for queue_id in (ids[0], ids[-1]):
            postfix.wait_log(rf"{queue_id}: client=unknown\[198\.51\.100\.4\]")
            self.assertEqual(self.gateway.session("--queue-id", queue_id)["client"], "198.51.100.4")
        self.assertEqual(list(self.gateway.further_mail("--from", "sender24@partner.example")), ["sender24@partner.example"])
        logged = self.gateway.events("session.mail", client="198.51.100.4")
        self.assertEqual([{**line, "time": None} for line in logged], [{**line, "time": None} for line in further.values()])
        self.assertEqual(len(self.gateway.text("sessions", "--client", "198.51.100.4").splitlines()), 1 + 26)
        self.assertIn("<sender24@partner.example>", self.gateway.text("sessions", "show", found["session"]))

    def test_a_list_mail_has_all_its_recipients(self):
        session = self.smtp("198.51.100.14")
        recipients = [f"bob+{number}@example.net" for number in range(90)]
        refused = session.sendmail("list@partner.example", [*recipients, "victim@elsewhere.example"], b"Subject: l\r\n\r\nl\r\n")
        self.assertEqual(list(refused), ["victim@elsewhere.example"])
        session.quit()
        [mail] = self.gateway.session("--to", "bob+89@example.net", "--from", "list@partner.example")["mail"]
        self.assertEqual(mail["recipients"], recipients)
        self.assertEqual([entry["to"] for entry in mail["refused"]], ["victim@elsewhere.example"])
        self.assertRegex(mail["refused"][0]["reply"], "^554 ")
        self.assertEqual(self.gateway.session("--to", "victim@elsewhere.example")["client"], "198.51.100.14")

    def test_mails_of_a_session_that_never_ended_are_found(self):
        gateway = scratch.start(Asked("unfinished"))
        session = smtp(gateway.port("smtp"), "198.51.100.15")
        for number in range(23):
            session.sendmail(f"early{number}@partner.example", ["bob@example.net"], b"Subject: e\r\n\r\ne\r\n")
        further = wait_until(lambda: gateway.further_mail("--from", "early22@partner.example"), "the last mail")
        gateway.kill_and_start_again()
        self.assertEqual(gateway.further_mail("--from", "early22@partner.example"), further)
        self.assertEqual(gateway.sessions("--from", "early22@partner.example"), [])
        story = gateway.text("sessions", "show", further["early22@partner.example"]["session"])
        self.assertIn("<early20@partner.example>", story)
        self.assertIn("unknown: the session is still open", story)

    def test_lmtp_has_a_reply_for_each_recipient(self):
        converse(self.gateway.port("lmtp"), "198.51.100.5", (b"", rb"^220 "), (b"LHLO mx.example.net\r\n", rb"^250 "),
                 (b"MAIL FROM:<a@partner.example>\r\n", rb"^250 "), (b"RCPT TO:<alice@example.net>\r\n", rb"^250 "),
                 (b"RCPT TO:<nobody@example.net>\r\n", rb"^550 "), (b"RCPT TO:<bob@example.net>\r\n", rb"^250 "),
                 (b"DATA\r\n", rb"^354 "), (b"Subject: by LMTP\r\n\r\nbody\r\n.\r\n", rb"^250 .*bob@example\.net"),
                 (b"MAIL FROM:<b@partner.example>\r\n", rb"^250 "), (b"RCPT TO:<bob@example.net>\r\n", rb"^250 "),
                 (b"DATA\r\n", rb"^354 "), (b"Subject: second\r\n\r\nbody\r\n.\r\n", rb"^250 .*bob@example\.net"),
                 (b"QUIT\r\n", rb"^221 "))
        first, second = self.mails("198.51.100.5")
        self.assertEqual((first["from"], second["from"]), ("a@partner.example", "b@partner.example"))
        self.assertIn("bob@example.net", first["recipients"])
        self.assertRegex(first["reply"], r"^250 2\.0\.0 <bob@example\.net> .* Saved")
        self.assertRegex(second["reply"], r"^250 2\.0\.0 <bob@example\.net> .* Saved")
        self.assertEqual(first["recipients"], ["alice@example.net", "bob@example.net"])
        [refused] = first["refused"]
        self.assertEqual((refused["to"], refused["reply"][:4]), ("nobody@example.net", "550 "))
        for reply, expected in zip(first["replies"], (r"^250 .*<alice@example\.net> .* Saved",
                                                      r"^250 .*<bob@example\.net> .* Saved"), strict=True):
            self.assertRegex(reply, expected)
        [line] = self.gateway.events("session.end", client="198.51.100.5")
        self.assertEqual([mail["replies"] for mail in line["mail"]], [first["replies"], second["replies"]])
        story = self.gateway.text("sessions", "show", self.gateway.session("--client", "198.51.100.5")["session"])
        self.assertRegex(story, r"refused +<nobody@example\.net>  550 ")

    def test_text_that_fights_back_stays_one_line(self):
        session = proxyclient.connect(self.gateway.port("smtp"), proxyclient.header_v2("198.51.100.6"))
        with session:
            proxyclient.read_reply(session)
            session.sendall(b"EHLO \x1b[31mred\xff\x9b|\"'\r\n")
            proxyclient.read_reply(session)
            session.sendall(b"MAIL FROM:<\x1b[2J'; DROP TABLE session; --@partner.example>\r\nQUIT\r\n")
            proxyclient.read_to_end(session)
        self.gateway.session("--client", "198.51.100.6")
        for command in (["sessions"], ["sessions", "--json"], ["top", "--json"], ["top"]):
            self.assertNotRegex(self.gateway.text(*command), r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", command)


class Repeated(unittest.TestCase):
    def test_a_client_that_knocks_on_and_on_is_counted(self):
        gateway = scratch.start(Asked("knocking", gateway={"workers": 1}))
        for number in range(60):
            with proxyclient.connect(gateway.port("guarded"), proxyclient.header_v2(f"2001:db8:0:1::{number:x}")) as session:
                self.assertRegex(proxyclient.read_line(session), rb"^554 ")
        with proxyclient.connect(gateway.port("guarded"), proxyclient.header_v2("203.0.113.5")) as session:
            proxyclient.read_line(session)
        gateway.wait_event("session.refused", client="203.0.113.5")
        listener = next(item for item in gateway.status()["listeners"] if item["name"] == "guarded")
        self.assertEqual((listener["refused"], listener["refusals"]["access"]), (61, 61))
        self.assertEqual(len(gateway.events("session.refused")), 21)
        gateway.process.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        lines = [line for line in gateway.events("session.refused") if line["client"].startswith("2001:")]
        self.assertEqual(len(lines), 21)
        self.assertEqual(lines[-1]["repeated"], 40)
        self.assertTrue(all(line["rule"] is None and line["reply"].startswith("554 ") for line in lines))
        found = gateway.sessions("--refused")
        self.assertEqual(sorted(line.get("repeated", 0) for line in found), [0] * 21 + [40])
        self.assertEqual(json.loads(gateway.text("top", "--json"))["refused"], 61)
        [stop] = gateway.events("gateway.stop")
        self.assertEqual(stop["rejections"], [])


class Package(unittest.TestCase):
    def test_a_journal_that_was_never_written_is_said_to_be_empty(self):
        gateway = Asked("fresh")
        gateway.write_config()
        gateway.journal.touch()
        done = gateway.run("sessions")
        self.assertIn("nothing has been written to the journal yet", done.stderr)


class Timings(unittest.TestCase):
    def test_a_quiet_gateway_measures_from_the_accept(self):
        gateway = scratch.start(Asked("quiet", gateway={"workers": 1}))
        quiet_since = time.monotonic()
        wait_until(lambda: time.monotonic() - quiet_since > 4, "more than proxy_header without a connection")
        began = time.monotonic()
        with smtp(gateway.port("smtp"), "198.51.100.1") as session:
            session.noop()
        line = gateway.wait_event("session.end", client="198.51.100.1")
        took_at_most = (time.monotonic() - began) * 1000 + 1  # both ends of the gateway's measure are whole milliseconds
        self.assertLessEqual(line["header_ms"], line["duration_ms"])
        self.assertLessEqual(line["duration_ms"], took_at_most)
        self.assertEqual(gateway.session("--client", "198.51.100.1")["duration_ms"], line["duration_ms"])


class LostAddresses(unittest.TestCase):
    PRIVATE = "10.20.30.40"

    def visit(self, port, client=None):
        """The session of a client that says nothing but QUIT."""
        with proxyclient.connect(port, proxyclient.header_v2(client) if client else b"") as session:
            proxyclient.read_reply(session)
            session.sendall(b"QUIT\r\n")
            proxyclient.read_to_end(session)

    def metric(self):
        answer = subprocess.run(["curl", "--silent", "--fail", "--unix-socket", self.gateway.folder / "mailgate.sock",
                                 "http://mailgate/metrics"], capture_output=True, text=True, check=True).stdout
        return dict(re.findall(r'mailgate_address_alarm\{listener="(\w+)"\} (\d)', answer))

    def test_one_private_address_for_everybody_is_an_alarm(self):
        server = scratch.start(backend.Backend(backend.smtp))
        self.gateway = scratch.start(mailgate.Mailgate(
            scratch, [mailgate.listener("smtp", "mail"), mailgate.listener("smtp", "mail", name="other")],
            [mailgate.upstream("mail", server.port)], name="alarm", gateway={"workers": 8}))
        # Someone in front of the balancer lost the clients: it sees one address for all of them, and says so.
        balancer = HAProxy(scratch, "natted")
        front = balancer.frontend(self.gateway.port("smtp"), client=self.PRIVATE)
        scratch.start(balancer)
        for number in range(60):  # 50 of all workers decide
            self.visit(front)
            self.visit(self.gateway.port("other"), f"198.51.100.{number}")
        lost = self.gateway.wait_event("address.lost")
        self.assertEqual((lost["level"], lost["listener"], lost["client"]), ("critical", "smtp", self.PRIVATE))
        self.assertIn(self.PRIVATE, lost["hint"])
        self.assertEqual(json.loads(self.gateway.run("status", "--json").stdout)["address_alarms"], ["smtp"])
        self.assertEqual(self.metric(), {"smtp": "1", "other": "0"})
        for number in range(100):
            self.visit(self.gateway.port("smtp"), f"203.0.113.{number}")
        back = self.gateway.wait_event("address.back")
        self.assertEqual((back["level"], back["listener"]), ("warning", "smtp"))
        self.assertEqual(json.loads(self.gateway.run("status", "--json").stdout)["address_alarms"], [])
        self.assertEqual(self.metric(), {"smtp": "0", "other": "0"})
        self.assertEqual(len(self.gateway.events("address.lost")), 1)

    def test_one_public_address_is_a_busy_client(self):
        server = scratch.start(backend.Backend(backend.smtp))
        self.gateway = scratch.start(mailgate.Mailgate(
            scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", server.port)], name="busy",
            gateway={"workers": 8}))
        for _ in range(120):
            self.visit(self.gateway.port("smtp"), "198.51.100.7")
        self.gateway.wait_events(120, "session.end")
        self.assertEqual(self.gateway.events("address.lost"), [])
