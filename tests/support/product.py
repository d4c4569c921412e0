"""The whole product in processes of its own, on the test's database, and a real browser in front of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rq import Worker
from runtime.redis_client import redis_client

from tests.support.nursery import Process
from tests.support.ports import free_port
from tests.support.processes import PATIENCE, ROOT, end, environment, until

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """The browser's path; None when the machine has none. The one without a window of its own takes half of the CPU."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


class Web:
    """Daphne on a free port, with further `arguments`. `restart` keeps the port, as a deployment does."""

    def __init__(self, *arguments: str, **env: str) -> None:
        self._arguments = arguments
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._testimony = Path(tempfile.mkdtemp()) / "modules"
        path = f"{ROOT}:{ROOT / 'platform'}"
        self._env = environment(PYTHONPATH=path, WITNESS=str(self._testimony), **env)

    def start(self) -> None:
        argv = [
            sys.executable,
            "-m",
            "tests.support.witness",
            "-b",
            "127.0.0.1",
            "-p",
            str(self.port),
            *self._arguments,
            "config.asgi:application",
        ]
        self.process = subprocess.Popen(argv, env=self._env, cwd=ROOT)
        try:
            until(self._is_live, seconds=PATIENCE)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        end(self.process, within=PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def modules(self) -> set[str]:
        """What the running server has imported."""
        self._testimony.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        until(self._testimony.exists)
        return set(self._testimony.read_text().split())

    def _is_live(self) -> bool:
        # Another one may have taken the port meanwhile, and would answer in its place.
        assert self.process.poll() is None, f"the web server ended; was port {self.port} free?"
        try:
            with urllib.request.urlopen(f"{self.url}/health/live", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Product:
    def __init__(self, web: Web, worker: Process) -> None:
        self.web = web
        self.worker = worker

    @property
    def url(self) -> str:
        return self.web.url


@contextmanager
def running(**env: str) -> Iterator[Product]:
    """Web and one worker."""
    web = Web(**env)
    with Process("worker", **env) as worker:
        web.start()
        until(lambda: Worker.count(connection=redis_client()), seconds=PATIENCE)
        try:
            yield Product(web, worker)
        finally:
            web.stop()
