# SPDX-License-Identifier: Apache-2.0
"""Child processes with awaited readiness and certain ends, and the scratch folder that owns them."""

import atexit
import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

DEADLINE = 30.0  # for conditions that are expected to come true; generous, since it costs nothing when they do

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def wait_until(condition, what, deadline=DEADLINE, interval=0.01):
    """The first true value of `condition()`; AssertionError that names `what` after `deadline` seconds. Asking takes the
    processors' time from who is waited for: the longer it goes on, and the longer an answer takes, the rarer."""
    begin = time.monotonic()
    end = begin + deadline
    while True:
        asked = time.monotonic()
        value = condition()
        if value:
            return value
        now = time.monotonic()
        if now > end:
            raise AssertionError(f"waited {deadline:.0f} s for: {what() if callable(what) else what}")
        time.sleep(max(interval, min((now - begin) / 20, 0.1), min(now - asked, 0.25)))


def wait_for_port(port, address="127.0.0.1", deadline=DEADLINE):
    """Waits until something listens, by the kernel's table: a connection would leave lines in the server's log."""
    wait_until(lambda: is_listening(port), f"a listener on {address}:{port}", deadline)


def is_listening(port):
    suffix = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[1].endswith(suffix):
                return True
    return False


class Process:
    """One program in the foreground, in a process group of its own, its output in a file.

    Start it from the main thread only: the kernel kills it when the thread that started it ends, so that nothing
    survives a test program that is itself killed.
    """

    def __init__(self, name, argv, output, env=None, cwd=None, limits=(), pass_fds=()):
        self.name = name
        self.argv = [str(word) for word in argv]
        self.output = pathlib.Path(output)
        self.env = env
        self.cwd = cwd
        self.limits = limits  # pairs for resource.setrlimit
        self.pass_fds = pass_fds  # descriptors that it inherits
        self._popen = None

    def start(self):
        def in_child():
            import resource

            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            for which, value in self.limits:
                resource.setrlimit(which, (value, value))

        with open(self.output, "ab") as output:
            self._popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                           env=self.env, cwd=self.cwd, pass_fds=self.pass_fds,
                                           start_new_session=True, preexec_fn=in_child)
        return self

    @property
    def pid(self):
        return self._popen.pid

    def running(self):
        return self._popen is not None and self._popen.poll() is None

    def exit_code(self, deadline=DEADLINE):
        """Waits for the end; negative for a signal."""
        return self._popen.wait(deadline)

    def text(self):
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def wait_ready(self, condition, what, deadline=DEADLINE):
        """Waits for the condition; tells the output when the process ends or the time is over before it holds."""
        def check():
            if condition():
                return True
            if not self.running():
                raise AssertionError(f"{self.name} ended with {self._popen.returncode} before {what}:\n{self.text()}")
            return False

        wait_until(check, lambda: f"{self.name}: {what}\n{self.text()}", deadline)

    def signal(self, number):
        self._popen.send_signal(number)

    def stop(self, deadline=DEADLINE):
        """SIGTERM, then after the deadline SIGKILL for the whole group. Returns the exit code."""
        if self._popen is None:
            return None
        if self.running():
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(deadline)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        return self._popen.wait()


class Scratch:
    """A temporary folder and the servers that live in it. MAILGATE_TEST_KEEP=1 leaves the folder for a look."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="mailgate-test-"))
        self.path.chmod(0o755)  # the mail servers' own users must get through
        self._stack = contextlib.ExitStack()
        atexit.register(self.close)

    def start(self, server):
        """Starts it and stops it with the scratch folder; a server that fails to start is stopped too."""
        self._stack.callback(server.stop)
        server.start()
        return server

    def defer(self, function, *arguments):
        self._stack.callback(function, *arguments)

    def folder(self, name):
        path = self.path / name
        path.mkdir(exist_ok=True)
        return path

    def close(self):
        atexit.unregister(self.close)
        try:
            self._stack.close()
        finally:
            if os.environ.get("MAILGATE_TEST_KEEP"):
                print(f"kept {self.path}", file=sys.stderr)
            else:
                shutil.rmtree(self.path, ignore_errors=True)


def make_certificate(folder):
    """A self-signed pair for `mx.example.net`: (certificate, key)."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    if not certificate.exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=mx.example.net", "-addext", "subjectAltName=DNS:mx.example.net",
                        "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


# A test program that is told to stop runs its exit handlers, so that its servers stop with it.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
