# SPDX-License-Identifier: Apache-2.0
"""TLS with programs at both ends: clients that people use, balancers that end TLS, servers with and without it; every protocol
in every way in and out; and docs/tls.md held to all of it."""

import base64
import json
import pathlib
import re
import ssl
import subprocess
import tomllib
import unittest

from harness import mailgate, proxyclient
from harness.authority import Authority
from harness.dovecot import SERVICES, USERS, Dovecot, listen_setting, version
from harness.haproxy import HAProxy
from harness.nginx import Nginx
from harness.ports import reserve_port
from harness.postfix import Postfix
from harness.process import Scratch, make_certificate
from harness.stunnel import Stunnel

PAGE = (pathlib.Path(__file__).parents[2] / "docs/tls.md").read_text()
NAME = "mail.example.org"
WAYS_IN = ("implicit", "starttls")
WAYS_OUT = ("off", "implicit", "starttls")
scratch = authority = postfix = dovecot = gateway = None


class WrappedPostfix(Postfix):
    """With `wrapped_port`: TLS from the first byte behind the header."""

    def __init__(self, scratch_folder, files):
        self.wrapped_port = reserve_port()
        super().__init__(scratch_folder, settings={"smtpd_tls_chain_files": f"{files[1]}, {files[0]}"})
        self._ports = (*self._ports, self.wrapped_port)

    def _master(self):
        return super()._master() + (f"127.0.0.1:{self.wrapped_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes "
                                    "-o smtpd_upstream_proxy_protocol=haproxy\n")


class WrappedDovecot(Dovecot):
    """With `wrapped_port[service]`, of each service; passwords in TLS alone."""

    def __init__(self, scratch_folder, files):
        self.wrapped_port = {service: reserve_port() for service in SERVICES}
        names = ("ssl_cert", "ssl_key") if version() < (2, 4) else ("ssl_server_cert_file", "ssl_server_key_file")
        prefix = "<" if version() < (2, 4) else ""
        settings = "".join(f"{name} = {prefix}{path}\n" for name, path in zip(names, files))
        for service, port in self.wrapped_port.items():
            block = {"lmtp": "lmtp", "sieve": "managesieve-login"}.get(service, f"{service}-login")
            settings += (f"service {block} {{\n  inet_listener {service}_wrapped {{\n    {listen_setting()} = 127.0.0.1\n"
                         f"    port = {port}\n    haproxy = yes\n    ssl = yes\n  }}\n}}\n")
        super().__init__(scratch_folder, cleartext=False, settings=settings)
        self._ports = (*self._ports, *self.wrapped_port.values())


def setUpModule():
    global scratch, authority, postfix, dovecot, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    authority = Authority(scratch.folder("certificates"))
    files = authority.issue(NAME, "localhost")
    postfix = scratch.start(WrappedPostfix(scratch, files))
    dovecot = scratch.start(WrappedDovecot(scratch, files))
    clear = {"smtp": postfix.proxy_port, **dovecot.proxy_port}
    wrapped = {"smtp": postfix.wrapped_port, **dovecot.wrapped_port}
    pair = [{"certificate": str(files[0]), "key": str(files[1])}]
    verified = {"ca": str(authority.certificate), "server_name": NAME}
    upstreams, listeners = [], []
    for protocol in clear:
        upstreams += [mailgate.upstream(f"{protocol}-off", clear[protocol]),
                      mailgate.upstream(f"{protocol}-implicit", wrapped[protocol], tls="implicit", **verified),
                      mailgate.upstream(f"{protocol}-starttls", clear[protocol], tls="starttls", **verified),
                      mailgate.upstream(f"{protocol}-through", wrapped[protocol])]
        listeners += [mailgate.listener(protocol, f"{protocol}-{out}", name=f"{protocol}-{into}-{out}", tls=into, proxy="off",
                                        certificates=pair) for into in WAYS_IN for out in WAYS_OUT]
        listeners += [mailgate.listener(protocol, f"{protocol}-through", name=f"{protocol}-through", tls="passthrough")]
    # Bytes that mean nothing to it, and the servers' own TLS around them.
    listeners += [mailgate.listener("tcp", f"imap-{out}", name=f"tcp-implicit-{out}", tls="implicit", proxy="off",
                                    certificates=pair) for out in ("off", "implicit")]
    listeners += [mailgate.listener("tcp", "imap-through", name="tcp-through", tls="passthrough")]
    listeners += [mailgate.listener("imap", "imap-off", name="imap-balanced",
                                    trusted=[{"network": "127.0.0.1/32", "tls": True}])]
    gateway = scratch.start(mailgate.Mailgate(scratch, listeners, upstreams))


def secured(connection):
    return ssl.create_default_context(cafile=str(authority.certificate)).wrap_socket(connection, server_hostname=NAME)


