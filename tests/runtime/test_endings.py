from __future__ import annotations

import asyncio
import time

from runtime.endings import end


async def stubborn(*, cancellations: int) -> None:
    """Goes on after so many cancellations, as redis-py does after one."""
    for _ in range(cancellations + 1):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if not cancellations:
                raise
            cancellations -= 1


async def failing() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        raise ValueError("of no interest any more")


async def test_what_keeps_a_cancellation_to_itself_ends_all_the_same() -> None:
    tasks = [asyncio.create_task(each) for each in (stubborn(cancellations=1), failing())]
    await asyncio.sleep(0)

    await end(*tasks)

    assert all(task.done() for task in tasks)


async def test_what_never_ends_is_left() -> None:
    task = asyncio.create_task(stubborn(cancellations=15))
    await asyncio.sleep(0)

    began = time.monotonic()
    await end(task, within=0.2)

    assert not task.done()
    assert time.monotonic() - began < 5
    await end(task, within=0.2)


async def test_who_is_cancelled_while_it_ends_another_ends_it_first() -> None:
    inner = asyncio.create_task(stubborn(cancellations=2))
    outer = asyncio.create_task(end(inner))
    await asyncio.sleep(0.05)
    outer.cancel()

    await asyncio.wait({outer})

    assert inner.done()
    assert outer.cancelled()


async def test_nothing_ends_at_once() -> None:
    await end()
