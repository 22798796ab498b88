#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What browsers that show live views cost the gateway: ask as the pages' script does, every two seconds each, and read the
gateway's processor time beside that of the same gateway whom nobody asks.

    MAILGATE_BIN=build/release/gateway/mailgate tests/bench/console_load.py [--browsers 10] [--sessions 1000] [--seconds 30]
"""

import argparse
import contextlib
import http.client
import pathlib
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from harness import backend, mailgate, proxyclient
from harness.ports import reserve_port
from harness.process import Scratch

PASSWORD = "correct horse battery"
PERIOD = 2.0
VIEWS = {"overview": "/", "sessions under way": "/sessions/live"}


def get(port, path, cookie):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as browser:
        browser.request("GET", path, headers={"Cookie": cookie, "X-Refresh": "auto", "HX-Request": "true"})
        answer = browser.getresponse()
        assert answer.status == 200, answer.status
        return len(answer.read())


def log_in(port):
    form = urllib.parse.urlencode({"user": "operator", "password": PASSWORD})
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as browser:
        browser.request("POST", "/login", form, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = browser.getresponse()
        assert answer.status == 303, answer.status
        return answer.headers["Set-Cookie"].split(";")[0]


def browse(port, path, cookie, first, until, sizes):
    """One browser; they do not ask at the same moment."""
    due = time.monotonic() + first
    while due < until:
        time.sleep(max(0, due - time.monotonic()))
        sizes.append(get(port, path, cookie))
        due += PERIOD


def milliseconds_a_second(gateway, seconds, work):
    before = gateway.cpu_seconds()
    begun = time.monotonic()
    work(begun + seconds)
    time.sleep(max(0, begun + seconds - time.monotonic()))
    return (gateway.cpu_seconds() - before) * 1000 / (time.monotonic() - begun)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--browsers", type=int, default=10)
    arguments.add_argument("--sessions", type=int, default=1000, help="that are under way")
    arguments.add_argument("--seconds", type=float, default=30)
    options = arguments.parse_args()
    with contextlib.closing(Scratch()) as scratch, contextlib.ExitStack() as sessions:
        mail = scratch.start(backend.Backend(backend.smtp))
        port = reserve_port()
        gateway = scratch.start(mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", mail.port)],
                                                  console={"address": f"127.0.0.1:{port}"}, log={"level": "information"}))
        done = gateway.run("console", "user", "add", "operator", "--role", "operator", stdin=PASSWORD + "\n")
        assert done.returncode == 0, done.stderr
        for number in range(options.sessions):
            client = sessions.enter_context(proxyclient.connect(
                gateway.port("smtp"), proxyclient.header_v2(f"198.51.{number // 250}.{number % 250 + 1}")))
            proxyclient.read_line(client)
        cookie = log_in(port)
        idle = milliseconds_a_second(gateway, options.seconds, lambda until: None)
        print(f"{options.sessions:,} sessions under way, idle; {options.browsers} browsers, each every {PERIOD:.0f} s; {options.seconds:.0f} s")
        print(f"{'no browser':20} {idle:6.1f} ms/s")
        for view, path in VIEWS.items():
            sizes = []

            def work(until, path=path, sizes=sizes):
                threads = [threading.Thread(target=browse, args=(port, path, cookie, number * PERIOD / options.browsers, until, sizes))
                           for number in range(options.browsers)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

            busy = milliseconds_a_second(gateway, options.seconds, work)
            asked = len(sizes) / options.seconds
            print(f"{view:20} {busy:6.1f} ms/s: {(busy - idle) / 10:.2f} % of a core, {(busy - idle) / asked:.2f} ms a request, "
                  f"{sum(sizes) / len(sizes) / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
