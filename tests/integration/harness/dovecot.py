# SPDX-License-Identifier: Apache-2.0
"""A Dovecot instance of its own: IMAP, POP3, LMTP and ManageSieve, each behind the PROXY protocol and as such.

Dovecot 2.4 has another configuration language than 2.3; the files are written for the one that is installed, here or in the
system that MAILGATE_DOVECOT_ROOT names (tests/integration/dovecot24.sh).
"""

import functools
import os
import pathlib
import re
import shlex
import subprocess

from .mailserver import MailServer
from .ports import reserve_port

USERS = {"alice": "wonder-2718", "bob": "builder-3141"}
SERVICES = ("imap", "pop3", "lmtp", "sieve")
_NOBODY = 65534


def _command(folder, *words):
    """Dovecot's, in the system where it is installed: that sees `folder` where we do, as long as the command runs."""
    root = os.environ.get("MAILGATE_DOVECOT_ROOT")
    words = ("/usr/sbin/dovecot", *map(str, words))
    if not root:
        return words
    root, folder = shlex.quote(root), shlex.quote(str(folder))
    script = (f"mount -t proc proc {root}/proc; mount -t tmpfs tmpfs {root}/tmp; mkdir -p {root}{folder}; "
              f"mount --bind {folder} {root}{folder}; exec chroot {root} {shlex.join(words)}")
    return ("unshare", "--mount", "sh", "-ec", script)


@functools.cache
def version():
    """(2, 3) or (2, 4): their configuration languages differ."""
    text = subprocess.run(_command("/tmp", "--version"), text=True, capture_output=True, check=True).stdout
    return tuple(map(int, re.match(r"(\d+)\.(\d+)", text).groups()))


def listen_setting():
    """What an inet_listener calls the addresses that it listens on."""
    return "address" if version() < (2, 4) else "listen"


class Dovecot(MailServer):
    """`proxy_port[service]` expects a PROXY header, `plain_port[service]` does not. Passwords are taken in the clear, or
    with `cleartext=False` over TLS only, Dovecot's own or the balancer's. `settings`: further lines of its configuration."""

    def __init__(self, scratch, name="dovecot", cleartext=True, settings=""):
        super().__init__(scratch, name, "dovecot.log")
        self._cleartext = cleartext
        self._settings = settings
        self.homes = self.folder / "home"
        self.proxy_port = {service: reserve_port() for service in SERVICES}
        self.plain_port = {service: reserve_port() for service in SERVICES}
        self._config = self.folder / "dovecot.conf"
        self._runs(_command(scratch.path, "-F", "-c", self._config), (*self.proxy_port.values(), *self.plain_port.values()))

    def deliver(self, user, message):
        """Puts a message into the user's inbox without a session."""
        folder = self.homes / user / "Maildir" / "new"
        folder.mkdir(parents=True, exist_ok=True)
        for path in (self.homes / user / "Maildir", folder):
            os.chown(path, _NOBODY, _NOBODY)
        self._delivered = getattr(self, "_delivered", 0) + 1
        temporary = self.folder / f"delivery.{self._delivered}"
        temporary.write_bytes(message)
        os.chown(temporary, _NOBODY, _NOBODY)
        os.rename(temporary, folder / f"{self._delivered:010d}.test.mx")

    def processes(self, title):
        """Its own that call themselves so."""
        found = []
        for folder in pathlib.Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and (folder / "cmdline").read_text().startswith(title) \
                        and f"\nPPid:\t{self._process.pid}\n" in (folder / "status").read_text():
                    found.append(int(folder.name))
            except OSError:
                continue  # it has ended
        return found

    def _write_files(self):
        self.homes.mkdir(exist_ok=True)
        passwd = self.folder / "users"
        passwd.write_text("".join(
            f"{user}:{{PLAIN}}{password}:{_NOBODY}:{_NOBODY}::{self.homes}/{user}::\n" for user, password in USERS.items()))
        for user in USERS:
            (self.homes / user).mkdir(exist_ok=True)
            os.chown(self.homes / user, _NOBODY, _NOBODY)
        self._config.write_text(self._configuration(passwd))

    def _listeners(self, service, standard):
        name = {"sieve": "managesieve"}.get(service, service)
        block = "lmtp" if service == "lmtp" else f"{name}-login"
        off = "".join(f"  inet_listener {listener} {{\n    port = 0\n  }}\n" for listener in standard)
        return f"""service {block} {{
{off}  inet_listener {service}_proxy {{
    {listen_setting()} = 127.0.0.1 ::1
    port = {self.proxy_port[service]}
    haproxy = yes
  }}
  inet_listener {service}_plain {{
    {listen_setting()} = 127.0.0.1 ::1
    port = {self.plain_port[service]}
  }}
}}
"""

    def _configuration(self, passwd):
        return (self._settings_2_3(passwd) if version() < (2, 4) else self._settings_2_4(passwd)) + f"""base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.log_file}
protocols = imap pop3 lmtp sieve
listen = 127.0.0.1, ::1
haproxy_trusted_networks = 127.0.0.0/8 ::1/128
auth_mechanisms = plain login
auth_failure_delay = 0
first_valid_uid = 1
imap_idle_notify_interval = 10 s
mail_max_userip_connections = 100
namespace inbox {{
  inbox = yes
}}
""" + self._listeners("imap", ("imap", "imaps")) + self._listeners("pop3", ("pop3", "pop3s")) \
            + self._listeners("lmtp", ()) + self._listeners("sieve", ("sieve",)) + self._settings

    def _settings_2_3(self, passwd):
        return f"""disable_plaintext_auth = {"no" if self._cleartext else "yes"}
auth_username_format = %Ln
mail_location = maildir:~/Maildir
ssl = yes
ssl_cert = <{self._certificate}
ssl_key = <{self._key}
login_log_format_elements = user=<%u> method=%m rip=%r rport=%b lip=%l %c session=<%{{session}}>
passdb {{
  driver = passwd-file
  args = {passwd}
}}
userdb {{
  driver = passwd-file
  args = {passwd}
}}
"""

    def _settings_2_4(self, passwd):
        # With ssl = yes it takes whatever comes with a PROXY header to be secured, TLS or not.
        return f"""dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
auth_allow_cleartext = {"yes" if self._cleartext else "no"}
auth_username_format = %{{user | username | lower}}
mail_driver = maildir
mail_path = ~/Maildir
ssl = {"yes" if self._cleartext else "required"}
ssl_server_cert_file = {self._certificate}
ssl_server_key_file = {self._key}
login_log_format_elements = user=<%{{user}}> method=%{{mechanism}} rip=%{{remote_ip}} rport=%{{remote_port}} lip=%{{local_ip}} %{{secured}} session=<%{{session}}>
passdb passwd-file {{
  passwd_file_path = {passwd}
}}
userdb passwd-file {{
  passwd_file_path = {passwd}
}}
"""
