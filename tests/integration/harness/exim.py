# SPDX-License-Identifier: Apache-2.0
"""An Exim of its own behind the PROXY protocol.

Debian lets only one mail server be installed, which is Postfix here; etc/packages.sh unpacks the program alone.
"""

import os
import pwd

from .mailserver import MailServer
from .ports import reserve_port

PROGRAM = "/usr/local/lib/mailgate-test/exim4"
_USER = "Debian-exim"  # compiled in: without such a user it does not start

# The user exists for this process alone; and it looks up the names of clients, which must not ask a DNS server.
_SETUP = """
mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group && mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf
shift
exec "$@"
"""


class Exim(MailServer):
    """Accepts mail for anybody on `proxy_port` and keeps it in its queue."""

    def __init__(self, scratch, name="exim"):
        super().__init__(scratch, name, "mainlog")
        self.proxy_port = reserve_port()
        self._config = self.folder / "exim.conf"
        self._runs(["unshare", "--mount", "sh", "-c", _SETUP, "sh", self.folder, PROGRAM, "-C", self._config, "-bdf"],
                   (self.proxy_port,))

    def _write_files(self):
        owner = pwd.getpwnam("nobody")
        os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        for name, entry in (("passwd", f"{_USER}:x:{owner.pw_uid}:{owner.pw_gid}::/nonexistent:/usr/sbin/nologin\n"),
                            ("group", f"{_USER}:x:{owner.pw_gid}:\n")):
            with open(f"/etc/{name}") as own:
                (self.folder / name).write_text(own.read() + entry)
        (self.folder / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
        self._config.write_text(f"""exim_user = nobody
exim_group = nogroup
spool_directory = {self.folder}/spool
log_file_path = {self.folder}/%slog
pid_file_path = {self.folder}/exim.pid
exim_path = {PROGRAM}
primary_hostname = mx.example.net
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.proxy_port}
hosts_proxy = 127.0.0.1
log_selector = +incoming_port +proxy
host_lookup_order = byaddr
tls_advertise_hosts =
queue_only
acl_smtp_rcpt = accept
keep_environment =
""")
