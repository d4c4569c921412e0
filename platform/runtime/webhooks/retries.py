"""When what was not delivered is tried again, and when no more."""

from __future__ import annotations

import random
from datetime import timedelta

LEASE = timedelta(seconds=90)  # longer than any try can take
DELAYS = (30, 120, 300, 900, 2400)  # seconds to the next try; a little over an hour in all
MAX_TRIES = len(DELAYS) + 1
JITTER = 0.2  # share of a delay: endpoints that come back are not met by all at once


def delay(tries: int) -> timedelta:
    """How long to wait after so many tries."""
    return timedelta(seconds=DELAYS[tries - 1] * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311
