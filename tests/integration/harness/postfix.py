# SPDX-License-Identifier: Apache-2.0
"""A Postfix instance of its own: configuration, queue and log in the scratch folder."""

import os
import pwd
import subprocess

from . import proxyclient
from .mailserver import MailServer
from .ports import reserve_port
from .process import wait_until

DOMAIN = "example.net"
HOST = "mx.example.net"
USERS = ("alice", "bob", "carol", "dave")


class Postfix(MailServer):
    """smtpd behind the PROXY protocol (`proxy_port`), postscreen behind it (`postscreen_port`), smtpd as such
    (`plain_port`). Mail for example.net goes to `lmtp_port` on loopback, or into Maildirs below `maildirs`."""

    def __init__(self, scratch, lmtp_port=None, name="postfix", settings=None, services=()):
        super().__init__(scratch, name, "mail.log")
        self.config = self.folder / "config"
        self.maildirs = self.folder / "mail"
        self.proxy_port, self.postscreen_port, self.plain_port = (reserve_port() for _ in range(3))
        self._lmtp_port = lmtp_port
        self._settings = settings or {}
        self.services = list(services)  # further lines of master.cf, from the next start on
        # master itself, so that it is our child; MAIL_CONFIG is how its daemons learn where this instance lives.
        self._environment = {**os.environ, "MAIL_CONFIG": str(self.config)}
        self._runs(["/usr/lib/postfix/sbin/master", "-d"], (self.proxy_port, self.postscreen_port, self.plain_port),
                   env=self._environment)

    def start(self):
        super().start()
        self._warm_up()
        return self

    def messages(self, user):
        """The messages delivered to user@example.net, as bytes (only without `lmtp_port`)."""
        return [path.read_bytes() for path in sorted((self.maildirs / user / "new").glob("*"))]

    def wait_messages(self, user, count):
        return wait_until(lambda: len(found := self.messages(user)) >= count and found,
                          lambda: f"{count} messages for {user}\n{self.log()[-3000:]}")

    def _warm_up(self):
        # An smtpd that dies in its first session makes master throttle the service for a minute.
        for port, header in ((self.plain_port, b""), (self.proxy_port, proxyclient.header_v1("127.0.0.1"))):
            with proxyclient.SMTP(port, header) as client:
                client.noop()

    def _write_files(self):
        for path in (self.config, self.folder / "queue", self.folder / "data", self.maildirs):
            path.mkdir(exist_ok=True)
        owner = pwd.getpwnam("postfix")
        for path in (self.folder / "data", self.maildirs):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": self.folder / "queue",
            "data_directory": self.folder / "data",
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "maillog_file": self.log_file,
            "maillog_file_prefixes": self.folder,
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "myhostname": HOST,
            "mydestination": "",
            "mynetworks": "127.0.0.0/8 [::1]/128",
            "inet_interfaces": "127.0.0.1, [::1]",
            "inet_protocols": "all",
            "alias_maps": "",
            "local_recipient_maps": "",
            "virtual_mailbox_domains": DOMAIN,
            "virtual_mailbox_base": self.maildirs,
            "virtual_mailbox_maps": f"texthash:{self.config}/mailboxes",
            "virtual_uid_maps": f"static:{owner.pw_uid}",
            "virtual_gid_maps": f"static:{owner.pw_gid}",
            "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
            "smtpd_client_port_logging": "yes",
            "smtpd_peername_lookup": "no",
            "smtpd_client_connection_count_limit": "0",
            "smtpd_tls_security_level": "may",
            "smtpd_tls_chain_files": f"{self._key}, {self._certificate}",
            "message_size_limit": "120000000",
            "virtual_mailbox_limit": "0",
            "postscreen_greet_wait": "1s",
            "smtp_dns_support_level": "disabled",
        }
        if self._lmtp_port:
            settings["virtual_transport"] = f"lmtp:inet:127.0.0.1:{self._lmtp_port}"
        settings.update(self._settings)
        (self.config / "mailboxes").write_text("".join(f"{user}@{DOMAIN} {user}/\n" for user in USERS))
        (self.config / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        (self.config / "master.cf").write_text(self._master())
        # Makes the queue's folders, with the owners that the daemons expect.
        subprocess.run(["/usr/sbin/postfix", "check"], env=self._environment, check=True, capture_output=True)

    def _master(self):
        haproxy = "smtpd -o smtpd_upstream_proxy_protocol=haproxy"
        lines = list(self.services)
        for address in ("127.0.0.1", "[::1]"):
            lines += [f"{address}:{self.proxy_port} inet n - n - - {haproxy}",
                      f"{address}:{self.plain_port} inet n - n - - smtpd"]
        lines += [
            f"127.0.0.1:{self.postscreen_port} inet n - n - 1 postscreen -o postscreen_upstream_proxy_protocol=haproxy",
            "smtpd pass - - n - - smtpd",
            "dnsblog unix - - n - 0 dnsblog",
            "tlsproxy unix - - n - 0 tlsproxy",
            "cleanup unix n - n - 0 cleanup",
            "qmgr unix n - n 300 1 qmgr",
            "rewrite unix - - n - - trivial-rewrite",
            "bounce unix - - n - 0 bounce",
            "defer unix - - n - 0 bounce",
            "trace unix - - n - 0 bounce",
            "error unix - - n - - error",
            "retry unix - - n - - error",
            "discard unix - - n - - discard",
            "tlsmgr unix - - n 1000? 1 tlsmgr",
            "virtual unix - n n - - virtual",
            "lmtp unix - - n - - lmtp",
            "smtp unix - - n - - smtp",
            "anvil unix - - n - 1 anvil",
            "proxymap unix - - n - - proxymap",
            "postlog unix-dgram n - n - 1 postlogd",
        ]
        return "\n".join(lines) + "\n"
