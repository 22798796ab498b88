# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL of a test's own, run by the user postgres on a port of its own."""

import contextlib
import glob
import os
import pathlib
import pwd
import shutil
import signal
import subprocess

from .ports import reserve_port
from .process import Process, wait_for_port, wait_until

BIN = max(glob.glob("/usr/lib/postgresql/*/bin"), default="/usr/lib/postgresql/15/bin")


def _runs(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


class Postgres:
    """With TLS where `certificate` and `key` are given. Over TCP roles need their passwords, the socket's folder is the
    superuser's."""

    def __init__(self, scratch, name="postgres", certificate=None, key=None, disk_mib=None, network=None):
        """`disk_mib`: on a disk of that size, which takes root's rights. `network`: in that Namespace, by all of its links."""
        self.folder = scratch.folder(name)
        if disk_mib:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={disk_mib}m", "mailgate-test", self.folder], check=True)
            scratch.defer(subprocess.run, ["umount", "-l", self.folder])
        self.port = reserve_port()
        self._network = network
        self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        if self.as_user:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._data = self.folder / "data"
        self._settings = [f"port={self.port}", "listen_addresses=" + ("*" if network else "127.0.0.1"), f"unix_socket_directories={self.folder}", "fsync=off",
                          "logging_collector=off", "log_connections=on"]
        if certificate:
            for source, target in ((certificate, "server.pem"), (key, "server.key")):
                shutil.copy(source, self.folder / target)
                os.chmod(self.folder / target, 0o600)
                if self.as_user:
                    os.chown(self.folder / target, account.pw_uid, account.pw_gid)
            self._settings += ["ssl=on", f"ssl_cert_file={self.folder}/server.pem", f"ssl_key_file={self.folder}/server.key"]
        # A small disk is not for the log alone.
        self._initdb = ["--wal-segsize=1"] if disk_mib else []
        self._settings += ["max_wal_size=4MB", "min_wal_size=2MB"] if disk_mib else []
        self.log = self.folder.parent / f"{self.folder.name}.log"
        self._new_process()

    def _new_process(self):
        settings = [word for setting in self._settings for word in ("-c", setting)]
        prefix = self._network.prefix if self._network else []
        self._process = Process("postgres", [*prefix, *self.as_user, f"{BIN}/postgres", "-D", self._data, *settings],
                                self.log, cwd=self.folder)

    def start(self):
        if not self._data.exists():
            subprocess.run([*self.as_user, f"{BIN}/initdb", "-D", self._data, "-U", "postgres", "--no-sync", "--no-instructions",
                            "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "--locale=C", *self._initdb],
                           check=True, capture_output=True, cwd=self.folder)
            if self._network:
                with open(self._data / "pg_hba.conf", "a", encoding="ascii") as file:
                    file.write("host all all samenet scram-sha-256\n")
        self._process.start()
        self._process.wait_ready(lambda: self._answers(), "it to take connections")
        return self

    def _answers(self):
        return subprocess.run([f"{BIN}/pg_isready", "-q", "-h", self.folder, "-p", str(self.port)], check=False).returncode == 0

    def stop(self):
        if self._process.running():
            self.thaw()
            self._process.signal(signal.SIGINT)
            self._process.exit_code()
        self._process.stop()

    def running(self):
        return self._process.running()

    def kill(self):
        """kill -9 of all of it. It may be started again."""
        os.kill(self._process.pid, signal.SIGSTOP)  # no more children
        pids = self._pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.exit_code()
        wait_until(lambda: not any(_runs(pid) for pid in pids), "all of PostgreSQL's processes to end")
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        self._new_process()

    def _pids(self):
        """Each of its processes has a session of its own."""
        main = self._process.pid
        children = pathlib.Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [main, *map(int, children)]

    def freeze(self):
        """It still has its sockets, and answers nothing."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):  # whose client has gone ends, once it goes on
                os.kill(pid, signal.SIGCONT)

    def _psql(self, database):
        return [f"{BIN}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-p", str(self.port), "-U", "postgres", "-d", database]

    @contextlib.contextmanager
    def holding(self, text, database):
        """A transaction that has done this and does not end until the block does, and then changes nothing."""
        with subprocess.Popen(self._psql(database), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as shell:
            shell.stdin.write(f"BEGIN; {text};\n\\echo held\n")
            for line in shell.stdout:
                if line == "held\n":
                    break
            yield
            shell.stdin.close()

    def sql(self, text, database="postgres"):
        """What the superuser's psql prints, unaligned."""
        done = subprocess.run(self._psql(database), input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def connection(self, database):
        return Connection(self, database)

    def disconnect_all(self, database):
        self.sql(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}'")

    def url(self, role, password, database, options="", host="127.0.0.1"):
        return f"postgresql://{role}:{password}@{host}:{self.port}/{database}{options}"



class Connection:
    """The superuser's psql, which goes on."""

    def __init__(self, postgres, database):
        self.psql = subprocess.Popen([f"{BIN}/psql", "-XAtq", "-h", postgres.folder, "-p", str(postgres.port), "-U", "postgres", "-d", database],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, text):
        """Returns when it is done."""
        self.psql.stdin.write(f"{text}\n\\echo done\n")
        self.psql.stdin.flush()
        while (line := self.psql.stdout.readline()) != "done\n":
            assert line, "psql has ended"

    def close(self):
        self.psql.communicate()


class PgBouncer:
    """A pooler in front of it that gives each transaction a connection: what a client has asked of one before is lost."""

    def __init__(self, scratch, postgres, roles):
        """`roles`: their passwords, by name."""
        folder = scratch.folder("pgbouncer")
        self.port = reserve_port()
        (folder / "users").write_text("".join(f'"{role}" "{password}"\n' for role, password in roles.items()))
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={postgres.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            f"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {folder}/users\npool_mode = transaction\n")
        self._process = Process("pgbouncer", [*postgres.as_user, "/usr/sbin/pgbouncer", folder / "pgbouncer.ini"], folder / "output.txt")

    def start(self):
        self._process.start()
        wait_for_port(self.port)
        return self

    def stop(self):
        self._process.stop()
