# SPDX-License-Identifier: Apache-2.0
"""An nginx with its stream module in front of mailgate."""

from .ports import reserve_port
from .process import Process, is_listening


class Nginx:
    """Ports are added before the start; each has one server behind it."""

    def __init__(self, scratch, name="nginx"):
        self.folder = scratch.folder(name)
        self._servers = []
        self._ports = []
        self._config = self.folder / "nginx.conf"
        self._process = Process(name, ["/usr/sbin/nginx", "-p", self.folder, "-c", self._config], self.folder / "output.txt")

    def server(self, server_port):
        """A port whose connections reach 127.0.0.1:server_port with a PROXY header."""
        port = reserve_port()
        self._servers.append(f"  server {{\n    listen 127.0.0.1:{port};\n    proxy_pass 127.0.0.1:{server_port};\n"
                             "    proxy_protocol on;\n  }\n")
        self._ports.append(port)
        return port

    def start(self):
        self._config.write_text("load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
                                f"daemon off;\npid {self.folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
                                f"stream {{\n{''.join(self._servers)}}}\n")
        self._process.start()
        self._process.wait_ready(lambda: all(map(is_listening, self._ports)), "listening")
        return self

    def stop(self):
        self._process.stop()
