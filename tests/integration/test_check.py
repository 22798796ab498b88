# SPDX-License-Identifier: Apache-2.0
"""What `mailgate check` sees of the machine that is to serve, and that no command takes a failed write for done."""

import contextlib
import os
import pwd
import socket
import sqlite3
import subprocess
import unittest

from harness import backend, mailgate
from harness.authority import Authority
from harness.process import Scratch, wait_until

scratch = server = None


def setUpModule():
    global scratch, server
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    server = scratch.start(backend.Backend(backend.smtp))


class Site(unittest.TestCase):
    def setUp(self):
        self.gateway = mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", server.port)],
                                         name=self._testMethodName, gateway={"max_sessions": 100}, admin={"socket": "mailgate.sock"})
        self.gateway.write_config()

    def change(self, old, new):
        text = self.gateway.config.read_text()
        self.assertIn(old, text)
        self.gateway.config.write_text(text.replace(old, new))


class Check(Site):
    def expect(self, *words):
        """`check` and `serve` both refuse, for the same reason."""
        check = self.gateway.run("check")
        self.assertEqual(check.returncode, 78, check.stdout + check.stderr)
        serve = self.gateway.run("serve")
        self.assertIn(serve.returncode, (1, 78), serve.stderr)
        for word in words:
            self.assertIn(word, check.stderr)
            self.assertIn(word, serve.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "only root changes users")
    def test_an_unknown_user(self):
        self.change("[gateway]\n", '[gateway]\nuser = "mailgat"\n')
        self.expect('gateway.user: there is no user "mailgat"')

    def test_why_serve_does_not_start_is_an_error_in_systemds_journal(self):
        def said():
            """What a service writes to its stream to the journal."""
            path = self.gateway.folder / "stream"
            with open(path, "w") as stream:
                status = os.fstat(stream.fileno())
                code = subprocess.run(self.gateway.argv("serve"), stderr=stream, timeout=60, check=False,
                                      env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}).returncode
            return code, path.read_text()

        address = self.gateway.listeners[0]["address"]
        with socket.create_server(("127.0.0.1", self.gateway.port("smtp"))):
            code, lines = said()
        self.assertEqual(code, 1, lines)
        self.assertRegex(lines, rf"^<3>mailgate: listener .*{address}: Address already in use.*\n$")
        self.gateway.config.write_text("nonsense = 1\nmore = 2\n")
        code, lines = said()
        self.assertEqual(code, 78, lines)
        self.assertTrue(all(line.startswith("<3>") for line in lines.splitlines()), lines)
        self.assertIn("more: unknown key", lines)

    def test_includes(self):
        """`check`, `serve` and `reload` take the included files, and name the one that is wrong."""
        text = self.gateway.config.read_text()
        at = text.index("[[listener]]")
        folder = self.gateway.folder / "conf.d"
        folder.mkdir()
        site = folder / "10-site.toml"
        site.write_text(text[at:])
        self.gateway.config.write_text('include = "conf.d/*.toml"\n' + text[:at])
        check = self.gateway.run("check")
        self.assertEqual((check.returncode, check.stdout.endswith("1 listener, 1 upstream, with 1 included file\n")), (0, True),
                         check.stdout + check.stderr)
        whole = self.gateway.config.read_text()
        self.gateway.write_config = lambda: self.gateway.config.write_text(whole)
        self.gateway.start()
        self.addCleanup(self.gateway.stop)
        wait_until(self.gateway.socket.exists, "the admin socket")
        site.write_text(text[at:].replace('"open"', '"allowlist"'))
        reload = self.gateway.run("reload")
        self.assertIn("reloaded: listener smtp: access", reload.stdout, reload.stderr)
        (folder / "20-log.toml").write_text('[log]\nlevel = "debug"\n')
        reload = self.gateway.run("reload")
        self.assertEqual(reload.returncode, 78)
        self.assertRegex(reload.stderr, r"conf.d/20-log.toml:2:9: log.level: is already set on line \d+ of .*mailgate.toml")
        # What a reload cannot bring into force, and what would keep a restart from it.
        (folder / "20-log.toml").unlink()
        self.change("workers = 2", "workers = 3")
        told = self.gateway.run("status")
        self.assertIn("is not loaded: gateway.workers can only change with a restart.\n", told.stdout, told.stderr)
        folder.rename(folder.with_name("conf.away"))
        gone = f'{self.gateway.config}:1:11: include: the folder "{folder}" does not exist: put it back, or leave it out\n'
        for command, code in (("check", 78), ("reload", 78), ("status", 0)):
            with self.subTest(command=command):
                told = self.gateway.run(command)
                self.assertEqual((told.returncode, told.stderr), (code, gone))
        told = self.gateway.run("status", "--check")
        self.assertEqual((told.returncode, told.stderr), (1, ""))
        self.assertIn(f"a reload would fail, and perhaps a restart: {gone[:-1]}", told.stdout)

    def test_the_working_folders_file(self):
        """It is said, and has to be one's own."""
        def here(*words):
            return subprocess.run([mailgate.binary(), *words], cwd=self.gateway.folder, capture_output=True, text=True, timeout=60)
        listed = here("access", "export")
        self.assertEqual(listed.stderr, f"mailgate: with {self.gateway.config}, rules in {self.gateway.database}\n")
        self.assertEqual(self.gateway.run("access", "export").stderr, "", "it was named")
        if os.geteuid() != 0:
            return
        os.chown(self.gateway.config, 65534, 65534)
        listed = here("access", "export")
        self.assertIn("mailgate.toml is not used, because it belongs to another user", listed.stderr)
        self.assertNotEqual(listed.returncode, 0)
        self.assertEqual(self.gateway.run("access", "export").stderr, "")

    def test_folders_that_are_missing(self):
        text = self.gateway.config.read_text()
        for old, new, words in (("file:events.log", "file:/nonexistent/x.log", "/nonexistent"),
                                ("sqlite:mailgate.db", "sqlite:/nonexistent/mailgate.db", "the folder /nonexistent does not exist"),
                                ('"mailgate.sock"', '"/nonexistent/mailgate.sock"', "/nonexistent")):
            with self.subTest(new=new):
                self.change(old, new)
                self.expect(words)
                self.gateway.config.write_text(text)

    @unittest.skipUnless(os.geteuid() == 0, "only root changes users")
    def test_folders_that_the_user_may_not_write(self):
        self.change("[gateway]\n", '[gateway]\nuser = "nobody"\n')
        self.gateway.folder.chmod(0o755)
        check = self.gateway.run("check")
        self.assertEqual(check.returncode, 78, check.stdout + check.stderr)
        for words in ("log.target", "mailgate.db: the database is read-only for this user", "admin.socket"):
            self.assertIn(words, check.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "only root changes users")
    def test_files_of_tls_that_the_user_may_not_read(self):
        authority = Authority(self.gateway.folder)
        certificate, key = authority.issue("mx.example.net")
        self.gateway.gateway["user"] = "nobody"
        self.gateway.listeners[0].update(
            tls="implicit", certificates=[{"certificate": str(certificate), "key": str(key)}], client_certificates="optional",
            client_ca=str(authority.certificate))
        self.gateway.write_config()
        for path, setting in ((key, "listener.certificates"), (authority.certificate, "listener.client_ca")):
            for mode, warned in ((0o600, True), (0o640, False)):
                with self.subTest(path=path.name, mode=mode):
                    path.chmod(mode)
                    os.chown(path, 0, pwd.getpwnam("nobody").pw_gid)
                    check = self.gateway.run("check")
                    output = check.stdout + check.stderr
                    self.assertEqual(f"warning: {setting}: nobody may not read {path}: a renewal will not be noticed" in output,
                                     warned, output)

    def test_files_that_are_something_else(self):
        self.gateway.database.write_text("allow 192.0.2.0/24\n" * 10)
        self.expect("the file is not an SQLite database")

    def test_a_row_that_is_no_rule(self):
        self.gateway.access("allow", "192.0.2.1")
        with contextlib.closing(sqlite3.connect(self.gateway.database)) as database, database:
            database.execute("INSERT INTO access_rule(network, verdict) VALUES ('10.0.0.1/80', 'allow')")
        self.expect("row id 2, column network: \"10.0.0.1/80\": the prefix length must be a number from 0 to 32")
        # The gateway does not take the rules with it: whoever denies a client meanwhile must not believe it done.
        for change, stdin in ((("deny", "203.0.113.41"), ""), (("import", "-"), "deny 203.0.113.43\n"), (("undo",), "")):
            done = self.gateway.run("access", *change, stdin=stdin)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("the change is not in force", done.stderr)
        self.assertIn("what it does may differ", self.gateway.run("access", "test", "203.0.113.41").stderr)
        self.assertEqual(self.gateway.run("access", "remove", "2").returncode, 0)
        self.assertEqual(self.gateway.run("access", "deny", "203.0.113.42").returncode, 0)

    def test_nothing_is_made_or_changed(self):
        before = sorted(self.gateway.folder.iterdir())
        done = self.gateway.run("check")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(sorted(self.gateway.folder.iterdir()), before)

    def test_it_says_the_same_beside_a_gateway_that_serves(self):
        self.gateway.start()
        self.addCleanup(self.gateway.stop)
        done = self.gateway.run("check")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertNotIn("warning", done.stdout)

    def test_an_address_of_another_machine(self):
        self.change(f"127.0.0.1:{self.gateway.port('smtp')}", f"192.0.2.77:{self.gateway.port('smtp')}")
        done = self.gateway.run("check")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, "warning: .*192.0.2.77.*this machine has no such address")

    def test_an_address_for_metrics(self):
        smtp = f"127.0.0.1:{self.gateway.port('smtp')}"
        self.gateway.admin = {"http": smtp}
        self.gateway.write_config()
        self.expect(f"listener.address: {smtp} is already used")
        self.gateway.admin = {"http": "192.0.2.77:8025"}
        self.gateway.write_config()
        done = self.gateway.run("check")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, "warning: admin.http: .*192.0.2.77:8025.*this machine has no such address")

    def test_keys_without_end(self):
        self.gateway.config.write_text("a." * 50_000 + "a = 1\n")
        self.expect("nested too deeply")

    def test_a_reload_of_keys_without_end_changes_nothing(self):
        self.gateway.start()
        self.addCleanup(self.gateway.stop)
        self.gateway.config.write_text("[" + "a." * 200_000 + "a]\n")
        self.assertEqual(self.gateway.run("reload").returncode, 78)
        self.gateway.process.signal(1)
        self.assertIn("nested too deeply", self.gateway.wait_event("config.failed")["detail"])
        self.assertEqual(self.gateway.ask("GET", "/v1/status")[0], 200)


