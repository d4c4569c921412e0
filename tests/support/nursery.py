"""Management commands that start at once: a process that has already imported what takes seconds forks each.

`python -m tests.support.nursery` reads a JSON line for each child, `{"argv": …, "env": …, "log": …}`, and answers
with its pid. Settings are read in the child, so each child has an environment of its own.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType

from embedded.process import is_alive

from tests.support.processes import PATIENCE, ROOT, environment, line_of, reap, until

PRELOADED = (
    "runtime",  # first: it sets what LangGraph reads as it is imported
    "langchain.agents",
    "langchain_openai",
    "langgraph.checkpoint.postgres.aio",
    "rq.worker",
    "uvloop",
    "django.db.backends.postgresql.base",
)


class Child:
    """One forked command; `with nursery.start(...) as child:` kills what is left of it."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        until(self.has_died)

    def has_died(self) -> bool:
        return not is_alive(self.pid)

    @property
    def exit_code(self) -> int | None:
        """None while it runs, and after a signal that it could not catch."""
        code = _exit_file(self.log)
        return int(code.read_text()) if code.exists() else None


class Process(Child):
    """`with Process("worker", COUNTERSIGN_RUN_LEASE="2"):` a management command, asked to end at the end."""

    def __init__(self, *command: str, **env: str) -> None:
        self._command, self._env = command, environment(**env)

    def __enter__(self) -> Process:
        log = Path(tempfile.mkdtemp()) / "log"
        child = shared().start(*self._command, env=self._env, log=log)
        super().__init__(child.pid, log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.send(signal.SIGTERM)
        try:
            until(self.has_died, seconds=PATIENCE)
        finally:
            self.kill()
            sys.stderr.write(self.log.read_text())  # pytest shows it with a test that fails
            shutil.rmtree(self.log.parent)


class Nursery:
    """`with Nursery() as nursery: nursery.start("worker", env=…, log=…)`"""

    def __enter__(self) -> Nursery:
        path = f"{ROOT}:{ROOT / 'platform'}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.nursery"],
            env={**os.environ, "PYTHONPATH": path},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        reap(self._process, within=10)
        self._process.stdout.close()

    def start(self, *command: str, env: dict[str, str], log: Path) -> Child:
        assert self._process.stdin
        order = {"argv": ["manage.py", *command], "env": env, "log": str(log)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Child(int(line_of(self._process)), log)


@cache
def shared() -> Nursery:
    """The one of this process, for as long as that lasts."""
    nursery = Nursery()
    atexit.register(nursery.__exit__, None, None, None)
    return nursery.__enter__()


def _exit_file(log: Path) -> Path:
    return log.with_suffix(".exit")


def main() -> None:
    for name in PRELOADED:
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a child: the kernel forgets it
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            be_child(order["argv"], order["env"], order["log"])
        print(pid, flush=True)


def be_child(argv: list[str], env: dict[str, str], log: str) -> None:
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = argv
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(out, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 1
    try:
        from manage import main as manage

        manage()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            _exit_file(Path(log)).write_text(str(code))
        os._exit(code)


if __name__ == "__main__":
    main()
