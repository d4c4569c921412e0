"""What JSON of PostgreSQL can hold."""

from __future__ import annotations

import math
from typing import Any

DEPTH = 100  # levels


def refuse_unholdable(value: Any, depth: int = DEPTH) -> None:
    """Raises ValueError for what PostgreSQL can't hold, or nobody should have to read."""
    if depth == 0:
        raise ValueError("it is nested too deeply")
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("it has a NUL character")
        value.encode()  # UnicodeEncodeError, a ValueError: half of a surrogate pair
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("it has a number that is none")
    elif isinstance(value, list):
        for item in value:
            refuse_unholdable(item, depth - 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            refuse_unholdable(name, depth - 1)
            refuse_unholdable(item, depth - 1)
