# SPDX-License-Identifier: Apache-2.0
"""docs/moving-your-mx.md, walked through: a second port of Postfix, monitor, soft, enforce, and every way back. Real senders:
swaks, and a Postfix that queues."""

import json
import os
import pathlib
import re
import smtplib
import subprocess
import unittest

from harness import mailgate, proxyclient
from harness.ports import reserve_port
from harness.postfix import Postfix
from harness.process import Scratch, wait_until

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs/moving-your-mx.md").read_text()
PARTNER, COLLEAGUE, STRANGER, SCANNER = "198.51.100.7", "198.51.100.8", "203.0.113.9", "192.0.2.50"

scratch = postfix = sender = gateway = port_25 = None


def setUpModule():
    global scratch, postfix, sender, gateway, port_25
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    # Port 25 of the page, which Postfix has on all addresses in the beginning.
    port_25 = reserve_port()
    postfix = scratch.start(Postfix(scratch, settings={"smtpd_forbid_bare_newline": "no", "inet_interfaces": "all"},
                                    services=[f"{port_25} inet n - n - - smtpd"]))
    gateway = mailgate.Mailgate(
        scratch,
        [mailgate.listener("smtp", "postfix", name="mx", access="allowlist", bare_lf="reject", mode="monitor"),
         # The other Postfix sends no header.
         mailgate.listener("smtp", "postfix", name="direct", access="allowlist", mode="monitor", proxy="off")],
        [mailgate.upstream("postfix", postfix.proxy_port)], admin={"socket": "mailgate.sock"})
    sender = Postfix(scratch, name="sender", settings={
        "myhostname": "mail.partner.example", "virtual_mailbox_domains": "", "minimal_backoff_time": "1s",
        "maximal_backoff_time": "1s", "queue_run_delay": "1s", "transport_retry_time": "1s",
        "smtp_skip_5xx_greeting": "no",  # by default a Postfix keeps what a 554 greeting refuses
        "relayhost": f"[127.0.0.1]:{gateway.port('direct')}"})


def command(text):
    """A command of the page, which has to have it."""
    assert text in PAGE, f"{text} is not in docs/moving-your-mx.md"
    words = text.split()
    assert words[0] == "mailgate"
    return gateway.run(*words[1:])


def swaks(client, envelope_from, recipient="alice@example.net", address=None):
    """One mail of a client behind a balancer."""
    host, port = address or ("127.0.0.1", gateway.port("mx"))
    return subprocess.run(
        ["swaks", "--server", host, "--port", str(port), "--helo", "mail.partner.example",
         "--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", client, "--proxy-source-port", "51000",
         "--proxy-dest", "192.0.2.1", "--proxy-dest-port", "25",
         "--from", envelope_from, "--to", recipient], text=True, capture_output=True, timeout=60)


def send_bare_lf(client):
    """Lines that end in LF alone, and the smuggler's end among them; the code of the reply to the message, or of the greeting
    that refuses the client."""
    try:
        with proxyclient.SMTP(gateway.port("mx"), proxyclient.header_v2(client)) as smtp:
            smtp.ehlo()
            smtp.docmd("MAIL FROM:<scan@scanner.example>")
            smtp.docmd("RCPT TO:<carol@example.net>")
            smtp.docmd("DATA")
            smtp.send(b"Subject: scan\r\n\r\nonly an LF\n.\r\nMAIL FROM:<smuggled@scanner.example>\r\n.\r\n")
            return smtp.getreply()[0]
    except smtplib.SMTPConnectError as refused:
        return refused.smtp_code


