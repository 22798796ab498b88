# SPDX-License-Identifier: Apache-2.0
"""IPv6 on either side of mailgate, and both families together."""

import json
import unittest

from harness import backend, mailgate, proxyclient
from harness.ports import reserve_port
from harness.postfix import Postfix
from harness.process import Scratch

scratch = postfix = gateway = None


def tells_source(connection):
    connection.send(b"220 " + json.dumps([connection.source, connection.destination]).encode() + b"\r\n")


def setUpModule():
    global scratch, postfix, gateway
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    postfix = scratch.start(Postfix(scratch))
    teller = scratch.start(backend.Backend(tells_source, address="::1"))
    both = reserve_port()
    gateway = scratch.start(mailgate.Mailgate(
        scratch,
        [mailgate.listener("smtp", "postfix", name="six", host="::1"),
         mailgate.listener("smtp", "postfix", name="both", host="::", port=both, trusted=["127.0.0.1/32", "::1/128"]),
         mailgate.listener("smtp", "teller", name="direct", host="::", proxy="off")],
        [mailgate.upstream("postfix", postfix.proxy_port, host="::1"),
         mailgate.upstream("teller", teller.port, host="::1")]))


class IPv6(unittest.TestCase):
    def send(self, listener, header, address):
        with proxyclient.SMTP(gateway.port(listener), header, address) as session:
            session.sendmail("a@partner.example", ["alice@example.net"], b"Subject: six\r\n\r\nbody\r\n")

    def test_a_whole_path_over_ipv6(self):
        self.send("six", proxyclient.header_v2("2001:db8::61", 6161), "::1")
        postfix.wait_log(r"client=unknown\[2001:db8::61\]:6161")
        line = gateway.wait_event("session.end", client="2001:db8::61")
        self.assertEqual((line["balancer"], line["destination"]), ("::1", "2001:db8:ffff::10"))

    def test_an_ipv4_client_over_ipv6_connections_stays_ipv4(self):
        self.send("six", proxyclient.header_v1("198.51.100.64", 6464), "::1")
        postfix.wait_log(r"client=unknown\[198\.51\.100\.64\]:6464")

    def test_a_mapped_address_is_the_ipv4_address(self):
        self.send("six", proxyclient.header_v2("::ffff:198.51.100.65", 6565), "::1")
        postfix.wait_log(r"client=unknown\[198\.51\.100\.65\]:6565")
        gateway.wait_event("session.end", client="198.51.100.65")

    def test_a_dual_listener_knows_its_balancers_in_both_families(self):
        for address, client, balancer in (("127.0.0.1", "2001:db8::66", "127.0.0.1"), ("::1", "2001:db8::67", "::1")):
            with self.subTest(address=address):
                self.send("both", proxyclient.header_v2(client), address)
                self.assertEqual(gateway.wait_event("session.end", client=client)["balancer"], balancer)

    def test_direct_clients_of_both_families(self):
        for address in ("127.0.0.1", "::1"):
            with self.subTest(address=address), proxyclient.connect(gateway.port("direct"), address=address) as client:
                self.assertEqual(json.loads(proxyclient.read_line(client)[4:]), [address, address])
