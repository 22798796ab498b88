# SPDX-License-Identifier: Apache-2.0
"""The gateways that are compared: each with the same listeners, allowlist, workers and logging, and a PROXY header in and out.

What they are told is what their own manuals recommend for this work; nothing is tuned for one of them alone. Settings that
decide are commented at their place.
"""

import os
import pathlib
import random
import resource
import signal
import socket
import subprocess
import time

WORKERS = 2
MAX_SESSIONS = 9000  # two descriptors each: within a limit of 20,000 for a process
TRUSTED = "127.0.0.0/8"
_TICKS = os.sysconf("SC_CLK_TCK")
_taken_ports = set()


def free_port():
    """Below the ephemeral range, so that no outgoing connection takes it first."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            if port not in _taken_ports and probe.connect_ex(("127.0.0.1", port)) != 0:
                _taken_ports.add(port)
                return port


class Gateway:
    """One gateway program in a folder of its own, in front of `servers` ({"smtp": "ADDRESS:PORT", "imap": …}). With `pair`,
    the files of a certificate and its key, its listeners speak TLS behind the PROXY header, and TLS ends there."""

    name = ""
    only = None  # the workloads that it is a variant for; None: all
    standard = True  # takes part unless it is told otherwise
    logs_sessions = True
    needs = ()  # files without which it is not installed

    def __init__(self, folder, networks, servers, pair=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.networks = networks
        self.servers = servers
        self.pair = pair
        self.ports = {protocol: free_port() for protocol in servers}
        self.log = self.folder / "sessions.log"
        self._process = None

    # What each of them defines.

    def configure(self):
        """Writes the configuration; returns the command that runs it in the foreground."""
        raise NotImplementedError

    @classmethod
    def version(cls):
        raise NotImplementedError

    @staticmethod
    def session_lines(log):
        """How many sessions a log tells of."""
        return sum(1 for _ in open(log, errors="replace"))

    @classmethod
    def installed(cls):
        return all(pathlib.Path(file).exists() for file in cls.needs)

    def both(self):
        """The certificate and its key in one file."""
        file = self.folder / "both.pem"
        file.write_text("".join(pathlib.Path(part).read_text() for part in self.pair))
        return file

    # The process.

    def start(self):
        command = self.configure()
        with open(self.folder / "output.txt", "w") as output, open(self._stdout(), "a") as stdout:
            self._process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=output,
                                             preexec_fn=_raise_descriptor_limit)
        for port in self.ports.values():
            self._wait_listening(port)
        return self

    def stop(self):
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def target(self, protocol):
        return f"127.0.0.1:{self.ports[protocol]}"

    def pids(self):
        """Of the program and its children."""
        found, todo = [], [self._process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        return found

    def cpu_seconds(self):
        """User and system time of all its processes and threads so far."""
        return sum(_cpu_ticks(pid) for pid in self.pids()) / _TICKS

    def memory_bytes(self):
        """User memory: proportional set size, so that what its processes share counts once."""
        return sum(_pss(pid) for pid in self.pids())

    def _stdout(self):
        return self.folder / "output.txt"

    def _wait_listening(self, port):
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not start:\n{(self.folder / 'output.txt').read_text()}")
            time.sleep(0.02)


class HAProxy(Gateway):
    name = "haproxy"
    options = ()
    needs = ("/usr/sbin/haproxy",)

    def configure(self):
        tls = f" ssl crt {self.both()}" if self.pair else ""
        allowlist = self.folder / "allow.txt"
        allowlist.write_text("\n".join(self.networks) + "\n")
        lines = ["global", f"  nbthread {WORKERS}", f"  maxconn {MAX_SESSIONS}",
                 "  maxpipes 200",  # by default a quarter of maxconn: more than the descriptor limit leaves room for
                 "  log stdout format raw local0 info",  # a file here: cheaper than a datagram a session
                 "defaults", "  mode tcp", "  log global", "  option tcplog", *(f"  {option}" for option in self.options),
                 "  timeout connect 5s", "  timeout client 31m", "  timeout server 31m"]
        for protocol, server in self.servers.items():
            lines += [f"listen {protocol}", f"  bind 127.0.0.1:{self.ports[protocol]} accept-proxy{tls}",
                      # "session": the earliest rules that see the address in the header
                      f"  tcp-request session reject unless {{ src -f {allowlist} }}",
                      f"  server backend {server} send-proxy-v2"]
        config = self.folder / "haproxy.cfg"
        config.write_text("\n".join(lines) + "\n")
        return ["/usr/sbin/haproxy", "-db", "-f", str(config)]

    @classmethod
    def version(cls):
        return " ".join(_output("/usr/sbin/haproxy", "-v").split()[:3])

    def _stdout(self):
        return self.log


class HAProxySplice(HAProxy):
    name = "haproxy-splice"
    only = ("imap-bulk",)
    options = ("option splice-request", "option splice-response")


class Nginx(Gateway):
    name = "nginx"
    needs = ("/usr/sbin/nginx", "/usr/lib/nginx/modules/ngx_stream_module.so")

    def tls(self):
        # By default 1.22 has no TLS 1.3.
        return f"""ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {self.pair[0]};
    ssl_certificate_key {self.pair[1]};""" if self.pair else ""

    def configure(self):
        allowlist = self.folder / "allow.conf"
        allowlist.write_text("".join(f"allow {network};\n" for network in self.networks) + "deny all;\n")
        servers = "".join(f"""
  server {{
    listen 127.0.0.1:{self.ports[protocol]}{" ssl" if self.pair else ""} proxy_protocol reuseport;
    proxy_pass {server};
    {self.tls()}
  }}""" for protocol, server in self.servers.items())
        config = self.folder / "nginx.conf"
        # proxy_protocol sends version 1: nginx 1.22 has no other.
        config.write_text(f"""load_module /usr/lib/nginx/modules/ngx_stream_module.so;