def set_mode(mode, **settings):
    """As the page has it: the line in the file, then a reload."""
    for settings_of in gateway.listeners:
        settings_of.update({"mode": mode, **settings})
    gateway.write_config()
    checked = command("mailgate check")
    assert checked.returncode == 0, checked.stderr
    done = command("mailgate reload")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def run_as_printed(lines):
    """Commands as a shell gets them. No word of them but mailgate is a program here."""
    programs = scratch.folder("programs")
    wrapper = programs / "mailgate"
    wrapper.write_text(f'#!/bin/sh\nexec {mailgate.binary()} --config {gateway.config} "$@"\n')
    wrapper.chmod(0o755)
    for line in lines:
        done = subprocess.run(["/bin/sh", "-ec", line], env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
                              cwd=gateway.folder, text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


class SevenSteps(unittest.TestCase):
    def test_from_a_second_port_to_refusals_and_back(self):
        for step in (self.step_1_a_second_port, self.step_2_beside, self.step_3_and_4_ports, self.step_3_and_4_mail,
                     self.step_5_watch, self.step_6_soft, self.step_7_enforce, self.the_way_back):
            with self.subTest(step=step.__name__):
                step()

    def step_1_a_second_port(self):
        gateway.write_config()
        self.assertIn("smtpd_upstream_proxy_protocol=haproxy", command("mailgate snippet postfix").stdout)
        probed = command("mailgate probe postfix")
        self.assertEqual(probed.returncode, 0, probed.stdout)
        checked = command("mailgate check")
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertNotIn("nobody may enter", checked.stdout, "a listener that monitors refuses nobody")

    def step_2_beside(self):
        scratch.start(gateway)
        status = command("mailgate status").stdout
        self.assertRegex(status, r"(?m)^mx .*listening, monitor")
        self.assertIn("Listener mx only monitors: 0 refusals set aside", status)
        sent = swaks("203.0.113.1", "you@example.org", "dave@example.net")
        self.assertEqual(sent.returncode, 0, sent.stdout)
        self.assertIn("250 2.0.0 Ok: queued", sent.stdout)
        postfix.wait_messages("dave", 1)
        [ended] = gateway.wait_events(1, "session.end", client="203.0.113.1")
        self.assertEqual(ended["would_refuse"], ["access"])
        self.assertEqual((ended["access"], ended["rule"], ended["end"]), ("deny", None, "client_quit"))
        self.assertTrue(ended["reply"].startswith("554 5.7.1 gw.example.net 203.0.113.1 is not allowed"), ended["reply"])
        wait_until(lambda: "(would refuse: access)" in command("mailgate sessions --since 1h").stdout,
                   "the session in the journal")

    def step_3_and_4_ports(self):
        """127.0.0.26 and port_25 are 192.0.2.26 and 25 of the page."""
        own = gateway.listeners[0]["address"]
        beside = [own, f"127.0.0.26:{port_25}"]
        self.assertIn('address = ["0.0.0.0:2525", "192.0.2.26:25"]', PAGE)
        gateway.listeners[0]["address"] = beside
        gateway.write_config()
        refused = gateway.run("reload")
        self.assertEqual(refused.returncode, 1, refused.stdout)
        self.assertIn(f"cannot listen on 127.0.0.26:{port_25}: Address already in use", refused.stderr)
        lines = re.findall(r"(?m)^    (\S+:smtp +inet n - y - - smtpd)$", PAGE)
        self.assertEqual(len(lines), 3)
        here = {"192.0.2.25": "127.0.0.25", "[2001:db8::25]": "[::1]", ":smtp": f":{port_25}", " y ": " n "}
        on_each_address = [re.sub("|".join(map(re.escape, here)), lambda found: here[found.group()], line) for line in lines]
        self.restart_postfix(on_each_address)
        self.reload()
        for address in ("127.0.0.25", "::1", "127.0.0.1"):
            self.reaches_postfix(address)
        self.assertNotIn(f"127.0.0.26:{port_25}", postfix.log())
        sent = swaks("203.0.113.1", "you@example.org", "dave@example.net", address=("127.0.0.26", port_25))
        self.assertEqual(sent.returncode, 0, sent.stdout)
        gateway.wait_events(2, "session.end", client="203.0.113.1", listener="mx")
        # All of it, by the command of the page: Postfix first.
        self.assertIn('`address =\n"[::]:25"`', PAGE)
        self.assertEqual(PAGE.count("    postfix stop && postfix start && mailgate reload\n"), 2)
        self.restart_postfix([])
        self.listen(f"[::]:{port_25}")
        for address in ("127.0.0.25", "127.0.0.26", "::1"):
            self.greets(address)
        # The way back, with mailgate first.
        self.assertIn("    mailgate reload && postfix stop && postfix start\n", PAGE)
        self.listen(beside)
        self.restart_postfix(on_each_address)
        self.greets("127.0.0.26")
        self.reaches_postfix("127.0.0.25")
        self.listen(own)
        with self.assertRaises(OSError):
            smtplib.SMTP("127.0.0.26", port_25, timeout=30)

    def restart_postfix(self, services):
        postfix.services = services
        postfix.stop()
        postfix.start()

    def listen(self, addresses):
        gateway.listeners[0]["address"] = addresses
        gateway.write_config()
        self.reload()

    def reload(self):
        done = gateway.run("reload")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def greets(self, address):
        """A balancer that asks; a client would be in the reports."""
        with proxyclient.connect(port_25, b"PROXY UNKNOWN\r\n", address=address) as client:
            self.assertTrue(proxyclient.read_line(client).startswith(b"220 "))

    def reaches_postfix(self, address):
        with smtplib.SMTP(address, port_25, timeout=30) as direct:
            self.assertIn(b"PIPELINING", direct.ehlo()[1])

    def step_3_and_4_mail(self):
        for client, envelope_from in ((PARTNER, "billing@acme.example"), (PARTNER, "billing@acme.example"),
                                      (COLLEAGUE, "news@acme.example"), (STRANGER, '"$(touch owned)"@spam.example')):
            self.assertEqual(swaks(client, envelope_from).returncode, 0)
        # What the server gets is what mailgate took it for: one message, and no second envelope.
        self.assertEqual(send_bare_lf(SCANNER), 250)
        [message] = postfix.wait_messages("carol", 1)
        self.assertIn(b"\n.\nMAIL FROM:<smuggled@scanner.example>", message.replace(b"\r\n", b"\n"))
        self.assertNotIn("from=<smuggled@", postfix.log())
        [ended] = gateway.wait_events(1, "session.end", client=SCANNER)
        self.assertEqual(ended["would_refuse"], ["access", "bare_lf"])
        # In every mode: what names another client to the server does not reach it.
        with proxyclient.SMTP(gateway.port("mx"), proxyclient.header_v2(PARTNER)) as smtp:
            smtp.ehlo()
            self.assertEqual(smtp.docmd("XCLIENT ADDR=192.0.2.99")[0], 521)
        self.assertEqual(gateway.wait_event("session.end", client=PARTNER, end="forbidden_command")["would_refuse"],
                         ["access"])
        counted = self.status("mx")
        self.assertEqual((counted["mode"], counted["refused"]), ("monitor", 0))
        self.assertEqual(counted["would_refuse"], {"access": 8, "too_many": 0, "bare_lf": 1})
        status, metrics = gateway.ask_text("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertIn('mailgate_would_refuse_total{listener="mx",reason="bare_lf"} 1\n', metrics)

    def step_5_watch(self):
        report = wait_until(lambda: "Z 8 sessions from 3 networks" in
                            (done := command("mailgate report would-refuse --since 7d")).stdout and done,
                            "the report on all eight sessions")
        self.assertEqual(report.returncode, 0, report.stderr)
        self.assertRegex(report.stdout, r"(?m)^# 198\.51\.100\.0/24 +mx +4 +2 +3 +3 +access 4 .*<billing@acme\.example> 2, <news@")
        as_json = json.loads(gateway.run("report", "would-refuse", "--json").stdout)
        by_network = {network["network"]: network for network in as_json["networks"]}
        self.assertEqual(by_network["203.0.113.0/24"]["senders"],
                         [{"sender": "you@example.org", "mails": 2}, {"sender": "$(touch owned)@spam.example", "mails": 1}])
        self.assertEqual(by_network["192.0.2.0/24"]["reasons"], {"access": 1, "bare_lf": 1})
        commands = report.stdout.split("# To let them in:\n\n")[1].splitlines()
        self.assertEqual(commands[0], "mailgate access allow 198.51.100.0/24 --listener mx --note 'from billing@acme.example'")
        self.assertFalse(any("owned" in line for line in commands))
        self.assertIn('bare_lf_exclude = ["192.0.2.50"]', "\n".join(commands))
        self.assertRegex(command("mailgate status").stdout, r"Listener mx only monitors: 9 refusals set aside")
        # Nobody may enter yet, if this were enforced: the check says so before, and status of the gateway as it runs.
        gateway.listeners[0]["mode"] = "enforce"
        gateway.write_config()
        self.assertIn('nobody may enter listener "mx"', command("mailgate check").stdout)
        self.assertNotIn("nobody may enter", command("mailgate status").stdout)
        gateway.listeners[0]["mode"] = "monitor"
        gateway.write_config()
        # The file is run as it is, but for the commands of those who are not wanted.
        run_as_printed(["".join(line + "\n" for line in report.stdout.splitlines()
                                if "198.51.100." in line or not line.startswith("mailgate "))])
        self.assertFalse((gateway.folder / "owned").exists())
        tested = gateway.run("access", "test", PARTNER, "--listener", "mx")
        self.assertEqual(tested.returncode, 0, tested.stdout)
        wait_until(lambda: swaks(PARTNER, "billing@acme.example").returncode == 0 and
                   gateway.events("session.end", client=PARTNER)[-1].get("would_refuse") is None, "the partner is let in")

    def step_6_soft(self):
        scratch.start(sender)
        set_mode("soft")
        wait_until(lambda: self.status("mx")["mode"] == "soft", "the reload")
        refused = swaks(STRANGER, "x@spam.example")
        self.assertNotEqual(refused.returncode, 0)
        self.assertRegex(refused.stdout, rf"450 4\.7\.1 gw\.example\.net {re.escape(STRANGER)} is not allowed")
        self.assertEqual(swaks(PARTNER, "billing@acme.example").returncode, 0)
        self.assertEqual(swaks(COLLEAGUE, "news@acme.example").returncode, 0)
        # A real queue: the mail waits, and nobody gets a bounce.
        with proxyclient.SMTP(sender.plain_port) as smtp:
            smtp.sendmail("boss@partner.example", ["bob@example.net"], "Subject: patience\r\n\r\nlet it wait\r\n")
        sender.wait_log(r"status=deferred .*450 4\.7\.1")
        self.assertNotIn("status=bounced", sender.log())
        self.assertEqual(postfix.messages("bob"), [])
        wait_until(lambda: "refused: access" in command("mailgate sessions --refused --since 1h").stdout, "the refusals")
        self.assertIn(STRANGER, command("mailgate top --by refused --since 1d").stdout)
        # The way back: what was delayed comes.
        set_mode("monitor")
        postfix.wait_messages("bob", 1)
        self.assertNotIn("status=bounced", sender.log())

    def step_7_enforce(self):
        [line] = re.findall(r'refusal_footer = "(.*)"', PAGE)
        set_mode("enforce", refusal_footer=line)
        wait_until(lambda: self.status("mx")["mode"] == "enforce", "the reload")
        refused = swaks(STRANGER, "x@spam.example")
        self.assertNotEqual(refused.returncode, 0)
        [quoted] = re.findall(r"554 5\.7\.1 .*; questions: postmaster@example\.net, please quote (\S+)", refused.stdout)
        shown = wait_until(lambda: (done := gateway.run("sessions", "show", quoted)).returncode == 0 and done,
                           "the refused session in the journal")
        self.assertRegex(shown.stdout, rf"told +554 5\.7\.1 .*quote {quoted}")
        self.assertEqual(swaks(PARTNER, "billing@acme.example").returncode, 0)
        gateway.access("allow", SCANNER, "--listener", "mx")
        wait_until(lambda: gateway.run("access", "test", SCANNER, "--listener", "mx").returncode == 0, "the rule")
        wait_until(lambda: send_bare_lf(SCANNER) == 521, "the bare LF is refused, once the rule is in force")
        self.assertEqual(len(postfix.messages("carol")), 1)
        with proxyclient.SMTP(sender.plain_port) as smtp:
            smtp.sendmail("boss@partner.example", ["bob@example.net"], "Subject: no\r\n\r\nnever\r\n")
        sender.wait_log(r"status=bounced .*554 5\.7\.1")
        # A footer that shows notes may come with a reload too.
        gateway.access("deny", STRANGER, "--note", "ticket 4711", "--reply", "note")
        self.assertNotIn("ticket", swaks(STRANGER, "x@spam.example").stdout)
        set_mode("enforce", refusal_footer="see $rule_note")
        wait_until(lambda: "; see ticket 4711" in swaks(STRANGER, "x@spam.example").stdout, "the rule's note in the reply")
        gateway.access("remove", STRANGER)

    def the_way_back(self):
        [sed] = re.findall(r"(?m)^    (sed -i .*) /etc/mailgate/mailgate\.toml && mailgate reload$", PAGE)
        subprocess.run(["/bin/sh", "-ec", f"{sed} {gateway.config}"], check=True)
        self.assertNotIn("enforce", gateway.config.read_text())
        self.reload()
        self.assertEqual(self.status("mx")["mode"], "monitor")
        self.assertEqual(swaks(STRANGER, "x@spam.example").returncode, 0)

    def status(self, name):
        [listener] = [row for row in gateway.ask("GET", "/v1/status")[1]["listeners"] if row["name"] == name]
        return listener


class Warnings(unittest.TestCase):
    def test_serve_says_at_its_start_that_nobody_may_enter(self):
        closed = mailgate.Mailgate(
            scratch, [mailgate.listener("smtp", "postfix", name="closed", access="allowlist"),
                      mailgate.listener("smtp", "postfix", name="watched", access="allowlist", mode="monitor")],
            [mailgate.upstream("postfix", reserve_port())], name="closed")
        scratch.start(closed)
        warnings = [line["detail"] for line in closed.wait_events(1, "config.warning")]
        self.assertEqual(len([text for text in warnings if 'nobody may enter listener "closed"' in text]), 1, warnings)
        self.assertFalse(any("watched" in text for text in warnings))

    def test_a_report_of_nothing_says_why(self):
        quiet = mailgate.Mailgate(scratch, [mailgate.listener("smtp", "postfix")],
                                  [mailgate.upstream("postfix", reserve_port())], name="quiet")
        scratch.start(quiet)
        said = wait_until(lambda: (done := quiet.run("report", "would-refuse")).returncode == 0 and done,
                          lambda: f"the journal: {quiet.run('report', 'would-refuse').stderr}")
        self.assertIn("no session would have been refused", said.stdout)
        self.assertIn('no listener has mode = "monitor"', said.stdout)
        self.assertEqual(json.loads(quiet.run("report", "would-refuse", "--json").stdout)["networks"], [])
        wrong = quiet.run("report", "would-refuse", "--since", "someday")
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("--since", wrong.stderr)
