# SPDX-License-Identifier: Apache-2.0
"""docs/who-sent-this.md: its sessions are made again, its commands run again, and they say what the page has."""

import pathlib
import re
import subprocess
import unittest

from harness.dovecot import version

ROOT = pathlib.Path(__file__).parents[2]
# What is another one each time.
CHANGING = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", "TIME"), (r"\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d\b", "TIME"),
    (r"\b01[0-9A-HJKMNP-TV-Z]{14}([0-9A-HJKMNP-TV-Z]{10})?\b", "SESSION"), (r"\b[0-9A-F]{10,12}\b", "QUEUEID"),
    (r"\[\d+\]:", "[PID]:"), (r"\b\d+ ms\b", "MS"), (r'_ms":\d+', '_ms":MS'), (r"delays?=[\d./]+", "DELAY"),
    (r"session=<[^>]*>", "session=<ID>"), (r",\d+\]$", ",MS]"), (r"\s+", ""))


def same(text):
    """Without what changes, and however its lines are broken."""
    for pattern, word in CHANGING:
        text = re.sub(pattern, word, text, flags=re.M)
    return text


def commands(text):
    """[(command, what it says)] of a page or a run."""
    found = []
    for line in text.splitlines():
        if line.startswith("    $ "):
            found.append([line, ""])
        elif line.startswith("        jq ") and found:
            found[-1][0] += line
        elif found and (line.startswith("    ") or not line):
            found[-1][1] += line.strip() + "\n"
        elif found:
            found.append(["", ""])  # prose: what is indented behind it is no output
    return [(same(command), said.strip()) for command, said in found if command]


# The page has the words of Dovecot 2.3's log.
@unittest.skipIf(version() >= (2, 4), "Dovecot 2.4 logs in other words")
class Investigations(unittest.TestCase):
    def test_the_commands_say_what_the_page_has(self):
        done = subprocess.run(["/usr/bin/python3", "-B", ROOT / "etc/demo/who_sent_this.py"], text=True, capture_output=True,
                              timeout=250, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        page, run = commands((ROOT / "docs/who-sent-this.md").read_text()), commands(done.stdout)
        self.assertEqual([command for command, _ in page], [command for command, _ in run])
        self.assertGreater(len(page), 12)
        for (command, expected), (_, said) in zip(page, run):
            with self.subTest(command=command):
                said, at = same(said), 0
                # An ellipsis stands for lines that the page leaves out.
                for part in map(same, expected.split("…")):
                    where = said.find(part, at)
                    self.assertGreaterEqual(where, 0, f"the page has\n{expected}\nbut it says\n{said}")
                    at = where + len(part)
                if "…" not in expected:
                    self.assertEqual(said, same(expected))
