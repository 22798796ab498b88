# SPDX-License-Identifier: Apache-2.0
"""Who may enter: rules, their changes while the gateway runs, what a refused client hears, and the access command."""

import contextlib
import csv
import datetime
import json
import os
import re
import sqlite3
import subprocess
import time
import unittest

from harness import backend, mailgate, proxyclient
from harness.dovecot import USERS, Dovecot
from harness.postfix import Postfix
from harness.process import Scratch, wait_until

scratch = postfix = dovecot = gateway = None

PROTOCOLS = ("smtp", "imap", "pop3", "lmtp", "sieve")
GREETING = {"smtp": rb"^220 mx\.example\.net", "imap": rb"^\* OK", "pop3": rb"^\+OK", "lmtp": rb"^220 ", "sieve": rb'^"IMPLEMENTATION"'}
REFUSAL = {"smtp": rb"^554 5\.7\.1 ", "imap": rb"^\* BYE \[CONTACTADMIN\] ", "pop3": rb"^-ERR \[SYS/PERM\] ",
           "lmtp": rb"^421 ", "sieve": rb'^BYE "'}
DELAY = {"smtp": rb"^450 4\.7\.1 ", "imap": rb"^\* BYE \[UNAVAILABLE\] ", "pop3": rb"^-ERR \[SYS/TEMP\] ",
         "lmtp": rb"^421 4\.7\.1 ", "sieve": rb'^BYE \(TRYLATER\) "'}
FOOTER = "questions about $client: postmaster@example.net $rule_note"


def setUpModule():
    global scratch, postfix, dovecot, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    postfix = scratch.start(Postfix(scratch))
    dovecot = scratch.start(Dovecot(scratch))
    ports = {"smtp": postfix.proxy_port, **dovecot.proxy_port}
    gateway = scratch.start(mailgate.Mailgate(
        scratch,
        [mailgate.listener(protocol, protocol, access="allowlist") for protocol in PROTOCOLS]
        + [mailgate.listener(protocol, protocol, name=f"{protocol}-{mode}", access="allowlist", mode=mode,
                             refusal_footer=FOOTER, client_sessions=1)
           for protocol in PROTOCOLS for mode in ("soft", "monitor")]
        + [mailgate.listener("smtp", "smtp", name="public")],
        [mailgate.upstream(protocol, ports[protocol]) for protocol in PROTOCOLS]))


def connect(listener, client):
    return proxyclient.connect(gateway.port(listener), proxyclient.header_v2(client))


def first_line(listener, client):
    with connect(listener, client) as session:
        return proxyclient.read_line(session)


def admitted(listener, client):
    return re.match(GREETING["smtp" if listener == "public" else listener.split("-")[0]],
                    first_line(listener, client)) is not None


class Refusals(unittest.TestCase):
    def test_each_protocol_says_no_in_its_own_words(self):
        for number, protocol in enumerate(PROTOCOLS):
            with self.subTest(protocol=protocol):
                client = f"203.0.113.{100 + number}"
                line = first_line(protocol, client)
                self.assertRegex(line, REFUSAL[protocol])
                self.assertTrue(line.endswith(b"\r\n"))
                self.assertLessEqual(len(line), 512)
                logged = gateway.wait_event("session.refused", client=client)
                self.assertEqual((logged["listener"], logged["protocol"]), (protocol, protocol))
                self.assertIn(logged["session"].encode(), line)

    def test_smtp_waits_for_quit(self):
        with connect("smtp", "203.0.113.110") as session:
            self.assertRegex(proxyclient.read_line(session), rb"^554 ")
            session.sendall(b"EHLO refused.example\r\n")
            self.assertRegex(proxyclient.read_reply(session), rb"^503 ")
            session.sendall(b"MAIL FROM:<a@refused.example>\r\nQUIT\r\n")
            self.assertRegex(proxyclient.read_reply(session), rb"^503 ")
            self.assertRegex(proxyclient.read_reply(session), rb"^221 ")
            self.assertEqual(session.recv(1), b"")

    def test_the_others_are_closed_after_the_refusal(self):
        for protocol in ("imap", "pop3", "sieve"):
            with self.subTest(protocol=protocol), connect(protocol, "203.0.113.111") as session:
                session.sendall(b"a1 NOOP\r\n" * 200)  # must not turn the goodbye into a reset that loses it
                self.assertRegex(proxyclient.read_to_end(session), REFUSAL[protocol])

    def test_servers_never_see_a_refused_client(self):
        for protocol in PROTOCOLS:
            first_line(protocol, "203.0.113.112")
        gateway.wait_events(len(PROTOCOLS), "session.refused", client="203.0.113.112")
        gateway.access("allow", "203.0.113.113")
        for protocol in PROTOCOLS:
            wait_until(lambda: admitted(protocol, "203.0.113.113"), f"{protocol} admits the allowed client")
        postfix.wait_log(r"\[203\.0\.113\.113\]")  # what came later is there, so what came before would be
        dovecot.wait_log(r"203\.0\.113\.113")
        self.assertNotIn("203.0.113.112", postfix.log() + dovecot.log())


