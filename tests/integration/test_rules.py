# SPDX-License-Identifier: Apache-2.0
"""The jobs of docs/rules.md as they are printed there, what becomes of rules in time, and the verdicts of Postfix and HAProxy
about the same networks."""

import contextlib
import ipaddress
import json
import os
import pathlib
import random
import re
import socket
import sqlite3
import subprocess
import unittest

from harness import backend, mailgate, proxyclient
from harness.ports import reserve_port
from harness.process import Process, Scratch, wait_until

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs/rules.md"
SESSION = r"\b01[0-9A-HJKMNP-TV-Z]{24}\b"
scratch = server = None


def setUpModule():
    global scratch, server
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    server = scratch.start(backend.Backend(backend.smtp))


def make_gateway(name, **settings):
    return mailgate.Mailgate(
        scratch, [mailgate.listener("smtp", "mail", name="mx", access="allowlist"),
                  mailgate.listener("smtp", "mail", name="submission", access="open")],
        [mailgate.upstream("mail", server.port)], name=name, admin={"socket": "mailgate.sock", "http": f"127.0.0.1:{reserve_port()}"},
        **settings)


def greeting(gateway, listener, client):
    with proxyclient.connect(gateway.port(listener), proxyclient.header_v2(client)) as session:
        return proxyclient.read_line(session)


def at_shell(gateway, sql):
    """What an administrator's sqlite3 would do."""
    with contextlib.closing(sqlite3.connect(gateway.database)) as database, database:
        return database.execute(sql).fetchall()


class NameServer:
    """dnsmasq with one record, at a port of its own: tests run side by side."""

    def __init__(self, folder, name, text):
        self.port = reserve_port()
        self.process = Process("dnsmasq", ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null",
                                           "--listen-address=127.0.0.1", "--bind-interfaces", f"--port={self.port}", "--pid-file=",
                                           f"--txt-record={name},{text}"], folder / "dnsmasq.txt")

    def answers(self):
        done = subprocess.run(["/usr/bin/dig", "@127.0.0.1", "-p", str(self.port), "+short", "+time=1", "+tries=1", "TXT",
                               "_spf.acme.example"], text=True, capture_output=True, timeout=30)
        return "v=spf1" in done.stdout

    def start(self):
        self.process.start()
        self.process.wait_ready(self.answers, "an answer")
        return self

    def stop(self):
        self.process.stop()


def jobs():
    """The chapter: [line, ...], and of each command [index of its line, the index behind its output]."""
    lines = DOCUMENT.read_text().split("\n")
    begin = lines.index("## Twelve jobs")
    end = next(at for at in range(begin + 1, len(lines)) if lines[at].startswith("## "))
    commands = []
    for at in range(begin, end):
        if lines[at].startswith("    $ "):
            after = at + 1
            while lines[after].startswith("    ") and not lines[after].startswith("    $ "):
                after += 1
            commands.append((at, after))
    return lines, commands, sum(lines[at].startswith("### ") for at in range(begin, end))


def stable(text):
    """Without what differs from run to run."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME", text)
    text = re.sub(SESSION, "SESSION", text)
    text = re.sub(r"\b\d+(\.\d+)? ms\b", "N ms", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    return [re.sub(r" {2,}", "  ", line).rstrip() for line in text.splitlines()]


class Jobs(unittest.TestCase):
    def test_each_job_is_done_as_printed(self):
        gateway = scratch.start(make_gateway("jobs"))
        names = scratch.start(NameServer(gateway.folder, "_spf.acme.example", "v=spf1 ip4:198.51.100.224/28 ip6:2001:db8:4f::/48 -all"))
        programs = scratch.folder("programs")
        for name, line in (("mailgate", f'exec {mailgate.binary()} --config {gateway.config} "$@"'),
                           ("dig", f'exec /usr/bin/dig @127.0.0.1 -p {names.port} "$@"'),
                           ("fail2ban-client", "echo 203.0.113.31 203.0.113.32")):
            (programs / name).write_text(f"#!/bin/sh\n{line}\n")
            (programs / name).chmod(0o755)
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
        environment.pop("SUDO_USER", None)

        def typed(command):
            done = subprocess.run(["/bin/sh", "-c", command], env=environment, cwd=gateway.folder, text=True, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
            return done.stdout

        lines, commands, chapters = jobs()
        self.assertEqual(chapters, 12)
        written = {}
        for at, after in commands:
            command = lines[at][len("    $ "):]
            printed = [line[4:] for line in lines[at + 1:after]]
            created = re.fullmatch(r"cat (\S+)", command)
            if created and not (gateway.folder / created[1]).exists():
                (gateway.folder / created[1]).write_text("\n".join(printed) + "\n")
            answer = typed(self.prepared(gateway, command))
            written[at] = ["    " + line for line in answer.splitlines()]
            if "WRITE_REFERENCE" not in os.environ:
                with self.subTest(command=command):
                    self.assertEqual(stable(answer), stable("\n".join(printed)))
        if "WRITE_REFERENCE" in os.environ:
            for at, after in reversed(commands):
                lines[at + 1:after] = written[at]
            DOCUMENT.write_text("\n".join(lines))

    def prepared(self, gateway, command):
        """What has to have happened before the command, and the command with the session's own id."""
        if "--unused" in command:
            at_shell(gateway, "UPDATE access_rule SET created_at = created_at - 100 * 86400 WHERE note = 'since March'")
        if "sessions show" in command:
            self.assertTrue(greeting(gateway, "mx", "203.0.113.200").startswith(b"554 "))
            session = gateway.wait_event("session.refused", client="203.0.113.200")["session"]
            wait_until(lambda: gateway.run("sessions", "show", session).returncode == 0, "the refused session in the journal")
            return re.sub(SESSION, session, command)
        if command.endswith("--set crm --dry-run"):
            wait_until(lambda: greeting(gateway, "mx", "192.0.2.150").startswith(b"220 "), "the customer is let in")
            for client in ("192.0.2.150", "192.0.2.151"):
                greeting(gateway, "mx", client)
                gateway.wait_event("session.end", client=client)
            wait_until(lambda: all(gateway.run("sessions", "--client", client).returncode == 0
                                   for client in ("192.0.2.150", "192.0.2.151")), "the sessions in the journal")
        return command


