"""How often a stream hands on what has come: seldom when many stream, since each time costs the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

ALONE = 0.010  # seconds between two chunks of the only stream of this process
EACH = 0.002  # seconds more for every stream
AT_MOST = 0.200  # seconds: beyond, a reader sees the text stutter

_streams = 0  # of this process's event loop


@contextmanager
def streaming() -> Iterator[None]:
    """One more, inside."""
    global _streams
    _streams += 1
    try:
        yield
    finally:
        _streams -= 1


def rest() -> float:
    """Seconds from one chunk of a stream to its next. The first goes at once."""
    return min(ALONE + EACH * _streams, AT_MOST)
