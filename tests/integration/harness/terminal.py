# SPDX-License-Identifier: Apache-2.0
"""Commands for somebody at a terminal, who watches them and may end them."""

import codecs
import os
import pty
import re
import select
import signal
import time

PATIENCE = 250  # seconds, of a debug build on a busy machine


class Terminal:
    """The gateway's command on a terminal of its own; with `output` what it prints goes to that file. It ends with the test `case`."""

    def __init__(self, case, gateway, *arguments, output=None):
        self.text = ""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._process, self._terminal = pty.fork()
        if self._process == 0:
            try:
                os.chdir(gateway.folder)
                os.environ["TERM"] = "xterm"
                if output:
                    os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
                os.execv(gateway.argv()[0], gateway.argv(*arguments))
            except Exception as error:
                os.write(2, str(error).encode())
            finally:
                os._exit(127)  # the test goes on once, in its own process
        case.addCleanup(self._end)

    def wait(self, pattern):
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, f"{pattern} is not in {self.text[-500:]}"
            if select.select([self._terminal], [], [], 1)[0]:
                assert self._read(), f"the command ended without {pattern}: {self.text[-500:]}"

    def hold(self, seconds):
        """The command does nothing for so long, and its clocks go on."""
        os.kill(self._process, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self._process, signal.SIGCONT)

    def interrupt(self):
        """Control-C; the signal that has ended the command."""
        os.write(self._terminal, b"\x03")
        while self._read():
            pass
        status = self._end(kill=False)
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else None

    def _read(self):
        try:
            said = os.read(self._terminal, 4096)
        except OSError:  # as Linux ends a terminal
            said = b""
        self.text += self._decode(said)
        return said

    def _end(self, kill=True):
        """What the command ended with; once."""
        if self._process is None:
            return None
        if kill:
            os.kill(self._process, signal.SIGKILL)
        status = os.waitpid(self._process, 0)[1]
        os.close(self._terminal)
        self._process = None
        return status
