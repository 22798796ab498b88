#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares mailgate with HAProxy, nginx and hitch on the same work, interleaved in one run; see README.md.

    tests/bench/compare.py                      everything, five rounds
    tests/bench/compare.py --quick              two short rounds
    tests/bench/compare.py --only smtp-sessions --gateways haproxy,mailgate
    tests/bench/compare.py --tls                TLS that ends at the gateway: handshakes, download, idle sessions, a flood
    tests/bench/compare.py --journal            what mailgate's journal costs: with it and without
    tests/bench/compare.py --before OLD-MAILGATE     another build of mailgate beside it
    tests/bench/compare.py --rules 1000000      what so many rules cost mailgate: importing, starting, one more of them
    tests/bench/compare.py --strace smtp-sessions
"""

import argparse
import collections
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import million_rules
from gateways import GATEWAYS, HAProxy, Mailgate, MailgateBefore, MailgateWithoutJournal
from load_tool import Run, Sink

ROOT = pathlib.Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
SETTLE = 0.3  # seconds after the last session, for log lines that are still to be written


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    protocol: str
    count: int
    quick: int  # the count with --quick
    concurrency: int
    octets: int = 2048
    traced: int = 500  # the count with --strace
    script: str = ""  # what mailload calls it; empty: the same
    key: str = ""  # TLS, with a certificate of this type
    handshake: str = "full"

    def options(self, count):
        options = {"count": count, "concurrency": min(self.concurrency, count), "octets": self.octets}
        return {**options, "tls": self.handshake} if self.key else options

    def unit(self):
        """What costs are told for, and how many of them a session has."""
        return ("MiB", self.octets / MIB) if self.does("imap-bulk") else ("session", 1)

    def does(self, script):
        return script == (self.script or self.name)


WORKLOADS = {workload.name: workload for workload in (
    Workload("smtp-sessions", "smtp", 10000, 2000, 50),
    Workload("smtp-serial", "smtp", 3000, 500, 1),
    Workload("connect-quit", "smtp", 10000, 2000, 50),
    Workload("imap-bulk", "imap", 32, 8, 4, octets=128 * MIB, traced=4),
    Workload("imap-idle", "imap", 5000, 1000, 50),
    Workload("tls-rsa", "imap", 3000, 600, 50, script="imap-logout", key="rsa"),
    Workload("tls-ecdsa", "imap", 5000, 1000, 50, script="imap-logout", key="ec"),
    Workload("tls-resumed", "imap", 5000, 1000, 50, script="imap-logout", key="ec", handshake="resumed"),
    Workload("tls-bulk", "imap", 32, 8, 4, octets=128 * MIB, traced=4, script="imap-bulk", key="ec"),
    Workload("tls-idle", "imap", 2000, 500, 50, script="imap-idle", key="ec"),
    Workload("tls-flood", "imap", 8, 8, 8, traced=8, script="imap-answers", key="rsa"),
)}

# Of the smallest sizes that clients still accept.
KEYS = {"rsa": ["rsa:2048"], "ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]}
FLOOD = {"count": 10**9, "concurrency": 200, "octets": 0, "tls": "full"}


def allowlist():
    """1,000 IPv4 networks of several sizes."""
    return [f"100.{64 + index // 250}.{index % 250}.0/{(24, 26, 28, 32)[index % 4]}" for index in range(1000)]


class Bench:
    """The gateways that take part in one workload, each with a sink of its own on an address of its own: the connections of
    one do not wait in the ports of another."""

    def __init__(self, workload, names, mailload, scratch):
        self.workload = workload
        self.mailload = mailload
        self.scratch = pathlib.Path(scratch) / workload.name
        self.names = [name for name in names if workload.name in (GATEWAYS[name].only or [workload.name])]
        self.clients = pathlib.Path(scratch) / "clients.txt"
        self.clients.write_text("\n".join(allowlist()) + "\n")
        self.sinks, self.gateways, self.expected = {}, {}, collections.Counter()
        self.pair = self._certificate() if workload.key else None

    def _certificate(self):
        """(certificate, key): their files."""
        self.scratch.mkdir(parents=True)
        pair = self.scratch / "certificate.pem", self.scratch / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-nodes", "-subj", "/CN=mail.example.net", "-days", "2", "-newkey",
                        *KEYS[self.workload.key], "-out", pair[0], "-keyout", pair[1]], check=True, capture_output=True)
        return pair

    def __enter__(self):
        try:
            for number, name in enumerate(self.names):
                self.sinks[name] = Sink(self.mailload, self.workload.protocol, host=f"127.0.0.{11 + number}")
                self.start_gateway(name)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, error, trace):
        for gateway in self.gateways.values():
            gateway.stop()
        counts = {name: sink.stop() for name, sink in self.sinks.items()}
        if kind is None:
            for name in self.names:
                self._verify(name, counts[name])

    def start_gateway(self, name):
        """Anew, if it runs already."""
        if name in self.gateways:
            self.gateways.pop(name).stop()
        folder = self.scratch / f"{name}-{time.monotonic_ns()}"
        gateway = GATEWAYS[name](folder, allowlist(), {self.workload.protocol: self.sinks[name].address}, self.pair)
        self.gateways[name] = gateway
        gateway.start()
        # First sessions pay for what is allocated once.
        warm_up = min(20, self.workload.traced)
        self._require_clean(name, self.run(name, warm_up).finish(), warm_up)

    def run(self, name, count):
        self.expected[name] += count
        return self._run(name, self.workload.script or self.workload.name, **self.workload.options(count))

    def _run(self, name, script, **options):
        return Run(self.mailload, script, self.gateways[name].target(self.workload.protocol), clients=self.clients, **options)

    def measure(self, name, count):
        """The measured values of one round: {measure: value}, all of them the less the better."""
        if self.workload.does("imap-idle"):
            return self._measure_idle(name, count)
        if self.workload.does("imap-answers"):
            return self._measure_flood(name, count)
        gateway = self.gateways[name]
        before = gateway.cpu_seconds()
        outcome = self._require_clean(name, self.run(name, count).finish(), count)
        time.sleep(SETTLE)
        cpu = gateway.cpu_seconds() - before
        unit, per_session = self.workload.unit()
        return {f"CPU, µs per {unit}": cpu * 1e6 / (count * per_session), "session p50, ms": outcome["p50_ms"],
                "session p99, ms": outcome["p99_ms"]}

    def _measure_idle(self, name, count, hold=5):
        self.start_gateway(name)  # what earlier sessions left in its pools would hide the growth
        gateway = self.gateways[name]
        memory = gateway.memory_bytes()
        run = self.run(name, count)
        held = run.wait_idle()
        time.sleep(1)
        growth = gateway.memory_bytes() - memory
        cpu = gateway.cpu_seconds()
        time.sleep(hold)
        cpu = gateway.cpu_seconds() - cpu
        self._require_clean(name, run.finish(), count)
        return {"user memory, bytes per session": growth / held, "CPU while all idle, ms per s": cpu * 1e3 / hold}

    def _measure_flood(self, name, count):
        """What sessions wait for answers while as many clients as there is room for shake hands, one after the other."""
        run = self.run(name, count)
        run.wait_idle()
        flood = self._run(name, "imap-logout", **FLOOD)
        flood.yields()
        time.sleep(1)
        outcome = self._require_clean(name, run.finish(), count)
        flood.end()
        flooded = flood.finish()
        self.expected[name] += flooded["sessions"]
        self._require_clean(name, flooded, flooded["sessions"])
        return {"answer p50, ms": outcome["answer_p50_ms"], "answer p99, ms": outcome["answer_p99_ms"],
                "time per handshake of the flood, ms": flooded["seconds"] * 1e3 / flooded["sessions"]}

    def _require_clean(self, name, outcome, count):
        # Who begins has nothing to resume; mailload waits for the first.
        resumed = count - 1 if self.workload.key and self.workload.handshake == "resumed" else 0
        if outcome["errors"] or outcome["sessions"] != count or outcome["resumed"] != resumed:
            raise RuntimeError(f"{self.workload.name} through {name}: {outcome}")
        return outcome

    def _verify(self, name, counts):
        """Everybody did the whole work: each session reached the server with its client's address, and was logged."""
        expected = self.expected[name]
        wrong = counts["with_client"] != expected or counts["finished"] < expected or counts["with_loopback"] \
            or counts["without_header"]
        if wrong:
            raise RuntimeError(f"{self.workload.name} through {name}: {expected} sessions, but its server saw {counts}")
        if not GATEWAYS[name].logs_sessions:
            return
        logged = sum(GATEWAYS[name].session_lines(log) for log in self.scratch.glob(f"{name}-[0-9]*/sessions.log"))
        # HAProxy drops a line when its standard output is not drained at once, and many when all sessions end at once.
        lossy = 0 if not name.startswith("haproxy") else expected if self.workload.does("imap-idle") else expected // 50
        if logged < expected - lossy:
            raise RuntimeError(f"{self.workload.name} through {name}: {expected} sessions, but {logged} in its log")


