# SPDX-License-Identifier: Apache-2.0
"""The demo's story: one client is admitted, one is refused, and everybody's log knows who it was. See etc/demo.sh."""

import argparse
import json
import pathlib
import re
import secrets
import shlex
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "integration"))

from harness.dovecot import USERS, Dovecot
from harness.haproxy import HAProxy
from harness.mailgate import Mailgate, binary, listener, upstream
from harness.ports import reserve_port
from harness.postfix import Postfix
from harness.process import Scratch, wait_until

PARTNER = "127.0.0.7"    # loopback addresses of their own stand for two clients of the internet
STRANGER = "127.0.0.66"

BOLD, DIM, GREEN, RED, PLAIN = (("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m")
                                if sys.stdout.isatty() else ("",) * 5)


class Failure(Exception):
    """Something was not as the story tells it."""


def heading(text):
    print(f"\n{BOLD}{text}{PLAIN}")


def show(text, marker="  "):
    for line in text.rstrip().splitlines():
        print(f"{marker}{line}")


def expect(condition, what):
    if not condition:
        raise Failure(what)
    print(f"  {GREEN}✓{PLAIN} {what}")


def run(*words):
    """Runs a command as the visitor could; its exit status and output."""
    print(f"  {DIM}${PLAIN} {shlex.join(words)}")
    done = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return done.returncode, done.stdout


class Site:
    """HAProxy → mailgate → Postfix and Dovecot; Postfix delivers to Dovecot by LMTP."""

    def __init__(self, scratch):
        self.dovecot = scratch.start(Dovecot(scratch))
        self.postfix = scratch.start(Postfix(scratch, lmtp_port=self.dovecot.plain_port["lmtp"],
                                             settings={"mynetworks": "127.0.0.1/32"}))
        doors = {"trusted": ["127.0.0.1/32"], "access": "allowlist"}
        self.gateway = scratch.start(Mailgate(
            scratch, [listener("smtp", "postfix", **doors), listener("imap", "dovecot", **doors)],
            [upstream("postfix", self.postfix.proxy_port), upstream("dovecot", self.dovecot.proxy_port["imap"])],
            gateway={"name": "mx-gw-1"}, log={"level": "information"}, console={"address": f"127.0.0.1:{reserve_port()}"}))
        balancer = HAProxy(scratch)
        self.smtp = balancer.frontend(self.gateway.port("smtp"))
        self.imap = balancer.frontend(self.gateway.port("imap"))
        scratch.start(balancer)

    def mailgate(self, *words):
        code, output = run(binary(), *words, "--config", str(self.gateway.config))
        show(output)
        if code != 0:
            raise Failure(f"mailgate {words[0]} ended with {code}")
        return output

    def send(self, client, subject):
        return ("swaks", "--silent", "1", "--server", "127.0.0.1", "--port", str(self.smtp), "--local-interface", client,
                "--helo", "mail.partner.example", "--from", "alice@partner.example", "--to", "bob@example.net",
                "--header", f"Subject: {subject}")

    def read(self, client):
        return ("curl", "--silent", "--show-error", "--interface", client, "--user", f"bob:{USERS['bob']}",
                f"imap://127.0.0.1:{self.imap}/INBOX;MAILINDEX=1")


