"""Management commands that start at once: a process that has already imported what takes seconds forks each.

`python -m tests.support.nursery` reads a JSON line for each child, `{"argv": …, "env": …, "log": …}`, and answers
with its pid. Settings are read in the child, so each child has an environment of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from embedded.process import is_alive

from tests.support.processes import ROOT, line_of, reap, until

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
        os._exit(code)


if __name__ == "__main__":
    main()
