"""One `manage.py up` per data folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from embedded.exceptions import AlreadyRunning, EmbeddedError, FolderUnusable
from embedded.process import is_alive

LEFTOVERS_WITHIN = 10.0  # seconds that the children of a killed run may take to end


@contextmanager
def only_one(home: Path, url: str) -> Iterator[int]:
    """Hold the folder's lock; yields its descriptor. AlreadyRunning names the holder's pid and address.

    Children inherit the descriptor: after a `kill -9` the lock is free only when the last of them is gone,
    so a new run never meets the old run's servers.
    """
    descriptor = _open(home / "up.lock")
    pid_file = home / "up.pid"
    try:
        _acquire(descriptor, pid_file)
        pid_file.write_text(f"{os.getpid()} {url}\n")
        try:
            yield descriptor
        finally:
            pid_file.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise FolderUnusable(path, error.strerror) from error


def _acquire(descriptor: int, pid_file: Path) -> None:
    deadline = time.monotonic() + LEFTOVERS_WITHIN
    while not _try_lock(descriptor):
        _refuse_if_running(pid_file)
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"Processes of an earlier run still hold {pid_file.parent}. End them and try again."
            )
        time.sleep(0.05)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_if_running(pid_file: Path) -> None:
    with suppress(OSError, ValueError):
        pid, url = pid_file.read_text().split()
        if is_alive(int(pid)):
            raise AlreadyRunning(f"Countersign is already running (pid {pid}): {url}")
