# SPDX-License-Identifier: Apache-2.0
"""Every neighbour of docs/interop.md as the real program, in front of mailgate and behind it.

The clients in front connect from loopback addresses of their own; those behind are documentation addresses.
"""

import base64
import json
import pathlib
import ssl
import unittest

from harness import backend, mailgate, proxyclient
from harness.dovecot import USERS, Dovecot
from harness.exim import Exim
from harness.haproxy import HAProxy
from harness.hitch import Hitch
from harness.nginx import Nginx
from harness.ports import reserve_port
from harness.postfix import Postfix
from harness.process import Scratch, make_certificate
from harness.stunnel import Stunnel

VECTORS = {vector["id"]: bytes.fromhex(vector["hex"]) for vector in json.loads(
    (pathlib.Path(__file__).parents[1] / "conformance" / "proxy-vectors.json").read_text())}

scratch = None


def setUpModule():
    global scratch
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)


def trusting_balancers(protocol, upstream, **settings):
    """A listener for balancers at 127.0.0.1; the clients have other loopback addresses."""
    return mailgate.listener(protocol, upstream, trusted=["127.0.0.1/32"], **settings)


def tls(client):
    certificate, _ = make_certificate(scratch.path)
    return ssl.create_default_context(cafile=certificate).wrap_socket(client, server_hostname="mx.example.net")


