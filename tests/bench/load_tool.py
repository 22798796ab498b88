# SPDX-License-Identifier: Apache-2.0
"""mailload as Python sees it: sinks that are started and stopped, runs that give their results."""

import ctypes
import json
import os
import signal
import subprocess

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _ends_with_us():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Sink:
    """A fake mail server on an address of its own."""

    def __init__(self, mailload, protocol, host="127.0.0.1"):
        self._process = subprocess.Popen([mailload, "sink", protocol, "--listen", f"{host}:0"], text=True,
                                         stdout=subprocess.PIPE, preexec_fn=_ends_with_us)
        self.address = json.loads(self._process.stdout.readline())["listening"]

    def stop(self):
        """What it counted."""
        self._process.terminate()
        output, _ = self._process.communicate(timeout=30)
        assert self._process.returncode == 0, f"the sink ended with {self._process.returncode}"
        return json.loads(output)


class Run:
    """Clients of one workload. Those of imap-idle are held from wait_idle() on until finish()."""

    def __init__(self, mailload, workload, target, **options):
        arguments = [f"--{name}={value}" for name, value in options.items()]
        self._process = subprocess.Popen([mailload, "run", workload, f"--target={target}", *arguments], text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=_ends_with_us)

    def wait_idle(self):
        """How many sessions hold."""
        return json.loads(self._process.stdout.readline()).get("idle", 0)

    def finish(self):
        """The results."""
        output, _ = self._process.communicate()
        return json.loads(output.splitlines()[-1])

    def yields(self):
        """Its clients are ordinary processes, whatever we are (chrt)."""
        os.sched_setscheduler(self._process.pid, os.SCHED_OTHER, os.sched_param(0))

    def end(self):
        """Begins no further session; finish() then has the results of those so far."""
        self._process.terminate()

    def stop(self):
        """Ends it wherever it is; does nothing after finish()."""
        self._process.kill()
        self._process.communicate()
