# SPDX-License-Identifier: Apache-2.0
"""What a long list of rules costs mailgate as it is shipped: importing it, replacing it by the contrary, starting with it, and
having one rule more in force."""

import os
import random
import socket
import subprocess
import time

from load_tool import Sink

MORE = 5  # rules added one after the other
PATIENCE = 30


def addresses(count):
    """That many IPv4 addresses in no order; none of them of 192.0.2.0/24, which the further rules are of."""
    found = random.Random(1).sample(range(0x01000000, 0xC0000000), count)
    return [socket.inet_ntoa(number.to_bytes(4, "big")) for number in found]


def measure(name, gateway_class, count, mailload, scratch):
    """{measure: value}, all of them the less the better. Processor times include the start of the command."""
    folder = scratch / name
    sink = Sink(mailload, "smtp")
    gateway = gateway_class(folder, ["198.51.100.0/24"], {"smtp": sink.address})
    command, listed = gateway.configure(), addresses(count)
    values = {}
    try:
        for measured, verdict, options in (("import, CPU s", "allow", ()), ("as a replacement, CPU s", "deny", ("--replace", "--force"))):
            (folder / "list.txt").write_text("".join(f"{verdict} {address}\n" for address in listed))
            values[measured] = _cpu(gateway, "access", "import", *options, "list.txt")
        gateway.configure = lambda: command  # it is
        begin = time.monotonic()
        gateway.start()
        _admits(gateway, "192.0.2.0")  # whoever is connected waits until the rules are there
        values["start to serving, ms"] = (time.monotonic() - begin) * 1e3
        values["start to serving, CPU ms"] = gateway.cpu_seconds() * 1e3
        values["resident, MiB"] = _resident(gateway) / 2**20
        before, waited = gateway.cpu_seconds(), []
        for number in range(1, MORE + 1):
            client = f"192.0.2.{number}"
            assert not _admits(gateway, client), f"{client} was let in before there was a rule"
            _cpu(gateway, "access", "allow", client)
            waited.append(_until_admitted(gateway, client) * 1e3)
        values["one rule more, commit to in force, ms"] = sorted(waited)[MORE // 2]
        values["one rule more, CPU ms of the gateway"] = (gateway.cpu_seconds() - before) * 1e3 / MORE
    finally:
        gateway.stop()
        sink.stop()
    return values


def _cpu(gateway, *arguments):
    """Of a command, user and system."""
    said = gateway.folder / "commands.txt"
    with open(said, "a") as output:
        child = subprocess.Popen([gateway.binary, *arguments, "--config", "mailgate.toml"], cwd=gateway.folder, stdout=output, stderr=output)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"{arguments}:\n{said.read_text()}")
    return used.ru_utime + used.ru_stime


def _resident(gateway):
    with open(f"/proc/{gateway.pids()[0]}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) * 1024


def _admits(gateway, client):
    """Whether a session from there gets the server's greeting."""
    host, port = gateway.target("smtp").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(f"PROXY TCP4 {client} 203.0.113.10 40000 25\r\n".encode())
        return connection.recv(512).startswith(b"220")


def _until_admitted(gateway, client):
    begin = time.monotonic()
    while not _admits(gateway, client):
        if time.monotonic() - begin > PATIENCE:
            raise RuntimeError(f"the rule for {client} is not in force")
        time.sleep(0.002)
    return time.monotonic() - begin
