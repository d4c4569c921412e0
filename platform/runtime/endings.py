"""Ending what may be talking to Redis: redis-py may keep one cancellation to itself."""

from __future__ import annotations

import asyncio
from typing import Any

LEAVE_WITHIN = 2.0  # seconds until what was told to end is left where it is


async def end(*tasks: asyncio.Future[Any], within: float = LEAVE_WITHIN) -> None:
    """Cancels them until they have ended, or `within` seconds are over. What they raised is dropped.

    Who is cancelled meanwhile finishes this first: what they use is otherwise taken away from under them.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    going_on = set(tasks)
    cancelled: asyncio.CancelledError | None = None
    while going_on and loop.time() < deadline:
        for task in going_on:
            task.cancel()
        try:
            await asyncio.wait(going_on, timeout=within / 10)
        except asyncio.CancelledError as error:
            cancelled = error
        for task in going_on:
            if task.done() and not task.cancelled():
                task.exception()  # looked at, so that asyncio does not report it
        going_on = {task for task in going_on if not task.done()}
    if cancelled is not None:
        raise cancelled
