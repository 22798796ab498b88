# SPDX-License-Identifier: Apache-2.0
"""`mailgate backup` around a gateway under traffic, and the way back; restic and tar around what it made; disks that are full."""

import contextlib
import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import textwrap
import threading
import unittest

from harness import backend, mailgate, proxyclient
from harness.disk import Disk
from harness.process import Scratch, wait_until

scratch = server = None


def setUpModule():
    global scratch, server
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    server = scratch.start(backend.Backend(backend.smtp))


class Traffic:
    """Clients that come one after the other, until they are told to stop."""

    def __init__(self, port):
        self._port, self._stop = port, threading.Event()
        self.sessions = 0
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop.is_set():
            with proxyclient.connect(self._port, proxyclient.header_v2("192.0.2.7")) as client:
                for line in (b"EHLO c.example", b"MAIL FROM:<a@partner.example>", b"RCPT TO:<b@example.net>", b"QUIT"):
                    proxyclient.read_line(client)
                    client.sendall(line + b"\r\n")
                proxyclient.read_to_end(client)
            self.sessions += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def count(database, query):
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        return opened.execute(query).fetchone()[0]


class Site(unittest.TestCase):
    def setUp(self):
        self.gateway = mailgate.Mailgate(scratch, [mailgate.listener("smtp", "mail")], [mailgate.upstream("mail", server.port)],
                                         name=self.id().rsplit(".", 1)[1][:24], admin={"socket": "mailgate.sock"})
        self.backup = self.gateway.folder / "backup"

    def start(self):
        self.gateway.start()
        self.addCleanup(self.gateway.stop)
        wait_until(self.gateway.socket.exists, "the admin socket")

    def back_up(self, folder=None):
        done = self.gateway.run("backup", str(folder or self.backup), timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def sessions(self):
        done = self.gateway.run("sessions", "--all", "--json")
        return done.stdout.count('"session":') if done.returncode == 0 else 0

    def assert_nothing_left(self, folder=None):
        self.assertEqual([entry.name for entry in (folder or self.gateway.folder).iterdir()
                          if "partial" in entry.name or entry.name.endswith(".restoring")], [])


class Running(Site):
    def test_under_traffic_and_back(self):
        self.start()
        self.gateway.access("allow", "192.0.2.0/24", "--note", "kept")
        with Traffic(self.gateway.port("smtp")) as traffic:
            wait_until(lambda: traffic.sessions > 20, "some traffic")
            before = traffic.sessions
            done = self.back_up()
            wait_until(lambda: traffic.sessions > before + 20, "traffic that goes on")
        self.assertIn("backup made and verified", done.stdout)
        self.assertEqual(done.stderr, "", "no progress into a pipe")
        self.assert_nothing_left()
        files = {file["kind"]: file for file in json.loads((self.backup / "mailgate-backup.json").read_text())["files"]}
        self.assertEqual(set(files), {"rules", "journal", "configuration"})
        for name in ("rules.db", "journal.db"):
            self.assertEqual(count(self.backup / name, "PRAGMA integrity_check"), "ok")
        self.assertEqual(sorted(entry.name for entry in self.backup.iterdir()),
                         ["configuration", "journal.db", "mailgate-backup.json", "rules.db"], "one file each, no log beside it")
        refused = self.gateway.run("restore", str(self.backup))
        self.assertEqual((refused.returncode, "stop the gateway first" in refused.stderr), (1, True), refused.stderr)

        # What happened afterwards is undone, and kept.
        self.gateway.access("remove", "192.0.2.0/24")
        self.gateway.stop()
        later = self.sessions()
        restored = self.gateway.run("restore", str(self.backup))
        self.assertEqual(restored.returncode, 0, restored.stderr)
        self.assert_nothing_left()
        self.assertIn("kept", self.gateway.access("export"))
        self.assertLess(self.sessions(), later)
        self.gateway.launch().process.wait_ready(lambda: len(self.gateway.events("gateway.start")) == 2, "a start with what came back")
        self.gateway.stop()

    def test_a_gateway_without_a_socket_is_in_the_way_too(self):
        self.gateway.admin = {"socket": ""}
        self.gateway.start()
        self.addCleanup(self.gateway.stop)
        self.back_up()
        refused = self.gateway.run("restore", str(self.backup))
        self.assertEqual(refused.returncode, 1, refused.stdout)
        self.assertRegex(refused.stderr, r"(is in use|locked).*")
        self.assert_nothing_left()
        self.assertEqual(self.gateway.run("access", "export").returncode, 0)

    def run_script_of_the_page(self):
        """The nightly one, where eight backups are already; what restic gives back of it."""
        page = (pathlib.Path(__file__).parents[2] / "docs/backup.md").read_text()
        [script] = re.findall(r"(?ms)^    #!/bin/sh -e\n.*?(?=^\n)", page)
        folder, programs = self.gateway.folder / "backups", self.gateway.folder / "programs"
        programs.mkdir()
        (programs / "mailgate").write_text(f'#!/bin/sh\nexec {mailgate.binary()} --config {self.gateway.config} "$@"\n')
        (programs / "mailgate").chmod(0o755)
        before = [f"nightly-2020-01-0{day}-030000" for day in range(1, 9)]
        for name in [*before, "before-upgrade", "nightly-2020-01-01"]:
            (folder / name).mkdir(parents=True)
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "RESTIC_REPOSITORY": str(self.gateway.folder / "restic"),
                       "RESTIC_PASSWORD": "secret", "RESTIC_CACHE_DIR": str(self.gateway.folder / "cache")}

        def run(*command):
            return subprocess.run(command, check=True, env=environment, capture_output=True, timeout=120)

        run("restic", "init")
        run("/bin/sh", "-ec", textwrap.dedent(script).replace("/var/backups/mailgate", str(folder)))
        left = sorted(entry.name for entry in folder.iterdir())
        [new] = [name for name in left if (folder / name / "mailgate-backup.json").exists()]
        self.assertRegex(new, r"^nightly-\d{4}-\d\d-\d\d-\d{6}$")
        self.assertEqual(left, sorted([*before[2:], new, "before-upgrade", "nightly-2020-01-01"]))
        run("restic", "restore", "latest", "--path", str(folder), "--target", str(self.gateway.folder / "from-restic"))
        return self.gateway.folder / "from-restic" / folder.relative_to("/") / new

    def test_restic_keeps_it_and_tar_takes_it_to_another_machine(self):
        self.start()
        self.gateway.access("allow", "192.0.2.0/24", "--note", "kept")
        elsewhere = scratch.folder(self._testMethodName[:20] + "-new")
        with Traffic(self.gateway.port("smtp")) as traffic:
            wait_until(lambda: self.sessions() > 20, "some traffic in the journal")
            self.back_up()
            subprocess.run(["tar", "-C", self.backup.parent, "-cf", elsewhere / "backup.tar", "backup"], check=True)
            before = traffic.sessions
            wait_until(lambda: traffic.sessions > before, "traffic that goes on")
            nightly = self.run_script_of_the_page()
        self.gateway.stop()
        self.gateway.access("remove", "192.0.2.0/24")
        self.assertEqual(self.gateway.run("restore", str(nightly)).returncode, 0)
        self.assertIn("kept", self.gateway.access("export"))
        subprocess.run(["tar", "-C", elsewhere, "-xf", elsewhere / "backup.tar"], check=True)
        self.gateway.config = elsewhere / "mailgate.toml"
        done = self.gateway.run("restore", str(elsewhere / "backup"), "--parts", "rules,journal,configuration")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("kept", self.gateway.access("export"))
        self.assertTrue((elsewhere / "mailgate.db").exists())
        self.assertGreater(self.sessions(), 20)
        self.assertEqual(self.gateway.run("check").returncode, 0)

    def test_what_is_damaged_is_replaced_with_its_log(self):
        self.start()
        self.gateway.access("allow", "192.0.2.0/24", "--note", "kept")
        self.back_up()
        self.gateway.kill()
        self.gateway.database.write_bytes(b"rubbish " * 1000)
        done = self.gateway.run("restore", str(self.backup), "--parts", "rules")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("kept", self.gateway.access("export"))
        self.assertTrue(self.gateway.database.with_name("mailgate.db.before-restore").read_bytes().startswith(b"rubbish"))