class Client:
    """Of one protocol: says lines, and expects answers."""

    def __init__(self, listener, header=b""):
        self.socket = proxyclient.connect(gateway.port(listener), header)
        self.port = self.socket.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def secure(self):
        self.socket = secured(self.socket)

    def until(self, pattern):
        answer = proxyclient.read_until(self.socket, b"^" + pattern)
        assert re.search(b"(?m)^" + pattern, answer), (pattern, answer)
        return answer

    def asks(self, line, pattern):
        self.socket.sendall(line + b"\r\n")
        return self.until(pattern)

    def upgrades(self, protocol):
        greeting, line, pattern, again = {
            "smtp": (rb"220 ", b"STARTTLS", rb"220 ", None), "lmtp": (rb"220 ", b"STARTTLS", rb"220 ", None),
            "imap": (rb"\* OK", b"s STARTTLS", rb"s OK", None), "pop3": (rb"\+OK", b"STLS", rb"\+OK", None),
            "sieve": (rb"OK", b"STARTTLS", rb"OK", rb"OK")}[protocol]
        self.until(greeting)
        self.asks(line, pattern)
        self.secure()
        if again:
            self.until(again)

    def works(self, protocol, greeted):
        """What sessions of the protocol are for: a mail, or a login."""
        if not greeted:
            self.until({"smtp": rb"220 ", "lmtp": rb"220 ", "imap": rb"\* OK", "pop3": rb"\+OK", "sieve": rb"OK"}[protocol])
        password = USERS["alice"].encode()
        plain = base64.b64encode(b"\0alice\0" + password)
        recipient = b"alice" if protocol == "lmtp" else b"alice@example.net"
        mail = ((b"MAIL FROM:<sender@example.com>", rb"250 "), (b"RCPT TO:<" + recipient + b">", rb"250 "), (b"DATA", rb"354 "),
                (b"Subject: inside\r\n\r\nbody\r\n.", rb"250 "), (b"QUIT", rb"221 "))
        for line, pattern in {
                "smtp": ((b"EHLO client.example.com", rb"250 "), *mail),
                "lmtp": ((b"LHLO client.example.com", rb"250 "), *mail),
                "imap": ((b"a LOGIN alice " + password, rb"a OK"), (b"b LOGOUT", rb"b OK")),
                "pop3": ((b"USER alice", rb"\+OK"), (b"PASS " + password, rb"\+OK"), (b"QUIT", rb"\+OK")),
                "sieve": ((b'AUTHENTICATE "PLAIN" "' + plain + b'"', rb"OK"), (b"LOGOUT", rb"OK"))}[protocol]:
            self.asks(line, pattern)


class EveryWay(unittest.TestCase):
    """A protocol, each way in by each way out. The servers take passwords in TLS alone, or for what the gateway tells them."""

    def every_way(self, protocol):
        for into in WAYS_IN:
            for out in WAYS_OUT:
                listener = f"{protocol}-{into}-{out}"
                with self.subTest(listener=listener), Client(listener) as client:
                    if into == "implicit":
                        client.secure()
                    else:
                        client.upgrades(protocol)
                    client.works(protocol, greeted=into == "starttls")
                    client.socket.close()
                    line = gateway.wait_event("session.end", listener=listener, client_port=client.port)
                    self.assertEqual((line["tls"]["mode"], line["tls"]["version"]), (into, "TLSv1.3"))
                    if protocol in ("smtp", "lmtp"):
                        self.assertEqual(line["mail"][0]["from"], "sender@example.com")
                        self.assertTrue(line["mail"][0]["reply"].startswith("250 "))
                    else:
                        self.assertEqual((line["user"], line["authenticated"]), ("alice", True))

    def test_smtp(self):
        self.every_way("smtp")

    def test_lmtp(self):
        self.every_way("lmtp")

    def test_imap(self):
        self.every_way("imap")

    def test_pop3(self):
        self.every_way("pop3")

    def test_sieve(self):
        self.every_way("sieve")

    def test_tcp(self):
        for out in ("off", "implicit"):
            listener = f"tcp-implicit-{out}"
            with self.subTest(listener=listener), Client(listener) as client:
                client.secure()
                client.works("imap", greeted=False)
                client.socket.close()
                line = gateway.wait_event("session.end", listener=listener, client_port=client.port)
                self.assertEqual((line["tls"]["mode"], line["user"]), ("implicit", None))


