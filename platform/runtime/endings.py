"""Ending what may be talking to Redis: redis-py may keep one cancellation to itself."""

from __future__ import annotations

import asyncio
from typing import Any

LEAVE_WITHIN = 2.0  # seconds until what was told to end is left where it is


async def end(*tasks: asyncio.Future[Any], within: float = LEAVE_WITHIN) -> None:
    """Cancels them until they have ended, or `within` seconds are over. What they raised is dropped."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    going_on = set(tasks)
    while going_on and loop.time() < deadline:
        for task in going_on:
            task.cancel()
        ended, going_on = await asyncio.wait(going_on, timeout=within / 10)
        for task in ended:
            if not task.cancelled():
                task.exception()  # looked at, so that asyncio does not report it
