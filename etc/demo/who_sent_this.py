# SPDX-License-Identifier: Apache-2.0
"""Makes the sessions that docs/who-sent-this.md investigates, and prints the page's commands with what they say:

    MAILGATE_BIN=build/release/gateway/mailgate /usr/bin/python3 -B etc/demo/who_sent_this.py      as root

HAProxy, mailgate, Postfix and Dovecot run in a network namespace, where the balancer can have an address of its own. All mail and all
logins are within TLS that ends at mailgate: STARTTLS on port 25, IMAPS.
"""

import contextlib
import datetime
import os
import pathlib
import re
import ssl
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "integration"))

from harness.authority import Authority
from harness.dovecot import USERS, Dovecot
from harness.haproxy import HAProxy
from harness.mailgate import Mailgate, binary, listener, upstream
from harness.postfix import Postfix
from harness.process import Scratch, wait_until
from harness import proxyclient

BALANCER = "192.0.2.10"
MX, STORE = "mx.example.net", "imap.example.net"
# Dovecot answers each failed login of an address later than the one before.
PROMPT_REFUSALS = "service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}\n"
MESSAGE = b"Message-ID: <20261126.1@partner.example>\r\nSubject: hello\r\n\r\nbody\r\n"


def server(upstream_name, name, port):
    settings = upstream(upstream_name, port)
    settings["server"][0]["name"] = name
    return settings


class IMAPS(proxyclient.IMAP):
    """In TLS behind the header."""

    def __init__(self, port, header, context):
        self._context = context
        super().__init__(port, header)

    def _create_socket(self, timeout):
        return self._context.wrap_socket(super()._create_socket(timeout), server_hostname=STORE)


