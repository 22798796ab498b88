# SPDX-License-Identifier: Apache-2.0
"""A stunnel that ends TLS in front of mailgate."""

from .ports import reserve_port
from .process import Process, is_listening, make_certificate


class Stunnel:
    """Takes TLS on `port` and connects to 127.0.0.1:server_port with a v1 PROXY header."""

    def __init__(self, scratch, server_port, name="stunnel"):
        self.folder = scratch.folder(name)
        self.port = reserve_port()
        self._server_port = server_port
        self._certificate, self._key = make_certificate(scratch.path)
        self._config = self.folder / "stunnel.conf"
        self._process = Process(name, ["/usr/bin/stunnel4", self._config], self.folder / "output.txt")

    def start(self):
        self._config.write_text(f"""foreground = yes
pid =
[mail]
accept = 127.0.0.1:{self.port}
connect = 127.0.0.1:{self._server_port}
protocol = proxy
cert = {self._certificate}
key = {self._key}
""")
        self._process.start()
        self._process.wait_ready(lambda: is_listening(self.port), "listening")
        return self

    def stop(self):
        self._process.stop()