class Upkeep(unittest.TestCase):
    def setUp(self):
        self.gateway = make_gateway(self._testMethodName, rules={"keep_expired": "1h", "warn_expiry": "2d"})
        self.gateway.write_config()

    def expiring(self):
        return self.gateway.ask("GET", "/v1/status")[1]["rules"]["expiring"]

    def test_a_rule_that_expires_soon_is_warned_of(self):
        self.gateway.access("allow", "198.51.100.0/24", "--expires", "1d", "--listener", "mx", "--owner", "ops@acme.example",
                            "--ticket", "CHG-1", "--note", "secret")
        self.gateway.access("deny", "203.0.113.7", "--expires", "1d", "--set", "fail2ban", "--program", "fail2ban")
        self.gateway.access("allow", "203.0.113.8", "--expires", "1d")
        at_shell(self.gateway, "UPDATE access_rule SET created_at = created_at - 30 * 86400 WHERE id < 3")
        scratch.start(self.gateway)
        [rule, _, _] = json.loads(self.gateway.access("list", "--json"))["rules"]
        event = self.gateway.wait_event("access.expiring")
        self.assertEqual({key: event[key] for key in ("rule", "verdict", "network", "listener", "set", "owner", "ticket", "expires_at", "level")},
                         {"rule": 1, "verdict": "allow", "network": "198.51.100.0/24", "listener": "mx", "set": "manual",
                          "owner": "ops@acme.example", "ticket": "CHG-1", "expires_at": rule["expires_at"], "level": "warning"})
        self.assertIn("1 access rule expires soon (mailgate access list --expiring soon).", self.gateway.run("status").stdout)
        listed = json.loads(self.gateway.access("list", "--expiring", "soon", "--json"))["rules"]
        self.assertEqual([one["id"] for one in listed], [event["rule"]])
        self.assertIn("mailgate_rules_expiring 1\n", self.gateway.ask_text("GET", "/metrics")[1])
        self.gateway.access("allow", "198.51.100.0/24", "--listener", "mx", "--expires", "180d")
        wait_until(lambda: self.expiring() == 0, "the warning is settled")
        self.gateway.access("allow", "198.51.100.0/24", "--listener", "mx", "--expires", "1h")
        wait_until(lambda: self.expiring() == 1, "another warning")
        self.gateway.rules["warn_expiry"] = "0s"
        self.gateway.write_config()
        done = self.gateway.run("reload")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("rules.warn_expiry", done.stdout)
        wait_until(lambda: self.expiring() == 0, "no warnings are wanted")
        self.assertEqual(len(self.gateway.events("access.expiring")), 2)
        self.assertNotIn("secret", self.gateway.log_text())

    def test_what_expired_long_ago_and_the_old_trail_are_removed(self):
        self.gateway.access("deny", "203.0.113.7", "203.0.113.8", "--expires", "1h")
        self.gateway.access("allow", "198.51.100.0/24")
        at_shell(self.gateway, "UPDATE access_rule SET expires_at = unixepoch() - 7200 WHERE id = 1")
        at_shell(self.gateway, "UPDATE access_rule SET expires_at = unixepoch() - 60 WHERE id = 2")
        scratch.start(self.gateway)
        pruned = self.gateway.wait_event("access.pruned")
        self.assertEqual((pruned["rules"], pruned["entries"]), (1, 0))
        expired = json.loads(self.gateway.access("list", "--expired", "--json"))["rules"]
        self.assertEqual([rule["id"] for rule in expired], [2])
        last = json.loads(self.gateway.access("history", "--json"))["changes"][-1]
        self.assertEqual((last["who"], last["action"], last["rule"]), ("program mailgate", "remove", 1))
        self.gateway.access("undo", str(last["change"]))
        self.assertEqual(len(json.loads(self.gateway.access("list", "--expired", "--json"))["rules"]), 2)


