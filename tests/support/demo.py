"""The demo model in a process of its own, as the supervisor starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType

from tests.support.processes import end, line_of

SOURCE_ROOT = Path(__file__).resolve().parents[2] / "platform"
READY_WITHIN = 10.0  # seconds


class DemoModel:
    """`with DemoModel() as demo: demo.base_url`, on a free loopback port.

    Faults are in the model's name, so one process serves a whole test session.
    """

    model = "demo-model"

    def __init__(self, *, delay: float = 0.0) -> None:
        """`delay`: milliseconds before each token."""
        self._delay = delay
        #: What the process wrote to stderr, once it has ended.
        self.complaints = ""

    def __enter__(self) -> DemoModel:
        self._log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "embedded.demo_model", "--port", "0", "--delay", str(self._delay)],
            env={**os.environ, "PYTHONPATH": str(SOURCE_ROOT)},
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.base_url = line_of(self.process).split()[-1]  # "Demo model on http://…/v1"
        self._wait_healthy()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self.process, within=5)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.seek(0)
        self.complaints = self._log.read()
        self._log.close()

    @property
    def health_url(self) -> str:
        return self.base_url.removesuffix("/v1") + "/health"

    def _wait_healthy(self) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while True:
            try:
                with urllib.request.urlopen(self.health_url, timeout=1) as response:
                    assert response.status == 200
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
