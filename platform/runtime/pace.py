"""How often a stream hands on what has come: seldom when many stream, since each time costs the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

AT_LEAST = 0.009  # seconds between two chunks of a stream
FEW = 10  # streams for which there is time enough
EACH = 0.002  # seconds more for every stream beyond them
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
    return min(AT_LEAST + EACH * max(0, _streams - FEW), AT_MOST)
