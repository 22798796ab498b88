# SPDX-License-Identifier: Apache-2.0
"""This machine as it would be, in namespaces of its own: packages are installed there and nothing is left here."""

import os
import pathlib
import signal
import subprocess

from .process import Process, wait_until

# Changes go to a tmpfs over the real root; the network is a loopback of its own, so that default ports are free. What the
# root has mounted below it (/tmp may be) is not there, and so the folder that is asked for is mounted.
SETUP = """
set -e
upper=$1 shared=$2
mount -t tmpfs none "$upper"
mkdir "$upper/changes" "$upper/work" "$upper/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$upper/changes,workdir=$upper/work" "$upper/root"
mount -t proc proc "$upper/root/proc"
mount --rbind /dev "$upper/root/dev"
mount -t tmpfs none "$upper/root/run"
mkdir -p "$upper/root$shared"
mount --bind "$shared" "$upper/root$shared"
ip link set lo up
echo ready
exec chroot "$upper/root" sleep infinity
"""


class System:
    """run() is a command in it, as root."""

    def __init__(self, scratch, name):
        self.folder = scratch.folder(name)
        upper = self.folder / "upper"
        upper.mkdir()
        self.process = Process(name, ["unshare", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child", "sh", "-c",
                                      SETUP, "sh", upper, scratch.path], self.folder / "output.txt")
        self._init = None

    def start(self):
        self.process.start()
        self.process.wait_ready(lambda: "ready" in self.process.text(), "its file system")
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self._init = wait_until(lambda: children.read_text().split(), "its first process")[0]
        wait_until(lambda: self.run("true", check=False).returncode == 0, "its root")
        return self

    def stop(self):
        if self._init and self.process.running():
            os.kill(int(self._init), signal.SIGKILL)  # and with it all the others; unshare itself waits out SIGTERM
        self.process.stop()

    def argv(self, *arguments):
        return ["nsenter", "--target", self._init, "--mount", "--pid", "--net", "--ipc", "--root", "env",
                "--chdir=/", *map(str, arguments)]

    def run(self, *arguments, check=True):
        """The completed process, output and errors together."""
        done = subprocess.run(self.argv(*arguments),
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=120)
        if check:
            assert done.returncode == 0, f"{' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}"
        return done

    def read(self, path):
        return self.run("cat", path).stdout

    def write(self, path, text, mode="644"):
        subprocess.run(self.argv("sh", "-c", 'cat > "$1" && chmod "$2" "$1"', "sh", path, mode), input=text, text=True, check=True)

    def exists(self, path):
        return self.run("test", "-e", path, check=False).returncode == 0
