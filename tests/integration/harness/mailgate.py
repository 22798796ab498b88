# SPDX-License-Identifier: Apache-2.0
"""mailgate itself: its configuration as Python values, the daemon, its log and its command line."""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess

from .ports import reserve_port
from .process import Process, wait_until

# Sanitizers and loaded machines: the contract's own limits ("within one second") are multiplied by this.
SLACK = float(os.environ.get("MAILGATE_TEST_SLACK", "1"))


def binary():
    return os.environ["MAILGATE_BIN"]


def _toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)  # TOML's strings, numbers, booleans and arrays are written as JSON's


def _table(heading, values):
    return f"{heading}\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def listener(protocol, upstream, name=None, port=None, host="127.0.0.1", **settings):
    """Settings of a listener, with defaults for tests: require a header from loopback, admit everybody."""
    port = port or reserve_port()
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    defaults = {"name": name or protocol, "protocol": protocol, "address": address, "upstream": upstream,
                "proxy": "require", "trusted": ["127.0.0.0/8", "::1/128"], "access": "open"}
    merged = {**defaults, **settings}
    if merged["proxy"] == "off":
        merged.pop("trusted")
    return merged


def upstream(name, *ports, host="127.0.0.1", **settings):
    """Settings of an upstream whose servers are name1, name2, …; without health checks, which few scripted servers expect."""
    address = f"[{host}]" if ":" in host else host
    return {"name": name, "send_proxy": "v2", "check": False, **settings,
            "server": [{"name": f"{name}{number}", "address": f"{address}:{port}"} for number, port in enumerate(ports, 1)]}


class Mailgate:
    """One daemon in a folder of its own. Listener settings as listener() makes them; timeouts and gateway settings are
    merged over the tests' defaults."""

    def __init__(self, scratch, listeners, upstreams, name="mailgate", timeouts=None, gateway=None, log=None,
                 store_url="sqlite:mailgate.db", limits=(), admin=None, prefix=(), env=None, rules=None, console=None, fleet=None,
                 journal=None):
        self.folder = scratch.folder(name)
        self.prefix = prefix  # a program that starts the daemon and the commands
        self.listeners = listeners
        self.upstreams = upstreams
        self.gateway = {"name": "gw.example.net", "workers": 2, **(gateway or {})}
        self.timeouts = {"proxy_header": "3s", "hold": "1s", **(timeouts or {})}
        self.log_settings = {"format": "json", "target": "file:events.log", "level": "debug", **(log or {})}
        self.store_url = store_url
        self.admin = admin or {}
        self.rules = rules or {}
        self.console = console or {}
        self.fleet = fleet or {}
        self.journal_settings = journal or {}
        self.config = self.folder / "mailgate.toml"
        self.database = self.folder / "mailgate.db"
        self.journal = self.folder / "mailgate-journal.db"
        self.log_file = self.folder / "events.log"
        self.socket = self.folder / "mailgate.sock"  # with admin={"socket": "mailgate.sock"}
        self.process = Process(name, self.argv("serve"), self.folder / "output.txt", cwd=self.folder, limits=limits, env=env)
        self._started = self._exit_awaited = False

    def port(self, name):
        """The port of the listener of that name."""
        [settings] = [entry for entry in self.listeners if entry["name"] == name]
        return int(settings["address"].rsplit(":", 1)[1])

    def write_config(self):
        parts = [_table("[gateway]", self.gateway), _table("[store]", {"url": self.store_url}),
                 _table("[log]", self.log_settings), _table("[timeouts]", self.timeouts)]
        if self.rules:
            parts.append(_table("[rules]", self.rules))
        if self.fleet:
            parts.append(_table("[fleet]", self.fleet))
        if self.journal_settings:
            parts.append(_table("[journal]", self.journal_settings))
        if self.admin:
            parts.append(_table("[admin]", self.admin))
        if self.console:
            parts.append(_table("[console]", self.console))
        parts += [_table("[[listener]]", settings) for settings in self.listeners]
        for settings in self.upstreams:
            parts.append(_table("[[upstream]]", {key: value for key, value in settings.items() if key != "server"}))
            parts += [_table("[[upstream.server]]", server) for server in settings["server"]]
        self.config.write_text("\n".join(parts))

    def start(self):
        self.launch()
        self.process.wait_ready(lambda: self.events("gateway.start"), "gateway.start in its log")
        return self

    def stop(self):
        """Ends it in order and insists on it: a daemon that crashed or found a memory error must not pass."""
        if not self._started or self._exit_awaited:
            return
        code = self.process.stop()
        assert code == 0, f"mailgate ended with {code}:\n{self.process.text()}"

    def wait_exit(self):
        """The exit code, for tests in which it ends by itself or is told to."""
        self._exit_awaited = True
        return self.process.exit_code()

    def kill(self):
        """kill -9. It may be launched again."""
        self.process.signal(signal.SIGKILL)
        self.process.exit_code()
        self._started = False

    def launch(self):
        """Starts it without waiting for anything."""
        self.write_config()
        self.process.start()
        self._started, self._exit_awaited = True, False
        return self

    # The log.

    def log_text(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def events(self, event=None, **fields):
        """The log's lines as dictionaries, whole lines only, those that have these values."""
        text = self.log_text()
        lines = [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()
                 if event is None or f'"{event}"' in line]
        return [line for line in lines if (event is None or line["event"] == event)
                and all(line.get(key) == value for key, value in fields.items())]

    def wait_event(self, event, **fields):
        return self.wait_events(1, event, **fields)[0]

    def wait_events(self, count, event, **fields):
        return wait_until(lambda: len(found := self.events(event, **fields)) >= count and found,
                          lambda: f"{count} {event} with {fields} in mailgate's log:\n{self.log_text()[-4000:]}\n"
                                  f"{self.process.text()[-2000:]}")

    # The command line.

    def argv(self, *arguments):
        """`mailgate … --config FILE`"""
        return [*self.prefix, binary(), *arguments, "--config", str(self.config)]

    def run(self, *arguments, stdin=None, timeout=60):
        """Runs it; returns the completed process with text output."""
        return subprocess.run(self.argv(*arguments), input=stdin, text=True,
                              capture_output=True, timeout=timeout, cwd=self.folder)

    def access(self, *arguments):
        """`mailgate access …`, which must succeed; its output."""
        done = self.run("access", *arguments)
        assert done.returncode == 0, f"mailgate access {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    # The admin socket.

    def ask(self, method, target, body=None):
        """(status, parsed answer) of a request to the admin socket."""
        status, text = self.ask_text(method, target, body)
        return status, json.loads(text)

    def ask_text(self, method, target, body=None):
        """(status, answer as it came)"""
        connection = http.client.HTTPConnection("mailgate", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.socket))
        connection.request(method, target, body and json.dumps(body))
        answer = connection.getresponse()
        status, text = answer.status, answer.read().decode()
        connection.close()
        return status, text

    # What the kernel knows.

    def memory_bytes(self):
        """Resident memory."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))