class Listeners(Site):
    def test_rules_for_a_listener_that_is_gone_are_told_once(self):
        self.gateway.access("deny", "203.0.113.9", "--listener", "smtp")
        self.gateway.start()
        self.addCleanup(self.gateway.stop)
        self.change('name = "smtp"', 'name = "inbound"')
        done = self.gateway.run("reload")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('no listener is named "smtp": 1 access rule that names it has no effect', done.stderr)
        told = self.gateway.wait_event("access.unknown_listener")
        self.assertEqual((told["level"], told["listeners"], told["rules"]), ("warning", ["smtp"], 1))
        self.gateway.access("deny", "203.0.113.10")
        self.gateway.wait_event("access.changed", version=3)
        self.assertEqual(len(self.gateway.events("access.unknown_listener")), 1)
        self.gateway.access("rename-listener", "smtp", "inbound")
        self.gateway.wait_event("access.changed", rules=2)


class Modes(Site):
    def test_log_and_databases_are_for_owner_and_group_whatever_the_umask(self):
        for umask in ("0", "022", "077"):
            with self.subTest(umask=umask):
                prefix = ("sh", "-c", f'umask {umask} && exec "$@"', "sh")
                gateway = mailgate.Mailgate(scratch, self.gateway.listeners, self.gateway.upstreams, name=f"umask{umask}",
                                            prefix=prefix)
                gateway.start()
                self.addCleanup(gateway.stop)
                gateway.access("allow", "192.0.2.1")
                files = [*gateway.folder.glob("*.db*"), gateway.log_file]
                self.assertGreaterEqual(len(files), 5, files)
                self.assertEqual({path.name: oct(path.stat().st_mode & 0o777) for path in files},
                                 {path.name: "0o640" for path in files})
                gateway.stop()