def compare(workload, arguments, scratch):
    """{gateway: {measure: [value of each round]}}"""
    count = arguments.count or (workload.quick if arguments.quick else workload.count)
    values = collections.defaultdict(lambda: collections.defaultdict(list))
    with Bench(workload, arguments.gateways, arguments.mailload, scratch) as bench:
        for round_number in range(arguments.rounds):
            # Another one begins each time, so that no one always follows the same neighbour.
            shift = round_number % len(bench.names)
            for name in bench.names[shift:] + bench.names[:shift]:
                for measure, value in bench.measure(name, count).items():
                    values[name][measure].append(value)
            print(f"{workload.name}: round {round_number + 1} of {arguments.rounds}", file=sys.stderr)
    return {"count": count, "values": {name: values[name] for name in bench.names}}


def compare_rules(count, arguments, scratch):
    """As compare()."""
    values = collections.defaultdict(lambda: collections.defaultdict(list))
    for round_number in range(arguments.rounds):
        for name in arguments.gateways:
            folder = pathlib.Path(scratch) / f"round-{round_number}"
            for measure, value in million_rules.measure(name, GATEWAYS[name], count, arguments.mailload, folder).items():
                values[name][measure].append(value)
        print(f"rules: round {round_number + 1} of {arguments.rounds}", file=sys.stderr)
    return {"count": count, "values": values}


