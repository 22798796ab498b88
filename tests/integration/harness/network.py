# SPDX-License-Identifier: Apache-2.0
"""A network of a test's own whose links can be cut. Takes root's rights."""

import contextlib
import os
import subprocess


def _run(*words):
    subprocess.run(words, check=True, capture_output=True)


class Namespace:
    """Programs run in it by `prefix`; link N leads to its address `inside[N]`."""

    def __init__(self, links):
        number = os.getpid()
        self.name = f"mailgate-{number}"
        self.prefix = ["ip", "netns", "exec", self.name]
        self._devices = [(f"mg{number}a{at}", f"mg{number}b{at}") for at in range(links)]
        block = f"10.{224 + number % 16}.{number // 16 % 256}"
        self._outside = [f"{block}.{4 * at + 1}" for at in range(links)]
        self.inside = [f"{block}.{4 * at + 2}" for at in range(links)]

    def start(self):
        _run("ip", "netns", "add", self.name)
        _run(*self.prefix, "ip", "link", "set", "lo", "up")
        for (here, there), outside, inside in zip(self._devices, self._outside, self.inside):
            _run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name)
            _run("ip", "address", "add", f"{outside}/30", "dev", here)
            _run(*self.prefix, "ip", "address", "add", f"{inside}/30", "dev", there)
            _run("ip", "link", "set", here, "up")
            _run(*self.prefix, "ip", "link", "set", there, "up")
        return self

    def stop(self):
        for here, _ in self._devices:
            with contextlib.suppress(subprocess.CalledProcessError):
                _run("ip", "link", "delete", here)
        with contextlib.suppress(subprocess.CalledProcessError):
            _run("ip", "netns", "delete", self.name)

    def lose(self, link, inbound=True, outbound=True):
        """What is sent vanishes; `inbound`: to the namespace."""
        here, there = self._devices[link]
        if inbound:
            _run("tc", "qdisc", "replace", "dev", here, "root", "blackhole")
        if outbound:
            _run(*self.prefix, "tc", "qdisc", "replace", "dev", there, "root", "blackhole")

    def unplug(self, link):
        _run(*self.prefix, "ip", "link", "set", self._devices[link][1], "down")

    def mend(self, link):
        here, there = self._devices[link]
        for words in (("tc", "qdisc", "delete", "dev", here, "root"), (*self.prefix, "tc", "qdisc", "delete", "dev", there, "root")):
            with contextlib.suppress(subprocess.CalledProcessError):  # nothing was lost
                _run(*words)
        _run(*self.prefix, "ip", "link", "set", there, "up")