class InFront(unittest.TestCase):
    """A scripted server tells whom mailgate named as the client."""

    @classmethod
    def setUpClass(cls):
        cls.server = scratch.start(backend.Backend(backend.smtp))
        cls.dovecot = scratch.start(Dovecot(scratch, name="strict", cleartext=False))
        cls.gateway = scratch.start(mailgate.Mailgate(
            scratch,
            [trusting_balancers("smtp", "scripted"), trusting_balancers("imap", "strict"),
             trusting_balancers("smtp", "scripted", name="checked-v1"),
             trusting_balancers("smtp", "scripted", name="checked-v2")],
            [mailgate.upstream("scripted", cls.server.port), mailgate.upstream("strict", cls.dovecot.proxy_port["imap"])]))
        cls.port = cls.gateway.port("smtp")
        certificate, key = make_certificate(scratch.path)
        both = scratch.path / "both.pem"
        both.write_text(certificate.read_text() + key.read_text())
        cls.haproxy = HAProxy(scratch)
        cls.balanced = {send: cls.haproxy.frontend(cls.port, send) for send in
                        ("send-proxy", "send-proxy-v2", "send-proxy-v2-ssl")}
        cls.plain_imap = cls.haproxy.frontend(cls.gateway.port("imap"), "send-proxy-v2-ssl")
        cls.imaps = reserve_port()
        cls.haproxy.frontend(cls.gateway.port("imap"), "send-proxy-v2-ssl",
                             options=[f"bind 127.0.0.1:{cls.imaps} ssl crt {both}"])
        for version, send in (("v1", "send-proxy"), ("v2", "send-proxy-v2")):
            checked = cls.gateway.port(f"checked-{version}")
            # With a port of its own, a check has a header only when it is told to.
            cls.haproxy.frontend(checked, send, check=f"check port {checked} check-send-proxy inter 100ms")
        scratch.start(cls.haproxy)

    def assert_true_address(self, port, source, secured=lambda client: client):
        """What the server hears is both ends of the client's connection to the balancer."""
        with proxyclient.connect(port, source=source) as connection, secured(connection) as client:
            self.assertEqual(proxyclient.read_line(client), b"220 fake.example.net ESMTP\r\n")
            told = self.server.connections[-1]
            self.assertEqual((told.source, told.source_port), client.getsockname())
            self.assertEqual((told.destination, told.destination_port), client.getpeername())
            return told

    def imap_login(self, port, source, secured=lambda client: client):
        """(greeting, answer to LOGIN)"""
        with proxyclient.connect(port, source=source) as connection, secured(connection) as client:
            greeting = proxyclient.read_line(client)
            client.sendall(b"a LOGIN alice %s\r\n" % USERS["alice"].encode())
            return greeting, proxyclient.read_until(client, b"^a ")

    def test_haproxy(self):
        for number, (send, port) in enumerate(self.balanced.items(), 11):
            with self.subTest(send=send):
                self.assert_true_address(port, f"127.0.0.{number}")

    def test_haproxy_checks_are_answered_here(self):
        for version in ("v1", "v2"):
            self.gateway.wait_events(3, "session.check", listener=f"checked-{version}")
            self.assertEqual(self.gateway.events("proxy.rejected", listener=f"checked-{version}"), [])
        self.assertNotRegex(self.haproxy._process.text(), "is DOWN")
        self.assertEqual([told for told in self.server.connections if told.source == "127.0.0.1"], [])

    def test_haproxys_word_for_tls_reaches_dovecot(self):
        greeting, answer = self.imap_login(self.plain_imap, "127.0.0.14")
        self.assertIn(b"LOGINDISABLED", greeting)
        self.assertRegex(answer, rb"a NO \[PRIVACYREQUIRED\]")
        greeting, answer = self.imap_login(self.imaps, "127.0.0.15", tls)
        self.assertNotIn(b"LOGINDISABLED", greeting)
        self.assertRegex(answer, rb"a OK ")
        self.dovecot.wait_log(r"user=<alice>, .*rip=127\.0\.0\.15, ")

    def test_nginx_stream(self):
        nginx = Nginx(scratch)
        port = nginx.server(self.port)
        scratch.start(nginx)
        self.assert_true_address(port, "127.0.0.16")

    def test_stunnel(self):
        stunnel = scratch.start(Stunnel(scratch, self.port))
        self.assert_true_address(stunnel.port, "127.0.0.17", tls)

    def test_stunnel_has_no_word_for_tls(self):
        stunnel = scratch.start(Stunnel(scratch, self.gateway.port("imap"), name="stunnel-imaps"))
        self.assertRegex(self.imap_login(stunnel.port, "127.0.0.21", tls)[1], rb"a NO \[PRIVACYREQUIRED\]")

    def test_hitch(self):
        hitch = scratch.start(Hitch(scratch, self.port))
        self.assert_true_address(hitch.port, "127.0.0.18", tls)

    def test_hitchs_word_for_tls_reaches_dovecot(self):
        hitch = scratch.start(Hitch(scratch, self.gateway.port("imap"), name="hitch-imaps"))
        self.assertRegex(self.imap_login(hitch.port, "127.0.0.19", tls)[1], rb"a OK ")

    def test_another_mailgate(self):
        for version in ("v1", "v2"):
            with self.subTest(send_proxy=version):
                inner = mailgate.upstream("inner", self.port, send_proxy=version, check=True, interval="100ms")
                outer = scratch.start(mailgate.Mailgate(
                    scratch, [mailgate.listener("smtp", "inner", proxy="off")], [inner], name=f"outer-{version}"))
                self.assert_true_address(outer.port("smtp"), "127.0.0.20")
                outer.wait_event("session.end", client="127.0.0.20", server="inner1")

    def test_aws_classic_elb(self):
        # The two lines in Amazon's manual, "Configure proxy protocol support for your Classic Load Balancer".
        for line, client in ((b"PROXY TCP4 198.51.100.22 203.0.113.7 35646 80\r\n", "198.51.100.22"),
                             (b"PROXY TCP6 2001:DB8::21f:5bff:febf:ce22:8a2e 2001:DB8::12f:8baa:eafc:ce29:6b2e 35646 80\r\n",
                              "2001:db8:0:21f:5bff:febf:ce22:8a2e")):
            with self.subTest(line=line), proxyclient.connect(self.port, line) as balancer:
                self.assertTrue(proxyclient.read_line(balancer).startswith(b"220 fake"))
                told = self.server.connections[-1]
                self.assertEqual((told.source, told.source_port, told.destination_port), (client, 35646, 80))

    def test_aws_nlb(self):
        with proxyclient.connect(self.port, VECTORS["tlv-aws-vpce"]) as balancer:
            self.assertTrue(proxyclient.read_line(balancer).startswith(b"220 fake"))
            told = self.server.connections[-1]
            self.assertEqual((told.source, told.source_port), ("192.0.2.10", 49152))
            self.assertIn(b"vpce-", told.first_segment, "the TLV is handed on")
        self.assertRegex(self.gateway.wait_event("session.end", client="192.0.2.10")["aws_vpce_id"], "^vpce-")
        known = len(self.server.connections)
        with proxyclient.connect(self.port, VECTORS["v2-local-aws-nlb"]) as check:
            self.assertTrue(proxyclient.read_line(check).startswith(b"220 gw.example.net "))
        self.assertEqual(len(self.server.connections), known)