def ratios(values, baseline):
    """Round by round; None where the baseline is zero."""
    return [value / base for value, base in zip(values, baseline)] if all(baseline) else None


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def cell(values, baseline):
    text = number(statistics.median(values))
    found = ratios(values, baseline) if baseline is not values and baseline else None
    if found:
        text += f" · **{statistics.median(found):.2f}** ({min(found):.2f}–{max(found):.2f})"
    return text


def print_table(results, names, baseline_name):
    print(f"| Workload | Measure | {' | '.join(names)} |")
    print("|---|---|" + "---|" * len(names))
    for workload, result in results.items():
        present = result["values"]
        for measure in next(iter(present.values())):
            baseline = present.get(baseline_name, {}).get(measure)
            cells = [cell(present[name][measure], baseline) if name in present else "" for name in names]
            print(f"| {workload} ×{result['count']:,} | {measure} | {' | '.join(cells)} |")


def system_calls(gateway, work):
    """{call: number} of all the gateway's threads while `work` runs."""
    report = gateway.folder / "strace.txt"
    pids = gateway.pids()
    tracer = subprocess.Popen(["strace", "-f", "-c", "-U", "name,calls", "-o", str(report),
                               *(f"--attach={pid}" for pid in pids)], stderr=subprocess.DEVNULL)
    while not all(_is_traced(task) for pid in pids for task in pathlib.Path(f"/proc/{pid}/task").iterdir()):
        if tracer.poll() is not None:
            raise RuntimeError("strace does not attach")
        time.sleep(0.05)
    work()
    time.sleep(SETTLE)
    tracer.send_signal(signal.SIGINT)
    tracer.wait(timeout=30)
    rows = [line.split() for line in report.read_text().splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit() and row[0] != "total"}


def _is_traced(task):
    return "TracerPid:\t0" not in (task / "status").read_text()


