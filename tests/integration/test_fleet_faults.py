# SPDX-License-Identifier: Apache-2.0
"""A fleet whose database, gateways and commands are killed while rules are changed: nothing that was acknowledged is lost, nothing
is there twice, and all have the same. Clocks that differ, and a database whose disk is full.

MAILGATE_ROUNDS=100 python3 -m unittest test_fleet_faults.Kills     # by hand: so many rounds
MAILGATE_ROUNDS=100 python3 -m unittest test_fleet_faults.Cuts      # as root; not at all without it
MAILGATE_ROUNDS=20 python3 -m unittest test_fleet_faults.Site       # not at all without it"""

import contextlib
import functools
import http.client
import json
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import threading
import time
import unittest

from harness import backend, mailgate, proxyclient
from harness.dovecot import USERS, Dovecot
from harness.haproxy import HAProxy
from harness.network import Namespace
from harness.postfix import Postfix
from harness.postgres import Postgres
from harness.process import Scratch, wait_until

ROUNDS = int(os.environ.get("MAILGATE_ROUNDS", "3"))
FAKETIME = f"/usr/lib/{os.uname().machine}-linux-gnu/faketime/libfaketimeMT.so.1"

scratch = server = None


def setUpModule():
    global scratch, server
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    server = scratch.start(backend.Backend(lambda connection: connection.send(b"220 mx.example.net ESMTP\r\n")))


class Fleet:
    """A database, and gateways that have joined and run."""

    def __init__(self, name, environments, network=None, servers=None, **database):
        """`network`: each gateway reaches the database by a link of its own. `servers`: their ports, by protocol."""
        self.network = network
        self.servers = servers or {"smtp": server.port}
        self.database = scratch.start(Postgres(scratch, f"{name}-postgres", network=network, **database))
        self.gateways = [self._gateway(f"{name}-{number}", env, number - 1) for number, env in enumerate(environments)]
        first = self.gateways[0]
        first.write_config()
        self.database.sql(self.ran(first, "snippet", "postgresql"))
        self.database.sql("ALTER ROLE mailgate PASSWORD 'word'; ALTER ROLE mailgate_owner PASSWORD 'word'")
        self.ran(first, "fleet", "migrate", "--url", self.url("mailgate_owner"), "--grant", "mailgate")
        for gateway in self.gateways:
            gateway.write_config()
            self.ran(gateway, "fleet", "join")
            scratch.start(gateway)
        self.wait_equal()

    def url(self, role, link=0):
        if self.network:
            return self.database.url(role, "word", "mailgate", "?sslmode=disable", host=self.network.inside[link])
        return self.database.url(role, "word", "mailgate")

    def _gateway(self, name, env, link):
        return mailgate.Mailgate(scratch, [mailgate.listener(protocol, protocol) for protocol in self.servers],
                                 [mailgate.upstream(protocol, port) for protocol, port in self.servers.items()], name=name,
                                 gateway={"name": name, "workers": 1}, admin={"socket": "mailgate.sock"},
                                 prefix=[] if env is None else ["env", *(f"{key}={value}" for key, value in env.items())],
                                 fleet={"url": self.url("mailgate", link)})

    @staticmethod
    def ran(gateway, *arguments):
        done = gateway.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def version(self):
        return int(self.database.sql("SELECT version FROM mailgate.meta", "mailgate"))

    def wait_equal(self):
        for gateway in self.gateways:
            wait_until(lambda: (told := standing(gateway)) and told["connected"] and told["rules_version"] == self.version(),
                       lambda: f"{gateway.gateway['name']} to have version {self.version()}: {standing(gateway)}")