class Passthrough(unittest.TestCase):
    """The certificate is the server's, and so is all that is said within."""

    def passes(self, listener, protocol, number, mode="passthrough"):
        address = f"198.51.100.{number}"
        with Client(listener, proxyclient.header_v2(address, 40000 + number)) as client:
            client.secure()
            client.works(protocol, greeted=False)
            client.socket.close()
            line = gateway.wait_event("session.end", listener=listener, client=address)
            self.assertEqual((line["tls"]["mode"], line["user"], line.get("mail", [])), (mode, None, []))
        if protocol == "smtp":
            postfix.wait_log(rf"connect from unknown\[{re.escape(address)}\]:{40000 + number}")
        elif protocol != "lmtp":
            dovecot.wait_log(rf"user=<alice>.*rip={re.escape(address)}, rport={40000 + number}")

    def test_smtp(self):
        self.passes("smtp-through", "smtp", 11)

    def test_lmtp(self):
        self.passes("lmtp-through", "lmtp", 12)

    def test_imap(self):
        self.passes("imap-through", "imap", 13)

    def test_pop3(self):
        self.passes("pop3-through", "pop3", 14)

    def test_sieve(self):
        self.passes("sieve-through", "sieve", 15)

    def test_tcp(self):
        self.passes("tcp-through", "imap", 16)


