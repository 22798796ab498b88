# SPDX-License-Identifier: Apache-2.0
"""An nginx in front of mailgate: its stream module, and a reverse proxy of the console."""

import pathlib
import re

from .ports import reserve_port
from .process import Process, is_listening, make_certificate

CONSOLE_DOCS = pathlib.Path(__file__).resolve().parents[3] / "docs/console.md"


def console_lines(server_port):
    """What docs/console.md says to paste, without the log-in at nginx itself, which has to be somewhere."""
    location = re.search(r"^    location / \{\n.*?^    \}\n", CONSOLE_DOCS.read_text(), re.MULTILINE | re.DOTALL)[0]
    without = "".join(line for line in location.splitlines(True) if "auth_request" not in line and "X-Remote-User" not in line)
    assert "proxy_pass http://127.0.0.1:8026;" in without, without
    return without.replace("127.0.0.1:8026", f"127.0.0.1:{server_port}")


class Nginx:
    """Ports are added before the start; each has one server behind it."""

    def __init__(self, scratch, name="nginx"):
        self.folder = scratch.folder(name)
        self._servers = []
        self._web = []
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

    def web(self, server_port, folder):
        """A port that speaks HTTPS, with a certificate in `folder`, and proxies to 127.0.0.1:server_port as docs/console.md says."""
        port = reserve_port()
        certificate, key = make_certificate(folder)
        self._web.append(f"""  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
{console_lines(server_port)}  }}
""")
        self._ports.append(port)
        return port

    def start(self):
        paths = "".join(f"  {kind}_temp_path {self.folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        self._config.write_text("load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
                                f"daemon off;\npid {self.folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
                                + (f"stream {{\n{''.join(self._servers)}}}\n" if self._servers else "")
                                + (f"http {{\n  access_log off;\n{paths}{''.join(self._web)}}}\n" if self._web else ""))
        self._process.start()
        self._process.wait_ready(lambda: all(map(is_listening, self._ports)), "listening")
        return self

    def stop(self):
        self._process.stop()
