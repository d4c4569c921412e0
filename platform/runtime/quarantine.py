"""A run on its last attempt is performed by a process that performs nothing else.

Its workers died again and again. It may be what killed them, or it may only have been there: alone, it takes nobody
along. One process does one such run after another, and a new one is started when it dies.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress

from django.conf import settings

from runtime import runs

END_WITHIN = 5.0  # seconds more than it leaves its run


class Quarantine:
    """A worker's process for suspects, started when there are any."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Starts the process unless it runs."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, str(settings.BASE_DIR / "manage.py"), "worker", "--last-attempts"],
                start_new_session=True,  # Ctrl-C is for the worker, which tells it
            )

    def close(self, limit: float) -> None:
        """Has the run handed back, in at most `limit` seconds, and ends the process."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(limit + END_WITHIN)
            self._process.kill()


def perform_suspects(name: str) -> None:
    """In that process: performs suspects until there are none."""
    from runtime.engine import Engine

    signal.signal(signal.SIGTERM, _leave)
    with Engine(name, concurrency=1, alone=True) as engine:
        try:
            for run_id in runs.suspects():
                engine.perform(str(run_id))
        except SystemExit:
            engine.drain()
            engine.join(settings.WORKER_DRAIN)


def _leave(*_: object) -> None:
    raise SystemExit