def tell(site):
    heading("The site")
    show(f"HAProxy   127.0.0.1:{site.smtp} (SMTP)  127.0.0.1:{site.imap} (IMAP)   sends PROXY v2\n"
         f"mailgate  {site.gateway.listeners[0]['address']} (SMTP)  {site.gateway.listeners[1]['address']} (IMAP)"
         f"   admits whom its rules name\n"
         f"Postfix   127.0.0.1:{site.postfix.proxy_port}          Dovecot   127.0.0.1:{site.dovecot.proxy_port['imap']}")

    heading(f"A rule for the partner at {PARTNER}, in {site.gateway.database}")
    site.mailgate("access", "allow", PARTNER, "--note", "partner.example's relay")

    heading("The partner sends a mail through the balancer")
    # The running gateway notices the rule within a second.
    wait_until(lambda: b"220 " in greeting(site.smtp, PARTNER), "the rule to take effect")
    code, output = run(*site.send(PARTNER, "hello through mailgate"))
    expect(code == 0, "Postfix took the mail")

    heading("… and reads it back by IMAP")
    site.dovecot.wait_log("saved mail to INBOX")
    code, output = run(*site.read(PARTNER))
    show(output, "  | ")
    expect(code == 0 and "Subject: hello through mailgate" in output, "Dovecot gave it back")

    heading(f"A stranger at {STRANGER} tries the same")
    code, output = run(*site.send(STRANGER, "let me in"))
    show(output)
    expect(code != 0 and "554 5.7.1" in output, "refused, in SMTP's own words")
    expect(STRANGER not in site.postfix.log(), "Postfix never saw the stranger")

    heading("What mailgate wrote about both")
    ended = next(line for line in site.gateway.wait_events(1, "session.end", client=PARTNER, protocol="smtp") if line["mail"])
    refused = site.gateway.wait_event("session.refused", client=STRANGER)
    for line in (ended, refused):
        show(json.dumps(line))
    expect(ended["mail"][0]["recipients"] == ["bob@example.net"], "who sent what to whom, from which address")

    heading("What Postfix and Dovecot wrote: the original address")
    queue_id = re.search("queued as ([0-9A-F]+)", ended["mail"][0]["reply"])
    logged = site.postfix.wait_log(rf".*{queue_id[1]}: client=.*")[0]
    show(logged)
    expect(f"[{PARTNER}]:{ended['client_port']}" in logged, "Postfix knows the partner's address and port")
    login = site.dovecot.wait_log(r".*Log(in|ged in): user=<bob>.*")[0]
    show(login)
    expect(f"rip={PARTNER}" in login, "and so does Dovecot")

    heading("The rules")
    site.mailgate("access", "list")


def greeting(port, client):
    with socket.create_connection(("127.0.0.1", port), 10, (client, 0)) as connection:
        return connection.recv(512)


def open_console(site):
    """An account whose password is nobody's but this demo's."""
    address = f"http://{site.gateway.console['address']}/"
    password = secrets.token_urlsafe(12)
    done = site.gateway.run("console", "user", "add", "demo", "--role", "admin", stdin=password + "\n")
    heading("The console")
    show(f"{address}   user demo, password {password}")
    if done.returncode != 0:
        raise Failure(done.stderr)
    form = urllib.parse.urlencode({"user": "demo", "password": password}).encode()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    browser.open(f"{address}login", form, 30).close()

    def found():
        with browser.open(f"{address}sessions?q={PARTNER}", timeout=30) as page:
            return "alice@partner.example" in page.read().decode()

    wait_until(found, "the partner's mail in the console")


def invite(site):
    mailgate = f"{binary()} access"
    config = f"--config {site.gateway.config}"
    heading("It stays up. To try from another terminal:")
    show(f"""{shlex.join(site.send(STRANGER, "again"))}
{mailgate} allow {STRANGER} --expires 5m {config}
{mailgate} test {STRANGER} {config}
{mailgate} history {config}
sqlite3 -box {site.gateway.database} 'SELECT * FROM access_rule'
tail -f {site.gateway.log_file}
{shlex.join(site.read(PARTNER))}""")
    print("\nCtrl-C ends it and removes everything.")
    while True:
        time.sleep(3600)


def main():
    arguments = argparse.ArgumentParser(description="mailgate at work between HAProxy, Postfix and Dovecot")
    arguments.add_argument("--once", action="store_true", help="end after the story; exit status 0 when it all held")
    once = arguments.parse_args().once
    scratch = Scratch()
    try:
        site = Site(scratch)
        tell(site)
        open_console(site)
        if once:
            print(f"\n{GREEN}All of that held.{PLAIN}")
        else:
            invite(site)
    except KeyboardInterrupt:
        print()
    except (Failure, AssertionError, OSError, subprocess.SubprocessError) as error:
        print(f"\n  {RED}✗{PLAIN} {error}")
        return 1
    finally:
        scratch.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
