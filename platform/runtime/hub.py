"""One subscription to Redis per process, shared by all its readers.

A reader gets an inbox: an asynchronous iterator over the messages of its channel, in batches. It ends whenever
something may have been missed (it was too slow, or the connection was begun anew): the reader looks into the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from weakref import WeakKeyDictionary

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from runtime.endings import end
from runtime.redis_client import async_redis_client

logger = logging.getLogger(__name__)

INBOX_SIZE = 512  # messages a slow reader may be behind before it reads from the log
RECONNECT_DELAY = 0.5  # seconds
IDLE_CHECK = 5.0  # seconds: how long one wait for a message may last
GAP = ""


class Inbox:
    """The messages of one channel for one reader."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[str] = asyncio.Queue(INBOX_SIZE)

    def put(self, message: str) -> None:
        if self._queue.full():
            self.mark_gap()
        else:
            self._queue.put_nowait(message)

    def mark_gap(self) -> None:
        """Something may have been missed: forget what is here, the log has it."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(GAP)

    async def __aiter__(self) -> AsyncIterator[list[str]]:
        """Whatever is there, oldest first, as often as there is something."""
        while True:
            messages = [await self._queue.get()]
            while not self._queue.empty():
                messages.append(self._queue.get_nowait())
            if GAP in messages:
                return
            yield messages


class Hub:
    """Pumps one pub/sub connection into the inboxes of this event loop."""

    def __init__(self) -> None:
        self.redis: Redis = async_redis_client()
        self._pubsub: PubSub = self.redis.pubsub(ignore_subscribe_messages=True)
        self._inboxes: dict[str, set[Inbox]] = defaultdict(set)
        self._lock = asyncio.Lock()
        self._pump_task: asyncio.Task[None] | None = None

    async def add(self, channel: str, inbox: Inbox) -> None:
        async with self._lock:  # a late UNSUBSCRIBE must not overtake a new SUBSCRIBE
            is_first = not self._inboxes[channel]
            self._inboxes[channel].add(inbox)
            if is_first:
                # Redis away: the pump subscribes to all channels as soon as it is back.
                with suppress(RedisError, OSError):
                    await self._pubsub.subscribe(channel)
            if self._pump_task is None or self._pump_task.done():
                self._pump_task = asyncio.create_task(self._pump(), name="hub")

    async def remove(self, channel: str, inbox: Inbox) -> None:
        async with self._lock:
            self._inboxes[channel].discard(inbox)
            if not self._inboxes[channel]:
                del self._inboxes[channel]
                with suppress(RedisError, OSError):
                    await self._pubsub.unsubscribe(channel)

    async def _pump(self) -> None:
        while self._inboxes:
            try:
                message = await self._pubsub.get_message(timeout=IDLE_CHECK)
            except (RedisError, OSError, RuntimeError):  # RuntimeError: not subscribed yet
                logger.warning("hub lost Redis, reconnecting", extra={"action": "hub_reconnect"})
                await self._reconnect()
                continue
            if message is not None:
                for inbox in self._inboxes.get(message["channel"], ()):
                    inbox.put(message["data"])

    async def _reconnect(self) -> None:
        while self._inboxes:
            await asyncio.sleep(RECONNECT_DELAY)
            try:
                async with self._lock:
                    await self._pubsub.aclose()  # type: ignore[no-untyped-call]
                    self._pubsub = self.redis.pubsub(ignore_subscribe_messages=True)
                    await self._pubsub.subscribe(*self._inboxes)
            except (RedisError, OSError):
                continue
            break
        for inboxes in self._inboxes.values():
            for inbox in inboxes:
                inbox.mark_gap()

    async def aclose(self) -> None:
        if self._pump_task is not None:
            await end(self._pump_task)
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        await self.redis.aclose(close_connection_pool=True)


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def _hub() -> Hub:
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]


def redis() -> Redis:
    """The asynchronous client of the running event loop."""
    return _hub().redis


async def close() -> None:
    """Ends the running loop's hub; its readers end with it."""
    hub = _hubs.pop(asyncio.get_running_loop(), None)
    if hub is not None:
        await hub.aclose()


@asynccontextmanager
async def subscribe(channel: str) -> AsyncIterator[Inbox]:
    inbox = Inbox()
    hub = _hub()
    try:  # from here on: who is cancelled while it is being added is removed, too
        await hub.add(channel, inbox)
        yield inbox
    finally:
        await hub.remove(channel, inbox)
