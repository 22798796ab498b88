# SPDX-License-Identifier: Apache-2.0
"""The Debian package: installed, run, upgraded and purged, on a copy of this machine that leaves nothing behind."""

import gzip
import json
import os
import pathlib
import re
import subprocess
import unittest

from harness import mailgate
from harness.process import Process, Scratch, wait_until
from harness.system import System

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = "/etc/mailgate/mailgate.toml"
LOG = "/var/log/mailgate/mailgate.log"
scratch = None
packages = {}

# Says a PROXY header for 198.51.100.7 to the packaged configuration's listener and prints what it hears.
CLIENT = """
import socket
client = socket.create_connection(("127.0.0.1", 2525), 30)
client.sendall(b"PROXY TCP4 198.51.100.7 203.0.113.10 40000 25\\r\\n")
print(client.recv(1000).decode())
"""

# In place of systemd's own commands: what the maintainer scripts ask for, a line each.
RECORDER = '#!/bin/sh\necho "${0##*/} $*" >> /run/asked\n'


def make_package(version):
    folder = scratch.folder(f"package-{version}")
    build = pathlib.Path(mailgate.binary()).parents[1]
    subprocess.run(["cpack", "--config", build / "CPackConfig.cmake", "-R", version, "-B", folder], cwd=build, check=True,
                   stdout=subprocess.DEVNULL)
    [package] = folder.glob("mailgate_*.deb")
    return package


def setUpModule():
    global scratch
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.close)
    for version in ("0.1.0", "0.1.1"):
        packages[version] = make_package(version)


