"""A program that has imported all it needs before the servers that it needs are there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded.address import Address
from embedded.ports import free_port

from tests.support.processes import PATIENCE, ROOT, environment, until


@pytest.fixture
def gate() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    os.close(ends[0])


def begin(gate: int, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "embedded.gate", str(gate), *arguments],
        env=environment(PYTHONPATH=str(ROOT / "platform")),
        cwd=ROOT,
        pass_fds=[gate],
    )


def test_the_web_server_listens_once_the_gate_is_open(gate: tuple[int, int]) -> None:
    address = Address("127.0.0.1", free_port())
    arguments = ("web", "-b", address.host, "-p", str(address.port), "config.asgi:application")
    with begin(gate[0], *arguments) as web:
        try:
            until(lambda: _has_imported(web, "psycopg"), seconds=PATIENCE)
            time.sleep(1)  # it would listen by now
            assert address.get("/health/live")[0] == 0

            os.close(gate[1])
            until(lambda: address.get("/health/live")[0] == 200, seconds=PATIENCE)
        finally:
            web.kill()


@pytest.mark.django_db(transaction=True)
def test_a_worker_begins_where_the_gate_is_open_already(gate: tuple[int, int]) -> None:
    os.close(gate[1])
    with begin(gate[0], "worker", "--queue", "interactive", "--burst") as worker:
        assert worker.wait(PATIENCE) == 0


def _has_imported(process: subprocess.Popen[bytes], library: str) -> bool:
    return library in Path(f"/proc/{process.pid}/maps").read_text()
