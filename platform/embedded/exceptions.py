"""What can go wrong on the way up. The text of each is the one line a person is shown."""

from __future__ import annotations

from pathlib import Path


class EmbeddedError(Exception):
    """Something the person at the terminal can put right."""


class FolderUnusable(EmbeddedError):
    """The data folder, or something in it, can't be made, read or written."""

    def __init__(self, path: Path, reason: str | None) -> None:
        super().__init__(f"{path}: {reason}. Set COUNTERSIGN_HOME to a folder of yours.")


class AlreadyRunning(EmbeddedError):
    """Another `manage.py up` holds this data folder."""


class DidNotStart(EmbeddedError):
    """A process ended, or its deadline passed, before it was ready."""