class SubmittingDovecot(Dovecot):
    """A Dovecot that takes submissions too, and hands them to a Postfix."""

    def __init__(self, scratch, relay_port, name="dovecot"):
        super().__init__(scratch, name=name)
        self._relay_port = relay_port
        self.proxy_port["submission"] = reserve_port()
        self.plain_port["submission"] = reserve_port()

    def _configuration(self, passwd):
        return super()._configuration(passwd) + f"""protocols = imap pop3 lmtp sieve submission
hostname = mx.example.net
submission_relay_host = 127.0.0.1
submission_relay_port = {self._relay_port}
""" + self._listeners("submission", ("submission",))


MESSAGE = b"From: <a@partner.example>\r\nTo: <bob@example.net>\r\nSubject: interop\r\n\r\nbody\r\n"


def smtp_session(port, header):
    with proxyclient.SMTP(port, header) as session:
        session.sendmail("a@partner.example", ["bob@example.net"], MESSAGE)


def submission_session(port, header):
    with proxyclient.SMTP(port, header) as session:
        session.login("alice", USERS["alice"])
        session.sendmail("alice@example.net", ["bob@example.net"], MESSAGE)


def lmtp_session(port, header):
    with proxyclient.LMTP(port, header) as session:
        session.sendmail("a@partner.example", ["bob@example.net"], MESSAGE)


def imap_session(port, header):
    session = proxyclient.IMAP(port, header)
    session.login("alice", USERS["alice"])
    session.logout()


def pop3_session(port, header):
    session = proxyclient.POP3(port, header)
    session.user("alice")
    session.pass_(USERS["alice"])
    session.quit()


def sieve_session(port, header):
    with proxyclient.connect(port, header) as session:
        proxyclient.read_until(session, rb"^OK")
        response = base64.b64encode(f"\0alice\0{USERS['alice']}".encode())
        session.sendall(b'AUTHENTICATE "PLAIN" "%s"\r\nLOGOUT\r\n' % response)
        assert b"OK" in proxyclient.read_until(session, rb"^(OK|NO)")


