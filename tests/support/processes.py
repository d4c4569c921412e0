"""Processes of the product on the test's own servers."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]


def environment(**extra: str) -> dict[str, str]:
    """The environment of a process that shares this test's database, Redis and data folder."""
    database = connection.settings_dict
    url = f"postgres://{database['USER']}@{quote(database['HOST'], safe='')}/{database['NAME']}"
    ours = {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": url,
        "REDIS_URL": settings.REDIS_URL,
        "COUNTERSIGN_SECRET_KEY": settings.SECRET_KEY,
        "COUNTERSIGN_DB_POOL": "8",
        "OPENAI_API_KEY": "test",
    }
    return {**os.environ, **ours, **extra}


PATIENCE = (
    120.0  # seconds for a process to start or end: a busy machine may take a minute to import everything
)


def until(true: Callable[[], object], *, seconds: float = 45.0) -> None:
    """Returns as soon as `true()` is; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def end(process: subprocess.Popen[str] | subprocess.Popen[bytes], *, within: float) -> None:
    """Has it end. Kills it and fails after `within` seconds: one that is left would keep locks and pipes open."""
    process.terminate()
    reap(process, within=within)


def reap(process: subprocess.Popen[str] | subprocess.Popen[bytes], *, within: float) -> None:
    """The same for one that ends by itself."""
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
        raise


def line_of(process: subprocess.Popen[str], *, within: float = 60.0) -> str:
    """The one line it says next."""
    assert process.stdout is not None
    heard, _, _ = select.select([process.stdout], [], [], within)
    assert heard, f"it said nothing within {within} s"
    return process.stdout.readline()
