# SPDX-License-Identifier: Apache-2.0
"""`mailgate probe` against right and wrong servers, and what `mailgate snippet` prints, pasted into real programs."""

import concurrent.futures
import imaplib
import re
import smtplib
import subprocess
import unittest

from harness import mailgate, proxyclient
from harness.dovecot import Dovecot, listen_setting, version
from harness.haproxy import HAProxy
from harness.ports import reserve_port
from harness.postfix import Postfix
from harness.process import Process, Scratch, is_listening, wait_until

scratch = postfix = dovecot = None


def setUpModule():
    global scratch, postfix, dovecot
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    postfix = scratch.start(Postfix(scratch))
    dovecot = scratch.start(Dovecot(scratch))


_configured = 0


def configured(listeners, upstreams):
    """A configuration file without a daemon."""
    global _configured
    _configured += 1
    site = mailgate.Mailgate(scratch, listeners, upstreams, name=f"site{_configured}")
    site.write_config()
    return site


def probe(upstream, protocol="smtp", code=0):
    """The report on the only server of `upstream`."""
    site = configured([mailgate.listener(protocol, upstream["name"])], [upstream])
    done = site.run("probe")
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


class Probe(unittest.TestCase):
    def test_a_postfix_takes_everything_up_to_536_bytes(self):
        report = probe(mailgate.upstream("mx", postfix.proxy_port))
        self.assertRegex(report, r"mx/mx1 127\.0\.0\.1:\d+ \(smtp\)")
        for dialect in ("v1", "v2", "TCP6", "LOCAL"):
            self.assertRegex(report, rf"\n  {dialect} +accepted")
        self.assertRegex(report, r"header size +up to 536 bytes, a longer one is refused: greets with: 421")
        self.assertIn("=> as configured", report)

    def test_a_postscreen_takes_the_same(self):
        self.assertIn("=> as configured", probe(mailgate.upstream("mx", postfix.postscreen_port)))

    def test_a_dovecot_takes_1500_bytes(self):
        for protocol in ("imap", "pop3", "lmtp", "sieve"):
            with self.subTest(protocol=protocol):
                report = probe(mailgate.upstream("store", dovecot.proxy_port[protocol]), protocol)
                self.assertIn("up to 1500 bytes\n", report)
                self.assertIn("=> as configured", report)

    def test_a_port_without_proxy_is_told_from_one_that_refuses_it(self):
        report = probe(mailgate.upstream("mx", postfix.plain_port), code=1)
        self.assertRegex(report, "without a header +greets")
        self.assertIn("smtpd_upstream_proxy_protocol=haproxy", report)

    def test_a_dovecot_that_does_not_trust_us_is_named_with_the_setting(self):
        distrustful = Dovecot(scratch, name="distrustful")
        write = distrustful._configuration
        distrustful._configuration = lambda passwd: write(passwd).replace(
            "haproxy_trusted_networks = 127.0.0.0/8 ::1/128", "haproxy_trusted_networks = 192.0.2.1")
        scratch.start(distrustful)
        report = probe(mailgate.upstream("store", distrustful.proxy_port["imap"]), "imap", code=1)
        self.assertIn("Dovecot: add 127.0.0.1 to haproxy_trusted_networks", report)

    def test_a_postfix_without_ipv6_and_one_with_too_large_a_header(self):
        four = scratch.start(Postfix4(scratch, name="postfix4"))
        report = probe(mailgate.upstream("mx", four.proxy_port, max_header=1024), code=1)
        self.assertIn("set inet_protocols = all in Postfix's main.cf", report)
        self.assertIn("set max_header = 536", report)

    def test_a_server_that_expects_what_is_switched_off(self):
        report = probe(mailgate.upstream("mx", postfix.proxy_port, send_proxy="off", lost_client_address="accepted"), code=1)
        self.assertIn('set send_proxy = "v2"', report)

    def test_a_server_that_speaks_tls_from_the_first_byte(self):
        """There only silence says yes; it must say so every time, on a busy machine too."""
        tls = scratch.start(TlsDovecot(scratch))
        for address, send_proxy, code, words in (("127.0.0.1", "v2", 0, "=> as configured"), ("127.0.0.1", "v1", 0, "=> as configured"),
                                                 ("::1", "v2", 0, "=> as configured")):
            site = configured([mailgate.listener("imap", "store", tls="passthrough")],
                              [mailgate.upstream("store", tls.tls_port, host=address, send_proxy=send_proxy, max_header=1500)])
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                for done in pool.map(lambda _: site.run("probe"), range(8)):
                    self.assertEqual(done.returncode, code, done.stdout + done.stderr)
                    self.assertIn(words, done.stdout)
                    self.assertIn("up to 1500 bytes\n", done.stdout)
        site = configured([mailgate.listener("imap", "store", tls="passthrough")], [mailgate.upstream("store", tls.headerless_port)])
        done = site.run("probe")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("it expects none, or none from that address", done.stdout)

    def test_nobody_listening(self):
        report = probe(mailgate.upstream("mx", reserve_port()), code=1)
        self.assertIn("nothing accepts connections at 127.0.0.1:", report)

    def test_one_server_can_be_chosen(self):
        site = configured([mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", postfix.proxy_port, reserve_port())])
        done = site.run("probe", "mx/mx1")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("mx2", done.stdout)
        missing = site.run("probe", "mx/mx9")
        self.assertEqual(missing.returncode, 2)
        self.assertIn('no upstream or server is named "mx/mx9"', missing.stderr)


class TlsDovecot(Dovecot):
    """IMAP with implicit TLS, with and without a PROXY header."""

    def __init__(self, scratch):
        super().__init__(scratch, name="tls-dovecot")
        self.tls_port, self.headerless_port = reserve_port(), reserve_port()

    def _configuration(self, passwd):
        return super()._configuration(passwd) + f"""service imap-login {{
  inet_listener imaps_proxy {{
    {listen_setting()} = 127.0.0.1 ::1
    port = {self.tls_port}
    haproxy = yes
    ssl = yes
  }}
  inet_listener imaps_plain {{
    {listen_setting()} = 127.0.0.1
    port = {self.headerless_port}
    ssl = yes
  }}
}}
"""


class Postfix4(Postfix):
    """A Postfix that has IPv6 switched off."""

    def __init__(self, scratch, name):
        super().__init__(scratch, name=name, settings={"inet_protocols": "ipv4", "inet_interfaces": "127.0.0.1"})

    def _master(self):
        return "".join(line + "\n" for line in super()._master().splitlines() if not line.startswith("[::1]"))


class PastedPostfix(Postfix):
    """A Postfix whose master.cf ends with a snippet, as it is, and whose main.cf has what it says to set there."""

    def __init__(self, scratch, name, snippet):
        super().__init__(scratch, name=name)
        self._main, self._services = re.findall(r"(?m)^#   postconf -e '(.*)'$", snippet), snippet

    def _write_files(self):
        super()._write_files()
        with open(self.config / "main.cf", "a") as main:
            main.writelines(line + "\n" for line in self._main)

    def _master(self):
        own = super()._master()
        if "postscreen" in self._services:  # its helpers come with the snippet
            own = "".join(line + "\n" for line in own.splitlines()
                          if not line.startswith(("smtpd pass", "dnsblog", "tlsproxy")))
        return own + self._services


class Snippet(unittest.TestCase):
    def snippet(self, kind, listeners, upstreams, *arguments):
        done = configured(listeners, upstreams).run("snippet", kind, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_nothing_is_printed_where_there_are_no_such_servers(self):
        for kind, protocol in (("postfix", "imap"), ("postscreen", "lmtp"), ("dovecot", "smtp")):
            with self.subTest(kind=kind):
                done = configured([mailgate.listener(protocol, "mx")], [mailgate.upstream("mx", reserve_port())]).run("snippet", kind)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn("has no upstream whose listeners speak", done.stderr)

    def test_postfix_has_nothing_to_paste_where_it_gets_no_header(self):
        settings = mailgate.upstream("mx", reserve_port(), send_proxy="off", lost_client_address="accepted")
        for kind in ("postfix", "postscreen"):
            with self.subTest(kind=kind):
                lines = self.snippet(kind, [mailgate.listener("smtp", "mx")], [settings]).split("\n")
                self.assertEqual(lines, ['# Upstream "mx" has send_proxy = "off": its servers must not expect a header.', "", ""])

    def test_postfix_and_postscreen(self):
        for kind in ("postfix", "postscreen"):
            with self.subTest(kind=kind):
                port, second = reserve_port(), reserve_port()
                settings = mailgate.upstream("mx", port, second)
                snippet = self.snippet(kind, [mailgate.listener("smtp", "mx")], [settings])
                pasted = scratch.start(PastedPostfix(scratch, f"pasted-{kind}", snippet))
                wait_until(lambda: is_listening(port) and is_listening(second), "the pasted services")
                # Whoever is there already goes on, and all of them greet, whoever comes first.
                for mine in (mailgate.upstream("mx", pasted.postscreen_port), settings, mailgate.upstream("mx", pasted.postscreen_port)):
                    report = probe(mine)
                    self.assertEqual(report.count("=> as configured"), len(mine["server"]), report)
                with proxyclient.SMTP(port, proxyclient.header_v2("2001:db8::5", 5005)) as client:
                    client.ehlo()
                pasted.wait_log(r"connect from unknown\[2001:db8::5\]:5005")
                self.assertNotRegex(pasted.log(), "unused parameter|fatal:")

    def test_dovecot(self):
        services = ("imap", "pop3", "lmtp", "sieve")
        settings = {service: mailgate.upstream(service, reserve_port()) for service in services}
        tls = mailgate.upstream("imap-tls", reserve_port())
        listeners = [mailgate.listener(service, service) for service in services]
        listeners.append(mailgate.listener("imap", "imap-tls", name="imaps", tls="passthrough"))
        snippet = self.snippet("dovecot", listeners, [*settings.values(), tls], "--version", ".".join(map(str, version())))
        pasted = Dovecot(scratch, name="pasted-dovecot", cleartext=False)
        write = pasted._configuration
        pasted._configuration = lambda passwd: write(passwd).replace("ssl = required\n", "ssl = yes\n") + snippet
        scratch.start(pasted)
        for service in services:
            self.assertIn("=> as configured", probe(settings[service], service))
        port = int(settings["imap"]["server"][0]["address"].rsplit(":", 1)[1])
        in_the_clear = proxyclient.IMAP(port, proxyclient.header_v2("198.51.100.4", 5004))
        with self.assertRaisesRegex(imaplib.IMAP4.error, "PRIVACYREQUIRED"):
            in_the_clear.login("alice", "wonder-2718")
        in_the_clear.logout()
        # The TLV says that the client's connection to the balancer was TLS.
        session = proxyclient.IMAP(port, proxyclient.header_v2("198.51.100.5", 5005, tlvs=bytes.fromhex("2000050100000000")))
        session.login("alice", "wonder-2718")
        session.logout()
        pasted.wait_log(r"user=<alice>, .*rip=198\.51\.100\.5, rport=5005")
        tls_port = tls["server"][0]["address"].rsplit(":", 1)[1]
        self.assertRegex(snippet, rf"port = {tls_port}\n    haproxy = yes\n    ssl = yes")

    def test_submission_gets_tls_and_a_password(self):
        mx, submission = reserve_port(), reserve_port()
        listeners = [mailgate.listener("smtp", "mx", name="mx"), mailgate.listener("smtp", "submission", name="submission")]
        upstreams = [mailgate.upstream("mx", mx), mailgate.upstream("submission", submission)]
        for kind in ("postfix", "postscreen"):
            with self.subTest(kind=kind):
                pasted = scratch.start(PastedPostfix(scratch, f"submission-{kind}", self.snippet(kind, listeners, upstreams)))
                wait_until(lambda: is_listening(submission) and is_listening(mx), "the pasted services")
                self.assertIn("=> as configured", probe(upstreams[1]))
                with proxyclient.SMTP(submission, proxyclient.header_v2("198.51.100.9", 5009)) as client:
                    client.ehlo()
                    self.assertEqual(client.docmd("MAIL", "FROM:<alice@example.net>"), (530, b"5.7.0 Must issue a STARTTLS command first"))
                with proxyclient.SMTP(mx, proxyclient.header_v2("198.51.100.9", 5010)) as client:
                    client.ehlo()
                    client.mail("a@example.org")
                    self.assertEqual(client.rcpt("alice@example.net")[0], 250)
                pasted.wait_log(r"postfix/submission/smtpd\[\d+\]: connect from unknown\[198\.51\.100\.9\]:5009")
                self.assertNotRegex(pasted.log(), "unused parameter|fatal:")
                pasted.stop()

    def test_submission_for_which_tls_ends_at_the_gateway(self):
        certificates = [{"certificate": "/etc/mailgate/tls/mail.pem"}]
        listeners = [mailgate.listener("smtp", "submission", name="submission", tls="starttls", certificates=certificates),
                     mailgate.listener("smtp", "submission", name="submissions", tls="implicit", certificates=certificates)]
        submission = reserve_port()
        snippet = self.snippet("postfix", listeners, [mailgate.upstream("submission", submission)])
        pasted = scratch.start(PastedPostfix(scratch, "submission-behind-tls", snippet))
        wait_until(lambda: is_listening(submission), "the pasted service")
        with proxyclient.SMTP(submission, proxyclient.header_v2("198.51.100.9", 5009)) as client:
            client.ehlo()
            self.assertFalse(client.has_extn("starttls"))
            client.mail("a@example.org")
            self.assertEqual(client.rcpt("alice@example.net")[0], 554, "a password is needed, and TLS is not")
        self.assertNotRegex(pasted.log(), "unused parameter|fatal:")
        ports = re.findall(r"bind :(\d+)", self.snippet("haproxy", listeners, [mailgate.upstream("submission", submission)]))
        self.assertEqual(ports, ["587", "465"])
        listeners[1]["tls"] = "off"
        del listeners[1]["certificates"]
        self.assertIn("an upstream each", self.snippet("postfix", listeners, [mailgate.upstream("submission", submission)]))

    def test_one_smtpd_cannot_serve_strangers_and_users(self):
        snippet = self.snippet("postfix", [mailgate.listener("smtp", "mx", name="mx"), mailgate.listener("smtp", "mx", name="submission")],
                               [mailgate.upstream("mx", 10025)])
        self.assertIn('listener "submission"', snippet)
        self.assertNotIn("sasl", snippet)

    def test_ports_are_those_of_the_clients(self):
        def listener(name, port, **settings):
            return mailgate.listener("smtp", "mx", name=name, port=port, **settings)
        for listeners, ports in (([listener("mx", 25), listener("submission", 587), listener("tls", 465, tls="passthrough")], [25, 587, 465]),
                                 ([listener("mx", 2525), listener("users", 10587)], [25, 587]),
                                 ([listener("mx", 2525), listener("submission", 2526)], [25, 587]),
                                 ([listener("mx", 2525), listener("other", 2526)], [25, 2526]),
                                 ([listener("mx", 25), listener("other", 25, host="127.0.0.2")], [25])):
            for kind, pattern in (("haproxy", r"bind :(\d+)"), ("nginx", r"listen (\d+);"), ("aws-nlb", r"--protocol TCP --port (\d+) \\")):
                with self.subTest(kind=kind, ports=ports):
                    snippet = self.snippet(kind, listeners, [mailgate.upstream("mx", 10025)])
                    self.assertEqual([int(port) for port in re.findall(pattern, snippet)], ports, snippet)

    def test_dovecot_of_either_version(self):
        arguments = ("dovecot", [mailgate.listener("imap", "store")], [mailgate.upstream("store", 10143)])
        self.assertEqual(self.snippet(*arguments, "--version", "2.3"), self.snippet(*arguments))
        newer = self.snippet(*arguments, "--version", "2.4")
        self.assertIn("\nssl = required\n", newer)
        self.assertIn("rip=%{remote_ip} rport=%{remote_port}", newer)
        self.assertNotRegex(newer, "%[a-z]")
        self.assertEqual(configured(*arguments[1:]).run("snippet", "dovecot", "--version", "2.2").returncode, 2)

    def balanced(self):
        """A mailgate for three protocols, and mail from users, behind a balancer to be."""
        listeners = [mailgate.listener("smtp", "mx"), mailgate.listener("imap", "store"), mailgate.listener("sieve", "filters"),
                     mailgate.listener("smtp", "mx", name="submission")]
        gateway = mailgate.Mailgate(scratch, listeners, [
            mailgate.upstream("mx", postfix.proxy_port), mailgate.upstream("store", dovecot.proxy_port["imap"]),
            mailgate.upstream("filters", dovecot.proxy_port["sieve"])], name=f"balanced-{self.id().rsplit('.', 1)[1]}")
        gateway.start()
        self.addCleanup(gateway.stop)
        return gateway

    def assert_balances(self, gateway, ports):
        with proxyclient.SMTP(ports["25"]) as client:
            self.assertEqual(client.noop()[0], 250)
        with smtplib.SMTP("::1", ports["25"]) as client:
            client.ehlo("six.example.net")
        self.assertEqual(gateway.wait_event("session.end", helo="six.example.net")["client"], "::1")
        session = proxyclient.IMAP(ports["143"])
        session.login("alice", "wonder-2718")
        session.logout()
        with proxyclient.connect(ports["4190"]) as client:
            self.assertIn(b"OK", proxyclient.read_until(client, rb"^OK"))
        with proxyclient.SMTP(ports["587"]) as client:
            client.ehlo("user.example.net")
        self.assertEqual(gateway.wait_event("session.end", listener="submission")["helo"], "user.example.net")
        for listener in ("smtp", "imap"):
            self.assertEqual(gateway.wait_event("session.end", listener=listener)["balancer"], "127.0.0.1")

    def with_free_ports(self, snippet, pattern, local):
        ports = {}

        def free(match):
            ports[match[1]] = reserve_port()
            return local.format(ports[match[1]])

        return re.sub(pattern, free, snippet), ports

    def test_haproxy(self):
        gateway = self.balanced()
        done = gateway.run("snippet", "haproxy")
        snippet, ports = self.with_free_ports(done.stdout, r"bind :(\d+),:::\1 v6only", "bind 127.0.0.1:{0},::1:{0} v6only")
        balancer = HAProxy(scratch, name="pasted-haproxy")
        # Checked often, and each may take the time that it needs.
        snippet = re.sub(r"\n( +)server ", r"\n\1timeout check 5s\g<0>", snippet)
        balancer._sections.append(snippet.replace("inter 5s", "inter 100ms"))
        balancer._ports.extend(ports.values())
        scratch.start(balancer)
        gateway.wait_events(8, "session.check")
        self.assert_balances(gateway, ports)
        self.assertNotRegex(balancer._process.text(), "ALERT|is DOWN")

    def test_nginx(self):
        gateway = self.balanced()
        done = gateway.run("snippet", "nginx")
        snippet, ports = self.with_free_ports(done.stdout, r"listen (\d+);\n +listen \[::\]:\1;", "listen 127.0.0.1:{0}; listen [::1]:{0};")
        folder = scratch.folder("pasted-nginx")
        config = folder / "nginx.conf"
        config.write_text("load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\n"
                          f"pid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n{snippet}")
        balancer = Process("nginx", ["/usr/sbin/nginx", "-p", folder, "-c", config], folder / "output.txt")
        scratch.defer(balancer.stop)
        balancer.start()
        balancer.wait_ready(lambda: all(map(is_listening, ports.values())), "listening")
        self.assert_balances(gateway, ports)

    def test_aws_nlb_is_a_script_for_every_listener(self):
        snippet = self.snippet("aws-nlb", [mailgate.listener("smtp", "mx"), mailgate.listener("imap", "mx", proxy="off")],
                               [mailgate.upstream("mx", 10025)])
        subprocess.run(["bash", "-n"], input=snippet, text=True, check=True)
        self.assertIn("header_placement,Value=on_first_ack", snippet)
        self.assertIn('Listener "imap" has proxy = "off"', snippet)


if __name__ == "__main__":
    unittest.main()
