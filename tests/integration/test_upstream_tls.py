# SPDX-License-Identifier: Apache-2.0
"""TLS between mailgate and its servers, behind the PROXY header in the clear: real servers, and scripted bad ones."""

import json
import re
import socket
import ssl
import subprocess
import time
import unittest

from harness import mailgate, proxyclient
from harness.authority import Authority
from harness.backend import Backend
from harness.dovecot import USERS, Dovecot, listen_setting, version
from harness.ports import reserve_port
from harness.postfix import Postfix
from harness.process import Scratch, wait_until

NAME = "mx.example.net"
CLIENT = "198.51.100.7"
HEADER = proxyclient.header_v2(CLIENT)
scratch = authority = others = right = folder = postfix = dovecot = None


class SecurePostfix(Postfix):
    """`wrapped_port`: TLS from the first byte behind the header; `encrypt_port`: no mail without STARTTLS; `auth_only_port`:
    no password without, which `sasl` knows."""

    def __init__(self, scratch_folder, files, sasl):
        certificate, key = files
        self._sasl = sasl
        self.wrapped_port, self.encrypt_port, self.auth_only_port = (reserve_port() for _ in range(3))
        super().__init__(scratch_folder, settings={"smtpd_tls_chain_files": f"{key}, {certificate}", "smtpd_tls_loglevel": "1"})
        self._ports = (*self._ports, self.wrapped_port, self.encrypt_port, self.auth_only_port)

    def _master(self):
        secure = "smtpd -o smtpd_upstream_proxy_protocol=haproxy"
        return super()._master() + (
            f"127.0.0.1:{self.wrapped_port} inet n - n - - {secure} -o smtpd_tls_wrappermode=yes\n"
            f"127.0.0.1:{self.encrypt_port} inet n - n - - {secure} -o smtpd_tls_security_level=encrypt\n"
            f"127.0.0.1:{self.auth_only_port} inet n - n - - {secure} -o smtpd_tls_auth_only=yes -o smtpd_sasl_auth_enable=yes"
            f" -o smtpd_sasl_type=dovecot -o smtpd_sasl_path={self._sasl}"
            " -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n")


class SecureDovecot(Dovecot):
    """With `wrapped_port[service]`; passwords over TLS alone, those for Postfix over `sasl`."""

    def __init__(self, scratch_folder, files):
        certificate, key = files
        self.wrapped_port = {service: reserve_port() for service in ("imap", "pop3")}
        names = ("ssl_cert", "ssl_key") if version() < (2, 4) else ("ssl_server_cert_file", "ssl_server_key_file")
        prefix = "<" if version() < (2, 4) else ""
        settings = "".join(f"{name} = {prefix}{path}\n" for name, path in zip(names, (certificate, key)))
        settings += "".join(f"""service {service}-login {{
  inet_listener {service}_wrapped {{
    {listen_setting()} = 127.0.0.1
    port = {port}
    haproxy = yes
    ssl = yes
  }}
}}
""" for service, port in self.wrapped_port.items())
        super().__init__(scratch_folder, cleartext=False, settings=settings)
        self._ports = (*self._ports, *self.wrapped_port.values())
        self.sasl = self.folder / "sasl"

    def _configuration(self, passwd):
        return super()._configuration(passwd) + "ssl = required\n" + (
            f"service auth {{\n  unix_listener {self.sasl} {{\n    mode = 0666\n  }}\n}}\n")


def setUpModule():
    global scratch, authority, others, right, folder, postfix, dovecot
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    folder = scratch.folder("certificates")
    authority, others = Authority(folder), Authority(folder, "others")
    right = authority.issue(NAME)
    dovecot = scratch.start(SecureDovecot(scratch, right))
    postfix = scratch.start(SecurePostfix(scratch, right, dovecot.sasl))


def trusting(**settings):
    """Settings of an upstream whose servers speak TLS."""
    return {"tls": "implicit", "ca": str(authority.certificate), "server_name": NAME, **settings}


def serve(protocol, port, name, timeouts=None, listener=None, **settings):
    """A running gateway with one listener."""
    return scratch.start(mailgate.Mailgate(
        scratch, [mailgate.listener(protocol, "servers", name=protocol, **(listener or {}))],
        [mailgate.upstream("servers", port, **trusting(**settings))], name=name, timeouts=timeouts,
        admin={"socket": "mailgate.sock", "http": f"127.0.0.1:{reserve_port()}"}))


