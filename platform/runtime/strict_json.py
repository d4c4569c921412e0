"""JSON from outside: nothing that PostgreSQL can't hold, that reads two ways, or that nobody should have to read."""

from __future__ import annotations

import json
import math
from typing import Any

DEPTH = 100  # levels


def loads(text: str | bytes) -> Any:
    """The value. ValueError or RecursionError says why there is none: RFC 8259, and stricter."""
    text = text if isinstance(text, str) else text.decode()
    read = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    refuse_unholdable(read)
    return read


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that comes twice two readers see different values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a name twice in one object")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"it has a number that is none: {name}")


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