class Site:
    def __init__(self, scratch):
        authority = Authority(scratch.folder("certificates"))
        self.context = ssl.create_default_context(cafile=str(authority.certificate))
        pairs = {name: [dict(zip(("certificate", "key"), map(str, authority.issue(name))))] for name in (MX, STORE)}
        self.dovecot = scratch.start(Dovecot(scratch, cleartext=False, settings=PROMPT_REFUSALS))
        self.postfix = scratch.start(Postfix(scratch))
        doors = {"trusted": [f"{BALANCER}/32"]}
        self.gateway = scratch.start(Mailgate(
            scratch, [listener("smtp", "postfix", **doors, access="allowlist", tls="starttls", tls_required=False, certificates=pairs[MX]),
                      listener("imap", "dovecot", name="imaps", **doors, tls="implicit", certificates=pairs[STORE])],
            [server("postfix", "mx1", self.postfix.proxy_port), server("dovecot", "imap1", self.dovecot.proxy_port["imap"])],
            gateway={"name": "mx-gw-1.example.net"}, log={"level": "information"}))
        balancer = HAProxy(scratch)
        self.smtp, self.imap = (balancer.frontend(self.gateway.port(name), accept_proxy=True, check=f"source {BALANCER}")
                                for name in ("smtp", "imaps"))
        scratch.start(balancer)
        self.gateway.access("allow", "198.51.100.0/24")
        wait_until(lambda: any(line["rules"] == 1 for line in self.gateway.events("access.changed")), "the rule")

    def send(self, client, port, helo, sender, *recipients):
        with proxyclient.SMTP(self.smtp, proxyclient.header_v2(client, port)) as session:
            session.ehlo(helo)
            session._host = MX
            session.starttls(context=self.context)
            session.ehlo(helo)
            session.sendmail(sender, recipients, MESSAGE)

    def log_in(self, client, port, user, password):
        session = IMAPS(self.imap, proxyclient.header_v2(client, port, destination_port=993), self.context)
        with contextlib.suppress(session.error):
            session.login(user, password)
        # The server closes, not we: who is first would be another one each time.
        session.send(session._new_tag() + b" LOGOUT\r\n")
        while session.readline():
            pass
        session.shutdown()

    def refused(self, client, port):
        with proxyclient.connect(self.smtp, proxyclient.header_v2(client, port)) as session:
            return proxyclient.read_line(session).decode().strip()

    def run(self, command):
        """Prints a line of shell as the page has it, and what it says here: all of it is of today."""
        print(f"    $ {command}")
        today = datetime.datetime.now(datetime.timezone.utc).date()
        command = command.replace("--since yesterday --until today", f"--since {today}T00:00:00Z --until {today + datetime.timedelta(1)}T00:00:00Z")
        real = re.sub(r"\bmailgate (?=sessions|top|access)", f"{binary()} --config {self.gateway.config} ", command)
        for shown, path in (("/var/log/mailgate/mailgate.log", self.gateway.log_file), ("/var/log/mail.log", self.postfix.log_file),
                            ("/var/log/dovecot.log", self.dovecot.log_file)):
            real = real.replace(shown, str(path))
        done = subprocess.run(["sh", "-c", real], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print("".join(f"    {line}\n" for line in done.stdout.splitlines()))
        return done.stdout


def investigate(site):
    site.send("198.51.100.20", 50001, "out.list.example", "news@list.example", *(f"{user}@example.net" for user in ("alice", "bob", "carol")))
    site.send("198.51.100.7", 55555, "mail.partner.example", "alice@partner.example", "bob@example.net")
    site.send("198.51.100.7", 55601, "mail.partner.example", "", "alice@example.net")
    quoted = [site.refused("203.0.113.77", port) for port in (50100, 50101, 50102)][0]
    site.log_in("2001:db8:cafe::21", 49301, "alice", USERS["alice"])
    site.log_in("2001:db8:cafe::22", 49302, "bob", USERS["bob"])
    site.log_in("2001:db8:cafe::21", 49303, "alice", USERS["alice"])
    for number, user in enumerate(("root", "admin", "alice", "bob", "carol")):
        site.log_in("203.0.113.200", 49400 + number, user, "guess")
    site.gateway.wait_events(8 + 3, "session.end")
    wait_until(lambda: len(site.gateway.run("sessions", "--json").stdout.splitlines()) == 14, "all of it in the journal")

    print("## Who sent this mail to bob?\n")
    [line] = site.gateway.events("session.end", client="198.51.100.7", client_port=55555)
    queue_id = re.search("queued as ([0-9A-F]+)", line["mail"][0]["reply"])[1]
    site.postfix.wait_log(rf"{queue_id}: removed")
    table = site.run(f"mailgate sessions --queue-id {queue_id}")
    site.run(f"mailgate sessions show {table.splitlines()[1].split()[1]}")
    print(f"## A partner says that we refused them\n\n    {quoted}\n")
    site.run(f"mailgate sessions show {re.search(r'id ([0-9A-Z]{26})', quoted)[1]}")
    site.run("mailgate access test 203.0.113.77 --listener smtp")
    site.run("mailgate sessions --client 203.0.113.77 --since 14d")
    print("## Which accounts were used from this network?\n")
    site.run("mailgate sessions --client 2001:db8:cafe::/48 --since 24h")
    site.run("mailgate sessions --client 2001:db8:cafe::/48 --since 24h --all --json |\n"
             "        jq -r 'select(.authenticated) | .user' | sort | uniq -c")
    print("## What went to this domain yesterday?\n")
    site.run("mailgate sessions --to @example.net --since yesterday --until today")
    site.run("mailgate sessions --to @example.net --since yesterday --until today --all --json |\n"
             "        jq -r '(select(.mail) | .mail[]), select(.event == \"session.mail\") | "
             "select(any(.recipients[]; endswith(\"@example.net\"))) | [.from, .size, .queue_id] | @tsv'")
    print("## Who is trying passwords, and who is refused most?\n")
    site.run("mailgate sessions --failed-logins --since 24h")
    site.run("mailgate top --since 24h --by failed-logins --limit 5")
    site.run("mailgate top --since 24h --by refused --limit 5")
    print("## One session in three logs\n")
    site.run("""grep '"client":"198.51.100.7","client_port":55555,' /var/log/mailgate/mailgate.log""")
    site.run("grep -F '[198.51.100.7]:55555' /var/log/mail.log")
    site.run(f"grep -F {queue_id} /var/log/mail.log")
    site.run("grep 'rip=2001:db8:cafe::22, rport=49302' /var/log/dovecot.log")
    site.run("mailgate sessions --client 2001:db8:cafe::22 --json |\n"
             "        jq -c 'select(.client_port == 49302) | [.session, .user, .balancer, .server, .duration_ms]'")


def main():
    if "--inside" not in sys.argv:
        setup = f"ip link set lo up && ip address add {BALANCER}/32 dev lo && exec \"$@\""
        os.execvp("unshare", ["unshare", "--net", "sh", "-ec", setup, "sh", sys.executable, "-B", __file__, "--inside"])
    scratch = Scratch()
    try:
        investigate(Site(scratch))
    finally:
        scratch.close()


if __name__ == "__main__":
    main()