class Programs(unittest.TestCase):
    def runs(self, *command, **settings):
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, **settings)
        self.assertEqual(done.returncode, 0, done.stdout.decode() + done.stderr.decode())
        return done.stdout.decode()

    def test_msmtp(self):
        for into, starttls in (("starttls", "on"), ("implicit", "off")):
            with self.subTest(tls=into):
                port = gateway.port(f"smtp-{into}-off")
                self.runs("msmtp", "--file=/dev/null", "--host=localhost", f"--port={port}", "--tls=on", f"--tls-starttls={starttls}",
                          f"--tls-trust-file={authority.certificate}", f"--domain={into}.msmtp.example", "--from=msmtp@example.com",
                          "bob@example.net", input=b"Subject: by msmtp\r\n\r\nbody\r\n")
                line = gateway.wait_event("session.end", helo=f"{into}.msmtp.example")
                self.assertEqual((line["tls"]["mode"], line["mail"][0]["from"]), (into, "msmtp@example.com"))

    def test_mbsync(self):
        dovecot.deliver("bob", b"Subject: to be synchronised\r\n\r\nbody\r\n")
        for into, kind in (("starttls", "STARTTLS"), ("implicit", "IMAPS")):
            with self.subTest(tls=into):
                folder = scratch.folder(f"mbsync-{into}")
                (folder / "mbsyncrc").write_text(f"""IMAPStore far
Host localhost
Port {gateway.port(f"imap-{into}-off")}
User bob
Pass {USERS["bob"]}
SSLType {kind}
SystemCertificates no
CertificateFile {authority.certificate}

MaildirStore near
Path {folder}/
Inbox {folder}/inbox

Channel mail
Far :far:
Near :near:
Sync Pull
Create Near
SyncState *
""")
                self.runs("mbsync", "--config", folder / "mbsyncrc", "mail")
                [message] = (path for kind in ("new", "cur") for path in (folder / "inbox" / kind).iterdir())
                self.assertIn(b"Subject: to be synchronised", message.read_bytes())
                self.assertIs(gateway.wait_event("session.end", listener=f"imap-{into}-off", user="bob")["authenticated"], True)

    def judged(self, into, *options):
        """{what testssl.sh looked at: its verdict}"""
        findings = scratch.path / f"testssl-{into}.json"
        subprocess.run(["testssl", "--quiet", "--color=0", "--warnings=off", "--ip=127.0.0.1", f"--jsonfile={findings}", *options,
                        f"localhost:{gateway.port(f'imap-{into}-off')}"], capture_output=True, timeout=130, check=False)
        found = {finding["id"]: finding for finding in json.loads(findings.read_text())}
        # Of its own surroundings, not of the server.
        found.pop("engine_problem", None)
        self.assertEqual({key: finding["finding"] for key, finding in found.items()
                          if finding["severity"] not in ("OK", "INFO", "LOW")}, {})
        return {key: finding["finding"] for key, finding in found.items()}

    def test_testssl(self):
        found = self.judged("implicit", "--protocols")
        self.assertEqual([found[name] for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3")],
                         [*["not offered"] * 4, "offered", "offered with final"])
        found = self.judged("starttls", "--starttls=imap", "--ccs-injection")
        self.assertEqual(found["CCS"], "not vulnerable")


class Balancers(unittest.TestCase):
    """That end TLS, and that the listener believes to, since their headers have no word for it."""

    def test_those_whose_header_has_no_word_for_tls(self):
        certificate, key = make_certificate(scratch.path)
        both = scratch.path / "both.pem"
        both.write_text(certificate.read_text() + key.read_text())
        target = gateway.port("imap-balanced")
        haproxy, nginx = HAProxy(scratch), Nginx(scratch)
        imaps = reserve_port()
        haproxy.frontend(target, "send-proxy-v2", options=[f"bind 127.0.0.1:{imaps} ssl crt {both}"])
        # A server block of its own words: "listen … ssl" behind the port that it is given.
        wrapped = nginx.server(target)
        nginx._servers[-1] = nginx._servers[-1].replace(
            f":{wrapped};", f":{wrapped} ssl;\n    ssl_certificate {certificate};\n    ssl_certificate_key {key};")
        stunnel = scratch.start(Stunnel(scratch, target))
        scratch.start(haproxy)
        scratch.start(nginx)
        context = ssl.create_default_context(cafile=str(certificate))
        for number, (name, port) in enumerate((("haproxy", imaps), ("nginx", wrapped), ("stunnel", stunnel.port)), 51):
            source = f"127.0.0.{number}"
            with self.subTest(balancer=name), proxyclient.connect(port, source=source) as connection, \
                    context.wrap_socket(connection, server_hostname="mx.example.net") as client:
                self.assertNotIn(b"LOGINDISABLED", proxyclient.read_until(client, rb"^\* OK"))
                client.sendall(b"a LOGIN alice %s\r\nb LOGOUT\r\n" % USERS["alice"].encode())
                self.assertRegex(proxyclient.read_until(client, rb"^b "), rb"(?m)^a OK")
            line = gateway.wait_event("session.end", listener="imap-balanced", client=source)
            self.assertEqual((line["tls"]["mode"], line["user"], line["authenticated"]), ("balancer", "alice", True))


class Page(unittest.TestCase):
    """docs/tls.md."""

    def test_every_test_that_the_page_names_exists(self):
        named = 0
        rows, pairs = PAGE.split("## Which goes with which", 1)
        for row in rows.splitlines():
            if not row.startswith("|") or ".py`" not in row:
                continue
            for file, rest in re.findall(r"`(test_\w+\.py)`((?:(?!`test_\w+\.py`).)*)", row):
                source = (pathlib.Path(__file__).parent / file).read_text()
                for name in re.findall(r"`(test_\w+)`", rest):
                    self.assertRegex(source, rf"(?m)^    def {name}\(", f"{file} has no {name}")
                    named += 1
                for name in re.findall(r"`([A-Z]\w+)`:", rest):
                    self.assertRegex(source, rf"(?m)^class {name}\(", f"{file} has no {name}")
        self.assertGreater(named, 20)
        table = pairs.split("\n## ", 1)[0]
        source = (pathlib.Path(__file__).parent / "test_upstream_tls.py").read_text()
        for name in re.findall(r"`([A-Z][A-Za-z]+|test_\w+)`", table):
            self.assertRegex(source, rf"(?m)^ *(?:class|def) {name}\(", f"test_upstream_tls.py has no {name}")

    def test_its_configurations_are_accepted(self):
        """Whole: each listener of the page, in front of servers as its text has them."""
        blocks = re.findall(r"^## (.+?)$|^```toml\n(.*?)^```", PAGE, re.M | re.S)
        heading, checked = "", []
        for title, block in blocks:
            heading = title or heading
            if "[[listener]]" not in block:
                continue
            checked.append(heading)
            with self.subTest(configuration=heading):
                done = self.check(len(checked), block)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertNotIn("error", done.stderr)
        for wanted in ("Mail from other servers (25)", "Submission (587 and 465)", "IMAPS (993), two domains",
                       "Behind a balancer that ends TLS", "End to end"):
            self.assertIn(wanted, checked)

    def check(self, number, block):
        folder = scratch.folder(f"page-{number}")
        for name in set(re.findall(r"/etc/mailgate/tls/([\w.-]+)\.(?:pem|key)", block)):
            if name == "site-ca":
                (folder / "site-ca.pem").write_text(authority.certificate.read_text())
                continue
            certificate, key = authority.issue(name, file=f"page-{name}")
            (folder / f"{name}.pem").write_text(certificate.read_text())
            (folder / f"{name}.key").write_text(key.read_text())
            (folder / f"{name}.key").chmod(0o640)
        settings = tomllib.loads(block)
        known = {upstream["name"] for upstream in settings.get("upstream", ())}
        missing = {listener["upstream"] for listener in settings["listener"]} - known
        servers = "".join(f'[[upstream]]\nname = "{name}"\n[[upstream.server]]\nname = "one"\naddress = "127.0.0.1:{postfix.proxy_port}"\n'
                          for name in sorted(missing))
        config = folder / "mailgate.toml"
        config.write_text('[store]\nurl = "sqlite:mailgate.db"\n[admin]\nsocket = "mailgate.sock"\n[log]\ntarget = "stderr"\n'
                          + block.replace("/etc/mailgate/tls", str(folder)) + servers)
        return subprocess.run([mailgate.binary(), "check", "--config", config], text=True, capture_output=True, timeout=60,
                              cwd=folder, check=False)