user root;
daemon off;
worker_processes {WORKERS};
worker_rlimit_nofile {_descriptor_limit()};
pid {self.folder}/nginx.pid;
error_log {self.folder}/error.log warn;
events {{ worker_connections {2 * MAX_SESSIONS}; }}
stream {{
  log_format sessions '$time_iso8601 $remote_addr:$remote_port $server_port $upstream_addr $status $bytes_received '
                      '$bytes_sent $upstream_connect_time $session_time';
  access_log {self.log} sessions;
  set_real_ip_from {TRUSTED};
  include {allowlist};
  proxy_protocol on;
  proxy_connect_timeout 5s;
  proxy_timeout 31m;{servers}
}}
""")
        return ["/usr/sbin/nginx", "-c", str(config)]

    @classmethod
    def version(cls):
        return _output("/usr/sbin/nginx", "-v").split(":")[1].strip()


class NginxMail(Nginx):
    """nginx's mail module, which speaks IMAP itself up to the login, and connects to the server then. It asks over HTTP
    which one; here the same nginx answers that, with a constant."""

    name = "nginx-mail"
    only = ("tls-bulk", "tls-idle")
    needs = ("/usr/sbin/nginx", "/usr/lib/nginx/modules/ngx_mail_module.so")
    logs_sessions = False  # but at the level "info" of its error log

    def configure(self):
        address, port = self.servers["imap"].split(":")
        answers = free_port()
        allowlist = self.folder / "allow.conf"
        allowlist.write_text("".join(f"allow {network};\n" for network in self.networks) + "deny all;\n")
        config = self.folder / "nginx.conf"
        config.write_text(f"""load_module /usr/lib/nginx/modules/ngx_mail_module.so;