def networks_at_random(random_, count):
    """{network: verdict}; in each other, in IPv4 and IPv6, of all lengths."""
    found = {}
    while len(found) < count:
        if random_.random() < 0.7:
            base = random_.choice((0x0A000000, 0xC6336400, 0xCB007100)) ^ random_.getrandbits(20)
            network = ipaddress.IPv4Network((base, random_.randint(22, 32)), strict=False)
        else:
            base = (0x20010DB8 << 96) | random_.getrandbits(16) << 80 | random_.getrandbits(8) << 64 | random_.getrandbits(3)
            network = ipaddress.IPv6Network((base, random_.randint(46, 128)), strict=False)
        found.setdefault(network, random_.choice(("allow", "deny")))
    return found


def addresses_around(random_, networks, count):
    """First, last and neighbouring addresses of networks, and some inside."""
    found = set()
    while len(found) < count:
        network = random_.choice(networks)
        number = int(random_.choice((network[0], network[-1], network[random_.randrange(network.num_addresses)])))
        number += random_.choice((-1, 0, 0, 1))
        address = (ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address)(number)
        if not getattr(address, "ipv4_mapped", None):
            found.add(address)
    return sorted(found, key=str)


class Peers(unittest.TestCase):
    """The same ten thousand networks in mailgate, Postfix and HAProxy."""

    @classmethod
    def setUpClass(cls):
        cls.gateway = make_gateway("peers")
        cls.gateway.write_config()
        cls.random = random.Random(4711)
        cls.rules = networks_at_random(cls.random, 10_000)
        cls.addresses = addresses_around(cls.random, list(cls.rules), 1_000)
        cls.folder = scratch.folder("lists")
        # Postfix takes the first line that matches, so the narrowest have to come first; mailgate refuses any other order.
        cls.cidr = cls.folder / "access.cidr"
        cls.cidr.write_text("".join(f"{network} {'OK' if verdict == 'allow' else 'REJECT'}\n" for network, verdict in
                                    sorted(cls.rules.items(), key=lambda rule: -rule[0].prefixlen)))
        cls.map = cls.folder / "access.map"
        cls.map.write_text("".join(f"{network} {verdict}\n" for network, verdict in cls.rules.items()))
        cls.acl = cls.folder / "access.acl"
        cls.acl.write_text("".join(f"{network}\n" for network in cls.rules))

    def decided(self, *imported):
        """{address: "allow", "deny" or None where no rule says anything}, and the same by the exit status."""
        self.gateway.access("import", "--replace", "--force", *imported)
        done = self.gateway.run("access", "test", "--listener", "mx", "--json", *map(str, self.addresses))
        decisions = json.loads(done.stdout)["decisions"]
        self.assertEqual(done.returncode, 1 if any(not decision["allowed"] for decision in decisions) else 0)
        self.assertEqual(len(decisions), len(self.addresses))
        for decision in decisions:
            self.assertEqual(decision["allowed"], decision["rule"] is not None and decision["rule"]["verdict"] == "allow")
        return {decision["address"]: decision["rule"] and decision["rule"]["verdict"] for decision in decisions}

    def test_postmap(self):
        main = self.folder / "postfix"
        main.mkdir()
        (main / "main.cf").write_text("compatibility_level = 3.6\n")
        done = subprocess.run(["postmap", "-c", main, "-q", "-", f"cidr:{self.cidr}"], input="".join(f"{one}\n" for one in self.addresses),
                              text=True, capture_output=True, timeout=120)
        found = dict(line.split("\t") for line in done.stdout.splitlines())
        self.assertGreater(len(found), 500, done.stderr)
        expected = {str(one): {"OK": "allow", "REJECT": "deny", None: None}[found.get(str(one))] for one in self.addresses}
        self.assertEqual(self.decided(str(self.cidr)), expected)
        self.assertEqual(set(expected.values()), {"allow", "deny", None})

    def test_haproxy(self):
        control = self.folder / "haproxy.sock"
        port = reserve_port()
        config = self.folder / "haproxy.cfg"
        config.write_text(f"global\n  nbthread 1\n  stats socket {control}\ndefaults\n  mode tcp\n  timeout connect 5s\n"
                          f"  timeout client 5s\n  timeout server 5s\nfrontend mx\n  bind 127.0.0.1:{port}\n"
                          f"  acl known src -f {self.acl}\n  tcp-request content reject if !known\n"
                          f"  tcp-request content reject if {{ src,map_ip({self.map},none) -m str deny }}\n")
        haproxy = Process("haproxy", ["/usr/sbin/haproxy", "-db", "-f", config], self.folder / "haproxy.txt")
        self.addCleanup(haproxy.stop)
        haproxy.start()
        haproxy.wait_ready(control.exists, "its socket")

        def ask(*commands):
            with socket.socket(socket.AF_UNIX) as stream:
                stream.connect(str(control))
                stream.sendall(";".join(commands).encode() + b"\n")
                return b"".join(iter(lambda: stream.recv(65536), b"")).decode().split("\n\n")

        def asked(what, file):
            """In batches: a line has 16 KiB."""
            answers = []
            for at in range(0, len(self.addresses), 50):
                some = self.addresses[at:at + 50]
                answers += ask(*(f"get {what} {file} {one}" for one in some))[:len(some)]
            return answers

        by_map = {str(one): (re.search(r'value="(\w+)"', answer) or [None, None])[1]
                  for one, answer in zip(self.addresses, asked("map", self.map), strict=True)}
        by_acl = {str(one): "match=yes" in answer for one, answer in zip(self.addresses, asked("acl", self.acl), strict=True)}
        self.assertEqual(set(by_map.values()), {"allow", "deny", None})
        decided = self.decided(str(self.map))
        self.assertEqual(decided, by_map)
        # An ACL knows who is meant, and nothing else.
        self.assertEqual({one: verdict is not None for one, verdict in decided.items()}, by_acl)
        allowed = self.decided(str(self.acl), "--format", "haproxy", "--verdict", "allow")
        self.assertEqual({one: verdict == "allow" for one, verdict in allowed.items()}, by_acl)


