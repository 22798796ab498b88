# SPDX-License-Identifier: Apache-2.0
"""What the real mail servers have in common: a folder, a log, a certificate and one process in the foreground."""

import re

from .process import Process, is_listening, make_certificate, wait_until


class MailServer:
    """Subclasses say what they are called, how they are started, and write their files before that."""

    def __init__(self, scratch, name, log_name):
        self.name = name
        self.folder = scratch.folder(name)
        self.log_file = self.folder / log_name
        self._certificate, self._key = make_certificate(scratch.path)

    def _runs(self, argv, ports, env=None):
        self._process = Process(self.name, argv, self.folder / "output.txt", env=env)
        self._ports = ports

    def start(self):
        self._write_files()
        self._process.start()
        self._process.wait_ready(lambda: all(map(is_listening, self._ports)), "listening")
        return self

    def stop(self):
        self._process.stop()

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def wait_log(self, pattern):
        """The first match of the regular expression in the log, once it is there."""
        return wait_until(lambda: re.search(pattern, self.log()),
                          lambda: f"{pattern} in the log of {self.name}:\n{self.log()[-3000:]}")