class Modes(unittest.TestCase):
    def test_soft_refuses_for_now_in_the_words_of_each_protocol(self):
        for number, protocol in enumerate(PROTOCOLS):
            with self.subTest(protocol=protocol):
                client = f"203.0.113.{200 + number}"
                line = first_line(f"{protocol}-soft", client)
                self.assertRegex(line, DELAY[protocol])
                self.assertIn(f"; questions about {client}: postmaster@example.net".encode(), line)
                self.assertLessEqual(len(line), 512)
                logged = gateway.wait_event("session.refused", client=client)
                self.assertEqual(logged["reply"].encode(), line.rstrip(b"\r\n"))

    def test_soft_says_nothing_permanent_to_an_smtp_client_that_goes_on(self):
        with connect("smtp-soft", "203.0.113.206") as session:
            self.assertRegex(proxyclient.read_line(session), rb"^450 ")
            session.sendall(b"EHLO refused.example\r\nMAIL FROM:<a@refused.example>\r\nQUIT\r\n")
            self.assertEqual([proxyclient.read_reply(session)[:3] for _ in range(3)], [b"450", b"450", b"221"])

    def test_a_footer_shows_the_note_of_the_rule_that_denies_as_it_is_now(self):
        gateway.access("deny", "203.0.113.207", "--note", "ticket 4711", "--reply", "note")
        wait_until(lambda: b"postmaster@example.net ticket 4711\r\n" in first_line("smtp-soft", "203.0.113.207"), "the note")
        gateway.access("deny", "203.0.113.207", "--note", "ticket 4712")
        wait_until(lambda: b" ticket 4712\r\n" in first_line("smtp-soft", "203.0.113.207"), "the note as it is now")
        self.assertNotIn(b"4712", first_line("smtp", "203.0.113.207"), "a listener without it shows none")
        gateway.access("deny", "203.0.113.207", "--reply", "default")
        wait_until(lambda: b"4712" not in first_line("smtp-soft", "203.0.113.207"), "nor does a rule that does not say so")
        gateway.access("remove", "203.0.113.207")

    def test_a_rule_refuses_for_now_in_the_words_of_each_protocol(self):
        gateway.access("deny", "203.0.113.222/31", "--reply", "temporary")
        gateway.access("deny", "203.0.113.209")
        # By the other client of the rule: of one that is refused again and again the log has no line each.
        wait_until(lambda: re.match(DELAY["smtp"], first_line("smtp", "203.0.113.223")), "the refusal for now")
        for protocol in PROTOCOLS:
            with self.subTest(protocol=protocol):
                self.assertRegex(first_line(protocol, "203.0.113.222"), DELAY[protocol])
                self.assertRegex(first_line(protocol, "203.0.113.209"), REFUSAL[protocol])
        refused = gateway.wait_event("session.refused", client="203.0.113.222", protocol="smtp", rule="203.0.113.222/31")
        self.assertRegex(refused["reply"], r"^450 4\.7\.1 ")
        gateway.access("remove", "203.0.113.222/31", "203.0.113.209")

    def test_monitor_serves_whom_the_rules_and_limits_refuse_and_records_it(self):
        for number, protocol in enumerate(PROTOCOLS):
            with self.subTest(protocol=protocol):
                client, listener = f"203.0.113.{210 + number}", f"{protocol}-monitor"
                with connect(listener, client) as one, connect(listener, client) as other:
                    for session in (one, other):
                        self.assertRegex(proxyclient.read_line(session), GREETING[protocol])
                lines = gateway.wait_events(2, "session.end", client=client)
                self.assertEqual(sorted(len(line["would_refuse"]) for line in lines), [1, 2])
                for line in lines:
                    self.assertEqual(line["would_refuse"], ["access", "too_many"][:len(line["would_refuse"])])
                    self.assertRegex(line["reply"].encode(), REFUSAL[protocol])
                    self.assertIn(f"questions about {client}", line["reply"])
                    self.assertEqual(line["access"], "deny")
                    self.assertEqual("limit" in line, len(line["would_refuse"]) == 2)
                self.assertEqual(gateway.events("session.refused", client=client), [])

    def test_monitor_logs_a_user_in_behind_a_deny_rule_and_names_the_rule(self):
        gateway.access("deny", "203.0.113.220", "--note", "watched")
        rules = json.loads(gateway.access("list", "--json", "--match", "203.0.113.220"))
        rules = rules["rules"] if isinstance(rules, dict) else rules
        [rule] = [rule for rule in rules if rule["network"].split("/")[0] == "203.0.113.220"]
        wait_until(lambda: not admitted("public", "203.0.113.220"), "the rule is in force")
        client = proxyclient.IMAP(gateway.port("imap-monitor"), proxyclient.header_v2("203.0.113.220"))
        client.login("alice", USERS["alice"])
        client.logout()
        ended = gateway.wait_event("session.end", client="203.0.113.220", listener="imap-monitor")
        self.assertEqual((ended["would_refuse"], ended["rule_id"], ended["rule"], ended["user"]),
                         (["access"], rule["id"], "203.0.113.220", "alice"))
        gateway.access("remove", "203.0.113.220")


class Decisions(unittest.TestCase):
    def test_an_open_listener_admits_whom_no_rule_denies(self):
        self.assertTrue(admitted("public", "203.0.113.120"))
        gateway.access("deny", "203.0.113.121")
        wait_until(lambda: not admitted("public", "203.0.113.121"), "the denied client is refused")

    def test_the_most_specific_network_wins(self):
        gateway.access("allow", "198.51.100.0/24")
        gateway.access("deny", "198.51.100.64/26")
        gateway.access("allow", "198.51.100.66", "--listener", "smtp")
        expected = {"198.51.100.1": True, "198.51.100.65": False, "198.51.100.66": True}
        wait_until(lambda: all(admitted("smtp", client) == verdict for client, verdict in expected.items()),
                   f"the verdicts {expected}")
        self.assertFalse(admitted("imap", "198.51.100.66"), "the rule names another listener")

    def test_ipv6_and_mapped_addresses(self):
        gateway.access("allow", "2001:db8:1::/48")
        gateway.access("allow", "192.0.2.7")
        wait_until(lambda: admitted("smtp", "2001:db8:1::5") and admitted("smtp", "::ffff:192.0.2.7"), "both are admitted")
        self.assertFalse(admitted("smtp", "2001:db8:2::5"))

    def test_the_log_names_the_rule_that_admitted(self):
        gateway.access("allow", "192.0.2.32/27")
        wait_until(lambda: admitted("smtp", "192.0.2.33"), "the client is admitted")
        with proxyclient.SMTP(gateway.port("smtp"), proxyclient.header_v2("192.0.2.34")) as session:
            session.ehlo()
        line = gateway.wait_event("session.end", client="192.0.2.34")
        self.assertEqual((line["access"], line["rule"]), ("allow", "192.0.2.32/27"))


