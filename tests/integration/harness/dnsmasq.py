# SPDX-License-Identifier: Apache-2.0
"""A dnsmasq of its own, the name server of a test whose names change."""

import signal

from .process import Process, wait_until

ADDRESS = "127.0.0.153"  # at the port that resolvers ask: 53


class Dnsmasq:
    """Answers for the names that it is told, without a time to live."""

    def __init__(self, scratch, records=()):
        """`records`: lines of its configuration, such as txt-record=NAME,TEXT."""
        folder = scratch.folder("dnsmasq")
        self.resolv = folder / "resolv.conf"
        self.resolv.write_text(f"nameserver {ADDRESS}\noptions timeout:1 attempts:1\n")
        self._hosts = folder / "hosts"
        self._hosts.write_text("")
        self._process = Process("dnsmasq", [
            "/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=",
            "--log-facility=-", "--no-resolv", "--no-hosts", f"--addn-hosts={self._hosts}", "--local-ttl=0",
            "--bind-interfaces", "--no-dhcp-interface=lo", f"--listen-address={ADDRESS}", "--log-queries", *(f"--{record}" for record in records)],
            folder / "output.txt")

    def start(self):
        self._process.start()
        self._process.wait_ready(lambda: "read" in self._process.text(), "its names read")
        return self

    def stop(self):
        self._process.stop()

    def signal(self, number):
        self._process.signal(number)

    def tell(self, name, *addresses):
        """From now on the name has these addresses."""
        self._hosts.write_text("".join(f"{address} {name}\n" for address in addresses))
        before = self._process.text().count(f"read {self._hosts}")
        self._process.signal(signal.SIGHUP)
        wait_until(lambda: self._process.text().count(f"read {self._hosts}") > before, "dnsmasq to read its names again")
