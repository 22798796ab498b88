# SPDX-License-Identifier: Apache-2.0
"""A mail is found by its Message-ID: swaks sends it, Postfix takes it, and both logs have the same one."""

import json
import re
import subprocess
import unittest

from harness import mailgate
from harness.postfix import Postfix
from harness.process import Scratch, wait_until

scratch = postfix = gateway = None


def setUpModule():
    global scratch, postfix, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    postfix = scratch.start(Postfix(scratch))
    gateway = scratch.start(mailgate.Mailgate(
        scratch, [mailgate.listener("smtp", "postfix"),
                  mailgate.listener("smtp", "postfix", name="private", log_message_id=False)],
        [mailgate.upstream("postfix", postfix.proxy_port)], log={"level": "information"}))


def swaks(listener, header, *options):
    """One mail with this field in its header, by DATA."""
    done = subprocess.run(
        ["swaks", "--server", "127.0.0.1", "--port", str(gateway.port(listener)), "--helo", "mail.partner.example",
         "--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", "198.51.100.7", "--proxy-source-port", "51000",
         "--proxy-dest", "192.0.2.1", "--proxy-dest-port", "25", "--from", "alice@partner.example",
         "--to", "bob@example.net", "--data", f"Subject: test\n{header}\n\nMessage-ID: <body@partner.example>\n", *options],
        text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return re.search(r"queued as (\w+)", done.stdout).group(1)


def found(*words):
    done = gateway.run("sessions", "--json", *words)
    return [mail["queue_id"] for line in done.stdout.splitlines() for mail in json.loads(line)["mail"]]


class MessageId(unittest.TestCase):
    def test_a_mail_is_found_by_it(self):
        queue_id = swaks("smtp", "Message-ID: <1.20261126@Partner.example>")
        swaks("smtp", "Message-ID: <2.20261126@partner.example>")
        wait_until(lambda: found("--message-id", "<1.20261126@partner.example>") == [queue_id], "the mail in the journal")
        postfix.wait_log(f"{queue_id}: message-id=<1.20261126@Partner.example>")
        [mail] = [mail for line in gateway.events("session.end") for mail in line["mail"] if mail["queue_id"] == queue_id]
        self.assertEqual(mail["message_id"], "1.20261126@Partner.example")
        who = gateway.run("who", "Message-ID: <1.20261126@partner.example>").stdout
        self.assertTrue(who.startswith("a Message-ID: 1 session: mailgate sessions --message-id "), who)
        self.assertIn(queue_id, who)
        self.assertEqual(found("--message-id", "body@partner.example"), [])

    def test_folded_as_outlook_does(self):
        queue_id = swaks("smtp", "Message-ID:\n <AM0PR01MB1234.eurprd01.prod.exchangelabs.example>")
        wait_until(lambda: found("--message-id", "AM0PR01MB1234.eurprd01.prod.exchangelabs.example") == [queue_id],
                   "the mail in the journal")

    def test_not_where_it_is_turned_off(self):
        queue_id = swaks("private", "Message-ID: <3.20261126@partner.example>")
        wait_until(lambda: found("--queue-id", queue_id) == [queue_id], "the mail in the journal")
        self.assertEqual(found("--message-id", "3.20261126@partner.example"), [])
        self.assertNotIn("3.20261126", gateway.log_text())


if __name__ == "__main__":
    unittest.main()
