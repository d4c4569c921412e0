"""How `/api/v1` says no: one shape for whatever is refused, and the statuses that any route may answer with."""

from __future__ import annotations

from typing import Any

from ninja import Schema


class Problem(Schema):
    detail: str
    """What is wrong and what to do, for people to read."""


def problems(*statuses: int) -> dict[int, Any]:
    """For `response=`: these, and what a route behind the door can always answer with."""
    return dict.fromkeys(sorted({400, 401, 403, 429, 503, *statuses}), Problem)


def bodied(*statuses: int) -> dict[int, Any]:
    """The same of a route that reads a body."""
    return problems(413, 422, *statuses)
