# SPDX-License-Identifier: Apache-2.0
"""An HAProxy balancer in front of mailgate (or of a mail server)."""

from .ports import reserve_port
from .process import Process, is_listening


class HAProxy:
    """Frontends are added before the start; each has a port of its own and one server behind it."""

    def __init__(self, scratch, name="haproxy"):
        self.folder = scratch.folder(name)
        self._sections = []
        self._ports = []
        self._config = self.folder / "haproxy.cfg"
        self._process = Process(name, ["/usr/sbin/haproxy", "-db", "-f", self._config], self.folder / "output.txt")

    def frontend(self, server_port, send="send-proxy-v2", client=None, accept_proxy=False, check="", options=(), address="127.0.0.1"):
        """A port whose connections reach 127.0.0.1:server_port with a PROXY header.

        client: the original address to claim, for client programs that cannot send a header themselves.
        accept_proxy: take the original address from a header that the client sends.
        check: more words for the server line, such as "check check-send-proxy"; options: more lines.
        """
        port = reserve_port()
        lines = [f"listen port{port}", f"  bind {address}:{port}{' accept-proxy' if accept_proxy else ''}"]
        if client:
            kind = "ipv6" if ":" in client else "ipv4"
            lines += [f"  tcp-request connection set-src {kind}({client})"]
        lines += [f"  {option}" for option in options]
        lines += [f"  server mail 127.0.0.1:{server_port} {send} {check}".rstrip()]
        self._sections.append("\n".join(lines))
        self._ports.append(port)
        return port

    def start(self):
        defaults = """global
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 10m
  timeout server 10m
"""
        self._config.write_text(defaults + "\n".join(self._sections) + "\n")
        self._process.start()
        self._process.wait_ready(lambda: all(map(is_listening, self._ports)), "listening")
        return self

    def stop(self):
        self._process.stop()