@unittest.skipIf(mailgate.SLACK > 1, "sanitizers and faketime both replace the C library's functions")
class Week(unittest.TestCase):
    """Sessions of the load tool, made on several days."""

    def test_a_dry_run_decides_the_sessions_of_seven_days_again(self):
        clients = scratch.path / "clients.txt"
        clients.write_text("".join(f"198.51.100.{host}/32\n203.0.113.{host}/32\n" for host in range(50)))
        clock = scratch.folder("week-clock") / "clock"
        library = f"/usr/lib/{os.uname().machine}-linux-gnu/faketime/libfaketimeMT.so.1"
        gateway = make_gateway("week", env={**os.environ, "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(clock),
                                            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})

        def go_to(days):
            clock.with_suffix(".fresh").write_text(f"{days * 86400:+d}\n")
            clock.with_suffix(".fresh").rename(clock)

        go_to(-9)
        scratch.start(gateway)
        for number, days in enumerate((-9, -6, -4, -2, 0), 1):
            go_to(days)
            done = subprocess.run([os.environ["MAILLOAD_BIN"], "run", "connect-quit", f"--target=127.0.0.1:{gateway.port('submission')}",
                                   "--count=400", "--concurrency=4", f"--clients={clients}"], text=True, capture_output=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            gateway.wait_events(400 * number, "session.end")
        wait_until(lambda: gateway.run("sessions", "--since", "30d", "--all").stdout.count("submission") == 2_000, "all in the journal")

        def rehearsed(*arguments):
            return json.loads(gateway.access(*arguments, "--dry-run", "--json"))["sessions"]

        # Half of the sessions of four days; the fifth is longer ago than seven.
        concerned = rehearsed("deny", "203.0.113.0/24")
        self.assertEqual((concerned["decided_otherwise"], concerned["not_known"], concerned["complete"]), (800, 0, True))
        self.assertEqual({(one["client"], one["sessions"]) for one in concerned["clients"]},
                         {(f"203.0.113.{host}", 16) for host in range(50)})
        self.assertEqual(rehearsed("deny", "203.0.113.0/25", "198.51.100.7", "--listener", "submission")["decided_otherwise"], 816)
        self.assertEqual(rehearsed("deny", "203.0.113.0/24", "--listener", "mx")["decided_otherwise"], 0)
        listing = gateway.folder / "many.txt"  # more networks than the journal is asked for one by one
        listing.write_text("".join(f"203.0.113.{host}\n" for host in range(0, 120)))
        self.assertEqual(rehearsed("import", str(listing), "--verdict", "deny")["decided_otherwise"], 800)
        self.assertEqual(rehearsed("allow", "203.0.113.0/24")["clients"], [])


if __name__ == "__main__":
    unittest.main()
