# SPDX-License-Identifier: Apache-2.0
"""A small disk that can be filled."""

import ctypes
import errno
import os
import subprocess

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS = 0x00020000


class Disk:
    """Mounted at `path` for this program's main thread and what it starts, so that nothing is left of it afterwards."""

    def __init__(self, path, size):
        self.path = path
        self._filler = path / "filler"
        if _libc.unshare(_CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "no mount namespace")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True)

    def fill(self):
        """To the last byte, of the last page of every file there too."""
        with open(self._filler, "wb", buffering=0) as filler:
            try:
                while filler.write(bytes(4096)):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC, error

    def free(self):
        os.unlink(self._filler)