class LiveChanges(unittest.TestCase):
    def time_until(self, change, condition):
        """Seconds from the change to the gateway's new answer."""
        change()
        start = time.monotonic()
        wait_until(condition, "the change to take effect", interval=0.02)
        return time.monotonic() - start

    def test_the_command_takes_effect_within_a_second(self):
        client = "192.0.2.100"
        self.assertFalse(admitted("smtp", client))
        allowed = self.time_until(lambda: gateway.access("allow", client), lambda: admitted("smtp", client))
        removed = self.time_until(lambda: gateway.access("remove", client), lambda: not admitted("smtp", client))
        self.assertLess(max(allowed, removed), 1.0 * mailgate.SLACK)

    def test_the_sqlite_shell_takes_effect_within_a_second(self):
        client = "192.0.2.101"
        gateway.access("allow", client)
        wait_until(lambda: admitted("smtp", client), "the client is admitted")

        def deny_by_hand():
            database = sqlite3.connect(gateway.database, timeout=10)
            with database:
                changed = database.execute("UPDATE access_rule SET verdict = 'deny' WHERE network = ?", (client,))
                self.assertEqual(changed.rowcount, 1)
            database.close()

        self.assertLess(self.time_until(deny_by_hand, lambda: not admitted("smtp", client)), 1.0 * mailgate.SLACK)
        self.assertIn(client, gateway.access("history", client))

    def test_a_rule_that_expires_stops_matching_without_a_write(self):
        client = "192.0.2.102"
        gateway.access("allow", client, "--expires", "3s")
        wait_until(lambda: admitted("smtp", client), "the client is admitted", deadline=2.5)
        wait_until(lambda: not admitted("smtp", client), "the rule to expire", deadline=10)
        self.assertIn(client, gateway.access("list", "--expired"))

    def test_a_session_under_way_stays(self):
        client = "192.0.2.103"
        gateway.access("allow", client)
        wait_until(lambda: admitted("smtp", client), "the client is admitted")
        with proxyclient.SMTP(gateway.port("smtp"), proxyclient.header_v2(client)) as session:
            gateway.access("deny", client)
            wait_until(lambda: not admitted("smtp", client), "new sessions are refused")
            self.assertEqual(session.noop()[0], 250)

    def test_hits_are_counted(self):
        client = "192.0.2.104"
        gateway.access("allow", client)
        wait_until(lambda: admitted("smtp", client), "the client is admitted")

        def hits():
            [rule] = [rule for rule in json.loads(gateway.access("list", "--match", client, "--json"))["rules"]
                      if rule["network"] == client + "/32"]
            return rule["hits"]

        self.assertGreaterEqual(wait_until(hits, "hits written back"), 1)


class Rehearsal(unittest.TestCase):
    """What a change would do to the clients that were here."""

    def test_a_dry_run_says_which_sessions_would_be_decided_otherwise(self):
        friend, stranger = "192.0.2.140", "192.0.2.141"
        gateway.access("allow", friend)
        wait_until(lambda: admitted("smtp", friend), "the client is admitted")
        for client in (friend, stranger):
            with proxyclient.SMTP(gateway.port("public"), proxyclient.header_v2(client)) as session:
                session.ehlo()
            gateway.wait_event("session.end", client=client, listener="public")
        first_line("smtp", stranger)
        gateway.wait_event("session.refused", client=stranger)

        def told(*arguments):
            return gateway.access(*arguments, "--dry-run")

        wait_until(lambda: "1 session refused" in told("deny", stranger), "the journal has both")
        before = gateway.access("export"), gateway.access("history")
        self.assertEqual(told("deny", "192.0.2.140/31", "--listener", "public").splitlines()[-2:],
                         ["1 session of the last 7 days would be decided otherwise:",
                          f"  {stranger} on public: 1 session refused instead of admitted"])  # the friend's rule is more specific
        self.assertIn(f"{stranger} on smtp: 1 session admitted instead of refused", told("allow", stranger))
        self.assertRegex(told("remove", friend), rf"(?m)^- allow {friend}\n(.*\n)*  {friend} on smtp: \d+ sessions? refused instead of admitted$")
        self.assertEqual((gateway.access("export"), gateway.access("history")), before)
        self.assertTrue(admitted("smtp", friend))
        gateway.access("remove", friend)
        wait_until(lambda: not admitted("smtp", friend), "the client is refused")
        gateway.access("undo")
        wait_until(lambda: admitted("smtp", friend), "the rule is there again")


