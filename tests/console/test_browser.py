# SPDX-License-Identifier: Apache-2.0
"""The console in headless Chromium, over real sessions: console.test.mjs, which says itself what it looks at."""

import contextlib
import os
import pathlib
import subprocess
import unittest

from site_under_test import Scratch, Site

HERE = pathlib.Path(__file__).resolve().parent


class Browser(unittest.TestCase):
    def test_the_console(self):
        with contextlib.closing(Scratch()) as scratch:
            site = Site(scratch)
            done = subprocess.run(["node", "--test-reporter=spec", HERE / "console.test.mjs"], text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=240, env={**os.environ, **site.settings(), "HOME": str(scratch.path)})
            print(done.stdout)
            self.assertEqual(done.returncode, 0, done.stdout)
            # Whom nginx has named, and not nginx, is who has logged in and who has ended a session.
            self.assertTrue(site.gateway.events("console.login", user="operator", client="127.0.0.1"))
            self.assertEqual(len(site.gateway.events("admin.order", order="kill", ok=True, user="operator (console)")), 2)
            self.assertTrue(site.gateway.events("console.login_failed", user="admin"))


if __name__ == "__main__":
    unittest.main()