class Writes(Site):
    def test_a_full_disk_is_told_by_every_command(self):
        self.gateway.access("allow", "192.0.2.1")
        self.gateway.start()
        self.addCleanup(self.gateway.stop)
        for arguments in (("--help",), ("--version",), ("version",), ("access", "--help"), ("check",), ("status",),
                          ("status", "--json"), ("reload",), ("access", "list"), ("access", "list", "--json"), ("access", "export"),
                          ("access", "history"), ("access", "test", "192.0.2.1"), ("access", "allow", "192.0.2.2"), ("access", "remove", "192.0.2.2"),
                          ("top", "--json"), ("snippet", "haproxy"), ("server", "drain", "mail/mail1"),
                          ("server", "ready", "mail/mail1")):
            with self.subTest(arguments=arguments), open("/dev/full", "w") as full:
                done = subprocess.run(self.gateway.argv(*arguments), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertRegex(done.stderr, "cannot write to .*: No space left on device|the output is incomplete")
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(self.gateway.argv("version"), stdout=writer, stderr=subprocess.PIPE, restore_signals=False, timeout=60)
        os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (141, b""), "as with | head, SIGPIPE ignored")
        with open("/dev/full", "w") as full:
            done = subprocess.run(self.gateway.argv("console", "token", "add", "unseen", "--role", "viewer"), stdout=full, timeout=60)
        self.assertEqual((done.returncode, self.gateway.run("console", "token", "list").returncode), (1, 1), "a token that nobody has")


if __name__ == "__main__":
    unittest.main()
