# SPDX-License-Identifier: Apache-2.0
"""The admin socket and the metrics of a running gateway: what curl, the command line and a real Prometheus see."""

import collections
import http.client
import json
import pathlib
import re
import shutil
import socket
import subprocess
import unittest
import urllib.parse
import urllib.request

from harness import backend, mailgate, proxyclient
from harness.ports import reserve_port
from harness.process import Process, Scratch, wait_until

ETC = pathlib.Path(__file__).parents[2] / "etc"
HERE = pathlib.Path(__file__).parent

scratch = server = gateway = None


class Observed(mailgate.Mailgate):
    """With an admin socket and an HTTP listener for metrics."""

    def __init__(self, *arguments, **settings):
        self.http_port = reserve_port()
        super().__init__(*arguments, **settings, admin={"socket": "mailgate.sock", "http": f"127.0.0.1:{self.http_port}"})

    def http(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=30) as answer:
            return answer.read().decode()


class Prometheus:
    """A real one that scrapes `target` with the job and the alert rules in etc/."""

    def __init__(self, target):
        self.folder = scratch.folder("prometheus")
        self.port = reserve_port()
        job = (ETC / "prometheus/scrape.yml").read_text().replace("127.0.0.1:8025", target).replace("15s", "1s")
        config = self.folder / "prometheus.yml"
        config.write_text(f"global: {{evaluation_interval: 1s}}\nrule_files: ['{ETC}/prometheus/alerts.yml']\n{job}")
        self.process = Process("prometheus", [
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}"], self.folder / "output.txt")

    def start(self):
        self.process.start()
        self.process.wait_ready(self._is_ready, "its readiness")

    def stop(self):
        self.process.stop()

    def _is_ready(self):
        try:
            return bool(self._get("/-/ready"))
        except OSError:
            return False

    def _get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return answer.read()

    def api(self, path):
        return json.loads(self._get(f"/api/v1/{path}"))["data"]

    def value(self, expression):
        """The sum of what an expression yields; None when it yields nothing."""
        result = self.api("query?" + urllib.parse.urlencode({"query": expression}))["result"]
        return sum(float(sample["value"][1]) for sample in result) if result else None


def setUpModule():
    global scratch, server, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    server = backend.Backend(backend.mute)
    scratch.start(server)
    gateway = scratch.start(Observed(
        scratch, [mailgate.listener("tcp", "mail"), mailgate.listener("smtp", "mail", access="allowlist")],
        [mailgate.upstream("mail", server.port)]))
    wait_until(lambda: gateway.socket.exists(), "the admin socket")


def session():
    """A live session; closing the socket ends it."""
    return proxyclient.connect(gateway.port("tcp"), proxyclient.header_v2("192.0.2.7"))


def live():
    return gateway.ask("GET", "/v1/sessions")[1]["sessions"]


class Rules(unittest.TestCase):
    def promtool(self, *arguments, stdin=None):
        done = subprocess.run(["promtool", *map(str, arguments)], input=stdin, text=True, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_alert_rules_are_rules_and_speak_when_they_must(self):
        self.promtool("check", "rules", ETC / "prometheus/alerts.yml")
        self.promtool("test", "rules", HERE / "alerts_test.yml")

    def test_the_scrape_job_is_a_configuration(self):
        self.promtool("check", "config", ETC / "prometheus/scrape.yml")

    def test_the_metrics_follow_the_conventions(self):
        self.promtool("check", "metrics", stdin=gateway.http("/metrics"))

    def test_dashboard_and_alerts_ask_for_metrics_that_there_are(self):
        described = (ETC.parent / "docs/metrics.md").read_text()
        asked = [target["expr"] for panel in json.loads((ETC / "grafana/mailgate.json").read_text())["panels"]
                 for target in panel["targets"]]
        asked.append((ETC / "prometheus/alerts.yml").read_text())
        for text in asked:
            for word in set(word for word in "".join(c if c.isalnum() or c == "_" else " " for c in text).split()
                            if word.startswith(("mailgate_", "process_"))):
                self.assertIn(f"`{word.removesuffix('_bucket')}`", described)

    def test_the_dashboard_selects_and_names_by_labels_that_the_metrics_have(self):
        rows = re.findall(r"(?m)^\| `(\w+)` \| \w+ \| ([^|]*) \|", (ETC.parent / "docs/metrics.md").read_text())
        labels = {name: set(re.findall(r"\w+", has)) for name, has in rows}
        dashboard = json.loads((ETC / "grafana/mailgate.json").read_text())
        queries = [(target["expr"], target.get("legendFormat", "")) for panel in dashboard["panels"] for target in panel["targets"]]
        queries += [(text, "") for text in re.findall(r"(?s)expr: (.*?)\n +(?:for|labels):", (ETC / "prometheus/alerts.yml").read_text())]
        of_the_scrape = {"instance", "job", "le", "alertname"}
        for query, legend in queries:
            asked = re.findall(r"((?:mailgate|process)_\w+)(?:\{([^}]*)\})?", query)
            self.assertTrue(asked or "up{" in query, query)
            known = set()
            for name, selector in asked:
                has = labels[re.sub("_(bucket|count|sum)$", "", name) if name not in labels else name] | of_the_scrape
                self.assertLessEqual(set(re.findall(r"(\w+)\s*[=!]", selector)), has, query)
                known |= has
            self.assertLessEqual(set(re.findall(r"\{\{(\w+)\}\}", legend)), known, query)
            for grouped in re.findall(r"\b(?:by|on|ignoring) ?\(([^)]*)\)", query):
                self.assertLessEqual(set(re.findall(r"\w+", grouped)), known, query)

    def test_the_dashboard_shows_what_the_alerts_are_about(self):
        def metrics(text):
            return set(re.findall(r"mailgate_\w+", text))
        panels = [target["expr"] for panel in json.loads((ETC / "grafana/mailgate.json").read_text())["panels"]
                  for target in panel["targets"]]
        alerts = re.findall(r"(?s)expr: (.*?)\n +(?:for|labels):", (ETC / "prometheus/alerts.yml").read_text())
        self.assertGreater(len(alerts), 15)
        told_by_the_log = {"mailgate_address_alarm", "mailgate_rules_store_failed", "mailgate_listener_refusals_total"}
        self.assertEqual(set().union(*map(metrics, alerts)) - set().union(*map(metrics, panels)) - told_by_the_log, set())


class Scraped(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.prometheus = Prometheus(f"127.0.0.1:{gateway.http_port}")
        scratch.start(cls.prometheus)

    def test_prometheus_reads_what_happened(self):
        with session():
            wait_until(lambda: self.prometheus.value('mailgate_sessions_live{listener="tcp"}') == 1, "a live session")
            self.assertGreaterEqual(self.prometheus.value('mailgate_sessions_total{listener="tcp",verdict="allow"}'), 1)
        with proxyclient.connect(gateway.port("smtp"), proxyclient.header_v2("203.0.113.9")) as refused:
            self.assertRegex(proxyclient.read_line(refused), rb"^554 ")
        with proxyclient.connect(gateway.port("tcp"), b"PROXY TCP4 nonsense\r\n") as rejected:
            proxyclient.read_to_end(rejected)
        for expression in ('mailgate_sessions_total{listener="smtp",verdict="deny"}', "mailgate_refusals_total",
                           'mailgate_proxy_rejections_total{balancer="127.0.0.1"}', "mailgate_session_ends_total",
                           'mailgate_connect_seconds_count', "process_resident_memory_bytes"):
            wait_until(lambda: (self.prometheus.value(expression) or 0) >= 1, expression)
        [target] = self.prometheus.api("targets")["activeTargets"]
        self.assertEqual((target["health"], target["lastError"], target["labels"]["job"]), ("up", "", "mailgate"))

    def test_prometheus_evaluates_the_rules(self):
        def healths():
            return {rule["health"] for group in self.prometheus.api("rules")["groups"] for rule in group["rules"]}

        wait_until(lambda: healths() == {"ok"}, lambda: f"every rule evaluated without an error: {healths()}")


def samples(text):
    """The value of each series, and of each family the sum."""
    values = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, value = line.rsplit(" ", 1)
        values[name] = float(value)
        if "{" in name:
            family = name.partition("{")[0]
            values[family] = values.get(family, 0) + float(value)
    return values


class Sums(unittest.TestCase):
    """A gateway of its own, so that what is counted is what happened here."""

    @classmethod
    def setUpClass(cls):
        cls.server = scratch.start(backend.Backend(backend.smtp))
        cls.gone = reserve_port()
        cls.gateway = scratch.start(Observed(
            scratch, [mailgate.listener("smtp", "mail", name="mx", access="allowlist"),
                      mailgate.listener("smtp", "mail", name="slow", client_rate=2),
                      mailgate.listener("imap", "none", name="nobody")],
            [mailgate.upstream("mail", cls.server.port), mailgate.upstream("none", cls.gone)], name="sums", timeouts={"hold": "0s"}))
        wait_until(lambda: cls.gateway.socket.exists(), "the admin socket")
        cls.gateway.access("allow", "192.0.2.0/24", "--listener", "mx")

    def talk(self, listener, client, *lines):
        with proxyclient.connect(self.gateway.port(listener), proxyclient.header_v2(client)) as connection:
            reply = proxyclient.read_line(connection)
            for line in lines if reply.startswith(b"220") else ():
                connection.sendall(line + b"\r\n")
                while (reply := proxyclient.read_line(connection))[3:4] == b"-":
                    pass
            return reply

    def test_each_connection_has_one_outcome(self):
        mail = (b"EHLO c.example", b"MAIL FROM:<a@partner.example>", b"RCPT TO:<b@example.net>", b"RCPT TO:<c@example.net>", b"DATA",
                b"Subject: x\r\n\r\nhello\r\n.", b"QUIT")
        wait_until(lambda: self.talk("mx", "192.0.2.7", b"QUIT").startswith(b"221"), "the rule to be in force")
        for _ in range(3):
            self.assertRegex(self.talk("mx", "192.0.2.7", *mail), rb"^221 ")
        self.assertRegex(self.talk("mx", "203.0.113.9"), rb"^554 ")
        replies = [self.talk("slow", "198.51.100.1", b"QUIT")[:3] for _ in range(4)]
        self.assertEqual(set(replies), {b"221", b"421"})
        self.assertRegex(self.talk("nobody", "198.51.100.2"), rb"^\* BYE ")
        with proxyclient.connect(self.gateway.port("mx"), proxyclient.LOCAL_V2) as probe:
            self.assertRegex(proxyclient.read_line(probe), rb"^220 ")
            probe.sendall(b"QUIT\r\n")
            proxyclient.read_to_end(probe)
        with proxyclient.connect(self.gateway.port("mx"), b"PROXY TCP4 nonsense\r\n") as rejected:
            proxyclient.read_to_end(rejected)
        proxyclient.connect(self.gateway.port("mx"), b"").close()
        wait_until(lambda: samples(self.gateway.http("/metrics"))["mailgate_sessions_live"] == 0, "the end of all sessions")
        wait_until(lambda: self.balance(), lambda: f"equal sums: {samples(self.gateway.http('/metrics'))}")
        now = samples(self.gateway.http("/metrics"))
        self.assertEqual(now["mailgate_listener_refusals_total"], now["mailgate_refusals_total"])
        self.assertEqual(now['mailgate_sessions_total{listener="slow",verdict="allow"}'], 4, "whom a limit refuses the rules let in")
        wait_until(lambda: self.logged() == self.verdicts(now), lambda: f"the log to say the same: {self.logged()}, {self.verdicts(now)}")
        self.assertEqual(now['mailgate_refusals_total{reason="access"}'], now['mailgate_sessions_total{listener="mx",verdict="deny"}'])
        self.assertEqual(now["mailgate_refusals_total"],
                         now['mailgate_refusals_total{reason="access"}'] + now["mailgate_turned_away_total"])
        self.assertEqual((now['mailgate_mails_total{listener="mx"}'], now['mailgate_recipients_total{listener="mx"}']), (3, 6))
        self.assertGreater(now['mailgate_listener_refusals_total{listener="slow",reason="too_many"}'], 0)
        self.assertEqual(now['mailgate_listener_refusals_total{listener="nobody",reason="no_server"}'], 1)
        self.assertGreater(now['mailgate_connect_seconds_count{upstream="mail"}'], 0)
        # ... and the tables say the same.
        status = self.gateway.ask("GET", "/v1/status")[1]
        for listener in status["listeners"]:
            self.assertEqual(listener["refused"], sum(listener["refusals"].values()))
        self.assertEqual(sum(listener["refused"] for listener in status["listeners"]),
                         status["totals"]["refused"] + status["totals"]["turned_away"])

    def verdicts(self, now):
        """Of the rules, by listener."""
        found = {re.fullmatch(r'mailgate_sessions_total\{listener="(.*)",verdict="(.*)"\}', name): count for name, count in now.items()}
        return {match.groups(): count for match, count in found.items() if match and count}

    def logged(self):
        return collections.Counter((line["listener"], line["access"]) for event in ("session.end", "session.refused")
                                   for line in self.gateway.events(event) if line["listener"] in ("mx", "slow", "nobody"))

    def balance(self):
        now = samples(self.gateway.http("/metrics"))
        outcomes = ("mailgate_empty_connections_total", "mailgate_balancer_probes_total", "mailgate_proxy_rejections_total",
                    "mailgate_refusals_total", "mailgate_session_ends_total")
        return now["mailgate_connections_total"] == sum(now.get(name, 0) for name in outcomes)

    def http_status(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.http_port, timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def asked_by_nrpe(self):
        """What check_nrpe prints and ends with when it asks by the command of the page."""
        page = (ETC.parent / "docs/metrics.md").read_text()
        [command] = re.findall(r"(?m)^    (command\[check_mailgate\]=.*)$", page)
        folder = scratch.folder("nrpe")
        binary = f"{mailgate.binary()} --config {self.gateway.config}"
        (folder / "nrpe.cfg").write_text(f"allowed_hosts=127.0.0.1\nlog_file={folder}/log\n"
                                         f"{command.replace('/usr/bin/mailgate', binary)}\n")
        with socket.create_server(("127.0.0.1", 0)) as listening:
            asks = subprocess.Popen(["/usr/lib/nagios/plugins/check_nrpe", "-n", "-H", "127.0.0.1", "-c", "check_mailgate",
                                     "-t", "60", "-p", str(listening.getsockname()[1])], stdout=subprocess.PIPE, text=True)
            listening.settimeout(60)
            asking = listening.accept()[0]
        # As inetd starts it; root it does not want to be, and is not in a user namespace of its own.
        with asking:
            subprocess.run(["unshare", "--user", "--map-user=1000", "--map-group=1000", "nrpe", "-n", "-i", "-c", folder / "nrpe.cfg"],
                           stdin=asking, stdout=asking, timeout=60)
        said = asks.communicate(timeout=60)[0]
        return asks.returncode, said

    def test_readiness_and_the_check_follow_the_servers(self):
        self.talk("nobody", "198.51.100.3")  # without checks, a failed session tells
        self.assertEqual(self.http_status("/readyz"), 200)
        self.assertEqual(self.http_status("/readyz?listener=mx"), 200)
        self.assertEqual(self.http_status("/readyz?listener=other"), 404)
        self.assertEqual(self.gateway.run("server", "drain", "none/none1").returncode, 0)
        self.addCleanup(self.gateway.run, "server", "ready", "none/none1")
        self.assertEqual(self.http_status("/readyz?listener=nobody"), 503)
        check = self.gateway.run("status", "--check")
        self.assertEqual(check.returncode, 2, check.stdout)
        self.assertRegex(check.stdout, r"\AMAILGATE CRITICAL - listener nobody has no server[^|\n]*\|( [a-z_]+=\d+[a-zB]?[;:0-9]*)+\n\Z")
        status, said = self.asked_by_nrpe()
        self.assertEqual(status, 2, said)
        self.assertRegex(said, r"\AMAILGATE CRITICAL - listener nobody has no server.*\|.*\bservers_drained=1;")
        self.assertEqual(self.gateway.run("status").returncode, 1)
        self.assertEqual(self.gateway.run("server", "drain", "mail/mail1").returncode, 0)
        self.addCleanup(self.gateway.run, "server", "ready", "mail/mail1")
        self.assertEqual(self.http_status("/readyz"), 503)
        self.assertEqual(self.http_status("/healthz"), 200)

    def test_a_failed_reload_is_counted_until_the_next_succeeds(self):
        def failed():
            return samples(self.gateway.http("/metrics"))["mailgate_last_reload_failed"]
        text = self.gateway.config.read_text()
        self.addCleanup(self.gateway.config.write_text, text)
        self.gateway.config.write_text(text.replace("workers = 2", "workers = 3"))
        self.assertEqual(self.gateway.run("reload").returncode, 1)
        self.assertEqual(failed(), 1)
        self.assertRegex(self.gateway.run("status", "--check").stdout, "the last reload failed")
        self.gateway.config.write_text(text)
        self.assertEqual(self.gateway.run("reload").returncode, 0)
        self.assertEqual(failed(), 0)
        self.assertEqual(samples(self.gateway.http("/metrics"))['mailgate_reloads_total{result="failed"}'], 1)


class Socket(unittest.TestCase):
    def test_the_http_listener_takes_no_orders(self):
        self.assertEqual(gateway.http("/healthz"), "ok\n")
        self.assertEqual(gateway.http("/readyz"), "ready\n")
        for method, target in (("GET", "/v1/status"), ("GET", "/v1/sessions"), ("POST", "/v1/reload")):
            connection = http.client.HTTPConnection("127.0.0.1", gateway.http_port, timeout=30)
            connection.request(method, target)
            self.assertEqual(connection.getresponse().status, 404)
            connection.close()

    @unittest.skipUnless(shutil.which("curl"), "takes curl")
    def test_curl_reads_the_status(self):
        done = subprocess.run(["curl", "-s", "--fail", "--unix-socket", str(gateway.socket), "http://mailgate/v1/status"],
                              capture_output=True, timeout=60, check=True)
        self.assertEqual({listener["name"] for listener in json.loads(done.stdout)["listeners"]}, {"tcp", "smtp"})

    def test_a_session_is_listed_and_killed(self):
        with session() as client:
            [mine] = wait_until(lambda: [line for line in live() if line["client"]], "a live session whose header was read")
            self.assertEqual((mine["listener"], mine["client"]), ("tcp", "192.0.2.7"))
            self.assertEqual(gateway.ask("DELETE", f"/v1/sessions/{mine['session']}"), (200, {"ok": True}))
            proxyclient.read_to_end(client)
            wait_until(lambda: not live(), "the end of the session")
        order = gateway.wait_event("admin.order", order="kill", target=mine["session"])
        self.assertTrue(order["ok"])

    def test_cut_ends_the_sessions_of_a_network(self):
        with session() as client:
            wait_until(live, "a live session")
            self.assertEqual(gateway.ask("POST", "/v1/cut", {"network": "198.51.100.0/24"}), (200, {"cut": 0}))
            self.assertEqual(gateway.ask("POST", "/v1/cut", {"network": "192.0.2.0/24"}), (200, {"cut": 1}))
            proxyclient.read_to_end(client)

    def test_the_status_command(self):
        table = gateway.run("status")
        self.assertEqual(table.returncode, 0, table.stderr)
        self.assertRegex(table.stdout, r"(?m)^mail/mail1 +127\.0\.0\.1:\d+ +up ")
        self.assertEqual(json.loads(gateway.run("status", "--json").stdout)["name"], "gw.example.net")

    def test_the_server_command_drains_and_puts_back(self):
        def draining():
            return gateway.ask("GET", "/v1/status")[1]["servers"][0]["draining"]

        for state, expected in (("drain", True), ("ready", False)):
            done = gateway.run("server", state, "mail/mail1")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(draining(), expected)
        self.assertTrue(gateway.run("server", "ready", "mail/mail1").stdout.startswith("mail/mail1 was not drained"))
        self.assertEqual(gateway.run("server", "drain", "mail/none").returncode, 2)
        self.assertEqual(gateway.run("server", "drain", "mail").returncode, 2)

    def test_the_reload_command(self):
        done = gateway.run("reload")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(gateway.wait_event("admin.order", order="reload")["ok"])

    def test_without_a_gateway_the_commands_say_so(self):
        absent = Observed(scratch, [mailgate.listener("tcp", "mail")], [mailgate.upstream("mail", server.port)], name="absent")
        absent.write_config()
        for command in (["status"], ["reload"], ["server", "drain", "mail/mail1"]):
            done = absent.run(*command)
            self.assertEqual(done.returncode, 1)
            self.assertIn("no gateway is listening on", done.stderr)

    def test_a_second_gateway_on_the_socket_is_refused_and_the_file_goes_with_the_first(self):
        settings = ([mailgate.listener("tcp", "mail")], [mailgate.upstream("mail", server.port)])
        first = Observed(scratch, *settings, name="first")
        second = Observed(scratch, [mailgate.listener("tcp", "mail")], settings[1], name="first")
        second.config = first.folder / "second.toml"
        second.process = Process("second", [mailgate.binary(), "serve", "--config", second.config],
                                 first.folder / "second.txt", cwd=first.folder)
        first.start()
        self.addCleanup(first.stop)
        wait_until(lambda: first.socket.exists(), "the admin socket")
        self.assertNotEqual(second.launch().wait_exit(), 0)
        self.assertIn("another gateway answers there", second.process.text())
        self.assertEqual(first.ask("GET", "/v1/status")[0], 200)
        first.stop()
        self.assertFalse(first.socket.exists())
