# SPDX-License-Identifier: Apache-2.0
"""Commands for somebody at a terminal, who watches them and may end them."""

import contextlib
import os
import pty
import re
import select
import time

PATIENCE = 250  # seconds, of a debug build on a busy machine


class Terminal:
    """The gateway's command on a terminal of its own; with `output` what it prints goes to that file."""

    def __init__(self, gateway, *arguments, output=None):
        self.text = ""
        self._process, self._terminal = pty.fork()
        if self._process == 0:
            os.chdir(gateway.folder)
            os.environ["TERM"] = "xterm"
            if output:
                os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
            os.execv(gateway.argv()[0], gateway.argv(*arguments))

    def wait(self, pattern):
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, f"{pattern} is not in {self.text[-500:]}"
            if select.select([self._terminal], [], [], 1)[0]:
                self.text += os.read(self._terminal, 4096).decode()

    def interrupt(self):
        """Control-C; the signal that has ended the command."""
        os.write(self._terminal, b"\x03")
        with contextlib.suppress(OSError):  # as Linux ends a terminal
            while said := os.read(self._terminal, 4096):
                self.text += said.decode()
        status = os.waitpid(self._process, 0)[1]
        os.close(self._terminal)
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