class Behind(unittest.TestCase):
    """Each server's own log names the client, with both versions of the header."""

    @classmethod
    def setUpClass(cls):
        cls.postfix = scratch.start(Postfix(scratch))
        cls.dovecot = scratch.start(SubmittingDovecot(scratch, cls.postfix.plain_port))
        cls.exim = scratch.start(Exim(scratch))
        cls.inner = scratch.start(mailgate.Mailgate(
            scratch, [trusting_balancers("smtp", "mx")], [mailgate.upstream("mx", cls.postfix.proxy_port)], name="inner"))
        cls.haproxy = HAProxy(scratch, name="haproxy-behind")
        haproxy_port = cls.haproxy.frontend(cls.postfix.plain_port, send="", accept_proxy=True, options=[
            "log stdout format raw local0", 'log-format "%ci:%cp"'])
        scratch.start(cls.haproxy)
        cls.kinds = {  # the listener's protocol and the server's port
            "smtpd": ("smtp", cls.postfix.proxy_port), "postscreen": ("smtp", cls.postfix.postscreen_port),
            "submission": ("smtp", cls.dovecot.proxy_port["submission"]), "exim": ("smtp", cls.exim.proxy_port),
            "mailgate": ("smtp", cls.inner.port("smtp")), "haproxy": ("smtp", haproxy_port),
            **{service: (service, cls.dovecot.proxy_port[service]) for service in ("imap", "pop3", "lmtp", "sieve")}}
        names = [(kind, version) for kind in cls.kinds for version in ("v1", "v2")]
        cls.gateway = scratch.start(mailgate.Mailgate(
            scratch,
            [trusting_balancers(cls.kinds[kind][0], f"{kind}-{version}", name=f"{kind}-{version}") for kind, version in names],
            [mailgate.upstream(f"{kind}-{version}", cls.kinds[kind][1], send_proxy=version,
                               max_header=232 if kind == "exim" else 536) for kind, version in names],
            name="gateway-behind"))
        cls.clients = iter(range(31, 255))

    def sessions(self, kind, session):
        """Runs the session with each version of the header: pairs of the client's address, as a pattern, and port."""
        for version in ("v1", "v2"):
            number = next(self.clients)
            client, port = f"198.51.100.{number}", 5000 + number
            session(self.gateway.port(f"{kind}-{version}"), proxyclient.header_v2(client, port))
            yield client.replace(".", r"\."), port

    def test_postfix_smtpd(self):
        for client, port in self.sessions("smtpd", smtp_session):
            self.postfix.wait_log(rf"postfix/smtpd\[\d+\]: connect from unknown\[{client}\]:{port}")

    def test_postscreen(self):
        for client, port in self.sessions("postscreen", smtp_session):
            self.postfix.wait_log(rf"postfix/postscreen\[\d+\]: CONNECT from \[{client}\]:{port}")
            self.postfix.wait_log(rf"postfix/smtpd\[\d+\]: connect from unknown\[{client}\]:{port}")

    def test_dovecot_imap(self):
        for client, port in self.sessions("imap", imap_session):
            self.dovecot.wait_log(rf"imap-login: .*user=<alice>, .*rip={client}, rport={port},")

    def test_dovecot_pop3(self):
        for client, port in self.sessions("pop3", pop3_session):
            self.dovecot.wait_log(rf"pop3-login: .*user=<alice>, .*rip={client}, rport={port},")

    def test_dovecot_lmtp(self):
        for client, _ in self.sessions("lmtp", lmtp_session):
            self.dovecot.wait_log(rf"lmtp\(\d+\): .*Connect from {client}\b")

    def test_dovecot_submission(self):
        for client, port in self.sessions("submission", submission_session):
            self.dovecot.wait_log(rf"submission-login: .*user=<alice>, .*rip={client}, rport={port},")

    def test_dovecot_managesieve(self):
        for client, port in self.sessions("sieve", sieve_session):
            self.dovecot.wait_log(rf"managesieve-login: .*user=<alice>, .*rip={client}, rport={port},")

    def test_exim(self):
        for client, port in self.sessions("exim", smtp_session):
            self.exim.wait_log(rf"<= a@partner\.example .*\[{client}\]:{port} .*PRX=127\.0\.0\.1")

    def test_exim_is_spared_what_it_cannot_take(self):
        long = b"\xe0\x01\x00" + bytes(256)
        smtp_session(self.gateway.port("exim-v2"), proxyclient.header_v2("198.51.100.30", 5030, tlvs=long))
        self.exim.wait_log(r"<= a@partner\.example .*\[198\.51\.100\.30\]:5030 ")

    def test_another_mailgate(self):
        for client, port in self.sessions("mailgate", smtp_session):
            self.inner.wait_event("session.end", client=client.replace("\\", ""), client_port=port, balancer="127.0.0.1")
            self.postfix.wait_log(rf"connect from unknown\[{client}\]:{port}")

    def test_haproxy(self):
        for client, port in self.sessions("haproxy", smtp_session):
            self.haproxy._process.wait_ready(lambda: f"{client}:{port}".replace("\\", "") in self.haproxy._process.text(),
                                             "the client in its log")

    def test_a_chain_of_three_keeps_the_client(self):
        balancer = HAProxy(scratch, name="chain")
        port = balancer.frontend(self.gateway.port("mailgate-v2"), "send-proxy-v2")
        scratch.start(balancer)
        with proxyclient.SMTP(port, source="127.0.0.31") as session:
            source, source_port = session.sock.getsockname()
            session.sendmail("chain@partner.example", ["bob@example.net"], MESSAGE)
        lines = [hop.wait_event("session.end", client=source, client_port=source_port) for hop in (self.gateway, self.inner)]
        replies = {line["mail"][0]["reply"] for line in lines}
        self.assertEqual(len(replies), 1)
        queue_id = replies.pop().split()[-1]
        self.postfix.wait_log(rf"smtpd\[\d+\]: {queue_id}: client=unknown\[127\.0\.0\.31\]:{source_port}")


if __name__ == "__main__":
    unittest.main()
