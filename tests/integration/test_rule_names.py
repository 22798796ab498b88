# SPDX-License-Identifier: Apache-2.0
"""Access rules for names, with a real name server: addresses and SPF records that change, fail, and come back."""

import json
import os
import signal
import subprocess
import unittest

from harness import backend, mailgate, proxyclient
from harness.dnsmasq import Dnsmasq
from harness.process import Scratch, wait_until

HOME = "host:home.anna.example"
SPF = "spf:_spf.acme.example"
BALANCER = "127.0.0.1"

scratch = server = None


def setUpModule():
    global scratch, server
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    server = scratch.start(backend.Backend(lambda connection: connection.send(b"220 mx.example.net ESMTP\r\n")))


@unittest.skipUnless(os.geteuid() == 0, "needs a mount namespace")
class RuleNames(unittest.TestCase):
    def setUp(self):
        self.names = Dnsmasq(scratch, [
            "txt-record=_spf.acme.example,v=spf1 ip4:198.51.100.0/24 include:_more.acme.example -all",
            "txt-record=_more.acme.example,v=spf1 ip6:2001:db8:40::/48 exists:%{i}.x.example -all",
            "txt-record=_all.acme.example,v=spf1 +all",
            "txt-record=_loop.acme.example,v=spf1 include:_pool.acme.example -all",
            "txt-record=_pool.acme.example,v=spf1 include:_loop.acme.example -all",
            "local=/example/"]).start()
        self.addCleanup(self.names.stop)
        prefix = ["unshare", "-m", "sh", "-c", f'mount --bind {self.names.resolv} /etc/resolv.conf && exec "$@"', "sh"]
        self.gateway = mailgate.Mailgate(
            scratch, [mailgate.listener("smtp", "mail", access="allowlist")], [mailgate.upstream("mail", server.port)],
            name=self.id().rsplit(".", 1)[-1], prefix=prefix)
        self.gateway.start()
        self.addCleanup(self.gateway.stop)

    def enters(self, client):
        """The gateway lets it in."""
        with proxyclient.connect(self.gateway.port("smtp"), proxyclient.header_v2(client)) as session:
            return proxyclient.read_line(session).startswith(b"220 mx.example.net")

    def stands_for(self, name):
        rules = json.loads(self.gateway.run("access", "list", "--json").stdout)["rules"]
        return next(rule["stands_for"] for rule in rules if rule["name"] == name)

    def test_a_host_that_moves_fails_and_comes_back(self):
        self.names.tell("home.anna.example", "203.0.113.9", "2001:db8::9")
        said = self.gateway.access("allow", HOME, "--note", "Anna")
        self.assertIn(f"added rule 1: allow {HOME} on all listeners", said)
        self.assertRegex(said, f"note: {HOME} is 203.0.113.9, 2001:db8::9; asked again in [345]s")
        wait_until(lambda: self.enters("203.0.113.9") and self.enters("2001:db8::9"), "Anna to get in")
        self.assertFalse(self.enters("203.0.113.10"))
        tested = self.gateway.run("access", "test", "203.0.113.9").stdout
        self.assertIn(f"by rule 1: allow {HOME} (203.0.113.9) on all listeners", tested)
        self.assertEqual(self.gateway.run("access", "list", "--match", "203.0.113.9").returncode, 0)
        self.assertEqual(self.gateway.run("access", "list", "--match", "203.0.113.10").returncode, 1)
        for name in (HOME, "home.anna.example"):
            self.assertIn("Anna", self.gateway.run("access", "list", "--match", name).stdout)
            self.assertIn(f"203.0.113.9 on smtp: by rule 1: allow {HOME} (203.0.113.9)",
                          self.gateway.run("access", "test", name).stdout)
        self.assertIn("no rule is for host:nobody.example",
                      self.gateway.run("access", "test", "host:nobody.example").stderr)

        self.names.tell("home.anna.example", "203.0.113.10")
        wait_until(lambda: self.enters("203.0.113.10") and not self.enters("203.0.113.9"), "Anna's new address")
        self.gateway.wait_event("access.name_changed", name=HOME, networks=["203.0.113.10"])
        self.assertEqual(self.stands_for(HOME), ["203.0.113.10/32"])
        history = self.gateway.run("access", "history", "203.0.113.10").stdout
        self.assertIn(f"{HOME} is 203.0.113.9 2001:db8::9  ->  {HOME} is 203.0.113.10", history)
        self.assertIn("program names", history)

        self.names.tell("other.example", "192.0.2.1")  # NXDOMAIN
        failed = self.gateway.wait_event("access.name_failed", name=HOME)
        self.assertEqual((failed["reason"], failed["networks"]), ("home.anna.example does not exist (NXDOMAIN)", 1))
        self.assertTrue(self.enters("203.0.113.10"))
        listed = self.gateway.run("access", "list")
        self.assertIn("203.0.113.10, as before: home.anna.example does not exist (NXDOMAIN)", listed.stderr)

        self.names.stop()  # no name server at all, and a crash
        self.gateway.kill()
        self.gateway.launch()
        self.gateway.wait_events(2, "gateway.start")
        self.assertTrue(self.enters("203.0.113.10"))
        undone = self.gateway.run("access", "undo")
        self.assertIn(f"- allow {HOME} Anna", undone.stdout, "what became of the name is no change that stands on it")
        wait_until(lambda: not self.enters("203.0.113.10"), "the rule to be gone")

    def test_the_rule_is_told_before_name_servers_answer(self):
        self.names.signal(signal.SIGSTOP)
        self.addCleanup(self.names.signal, signal.SIGCONT)
        with subprocess.Popen(self.gateway.argv("access", "allow", "host:late.example"), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, cwd=self.gateway.folder) as allow:
            self.assertIn("added rule 1: allow host:late.example", allow.stdout.readline())
            self.names.signal(signal.SIGCONT)
            self.assertIn("host:late.example stands for nothing yet", allow.stdout.read())
        self.assertEqual(allow.returncode, 0)

    def test_networks_of_spf_records(self):
        said = self.gateway.run("access", "allow", SPF)
        self.assertIn(f"note: {SPF} is 198.51.100.0/24, 2001:db8:40::/48; asked again in", said.stdout)
        self.assertIn("ignored in its SPF records: exists:%{i}.x.example", said.stderr)
        wait_until(lambda: self.enters("198.51.100.77") and self.enters("2001:db8:40::1"), "ACME to get in")
        self.assertFalse(self.enters("198.51.101.1"))
        for name, why in (("spf:_all.acme.example", "lets everybody pass"),
                          ("spf:_loop.acme.example", "need more than 10 look-ups"),
                          ("spf:nothing.example", "nothing.example does not exist (NXDOMAIN)"),
                          ("host:nobody.example", "nobody.example does not exist (NXDOMAIN)")):
            said = self.gateway.run("access", "allow", name)
            self.assertIn(f"{name} stands for nothing yet, so the rule matches nobody: ", said.stderr)
            self.assertIn(why, said.stderr)
            self.assertEqual(self.stands_for(name), [])
        exported = self.gateway.access("export")
        self.assertIn(f"allow {SPF}\n", exported)
        self.assertIn("5 rules", exported)
        again = self.gateway.run("access", "import", "--replace", "-", stdin=exported)
        self.assertIn("5 unchanged, 0 removed", again.stdout)

    def test_programs_and_dry_runs(self):
        self.names.tell("home.anna.example", "203.0.113.9")
        dry = self.gateway.access("allow", HOME, "--dry-run")
        self.assertIn("names are not asked in a dry run", dry)
        self.assertIn("dry run: 1 to be added", dry)
        done = json.loads(self.gateway.run("access", "allow", HOME, "--json").stdout)
        self.assertEqual([change["after"] for change in done["changes"]], [f"allow {HOME}"])
        wait_until(lambda: self.enters("203.0.113.9"), "Anna to get in")
        decided = json.loads(self.gateway.run("access", "test", "203.0.113.9", "--json").stdout)["decisions"][0]
        self.assertEqual((decided["rule"]["name"], decided["rule"]["stands_for"]), (HOME, ["203.0.113.9/32"]))
        dry = self.gateway.access("remove", HOME, "--dry-run")
        self.assertRegex(dry, r"203\.0\.113\.9 on smtp: \d+ sessions? refused instead of admitted")

    def test_an_imported_name_is_asked_for_by_the_gateway(self):
        self.names.tell("home.anna.example", "203.0.113.9")
        self.gateway.run("access", "import", "-", stdin=f"allow {HOME} set=staff\n")
        wait_until(lambda: self.enters("203.0.113.9"), "Anna to get in")
        self.gateway.access("remove", HOME)
        wait_until(lambda: not self.enters("203.0.113.9"), "the rule to be gone")

    def test_names_that_lead_to_the_site_itself_or_to_everybody(self):
        self.names.tell("home.anna.example", BALANCER)
        denied = self.gateway.run("access", "deny", HOME)
        self.assertIn(f"the rule matches nobody: it is {BALANCER}, which would deny the site's own ", denied.stderr)
        allowed = self.gateway.run("access", "allow", HOME)
        self.assertIn(f"warning: {HOME}: {BALANCER} is the site's own ", allowed.stderr)
        many = [f"10.{at // 250}.{at % 250}.1" for at in range(1_500)]
        self.names.tell("many.example", *many)
        said = self.gateway.run("access", "allow", "host:many.example").stderr
        self.assertIn("it stands for more than 1000 networks", said)

    def test_nonsense_is_refused_before_anything_is_done(self):
        for name in ("host:", "spf:..", "host:a b", "host:192.0.2.1", "spf:-" + "x" * 64, "host:b\u00fccher.example"):
            done = self.gateway.run("access", "allow", name)
            self.assertEqual(done.returncode, 2, name)
            self.assertIn("is not a name such as host:home.example.org", done.stderr)
        self.assertIn("--cut is for networks", self.gateway.run("access", "deny", HOME, "--cut").stderr)
        self.assertIn("no change is recorded", self.gateway.run("access", "history").stderr)


if __name__ == "__main__":
    unittest.main()
