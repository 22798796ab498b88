# SPDX-License-Identifier: Apache-2.0
"""What happens to the files that mailgate keeps, and what its clients and its administrator see of it."""

import contextlib
import os
import shutil
import sqlite3
import time
import unittest

from harness import backend, mailgate, proxyclient
from harness.disk import Disk
from harness.process import wait_until
from harness.situation import Situation

# Longer than anybody waits for a lock: the gateway a quarter of a second, the journal one, commands five.
LOCKED_FOR = float(os.environ.get("MAILGATE_TEST_LOCKED_FOR", "6"))

# Root may write what is read-only.
AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()

ALLOWED, DENIED, UNKNOWN = "198.51.100.70", "203.0.113.66", "192.0.2.1"


class Rules(Situation):
    """A listener for those who are allowed and one for all who are not denied. No rule may be forgotten at either."""

    def prepare(self, name=None, **settings):
        server = self.backend(backend.smtp)
        self.gateway = mailgate.Mailgate(
            self.scratch, [mailgate.listener("smtp", "mail", access="allowlist"), mailgate.listener("smtp", "mail", name="public")],
            [mailgate.upstream("mail", server.port)], name=name or self._testMethodName, **settings)
        self.addCleanup(self.gateway.stop)
        self.gateway.write_config()
        self.gateway.access("allow", ALLOWED)
        self.gateway.access("deny", DENIED)

    def start(self, name=None, **settings):
        self.prepare(name, **settings)
        self.gateway.start()
        self.expect_the_rules()

    def start_again(self):
        self.gateway.log_file.unlink()
        self.gateway.start()
        self.expect_the_rules()

    def admits(self, client, listener="smtp"):
        with proxyclient.connect(self.gateway.port(listener), proxyclient.header_v2(client)) as session:
            answer = proxyclient.read_line(session)
        self.assertRegex(answer, rb"^(220|554) ")
        return answer.startswith(b"220")

    def expect_the_rules(self, seconds=0.0):
        end = time.monotonic() + seconds
        while True:
            for client, listener, admitted in ((ALLOWED, "smtp", True), (DENIED, "smtp", False), (UNKNOWN, "smtp", False),
                                               (ALLOWED, "public", True), (DENIED, "public", False), (UNKNOWN, "public", True)):
                self.assertEqual(self.admits(client, listener), admitted, f"{client} at {listener}")
            if time.monotonic() > end:
                return

    def expect_change(self, client="192.0.2.200"):
        """A rule that is made now is in force within a second."""
        self.gateway.access("allow", client)
        wait_until(lambda: self.admits(client), "the new rule in force", deadline=1.0 * mailgate.SLACK)

    def expect_refused_change(self, *words):
        done = self.gateway.run("access", "allow", "192.0.2.111")
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), done)
        for word in words:
            self.assertIn(word, done.stderr)

    def expect_no_start(self, *words):
        self.gateway.launch()
        self.assertEqual(self.gateway.wait_exit(), 1, self.gateway.process.text())
        last = self.gateway.process.text().splitlines()[-1]
        self.assertRegex(last, r"^mailgate: .*/mailgate(-journal)?\.db: ")
        for word in words:
            self.assertIn(word, last)

    def expect_failed_check(self, words):
        done = self.gateway.run("check")
        self.assertEqual(done.returncode, 78, done)
        self.assertIn(words, done.stderr)

    def intact(self):
        """The rules and their audit trail, from a database that is in order."""
        with contextlib.closing(sqlite3.connect(self.gateway.database, timeout=30)) as database:
            self.assertEqual(database.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            return [database.execute(f"SELECT * FROM {query} ORDER BY id").fetchall() for query in
                    ("(SELECT id, network, verdict, listener, note FROM access_rule)", "access_audit")]


def overwrite(path):
    with open(path, "r+b") as file:
        file.write(os.urandom(path.stat().st_size))


def overwrite_a_page(path):
    with open(path, "r+b") as file:
        file.seek(8192)
        file.write(os.urandom(8192))


def replace_by_garbage(path):
    garbage = path.with_suffix(".garbage")
    garbage.write_bytes(os.urandom(16384))
    garbage.rename(path)


def replace_by_another_programs(path):
    other = path.with_suffix(".other")
    with contextlib.closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE spam(score)")
        database.commit()
    other.rename(path)


def remove(path):
    for file in path.parent.glob(path.name + "*"):
        file.unlink()


class Damage(Rules):
    # And whether a start finds it: a file that is missing or empty is a new store then.
    KINDS = {"overwritten": (overwrite, True), "one page overwritten": (overwrite_a_page, True),
             "truncated": (lambda path: os.truncate(path, path.stat().st_size // 2), True),
             "emptied": (lambda path: os.truncate(path, 0), False), "replaced by garbage": (replace_by_garbage, True),
             "replaced by another program's": (replace_by_another_programs, True), "removed": (remove, False)}

    def test_the_last_good_rules_stay_in_force_until_the_file_is_good_again(self):
        for what, (damage, found_at_start) in self.KINDS.items():
            with self.subTest(what):
                self.start(what.replace(" ", "-"))
                self.gateway.access("allow", "192.0.2.128/25")
                # What has not been moved from SQLite's log into the file would heal it.
                log = self.gateway.database.with_name("mailgate.db-wal")
                wait_until(lambda: log.stat().st_size == 0, "an empty log")
                backup = self.gateway.folder / "backup.db"
                with contextlib.closing(sqlite3.connect(self.gateway.database)) as source, \
                        contextlib.closing(sqlite3.connect(backup)) as target:
                    source.backup(target)
                before = self.intact()
                damage(self.gateway.database)
                failed = self.gateway.wait_event("access.failed")
                self.assertEqual(failed["level"], "critical")
                self.assertRegex(failed["detail"], r"mailgate\.db.* the 3 rules read before stay in force$")
                self.expect_the_rules(0.6)
                self.expect_refused_change("mailgate.db")
                shutil.copy(backup, backup.with_suffix(".copy"))
                backup.with_suffix(".copy").rename(self.gateway.database)
                self.gateway.wait_event("access.recovered")
                self.assertEqual(len(self.gateway.events("access.failed")), 1)
                self.expect_the_rules()
                self.assertEqual(self.intact(), before)
                self.expect_change()
                self.gateway.stop()
                self.assertEqual(self.gateway.events("gateway.defect"), [])
                if found_at_start:
                    damage(self.gateway.database)
                    self.expect_no_start()


class Elsewhere(Rules):
    def test_another_store_in_its_place_is_in_force(self):
        self.start()
        other = mailgate.Mailgate(self.scratch, self.gateway.listeners, self.gateway.upstreams, name="other")
        other.write_config()
        other.access("allow", UNKNOWN)
        other.database.rename(self.gateway.database)
        wait_until(lambda: self.admits(UNKNOWN), "the other's rules", deadline=1.0 * mailgate.SLACK)
        self.assertEqual((self.admits(ALLOWED), self.admits(DENIED, "public")), (False, True))
        self.assertEqual(self.gateway.events("access.failed"), [])
        self.expect_change()
        self.intact()

    def test_a_lock_that_outlasts_everybody_hinders_changes_only(self):
        self.start()
        before = self.intact()
        with contextlib.closing(sqlite3.connect(self.gateway.database, isolation_level=None, timeout=20)) as database:
            database.execute("BEGIN EXCLUSIVE")
            end = time.monotonic() + LOCKED_FOR
            self.expect_refused_change("mailgate.db", "locked")
            refused = self.gateway.run("access", "deny", "0.0.0.0/0", "--dry-run")
            self.assertEqual((refused.returncode, refused.stdout), (1, ""))
            self.assertNotIn("locked", refused.stderr, "what is refused is found out before others wait")
            while time.monotonic() < end:
                self.expect_the_rules()
            database.execute("ROLLBACK")
        self.assertEqual(self.gateway.events("access.failed"), [])
        self.assertEqual(self.intact(), before)
        self.expect_change()

    def test_read_only(self):
        self.start(prefix=AS_ANYBODY)
        before = self.intact()
        folder, files = self.gateway.folder, list(self.gateway.folder.glob("mailgate*.db*"))
        for path in files:
            path.chmod(0o444)
        folder.chmod(0o555)
        self.expect_refused_change("mailgate.db", "read-only")
        self.expect_the_rules(0.6)
        self.gateway.stop()
        self.expect_no_start("read-only")
        folder.chmod(0o755)
        for path in folder.glob("mailgate*.db*"):
            path.chmod(0o644)
        self.start_again()
        self.assertEqual(self.intact(), before)
        self.expect_change()


@unittest.skipUnless(os.geteuid() == 0, "needs a mount namespace")
class FullDisk(Rules):
    def setUp(self):
        self.disk = Disk(self.scratch.folder(self._testMethodName), "4m")

    def prepare(self, *arguments, **settings):
        super().prepare(*arguments, **settings)
        self.gateway.process.output = self.scratch.folder("outputs") / self._testMethodName

    def ask(self, *arguments):
        done = self.gateway.run(*arguments)
        return done.returncode, done.stdout, done.stderr

    def expect_waiting_records(self):
        """Whoever looks is told, wherever he looks."""
        trouble = r"the journal cannot be written since \S+ \(.*the disk is full.*\): (1 record waits|[\d,]+ records wait) in memory"
        state, said, _ = wait_until(lambda: "the journal" in (answer := self.ask("status", "--check"))[1] and answer, "a warning")
        self.assertRegex(said, r"^MAILGATE WARNING - the journal cannot be written, .* in memory: .*the disk is full")
        self.assertEqual(state, 1, said)
        self.assertIn(", the log cannot be written: No space left on device, its lines wait in memory", said)
        told = " ".join(self.ask("status")[1].split())
        self.assertRegex(told, f"Warning: {trouble}, and would be lost in a stop")
        self.assertRegex(told, r"Warning: since \S+ the log cannot be written: No space left on device")
        for question in (("who", ALLOWED), ("sessions",), ("top", "--by", "client"), ("report", "would-refuse")):
            self.assertRegex(self.ask(*question)[2], trouble, question)

    def test_mail_goes_on_and_nothing_is_lost(self):
        self.start(log={"level": "information"}, admin={"socket": "mailgate.sock"})
        before = self.intact()
        wait_until(lambda: self.ask("status", "--check")[0] == 0, "the gateway to be well")
        listing = self.gateway.folder / "rules.txt"
        listing.write_text("".join(f"deny 10.0.{number // 250}.{number % 250}\n" for number in range(2000)))
        self.disk.fill()
        self.expect_refused_change("mailgate.db", "the disk is full")
        done = self.gateway.run("access", "import", str(listing))
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), done)
        self.assertIn("the disk is full", done.stderr)
        for number in range(100):
            self.assertTrue(self.admits(ALLOWED))
        self.expect_the_rules(0.6)
        wait_until(lambda: "No space left on device" in self.gateway.process.text(), "standard error to tell of the log")
        self.assertEqual(self.gateway.process.text().count("\n"), 1, self.gateway.process.text())
        self.expect_waiting_records()
        self.disk.free()
        self.assertEqual(self.gateway.wait_event("journal.recovered")["lost"], 0)
        self.assertIn("the disk is full", self.gateway.wait_event("journal.failed")["detail"])
        wait_until(lambda: self.ask("status", "--check")[0] == 0, "the gateway to be well again")
        self.assertEqual(self.ask("who", ALLOWED)[2], "")
        self.gateway.wait_events(107, "session.end", client=ALLOWED)
        self.assertEqual(self.gateway.events("log.lost"), [])
        self.assertEqual(self.intact(), before)
        self.expect_change()
        self.gateway.access("import", str(listing))
        wait_until(lambda: self.gateway.events("access.changed", rules=2003), "the imported rules")

    def test_a_start_and_a_stop_say_so(self):
        self.start(admin={"socket": "mailgate.sock"})
        before = self.intact()
        self.disk.fill()
        self.assertTrue(self.admits(ALLOWED))
        wait_until(lambda: "the journal" in self.ask("status", "--check")[1], "a record that waits")
        self.gateway.stop()
        self.assertRegex(self.gateway.process.text(), r"(?m)^mailgate: the journal .* lost")
        self.disk.fill()
        self.expect_no_start("the disk is full")
        self.expect_failed_check("the disk is full")
        for database in self.gateway.folder.glob("mailgate*.db*"):
            shutil.move(database, self.scratch.folder("outputs"))
        self.disk.fill()
        self.expect_failed_check("mailgate.db: the disk is full")
        self.assertEqual(list(self.gateway.folder.glob("*.db*")), [])
        self.disk.free()
        self.assertEqual(self.ask("check")[0], 0)
        for database in self.scratch.folder("outputs").glob("mailgate*.db*"):
            shutil.move(database, self.gateway.folder)
        self.start_again()
        self.assertEqual(self.intact(), before)

    def test_reading_needs_no_room(self):
        """SQLite would keep an index of its log beside the file, for as long as it reads."""
        self.prepare()
        self.disk.fill()
        for arguments in (("list",), ("test", ALLOWED), ("export",), ("report",), ("history",), ("set", "list"),
                          ("deny", "192.0.2.9", "--dry-run")):
            done = self.gateway.run("access", *arguments)
            self.assertEqual(done.returncode, 0, done)
            self.assertIn("manual" if "set" in arguments else "192.0.2.9" if "deny" in arguments else ALLOWED, done.stdout)
        self.expect_refused_change("the disk is full")
        self.disk.free()
        self.assertEqual(len(self.intact()[0]), 2)


class Limited(Rules):
    def test_a_command_that_may_write_no_more_says_so_and_changes_nothing(self):
        """A limit of file sizes comes with a signal that would end the command without a word."""
        self.prepare()
        before = self.intact()
        size = self.gateway.database.stat().st_size
        self.gateway.prefix = ("prlimit", f"--fsize={size}")
        listing = "".join(f"deny 10.0.{number // 250}.{number % 250}\n" for number in range(2000))
        done = self.gateway.run("access", "import", "-", stdin=listing)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), done)
        self.assertIn("mailgate.db", done.stderr)
        self.assertEqual(self.intact(), before)


if __name__ == "__main__":
    unittest.main()
