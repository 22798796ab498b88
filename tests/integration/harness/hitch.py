# SPDX-License-Identifier: Apache-2.0
"""A hitch that ends TLS in front of mailgate."""

from .ports import reserve_port
from .process import Process, is_listening, make_certificate


class Hitch:
    """Takes TLS on `port` and connects to 127.0.0.1:server_port with a v2 PROXY header that tells of the TLS."""

    def __init__(self, scratch, server_port, name="hitch"):
        self.folder = scratch.folder(name)
        self.port = reserve_port()
        self._server_port = server_port
        self._pair = make_certificate(scratch.path)
        self._config = self.folder / "hitch.conf"
        self._process = Process(name, ["/usr/sbin/hitch", f"--config={self._config}"], self.folder / "output.txt")

    def start(self):
        both = self.folder / "both.pem"
        both.write_text("".join(path.read_text() for path in reversed(self._pair)))
        self._config.write_text(f"""daemon = off
user = "_hitch"
group = "_hitch"
workers = 1
ocsp-dir = ""
frontend = "[127.0.0.1]:{self.port}"
backend = "[127.0.0.1]:{self._server_port}"
pem-file = "{both}"
write-proxy-v2 = on
proxy-tlv = on
""")
        self._process.start()
        self._process.wait_ready(lambda: is_listening(self.port), "listening")
        return self

    def stop(self):
        self._process.stop()
