"""Readers of a live log that drop, come back, and fall behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from random import Random
from typing import Any

import pytest
from runtime import events, hub
from runtime.models import Message, Run
from runtime.schemas import Event

from tests.faults.lab import Lab

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

MODEL = "demo-model+tokens=600,delay=0.002"
Reader = Callable[[Run, Random], Coroutine[Any, Any, list[Event]]]


@pytest.mark.fault("C1 readers drop and come back")
def test_a_reader_that_drops_and_comes_back_has_each_event_once_in_order(lab: Lab) -> None:
    check(lab, [dropping] * 10)


@pytest.mark.fault("C2 slow readers")
def test_a_slow_reader_has_each_event_once_and_holds_nobody_up(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "INBOX_SIZE", 8)  # a second's events are more
    check(lab, [slow] * 10 + [prompt])


def check(lab: Lab, readers: list[Reader]) -> None:
    with lab.worker(OPENAI_MODEL=MODEL):
        lab.strike()
        run = lab.say("go")
        heard = asyncio.run(listen(run, readers, lab.random))
        lab.settle()
        log = asyncio.run(closing(events.read(run.thread_id)))

    told = "".join(event["data"]["text"] for event in log if event["event"] == "token")
    assert told == Message.objects.get(role="ai").content
    for each in heard:
        assert [event["id"] for event in each] == [event["id"] for event in log][: len(each)]
        assert each[-1]["data"].get("status") == "success"


async def listen(run: Run, readers: list[Reader], random: Random) -> list[list[Event]]:
    reading = [reader(run, Random(random.random())) for reader in readers]
    return await closing(asyncio.gather(*reading))


async def closing(work: Awaitable[Any]) -> Any:
    """With the loop's hub put away afterwards."""
    try:
        async with asyncio.timeout(60):
            return await work
    finally:
        await hub.close()


def is_end(event: Event) -> bool:
    return event["event"] == "run" and event["data"]["status"] == "success"


async def dropping(run: Run, random: Random) -> list[Event]:
    """Leaves after some batches, is away for a while, and goes on after the last event it has seen."""
    seen: list[Event] = []
    while not seen or not is_end(seen[-1]):
        left = random.randint(1, 5)
        async with aclosing(events.follow(run.thread_id, seen[-1]["id"] if seen else events.START)) as log:
            async for batch in log:
                seen += batch
                left -= 1
                if not left or is_end(seen[-1]):
                    break
        await asyncio.sleep(random.uniform(0, 0.1))
    return seen


async def slow(run: Run, random: Random) -> list[Event]:
    """Looks up so rarely that more happens than is kept for it."""
    return await follow(run, random.uniform(0.5, 1.5))


async def prompt(run: Run, random: Random) -> list[Event]:
    return await follow(run, 0.0)


async def follow(run: Run, pause: float) -> list[Event]:
    seen: list[Event] = []
    async with aclosing(events.follow(run.thread_id)) as log:
        async for batch in log:
            seen += batch
            if is_end(seen[-1]):
                break
            await asyncio.sleep(pause)
    return seen
