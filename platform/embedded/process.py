"""One child process: started, waited for, stopped; and gone when its parent is."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from embedded.exceptions import DidNotStart

POLL_INTERVAL = 0.02  # seconds
REAP_WITHIN = 10.0  # seconds from SIGKILL on; one that the kernel holds in a disk or a mount ends later
LOG_MAX_BYTES = 10 * 1024 * 1024  # a larger log is put aside as .log.1 at the next start
PR_SET_PDEATHSIG = 1  # linux/prctl.h

_libc = ctypes.CDLL(None)
_TELLING = re.compile(r"FATAL|PANIC|[Ee]rror|[Cc]an't|[Cc]annot")


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run, how to tell that it is up, and how to end it."""

    name: str
    argv: Sequence[str]
    log: Path
    is_ready: Callable[[], bool] = lambda: True
    #: Added to this process's environment.
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    #: Seconds from start to ready.
    ready_within: float = 30.0
    stop_signal: signal.Signals = signal.SIGTERM
    #: Seconds from the stop signal to SIGKILL.
    stop_within: float = 5.0
    #: What the kernel sends when the parent is gone. Servers get their orderly signal, the rest SIGKILL.
    death_signal: signal.Signals = signal.SIGKILL
    #: Kept open in the child: a lock's descriptor, so that the lock is held until the last child is gone.
    pass_fds: Sequence[int] = ()


class Process:
    """A program that can be started again and again.

    Start it from a thread that lives as long as it does: the kernel's "parent died" means that thread.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._child: subprocess.Popen[bytes] | None = None
        self._log_offset = 0

    @property
    def pid(self) -> int:
        """0 before the first start."""
        return self._child.pid if self._child else 0

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: minus the signal that ended it."""
        return self._child.poll() if self._child else None

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it, in a process group of its own: Ctrl-C reaches the supervisor only."""
        program = self.program
        self._set_large_log_aside()
        with program.log.open("ab") as log:
            self._log_offset = log.tell()
            self._child = subprocess.Popen(
                program.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **program.env},
                cwd=program.cwd,
                start_new_session=True,
                pass_fds=tuple(program.pass_fds),
                preexec_fn=_die_with_parent(os.getpid(), program.death_signal),
            )

    def wait_ready(self) -> None:
        """Return once it is ready. DidNotStart, with its last word, when it ended or took too long."""
        deadline = time.monotonic() + self.program.ready_within
        while not self.program.is_ready():
            if not self.is_running:
                raise self.failure()
            if time.monotonic() > deadline:
                waited = f"{self.program.ready_within:.0f} s"
                raise DidNotStart(f"{self.program.name} was not ready in {waited} (log: {self.program.log})")
            time.sleep(POLL_INTERVAL)

    def ask_to_stop(self) -> None:
        self.send(self.program.stop_signal)

    def stop(self) -> None:
        """Stop it in order; kill it, and what is left of its group, when that takes too long."""
        self.ask_to_stop()
        self.wait_stopped(time.monotonic() + self.program.stop_within)
        self.kill()

    def wait_stopped(self, deadline: float) -> bool:
        """True when it ended before `deadline` (time.monotonic)."""
        while self.is_running and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL)
        return not self.is_running

    def kill(self) -> None:
        """SIGKILL to its whole group; returns when it is reaped, or the kernel holds it."""
        if self._child is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(REAP_WITHIN)

    def send(self, number: signal.Signals) -> None:
        if self.is_running and self._child is not None:
            self._child.send_signal(number)

    def failure(self) -> DidNotStart:
        """The error to raise when it ended too early."""
        return DidNotStart(
            f"{self.program.name} did not start: {self._last_word()} (log: {self.program.log})"
        )

    def _last_word(self) -> str:
        """The last line of its log since the start that speaks of an error, else the last line."""
        with suppress(OSError), self.program.log.open("rb") as log:
            log.seek(self._log_offset)
            lines = [
                line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()
            ]
            telling = [line for line in lines if _TELLING.search(line)]
            return (telling or lines or [self._silence()])[-1]
        return self._silence()

    def _silence(self) -> str:
        return f"it ended with code {self.exit_code} and said nothing"

    def _set_large_log_aside(self) -> None:
        log = self.program.log
        if log.exists() and log.stat().st_size > LOG_MAX_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))


def is_alive(pid: int) -> bool:
    """False also for one that ended and was not reaped, as in a container whose first process is no init."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return state_of(pid) != "Z"


def name_of(pid: int) -> str:
    """Its command's name; "" where there is no /proc to tell."""
    return _stat(pid)[0]


def state_of(pid: int) -> str:
    """One letter as `ps` shows it; "" where there is no /proc to tell."""
    return _stat(pid)[1]


def _stat(pid: int) -> tuple[str, str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()  # pid (name) state ...
    except OSError:
        return "", ""
    before, _, after = text.rpartition(")")
    return before.partition("(")[2], after.split()[0]


def _die_with_parent(parent: int, number: signal.Signals) -> Callable[[], None] | None:
    """What a child does between fork and exec. Other systems than Linux have no such signal."""
    if sys.platform != "linux":
        return None

    def arrange() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above: no signal will come
            os._exit(1)

    return arrange
