# SPDX-License-Identifier: Apache-2.0
"""A test case in which each test has a daemon and scripted servers of its own."""

import unittest

from . import backend, mailgate, proxyclient
from .process import Scratch


class Situation(unittest.TestCase):
    client = "198.51.100.70"

    @classmethod
    def setUpClass(cls):
        cls.scratch = Scratch()
        cls.addClassCleanup(cls.scratch.close)

    def backend(self, behaviour, **arguments):
        server = backend.Backend(behaviour, **arguments).start()
        self.addCleanup(server.stop)
        return server

    def mailgate(self, ports, protocol="smtp", upstream=None, access="open", **settings):
        daemon = mailgate.Mailgate(
            self.scratch, [mailgate.listener(protocol, "mail", access=access)],
            [mailgate.upstream("mail", *ports, **(upstream or {}))], **{"name": self._testMethodName, **settings})
        self.addCleanup(daemon.stop)
        return daemon

    def started(self, *arguments, **settings):
        self.gateway = self.mailgate(*arguments, **settings)
        return self.gateway.start()

    def connect(self, client=None):
        [settings] = self.gateway.listeners
        session = proxyclient.connect(self.gateway.port(settings["name"]), proxyclient.header_v2(client or self.client))
        self.addCleanup(session.close)
        return session

    def greeting(self, client=None):
        with self.connect(client) as session:
            return proxyclient.read_line(session)