def server_context(files, **options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    if "client_ca" in options:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(options["client_ca"])
    return context


def take_header(sock):
    """Reads the PROXY header, of a client or LOCAL, and not a byte more."""
    fixed = sock.recv(16, socket.MSG_WAITALL)
    if not fixed.startswith(proxyclient.V2_SIGNATURE):
        raise ConnectionError("no header in the clear")
    length = int.from_bytes(fixed[14:], "big")
    return fixed + (sock.recv(length, socket.MSG_WAITALL) if length else b"")


def speaks(behaviour):
    """A server in the clear that takes the header first."""
    def serve_one(connection):
        take_header(connection.socket)
        behaviour(connection.socket)
    return scratch.start(Backend(serve_one, reads_header=False))


class TlsBackend(Backend):
    """Takes the header in the clear, shakes hands, and runs `behaviour(wrapped socket)`. `handshakes` has what became of
    them: whether the session was resumed, or the error."""

    def __init__(self, behaviour, context):
        super().__init__(self._shake_hands, reads_header=False)
        self._then, self._context, self.handshakes = behaviour, context, []

    def _shake_hands(self, connection):
        take_header(connection.socket)
        try:
            wrapped = self._context.wrap_socket(connection.socket, server_side=True)
        except OSError as error:
            self.handshakes.append(str(error))
            raise
        self.handshakes.append(wrapped.session_reused)
        with wrapped:
            self._then(wrapped)


def smtp_in_tls(wrapped):
    """Greets, agrees to everything until QUIT, and says the end as TLS has it."""
    wrapped.sendall(b"220 fake.example.net ESMTP\r\n")
    while line := proxyclient.read_line(wrapped):
        if line.strip().upper() == b"QUIT":
            wrapped.sendall(b"221 2.0.0 Bye\r\n")
            break
        wrapped.sendall(b"250 2.0.0 Ok\r\n")
    wrapped.unwrap()


class RealServers(unittest.TestCase):
    def test_mail_through_a_postfix_that_speaks_tls_from_the_first_byte(self):
        gateway = serve("smtp", postfix.wrapped_port, "postfix-wrapped", check=True, interval="200ms")
        with proxyclient.SMTP(gateway.port("smtp"), HEADER) as client:
            client.sendmail("sender@example.com", ["carol@example.net"], "Subject: through\r\n\r\nbody\r\n")
        message = postfix.wait_messages("carol", 1)[-1]
        self.assertIn(b"with ESMTPS", message)
        self.assertIn(CLIENT.encode(), message)
        postfix.wait_log(rf"TLS connection established from .*\[{re.escape(CLIENT)}\]")
        line = gateway.wait_event("session.end", client=CLIENT)
        self.assertEqual((line["end"], line["mail"][0]["from"]), ("client_quit", "sender@example.com"))
        self.assertEqual(gateway.events("server.down"), [])
        [server] = json.loads(gateway.run("status", "--json").stdout)["servers"]
        self.assertIs(server["healthy"], True)
        self.assertGreater(server["certificate_not_after"], time.strftime("%Y-%m-%d", time.gmtime(time.time() + 20 * 86400)))

    def test_a_large_message_both_ways_and_a_password_that_needs_tls(self):
        gateway = serve("imap", dovecot.wrapped_port["imap"], "dovecot-wrapped", check=True, interval="200ms")
        body = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 4 * 1024 * 128
        with proxyclient.IMAP(gateway.port("imap"), HEADER) as client:
            client.login("bob", USERS["bob"])
            self.assertEqual(client.append("INBOX", None, None, body)[0], "OK")
            client.select()
            self.assertEqual(client.fetch("1", "(BODY.PEEK[])")[1][0][1], body)
        line = gateway.wait_event("session.end", client=CLIENT, user="bob")
        self.assertGreater(min(line["bytes_in"], line["bytes_out"]), len(body))
        self.assertNotEqual(line["end"], "server_lost")
        dovecot.wait_log(rf"Log(in|ged in): user=<bob>, .*rip={re.escape(CLIENT)}.*TLS")

    def test_a_client_in_tls_of_its_own(self):
        for tls, port in (("implicit", dovecot.wrapped_port["pop3"]), ("starttls", dovecot.proxy_port["pop3"])):
            with self.subTest(tls=tls):
                gateway = serve("pop3", port, f"both-legs-{tls}", tls=tls, listener={
                    "tls": "implicit", "certificates": [{"certificate": str(right[0]), "key": str(right[1])}]})
                raw = proxyclient.connect(gateway.port("pop3"), HEADER)
                context = ssl.create_default_context(cafile=str(authority.certificate))
                with context.wrap_socket(raw, server_hostname=NAME) as client:
                    self.assertTrue(proxyclient.read_line(client).startswith(b"+OK"))
                    client.sendall(f"USER alice\r\nPASS {USERS['alice']}\r\nQUIT\r\n".encode())
                    self.assertRegex(proxyclient.read_to_end(client), rb"(?s)\+OK.*\+OK.*\+OK")
                self.assertEqual(gateway.wait_event("session.end", client=CLIENT)["tls"]["version"], "TLSv1.3")

    def test_tls_within_tls_is_refused(self):
        gateway = mailgate.Mailgate(scratch, [mailgate.listener("imap", "servers", tls="passthrough")],
                                    [mailgate.upstream("servers", 10143, **trusting())], name="twice")
        gateway.write_config()
        done = gateway.run("check")
        self.assertEqual(done.returncode, 78)
        self.assertIn("inside of the gateway's own", done.stderr)


class BothByStartTls(unittest.TestCase):
    """STARTTLS ends at the gateway, which speaks TLS with the servers."""

    @staticmethod
    def serve(protocol, port, name, tls="starttls"):
        return serve(protocol, port, f"both-{name}", tls=tls, check=True, interval="200ms", listener={
            "tls": "starttls", "certificates": [{"certificate": str(right[0]), "key": str(right[1])}]})

    def ended(self, gateway, **facts):
        line = gateway.wait_event("session.end", client=CLIENT)
        self.assertEqual((line["tls"]["mode"], line["tls"]["version"]), ("starttls", "TLSv1.3"))
        self.assertEqual({name: line[name] for name in facts}, facts)
        self.assertEqual(gateway.events("server.down"), [])
        return line

    def test_mail_by_starttls_on_both_sides(self):
        gateway = self.serve("smtp", postfix.encrypt_port, "smtp")
        with proxyclient.SMTP(gateway.port("smtp"), HEADER) as client:
            client.ehlo()
            self.assertTrue(client.has_extn("starttls"), "the gateway's own")
            self.assertEqual(client.docmd("MAIL FROM:<sender@example.com>")[0], 530)
            client._host = NAME
            client.starttls(context=ssl.create_default_context(cafile=str(authority.certificate)))
            client.ehlo()
            self.assertFalse(client.has_extn("starttls"))
            client.sendmail("sender@example.com", ["bob@example.net"], "Subject: both sides\r\n\r\nbody\r\n")
        message = postfix.wait_messages("bob", 1)[-1]
        self.assertIn(b"with ESMTPS", message)
        self.assertIn(CLIENT.encode(), message)
        line = self.ended(gateway, end="client_quit", helo="client.example.org")
        self.assertEqual([(mail["from"], mail["reply"][:3]) for mail in line["mail"]],
                         [("sender@example.com", "530"), ("sender@example.com", "250")])

    def test_passwords_by_starttls_on_both_sides(self):
        context = ssl.create_default_context(cafile=str(authority.certificate))
        for protocol in ("imap", "pop3"):
            for tls, port in (("starttls", dovecot.proxy_port[protocol]), ("implicit", dovecot.wrapped_port[protocol])):
                with self.subTest(protocol=protocol, servers=tls):
                    gateway = self.serve(protocol, port, f"{protocol}-{tls}", tls)
                    if protocol == "imap":
                        client = proxyclient.IMAP(gateway.port("imap"), HEADER)
                        self.assertIn("STARTTLS", client.capabilities)
                        self.assertIn("LOGINDISABLED", client.capabilities)
                        client.host = NAME
                        client.starttls(context)
                        self.assertNotIn("STARTTLS", client.capabilities)
                        client.login("alice", USERS["alice"])
                        client.logout()
                    else:
                        client = proxyclient.POP3(gateway.port("pop3"), HEADER)
                        self.assertIn("STLS", client.capa())
                        client.host = NAME
                        client.stls(context)
                        self.assertNotIn("STLS", client.capa())
                        client.user("alice")
                        client.pass_(USERS["alice"])
                        client.quit()
                    self.ended(gateway, user="alice", authenticated=True)

    def test_managesieve_by_starttls_on_both_sides(self):
        gateway = self.serve("sieve", dovecot.proxy_port["sieve"], "sieve")
        clear = proxyclient.connect(gateway.port("sieve"), HEADER)
        self.assertIn(b'"STARTTLS"', proxyclient.read_until(clear, rb"^OK"))
        clear.sendall(b"STARTTLS\r\n")
        self.assertRegex(proxyclient.read_line(clear), rb"^OK")
        context = ssl.create_default_context(cafile=str(authority.certificate))
        with context.wrap_socket(clear, server_hostname=NAME) as client:
            listed = proxyclient.read_until(client, rb"^OK")
            self.assertNotIn(b"STARTTLS", listed)
            self.assertIn(b"PLAIN", listed)
            client.sendall(b'NOOP\r\nLOGOUT\r\n')
            self.assertRegex(proxyclient.read_to_end(client), rb"(?s)^OK.*OK")
        self.ended(gateway)


class StartTls(unittest.TestCase):
    def test_mail_through_a_postfix_that_insists(self):
        gateway = serve("smtp", postfix.encrypt_port, "encrypt", tls="starttls", check=True, interval="200ms")
        with proxyclient.SMTP(gateway.port("smtp"), HEADER) as client:
            self.assertIn(b"mx.example.net", client.ehlo()[1])
            self.assertFalse(client.has_extn("starttls"), "the server has TLS already")
            client.sendmail("sender@example.com", ["dave@example.net"], "Subject: insisted\r\n\r\nbody\r\n")
        wait_until(lambda: any(b"with ESMTPS" in message and b"Subject: insisted" in message
                               for message in postfix.messages("dave")), "the message")
        self.assertEqual(gateway.wait_event("session.end", client=CLIENT)["helo"], "client.example.org")
        self.assertEqual(gateway.events("server.down"), [])

    def test_passwords_that_a_dovecot_takes_in_tls_alone(self):
        for protocol, client_class in (("imap", proxyclient.IMAP), ("pop3", proxyclient.POP3)):
            with self.subTest(protocol=protocol):
                gateway = serve(protocol, dovecot.proxy_port[protocol], f"starttls-{protocol}", tls="starttls", check=True,
                                interval="200ms")
                client = client_class(gateway.port(protocol), HEADER)
                if protocol == "imap":
                    self.assertNotIn(b"CAPABILITY", client.welcome)
                    self.assertNotIn("LOGINDISABLED", client.capabilities)
                    client.login("alice", USERS["alice"])
                    client.logout()
                else:
                    client.user("alice")
                    client.pass_(USERS["alice"])
                    client.quit()
                self.assertEqual(gateway.wait_event("session.end", client=CLIENT)["user"], "alice")
                self.assertEqual(gateway.events("server.down"), [])

    def test_managesieve_and_lmtp(self):
        gateway = serve("sieve", dovecot.proxy_port["sieve"], "starttls-sieve", tls="starttls", check=True, interval="200ms")
        with proxyclient.connect(gateway.port("sieve"), HEADER) as client:
            listed = proxyclient.read_until(client, rb"^OK")
            self.assertNotIn(b"STARTTLS", listed)
            self.assertIn(b"PLAIN", listed)
        gateway = serve("lmtp", dovecot.proxy_port["lmtp"], "starttls-lmtp", tls="starttls", check=True, interval="200ms")
        with proxyclient.LMTP(gateway.port("lmtp"), HEADER) as client:
            client.sendmail("sender@example.com", ["bob"], "Subject: delivered\r\n\r\nbody\r\n")
        self.assertEqual(gateway.events("server.down"), [])

    def fails(self, behaviour, name, reason, **settings):
        server = speaks(behaviour)
        gateway = serve("smtp", server.port, name, tls="starttls", check=True, interval="200ms", **settings)
        self.assertEqual(gateway.wait_event("server.down")["reason"], reason)
        with proxyclient.connect(gateway.port("smtp"), HEADER) as client:
            self.assertRegex(proxyclient.read_to_end(client), rb"^421 ")

    @staticmethod
    def until_starttls(sock, answer):
        sock.sendall(b"220 mx.example.net ESMTP\r\n")
        proxyclient.read_line(sock)
        sock.sendall(b"250-mx.example.net\r\n250 STARTTLS\r\n")
        proxyclient.read_line(sock)
        sock.sendall(answer)
        proxyclient.read_to_end(sock)

    def test_a_server_that_refuses(self):
        self.fails(lambda sock: self.until_starttls(sock, b"454 4.7.0 TLS not available\r\n"), "unavailable",
                   "does not start TLS: answered STARTTLS with: 454 4.7.0 TLS not available")

    def test_a_server_that_says_something_behind_its_consent(self):
        self.fails(lambda sock: self.until_starttls(sock, b"220 go ahead\r\n250 mx.example.net\r\n"), "injection",
                   "does not start TLS: sends something in the clear behind its consent to TLS")

    def test_a_server_that_never_shakes_hands(self):
        self.fails(lambda sock: self.until_starttls(sock, b"220 go ahead\r\n"), "no-handshake",
                   "no TLS handshake in time", check_timeout="300ms", timeouts={"connect": "300ms"})

    def test_a_greeting_that_refuses_the_client_reaches_it(self):
        heard = []

        def refuses(sock):
            sock.sendall(b"554 5.7.1 no service for you\r\n")
            heard.append(proxyclient.read_to_end(sock))
        gateway = serve("smtp", speaks(refuses).port, "not-welcome", tls="starttls")
        with proxyclient.connect(gateway.port("smtp"), HEADER) as client:
            client.sendall(b"EHLO client.example.org\r\nAUTH PLAIN AGEAYg==\r\n")
            self.assertTrue(proxyclient.read_to_end(client).startswith(b"554 5.7.1 no service for you"))
        self.assertEqual(wait_until(lambda: heard, "the server's end"), [b""])


class Mirror(unittest.TestCase):
    """The client's STARTTLS goes to the server, and is answered once the server has TLS."""

    @staticmethod
    def serve(protocol, port, name, listener=None, **settings):
        own = {"tls": "starttls", "certificates": [{"certificate": str(right[0]), "key": str(right[1])}], **(listener or {})}
        if own["tls"] == "off":
            del own["certificates"]
        return serve(protocol, port, f"mirror-{name}", listener=own,
                     **{"tls": "mirror", "check": True, "interval": "200ms", **settings})

    def ended(self, gateway, client=CLIENT, mode="starttls", **facts):
        """The session's line: TLS on both sides, the server's verified."""
        line = gateway.wait_event("session.end", client=client)
        self.assertEqual((line["tls"]["mode"], line["server_tls"]["mode"], line["server_tls"]["version"]), (mode, "starttls", "TLSv1.3"))
        self.assertTrue(line["server_tls"]["verified"])
        self.assertNotIn("error", line["server_tls"])
        self.assertEqual({name: line[name] for name in facts}, facts)
        self.assertEqual(gateway.events("server.down"), [])
        return line

    @staticmethod
    def secure(sock):
        return ssl.create_default_context(cafile=str(authority.certificate)).wrap_socket(sock, server_hostname=NAME)

    def starttls(self, client):
        """Of smtplib."""
        client._host = NAME
        self.assertEqual(client.starttls(context=ssl.create_default_context(cafile=str(authority.certificate)))[0], 220)

    def test_mail_for_a_postfix_that_insists(self):
        client_address = "198.51.100.31"
        gateway = self.serve("smtp", postfix.encrypt_port, "encrypt", {"tls_required": False})
        with proxyclient.SMTP(gateway.port("smtp"), proxyclient.header_v2(client_address)) as client:
            self.assertIn(b"mx.example.net", client.ehlo()[1])
            self.assertTrue(client.has_extn("starttls"))
            self.assertEqual(client.docmd("MAIL FROM:<sender@example.com>"), (530, b"5.7.0 Must issue a STARTTLS command first"))
            self.starttls(client)
            client.ehlo()
            self.assertFalse(client.has_extn("starttls"))
            client.sendmail("sender@example.com", ["alice@example.net"], "Subject: mirrored\r\n\r\nbody\r\n")
        message = postfix.wait_messages("alice", 1)[-1]
        self.assertIn(b"with ESMTPS", message)
        postfix.wait_log(rf"TLS connection established from .*\[{re.escape(client_address)}\]")
        postfix.wait_log(rf"disconnect from .*\[{re.escape(client_address)}\]")
        self.assertEqual(len(re.findall(rf" connect from .*\[{re.escape(client_address)}\]", postfix.log())), 1, "one connection")
        line = self.ended(gateway, client_address, end="client_quit", helo="client.example.org")
        self.assertEqual([(mail["from"], mail["reply"][:3]) for mail in line["mail"]],
                         [("sender@example.com", "530"), ("sender@example.com", "250")])
        found = wait_until(lambda: gateway.run("sessions", "--client", client_address, "--json").stdout, "the journal has it")
        self.assertEqual(json.loads(found)["server_tls"], line["server_tls"])
        self.assertRegex(gateway.run("sessions", "show", line["session"]).stdout, r"server tls +starttls, TLSv1\.3 \S+, .*verified")

    def test_a_password_for_a_postfix_that_takes_it_in_tls_alone(self):
        gateway = self.serve("smtp", postfix.auth_only_port, "auth-only", {"tls_required": False})
        with proxyclient.SMTP(gateway.port("smtp"), HEADER) as client:
            client.ehlo()
            self.assertFalse(client.has_extn("auth"), "the server itself does not offer it")
            self.starttls(client)
            client.ehlo()
            self.assertTrue(client.has_extn("auth"))
            self.assertEqual(client.login("bob", USERS["bob"])[0], 235)
            client.sendmail("bob@example.net", ["carol@example.net"], "Subject: submitted\r\n\r\nbody\r\n")
        wait_until(lambda: any(b"with ESMTPSA" in message for message in postfix.messages("carol")), "the message")
        self.ended(gateway, user="bob", authenticated=True)

    def test_a_client_without_tls_reaches_the_server_without(self):
        gateway = self.serve("smtp", postfix.proxy_port, "clear", {"tls_required": False})
        with proxyclient.SMTP(gateway.port("smtp"), HEADER) as client:
            client.sendmail("clear@example.com", ["dave@example.net"], "Subject: clear\r\n\r\nbody\r\n")
        wait_until(lambda: any(b"with ESMTP id" in message for message in postfix.messages("dave")), "the message")
        line = gateway.wait_event("session.end", client=CLIENT)
        self.assertIsNone(line["tls"])
        self.assertNotIn("server_tls", line)
        self.assertEqual(gateway.events("server.down"), [], "the checks speak TLS")

    def test_swaks_submits(self):
        gateway = self.serve("smtp", postfix.auth_only_port, "swaks")
        done = subprocess.run(
            ["swaks", "--server", "127.0.0.1", "--port", str(gateway.port("smtp")), "--proxy-version", "1", "--proxy-family", "TCP4",
             "--proxy-source", CLIENT, "--proxy-source-port", "40000", "--proxy-dest", "203.0.113.10", "--proxy-dest-port", "25",
             "--tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", USERS["alice"], "--from", "alice@example.net",
             "--to", "bob@example.net"], text=True, capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.ended(gateway, user="alice", authenticated=True, end="client_quit")

    def test_imap_and_pop3_for_a_dovecot_that_requires_tls(self):
        context = ssl.create_default_context(cafile=str(authority.certificate))
        gateway = self.serve("imap", dovecot.proxy_port["imap"], "imap")
        client = proxyclient.IMAP(gateway.port("imap"), HEADER)
        self.assertIn("STARTTLS", client.capabilities)
        self.assertIn("LOGINDISABLED", client.capabilities)
        client.host = NAME
        client.starttls(context)
        self.assertNotIn("STARTTLS", client.capabilities)
        self.assertNotIn("LOGINDISABLED", client.capabilities)
        client.login("alice", USERS["alice"])
        client.logout()
        line = self.ended(gateway, user="alice", authenticated=True)
        dovecot.wait_log(rf"Log(in|ged in): user=<alice>, .*rip={re.escape(CLIENT)}.*TLS")
        gateway = self.serve("pop3", dovecot.proxy_port["pop3"], "pop3")
        client = proxyclient.POP3(gateway.port("pop3"), HEADER)
        self.assertIn("STLS", client.capa())
        client.host = NAME
        client.stls(context)
        self.assertNotIn("STLS", client.capa())
        client.user("bob")
        client.pass_(USERS["bob"])
        client.quit()
        self.ended(gateway, user="bob", authenticated=True)
        self.assertFalse(line["server_tls"]["resumed"])

    def test_managesieve_whose_capabilities_come_anew(self):
        gateway = self.serve("sieve", dovecot.proxy_port["sieve"], "sieve")
        clear = proxyclient.connect(gateway.port("sieve"), HEADER)
        before = proxyclient.read_until(clear, rb"^OK")
        self.assertIn(b'"STARTTLS"', before)
        self.assertNotIn(b"PLAIN", before)
        clear.sendall(b"STARTTLS\r\n")
        self.assertRegex(proxyclient.read_line(clear), rb"^OK")
        with self.secure(clear) as client:
            listed = proxyclient.read_until(client, rb"^OK")
            self.assertNotIn(b"STARTTLS", listed)
            self.assertIn(b"PLAIN", listed)
            client.sendall(b"NOOP\r\nLOGOUT\r\n")
            self.assertRegex(proxyclient.read_to_end(client), rb"(?s)^OK.*OK")
        self.ended(gateway, end="client_quit")

    def test_lmtp(self):
        gateway = self.serve("lmtp", dovecot.proxy_port["lmtp"], "lmtp")
        with proxyclient.LMTP(gateway.port("lmtp"), HEADER) as client:
            client.ehlo()
            self.starttls(client)
            client.sendmail("sender@example.com", ["alice"], "Subject: delivered\r\n\r\nbody\r\n")
        line = self.ended(gateway)
        self.assertEqual(line["mail"][0]["recipients"], ["alice"])

    def test_clients_whose_tls_has_begun_already(self):
        gateway = self.serve("pop3", dovecot.proxy_port["pop3"], "implicit", {"tls": "implicit"})
        with self.secure(proxyclient.connect(gateway.port("pop3"), HEADER)) as client:
            self.assertTrue(proxyclient.read_line(client).startswith(b"+OK"))
            client.sendall(f"USER alice\r\nPASS {USERS['alice']}\r\nQUIT\r\n".encode())
            self.assertRegex(proxyclient.read_to_end(client), rb"(?s)\+OK.*\+OK.*\+OK")
        self.ended(gateway, mode="implicit", user="alice")
        for tls in ("off", "starttls"):
            with self.subTest(listener=tls):
                gateway = self.serve("smtp", postfix.encrypt_port, f"balancer-{tls}", {
                    "tls": tls, "trusted": [{"network": "127.0.0.1", "tls": True}]})
                with proxyclient.SMTP(gateway.port("smtp"), HEADER) as client:
                    client.ehlo()
                    self.assertFalse(client.has_extn("starttls"))
                    client.sendmail("sender@example.com", ["dave@example.net"], "Subject: balanced\r\n\r\nbody\r\n")
                self.ended(gateway, mode="balancer")

    def test_a_server_that_cannot_be_trusted(self):
        answers = {"smtp": (b"STARTTLS", rb"(?s)^454 4\.7\.0 .*\r\n421 4\.", postfix.encrypt_port),
                   "imap": (b"s STARTTLS", rb"(?s)^s NO \[UNAVAILABLE\] .*\r\n\* BYE ", dovecot.proxy_port["imap"]),
                   "pop3": (b"STLS", rb"^-ERR \[SYS/TEMP\] ", dovecot.proxy_port["pop3"]),
                   "sieve": (b"STARTTLS", rb"(?s)^NO \(TRYLATER\) .*\r\nBYE ", dovecot.proxy_port["sieve"])}
        greetings = {"smtp": rb"^220 ", "imap": rb"^\* OK", "pop3": rb"^\+OK", "sieve": rb"^OK"}
        for protocol, (command, answer, port) in answers.items():
            with self.subTest(protocol=protocol):
                gateway = self.serve(protocol, port, f"wrong-{protocol}", check=False, server_name="other.example.net")
                with proxyclient.connect(gateway.port(protocol), HEADER) as client:
                    proxyclient.read_until(client, greetings[protocol])
                    if protocol == "smtp":
                        client.sendall(b"EHLO client.example.org\r\n")
                        proxyclient.read_until(client, rb"^250 ")
                    client.sendall(command + b"\r\n")
                    self.assertRegex(proxyclient.read_to_end(client), answer)
                line = gateway.wait_event("session.end", client=CLIENT)
                self.assertEqual((line["end"], line["tls"]), ("server_lost", None))
                self.assertEqual(line["server_tls"], {"mode": "starttls", "error": "wrong_name"})

    def greeted(self, name, behaviour, **settings):
        """(gateway, client): whose EHLO a scripted server has answered."""
        gateway = self.serve("smtp", speaks(behaviour).port, name, check=False, **settings)
        client = proxyclient.connect(gateway.port("smtp"), HEADER)
        self.addCleanup(client.close)
        proxyclient.read_line(client)
        client.sendall(b"EHLO client.example.org\r\n")
        proxyclient.read_until(client, rb"^250 ")
        return gateway, client

    def scripted(self, name, answer, **settings):
        """Up to the client's STARTTLS, which a scripted server answers; all that the server got behind it."""
        heard = []

        def behaviour(sock):
            sock.sendall(b"220 mx.example.net ESMTP\r\n")
            proxyclient.read_line(sock)
            sock.sendall(b"250-mx.example.net\r\n250 STARTTLS\r\n")
            proxyclient.read_line(sock)
            sock.sendall(answer)
            heard.append(proxyclient.read_to_end(sock))
        return *self.greeted(name, behaviour, **settings), heard

    def test_a_refusal_of_the_server_is_the_clients(self):
        gateway, client, heard = self.scripted("refuses", b"454 4.7.0 TLS not available due to local problem\r\n")
        client.sendall(b"STARTTLS\r\n")
        self.assertEqual(proxyclient.read_line(client), b"454 4.7.0 TLS not available due to local problem\r\n")
        client.sendall(b"QUIT\r\n")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(wait_until(lambda: heard, "the server's end"), [b"QUIT\r\n"])
        self.assertNotIn("server_tls", gateway.wait_event("session.end", client=CLIENT))

    def test_what_a_server_says_behind_its_consent_ends_it(self):
        gateway, client, heard = self.scripted("injection", b"220 2.0.0 go\r\n250-evil\r\n250 AUTH EVIL\r\n")
        client.sendall(b"STARTTLS\r\n")
        said = proxyclient.read_to_end(client)
        self.assertNotIn(b"evil", said.lower())
        self.assertRegex(said, rb"^421 ")
        self.assertEqual(gateway.wait_event("session.end", client=CLIENT)["end"], "server_violation")
        self.assertEqual(wait_until(lambda: heard, "the server's end"), [b""])

    def test_a_server_that_never_shakes_hands(self):
        gateway, client, _ = self.scripted("silent", b"220 2.0.0 go\r\n", timeouts={"connect": "300ms"})
        client.sendall(b"STARTTLS\r\n")
        self.assertRegex(proxyclient.read_to_end(client), rb"(?s)^454 4\.7\.0 .*\r\n421 4\.")
        self.assertEqual(gateway.wait_event("session.end", client=CLIENT)["server_tls"]["error"], "timeout")

    def consenting(self, name, within, refusals=0, **settings):
        """The server refuses so often, then consents and shakes hands; `within(socket, what it got)` is what it does in TLS."""
        got = []

        def behaviour(sock):
            sock.sendall(b"220 mx.example.net ESMTP\r\n")
            proxyclient.read_line(sock)
            sock.sendall(b"250-mx.example.net\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n")
            for refusal in [True] * refusals + [False]:
                got.append(proxyclient.read_line(sock))
                sock.sendall(b"454 4.7.0 not now\r\n" if refusal else b"220 2.0.0 go\r\n")
            with server_context(right).wrap_socket(sock, server_side=True) as wrapped:
                within(wrapped, got)
        return *self.greeted(name, behaviour, **settings), got

    def test_a_refusal_need_not_be_the_last_word(self):
        def within(sock, got):
            got.append(proxyclient.read_line(sock))
            sock.sendall(b"250-mx.example.net\r\n250-STARTTLS\r\n250 AUTH PLAIN SCRAM-SHA-256-PLUS\r\n")
            got.append(proxyclient.read_line(sock))
            sock.sendall(b"221 bye\r\n")
            sock.unwrap()
        gateway, client, got = self.consenting("second-try", within, refusals=1)
        client.sendall(b"STARTTLS\r\n")
        self.assertEqual(proxyclient.read_line(client), b"454 4.7.0 not now\r\n")
        client.sendall(b"STARTTLS\r\n")
        self.assertTrue(proxyclient.read_line(client).startswith(b"220 "))
        with self.secure(client) as inside:
            inside.sendall(b"EHLO inside.example.org\r\n")
            self.assertEqual(proxyclient.read_until(inside, rb"^250 "), b"250-mx.example.net\r\n250 AUTH PLAIN\r\n")
            inside.sendall(b"QUIT\r\n")
            self.assertEqual(proxyclient.read_to_end(inside), b"221 bye\r\n")
        self.assertEqual(got, [b"STARTTLS\r\n"] * 2 + [b"EHLO inside.example.org\r\n", b"QUIT\r\n"])
        self.ended(gateway, end="client_quit", helo="inside.example.org")

    def test_what_a_server_says_unasked_within_tls_ends_it(self):
        def within(sock, got):
            sock.sendall(b"250-evil.example.com\r\n250 AUTH EVIL\r\n")
            got.append(proxyclient.read_to_end(sock))
        gateway, client, got = self.consenting("unasked", within)
        client.sendall(b"STARTTLS\r\n")
        self.assertTrue(proxyclient.read_line(client).startswith(b"220 "))
        with self.secure(client) as inside:
            said = proxyclient.read_to_end(inside)
        self.assertRegex(said, rb"^421 4\.5\.0 ")
        self.assertNotIn(b"evil", said.lower())
        self.assertEqual(gateway.wait_event("session.end", client=CLIENT)["end"], "server_violation")
        self.assertEqual(wait_until(lambda: got[1:], "the server's end"), [b""])

    def test_a_client_that_never_shakes_hands(self):
        gateway, client, got = self.consenting("silent-client", lambda sock, got: got.append(proxyclient.read_to_end(sock)),
                                               timeouts={"tls_handshake": "300ms"})
        client.sendall(b"STARTTLS\r\n")
        self.assertTrue(proxyclient.read_line(client).startswith(b"220 "))
        self.assertEqual(proxyclient.read_to_end(client), b"")
        line = gateway.wait_event("session.end", client=CLIENT)
        self.assertEqual((line["end"], line["tls"], line["server_tls"]["version"]), ("tls_handshake_failed", None, "TLSv1.3"))
        self.assertEqual(wait_until(lambda: got[1:], "the server's end"), [b""])

    def test_what_a_client_says_behind_starttls_reaches_no_server(self):
        for pieces in ((b"STARTTLS\r\nMAIL FROM:<evil@example.com>\r\n",), (b"STARTTLS\r\n", b"MAIL FROM:<evil@example.com>\r\n")):
            with self.subTest(pieces=len(pieces)):
                gateway = self.serve("smtp", postfix.encrypt_port, f"plaintext-{len(pieces)}")
                with proxyclient.connect(gateway.port("smtp"), HEADER) as client:
                    proxyclient.read_line(client)
                    client.sendall(b"EHLO client.example.org\r\n")
                    proxyclient.read_until(client, rb"^250 ")
                    for piece in pieces:
                        client.sendall(piece)
                    self.assertNotRegex(proxyclient.read_to_end(client), rb"(?m)^(250|530)")
                line = gateway.wait_event("session.end", client=CLIENT)
                self.assertEqual((line["end"], line["mail"]), ("plaintext_after_starttls", []))


class Commands(unittest.TestCase):
    def test_probe_shakes_hands_behind_the_header(self):
        for name, port, tls in (("probe-wrapped", postfix.wrapped_port, "implicit"), ("probe-starttls", postfix.encrypt_port, "starttls"),
                                ("probe-mirror", postfix.encrypt_port, "mirror")):
            with self.subTest(tls=tls):
                gateway = mailgate.Mailgate(scratch, [mailgate.listener("smtp", "servers")],
                                            [mailgate.upstream("servers", port, **trusting(tls=tls))], name=name)
                gateway.write_config()
                done = gateway.run("probe")
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertIn("TLSv1.3", done.stdout)
                self.assertIn("from the first byte" if tls == "implicit" else "by STARTTLS", done.stdout)
                self.assertRegex(done.stdout, "certificate +.*, verified")
                self.assertRegex(done.stdout, r"certificate +CN=mx.example.net, expires 2\d{3}-")
                self.assertIn("=> as configured", done.stdout)

    def test_snippet_has_tls_where_it_comes_first(self):
        for protocol, program, line in (("smtp", "postfix", "smtpd_tls_wrappermode=yes"), ("imap", "dovecot", "ssl = yes")):
            for tls, wanted in (("implicit", True), ("starttls", False), ("mirror", False)):
                with self.subTest(program=program, tls=tls):
                    gateway = mailgate.Mailgate(scratch, [mailgate.listener(protocol, "servers")], [
                        mailgate.upstream("servers", 10025, **trusting(tls=tls))], name=f"snippet-{program}-{tls}")
                    gateway.write_config()
                    self.assertEqual(line in gateway.run("snippet", program).stdout, wanted)

    def test_probe_says_what_to_do_about_a_certificate(self):
        gateway = mailgate.Mailgate(scratch, [mailgate.listener("imap", "servers")], [mailgate.upstream(
            "servers", dovecot.wrapped_port["imap"], **trusting(server_name="wrong.example.net"))], name="probe-wrong")
        gateway.write_config()
        done = gateway.run("probe")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"v2 +accepted")
        self.assertIn("the server's certificate is for mx.example.net", done.stdout)

    def tls_test(self, port, *arguments):
        done = subprocess.run([mailgate.binary(), "tls", "test", f"127.0.0.1:{port}", *map(str, arguments)], text=True,
                              capture_output=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_tls_test_of_any_server(self):
        trusted = ("--ca", authority.certificate, "--server-name", NAME)
        for protocol, port in (("smtp", postfix.plain_port), ("imap", dovecot.plain_port["imap"]),
                               ("pop3", dovecot.plain_port["pop3"]), ("sieve", dovecot.plain_port["sieve"])):
            with self.subTest(protocol=protocol):
                code, text = self.tls_test(port, "--starttls", protocol, *trusted)
                self.assertEqual(code, 0, text)
                self.assertIn("verified for mx.example.net", text)
                self.assertIn("CN=tests CA", text)
        code, text = self.tls_test(postfix.plain_port, "--starttls", "smtp", "--ca", authority.certificate, "--json")
        self.assertEqual(code, 1, text)
        report = json.loads(text)
        self.assertEqual((report["ok"], report["verdict"], report["version"]), (False, "wrong_name", "TLSv1.3"))
        self.assertEqual(report["chain"][0]["names"], [NAME])
        code, text = self.tls_test(postfix.plain_port, "--starttls", "smtp", "--server-name", NAME)
        self.assertEqual(code, 1, text)
        self.assertIn("refused: unknown_ca", text)

    def test_tls_test_where_there_is_none(self):
        code, text = self.tls_test(postfix.plain_port)
        self.assertEqual(code, 1, text)
        self.assertIn("does not speak TLS", text)
        self.assertIn("--starttls", text)
        self.assertEqual(text.splitlines()[0], f"127.0.0.1:{postfix.plain_port}")
        refusing = scratch.start(Backend(lambda connection: connection.send(b"554 5.7.1 no\r\n"), reads_header=False))
        code, text = self.tls_test(refusing.port, "--starttls", "smtp")
        self.assertEqual(code, 1, text)
        self.assertIn("does not start TLS: 554 5.7.1 no\n", text)
        self.assertEqual(self.tls_test(reserve_port())[0], 1)
        self.assertEqual(self.tls_test("none")[0], 2)
        done = subprocess.run([mailgate.binary(), "tls", "test", "nobody.invalid:25", "--json"], text=True, capture_output=True,
                              timeout=60, check=False)
        report = json.loads(done.stdout)
        self.assertEqual((done.returncode, report["ok"], report["address"]), (1, False, None))
        self.assertTrue(report["failure"])

    def test_tls_status_has_what_servers_have_shown(self):
        gateway = serve("imap", dovecot.wrapped_port["imap"], "status", check=True, interval="200ms")
        shown = wait_until(lambda: json.loads(gateway.run("tls", "status", "--json").stdout)["servers"], "a check")
        self.assertEqual((shown[0]["server"], shown[0]["days_left"]), ("servers1", 29))
        self.assertIn("servers/servers1", gateway.run("tls", "status").stdout)


class Certificates(unittest.TestCase):
    def refused(self, files, name, reason, **settings):
        """That a server with this certificate is down for it, and that clients are told to come back."""
        server = scratch.start(TlsBackend(smtp_in_tls, server_context(files)))
        gateway = serve("smtp", server.port, name, check=True, interval="200ms", **settings)
        self.assertEqual(gateway.wait_event("server.down")["reason"], reason)
        with proxyclient.connect(gateway.port("smtp"), HEADER) as client:
            self.assertRegex(proxyclient.read_to_end(client), rb"^421 ")
        self.assertEqual(gateway.wait_event("session.refused")["reason"], "no_server")
        self.assertIn(reason, gateway.run("status").stdout)
        self.assertTrue(all("alert" in str(each).lower() for each in server.handshakes), server.handshakes)
        return gateway

    def test_one_that_has_expired(self):
        gateway = self.refused(authority.issue(NAME, file="expired", days=-1), "expired",
                               "certificate has expired or is not valid yet")
        metrics = gateway_metrics(gateway)
        self.assertRegex(metrics, r'mailgate_server_tls_handshakes_total\{[^}]*result="certificate_expired"[^}]*\} [1-9]')

    def test_one_for_another_name(self):
        self.refused(authority.issue("other.example.net"), "other-name", "certificate is for another name")

    def test_one_of_a_ca_that_is_not_trusted(self):
        self.refused(others.issue(NAME, file="others"), "other-ca", "certificate is of no trusted CA")

    def test_whoever_answers_is_believed_where_that_is_said(self):
        server = scratch.start(TlsBackend(smtp_in_tls, server_context(others.issue(NAME, file="believed"))))
        gateway = scratch.start(mailgate.Mailgate(
            scratch, [mailgate.listener("smtp", "servers")],
            [mailgate.upstream("servers", server.port, tls="implicit", tls_verify="off")], name="unverified"))
        with proxyclient.SMTP(gateway.port("smtp"), HEADER) as client:
            self.assertEqual(client.noop()[0], 250)
        warning = "believes whoever answers"
        self.assertIn(warning, gateway.run("check").stdout)
        wait_until(lambda: any(warning in line["detail"] for line in gateway.events("config.warning")), "the warning")

    def test_one_that_is_trusted_while_the_gateway_runs(self):
        trusted = folder / "trusted.pem"
        trusted.write_bytes(authority.certificate.read_bytes())
        server = scratch.start(TlsBackend(smtp_in_tls, server_context(others.issue(NAME, file="moved"))))
        gateway = serve("smtp", server.port, "moved", check=True, interval="200ms", ca=str(trusted))
        gateway.wait_event("server.down")
        renewed = folder / "renewed.pem"
        renewed.write_bytes(others.certificate.read_bytes())
        renewed.rename(trusted)
        gateway.wait_event("tls.certificate_renewed", upstream="servers", certificate=str(trusted))
        gateway.wait_event("server.up")

    def test_one_that_expires_soon_is_warned_of(self):
        server = scratch.start(TlsBackend(smtp_in_tls, server_context(authority.issue(NAME, file="soon", days=3))))
        gateway = serve("smtp", server.port, "soon", check=True, interval="200ms")
        line = gateway.wait_event("tls.certificate_expires", upstream="servers", server="servers1")
        self.assertEqual(line["days_left"], 2)
        self.assertRegex(gateway_metrics(gateway), r'mailgate_server_certificate_expiry_seconds\{[^}]*server="servers1"')

    def test_the_gateways_own_for_servers_that_ask(self):
        certificate, key = authority.issue("gw.example.net")
        server = scratch.start(TlsBackend(smtp_in_tls, server_context(right, client_ca=authority.certificate)))
        gateway = serve("smtp", server.port, "own", client_certificate={"certificate": str(certificate), "key": str(key)})
        with proxyclient.SMTP(gateway.port("smtp"), HEADER) as client:
            self.assertEqual(client.noop()[0], 250)


def gateway_metrics(gateway):
    host, port = gateway.admin["http"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return proxyclient.read_to_end(client).decode()


class Connections(unittest.TestCase):
    def test_a_client_in_the_clear_is_offered_nothing_that_needs_the_servers_tls(self):
        def offers(wrapped):
            wrapped.sendall(b"220 fake.example.net ESMTP\r\n")
            proxyclient.read_line(wrapped)
            wrapped.sendall(b"250-fake.example.net\r\n250-STARTTLS\r\n250 AUTH PLAIN SCRAM-SHA-256-PLUS\r\n")
            proxyclient.read_to_end(wrapped)
        server = scratch.start(TlsBackend(offers, server_context(right)))
        gateway = serve("smtp", server.port, "unbound")
        with proxyclient.connect(gateway.port("smtp"), HEADER) as client:
            proxyclient.read_line(client)
            client.sendall(b"EHLO client.example.org\r\n")
            self.assertEqual(proxyclient.read_reply(client), b"250-fake.example.net\r\n250 AUTH PLAIN\r\n")
            client.sendall(b"STARTTLS\r\n")
            self.assertRegex(proxyclient.read_reply(client), rb"^554 5\.5\.1 ")

    def test_the_second_session_with_a_server_resumes_the_first(self):
        server = scratch.start(TlsBackend(smtp_in_tls, server_context(right)))
        gateway = serve("smtp", server.port, "resumed")
        for _ in range(2):
            with proxyclient.SMTP(gateway.port("smtp"), HEADER) as client:
                client.noop()
        self.assertEqual(server.handshakes, [False, True])

    def test_a_server_that_speaks_in_the_clear(self):
        server = speaks(lambda sock: sock.sendall(b"220 plain.example.net ESMTP\r\n"))
        gateway = serve("smtp", server.port, "plain", check=True, interval="200ms")
        self.assertEqual(gateway.wait_event("server.down")["reason"], "does not speak TLS")

    def test_a_server_that_never_answers_the_handshake(self):
        mute = speaks(proxyclient.read_to_end)
        gateway = serve("smtp", mute.port, "mute", timeouts={"connect": "300ms"}, check=True, interval="200ms",
                        check_timeout="300ms")
        self.assertEqual(gateway.wait_event("server.down")["reason"], "no TLS handshake in time")
        with proxyclient.connect(gateway.port("smtp"), HEADER) as client:
            self.assertRegex(proxyclient.read_to_end(client), rb"^421 ")

    def test_an_end_that_is_not_that_of_tls_is_a_loss(self):
        def cut_off(wrapped):
            wrapped.sendall(b"220 fake.example.net ESMTP\r\n")
            proxyclient.read_line(wrapped)
            wrapped.sendall(b"250-fake.exam")
            wrapped.shutdown(socket.SHUT_RDWR)

        def leaves(wrapped):
            wrapped.sendall(b"220 fake.example.net ESMTP\r\n")
            proxyclient.read_line(wrapped)
            wrapped.unwrap()
        for behaviour, end in ((cut_off, "server_lost"), (leaves, "server_closed")):
            with self.subTest(end=end):
                server = scratch.start(TlsBackend(behaviour, server_context(right)))
                gateway = serve("smtp", server.port, end)
                with proxyclient.connect(gateway.port("smtp"), HEADER) as client:
                    proxyclient.read_line(client)
                    client.sendall(b"EHLO client.example.org\r\n")
                    proxyclient.read_to_end(client)
                self.assertEqual(gateway.wait_event("session.end", client=CLIENT)["end"], end)

    def test_an_end_that_was_cut_off_is_a_reset_where_nothing_else_would_show_it(self):
        ends = []

        def until_the_end(sock):
            """How it ends."""
            try:
                while sock.recv(100):
                    pass
                return "end"
            except (ConnectionResetError, ssl.SSLEOFError):  # Python's ssl has the latter for both
                return "reset"

        def listens(sock):
            take_header(sock)
            ends.append(until_the_end(sock))

        def says_half(wrapped):
            wrapped.sendall(b"half of it")
            wrapped.shutdown(socket.SHUT_RDWR)
        own = {"tls": "implicit", "certificates": [{"certificate": str(right[0]), "key": str(right[1])}]}
        hearing = scratch.start(Backend(lambda connection: listens(connection.socket), reads_header=False))
        gateway = scratch.start(mailgate.Mailgate(
            scratch, [mailgate.listener("tcp", "servers", **own)], [mailgate.upstream("servers", hearing.port)], name="cut-client"))
        for cut_off in (True, False):
            client = Mirror.secure(proxyclient.connect(gateway.port("tcp"), HEADER))
            client.sendall(b"half of it")
            if cut_off:
                client.shutdown(socket.SHUT_RDWR)
            else:
                client.unwrap()
            client.close()
            self.assertEqual(wait_until(lambda: ends, "the session's end").pop(), "reset" if cut_off else "end")
        server = scratch.start(TlsBackend(says_half, server_context(right)))
        gateway = serve("tcp", server.port, "cut-server", listener=own)
        context = ssl.create_default_context(cafile=str(authority.certificate))
        with context.wrap_socket(proxyclient.connect(gateway.port("tcp"), HEADER), server_hostname=NAME,
                                 suppress_ragged_eofs=False) as client:
            self.assertEqual(until_the_end(client), "reset")
        self.assertEqual(gateway.wait_event("session.end", client=CLIENT)["end"], "server_lost")

    def test_the_server_hears_the_end_of_tls(self):
        ends = []

        def listens(wrapped):
            wrapped.sendall(b"220 fake.example.net ESMTP\r\n")
            try:
                while wrapped.recv(100):
                    pass
                ends.append("close_notify")
            except ssl.SSLEOFError:
                ends.append("cut off")
        context = server_context(right)
        server = TlsBackend(listens, context)
        scratch.start(server)
        gateway = serve("smtp", server.port, "polite")
        client = proxyclient.connect(gateway.port("smtp"), HEADER)
        proxyclient.read_line(client)
        client.close()
        self.assertEqual(wait_until(lambda: ends, "the session's end"), ["close_notify"])


if __name__ == "__main__":
    unittest.main()