def trace(workload, arguments, scratch):
    """Prints how many system calls of which kind a session costs in each gateway."""
    calls = {}
    count = arguments.count or workload.traced
    with Bench(workload, arguments.gateways, arguments.mailload, scratch) as bench:
        for name in bench.names:
            calls[name] = system_calls(bench.gateways[name], lambda: bench.run(name, count).finish())
    print(f"System calls per session, {workload.name} ×{count:,}:\n")
    print(f"| Call | {' | '.join(calls)} |")
    print("|---|" + "---|" * len(calls))
    everything = {name: sum(found.values()) for name, found in calls.items()}
    most = sorted({call for found in calls.values() for call in found},
                  key=lambda call: -max(found.get(call, 0) for found in calls.values()))
    for call, row in [("**all**", everything)] + [(call, {name: calls[name].get(call, 0) for name in calls}) for call in most]:
        if call == "**all**" or max(row.values()) >= count / 100:
            print(f"| {call} | {' | '.join(f'{row[name] / count:.2f}' for name in calls)} |")


def cpu_model():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def print_setting(arguments):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%MZ")
    print(f"{now}, {cpu_model()} × {os.cpu_count()}, Linux {platform.release()}, load average {os.getloadavg()[0]:.2f} at the start  ")
    print(f"{', '.join(dict.fromkeys(GATEWAYS[name].version() for name in arguments.gateways))}  ")
    missing = [name for name, gateway in GATEWAYS.items() if not gateway.installed()]
    if missing:
        print(f"not installed: {', '.join(missing)}  ")
    print(f"`{shlex.join(['tests/bench/compare.py', *sys.argv[1:]])}`, rounds: {arguments.rounds}\n")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short rounds, two of them")
    parser.add_argument("--rounds", type=int, help="default: 5; with --quick: 2")
    parser.add_argument("--only", choices=WORKLOADS, action="append", help="this workload (may be repeated)")
    parser.add_argument("--count", type=int, help="sessions a round, instead of each workload's own number")
    standard = [name for name, gateway in GATEWAYS.items() if gateway.standard and gateway.installed()]
    parser.add_argument("--gateways", default=",".join(standard), help="default: %(default)s")
    parser.add_argument("--baseline", choices=GATEWAYS, default=HAProxy.name, help="what ratios are formed to; default: %(default)s")
    parser.add_argument("--tls", action="store_true", help="the workloads within TLS")
    parser.add_argument("--journal", action="store_true",
                        help="mailgate with its journal and without, the small sessions; the ratio is to without")
    parser.add_argument("--rules", type=int, metavar="NUMBER", help="what so many rules cost mailgate instead")
    parser.add_argument("--strace", choices=WORKLOADS, help="count the gateways' system calls instead")
    parser.add_argument("--json", metavar="FILE", help="write every round's values there")
    parser.add_argument("--mailgate", default=str(ROOT / "build/release/gateway/mailgate"), help="default: %(default)s")
    parser.add_argument("--before", metavar="MAILGATE", help="another build of mailgate, which takes part beside it")
    parser.add_argument("--mailload", default=str(ROOT / "build/release/tests/bench/mailload"), help="default: %(default)s")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (2 if arguments.quick else 5)
    if arguments.tls:
        arguments.only = (arguments.only or []) + [name for name, workload in WORKLOADS.items() if workload.key]
    if arguments.journal:
        arguments.gateways, arguments.baseline = f"{MailgateWithoutJournal.name},{Mailgate.name}", MailgateWithoutJournal.name
        arguments.only = arguments.only or ["smtp-sessions", "connect-quit"]
    if arguments.rules:
        arguments.gateways, arguments.baseline = Mailgate.name, MailgateBefore.name
    if arguments.before:
        arguments.gateways += f",{MailgateBefore.name}"
    arguments.gateways = arguments.gateways.split(",")
    unknown = set(arguments.gateways) - set(GATEWAYS)
    if unknown:
        parser.error(f"no such gateway: {', '.join(sorted(unknown))}")
    Mailgate.binary = arguments.mailgate
    MailgateBefore.binary = arguments.before
    return arguments


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="mailgate-bench-") as scratch:
        if arguments.strace:
            return trace(WORKLOADS[arguments.strace], arguments, scratch)
        print_setting(arguments)
        results = {}
        try:
            if arguments.rules:
                results["rules"] = compare_rules(arguments.rules, arguments, scratch)
            for name in [] if arguments.rules else arguments.only or WORKLOADS:
                results[name] = compare(WORKLOADS[name], arguments, scratch)
        finally:
            print_table(results, arguments.gateways, arguments.baseline)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