class Command(unittest.TestCase):
    """The access command on a store of its own, without a daemon."""

    def setUp(self):
        server = backend.Backend(backend.mute)
        self.addCleanup(server.stop)
        self.gateway = mailgate.Mailgate(
            scratch, [mailgate.listener("smtp", "mail", access="allowlist", trusted=["10.0.0.0/8"]),
                      mailgate.listener("imap", "mail", access="open", trusted=["10.0.0.0/8"])],
            [mailgate.upstream("mail", server.port)], name=f"command-{self._testMethodName}", gateway={"max_sessions": 100})
        self.gateway.write_config()

    def rules(self, *arguments):
        done = self.gateway.run("access", "list", "--json", *arguments)
        rules = json.loads(done.stdout)["rules"]
        self.assertEqual(done.returncode, 0 if rules else 1, done.stderr)
        self.assertEqual("no rule" in done.stderr, not rules)
        return rules

    def test_test_tells_the_verdict_and_the_rule_by_exit_code_too(self):
        self.gateway.access("allow", "198.51.100.0/24", "--note", "partner")
        self.gateway.access("deny", "198.51.100.9")
        for address, listener, code, rule in (("198.51.100.7", "smtp", 0, "198.51.100.0/24"),
                                              ("198.51.100.9", "smtp", 1, "198.51.100.9"),
                                              ("203.0.113.1", "smtp", 1, ""), ("203.0.113.1", "imap", 0, "")):
            with self.subTest(address=address, listener=listener):
                done = self.gateway.run("access", "test", address, "--listener", listener)
                self.assertEqual(done.returncode, code, done.stdout + done.stderr)
                self.assertIn(rule, done.stdout)

    def test_list_shows_what_was_said(self):
        self.gateway.access("allow", "198.51.100.0/24", "2001:db8::/32", "--listener", "smtp", "--listener", "imap",
                            "--expires", "7d", "--note", "partner & co")
        rules = self.rules()
        self.assertEqual({(rule["network"], rule["listener"]) for rule in rules},
                         {(network, listener) for network in ("198.51.100.0/24", "2001:db8::/32")
                          for listener in ("smtp", "imap")})
        self.assertEqual({(rule["verdict"], rule["note"]) for rule in rules}, {("allow", "partner & co")})
        expires = datetime.datetime.fromisoformat(rules[0]["expires_at"])
        days = (expires - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 86400
        self.assertAlmostEqual(days, 7, delta=0.1)
        self.assertEqual(len(self.rules("--match", "198.51.100.200")), 2)
        self.assertEqual(len(self.rules("--listener", "smtp")), 2)

    def test_remove_exits_with_one_when_there_is_nothing(self):
        self.gateway.access("allow", "198.51.100.0/24")
        self.gateway.access("remove", "198.51.100.0/24")
        self.assertEqual(self.gateway.run("access", "remove", "198.51.100.0/24").returncode, 1)
        self.assertEqual(self.rules(), [])

    def test_host_bits_are_an_error_that_names_what_may_be_meant(self):
        done = self.gateway.run("access", "allow", "192.0.2.5/24")
        self.assertEqual(done.returncode, 2)
        self.assertIn("192.0.2.0/24", done.stderr)
        self.assertIn("192.0.2.5/32", done.stderr)
        self.assertEqual(self.rules(), [])

    def test_own_balancers_cannot_be_denied_by_accident(self):
        done = self.gateway.run("access", "deny", "10.1.2.3")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--force", done.stderr)
        self.gateway.access("deny", "10.1.2.3", "--force")

    def test_usage_errors_exit_with_two(self):
        for arguments in (("allow",), ("allow", "not-an-address"), ("allow", "192.0.2.1", "--expires", "soon"),
                          ("frobnicate",), ("allow", "192.0.2.1", "--listener", "no-such-listener")):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.gateway.run("access", *arguments).returncode, 2)

    def test_import_is_all_or_nothing(self):
        listing = self.gateway.folder / "rules.txt"
        listing.write_text("# partners\nallow 198.51.100.0/24 partner one\nallow 192.0.2.0/25\ndeny 203.0.113.9\nallow 192.0.2.5/24\n")
        done = self.gateway.run("access", "import", str(listing))
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"\b5\b")  # the line
        self.assertEqual(self.rules(), [])
        listing.write_text(listing.read_text().replace("192.0.2.5/24", "2001:db8::/32"))
        self.gateway.access("import", str(listing))
        self.assertEqual(self.verdicts(),
                         {"198.51.100.0/24": "allow", "192.0.2.0/25": "allow", "203.0.113.9": "deny",
                          "2001:db8::/32": "allow"})

    def test_what_is_exported_can_be_imported(self):
        self.gateway.access("allow", "198.51.100.0/24", "--note", "partner")
        self.gateway.access("deny", "2001:db8::/32")
        listing = self.gateway.folder / "rules.txt"
        listing.write_text(self.gateway.access("export"))
        self.gateway.access("allow", "192.0.2.1")
        self.gateway.access("import", "--replace", str(listing))
        self.assertEqual({(rule["network"], rule["verdict"], rule["note"]) for rule in self.rules()},
                         {("198.51.100.0/24", "allow", "partner"), ("2001:db8::/32", "deny", "")})

    def do_import(self, text, *arguments, code=0):
        done = self.gateway.run("access", "import", "-", *arguments, stdin=text)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def verdicts(self):
        return {re.sub(r"(\d)/32$", r"\1", rule["network"]): rule["verdict"] for rule in self.rules()}

    def test_lists_of_others_keep_their_meaning(self):
        for text, arguments, summary, verdicts in (
                ("192.0.2.1 permit\n192.0.2.0/24 reject\n203.0.113.128/25 REJECT snowshoe spammers\n2001:db8:bad::/48 reject\n", (),
                 "imported 4 rules (cidr): 1 allow, 3 deny; 4 added, 0 changed, 0 unchanged, 0 removed",
                 {"192.0.2.1": "allow", "192.0.2.0/24": "deny", "203.0.113.128/25": "deny", "2001:db8:bad::/48": "deny"}),
                ("203.0.113.60/32\t554 5.7.1 go away\r\n", (), "imported 1 rule (cidr): 0 allow, 1 deny", {"203.0.113.60": "deny"}),
                ("; DROP\n1.10.16.0/20 ; SBL256894\n", (), "1 rule (drop): 0 allow, 1 deny", {"1.10.16.0/20": "deny"}),
                ('{"cidr":"1.10.16.0/20","sblid":"SBL256894"}\n', (), "1 rule (drop): 0 allow, 1 deny", {"1.10.16.0/20": "deny"}),
                ("198.51.100.0/24\n", ("--verdict", "deny"), "1 rule (plain): 0 allow, 1 deny", {"198.51.100.0/24": "deny"}),
                ("198.51.100.0/24 allow\n", (), "1 rule (haproxy): 1 allow, 0 deny", {"198.51.100.0/24": "allow"}),
                ("ip,action\n198.51.100.0/24,block\n", (), "1 rule (csv): 0 allow, 1 deny", {"198.51.100.0/24": "deny"})):
            with self.subTest(text=text):
                self.assertIn(summary, self.do_import(text, *arguments))
                self.assertEqual(self.verdicts(), verdicts)
                self.gateway.access("remove", *verdicts)

    def test_what_a_list_means_is_not_guessed(self):
        for text, words in (("198.51.100.0/24\n", "--verdict allow or --verdict deny"),
                            ("203.0.113.7 \t2026-11-25 23:06:13 + 3600 = 2026-11-26 00:06:13\n", "leave out fail2ban-client's --with-time"),
                            ("192.0.2.0/24 expire=2027-01-01T00:00:00Z\n", "is not an option"),
                            ("allow 192.0.2.0/24 expire=2027-01-01T00:00:00Z\n", "is not an option"),
                            ("allow 192.0.2.64/26 Listener=smtp temp\n", "is not an option"),
                            ("allow 0.0.0.0/0\n", "--force")):
            with self.subTest(text=text):
                self.assertIn(words, self.do_import(text, code=1))
        for arguments in (("--verdict", "maybe"), ("--format", "nftables")):
            self.do_import("192.0.2.1\n", *arguments, code=2)
        self.assertEqual(self.rules(), [])

    def test_a_stream_that_broke_off_changes_nothing(self):
        self.gateway.access("allow", "203.0.113.10", "--listener", "smtp", "--expires", "7d")
        self.gateway.access("deny", "203.0.113.9")
        export = self.gateway.access("export")
        self.assertTrue(export.endswith("\n# end, 2 rules\n"), export)
        before = self.rules()
        for length in range(len(export)):
            if length % 7 and length < len(export) - 20:
                continue
            self.do_import(export[:length], "--replace", code=1)
        self.do_import(export.replace("2 rules", "3 rules"), code=1)
        self.do_import("allow 192.0.2.1\n", "--replace", code=1)
        self.assertEqual(self.rules(), before)
        self.assertIn("2 unchanged, 0 removed", self.do_import(export, "--replace"))

    def test_a_list_that_cannot_be_read_is_not_an_empty_one(self):
        for arguments, stdin in (((str(self.gateway.folder),), None), (("-",), os.open(self.gateway.folder, os.O_RDONLY))):
            with self.subTest(arguments=arguments):
                done = subprocess.run(self.gateway.argv("access", "import", *arguments), stdin=stdin, text=True,
                                      capture_output=True, timeout=60)
                self.assertEqual(done.returncode, 1, done)
                self.assertEqual(done.stderr, f"{arguments[0]}: cannot be read: Is a directory\n")
            if stdin is not None:
                os.close(stdin)

    def test_what_is_not_said_of_a_rule_stays(self):
        self.gateway.access("allow", "192.0.2.0/25", "--expires", "180d", "--client-sessions", "200", "--client-rate", "0",
                            "--note", "ACME Corp, ticket 4711")
        [first] = self.rules()
        told = self.gateway.access("allow", "192.0.2.0/25", "--note", "ACME renewed")
        self.assertIn('"ACME renewed"', told)
        self.assertIn("expires " + first["expires_at"], told)
        self.do_import("192.0.2.0/25\n", "--verdict", "allow")
        self.assertEqual(self.rules(), [{**first, "note": "ACME renewed"}])
        self.gateway.access("allow", "192.0.2.0/25", "--note", "", "--expires", "never", "--client-sessions", "none")
        self.assertEqual(self.rules(), [{**first, "note": "", "expires_at": None, "client_sessions": None}])

    def test_everybody_is_let_in_on_purpose_only(self):
        for network in ("0.0.0.0/0", "::/0", "128.0.0.0/1", "2000::/3", "2000::/4"):
            for verdict in ("allow", "deny"):
                done = self.gateway.run("access", verdict, network, "--listener", "imap")
                self.assertEqual(done.returncode, 1)
                self.assertIn("--force", done.stderr)
        self.gateway.access("allow", "::/0", "--force")

    def test_the_last_allow_rule_of_an_allowlist_goes_with_a_warning(self):
        self.gateway.access("allow", "198.51.100.0/24", "192.0.2.1")
        self.assertNotIn("warning", self.gateway.run("access", "remove", "192.0.2.1").stderr)
        done = self.gateway.run("access", "remove", "198.51.100.0/24")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr, 'warning: listener "smtp" has access = "allowlist".*refuses every client')
        self.assertNotIn("imap", done.stderr)

    def test_a_listener_that_was_renamed(self):
        self.gateway.access("deny", "203.0.113.9", "--listener", "smtp", "--note", "spam")
        self.gateway.access("allow", "198.51.100.0/24", "--listener", "smtp")
        self.gateway.config.write_text(self.gateway.config.read_text().replace('name = "smtp"', 'name = "inbound"'))
        warning = 'no listener is named "smtp": 2 access rules that name it have no effect'
        for arguments in (("check",), ("access", "list"), ("access", "list", "--json")):
            done = self.gateway.run(*arguments)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(warning, done.stdout + done.stderr)
        self.assertEqual(len(self.rules("--listener", "smtp")), 2)
        export = self.gateway.access("export")
        self.assertIn("2 unchanged, 0 removed", self.do_import(export, "--replace"))
        self.assertEqual(self.gateway.run("access", "list", "--listener", "nope").returncode, 2)
        self.assertEqual(self.gateway.run("access", "rename-listener", "smtp", "nope").returncode, 2)
        self.assertEqual(self.gateway.run("access", "rename-listener", "imap", "inbound").returncode, 2)
        self.assertIn("2 rules of listener smtp now belong to listener inbound", self.gateway.access("rename-listener", "smtp", "inbound"))
        self.assertNotIn("warning", self.gateway.run("check").stdout)
        self.assertNotIn("warning", self.gateway.run("check").stdout)
        self.assertEqual(self.gateway.run("access", "test", "203.0.113.9", "--listener", "inbound").returncode, 1)
        self.assertIn("listener=smtp -> inbound (deny 203.0.113.9)", self.gateway.access("history"))
        self.gateway.config.write_text(self.gateway.config.read_text().replace('name = "inbound"', 'name = "mx"'))
        self.gateway.access("remove", "203.0.113.9", "--listener", "inbound")

    def in_set(self, name):
        return sorted(rule["network"] for rule in self.rules("--set", name))

    def remove(self, *arguments, code=0):
        done = self.gateway.run("access", "remove", *arguments, stdin="")
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_a_partner_is_a_set(self):
        self.gateway.access("allow", "198.51.100.0/24", "2001:db8:40::/48", "--listener", "smtp", "--set", "partners", "--note", "ACME relays",
                            "--owner", "ops@acme.example", "--ticket", "CHG-4711")
        [first, _] = self.rules("--set", "partners")
        self.assertEqual((first["owner"], first["ticket"], first["set"]), ("ops@acme.example", "CHG-4711", "partners"))
        self.gateway.access("allow", "198.51.100.0/24", "--listener", "smtp", "--set", "partners", "--ticket", "CHG-4712")
        self.assertEqual(self.rules("--set", "partners")[0], {**first, "ticket": "CHG-4712"})
        for text in ("ops@acme.example", "CHG-4712", "set partners"):
            self.assertIn(text, self.gateway.run("access", "test", "198.51.100.1", "--listener", "smtp").stdout)
        [partners] = [one for one in json.loads(self.gateway.access("set", "list", "--json"))["sets"] if one["name"] == "partners"]
        self.assertEqual((partners["rules"], partners["allow"], partners["deny"]), (2, 2, 0))
        shown = json.loads(self.gateway.access("set", "show", "partners", "--json"))
        self.assertEqual([rule["id"] for rule in shown["rules"]], [1, 2])
        self.assertIn("to be removed: rule 1: ", self.gateway.run("access", "set", "remove", "partners", stdin="").stdout)
        self.assertEqual(len(self.in_set("partners")), 2)
        self.gateway.access("set", "remove", "partners", "--yes")
        self.assertEqual(self.gateway.run("access", "set", "show", "partners").returncode, 2)
        self.assertEqual(self.rules(), [])

    def test_sets_hold_the_same_network_apart(self):
        client = "203.0.113.9"
        self.gateway.access("deny", client, "--set", "blocklist")
        self.gateway.access("allow", client, "--note", "mine")
        self.assertEqual(self.gateway.run("access", "test", client, "--listener", "smtp").returncode, 1)  # deny, whatever the set
        self.assertIn("--set", self.remove(client, code=1))
        self.assertEqual(len(self.rules()), 2)
        self.remove(client, "--set", "blocklist")
        self.assertEqual(self.gateway.run("access", "test", client, "--listener", "smtp").returncode, 0)
        self.gateway.access("deny", client, "--set", "blocklist")
        self.remove(client, "--yes")
        self.assertEqual(self.rules(), [])

    def test_a_set_in_a_file_is_replaced_alone(self):
        listing = self.gateway.folder / "git.txt"
        self.gateway.access("deny", "203.0.113.7", "--set", "fail2ban")
        self.gateway.access("allow", "192.0.2.77", "--expires", "2d", "--note", "a colleague's exception")
        for networks, added, removed in ((["198.51.100.0/24", "192.0.2.0/25"], 2, []), (["198.51.100.0/24"], 0, ["192.0.2.0/25"])):
            listing.write_text("".join(f"allow {network}\n" for network in networks))
            told = self.gateway.access("import", "--replace", "--set", "partners", str(listing))
            self.assertIn(f"{added} added, 0 changed, {len(networks) - added} unchanged, {len(removed)} removed", told)
            for network in removed:
                self.assertIn(f"removed allow {network} set=partners", told)
            self.assertIn("not touched: set fail2ban, 1 rule\nnot touched: set manual, 1 rule", told)
            self.assertEqual(self.in_set("partners"), sorted(networks))
        self.assertEqual(self.in_set("fail2ban") + self.in_set("manual"), ["203.0.113.7/32", "192.0.2.77/32"])
        listing.write_text("allow 192.0.2.0/24 set=other\n")
        self.assertIn(":1: the rule is of set other, not of partners",
                      self.gateway.run("access", "import", "--set", "partners", str(listing)).stderr)
        for arguments in (("--set", "two words"), ("--all-sets",), ("--replace", "--all-sets", "--set", "partners")):
            self.assertEqual(self.gateway.run("access", "import", str(listing), *arguments).returncode, 2, arguments)

    def test_another_gateway_gets_all_sets_as_they_are(self):
        self.gateway.access("set", "define", "temp", "--expires", "2d", "--note", "temporary")
        self.gateway.access("allow", "198.51.100.0/24", "--set", "temp")
        self.gateway.access("allow", "198.51.100.1", "--set", "temp", "--expires", "never", "--note", "", "--owner", "Anna Smith")
        self.gateway.access("deny", "203.0.113.9")
        export = self.gateway.access("export")
        self.assertIn('allow 198.51.100.1 set=temp expires=never owner="Anna Smith" ""\n', export)
        before = self.rules()
        self.assertEqual((before[0]["note"], before[0]["expires_at"] is None), ("temporary", False))
        self.gateway.access("deny", "203.0.113.10", "--set", "gone")
        self.gateway.access("remove", "198.51.100.1")
        self.assertIn("removed deny 203.0.113.10 set=gone", self.do_import(export, "--replace", "--all-sets"))
        self.assertEqual([{**rule, "id": 0, "created_at": 0} for rule in sorted(self.rules(), key=lambda rule: rule["network"])],
                         [{**rule, "id": 0, "created_at": 0} for rule in sorted(before, key=lambda rule: rule["network"])])
        self.assertEqual(self.gateway.access("export", "--set", "temp").count("set=temp"), 2)

    def test_rules_are_removed_by_number_and_note(self):
        self.gateway.access("allow", "198.51.100.0/24", "192.0.2.0/25", "--note", "offboarding of Acme")
        self.gateway.access("deny", "203.0.113.9")
        self.assertIn("there is no rule 9", self.remove("3", "9", code=1))
        self.assertIn("removed rule 3: deny 203.0.113.9", self.remove("3"))
        told = self.remove("--note-contains", "ACME", code=1)
        self.assertIn("to be removed: rule 1: allow 198.51.100.0/24", told)
        self.assertIn("--yes", told)
        self.assertEqual(len(self.rules("--note", "acme")), 2)
        self.assertIn("removed rule 2", self.remove("--note-contains", "ACME", "--yes"))
        self.assertEqual(self.rules(), [])
        self.assertEqual(self.gateway.run("access", "remove").returncode, 2)
        for command in ("list", "remove", "export"):
            self.assertIn("there is manual\n", self.gateway.run("access", command, "--set", "nope").stderr)

    def test_a_rule_written_with_the_sqlite_shell_is_a_manual_one(self):
        self.gateway.access("import", os.devnull, "--verdict", "deny", "--force")  # makes the database
        with contextlib.closing(sqlite3.connect(self.gateway.database)) as database, database:
            database.execute("INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.0/24', 'deny')")
            database.execute("INSERT INTO access_rule(network, verdict, rule_set) VALUES ('192.0.2.0/24', 'deny', 'shell')")
        self.assertEqual([rule["set"] for rule in self.rules()], ["manual", "shell"])

    def test_every_change_can_be_rehearsed(self):
        self.gateway.access("allow", "198.51.100.0/24", "--set", "partners", "--note", "ACME")
        self.gateway.access("deny", "203.0.113.9")
        listing = self.gateway.folder / "git.txt"
        listing.write_text("allow 192.0.2.0/24\n")
        before = self.gateway.access("list", "--json"), self.gateway.access("history"), self.gateway.access("set", "list")
        for arguments, lines in (
                (("allow", "192.0.2.1", "--note", "new"), ["+ allow 192.0.2.1 new"]),
                (("deny", "203.0.113.9", "--note", "why"), ["~ deny 203.0.113.9  ->  deny 203.0.113.9 why"]),
                (("remove", "203.0.113.9"), ["- deny 203.0.113.9"]),
                (("remove", "--set", "partners"), ["- allow 198.51.100.0/24 set=partners ACME"]),
                (("set", "remove", "partners"), ["- allow 198.51.100.0/24 set=partners ACME"]),
                (("set", "define", "partners", "--expires", "1d"), ["+ set partners expires=1d"]),
                (("import", str(listing), "--replace"), ["+ allow 192.0.2.0/24", "- deny 203.0.113.9"]),
                (("remove", "--note-contains", "acme"), ["- allow 198.51.100.0/24 set=partners ACME"]),
                (("undo", "1"), ["- allow 198.51.100.0/24 set=partners ACME"])):
            with self.subTest(arguments=arguments):
                done = self.gateway.run("access", *arguments, "--dry-run", stdin="")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual([line for line in done.stdout.splitlines() if line[0] in "+-~"], lines)
                self.assertIn("nothing was changed", done.stdout)
                self.assertNotRegex(done.stdout, r"(?m)^(added|changed|removed|imported|undid)\b")
        self.assertEqual((self.gateway.access("list", "--json"), self.gateway.access("history"), self.gateway.access("set", "list")), before)
        done = self.gateway.run("access", "deny", "10.1.2.3", "--dry-run")
        self.assertEqual((done.returncode, done.stdout), (1, ""))  # what would be refused is
        self.gateway.access("deny", "203.0.113.9", "--listener", "imap")
        self.gateway.config.write_text(self.gateway.config.read_text().replace('name = "imap"', 'name = "mailboxes"'))
        self.assertIn("~ deny 203.0.113.9 listener=imap  ->  deny 203.0.113.9 listener=mailboxes\n",
                      self.gateway.access("rename-listener", "imap", "mailboxes", "--dry-run"))
        self.assertEqual(len(self.rules("--listener", "imap")), 3)

    def test_a_file_is_compared(self):
        self.gateway.access("allow", "198.51.100.0/24", "--set", "partners", "--note", "ACME")
        self.gateway.access("deny", "203.0.113.9")
        listing = self.gateway.folder / "git.txt"
        listing.write_text("allow 198.51.100.0/24 ACME, renewed\nallow 192.0.2.0/25\n")
        done = self.gateway.run("access", "diff", str(listing), "--set", "partners")
        self.assertEqual((done.returncode, done.stdout.splitlines()),
                         (1, ["~ allow 198.51.100.0/24 set=partners ACME  ->  allow 198.51.100.0/24 set=partners ACME, renewed",
                              "+ allow 192.0.2.0/25 set=partners"]))
        self.assertEqual(len(self.rules()), 2)
        self.gateway.access("import", "--replace", "--set", "partners", str(listing))
        done = self.gateway.run("access", "diff", str(listing), "--set", "partners")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        listing.write_text("198.51.100.0/24\n")
        self.assertIn("--verdict", self.gateway.run("access", "diff", str(listing)).stderr)

    def test_a_change_is_undone(self):
        self.gateway.access("allow", "192.0.2.0/25", "192.0.2.128/25", "--set", "partners", "--expires", "180d", "--note", "see a=b",
                            "--owner", "Anna Smith", "--client-sessions", "5")
        before = self.rules()
        listing = self.gateway.folder / "git.txt"
        listing.write_text("allow 192.0.2.0/25 other\nallow 198.51.100.0/24\n")
        self.gateway.access("import", "--replace", "--set", "partners", str(listing))
        told = self.gateway.access("undo")
        self.assertIn("undid change 3:", told)
        self.assertIn("- allow 198.51.100.0/24 set=partners", told)
        self.assertEqual(self.rules(), before)
        self.gateway.access("undo")  # the undo
        self.assertEqual([rule["network"] for rule in self.rules()], ["192.0.2.0/25", "198.51.100.0/24"])
        self.gateway.access("undo")
        self.assertEqual(self.rules(), before)
        done = self.gateway.run("access", "undo", "3")
        self.assertEqual(done.returncode, 1)
        self.assertIn("change 3 has been undone already", done.stderr)
        self.assertEqual(self.rules(), before)
        for arguments, words in ((("undo", "4711"), "there is no change 4711"), (("undo", "--program", "x"), "")):
            done = self.gateway.run("access", *arguments)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(words, done.stderr)

    def test_two_editors_at_once_undo_their_own(self):
        self.gateway.access("import", os.devnull, "--verdict", "deny", "--force")  # makes the database
        with contextlib.closing(sqlite3.connect(self.gateway.database)) as database, database:
            database.execute("INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.1', 'deny')")
        self.gateway.access("deny", "192.0.2.2")
        with contextlib.closing(sqlite3.connect(self.gateway.database)) as database, database:
            database.execute("INSERT INTO access_rule(network, verdict) VALUES ('192.0.2.3', 'deny')")
        self.gateway.access("undo")
        self.assertEqual([rule["network"] for rule in self.rules()], ["192.0.2.1/32", "192.0.2.3/32"])
        with contextlib.closing(sqlite3.connect(self.gateway.database)) as database, database:
            database.execute("UPDATE access_rule SET note = 'by hand' WHERE network = '192.0.2.3'")
        self.assertIn("later change 5 by sqlite3", self.gateway.run("access", "undo", "3").stderr)
        self.gateway.access("undo", "1")
        self.assertEqual([rule["network"] for rule in self.rules()], ["192.0.2.3/32"])

    def test_two_imports_at_once_are_done_one_after_the_other(self):
        listings = []
        for number in (1, 2):
            listings.append(self.gateway.folder / f"{number}.txt")
            listings[-1].write_text("".join(f"allow 10.{number}.{third}.0/24\n" for third in range(200)))
        self.gateway.access("import", os.devnull, "--verdict", "deny", "--force")
        running = [subprocess.Popen(self.gateway.argv("access", "import", "--replace", "--set", "partners", str(listing)),
                                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for listing in listings]
        for process in running:
            errors = process.communicate(timeout=60)[1]
            self.assertEqual(process.returncode, 0, errors)
        left = self.in_set("partners")
        self.assertEqual((len(left), len({network.split(".")[1] for network in left})), (200, 1))
        first, second = sorted({entry["change"] for entry in json.loads(self.gateway.access("history", "--json"))["changes"]})
        self.assertIn("undone already, by root, at", self.gateway.run("access", "undo", str(first)).stderr)
        self.gateway.access("undo", str(second))
        self.assertNotEqual(self.in_set("partners")[0], left[0])

    def test_rules_that_need_a_look(self):
        self.gateway.access("allow", "198.51.100.0/24", "--note", "ACME", "--owner", "ops@acme.example")
        self.gateway.access("deny", "198.51.100.0/24", "--set", "blocklist")
        self.gateway.access("allow", "192.0.2.0/25", "--expires", "2d")
        with contextlib.closing(sqlite3.connect(self.gateway.database)) as database, database:
            database.execute("UPDATE access_rule SET created_at = created_at - 100 * 86400 WHERE id < 3")
            database.execute("UPDATE access_rule SET last_hit_at = unixepoch() - 89 * 86400 WHERE id = 2")
        for arguments, ids in ((("--unused", "90d"), [1]), (("--expiring", "7d"), [3]), (("--expiring", "1d"), []),
                               (("--shadowed",), [1]), (("--overlapping",), [1, 2]), (("--overlapping", "--set", "blocklist"), [2])):
            with self.subTest(arguments=arguments):
                self.assertEqual([rule["id"] for rule in self.rules(*arguments)], ids)
        self.assertEqual(self.gateway.run("access", "list", "--unused", "soon").returncode, 2)

    def test_rules_that_have_expired_are_removed_on_demand(self):
        self.gateway.access("deny", "203.0.113.7", "203.0.113.8", "203.0.113.9", "--set", "fail2ban", "--expires", "1h")
        with contextlib.closing(sqlite3.connect(self.gateway.database)) as database, database:
            database.execute("UPDATE access_rule SET expires_at = unixepoch() - 31 * 86400 WHERE id = 1")
            database.execute("UPDATE access_rule SET expires_at = unixepoch() - 29 * 86400 WHERE id = 2")
        self.assertIn("to be removed: rule 1: ", self.remove("--expired-for", "30d", code=1))
        self.assertRegex(self.remove("--expired-for", "30d", "--yes"), r"^removed rule 1: [^\n]*\n")
        self.assertEqual(([rule["id"] for rule in self.rules("--expired")], [rule["id"] for rule in self.rules()]), ([2], [3]))

    def test_a_report_for_an_audit(self):
        self.gateway.access("allow", "198.51.100.0/24", "--note", 'ACME, "Inc."', "--owner", "ops@acme.example", "--ticket", "CHG-1", "--expires", "2d")
        rows = list(csv.DictReader(self.gateway.access("report", "--format", "csv").splitlines()))
        self.assertEqual([(row["network"], row["verdict"], row["listener"]) for row in rows],
                         [("others", "deny", "smtp"), ("others", "allow", "imap"), ("198.51.100.0/24", "allow", "all")])
        [rule] = self.rules()
        for field in ("owner", "ticket", "created_at", "created_by", "expires_at", "set"):
            self.assertEqual(rows[-1][field], rule[field])
        self.assertEqual(rows[-1]["note"], rule["note"])
        for arguments in (("--format", "json"), ("--json",)):
            reported = json.loads(self.gateway.access("report", *arguments))
            self.assertEqual(reported["rules"], [rule])
        self.assertEqual(reported["listeners"], [{"name": "smtp", "access": "allowlist", "monitors": False},
                                                 {"name": "imap", "access": "open", "monitors": False}])

    def test_terminals_are_not_obeyed(self):
        evil = "a\u009b31m\u202eb"
        self.gateway.access("deny", "203.0.113.9", "--note", evil)
        self.gateway.access("deny", "203.0.113.10", "--note", "Büro")
        export = self.gateway.access("export")
        self.assertNotRegex(export, "[\u0080-\u009f]")
        self.assertIn("Büro", export)
        self.do_import(export, "--replace")
        self.assertIn(evil.replace("\u202e", ""), self.rules()[0]["note"].replace("\u202e", ""))
        for arguments in (("list",), ("list", "--json"), ("history",), ("history", "--json")):
            self.assertNotRegex(self.gateway.access(*arguments), "[\u0080-\u009f]")

    def test_a_trail_that_was_tampered_with_is_noticed(self):
        self.gateway.access("deny", "203.0.113.9")
        with contextlib.closing(sqlite3.connect(self.gateway.database)) as database:
            database.execute("DROP TRIGGER access_audit_no_delete")
            database.execute("DELETE FROM access_audit")
            database.commit()
        for arguments in (("list",), ("history",), ("allow", "203.0.113.9")):
            done = self.gateway.run("access", *arguments)
            self.assertEqual(done.returncode, 1)
            self.assertIn("trigger access_audit_no_delete is missing", done.stderr)
        done = self.gateway.run("access", "export")
        self.assertEqual((done.returncode, done.stdout), (0, "deny 203.0.113.9\n# end, 1 rules\n"))
        self.assertIn("warning: ", done.stderr)

    def test_history_keeps_what_was_removed(self):
        self.gateway.access("allow", "198.51.100.0/24")
        self.gateway.access("remove", "198.51.100.0/24")
        history = self.gateway.access("history", "198.51.100.0/24")
        self.assertEqual(len([line for line in history.splitlines() if "198.51.100.0/24" in line]), 2, history)
