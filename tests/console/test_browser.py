# SPDX-License-Identifier: Apache-2.0
"""The console in headless Chromium, over real sessions: console.test.mjs, which says itself what it looks at."""

import contextlib
import http.client
import json
import os
import pathlib
import ssl
import subprocess
import unittest

from site_under_test import Scratch, Site

HERE = pathlib.Path(__file__).resolve().parent


class Browser(unittest.TestCase):
    def _rehearse_a_large_list(self, site):
        """More than nginx lets through by itself. What is read of it is little."""
        added = site.gateway.run("console", "token", "add", "lists", "--role", "operator")
        text = "deny 203.0.113.5\n" + ("# " + "x" * 1_000 + "\n") * 2_000
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        port = site.behind_nginx.rsplit(":", 1)[1]
        with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", int(port), timeout=60, context=context)) as connection:
            connection.request("POST", "/api/v1/rules/import", json.dumps({"text": text, "dry_run": True}),
                               {"Host": f"console.example.net:{port}", "Content-Type": "application/json",
                                "Authorization": f"Bearer {added.stdout.strip()}"})
            answer = connection.getresponse()
            self.assertEqual((answer.status, json.loads(answer.read()).get("added")), (200, 1))

    def test_the_console(self):
        with contextlib.closing(Scratch()) as scratch:
            site = Site(scratch)
            done = subprocess.run(["node", "--test-reporter=spec", HERE / "console.test.mjs"], text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=240, env={**os.environ, **site.settings(), "HOME": str(scratch.path)})
            print(done.stdout)
            self.assertEqual(done.returncode, 0, done.stdout)
            self._rehearse_a_large_list(site)
            # Whom nginx has named, and not nginx, is who has logged in and who has ended a session.
            self.assertTrue(site.gateway.events("console.login", user="operator", client="127.0.0.1"))
            self.assertEqual(len(site.gateway.events("admin.order", order="kill", ok=True, user="operator (console)")), 2)
            self.assertTrue(site.gateway.events("console.login_failed", user="admin"))


if __name__ == "__main__":
    unittest.main()