class Interrupted(Site):
    def test_ctrl_c_or_the_end_of_the_terminal_leaves_nothing_behind(self):
        """At whatever moment it comes: either there is a whole backup, and it says so, or nothing."""
        self.start()
        with Traffic(self.gateway.port("smtp")) as traffic:
            wait_until(lambda: traffic.sessions > 20, "some traffic")
        for delay in range(6):
            folder = self.gateway.folder / f"backup-{delay}"
            command = subprocess.Popen(self.gateway.argv("backup", str(folder)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(0.01 * delay)
            command.send_signal(signal.SIGHUP if delay % 2 else signal.SIGINT)
            output, errors = command.communicate(timeout=60)
            self.assertEqual(folder.exists(), "backup made and verified" in output, errors)
            self.assertIn(command.returncode, (0, -signal.SIGINT, -signal.SIGHUP), errors)
            self.assert_nothing_left()
        # Nor half of what was to come back.
        self.back_up()
        self.gateway.stop()
        for delay in (0.02, 0.1, 0.3):
            self.gateway.access("deny", "192.0.2.9")
            command = subprocess.Popen(self.gateway.argv("restore", str(self.backup)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(delay)
            command.send_signal(signal.SIGINT)
            output, errors = command.communicate(timeout=60)
            self.assertIn(command.returncode, (0, -signal.SIGINT), errors)
            self.assertEqual("192.0.2.9" in self.gateway.access("export"), "restored the backup" not in output, errors)
            self.assert_nothing_left()


@unittest.skipUnless(os.geteuid() == 0, "takes a file system of its own")
class FullDisk(Site):
    def test_nothing_half_done(self):
        disk = Disk(scratch.folder("full-disk"), "2m")
        self.start()
        self.gateway.access("allow", "192.0.2.0/24")
        disk.fill()
        done = self.gateway.run("backup", str(disk.path / "backup"))
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stderr, "(disk is full|No space left on device)")
        self.assertEqual([entry.name for entry in disk.path.iterdir()], ["filler"])
        disk.free()
        self.back_up(disk.path / "backup")
        self.gateway.stop()
        # The other way: no room for what is to come back.
        new = mailgate.Mailgate(scratch, self.gateway.listeners, self.gateway.upstreams, name="full-target",
                                store_url=f"sqlite:{disk.path}/rules.db")
        new.write_config()
        new.access("allow", "203.0.113.0/24", "--note", "present")
        disk.fill()
        refused = new.run("restore", str(self.gateway.folder.parent / "full-disk/backup"), "--parts", "rules")
        self.assertEqual(refused.returncode, 1, refused.stdout)
        self.assertRegex(refused.stderr, "(disk is full|No space left on device)")
        disk.free()
        self.assertIn("present", new.access("export"))
        self.assert_nothing_left(disk.path)
