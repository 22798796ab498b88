"""`mailgate probe` against right and wrong servers, and what `mailgate snippet` prints, pasted into real programs."""

import imaplib
import re
import subprocess
import unittest

from harness import mailgate, proxyclient
from harness.dovecot import Dovecot, version
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
        self.assertRegex(report, r"header size +up to 536 bytes, more is refused: greets with: 421")
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

    def test_nobody_listening(self):
        report = probe(mailgate.upstream("mx", reserve_port()), code=1)
        self.assertIn("nothing takes connections at 127.0.0.1:", report)

    def test_one_server_can_be_chosen(self):
        site = configured([mailgate.listener("smtp", "mx")], [mailgate.upstream("mx", postfix.proxy_port, reserve_port())])
        done = site.run("probe", "mx/mx1")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("mx2", done.stdout)
        missing = site.run("probe", "mx/mx9")
        self.assertEqual(missing.returncode, 1)
        self.assertIn('no upstream or server "mx/mx9"', missing.stderr)


class Postfix4(Postfix):
    """A Postfix that has IPv6 switched off."""

    def __init__(self, scratch, name):
        super().__init__(scratch, name=name, settings={"inet_protocols": "ipv4", "inet_interfaces": "127.0.0.1"})

    def _master(self):
        return "".join(line + "\n" for line in super()._master().splitlines() if not line.startswith("[::1]"))


class PastedPostfix(Postfix):
    """A Postfix whose configuration ends with a snippet."""

    def __init__(self, scratch, name, snippet):
        super().__init__(scratch, name=name)
        self._main, self._services = re.fullmatch(r"(# main\.cf.*?)(# master\.cf.*)", snippet, re.DOTALL).groups()

    def _write_files(self):
        super()._write_files()
        with open(self.config / "main.cf", "a") as main:
            main.write(self._main)

    def _master(self):
        own = super()._master()
        if "postscreen" in self._services:  # its helpers come with the snippet
            own = "".join(line + "\n" for line in own.splitlines()
                          if not line.startswith(("smtpd pass", "dnsblog", "tlsproxy")))
        return own + self._services


class Snippet(unittest.TestCase):
    def snippet(self, kind, listeners, upstreams, *options):
        done = configured(listeners, upstreams).run("snippet", kind, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_postfix_and_postscreen(self):
        for kind in ("postfix", "postscreen"):
            with self.subTest(kind=kind):
                port = reserve_port()
                settings = mailgate.upstream("mx", port)
                snippet = self.snippet(kind, [mailgate.listener("smtp", "mx")], [settings])
                pasted = scratch.start(PastedPostfix(scratch, f"pasted-{kind}", snippet))
                wait_until(lambda: is_listening(port), "the pasted service")
                report = probe(settings)
                self.assertIn("=> as configured", report)
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

    def balanced(self):
        """A mailgate for three protocols behind a balancer to be."""
        listeners = [mailgate.listener("smtp", "mx"), mailgate.listener("imap", "store"), mailgate.listener("sieve", "filters")]
        gateway = mailgate.Mailgate(scratch, listeners, [
            mailgate.upstream("mx", postfix.proxy_port), mailgate.upstream("store", dovecot.proxy_port["imap"]),
            mailgate.upstream("filters", dovecot.proxy_port["sieve"])], name=f"balanced-{self.id().rsplit('.', 1)[1]}")
        gateway.start()
        self.addCleanup(gateway.stop)
        return gateway

    def assert_balances(self, gateway, ports):
        with proxyclient.SMTP(ports["25"]) as client:
            self.assertEqual(client.noop()[0], 250)
        session = proxyclient.IMAP(ports["143"])
        session.login("alice", "wonder-2718")
        session.logout()
        with proxyclient.connect(ports["4190"]) as client:
            self.assertIn(b"OK", proxyclient.read_until(client, rb"^OK"))
        for listener in ("smtp", "imap"):
            self.assertEqual(gateway.wait_event("session.end", listener=listener)["balancer"], "127.0.0.1")

    def with_free_ports(self, snippet, pattern):
        ports = {}

        def free(match):
            ports[match[2]] = reserve_port()
            return f"{match[1]}127.0.0.1:{ports[match[2]]}"

        return re.sub(pattern, free, snippet), ports

    def test_haproxy(self):
        gateway = self.balanced()
        done = gateway.run("snippet", "haproxy")
        snippet, ports = self.with_free_ports(done.stdout, r"(bind ):(\d+)")
        balancer = HAProxy(scratch, name="pasted-haproxy")
        balancer._sections.append(snippet.replace("inter 5s", "inter 100ms"))
        balancer._ports.extend(ports.values())
        scratch.start(balancer)
        gateway.wait_events(6, "session.check")
        self.assert_balances(gateway, ports)
        self.assertNotRegex(balancer._process.text(), "ALERT|is DOWN")

    def test_nginx(self):
        gateway = self.balanced()
        done = gateway.run("snippet", "nginx")
        snippet, ports = self.with_free_ports(done.stdout, r"(listen )(\d+)")
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
