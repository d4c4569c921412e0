"""A thread's protocol events as they come: what the log has, then what it gets, each once, for one subscription."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from weakref import WeakValueDictionary

from redis.exceptions import RedisError
from runtime import events
from runtime.database import in_database
from runtime.models import ACTIVE
from runtime.schemas import Event

from apps.chat import watching
from apps.chat.langgraph.protocol import rows
from apps.chat.langgraph.protocol.envelopes import Json, Subscription
from apps.chat.langgraph.protocol.projection import Projection
from apps.chat.watching import Watch

AT_ONCE = 200  # entries of a long log, after which others have their turn
SLICE = 0.01  # seconds for which entries are looked at, after which they have it too
REPLAYS_EACH = 2  # logs of one person that are read from their beginning at once; the others wait

_replays: WeakValueDictionary[int, asyncio.Semaphore] = WeakValueDictionary()
"""By the person's pk, while somebody holds it or waits for it."""


async def follow(watch: Watch, wanted: Subscription) -> AsyncGenerator[list[Json] | None]:
    """Batches of events that are wanted, perhaps empty; None every BEAT seconds. Ends for who may not watch any more.

    Begins after `wanted.since`. What the log does not have from there on is told as it stands now.
    """
    feed = _Feed(watch, wanted.since)
    async with aclosing(feed.batches()) as batches:
        async for batch in batches:
            yield batch and [each for each in batch if wanted.takes(each)]


class _Feed:
    def __init__(self, watch: Watch, since: int | None) -> None:
        # From the log's beginning: what an entry comes to depends on those before it.
        self._watch = replace(watch, cursor=events.START, stays=True)
        self._since = since
        self._sent = -1 if since is None else since
        self._projection = Projection()
        self._replay = AsyncExitStack()
        """The turn of who reads what the log already has; given back at its end."""
        self._until = events.START
        self._overdue = ""
        """The run that has ended, as the database has it, and of whose end nothing was heard yet."""

    async def batches(self) -> AsyncGenerator[list[Json] | None]:
        async with self._replay:
            await self._take_turn()
            async with aclosing(self._told()) as told:
                async for batch in told:
                    yield batch

    async def _take_turn(self) -> None:
        person = self._watch.caller.user.pk
        turn = _replays.setdefault(person, asyncio.Semaphore(REPLAYS_EACH))
        await self._replay.enter_async_context(turn)
        try:
            self._until = await events.last_id(self._watch.thread_id)
        except (RedisError, OSError):
            self._until = events.START
        await self._heard(events.START)

    async def _heard(self, id: str) -> None:
        """What comes after the end that the log had is no replay any more."""
        if events.position(id) >= events.position(self._until):
            await self._replay.aclose()

    async def _told(self) -> AsyncGenerator[list[Json] | None]:
        if await in_database(rows.is_lost, self._watch.thread_id, self._since):
            yield await self._as_it_stands()
        is_lost = True
        while is_lost:
            is_lost = False
            async with aclosing(watching.batches(self._watch)) as log:
                async for batch in log:
                    if batch is None:
                        yield None
                        if await self._is_overdue():
                            yield await self._as_it_stands()
                        continue
                    if is_lost := any(entry["event"] == "reset" for entry in batch):
                        await self._replay.aclose()
                        break
                    for at in range(0, len(batch), AT_ONCE):
                        yield await self._fresh(batch[at : at + AT_ONCE])
                        await asyncio.sleep(0)
                    await self._heard(batch[-1]["id"])
            if is_lost:
                self._projection = Projection()
                yield await self._as_it_stands()

    async def _fresh(self, batch: list[Event]) -> list[Json]:
        known = self._projection.runs
        looks_up = any(
            entry["event"] != "wire" or (entry["run_id"] and entry["run_id"] not in known) for entry in batch
        )
        found = rows.Rows(dict(known))
        if looks_up:
            found = await in_database(rows.of, self._watch.thread_id, batch, dict(known))
        told: list[Json] = []
        begun = time.monotonic()
        for entry in batch:
            told += self._projection.events_of(entry, found)
            if time.monotonic() - begun > SLICE:
                await asyncio.sleep(0)
                begun = time.monotonic()
        fresh = [each for each in told if each["seq"] > self._sent]
        if fresh:
            self._sent = fresh[-1]["seq"]
        return fresh

    async def _as_it_stands(self) -> list[Json]:
        said = await in_database(rows.standing_in_for_the_log, self._watch.thread_id)
        self._projection.ended |= {each["event_id"].partition(".")[0] for each in said}
        return said

    async def _is_overdue(self) -> bool:
        """A run ended while Redis was away, and nobody told the log. Not at the first look, which may be early."""
        run = await in_database(rows.newest_run, self._watch.thread_id)
        if run is None or run.status in ACTIVE or run.id in self._projection.ended:
            self._overdue = ""
            return False
        was_overdue, self._overdue = self._overdue == run.id, run.id
        return was_overdue