def standing(gateway):
    """None: it does not answer yet."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return gateway.ask("GET", "/v1/status")[1]["fleet"]
    return None


def refuses(gateway, client):
    with proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2(client)) as session:
        return proxyclient.read_line(session).startswith(b"554 5.7.1")


def rules_of(gateway):
    with contextlib.closing(sqlite3.connect(f"file:{gateway.database}?mode=ro", uri=True)) as rules:
        return [f"{number}|{network}|{note}" for number, network, note in
                rules.execute("SELECT id, network, note FROM access_rule ORDER BY id")]


class Writer:
    """Denies one address after the other, and notes what it was told of each."""

    def __init__(self, gateway, addresses, chance):
        self.gateway = gateway
        self.addresses = addresses
        self.chance = chance  # of a random number generator of its own
        self.made, self.refused, self.unknown = [], {}, []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        for address in self.addresses:
            with subprocess.Popen(self.gateway.argv("access", "deny", address, "--note", self.gateway.gateway["name"]),
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as command:
                if self.chance.random() < 0.2:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        command.wait(self.chance.uniform(0.01, 0.2))
                    command.send_signal(signal.SIGKILL)
                told = command.communicate()[1]
            if command.returncode == 0:
                self.made.append(address)
            elif command.returncode == -signal.SIGKILL or "whether the change was made" in told:
                self.unknown.append(address)
            else:
                self.refused[address] = told


def rounds(fleet, chance, test, fault):
    """Changes at all gateways, and `fault` meanwhile; returns how many were made, refused and not known."""
    told = {"made": 0, "refused": 0, "unknown": 0}
    for number in range(ROUNDS):
        writers = [Writer(gateway, [f"10.{at}.{number}.{last}" for last in range(1, 7)], random.Random(chance.random()))
                   for at, gateway in enumerate(fleet.gateways)]
        fault(fleet, chance)
        for writer in writers:
            writer.thread.join()
        fleet.wait_equal()
        test.compare(fleet, writers)
        for kind in told:
            told[kind] += sum(len(getattr(writer, kind)) for writer in writers)
    test.assertGreater(told["made"], 0)
    print(f"{ROUNDS} rounds, changes: {told}", flush=True)


class Compared:
    """Of gateways and their database, after a round."""

    def compare(self, fleet, writers):
        there = fleet.database.sql("SELECT id, network, note FROM mailgate.rule ORDER BY id", "mailgate").splitlines()
        for gateway in fleet.gateways:
            self.assertEqual(rules_of(gateway), there)
        networks = [line.split("|")[1].removesuffix("/32") for line in there]
        self.assertEqual(len(set(networks)), len(networks))
        for writer in writers:
            self.assertLessEqual(set(writer.made), set(networks))
            for address, why in writer.refused.items():
                self.assertNotIn(address, networks, why)
            for gateway in fleet.gateways:
                for address in writer.made[-1:]:
                    wait_until(lambda: refuses(gateway, address), f"{address} to be refused")
                self.assertFalse(refuses(gateway, "192.0.2.1"))
        self.assertEqual(fleet.database.sql("SELECT count(DISTINCT version), max(version), count(*) - count(DISTINCT after)"
                                            " FROM mailgate.change_log", "mailgate"),
                         f"{fleet.version()}|{fleet.version()}|0")


class Kills(Compared, unittest.TestCase):
    def test_nothing_acknowledged_is_lost_or_doubled(self):
        seed = random.randrange(10**9)
        with self.subTest(seed=seed):
            rounds(Fleet("kills", [None, None]), random.Random(seed), self, self.kill)

    def kill(self, fleet, chance):
        """One or two of three, at once or one after the other; they come back."""
        for victim in chance.sample([fleet.database, *fleet.gateways], chance.randint(1, 2)):
            threading.Event().wait(chance.uniform(0, 0.5))
            victim.kill()
            if victim is fleet.database:
                victim.start()
            else:
                victim.launch()


class Shipped:
    """Of gateways and their database: whose sessions these have."""

    @staticmethod
    def written(gateway):
        with contextlib.closing(sqlite3.connect(f"file:{gateway.journal}?mode=ro", uri=True)) as journal:
            return [row[0] for row in journal.execute("SELECT id FROM session UNION ALL SELECT id FROM refused ORDER BY 1")]

    @staticmethod
    def shipped(fleet, gateway):
        of_it = f"journal IN (SELECT id FROM mailgate.journal WHERE gateway = '{gateway.gateway['name']}')"
        return fleet.database.sql(f"SELECT id FROM mailgate.session WHERE {of_it} UNION ALL SELECT id FROM mailgate.refused"
                                  f" WHERE {of_it} ORDER BY 1", "mailgate").split()


@unittest.skipUnless(os.geteuid() == 0 and "MAILGATE_ROUNDS" in os.environ, "takes minutes, and root's rights")
class Cuts(Compared, Shipped, unittest.TestCase):
    def test_nothing_acknowledged_is_lost_or_doubled_where_the_network_is_cut(self):
        network = scratch.start(Namespace(2))
        seed = random.randrange(10**9)
        fleet = Fleet("cuts", [None, None], network=network)
        with self.subTest(seed=seed):
            rounds(fleet, random.Random(seed), self, self.cut)
            for gateway in fleet.gateways:
                wait_until(lambda: self.shipped(fleet, gateway) == self.written(gateway), "all of its journal at the database, once")
            print(f"sessions: {[len(self.written(gateway)) for gateway in fleet.gateways]}", flush=True)

    def cut(self, fleet, chance):
        """The link of one gateway or of both: what is sent vanishes, both ways or one, or the cable is pulled."""
        links = chance.sample([0, 1], chance.randint(1, 2))
        for link in links:
            threading.Event().wait(chance.uniform(0, 0.5))
            way = chance.choice(["all", "there", "back", "unplugged"])
            if way == "unplugged":
                fleet.network.unplug(link)
            else:
                fleet.network.lose(link, inbound=way != "back", outbound=way != "there")
        threading.Event().wait(chance.uniform(0.2, 8))
        began = time.monotonic()
        for gateway in fleet.gateways:  # no session waits for the database
            self.assertFalse(refuses(gateway, "192.0.2.1"))
        self.assertLess(time.monotonic() - began, 5 * mailgate.SLACK)
        for link in links:
            fleet.network.mend(link)


@unittest.skipUnless("MAILGATE_ROUNDS" in os.environ, "takes minutes")
class Site(Shipped, unittest.TestCase):
    """HAProxy in front of three gateways, Postfix and Dovecot behind them, and a database that is killed, frozen, or left alone."""

    def test_mail_goes_on_and_nothing_is_lost_or_doubled(self):
        postfix, dovecot = scratch.start(Postfix(scratch)), scratch.start(Dovecot(scratch))
        fleet = Fleet("site", [None] * 3, servers={"smtp": postfix.proxy_port, "imap": dovecot.proxy_port["imap"]})
        balancer = HAProxy(scratch)
        fronts = {}
        for protocol in fleet.servers:
            first, *others = (gateway.port(protocol) for gateway in fleet.gateways)
            fronts[protocol] = balancer.frontend(first, accept_proxy=True, options=[
                "balance roundrobin", *(f"server mail{port} 127.0.0.1:{port} send-proxy-v2" for port in others)])
        scratch.start(balancer)
        denied, sent, at_once, longest = [], 0, 0, 0.0
        seed = random.randrange(10**9)
        chance = random.Random(seed)
        with self.subTest(seed=seed):
            for number in range(ROUNDS):
                fault = chance.choice(["kill", "freeze", "none"])
                if fault != "none":
                    getattr(fleet.database, fault)()
                for at in range(9):
                    began = time.monotonic()
                    with proxyclient.SMTP(fronts["smtp"], proxyclient.header_v2(f"198.51.100.{at}")) as client:
                        client.sendmail("alice@example.net", "bob@example.net", f"Message-ID: <{number}.{at}@example.net>\r\n\r\nx\r\n")
                    sent += 1
                    session = proxyclient.IMAP(fronts["imap"], proxyclient.header_v2(f"198.51.100.{at}"))
                    session.login("bob", USERS["bob"])
                    session.logout()
                    longest = max(longest, time.monotonic() - began)
                gateway, address = chance.choice(fleet.gateways), f"203.0.113.{number % 250}"
                at_once += (made := gateway.run("access", "deny", address).returncode == 0)
                {"kill": fleet.database.start, "freeze": fleet.database.thaw, "none": lambda: None}[fault]()
                fleet.wait_equal()
                if not made:
                    gateway.access("deny", address)
                denied.append(address)
                for gateway in fleet.gateways:
                    wait_until(lambda: refuses(gateway, address), f"{address} to be refused")
                for address in chance.sample(denied, min(len(denied), 5)) * 3:
                    with proxyclient.connect(fronts["smtp"], proxyclient.header_v2(address)) as client:
                        self.assertRegex(proxyclient.read_line(client), b"^554 5.7.1")
            found = [line for mail in postfix.wait_messages("bob", sent) for line in mail.splitlines() if line.lower().startswith(b"message-id:")]
            self.assertEqual((len(found), len(set(found))), (sent, sent))
            for gateway in fleet.gateways:
                wait_until(lambda: self.shipped(fleet, gateway) == self.written(gateway), "all of its journal at the database, once")
            self.assertEqual(fleet.database.sql("SELECT count(*), count(DISTINCT queue_id) FROM mailgate.mail", "mailgate"), f"{sent}|{sent}")
        print(f"{ROUNDS} rounds, {sent} mails and as many logins, {len(denied)} clients denied, {at_once} at once; the longest pair took {longest:.2f} s", flush=True)


@unittest.skipIf(mailgate.SLACK > 1, "sanitizers and faketime both replace the C library's functions")
class Clocks(unittest.TestCase):
    def test_members_whose_clocks_differ_share_rules_all_the_same(self):
        fleet = Fleet("clocks", [None, *({"LD_PRELOAD": FAKETIME, "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
                                         for offset in ("+2d", "-2d"))])
        for at, gateway in enumerate(fleet.gateways):
            gateway.access("deny", "198.51.100.1", "--note", f"by {at}")
            fleet.wait_equal()
        for gateway in fleet.gateways:
            wait_until(lambda: refuses(gateway, "198.51.100.1"), "the rule to be in force")
            notes = [change["after"].rsplit(" ", 1)[1] for change in
                     json.loads(gateway.access("history", "198.51.100.1", "--json"))["changes"]]
            self.assertEqual(notes, ["0", "1", "2"])
        fleet.gateways[2].access("undo")
        fleet.gateways[1].access("remove", "198.51.100.1")
        for gateway in fleet.gateways:
            wait_until(lambda: not refuses(gateway, "198.51.100.1"), "the rule to be gone")
        self.assertEqual({one["silent_seconds"] < 60 for one in
                          json.loads(fleet.ran(fleet.gateways[1], "fleet", "status", "--json"))["members"]}, {True})
        # What expires does by each gateway's own clock.
        fleet.gateways[0].access("deny", "198.51.100.2", "--expires", "1d")
        fleet.wait_equal()
        wait_until(lambda: refuses(fleet.gateways[2], "198.51.100.2"), "the rule to be in force")
        self.assertFalse(refuses(fleet.gateways[1], "198.51.100.2"))


class Restored(unittest.TestCase):
    def test_a_database_from_a_backup_is_not_followed_before_all_have_joined_it(self):
        fleet = Fleet("restored", [None, None])
        first, second = fleet.gateways
        sql = functools.partial(fleet.database.sql, database="mailgate")
        tables = ("meta", "rule", "rule_set", "change_log")
        sql("CREATE SCHEMA saved;" + "".join(f"CREATE TABLE saved.{table} AS TABLE mailgate.{table};" for table in tables))
        second.access("deny", "198.51.100.1")
        fleet.wait_equal()
        first.stop()
        sql("BEGIN; TRUNCATE " + ", ".join(f"mailgate.{table}" for table in tables) + ";"
            + "".join(f"INSERT INTO mailgate.{table} SELECT * FROM saved.{table};" for table in tables) + "COMMIT")
        wait_until(lambda: "restored from a backup" in (standing(second)["failure"] or ""), "the second to notice")
        self.assertIn("restored from a backup", second.run("access", "deny", "198.51.100.9").stderr)
        fleet.ran(first, "fleet", "join")
        for client in ("198.51.100.2", "198.51.100.3"):
            first.access("deny", client)
        wait_until(lambda: "is another one" in (standing(second)["failure"] or ""), "the second to see through it")
        status = second.run("fleet", "status")
        self.assertEqual((status.returncode, "mailgate fleet join" in status.stdout), (1, True))
        self.assertTrue(refuses(second, "198.51.100.1"))
        fleet.ran(second, "fleet", "join")
        first.log_file.unlink()
        first.start()
        fleet.wait_equal()
        for gateway in fleet.gateways:
            for last in (1, 2, 3):
                wait_until(lambda: refuses(gateway, f"198.51.100.{last}"), "the rules of both sides to be in force")
        self.assertEqual(rules_of(first), rules_of(second))


@unittest.skipIf(os.geteuid() != 0, "a disk of a few MiB takes root's rights")
class FullDisk(unittest.TestCase):
    def test_a_change_is_refused_and_the_gateways_go_on(self):
        fleet = Fleet("full", [None, None], disk_mib=96)
        first, second = fleet.gateways
        first.access("deny", "198.51.100.1")
        fleet.wait_equal()
        filler = pathlib.Path(fleet.database.folder) / "filler"
        with contextlib.suppress(OSError), open(filler, "wb") as file:
            while True:
                file.write(bytes(65536))
                file.flush()
        lines = "".join(f"deny 10.{number >> 8}.{number & 255}.0/24 {'x' * 200}\n" for number in range(4_000))
        done = first.run("access", "import", "-", stdin=lines)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "fleet's database")
        for gateway in fleet.gateways:
            self.assertTrue(refuses(gateway, "198.51.100.1"))
            self.assertFalse(refuses(gateway, "10.0.0.1"))
        filler.unlink()
        if not fleet.database.running():  # where its log found no room it ends
            fleet.database.start()
        fleet.wait_equal()
        self.assertEqual(rules_of(first), rules_of(second))
        second.access("deny", "198.51.100.2")
        fleet.wait_equal()
        wait_until(lambda: refuses(first, "198.51.100.2"), "the rule to be in force")


if __name__ == "__main__":
    unittest.main()