user root;
daemon off;
worker_processes {WORKERS};
worker_rlimit_nofile {_descriptor_limit()};
pid {self.folder}/nginx.pid;
error_log {self.folder}/error.log warn;
events {{ worker_connections {2 * MAX_SESSIONS}; }}
http {{
  access_log off;
  server {{
    listen 127.0.0.1:{answers};
    location / {{
      add_header Auth-Status OK;
      add_header Auth-Server {address};
      add_header Auth-Port {port};
      return 204;
    }}
  }}
}}
mail {{
  auth_http 127.0.0.1:{answers}/;
  set_real_ip_from {TRUSTED};
  proxy_protocol on;
  proxy_timeout 31m;
  timeout 31m;
  server {{
    listen 127.0.0.1:{self.ports["imap"]} ssl proxy_protocol;
    protocol imap;
    {self.tls()}
  }}
}}
""")
        return ["/usr/sbin/nginx", "-c", str(config)]

    @classmethod
    def version(cls):
        return f"{super().version()} (mail)"


class Hitch(Gateway):
    """Ends TLS, and no more: it has no allowlist and no log of sessions."""

    name = "hitch"
    only = ("tls-rsa", "tls-ecdsa", "tls-resumed", "tls-bulk", "tls-idle", "tls-flood")
    needs = ("/usr/sbin/hitch",)
    logs_sessions = False

    def configure(self):
        [(protocol, server)] = self.servers.items()
        config = self.folder / "hitch.conf"
        address, port = server.split(":")
        # The header of the client's side goes on to the server as it is.
        config.write_text(f"""daemon = off
user = "_hitch"
group = "_hitch"
workers = {WORKERS}
ocsp-dir = ""
log-level = 0
frontend = "[127.0.0.1]:{self.ports[protocol]}"
backend = "[{address}]:{port}"
pem-file = "{self.both()}"
proxy-proxy = on
""")
        return ["/usr/sbin/hitch", f"--config={config}"]

    @classmethod
    def version(cls):
        return _output("/usr/sbin/hitch", "--version").strip()


class Mailgate(Gateway):
    name = "mailgate"
    binary = ""
    journal = True

    def configure(self):
        parts = [f'[gateway]\nname = "bench"\nworkers = {WORKERS}\nmax_sessions = {MAX_SESSIONS}',
                 '[store]\nurl = "sqlite:mailgate.db"',
                 f'[log]\nformat = "json"\ntarget = "file:{self.log}"\nlevel = "information"',
                 f'[journal]\nenabled = {str(self.journal).lower()}',
                 '[admin]\nsocket = "mailgate.sock"']
        tls = ""
        if self.pair:
            tls = f'tls = "implicit"\ncertificates = [{{ certificate = "{self.pair[0]}", key = "{self.pair[1]}" }}]\n'
        for protocol, server in self.servers.items():
            parts += [f'[[listener]]\nname = "{protocol}"\nprotocol = "{protocol}"\naddress = "127.0.0.1:{self.ports[protocol]}"\n'
                      f'{tls}proxy = "require"\ntrusted = ["{TRUSTED}"]\naccess = "allowlist"\nupstream = "{protocol}"',
                      f'[[upstream]]\nname = "{protocol}"\nsend_proxy = "v2"',
                      f'[[upstream.server]]\nname = "sink"\naddress = "{server}"']
        config = self.folder / "mailgate.toml"
        config.write_text("\n\n".join(parts) + "\n")
        networks = self.folder / "networks.txt"
        networks.write_text("".join(f"allow {network}\n" for network in self.networks))
        subprocess.run([self.binary, "access", "import", str(networks), "--config", str(config)],
                       check=True, cwd=self.folder, stdout=subprocess.DEVNULL)
        return [self.binary, "serve", "--config", str(config)]

    @classmethod
    def version(cls):
        return " ".join(_output(cls.binary, "--version").split())

    @staticmethod
    def session_lines(log):
        return sum('"event":"session.end"' in line for line in open(log, errors="replace"))


class MailgateWithoutJournal(Mailgate):
    name = "mailgate-no-journal"
    journal = False
    standard = False


class MailgateBefore(Mailgate):
    """Another build, to see what a change costs."""

    name = "mailgate-before"
    standard = False


GATEWAYS = {gateway.name: gateway
            for gateway in (HAProxy, HAProxySplice, Nginx, NginxMail, Hitch, Mailgate, MailgateWithoutJournal, MailgateBefore)}


def _output(*command):
    done = subprocess.run(command, text=True, capture_output=True)
    return done.stdout or done.stderr


def _descriptor_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _raise_descriptor_limit():
    resource.setrlimit(resource.RLIMIT_NOFILE, (_descriptor_limit(),) * 2)


def _cpu_ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def _pss(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no Pss of {pid}")