class Package(unittest.TestCase):
    def setUp(self):
        self.system = scratch.start(System(scratch, self._testMethodName))
        self.addCleanup(self.system.stop)

    def install(self, version="0.1.0"):
        # Triggers are other packages' business: rebuilding the index of manual pages takes long.
        return self.system.run("DEBIAN_FRONTEND=noninteractive", "dpkg", "--no-triggers", "--force-unsafe-io", "--install",
                               packages[version])

    def pretend_systemd(self, invoked="true"):
        self.system.run("mkdir", "-p", "/run/systemd/system")
        for command, ends in (("/bin/systemctl", "true"), ("/usr/bin/deb-systemd-invoke", invoked)):
            self.system.run("rm", "-f", command)
            self.system.write(command, RECORDER + ends, "755")

    def asked(self):
        """What was done to the service since the last time."""
        lines = self.system.read("/run/asked").splitlines()
        self.system.run("rm", "/run/asked")
        return [line for line in lines if line.split()[1] in ("start", "restart", "stop")]

    def serve(self):
        """Starts the gateway as the unit does, which makes its RuntimeDirectory first."""
        self.system.run("install", "-d", "-o", "mailgate", "-g", "mailgate", "-m", "0750", "/run/mailgate")
        daemon = Process("mailgate", self.system.argv("setpriv", "--reuid=mailgate", "--regid=mailgate", "--init-groups",
                                                      "/usr/bin/mailgate", "serve", "--config", CONFIG),
                         self.system.folder / "mailgate.txt")
        scratch.start(daemon)
        self.addCleanup(daemon.stop)
        daemon.wait_ready(lambda: "gateway.start" in self.system.run("cat", LOG, check=False).stdout, "gateway.start")
        return daemon

    def events(self, event):
        lines = [json.loads(line) for line in self.system.read(LOG).splitlines()]
        return [line for line in lines if line["event"] == event]

    def say(self):
        return self.system.run("/usr/bin/python3", "-c", CLIENT).stdout

    def test_installs_what_it_says(self):
        self.install()
        self.assertIn("ok, 1 listener", self.system.run("mailgate", "check").stdout)
        self.assertEqual(self.system.run("stat", "-c", "%U:%G %a %n", CONFIG, "/var/lib/mailgate", "/var/log/mailgate").stdout,
                         f"root:mailgate 640 {CONFIG}\nmailgate:mailgate 750 /var/lib/mailgate\n"
                         "mailgate:mailgate 750 /var/log/mailgate\n")
        for page in ("man1/mailgate.1", "man5/mailgate.toml.5", "man5/mailgate-log.5"):
            self.system.run("gzip", "--test", f"/usr/share/man/{page}.gz")
        self.assertTrue(self.system.exists("/etc/systemd/system/multi-user.target.wants/mailgate.service"))
        for folder in ("bash-completion/completions/mailgate", "zsh/vendor-completions/_mailgate",
                       "fish/vendor_completions.d/mailgate.fish"):
            self.assertTrue(self.system.exists(f"/usr/share/{folder}"), folder)

    def test_lintian_finds_no_error(self):
        found = subprocess.run(["lintian", "--allow-root", "--fail-on", "error", packages["0.1.0"]], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(found.returncode, 0, found.stdout)

    def test_its_documents_are_where_debian_looks(self):
        unpacked = scratch.folder("unpacked")
        subprocess.run(["dpkg-deb", "--extract", packages["0.1.0"], unpacked], check=True)
        documents = unpacked / "usr/share/doc/mailgate"
        for path in ("copyright", "changelog.gz", "README.md", "docs/operations.md", "docs/console/overview.png", "examples/prometheus/alerts.yml",
                     "examples/grafana/mailgate.json"):
            self.assertTrue((documents / path).exists(), path)
        changelog = scratch.path / "changelog.Debian"
        changelog.write_bytes(gzip.decompress((documents / "changelog.Debian.gz").read_bytes()))
        parsed = subprocess.run(["dpkg-parsechangelog", "--file", changelog], text=True, capture_output=True, check=True)
        self.assertEqual(parsed.stderr, "")
        self.assertIn("Source: mailgate\nVersion: 0.1.0-1\n", parsed.stdout)

    def test_the_journal_is_not_there_before_the_gateway_made_it(self):
        self.install()
        self.assertFalse(self.system.exists("/var/lib/mailgate/mailgate-journal.db"))
        self.assertNotIn("empty", self.system.run("mailgate", "sessions", check=False).stdout)
        self.assertNotIn("empty", self.system.run("mailgate", "access", "list", check=False).stdout)
        self.serve()
        self.say()
        wait_until(lambda: "198.51.100.7" in self.system.run("mailgate", "sessions", check=False).stdout, "its first session")

    def test_its_units_are_valid_and_confined(self):
        self.install()
        override = "/etc/systemd/system/mailgate@smtp.socket.d"
        self.system.run("mkdir", "-p", override)
        self.system.write(f"{override}/override.conf", "[Socket]\nListenStream=0.0.0.0:25\nListenStream=[::]:25\n")
        verified = self.system.run("systemd-analyze", "verify", "--man=no", "mailgate.service", "mailgate@smtp.socket").stdout
        self.assertNotIn("mailgate", verified)
        # docs/operations.md and docs/log.md count on these.
        units = self.system.run("cat", "/usr/lib/systemd/system/mailgate.service", "/usr/lib/systemd/system/mailgate@.socket").stdout
        for setting in ("FreeBind=yes", "LogRateLimitIntervalSec=0"):
            self.assertIn(f"\n{setting}\n", units)
        # Tenths: docs/security.md quotes the score.
        self.system.run("systemd-analyze", "security", "--offline=true", "--threshold=15",
                        "/usr/lib/systemd/system/mailgate.service")

    def test_runs_as_its_user_with_the_packaged_configuration(self):
        self.install()
        self.system.run("mailgate", "access", "deny", "198.51.100.7")  # by root, before there was a store
        self.serve()
        self.assertRegex(self.say(), "^5[0-9][0-9] ")
        [refused] = wait_until(lambda: self.events("session.refused"), "session.refused in the log")
        self.assertEqual((refused["client"], refused["rule"]), ("198.51.100.7", "198.51.100.7"))
        self.assertEqual(self.system.run("stat", "-c", "%U", "/var/lib/mailgate/mailgate.db-wal").stdout, "mailgate\n")

    def test_runs_as_its_user_with_the_configuration_of_the_readme(self):
        self.install()
        [text] = re.findall(r"A minimal `/etc/mailgate/mailgate.toml`.*?```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
        self.system.write(CONFIG, text + f'[log]\ntarget = "file:{LOG}"\n')
        self.assertIn("ok, 1 listener", self.system.run("mailgate", "check").stdout)
        self.system.run("mailgate", "access", "deny", "198.51.100.7")
        self.serve()
        self.assertIn("1 access rule", self.system.run("mailgate", "status", check=False).stdout)
        self.assertEqual(self.system.run("sh", "-c", "ls /etc/mailgate").stdout, "mailgate.toml\n")
        # A database that was there before is not passed over: others would be let in.
        self.system.run("touch", "/etc/mailgate/mailgate.db")
        checked = self.system.run("mailgate", "check", check=False)
        self.assertEqual(checked.returncode, 78)
        self.assertIn('write url = "sqlite:/etc/mailgate/mailgate.db"', checked.stdout)

    def test_its_log_is_rotated_without_a_lost_line(self):
        self.install()
        self.serve()
        self.say()
        wait_until(lambda: self.events("session.refused"), "the first line")
        # A gateway of before an upgrade, which knows no SIGUSR1, and a command of the same user, which no signal is for.
        self.system.run("cp", "/bin/sh", "/opt/mailgate")
        for signal, word in (("HUP", "serve"), ("TERM", "import")):
            self.system.run("sh", "-c", "setpriv --reuid=mailgate --regid=mailgate --clear-groups /opt/mailgate -c "
                            f"'trap \"echo > /var/lib/mailgate/{signal}\" {signal}; sleep 1000 & echo $$ > /var/lib/mailgate/{word}; wait; wait' {word} "
                            ">/dev/null 2>&1 &")
            wait_until(lambda: self.system.exists(f"/var/lib/mailgate/{word}") and self.system.read(f"/var/lib/mailgate/{word}"), word)
        self.system.run("logrotate", "--force", "--state=/var/lib/logrotate.mailgate", "/etc/logrotate.d/mailgate")
        wait_until(lambda: self.system.exists(LOG), "the new file")
        self.say()
        wait_until(lambda: len(self.events("session.refused")) == 1, "a line in the new file")
        self.assertEqual(self.events("config.reloaded"), [], "an edited file waits for its reload")
        wait_until(lambda: self.system.exists("/var/lib/mailgate/HUP"), "SIGHUP at the gateway of before")
        self.assertFalse(self.system.exists("/var/lib/mailgate/TERM"))
        self.system.run("kill", self.system.read("/var/lib/mailgate/import").strip())
        wait_until(lambda: self.system.exists("/var/lib/mailgate/TERM"), "the command, which was still there")
        self.assertIn('"event":"session.refused"', self.system.read(f"{LOG}.1"))
        self.assertEqual(self.system.run("stat", "-c", "%U %a", LOG).stdout, "mailgate 640\n")

    def test_an_upgrade_keeps_the_configuration_and_the_rules(self):
        self.install()
        self.system.run("mailgate", "access", "allow", "198.51.100.0/24")
        self.system.run("sed", "-i", 's/^name = "smtp"/name = "front"/', CONFIG)
        self.install("0.1.1")
        self.assertEqual(self.system.run("dpkg-query", "-W", "-f", "${Version}", "mailgate").stdout, "0.1.1-1")
        self.assertIn('name = "front"', self.system.read(CONFIG))
        self.assertIn("198.51.100.0/24", self.system.run("mailgate", "access", "list").stdout)
        self.assertEqual(self.system.run("stat", "-c", "%U:%G %a", CONFIG).stdout, "root:mailgate 640\n")

    def test_an_upgrade_restarts_the_service_once_and_never_stops_it(self):
        self.pretend_systemd()
        self.install()
        self.assertEqual(self.asked(), ["deb-systemd-invoke start mailgate.service"])
        self.install("0.1.1")
        self.assertEqual(self.asked(), ["deb-systemd-invoke restart mailgate.service"])
        self.system.run("dpkg", "--remove", "mailgate")
        self.assertEqual(self.asked(), ["systemctl stop mailgate@*.socket", "deb-systemd-invoke stop mailgate.service"])

    def test_an_upgrade_leaves_the_gateway_alone_when_it_would_not_come_back(self):
        self.pretend_systemd(invoked="false")
        self.assertIn("has not started", self.install().stdout)
        self.asked()
        # A mistake in the file, and a file that only root may read: the service runs as another user.
        for mistake in (f"echo nonsense = 1 >> {CONFIG}",
                        f"sed -i '/^nonsense/d; 1i include = \"secret.toml\"' {CONFIG}; install -m 600 /dev/null /etc/mailgate/secret.toml"):
            self.system.run("sh", "-c", mistake)
            said = self.install("0.1.1").stdout
            self.assertIn("was not restarted", said)
            self.assertEqual("examined as mailgate" in said, "secret" in mistake, "where it may be a matter of rights")
            self.assertFalse(self.system.exists("/run/asked") and self.asked())
        checked = self.system.run("mailgate", "check", check=False)
        self.assertEqual(checked.returncode, 78)
        self.assertIn("secret.toml", checked.stdout)
        self.assertIn("examined as mailgate", checked.stdout)
        self.system.run("chgrp", "mailgate", "/etc/mailgate/secret.toml")
        self.system.run("chmod", "640", "/etc/mailgate/secret.toml")
        self.assertIn("ok, 1 listener", self.system.run("mailgate", "check").stdout)
        # Its user may write there, and the unit's sandbox does not let it: without them it does not start.
        self.system.run("install", "-d", "-o", "mailgate", "/opt/mail")
        for key, usual in (("journal.url", "mailgate-journal.db"), ("store.url", "mailgate.db")):
            self.system.run("sed", "-i", f"s#sqlite:/var/lib/mailgate/{usual}#sqlite:/opt/mail/{usual}#", CONFIG)
            checked = self.system.run("mailgate", "check", check=False)
            self.assertEqual(checked.returncode, 78)
            self.assertIn(f"{key}: /opt/mail/{usual} is read-only to the service", checked.stdout)
            self.assertIn("ReadWritePaths=/opt/mail", checked.stdout)
            self.system.run("sed", "-i", f"s#sqlite:/opt/mail/{usual}#sqlite:/var/lib/mailgate/{usual}#", CONFIG)
        # A user that is not there is no reason to say nothing of the file.
        self.system.run("mkdir", "-p", "/etc/systemd/system/mailgate.service.d")
        self.system.write("/etc/systemd/system/mailgate.service.d/user.conf", "[Service]\nUser=nobody-here\n")
        self.system.run("sed", "-i", "1i nonsense = 1", CONFIG)
        checked = self.system.run("mailgate", "check", check=False).stdout
        self.assertIn("nonsense", checked)
        self.assertIn("User=nobody-here: there is none", checked)

    def test_removal_keeps_what_is_the_sites_and_purge_leaves_nothing(self):
        def found():
            return self.system.run("sh", "-c", "find /etc /usr /var /run -iname '*mailgate*' ! -path '/var/cache/*'; "
                                               "grep -H mailgate /etc/passwd /etc/group /etc/shadow || true").stdout

        before = found()
        self.install()
        self.system.run("mailgate", "access", "allow", "198.51.100.0/24")
        self.serve().stop()
        self.system.run("dpkg", "--remove", "mailgate")
        self.assertFalse(self.system.exists("/usr/bin/mailgate"))
        for path in (CONFIG, LOG, "/var/lib/mailgate/mailgate.db"):
            self.assertTrue(self.system.exists(path), path)
        self.system.run("dpkg", "--purge", "mailgate")
        self.assertEqual(found(), before)


class ByHand(unittest.TestCase):
    """`cmake --install`: nothing is outside the prefix, nothing of the site's is overwritten."""

    def test_everything_is_below_the_prefix(self):
        destination = scratch.folder("by-hand")
        subprocess.run(["cmake", "--install", pathlib.Path(mailgate.binary()).parents[1], "--prefix", "/opt/mailgate"], check=True,
                       env={**os.environ, "DESTDIR": str(destination)}, stdout=subprocess.DEVNULL)
        prefix = destination / "opt/mailgate"
        self.assertEqual([path.name for path in destination.iterdir()], ["opt"])
        self.assertEqual([path.name for path in (destination / "opt").iterdir()], ["mailgate"])
        for path in ("bin/mailgate", "share/man/man1/mailgate.1.gz", "share/man/man5/mailgate.toml.5.gz",
                     "share/bash-completion/completions/mailgate", "share/zsh/site-functions/_mailgate",
                     "share/fish/vendor_completions.d/mailgate.fish", "lib/systemd/system/mailgate@.socket",
                     "share/doc/mailgate/README.md", "share/doc/mailgate/LICENSE", "share/doc/mailgate/docs/operations.md",
                     "share/doc/mailgate/examples/mailgate.toml",
                     "share/doc/mailgate/examples/prometheus/alerts.yml", "share/doc/mailgate/examples/logrotate/mailgate"):
            self.assertTrue((prefix / path).exists(), path)
        unit = (prefix / "lib/systemd/system/mailgate.service").read_text()
        self.assertIn("\nExecStart=/opt/mailgate/bin/mailgate serve ", unit)
        self.assertNotIn("/usr/bin/mailgate", unit)


class Manual(unittest.TestCase):
    """What the manual and the completions must not forget."""

    def commands(self):
        text = subprocess.run([mailgate.binary(), "--help"], text=True, capture_output=True, check=True).stdout
        return re.findall(r"^  ([a-z]+) ", text[text.index("Subcommands:"):text.index("Exit status:")], re.MULTILINE)

    def answering(self):
        """The environment of a shell for which a mailgate answers, of a fleet and with balancers."""
        folder = scratch.path / "answering"
        folder.mkdir(exist_ok=True)
        (folder / "mailgate").write_text("""#!/bin/sh
[ "$1 $2" = "--config x.toml" ] && shift 2
case "$*" in
    "status --json") printf '{\\n  "listeners": [\\n    {\\n      "trusted": [\\n        "10.0.0.0/8",\\n        "2001:db8::/32",\\n        "::1"\\n      ],\\n      "live": 0\\n    },\\n    {\\n      "trusted": [ ],\\n      "mode": "enforce"\\n    }\\n  ]\\n}\\n' ;;
    "fleet status --json") printf '{\\n  "members": [\\n    {\\n      "gateway": "gw2"\\n    },\\n    {\\n      "gateway": "gw1"\\n    }\\n  ]\\n}\\n' ;;
    *) echo "mailgate: $*" >&2; exit 2 ;;
esac
""")
        (folder / "timeout").write_text('#!/bin/sh\n[ "$1" = 1 ] && shift && exec "$@"\n')  # a busy machine needs more
        for program in folder.iterdir():
            program.chmod(0o755)
        return {**os.environ, "HOME": str(scratch.path), "PATH": f"{folder}:{os.environ['PATH']}"}

    def complete(self, *words, folder=None, env=None):
        """What bash offers for the last word."""
        script = (f'source "{ROOT}/etc/completions/mailgate.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                  '_mailgate; printf "%s\\n" "${COMPREPLY[@]}"')
        return subprocess.run(["bash", "-c", script, "bash", "mailgate", *words], text=True, capture_output=True, check=True,
                              cwd=folder or scratch.path, env=env).stdout.split()

    def complete_in_zsh(self, *words):
        """What zsh is told to offer for the last word: _arguments gets what it is to find out."""
        script = ('_arguments() { if [[ $1 = -C ]]; then state=argument; else print -rl -- "$@"; fi }\n'
                  '_describe() { print -rl -- ${${(P)2}%%:*} }\n'
                  'typeset -A opt_args; opt_args[--config]=$1; words=("${@:2}"); CURRENT=$#words; source ./_mailgate')
        return subprocess.run(["zsh", "-f", "-c", script, "zsh", self.hosts(), *words], text=True, check=True, capture_output=True,
                              cwd=ROOT / "etc/completions").stdout.splitlines()

    def complete_in_fish(self, line, folder=None):
        script = f'source {ROOT}/etc/completions/mailgate.fish; complete -C $argv[1]'
        offered = subprocess.run(["fish", "-c", script, line], text=True, check=True, capture_output=True, cwd=folder or scratch.path,
                                 env={**os.environ, "HOME": str(scratch.path)}).stdout
        return {line.split("\t")[0] for line in offered.splitlines()}

    def hosts(self):
        """A configuration with servers of all spellings."""
        file = scratch.path / "hosts.toml"
        file.write_text('[[listener]]\naddress = "0.0.0.0:25"\n[[upstream]]\nserver = [{ address = "mx1.example.org:25" },\n'
                        '  { address = "[2001:db8::1]:25" }]\n[[upstream.server]]\n# address = "no.example:25"\naddress = "192.0.2.7:26"\n')
        return str(file)

    def manual(self, page):
        return (ROOT / "docs/man" / f"{page}.scd").read_text()

    def test_the_manual_has_every_command_key_and_event(self):
        for command in self.commands():
            self.assertRegex(self.manual("mailgate.1"), rf"(?m)^\*{command}\b", command)
        table = (ROOT / "docs/configuration.md").read_text()
        for table_name, key in re.findall(r"(?m)^\| `([a-z_.]+)\.([a-z0-9_]+)` ", table):
            section = re.search(rf"(?ms)^# \[+{re.escape(table_name)}\]+$(.*?)(?=^# |\Z)", self.manual("mailgate.toml.5"))
            self.assertIsNotNone(section, table_name)
            self.assertRegex(section.group(1), rf"(?m)^\*{key}\*", f"{table_name}.{key}")
        # With the level that each has; fields have a type there.
        events = re.findall(r"(?m)^\| `([a-z_]+\.[a-z_]+)` \| (?:debug|information|warning|error|critical)\b",
                            (ROOT / "docs/log.md").read_text())
        self.assertIn("session.end", events)
        for event in events:
            self.assertIn(f"*{event}*", self.manual("mailgate-log.5"))

    def test_bash_completes_commands_options_and_listeners(self):
        self.assertLessEqual(set(self.commands()), set(self.complete("")))
        self.assertEqual(self.complete("acc"), ["access"])
        self.assertEqual(self.complete("access", "de"), ["deny"])
        self.assertIn("--expires", self.complete("--config", "x.toml", "access", "deny", "192.0.2.1", "--e"))
        sample = str(ROOT / "etc/mailgate.toml")
        self.assertEqual(self.complete("--config", sample, "access", "allow", "--listener", ""), ["smtp"])
        self.assertEqual(self.complete("--config", sample, "probe", "po"), ["postfix"])

    def test_bash_completes_values(self):
        self.assertEqual(self.complete("sessions", "--columns", "time,he"), ["time,helo"])
        self.assertEqual(self.complete("access", "list", "--columns", "last"), ["last-hit"])
        self.assertEqual(self.complete("help", "access", "und"), ["undo"])
        self.assertIn("--limit", self.complete("who", "bob", "--li"))
        self.assertEqual(self.complete("access", "import", "--format", "dr"), ["drop"])
        self.assertEqual(self.complete("access", "import", "--verdict", "d"), ["deny"])
        self.assertEqual(self.complete("sessions", "--tls", "pass"), ["passthrough"])
        self.assertEqual(self.complete("restore", "--parts", "j"), ["journal"])
        self.assertEqual(self.complete("--config", self.hosts(), "server", "drain", "--host", ""),
                         ["mx1.example.org", "2001:db8::1", "192.0.2.7"])
        self.assertIn("never", self.complete("access", "allow", "192.0.2.1", "--expires", ""))
        self.assertNotIn("today", self.complete("access", "allow", "192.0.2.1", "--expires", ""))
        self.assertIn("today", self.complete("sessions", "--since", ""))
        self.assertEqual(self.complete("sessions", "--balancer", ""), [])
        self.assertIn("state", self.complete("sessions", "--live", "--columns", ""))
        self.assertIn("--columns", self.complete("report", "would-refuse", "--since", "1d", "--"))
        self.assertEqual(self.complete("status", "--check", "--lag", "10,60", "--si"), ["--silent"])
        self.assertEqual(self.complete("snippet", "dovecot", "--version", ""), ["2.3", "2.4"])
        said = subprocess.run([mailgate.binary(), "sessions", "--end", "nothing-like-it"], text=True, capture_output=True, check=False).stderr
        self.assertEqual(set(self.complete("sessions", "--end", "")), set(said.split("expected ")[1].split("\n")[0].split(", ")))

    def test_bash_completes_addresses_that_it_takes_apart(self):
        env = {**self.answering(), "COMP_WORDBREAKS": " \t\n\"'@><=;|&(:"}
        for words, offered in ((("",), ["10.0.0.0/8", "2001:db8::/32", "::1"]), (("2001", ":"), ["db8::/32"]),
                               (("2001", ":", "d"), ["db8::/32"]), (("=", "2001", ":", "db8", "::"), ["/32"]), (("::",), ["1"])):
            self.assertEqual(self.complete("sessions", "--balancer", *words, env=env), offered, words)
        self.assertEqual(self.complete("tls", "test", "mx", ":", "25", "--starttls", "p", env=env), ["pop3"])

    def test_bash_completes_files_and_what_they_name(self):
        site = scratch.folder("completed")
        (site / "conf.d").mkdir()
        (site / "mailgate.toml").write_text('include = ["conf.d/*.toml", "nothing.toml"]\n[[listener]]\nname = "mx"\n')
        (site / "conf.d/imap.toml").write_text('[[upstream]]\nname = "dovecot"\n[[upstream.server]]\nname = "one"\n'
                                               '[[upstream.server]]\nname = "two"\n[[listener]]\nname = "imap"\n')
        chosen = ("--config", str(site / "mailgate.toml"))
        self.assertEqual(self.complete(*chosen, "access", "list", "--listener", ""), ["mx", "imap"])
        self.assertEqual(self.complete(*chosen, "access", "list", "--listener", "=", "i"), ["imap"])
        self.assertEqual(self.complete(*chosen, "server", "drain", "dovecot/"), ["dovecot/one", "dovecot/two"])
        self.assertEqual(self.complete(*chosen, "sessions", "--server", "dovecot/t"), ["dovecot/two"])
        self.assertEqual(self.complete("--config", "=", chosen[1], "probe", ""), ["dovecot", *self.complete("probe", "--")])
        for words in (("access", "import", "--verdict", "deny"), ("access", "diff", "--listener=mx"), ("tls", "test", "mx:25", "--ca")):
            self.assertEqual(self.complete(*words, f"{site}/mail"), [f"{site}/mailgate.toml"], words)

    def test_what_a_file_names_is_no_command_and_no_others_file_is_read(self):
        def everywhere():
            """What is offered for names, of servers' hosts and of included files, in the folder that a shell is in."""
            bash = sum((self.complete(*words, "", folder=site) for words in (
                ("access", "test", "--listener"), ("server", "drain", "--host"), ("sessions", "--server"), ("probe",), ("server", "drain"),
                ("access", "rename-listener", "smtp"))), [])
            zsh = subprocess.run(["zsh", "-f", "-c", '_arguments() { : }; compadd() { print -rl -- ${(P)argv[-1]} }\n'
                                  f'typeset -A opt_args; words=(); source {ROOT}/etc/completions/_mailgate; _mailgate_upstreams'],
                                 text=True, check=False, capture_output=True, cwd=site).stdout
            return " ".join([*bash, zsh, *self.complete_in_fish("mailgate probe ", site)])

        site = scratch.folder("strange")
        file = site / "mailgate.toml"
        file.write_text('include = ["$(touch made)/*.toml"]\n[[listener]]\nname = "evil$(touch made)"\n'
                        '[[upstream]]\nname = "evil$(touch made)"\n[[upstream.server]]\nname = "$(touch made)"\n'
                        'address = "evil$(touch made):25"\n')
        offered = everywhere()
        self.assertEqual([path.name for path in site.iterdir()], ["mailgate.toml"])
        self.assertIn(r"evil\$\(touch\ made\)", offered, "bash has it as a word")
        self.assertGreaterEqual(offered.count("evil$(touch made)"), 2, "in zsh and fish, which quote it themselves")
        if os.geteuid() != 0:
            return  # takes root, to have a file of another user
        os.chown(file, 65534, -1)
        self.assertNotIn("evil", everywhere())
        file.rename(site / "linked.toml")
        file.symlink_to("linked.toml")
        os.chown(site / "linked.toml", 0, -1)
        os.chown(file, 65534, -1, follow_symlinks=False)
        self.assertNotIn("evil", everywhere())

    def test_balancers_and_gateways_are_those_that_mailgate_names(self):
        wanted = {"--balancer": ["10.0.0.0/8", "2001:db8::/32", "::1"], "--gateway": ["gw1", "gw2"]}
        for option, values in wanted.items():
            self.assertEqual(self.complete("sessions", option, "", env=self.answering()), values)
            self.assertEqual(self.complete("--config", "x.toml", "sessions", option, "", env=self.answering()), values)
            offered = next(one for one in self.complete_in_zsh("sessions", "") if one.startswith(f"{option}["))
            script = f'function={offered.rpartition(":")[2]}; _arguments() {{ : }}; compadd() {{ print -rl -- ${{(P)argv[-1]}} }}\n' \
                     f'typeset -A opt_args; words=(); source {ROOT}/etc/completions/_mailgate; $function'
            shells = (["zsh", "-f", "-c", script],
                      ["fish", "-c", f"source {ROOT}/etc/completions/mailgate.fish; complete -C 'mailgate sessions {option} '"])
            for shell in shells:
                said = subprocess.run(shell, text=True, check=True, capture_output=True, env=self.answering(), cwd=scratch.path).stdout
                self.assertEqual(sorted(line.split("\t")[0] for line in said.splitlines()), values, shell[0])

    def test_zsh_and_fish_take_their_files(self):
        for command in (["zsh", "-n", "_mailgate"], ["fish", "-n", "mailgate.fish"]):
            subprocess.run(command, cwd=ROOT / "etc/completions", check=True)
        self.assertLessEqual(set(self.commands()), self.complete_in_fish("mailgate "))

    def test_zsh_completes_words_of_help_and_values(self):
        self.assertLessEqual(set(self.commands()), set(self.complete_in_zsh("help", "")))
        self.assertIn("rename-listener", self.complete_in_zsh("help", "access", ""))
        self.assertIn("1:what:(list show define remove)", self.complete_in_zsh("help", "access", "set", ""))
        self.assertEqual(self.complete_in_zsh("help", "status", ""), [])
        option = next(one for one in self.complete_in_zsh("server", "drain", "") if one.startswith("--host["))
        script = f'function={option.rpartition(":")[2]}; _arguments() {{ : }}; compadd() {{ print -rl -- ${{(P)argv[-1]}} }}\n' \
                 'typeset -A opt_args; opt_args[--config]=$1; words=(); source ./_mailgate; $function'
        offered = subprocess.run(["zsh", "-f", "-c", script, "zsh", self.hosts()], text=True, check=True, capture_output=True,
                                 cwd=ROOT / "etc/completions").stdout.split()
        self.assertEqual(offered, ["mx1.example.org", "2001:db8::1", "192.0.2.7"])

    def test_fish_completes_words_of_help_and_values(self):
        rules = {"allow", "deny", "undo", "rename-listener"}
        self.assertLessEqual(rules, self.complete_in_fish("mailgate help access "))
        self.assertFalse({"access", "who"} & self.complete_in_fish("mailgate help access "))
        self.assertEqual(self.complete_in_fish("mailgate access set "), {"list", "show", "define", "remove"})
        self.assertFalse({"list", "show", "define", "remove"} & self.complete_in_fish("mailgate access set show "))
        self.assertEqual(self.complete_in_fish(f"mailgate --config {self.hosts()} server drain --host "),
                         {"mx1.example.org", "2001:db8::1", "192.0.2.7"})
