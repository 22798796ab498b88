# SPDX-License-Identifier: Apache-2.0
"""What the console is looked at over: a gateway between real servers that has had a day's worth of sessions.

    MAILGATE_BIN=build/release/gateway/mailgate /usr/bin/python3 tests/console/site_under_test.py

keeps it up for a look, and prints where.
"""

import contextlib
import imaplib
import json
import pathlib
import smtplib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from harness import mailgate, proxyclient
from harness.dovecot import USERS, Dovecot
from harness.nginx import Nginx
from harness.ports import reserve_port
from harness.postfix import Postfix
from harness.postgres import Postgres
from harness.process import Scratch, wait_until

PASSWORD = "correct horse battery"
ROLES = ("viewer", "operator", "admin")
NGINX = "127.0.0.1"

MAIL = (("198.51.100.7", "relay.partner.example", "alice@partner.example", ["bob@example.net", "carol@example.net"]),
        ("198.51.100.7", "relay.partner.example", "orders@partner.example", ["dave@example.net"]),
        ("203.0.113.24", "mta3.newsletter.example", "bounce-4711@newsletter.example", ["bob@example.net"]),
        ("203.0.113.24", "mta3.newsletter.example", "bounce-4712@newsletter.example", ["nobody@example.net"]),
        ("2001:db8:51::25", "mail.university.example", "dean@university.example", ["alice@example.net"]))
DENIED = ("192.0.2.66", "192.0.2.67", "192.0.2.66")


class Site:
    """Postfix and Dovecot behind a gateway with a console, which shares its rules with another by PostgreSQL; and nginx before it."""

    def __init__(self, scratch):
        self.dovecot = scratch.start(Dovecot(scratch))
        self.postfix = scratch.start(Postfix(scratch))
        self.console = f"http://127.0.0.1:{reserve_port()}"
        nginx = Nginx(scratch)
        self.behind_nginx = f"https://console.example.net:{nginx.web(int(self.console.rsplit(':', 1)[1]), scratch.path)}"
        self.database = scratch.start(Postgres(scratch))
        self.gateway = mailgate.Mailgate(
            scratch, [mailgate.listener("smtp", "postfix"), mailgate.listener("imap", "dovecot")],
            [mailgate.upstream("postfix", self.postfix.proxy_port), mailgate.upstream("dovecot", self.dovecot.proxy_port["imap"])],
            gateway={"name": "mx-gw-1.example.net"}, admin={"socket": "mailgate.sock"}, fleet={"url": self._fleet_of()},
            console={"address": self.console.split("//")[1], "trusted_proxies": NGINX, "base_url": self.behind_nginx})
        other = mailgate.Mailgate(scratch, [mailgate.listener("smtp", "postfix")], [mailgate.upstream("postfix", self.postfix.proxy_port)],
                                  name="other", gateway={"name": "mx-gw-2.example.net"}, fleet={"url": self._fleet_of()})
        self._share_rules(self.gateway, other)
        for gateway in (self.gateway, other):
            scratch.start(gateway)
        scratch.start(nginx)
        for role in ROLES:
            done = self.gateway.run("console", "user", "add", role, "--role", role, stdin=PASSWORD + "\n")
            assert done.returncode == 0, done.stderr
        self.token = self.gateway.run("console", "token", "add", "tests", "--role", "admin").stdout.strip()
        self._live_a_day()

    def _fleet_of(self, role="mailgate"):
        return self.database.url(role, "s3cret", "mailgate")

    def _share_rules(self, *gateways):
        for gateway in gateways:
            gateway.write_config()
        self.database.sql(gateways[0].run("snippet", "postgresql").stdout)
        for role in ("mailgate", "mailgate_owner"):
            self.database.sql(f"ALTER ROLE {role} PASSWORD 's3cret'")
        for gateway, *words in ((gateways[0], "migrate", "--url", self._fleet_of("mailgate_owner"), "--grant", "mailgate"),
                                *((gateway, "join") for gateway in gateways)):
            done = gateway.run("fleet", *words)
            assert done.returncode == 0, done.stderr

    def _live_a_day(self):
        self.gateway.access("deny", "192.0.2.64/26", "--note", "spam since the weekend", "--expires", "30d")
        self.gateway.access("allow", "198.51.100.0/24", "--note", "partner.example's relays", "--listener", "smtp")
        for client, helo, sender, recipients in MAIL:
            with proxyclient.SMTP(self.gateway.port("smtp"), proxyclient.header_v2(client)) as connection:
                connection.ehlo(helo)
                with contextlib.suppress(smtplib.SMTPRecipientsRefused):
                    connection.sendmail(sender, recipients, b"Message-ID: <1@partner.example>\r\nSubject: hello\r\n\r\nhello\r\n")
        for client in DENIED:
            wait_until(lambda client=client: b"554 " in self._greeting(client), "the rule to take effect")
        for user, password in (("bob", USERS["bob"]), ("alice", "a wrong one")):
            client = proxyclient.IMAP(self.gateway.port("imap"), proxyclient.header_v2("198.51.100.40", destination_port=143))
            with contextlib.suppress(imaplib.IMAP4.error):
                client.login(user, password)
                client.select()
            client.logout()
        wait_until(lambda: len(self.gateway.run("sessions", "--json").stdout.splitlines()) >= len(MAIL) + len(DENIED) + 2, "the journal")

    def _greeting(self, client):
        with proxyclient.connect(self.gateway.port("smtp"), proxyclient.header_v2(client)) as connection:
            greeting = proxyclient.read_reply(connection)
            connection.sendall(b"QUIT\r\n")
            proxyclient.read_to_end(connection)
            return greeting

    def settings(self):
        """For the browser's side, as variables of the environment."""
        return {"CONSOLE": self.console, "CONSOLE_NGINX": self.behind_nginx, "CONSOLE_PASSWORD": PASSWORD, "CONSOLE_TOKEN": self.token,
                "CONSOLE_SMTP": str(self.gateway.port("smtp")), "CONSOLE_IMAP": str(self.gateway.port("imap")),
                "CONSOLE_SLACK": str(mailgate.SLACK)}


if __name__ == "__main__":
    with contextlib.closing(Scratch()) as scratch, contextlib.suppress(KeyboardInterrupt):
        print(json.dumps(Site(scratch).settings(), indent=1), flush=True)
        while True:
            time.sleep(3600)
