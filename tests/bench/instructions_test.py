# SPDX-License-Identifier: Apache-2.0
"""How many instructions a small SMTP session costs, so that the cost cannot creep: fails when it is a tenth above the
figure on record.

    instructions_test.py MAILGATE MAILLOAD BUILD            BUILD: the name of the figure, as "RelWithDebInfo GNU 12"
    instructions_test.py MAILGATE MAILLOAD BUILD --record   writes the figure

Instructions are counted by valgrind's callgrind: they repeat, and do not depend on what else the machine does. The work is
that of compare.py: PROXY v2 in and out, a rule, log and journal on. The figure is that of the workers' threads; what the
journal's writer does depends on how the sessions fall into its batches. Compilers and libraries have a say in it, so there is
a figure for each build that is tested, and a build without one is skipped.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from gateways import Mailgate
from load_tool import Run, Sink

RECORD = pathlib.Path(__file__).with_name("instructions.json")
SESSIONS = 300
WARM_UP = 50  # what is allocated and read once
TOLERANCE = 0.10
SKIPPED = 77  # to ctest
NETWORKS = [f"100.64.{number}.0/24" for number in range(50)]


class Counted(Mailgate):
    """mailgate under callgrind, which writes a file for each of its threads."""

    def configure(self):
        self.counts = self.folder / "callgrind"
        return ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--instr-atstart=no", f"--callgrind-out-file={self.counts}",
                *super().configure()]

    def counting(self, on):
        subprocess.run(["callgrind_control", "--instr=" + ("on" if on else "off"), str(self._process.pid)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def worker_instructions(self):
        """Of the threads that ran a reactor."""
        threads = [thread.read_text() for thread in self.folder.glob("callgrind-*")]
        workers = [text for text in threads if "SocketReactor::run" in text]
        if not workers:
            raise RuntimeError(f"no worker among {len(threads)} threads")
        return sum(int(re.search(r"^totals: (\d+)", text, re.MULTILINE).group(1)) for text in workers)


def instructions_per_session(mailgate, mailload, folder):
    Counted.binary = mailgate
    clients = pathlib.Path(folder) / "clients.txt"
    clients.write_text("\n".join(NETWORKS) + "\n")
    sink = Sink(mailload, "smtp")
    gateway = Counted(pathlib.Path(folder) / "gateway", NETWORKS, {"smtp": sink.address})

    def run(count):
        outcome = Run(mailload, "smtp-sessions", gateway.target("smtp"), clients=clients, count=count, concurrency=10).finish()
        if outcome["errors"] or outcome["sessions"] != count:
            raise RuntimeError(f"{outcome}")

    try:
        gateway.start()
        run(WARM_UP)
        gateway.counting(True)
        run(SESSIONS)
        gateway.counting(False)
    finally:
        gateway.stop()
        sink.stop()
    return gateway.worker_instructions() // SESSIONS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mailgate")
    parser.add_argument("mailload")
    parser.add_argument("build")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    figures = json.loads(RECORD.read_text())
    figure = figures.get(arguments.build)
    if figure is None and not arguments.record:
        print(f"no figure on record for {arguments.build}")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="mailgate-instructions-") as folder:
        found = instructions_per_session(arguments.mailgate, arguments.mailload, folder)
    print(f"{found} instructions per session; on record for {arguments.build}: {figure}")
    if arguments.record:
        figures[arguments.build] = found
        RECORD.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    elif found > figure * (1 + TOLERANCE):
        sys.exit(f"a session costs {found / figure - 1:.0%} more than it did. What has been added to each session? Where that is"
                 f" meant: {sys.argv[0]} … --record")


if __name__ == "__main__":
    main()
